"""Fourier shell correlation of two half maps: curves, their null width, crossings and intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numba import njit
from numpy.typing import NDArray
from scipy.linalg import cholesky, toeplitz
from scipy.optimize import isotonic_regression
from scipy.special import ndtr
from scipy.stats import norm
from scipy.stats import t as student

from veritem.numerics.fourier import rfftn
from veritem.numerics.shells import axis_scales, shell_count

THRESHOLD = 0.143  # Rosenthal and Henderson, J Mol Biol 333 (2003) 721, doi:10.1016/j.jmb.2003.07.013
# Shells further apart than this share nothing through a mask that fills a box cut to it.
LAGS = 8
LASTING = 3  # shells that a curve must stay below a threshold
GROUP = 3  # shells that are tested together
# The phase residual at which Gaussian signal and noise have FSC 0.143, and that of noise alone, 180/√3.
RESIDUAL_0143, RESIDUAL_NOISE = 94.8, 103.9


@njit(nogil=True, cache=True)
def _shell_sums(first, second, nz, ny, nx, scale_z, scale_y, scale_x, cross, power_1, power_2, counts):
    shells = cross.size
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
                a, b = first[iz, iy, ix], second[iz, iy, ix]
                cross[shell] += weight * (a.real * b.real + a.imag * b.imag)
                power_1[shell] += weight * (a.real * a.real + a.imag * a.imag)
                power_2[shell] += weight * (b.real * b.real + b.imag * b.imag)
                counts[shell] += weight


@dataclass(frozen=True, eq=False)
class ShellSums:
    """Sums over the independent coefficients of each shell, all (shells,) float64.

    cross: of Re F1 F2*. power_1, power_2: of |F1|², |F2|². counts: how many.
    """

    cross: NDArray[np.float64]
    power_1: NDArray[np.float64]
    power_2: NDArray[np.float64]
    counts: NDArray[np.float64]

    @property
    def fsc(self) -> NDArray[np.float64]:
        """The correlation; 0 where a half map holds nothing (filtered away). Shell 0, the mean, is NaN: no evidence."""
        scale = np.sqrt(self.power_1 * self.power_2)
        with np.errstate(invalid="ignore", divide="ignore"):
            curve = np.where(scale > 0, self.cross / scale, 0.0)
        curve[0] = np.nan
        return curve


def shell_sums(first: NDArray, second: NDArray, shape: tuple[int, int, int]) -> ShellSums:
    """Sums per shell of two half-complex transforms of maps of `shape` (nz, ny, nx).

    Harauz and van Heel, Optik 73 (1986) 146.
    """
    sums = [np.zeros(shell_count(shape)) for _ in range(4)]
    _shell_sums(first, second, *shape, *axis_scales(shape), *sums)
    return ShellSums(*sums)


def held_to(sums: ShellSums) -> int:
    """The last shell in which the maps hold anything: beyond it they were filtered away."""
    power = (sums.power_1 + sums.power_2) / np.maximum(sums.counts, 1e-30)
    held = np.flatnonzero(power[1:] > 1e-10 * power[1:].max(initial=0.0))
    return int(held[-1]) + 1 if held.size else 1


@njit(nogil=True, cache=True)
def _phase_residual(first, second, nz, ny, nx, scale_z, scale_y, scale_x, squares, weights):
    shells = squares.size
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
                mates = 0.5 if ix == 0 or (nx % 2 == 0 and ix == last) else 1.0
                a, b = first[iz, iy, ix], second[iz, iy, ix]
                phase = np.arctan2(a.imag * b.real - a.real * b.imag, a.real * b.real + a.imag * b.imag)
                weight = mates * (
                    np.sqrt(a.real * a.real + a.imag * a.imag) + np.sqrt(b.real * b.real + b.imag * b.imag)
                )
                squares[shell] += weight * phase * phase
                weights[shell] += weight


def phase_residual(first: NDArray, second: NDArray, shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """The differential phase residual per shell, degrees: root mean square phase difference, weighted by |F1| + |F2|.

    Noise alone has 180°/√3 = 103.9°; NaN in shell 0 and where both maps are empty.
    Frank, Verschoor and Boublik, Science 214 (1981) 1353, doi:10.1126/science.7313694.
    """
    squares, weights = np.zeros(shell_count(shape)), np.zeros(shell_count(shape))
    _phase_residual(first, second, *shape, *axis_scales(shape), squares, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        residual = np.degrees(np.sqrt(squares / weights))
    residual[0] = np.nan
    return residual


@njit(nogil=True, cache=True)
def _gained_lines(transform, kz, ky, scale_z, scale_y, scale_x, gain, out):
    for i in range(kz.size):
        fz = (kz[i] if kz[i] <= transform.shape[0] // 2 else kz[i] - transform.shape[0]) * scale_z
        for j in range(ky.size):
            fy = (ky[j] if ky[j] <= transform.shape[1] // 2 else ky[j] - transform.shape[1]) * scale_y
            for ix in range(out.shape[2]):
                fx = ix * scale_x
                shell = int(np.sqrt(fz * fz + fy * fy + fx * fx) + 0.5)
                if shell < gain.size:
                    out[i, j, ix] = transform[kz[i], ky[j], ix] * gain[shell]
                else:
                    out[i, j, ix] = 0


def filtered_part(
    transform: NDArray,
    shape: tuple[int, int, int],
    gain: NDArray,
    box: tuple[slice, slice, slice],
    threads: int = 1,
) -> NDArray[np.float32]:
    """A part of a map whose shells are multiplied by a gain.

    transform: half-complex, of the map of `shape`. gain: (shells,) from the mean on; nothing beyond is kept.
    box: slices of the map's voxels. Only lines that hold something are transformed, and only the voxels of the part
    kept, so this costs less than a whole inverse transform, and a fraction of one for a low-pass.
    """
    longest = max(shape)
    last = int(np.flatnonzero(gain)[-1]) if np.any(gain) else 0
    lines = []
    for n in shape[:2]:
        reach = int((last + 0.5) * n / longest) + 1
        lines.append(np.arange(n) if 2 * reach + 1 >= n else np.r_[0 : reach + 1, n - reach : n])
    nz, ny, nx = shape
    columns = min(int((last + 0.5) * nx / longest) + 1, nx // 2) + 1
    held = np.empty((lines[0].size, lines[1].size, columns), np.complex64)
    _gained_lines(
        transform, lines[0], lines[1], longest / nz, longest / ny, longest / nx, np.asarray(gain, np.float32), held
    )
    held = scipy.fft.ifft(_spread(held, lines[0], nz, 0), axis=0, workers=threads)[box[0]]
    held = scipy.fft.ifft(_spread(held, lines[1], ny, 1), axis=1, workers=threads)[:, box[1]]
    return scipy.fft.irfft(held, n=nx, axis=2, workers=threads)[:, :, box[2]]


def _spread(held: NDArray, lines: NDArray, size: int, axis: int) -> NDArray:
    """Lines at their places along an axis of `size`, nothing between."""
    if lines.size == size:
        return held
    shape = list(held.shape)
    shape[axis] = size
    full = np.zeros(shape, held.dtype)
    if axis == 0:
        full[lines] = held
    else:
        full[:, lines] = held
    return full


# --- how far a shell's FSC scatters when the maps share nothing ------------------------------------------------


@dataclass(frozen=True, eq=False)
class ShellCorrelation:
    """What multiplying with a mask does to the shells of a noise FSC.

    inflation: D, the factor on a shell's standard deviation: D² coefficients count as one.
    neighbours: (lags,) the correlation of a shell's FSC with that of the shells 0, 1, 2, ... away; the first is 1.
    """

    inflation: float
    neighbours: NDArray[np.float64]

    def matrix(self, shells: int) -> NDArray[np.float64]:
        """(shells, shells) correlations of the shells with each other."""
        row = np.zeros(shells)
        held = min(shells, self.neighbours.size)
        row[:held] = self.neighbours[:held]
        return toeplitz(row)

    def draws(self, shells: int, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """(count, shells) standard normal numbers with these correlations."""
        matrix = self.matrix(shells)
        # A row that is cut after the last lag need not be the correlation of anything: lift its least eigenvalue.
        lift = max(0.0, 1e-6 - float(np.linalg.eigvalsh(matrix)[0]))
        matrix = (matrix + lift * np.eye(shells)) / (1.0 + lift)
        return rng.standard_normal((count, shells)) @ cholesky(matrix)


@njit(nogil=True, cache=True)
def _offset_histogram(transform, nz, ny, nx, scale_z, scale_y, scale_x, steps, power, offset):
    last = nx // 2
    for iz in range(nz):
        kz = (iz if iz <= nz // 2 else iz - nz) * scale_z
        for iy in range(ny):
            ky = (iy if iy <= ny // 2 else iy - ny) * scale_y
            for ix in range(last + 1):
                kx = ix * scale_x
                q = np.sqrt(kz * kz + ky * ky + kx * kx)
                weight = 1.0 if ix == 0 or (nx % 2 == 0 and ix == last) else 2.0
                value = transform[iz, iy, ix]
                held = weight * (value.real * value.real + value.imag * value.imag)
                where = min(int(q * steps + 0.5), power.size - 1)
                power[where] += held
                offset[where] += held * q


def mask_correlation(mask: NDArray, threads: int = 1) -> ShellCorrelation:
    """By how much multiplying with a mask widens the null of a shell's FSC, and how it couples neighbouring shells.

    mask: (nz, ny, nx) in [0, 1], in the box in which the shells are one Fourier voxel thick.
    Coefficients q Fourier voxels apart have the squared correlation |M2(q)|² / |M2(0)|², M2 the transform of the
    squared mask. A neighbour q away, in any direction, lies j shells away with probability P_j(q); for j = 0 that is
    1 - q/2 up to q = 1 and 1/(2q) beyond. D² = Σ_q |M2(q)|² P_0(q) / |M2(0)|², and shells j apart have the
    correlation Σ |M2|² P_j / Σ |M2|² P_0. The shells are taken as flat, which holds from the third on.
    """
    nz, ny, nx = mask.shape
    longest = max(mask.shape)
    transform = rfftn(mask * mask, threads)
    steps = 32
    power, offset = np.zeros(longest * steps), np.zeros(longest * steps)
    _offset_histogram(transform, nz, ny, nx, *axis_scales((nz, ny, nx)), steps, power, offset)
    held = power > 0
    power, q = power[held], offset[held] / power[held]
    own = float(power[0])
    shares = np.array([float(power @ _shell_share(q, lag)) for lag in range(LAGS)])
    # A shell cannot hold more independent coefficients than coefficients.
    return ShellCorrelation(max(1.0, float(np.sqrt(shares[0] / own))), shares / shares[0])


def _shell_share(q: NDArray, lag: int) -> NDArray[np.float64]:
    """P_j(q): a triangle (two shells' overlap) averaged over the projections of q on the radius, which are uniform."""

    def area(x: NDArray) -> NDArray:
        x = np.clip(x, -1.0, 1.0)
        return np.where(x < 0, 0.5 * (x + 1) ** 2, 1 - 0.5 * (1 - x) ** 2)

    small = q < 1e-6
    safe = np.where(small, 1.0, q)
    share = (area(safe - lag) - area(-safe - lag)) / (2 * safe)
    return np.where(small, 1.0 if lag == 0 else 0.0, share)


def mask_inflation(mask: NDArray, threads: int = 1) -> float:
    """D of `mask_correlation`."""
    return mask_correlation(mask, threads).inflation


def point_group_order(symmetry: str) -> int:
    """How many asymmetric units a point group has: C4 4, D7 14, T 12, O 24, I 60."""
    kind = symmetry[0].upper()
    if kind in "TOI":
        return {"T": 12, "O": 24, "I": 60}[kind]
    return int(symmetry[1:]) * (2 if kind == "D" else 1)


def fsc_deviation(fsc: NDArray, independent: NDArray) -> NDArray[np.float64]:
    """Standard deviation of an FSC that has the expectation `fsc`, from n_eff independent coefficients.

    The signal is one and the same, only the noise is drawn again: per coefficient the variance is
    (1 - f)² (1 + 2f - f²) / 2. At f = 0 it is that of the null, 1 / (2 n_eff).
    """
    f = np.clip(fsc, 0.0, 1.0)
    return (1 - f) * np.sqrt((1 + 2 * f - f * f) / (2 * np.maximum(independent, 1.0)))


# --- smoothing and crossing ------------------------------------------------------------------------------------


def _stretch(fsc: NDArray, width: NDArray) -> NDArray:
    """A scale on which a falling FSC is nearly a straight line: the logit, made linear within the noise's width."""
    return np.arcsinh(fsc / (2 * width)) - np.log1p(-np.minimum(fsc, 1 - 1e-6))


def _unstretch(value: NDArray, width: NDArray) -> NDArray:
    """The inverse of `_stretch`, by bisection: it rises everywhere."""
    low, high = np.full(np.shape(value), -1.0), np.full(np.shape(value), 1.0 - 1e-6)
    for _ in range(40):
        middle = 0.5 * (low + high)
        above = _stretch(middle, width) > value
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return 0.5 * (low + high)


def _local_line(before: NDArray, centre: NDArray, after: NDArray, weight: NDArray) -> NDArray:
    """Weighted straight line through a shell and its two neighbours, at the shell. The ends stay as they are."""
    left, right = np.zeros_like(weight), np.zeros_like(weight)
    left[1:], right[:-1] = weight[:-1], weight[1:]
    total, first, second = weight + left + right, right - left, right + left
    mean, moment = weight * centre + left * before + right * after, right * after - left * before
    return (second * mean - first * moment) / (total * second - first * first)


def _smoothed(fsc: NDArray, independent: NDArray) -> tuple[NDArray, NDArray]:
    """`smooth_fsc` on the stretched scale, and the scale's width, for (..., shells) curves without shell 0."""
    width = 1 / np.sqrt(2 * np.maximum(independent, 1.0))
    before, after = np.empty_like(fsc), np.empty_like(fsc)
    before[..., 1:], before[..., 0] = fsc[..., :-1], fsc[..., 0]
    after[..., :-1], after[..., -1] = fsc[..., 1:], fsc[..., -1]
    line = _local_line(
        _stretch(before, width), _stretch(fsc, width), _stretch(after, width), np.asarray(independent, float)
    )
    return line, width


def smooth_fsc(fsc: NDArray, independent: NDArray) -> NDArray[np.float64]:
    """A local straight line over a shell and its neighbours, weighted by n_eff, on the scale of `_stretch`.

    On that scale a curve that falls as exp(-k) keeps its crossing; averaging the FSC itself would move it outwards.
    fsc: (..., shells), shell 0 NaN and left so.
    """
    out = np.array(fsc, float)
    line, width = _smoothed(out[..., 1:], np.asarray(independent)[1:])
    out[..., 1:] = _unstretch(line, width)
    return out


def smoothed_crossing(
    frequency: NDArray, fsc: NDArray, independent: NDArray, threshold: float = THRESHOLD, lasting: int = LASTING
) -> NDArray[np.float64]:
    """Where smoothed curves fall below `threshold` and stay there for `lasting` shells, 1/Å, interpolated.

    fsc: (..., shells), shell 0 is passed over. Returns (...): NaN where a curve never does, and the first frequency
    where it is below from the start. A curve that ends below counts as staying.
    """
    line, width = _smoothed(np.asarray(fsc, float)[..., 1:], np.asarray(independent)[1:])
    above = line - _stretch(np.full_like(width, threshold), width)
    x = np.asarray(frequency, float)[1:]
    below = above < 0
    stays = below.copy()
    for step in range(1, lasting):
        stays[..., :-step] &= below[..., step:]
    k = np.argmax(stays, axis=-1)
    never = ~stays.any(axis=-1)
    left = np.maximum(k - 1, 0)
    high = np.take_along_axis(above, left[..., None], -1)[..., 0]
    low = np.take_along_axis(above, k[..., None], -1)[..., 0]
    share = np.where(k > 0, high / np.where(high - low > 0, high - low, 1.0), 0.0)
    crossing = x[left] + np.clip(share, 0, 1) * (x[k] - x[left])
    return np.where(never, np.nan, crossing)


def fsc_draws(
    fsc: NDArray, independent: NDArray, correlation: ShellCorrelation, count: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """(count, shells) curves as they might have been measured: the smoothed curve with the noise drawn again.

    fsc: (shells,) the smoothed curve; shell 0 stays NaN.
    """
    noise = correlation.draws(fsc.size - 1, count, rng)
    drawn = np.full((count, fsc.size), np.nan)
    drawn[:, 1:] = np.clip(fsc[1:] + fsc_deviation(fsc[1:], independent[1:]) * noise, -1.0, 1.0)
    return drawn


def first_lasting_crossing(
    frequency: NDArray, fsc: NDArray, threshold: float = THRESHOLD, lasting: int = LASTING
) -> float | None:
    """Frequency (1/Å) at which a curve falls below `threshold` and stays there for `lasting` shells, interpolated.

    Shells without evidence (NaN) are passed over. None when it never does; a curve that ends below counts as staying.
    """
    known = np.flatnonzero(np.isfinite(fsc))
    x, y = np.asarray(frequency)[known], np.asarray(fsc)[known]
    below = y < threshold
    for k in np.flatnonzero(below):
        if below[k : k + lasting].all():
            if k == 0:
                return float(x[0])
            share = (y[k - 1] - threshold) / (y[k - 1] - y[k])
            return float(x[k - 1] + share * (x[k] - x[k - 1]))
    return None


# --- is there anything? ----------------------------------------------------------------------------------------


def fsc_z(fsc: NDArray, independent: NDArray) -> NDArray[np.float64]:
    """An FSC as a standard normal number under "no common signal", exact for Gaussian noise.

    t = FSC √((2n - 1) / (1 - FSC²)) is Student's t with 2n - 1 degrees of freedom; its normal score. (..., shells).
    """
    freedom = np.maximum(2 * np.asarray(independent, float) - 1, 1.0)
    f = np.clip(fsc, -1 + 1e-9, 1 - 1e-9)
    value = f * np.sqrt(freedom / (1 - f * f))
    # The lighter tail keeps its digits; beyond 1e-300 the score saturates.
    tail = student.sf(np.abs(value), freedom)
    return np.sign(value) * norm.isf(np.maximum(tail, 1e-300))


def group_z(z: NDArray, correlation: ShellCorrelation, size: int = GROUP) -> NDArray[np.float64]:
    """Stouffer's sum over `size` neighbouring shells, with their correlation: (..., shells - size + 1), from the first.

    Stouffer et al., The American Soldier (1949); correlated: Strube, Psychol. Bull. 97 (1985) 334.
    """
    total = np.sqrt(float(correlation.matrix(size).sum()))
    sums = sum(z[..., i : z.shape[-1] - size + 1 + i] for i in range(size))
    return np.asarray(sums) / total


def normal_p_value(z: NDArray) -> NDArray[np.float64]:
    """One-sided p-value of a standard normal number; never 0."""
    return np.maximum(ndtr(-np.asarray(z, float)), 1e-300)


# --- what a curve does after it has fallen ---------------------------------------------------------------------


@dataclass(frozen=True)
class Return:
    """The largest rise of an FSC after it has fallen, over groups of three shells.

    rise: FSC. at: shell in the middle of the group that rose most. p_value: share of curves that never rise whose
    noise shows as much; never 0.
    """

    rise: float
    at: int
    p_value: float


def largest_return(
    fsc: NDArray, independent: NDArray, correlation: ShellCorrelation, start: int, rng: np.random.Generator,
    draws: int = 4000,
) -> Return | None:  # fmt: skip
    """Does the curve come back after shell `start`? None when fewer than two groups of shells are left.

    The null is the falling curve nearest to the measured one (isotonic regression), with its noise drawn again.
    """
    tail, held = np.asarray(fsc, float)[start:], np.asarray(independent, float)[start:]
    if tail.size < 2 * GROUP:
        return None
    falling = np.asarray(isotonic_regression(tail, weights=held, increasing=False).x)
    noise = correlation.draws(tail.size, draws, rng) * fsc_deviation(falling, held)

    def rises(curve: NDArray) -> NDArray:
        group = np.stack([curve[..., i : curve.shape[-1] - GROUP + 1 + i] for i in range(GROUP)]).mean(axis=0)
        return group - np.minimum.accumulate(group, axis=-1)

    observed = rises(tail)
    most = int(np.argmax(observed))
    null = rises(falling + noise).max(axis=-1)
    count = int(np.count_nonzero(null >= observed[most]))
    return Return(float(observed[most]), start + most + GROUP // 2, (1 + count) / (1 + draws))


def mean_level(
    fsc: NDArray, independent: NDArray, correlation: ShellCorrelation, shells: slice
) -> tuple[float, float, float]:
    """The mean FSC over neighbouring shells, its standard deviation and the p-value of "nothing in common".

    Weighted by n_eff, which is the best weight for independent shells; their correlation is in the deviation.
    """
    value, weight = np.asarray(fsc, float)[shells], np.asarray(independent, float)[shells]
    weight = weight / weight.sum()
    mean = float(weight @ value)
    spread = weight / np.sqrt(2 * np.asarray(independent, float)[shells])
    deviation = float(np.sqrt(spread @ correlation.matrix(value.size) @ spread))
    return mean, deviation, float(normal_p_value(np.asarray(mean / deviation)))


@dataclass(frozen=True, eq=False)
class DetectionLimit:
    """How far from the coarse end every group of shells holds common signal, tested in that order.

    z: (..., groups) standard normal numbers under "nothing in common". frequency: (groups,) 1/Å, of the middle shells.
    limit: (...) 1/Å, where z falls below the critical value for the first time, interpolated between groups; NaN where
    the first group does; the last group's frequency where none does. passed: (...) groups before that.
    critical: the critical value. needed: (groups,) the mean FSC that a group must reach for it, nearly.
    """

    z: NDArray[np.float64]
    frequency: NDArray[np.float64]
    limit: NDArray[np.float64]
    passed: NDArray[np.int64]
    critical: float
    needed: NDArray[np.float64]


def detection_limit(
    frequency: NDArray,
    fsc: NDArray,
    independent: NDArray,
    correlation: ShellCorrelation,
    alpha: float = 0.01,
    least: float = 10.0,
) -> DetectionLimit:
    """Test groups of three neighbouring shells one after the other, from coarse to fine, until one fails.

    Hypotheses tested in an order that is fixed beforehand, up to the first that is not rejected, keep the chance of
    any false rejection at `alpha` whatever their number and dependence (Maurer, Hothorn and Lehmacher 1995; Westfall
    and Krishen, J. Stat. Plan. Inference 99 (2001) 25, doi:10.1016/S0378-3758(01)00077-5).
    fsc: (..., shells), shell 0 left out. It begins at the first shell with at least `least` independent coefficients,
    at the latest after a quarter of the shells.
    """
    held = np.asarray(independent, float)
    enough = np.flatnonzero(held[1:] >= least)
    latest = max(1, min(held.size // 4, held.size - GROUP))
    first = min(1 + int(enough[0]) if enough.size else latest, latest)
    z = group_z(fsc_z(np.asarray(fsc, float)[..., first:], held[first:]), correlation)
    middle = np.asarray(frequency, float)[first + GROUP // 2 : held.size - GROUP // 2]
    critical = float(norm.isf(alpha))
    fails = z < critical
    passed = np.where(fails.any(axis=-1), np.argmax(fails, axis=-1), z.shape[-1])
    left = np.clip(passed - 1, 0, None)
    right = np.clip(passed, None, z.shape[-1] - 1)
    high = np.take_along_axis(z, left[..., None], -1)[..., 0]
    low = np.take_along_axis(z, right[..., None], -1)[..., 0]
    share = np.where(right > left, (high - critical) / np.where(high > low, high - low, 1.0), 0.0)
    limit = middle[left] + share * (middle[right] - middle[left])
    spread = float(np.sqrt(correlation.matrix(GROUP).sum())) / GROUP
    deviation = 1 / np.sqrt(2 * held[first + GROUP // 2 : held.size - GROUP // 2])
    return DetectionLimit(
        z, middle, np.where(passed > 0, limit, np.nan), passed, critical, critical * spread * deviation
    )
