"""Fourier shell correlation around each place of two half maps.

Fast: both halves are filtered into bands of frequency, and each band's correlation is taken in a moving window,
W * (a b) / sqrt(W * a²  W * b²). Exact: windows are cut out and transformed one by one; slow, and the reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
import scipy.sparse
from numba import njit
from numpy.typing import NDArray

from veritem.numerics.device import like, namespace
from veritem.numerics.fourier import axis_frequencies, fast_size, irfftn, resize_transform, rfftn
from veritem.numerics.fsc import THRESHOLD, ShellSums

# A window's diameter over the standard deviation of its Gaussian, and a band's half-width times the diameter. Together
# they spread a value over a neighbourhood whose standard deviation is 0.18 diameters. Narrower bands smear the field
# over more than the window; wider ones blur the curve, and so do smaller windows with noise.
DIAMETER, HALF_WIDTH = 6.5, 1.6
# Bands per half-width: a line drawn between bands further apart crosses a convex curve too late.
STEPS = 3
LEAST_FALL = 0.15  # half-widths
# Where the power around a place is below this share of the whole map's noise, the band was filtered away there, and
# what is left has leaked in from elsewhere.
_STARVED = 0.1
_TABLE = 4096  # entries of a radial gain

# How far a voxel's curve has been followed.
_WAITING, _FOLLOWED, _CLOSED, _REFUSED = 0, 1, 2, 3


@dataclass(frozen=True)
class WindowedBand:
    """A band and the window in which its correlation is taken.

    centre, half_width: 1/Å; the gain is cos²(pi/2 (f - centre) / half_width), 0 beyond.
    window: Å, standard deviation of the Gaussian window.
    limit: 1/Å, above the centre. The gain has come down to 0 there, faster than it rose if need be: a gain that is cut
        rings over the whole map.
    """

    centre: float
    half_width: float
    window: float
    limit: float = np.inf

    def gain(self, frequency: NDArray) -> NDArray[np.float64]:
        """At any frequencies (1/Å)."""
        f = np.asarray(frequency, float)
        offset = np.where(f < self.centre, self.centre - f, (f - self.centre) * self.half_width / self._upper)
        return np.cos(0.5 * np.pi * np.minimum(offset / self.half_width, 1.0)) ** 2

    @property
    def _upper(self) -> float:
        return min(self.half_width, self.limit - self.centre)

    @property
    def highest(self) -> float:
        """The frequency from which on there is no gain, 1/Å."""
        return self.centre + self._upper

    def _weight(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        f = np.linspace(max(self.centre - self.half_width, 0.0), self.highest, 257)
        return f, self.gain(f) ** 2 * f**2

    @property
    def mean(self) -> float:
        """Mean frequency of what a white map has in the band, 1/Å: what the correlation speaks of."""
        f, w = self._weight()
        return float((w * f).sum() / w.sum())

    @property
    def variance(self) -> float:
        """Variance of the same, 1/Å²."""
        f, w = self._weight()
        return float((w * (f - self.mean) ** 2).sum() / w.sum())

    @property
    def volume(self) -> float:
        """Integral of the squared gain over frequency space, 1/Å³."""
        f, w = self._weight()
        return float(4.0 * np.pi * np.trapezoid(w, f))

    @property
    def reach(self) -> float:
        """Standard deviation along one axis of the neighbourhood that a value speaks of, Å.

        Beside the window, the band itself: a point is smeared into shells of radius r, whose squared envelope is that
        of the gain's transform; its mean square is that of the gain's derivative over (2 pi)² times that of the gain,
        a third of it along each axis.
        """
        u = np.linspace(-1.0, 1.0, 513)
        gain, slope = np.cos(0.5 * np.pi * u) ** 2, -0.5 * np.pi * np.sin(np.pi * u)
        smear = np.sqrt((slope**2).sum() / (gain**2).sum()) / (2.0 * np.pi * self.half_width)
        return float(np.hypot(self.window, smear / np.sqrt(3.0)))

    @property
    def null_deviation(self) -> float:
        """Standard deviation of the windowed correlation of two independent white maps.

        Its square is the sum over lags u of c(u)² (W correlated with W)(u), with c the band's autocorrelation and W of
        unit sum: neighbours tell the same twice when the band is narrow, and the window is small.
        """
        f, w = self._weight()
        reach = 8.0 * np.sqrt(2.0) * self.window
        r = np.linspace(0.0, reach, 601)
        correlation = (np.sinc(2.0 * f[:, None] * r) * w[:, None]).sum(axis=0) / w.sum()
        sigma = np.sqrt(2.0) * self.window
        overlap = np.exp(-(r**2) / (2.0 * sigma**2)) / (np.sqrt(2.0 * np.pi) * sigma) ** 3
        return float(np.sqrt(np.trapezoid(4.0 * np.pi * r**2 * correlation**2 * overlap, r)))


def noise_amplitude(sums: ShellSums, smooth: int = 2) -> NDArray[np.float64]:
    """Radial amplitude of the noise of one half map, from the difference of the halves: (shells,).

    Smoothed over `smooth` shells to either side. Where the halves differ by less than arithmetic can tell, the
    amplitude is that of rounding, so that nothing is ever divided by nothing.
    """
    difference = np.maximum(sums.power_1 + sums.power_2 - 2.0 * sums.cross, 0.0)
    total = sums.power_1 + sums.power_2
    kernel = np.ones(2 * smooth + 1)

    def smoothed(values: NDArray) -> NDArray:
        held = np.convolve(sums.counts[1:], kernel, mode="same")
        return np.convolve(values[1:], kernel, mode="same") / np.maximum(held, 1e-30)

    level, whole = 0.5 * smoothed(difference), smoothed(total)
    floor = np.maximum(1e-6 * whole, 1e-12 * whole.max(initial=0.0))
    power = np.maximum(level, np.maximum(floor, 1e-30))
    return np.sqrt(np.concatenate([power[:1], power]))


def plan_bands(first: float, limit: float, diameter: float, periods: float) -> tuple[WindowedBand, ...]:
    """Bands from `first` (1/Å) on, a third of a half-width apart, each with its window.

    limit: 1/Å, beyond which the maps hold nothing; the last band is centred 0.15 half-widths below, so that its gain
        has some room to fall in. diameter: Å, of the window; a band at frequency f has at least periods / f.
    """
    bands: list[WindowedBand] = []
    centre = first
    while True:
        wide = max(diameter, periods / centre)
        half_width = HALF_WIDTH / wide
        last = limit - LEAST_FALL * half_width
        # A step that would end just short of the last centre is stretched to it.
        if bands and last - centre < 0.5 * half_width / STEPS:
            if last > bands[-1].centre:
                bands.append(WindowedBand(float(last), half_width, wide / DIAMETER, limit))
            return tuple(bands)
        bands.append(WindowedBand(float(centre), half_width, wide / DIAMETER, max(limit, 1.1 * centre)))
        centre += half_width / STEPS


@dataclass(frozen=True)
class Target:
    """The voxels for which values are wanted: a block of the map.

    start, shape: z, y, x of the block, voxels of the map.
    """

    start: tuple[int, int, int]
    shape: tuple[int, int, int]

    @staticmethod
    def around(index: NDArray, shape: tuple[int, int, int]) -> Target:
        """The smallest block that holds voxels given by their flat index."""
        where = np.unravel_index(index, shape)
        low = [int(w.min()) for w in where]
        high = [int(w.max()) + 1 for w in where]
        size = [b - a for a, b in zip(low, high, strict=True)]
        return Target((low[0], low[1], low[2]), (size[0], size[1], size[2]))

    def index(self, index: NDArray, shape: tuple[int, int, int]) -> NDArray[np.int64]:
        """Flat indices of the map as flat indices of the block."""
        z, y, x = np.unravel_index(index, shape)
        return np.ravel_multi_index((z - self.start[0], y - self.start[1], x - self.start[2]), self.shape)


def local_correlations(
    first: Any,
    second: Any,
    shape: tuple[int, int, int],
    pixel_size: float,
    bands: tuple[WindowedBand, ...],
    target: Target,
    weight: Any = None,
    noise: NDArray | None = None,
    threads: int = 1,
) -> Iterator[tuple[Any, Any]]:
    """Stream over bands: the windowed correlation at each voxel of a block, and its standard deviation under no signal.

    first, second: half-complex transforms of maps of `shape`, on any device.
    weight: (nz, ny, nx) in [0, 1] or None; products of the band-passed halves count by its square ("filter first, then
        mask": Penczek, IUCrJ 7 (2020) 995, doi:10.1107/S2052252520011574), so that solvent in the window does not
        dilute what the particle shows, and no mask makes coefficients correlate.
    noise: (shells,) radial amplitude by which both maps are divided, shells as in `shells`; None divides by nothing.
    Each band is made on a grid of its own, no finer than it needs; summing the window and going to the map's voxels
    is one matrix product per axis.
    Yields two arrays of target.shape on the maps' device; the correlation is 0 where the window holds nothing.
    """
    xp = namespace(first)
    mask_transform = None if weight is None else rfftn(weight, threads)
    held: tuple[int, int, int] | None = None
    squared: Any = None
    # What the mask leaves of a window depends on the window alone, which is the same in most bands.
    spread: Any = None
    total: Any = None
    spread_window = 0.0
    for band in bands:
        grid = _band_grid(band, shape, pixel_size)
        if mask_transform is not None and grid != held:
            squared = irfftn(resize_transform(mask_transform, shape, grid), grid, threads)
            squared = xp.clip(squared, 0.0, 1.0) ** 2
            held = grid
        gain = like(_radial_gain(band, grid, shape, pixel_size, noise), first)
        a = irfftn(resize_transform(first, shape, grid) * gain, grid, threads)
        b = irfftn(resize_transform(second, shape, grid) * gain, grid, threads)
        del gain
        windows = [like(w, first) for w in _windows(band.window, grid, shape, pixel_size, target)]
        # One product at a time: memory is what runs out first.
        cross = _windowed(_times(a * b, squared), windows)
        a *= a
        power = _windowed(_times(a, squared), windows)
        b *= b
        power *= _windowed(_times(b, squared), windows)
        del a, b
        if spread is None or spread_window != band.window:
            spread_window = band.window
            if squared is None:
                spread = total = xp.ones(target.shape, dtype=cross.dtype)
            else:
                # Independent values behind a weighted mean: (sum of weights)² / sum of their squares; 1 in
                # mid-particle.
                narrow = [like(w, first) for w in _windows(band.window / np.sqrt(2.0), grid, shape, pixel_size, target)]
                spread = xp.sqrt(_windowed(squared * squared, narrow))
                total = xp.clip(_windowed(squared, windows), 1e-6, None)
                spread /= total
        scale = xp.sqrt(power)
        if noise is not None:
            # Voxel variance of white noise with |F|² = 1, in this band.
            expected = band.volume * pixel_size**3 / float(np.prod(shape))
            scale = xp.maximum(scale, total * (_STARVED * expected))
        rho = xp.where(scale > 0, cross / xp.where(scale > 0, scale, 1.0), 0.0)
        yield rho, spread * band.null_deviation


def _times(product: Any, weight: Any) -> Any:
    """A product of fields, weighted in place."""
    if weight is not None:
        product *= weight
    return product


def _band_grid(band: WindowedBand, shape: tuple[int, int, int], pixel_size: float) -> tuple[int, int, int]:
    """The coarsest grid on which products of the band-passed maps keep, after windowing, what they have.

    Products reach twice the band's frequency; what folds back lands beyond what the window lets through.
    """
    nyquist = band.highest + 0.3 / band.window
    sizes = [min(n, fast_size(int(np.ceil(2.0 * nyquist * n * pixel_size)))) for n in shape]
    return sizes[0], sizes[1], sizes[2]


def _radial_gain(
    band: WindowedBand,
    grid: tuple[int, int, int],
    shape: tuple[int, int, int],
    pixel_size: float,
    noise: NDArray | None,
) -> NDArray[np.float32]:
    """The band's gain, over the noise's amplitude, at each coefficient of the band's grid."""
    table_f = np.linspace(0.0, band.highest, _TABLE)
    table = band.gain(table_f)
    if noise is not None:
        shells = np.arange(noise.size) / (max(shape) * pixel_size)
        table = table / np.interp(table_f, shells, noise)
    # Frequencies of the band's own grid: the box is the same, so its voxels are larger along each axis.
    fz, fy, fx = (
        axis_frequencies(grid, n * pixel_size / m)[axis] for axis, (n, m) in enumerate(zip(shape, grid, strict=True))
    )
    gain = np.empty((grid[0], grid[1], grid[2] // 2 + 1), np.float32)
    _look_up(table.astype(np.float32), (_TABLE - 1) / band.highest, fz, fy, fx, gain)
    return gain


@njit(nogil=True, cache=True)
def _look_up(table, per_frequency, fz, fy, fx, gain):
    last = table.size - 1
    for z in range(fz.size):
        for y in range(fy.size):
            plane = fz[z] * fz[z] + fy[y] * fy[y]
            for x in range(fx.size):
                place = np.sqrt(plane + fx[x] * fx[x]) * per_frequency
                k = int(place)
                gain[z, y, x] = 0.0 if k >= last else table[k] + (place - k) * (table[k + 1] - table[k])


def _windows(
    sigma: float, grid: tuple[int, int, int], shape: tuple[int, int, int], pixel_size: float, target: Target
) -> list[NDArray[np.float32]]:
    """Per axis the matrix from samples of the band's grid to window sums at the voxels of the block."""
    matrices = []
    for n, m, start, count in zip(shape, grid, target.start, target.shape, strict=True):
        goal = (start + np.arange(count)) * pixel_size
        step = n * pixel_size / m
        offset = (goal[:, None] - np.arange(m) * step) / sigma
        # Cut off where it is 1e-8: numbers too small for float32 make products ten times slower.
        window = np.where(np.abs(offset) < 6.0, np.exp(-0.5 * offset**2), 0.0)
        # Of unit sum where the window lies inside the box.
        matrices.append((window * step / (np.sqrt(2.0 * np.pi) * sigma)).astype(np.float32))
    return matrices


def _windowed(field: Any, windows: list[Any]) -> Any:
    """Sum a field in a separable window, by a matrix per axis."""
    xp = namespace(field)
    wz, wy, wx = windows
    nz, ny, nx = field.shape
    out = xp.reshape(xp.matmul(wz, xp.reshape(field, (nz, ny * nx))), (wz.shape[0], ny, nx))
    out = xp.matmul(wy, out)
    return xp.matmul(out, wx.T)


@dataclass(frozen=True, eq=False)
class LocalCrossings:
    """Where the local curves fall below two levels: (voxels,) float32, 1/Å; NaN where not determinable.

    at_threshold, at_half: frequencies of 0.143 and 0.5. A curve that never falls to a level has `last` there.
    open_end: (voxels,) the curve is above 0.143 in the last band, so its resolution is `last` or better.
    last: 1/Å, where the maps end.
    """

    at_threshold: NDArray[np.float32]
    at_half: NDArray[np.float32]
    open_end: NDArray[np.bool_]
    last: float


class CurveFollower:
    """Follows the local curves from band to band, so that no more than one band is ever held.

    voxels: how many. threshold: the level that tells the resolution.
    lasting: a curve has fallen below a level when it is below in so many neighbouring bands (or to the last one).
    returning: null deviations that a value above the level needs, after the curve fell below it, to be more than noise.
    significance: null deviations by which the correlation must stand above 0 in one band before a curve is followed.
    largest_deviation: the null deviation beyond which a band cannot tell where a curve falls. A voxel without
        significant correlation up to the first band that could tell, or whose curve falls before it, has no resolution.
    begin_by: 1/Å; nor has one without it up to this frequency. Every further band would be a further chance.
    """

    def __init__(
        self,
        voxels: int,
        threshold: float = THRESHOLD,
        lasting: int = STEPS + 1,
        largest_deviation: float = 0.15,
        significance: float = 4.0,
        returning: float = 3.0,
        begin_by: float = 0.1,
    ) -> None:
        self.threshold, self.lasting = threshold, lasting
        self.largest_deviation, self.significance = largest_deviation, significance
        self.returning, self.begin_by = returning, begin_by
        self._state = np.full(voxels, _WAITING, np.int8)
        self._before = np.zeros(voxels, np.float32)
        self._crossing = np.full((2, voxels), np.nan, np.float32)
        self._run = np.zeros((2, voxels), np.int8)
        self._blind = np.zeros((2, voxels), np.bool_)
        self._frequencies: list[float] = []
        self._variances: list[float] = []
        self._end = 0.0

    def add(self, band: WindowedBand, correlation: NDArray, deviation: NDArray) -> None:
        """The next higher band: (voxels,) correlation and its standard deviation where there is no signal."""
        f = band.mean
        f_before = self._frequencies[-1] if self._frequencies else f
        _follow(
            correlation, deviation, f, f_before, self.threshold, self.lasting, self.largest_deviation,
            self.significance, self.returning, self.begin_by, self._state, self._before, self._crossing, self._run,
            self._blind,
        )  # fmt: skip
        self._frequencies.append(f)
        self._variances.append(band.variance)
        self._end = band.limit if np.isfinite(band.limit) else f

    def crossings(self, undo_width: bool = True) -> LocalCrossings:
        """The frequencies of both levels.

        undo_width: take off what the width of the bands adds. A band holds power from both sides of its mean; where
        SSNR falls as exp(s f), a band of variance v sees exp(s² v / 2) too much of it, so the curve crosses later by
        -s v / 2. The slope is that between the levels 0.5 and 0.143 of the voxel's own curve.
        """
        last = self._end
        followed = (self._state == _FOLLOWED) | (self._state == _CLOSED)
        open_end = (self._state == _FOLLOWED) & (self._run[0] == 0)
        at = np.where(self._run > 0, self._crossing, np.float32(last))
        at[:, ~followed] = np.nan
        at[(self._run > 0) & self._blind] = np.nan
        if undo_width:
            _narrow(at, open_end, np.array(self._frequencies), np.array(self._variances), _slope(self.threshold))
        return LocalCrossings(at[0], at[1], open_end, last)


def _slope(threshold: float) -> float:
    """ln SSNR at the threshold; 0 where the correlation is 0.5."""
    return float(np.log(threshold / (1.0 - threshold)))


@njit(nogil=True, cache=True)
def _follow(
    correlation, deviation, f, f_before, threshold, lasting, largest, significance, returning, begin_by, state, before,
    crossing, run, blind,
):  # fmt: skip
    for v in range(correlation.size):
        if state[v] >= _CLOSED:
            continue
        rho = correlation[v]
        if state[v] == _WAITING:
            if rho <= significance * deviation[v]:
                if deviation[v] <= largest or f >= begin_by:
                    state[v] = _REFUSED
                continue
            state[v] = _FOLLOWED
            before[v] = rho
            f_from = f
        else:
            f_from = f_before
        for level in range(2):
            limit = threshold if level == 0 else 0.5
            if run[level, v] >= lasting:
                continue
            if rho < limit:
                if run[level, v] == 0:
                    fall = before[v] - rho
                    share = (before[v] - limit) / fall if fall > 0.0 else 0.0
                    crossing[level, v] = f_from + max(share, 0.0) * (f - f_from)
                    blind[level, v] = deviation[v] > largest
                run[level, v] += 1
            elif rho >= returning * deviation[v]:
                run[level, v] = 0
        if run[0, v] >= lasting:
            state[v] = _CLOSED
        before[v] = rho


@njit(nogil=True, cache=True)
def _narrow(at, open_end, frequencies, variances, log_ratio):
    for v in range(at.shape[1]):
        if open_end[v] or not at[0, v] > at[1, v]:
            continue
        variance = np.interp(at[0, v], frequencies, variances)
        gap = at[0, v] - at[1, v]
        # Never below where it is 0.5: a curve that falls within the width of a band has its edge in between.
        at[0, v] -= min(-0.5 * log_ratio * variance / gap, 0.5 * gap)


def exact_local_fsc(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    pixel_size: float,
    centres: NDArray[np.int64],
    diameter: float,
    batch: int = 64,
    threads: int = 1,
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """The FSC in windows cut out one by one and transformed: what `local_correlations` is a fast form of.

    first, second: half maps, (nz, ny, nx). centres: (n, 3) z, y, x, voxels; windows that reach beyond the map are
    filled with zeros. diameter: Å, of the spherical Hann window 0.5 (1 + cos(2 pi r / diameter)).
    The window's mean is taken off; it is padded to twice its edge; shells are one padded voxel apart, and each
    coefficient is shared between the two nearest.
    Returns frequency (shells,) in 1/Å and fsc (n, shells); shell 0 is NaN.
    Cardone, Heymann and Steven, J Struct Biol 184 (2013) 226, doi:10.1016/j.jsb.2013.08.002.
    """
    half = int(np.ceil(0.5 * diameter / pixel_size))
    edge = 2 * half + 1
    padded = fast_size(2 * edge)
    offset = np.arange(-half, half + 1) * pixel_size
    r = np.sqrt(offset[:, None, None] ** 2 + offset[None, :, None] ** 2 + offset**2)
    window = np.where(r < 0.5 * diameter, 0.5 * (1.0 + np.cos(2.0 * np.pi * r / diameter)), 0.0).astype(np.float32)
    shells, sharing = _sharing(padded)
    fsc = np.empty((len(centres), shells), np.float32)
    around = [np.pad(m, half) for m in (first, second)]
    for begin in range(0, len(centres), batch):
        chosen = centres[begin : begin + batch]
        transforms = []
        for source in around:
            boxes = np.zeros((len(chosen), padded, padded, padded), np.float32)
            for box, (z, y, x) in zip(boxes, chosen, strict=True):
                part = source[z : z + edge, y : y + edge, x : x + edge]
                box[:edge, :edge, :edge] = (part - (part * window).sum() / window.sum()) * window
            transform = scipy.fft.rfftn(boxes, axes=(1, 2, 3), workers=threads)
            transforms.append(transform.reshape(len(chosen), -1))
        a, b = transforms
        cross = sharing @ (a.real * b.real + a.imag * b.imag).T
        power_1 = sharing @ (a.real**2 + a.imag**2).T
        power_2 = sharing @ (b.real**2 + b.imag**2).T
        scale = np.sqrt(power_1 * power_2)
        fsc[begin : begin + batch] = np.where(scale > 0, cross / np.maximum(scale, 1e-30), 0.0).T
    fsc[:, 0] = np.nan
    return np.arange(shells) / (padded * pixel_size), fsc


def _sharing(n: int) -> tuple[int, scipy.sparse.csr_array]:
    """(shells, coefficients) weights by which coefficients of a cube of n count for the two nearest shells."""
    fz, fy, fx = (f * n for f in axis_frequencies((n, n, n), 1.0))
    radius = np.sqrt(fz[:, None, None] ** 2 + fy[None, :, None] ** 2 + fx**2)
    mates = np.broadcast_to(np.where((fx == 0) | (fx == n // 2), 0.5, 1.0), radius.shape).ravel()
    shells = n // 2 + 1
    low = np.floor(radius.ravel()).astype(np.int64)
    part = radius.ravel() - low
    rows = np.concatenate([low, low + 1])
    columns = np.tile(np.arange(low.size), 2)
    values = np.concatenate([(1.0 - part) * mates, part * mates])
    keep = (rows < shells) & (values > 0)
    table = scipy.sparse.csr_array((values[keep], (rows[keep], columns[keep])), shape=(shells, low.size))
    return shells, table.astype(np.float32)
