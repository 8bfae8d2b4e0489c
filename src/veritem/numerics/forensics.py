"""What two half maps tell about how they were made: their noise in frequency and in space, how they overlay.

Half maps are h = signal + noise, the noises independent. Their difference holds noise alone; its power by frequency,
by distance from the particle and by distance from the box centre shows filters and masks. Everything is done on the
CPU: irregular sums dominate.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

from veritem.numerics.fourier import fast_size, irfftn, rfftn
from veritem.numerics.fsc import ShellSums
from veritem.numerics.masks import raised_cosine_edge
from veritem.numerics.shells import axis_scales, shell_count, shell_frequencies

Shape = tuple[int, int, int]


# --------------------------------------------------------------------------- kernels over Fourier coefficients


@njit(nogil=True, cache=True)
def _difference_sums(first, second, ratio, nz, ny, nx, sz, sy, sx, radial, radial_counts, cubic, cubic_counts):
    shells = radial.size
    last = nx // 2
    for iz in range(nz):
        kz = (iz if iz <= nz // 2 else iz - nz) * sz
        for iy in range(ny):
            ky = (iy if iy <= ny // 2 else iy - ny) * sy
            for ix in range(last + 1):
                kx = ix * sx
                shell = int(np.sqrt(kz * kz + ky * ky + kx * kx) + 0.5)
                if shell >= shells:
                    continue
                weight = 0.5 if ix == 0 or (nx % 2 == 0 and ix == last) else 1.0
                d = first[iz, iy, ix] - ratio[shell] * second[iz, iy, ix]
                value = weight * (d.real * d.real + d.imag * d.imag)
                radial[shell] += value
                radial_counts[shell] += weight
                slab = int(max(abs(kz), abs(ky), kx) + 0.5)
                cubic[slab] += value
                cubic_counts[slab] += weight


@njit(nogil=True, cache=True)
def _weigh(transform, table, nz, ny, nx, sz, sy, sx, out):
    shells = table.size
    for iz in range(nz):
        kz = (iz if iz <= nz // 2 else iz - nz) * sz
        for iy in range(ny):
            ky = (iy if iy <= ny // 2 else iy - ny) * sy
            for ix in range(nx // 2 + 1):
                kx = ix * sx
                shell = int(np.sqrt(kz * kz + ky * ky + kx * kx) + 0.5)
                if shell < shells:
                    out[iz, iy, ix] = transform[iz, iy, ix] * table[shell]
                else:
                    out[iz, iy, ix] = 0.0


@njit(nogil=True, cache=True)
def _phase_sums(first, second, ez, ey, ex, nz, ny, nx, sz, sy, sx, counts, cross, power_1, power_2, slope, curvature):
    shells = cross.size
    last = nx // 2
    two_pi = 2.0 * np.pi
    for iz in range(nz):
        nkz = iz if iz <= nz // 2 else iz - nz
        kz = nkz * sz
        qz = two_pi * nkz / nz
        for iy in range(ny):
            nky = iy if iy <= ny // 2 else iy - ny
            ky = nky * sy
            qy = two_pi * nky / ny
            turn = ez[iz] * ey[iy]
            for ix in range(last + 1):
                kx = ix * sx
                shell = int(np.sqrt(kz * kz + ky * ky + kx * kx) + 0.5)
                if shell >= shells:
                    continue
                qx = two_pi * ix / nx
                weight = 0.5 if ix == 0 or (nx % 2 == 0 and ix == last) else 1.0
                a, b = first[iz, iy, ix], second[iz, iy, ix]
                c = weight * a * np.conj(b) * turn * ex[ix]
                counts[shell] += weight
                cross[shell] += c.real
                power_1[shell] += weight * (a.real * a.real + a.imag * a.imag)
                power_2[shell] += weight * (b.real * b.real + b.imag * b.imag)
                slope[shell, 0] += qz * c.imag
                slope[shell, 1] += qy * c.imag
                slope[shell, 2] += qx * c.imag
                curvature[shell, 0] += qz * qz * c.real
                curvature[shell, 1] += qy * qy * c.real
                curvature[shell, 2] += qx * qx * c.real
                curvature[shell, 3] += qz * qy * c.real
                curvature[shell, 4] += qz * qx * c.real
                curvature[shell, 5] += qy * qx * c.real


# --------------------------------------------------------------------------- noise by frequency


@dataclass(frozen=True, eq=False)
class NoiseSpectrum:
    """Mean power of the difference of two halves, per shell and per cubic shell.

    frequency: (shells,) 1/Å. radial, counts: (shells,) over |f|. cubic, cubic_counts: (shells,) over the largest of
    |fx|, |fy|, |fz|, of coefficients up to Nyquist only.
    """

    frequency: NDArray[np.float64]
    radial: NDArray[np.float64]
    counts: NDArray[np.float64]
    cubic: NDArray[np.float64]
    cubic_counts: NDArray[np.float64]


def noise_spectrum(first: NDArray, second: NDArray, ratio: NDArray, shape: Shape, pixel_size: float) -> NoiseSpectrum:
    """Power of F1 - ratio F2 over the box.

    ratio: (shells,) amplitude of the first over the second, which makes their signals alike.
    """
    shells = shell_count(shape)
    radial, counts, cubic, cubic_counts = (np.zeros(shells) for _ in range(4))
    _difference_sums(
        first, second, np.asarray(ratio, np.float32), *shape, *axis_scales(shape), radial, counts, cubic, cubic_counts
    )
    return NoiseSpectrum(
        shell_frequencies(shape, pixel_size),
        radial / np.maximum(counts, 1e-30),
        counts,
        cubic / np.maximum(cubic_counts, 1e-30),
        cubic_counts,
    )


@dataclass(frozen=True)
class SpectrumEnd:
    """Where noise ends below Nyquist. frequency: 1/Å, half of the power. width: 1/Å from there to a thirtieth."""

    frequency: float
    width: float


def spectrum_end(frequency: NDArray, power: NDArray, lowest: float, drop: float = 30.0) -> SpectrumEnd | None:
    """The lowest frequency beyond which the power stays `drop` times below what it was.

    frequency, power: (n,), rising frequency. lowest: 1/Å, below which nothing is looked at.
    None where there is no such fall by nine tenths of the last frequency. A fall by 30 within a quarter of an octave
    is steeper than any power law up to f^-15: a filter made it.
    """
    usable = np.flatnonzero((frequency >= lowest) & (frequency > 0))
    f = frequency[usable]
    tiny = max(float(power[usable].max()) * 1e-14, 1e-300)
    log_power = np.log(np.maximum(power[usable], tiny))
    last = f[-1]
    for i in range(2, len(f)):
        if 1.12 * f[i] > 0.98 * last:
            return None
        below = (f >= 0.55 * f[i]) & (f <= 0.9 * f[i])
        beyond = f >= 1.12 * f[i]
        if below.sum() < 3 or beyond.sum() < 2:
            continue
        level = float(np.median(log_power[below]))
        if log_power[beyond].max() > level - np.log(drop):
            continue
        half = _last_crossing(f, log_power, level - np.log(2.0))
        low = _last_crossing(f, log_power, level - np.log(drop))
        return SpectrumEnd(half, max(low - half, 0.0))
    return None


def _last_crossing(x: NDArray, y: NDArray, level: float) -> float:
    """Where y falls below a level for good, interpolated."""
    above = np.flatnonzero(y > level)
    k = int(above[-1]) if above.size else 0
    if k + 1 >= len(x):
        return float(x[-1])
    return float(x[k] + (y[k] - level) / max(y[k] - y[k + 1], 1e-12) * (x[k + 1] - x[k]))


def noise_rise(frequency: NDArray, power: NDArray, counts: NDArray, end: float) -> tuple[float, float] | None:
    """How much faster noise rises than in proportion to frequency, as a B-factor in Å², with its standard error.

    ln(power / f) = a + B f² / 2 from 0.4 to 0.95 of `end` (1/Å). None for fewer than six shells.
    """
    use = (frequency >= 0.4 * end) & (frequency <= 0.95 * end) & (power > 0) & (counts > 0)
    if use.sum() < 6:
        return None
    x = 0.5 * frequency[use] ** 2
    y = np.log(power[use] / frequency[use])
    weight = 1.0 / (1.0 / counts[use] + 0.02**2)
    centre = np.average(x, weights=weight)
    spread = float((weight * (x - centre) ** 2).sum())
    slope = float((weight * (x - centre) * y).sum() / spread)
    residual = y - np.average(y, weights=weight) - slope * (x - centre)
    misfit = max(1.0, float((weight * residual**2).sum()) / (use.sum() - 2))
    return slope, float(np.sqrt(misfit / spread))


# --------------------------------------------------------------------------- noise by place


def weighed_volume(transform: NDArray, table: NDArray, shape: Shape, threads: int = 1) -> NDArray[np.float32]:
    """A map whose shells are multiplied by `table` (shells,); nothing beyond Nyquist."""
    return irfftn(scaled_transform(transform, table, shape), shape, threads)


def scaled_transform(transform: NDArray, table: NDArray, shape: Shape) -> NDArray[np.complex64]:
    """A transform whose shells are multiplied by `table` (shells,); nothing beyond Nyquist."""
    out = np.empty_like(transform)
    _weigh(transform, np.asarray(table, np.float32), *shape, *axis_scales(shape), out)
    return out


def volume_share(window: NDArray) -> float:
    """What share of a box's independent numbers a window leaves: (Σ w²)² / (n Σ w⁴).

    It holds for sums over many shells; single shells lose less, see `mask_inflation`.
    """
    squared = np.square(window, dtype=np.float64)
    fourth = float(np.square(squared).sum())
    return float(squared.sum()) ** 2 / (window.size * fourth) if fourth > 0 else 0.0


@njit(nogil=True, cache=True)
def _profile(first, second, distance, cz, cy, cx, pixel, radius_bin, distance_bin, lowest, sums):
    nz, ny, nx = first.shape
    radii, distances = sums.shape[0], sums.shape[1]
    for iz in range(nz):
        rz = (iz - cz) * pixel
        for iy in range(ny):
            ry = (iy - cy) * pixel
            for ix in range(nx):
                rx = (ix - cx) * pixel
                r = int(np.sqrt(rz * rz + ry * ry + rx * rx) / radius_bin)
                d = int((distance[iz, iy, ix] - lowest) / distance_bin)
                d = max(0, min(d, distances - 1))
                if r >= radii:
                    continue
                a, b = first[iz, iy, ix], second[iz, iy, ix]
                difference = a - b
                sums[r, d, 0] += 1.0
                sums[r, d, 1] += a * a
                sums[r, d, 2] += b * b
                sums[r, d, 3] += a * b
                sums[r, d, 4] += difference * difference
                sums[r, d, 5] += abs(difference)


@dataclass(frozen=True, eq=False)
class NoiseProfile:
    """Sums over voxels by distance from the box centre (rows) and from the particle (columns).

    radius: (rows,) Å, outer edge of each bin. distance: (columns,) Å, centre of each; negative inside the particle.
    counts, first, second, product, difference, absolute: (rows, columns) sums of 1, h1², h2², h1 h2, (h1 - h2)² and
    |h1 - h2|.
    """

    radius: NDArray[np.float64]
    distance: NDArray[np.float64]
    counts: NDArray[np.float64]
    first: NDArray[np.float64]
    second: NDArray[np.float64]
    product: NDArray[np.float64]
    difference: NDArray[np.float64]
    absolute: NDArray[np.float64]

    @property
    def variance(self) -> NDArray[np.float64]:
        """Of the difference, per bin; NaN where there are no voxels."""
        return np.where(self.counts > 0, self.difference / np.maximum(self.counts, 1.0), np.nan)

    @property
    def level(self) -> float:
        """Variance of the difference inside the particle."""
        inside = self.distance < 0
        return float(self.difference[:, inside].sum() / max(self.counts[:, inside].sum(), 1.0))


def noise_profile(
    first: NDArray[np.float32], second: NDArray[np.float32], distance: NDArray[np.float32], pixel_size: float
) -> NoiseProfile:
    """Bin two halves by where their voxels are.

    distance: Å to the particle, negative inside.
    """
    shape = first.shape
    radius_bin, distance_bin, lowest = 2.0 * pixel_size, max(2.0, pixel_size), -12.0
    cz, cy, cx = (n // 2 for n in shape)
    rows = int(np.ceil(np.sqrt(sum(max(c, n - c) ** 2 for n, c in zip(shape, (cz, cy, cx), strict=True))) / 2.0)) + 1
    columns = int(np.ceil((float(distance.max()) - lowest) / distance_bin)) + 1
    sums = np.zeros((rows, columns, 6))
    _profile(first, second, distance, cz, cy, cx, pixel_size, radius_bin, distance_bin, lowest, sums)
    return NoiseProfile(
        np.arange(1, rows + 1, dtype=np.float64) * radius_bin,
        lowest + (np.arange(columns, dtype=np.float64) + 0.5) * distance_bin,
        *(np.ascontiguousarray(sums[..., k]) for k in range(6)),
    )


@dataclass(frozen=True)
class NoiseShape:
    """Where noise is and what bounds it.

    missing: share of the voxels outside the particle that hold less than a quarter of the particle's noise.
    by_distance, by_radius: the part of the scatter of noise variance, over places outside the particle, that neither
        distance from the particle nor from the box centre explains; the smaller one names the shape.
    radius: Å from the box centre up to which there is noise; None where it reaches the corners.
    reach: Å from the particle up to which there is noise; None where it reaches the box.
    """

    missing: float
    by_distance: float
    by_radius: float
    radius: float | None
    reach: float | None


def noise_shape(profile: NoiseProfile, least: int = 30) -> NoiseShape | None:
    """What bounds the noise. None when no voxel of the particle holds any.

    least: voxels of a bin that is looked at.
    """
    counts, level = profile.counts, profile.level
    if not level > 0:
        return None
    # The two bins at the particle's edge are no evidence: a mask may begin to fade there, or not yet.
    outside = np.where((profile.distance > 0)[None, :], counts, 0.0)
    outside = np.where(outside >= least, outside, 0.0)
    total = float(outside.sum())
    if total == 0:
        return NoiseShape(0.0, 0.0, 0.0, None, None)
    share = np.clip(np.nan_to_num(profile.variance / level), 0.0, 1.5)

    def left_by(axis: int) -> tuple[float, NDArray]:
        weight = outside.sum(axis=axis, keepdims=True)
        mean = (outside * share).sum(axis=axis, keepdims=True) / np.maximum(weight, 1.0)
        return float((outside * (share - mean) ** 2).sum() / total), mean.ravel()

    by_distance, over_distance = left_by(0)
    by_radius, over_radius = left_by(1)
    missing = float((outside * (share < 0.25)).sum()) / total
    radius = _fall(profile.radius, over_radius, outside.sum(axis=1) > 0)
    reach = _fall(profile.distance, over_distance, outside.sum(axis=0) > 0)
    return NoiseShape(missing, by_distance, by_radius, radius, reach)


def _fall(x: NDArray, y: NDArray, known: NDArray, level: float = 0.25) -> float | None:
    """Where a profile falls below a level for good, interpolated; None where its last known value is above."""
    x, y = x[known], y[known]
    if not len(x) or y[-1] > level:
        return None
    above = np.flatnonzero(y > level)
    if not above.size:
        return float(x[0])
    k = int(above[-1])
    return float(x[k] + (y[k] - level) / max(y[k] - y[k + 1], 1e-12) * (x[k + 1] - x[k]))


GAUSSIAN_FLATNESS = float(np.sqrt(2.0 / np.pi))


def flatness(profile: NoiseProfile, low: float, high: float, least: int = 60) -> tuple[float, float] | None:
    """Mean |d| over root mean d² of the halves' difference, bin by bin, and the voxels behind it.

    0.798 for Gaussian noise, less where a few places hold most of it. In bins of place, noise may change its strength
    with the distance from particle and box centre. low, high: Å from the particle, between which bins count.
    least: voxels of a bin. None where there is no noise.
    Geary, Biometrika 28 (1936) 295, doi:10.1093/biomet/28.3-4.295.
    """
    use = (profile.counts >= least) & ((profile.distance > low) & (profile.distance < high))[None, :]
    use &= profile.difference > 0.003 * profile.level * profile.counts
    if high > 0:
        # At the edge of a mask a bin holds noise of many strengths, which looks like peaked noise.
        variance = np.pad(
            np.where(profile.counts >= least, profile.variance, np.nan), ((0, 0), (1, 1)), constant_values=np.nan
        )
        here = variance[:, 1:-1]
        for near in (variance[:, :-2], variance[:, 2:]):
            use &= ~(np.isfinite(near) & ((here > 2.0 * near) | (near > 2.0 * here)))
    voxels = float(profile.counts[use].sum())
    if voxels < 1000:
        return None
    counts = profile.counts[use]
    mean, root = profile.absolute[use] / counts, np.sqrt(profile.difference[use] / counts)
    return float((counts * mean / root).sum() / voxels), voxels


def noise_by_signal(
    first: NDArray[np.float32], second: NDArray[np.float32], distance: NDArray[np.float32], width: int = 5
) -> tuple[float, float] | None:
    """Noise variance where the particle's signal is strongest over that where it is weakest, and the voxels behind it.

    The halves' difference is binned by the power of their sum, averaged over cubes of `width` voxels, inside the
    particle; the upper and the lower third are compared. Sum and difference of halves with equal noise are
    independent, so the ratio is 1 for noise that is the same everywhere.
    """
    inside = distance < 0
    if int(inside.sum()) < 300:
        return None
    box = tuple(slice(max(0, int(w.min()) - width), int(w.max()) + width + 1) for w in np.nonzero(inside))
    total = first[box] + second[box]
    local = ndimage.uniform_filter(total * total, width, mode="nearest")[inside[box]]
    noise = (first[box] - second[box])[inside[box]].astype(np.float64) ** 2
    low, high = np.quantile(local, [1 / 3, 2 / 3])
    weakest = float(noise[local <= low].mean())
    if not weakest > 0:
        return None
    return float(noise[local >= high].mean()) / weakest, float(inside.sum()) / 3.0


# --------------------------------------------------------------------------- how two maps overlay

Orientation = tuple[tuple[int, int, int], tuple[int, int, int]]
"""Which old axis each new axis is, and the sign along each new axis."""

IDENTITY: Orientation = ((0, 1, 2), (1, 1, 1))


def orientations() -> list[Orientation]:
    """The 48 ways to exchange and flip three axes; the first is to leave them."""
    return [
        (order, signs)
        for order in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
        for signs in itertools.product((1, -1), (1, -1), (1, -1))
    ]


def changes_hand(orientation: Orientation) -> bool:
    """True for those that mirror."""
    order, signs = orientation
    odd = sum(order[i] > order[j] for i in range(3) for j in range(i + 1, 3)) % 2
    return (odd + sum(sign < 0 for sign in signs)) % 2 == 1


def turned(data: NDArray, orientation: Orientation) -> NDArray:
    order, signs = orientation
    return np.transpose(data, order)[tuple(slice(None, None, sign) for sign in signs)]


def describe_orientation(orientation: Orientation) -> str:
    """In words, e.g. 'mirrored along x'."""
    order, signs = orientation
    axes = "zyx"
    flipped = [axes[i] for i in range(3) if signs[i] < 0]
    if order == (0, 1, 2):
        if not flipped:
            return "as it is"
        if len(flipped) == 1:
            return f"mirrored along {flipped[0]}"
        if len(flipped) == 3:
            return "inverted through its centre, a mirror image"
        return f"turned by 180° about {next(a for a in axes if a not in flipped)}"
    kept = [i for i in range(3) if order[i] == i]
    if len(kept) == 1 and not changes_hand(orientation) and signs[kept[0]] > 0:
        return f"turned by 90° about {axes[kept[0]]}"
    names = ", ".join(("−" if signs[i] < 0 else "") + axes[order[i]] for i in (2, 1, 0))
    return f"of exchanged axes ({names} for x, y, z)" + (", a mirror image" if changes_hand(orientation) else "")


def coarse_cube(
    transform: NDArray, shape: Shape, pixel_size: float, coarse_pixel: float, radius: float
) -> tuple[NDArray[np.float32], float]:
    """The middle of a map on a coarse grid, in a soft sphere, with a flat spectrum.

    coarse_pixel: Å, aimed at. radius: Å of the sphere; the cube just holds it and its edge of four voxels.
    Returns the cube (odd edges, so that it has a middle voxel) and its pixel size along the longest axis.
    """
    # Odd sizes have no Nyquist plane to split. A non-cubic box gets nearly cubic voxels.
    small = [max(3, min(n - (n % 2 == 0), 2 * int(n * pixel_size / coarse_pixel / 2) + 1)) for n in shape]
    half = [m // 2 for m in small]
    rows = [np.r_[0 : h + 1, n - h : n] for h, n in zip(half[:2], shape[:2], strict=True)]
    cropped = transform[np.ix_(rows[0], rows[1], np.arange(half[2] + 1))]
    # Flat spectra first: the sphere's edge would spread what is strong, coarse signal or sharpened noise, over all.
    steps = [n * pixel_size for n in shape]
    k = [np.r_[0 : h + 1, -h:0] / step for h, step in zip(half[:2], steps[:2], strict=True)]
    kx = np.arange(half[2] + 1) / steps[2]
    f = np.sqrt(k[0][:, None, None] ** 2 + k[1][None, :, None] ** 2 + kx**2)
    shell = np.rint(f * max(steps)).astype(np.int64).ravel()
    power = np.abs(cropped.ravel()) ** 2
    mean = np.bincount(shell, power) / np.maximum(np.bincount(shell), 1)
    flat = np.where(mean > 0, 1.0 / np.sqrt(np.maximum(mean, 1e-300)), 0.0)
    flat[:2] = flat[min(2, len(flat) - 1)]
    cropped = (cropped.ravel() * flat[shell]).reshape(cropped.shape).astype(np.complex64)
    data = irfftn(cropped, (small[0], small[1], small[2]))
    exact = max(n * pixel_size / m for n, m in zip(shape, small, strict=True))
    reach = int(np.ceil(radius / exact)) + 4
    cube = np.zeros((2 * reach + 1,) * 3, np.float32)
    take, put = [], []
    for n, m in zip(shape, small, strict=True):
        middle = round((n // 2) * m / n)
        low, high = max(0, middle - reach), min(m, middle + reach + 1)
        take.append(slice(low, high))
        put.append(slice(low - middle + reach, high - middle + reach))
    cube[tuple(put)] = data[tuple(take)]
    z, y, x = (np.arange(2 * reach + 1, dtype=np.float32) - reach,) * 3
    r = np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x**2)
    soft = raised_cosine_edge((r - np.float32(radius / exact)).astype(np.float32), 4.0)
    cube -= np.float32((cube * soft).sum(dtype=np.float64) / soft.sum(dtype=np.float64))
    return cube * soft, exact


class Overlay:
    """Correlation of one cube with another in any of the 48 orientations, over all shifts, each shell whitened.

    first, second: cubes from `coarse_cube`. finest, coarsest: Å, the band.
    """

    def __init__(
        self, first: NDArray, second: NDArray, pixel_size: float, finest: float, coarsest: float, threads: int = 1
    ) -> None:
        self.shape = first.shape
        self.size = fast_size(first.shape[0])
        self.threads = threads
        n = self.size
        k = np.fft.fftfreq(n, 1 / n)
        kx = np.arange(n // 2 + 1)
        radius = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + kx**2)
        f = radius / (n * pixel_size)
        self.band = (f >= 1 / coarsest) & (f <= 1 / finest) & (f < 0.5 / pixel_size)
        self.shell = np.where(self.band, np.rint(radius).astype(np.int64), 0)
        self.weight = np.where((kx == 0) | (kx == n // 2), 1.0, 2.0) * self.band
        self.coefficients = float(self.weight.sum())
        self.first = self._whitened(first)
        # Turned as a real cube, whitened already: the whitening knows no direction.
        self.second = irfftn(self._whitened(second), (n, n, n), threads)

    def _whitened(self, cube: NDArray) -> NDArray:
        padded = np.zeros((self.size,) * 3, np.float32)
        m = cube.shape[0]
        # The middle voxel at 0, where turns and flips leave it.
        padded[:m, :m, :m] = cube
        padded = np.roll(padded, (-(m // 2),) * 3, axis=(0, 1, 2))
        transform = rfftn(padded, self.threads)
        power = (np.abs(transform) ** 2 * self.weight).ravel()
        total = np.bincount(self.shell.ravel(), power)
        count = np.bincount(self.shell.ravel(), self.weight.ravel())
        scale = np.where(total > 0, np.sqrt(count / np.maximum(total, 1e-300)), 0.0)
        return (transform * scale[self.shell] * self.band).astype(np.complex64)

    def score(self, orientation: Orientation = IDENTITY) -> tuple[float, tuple[int, int, int]]:
        """The largest mean correlation over all shifts, and the shift: the second moved by it overlays the first.

        Negative where the largest in absolute value is: the contrast of one of them is inverted.
        """
        n = self.size
        order, signs = orientation
        data = np.transpose(self.second, order)
        for axis, sign in enumerate(signs):
            if sign < 0:
                # Voxel 0 is the middle and stays where it is.
                data = np.roll(np.flip(data, axis), 1, axis)
        transform = rfftn(np.ascontiguousarray(data), self.threads)
        correlation = irfftn(self.first * np.conj(transform), (n, n, n), self.threads) * (n**3 / self.coefficients)
        at = np.unravel_index(int(np.argmax(np.abs(correlation))), correlation.shape)
        shift = tuple(int(i) if i <= n // 2 else int(i) - n for i in at)
        return float(correlation[at]), (shift[0], shift[1], shift[2])

    def best(self) -> tuple[Orientation, float]:
        """The orientation that overlays best in absolute value, and its correlation."""
        scores = [(self.score(o)[0], o) for o in orientations()]
        top = max(scores, key=lambda pair: abs(pair[0]))
        return top[1], top[0]


@dataclass(frozen=True)
class ShiftEstimate:
    """By how much the second map sits off the first, in voxels (z, y, x), and the covariance of that."""

    shift: tuple[float, float, float]
    covariance: NDArray[np.float64]


def estimate_shift(
    first: NDArray,
    second: NDArray,
    shape: Shape,
    start: tuple[float, float, float] = (0.0, 0.0, 0.0),
    order: float = 1,
    rounds: int = 6,
) -> ShiftEstimate | None:
    """The shift between two maps by the phases of all shells, each weighted by its FSC.

    start: voxels, right to about half a period of the finest detail they share. order: of the point group, by which
    the independent coefficients are fewer.
    A coefficient with correlation F tells a phase to a variance (1 - F²) / (2 F²), so the weights F / (1 - F²) are the
    best ones and the curvature is half the inverse covariance. None when nothing correlates.
    """
    shells = shell_count(shape)
    shift = np.array(start, float)
    covariance = np.full((3, 3), np.inf)
    for _ in range(rounds):
        # F1 F2* turns by exp(2 pi i k s / n) when the second is the first moved by s.
        turns = []
        for axis, n in enumerate(shape):
            k = np.fft.fftfreq(n, 1 / n) if axis < 2 else np.arange(n // 2 + 1)
            turns.append(np.exp(-2j * np.pi * k * shift[axis] / n).astype(np.complex128))
        counts, cross, power_1, power_2 = (np.zeros(shells) for _ in range(4))
        gradient, curvature = np.zeros((shells, 3)), np.zeros((shells, 6))
        _phase_sums(
            first,
            second,
            turns[0],
            turns[1],
            turns[2],
            *shape,
            *axis_scales(shape),
            counts,
            cross,
            power_1,
            power_2,
            gradient,
            curvature,
        )
        scale = np.sqrt(power_1 * power_2)
        fsc = np.where(scale > 0, cross / np.maximum(scale, 1e-300), 0.0)
        # A weight made of noise would count as much as one of signal.
        fsc[fsc < np.maximum(0.1, 3.0 * np.sqrt(order / (2.0 * np.maximum(counts, 0.5))))] = 0.0
        fsc[0] = 0.0
        fsc = np.clip(fsc, 0.0, 0.999)
        weight = np.where(scale > 0, fsc / (1 - fsc**2) * counts / np.maximum(scale, 1e-300), 0.0)
        g = weight @ gradient
        zz, yy, xx, zy, zx, yx = weight @ curvature
        hessian = np.array([[zz, zy, zx], [zy, yy, yx], [zx, yx, xx]])
        if not np.linalg.eigvalsh(hessian)[0] > 0:
            return None
        step = np.linalg.solve(hessian, g)
        step *= min(1.0, 1.0 / max(float(np.linalg.norm(step)), 1e-12))
        shift += step
        covariance = np.linalg.inv(hessian) * 0.5 * order
        if float(np.abs(step).max()) < 1e-3:
            break
    return ShiftEstimate((float(shift[0]), float(shift[1]), float(shift[2])), covariance)


# --------------------------------------------------------------------------- one map from two halves


def noise_taken_over(
    correlation: NDArray, fsc: NDArray, independent: NDArray, related: NDArray, unrelated: NDArray
) -> tuple[float, float] | None:
    """How far a map's noise is that of a half map or of their mean: 1 wholly, 0 not at all; with its standard error.

    correlation: (n,) of the two per shell. related, unrelated: (n,) what it would be with the same noise and with
    noise of its own, from the halves' `fsc`. independent: (n,) coefficients per shell.
    None where both expectations are alike, so that nothing can be told.
    """
    gap = related - unrelated
    variance = np.maximum((1 - np.minimum(correlation**2, 0.999)) ** 2, 1e-4) / (2 * np.maximum(independent, 1.0))
    # What is expected rests on the measured FSC.
    variance = variance + (1 - np.minimum(fsc**2, 0.999)) ** 2 / (2 * np.maximum(independent, 1.0))
    weight = gap / variance
    information = float((weight * gap).sum())
    if not information > 0:
        return None
    value = float((weight * (correlation - unrelated)).sum()) / information
    return value, float(1.0 / np.sqrt(information))


def leaning_to_a_half(
    halves: ShellSums, with_first: ShellSums, with_second: ShellSums, chosen: NDArray, independent: NDArray
) -> tuple[float, float] | None:
    """How far a map is more of one half than of the other: 1 if it is the first, -1 the second, 0 their mean; with its
    standard error.

    In each shell the map is a h1 + b h2 by least squares, and leans by (a - b) / (a + b); whatever noise the halves
    share, and whatever filter made the map.
    halves, with_first, with_second: sums of the halves, and of each with the map. chosen: (shells,) which to use.
    independent: (chosen shells,) coefficients.
    """
    p1, p2, c = halves.power_1[chosen], halves.power_2[chosen], halves.cross[chosen]
    v1, v2, pv = with_first.cross[chosen], with_second.cross[chosen], with_first.power_2[chosen]
    determinant = p1 * p2 - c**2
    held = determinant > 1e-6 * p1 * p2
    if not held.any():
        return None
    p1, p2, c, v1, v2, pv, determinant = (x[held] for x in (p1, p2, c, v1, v2, pv, determinant))
    a, b = (p2 * v1 - c * v2) / determinant, (p1 * v2 - c * v1) / determinant
    residual = np.maximum(pv - a * v1 - b * v2, 0.0)
    # Var(a - b) of a real regression over the 2 n real parts of n complex numbers.
    variance = residual * (p1 + p2 + 2 * c) / determinant / (2 * np.maximum(independent[held], 1.0))
    total = a + b
    # Shells in which the halves' sum is not in the map say nothing.
    held = (total > 0) & (total**2 > 4 * variance)
    if not held.any():
        return None
    t = ((a - b) / total)[held]
    weight = 1.0 / (variance[held] / total[held] ** 2 + 1e-4)
    return float((weight * t).sum() / weight.sum()), float(1.0 / np.sqrt(weight.sum()))
