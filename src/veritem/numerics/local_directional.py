"""The correlation of two half maps around each place, direction by direction, and the resolution along each direction.

A band of frequencies in a cone of directions is a small blob of Fourier space. Shifted to the origin it is the
transform of a slowly varying complex field, and the product of one half's field with the conjugate of the other's does
not depend on the shift. So each blob is transformed on a grid just wide enough for it, many times smaller than the map,
and its products are averaged in a Gaussian window at the points of a coarse grid only.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.stats import f as fisher
from scipy.stats import t as student

from veritem.numerics.bands import Band
from veritem.numerics.device import like, namespace, to_host
from veritem.numerics.directions import hemisphere, quadratic_values
from veritem.numerics.fourier import fftn, fourier_resize, ifftn, irfftn, rfftn

# The power that a cone passes is cos²(pi v / 2 CONE_END) with v = 1 - cos(angle to its axis): a half at 20 degrees,
# none beyond 28.4 degrees. It holds as many coefficients as a hard cone of 20 degrees.
CONE_END = float(2.0 * (1.0 - np.cos(np.radians(20.0))))
CONE_REACH = float(np.arccos(1.0 - CONE_END))
# 1/Å times the window: products of two fields that wrap around stay so far from frequency 0. The window passes e^-6.
WRAP = 0.55
MOST_DENSE = 2500  # points whose correlations are held in one matrix, 50 MB
LEAST_P = 1e-6  # smaller p-values would speak of tails that nobody has seen


def cone_coefficients() -> NDArray[np.float64]:
    """What a cone leaves of a function's harmonics of degree 0, 2 and 4: Legendre coefficients of its power."""
    v = np.linspace(0.0, CONE_END, 2001)
    weight = np.cos(np.pi * v / (2.0 * CONE_END)) ** 2
    return np.array(
        [np.trapezoid(weight * np.polynomial.Legendre.basis(k)(1.0 - v), v) for k in (0, 2, 4)]
    ) / np.trapezoid(weight, v)


@dataclass(frozen=True, eq=False)
class CoarseGrid:
    """Every so many Å a point, over the whole box; those used are inside.

    sizes: (z, y, x) points along the box, the first at voxel (0, 0, 0). lengths: Å of the box.
    inside: one bool per point. low, high: the part of the grid that holds them, as for slices.
    """

    sizes: tuple[int, int, int]
    lengths: tuple[float, float, float]
    inside: NDArray[np.bool_]
    low: tuple[int, int, int]
    high: tuple[int, int, int]

    @property
    def count(self) -> int:
        return int(np.count_nonzero(self.inside))

    @property
    def strides(self) -> NDArray[np.float64]:
        return np.array([length / n for length, n in zip(self.lengths, self.sizes, strict=True)])

    @property
    def part(self) -> tuple[slice, slice, slice]:
        a, b, c = (slice(s, e) for s, e in zip(self.low, self.high, strict=True))
        return a, b, c

    def positions(self) -> NDArray[np.float64]:
        """(points, 3) z, y, x in Å from voxel (0, 0, 0)."""
        return np.argwhere(self.inside) * self.strides

    def volume(self, values: NDArray) -> NDArray[np.float32]:
        """Values at the points as a volume of the whole coarse grid, NaN elsewhere."""
        full = np.full(self.sizes, np.nan, np.float32)
        full[self.inside] = values
        return full


def coarse_sizes(shape: tuple[int, int, int], pixel_size: float, stride: float) -> tuple[int, int, int]:
    """Even numbers of points, about `stride` Å apart and no further."""
    a, b, c = (2 * int(np.ceil(n * pixel_size / stride / 2)) for n in shape)
    return a, b, c


def coarse_grid(shape: tuple[int, int, int], pixel_size: float, inside: NDArray[np.bool_]) -> CoarseGrid:
    """The grid of `inside`, (z, y, x) bool, over a box of `shape` voxels."""
    where = np.argwhere(inside)
    if not len(where):
        where = np.zeros((1, 3), np.int64)
    low, high = where.min(axis=0), where.max(axis=0) + 1
    nz, ny, nx = inside.shape
    lz, ly, lx = (n * pixel_size for n in shape)
    return CoarseGrid(
        (nz, ny, nx), (lz, ly, lx), inside, (int(low[0]), int(low[1]), int(low[2])),
        (int(high[0]), int(high[1]), int(high[2])),
    )  # fmt: skip


