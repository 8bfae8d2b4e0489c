"""What Veritem raises, from the door to the deepest kernel."""

from __future__ import annotations


class VeritemError(Exception):
    """The base of every error that Veritem raises on purpose; its text is fit to show to a user."""


class InputError(VeritemError):
    """The submission cannot be used. Carries every problem that was found, not only the first.

    problems: the `veritem.results.Problem` records behind the message.
    """

    def __init__(self, message: str, problems: tuple = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class NotApplicable(VeritemError):
    """A derived value or a check has nothing to say about this submission; the text is the reason.

    Raised by a derived value, it makes every check that needs the value not applicable, for the same reason.
    """


class Inconclusive(VeritemError):
    """The data could not have shown the defect, so neither pass nor warning would be honest; the text says why."""
