"""Inputs and derived values by name, each computed when it is first asked for, as the plan does."""

from __future__ import annotations

from typing import Any

from veritem.checks.base import Check, Verdict, judge
from veritem.derived import load_all


class Values:
    def __init__(self, **inputs: Any) -> None:
        self.known: dict[str, Any] = {
            "given_contour_level": None, "molecular_weight": None, "reported_resolution": None, "seed": 0, "threads": 1,
        } | inputs  # fmt: skip
        self.table = load_all()

    def __getitem__(self, name: str) -> Any:
        if name not in self.known:
            entry = self.table[name]
            self.known[name] = entry.function(**{need: self[need] for need in entry.needs})
        return self.known[name]

    def measure(self, check: Check) -> Any:
        """The measurement; raises what the check raises."""
        return check.measure(**{name: self[name] for name in check.uses()})

    def judged(self, check: Check) -> tuple[Any, Verdict]:
        measurement = self.measure(check)
        return measurement, judge(check, measurement)


def outcomes(verdict: Verdict) -> dict[str, str]:
    return {criterion.quantity: criterion.outcome.value for criterion in verdict.criteria}
