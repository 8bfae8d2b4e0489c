"""What was deposited: described, read, and every problem found at once."""

from veritem.submission.map_file import read_map
from veritem.submission.submission import ReceivedSubmission, Submission, receive

__all__ = ["ReceivedSubmission", "Submission", "read_map", "receive"]
