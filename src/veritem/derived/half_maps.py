"""What the half-map checks share: transforms, the FSC with its correction, and the part around the particle."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veritem.derived.bands import PADDING, TAPER, depth_on
from veritem.derived.registry import derived
from veritem.derived.spectra import bounding_slices
from veritem.errors import Inconclusive
from veritem.numerics.bands import Resampling, cut_part, plan_resampling
from veritem.numerics.density_map import DensityMap, HalfMaps
from veritem.numerics.device import Device, like
from veritem.numerics.fourier import fast_size, fourier_resize, irfftn, rfftn
from veritem.numerics.fsc import (
    THRESHOLD,
    ShellCorrelation,
    ShellSums,
    detection_limit,
    filtered_part,
    first_lasting_crossing,
    fsc_draws,
    mask_correlation,
    point_group_order,
    shell_sums,
    smooth_fsc,
    smoothed_crossing,
)
from veritem.numerics.masks import raised_cosine_edge
from veritem.numerics.resmap import whitened
from veritem.numerics.shells import shell_frequencies

EDGE_WIDTH, EDGE_VOXELS = 6.0, 3.0  # Å, voxels: as the soft mask
SOLVENT_FROM, LEAST_SOLVENT = 10.0, 500  # Å from the hard mask, voxels
RANDOMISED_BELOW = 0.8  # the unmasked FSC below which what the mask carries over is taken off, as is usual
GROWN, EDGES = (-2.0, 0.0, 4.0, 8.0), (6.0, 12.0)  # Å, the family of masks
LARGEST_MASK = GROWN[-1] + EDGES[-1] + 6.0  # Å, and so much to fade
FURTHEST = 1.25  # times the crossing, as far as the family is followed
SIGNIFICANCE = 0.01  # of there being anything in common
DRAWS = 400  # curves drawn again, for an interval
SAMPLING, COARSEST_PIXEL = 0.4, 3.0  # pixel size over resolution, and at most so much Å


@dataclass(frozen=True, eq=False)
class HalfTransforms:
    """Half-complex transforms of the whole half maps, unmasked: (nz, ny, nx // 2 + 1) complex64 each."""

    first: NDArray[np.complex64]
    second: NDArray[np.complex64]
    shape: tuple[int, int, int]
    pixel_size: float

    @cached_property
    def sums(self) -> ShellSums:
        return shell_sums(self.first, self.second, self.shape)


@dataclass(frozen=True, eq=False)
class MaskedHalves:
    """Both half maps times the soft mask, cut to a cube around it, and their transforms.

    mask: (n, n, n) in [0, 1]. first, second: half-complex transforms in that cube. correlation: what the mask does to
    the shells of a noise FSC. start: (z, y, x) voxel of the map at which the cube begins; may be negative.
    levels: the grey values of both halves that were taken as zero before masking, those of the solvent.
    """

    mask: NDArray[np.float32]
    first: NDArray[np.complex64]
    second: NDArray[np.complex64]
    correlation: ShellCorrelation
    pixel_size: float
    start: tuple[int, int, int]
    levels: tuple[float, float] = (0.0, 0.0)

    @property
    def shape(self) -> tuple[int, int, int]:
        nz, ny, nx = self.mask.shape
        return nz, ny, nx

    @property
    def inflation(self) -> float:
        """D: the factor on the standard deviation of a shell's noise FSC."""
        return self.correlation.inflation


@dataclass(frozen=True, eq=False)
class SplitHalves:
    """The halves around the particle, split where the mask's own correlation begins to be taken off.

    below: 1/Å. box: the part of the map that is kept, 26 Å beyond the hard mask.
    low: both halves with only what lies below, (z, y, x) in that part. white: both with only what lies above, every
    shell brought to the same power. sums: of the whole boxes.
    """

    below: float
    box: tuple[slice, slice, slice]
    low: tuple[NDArray[np.float32], NDArray[np.float32]]
    white: tuple[NDArray[np.float32], NDArray[np.float32]]
    sums: ShellSums


@dataclass(frozen=True, eq=False)
class HalfMapFsc:
    """The FSC of the half maps, inside the soft mask, in shells of the cube cut to it; and over the whole box.

    frequency: (n,) 1/Å, shell 0 included (its FSC is NaN). masked: (n,).
    randomised: (n,), what the mask alone carries to each shell from below `randomised_from` (1/Å): the expected FSC of
    halves whose phases are made random beyond. corrected: (n,), of halves of which everything below was taken off
    before they were masked; below two shells past `randomised_from` it is `masked`. smoothed: (n,) `corrected` along
    its neighbours, as crossings are read.
    independent: (n,) n_eff, so that an FSC of 0 has the variance 1 / (2 n_eff); mask and symmetry allowed for.
    correlation: of neighbouring shells.
    box_frequency, unmasked, box_independent: of the whole box.
    resolution: Å, where `smoothed` falls below 0.143 to stay; None where it does not, and `reason` says why. interval:
    95 %, Å, by drawing the noise again with this mask; its finer end is two voxels where a drawn curve never falls.
    half_resolution, half_interval: the same at FSC 0.5. nothing: the halves share no more than noise would.
    outside_noise: variance of the noise outside the mask over that inside; None where the mask fills the box.
    """

    frequency: NDArray[np.float64]
    masked: NDArray[np.float64]
    randomised: NDArray[np.float64]
    corrected: NDArray[np.float64]
    independent: NDArray[np.float64]
    randomised_from: float
    box_frequency: NDArray[np.float64]
    unmasked: NDArray[np.float64]
    box_independent: NDArray[np.float64]
    resolution: float | None
    interval: tuple[float, float] | None
    smoothed: NDArray[np.float64]
    correlation: ShellCorrelation
    half_resolution: float | None = None
    half_interval: tuple[float, float] | None = None
    outside_noise: float | None = None
    reason: str = ""
    nothing: bool = False

    def draws(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """(count, n) corrected curves as they might have been measured."""
        return fsc_draws(self.smoothed, self.independent, self.correlation, count, rng)


@dataclass(frozen=True, eq=False)
class MaskedEstimate:
    """The corrected FSC inside one mask of a family, all on one grid.

    grow: Å by which the hard mask was grown (shrunk when negative). edge: Å. volume: Å³, sum of the mask.
    frequency, corrected, independent: as in HalfMapFsc, up to 1.25 times its crossing.
    resolution: Å or None. interval: 95 %, Å. draws: (draws,) Å, crossings as they might have been.
    """

    grow: float
    edge: float
    volume: float
    frequency: NDArray[np.float64]
    corrected: NDArray[np.float64]
    independent: NDArray[np.float64]
    resolution: float | None
    interval: tuple[float, float] | None
    draws: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class HalfPart:
    """The half maps around the particle, unmasked, on a grid just fine enough; what local methods work on.

    first, second: half-complex transforms of the part (nz, ny, nx // 2 + 1), on the run's device. The part's faces
    are tapered over 8 Å, 25 Å away from the particle. density: their mean as a map (in this computer's memory).
    depth: (nz, ny, nx) float32, Å inside the hard mask, negative outside. index: flat indices of the voxels inside.
    resolution: Å, the finer of the reported and the measured one, from which the grid was chosen.
    plan: how the part was cut from the half maps.
    """

    first: Any
    second: Any
    density: DensityMap
    depth: NDArray[np.float32]
    index: NDArray[np.int64]
    resolution: float
    plan: Resampling

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.density.shape

    @property
    def pixel_size(self) -> float:
        return self.density.pixel_size

    def volume(self, values: NDArray, fill: float = np.nan) -> NDArray[np.float32]:
        """Values at the particle's voxels as a volume."""
        full = np.full(self.density.data.size, fill, np.float32)
        full[self.index] = values
        return full.reshape(self.shape)

    def positions(self, index: NDArray | None = None) -> NDArray[np.floating]:
        """(voxels, 3) z, y, x in Å from the part's first voxel."""
        flat = self.index if index is None else index
        return np.stack(np.unravel_index(flat, self.shape), axis=1) * self.pixel_size


@derived
def half_transforms(half_maps: HalfMaps, threads: int) -> HalfTransforms:
    """One transform of each half map."""
    return HalfTransforms(
        rfftn(half_maps.first.data, threads), rfftn(half_maps.second.data, threads), half_maps.shape,
        half_maps.pixel_size,
    )  # fmt: skip


@derived
def masked_halves(half_maps: HalfMaps, mask_distance: NDArray[np.float32], threads: int) -> MaskedHalves:
    """The half maps in the soft mask, cut to a cube around it.

    Raises NotApplicable when the mask is empty.
    """
    edge = max(EDGE_WIDTH, EDGE_VOXELS * half_maps.pixel_size)
    return mask_halves(half_maps, mask_distance, 0.0, edge, threads)


def mask_halves(
    half_maps: HalfMaps, mask_distance: NDArray[np.float32], grow: float, edge: float, threads: int
) -> MaskedHalves:
    """Mask with the hard mask grown by `grow` Å (shrunk when negative) and a raised-cosine edge of `edge` Å."""
    box = bounding_slices(mask_distance < grow + edge)
    size = fast_size(max(s.stop - s.start for s in box))
    start = tuple((s.start + s.stop) // 2 - size // 2 for s in box)
    weight = raised_cosine_edge(np.ascontiguousarray(mask_distance[box]) - np.float32(grow), edge)
    goal = tuple(slice(s.start - b, s.stop - b) for s, b in zip(box, start, strict=True))
    mask = np.zeros((size, size, size), np.float32)
    mask[goal] = weight
    one, two = (_solvent_level(half.data, mask_distance) for half in (half_maps.first, half_maps.second))
    first = _masked_transform(half_maps.first.data[box], weight, size, goal, one, threads)
    second = _masked_transform(half_maps.second.data[box], weight, size, goal, two, threads)
    return MaskedHalves(
        mask, first, second, mask_correlation(mask, threads), half_maps.pixel_size, (start[0], start[1], start[2]),
        (one, two),
    )  # fmt: skip


def _solvent_level(data: NDArray[np.float32], mask_distance: NDArray[np.float32]) -> float:
    """The mean grey value away from the particle; of the whole map where the particle fills the box."""
    outside = data[mask_distance > SOLVENT_FROM]
    return float(np.mean(outside if outside.size >= LEAST_SOLVENT else data, dtype=np.float64))


def _masked_transform(
    values: NDArray, weight: NDArray, size: int, goal: tuple[slice, ...], level: float, threads: int
) -> NDArray[np.complex64]:
    """The transform of values under a mask, put into a cube.

    level: taken off first, the solvent's: an offset of the whole map would put the mask itself into both halves. The
    mean under the mask is not taken off: of a small particle, or a coarse map, it is the signal.
    """
    cube = np.zeros((size, size, size), np.float32)
    cube[goal] = (values - np.float32(level)) * weight
    return rfftn(cube, threads)


@derived
def split_halves(half_transforms: HalfTransforms, mask_distance: NDArray[np.float32], threads: int) -> SplitHalves:
    """Split the halves where their unmasked FSC falls below 0.8 to stay, and whiten what lies above."""
    sums = half_transforms.sums
    shape, pixel_size = half_transforms.shape, half_transforms.pixel_size
    frequency = shell_frequencies(shape, pixel_size)
    crossing = first_lasting_crossing(frequency, sums.fsc, RANDOMISED_BELOW)
    # From the first shell that is below; a curve that never is gets no correction.
    first = frequency.size - 1 if crossing is None else int(np.searchsorted(frequency, crossing * (1 - 1e-9)))
    box = bounding_slices(mask_distance < LARGEST_MASK)
    low = np.zeros(frequency.size)
    low[:first] = 1
    amplitude = np.sqrt(np.sqrt(sums.power_1 * sums.power_2) / np.maximum(sums.counts, 0.5))
    white = np.divide(1 - low, amplitude, out=np.zeros_like(low), where=amplitude > 0)
    parts = [
        filtered_part(t, shape, gain, box, threads)
        for gain in (low, white)
        for t in (half_transforms.first, half_transforms.second)
    ]
    return SplitHalves(float(frequency[first]), box, (parts[0], parts[1]), (parts[2], parts[3]), sums)


@derived
def half_map_fsc(
    half_maps: HalfMaps,
    mask_distance: NDArray[np.float32],
    half_transforms: HalfTransforms,
    split_halves: SplitHalves,
    masked_halves: MaskedHalves,
    symmetry: str,
    seed: int,
    threads: int,
) -> HalfMapFsc:
    """The FSC inside the mask, free of what the mask itself correlates, and the one of the whole box.

    A product with a mask is a convolution of the transforms, so the strong low frequencies, on which the halves agree,
    leak to where they hold noise. Phases made random beyond a frequency show how much (Chen et al., Ultramicroscopy
    135 (2013) 24, doi:10.1016/j.ultramic.2013.06.004). What that takes off is known without drawing phases: the leak
    of the low frequencies, masked. So the low frequencies are taken off first and the mask comes after (as in Penczek,
    IUCrJ 7 (2020) 995, doi:10.1107/S2052252520011574): the same correction, without the noise of random phases.
    """
    order = point_group_order(symmetry)
    split, cube = split_halves, masked_halves
    box_frequency = shell_frequencies(half_transforms.shape, half_transforms.pixel_size)
    frequency = shell_frequencies(cube.shape, cube.pixel_size)
    sums = shell_sums(cube.first, cube.second, cube.shape)
    masked = sums.fsc
    inside, goal = _common(split.box, cube.start, cube.shape[0])
    weight = cube.mask[goal]
    size = cube.shape[0]
    carried = [
        _masked_transform(part[inside], weight, size, goal, level, threads)
        for part, level in zip(split.low, cube.levels, strict=True)
    ]
    leak = shell_sums(carried[0], carried[1], cube.shape)
    scale = np.sqrt(sums.power_1 * sums.power_2)
    randomised = np.divide(leak.cross, scale, out=np.zeros_like(scale), where=scale > 0)
    randomised[0] = np.nan
    # What lies above has no level of its own.
    white = [_masked_transform(part[inside], weight, size, goal, 0.0, threads) for part in split.white]
    above = shell_sums(white[0], white[1], cube.shape).fsc
    corrected = np.where(frequency >= split.below + 2 * frequency[1], above, masked)
    correlation = cube.correlation
    independent = np.maximum(sums.counts / (correlation.inflation**2 * order), 1.0)
    smoothed = smooth_fsc(corrected, independent)
    drawn = fsc_draws(smoothed, independent, correlation, DRAWS, np.random.default_rng([seed, 0xF5C]))
    read = {t: float(smoothed_crossing(frequency, corrected, independent, t)) for t in (THRESHOLD, 0.5)}
    resolution, half_resolution = (_resolution(crossing, frequency) for crossing in read.values())
    interval, half_interval = (
        _resolution_interval(smoothed_crossing(frequency, drawn, independent, t), frequency) for t in read
    )
    # Where not even the coarsest shells are more than noise would be, a crossing is one of noise.
    limit = detection_limit(frequency, corrected, independent, correlation, SIGNIFICANCE)
    below_from_the_start = resolution is None and not np.isnan(read[THRESHOLD])
    nothing = int(limit.passed) == 0 or below_from_the_start
    reason = ""
    if nothing:
        resolution, half_resolution = None, None
        reason = f"The half maps agree on nothing: their FSC inside the mask is noise, or below {THRESHOLD} throughout."
    elif resolution is None:
        reason = (
            f"The FSC does not fall below {THRESHOLD} up to Nyquist: the sampling limits the resolution, to "
            f"{2 * cube.pixel_size:.3g} Å or finer."
        )
    return HalfMapFsc(
        frequency=frequency,
        masked=masked,
        randomised=randomised,
        corrected=corrected,
        independent=independent,
        randomised_from=split.below,
        box_frequency=box_frequency,
        unmasked=split.sums.fsc,
        box_independent=np.maximum(split.sums.counts / order, 1.0),
        resolution=resolution,
        interval=interval if resolution is not None else None,
        smoothed=smoothed,
        correlation=correlation,
        half_resolution=half_resolution,
        half_interval=half_interval if half_resolution is not None else None,
        outside_noise=_outside_noise(half_maps, mask_distance),
        reason=reason,
        nothing=nothing,
    )


def _outside_noise(half_maps: HalfMaps, mask_distance: NDArray[np.float32]) -> float | None:
    """Variance of the halves' difference away from the mask over that inside, of every other voxel along each axis.

    A mask that was applied before deposition may be wider than ours; so it is looked at from 10 Å on.
    """
    thin = (slice(None, None, 2),) * 3
    difference = half_maps.first.data[thin] - half_maps.second.data[thin]
    outside, inside = (difference[where] for where in (mask_distance[thin] > SOLVENT_FROM, mask_distance[thin] <= 0))
    if outside.size < LEAST_SOLVENT or not inside.size:
        return None
    within = float(np.var(inside, dtype=np.float64))
    return None if within <= 0 else float(np.var(outside, dtype=np.float64)) / within


def _resolution(crossing: float, frequency: NDArray) -> float | None:
    """Å; None where a curve never crosses, or is below from the first shell on."""
    return None if np.isnan(crossing) or crossing <= frequency[1] * (1 + 1e-9) else 1.0 / crossing


def _resolution_interval(crossings: NDArray, frequency: NDArray) -> tuple[float, float]:
    """95 %, Å, finer end first; a curve that never crosses counts as crossing at the last shell."""
    coarse, fine = np.percentile(np.where(np.isnan(crossings), frequency[-1], crossings), [2.5, 97.5])
    return 1.0 / float(fine), 1.0 / float(coarse)


def _common(box: tuple[slice, ...], start: tuple[int, ...], size: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where a part of the map and a cube that begins at `start` overlap: slices in the part, slices in the cube."""
    inside, goal = [], []
    for held, first in zip(box, start, strict=True):
        low, high = max(held.start, first), min(held.stop, first + size)
        inside.append(slice(low - held.start, high - held.start))
        goal.append(slice(low - first, high - first))
    return tuple(inside), tuple(goal)


@derived
def mask_family(
    half_maps: HalfMaps,
    split_halves: SplitHalves,
    half_map_fsc: HalfMapFsc,
    mask_distance: NDArray[np.float32],
    symmetry: str,
    seed: int,
    threads: int,
) -> tuple[MaskedEstimate, ...]:
    """The corrected FSC inside tighter and wider, sharper and softer masks.

    The halves, free of their low frequencies and white, are cut to a cube that holds the widest mask and sampled at
    1.25 times the crossing: no more is needed, and every mask is then cheap.
    """
    split, curve, pixel_size = split_halves, half_map_fsc, half_maps.pixel_size
    size = fast_size(max(s.stop - s.start for s in split.box))
    start = tuple((s.start + s.stop) // 2 - size // 2 for s in split.box)
    _, goal = _common(split.box, start, size)
    distance = np.ascontiguousarray(mask_distance[split.box])
    fade = raised_cosine_edge(distance - np.float32(GROWN[-1] + EDGES[-1]), LARGEST_MASK - GROWN[-1] - EDGES[-1])
    limit = 0.5 / pixel_size if curve.resolution is None else min(0.5 / pixel_size, FURTHEST / curve.resolution)
    coarse = min(size, fast_size(int(np.ceil(2 * limit * size * pixel_size))))
    halves = []
    for part in split.white:
        cube = np.zeros((size, size, size), np.float32)
        cube[goal] = part * fade
        halves.append(cube if coarse == size else fourier_resize(cube, (coarse, coarse, coarse), threads))
    padded = np.full((size, size, size), LARGEST_MASK, np.float32)
    padded[goal] = distance
    distance = padded if coarse == size else _sample(padded, coarse)
    pixel_size *= size / coarse
    order = point_group_order(symmetry)
    frequency = shell_frequencies(distance.shape, pixel_size)
    rng = np.random.default_rng([seed, 0xFA3])
    everything = (slice(None),) * 3
    estimates = []
    for grow in GROWN:
        if not (distance < grow).any():
            continue
        for edge in EDGES:
            width = max(edge, EDGE_VOXELS * half_maps.pixel_size)
            mask = raised_cosine_edge(distance - np.float32(grow), width)
            first, second = (_masked_transform(half, mask, coarse, everything, 0.0, threads) for half in halves)
            sums = shell_sums(first, second, mask.shape)
            # Its edge is many voxels wide: every other voxel tells the same, eight times faster.
            correlation = mask_correlation(np.ascontiguousarray(mask[::2, ::2, ::2]), threads)
            independent = np.maximum(sums.counts / (correlation.inflation**2 * order), 1.0)
            # Below, where everything was taken off, the halves agree; the main mask's curve says how well.
            known = np.interp(frequency, curve.frequency[1:], curve.corrected[1:])
            corrected = np.where(frequency >= split.below + 2 * curve.frequency[1], sums.fsc, known)
            corrected[0] = np.nan
            drawn = fsc_draws(smooth_fsc(corrected, independent), independent, correlation, DRAWS, rng)
            crossings = smoothed_crossing(frequency, drawn, independent)
            resolution = _resolution(float(smoothed_crossing(frequency, corrected, independent)), frequency)
            estimates.append(
                MaskedEstimate(
                    grow=grow,
                    edge=width,
                    volume=float(mask.sum(dtype=np.float64)) * pixel_size**3,
                    frequency=frequency,
                    corrected=corrected,
                    independent=independent,
                    resolution=resolution,
                    interval=None if resolution is None else _resolution_interval(crossings, frequency),
                    draws=1.0 / np.where(np.isnan(crossings), frequency[-1], crossings),
                )
            )
    return tuple(estimates)


def _sample(values: NDArray[np.float32], coarse: int) -> NDArray[np.float32]:
    """A cube read at `coarse` points an axis, linearly, from its first voxel on, as `fourier_resize` places them."""
    size = values.shape[0]
    where = np.arange(coarse) * (size / coarse)
    left = where.astype(np.int64)
    share = (where - left).astype(np.float32)
    right = np.minimum(left + 1, size - 1)
    for axis in range(3):
        along = share.reshape([-1 if a == axis else 1 for a in range(3)])
        values = np.take(values, left, axis) * (1 - along) + np.take(values, right, axis) * along
    return values


@derived
def half_part(
    half_maps: HalfMaps,
    mask_distance: NDArray[np.float32],
    half_map_fsc: HalfMapFsc,
    reported_resolution: float | None,
    device: Device,
    threads: int,
) -> HalfPart:
    """Cut both half maps around the particle and sample them at 0.4 of the resolution.

    Raises NotApplicable when the mask is empty.
    """
    pixel_size = half_maps.pixel_size
    known = [r for r in (reported_resolution, half_map_fsc.resolution) if r is not None]
    resolution = max(min(known, default=2 * pixel_size), 2 * pixel_size)
    box = bounding_slices(mask_distance <= 0)
    margin = int(np.ceil(PADDING / pixel_size))
    low, high = ([s.start - margin for s in box], [s.stop + margin for s in box])
    plan = plan_resampling(
        (low[0], low[1], low[2]), (high[0], high[1], high[2]), pixel_size, min(SAMPLING * resolution, COARSEST_PIXEL)
    )
    parts = []
    for half in (half_maps.first, half_maps.second):
        level = float(np.mean(half.data, dtype=np.float64))
        parts.append(cut_part(half.data, plan, level, TAPER / pixel_size, threads))
    mean = (parts[0] + parts[1]) * np.float32(0.5)
    density = DensityMap(mean, plan.pixel_size, plan.origin(half_maps.first.origin, pixel_size))
    depth = depth_on(mask_distance, density, half_maps.first)
    return HalfPart(
        first=rfftn(device.put(parts[0]), threads),
        second=rfftn(device.put(parts[1]), threads),
        density=density,
        depth=depth,
        index=np.flatnonzero(depth > 0),
        resolution=resolution,
        plan=plan,
    )


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
def whitened_part(half_transforms: HalfTransforms, half_part: HalfPart, threads: int) -> WhitenedPart:
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
    cut = []
    for transform in (mean, noise):
        data = irfftn(transform, whole.shape, threads)
        cut.append(rfftn(like(cut_part(data, part.plan, 0.0, TAPER / whole.pixel_size, threads), part.first), threads))
    return WhitenedPart(cut[0], cut[1], max(1.0 / limit, 2.0 * part.pixel_size))
