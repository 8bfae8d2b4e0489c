"""Local resolution by monogenic amplitudes: the finest wavelength whose local amplitude stands out from noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veritem.derived.half_maps import HalfPart, WhitenedPart
from veritem.derived.local_resolution import LocalResolution
from veritem.derived.registry import derived
from veritem.numerics.bands import Band
from veritem.numerics.device import like, to_host
from veritem.numerics.fourier import irfftn
from veritem.numerics.monogenic import (
    Lengths,
    Shape,
    band_shape,
    gaussian_average,
    median_of_neighbours,
    monogenic_power,
    part_of_spectrum,
    random_phases,
    resolution_of_ratios,
    sample,
)

HALF_WIDTH = 0.13  # of a band, over its centre
STEP = 1.1  # from one centre to the next
SMOOTHING = 0.5  # wavelengths: standard deviation over which the squared amplitude is averaged
WINDOW = 2.5  # wavelengths: the same for the noise's
SIGNIFICANCE = 0.01  # of one band at one voxel
BETTER_THAN = 15.0  # Å: a noise voxel must not be given a resolution better than this
# The search begins at 17 Å, or at 3 times the resolution where that is coarser, up to 40 Å.
COARSEST, COARSEST_RATIO, COARSEST_LIMIT = 17.0, 3.0, 40.0
FINEST_RATIO = 0.85  # over the resolution
OVERSAMPLING = 1.0  # of a band's grid over the band's upper edge
COARSEST_PIXEL = 3.0  # Å
SHARED_FROM = 11.0  # Å: coarser bands share a grid, so that one field of noise is followed through them
# Volume of one independent value of the averaged squared amplitude, in wavelengths cubed; how many of them the
# threshold of a band is taken from, as far as so many pairs of surrogates hold them.
ELEMENT, ELEMENTS, MOST_PAIRS = 165.0, 50.0, 16
STRIDE = 2  # where a box of half the edges holds enough noise, thresholds are taken from such
REACH = 17.0  # Å from the particle: beyond, the part is tapered
LEAST_NOISE = 0.25  # of the particle's: a place with less holds no noise to compare with
NOISE_AVERAGE = 5.0  # Å, standard deviation: over which that is looked at
# Wavelengths. Values on uniform maps are correlated as exp(-r² / 4w²), w of 0.65 wavelengths, with a longer tail where
# a spectrum has dips; with 1 the intervals are about as wide as values scatter from noise to noise.
EXTENT = 1.0
TINY = np.float32(1e-20)


@dataclass(frozen=True, eq=False)
class MonogenicProfile:
    """How far amplitudes stand out, band by band.

    frequency: (bands,) 1/Å. percentiles: (bands, 3) the 5th, 50th and 95th over the particle of the amplitude over its
    threshold. noise: (bands,) the median of the same for noise alone.
    """

    frequency: NDArray[np.float64]
    percentiles: NDArray[np.float64]
    noise: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MonogenicResolution(LocalResolution):
    """Local resolution, and the profile that it was read from."""

    profile: MonogenicProfile | None = None

    @property
    def at_the_end(self) -> NDArray[np.bool_]:
        """(voxels,): resolved to the finest wavelength that was searched, or better."""
        return self.resolution <= 1.001 * self.finest


@derived
def monores(half_part: HalfPart, whitened_part: WhitenedPart, seed: int, threads: int) -> MonogenicResolution:
    """The finest wavelength at which the monogenic amplitude of the mean of the halves stands out from their noise."""
    part, signal, noise = half_part, whitened_part.mean, whitened_part.noise
    bands = monogenic_bands(part.resolution, whitened_part.held)
    centres = np.array([band.centre for band in bands])
    support = noise_support(noise, part, threads)
    rng = np.random.default_rng([seed, 0x1E])
    ratios = np.empty((len(bands), part.index.size), np.float32)
    false: list[NDArray[np.float32]] = []
    noise_alone = np.empty(len(bands))
    scale: Scale | None = None
    surrogates: list[Any] = []
    for j, band in enumerate(bands):
        shared = band.centre <= 1.0 / SHARED_FROM
        shape = _grid(part, 1.0 / SHARED_FROM if shared else band.centre)
        if scale is None or shape != scale.shape:
            scale = Scale.of(part, support, shape, signal)
            signal_here, noise_here = (part_of_spectrum(t, part.shape, shape) for t in (signal, noise))
        around = scale.around(band, threads)
        if shared:
            if not surrogates:
                surrogates = scale.surrogates(noise_here, band, rng, threads)
            null = around.null(surrogates)
        else:
            smaller = _smaller(part, band)
            box = scale if smaller is None else Scale.filled(part, smaller, signal)
            spectrum = noise_here if smaller is None else part_of_spectrum(noise, part.shape, smaller, STRIDE)
            null = box.around(band, threads).null(box.surrogates(spectrum, band, rng, threads))
        limit = float(np.quantile(null, 1.0 - SIGNIFICANCE))
        noise_alone[j] = np.sqrt(np.median(null) / limit)
        if shared:
            false.append(np.sqrt(null / np.float32(limit)))
        sample(around.near(around.amplitude(signal_here)), part.shape, part.index, ratios[j])
        ratios[j] /= np.maximum(
            np.float32(limit) * around.wide(around.amplitude(noise_here), part.shape, part.index), TINY
        )
    np.sqrt(np.maximum(ratios, 0.0, out=ratios), out=ratios)
    resolution = median_of_neighbours(resolution_of_ratios(ratios, centres), part.index, part.shape)
    known = np.isfinite(resolution)
    middle = float(np.median(resolution[known])) if known.any() else part.resolution
    false_rate = float(np.mean(resolution_of_ratios(np.stack(false), centres[: len(false)]) < BETTER_THAN))
    percentiles = np.percentile(ratios, [5.0, 50.0, 95.0], axis=1).T.astype(np.float64)
    return MonogenicResolution(
        resolution=resolution,
        part=part,
        window=EXTENT * middle,
        finest=1.0 / float(centres[-1]),
        coarsest=1.0 / float(centres[0]),
        false_rate=false_rate,
        profile=MonogenicProfile(centres, percentiles, noise_alone),
    )


@dataclass(frozen=True, eq=False)
class Scale:
    """The grid of a band over the part's box.

    weight: (nz, ny, nx), 1 where there is noise to compare with, on the device. inside: flat indices of those voxels.
    volume: Å³ of them.
    """

    shape: Shape
    lengths: Lengths
    weight: Any
    inside: NDArray[np.int64]
    volume: float

    @staticmethod
    def of(part: HalfPart, support: NDArray[np.float32], shape: Shape, reference: Any) -> Scale:
        """support: (nz, ny, nx) on the part's grid. reference: an array of the device."""
        lengths = _lengths(part)
        weight = np.empty(int(np.prod(shape)), np.float32)
        sample(support, shape, np.arange(weight.size), weight)
        weight = (weight > 0.5).astype(np.float32).reshape(shape)
        inside = np.flatnonzero(weight)
        volume = inside.size * float(np.prod(lengths)) / weight.size
        return Scale(shape, lengths, like(weight, reference), inside, volume)

    @staticmethod
    def filled(part: HalfPart, shape: Shape, reference: Any) -> Scale:
        """A box of 1 / STRIDE of the part's edges, with noise everywhere."""
        nz, ny, nx = _lengths(part)
        lengths = (nz / STRIDE, ny / STRIDE, nx / STRIDE)
        weight = like(np.ones(shape, np.float32), reference)
        return Scale(shape, lengths, weight, np.arange(int(np.prod(shape))), float(np.prod(lengths)))

    def surrogates(self, spectrum: Any, band: Band, rng: np.random.Generator, threads: int) -> list[Any]:
        """As many fields of noise, an even number, as hold `ELEMENTS` independent values."""
        pairs = np.ceil(0.5 * ELEMENTS * ELEMENT / (self.volume * band.centre**3))
        count = 2 * int(np.clip(pairs, 1, MOST_PAIRS))
        return [random_phases(spectrum, self.shape, rng, threads) for _ in range(count)]

    def around(self, band: Band, threads: int) -> Around:
        coarse = band_shape(self.lengths, self.shape, 0.5 / COARSEST_PIXEL, 1.0, WINDOW / (2.0 * band.centre))
        window = WINDOW / band.centre
        share = to_host(gaussian_average(self.weight, self.lengths, window, threads, coarse))
        return Around(self, band, coarse, np.maximum(share, np.float32(1e-3)), threads)


