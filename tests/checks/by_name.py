"""Inputs and derived values by name, resolved as in a run."""

from __future__ import annotations

from typing import Any

from veritem.checks.base import Check, Verdict, judge
from veritem.numerics.bands import Resampling
from veritem.numerics.density_map import DensityMap, HalfMaps
from veritem.numerics.device import CPU
from veritem.run.execute import Runner
from veritem.run.plan import make_plan


class Values:
    """known: what was handed in; a derived value put there takes the place of the computed one."""

    def __init__(self, **inputs: Any) -> None:
        self.known: dict[str, Any] = {
            "given_contour_level": None, "molecular_weight": None, "reported_resolution": None, "seed": 0, "threads": 1,
            "half_maps": None, "symmetry": "C1", "device": CPU,
        } | inputs  # fmt: skip
        self._runner = Runner(make_plan((), self.known), self.known, {})

    def __getitem__(self, name: str) -> Any:
        return self._runner.value(name)

    def measure(self, check: Check) -> Any:
        """The measurement; raises what the check raises."""
        return check.measure(**{name: self[name] for name in check.uses()})

    def judged(self, check: Check) -> tuple[Any, Verdict]:
        measurement = self.measure(check)
        return measurement, judge(check, measurement)


def values(
    density_map: DensityMap,
    level: float | None = None,
    molecular_weight: float | None = None,
    resolution: float | None = None,
) -> Values:
    return Values(
        density_map=density_map,
        given_contour_level=level,
        molecular_weight=molecular_weight,
        reported_resolution=resolution,
    )


def pair_values(simulated: Any, resolution: float | None = None, **inputs: Any) -> Values:
    """The values of a simulated map with its half maps."""
    return Values(
        density_map=simulated.density_map,
        half_maps=HalfMaps(simulated.half_1, simulated.half_2),
        given_contour_level=simulated.truth.contour_level,
        reported_resolution=resolution,
        **inputs,
    )


def uncut(density: DensityMap) -> Resampling:
    """The plan of a part that is the whole map."""
    return Resampling((0, 0, 0), density.shape, density.shape, density.pixel_size)


def measured(check: Check, density_map: DensityMap, **inputs: float | None) -> tuple[Any, Verdict]:
    """The measurement and its verdict."""
    return values(density_map, **inputs).judged(check)


def outcomes(verdict: Verdict) -> dict[str, str]:
    return {criterion.quantity: criterion.outcome.value for criterion in verdict.criteria}
