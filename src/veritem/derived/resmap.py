"""Local resolution by the finest waves that stand out of the noise."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from veritem.derived.half_maps import HalfPart, WhitenedPart
from veritem.derived.local_resolution import LocalResolution
from veritem.derived.registry import derived
from veritem.numerics.resmap import (
    ScaleTest,
    false_discovery_limit,
    finest_significant,
    log_spaced,
    scale_tests,
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
