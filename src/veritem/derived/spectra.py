"""Radial spectra of the map inside its mask, and the spectrum of protein that they are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from veritem.derived.noise import NoiseRegion, noise_spectrum
from veritem.derived.registry import derived
from veritem.errors import NotApplicable
from veritem.numerics.density_map import DensityMap
from veritem.numerics.distance import signed_distance
from veritem.numerics.edges import average_along_edge
from veritem.numerics.fourier import fast_size, low_pass, rfftn
from veritem.numerics.guinier import ReferenceSpectrum
from veritem.numerics.masks import raised_cosine_edge
from veritem.numerics.shells import power, shell_frequencies, shell_means

# Noise outside stands for noise inside no better than this, however well it was measured.
LEAST_NOISE_ERROR = 0.2
# Å: a mask's edge spreads the strong low frequencies over all others; from an edge of 15 Å they arrive 150 times
# weaker, from one of 6 Å 60 times.
EDGE_WIDTH = 15.0
# Å: a map without detail is one low-passed here, with an edge (1/Å) that lets nothing of 10 Å through.
COARSE, COARSE_EDGE = 13.0, 0.015
# Å: below the depositor's mask the map fades in over so much; over so much more its coarse density takes over.
FADE, BLEND = 8.0, 6.0
# Å: what a map without detail shows along its mask is smooth over this.
ALONG_EDGE, CELL = 6.0, 5.0


@dataclass(frozen=True, eq=False)
class MapSpectrum:
    """The power of the masked map, shell by shell, on a box cut to the mask: independent of padding.

    frequency: (n,) 1/Å. power: (n,) mean |F|² of the unnormalised transform.
    independent: (n,) independent complex coefficients per shell, the mask's correlation allowed for.
    noise_power: (n,) the noise's share of `power`, scaled to the volume of the mask; None without a noise region.
    noise_error: its relative standard error, common to all shells.
    edge_power: (n,) the power that would be here if the map held nothing finer than 13 Å: what the edges of masks,
        ours and the depositor's, spread from there. Accurate to about a factor of two where it is all there is; where
        the map fades at its own surface it counts some of that in.
    background: the grey value taken as zero.
    """

    frequency: NDArray[np.float64]
    power: NDArray[np.float64]
    edge_power: NDArray[np.float64]
    independent: NDArray[np.float64]
    noise_power: NDArray[np.float64] | None
    noise_error: float
    background: float

    @property
    def signal(self) -> NDArray[np.float64]:
        """Power less that of the noise; may be negative where there is no signal."""
        return self.power if self.noise_power is None else self.power - self.noise_power

    @property
    def log_amplitude(self) -> NDArray[np.float64]:
        """ln of the root of the whole power."""
        return 0.5 * np.log(np.maximum(self.power, 1e-300))


def bounding_slices(inside: NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    """The smallest box that holds every true voxel. Raises NotApplicable when there is none."""
    bounds = []
    for axis in range(3):
        any_along = inside.any(axis=tuple(a for a in range(3) if a != axis))
        hit = np.flatnonzero(any_along)
        if hit.size == 0:
            raise NotApplicable("The mask is empty: the contour level is above the map. Give a lower one.")
        bounds.append(slice(int(hit[0]), int(hit[-1]) + 1))
    return bounds[0], bounds[1], bounds[2]


@derived
def reference_spectrum() -> ReferenceSpectrum:
    """Mean ln amplitude of 50 proteins in ice at B = 0 and their scatter (benchmarks/make_reference_spectrum.py)."""
    text = files("veritem.derived").joinpath("data/reference_spectrum.csv").read_text()
    rows = [line.split(",") for line in text.splitlines() if not line.startswith("#")][1:]
    table = np.array(rows, dtype=float)
    return ReferenceSpectrum(table[:, 0], table[:, 1], table[:, 2], table[:, 3], np.ascontiguousarray(table[:, 4:].T))


@dataclass(frozen=True, eq=False)
class MeasuredNoise:
    """The noise as it is to be taken off signals.

    frequency, power: as `veritem.derived.noise.NoiseSpectrum`. relative_error: standard error of the power, common to
    all frequencies.
    """

    frequency: NDArray[np.float64]
    power: NDArray[np.float64]
    relative_error: float


@derived
def measured_noise(density_map: DensityMap, noise_region: NoiseRegion, threads: int) -> MeasuredNoise | None:
    """The spectrum of the noise and how well it is known; None where the map holds no noise to measure."""
    if not noise_region.available:
        return None
    spectrum = noise_spectrum(density_map, noise_region, threads)
    error = max(LEAST_NOISE_ERROR, variance_scatter(density_map.data, noise_region))
    return MeasuredNoise(spectrum.frequency, spectrum.power, error)


@derived
def map_spectrum(
    density_map: DensityMap,
    mask_distance: NDArray[np.float32],
    noise_region: NoiseRegion,
    measured_noise: MeasuredNoise | None,
    threads: int,
) -> MapSpectrum:
    """Mask the map with a wide soft edge, cut to the mask, transform, average in shells; the same for the noise.

    Raises NotApplicable when the mask is empty.
    """
    pixel_size = density_map.pixel_size
    box = bounding_slices(mask_distance < EDGE_WIDTH)
    mask = raised_cosine_edge(np.ascontiguousarray(mask_distance[box]), EDGE_WIDTH)
    far = mask_distance > EDGE_WIDTH
    background = noise_region.centre if noise_region.available else outside_level(density_map.data, far)
    masked = (density_map.data[box] - np.float32(background)) * mask
    mean, shape, counts = _shell_power(masked, threads)
    filled = None if noise_region.available else _filled(density_map.data[box], background)
    edges, _, _ = _shell_power(_without_detail(density_map, box, background, filled, threads) * mask, threads)
    frequency = shell_frequencies(shape, pixel_size)
    weight = float((mask.astype(np.float64) ** 2).sum())
    fourth = float((mask.astype(np.float64) ** 4).sum())
    # A mask that fills a share of the box leaves so many of its coefficients independent.
    independent = np.maximum(counts * min(1.0, weight**2 / (fourth * np.prod(shape))), 1.0)
    noise_power, noise_error = None, 0.0
    if measured_noise is not None:
        noise_power = weight * np.interp(frequency, measured_noise.frequency, measured_noise.power)
        noise_error = measured_noise.relative_error
    keep = slice(1, None)  # shell 0 is the mean, which is no evidence
    return MapSpectrum(
        frequency[keep],
        mean[keep],
        edges[keep],
        independent[keep],
        None if noise_power is None else noise_power[keep],
        noise_error,
        float(background),
    )


def _shell_power(
    data: NDArray[np.float32], threads: int
) -> tuple[NDArray[np.float64], tuple[int, int, int], NDArray[np.float64]]:
    """Mean |F|² per shell, the shape it was transformed in, and the coefficients per shell."""
    # A few planes of zeros make the transform fast; they change no power.
    nz, ny, nx = (fast_size(n) for n in data.shape)
    padded = np.zeros((nz, ny, nx), np.float32)
    padded[tuple(slice(0, n) for n in data.shape)] = data
    mean, _, counts = shell_means(power(rfftn(padded, threads)), (nz, ny, nx))
    return mean, (nz, ny, nx), counts


def _filled(data: NDArray[np.float32], value: float) -> NDArray[np.bool_]:
    """Where the map was filled with one value: 3³ voxels at least, since coarse grey values repeat here and there."""
    same = (data == np.float32(value)).astype(np.uint8)
    return ndimage.maximum_filter(ndimage.minimum_filter(same, 3), 3) > 0


def _without_detail(
    density_map: DensityMap,
    box: tuple[slice, slice, slice],
    background: float,
    filled: NDArray[np.bool_] | None,
    threads: int,
) -> NDArray[np.float32]:
    """The map within `box` as it would be if it held nothing finer than 13 Å, but with the edge of its mask.

    Below that edge, where the map stops being `filled`, it is the map averaged along the edge, so that a hard step
    stays a step and a soft one a fade; deeper it is the low-passed map.
    """
    pixel_size = density_map.pixel_size
    above = density_map.data - np.float32(background)
    coarse = low_pass(above, pixel_size, 1.0 / COARSE, COARSE_EDGE, threads)[box]
    if filled is None or not filled.any():
        return coarse
    depth = -signed_distance(~filled, pixel_size, FADE + BLEND + 2 * pixel_size, threads)
    cell = max(1, round(CELL / pixel_size))
    reach, spread = (FADE + BLEND) / pixel_size, ALONG_EDGE / pixel_size
    edge = average_along_edge(above[box], depth / pixel_size, reach, cell, spread)
    share = raised_cosine_edge(depth - np.float32(FADE), BLEND)
    return np.where(filled, np.float32(0), share * edge + (1 - share) * coarse)


def outside_level(data: NDArray, far: NDArray[np.bool_]) -> float:
    """The median of the map far from the particle; 0 when the particle fills the box."""
    outside = data[far]
    return float(np.median(outside[:: max(1, outside.size // 1_000_000)])) if outside.size else 0.0


def variance_scatter(data: NDArray, region: NoiseRegion) -> float:
    """Relative standard deviation of the noise variance between the eight octants of the box."""
    halves = [(slice(0, n // 2), slice(n // 2, n)) for n in data.shape]
    variances = []
    for z in halves[0]:
        for y in halves[1]:
            for x in halves[2]:
                inside = region.mask[z, y, x]
                if np.count_nonzero(inside) >= max(200, 0.02 * region.voxels):
                    values = data[z, y, x][inside].astype(np.float64) - region.centre
                    variances.append(float(np.mean(values**2)))
    if len(variances) < 2:
        return 0.0
    return float(np.std(variances, ddof=1) / np.mean(variances))
