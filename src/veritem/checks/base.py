"""The shape of a check: measure, judge by the criteria, show.

A check is one class in one file. `measure` takes derived values by the names of its parameters and returns a frozen
dataclass of `Quantity` fields (the numbers that a reader sees) and of whatever its figures need. The criteria judge
the quantities; limit line, text, JSON and verdict read the same `Criterion`.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from veritem.errors import NotApplicable
from veritem.results import (
    CriterionResult,
    DerivedMap,
    Figure,
    Outcome,
    Quantity,
    Reference,
    Table,
)


@dataclass(frozen=True)
class Criterion:
    """A limit on one quantity.

    quantity: name of the measurement's field.
    text: the criterion in words, e.g. "At least 20 Å are free on every side".
    at_least, at_most: the limits; a value on the limit is within.
    because: why this limit.
    warning: the sentence shown when it is broken; `{value}` and `{limit}` are filled in.
    causes: the most probable causes, the likeliest first.
    advice: what to do next.
    rule: "value": the value decides. "interval": the quantity's interval decides: wholly beyond the limit is a
        warning, wholly within is a pass, anything else is inconclusive.
    significance: name of a quantity that holds a p-value; a value beyond the limit is a warning only when that
        p is at most `alpha` (p-values of n surrogates are multiples of 1 / (n + 1), and one on the limit is one of the
        alpha share), and a value within it a pass only when its interval, if it has one, is within it too: a
        measurement too coarse to have seen the fault is inconclusive.
    """

    quantity: str
    text: str
    because: str
    warning: str
    at_least: float | None = None
    at_most: float | None = None
    causes: tuple[str, ...] = ()
    advice: str = ""
    rule: Literal["value", "interval"] = "value"
    significance: str | None = None
    alpha: float = 0.001

    @property
    def limit_text(self) -> str:
        parts = []
        if self.at_least is not None:
            parts.append(f"≥ {_plain(self.at_least)}")
        if self.at_most is not None:
            parts.append(f"≤ {_plain(self.at_most)}")
        return " and ".join(parts)

    def judge(self, quantities: Mapping[str, Quantity]) -> CriterionResult | None:
        """Judge one measurement. None when the quantity was not measured: no evidence, no verdict."""
        quantity = quantities[self.quantity]
        if quantity.value is None:
            return None
        low, high = self._decisive_range(quantity)
        floor = -math.inf if self.at_least is None else self.at_least
        ceiling = math.inf if self.at_most is None else self.at_most
        if floor <= low and high <= ceiling:
            outcome = Outcome.PASS
        elif high < floor or low > ceiling:
            outcome = Outcome.WARNING
        else:
            outcome = Outcome.INCONCLUSIVE
        if self.significance is not None:
            p_value = quantities[self.significance].value
            certain = p_value is not None and float(p_value) <= self.alpha
            could_have_shown = quantity.interval is None or (
                floor <= quantity.interval[0] and quantity.interval[1] <= ceiling
            )
            if not (certain if outcome is Outcome.WARNING else could_have_shown):
                outcome = Outcome.INCONCLUSIVE
        limit = self.limit_text + (f" {quantity.unit}" if quantity.unit else "")
        return CriterionResult(
            quantity=self.quantity,
            text=self.text,
            observed=quantity.text(),
            limit=limit,
            outcome=outcome,
            because=self.because,
            warning=self.warning.format(value=quantity.text(), limit=limit) if outcome is Outcome.WARNING else "",
            causes=self.causes if outcome is Outcome.WARNING else (),
            advice=self.advice if outcome is Outcome.WARNING else "",
        )

    def _decisive_range(self, quantity: Quantity) -> tuple[float, float]:
        if self.rule == "interval":
            if quantity.interval is None:
                raise ValueError(
                    f"The criterion on '{self.quantity}' judges an interval, but the measurement has none. "
                    "Measure one, or judge the value."
                )
            return quantity.interval
        value = float(quantity.value)  # type: ignore[arg-type]
        return value, value


def _plain(limit: float) -> str:
    """A limit as it was set: it has no uncertain digits to show."""
    return f"{limit:g}".replace("-", "−")


class Check:
    """The base of every check. Subclasses set the class variables and define `measure` and `summary`.

    The class docstring is the check's page: its first line is the question; the paragraphs are the method; a
    paragraph that begins with "Misleads when" says when not to trust the answer.
    """

    code: ClassVar[str]
    title: ClassVar[str]
    level: ClassVar[str]
    # Inputs of the submission without which the check is not applicable.
    needs: ClassVar[tuple[str, ...]] = ("density_map",)
    criteria: ClassVar[tuple[Criterion, ...]] = ()
    references: ClassVar[tuple[Reference, ...]] = ()
    # Set when the check can never run in this installation; the text is the reason.
    unavailable: ClassVar[str] = ""

    def measure(self, **derived: Any) -> Any:
        """Measure; a check that is `unavailable` need not define it."""
        if self.unavailable:
            raise NotApplicable(self.unavailable)
        raise NotImplementedError

    def summary(self, measurement: Any) -> str:
        """The answer in one or two plain sentences, with its numbers."""
        raise NotImplementedError

    def figures(self, measurement: Any) -> list[Figure]:
        return []

    def tables(self, measurement: Any) -> list[Table]:
        return []

    def maps(self, measurement: Any) -> list[MapOutput]:
        return []

    @classmethod
    def uses(cls) -> tuple[str, ...]:
        """The derived values and inputs that `measure` takes, by name."""
        parameters = inspect.signature(cls.measure).parameters.values()
        return tuple(p.name for p in parameters if p.name != "self" and p.kind is not p.VAR_KEYWORD)

    @classmethod
    def question(cls) -> str:
        return _paragraphs(cls)[0]

    @classmethod
    def method(cls) -> str:
        return "\n\n".join(p for p in _paragraphs(cls)[1:] if not p.startswith("Misleads when"))

    @classmethod
    def misleads(cls) -> str:
        return "\n\n".join(p for p in _paragraphs(cls)[1:] if p.startswith("Misleads when"))


@dataclass(frozen=True, eq=False)
class MapOutput:
    """A volume to be written as MRC, on a grid of its own.

    data: (z, y, x) float32; NaN where not determinable (written as `fill`).
    """

    description: DerivedMap
    data: np.ndarray
    pixel_size: float
    origin: tuple[float, float, float]
    fill: float = 0.0


def _paragraphs(cls: type) -> list[str]:
    text = inspect.cleandoc(cls.__doc__ or "")
    return [" ".join(block.split()) for block in text.split("\n\n") if block.strip()]


def quantities_of(measurement: Any) -> dict[str, Quantity]:
    """The `Quantity` fields of a measurement, in order."""
    return {
        field.name: value
        for field in dataclasses.fields(measurement)
        if isinstance(value := getattr(measurement, field.name), Quantity)
    }


@dataclass(frozen=True)
class Verdict:
    outcome: Outcome
    reason: str
    criteria: tuple[CriterionResult, ...]


def judge(check: Check, measurement: Any) -> Verdict:
    """Judge a measurement by the check's criteria.

    A warning in any criterion is a warning. Without one, any inconclusive criterion, no criterion that could be
    evaluated, or a measurement that calls itself `undecided` (a reason in words) makes it inconclusive.
    """
    quantities = quantities_of(measurement)
    results = tuple(r for c in check.criteria if (r := c.judge(quantities)) is not None)
    undecided = getattr(measurement, "undecided", "")
    if any(r.outcome is Outcome.WARNING for r in results):
        return Verdict(Outcome.WARNING, "", results)
    if undecided:
        return Verdict(Outcome.INCONCLUSIVE, undecided, results)
    if not results:
        return Verdict(Outcome.INCONCLUSIVE, "None of its criteria could be evaluated.", results)
    open_criteria = [r for r in results if r.outcome is Outcome.INCONCLUSIVE]
    if open_criteria:
        reason = "; ".join(f"“{r.text}” is undecided: {r.observed}, limit {r.limit}" for r in open_criteria)
        return Verdict(Outcome.INCONCLUSIVE, reason + ".", results)
    return Verdict(Outcome.PASS, "", results)
