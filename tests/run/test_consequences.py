"""An input in doubt puts what stands on it in doubt, and nothing else."""

from __future__ import annotations

import pytest

from veritem.checks.registry import CHECKS
from veritem.results import CheckResult, CriterionResult, Outcome
from veritem.run.consequences import DOUBTS, weigh_doubts
from veritem.run.plan import make_plan


def criterion(quantity: str, outcome: Outcome) -> CriterionResult:
    return CriterionResult(
        quantity=quantity, text="t", observed="o", limit="l", outcome=outcome, because="b",
        warning=f"{quantity} is wrong." if outcome is Outcome.WARNING else "", causes=("another cause",),
    )  # fmt: skip


def result(code: str, outcome: Outcome, quantity: str = "q") -> CheckResult:
    return CheckResult(
        code=code, title="", level="0", question="?", outcome=outcome, criteria=(criterion(quantity, outcome),)
    )


def weighed(level: CheckResult, *others: CheckResult) -> dict[str, CheckResult]:
    plan = make_plan(CHECKS, {"density_map": object(), "half_maps": object(), "reported_resolution": 3.0})
    return {r.code: r for r in weigh_doubts((level, *others), plan)}


@pytest.mark.parametrize("quantity", ["bodies", "level_over_noise", "largest_volume", "overlap"])
def test_a_pass_inside_a_doubtful_mask_is_no_evidence(quantity):
    results = weighed(result("0.b", Outcome.WARNING, quantity), result("0.d", Outcome.PASS))
    assert results["0.d"].outcome is Outcome.INCONCLUSIVE
    assert f"{quantity} is wrong." in results["0.d"].reason
    assert results["0.b"].outcome is Outcome.WARNING


def test_a_warning_stays_with_the_level_as_its_first_cause():
    results = weighed(result("0.b", Outcome.WARNING, "bodies"), result("0.c", Outcome.WARNING))
    assert results["0.c"].outcome is Outcome.WARNING
    assert "contour level" in results["0.c"].criteria[0].causes[0]
    assert results["0.c"].criteria[0].causes[1] == "another cause"


def test_dust_or_a_sound_level_changes_nothing():
    for level in (result("0.b", Outcome.WARNING, "dust_share"), result("0.b", Outcome.PASS, "bodies")):
        assert weighed(level, result("0.d", Outcome.PASS))["0.d"].outcome is Outcome.PASS


def test_every_measured_check_but_0b_is_seen_to_use_the_mask():
    measured = [c for c in CHECKS if not c.unavailable and c.code != "0.b"]
    others = [result(c.code, Outcome.PASS) for c in measured]
    results = weighed(result("0.b", Outcome.WARNING, "bodies"), *others)
    assert all(results[c.code].outcome is Outcome.INCONCLUSIVE for c in measured)


def test_halves_that_share_noise_leave_no_pass_to_what_is_measured_on_them():
    others = [result(c.code, Outcome.PASS) for c in CHECKS if not c.unavailable and c.code != "F.a"]
    results = weighed(result("F.a", Outcome.WARNING, "noise_correlation"), *others)
    for check in CHECKS:
        if check.code in results and check.code != "F.a":
            expected = Outcome.INCONCLUSIVE if "half_maps" in check.needs else Outcome.PASS
            assert results[check.code].outcome is expected, check.code


def test_halves_on_different_scales_put_no_agreement_in_doubt():
    results = weighed(result("F.a", Outcome.WARNING, "half_scale"), result("1.a", Outcome.PASS))
    assert results["1.a"].outcome is Outcome.PASS


def test_every_decisive_quantity_is_one_that_its_check_judges():
    by_code = {check.code: check for check in CHECKS}
    for doubt in DOUBTS:
        assert doubt.decisive <= {criterion.quantity for criterion in by_code[doubt.code].criteria}
