"""Where a map holds noise, and the second-order statistics of that noise.

Noise is looked at through windows of irregular shape. Its covariance is the ratio of two correlations, that of the
windowed noise and that of the window, lag by lag; whatever the shape of the window, the expectation of the ratio is
the covariance itself, so that the spectrum needs no further deconvolution (Blackman-Tukey estimate).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import binary_opening, distance_transform_edt, uniform_filter

from veritem.numerics.fourier import frequency_grid


@njit(nogil=True, cache=True)
def _block_sums(data, inside, edge, offset, counts, sums, squares):
    nz, ny, nx = data.shape
    for iz in range(nz):
        for iy in range(ny):
            for ix in range(nx):
                if inside[iz, iy, ix]:
                    value = np.float64(data[iz, iy, ix]) - offset
                    bz, by, bx = iz // edge, iy // edge, ix // edge
                    counts[bz, by, bx] += 1.0
                    sums[bz, by, bx] += value
                    squares[bz, by, bx] += value * value


@dataclass(frozen=True, eq=False)
class BlockMoments:
    """Counts, sums and sums of squares of the voxels of a region, block by block.

    Blocks are cubes of `edge` voxels from voxel (0, 0, 0) on; those at the far faces may be cut short.
    counts, sums, squares: (bz, by, bx) float64; values are taken relative to `offset`.
    """

    edge: int
    offset: float
    counts: NDArray[np.float64]
    sums: NDArray[np.float64]
    squares: NDArray[np.float64]

    def variance(self, reach: int = 1) -> NDArray[np.float64]:
        """Variance within windows of (2 reach + 1)³ blocks; NaN where a window holds fewer than 8 voxels."""
        size = 2 * reach + 1
        counts, sums, squares = (
            uniform_filter(a, size, mode="constant") * size**3 for a in (self.counts, self.sums, self.squares)
        )
        held = np.maximum(counts, 1.0)
        variance = np.maximum(squares / held - (sums / held) ** 2, 0.0)
        # Rounding of the running sums leaves about 1e-14 of the square of the values; that is no variance.
        variance[variance <= 1e-11 * squares / held] = 0.0
        return np.where(counts > 7.5, variance, np.nan)


def block_moments(data: NDArray, region: NDArray[np.bool_], edge: int) -> BlockMoments:
    """Sum the voxels of `region` over cubes of `edge` voxels.

    data, region: (nz, ny, nx).
    """
    shape = tuple(-(-n // edge) for n in data.shape)
    counts, sums, squares = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    offset = float(data[0, 0, 0])
    _block_sums(data, region, edge, offset, counts, sums, squares)
    return BlockMoments(edge, offset, counts, sums, squares)


def blocks_to_voxels(blocks: NDArray, edge: int, shape: tuple[int, int, int]) -> NDArray:
    """Repeat each block's value over its voxels and cut to `shape`."""
    grown = blocks
    for axis, n in enumerate(shape):
        grown = np.repeat(grown, edge, axis=axis)
        grown = grown[tuple(slice(0, n) if a == axis else slice(None) for a in range(3))]
    return grown


def featureless_blocks(moments: BlockMoments, relative_variance: float) -> tuple[NDArray[np.bool_], float]:
    """Blocks where a region holds no noise: no local variance, or far less than is usual where there is some.

    relative_variance: of the median over the blocks that vary at all; less than this is no noise.
    Returns the blocks (boolean) and the median variance (0 when nothing varies).
    """
    variance = moments.variance()
    held = moments.counts > 0
    varies = held & (np.nan_to_num(variance) > 0)
    if not varies.any():
        return held, 0.0
    usual = float(np.median(variance[varies]))
    constant = held & ~varies
    quiet = held & (np.nan_to_num(variance, nan=np.inf) < relative_variance * usual)
    # A lone quiet block is chance; a mask leaves a body of them.
    return constant | binary_opening(quiet, np.ones((2, 2, 2), bool)), usual


