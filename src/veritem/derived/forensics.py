"""What two half maps show of how they were made: all measurements of half-map forensics, and no verdict."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from veritem.derived.half_maps import HalfMapFsc, HalfTransforms, MaskedHalves
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
    noise_profile,
    noise_rise,
    noise_shape,
    noise_spectrum,
    noise_taken_over,
    shifted_transform,
    spectrum_end,
    weighed_volume,
)
from veritem.numerics.fourier import fast_size, irfftn, rfftn
from veritem.numerics.fsc import mask_inflation, point_group_order, shell_sums
from veritem.numerics.masks import raised_cosine_edge
from veritem.numerics.shells import shell_frequencies

COARSEST_OVERLAY, FINEST_OVERLAY = 40.0, 6.0  # Å: the band in which halves are laid over each other
OVERLAY_OF_RESOLUTION = 1.6  # and no finer than so many times the resolution
SURE_OVERLAY = 0.85  # no other orientation could be better by what it takes to be named
NAMED_BY = 0.15  # correlation that another orientation must gain
COARSEST_NOISE = 20.0  # Å: below, halos and solvent structure are no noise
GAIN_ABOVE = 12.0  # Å: the scale of the greys is compared in coarser detail than this
FILTER_BINS = 16
CLEAR = (4.0, 10.0)  # Å from the particle: the solvent's window opens over this
SOLVENT_ABOVE = 8.0  # Å: noise is compared in detail finer than this
LEAST_SOLVENT = 2000  # voxels
INNER_EDGE = 4.0  # Å: halves and map are compared where any mask around the particle is 1


@dataclass(frozen=True)
class Estimate:
    """A value and its standard error."""

    value: float
    error: float

    def interval(self, z: float = 1.96) -> tuple[float, float]:
        return self.value - z * self.error, self.value + z * self.error


@dataclass(frozen=True)
class Lay:
    """How two maps overlay. as_they_are: correlation. orientation, best: of the 48, the best and its correlation.

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
        return self.best > self.as_they_are + NAMED_BY and self.best > 0.5

    @property
    def agrees(self) -> bool:
        return self.as_they_are > 0.5 and not self.reoriented


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
    profile, shape: the noise by place. flatness: see `numerics.forensics.flatness`.
    solvent_ratio: noise power of the first over the second around the particle.
    noise_correlation: of the halves around the particle, in the finest detail. solvent_frequency, solvent_fsc,
    solvent_error: its curve. solvent_voxels: how many voxels it rests on.
    map_noise: 1 where the map has the noise of the halves' mean. half_in_map: of either half, 1 where the map is it.
    constant: share of voxels in which both halves hold one and the same value each.
    resolution: Å, to which shifts are compared.
    difference: the difference of the halves, whitened, with the slices' outline; for the figure.
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
    solvent_ratio: Estimate | None = None
    noise_correlation: Estimate | None = None
    solvent_frequency: NDArray | None = field(default=None, repr=False)
    solvent_fsc: NDArray | None = field(default=None, repr=False)
    solvent_error: NDArray | None = field(default=None, repr=False)
    solvent_voxels: float = 0.0
    map_noise: Estimate | None = None
    half_in_map: tuple[Estimate, Estimate] | None = None
    difference: NDArray[np.float32] | None = field(default=None, repr=False)


