"""Local sinusoid-like features by a likelihood-ratio test at every voxel, scale by scale.

Around each voxel a model of local waves (polynomials up to the third degree under a Gaussian) is compared with a
constant. The statistic is a quadratic form of the window's values. It has rank 16: it is the sum of the squares of 16
filtered maps, and each filter is a polynomial times a Gaussian, so that one pass over the three axes gives them all.
Kucukelbir, Sigworth and Tagare, Nature Methods 11 (2014) 63, doi:10.1038/nmeth.2727.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.stats import norm

from veritem.numerics.device import like, namespace, to_host
from veritem.numerics.fourier import fast_size, irfftn, resize_transform, rfftn
from veritem.numerics.shells import shell_frequencies, shell_means

# Filters named by a wavelength have the Gaussian exp(-(SCALE r / wavelength)²) and answer most to waves that are TUNED
# times shorter than that name; here a scale is named by the wavelength it answers to.
SCALE, TUNED = 2.0 * np.pi * np.sqrt(0.4), 1.3
CUBIC = 2.254  # the odd functions are t³ - 2.254 t: with 4 t² - 2 under the Gaussian a quadrature pair
# Each scale sees a band of frequencies, half a cosine in ln f that ends at this ratio on either side. Without it the
# filters' skirts hold far more of a protein's strong low frequencies than of what they are tuned to.
BAND = 1.2
SAMPLES = 4.5  # voxels per wavelength: the band ends at BAND of 2 voxels per wavelength
SMOOTHING = 0.12  # of the noise spectrum, standard deviation in ln f
HOLLOW = 0.75  # wavelengths: noise so near a voxel says nothing of that voxel's own variance


# --- the filters ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class WaveFilters:
    """The 16 filters of one scale on one grid, as products of one-dimensional ones.

    profile: (3, 4, taps) float64: along z, y, x the Gaussian weight times coordinate^0, 1, 2, 3.
    even: (3, 4) rows of coefficients of 1, z², y², x². products: (3,) of yz, xz, xy.
    odd: (3, 3, 4): for z, y, x three rows of coefficients of v, v³, v p², v q², where p and q are the other two axes
    in the order z, y, x. triple: the coefficient of xyz.
    """

    profile: NDArray[np.float64]
    even: NDArray[np.float64]
    products: NDArray[np.float64]
    odd: NDArray[np.float64]
    triple: float

    @property
    def reach(self) -> int:
        """Voxels on either side of the centre."""
        return self.profile.shape[2] // 2

    def kernels(self) -> Iterator[NDArray[np.float64]]:
        """The 16 filters as (taps, taps, taps)."""
        z, y, x = self.profile

        def outer(powers: tuple[int, int, int]) -> NDArray[np.float64]:
            return np.einsum("i,j,k->ijk", z[powers[0]], y[powers[1]], x[powers[2]])

        squares = [outer((0, 0, 0)), outer((2, 0, 0)), outer((0, 2, 0)), outer((0, 0, 2))]
        for row in self.even:
            yield sum(c * s for c, s in zip(row, squares, strict=True))
        for c, powers in zip(self.products, ((1, 1, 0), (1, 0, 1), (0, 1, 1)), strict=True):
            yield c * outer(powers)
        for axis in range(3):
            others = [a for a in range(3) if a != axis]
            terms = []
            for own, first, second in ((1, 0, 0), (3, 0, 0), (1, 2, 0), (1, 0, 2)):
                degree = {axis: own, others[0]: first, others[1]: second}
                terms.append(outer((degree[0], degree[1], degree[2])))
            for row in self.odd[axis]:
                yield sum(c * t for c, t in zip(row, terms, strict=True))
        yield self.triple * outer((1, 1, 1))


def wave_filters(wavelength: float, pixel_sizes: tuple[float, float, float]) -> WaveFilters:
    """The filters that the method names by this wavelength (Å), on voxels of the given edges along z, y, x (Å).

    The functions are, with t the coordinate along a direction in units of wavelength / SCALE: 4 t² - 2 along the six
    axes of an icosahedron and t³ - 2.254 t along the ten of a dodecahedron, next to a constant. They span all
    quadratic forms, the seven cubic harmonics and v (r² - c), v = z, y, x: spans that no rotation changes. They are
    made orthonormal, to the constant too, under the square root of the Gaussian weight on the voxels of the window.
    The window reaches half a wavelength, rounded up to whole voxels.
    """
    rate = SCALE / wavelength
    reach = int(np.ceil(0.5 * wavelength / max(pixel_sizes)))
    steps = np.arange(-reach, reach + 1)
    axes = [rate * p * steps for p in pixel_sizes]
    profile = np.stack([np.exp(-(u**2)) * u ** np.arange(4)[:, None] for u in axes])
    z, y, x = np.meshgrid(*axes, indexing="ij")
    weight = np.exp(-(z**2 + y**2 + x**2))
    root = np.sqrt(weight).ravel()

    def orthonormal(functions: list[NDArray], terms: list[NDArray]) -> NDArray[np.float64]:
        """Coefficients on `terms` of the functions made orthonormal in their order: (functions, terms)."""
        basis = np.stack([t.ravel() for t in terms], axis=1) * root[:, None]
        rows = np.stack(functions)
        triangle = np.linalg.cholesky(rows @ (basis.T @ basis) @ rows.T)
        return np.linalg.solve(triangle, rows)

    ones = np.ones_like(z)
    even = orthonormal(list(np.eye(4)), [ones, z**2, y**2, x**2])[1:]
    products = np.array([1.0 / np.sqrt((weight * t**2).sum()) for t in (y * z, x * z, x * y)])
    # Summed over the ten directions n, n (n u)³ is 2 r² u and n (n u) is 10/3 u.
    centre = CUBIC * 10.0 / 3.0 / 2.0
    odd = np.empty((3, 3, 4))
    for axis, (v, p, q) in enumerate(((z, y, x), (y, z, x), (x, z, y))):
        functions = [
            np.array([0.0, 2.0, -3.0, -3.0]),
            np.array([0.0, 0.0, 1.0, -1.0]),
            np.array([-centre, 1.0, 1.0, 1.0]),
        ]
        odd[axis] = orthonormal(functions, [v, v**3, v * p**2, v * q**2])
    triple = float(1.0 / np.sqrt((weight * (x * y * z) ** 2).sum()))
    return WaveFilters(profile, even, products, odd, triple)


@njit(nogil=True, cache=True, fastmath=True)
def _statistic(data, first, last, profile, even, products, odd, triple, out):
    nz, ny, nx = data.shape
    taps = profile.shape[2]
    reach = taps // 2
    zero = profile[0, 0, 0] * 0
    planes = np.empty((4, ny, nx), data.dtype)
    rows = np.empty((10, nx + 2 * reach), data.dtype)
    c = np.empty((20, nx), data.dtype)
    wanted = np.empty(ny, np.bool_)
    for z in range(nz):
        some = False
        for y in range(ny):
            wanted[y] = False
        for y in range(ny):
            if first[z, y] < last[z, y]:
                some = True
                for k in range(-reach, reach + 1):
                    wanted[(y + k) % ny] = True
        if not some:
            continue
        for y in range(ny):
            if not wanted[y]:
                continue
            for a in range(4):
                for x in range(nx):
                    planes[a, y, x] = zero
            for k in range(taps):
                source = data[(z + k - reach) % nz, y]
                w0, w1, w2, w3 = profile[0, 0, k], profile[0, 1, k], profile[0, 2, k], profile[0, 3, k]
                p0, p1, p2, p3 = planes[0, y], planes[1, y], planes[2, y], planes[3, y]
                for x in range(nx):
                    value = source[x]
                    p0[x] += w0 * value
                    p1[x] += w1 * value
                    p2[x] += w2 * value
                    p3[x] += w3 * value
        for y in range(ny):
            low, high = first[z, y], last[z, y]
            if low >= high:
                continue
            # Powers (z, y): 00 01 02 03 10 11 12 20 21 30.
            for a in range(10):
                for x in range(low, high + 2 * reach):
                    rows[a, x] = zero
            for k in range(taps):
                there = (y + k - reach) % ny
                w0, w1, w2, w3 = profile[1, 0, k], profile[1, 1, k], profile[1, 2, k], profile[1, 3, k]
                for part in range(3):
                    # The row with its wrapped ends: x - reach ... x + reach lie at x ... x + 2 reach.
                    if part == 0:
                        begin, end, shift = low, min(high + 2 * reach, reach), nx - reach
                    elif part == 1:
                        begin, end, shift = max(low, reach), min(high + 2 * reach, nx + reach), -reach
                    else:
                        begin, end, shift = max(low, nx + reach), high + 2 * reach, -nx - reach
                    for x in range(begin, end):
                        v0, v1 = planes[0, there, x + shift], planes[1, there, x + shift]
                        v2, v3 = planes[2, there, x + shift], planes[3, there, x + shift]
                        rows[0, x] += w0 * v0
                        rows[1, x] += w1 * v0
                        rows[2, x] += w2 * v0
                        rows[3, x] += w3 * v0
                        rows[4, x] += w0 * v1
                        rows[5, x] += w1 * v1
                        rows[6, x] += w2 * v1
                        rows[7, x] += w0 * v2
                        rows[8, x] += w1 * v2
                        rows[9, x] += w0 * v3
            for a in range(20):
                for x in range(low, high):
                    c[a, x] = zero
            for k in range(taps):
                w0, w1, w2, w3 = profile[2, 0, k], profile[2, 1, k], profile[2, 2, k], profile[2, 3, k]
                for x in range(low, high):
                    r0, r1, r2, r3, r4 = rows[0, x + k], rows[1, x + k], rows[2, x + k], rows[3, x + k], rows[4, x + k]
                    r5, r6, r7, r8, r9 = rows[5, x + k], rows[6, x + k], rows[7, x + k], rows[8, x + k], rows[9, x + k]
                    # Powers (z, y, x).
                    c[0, x] += w0 * r0  # 000
                    c[1, x] += w1 * r0  # 001
                    c[2, x] += w2 * r0  # 002
                    c[3, x] += w3 * r0  # 003
                    c[4, x] += w0 * r1  # 010
                    c[5, x] += w1 * r1  # 011
                    c[6, x] += w2 * r1  # 012
                    c[7, x] += w0 * r2  # 020
                    c[8, x] += w1 * r2  # 021
                    c[9, x] += w0 * r3  # 030
                    c[10, x] += w0 * r4  # 100
                    c[11, x] += w1 * r4  # 101
                    c[12, x] += w2 * r4  # 102
                    c[13, x] += w0 * r5  # 110
                    c[14, x] += w1 * r5  # 111
                    c[15, x] += w0 * r6  # 120
                    c[16, x] += w0 * r7  # 200
                    c[17, x] += w1 * r7  # 201
                    c[18, x] += w0 * r8  # 210
                    c[19, x] += w0 * r9  # 300
            for x in range(low, high):
                total = (products[0] * c[13, x]) ** 2 + (products[1] * c[11, x]) ** 2 + (products[2] * c[5, x]) ** 2
                total += (triple * c[14, x]) ** 2
                for i in range(3):
                    t = even[i, 0] * c[0, x] + even[i, 1] * c[16, x] + even[i, 2] * c[7, x] + even[i, 3] * c[2, x]
                    total += t * t
                    t = odd[0, i, 0] * c[10, x] + odd[0, i, 1] * c[19, x]
                    t += odd[0, i, 2] * c[15, x] + odd[0, i, 3] * c[12, x]
                    total += t * t
                    t = odd[1, i, 0] * c[4, x] + odd[1, i, 1] * c[9, x]
                    t += odd[1, i, 2] * c[18, x] + odd[1, i, 3] * c[6, x]
                    total += t * t
                    t = odd[2, i, 0] * c[1, x] + odd[2, i, 1] * c[3, x]
                    t += odd[2, i, 2] * c[17, x] + odd[2, i, 3] * c[8, x]
                    total += t * t
                out[z, y, x] = total


def row_spans(wanted: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """First wanted voxel of each row along x, and one past the last; (nz, ny) each, equal where there is none."""
    some = wanted.any(axis=2)
    first = np.where(some, wanted.argmax(axis=2), 0).astype(np.int32)
    last = np.where(some, wanted.shape[2] - wanted[:, :, ::-1].argmax(axis=2), 0).astype(np.int32)
    return first, last


def wave_statistic(field: Any, filters: WaveFilters, wanted: NDArray[np.bool_] | None = None, threads: int = 1) -> Any:
    """The sum of the squares of the 16 filtered maps: the likelihood-ratio statistic times the noise's variance.

    field: (nz, ny, nx) real, periodic. wanted: (nz, ny, nx) where it is needed (on the host); elsewhere the answer may
    be 0. Arrays of a GPU are filtered by Fourier transforms and answered everywhere.
    """
    xp = namespace(field)
    if xp is np:
        first, last = row_spans(np.ones(field.shape, bool) if wanted is None else wanted)
        out = np.zeros_like(field)
        kind = field.dtype.type
        _statistic(
            np.ascontiguousarray(field), first, last, filters.profile.astype(kind), filters.even.astype(kind),
            filters.products.astype(kind), filters.odd.astype(kind), kind(filters.triple), out,
        )  # fmt: skip
        return out
    transform = rfftn(field, threads)
    total = xp.zeros_like(field)
    for kernel in filters.kernels():
        taps = rfftn(like(_centred(kernel, field.shape), field), threads)
        filtered = irfftn(transform * xp.conj(taps), field.shape, threads)
        total += filtered * filtered
    return total


def _centred(kernel: NDArray[np.float64], shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """The kernel on a periodic grid with its centre at voxel (0, 0, 0); what is wider than the grid wraps around."""
    steps = [np.arange(-(n // 2), n // 2 + 1) % full for n, full in zip(kernel.shape, shape, strict=True)]
    out = np.zeros(shape, np.float32)
    np.add.at(out, np.ix_(*steps), kernel.astype(np.float32))
    return out


# --- what noise does --------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class NoiseLaw:
    """The upper tail of a statistic without signal, as a table.

    value: rising. log_survival: ln P(the statistic is at least so large), falling.
    """

    value: NDArray[np.float64]
    log_survival: NDArray[np.float64]

    def survival(self, statistic: NDArray | float) -> NDArray[np.float64]:
        return np.exp(np.interp(statistic, self.value, self.log_survival))

    def quantile(self, p: NDArray | float) -> NDArray[np.float64]:
        """The value that the statistic reaches with probability p."""
        return np.interp(-np.log(p), -self.log_survival, self.value)


def squares_law(weights: NDArray) -> NoiseLaw:
    """The law of a weighted sum of squares of independent standard normal values, by its saddlepoint.

    Within 3 % of the exact probability in the tail. Kuonen, Biometrika 86 (1999) 929, 10.1093/biomet/86.4.929.
    """
    w = np.asarray(weights, float)
    w = w[w > 1e-9 * w.max()]
    # 1 - 2 w t of the largest weight from 20 to 1/400; 1 itself, the mean, is where the formula is 0/0.
    t = (1.0 - 1.0 / np.geomspace(0.05, 400.0, 600)) / (2.0 * w.max())
    t = t[np.abs(t) * w.max() > 1e-3]
    left = 1.0 - 2.0 * t[:, None] * w
    value = (w / left).sum(axis=1)
    generator = -0.5 * np.log(left).sum(axis=1)
    root = np.sign(t) * np.sqrt(np.maximum(2.0 * (t * value - generator), 1e-300))
    slope = t * np.sqrt(2.0 * (w**2 / left**2).sum(axis=1))
    return NoiseLaw(value, norm.logsf(root + np.log(slope / root) / root))


def noise_weights(filters: WaveFilters, lags: NDArray) -> NDArray[np.float64]:
    """(16,) weights of the squares that the statistic of Gaussian noise consists of.

    lags: (nz, ny, nx) the noise's covariance by lag, the zero lag at voxel (0, 0, 0), periodic.
    """
    taps = 2 * filters.reach + 1
    q = np.stack([kernel.ravel() for kernel in filters.kernels()], axis=1)
    steps = np.stack(np.unravel_index(np.arange(taps**3), (taps,) * 3))
    difference = steps[:, :, None] - steps[:, None, :]
    z, y, x = (d % n for d, n in zip(difference, lags.shape, strict=True))
    covariance = q.T @ (lags[z, y, x].astype(float) @ q)
    return np.maximum(np.linalg.eigvalsh(0.5 * (covariance + covariance.T)), 0.0)


def anchored_law(weights: NDArray, noise: NDArray, independent: float) -> NoiseLaw:
    """The law of the squares, scaled to pass through a high quantile of noise that was measured.

    noise: the statistic at voxels without signal. independent: how many independent values they are; the quantile is
    the 99 % point, or where twenty of these lie above, but no lower than the 80 % point. Where the noise is 0 the law
    lets nothing pass.
    """
    above = float(np.clip(20.0 / max(independent, 1.0), 0.01, 0.2))
    reached = float(np.quantile(noise, 1.0 - above))
    if reached <= 0.0 or weights.max() <= 0.0:
        # No noise, so no evidence: nothing is ever significant.
        return NoiseLaw(np.array([0.0, 1e30]), np.array([0.0, -1e-9]))
    law = squares_law(weights)
    return NoiseLaw(law.value * (reached / float(law.quantile(above))), law.log_survival)


def correlation_volume(
    filters: WaveFilters, wavelength: float, pixel_sizes: tuple[float, ...], edge: int = 32
) -> float:
    """Å³ that one independent value of the statistic takes in noise that is white before its band is cut out.

    The covariance of two sums of squares is twice the sum of the squared covariances of their parts; summed over all
    lags it is the integral of the squared power behind the statistic.
    """
    grid = (edge, edge, edge)
    extent = tuple(edge * p for p in pixel_sizes)
    band = np.cos(0.5 * np.pi * np.minimum(np.abs(np.log(_radius(grid, extent) * wavelength) / np.log(BAND)), 1.0)) ** 2
    parts = np.stack([np.fft.fftn(_centred(kernel, grid)) for kernel in filters.kernels()])
    total = (np.abs(parts) ** 2).sum(axis=0) * band
    variance = np.einsum("iabc,jabc,abc->ij", parts, parts.conj(), band, optimize=True).real / edge**3
    return float((total**2).sum() / edge**3 / (variance**2).sum() * np.prod(pixel_sizes))


# --- one scale of two half maps ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class ScaleTest:
    """One scale at the wanted voxels.

    wavelength: Å, that it answers to. signal, noise: (voxels,) float32, the statistic of the halves' mean and of half
    their difference, both over the local variance of that difference. law: of the statistic when there is no signal.
    window: Å, the standard deviation of the nearly Gaussian window that gives the statistic the same correlations.
    """

    wavelength: float
    signal: NDArray[np.float32]
    noise: NDArray[np.float32]
    law: NoiseLaw
    window: float


def log_spaced(finest: float, coarsest: float, ratio: float, fewest: int, most: int) -> NDArray[np.float64]:
    """Wavelengths from the finest to the coarsest, about `ratio` apart."""
    count = int(np.clip(round(np.log(coarsest / finest) / np.log(ratio)) + 1, fewest, most))
    return np.geomspace(finest, coarsest, count)


def whitening(noise_power: NDArray, shape: tuple[int, int, int], pixel_size: float) -> tuple[NDArray, NDArray]:
    """Frequencies (1/Å) and the gain that makes noise white.

    noise_power: |F|² of the noise on the half-complex grid. It is averaged over shells and smoothed along ln f, so that
    any smooth radial filter is undone, and a B-factor exactly. Where there is no power the gain is 0.
    """
    mean, _, counts = shell_means(noise_power, shape)
    frequency = shell_frequencies(shape, pixel_size)
    known = (counts > 0) & (frequency > 0)
    known &= mean > 1e-10 * mean[known].max(initial=0.0)
    gain = np.zeros_like(frequency)
    if known.any():
        at, level, weight = np.log(frequency[known]), np.log(mean[known]), counts[known]
        # A straight line against f² through each frequency's neighbourhood: no B-factor changes what is left.
        offset = np.exp(2 * at) - np.exp(2 * at)[:, None]
        near = np.exp(-0.5 * ((at - at[:, None]) / SMOOTHING) ** 2) * weight
        sums = [(near * offset**power).sum(axis=1) for power in range(3)]
        values = [(near * offset**power) @ level for power in range(2)]
        spread = sums[0] * sums[2] - sums[1] ** 2
        flat = spread <= 1e-9 * sums[0] * sums[2]
        line = (sums[2] * values[0] - sums[1] * values[1]) / np.where(flat, 1.0, spread)
        gain[known] = np.exp(-0.5 * np.where(flat, values[0] / sums[0], line))
    return frequency, gain


def whitened(first: Any, second: Any, shape: tuple[int, int, int], pixel_size: float) -> tuple[Any, Any, float]:
    """The mean of two half maps and half their difference, over the radial amplitude of that difference.

    first, second: half-complex transforms of maps of `shape`. Returns two transforms and the frequency (1/Å) beyond
    which the difference holds nothing; 0 when it holds nothing at all.
    """
    noise = (first - second) * 0.5
    mean = second + noise
    frequency, white = whitening(to_host(_power(noise)), shape, pixel_size)
    held = frequency[white > 0.0]
    if not held.size:
        return mean * 0.0, noise, 0.0
    gain = _radial_gain(shape, tuple(n * pixel_size for n in shape), frequency, white, first)
    return mean * gain, noise * gain, float(held[-1])


def scale_tests(
    mean: Any,
    noise: Any,
    shape: tuple[int, int, int],
    pixel_size: float,
    wavelengths: NDArray,
    index: NDArray[np.int64],
    noise_window: float,
    threads: int = 1,
) -> Iterator[ScaleTest]:
    """Test every scale in turn; only one scale's volumes exist at a time.

    mean, noise: half-complex transforms of the halves' mean and half difference, of `shape` (nz, ny, nx), whitened, on
    any device. index: (voxels,) flat indices of the wanted voxels. noise_window: Å, standard deviation of the window
    in which the local variance of the noise is taken; it is at least a wavelength.
    """
    xp = namespace(noise)
    extent = tuple(n * pixel_size for n in shape)
    size = np.array(shape)
    for wavelength in (float(w) for w in wavelengths):
        grid = _grid_for(wavelength, shape, extent)
        edges = (extent[0] / grid[0], extent[1] / grid[1], extent[2] / grid[2])
        gain = _band_gain(grid, extent, wavelength, noise)
        filters = wave_filters(TUNED * wavelength, edges)
        needed = np.zeros(grid, bool)
        _mark(index, size, needed)
        transform = resize_transform(noise, shape, grid) * gain
        lags = to_host(irfftn(xp.astype(_power(transform), xp.complex64), grid, threads))
        ratios = []
        variance = None
        for source in (noise, mean):
            field = irfftn(resize_transform(source, shape, grid) * gain, grid, threads)
            if variance is None:
                window = max(noise_window, wavelength)
                variance = to_host(hollow_variance(field, edges, window, HOLLOW * wavelength, threads))
            statistic = to_host(wave_statistic(field, filters, needed, threads))
            ratio = np.empty(index.size, np.float32)
            _ratio_at(statistic, variance, index, size, ratio)
            ratios.append(ratio)
        correlated = correlation_volume(filters, wavelength, edges)
        law = anchored_law(noise_weights(filters, lags), ratios[0], index.size * pixel_size**3 / correlated)
        yield ScaleTest(wavelength, ratios[1], ratios[0], law, float(np.cbrt(correlated) / np.sqrt(4.0 * np.pi)))


def _grid_for(wavelength: float, shape: tuple[int, int, int], extent: tuple[float, ...]) -> tuple[int, int, int]:
    """The coarsest fast grid with enough voxels per wavelength, never finer than the map's."""
    sizes = (max(8, fast_size(int(np.ceil(SAMPLES * e / wavelength)))) for e in extent)
    nz, ny, nx = (min(n, s) for n, s in zip(shape, sizes, strict=True))
    return nz, ny, nx


