"""Local resolution by the finest waves that stand out of the noise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veritem.derived.bands import TAPER
from veritem.derived.half_maps import HalfPart, HalfTransforms
from veritem.derived.local_resolution import LocalResolution
from veritem.derived.registry import derived
from veritem.errors import Inconclusive
from veritem.numerics.bands import Resampling, extract
from veritem.numerics.density_map import HalfMaps
from veritem.numerics.device import like
from veritem.numerics.fourier import fourier_resize, irfftn, rfftn
from veritem.numerics.resmap import (
    ScaleTest,
    false_discovery_limit,
    finest_significant,
    log_spaced,
    scale_tests,
    whitened,
)

FINEST = 2.2  # voxels
COARSEST, RESOLUTIONS = 15.0, 4.0  # Å, and at least so many times the resolution of the whole map
RATIO, FEWEST, MOST = 1.12, 12, 20  # of neighbouring scales, and how many there are
NOISE_WINDOW = 8.5  # Å, standard deviation: 20 Å across at half height
FALSE_DISCOVERIES = 0.01
FALSE_BELOW = 15.0  # Å
# Å: values are alike over a few Å for what the structure is, farther than their windows overlap.
NARROWEST_WINDOW = 4.0


@dataclass(frozen=True, eq=False)
class WaveResolution(LocalResolution):
    """The finest significant wavelength of each voxel. extra["level"]: the tested wavelength itself, Å, which is one
    step or less coarser than the interpolated one.

    wavelengths: (scales,) Å, rising. significant, significant_noise: (scales,) shares of the voxels where waves of that
        length stand out, in the mean of the halves and in half their difference.
    held: Å, beyond which the half maps hold nothing; twice the pixel size where they hold all that the grid can.
    limit: the p-value that was significant, of one voxel at one scale; None when none was.
    """

    wavelengths: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    significant: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    significant_noise: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    held: float = 0.0
    limit: float | None = None


@dataclass(frozen=True, eq=False)
class WhitenedPart:
    """The mean of the half maps and half their difference around the particle, their radial noise made white.

    mean, noise: half-complex transforms on the grid of the half maps' part, on the run's device.
    held: Å, beyond which the half maps hold nothing; twice the part's pixel size where they hold all that it can.
    """

    mean: Any
    noise: Any
    held: float


@derived
def whitened_part(
    half_maps: HalfMaps, half_transforms: HalfTransforms, half_part: HalfPart, threads: int
) -> WhitenedPart:
    """Whiten the whole maps, then cut: from a part's tapered faces the strong frequencies leak into the weak ones.

    Raises Inconclusive when the halves do not differ.
    """
    whole, part = half_transforms, half_part
    mean, noise, limit = whitened(whole.first, whole.second, whole.shape, whole.pixel_size)
    if limit == 0.0:
        raise Inconclusive(
            "The half maps do not differ, so nothing can be compared with their noise. Send the two half maps of the "
            "refinement, not one map twice."
        )
    # How the part was cut from the half maps.
    offsets = zip(part.density.origin[::-1], half_maps.first.origin[::-1], strict=True)
    z, y, x = (round((own - first) / whole.pixel_size) for own, first in offsets)
    nz, ny, nx = (round(n * part.pixel_size / whole.pixel_size) for n in part.shape)
    plan = Resampling((z, y, x), (nz, ny, nx), part.shape, part.pixel_size)
    cut = []
    for transform in (mean, noise):
        data = extract(irfftn(transform, whole.shape, threads), plan, 0.0, TAPER / whole.pixel_size)
        if plan.shape != plan.taken:
            data = fourier_resize(data, plan.shape, threads)
        cut.append(rfftn(like(data, part.first), threads))
    return WhitenedPart(cut[0], cut[1], max(1.0 / limit, 2.0 * part.pixel_size))


@derived
def resmap(half_part: HalfPart, whitened_part: WhitenedPart, threads: int) -> WaveResolution:
    """The finest significant wavelength at each voxel of the particle."""
    part, white = half_part, whitened_part
    wavelengths = scales_for(part.resolution, max(FINEST * part.pixel_size, white.held))
    tests = list(
        scale_tests(
            white.mean, white.noise, part.shape, part.pixel_size, wavelengths, part.index, NOISE_WINDOW, threads
        )
    )
    significant = false_discovery_limit(tests, FALSE_DISCOVERIES)
    nothing = np.zeros((len(tests), part.index.size), np.float32)
    by_signal = nothing if significant is None else over_limit(tests, significant, [test.signal for test in tests])
    by_noise = nothing if significant is None else over_limit(tests, significant, [test.noise for test in tests])
    resolution, level = finest_waves(by_signal, wavelengths)
    known = np.isfinite(resolution)
    middle = float(np.median(resolution[known])) if known.any() else part.resolution
    return WaveResolution(
        resolution=resolution,
        part=part,
        window=max(NARROWEST_WINDOW, float(np.interp(middle, wavelengths, [test.window for test in tests]))),
        finest=float(wavelengths[0]),
        coarsest=float(wavelengths[-1]),
        false_rate=float(np.mean(finest_waves(by_noise, wavelengths)[0] < FALSE_BELOW)),
        extra={"level": level},
        wavelengths=wavelengths,
        significant=(by_signal >= 1.0).mean(axis=1),
        significant_noise=(by_noise >= 1.0).mean(axis=1),
        held=white.held,
        limit=significant,
    )


def scales_for(resolution: float, finest: float) -> NDArray[np.float64]:
    """Wavelengths in Å. resolution: Å, of the whole map. finest: Å."""
    return log_spaced(finest, max(COARSEST, RESOLUTIONS * resolution), RATIO, FEWEST, MOST)


def over_limit(tests: list[ScaleTest], limit: float, values: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """(scales, voxels) each scale's values over what they reach by chance with the p-value `limit`."""
    return np.stack([v / np.float32(test.law.quantile(limit)) for v, test in zip(values, tests, strict=True)])


def finest_waves(
    ratios: NDArray[np.float32], wavelengths: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The resolution and the level (Å) of each voxel; NaN where no scale is significant."""
    resolution, level = np.empty(ratios.shape[1], np.float32), np.empty(ratios.shape[1], np.int64)
    finest_significant(ratios, np.log(wavelengths), resolution, level)
    return resolution, np.where(level >= 0, wavelengths[level], np.nan).astype(np.float32)