class WindowShares:
    """The share of a Gaussian window that lies in a mask, at each point of a coarse grid.

    mask: (nz, ny, nx) in [0, 1], on voxels of `pixel_size`. sizes: of the coarse grid, over the same box.
    """

    def __init__(self, mask: NDArray[np.float32], pixel_size: float, sizes: tuple[int, int, int], threads: int = 1):
        self.sizes = sizes
        self._transform = rfftn(fourier_resize(mask, sizes, threads))
        lengths = [n * pixel_size for n in mask.shape]
        qz, qy = (np.fft.fftfreq(n, length / n) for n, length in zip(sizes[:2], lengths[:2], strict=True))
        qx = np.fft.rfftfreq(sizes[2], lengths[2] / sizes[2])
        self._q = (qz[:, None, None], qy[None, :, None], qx[None, None, :])
        self._squared = self._q[0] ** 2 + self._q[1] ** 2 + self._q[2] ** 2

    def at(self, sigma: float, direction: NDArray | None = None, along: float = 0.0) -> NDArray[np.float32]:
        """`sizes`, float32. sigma: Å; `along` (Å) is added to it in squares along `direction`."""
        exponent = sigma**2 * self._squared
        if direction is not None:
            dot = sum(q * float(c) for q, c in zip(self._q, direction, strict=True))
            exponent = exponent + along**2 * dot**2
        return irfftn(self._transform * np.exp(-2.0 * np.pi**2 * exponent).astype(np.float32), self.sizes)


def blob_reach(band: Band) -> tuple[float, float]:
    """Å, by how much the field of one band in one cone spreads along its direction and across: standard deviations.

    Second moments of the squared kernel: the mean of |gradient of the gain|² over the mean of gain², over 4 pi².
    """
    along = 1.0 / (4.0 * band.half_width)
    v = np.linspace(0.0, CONE_END, 2001)
    phase = np.pi * v / (2.0 * CONE_END)
    # d gain / d angle = -(pi / 2 CONE_END) sin(phase) sin(angle), sin²(angle) = 2 v - v².
    slope = (np.pi / (2.0 * CONE_END)) ** 2 * np.trapezoid((2 * v - v**2) * np.sin(phase) ** 2, v)
    across = np.sqrt(0.5 * slope / np.trapezoid(np.cos(phase) ** 2, v)) / (2.0 * np.pi * band.centre)
    return along, float(across)


@dataclass(frozen=True, eq=False)
class LocalPowers:
    """Local powers of two half maps in bands and cones, each (directions, bands, points) float32, in one unit.

    cross: of what they have in common. power: geometric mean of their own; what it has beyond `cross` is noise.
    """

    cross: NDArray[np.float32]
    power: NDArray[np.float32]

    @property
    def fsc(self) -> NDArray[np.float32]:
        """The local correlation; 0 where a half map holds nothing."""
        return np.divide(self.cross, self.power, out=np.zeros_like(self.cross), where=self.power > 0)

    def fsc_of_even_signal(self, signal_shares: NDArray[np.float32], noise_shares: NDArray[np.float32]) -> NDArray:
        """What the correlation would be if the signal of each place were alike in all directions, in a full window.

        signal_shares, noise_shares: see `directional_shares`. The signal is averaged over the directions; the noise
        stays as it is along each.
        """
        filled = np.divide(self.cross, signal_shares, out=np.zeros_like(self.cross), where=signal_shares > 0)
        signal = np.maximum(filled.mean(axis=0, dtype=np.float64), 0.0).astype(np.float32)[None]
        total = signal + np.maximum(self.power - self.cross, 0.0) / np.maximum(noise_shares, np.float32(0.1))
        return np.divide(np.broadcast_to(signal, total.shape), total, out=np.zeros_like(total), where=total > 0)