def within_fading_border(
    data: NDArray, region: NDArray[np.bool_], empty: NDArray[np.bool_], full: float, widest: float
) -> NDArray[np.bool_]:
    """Voxels of `empty`, and those beside it where the noise has not yet come up to its usual strength.

    The variance of `region` is followed with the distance from `empty`; the border ends 2 voxels beyond the distance
    where it comes up to `full` times its upper quartile over the region.
    widest: voxels, the most that a border can be.
    Returns (nz, ny, nx) boolean.
    """
    edge = 2
    inside = block_moments(data, region & ~empty, edge)
    taken = block_moments(data, empty, edge).counts > 0
    distance = edge * distance_transform_edt(~taken).astype(np.float32)
    step = np.minimum(distance / edge, 10_000).astype(np.int64).ravel()
    counts = np.bincount(step, inside.counts.ravel())
    sums = np.bincount(step, inside.sums.ravel())
    squares = np.bincount(step, inside.squares.ravel())
    known = np.flatnonzero(counts >= 200)
    if known.size == 0:
        return np.ones(data.shape, bool)
    variance = squares[known] / counts[known] - (sums.sum() / counts.sum()) ** 2
    order = np.argsort(variance)
    usual = variance[order][np.searchsorted(np.cumsum(counts[known][order]), 0.75 * counts[known].sum())]
    risen = variance >= full * usual
    # Twice in a row: the few voxels of one distance may be strong by chance.
    first = np.flatnonzero(risen & np.append(risen[1:], True))
    border = min(widest, edge * float(known[first[0]])) if first.size else widest
    return blocks_to_voxels(distance <= border + 2.0, edge, data.shape)


def most_frequent_value(values: NDArray) -> tuple[float, float, float]:
    """The most frequent value of a sample, its share of the sample, and that of the next; (nan, 0, 0) when empty."""
    if values.size == 0:
        return float("nan"), 0.0, 0.0
    unique, counts = np.unique(values, return_counts=True)
    top = int(np.argmax(counts))
    first = counts[top]
    counts[top] = 0
    return float(unique[top]), float(first / values.size), float(counts.max() / values.size)