@derived
def half_map_evidence(
    density_map: DensityMap,
    half_maps: HalfMaps,
    half_transforms: HalfTransforms,
    masked_halves: MaskedHalves,
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
    lays = _overlays(
        (half_transforms.first, half_transforms.second, map_transform), shape, pixel_size, mask_distance,
        reported_resolution, threads,
    )  # fmt: skip
    halves, first_map, second_map = lays
    whole = half_transforms.sums
    distinct = _distinct(whole.cross, whole.power_1, whole.power_2, whole.counts)
    constant = _constant_share(half_maps)
    evidence = HalfMapEvidence(halves, first_map, second_map, distinct, constant, resolution, ())
    if distinct is not None and distinct < 1e-3:
        return replace(evidence, notes=("The halves are copies, so nothing else can be learnt from them.",))
    if not halves.agrees:
        return replace(evidence, notes=("The halves do not overlay, so their noise cannot be looked at.",))

    # A shift is measured and taken off.
    second = half_transforms.second
    estimate = estimate_shift(half_transforms.first, second if halves.sign > 0 else -second, shape, halves.shift, order)
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
    moved = second is not half_transforms.second

    # Scale and filter of the second over the first, inside the particle.
    maps_overlay = first_map.agrees and second_map.agrees
    volumes: list[NDArray[np.float32]] = [half_maps.first.data, half_maps.second.data]
    if moved:
        volumes[1] = irfftn(second, shape, threads)
    if moved or not maps_overlay:
        sums = shell_sums(half_transforms.first, second, shape)
        frequency, independent = shell_frequencies(shape, pixel_size), np.maximum(sums.counts / order, 1.0)
    else:
        sums = shell_sums(masked_halves.first, masked_halves.second, masked_halves.shape)
        frequency, independent = half_map_fsc.frequency, half_map_fsc.independent
    filters = _filters(frequency, sums.fsc, sums.power_1, sums.power_2, independent)
    box_frequency = shell_frequencies(shape, pixel_size)
    log_ratio = np.interp(box_frequency, filters.frequency, filters.log_ratio)
    evidence = replace(
        evidence,
        scale=filters.scale and Estimate(halves.sign * filters.scale.value, filters.scale.error),
        filter_frequency=filters.frequency,
        filter_log_ratio=filters.log_ratio,
        filter_error=filters.error,
        filter_b_factor=filters.b_factor,
        filter_range=filters.range,
    )

    # Noise by frequency.
    ratio = halves.sign * np.exp(-np.clip(log_ratio, -7.0, 7.0))
    spectrum = noise_spectrum(half_transforms.first, second, ratio, shape, pixel_size)
    end = spectrum_end(box_frequency, spectrum.radial, 1 / COARSEST_NOISE)
    grid_end = spectrum_end(box_frequency, spectrum.cubic, 1 / COARSEST_NOISE)
    if end is not None and grid_end is not None:
        # A sphere ends sharply over |f| and slowly over the largest component; a cube the other way round.
        if grid_end.width < 0.5 * end.width:
            end = None
        else:
            grid_end = None
    last = min(e.frequency for e in (end, grid_end, SpectrumEnd(0.5 / pixel_size, 0.0)) if e is not None)
    rise = noise_rise(box_frequency, spectrum.radial, spectrum.counts / order, last)
    evidence = replace(
        evidence, spectrum=spectrum, end=end, grid_end=grid_end, rise=None if rise is None else Estimate(*rise)
    )
    if not maps_overlay:
        notes.append("Halves and map do not overlay, so where the particle is in the halves is not known.")
        return replace(evidence, notes=tuple(notes))

    # Noise by place, whitened so that voxels are nearly independent.
    use = (box_frequency >= 1 / COARSEST_NOISE) & (box_frequency <= last) & (spectrum.radial > 0)
    table = np.where(use, 1.0 / np.sqrt(np.maximum(spectrum.radial, 1e-300)), 0.0)
    table *= np.sqrt(np.prod(shape, dtype=float))
    first_white = weighed_volume(half_transforms.first, table, shape, threads)
    second_white = weighed_volume(second, table * ratio, shape, threads)
    band_share = float((spectrum.counts * use).sum() / spectrum.counts.sum())
    profile = noise_profile(first_white, second_white, mask_distance, pixel_size)
    noise_at = noise_shape(profile)
    flat = flatness(profile, CLEAR[0])
    evidence = replace(
        evidence,
        profile=profile,
        shape=noise_at,
        flatness=None
        if flat is None
        else Estimate(flat[0], float(np.sqrt((1 - 3 / np.pi) * order / max(flat[1] * band_share, 1.0)))),
        difference=first_white - second_white,
    )
    follows_particle = noise_at is not None and particle_shaped(noise_at)
    radius = None if noise_at is None else noise_at.radius
    if not follows_particle:
        evidence = replace(evidence, solvent_ratio=_solvent_ratio(profile, radius, band_share, order))
        evidence = _solvent(
            evidence, first_white, second_white, mask_distance, radius, last, pixel_size, order, threads
        )
    del first_white, second_white
    if evidence.noise_correlation is None:
        notes.append("Around the particle there is too little noise to tell whether the halves share it.")
    evidence = _against_map(
        evidence, volumes, density_map.data, ratio, box_frequency, mask_distance, pixel_size, order, threads
    )
    mean = half_transforms.first + second * np.float32(halves.sign)
    both = estimate_shift(mean, map_transform, shape, first_map.shift, order)
    if both is not None:
        size = float(np.linalg.norm(both.shift)) * pixel_size
        error = float(np.sqrt(np.trace(both.covariance) / 3)) * pixel_size
        evidence = replace(evidence, map_shift=Estimate(size, error))
    return replace(evidence, notes=tuple(notes))


def particle_shaped(shape: NoiseShape) -> bool:
    """Whether noise is missing around the particle, and distance from it explains where better than a sphere does.

    Where particle and box centre explain it alike (a round particle), a mask that ends within 10 Å of the particle
    is one of the particle.
    """
    if shape.missing < 0.05:
        return False
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
    threads: int,
) -> tuple[Lay, Lay, Lay]:
    """First and second half, map and first half, map and second half."""
    box = bounding_slices(distance <= 0)
    corners = [max(abs(s.start - n // 2), abs(s.stop - 1 - n // 2)) for s, n in zip(box, shape, strict=True)]
    # The farthest voxel of the particle, at most the corner of its box: turned, it must stay in the sphere.
    radius = min(float(np.linalg.norm(corners)) * 0.85, 0.5 * min(shape)) * pixel_size
    finest = max(FINEST_OVERLAY, OVERLAY_OF_RESOLUTION * reported if reported else 10.0, 2.2 * pixel_size)
    coarse_pixel = max(finest / 2.6, radius / 28.0, pixel_size)
    cubes, exact = [], coarse_pixel
    for transform in transforms:
        cube, exact = coarse_cube(transform, shape, pixel_size, coarse_pixel, radius)
        cubes.append(cube)
    finest = max(finest, 2.2 * exact)
    found = []
    for a, b in ((0, 1), (2, 0), (2, 1)):
        overlay = Overlay(cubes[a], cubes[b], exact, finest, COARSEST_OVERLAY, threads)
        sign = -1 if overlay.sign() < 0 else 1
        if sign < 0:
            overlay.second = -overlay.second
        score, shift = overlay.score()
        orientation, best = (IDENTITY, score) if score > SURE_OVERLAY else overlay.best()
        if sign < 0 and best < 0.5:
            sign = 1
        voxels = tuple(-s * exact / pixel_size for s in shift)
        # A lone voxel of shift on the coarse grid is within what noise and phases do; the fine estimate finds it.
        found.append(
            Lay(
                score,
                orientation,
                best,
                sign,
                1.0 / float(np.sqrt(max(overlay.coefficients, 1.0))),
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
    frequency: NDArray[np.float64]
    log_ratio: NDArray[np.float64]
    error: NDArray[np.float64]
    scale: Estimate | None
    b_factor: Estimate | None
    range: Estimate | None


def _filters(frequency: NDArray, fsc: NDArray, power_1: NDArray, power_2: NDArray, independent: NDArray) -> _Filters:
    """ln of the second's amplitude over the first's, in bins of frequency.

    One shell's ln P2/P1 of two maps with correlation F has the variance 2 (1 - F²) / n.
    """
    held = (frequency > 1 / 45.0) & (power_1 > 0) & (power_2 > 0)
    density_1, density_2 = (p / np.maximum(independent, 1.0) for p in (power_1, power_2))
    held &= (density_1 > 1e-8 * density_1[1:].max()) | (density_2 > 1e-8 * density_2[1:].max())
    f = frequency[held]
    if len(f) < 4:
        nothing = np.zeros(1)
        return _Filters(nothing, nothing, nothing, None, None, None)
    y = 0.5 * np.log(power_2[held] / power_1[held])
    variance = np.maximum(1 - np.minimum(np.nan_to_num(fsc[held]) ** 2, 1.0), 1e-3) / (2 * independent[held])
    edges = np.linspace(f[0], f[-1], FILTER_BINS + 1)
    which = np.clip(np.searchsorted(edges, f, side="right") - 1, 0, FILTER_BINS - 1)
    weight = 1.0 / variance
    total = np.bincount(which, weight, FILTER_BINS)
    some = total > 0
    centre = np.bincount(which, weight * f, FILTER_BINS)[some] / total[some]
    value = np.bincount(which, weight * y, FILTER_BINS)[some] / total[some]
    error = 1.0 / np.sqrt(total[some])
    low = f <= max(1 / GAIN_ABOVE, f[min(2, len(f) - 1)])
    gain = float((weight * y)[low].sum() / weight[low].sum())
    gain_error = float(1.0 / np.sqrt(weight[low].sum())) + 0.01
    scale = Estimate(float(np.exp(gain)), float(np.exp(gain)) * gain_error)
    # ln ratio = c - B f² / 4, each bin known no better than 2 %.
    w = 1.0 / (error**2 + 0.02**2)
    x = -0.25 * centre**2
    middle = float(np.average(x, weights=w))
    spread = float((w * (x - middle) ** 2).sum())
    slope = float((w * (x - middle) * value).sum()) / max(spread, 1e-30)
    sharp = error < 0.12
    span = None
    if sharp.sum() >= 3:
        v, e = value[sharp], error[sharp]
        top, bottom = int(np.argmax(v)), int(np.argmin(v))
        span = Estimate(float(v[top] - v[bottom]), float(np.hypot(e[top], e[bottom])) + 0.01)
    return _Filters(centre, value, error, scale, Estimate(slope, 1.0 / float(np.sqrt(max(spread, 1e-30)))), span)


def _solvent_ratio(profile: NoiseProfile, radius: float | None, band_share: float, order: int) -> Estimate | None:
    use = np.broadcast_to((profile.distance > CLEAR[0] + 2.0)[None, :], profile.counts.shape).copy()
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
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    distance: NDArray[np.float32],
    radius: float | None,
    last: float,
    pixel_size: float,
    order: int,
    threads: int,
) -> HalfMapEvidence:
    """Correlate the halves in a window that holds solvent only."""
    shape = (first.shape[0], first.shape[1], first.shape[2])
    window = 1 - raised_cosine_edge(distance - np.float32(CLEAR[0]), CLEAR[1] - CLEAR[0])
    if radius is not None:
        edge = max(8.0, 3 * pixel_size)
        z, y, x = ((np.arange(n, dtype=np.float32) - n // 2) * np.float32(pixel_size) for n in shape)
        r = np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2)
        window *= raised_cosine_edge(r - np.float32(radius - 1.5 * edge), edge)
    squared = float((window**2).sum(dtype=np.float64))
    fourth = float((window**4).sum(dtype=np.float64))
    voxels = squared**2 / fourth if fourth > 0 else 0.0
    if voxels < LEAST_SOLVENT:
        return evidence
    sums = shell_sums(rfftn(first * window, threads), rfftn(second * window, threads), shape)
    inflation = mask_inflation(window, threads)
    frequency = shell_frequencies(shape, pixel_size)
    band = (frequency >= max(1 / SOLVENT_ABOVE, 0.5 * last)) & (frequency <= 0.97 * last)
    if not band.any():
        band = (frequency >= 0.5 * last) & (frequency <= 0.97 * last)
    scale = float(np.sqrt(sums.power_1[band].sum() * sums.power_2[band].sum()))
    if not scale > 0:
        return evidence
    # In a wide band each voxel of the window counts once; real parts are half of a coefficient's numbers.
    share = voxels / float(np.prod(shape, dtype=float))
    freedom = max(2.0 * float(sums.counts[band].sum()) * share / order, 2.0)
    curve = frequency <= last
    return replace(
        evidence,
        noise_correlation=Estimate(float(sums.cross[band].sum()) / scale, 1.0 / float(np.sqrt(freedom))),
        solvent_frequency=frequency[curve],
        solvent_fsc=sums.fsc[curve],
        solvent_error=(1.0 / np.sqrt(2.0 * np.maximum(sums.counts / (inflation**2 * order), 1.0)))[curve],
        solvent_voxels=voxels,
    )


def _against_map(
    evidence: HalfMapEvidence,
    volumes: list[NDArray[np.float32]],
    density: NDArray[np.float32],
    ratio: NDArray,
    ratio_frequency: NDArray,
    distance: NDArray[np.float32],
    pixel_size: float,
    order: int,
    threads: int,
) -> HalfMapEvidence:
    """Whose noise the map has, well inside the particle, where a mask around it changes nothing."""
    edge = max(INNER_EDGE, 2 * pixel_size)
    weight = raised_cosine_edge(distance + np.float32(edge), edge)
    box = bounding_slices(weight > 0)
    size = fast_size(max(s.stop - s.start for s in box))
    mask = np.zeros((size, size, size), np.float32)
    goal = tuple(slice(0, s.stop - s.start) for s in box)
    mask[goal] = weight[box]
    total = float(mask.sum(dtype=np.float64))
    if total < 500:
        return evidence
    shape = (size, size, size)
    frequency = shell_frequencies(shape, pixel_size)
    transforms = []
    for volume in (*volumes, density):
        cube = np.zeros(shape, np.float32)
        values = volume[box]
        mean = float((values * mask[goal]).sum(dtype=np.float64)) / total
        cube[goal] = (values - np.float32(mean)) * mask[goal]
        transforms.append(rfftn(cube, threads))
    first, second, whole = transforms
    table = np.interp(frequency, ratio_frequency, ratio).astype(np.float32)
    # The second half on the scale and with the filter of the first, so that their mean is that of equals.
    second = _by_shell(second, table, frequency, pixel_size)
    halves = shell_sums(first, second, shape)
    means = shell_sums(first + second, whole, shape)
    singles = [shell_sums(half, whole, shape) for half in (first, second)]
    fsc = np.clip(np.nan_to_num(halves.fsc), 0.0, 1.0)
    independent = halves.counts / (mask_inflation(mask, threads) ** 2 * order)
    use = frequency > 1 / COARSEST_NOISE
    with np.errstate(divide="ignore", invalid="ignore"):
        transfer = np.where(means.power_1 > 0, means.power_2 / means.power_1, 0.0)
    reference = np.median(transfer[use & (frequency < 1 / evidence.resolution)]) if use.any() else 0.0
    # Where the map was low-passed it holds rounding only.
    use &= (transfer > 0.05 * reference) & (frequency < 1.05 / evidence.resolution)
    if use.sum() < 3:
        return evidence
    f, n = fsc[use], independent[use]
    taken = noise_taken_over(means.fsc[use], f, n, np.ones(f.shape), 2 * f / (1 + f))
    evidence = replace(evidence, map_noise=None if taken is None else Estimate(*taken))
    single = [noise_taken_over(s.fsc[use], f, n, np.ones(f.shape), np.sqrt((1 + f) / 2)) for s in singles]
    if single[0] is not None and single[1] is not None:
        evidence = replace(evidence, half_in_map=(Estimate(*single[0]), Estimate(*single[1])))
    return evidence


def _by_shell(transform: NDArray, table: NDArray, frequency: NDArray, pixel_size: float) -> NDArray[np.complex64]:
    n = transform.shape[0]
    k, kx = np.fft.fftfreq(n, 1 / n), np.arange(n // 2 + 1)
    radius = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + kx**2)
    shell = np.minimum(np.rint(radius).astype(np.int64), len(table) - 1)
    return (transform * table[shell]).astype(np.complex64)
