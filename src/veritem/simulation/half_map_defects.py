"""Faults planted in half maps, each with a dose: what forensics of the half maps must name.

`HALF_MAP_DEFECTS` is the table. A planted fault is a pure function of the sound map, the dose and a seed; it changes
the half maps (where its name says so, the map) and leaves everything else as it was. `SOUND_VARIANTS` are what
programs do to half maps that is no fault.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from veritem.numerics.density_map import DensityMap
from veritem.numerics.distance import signed_distance
from veritem.numerics.fourier import axis_frequencies, fourier_resize, frequency_grid, irfftn, low_pass, rfftn
from veritem.numerics.masks import raised_cosine_edge
from veritem.numerics.shells import power, shell_means
from veritem.simulation.defects import mirror_density, shift_density
from veritem.simulation.half_maps import SimulatedMap, Transfer
from veritem.simulation.models import ideal_protein
from veritem.simulation.noise import by_shell, coloured_noise
from veritem.simulation.phantoms import simulate_density

Plant = Callable[[SimulatedMap, float, np.random.Generator], SimulatedMap]


@dataclass(frozen=True)
class HalfMapDefect:
    """A fault that can be planted in half maps.

    name: stable identifier. cause: what a user did to get it. dose: what the number means, with its unit.
    doses: from weak to gross. finding: the quantity of the check of half maps that should warn.
    """

    name: str
    cause: str
    dose: str
    doses: tuple[float, ...]
    finding: str
    plant: Plant

    def __call__(self, sound: SimulatedMap, dose: float, seed: int = 0) -> SimulatedMap:
        return self.plant(sound, dose, np.random.default_rng(seed))


# --------------------------------------------------------------------------- parts of a half map


def raw_signal(sound: SimulatedMap) -> NDArray[np.float32]:
    """The noise-free density of the half maps."""
    density = simulate_density(
        sound.model,
        sound.half_1.shape,
        sound.half_1.pixel_size,
        origin=sound.half_1.origin,
        solvent=sound.truth.solvent,
    )
    return Transfer(sound.truth.raw_b_factor).apply(density).data


def fresh_noise(sound: SimulatedMap, rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise as one half map's, independent of it: its spectrum is that of the halves' difference."""
    shape = sound.half_1.shape
    difference = (sound.half_1.data - sound.half_2.data) * np.float32(np.sqrt(0.5))
    mean, _, _ = shell_means(power(rfftn(difference)), shape)
    return coloured_noise(
        shape, sound.half_1.pixel_size, by_shell(mean / difference.size, shape, sound.half_1.pixel_size), rng
    )


def _halves(sound: SimulatedMap, first: NDArray | None = None, second: NDArray | None = None) -> SimulatedMap:
    def of(half: DensityMap, data: NDArray | None) -> DensityMap:
        return half if data is None else replace(half, data=np.ascontiguousarray(data, np.float32))

    return replace(sound, half_1=of(sound.half_1, first), half_2=of(sound.half_2, second))


def _both(sound: SimulatedMap, change: Callable[[NDArray[np.float32]], NDArray]) -> SimulatedMap:
    return _halves(sound, change(sound.half_1.data), change(sound.half_2.data))


def _distance(sound: SimulatedMap) -> NDArray[np.float32]:
    return signed_distance(sound.truth.mask, sound.half_1.pixel_size, 60.0)


