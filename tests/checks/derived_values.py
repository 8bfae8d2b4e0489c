"""The derived values behind 0.a and 0.b, for a map and a level, as the plan would make them."""

from __future__ import annotations

from typing import Any

from veritem.checks.base import Check, Verdict, judge
from veritem.derived import masks
from veritem.derived.noise import noise_region
from veritem.numerics.density_map import DensityMap


def values(
    density_map: DensityMap,
    level: float | None = None,
    molecular_weight: float | None = None,
    resolution: float | None = None,
) -> dict[str, Any]:
    contour_level = masks.contour_level(density_map, level, molecular_weight)
    raw_mask = masks.raw_mask(density_map, contour_level)
    components = masks.components(raw_mask)
    hard_mask = masks.hard_mask(components, density_map)
    distance = masks.mask_distance(hard_mask, density_map)
    return {
        "density_map": density_map,
        "contour_level": contour_level,
        "raw_mask": raw_mask,
        "components": components,
        "hard_mask": hard_mask,
        "mask_distance": distance,
        "soft_mask": masks.soft_mask(distance, density_map),
        "noise_region": noise_region(density_map, hard_mask, distance, resolution),
        "reported_resolution": resolution,
        "molecular_weight": molecular_weight,
        "threads": 1,
    }


def measured(check: Check, density_map: DensityMap, **inputs: float | None) -> tuple[Any, Verdict]:
    """The measurement and its verdict."""
    known = values(density_map, **inputs)
    measurement = check.measure(**{name: known[name] for name in check.uses()})
    return measurement, judge(check, measurement)


def outcomes(verdict: Verdict) -> dict[str, str]:
    return {criterion.quantity: criterion.outcome.value for criterion in verdict.criteria}
