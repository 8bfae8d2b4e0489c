"""Real Fourier transforms of maps and the filters that live there. Boxes may be non-cubic, odd or even.

Transforms and filters take numpy arrays or arrays of a GPU, and answer in kind.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from veritem.numerics.density_map import DensityMap
from veritem.numerics.device import like, namespace


def rfftn(data: Any, threads: int = 1) -> Any:
    """The half-complex transform of a real (nz, ny, nx) array: (nz, ny, nx // 2 + 1), single precision."""
    xp = namespace(data)
    if xp is np:
        return scipy.fft.rfftn(np.asarray(data, np.float32), workers=threads)
    return xp.astype(xp.fft.rfftn(xp.astype(data, xp.float32, copy=False)), xp.complex64, copy=False)


def irfftn(transform: Any, shape: tuple[int, int, int], threads: int = 1) -> Any:
    """Back to the real array of the given (nz, ny, nx)."""
    xp = namespace(transform)
    if xp is np:
        return scipy.fft.irfftn(transform, s=shape, workers=threads)
    return xp.astype(xp.fft.irfftn(transform, s=shape, axes=(0, 1, 2)), xp.float32, copy=False)


def fftn(data: Any, threads: int = 1) -> Any:
    """The full complex transform of a complex (nz, ny, nx) array, in its own precision."""
    xp = namespace(data)
    return scipy.fft.fftn(data, workers=threads) if xp is np else xp.fft.fftn(data)


def ifftn(transform: Any, threads: int = 1) -> Any:
    """Back from `fftn`."""
    xp = namespace(transform)
    return scipy.fft.ifftn(transform, workers=threads) if xp is np else xp.fft.ifftn(transform)


def axis_frequencies(shape: tuple[int, int, int], pixel_size: float) -> tuple[NDArray, NDArray, NDArray]:
    """Signed frequencies (1/Å) along z, y and the halved x, float32."""
    nz, ny, nx = shape
    return (
        np.fft.fftfreq(nz, pixel_size).astype(np.float32),
        np.fft.fftfreq(ny, pixel_size).astype(np.float32),
        np.fft.rfftfreq(nx, pixel_size).astype(np.float32),
    )


def frequency_grid(shape: tuple[int, int, int], pixel_size: float) -> NDArray[np.float32]:
    """|f| in 1/Å of every coefficient of `rfftn`, (nz, ny, nx // 2 + 1) float32."""
    fz, fy, fx = axis_frequencies(shape, pixel_size)
    squared = fz[:, None, None] ** 2 + fy[None, :, None] ** 2 + fx[None, None, :] ** 2
    return np.sqrt(squared, out=squared)


def raised_cosine(frequency: NDArray, cutoff: float, width: float) -> NDArray[np.float32]:
    """A low-pass: 1 below `cutoff`, falling to 0 over `width` (both 1/Å) as half a cosine."""
    ramp = np.clip((frequency - cutoff) / width, 0.0, 1.0)
    return (0.5 * (1.0 + np.cos(np.pi * ramp))).astype(np.float32)


def low_pass(
    data: NDArray, pixel_size: float, cutoff: float, width: float | None = None, threads: int = 1
) -> NDArray[np.float32]:
    """Low-pass a map at `cutoff` (1/Å) with a raised-cosine edge of `width` (1/Å; default 0.02 / pixel_size)."""
    shape = data.shape
    grid = frequency_grid(shape, pixel_size)
    transform = rfftn(data, threads)
    transform *= raised_cosine(grid, cutoff, 0.02 / pixel_size if width is None else width)
    return irfftn(transform, shape, threads)


def gaussian_filter(data: Any, sigma: float, threads: int = 1) -> Any:
    """Convolve with a unit-sum Gaussian of standard deviation `sigma` voxels; the box is periodic."""
    shape = data.shape
    transform = rfftn(data, threads)
    for axis, n in enumerate(shape):
        digital = np.fft.rfftfreq(n) if axis == 2 else np.fft.fftfreq(n)
        gain = np.exp(-2.0 * (np.pi * sigma * digital) ** 2).astype(np.float32)
        transform *= like(gain.reshape([-1 if a == axis else 1 for a in range(3)]), transform)
    return irfftn(transform, shape, threads)


def fast_size(n: int) -> int:
    """The smallest even size >= n whose real transform is fast."""
    size = scipy.fft.next_fast_len(n, real=True)
    while size % 2:
        size = scipy.fft.next_fast_len(size + 1, real=True)
    return size


def fourier_resize(data: NDArray, shape: tuple[int, int, int], threads: int = 1) -> NDArray[np.float32]:
    """Sample the same periodic density on another grid by cropping or padding its transform.

    Grey values are kept (a constant stays that constant). Voxel (0, 0, 0) stays where it was, so the physical box
    edges are unchanged and the pixel size along an axis becomes old * n_old / n_new. Coefficients on the Nyquist
    plane of the smaller grid are dropped: their partner is not on both grids.
    """
    nz, ny, nx = data.shape
    return irfftn(resize_transform(rfftn(data, threads), (nz, ny, nx), shape), shape, threads)


def resize_transform(transform: Any, old: tuple[int, int, int], new: tuple[int, int, int]) -> Any:
    """The half-complex transform of the same periodic density on another grid: cropped or padded, grey values kept.

    old, new: (nz, ny, nx) of the maps. On an axis that changes, the Nyquist plane of the shorter one is dropped.
    """
    if tuple(old) == tuple(new):
        return transform
    xp = namespace(transform)
    resized = xp.zeros((new[0], new[1], new[2] // 2 + 1), dtype=transform.dtype)
    along_z, along_y = (_kept(n, m) for n, m in zip(old[:2], new[:2], strict=True))
    kx = new[2] // 2 + 1 if old[2] == new[2] else (min(old[2], new[2]) - 1) // 2 + 1
    for z in along_z:
        for y in along_y:
            resized[z, y, :kx] = transform[z, y, :kx]
    resized *= float(np.prod(new) / np.prod(old))
    return resized


def _kept(old: int, new: int) -> tuple[slice, ...]:
    """Coefficients of a full axis that are on both grids, from either end."""
    if old == new:
        return (slice(None),)
    keep = (min(old, new) - 1) // 2
    return (slice(0, keep + 1), slice(-keep, None)) if keep else (slice(0, 1),)


def shifted_transform(
    transform: NDArray, shape: tuple[int, int, int], shift: tuple[float, float, float]
) -> NDArray[np.complex64]:
    """The half-complex transform of a map of `shape` moved by (z, y, x) voxels.

    On the Nyquist plane of an even axis the phase is replaced by its cosine: the coefficient there must stay real.
    """
    out = np.array(transform, np.complex64)
    for axis, (n, s) in enumerate(zip(shape, shift, strict=True)):
        k = np.fft.fftfreq(n, 1 / n) if axis < 2 else np.arange(n // 2 + 1)
        phase = np.exp(-2j * np.pi * k * s / n)
        if n % 2 == 0:
            phase[n // 2] = np.cos(np.pi * s)
        out *= phase.astype(np.complex64).reshape([-1 if a == axis else 1 for a in range(3)])
    return out


def resample(density_map: DensityMap, pixel_size: float, threads: int = 1) -> DensityMap:
    """Resample a map to about `pixel_size` (Å) by Fourier cropping or padding.

    The new pixel size must be the same along the three axes, and a Fourier transform only gives whole numbers of
    voxels per edge. So the map is padded at its far faces, with its edge values, to a cube of a fast size, resized,
    and cut back. Returns the map with its exact pixel size; the new cube has an even number of voxels, so that size
    differs from what was asked for by at most one part in that number.
    """
    old = density_map.pixel_size
    padded_size = fast_size(max(density_map.shape))
    new_size = max(2, 2 * round(padded_size * old / pixel_size / 2))
    exact = old * padded_size / new_size
    widths = [(0, padded_size - n) for n in density_map.shape]
    padded = np.pad(density_map.data, widths, mode="edge") if any(w for _, w in widths) else density_map.data
    resized = fourier_resize(padded, (new_size, new_size, new_size), threads)
    nz, ny, nx = (max(1, round(n * old / exact)) for n in density_map.shape)
    return DensityMap(np.ascontiguousarray(resized[:nz, :ny, :nx]), exact, density_map.origin)
