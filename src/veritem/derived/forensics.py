"""What two half maps show of how they were made: all measurements of half-map forensics, and no verdict."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from veritem.derived.half_maps import HalfMapFsc, HalfTransforms
from veritem.derived.registry import derived
from veritem.derived.spectra import bounding_slices
from veritem.errors import NotApplicable
from veritem.numerics.density_map import DensityMap, HalfMaps
from veritem.numerics.forensics import (
    IDENTITY,
    NoiseProfile,
    NoiseShape,
    NoiseSpectrum,
    Orientation,
    Overlay,
    SpectrumEnd,
    coarse_cube,
    estimate_shift,
    flatness,
    leaning_to_a_half,
    noise_by_signal,
    noise_profile,
    noise_rise,
    noise_shape,
    noise_spectrum,
    noise_taken_over,
    scaled_transform,
    spectrum_end,
    volume_share,
    weighed_volume,
)
from veritem.numerics.fourier import fast_size, rfftn, shifted_transform
from veritem.numerics.fsc import ShellSums, mask_inflation, point_group_order, shell_sums
from veritem.numerics.masks import raised_cosine_edge
from veritem.numerics.shells import shell_frequencies
from veritem.numerics.statistics import robust_scale

COARSEST_OVERLAY, FINEST_OVERLAY = 40.0, 6.0  # Å: the band in which halves are laid over each other
OVERLAY_OF_RESOLUTION = 1.6  # and no finer than so many times the resolution
SURE_OVERLAY = 0.85  # no other orientation could be better by what it takes to be named
NAMED_BY = 0.15  # correlation that another orientation must gain
AGREES, FAR_ABOVE_CHANCE = 0.35, 0.2  # correlations
ALIKE = 0.6  # correlation of the map with a half over that with the other; its own noise alone gives 0.4
LARGEST_BY_CHANCE = 7.0  # standard errors; the best of all shifts and orientations of noise is below 5.5
COARSEST_NOISE = 20.0  # Å: below, halos and solvent structure are no noise
GAIN_ABOVE = 12.0  # Å: the scale of the greys is compared in coarser detail than this
FILTER_BINS = 16
CLEAR = 6.0  # Å from the particle: noise around it is looked at from here on
COARSE_WIDTH = 4.0  # Å, of a Gaussian
CLEARANCES = (10.0, 7.0, 5.0)  # Å: where the window that holds solvent only begins to open, over 6 Å
COARSEST_END = 6.5  # Å: coarser detail of the particle reaches into the solvent
BEYOND_RESOLUTION = 1.2  # times its frequency, where there is room
SOLVENT_ABOVE = 8.0  # Å: noise is compared in detail finer than this
LEAST_SOLVENT = 2000  # voxels
INNER_EDGE = 4.0  # Å: halves and map are compared where any mask around the particle is 1
COPIES = 1e-5  # what the second half lacks of the first, where rounding is all that differs
FILTER_ROUNDS = 3
VAGUE = 0.15  # standard error beyond which nothing is said of whose noise a map has
LEAST_INNER = 500.0  # voxels
LARGEST_LOG_RATIO = 7.0  # of the halves' amplitudes; beyond, one of them holds rounding only


@dataclass(frozen=True)
class Estimate:
    """A value and its standard error."""

    value: float
    error: float

    def interval(self, z: float = 1.96) -> tuple[float, float]:
        return self.value - z * self.error, self.value + z * self.error


@dataclass(frozen=True)
class Lay:
    """How two maps overlay. as_they_are: correlation. orientation, best: of the 48, the one that is surely better, else
    to leave it, and its correlation.

    sign: -1 where the contrast of the second is inverted. error: standard error of a correlation of 0.
    shift: (z, y, x) voxels of the map, coarsely: the second sits so far off the first.
    """

    as_they_are: float
    orientation: Orientation
    best: float
    sign: int
    error: float
    shift: tuple[float, float, float]

    @property
    def reoriented(self) -> bool:
        return self.orientation != IDENTITY


@dataclass(frozen=True, eq=False)
class HalfMapEvidence:
    """Measurements; None where one could not be made, with the reason in `notes`.

    halves, first_with_map, second_with_map: how they overlay.
    distinct: share of the first half's finest detail that the second lacks; 0 for copies.
    shift, map_shift: Å between the halves, and between map and halves' mean; shift_vector in (x, y, z) Å.
    scale: greys of the second over the first, negative where inverted.
    filter_frequency, filter_log_ratio, filter_error: (bins,) ln of the second's amplitude over the first's.
    filter_b_factor: Å², by which the second is blurred more. filter_range: ln of the largest over the least ratio.
    spectrum: of the noise. end, grid_end: where it ends, in a sphere or in a cube. rise: Å².
    profile, shape: the noise by place. flatness, by_signal: see `flatness` and `noise_by_signal` in
    numerics.forensics.
    solvent_ratio: noise power of the first over the second around the particle.
    noise_correlation: of the halves around the particle, in the finest detail. solvent_frequency, solvent_fsc,
    solvent_error: its curve. solvent_voxels: how many voxels it rests on.
    map_noise: 1 where the map has the noise of the halves' mean. half_in_map: 1 where the map is the first
    half, -1 where it is the second, 0 where it is their mean.
    constant: share of voxels in which both halves hold one and the same value each.
    resolution: Å, to which shifts are compared.
    difference: the central slices across z, y and x of the halves' whitened difference.
    """

    halves: Lay
    first_with_map: Lay
    second_with_map: Lay
    distinct: float | None
    constant: float
    resolution: float
    notes: tuple[str, ...]
    shift: Estimate | None = None
    shift_vector: tuple[float, float, float] | None = None
    map_shift: Estimate | None = None
    scale: Estimate | None = None
    filter_frequency: NDArray | None = field(default=None, repr=False)
    filter_log_ratio: NDArray | None = field(default=None, repr=False)
    filter_error: NDArray | None = field(default=None, repr=False)
    filter_b_factor: Estimate | None = None
    filter_range: Estimate | None = None
    spectrum: NoiseSpectrum | None = field(default=None, repr=False)
    end: SpectrumEnd | None = None
    grid_end: SpectrumEnd | None = None
    rise: Estimate | None = None
    profile: NoiseProfile | None = field(default=None, repr=False)
    shape: NoiseShape | None = None
    flatness: Estimate | None = None
    by_signal: Estimate | None = None
    solvent_ratio: Estimate | None = None
    noise_correlation: Estimate | None = None
    solvent_frequency: NDArray | None = field(default=None, repr=False)
    solvent_fsc: NDArray | None = field(default=None, repr=False)
    solvent_error: NDArray | None = field(default=None, repr=False)
    solvent_voxels: float = 0.0
    map_noise: Estimate | None = None
    half_in_map: Estimate | None = None
    difference: tuple[NDArray[np.float32], ...] | None = field(default=None, repr=False)

    @property
    def agreement(self) -> float:
        """How far the halves show the same thing: their correlation or, where noise lowers that, the correlation of the
        map with the half that fits it less over that with the other; the higher of the two.
        """
        with_map = sorted((self.first_with_map.best, self.second_with_map.best))
        alike = with_map[0] / with_map[1] if with_map[1] > AGREES else 0.0
        return max(self.halves.best, alike if alike > ALIKE else 0.0)

    @property
    def map_agreement(self) -> float:
        """How far the map shows what the halves show: its correlation with the better half, over the least that a map
        of the same thing has, given the noise of the halves: F sqrt(2 / (1 + F)) for halves that correlate by F.
        """
        f = min(max(self.halves.best, FAR_ABOVE_CHANCE), 1.0)
        return min(1.0, max(self.first_with_map.best, self.second_with_map.best) / (f * float(np.sqrt(2 / (1 + f)))))

    @property
    def map_overlays(self) -> bool:
        reoriented = self.first_with_map.reoriented or self.second_with_map.reoriented
        return self.halves_overlay and self.map_agreement > AGREES and not reoriented

    @property
    def halves_overlay(self) -> bool:
        return self.agreement > AGREES and not self.halves.reoriented


@derived
def half_map_evidence(
    density_map: DensityMap,
    half_maps: HalfMaps,
    half_transforms: HalfTransforms,
    half_map_fsc: HalfMapFsc,
    mask_distance: NDArray[np.float32],
    reported_resolution: float | None,
    symmetry: str,
    threads: int,
) -> HalfMapEvidence:
    """Measure in order: do they overlay, are they copies, then noise by frequency and by place, then the map.

    What needs halves that overlay is left out when they do not; a shift is taken off first.
    Raises NotApplicable for a half map without any variation.
    """
    shape, pixel_size = half_maps.shape, half_maps.pixel_size
    order = point_group_order(symmetry)
    for name, half in (("first", half_maps.first), ("second", half_maps.second)):
        if not float(np.ptp(half.data)) > 0:
            raise NotApplicable(f"The {name} half map holds one value only: it is empty. Send the half map itself.")
    notes: list[str] = []
    known = [r for r in (reported_resolution, half_map_fsc.resolution) if r is not None]
    resolution = max(min(known, default=2 * pixel_size), 2 * pixel_size)
    map_transform = rfftn(density_map.data, threads)
    whole = half_transforms.sums
    ends = [
        spectrum_end(shell_frequencies(shape, pixel_size), p / np.maximum(whole.counts, 1e-30), 1 / COARSEST_NOISE)
        for p in (whole.power_1, whole.power_2)
    ]
    halves, first_map, second_map = _overlays(
        (half_transforms.first, half_transforms.second, map_transform),
        shape,
        pixel_size,
        mask_distance,
        reported_resolution,
        max((1.05 / e.frequency for e in ends if e is not None), default=0.0),
        order,
        threads,
    )
    distinct = _distinct(whole.cross, whole.power_1, whole.power_2, whole.counts)
    constant = _constant_share(half_maps)
    evidence = HalfMapEvidence(halves, first_map, second_map, distinct, constant, resolution, ())
    if distinct is not None and distinct < COPIES:
        return replace(evidence, notes=("The halves are copies, so nothing else can be learnt from them.",))
    if not evidence.halves_overlay:
        return replace(evidence, notes=("The halves do not overlay, so their noise cannot be looked at.",))

    # A shift is measured and taken off.
    second = half_transforms.second
    signed = second if halves.sign > 0 else -second
    estimate = estimate_shift(half_transforms.first, signed, shape, halves.shift, order)
    maps_overlay = evidence.map_overlays
    if estimate is None:
        notes.append("The halves correlate too little for a shift.")
    else:
        vector = np.array(estimate.shift) * pixel_size
        size = float(np.linalg.norm(vector))
        direction = vector / size if size > 0 else np.array([1.0, 0.0, 0.0])
        error = float(np.sqrt(direction @ estimate.covariance @ direction)) * pixel_size
        evidence = replace(
            evidence,
            shift=Estimate(size, error),
            shift_vector=(float(vector[2]), float(vector[1]), float(vector[0])),
        )
        if size > 0.1 * pixel_size and size > 4 * error:
            back = (-estimate.shift[0], -estimate.shift[1], -estimate.shift[2])
            second = shifted_transform(second, shape, back)
    # What was done to the second half and not to the first, over the box; refined inside the particle below.
    frequency = shell_frequencies(shape, pixel_size)
    sums = whole if second is half_transforms.second else shell_sums(half_transforms.first, second, shape)
    filters = _filters(frequency, sums.fsc, sums.power_1, sums.power_2, np.maximum(sums.counts / order, 1.0))
    log_ratio = filters.at(frequency)
    ratio = halves.sign * np.exp(-log_ratio)

    # Noise by frequency.
    spectrum = noise_spectrum(half_transforms.first, second, ratio, shape, pixel_size)
    end = spectrum_end(frequency, spectrum.radial, 1 / COARSEST_NOISE)
    grid_end = spectrum_end(frequency, spectrum.cubic, 1 / COARSEST_NOISE)
    if end is not None and grid_end is not None:
        # A sphere ends sharply over |f| and slowly over the largest component; a cube the other way round.
        if grid_end.width < 0.5 * end.width:
            end = None
        else:
            grid_end = None
    last = min(e.frequency for e in (end, grid_end, SpectrumEnd(0.5 / pixel_size, 0.0)) if e is not None)
    rise = noise_rise(frequency, spectrum.radial, spectrum.counts / order, last)
    evidence = replace(
        evidence, spectrum=spectrum, end=end, grid_end=grid_end, rise=None if rise is None else Estimate(*rise)
    )
    if not maps_overlay:
        notes.append("Halves and map do not overlay, so where the particle is in the halves is not known.")
        return replace(_with_filters(evidence, filters, halves.sign), notes=tuple(notes))

    use = (frequency >= 1 / COARSEST_NOISE) & (frequency <= last) & (spectrum.radial > 0)
    inner = _inner_mask(mask_distance, pixel_size)
    if inner is not None:
        inner_frequency = shell_frequencies(inner.shape, pixel_size)
        share = volume_share(inner.mask)
        within = (inner_frequency >= frequency[use][0]) & (inner_frequency <= frequency[use][-1])
        exact = 0.5 * np.log(np.maximum(sums.power_2, 1e-300) / np.maximum(sums.power_1, 1e-300))
        flat = [_flattening(power, use) for power in (sums.power_1, sums.power_2)]
        cube = inner.transform(weighed_volume(half_transforms.first, flat[0], shape, threads), threads)
        correction = np.zeros(len(frequency))
        # Flattened each by its own spectrum, the halves still differ inside the particle by what differs outside it.
        # Masks spread that from shell to shell until both are alike, so it is taken off in rounds.
        for _ in range(FILTER_ROUNDS):
            other = inner.transform(weighed_volume(second, flat[1] * np.exp(-correction), shape, threads), threads)
            inside = shell_sums(cube, other, inner.shape)
            independent = np.maximum(inside.counts * share / order, 1.0)
            rest = _filters(
                inner_frequency[within], inside.fsc[within], inside.power_1[within], inside.power_2[within],
                independent[within], 0.0,
            )  # fmt: skip
            if not rest.known or not rest.significant:
                break
            correction = correction + rest.at(frequency)
            filters = rest.after(frequency[use], (exact + correction - rest.at(frequency))[use])
        log_ratio = filters.at(frequency)
        ratio = halves.sign * np.exp(-log_ratio)
        del cube
    evidence = _with_filters(evidence, filters, halves.sign)

    # Whitened by the noise, voxels are nearly independent.
    table = np.where(use, np.sqrt(np.prod(shape, dtype=float) / np.maximum(spectrum.radial, 1e-300)), 0.0)
    first_white = weighed_volume(half_transforms.first, table, shape, threads)
    second_white = weighed_volume(second, table * ratio, shape, threads)

    # Noise by place.
    band_share = float((spectrum.counts * use).sum() / spectrum.counts.sum())
    profile = noise_profile(first_white, second_white, mask_distance, pixel_size)
    noise_at = noise_shape(profile)
    difference = first_white - second_white
    # Where a mask of the particle ends the noise, only what is well inside is left to look at.
    masked = noise_at is not None and particle_shaped(noise_at)
    peaked = flatness(profile, -np.inf, -pixel_size) if masked else flatness(profile, CLEAR, np.inf)
    follows = noise_by_signal(first_white, second_white, mask_distance)
    evidence = replace(
        evidence,
        profile=profile,
        shape=noise_at,
        flatness=None
        if peaked is None
        else Estimate(peaked[0], float(np.sqrt((1 - 3 / np.pi) * order / max(peaked[1] * band_share, 1.0)))),
        by_signal=None
        if follows is None
        else Estimate(follows[0], follows[0] * 2.0 / float(np.sqrt(max(follows[1] * band_share / order, 1.0)))),
        difference=_central_slices(difference),
    )
    mean = half_transforms.first + scaled_transform(second, ratio, shape)
    against = shell_sums(mean, map_transform, shape)
    del difference
    radius = None if noise_at is None else noise_at.radius
    if not masked:
        evidence = replace(evidence, solvent_ratio=_solvent_ratio(profile, radius, band_share, order))
        evidence = _solvent(
            evidence,
            (first_white, second_white),
            mask_distance,
            last,
            map_transform,
            mean,
            against,
            pixel_size,
            order,
            threads,
        )
    if evidence.noise_correlation is None:
        notes.append("Around the particle there is too little noise to tell whether the halves share it.")

    if evidence.map_noise is None and evidence.half_in_map is None and inner is not None:
        evidence = _inner_against_map(
            evidence,
            inner,
            (first_white, second_white),
            map_transform,
            table,
            against,
            shape,
            pixel_size,
            order,
            threads,
        )
    both = estimate_shift(mean, map_transform, shape, first_map.shift, order)
    if both is not None:
        size = float(np.linalg.norm(both.shift)) * pixel_size
        error = float(np.sqrt(np.trace(both.covariance) / 3)) * pixel_size
        evidence = replace(evidence, map_shift=Estimate(size, error))
    return replace(evidence, notes=tuple(notes))


def particle_shaped(shape: NoiseShape) -> bool:
    """Whether noise is missing around the particle, and distance from it explains where better than a sphere does.

    Noise that ends within 6 Å of the particle leaves nothing to tell shapes by: a mask of the particle. Where distance
    from the particle and from the box centre explain it alike (a round particle), one that ends within 10 Å is.
    """
    if shape.missing < 0.05:
        return False
    if shape.reach is not None and shape.reach < 6.0:
        return True
    # Spheres that programs write hold half of the box, seldom a sixth; less than a twelfth was cut for the particle.
    if shape.reach is not None and shape.reach < 12.0 and shape.missing > 0.92:
        return True
    if shape.by_distance < 0.6 * shape.by_radius:
        return True
    if shape.by_radius < 0.6 * shape.by_distance:
        return False
    return shape.reach is not None and shape.reach < 10.0


# --------------------------------------------------------------------------- steps


def _overlays(
    transforms: tuple[NDArray, NDArray, NDArray],
    shape: tuple[int, int, int],
    pixel_size: float,
    distance: NDArray[np.float32],
    reported: float | None,
    filtered: float,
    order: int,
    threads: int,
) -> tuple[Lay, Lay, Lay]:
    """First and second half, map and first half, map and second half. filtered: Å, where either half ends."""
    box = bounding_slices(distance <= 0)
    corners = [max(abs(s.start - n // 2), abs(s.stop - 1 - n // 2)) for s, n in zip(box, shape, strict=True)]
    # The farthest voxel of the particle, at most the corner of its box: turned, it must stay in the sphere.
    radius = min(float(np.linalg.norm(corners)) * 0.85, 0.5 * min(shape)) * pixel_size
    finest = max(FINEST_OVERLAY, OVERLAY_OF_RESOLUTION * reported if reported else 10.0, 2.2 * pixel_size, filtered)
    coarse_pixel = max(finest / 2.6, radius / 28.0, pixel_size)
    cubes, exact = [], coarse_pixel
    for transform in transforms:
        cube, exact = coarse_cube(transform, shape, pixel_size, coarse_pixel, radius)
        cubes.append(cube)
    finest = max(finest, 2.2 * exact)
    found = []
    for a, b in ((0, 1), (2, 0), (2, 1)):
        overlay = Overlay(cubes[a], cubes[b], exact, finest, COARSEST_OVERLAY, threads)
        score, shift = overlay.score()
        orientation, best = (IDENTITY, score) if abs(score) > SURE_OVERLAY else overlay.best()
        error = float(np.sqrt(order / max(overlay.coefficients, 1.0)))
        chance = max(FAR_ABOVE_CHANCE, LARGEST_BY_CHANCE * error)
        turned = abs(best) > abs(score) + NAMED_BY and abs(best) > chance
        decisive = best if turned else score
        voxels = tuple(-s * exact / pixel_size for s in shift)
        found.append(
            Lay(
                abs(score),
                orientation if turned else IDENTITY,
                abs(decisive),
                -1 if decisive < 0 and abs(decisive) > chance else 1,
                error,
                (voxels[0], voxels[1], voxels[2]),
            )
        )
    return found[0], found[1], found[2]


def _distinct(cross: NDArray, power_1: NDArray, power_2: NDArray, counts: NDArray) -> float | None:
    """1 - |FSC| over the finer half of the shells that hold anything."""
    scale = np.sqrt(power_1 * power_2)
    per_shell = scale / np.maximum(counts, 1.0)
    held = (per_shell > 1e-9 * float(per_shell[1:].max())) & (np.arange(len(counts)) > 0)
    if not held.any():
        return None
    finest = held & (np.arange(len(counts)) >= np.flatnonzero(held)[-1] / 2)
    fsc = np.abs(cross[finest]) / scale[finest]
    return float(1.0 - (fsc * counts[finest]).sum() / counts[finest].sum())


def _constant_share(halves: HalfMaps) -> float:
    """Share of voxels that hold in each half the value of its first voxel, which a mask leaves outside."""
    first, second = halves.first.data, halves.second.data
    return float(np.mean((first == first.flat[0]) & (second == second.flat[0])))


@dataclass(frozen=True, eq=False)
class _Filters:
    """ln of the second's amplitude over the first's, in bins of frequency, with standard errors.

    scale: of the greys, from coarse detail.
    """

    frequency: NDArray[np.float64]
    log_ratio: NDArray[np.float64]
    error: NDArray[np.float64]
    scale: Estimate | None

    @property
    def known(self) -> bool:
        return len(self.frequency) > 1

    @property
    def significant(self) -> bool:
        return bool((np.abs(self.log_ratio) > np.maximum(0.05, 4 * self.error)).any())

    def at(self, frequency: NDArray) -> NDArray[np.float64]:
        """ln ratio at any frequency; the ends go on."""
        if not self.known:
            return np.zeros(len(frequency))
        return np.clip(np.interp(frequency, self.frequency, self.log_ratio), -LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)

    def after(self, frequency: NDArray, log_ratio: NDArray) -> _Filters:
        """The ratio when these were measured on halves made alike by `log_ratio` at each `frequency`."""
        half = 0.5 * (self.frequency[1] - self.frequency[0])
        means = [float(np.mean(log_ratio[np.abs(frequency - f) <= half])) for f in self.frequency]
        total = self.log_ratio + np.array(means)
        coarse = self.frequency <= max(1 / GAIN_ABOVE, self.frequency[1])
        weight = 1.0 / self.error[coarse] ** 2
        scale = float(np.exp((weight * total[coarse]).sum() / weight.sum()))
        return _Filters(self.frequency, total, self.error, Estimate(scale, scale / float(np.sqrt(weight.sum()))))

    @property
    def b_factor(self) -> Estimate | None:
        """Å² of ln ratio = c - B f² / 4; no bin is trusted to better than 2 %."""
        if not self.known:
            return None
        w = 1.0 / (self.error**2 + 0.02**2)
        x = -0.25 * self.frequency**2
        x = x - np.average(x, weights=w)
        spread = float((w * x**2).sum())
        return Estimate(float((w * x * self.log_ratio).sum()) / spread, 1.0 / float(np.sqrt(spread)))

    @property
    def range(self) -> Estimate | None:
        """Largest less least ln ratio, over bins that are known to 12 %."""
        sharp = self.error < 0.12
        if sharp.sum() < 3:
            return None
        v, e = self.log_ratio[sharp], self.error[sharp]
        top, bottom = int(np.argmax(v)), int(np.argmin(v))
        return Estimate(float(v[top] - v[bottom]), float(np.hypot(e[top], e[bottom])) + 0.01)


def _filters(
    frequency: NDArray,
    fsc: NDArray,
    power_1: NDArray,
    power_2: NDArray,
    independent: NDArray,
    lowest: float = 1 / 45.0,
) -> _Filters:
    """Compare the halves' powers. One shell's ln P2/P1 of maps with correlation F has the variance 2 (1 - F²) / n."""
    held = (frequency >= lowest) & (power_1 > 0) & (power_2 > 0)
    density_1, density_2 = (p / np.maximum(independent, 1.0) for p in (power_1, power_2))
    held &= (density_1 > 1e-8 * density_1[1:].max()) | (density_2 > 1e-8 * density_2[1:].max())
    f = frequency[held]
    if len(f) < 4:
        return _Filters(np.zeros(1), np.zeros(1), np.ones(1), None)
    y = 0.5 * np.log(power_2[held] / power_1[held])
    variance = np.maximum(1 - np.minimum(np.nan_to_num(fsc[held]) ** 2, 1.0), 1e-3) / (2 * independent[held])
    weight = 1.0 / variance
    edges = np.linspace(f[0], f[-1], FILTER_BINS + 1)
    which = np.clip(np.searchsorted(edges, f, side="right") - 1, 0, FILTER_BINS - 1)
    # Within a bin shells count by their number only: a weight by FSC would draw the bin to its coarse end.
    count = np.bincount(which, independent[held], FILTER_BINS)
    some = count > 0
    centre = np.bincount(which, independent[held] * f, FILTER_BINS)[some] / count[some]
    value = np.bincount(which, independent[held] * y, FILTER_BINS)[some] / count[some]
    spread = np.bincount(which, independent[held] ** 2 * variance, FILTER_BINS)[some] / count[some] ** 2
    low = f <= max(1 / GAIN_ABOVE, f[min(2, len(f) - 1)])
    gain = float((weight * y)[low].sum() / weight[low].sum())
    gain_error = float(1.0 / np.sqrt(weight[low].sum())) + 0.01
    scale = Estimate(float(np.exp(gain)), float(np.exp(gain)) * gain_error)
    return _Filters(centre, value, np.sqrt(spread), scale)


def _solvent_ratio(profile: NoiseProfile, radius: float | None, band_share: float, order: int) -> Estimate | None:
    use = np.broadcast_to((profile.distance > CLEAR)[None, :], profile.counts.shape).copy()
    if radius is not None:
        use &= (profile.radius < radius)[:, None]
    voxels = float(profile.counts[use].sum())
    first, second = float(profile.first[use].sum()), float(profile.second[use].sum())
    if voxels < LEAST_SOLVENT or not (first > 0 and second > 0):
        return None
    ratio = first / second
    return Estimate(ratio, ratio * 2.0 / float(np.sqrt(max(voxels * band_share / order, 1.0))))


def _solvent(
    evidence: HalfMapEvidence,
    whites: tuple[NDArray[np.float32], NDArray[np.float32]],
    distance: NDArray[np.float32],
    last: float,
    map_transform: NDArray,
    mean: NDArray,
    against: ShellSums,
    pixel_size: float,
    order: int,
    threads: int,
) -> HalfMapEvidence:
    """Correlate the halves, and the map with them, in a window that holds solvent only."""
    if last < 1 / COARSEST_END:
        return evidence
    nz, ny, nx = whites[0].shape
    shape = (nz, ny, nx)
    radius = None if evidence.shape is None else evidence.shape.radius
    window, voxels = _solvent_window(distance, radius, _coarse(mean, shape, pixel_size, threads), pixel_size)
    if voxels < LEAST_SOLVENT:
        return evidence
    first, second = (rfftn(white * window, threads) for white in whites)
    sums = shell_sums(first, second, shape)
    share = voxels / float(np.prod(shape, dtype=float))
    independent = sums.counts * share / order
    frequency = shell_frequencies(shape, pixel_size)
    # Parts of the particle that the mask misses correlate too, up to the resolution; shared noise does everywhere.
    beyond = min(BEYOND_RESOLUTION / evidence.resolution, 0.8 * last)
    band = (frequency >= max(1 / SOLVENT_ABOVE, 0.5 * last, beyond)) & (frequency <= 0.97 * last)
    scale = float(np.sqrt(sums.power_1[band].sum() * sums.power_2[band].sum()))
    if not scale > 0:
        return evidence
    # In a wide band each voxel of the window counts once; real parts are half of a coefficient's numbers.
    freedom = max(2.0 * float(sums.counts[band].sum()) * share / order, 2.0)
    curve = frequency <= last
    evidence = replace(
        evidence,
        noise_correlation=Estimate(float(sums.cross[band].sum()) / scale, 1.0 / float(np.sqrt(freedom))),
        solvent_frequency=frequency[curve],
        solvent_fsc=sums.fsc[curve],
        solvent_error=_shell_error(sums.counts, window, order, threads)[curve],
        solvent_voxels=voxels,
    )
    ratio = evidence.solvent_ratio
    held = _held_by_map(evidence.resolution, against, frequency, (frequency >= 1 / COARSEST_NOISE) & curve)
    if ratio is None or not 0.5 < ratio.value < 2.0 or held is None:
        return evidence
    _, low, top = held
    use = (frequency >= low) & (frequency < top) & curve
    flat = weighed_volume(map_transform, _flattening(against.power_2, use), shape, threads)
    everywhere = float((flat**2).mean(dtype=np.float64))
    inside = flat[window > 0.5]
    around = float((inside**2).mean(dtype=np.float64))
    uneven = robust_scale(inside)[1] < 0.8 * float(np.sqrt(around))
    flat *= window
    chosen = use & (frequency >= low + 2 * frequency[1]) & (frequency < top - 2 * frequency[1])
    if around < 0.1 * everywhere or uneven or chosen.sum() < 3:
        # The map is masked: it has no noise here, or not everywhere.
        return evidence
    whole = rfftn(flat, threads)
    means = shell_sums(first + second, whole, shape)
    f = np.clip(np.nan_to_num(sums.fsc[chosen]), 0.0, 0.95)
    taken = noise_taken_over(means.fsc[chosen], f, independent[chosen], np.ones(f.shape), 2 * f / (1 + f))
    leaning = leaning_to_a_half(
        sums, shell_sums(first, whole, shape), shell_sums(second, whole, shape), chosen, independent[chosen]
    )
    return _with_map(evidence, taken, leaning)


def _central_slices(volume: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
    return tuple(np.ascontiguousarray(np.take(volume, n // 2, axis)) for axis, n in enumerate(volume.shape))


def _shell_error(counts: NDArray, window: NDArray[np.float32], order: int, threads: int) -> NDArray[np.float64]:
    """Standard error of the FSC of independent noise in a window, of one shell."""
    return 1.0 / np.sqrt(2.0 * np.maximum(counts / (mask_inflation(window, threads) ** 2 * order), 1.0))


def _coarse(mean: NDArray, shape: tuple[int, int, int], pixel_size: float, threads: int) -> NDArray[np.float32]:
    """The halves' mean in detail of about 20 Å, from which what is no solvent stands out."""
    table = np.exp(-2 * (np.pi * COARSE_WIDTH * shell_frequencies(shape, pixel_size)) ** 2)
    return weighed_volume(mean, table, shape, threads)


