"""What checks share, each computed once per submission.

A derived value is a function whose parameters are named after what it needs, other derived values or inputs of the
submission, as pytest fixtures are. `@derived` puts it on the table; the plan resolves the names.
"""

from veritem.derived.registry import DERIVED, INPUTS, Derived, derived, load_all

__all__ = ["DERIVED", "INPUTS", "Derived", "derived", "load_all"]
