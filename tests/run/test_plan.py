"""Names resolve to an order; what is missing is said."""

from __future__ import annotations

import pytest

from veritem.checks.base import Check
from veritem.checks.registry import CHECKS
from veritem.derived.registry import Derived
from veritem.run.plan import Plan, inputs_behind, make_plan


def table(**needs: tuple[str, ...]) -> dict[str, Derived]:
    return {name: Derived(name, lambda **_: None, wanted) for name, wanted in needs.items()}


def test_every_check_of_the_table_can_be_planned():
    plan = make_plan(CHECKS, {"density_map": object(), "reported_resolution": 3.0})
    assert [p.check.code for p in plan.checks] == [c.code for c in CHECKS]
    assert all("density_map" in p.inputs for p in plan.checks)


def test_a_check_without_its_input_says_what_is_missing():
    class NeedsResolution(Check):
        """Does it hold?"""

        code, title, level = "t.a", "Test", "0"
        needs = ("density_map", "reported_resolution")

        def measure(self, density_map, reported_resolution):
            raise AssertionError("must not run")

    (planned,) = make_plan([NeedsResolution], {"density_map": object(), "reported_resolution": None}).checks
    assert planned.reason == "needs a reported resolution: not given"


def test_inputs_behind_derived_values_are_found():
    assert inputs_behind(["b"], table(a=("density_map", "seed"), b=("a",))) == {"density_map", "seed"}


def test_an_unknown_name_is_named_with_who_asked():
    with pytest.raises(ValueError, match="Nothing provides"):
        inputs_behind(["a"], table(a=("nonsense",)))


def test_a_circle_is_told():
    with pytest.raises(ValueError, match="a → b → a"):
        inputs_behind(["a"], table(a=("b",), b=("a",)))


def test_only_what_later_checks_reach_is_kept():
    plan = Plan((), table(a=("density_map",), b=("a",), c=("b",)))
    assert plan.still_needed(["c"], computed={"a", "b"}) == {"c", "b"}
    assert plan.still_needed(["c"], computed={"a"}) == {"c", "b", "a"}
