"""One fault, told once: what stands on a contour level that is in doubt is in doubt itself."""

from __future__ import annotations

from veritem.results import CheckResult, Outcome
from veritem.run.plan import Plan, PlannedCheck

# The check that asks whether the level shows one particle, and its answers that say it does not.
LEVEL_CHECK = "0.b"
DECISIVE = frozenset({"bodies", "level_over_noise", "largest_volume", "overlap"})
# What is measured inside, or outside, the mask made from the level.
MASK = "hard_mask"


def weigh_contour_level(results: tuple[CheckResult, ...], plan: Plan) -> tuple[CheckResult, ...]:
    """Where 0.b finds that the contour level does not show one particle, say so in every check that uses its mask.

    A pass inside a mask that is not the particle's is no evidence, so it becomes inconclusive; a warning stays, with
    the level as its first probable cause.
    """
    level = next((r for r in results if r.code == LEVEL_CHECK), None)
    doubts = [w for w in level.warnings if w.quantity in DECISIVE] if level else []
    if not doubts:
        return results
    uses = {planned.check.code: _uses_mask(planned, plan) for planned in plan.checks}
    reason = f"{LEVEL_CHECK} warns: {doubts[0].warning} What is measured with this mask may not be the particle."
    return tuple(_weighed(r, reason) if r.code != LEVEL_CHECK and uses.get(r.code) else r for r in results)


def _uses_mask(planned: PlannedCheck, plan: Plan) -> bool:
    return MASK in plan.still_needed(planned.check.uses(), computed=())


def _weighed(result: CheckResult, reason: str) -> CheckResult:
    if result.outcome is Outcome.PASS:
        return result.model_copy(update={"outcome": Outcome.INCONCLUSIVE, "reason": reason})
    if result.outcome is not Outcome.WARNING:
        return result
    cause = f"the contour level, of which {LEVEL_CHECK} warns: the mask may not be the particle's"
    criteria = tuple(
        c.model_copy(update={"causes": (cause, *c.causes)}) if c.outcome is Outcome.WARNING else c
        for c in result.criteria
    )
    return result.model_copy(update={"criteria": criteria, "caveats": (reason, *result.caveats)})
