"""Bring a map with unequal voxel sizes onto cubes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


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
    """
    result = data
    for axis in range(3):
        count = data.shape[axis]
        if abs(spacing[axis] - pixel_size) <= 1e-6 * pixel_size:
            continue
        places = np.arange(resampled_size(count, spacing[axis], pixel_size)) * (pixel_size / spacing[axis])
        matrix = _interpolation(count, places).astype(np.float32)
        result = np.moveaxis(np.tensordot(matrix, result, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(result)


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
