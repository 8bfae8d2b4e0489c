"""Veritem tells whether a cryo-EM single-particle map is right.

>>> import veritem
>>> result = veritem.validate(map="emd_1234.map.gz", resolution=3.2)  # doctest: +SKIP
>>> result.check("0.c").outcome  # doctest: +SKIP
<Outcome.PASS: 'pass'>
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from veritem._version import __version__

if TYPE_CHECKING:
    from veritem.api import demo, explain, list_checks, render_report, validate
    from veritem.errors import InputError, VeritemError
    from veritem.results import CheckResult, Outcome, ValidationResult

_API = {"demo", "explain", "list_checks", "render_report", "validate"}
_RESULTS = {"CheckResult", "Outcome", "ValidationResult"}
_ERRORS = {"InputError", "VeritemError"}

__all__ = [
    "CheckResult",
    "InputError",
    "Outcome",
    "ValidationResult",
    "VeritemError",
    "__version__",
    "demo",
    "explain",
    "list_checks",
    "render_report",
    "validate",
]


def __getattr__(name: str) -> Any:
    """Import on first use: `veritem --help` needs none of the numerical packages."""
    import importlib

    for names, module in ((_API, "api"), (_RESULTS, "results"), (_ERRORS, "errors")):
        if name in names:
            return getattr(importlib.import_module(f"veritem.{module}"), name)
    raise AttributeError(f"module 'veritem' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
