"""Bring a map with unequal voxel sizes onto cubes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

# Rows of the new map made at once: enough for fast matrix products, few beside the map.
_ROWS = 16


def resampled_size(count: int, spacing: float, new_spacing: float) -> int:
    """Samples at the new spacing that lie on or between the first and the last old one."""
    # A hair of tolerance, so that equal spacings keep their count whatever the rounding.
    return int((count - 1) * spacing / new_spacing + 1e-6) + 1


def to_isotropic(
    data: NDArray[np.float32], spacing: tuple[float, float, float], pixel_size: float
) -> NDArray[np.float32]:
    """Trigonometric interpolation to a finer or equal spacing along each axis; voxel (0, 0, 0) stays in place.

    data: (nz, ny, nx). spacing: z, y, x in Å. pixel_size: Å, not above any spacing.
    Every Fourier coefficient of the periodic map is kept as it was: nothing is dampened and nothing added, unlike
    with splines. Each axis is one matrix product, since the ratio of the spacings is arbitrary.
    Memory: the new map beside the old one.
    """
    sizes = [resampled_size(count, step, pixel_size) for count, step in zip(data.shape, spacing, strict=True)]
    along_z, along_y, along_x = (
        _interpolation(count, np.arange(size) * (pixel_size / step)).astype(np.float32)
        for count, size, step in zip(data.shape, sizes, spacing, strict=True)
    )
    result = np.empty(sizes, np.float32)
    # A few rows of the new map at a time, through all three axes, so that no other copy is needed.
    # One thread: with others the thousands of small products wait for each other, seven times longer on busy cores.
    with threadpool_limits(1, user_api="blas"):
        for first in range(0, sizes[1], _ROWS):
            rows = np.matmul(along_y[first : first + _ROWS], data)
            rows = (rows.reshape(-1, rows.shape[-1]) @ along_x.T).reshape(*rows.shape[:2], -1)
            result[:, first : first + _ROWS] = np.tensordot(along_z, rows, axes=(1, 0))
    return result


def _interpolation(count: int, places: NDArray[np.floating]) -> NDArray[np.float64]:
    """Weights (places, count) of the trigonometric polynomial through `count` periodic samples.

    The Nyquist term of an even count is its cosine, the only real choice without a phase of its own.
    """
    distance = places[:, None] - np.arange(count)
    angle = np.pi * distance / count
    near = np.abs(np.sin(angle)) < 1e-12
    safe = np.where(near, 1.0, angle)
    denominator = count * (np.sin(safe) if count % 2 else np.tan(safe))
    return np.where(near, 1.0, np.sin(np.pi * distance) / denominator)
