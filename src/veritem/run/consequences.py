"""One fault, told once: what stands on an input that a check found to be in doubt is in doubt itself."""

from __future__ import annotations

from dataclasses import dataclass

from veritem.results import CheckResult, Outcome
from veritem.run.plan import Plan, PlannedCheck


@dataclass(frozen=True)
class Doubt:
    """A check whose warnings put others in doubt.

    code: of the check. decisive: the quantities whose warning says that what others stand on is not what it should be.
    basis: the input or derived value that they stand on. consequence: what that means for them, a sentence.
    cause: the same as a probable cause of a warning.
    """

    code: str
    decisive: frozenset[str]
    basis: str
    consequence: str
    cause: str


DOUBTS = (
    Doubt(
        code="0.b",
        decisive=frozenset({"bodies", "level_over_noise", "largest_volume", "overlap"}),
        # What is measured inside, or outside, the mask made from the level.
        basis="hard_mask",
        consequence="What is measured with this mask may not be the particle.",
        cause="the contour level, of which 0.b warns: the mask may not be the particle's",
    ),
    Doubt(
        code="F.a",
        decisive=frozenset(
            {
                "distinct_noise",
                "half_in_map",
                "noise_correlation",
                "half_agreement",
                "half_mirrored",
                "half_turned",
                "half_shift",
                "solvent_ratio",
                "noise_removed",
                "noise_flatness",
                "map_agreement",
            }
        ),
        basis="half_maps",
        consequence="Agreement of such half maps is no evidence.",
        cause="the half maps themselves, of which F.a warns",
    ),
)


def weigh_doubts(results: tuple[CheckResult, ...], plan: Plan) -> tuple[CheckResult, ...]:
    """Where a check finds that an input is not what it should be, say so in every check that stands on it.

    A pass on such ground is no evidence, so it becomes inconclusive; a warning stays, with the doubt as its first
    probable cause.
    """
    for doubt in DOUBTS:
        source = next((r for r in results if r.code == doubt.code), None)
        found = [w for w in source.warnings if w.quantity in doubt.decisive] if source else []
        if not found:
            continue
        stands = {planned.check.code: _stands_on(planned, doubt.basis, plan) for planned in plan.checks}
        reason = f"{doubt.code} warns: {found[0].warning} {doubt.consequence}"
        results = tuple(
            _weighed(r, reason, doubt.cause) if r.code != doubt.code and stands.get(r.code) else r for r in results
        )
    return results


def _stands_on(planned: PlannedCheck, basis: str, plan: Plan) -> bool:
    return basis in plan.still_needed(planned.check.uses(), computed=())


def _weighed(result: CheckResult, reason: str, cause: str) -> CheckResult:
    if result.outcome is Outcome.PASS:
        return result.model_copy(update={"outcome": Outcome.INCONCLUSIVE, "reason": reason})
    if result.outcome is not Outcome.WARNING:
        return result
    criteria = tuple(
        c.model_copy(update={"causes": (cause, *c.causes)}) if c.outcome is Outcome.WARNING else c
        for c in result.criteria
    )
    return result.model_copy(update={"criteria": criteria, "caveats": (reason, *result.caveats)})