def hollow_variance(
    field: Any, pixel_sizes: tuple[float, float, float], window: float, hollow: float, threads: int = 1
) -> Any:
    """The local mean square of a field, its own neighbourhood left out.

    The weight at distance r is exp(-r² / 2 window²) (1 - exp(-r² / 2 hollow²)), both in Å, so that a place where the
    field is high by chance is not measured by itself. Even grids are answered on a grid of half as many voxels, each
    the mean of eight.
    """
    xp = namespace(field)
    squared = field * field
    shape = field.shape
    if not any(n % 2 for n in shape):
        nz, ny, nx = (n // 2 for n in shape)
        squared = xp.mean(xp.reshape(squared, (nz, 2, ny, 2, nx, 2)), axis=(1, 3, 5))
        pixel_sizes = (2 * pixel_sizes[0], 2 * pixel_sizes[1], 2 * pixel_sizes[2])
    shape = squared.shape
    transform = rfftn(squared, threads)
    both = float(window * hollow / np.hypot(window, hollow))
    share = float(both / window) ** 3
    wide, narrow = (_gaussian_gain(shape, pixel_sizes, sigma, transform) for sigma in (window, both))
    return irfftn(transform * (wide - share * narrow) * (1.0 / (1.0 - share)), shape, threads)


def _gaussian_gain(shape: tuple[int, int, int], pixel_sizes: tuple[float, float, float], sigma: float, ref: Any) -> Any:
    gains = []
    for axis, (n, p) in enumerate(zip(shape, pixel_sizes, strict=True)):
        f = np.fft.rfftfreq(n, p) if axis == 2 else np.fft.fftfreq(n, p)
        gain = np.exp(-2.0 * (np.pi * sigma * f) ** 2).astype(np.float32)
        gains.append(like(gain.reshape([-1 if a == axis else 1 for a in range(3)]), ref))
    return gains[0] * gains[1] * gains[2]


def _radius(shape: tuple[int, int, int], extent: tuple[float, ...]) -> NDArray[np.float64]:
    """|f| on the full complex grid; a tiny number in place of 0, so that its logarithm exists."""
    f = [np.fft.fftfreq(n, e / n) for n, e in zip(shape, extent, strict=True)]
    return np.sqrt(f[0][:, None, None] ** 2 + f[1][:, None] ** 2 + f[2] ** 2) + 1e-12


def _band_gain(shape: tuple[int, int, int], extent: tuple[float, ...], wavelength: float, reference: Any) -> Any:
    """The band of one scale on the half-complex grid."""
    frequency = np.linspace(0.0, BAND / wavelength, 2001)
    with np.errstate(divide="ignore"):
        offset = np.minimum(np.abs(np.log(frequency * wavelength) / np.log(BAND)), 1.0)
    gain = np.cos(0.5 * np.pi * offset)
    gain[offset >= 1.0] = 0.0
    return _radial_gain(shape, extent, frequency, gain, reference)


def _radial_gain(
    shape: tuple[int, int, int], extent: tuple[float, ...], frequency: NDArray, gain: NDArray, reference: Any
) -> Any:
    """A radial gain, given at rising frequencies from 0 on, on the half-complex grid where `reference` lives.

    Beyond the last frequency the last value holds.
    """
    xp = namespace(reference)
    fine = float(frequency[-1]) / 8192.0
    table = like(np.interp(fine * np.arange(8193), frequency, gain).astype(np.float32), reference)
    nz, ny, nx = shape
    z, y, x = (
        like((f / fine).astype(np.float32), reference)
        for f in (
            np.fft.fftfreq(nz, 1.0 / nz)[:, None, None] / extent[0],
            np.fft.fftfreq(ny, 1.0 / ny)[None, :, None] / extent[1],
            np.fft.rfftfreq(nx, 1.0 / nx)[None, None, :] / extent[2],
        )
    )
    nearest = xp.minimum(xp.sqrt(z * z + y * y + x * x) + 0.5, xp.asarray(8192.0, dtype=xp.float32))
    nearest = xp.reshape(xp.astype(nearest, xp.int32), (-1,))
    return xp.reshape(xp.take(table, nearest), (nz, ny, nx // 2 + 1))


def _power(transform: Any) -> Any:
    xp = namespace(transform)
    return xp.real(transform) ** 2 + xp.imag(transform) ** 2


@njit(nogil=True, cache=True)
def _mark(index, shape, needed):
    """Mark the voxels of a coarser grid between which the wanted voxels of the finer one lie."""
    nz, ny, nx = needed.shape
    for i in range(index.size):
        z, rest = index[i] // (shape[1] * shape[2]), index[i] % (shape[1] * shape[2])
        y, x = rest // shape[2], rest % shape[2]
        z0, y0, x0 = z * nz // shape[0], y * ny // shape[1], x * nx // shape[2]
        for dz in range(2 if z0 * shape[0] != z * nz else 1):
            for dy in range(2 if y0 * shape[1] != y * ny else 1):
                for dx in range(2 if x0 * shape[2] != x * nx else 1):
                    needed[(z0 + dz) % nz, (y0 + dy) % ny, (x0 + dx) % nx] = True


@njit(nogil=True, cache=True)
def _linear(data, z, y, x):
    """The value between voxels; the grid is periodic."""
    nz, ny, nx = data.shape
    z0, y0, x0 = int(np.floor(z)), int(np.floor(y)), int(np.floor(x))
    wz, wy, wx = z - z0, y - y0, x - x0
    z0, y0, x0 = z0 % nz, y0 % ny, x0 % nx
    z1, y1, x1 = (z0 + 1) % nz, (y0 + 1) % ny, (x0 + 1) % nx
    low = (1 - wy) * ((1 - wx) * data[z0, y0, x0] + wx * data[z0, y0, x1])
    low += wy * ((1 - wx) * data[z0, y1, x0] + wx * data[z0, y1, x1])
    high = (1 - wy) * ((1 - wx) * data[z1, y0, x0] + wx * data[z1, y0, x1])
    high += wy * ((1 - wx) * data[z1, y1, x0] + wx * data[z1, y1, x1])
    return (1 - wz) * low + wz * high


@njit(nogil=True, cache=True)
def _ratio_at(statistic, variance, index, shape, out):
    """statistic / variance at flat indices of a finer grid of `shape` over the same box; 0 without variance."""
    step = np.empty(3)
    blocks = np.empty(3)
    for axis in range(3):
        step[axis] = statistic.shape[axis] / shape[axis]
        blocks[axis] = statistic.shape[axis] // variance.shape[axis]
    # Each voxel of the variance may be a mean over two along each axis: its centre lies half a voxel on.
    offset = 0.5 * (blocks - 1.0)
    for i in range(index.size):
        z, rest = index[i] // (shape[1] * shape[2]), index[i] % (shape[1] * shape[2])
        y, x = rest // shape[2], rest % shape[2]
        a, b, c = z * step[0], y * step[1], x * step[2]
        value = _linear(statistic, a, b, c)
        local = _linear(variance, (a - offset[0]) / blocks[0], (b - offset[1]) / blocks[1], (c - offset[2]) / blocks[2])
        out[i] = value / local if local > 0 else 0.0


# --- many scales and voxels -------------------------------------------------------------------------------------


def false_discovery_limit(tests: list[ScaleTest], rate: float) -> float | None:
    """The largest p-value that is significant at a false discovery rate over all voxels and scales.

    The step-up rule that holds under any dependence. None when nothing is significant.
    Benjamini and Yekutieli, Ann. Stat. 29 (2001) 1165, 10.1214/aos/1013699998.
    """
    total = sum(test.signal.size for test in tests)
    share = rate / (total * (np.log(total) + np.euler_gamma))
    # All tests significant is the largest p there can be, a single one the smallest.
    p = np.geomspace(share * total, share, 800)
    found = np.zeros(p.size)
    for test in tests:
        reached = np.searchsorted(test.law.quantile(p), test.signal, side="right")
        found += np.cumsum(np.bincount(reached, minlength=p.size + 1)[::-1])[::-1][1:]
    passed = np.flatnonzero(p <= share * found * (1 + 1e-9))
    return float(p[passed[0]]) if passed.size else None


@njit(nogil=True, cache=True)
def finest_significant(ratios, log_wavelengths, resolution, level):
    """For each voxel the finest scale that is significant together with the next coarser one.

    ratios: (scales, voxels) statistic over its limit, from the finest scale on. log_wavelengths: (scales,).
    resolution: (voxels,) is filled with the wavelength where ln ratio, linear in ln wavelength between that scale and
    the next finer one, passes 0; NaN where no scale is significant. level: (voxels,) with the scale, -1 where none is.
    """
    scales, voxels = ratios.shape
    for v in range(voxels):
        resolution[v] = np.nan
        level[v] = -1
        for j in range(scales - 1):
            if ratios[j, v] >= 1.0 and ratios[j + 1, v] >= 1.0:
                level[v] = j
                at = log_wavelengths[j]
                if j > 0:
                    here, finer = np.log(ratios[j, v]), np.log(max(ratios[j - 1, v], 1e-6))
                    at += (log_wavelengths[j - 1] - at) * here / (here - finer)
                resolution[v] = np.exp(at)
                break