def grey_step(values: NDArray) -> float:
    """The distance between neighbouring grey values, as most of them lie: large when a map was stored as integers."""
    unique = np.unique(values[:: max(1, values.size // 200_000)])
    return float(np.median(np.diff(unique))) if unique.size > 1 else float("inf")


# --- covariance and spectrum ----------------------------------------------------------------------------------


def windowed_covariance(
    data: NDArray, window: NDArray, reach: int, threads: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Covariance of noise seen through a window, for lags up to `reach` voxels along each axis.

    data: (nz, ny, nx) real, of mean zero where `window` is not zero. The box is not taken as periodic.
    window: same shape; boolean or weights.
    Returns covariance and the weight of window pairs behind it, each (2 reach + 1,)*3 with lag 0 in the middle; a
    lag that the window does not hold is 0 with weight 0.
    """
    padded = tuple(scipy.fft.next_fast_len(n + reach, real=True) for n in data.shape)
    weights = np.asarray(window, np.float32)
    pairs = _correlation(weights, padded, reach, threads)
    products = _correlation(np.asarray(data, np.float32) * weights, padded, reach, threads)
    # Single-precision transforms carry errors of about 1e-7 of the largest value: less than one pair is none.
    held = pairs > max(0.5, 1e-5 * pairs.max())
    return np.where(held, products / np.where(held, pairs, 1.0), 0.0), np.where(held, pairs, 0.0)


def _correlation(field: NDArray[np.float32], padded: tuple[int, ...], reach: int, threads: int) -> NDArray[np.float64]:
    transform = scipy.fft.rfftn(field, s=padded, workers=threads)
    power = transform.real**2 + transform.imag**2
    full = scipy.fft.irfftn(power, s=padded, workers=threads)
    # Lags that are longer than the box hold no pair.
    ranges = [np.arange(-reach, reach + 1) % n for n in padded]
    return full[np.ix_(*ranges)].astype(np.float64)


def lag_taper(reach: int) -> NDArray[np.float64]:
    """A spherical Hann taper over lags, 1 at lag 0 and 0 beyond `reach`: (2 reach + 1,)*3."""
    lags = np.arange(-reach, reach + 1) / (reach + 1)
    radius = np.sqrt(lags[:, None, None] ** 2 + lags[None, :, None] ** 2 + lags[None, None, :] ** 2)
    return np.where(radius < 1.0, 0.5 * (1.0 + np.cos(np.pi * np.minimum(radius, 1.0))), 0.0)


def covariance_to_power(covariance: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Power per voxel on the half-complex grid of a cube of `size` voxels, from a centred covariance.

    covariance: (2 reach + 1,)*3, reach < size / 2, tapered by the caller.
    Power is E|F|² of the unnormalised transform divided by the number of voxels (by the sum of squared weights, for
    windowed noise): white noise of unit variance has power 1. Negative values, which an estimate may have, become 0.
    """
    reach = covariance.shape[0] // 2
    wrapped = np.zeros((size, size, size))
    lags = np.arange(-reach, reach + 1)
    wrapped[np.ix_(lags, lags, lags)] = covariance
    return np.maximum(np.fft.rfftn(wrapped).real, 0.0)


def radial_mean(power: NDArray[np.float64], size: int, pixel_size: float) -> tuple[NDArray, NDArray]:
    """Mean of a half-complex cube over shells one Fourier voxel thick, up to the corner of the cube.

    Returns frequency (n,) in 1/Å and the mean (n,); n = floor(√3 size / 2) + 1.
    """
    index = np.rint(frequency_grid((size, size, size), 1.0) * size).astype(np.int64).ravel()
    # Coefficients that stand for their Friedel mates too count twice.
    twice = np.full(power.shape, 2.0)
    twice[..., 0] = 1.0
    if size % 2 == 0:
        twice[..., -1] = 1.0
    count = np.bincount(index, twice.ravel())
    mean = np.bincount(index, (twice * power).ravel()) / np.maximum(count, 1e-30)
    return np.arange(mean.size) / (size * pixel_size), mean


def independent_voxels(voxels: float, power: NDArray[np.float64]) -> float:
    """How many independent values hold as much information on the variance as `voxels` correlated ones.

    N_eff = N (Σ P)² / (K Σ P²) over all K coefficients of the power P: the variance of the mean square of correlated
    Gaussian noise is 2 σ⁴ Σ ρ² / N, where Σ ρ² = K Σ P² / (Σ P)² by Parseval's theorem.
    power: full or half-complex; the halved axis only weights the planes of x = 0 and Nyquist twice.
    """
    total, squares = float(power.sum()), float((power**2).sum())
    return voxels * total**2 / (power.size * squares) if squares > 0 else 0.0


@dataclass(frozen=True, eq=False)
class GaussianField:
    """Draws stationary Gaussian noise of a given isotropic power on a periodic grid.

    shape: (nz, ny, nx). amplitude: (nz, ny, nx // 2 + 1) float32, of the real and of the imaginary parts.
    """

    shape: tuple[int, int, int]
    amplitude: NDArray[np.float32]

    @classmethod
    def from_power(cls, shape: tuple[int, int, int], frequency: NDArray, power: NDArray) -> GaussianField:
        """frequency: cycles per voxel, ascending; power: at those frequencies (kept at the ends)."""
        grid = frequency_grid(shape, 1.0)
        amplitude = np.sqrt(np.interp(grid, frequency, power) * (np.prod(shape) / 2))
        amplitude[..., 0] *= np.sqrt(2.0)
        if shape[2] % 2 == 0:
            amplitude[..., -1] *= np.sqrt(2.0)
        return cls(shape, amplitude.astype(np.float32))

    def draw(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """One field; its variance is the mean of the power over the grid.

        Independent normal coefficients are drawn on the half-complex grid. The inverse transform keeps the Hermitian
        part of the planes that are their own mates, which halves their power; they are drawn with twice of it.
        """
        nz, ny, nx = self.shape
        parts = rng.standard_normal((nz, ny, nx // 2 + 1, 2), dtype=np.float32)
        transform = parts.view(np.complex64)[..., 0]
        transform *= self.amplitude
        return scipy.fft.irfftn(transform, s=self.shape, overwrite_x=True)


# --- strength that changes with the distance from the centre of the box ---------------------------------------

LEVELS = 400
LEVEL_WIDTH = 0.025


@njit(nogil=True, cache=True)
def _radial_histogram(data, region, centre, sigma, z0, y0, x0, histogram):
    nz, ny, nx = data.shape
    radii, levels = histogram.shape
    for iz in range(nz):
        for iy in range(ny):
            for ix in range(nx):
                if region[iz, iy, ix]:
                    radius = np.sqrt((iz - z0) ** 2 + (iy - y0) ** 2 + (ix - x0) ** 2)
                    level = int(abs(data[iz, iy, ix] - centre) / sigma / LEVEL_WIDTH)
                    histogram[min(int(radius), radii - 1), min(level, levels - 1)] += 1


@njit(nogil=True, cache=True)
def _normalise(data, region, centre, scale, z0, y0, x0, out):
    nz, ny, nx = data.shape
    for iz in range(nz):
        for iy in range(ny):
            for ix in range(nx):
                if region[iz, iy, ix]:
                    radius = np.sqrt((iz - z0) ** 2 + (iy - y0) ** 2 + (ix - x0) ** 2)
                    out[iz, iy, ix] = (data[iz, iy, ix] - centre) / scale[min(int(radius), scale.size - 1)]
                else:
                    out[iz, iy, ix] = 0.0


def radial_scale(
    data: NDArray,
    region: NDArray[np.bool_],
    centre: float,
    sigma: float,
    bin_voxels: float,
    origin: tuple[float, float, float],
) -> NDArray[np.float64]:
    """Robust standard deviation of the noise as a function of the distance from the centre of the box.

    sigma: its overall size, which sets the histogram. bin_voxels: voxels that each estimate rests on at least.
    origin: (z, y, x) index of the centre of the box in `data` (which may be a part of it).
    Returns (radii,) for radii of whole voxels; linear between the middles of the bins.
    """
    corner = np.sqrt(sum(max(o, n - 1 - o) ** 2 for o, n in zip(origin, data.shape, strict=True)))
    histogram = np.zeros((int(corner) + 2, LEVELS), np.int64)
    _radial_histogram(data, region, centre, sigma, *origin, histogram)
    per_radius = histogram.sum(axis=1)
    total = int(per_radius.sum())
    bins = max(1, int(total / max(bin_voxels, 1.0)))
    edges = np.searchsorted(np.cumsum(per_radius), np.linspace(0, total, bins + 1)[1:-1]) + 1
    middles, scales = [], []
    for part, radii in zip(np.split(histogram, edges), np.split(np.arange(len(per_radius)), edges), strict=True):
        counts = part.sum(axis=0)
        if counts.sum() == 0:
            continue
        middles.append(float(np.average(radii, weights=part.sum(axis=1))))
        scales.append(1.4826 * sigma * _histogram_median(counts))
    return np.interp(np.arange(len(per_radius)), middles, np.maximum(scales, 1e-3 * sigma))


def _histogram_median(counts: NDArray[np.int64]) -> float:
    cumulative = np.cumsum(counts)
    half = cumulative[-1] / 2
    level = int(np.searchsorted(cumulative, half))
    before = cumulative[level - 1] if level else 0
    return LEVEL_WIDTH * (level + (half - before) / max(counts[level], 1))


def normalise_noise(
    data: NDArray, region: NDArray[np.bool_], centre: float, scale: NDArray, origin: tuple[float, float, float]
) -> NDArray[np.float32]:
    """(data - centre) / scale(distance from the centre of the box) inside the region, 0 outside."""
    out = np.empty(data.shape, np.float32)
    _normalise(data, region, centre, scale, *origin, out)
    return out