def local_powers(
    first: Any,
    second: Any,
    shape: tuple[int, int, int],
    pixel_size: float,
    bands: tuple[Band, ...],
    directions: NDArray[np.float64],
    window: float,
    grid: CoarseGrid,
    margin: float = 0.0,
    threads: int = 1,
) -> LocalPowers:
    """Powers of two half maps at each point, in each band and along each direction.

    first, second: half-complex transforms of the half maps of `shape`. directions: (n, 3) unit vectors z, y, x.
    window: Å, standard deviation of the Gaussian window. grid: the points.
    margin: Å, the half maps fade out over so much at the faces of the box. Density that is cut there, of a neighbour or
    of a membrane, would leak into all frequencies along the axes, and there it may outweigh the noise.
    """
    xp = namespace(first)
    fades = [fade(n, margin / pixel_size) for n in shape]
    spectra = [_centred_spectrum(t, shape, fades, threads) for t in (first, second)]
    half = [n // 2 for n in shape]  # where frequency 0 is
    frequency = [
        ((np.arange(n) - h) / length).astype(np.float32) for n, h, length in zip(shape, half, grid.lengths, strict=True)
    ]
    answer = LocalPowers(*(np.empty((len(directions), len(bands), grid.count), np.float32) for _ in range(2)))
    chosen = grid.inside[grid.part]

    def one(task: tuple[int, int]) -> None:
        d, j = task
        box = _bounding_box(bands[j], directions[d], grid.lengths, shape)
        gain = _blob_gain(bands[j], directions[d], [f[s] for f, s in zip(frequency, box, strict=True)], first)
        padded = _padded_shape(gain.shape, window, grid.lengths)
        a, b = (_small_field(s[box] * gain, padded) for s in spectra)
        ar, ai, br, bi = xp.real(a), xp.imag(a), xp.real(b), xp.imag(b)
        products = xp.stack([ar * br + ai * bi, ar * ar + ai * ai, br * br + bi * bi])
        wz, wy, wx = (_window_matrix(grid, axis, padded[axis], window) for axis in range(3))
        windows = [like(w, first) for w in (wz, wy, np.ascontiguousarray(wx.T))]
        cross, power_1, power_2 = to_host(_windowed(products, windows))[:, chosen]
        answer.cross[d, j] = cross
        answer.power[d, j] = np.sqrt(np.maximum(power_1 * power_2, 0.0))

    tasks = [(d, j) for j in reversed(range(len(bands))) for d in range(len(directions))]
    if xp is np and threads > 1:
        # Blobs are too small to share one between threads; each thread takes blobs of its own.
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(one, tasks):
                pass
    else:
        for task in tasks:
            one(task)
    return answer


def faded(shape: tuple[int, int, int], width: float) -> NDArray[np.float32]:
    """The weight of each voxel of a box that fades out over `width` voxels at its faces."""
    z, y, x = (fade(n, width) for n in shape)
    return z[:, None, None] * y[None, :, None] * x


def fade(n: int, width: float) -> NDArray[np.float32]:
    """(n,) 0 at the faces, 1 further than `width` voxels inside, two derivatives continuous."""
    t = np.minimum((np.minimum(np.arange(n), np.arange(n)[::-1]) + 0.5) / max(width, 0.5), 1.0)
    return (t**3 * (10.0 - 15.0 * t + 6.0 * t**2)).astype(np.float32)


def _centred_spectrum(transform: Any, shape: tuple[int, int, int], fades: list[NDArray], threads: int) -> Any:
    """The full transform of a real map, frequency 0 in the middle. Units of its own: no power overflows."""
    xp = namespace(transform)
    real = irfftn(transform, shape, threads)
    for axis, one in enumerate(fades):
        real = real * like(one.reshape([-1 if a == axis else 1 for a in range(3)]), transform)
    scale = float(xp.max(xp.abs(real))) or 1.0
    full = fftn(xp.astype(real * (1.0 / scale), xp.complex64), threads)
    return xp.fft.fftshift(full)


def _bounding_box(
    band: Band, direction: NDArray, lengths: Sequence[float], shape: Sequence[int]
) -> tuple[slice, slice, slice]:
    """Where the blob lies in the centred spectrum."""
    low, high = band.centre - band.half_width, band.centre + band.half_width
    box = []
    for component, length, n in zip(direction, lengths, shape, strict=True):
        angle = np.arccos(np.clip(component, -1.0, 1.0))
        most, least = np.cos(max(0.0, angle - CONE_REACH)), np.cos(min(np.pi, angle + CONE_REACH))
        top = high * most if most > 0 else low * most
        bottom = low * least if least > 0 else high * least
        reach = (n - 1) // 2
        start = max(-reach, int(np.floor(bottom * length)))
        stop = min(reach, int(np.ceil(top * length))) + 1
        box.append(slice(start + n // 2, max(stop, start + 1) + n // 2))
    return box[0], box[1], box[2]


def _blob_gain(band: Band, direction: NDArray, frequency: list[NDArray], reference: Any) -> Any:
    """Gain of the band times gain of the cone, on the blob's frequencies (1/Å per axis)."""
    xp = namespace(reference)
    fz, fy, fx = (
        like(np.ascontiguousarray(f).reshape([-1 if a == axis else 1 for a in range(3)]), reference)
        for axis, f in enumerate(frequency)
    )
    radius = xp.sqrt(fz * fz + fy * fy + fx * fx)
    z, y, x = (float(c) for c in direction)
    dot = fz * z + fy * y + fx * x
    v = 1.0 - dot / xp.clip(radius, 1e-6, None)
    turn = xp.clip(v * (0.5 * np.pi / CONE_END), 0.0, 0.5 * np.pi)
    offset = xp.clip(xp.abs(radius - band.centre) * (0.5 * np.pi / band.half_width), 0.0, 0.5 * np.pi)
    return xp.cos(turn) * xp.cos(offset)


def _padded_shape(shape: Sequence[int], window: float, lengths: Sequence[float]) -> tuple[int, int, int]:
    sizes = [
        scipy.fft.next_fast_len(n + int(np.ceil(WRAP / window * length)))
        for n, length in zip(shape, lengths, strict=True)
    ]
    return sizes[0], sizes[1], sizes[2]


def _small_field(blob: Any, padded: tuple[int, int, int]) -> Any:
    xp = namespace(blob)
    wide = xp.zeros(padded, dtype=xp.complex64)
    nz, ny, nx = blob.shape
    wide[:nz, :ny, :nx] = blob
    return ifftn(wide)


def _window_matrix(grid: CoarseGrid, axis: int, n: int, window: float) -> NDArray[np.float32]:
    """(points, n): the weights of n voxels along an axis in the window around each point; the box is periodic."""
    length = grid.lengths[axis]
    point = np.arange(grid.low[axis], grid.high[axis]) * (length / grid.sizes[axis])
    distance = point[:, None] - np.arange(n) * (length / n)
    distance -= length * np.round(distance / length)
    weight = np.exp(-0.5 * (distance / window) ** 2)
    return (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)


def _windowed(fields: Any, windows: list[Any]) -> Any:
    """Weighted sums of (k, z, y, x) fields along the three axes: (k, points z, points y, points x)."""
    xp = namespace(fields)
    k, nz = fields.shape[:2]
    wz, wy, wx = windows
    points_x = wx.shape[1]
    along_y = xp.matmul(wy, xp.matmul(fields, wx))
    flat = xp.reshape(along_y, (k, nz, wy.shape[0] * points_x))
    return xp.reshape(xp.matmul(wz, flat), (k, wz.shape[0], wy.shape[0], points_x))


# --- from correlations to resolution -----------------------------------------------------------------------------


@njit(nogil=True, cache=True)
def _crossings(excess, weights, centres, answer):
    directions, bands, points = excess.shape
    for d in range(directions):
        for p in range(points):
            total = best = 0.0
            last = -1
            for j in range(bands):
                total += weights[j] * excess[d, j, p]
                if total > best:
                    best = total
                    last = j
            if last < 0:
                answer[d, p] = 0.0
            elif last == bands - 1:
                answer[d, p] = centres[last]
            else:
                above, below = excess[d, last, p], excess[d, last + 1, p]
                share = above / (above - below) if above > below else 0.5
                answer[d, p] = centres[last] + (centres[last + 1] - centres[last]) * share


def crossing_frequencies(
    fsc: NDArray[np.float32], limits: NDArray[np.float32] | np.float32, bands: tuple[Band, ...]
) -> NDArray[np.float32]:
    """The frequency (1/Å) up to which correlations lie above a limit: (directions, points).

    fsc, limits: (directions, bands, points); limits broadcast.
    The sum of (correlation - limit) over the bands, each weighed by its number of coefficients, is highest at the
    frequency that best parts the bands that correlate from those that do not. For a falling curve this is where it
    crosses the limit; a low band that fails by chance, where coefficients are few, does not end the search. Between
    two bands the crossing is interpolated. 0 where no band correlates; the last centre where all do.
    """
    excess = (fsc - limits).astype(np.float32)
    centres = np.array([b.centre for b in bands])
    weights = np.array([b.centre**2 * b.half_width for b in bands])
    answer = np.empty((fsc.shape[0], fsc.shape[2]), np.float32)
    _crossings(excess, weights, centres, answer)
    return answer


def correlated_reach(bands: tuple[Band, ...], window: float) -> float:
    """Å, the standard deviation of a window that correlates places as the window and the blobs' fields do together.

    Of the finest third of the bands, which are those that decide a resolution.
    """
    spread = [(along**2 + 2.0 * across**2) / 3.0 for along, across in map(blob_reach, bands[2 * len(bands) // 3 :])]
    return float(np.sqrt(window**2 + np.mean(spread)))


def directional_shares(
    shares: WindowShares, grid: CoarseGrid, bands: tuple[Band, ...], directions: NDArray[np.float64], window: float
) -> NDArray[np.float32]:
    """The share of each window that lies in a mask, the spread of each blob's field included: (directions, bands,
    points). A field spreads further along its direction than across."""
    answer = np.empty((len(directions), len(bands), grid.count), np.float32)
    for j, band in enumerate(bands):
        along, across = blob_reach(band)
        sigma = float(np.hypot(window, across))
        further = float(np.sqrt(max(along**2 - across**2, 0.0)))
        for d, direction in enumerate(directions):
            answer[d, j] = np.clip(shares.at(sigma, direction, further)[grid.inside], 0.0, 1.0)
    return answer


def correlation_limits(
    signal_shares: NDArray[np.float32], noise_shares: NDArray[np.float32], threshold: float
) -> NDArray[np.float32]:
    """What a local correlation must reach for the particle itself to reach `threshold`: (directions, bands, points).

    A window at the rim holds solvent too, and the field of a blob spreads beyond the particle. With a share e of the
    window in the particle and a share n where there is noise, a signal-to-noise ratio r in the particle shows as
    e r / n. Without this a flat particle would seem worse resolved along its short axis.
    """
    ratio = signal_shares * np.float32(threshold / (1.0 - threshold))
    return ratio / (ratio + np.maximum(noise_shares, np.float32(0.1)))


# --- what places have in common ----------------------------------------------------------------------------------


def sum_inflation(
    grid: CoarseGrid,
    labels: NDArray[np.int64],
    window: float,
    weights: NDArray | None = None,
    fitted: Sequence[NDArray] = (),
    factors: NDArray | None = None,
) -> float:
    """By how much blocks taken as independent underrate the standard error of a weighted sum over the points.

    labels: (points,) block of each. weights: (points,), None: all 1. window: Å, standard deviation of the window in
    which the values were averaged; they are correlated as exp(-r² / 4 window²), from block to block too.
    fitted: vectors (points,) whose multiples were taken off the values that the blocks see: the mean, a slope.
    factors: (m, points), where a value is a sum over m independent fields times factors of its place; their products
    then multiply the correlation. None: one field.
    The variance of the sum is that of all pairs of points. The blocks see their own pairs only, of what is left by
    r = (1 - E E') y with E an orthonormal base of `fitted`: C - E E'C - C E E' + E E'C E E', C the correlation.
    """
    w = np.ones(grid.count) if weights is None else np.asarray(weights, np.float64)
    reach = np.sqrt(2.0) * window
    # The filter's weights add up to 1; a correlation is 1 at distance 0.
    scale = float(np.prod(np.sqrt(2.0 * np.pi) * reach / grid.strides))

    shares = np.ones((1, grid.count)) if factors is None else factors

    def correlated(values: NDArray) -> NDArray[np.float64]:
        total, volume = np.zeros(grid.count), np.zeros(grid.sizes)
        for one in shares:
            volume[grid.inside] = one * values
            spread = gaussian_filter(volume, reach / grid.strides, mode="constant", truncate=4.5)
            total += one * spread[grid.inside]
        return scale * total

    everything = float(w @ correlated(w))
    base = np.linalg.qr(np.stack(fitted, axis=1))[0] if fitted else np.zeros((grid.count, 0))
    moved = np.stack([correlated(e) for e in base.T], axis=1) if fitted else base
    inner = base.T @ moved
    positions = grid.positions()
    own = 0.0
    order = np.argsort(labels, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        u = w[members]
        apart = ((positions[members, None] - positions[None, members]) ** 2).sum(axis=2)
        split = shares[:, members] * u
        own += float(((split @ np.exp(-apart / (4.0 * window**2))) * split).sum())
        a, c = base[members].T @ u, moved[members].T @ u
        own += float(a @ inner @ a - 2.0 * a @ c)
    return float(np.sqrt(max(everything, 0.0) / max(own, 1e-3 * everything)))


def sum_freedom(
    grid: CoarseGrid,
    labels: NDArray[np.int64],
    window: float,
    weights: NDArray,
    fitted: Sequence[NDArray],
    factors: NDArray,
    inflation: float,
) -> float:
    """Degrees of freedom of the standard error that blocks give to a weighted sum, by Satterthwaite.

    Arguments as for `sum_inflation`, and what that gave. The error is a sum of squares of block sums, whose covariance
    is M: it has (tr M)² / tr M² degrees. More than 2500 points are too many for M; blocks then count as `freedom` says,
    which is less than they hold.
    Satterthwaite, Biometrics Bulletin 2 (1946) 110, doi:10.2307/3002019.
    """
    blocks = int(labels.max()) + 1
    if grid.count > MOST_DENSE:
        return freedom(blocks, inflation)
    positions = grid.positions()
    squared = np.square(positions).sum(axis=1)
    apart = squared[:, None] + squared - 2.0 * positions @ positions.T
    field = np.exp(-apart / (4.0 * window**2)) * (factors.T @ factors)
    base = np.linalg.qr(np.stack(fitted, axis=1))[0]
    field -= base @ (base.T @ field)
    field -= (field @ base) @ base.T
    field *= weights[:, None] * weights
    member = np.zeros((grid.count, blocks))
    member[np.arange(grid.count), labels] = 1.0
    covariance = member.T @ field @ member
    return max(float(np.trace(covariance) ** 2 / np.square(covariance).sum()), 1.0)


def freedom(blocks: int, inflation: float) -> float:
    """Degrees of freedom of a standard error from blocks that are not independent: as many as would be, less one."""
    return max(blocks / inflation**2 - 1.0, 1.0)


@dataclass(frozen=True, eq=False)
class CommonPattern:
    """The part of local functions of direction that all places share, and how sure it is.

    coefficients: (15,) mean over the places. draws: (draws, 15), the same when blocks are drawn with replacement.
    p_value: of a degree-2 part so strong by chance. error: of one of its five coefficients. freedom: degrees of freedom
    of a standard error.
    """

    coefficients: NDArray[np.float64]
    draws: NDArray[np.float64]
    p_value: float
    error: float
    freedom: float

    def chance_span(self, rng: np.random.Generator, quantile: float = 0.95, draws: int = 999) -> float:
        """The span (highest less lowest) that the degree-2 part of a pattern without any reaches by chance."""
        null = self.error * rng.standard_normal((draws, 6))
        forms = quadratic_values(null)
        return float(np.quantile(forms[:, 0] - forms[:, 2], quantile))


def common_pattern(
    local: NDArray[np.float64],
    labels: NDArray[np.int64],
    rng: np.random.Generator,
    inflation: float = 1.0,
    draws: int = 500,
) -> CommonPattern:
    """The mean pattern of many places, against how blocks of places differ.

    local: (points, 15) coefficients of `even_harmonics`. labels: (points,) block of each place, from 0.
    inflation: of a sum over the places, with the mean taken off what the blocks see; see `sum_inflation`.
    The molecule has a direction of its own in every place; what a faulty reconstruction adds points the same way in
    all of them. Without a common direction the five degree-2 coefficients of the mean are alike in variance, and that
    is known from what the blocks differ by: the mean of their squares over it follows an F law, of 5 and of 5 times as
    many degrees of freedom as there are independent blocks.
    """
    blocks = int(labels.max()) + 1
    sums = np.stack([np.bincount(labels, column, minlength=blocks) for column in local.T], axis=1)
    counts = np.bincount(labels, minlength=blocks).astype(np.float64)
    mean = sums.sum(axis=0) / counts.sum()
    picks = rng.multinomial(blocks, np.full(blocks, 1.0 / blocks), size=draws)
    drawn = (picks @ sums) / np.maximum(picks @ counts, 1.0)[:, None]
    own = (sums - counts[:, None] * mean)[:, 1:6]
    variance = inflation**2 * float(np.square(own).sum()) / 5.0 / counts.sum() ** 2
    free = freedom(blocks, inflation)
    ratio = float(np.square(mean[1:6]).mean()) / max(variance, 1e-30)
    return CommonPattern(
        mean,
        mean + inflation * (drawn - mean),
        max(float(fisher.sf(ratio, 5, 5 * free)), LEAST_P),
        float(np.sqrt(variance)),
        free,
    )


def radial_and_azimuthal(
    directions: NDArray[np.float64], offsets: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights of the directions within 45 degrees of each place's own direction, and of those 70 and more away.

    offsets: (points, 3) from the centre. Two (directions, points) whose columns add up to 1; NaN in the middle.
    """
    radius = np.linalg.norm(offsets, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = np.abs(directions @ (offsets / radius[:, None]).T)
        near, far = cosine >= np.cos(np.radians(45.0)), cosine <= np.cos(np.radians(70.0))
        return near / near.sum(axis=0), far / far.sum(axis=0)


def cone_modes(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """(directions, directions) matrix M with M M' the correlation of what chance does to cones that overlap.

    Two sums over the coefficients of cones are correlated as the product of the cones' weights, added up.
    """
    fine = hemisphere(4000)
    v = np.minimum(1.0 - np.abs(directions @ fine.T), CONE_END)
    weight = np.cos(np.pi * v / (2.0 * CONE_END)) ** 2
    overlap = weight @ weight.T
    overlap /= np.sqrt(np.outer(np.diagonal(overlap), np.diagonal(overlap)))
    values, vectors = np.linalg.eigh(overlap)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)), np.float64)


@dataclass(frozen=True)
class Slope:
    """value, its standard error, and the degrees of freedom of that."""

    value: float
    error: float
    freedom: float

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        reach = float(student.ppf(0.5 + confidence / 2, self.freedom)) * self.error
        return self.value - reach, self.value + reach

    @property
    def p_above(self) -> float:
        """One-sided: of a slope so high when there is none."""
        return max(float(student.sf(self.value / max(self.error, 1e-30), self.freedom)), LEAST_P)


def block_slope(
    x: NDArray,
    y: NDArray,
    labels: NDArray[np.int64],
    rng: np.random.Generator,
    inflation: float = 1.0,
    free: float | None = None,
    draws: int = 500,
) -> Slope:
    """The slope of y against x by least squares; its error by drawing whole blocks with replacement.

    inflation, free: of the sum of (x - mean) y, with the mean and x as what was fitted; see `sum_inflation` and
    `sum_freedom`.
    """
    blocks = int(labels.max()) + 1
    x = x - x.mean()
    sums = np.stack([np.bincount(labels, v, minlength=blocks) for v in (np.ones_like(x), x, y, x * x, x * y)], axis=1)

    def slope(total: NDArray) -> NDArray[np.float64]:
        n, sx, sy, sxx, sxy = np.moveaxis(total, -1, 0)
        return (n * sxy - sx * sy) / np.maximum(n * sxx - sx * sx, 1e-12)

    picks = rng.multinomial(blocks, np.full(blocks, 1.0 / blocks), size=draws)
    error = inflation * float(np.std(slope(picks @ sums)))
    return Slope(float(slope(sums.sum(axis=0))), error, freedom(blocks, inflation) if free is None else free)