@dataclass(frozen=True, eq=False)
class Around:
    """Averages of the squared amplitude in one band: near a voxel, and of noise in a wide window around it.

    coarse: the grid of the wide averages. share: of the wide window that holds noise to compare with, on that grid.
    """

    scale: Scale
    band: Band
    coarse: Shape
    share: NDArray[np.float32]
    threads: int

    def amplitude(self, transform: Any) -> Any:
        """Squared."""
        return monogenic_power(transform, self.scale.shape, self.scale.lengths, self.band, self.threads)

    def near(self, amplitude: Any) -> NDArray[np.float32]:
        """On the band's grid."""
        return to_host(gaussian_average(amplitude, self.scale.lengths, SMOOTHING / self.band.centre, self.threads))

    def wide(self, amplitude: Any, shape: Shape, index: NDArray[np.int64]) -> NDArray[np.float32]:
        """At voxels `index` of a grid of `shape`. `amplitude` is overwritten."""
        amplitude *= self.scale.weight
        window = WINDOW / self.band.centre
        average = to_host(gaussian_average(amplitude, self.scale.lengths, window, self.threads, self.coarse))
        out = np.empty(index.size, np.float32)
        sample(average / self.share, shape, index, out)
        return out

    def null(self, surrogates: list[Any]) -> NDArray[np.float32]:
        """Squared amplitudes of noise over the mean of other noise around, where there is noise, for each in turn."""
        inside, shape, found = self.scale.inside, self.scale.shape, []
        for pair in zip(surrogates[::2], surrogates[1::2], strict=True):
            near, wide = [], []
            for transform in pair:
                amplitude = self.amplitude(transform)
                near.append(self.near(amplitude).ravel()[inside])
                wide.append(self.wide(amplitude, shape, inside))
            found += [near[0] / wide[1], near[1] / wide[0]]
        return np.concatenate(found)