def _solvent_window(
    distance: NDArray[np.float32], radius: float | None, coarse: NDArray[np.float32], pixel_size: float
) -> tuple[NDArray[np.float32], float]:
    """A window as far from the particle as leaves enough voxels, within a sphere; and how many it holds.

    coarse: the mean of the halves, smoothed. Where it stands out the mask misses a part of the particle.
    """
    sphere = None
    if radius is not None:
        edge = max(8.0, 3 * pixel_size)
        z, y, x = ((np.arange(n, dtype=np.float32) - n // 2) * np.float32(pixel_size) for n in distance.shape)
        r = np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2)
        sphere = raised_cosine_edge(r - np.float32(radius - 1.5 * edge), edge)
    window, voxels = distance, 0.0
    for clear in CLEARANCES:
        window = 1 - raised_cosine_edge(distance - np.float32(clear), 6.0)
        if sphere is not None:
            window *= sphere
        inside = coarse[window > 0.5]
        if inside.size < LEAST_SOLVENT:
            continue
        level, spread = robust_scale(inside)
        window *= raised_cosine_edge(np.abs(coarse - np.float32(level)) / np.float32(max(spread, 1e-30)) - 4, 2.0)
        voxels = volume_share(window) * window.size
        if voxels >= 10 * LEAST_SOLVENT:
            break
    return window, voxels


@dataclass(frozen=True, eq=False)
class _Inner:
    """A soft mask well inside the particle, in a cube; box: which voxels of the map it holds."""

    mask: NDArray[np.float32]
    box: tuple[slice, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        n = self.mask.shape[0]
        return n, n, n

    def transform(self, volume: NDArray[np.float32], threads: int) -> NDArray[np.complex64]:
        cube = np.zeros(self.shape, np.float32)
        goal = tuple(slice(0, s.stop - s.start) for s in self.box)
        cube[goal] = volume[self.box] * self.mask[goal]
        return rfftn(cube, threads)


def _inner_mask(distance: NDArray[np.float32], pixel_size: float) -> _Inner | None:
    """None when the particle has no inside to speak of."""
    edge = max(INNER_EDGE, 2 * pixel_size)
    weight = raised_cosine_edge(distance + np.float32(edge), edge)
    if float(weight.sum(dtype=np.float64)) < LEAST_INNER:
        return None
    box = bounding_slices(weight > 0)
    size = fast_size(max(s.stop - s.start for s in box))
    mask = np.zeros((size, size, size), np.float32)
    mask[tuple(slice(0, s.stop - s.start) for s in box)] = weight[box]
    return _Inner(mask, box)


def _flattening(power: NDArray, use: NDArray) -> NDArray[np.float64]:
    """What makes a map's spectrum flat, so that a mask spreads no strong coarse detail over the fine."""
    return np.where(use & (power > 0), 1.0 / np.sqrt(np.maximum(power, 1e-300)), 0.0)


def _held_by_map(
    resolution: float, against: ShellSums, frequency: NDArray, use: NDArray
) -> tuple[NDArray, float, float] | None:
    """Power of the map over that of the halves' sum, and between which frequencies the map holds more than rounding."""
    transfer = np.where(against.power_1 > 0, against.power_2 / np.maximum(against.power_1, 1e-300), 0.0)
    signal = use & (frequency <= 1 / resolution)
    if not (transfer[signal] > 0).any():
        return None
    faint = transfer <= 1e-2 * float(np.median(transfer[signal]))
    lost = np.flatnonzero(faint & use & (frequency > frequency[signal][0]))
    top = frequency[lost[0]] if lost.size else 2 * frequency[use][-1]
    return transfer, float(frequency[signal][0]), float(top)


def _inner_against_map(
    evidence: HalfMapEvidence,
    inner: _Inner,
    whites: tuple[NDArray[np.float32], NDArray[np.float32]],
    map_transform: NDArray,
    table: NDArray,
    against: ShellSums,
    shape: tuple[int, int, int],
    pixel_size: float,
    order: int,
    threads: int,
) -> HalfMapEvidence:
    """Whose noise the map has, well inside the particle, where a mask around it changes nothing.

    whites: the halves, whitened by `table`. against: sums of the halves' sum and the map, over the box.
    Filter and mask do not commute, so the map gets the spectrum of the halves' sum before it is masked; in two rounds,
    since over the box the two may hold different amounts of noise.
    """
    box_frequency, frequency = shell_frequencies(shape, pixel_size), shell_frequencies(inner.shape, pixel_size)
    held = _held_by_map(evidence.resolution, against, box_frequency, table > 0)
    if held is None:
        return evidence
    transfer, low, top = held
    # What masks spread reaches over the last shells before the map ends.
    chosen = (frequency >= low) & (frequency <= min(top, box_frequency[table > 0][-1]) - 1.5 * frequency[1])
    if chosen.sum() < 3:
        return evidence
    first, second = (inner.transform(white, threads) for white in whites)
    total = first + second
    matched = np.where(box_frequency < top, table / np.sqrt(np.maximum(transfer, 1e-300)), 0.0)
    whole = inner.transform(weighed_volume(map_transform, matched, shape, threads), threads)
    means = shell_sums(total, whole, inner.shape)
    gain = np.sqrt(means.power_1[chosen] / np.maximum(means.power_2[chosen], 1e-300))
    matched = matched * np.interp(box_frequency, frequency[chosen], gain)
    whole = inner.transform(weighed_volume(map_transform, matched, shape, threads), threads)
    means = shell_sums(total, whole, inner.shape)
    halves = shell_sums(first, second, inner.shape)
    f = np.clip(np.nan_to_num(halves.fsc[chosen]), 0.0, 1.0)
    n = halves.counts[chosen] * volume_share(inner.mask) / order
    taken = noise_taken_over(means.fsc[chosen], f, n, np.ones(f.shape), 2 * f / (1 + f))
    with_each = [shell_sums(half, whole, inner.shape) for half in (first, second)]
    return _with_map(evidence, taken, leaning_to_a_half(halves, with_each[0], with_each[1], chosen, n))


def _with_map(
    evidence: HalfMapEvidence, taken: tuple[float, float] | None, leaning: tuple[float, float] | None
) -> HalfMapEvidence:
    # Of a map that holds no noise to speak of nothing can be told.
    return replace(
        evidence,
        map_noise=None if taken is None or taken[1] > VAGUE else Estimate(*taken),
        half_in_map=None if leaning is None or leaning[1] > VAGUE else Estimate(*leaning),
    )


def _with_filters(evidence: HalfMapEvidence, filters: _Filters, sign: int) -> HalfMapEvidence:
    scale = filters.scale
    return replace(
        evidence,
        scale=None if scale is None else Estimate(sign * scale.value, scale.error),
        filter_frequency=filters.frequency,
        filter_log_ratio=filters.log_ratio,
        filter_error=filters.error,
        filter_b_factor=filters.b_factor,
        filter_range=filters.range,
    )
