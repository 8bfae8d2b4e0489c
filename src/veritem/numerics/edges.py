"""What the edge of a mask leaves in a map."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def average_along_edge(
    data: NDArray, depth: NDArray, reach: float, cell: int = 4, spread: float = 5.0
) -> NDArray[np.float32]:
    """Average a map along the surfaces of equal depth below an edge.

    What changes with the depth stays as it is, a step or a fade; what changes along the surface over less than about
    twice `spread` is averaged away.

    data: (nz, ny, nx). depth: (nz, ny, nx) voxels, positive inside the edge. reach: voxels, the deepest surface.
    cell: voxels of a cube that is summed before smoothing. spread: voxels, standard deviation of the smoothing.
    Returns (nz, ny, nx): the averages where 0 < depth <= reach, zero elsewhere. Surfaces are one voxel thick.
    """
    averaged = np.zeros(data.shape, np.float32)
    where = np.flatnonzero((depth > 0) & (depth <= reach))
    if where.size == 0:
        return averaged
    surface = np.ceil(depth.ravel()[where]).astype(np.int64)
    where = where[np.argsort(surface, kind="stable")]
    starts = np.concatenate([[0], np.cumsum(np.bincount(surface))])
    coarse = tuple(-(-n // cell) for n in data.shape)
    for first, last in pairwise(starts):
        if first == last:
            continue
        voxels = where[first:last]
        place = np.stack(np.unravel_index(voxels, data.shape))
        bins = np.ravel_multi_index(tuple(place // cell), coarse)
        counts = np.bincount(bins, minlength=int(np.prod(coarse))).astype(np.float64).reshape(coarse)
        sums = np.bincount(bins, data.ravel()[voxels], counts.size).reshape(coarse)
        for table in (counts, sums):
            ndimage.gaussian_filter(table, spread / cell, output=table, mode="constant", truncate=6.0)
        # Where a surface never comes near, a mean would be nothing over nothing.
        mean = sums / np.maximum(counts, 1e-12)
        averaged.ravel()[voxels] = ndimage.map_coordinates(mean, (place + 0.5) / cell - 0.5, order=1, mode="nearest")
    return averaged
