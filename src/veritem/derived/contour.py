"""A contour level for a map that came without one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from veritem.errors import NotApplicable
from veritem.numerics.density_map import DensityMap
from veritem.numerics.masks import label_components
from veritem.results import format_number

# Protein of 1.35 g/cm³ takes 1.23 Å³ per Da; 1.21 is the usual figure for packed protein.
MOLECULAR_VOLUME = 1.21  # Å³/Da


def level_enclosing(density_map: DensityMap, molecular_weight: float) -> tuple[float, str]:
    """The level at which the largest component has the volume of the molecule (1.21 Å³/Da), and how it was found.

    Raises NotApplicable when the molecule does not fit into the box.
    """
    wanted = MOLECULAR_VOLUME * molecular_weight / density_map.voxel_volume
    value = level_for_volume(density_map.data, wanted)
    return value, (
        f"the level at which the largest component holds the volume of {format_number(molecular_weight / 1000)} kDa "
        "(1.21 Å³ per Da)"
    )


def level_for_volume(data: NDArray[np.float32], voxels: float) -> float:
    """The highest level at which the largest component has at least `voxels` voxels.

    The largest component can only grow as the level falls, so bisection finds it.
    Raises NotApplicable when the box has fewer voxels.
    """
    wanted = max(1, round(voxels))
    if wanted >= data.size:
        raise NotApplicable(
            f"The molecule would take {wanted} voxels, and the box has {data.size}. Expected a box that holds the "
            "whole particle; check the molecular weight (Da) and the pixel size (Å)."
        )
    flat = data.reshape(-1)
    # All voxels above the level are at least those of its largest component: an upper bound to start from.
    high = float(np.partition(flat, flat.size - wanted)[flat.size - wanted])
    if label_components(data >= high).sizes[0] >= wanted:
        return high
    low = float(flat.min())
    resolution = (float(flat.max()) - low) * 1e-5
    while high - low > resolution:
        middle = 0.5 * (low + high)
        if label_components(data >= middle).sizes[0] >= wanted:
            low = middle
        else:
            high = middle
    return low


def estimate_level(density_map: DensityMap, threads: int = 1) -> tuple[float, str, bool]:
    """A level from the map alone; returns it, how it was found, and whether anything stands out from the noise."""
    data = density_map.data
    sample = data[:: max(1, data.shape[0] // 100), ::2, ::2]
    centre = float(np.median(sample))
    spread = 1.4826 * float(np.median(np.abs(sample - centre)))
    if spread == 0.0:
        inside = sample[sample != centre]
        level = float(np.median(inside))
    else:
        level = centre + 4.0 * spread
    return level, "four noise levels above the background (estimated)", True
