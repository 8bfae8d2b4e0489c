"""How a criterion judges."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from veritem.checks.base import Check, Criterion, judge
from veritem.checks.registry import CHECKS
from veritem.results import Outcome, Quantity


def criterion(**kwargs) -> Criterion:
    defaults = {"text": "t", "because": "b", "warning": "It is {value}; the limit is {limit}."}
    return Criterion("q", **(defaults | kwargs))


def value(v, interval=None) -> dict[str, Quantity]:
    return {"q": Quantity(label="q", value=v, unit="Å²", interval=interval)}


@pytest.mark.parametrize(
    ("v", "outcome"),
    [(-301.0, Outcome.WARNING), (-300.0, Outcome.PASS), (0.0, Outcome.PASS), (0.1, Outcome.WARNING)],
)
def test_a_value_on_the_limit_is_within(v, outcome):
    assert criterion(at_least=-300.0, at_most=0.0).judge(value(v)).outcome is outcome


@pytest.mark.parametrize(
    ("interval", "outcome"),
    [
        ((-90.0, -70.0), Outcome.PASS),
        ((-20.0, 20.0), Outcome.INCONCLUSIVE),
        ((5.0, 20.0), Outcome.WARNING),
        ((-400.0, 30.0), Outcome.INCONCLUSIVE),
    ],
)
def test_an_interval_decides_only_when_it_is_wholly_on_one_side(interval, outcome):
    judged = criterion(at_least=-300.0, at_most=0.0, rule="interval").judge(value(sum(interval) / 2, interval))
    assert judged.outcome is outcome


def test_an_effect_that_is_not_significant_is_undecided():
    rule = criterion(at_most=0.05, significance="p")
    quantities = value(0.2) | {"p": Quantity(label="p", value=0.2)}
    assert rule.judge(quantities).outcome is Outcome.INCONCLUSIVE
    assert rule.judge(quantities | {"p": Quantity(label="p", value=1e-4)}).outcome is Outcome.WARNING


def test_an_effect_that_could_not_have_been_seen_is_no_pass():
    """Within the limit, but the interval reaches beyond it: the fault may be there."""
    rule = criterion(at_most=0.05, significance="p")
    p = {"p": Quantity(label="p", value=0.5)}
    assert rule.judge(value(0.01, (-0.06, 0.08)) | p).outcome is Outcome.INCONCLUSIVE
    assert rule.judge(value(0.01, (-0.01, 0.03)) | p).outcome is Outcome.PASS


def test_what_was_not_measured_is_not_judged():
    assert criterion(at_most=1.0).judge(value(None)) is None


def test_the_warning_sentence_carries_value_and_limit():
    judged = criterion(at_most=0.0).judge(value(12.0))
    assert judged.warning == "It is 12.0 Å²; the limit is ≤ 0 Å²."


@dataclass(frozen=True)
class Measured:
    q: Quantity
    undecided: str = ""


class OneLimit(Check):
    """Holds it?"""

    code, title, level = "t.a", "T", "0"
    criteria = (criterion(at_most=1.0),)


def verdict(v, undecided=""):
    return judge(OneLimit(), Measured(Quantity(label="q", value=v), undecided))


def test_no_evidence_is_never_a_pass():
    assert verdict(None).outcome is Outcome.INCONCLUSIVE
    assert verdict(0.5, "the map has no background").outcome is Outcome.INCONCLUSIVE


def test_a_warning_outweighs_what_is_undecided():
    assert verdict(2.0, "the map has no background").outcome is Outcome.WARNING


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.code)
def test_every_check_has_a_page(check):
    """Question, method, when it misleads, a paper; every limit has its reason, causes and advice."""
    assert check.question().endswith("?")
    assert len(check.method()) > 100
    assert check.misleads().startswith("Misleads when")
    assert check.references and any(r.doi for r in check.references)
    for rule in check.criteria:
        assert rule.because and rule.warning and rule.causes and rule.advice
        assert rule.at_least is not None or rule.at_most is not None


def test_codes_are_unique_and_levels_known():
    from veritem.checks.registry import LEVELS

    codes = [check.code for check in CHECKS]
    assert len(set(codes)) == len(codes)
    assert all(check.level in LEVELS and check.code.startswith(check.level) for check in CHECKS)