def monogenic_bands(resolution: float, held: float) -> tuple[Band, ...]:
    """Bands from coarse to fine, `STEP` apart; the last lies at the finest resolution that is searched.

    resolution: of the part, Å. held: Å, beyond which the half maps hold nothing.
    """
    finest = 1.0 / max(FINEST_RATIO * resolution, held)
    coarsest = 1.0 / float(np.clip(COARSEST_RATIO * resolution, COARSEST, COARSEST_LIMIT))
    count = max(int(np.ceil(np.log(finest / coarsest) / np.log(STEP))), 1) + 1
    centres = np.geomspace(coarsest, max(finest, STEP * coarsest), count)
    return tuple(Band(float(c), HALF_WIDTH * float(c)) for c in centres)


def noise_support(noise: Any, part: HalfPart, threads: int) -> NDArray[np.float32]:
    """1 where the difference of the halves holds noise like that in the particle, near enough to it: (nz, ny, nx).

    Half maps may be masked, and the part's faces are tapered: with what is missing there, noise would look too weak.
    """
    values = irfftn(noise, part.shape, threads)
    local = to_host(gaussian_average(values * values, _lengths(part), NOISE_AVERAGE, threads))
    usual = float(np.median(local.ravel()[part.index]))
    return ((part.depth > -REACH) & (local > LEAST_NOISE * usual)).astype(np.float32)


def _lengths(part: HalfPart) -> Lengths:
    nz, ny, nx = part.shape
    return nz * part.pixel_size, ny * part.pixel_size, nx * part.pixel_size


def _smaller(part: HalfPart, band: Band) -> Shape | None:
    """The grid of a box of 1 / STRIDE of the part's edges, if one pair of fields in it holds enough noise."""
    nz, ny, nx = (length / STRIDE for length in _lengths(part))
    if 2.0 * nz * ny * nx * band.centre**3 < ELEMENTS * ELEMENT:
        return None
    z, y, x = part.shape
    limit = (z // STRIDE, y // STRIDE, x // STRIDE)
    return band_shape((nz, ny, nx), limit, (1.0 + HALF_WIDTH) * band.centre, OVERSAMPLING, COARSEST_PIXEL)


def _grid(part: HalfPart, centre: float) -> Shape:
    return band_shape(_lengths(part), part.shape, (1.0 + HALF_WIDTH) * centre, OVERSAMPLING, COARSEST_PIXEL)
