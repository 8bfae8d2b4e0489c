"""Local resolution by the Fourier shell correlation in a moving window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from veritem.derived.half_maps import HalfPart, HalfTransforms
from veritem.derived.local_resolution import LocalResolution
from veritem.derived.masks import EDGE_VOXELS, EDGE_WIDTH
from veritem.derived.registry import derived
from veritem.numerics.device import like, to_host
from veritem.numerics.fourier import rfftn
from veritem.numerics.fsc import held_to, shell_sums
from veritem.numerics.local_fsc import (
    CurveFollower,
    LocalCrossings,
    Target,
    WindowedBand,
    local_correlations,
    noise_amplitude,
    plan_bands,
)
from veritem.numerics.masks import raised_cosine_edge
from veritem.numerics.shells import shell_frequencies

NARROWEST_WINDOW = 25.0  # Å, diameter: some ten residues; in less, a spectrum is that of a few atoms
RESOLUTIONS = 6.0  # the window is at least so many resolutions wide, at any frequency at least PERIODS periods
PERIODS = 5.0
COARSEST = 20.0  # Å: the first band
# Noise is followed to here to count what it is given; finer than 15 Å, and room for the crossing to last.
NOISE_TO = 1.0 / 7.0  # 1/Å
FALSE_BELOW = 15.0  # Å


# Percentiles of the local curves that are kept for the eye.
PERCENTILES = (5.0, 50.0, 95.0)


@dataclass(frozen=True, eq=False)
class LocalCurves:
    """The local curves over the particle.

    frequency: (bands,) 1/Å. percentiles: (bands, 3) the 5th, 50th and 95th over voxels. null_deviation: (bands,) of one
    voxel's correlation where there is no signal, in mid-particle.
    limit: 1/Å, beyond which the half maps hold nothing.
    """

    frequency: NDArray[np.float64]
    percentiles: NDArray[np.float64]
    null_deviation: NDArray[np.float64]
    limit: float


@dataclass(frozen=True, eq=False)
class LocalFscResolution(LocalResolution):
    """Local resolution at FSC 0.143. extra["fsc_0.5"]: at FSC 0.5, Å. extra["open_end"]: 1 where even the last band's
    FSC is above 0.143, so that `finest` stands for that or better."""

    curves: LocalCurves | None = None


def bands_for(resolution: float, limit: float) -> tuple[WindowedBand, ...]:
    """Bands from 20 Å on. resolution: Å, of the whole map. limit: 1/Å, beyond which the maps hold nothing."""
    diameter = max(NARROWEST_WINDOW, RESOLUTIONS * resolution)
    return plan_bands(1.0 / COARSEST, limit, diameter, PERIODS)


@derived
def local_fsc(half_part: HalfPart, half_transforms: HalfTransforms, seed: int, threads: int) -> LocalFscResolution:
    """The local resolution at FSC 0.143 and 0.5, and how often noise is given one."""
    part = half_part
    sums = shell_sums(to_host(part.first), to_host(part.second), part.shape)
    whole = half_transforms
    held = float(shell_frequencies(whole.shape, whole.pixel_size)[held_to(whole.sums)])
    limit = min(held, 0.5 / part.pixel_size)
    bands = bands_for(part.resolution, limit)
    mask = raised_cosine_edge(-part.depth, max(EDGE_WIDTH, EDGE_VOXELS * part.pixel_size))
    percentiles: list[NDArray] = []
    found = _followed(part, part.first, part.second, bands, mask, noise_amplitude(sums), threads, percentiles)
    with np.errstate(invalid="ignore"):
        resolution, half = 1.0 / found.at_threshold, 1.0 / found.at_half
    known = np.isfinite(resolution)
    typical = float(np.median(resolution[known])) if known.any() else part.resolution
    return LocalFscResolution(
        resolution=resolution,
        part=part,
        window=min(bands, key=lambda band: abs(band.mean - 1.0 / typical)).reach,
        finest=1.0 / found.last,
        coarsest=1.0 / bands[0].mean,
        false_rate=noise_rate(part, bands, mask, seed, threads),
        extra={"fsc_0.5": half, "open_end": found.open_end.astype(np.float32)},
        curves=LocalCurves(
            frequency=np.array([band.mean for band in bands]),
            percentiles=np.array(percentiles, float),
            null_deviation=np.array([band.null_deviation for band in bands]),
            limit=limit,
        ),
    )


def noise_rate(
    part: HalfPart, bands: tuple[WindowedBand, ...], mask: NDArray[np.float32], seed: int, threads: int
) -> float:
    """The share of voxels that are given better than 15 Å when both halves are noise.

    The halves' noise is white after division by its amplitude, so white noise stands for it; the bands that decide are
    low, and the noise is made as fine as they need.
    """
    rng = np.random.default_rng([seed, 0x1C])
    low = tuple(band for band in bands if band.highest <= NOISE_TO)
    halves = [rfftn(like(rng.standard_normal(part.shape, np.float32), part.first), threads) for _ in range(2)]
    found = _followed(part, halves[0], halves[1], low, mask, None, threads)
    return float(np.mean(found.at_threshold > 1.0 / FALSE_BELOW))


def _followed(
    part: HalfPart,
    first: Any,
    second: Any,
    bands: tuple[WindowedBand, ...],
    mask: NDArray[np.float32],
    noise: NDArray | None,
    threads: int,
    percentiles: list[NDArray] | None = None,
) -> LocalCrossings:
    """Follow every voxel's curve. percentiles: a list that is given the curves' percentiles, band by band."""
    target = Target.around(part.index, part.shape)
    where = target.index(part.index, part.shape)
    follower = CurveFollower(part.index.size)
    stream = local_correlations(
        first, second, part.shape, part.pixel_size, bands, target, like(mask, first), noise, threads
    )
    # One thread: others would spin while they wait for their share of many small products.
    with threadpool_limits(1, user_api="blas"):
        for band, (rho, deviation) in zip(bands, stream, strict=True):
            local = to_host(rho).ravel()[where]
            follower.add(band, local, to_host(deviation).ravel()[where])
            if percentiles is not None:
                percentiles.append(np.percentile(local, PERCENTILES))
    return follower.crossings()