def _radius(density_map: DensityMap) -> NDArray[np.float32]:
    z, y, x = ((np.arange(n, dtype=np.float32) - n // 2) * density_map.pixel_size for n in density_map.shape)
    return np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2)


# --------------------------------------------------------------------------- halves that are not independent


def same_file_twice(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: factor on the greys of the copy; other than 1 it gets an offset too."""
    data = sound.half_1.data
    offset = 0.0 if dose == 1 else 0.1 * float(data.std())
    return _halves(sound, second=data * np.float32(dose) + np.float32(offset))


def half_is_the_map(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: 1 the second half is the mean of both, 2 it is the map as deposited, 3 the map is the first half."""
    if dose == 3:
        return _with_map(sound, sound.half_1.data)
    mean = (sound.half_1.data + sound.half_2.data) * np.float32(0.5)
    return _halves(sound, second=mean if dose == 1 else sound.density_map.data)


def shared_noise(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: share of the particles that are in both halves; as much of the noise's variance is common."""
    own, common = np.float32(np.sqrt(1 - dose)), np.float32(np.sqrt(dose))
    signal = raw_signal(sound)
    noise = common * fresh_noise(sound, rng)
    changed = _both(sound, lambda half: signal + own * (half - signal) + noise)
    return _with_map(changed, (changed.half_1.data + changed.half_2.data) * np.float32(0.5))


# --------------------------------------------------------------------------- halves that were masked


def hard_masked(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: Å from the particle up to which a binary mask keeps the density."""
    mask = (_distance(sound) <= dose).astype(np.float32)
    return _both(sound, lambda half: half * mask)


def soft_masked(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: Å over which a mask falls from 1 at the particle to 0, as a cosine."""
    mask = raised_cosine_edge(_distance(sound), dose)
    return _both(sound, lambda half: half * mask)


def one_half_flattened(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: share of the second half's density that is taken away outside the particle (6 Å edge)."""
    keep = raised_cosine_edge(_distance(sound), 6.0)
    return _halves(sound, second=sound.half_2.data * (1 - np.float32(dose) * (1 - keep)))


# --------------------------------------------------------------------------- halves that were filtered


def low_passed(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: Å at which a cosine edge two Fourier voxels wide begins."""
    px = sound.half_1.pixel_size
    return _both(sound, lambda half: low_pass(half, px, 1.0 / dose, 2.0 / (max(half.shape) * px)))


def sharpened(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: Å² of B undone, up to Nyquist; in the corners beyond, as much as there."""
    grid = np.minimum(frequency_grid(sound.half_1.shape, sound.half_1.pixel_size), sound.half_1.nyquist)
    gain = np.exp(dose * grid**2 / 4).astype(np.float32)
    return _both(sound, lambda half: irfftn(rfftn(half) * gain, half.shape))


def filtered_differently(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: Å² of B by which the second half is blurred more than the first."""
    return _halves(sound, second=Transfer(dose).apply(sound.half_2).data)


def weighted_differently(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: power to which the figure of merit sqrt(2 FSC / (1 + FSC)) is taken, on the second half only."""
    curve = np.clip(sound.truth.fsc, 1e-4, 1.0)
    merit = np.sqrt(2 * curve / (1 + curve)) ** dose
    weight = np.interp(frequency_grid(sound.half_2.shape, sound.half_2.pixel_size), sound.truth.frequency, merit)
    transform = rfftn(sound.half_2.data) * weight.astype(np.float32)
    return _halves(sound, second=irfftn(transform, sound.half_2.shape))


def denoised(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: threshold in standard deviations of the noise, of soft thresholding of wavelets at three scales."""
    sigma = float(np.std(sound.half_1.data - sound.half_2.data, dtype=np.float64)) * np.sqrt(0.5)
    return _both(sound, lambda half: _wavelet_shrunk(half, dose * sigma))


def locally_enhanced(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: share of an enhanced copy in each half; it keeps of each voxel what its surroundings hold above noise."""
    sigma_2 = float(np.var(sound.half_1.data - sound.half_2.data, dtype=np.float64)) * 0.5

    def enhanced(half: NDArray[np.float32]) -> NDArray:
        local = scipy.ndimage.uniform_filter(half * half, 5, mode="wrap")
        gain = np.maximum(local - 1.2 * sigma_2, 0.0) / np.maximum(local, 1e-30)
        return half * (1 - np.float32(dose) * (1 - gain))

    return _both(sound, enhanced)


def _wavelet_shrunk(data: NDArray[np.float32], threshold: float, scales: int = 3) -> NDArray[np.float32]:
    """Soft thresholding of undecimated wavelets: differences of ever wider smoothings, each by its own noise."""
    kept, smooth = np.zeros_like(data), data
    for scale in range(scales):
        sigma = 0.8 * 2.0**scale
        wider = scipy.ndimage.gaussian_filter(data, sigma, mode="wrap")
        detail = smooth - wider
        # What white noise of unit variance leaves in this difference.
        impulse = np.zeros((33, 33, 33), np.float32)
        impulse[16, 16, 16] = 1
        before = impulse if scale == 0 else scipy.ndimage.gaussian_filter(impulse, sigma / 2)
        gain = float(np.sqrt(((before - scipy.ndimage.gaussian_filter(impulse, sigma)) ** 2).sum()))
        limit = np.float32(threshold * gain)
        kept += np.sign(detail) * np.maximum(np.abs(detail) - limit, 0)
        smooth = wider
    return kept + smooth


def resampled(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: by how much finer the grid is than the one of the reconstruction; the transform was padded with zeros."""
    shape = sound.half_1.shape

    def padded(half: NDArray[np.float32]) -> NDArray:
        keep = np.ones((shape[0], shape[1], shape[2] // 2 + 1), np.float32)
        for axis, f in enumerate(axis_frequencies(shape, 1.0)):
            keep *= (np.abs(f) <= 0.5 / dose).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        return irfftn(rfftn(half) * keep, shape)

    return _both(sound, padded)


def interpolated(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: by how much finer the grid is than the one of the reconstruction, from which cubic splines led over."""
    shape = sound.half_1.shape
    coarse = tuple(2 * round(n / dose / 2) for n in shape)

    def finer(half: NDArray[np.float32]) -> NDArray:
        small = fourier_resize(half, (coarse[0], coarse[1], coarse[2]))
        for axis, (n, m) in enumerate(zip(shape, coarse, strict=True)):
            where = np.arange(n) * (m / n)
            lead = np.moveaxis(small, axis, 0)
            coefficients = scipy.ndimage.spline_filter1d(lead, 3, axis=0, mode="grid-wrap")
            base = np.floor(where).astype(int)
            t = (where - base)[:, None, None]
            weights = (
                (1 - t) ** 3 / 6,
                (3 * t**3 - 6 * t**2 + 4) / 6,
                (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
                t**3 / 6,
            )
            fine = sum(w * coefficients[(base + k - 1) % m] for k, w in enumerate(weights))
            small = np.moveaxis(np.asarray(fine, np.float32), 0, axis)
        return small

    return _both(sound, finer)


# --------------------------------------------------------------------------- halves that do not belong together


def shifted_half(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: voxels by which the second half is moved, in a random direction."""
    direction = rng.standard_normal(3)
    z, y, x = dose * direction / np.linalg.norm(direction)
    return _halves(sound, second=shift_density(sound.half_2.data, (float(z), float(y), float(x))))


def mirrored_half(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: 1 the second half is mirrored along x, 2 it is read backwards along z, 3 its axes x and z are exchanged."""
    data = sound.half_2.data
    if dose == 1:
        return _halves(sound, second=mirror_density(data))
    return _halves(sound, second=data[::-1] if dose == 2 else np.swapaxes(data, 0, 2))


def turned_half(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: quarter turns of the second half about z."""
    return _halves(sound, second=np.rot90(sound.half_2.data, round(dose), axes=(1, 2)))


def other_half(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: share of another molecule in the signal of the second half."""
    signal = raw_signal(sound)
    other = other_signal(sound, rng)
    return _halves(sound, second=sound.half_2.data + np.float32(dose) * (other - signal))


def other_signal(sound: SimulatedMap, rng: np.random.Generator) -> NDArray[np.float32]:
    """The density of another molecule of about the same size, as raw as the half maps."""
    residues = max(60, round(sound.model.residue_count / 2))
    other = ideal_protein(residues=residues, subunits=2, seed=int(rng.integers(1, 10**6)))
    density = simulate_density(
        other, sound.half_2.shape, sound.half_2.pixel_size, origin=sound.half_2.origin, solvent=sound.truth.solvent
    )
    return Transfer(sound.truth.raw_b_factor).apply(density).data


def scaled_half(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: factor on the greys of the second half; negative inverts its contrast."""
    return _halves(sound, second=sound.half_2.data * np.float32(dose))


def map_of_other_halves(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: share of the map's noise, as an amplitude, that is not that of the halves; the signal is theirs."""
    signal = raw_signal(sound)
    own = (sound.half_1.data + sound.half_2.data) * np.float32(0.5) - signal
    other = fresh_noise(sound, rng) * np.float32(np.sqrt(0.5))
    keep = 1.0 - dose
    return _with_map(sound, signal + np.float32(keep) * own + np.float32(np.sqrt(1.0 - keep**2)) * other)


def map_of_other_molecule(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: share of another molecule in the signal of the map."""
    mean = (sound.half_1.data + sound.half_2.data) * np.float32(0.5)
    return _with_map(sound, mean + np.float32(dose) * (other_signal(sound, rng) - raw_signal(sound)))


def map_reoriented(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: 1 the map is mirrored along x, 2 it is read backwards along z, 3 its axes x and z are exchanged."""
    data = sound.density_map.data
    changed = {1: mirror_density, 2: lambda d: d[::-1], 3: lambda d: np.swapaxes(d, 0, 2)}[round(dose)](data)
    return replace(sound, density_map=replace(sound.density_map, data=np.ascontiguousarray(changed)))


def _with_map(sound: SimulatedMap, raw: NDArray) -> SimulatedMap:
    """The map that the processing of the deposited one makes of a raw density."""
    truth = sound.truth
    processing = Transfer(truth.transfer.b_factor - truth.raw_b_factor, truth.transfer.resolution, truth.transfer.edge)
    return replace(sound, density_map=processing.apply(replace(sound.density_map, data=np.asarray(raw, np.float32))))


HALF_MAP_DEFECTS: tuple[HalfMapDefect, ...] = (
    HalfMapDefect(
        "same_file_twice", "uploaded one file twice", "factor on the greys of the copy", (1.0, 3.0, 0.1),
        "distinct_noise", same_file_twice,
    ),
    HalfMapDefect(
        "half_is_the_map", "uploaded the full map in place of a half, or a half as the map",
        "1 half 2 is the mean, 2 half 2 is the map, 3 the map is half 1", (1.0, 2.0, 3.0), "half_in_map",
        half_is_the_map,
    ),
    HalfMapDefect(
        "shared_noise", "refined both halves with some of the particles in common",
        "share of common particles", (0.1, 0.3, 0.6), "noise_correlation", shared_noise,
    ),
    HalfMapDefect(
        "hard_masked", "multiplied both halves by a binary mask", "Å from the particle to the mask's edge",
        (10.0, 5.0, 0.0), "noise_removed", hard_masked,
    ),
    HalfMapDefect(
        "soft_masked", "multiplied both halves by the soft mask of the refinement", "Å, width of the mask's edge",
        (16.0, 8.0, 4.0), "noise_removed", soft_masked,
    ),
    HalfMapDefect(
        "one_half_flattened", "flattened the solvent of one half", "share of the solvent's density that is gone",
        (0.5, 0.8, 1.0), "solvent_ratio", one_half_flattened,
    ),
    HalfMapDefect(
        "low_passed", "low-passed both halves before depositing them", "Å", (4.0, 5.0, 8.0), "noise_end", low_passed,
    ),
    HalfMapDefect(
        "sharpened", "sharpened both halves", "Å² of B undone", (50.0, 100.0, 150.0), "noise_rise", sharpened,
    ),
    HalfMapDefect(
        "filtered_differently", "sharpened or blurred one of the halves", "Å² of B between the halves",
        (30.0, 60.0, 120.0), "filter_ratio", filtered_differently,
    ),
    HalfMapDefect(
        "weighted_differently", "weighted one of the halves by its figure of merit",
        "power of the figure of merit", (1.0, 2.0, 4.0), "filter_ratio", weighted_differently,
    ),
    HalfMapDefect(
        "denoised", "denoised both halves by shrinking wavelets", "threshold in noise sigma",
        (1.0, 2.0, 3.0), "noise_flatness", denoised,
    ),
    HalfMapDefect(
        "locally_enhanced", "ran both halves through a program that suppresses noise where signal is weak",
        "share of the enhanced map in each half", (0.6, 0.8, 1.0), "noise_removed", locally_enhanced,
    ),
    HalfMapDefect(
        "resampled", "padded the transforms of both halves to a finer grid", "finer by this factor",
        (1.25, 1.5, 2.0), "noise_end", resampled,
    ),
    HalfMapDefect(
        "interpolated", "interpolated both halves to a finer grid", "finer by this factor", (1.5, 1.75, 2.0),
        "noise_end", interpolated,
    ),
    HalfMapDefect(
        "shifted_half", "re-centred one of the halves", "voxels", (0.5, 1.0, 3.0), "half_shift", shifted_half,
    ),
    HalfMapDefect(
        "mirrored_half", "flipped the hand of one half, or wrote its axes in another order",
        "1 mirrored along x, 2 z reversed, 3 x and z exchanged", (1.0, 2.0, 3.0), "half_mirrored", mirrored_half,
    ),
    HalfMapDefect(
        "turned_half", "turned one of the halves", "quarter turns about z", (1.0, 2.0, 3.0), "half_turned", turned_half,
    ),
    HalfMapDefect(
        "other_half", "uploaded a half map of something else", "share of another molecule in half 2",
        (0.8, 0.9, 1.0), "half_agreement", other_half,
    ),
    HalfMapDefect(
        "scaled_half", "normalised the halves apart, or inverted one", "factor on the greys of half 2",
        (0.5, 2.0, -1.0), "half_scale", scaled_half,
    ),
    HalfMapDefect(
        "map_of_other_halves", "uploaded a map that was not made from these halves",
        "share of the map's noise that is of other data", (0.9, 0.95, 1.0), "map_noise", map_of_other_halves,
    ),
    HalfMapDefect(
        "map_of_other_molecule", "uploaded the half maps of another entry",
        "share of another molecule in the map", (0.8, 0.9, 1.0), "map_agreement", map_of_other_molecule,
    ),
    HalfMapDefect(
        "map_reoriented", "flipped the hand of the map and not of its halves",
        "1 mirrored along x, 2 z reversed, 3 x and z exchanged", (1.0, 2.0, 3.0), "map_mirrored", map_reoriented,
    ),
)  # fmt: skip


def half_map_defect(name: str) -> HalfMapDefect:
    """The defect of that name. Raises KeyError with the known names."""
    for entry in HALF_MAP_DEFECTS:
        if entry.name == name:
            return entry
    raise KeyError(f"no defect is called {name!r}; known are {', '.join(entry.name for entry in HALF_MAP_DEFECTS)}")


# --------------------------------------------------------------------------- what is no fault


def in_sphere(sound: SimulatedMap, share: float, edge: float) -> SimulatedMap:
    """Both halves in a sphere about the box centre. share: of the inscribed sphere's radius. edge: Å, cosine."""
    radius = share * min(sound.half_1.extent) / 2
    mask = raised_cosine_edge((_radius(sound.half_1) - np.float32(radius - edge)).astype(np.float32), edge)
    return _both(sound, lambda half: half * mask)


def fading(sound: SimulatedMap, width: float) -> SimulatedMap:
    """Both halves fade to the corners as a Gaussian of `width` (share of half the shortest edge) in radius."""
    radius = _radius(sound.half_1) / (min(sound.half_1.extent) / 2)
    weight = np.exp(-0.5 * np.maximum(radius - 0.8, 0.0) ** 2 / width**2).astype(np.float32)
    return _both(sound, lambda half: half * weight)


def without_corners(sound: SimulatedMap) -> SimulatedMap:
    """Nothing beyond the sphere of Nyquist, as programs that reconstruct in Fourier space leave it."""
    grid = frequency_grid(sound.half_1.shape, sound.half_1.pixel_size)
    keep = (grid <= sound.half_1.nyquist).astype(np.float32)
    return _both(sound, lambda half: irfftn(rfftn(half) * keep, half.shape))


def gridded(sound: SimulatedMap, strength: float) -> SimulatedMap:
    """Both halves weakened towards Nyquist as sinc(f / 2 f_Nyquist) to the power of `strength`."""
    grid = frequency_grid(sound.half_1.shape, sound.half_1.pixel_size)
    gain = (np.sinc(0.5 * np.minimum(grid / sound.half_1.nyquist, 1.75)) ** strength).astype(np.float32)
    return _both(sound, lambda half: irfftn(rfftn(half) * gain, half.shape))


def unequal(sound: SimulatedMap, share: float) -> SimulatedMap:
    """The first half has `share` of the particles (0.5 is even): its noise is weaker, the other's stronger."""
    signal = raw_signal(sound)
    first = signal + (sound.half_1.data - signal) * np.float32(np.sqrt(0.5 / share))
    second = signal + (sound.half_2.data - signal) * np.float32(np.sqrt(0.5 / (1 - share)))
    return _halves(sound, first, second)


def averaged(sound: SimulatedMap, rotations: int, dihedral: bool) -> SimulatedMap:
    """Noise averaged over C2, C4, D2 or D4 about the box centre, whose quarter turns need no interpolation.

    The signal should have the symmetry already. Boxes are cubes.
    """
    signal = raw_signal(sound)

    def over(noise: NDArray[np.float32]) -> NDArray[np.float32]:
        total = np.zeros_like(noise)
        for k in range(rotations):
            total += _about_centre(np.rot90(noise, k * 4 // rotations, axes=(1, 2)), k * 4 // rotations)
        if dihedral:
            total = total + _reversed_about_centre(total, (0, 1))
        return total / np.float32(np.sqrt(rotations * (2 if dihedral else 1)))

    return _both(sound, lambda half: signal + over(half - signal))


def _about_centre(turned: NDArray, quarters: int) -> NDArray:
    """np.rot90 turns about the middle of the box; on even boxes the centre voxel is n // 2."""
    n = turned.shape[1]
    if n % 2:
        return turned
    y, x = {0: (0, 0), 1: (1, 0), 2: (1, 1), 3: (0, 1)}[quarters % 4]
    return np.roll(turned, (y, x), axis=(1, 2))


def _reversed_about_centre(data: NDArray, axes: tuple[int, int]) -> NDArray:
    flipped = np.flip(data, axes)
    return np.roll(flipped, [1 if data.shape[a] % 2 == 0 else 0 for a in axes], axis=axes)
