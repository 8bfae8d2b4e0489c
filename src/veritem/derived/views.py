"""The map as people look at it: cropped to the particle and small enough for a browser."""

from __future__ import annotations

import numpy as np

from veritem.derived.masks import ContourLevel
from veritem.derived.registry import derived
from veritem.numerics.density_map import DensityMap
from veritem.numerics.fourier import resample

# A browser turns 128³ voxels into a surface in well under a second, and they fit a report of a few MB.
LONGEST_AXIS = 128
MARGIN = 4


@derived
def view_map(density_map: DensityMap, contour_level: ContourLevel, threads: int) -> DensityMap:
    """The map around what lies above the contour level, on at most 128 voxels an axis.

    Everything above the level is kept, not the largest component alone: a viewer must not hide dust.
    Returns a map with a pixel size of its own; its origin puts it where the submitted map is.
    """
    slices = _occupied(density_map, contour_level.value)
    data = density_map.data[slices]
    origin = tuple(
        o + s.start * density_map.pixel_size for o, s in zip(density_map.origin, reversed(slices), strict=True)
    )
    cropped = DensityMap(np.ascontiguousarray(data), density_map.pixel_size, origin)
    longest = max(cropped.shape)
    if longest <= LONGEST_AXIS:
        return cropped
    # The resampler rounds the number of voxels; aim a little low so that the limit holds.
    return resample(cropped, cropped.pixel_size * longest / (LONGEST_AXIS - 3), threads)


def _occupied(density_map: DensityMap, level: float) -> tuple[slice, slice, slice]:
    above = density_map.data >= level
    slices = []
    for axis, n in enumerate(density_map.shape):
        others = tuple(a for a in range(3) if a != axis)
        where = np.flatnonzero(above.any(axis=others))
        first, last = (where[0], where[-1]) if where.size else (0, n - 1)
        slices.append(slice(max(0, int(first) - MARGIN), min(n, int(last) + 1 + MARGIN)))
    return slices[0], slices[1], slices[2]
