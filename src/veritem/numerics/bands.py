"""Local power in bands of frequency: everything that is said about a place in a map rests on windowed band powers.

A band's gain is half a cosine of half-width h around its centre; with centres h apart the squares of the gains add up
to 1. Local power is the squared band-passed map (or the product of two half maps, whose noise is independent) averaged
over a Gaussian window.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veritem.numerics.fourier import fast_size, fourier_resize, frequency_grid, gaussian_filter, irfftn


@dataclass(frozen=True)
class Band:
    """centre, half_width: 1/Å; no gain beyond centre ± half_width."""

    centre: float
    half_width: float

    def gain(self, frequency: NDArray) -> NDArray[np.float32]:
        """The gain at any frequencies (1/Å)."""
        offset = np.minimum(np.abs(np.asarray(frequency) - self.centre) / self.half_width, 1.0)
        return np.cos(0.5 * np.pi * offset).astype(np.float32)

    def average(self, frequency: NDArray, power: NDArray) -> float:
        """The mean over the band's coefficients of a radial power given at `frequency` (1/Å, evenly spaced)."""
        weight = self.gain(frequency).astype(float) ** 2 * np.asarray(frequency) ** 2
        return float((weight * power).sum() / weight.sum())

    def volume(self) -> float:
        """Integral of the squared gain over frequency space, 1/Å³: voxel volume times this is a white map's share."""
        f = np.linspace(max(self.centre - self.half_width, 0.0), self.centre + self.half_width, 401)
        return float(np.trapezoid(4.0 * np.pi * f**2 * self.gain(f).astype(float) ** 2, f))


def local_band_powers(
    transform: NDArray,
    shape: tuple[int, int, int],
    pixel_size: float,
    bands: tuple[Band, ...],
    windows: Sequence[float],
    other: NDArray | None = None,
    threads: int = 1,
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32] | None]]:
    """Stream over bands; only one band's volumes exist at a time.

    transform: half-complex transform of a map (or of half map 1) of `shape` (nz, ny, nx); other: of half map 2.
    windows: standard deviation of each band's Gaussian window, Å.
    Yields, per band, the local power W * (a b), with b = a for a single map, and the local noise power of the mean of
    the halves W * (a - b)² / 4 (None for a single map); each (nz, ny, nx).
    """
    grid = frequency_grid(shape, pixel_size)
    for band, window in zip(bands, windows, strict=True):
        sigma = window / pixel_size
        gain = band.gain(grid)
        first = irfftn(transform * gain, shape, threads)
        if other is None:
            yield gaussian_filter(first * first, sigma, threads), None
            continue
        second = irfftn(other * gain, shape, threads)
        noise = gaussian_filter((first - second) ** 2, sigma, threads)
        noise *= np.float32(0.25)
        yield gaussian_filter(first * second, sigma, threads), noise


def degrees_of_freedom(band: Band, pixel_size: float, window: float, threads: int = 1) -> float:
    """How many independent values a windowed band power of Gaussian noise is made of: var(P) = 2 P² / dof.

    1 / dof is the sum over lags of the squared correlation of the band-passed noise times the correlation of the
    window with itself.
    """
    sigma = window / pixel_size
    n = fast_size(int(np.ceil(max(8.0 * sigma, 3.0 / (band.half_width * pixel_size)))))
    shape = (n, n, n)
    correlation = irfftn(band.gain(frequency_grid(shape, pixel_size)) ** 2 + 0j, shape, threads)
    correlation = (correlation / correlation[0, 0, 0]) ** 2
    lag = np.fft.fftfreq(n, 1.0 / n)
    one = np.exp(-(lag**2) / (4.0 * sigma**2))
    one /= np.sqrt(4.0 * np.pi) * sigma
    weight = one[:, None, None] * one[None, :, None] * one[None, None, :]
    return 1.0 / float((correlation.astype(float) * weight).sum())


@dataclass(frozen=True)
class Resampling:
    """A part of a map on a coarser grid: `taken` source voxels from `start` on become `shape` voxels along z, y, x.

    start may be negative, and start + taken beyond the source: that part is filled with zeros.
    """

    start: tuple[int, int, int]
    taken: tuple[int, int, int]
    shape: tuple[int, int, int]
    pixel_size: float

    def origin(self, origin: tuple[float, float, float], source_pixel: float) -> tuple[float, float, float]:
        """x, y, z of the first voxel, in the frame of the source's origin."""
        z, y, x = (s * source_pixel for s in self.start)
        return origin[0] + x, origin[1] + y, origin[2] + z


def plan_resampling(
    low: tuple[int, int, int], high: tuple[int, int, int], pixel_size: float, target: float
) -> Resampling:
    """Choose a part that holds source voxels low ... high - 1 along each axis and resamples to about `target` Å.

    The ratio of the pixel sizes is a fraction of small numbers, so that every axis holds whole numbers of both; the
    new pixel size is the coarsest such that is not above `target` (and never below the old one).
    """
    best = (1, 1)
    # Sizes on the new grid are multiples of the denominator and must have fast transforms: factors 2, 3, 5.
    for denominator in (1, 2, 3, 4, 5, 6, 8, 9, 10):
        numerator = int(target / pixel_size * denominator + 1e-9)
        if numerator > denominator and numerator / denominator > best[0] / best[1] + 1e-9:
            best = (numerator, denominator)
    a, b = best
    start, taken, shape = [], [], []
    for first, last in zip(low, high, strict=True):
        need = last - first
        units = -(-need // a)
        while (units * b) % 2 or fast_size(units * b) != units * b:
            units += 1
        size = units * a
        start.append(first - (size - need) // 2)
        taken.append(size)
        shape.append(units * b)
    return Resampling(
        (start[0], start[1], start[2]),
        (taken[0], taken[1], taken[2]),
        (shape[0], shape[1], shape[2]),
        pixel_size * a / b,
    )


def extract(data: NDArray, plan: Resampling, background: float, taper: float) -> NDArray[np.float32]:
    """Cut the planned part on the source grid, zero beyond the source, the faces tapered over `taper` voxels."""
    part = np.zeros(plan.taken, np.float32)
    source, goal = [], []
    for s, t, n in zip(plan.start, plan.taken, data.shape, strict=True):
        lowest, highest = max(s, 0), min(s + t, n)
        source.append(slice(lowest, highest))
        goal.append(slice(lowest - s, highest - s))
    part[tuple(goal)] = data[tuple(source)] - np.float32(background)
    for axis, n in enumerate(plan.taken):
        edge = np.minimum(np.arange(n), np.arange(n)[::-1]) + 0.5
        ramp = 0.5 - 0.5 * np.cos(np.pi * np.minimum(edge / max(taper, 1.0), 1.0))
        part *= ramp.astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
    return part


def cut_part(data: NDArray, plan: Resampling, background: float, taper: float, threads: int = 1) -> NDArray[np.float32]:
    """`extract`, sampled on the planned grid."""
    part = extract(data, plan, background, taper)
    return part if plan.shape == plan.taken else fourier_resize(part, plan.shape, threads)
