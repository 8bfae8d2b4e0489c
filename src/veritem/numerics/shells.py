"""Sums over shells of equal |frequency|. Shells are one Fourier voxel of the longest axis thick.

Shell k holds the coefficients with round(|f| / df) == k, df = 1 / (longest axis x pixel size). Coefficients of a
half-complex transform stand for their Friedel mates too, except on the planes that are their own mates; counts are of
Hermitian-unique (independent) complex coefficients.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


def shell_width(shape: tuple[int, int, int], pixel_size: float) -> float:
    """df in 1/Å."""
    return 1.0 / (max(shape) * pixel_size)


def shell_count(shape: tuple[int, int, int]) -> int:
    """Shells 0 ... up to Nyquist."""
    return max(shape) // 2 + 1


def shell_frequencies(shape: tuple[int, int, int], pixel_size: float) -> NDArray[np.float64]:
    """The centre of each shell, 1/Å."""
    return np.arange(shell_count(shape), dtype=np.float64) * shell_width(shape, pixel_size)


def axis_scales(shape: tuple[int, int, int]) -> tuple[float, float, float]:
    """Fourier voxels of z, y and x in those of the longest axis."""
    nz, ny, nx = shape
    longest = max(shape)
    return longest / nz, longest / ny, longest / nx


@njit(nogil=True, cache=True)
def _accumulate(power, nz, ny, nx, scale_z, scale_y, scale_x, sums, squares, counts):
    shells = sums.size
    last = nx // 2
    for iz in range(nz):
        kz = (iz if iz <= nz // 2 else iz - nz) * scale_z
        for iy in range(ny):
            ky = (iy if iy <= ny // 2 else iy - ny) * scale_y
            for ix in range(last + 1):
                kx = ix * scale_x
                shell = int(np.sqrt(kz * kz + ky * ky + kx * kx) + 0.5)
                if shell >= shells:
                    continue
                # On x = 0 and x = Nyquist the mates are in the array too: each is half a coefficient.
                weight = 0.5 if ix == 0 or (nx % 2 == 0 and ix == last) else 1.0
                value = power[iz, iy, ix]
                sums[shell] += weight * value
                squares[shell] += weight * value * value
                counts[shell] += weight


def shell_means(
    values: NDArray, shape: tuple[int, int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean, variance and number of independent coefficients per shell of a real field on the half-complex grid.

    values: (nz, ny, nx // 2 + 1), e.g. |F|² or Re(F1 F2*).
    Returns three (shells,) float64.
    """
    shells = shell_count(shape)
    sums, squares, counts = np.zeros(shells), np.zeros(shells), np.zeros(shells)
    _accumulate(values, *shape, *axis_scales(shape), sums, squares, counts)
    held = np.maximum(counts, 1e-30)
    mean = sums / held
    return mean, np.maximum(squares / held - mean**2, 0.0), counts


def power(transform: NDArray) -> NDArray[np.float32]:
    """|F|² without a temporary of |F|."""
    return transform.real**2 + transform.imag**2
