"""Half maps of one invented protein, alike in all directions or not, for the checks of direction."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from tests.checks.by_name import Values
from veritem.numerics.density_map import HalfMaps
from veritem.numerics.distance import signed_distance
from veritem.simulation.anisotropy import Anisotropy
from veritem.simulation.half_maps import Degrade, SimulatedMap, simulate_half_maps, simulate_map
from veritem.simulation.models import ideal_protein

RESOLUTION, PIXEL_SIZE = 3.4, 1.2


@cache
def clean_protein() -> SimulatedMap:
    """Two subunits of 260 residues, without noise: raw half maps, and the true mask."""
    return simulate_map(ideal_protein(residues=260, subunits=2, seed=7), 84, PIXEL_SIZE, resolution=None, b_factor=70.0)


def pair(
    seed: int, anisotropy: Anisotropy | None = None, degrade: Degrade | None = None, symmetry: str = "C1"
) -> Values:
    """Values of two half maps that reach 3.4 Å inside the true mask, which stands in for the contour's."""
    clean = clean_protein()
    first, second, _ = simulate_half_maps(
        clean.half_1, RESOLUTION, mask=clean.truth.mask, seed=seed, anisotropy=anisotropy, degrade=degrade
    )
    return masked_values(HalfMaps(first, second), clean.truth.mask, symmetry)


def masked_values(half_maps: HalfMaps, mask: np.ndarray, symmetry: str = "C1") -> Values:
    """Values with a mask that is known."""
    mean = replace(half_maps.first, data=(half_maps.first.data + half_maps.second.data) * np.float32(0.5))
    values = Values(density_map=mean, half_maps=half_maps, reported_resolution=RESOLUTION, symmetry=symmetry)
    distance = signed_distance(mask, mean.pixel_size, 60.0)
    values.known |= {"hard_mask": mask, "mask_distance": distance}
    return values
