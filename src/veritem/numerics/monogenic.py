"""Monogenic amplitudes of band-passed maps: how strong the oscillation of a given wavelength is at each place.

The monogenic amplitude of a band-passed field g is sqrt(g² + r_z² + r_y² + r_x²), r its Riesz transform: the envelope
of g, whatever the phase and the direction of its oscillation. Felsberg and Sommer, IEEE Trans Signal Process 49 (2001)
3136, doi:10.1109/78.969520; for maps: Vilas et al., Structure 26 (2018) 337, doi:10.1016/j.str.2017.12.018.

A band holds no frequency beyond its upper edge, so each is worked on in a grid just fine enough for it (`band_shape`)
over the same physical box (`lengths`, Å).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from veritem.numerics.bands import Band
from veritem.numerics.device import like, namespace
from veritem.numerics.fourier import fast_size, irfftn, resize_transform, rfftn

Shape = tuple[int, int, int]
Lengths = tuple[float, float, float]


def band_shape(lengths: Lengths, finest: Shape, top: float, oversampling: float, coarsest_pixel: float) -> Shape:
    """A grid over a box of `lengths` (z, y, x, Å) whose Nyquist frequency is `oversampling` times `top` (1/Å).

    Its voxels are no larger than `coarsest_pixel` (Å), and no axis has more of them than `finest`.
    """
    pixel = min(0.5 / (oversampling * top), coarsest_pixel)
    sizes = [min(fast_size(int(np.ceil(length / pixel - 1e-6))), n) for length, n in zip(lengths, finest, strict=True)]
    return sizes[0], sizes[1], sizes[2]


def part_of_spectrum(transform: Any, shape: Shape, goal: Shape, stride: int = 1) -> Any:
    """A half-complex transform on another grid, amplitudes per voxel kept.

    transform: of a map of `shape`. stride 1: the same map on a coarser grid `goal` over the same box, grey values kept.
    stride m: every m-th coefficient; of noise that is noise of the same spectrum in a box of 1 / m of the edges, whose
    grid is `goal`.
    Planes at the Nyquist frequency of a coarser axis, and what the source does not reach, are zero.
    """
    if stride == 1:
        return resize_transform(transform, shape, goal)
    xp = namespace(transform)
    result = transform
    for axis, (n, m) in enumerate(zip(shape, goal, strict=True)):
        own = np.arange(m // 2 + 1) if axis == 2 else np.rint(np.fft.fftfreq(m, 1.0 / m)).astype(np.int64)
        void = (2 * np.abs(own) == m) | (2 * stride * np.abs(own) >= n)
        taken = np.where(void, 0, own * stride)
        result = xp.take(result, like(taken if axis == 2 else taken % n, result), axis=axis)
        if void.any():
            keep = (~void).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
            result = result * like(keep, result)
    # Noise in a smaller box has smaller coefficients: the root of the ratio of the numbers of voxels.
    return result * float(np.sqrt(np.prod(goal) / np.prod(shape)))


def frequencies(shape: Shape, lengths: Lengths) -> tuple[NDArray, NDArray, NDArray]:
    """Signed frequencies (1/Å) along z, y and the halved x, shaped to broadcast, float32."""
    z, y = (np.fft.fftfreq(n, length / n).astype(np.float32) for n, length in zip(shape[:2], lengths[:2], strict=True))
    x = np.fft.rfftfreq(shape[2], lengths[2] / shape[2]).astype(np.float32)
    return z[:, None, None], y[None, :, None], x[None, None, :]


def monogenic_power(transform: Any, shape: Shape, lengths: Lengths, band: Band, threads: int = 1) -> Any:
    """The squared monogenic amplitude of a map passed through a band, (nz, ny, nx).

    transform: half-complex, of `shape`. The Riesz transform multiplies with -i f / |f|; a band has no mean.
    """
    axes = frequencies(shape, lengths)
    radius = np.sqrt(axes[0] ** 2 + axes[1] ** 2 + axes[2] ** 2)
    gain = band.gain(radius)
    # The odd Riesz transform has no real counterpart on a grid's own Nyquist planes.
    for axis in range(3):
        n = shape[axis]
        if n % 2 == 0:
            plane: list[Any] = [slice(None)] * 3
            plane[axis] = n // 2
            gain[tuple(plane)] = 0.0
    passed = transform * like(gain, transform)
    field = irfftn(passed, shape, threads)
    total = field * field
    np.divide(1.0, radius, out=radius, where=radius > 0)
    passed = passed * like(radius, transform)
    passed = passed * -1j
    for component in axes:
        field = irfftn(passed * like(component, transform), shape, threads)
        field *= field
        total += field
    return total


def gaussian_average(volume: Any, lengths: Lengths, sigma: float, threads: int = 1, goal: Shape | None = None) -> Any:
    """Convolve with a unit-sum Gaussian of standard deviation `sigma` Å (periodic), on the grid `goal` if given."""
    shape = volume.shape
    transform = rfftn(volume, threads)
    final = shape if goal is None else goal
    if final != shape:
        transform = part_of_spectrum(transform, shape, final)
    for frequency in frequencies(final, lengths):
        transform *= like(np.exp(-2.0 * (np.pi * sigma * frequency) ** 2).astype(np.float32), transform)
    return irfftn(transform, final, threads)


def random_phases(transform: Any, shape: Shape, rng: np.random.Generator, threads: int = 1) -> Any:
    """Stationary noise with the amplitudes of `transform`: its phases are replaced by those of white noise."""
    xp = namespace(transform)
    noise = rfftn(like(rng.standard_normal(shape, np.float32), transform), threads)
    return noise * (xp.abs(transform) / xp.maximum(xp.abs(noise), like(np.asarray(1e-20, np.float32), transform)))


@njit(nogil=True, cache=True)
def sample(volume, shape, index, out):
    """Linear interpolation of a coarser periodic grid over the same box at voxels `index` of a grid of `shape`."""
    _, ny, nx = shape
    mz, my, mx = volume.shape
    sz, sy, sx = mz / shape[0], my / ny, mx / nx
    for i in range(index.size):
        flat = index[i]
        x = (flat % nx) * sx
        y = (flat // nx % ny) * sy
        z = (flat // (nx * ny)) * sz
        x0, y0, z0 = int(x), int(y), int(z)
        fx, fy, fz = x - x0, y - y0, z - z0
        x1, y1, z1 = (x0 + 1) % mx, (y0 + 1) % my, (z0 + 1) % mz
        low = (volume[z0, y0, x0] * (1 - fx) + volume[z0, y0, x1] * fx) * (1 - fy)
        low += (volume[z0, y1, x0] * (1 - fx) + volume[z0, y1, x1] * fx) * fy
        high = (volume[z1, y0, x0] * (1 - fx) + volume[z1, y0, x1] * fx) * (1 - fy)
        high += (volume[z1, y1, x0] * (1 - fx) + volume[z1, y1, x1] * fx) * fy
        out[i] = low * (1 - fz) + high * fz


@njit(nogil=True, cache=True)
def _last_crossing(ratios, log_frequency, lasting, out):
    bands, voxels = ratios.shape
    for v in range(voxels):
        passed = -1  # the last band that stood out
        failed = 0
        for j in range(bands):
            if ratios[j, v] >= 1.0:
                passed, failed = j, 0
            else:
                failed += 1
                if failed == lasting:
                    break
        if passed < 0:
            out[v] = np.nan
        elif passed == bands - 1:
            out[v] = np.exp(-log_frequency[passed])
        else:
            above, below = np.log(ratios[passed, v]), np.log(max(ratios[passed + 1, v], 1e-12))
            share = above / (above - below)
            out[v] = np.exp(-(log_frequency[passed] + share * (log_frequency[passed + 1] - log_frequency[passed])))


def resolution_of_ratios(ratios: NDArray, centres: NDArray, lasting: int = 2) -> NDArray[np.float32]:
    """Where a signal that is followed from coarse to fine is lost: (voxels,) Å, NaN where it never stood out.

    ratios: (bands, voxels), amplitude over its threshold. centres: (bands,) rising, 1/Å.
    The signal is lost at the first `lasting` neighbouring bands whose ratio is below 1; the crossing is interpolated
    between the last band above and the next, in the logarithms of both. A ratio that never falls gives the last centre.
    """
    out = np.empty(ratios.shape[1], np.float32)
    _last_crossing(ratios, np.log(np.asarray(centres, np.float64)), lasting, out)
    return out


@njit(nogil=True, cache=True)
def _medians(volume, inside, index, out):
    nz, ny, nx = volume.shape
    near = np.empty(27, np.float32)
    for i in range(index.size):
        flat = index[i]
        x, y, z = flat % nx, flat // nx % ny, flat // (nx * ny)
        count = 0
        for a in range(max(z - 1, 0), min(z + 2, nz)):
            for b in range(max(y - 1, 0), min(y + 2, ny)):
                for c in range(max(x - 1, 0), min(x + 2, nx)):
                    if inside[a, b, c]:
                        value = volume[a, b, c]
                        # No signal is worse than any resolution.
                        near[count] = np.inf if np.isnan(value) else value
                        count += 1
        middle = np.sort(near[:count])[count // 2]
        out[i] = np.nan if np.isinf(middle) else middle


def median_of_neighbours(values: NDArray[np.float32], index: NDArray[np.int64], shape: Shape) -> NDArray[np.float32]:
    """The median over each voxel's 3 x 3 x 3 neighbours among the voxels `index`; NaN counts as coarser than all.

    values: (voxels,) at the flat indices `index` of a volume of `shape`. Of an even number the coarser middle is taken.
    """
    volume = np.full(shape, np.nan, np.float32)
    volume.ravel()[index] = values
    inside = np.zeros(shape, np.bool_)
    inside.ravel()[index] = True
    out = np.empty(index.size, np.float32)
    _medians(volume, inside, index, out)
    return out
