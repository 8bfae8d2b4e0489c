"""Local resolution by the finest waves that stand out of the noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from veritem.derived.half_maps import HalfPart
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


@derived
def resmap(half_part: HalfPart, threads: int) -> LocalResolution:
    """The finest significant wavelength at each voxel of the particle."""
    part = half_part
    wavelengths = scales_for(part.resolution, part.pixel_size)
    tests = list(
        scale_tests(
            part.first, part.second, part.shape, part.pixel_size, wavelengths, part.index, NOISE_WINDOW, threads
        )
    )
    limit = false_discovery_limit(tests, FALSE_DISCOVERIES)
    resolution = np.full(part.index.size, np.nan, np.float32)
    level = np.full(part.index.size, np.nan, np.float32)
    rate = 0.0
    if limit is not None:
        resolution, level = assigned(tests, limit, [test.signal for test in tests])
        by_noise, _ = assigned(tests, limit, [test.noise for test in tests])
        rate = float(np.mean(by_noise < FALSE_BELOW))
    known = np.isfinite(resolution)
    middle = float(np.median(resolution[known])) if known.any() else part.resolution
    return LocalResolution(
        resolution=resolution,
        part=part,
        window=float(np.interp(middle, wavelengths, [test.window for test in tests])),
        finest=float(wavelengths[0]),
        coarsest=float(wavelengths[-1]),
        false_rate=rate,
        extra={"level": level},
    )


def scales_for(resolution: float, pixel_size: float) -> NDArray[np.float64]:
    """Wavelengths in Å. resolution: Å, of the whole map. pixel_size: Å, of the grid that is searched."""
    return log_spaced(FINEST * pixel_size, max(COARSEST, RESOLUTIONS * resolution), RATIO, FEWEST, MOST)


def assigned(
    tests: list[ScaleTest], limit: float, values: list[NDArray[np.float32]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The resolution and the level (Å) of each voxel at the p-value `limit`; NaN where no scale is significant."""
    ratios = np.stack([v / np.float32(test.law.quantile(limit)) for v, test in zip(values, tests, strict=True)])
    wavelengths = np.array([test.wavelength for test in tests])
    resolution, level = np.empty(ratios.shape[1], np.float32), np.empty(ratios.shape[1], np.int64)
    finest_significant(ratios, np.log(wavelengths), resolution, level)
    return resolution, np.where(level >= 0, wavelengths[level], np.nan).astype(np.float32)
