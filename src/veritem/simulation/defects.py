"""Faults planted in sound data, each with a dose: what the checks must notice, and from which dose on.

`DEFECTS` is the table. A planted fault is a pure function of the sound map, the dose and a seed; a dose of 0 (for
`wrong_contour`: 1) returns the map as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from veritem.numerics.density_map import DensityMap
from veritem.numerics.distance import signed_distance
from veritem.numerics.fourier import axis_frequencies, frequency_grid, irfftn, rfftn, shifted_transform
from veritem.simulation.half_maps import SimulatedMap, Transfer
from veritem.simulation.models import AtomicModel
from veritem.simulation.noise import white_noise
from veritem.simulation.phantoms import enclosing_level, simulate_density, two_domain

Plant = Callable[[SimulatedMap, float, np.random.Generator], SimulatedMap]


@dataclass(frozen=True)
class Defect:
    """A fault that can be planted.

    name: stable identifier. cause: what a user did to get it. dose: what the number means, with its unit.
    doses: a sweep from harmless to gross. check: code of the check that should notice.
    outcome: what that check should say of a gross dose.
    """

    name: str
    cause: str
    dose: str
    doses: tuple[float, ...]
    check: str
    plant: Plant
    outcome: str = "warning"

    def __call__(self, sound: SimulatedMap, dose: float, seed: int = 0) -> SimulatedMap:
        return self.plant(sound, dose, np.random.default_rng(seed))


# --------------------------------------------------------------------------- on arrays


def shift_density(data: NDArray, shift: tuple[float, float, float], threads: int = 1) -> NDArray[np.float32]:
    """Move a periodic density by (z, y, x) voxels. Whole voxels are moved exactly, fractions by Fourier phases.

    On the Nyquist plane of an even axis the phase is replaced by its cosine: the coefficient there must stay real.
    """
    if all(float(s).is_integer() for s in shift):
        whole = int(shift[0]), int(shift[1]), int(shift[2])
        return np.roll(np.asarray(data, np.float32), whole, axis=(0, 1, 2))
    shape = data.shape
    return irfftn(shifted_transform(rfftn(data, threads), shape, shift), shape, threads)


def mirror_density(data: NDArray) -> NDArray:
    """Mirror along x about the centre voxel n // 2. On an even axis voxel 0 has no partner and stays."""
    flipped = data[:, :, ::-1]
    return np.roll(flipped, 1, axis=2) if data.shape[2] % 2 == 0 else np.ascontiguousarray(flipped)


def distance_outside(mask: NDArray[np.bool_], pixel_size: float) -> NDArray[np.float32]:
    """Å from each voxel to the mask; 0 inside, 40 where it is farther."""
    return np.maximum(signed_distance(mask, pixel_size, 40.0), 0.0)


def contrast(sound: SimulatedMap) -> float:
    """Mean density of the molecule above the median of the background."""
    data = sound.density_map.data
    return float(data[sound.truth.molecule].mean(dtype=np.float64) - np.median(data[~sound.truth.mask]))


# --------------------------------------------------------------------------- 0.a centring and free space


def off_centre(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: share of the box edge by which the particle sits off along x, to the nearest voxel."""
    return _moved(sound, (0, 0, round(dose * sound.density_map.shape[2])))


def clipped_particle(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: share of the molecule's volume that lies beyond the box along x; it is lost, the noise stays."""
    if dose <= 0:
        return sound
    profile = sound.truth.molecule.sum(axis=(0, 1), dtype=np.float64)
    lost = np.cumsum(profile[::-1]) / profile.sum()  # lost[k]: volume in the last k + 1 slices
    steps = int(np.searchsorted(lost, dose)) + 1
    moved = _moved(sound, (0, 0, steps))
    signal = moved.truth.signal.data.copy()
    data = moved.density_map.data.copy()
    data[:, :, :steps] -= signal[:, :, :steps]
    signal[:, :, :steps] = 0
    molecule, mask = moved.truth.molecule.copy(), moved.truth.mask.copy()
    molecule[:, :, :steps] = mask[:, :, :steps] = False
    truth = replace(moved.truth, signal=replace(moved.truth.signal, data=signal), molecule=molecule, mask=mask)
    return replace(moved, density_map=replace(moved.density_map, data=data), truth=truth)


def tight_box(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: share of the free space that is cut off on every side; 1 leaves the box at the molecule's edge."""
    shape = sound.density_map.shape
    window = []
    for axis, n in enumerate(shape):
        occupied = np.flatnonzero(sound.truth.molecule.any(axis=tuple(a for a in range(3) if a != axis)))
        # The same number of voxels on both sides keeps the centre voxel at n // 2.
        cut = int(dose * min(occupied[0], n - 1 - occupied[-1]))
        window.append(slice(cut, n - cut))
    return _windowed(sound, (window[0], window[1], window[2]))


# --------------------------------------------------------------------------- 0.b mask


def dust(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: number of round blobs of 5 Å radius at contour level, 8 Å or more away from the molecule."""
    px = sound.density_map.pixel_size
    free = np.argwhere(distance_outside(sound.truth.mask, px) > 8.0)
    if dose < 1 or not len(free):
        return sound
    centres = free[rng.choice(len(free), size=min(int(dose), len(free)), replace=False)]
    data = sound.density_map.data.copy()
    reach = int(np.ceil(8.0 / px))
    # A Gaussian that falls through the contour level at 5 Å.
    height, sigma = 3.0 * max(sound.truth.contour_level, 4 * sound.truth.noise_sigma), 5.0 / np.sqrt(2 * np.log(3.0))
    for centre in centres:
        low = np.maximum(centre - reach, 0)
        high = np.minimum(centre + reach + 1, data.shape)
        z, y, x = (np.arange(a, b) - c for a, b, c in zip(low, high, centre, strict=True))
        squared = (z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2) * px**2
        data[low[0] : high[0], low[1] : high[1], low[2] : high[2]] += height * np.exp(-squared / (2 * sigma**2))
    return _with_data(sound, data)


def wrong_contour(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: the given contour level as a multiple of the right one."""
    return replace(sound, truth=replace(sound.truth, contour_level=dose * sound.truth.contour_level))


# --------------------------------------------------------------------------- 0.c background


def background_offset(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: constant added to the whole map, as a share of the molecule's contrast; the contour level moves with it."""
    offset = dose * contrast(sound)
    changed = _with_data(sound, sound.density_map.data + np.float32(offset))
    return replace(changed, truth=replace(changed.truth, contour_level=changed.truth.contour_level + offset))


def dark_halo(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: depth as a share of the molecule's contrast, full from 4 to 15 Å off the molecule, gone at 25 Å."""
    distance = distance_outside(sound.truth.molecule, sound.density_map.pixel_size)
    rise = np.clip(distance / 4.0, 0, 1)
    fall = np.clip((25.0 - distance) / 10.0, 0, 1)
    weight = (0.5 - 0.5 * np.cos(np.pi * rise)) * (0.5 - 0.5 * np.cos(np.pi * fall))
    depth = np.float32(dose * contrast(sound))
    return _with_data(sound, sound.density_map.data - depth * weight.astype(np.float32))


def hot_voxels(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: number of single background voxels raised by 8 noise sigma."""
    free = np.flatnonzero(distance_outside(sound.truth.mask, sound.density_map.pixel_size) > 8.0)
    data = sound.density_map.data.copy()
    chosen = rng.choice(free, size=min(int(dose), len(free)), replace=False)
    data.ravel()[chosen] += np.float32(8.0 * sound.truth.noise_sigma)
    return _with_data(sound, data)


def rings(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: amplitude, in noise sigma, of shells about the box centre with a period of 20 Å."""
    radius = _radius(sound.density_map)
    wave = np.cos(2 * np.pi * radius / 20.0) * (radius < min(sound.density_map.extent) / 2)
    return _with_data(sound, sound.density_map.data + np.float32(dose * sound.truth.noise_sigma) * wave)


def streaks(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: variance, in units of the noise's, of extra noise in the Fourier directions within 15 degrees of x."""
    shape, px = sound.density_map.shape, sound.density_map.pixel_size
    _, _, fx = axis_frequencies(shape, px)
    cone = fx[None, None, :] >= np.cos(np.deg2rad(15.0)) * frequency_grid(shape, px)
    transform = rfftn(white_noise(shape, 1.0, rng))
    transform *= cone & _within_band(sound)
    extra = irfftn(transform, shape)
    extra *= np.float32(np.sqrt(max(dose, 0.0)) * sound.truth.noise_sigma / extra.std(dtype=np.float64))
    return _with_data(sound, sound.density_map.data + extra)


def hard_mask(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: share of the space between the box edge and the particle that a sphere sets to zero; 1 touches it."""
    if dose <= 0:
        return sound
    radius = _radius(sound.density_map)
    particle = float(radius[sound.truth.mask].max())
    edge = max(sound.density_map.extent) * np.sqrt(3) / 2
    inside = radius <= edge - dose * (edge - particle)
    return _multiplied(sound, inside.astype(np.float32))


def flattened_solvent(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: share of the density outside the mask (with a 6 Å cosine edge) that is taken away; 1 leaves zeros."""
    distance = distance_outside(sound.truth.mask, sound.density_map.pixel_size)
    soft = 0.5 + 0.5 * np.cos(np.pi * np.clip(distance / 6.0, 0, 1))
    return _multiplied(sound, (1.0 - dose * (1.0 - soft)).astype(np.float32))


# --------------------------------------------------------------------------- 0.d, 0.f, 0.g, 0.h


def oversharpened(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: Å² of B taken off beyond what was right."""
    return _filtered(sound, -dose)


def blurred(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: Å² of B added."""
    return _filtered(sound, dose)


def flexible_domain(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: Å² of B added to one half of the molecule, the half at higher x."""
    _, domains = two_domain(sound.model)
    domain = sound.model.select(domains == 1)
    px, shape, origin = sound.density_map.pixel_size, sound.density_map.shape, sound.density_map.origin
    before, after = (
        simulate_density(domain, shape, px, b_factor=domain.b_factors + extra, origin=origin) for extra in (0.0, dose)
    )
    change = sound.truth.transfer.apply(replace(after, data=after.data - before.data)).data
    b_factors = sound.model.b_factors + dose * (domains == 1)
    return _with_signal(sound, change, replace(sound.model, b_factors=b_factors))


def low_occupancy(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: occupancy that the first chain lacks; of a single chain, the half at lower x."""
    split = "chain" if len(np.unique(sound.model.chains)) > 1 else "plane"
    _, domains = two_domain(sound.model, split)
    absent = sound.model.select(domains == domains.min())
    density = simulate_density(
        absent,
        sound.density_map.shape,
        sound.density_map.pixel_size,
        origin=sound.density_map.origin,
        solvent=sound.truth.solvent,
    )
    change = -np.float32(dose) * sound.truth.transfer.apply(density).data
    occupancies = sound.model.occupancies * np.where(domains == domains.min(), 1.0 - dose, 1.0)
    return _with_signal(sound, change, replace(sound.model, occupancies=occupancies))


def mirrored(sound: SimulatedMap, dose: float, rng: np.random.Generator) -> SimulatedMap:
    """dose: 1 mirrors map, half maps and masks along x; 0 does nothing. The model keeps its hand."""
    if dose == 0:
        return sound
    return _mapped(sound, mirror_density)


# --------------------------------------------------------------------------- the table

DEFECTS: tuple[Defect, ...] = (
    Defect(
        "off_centre",
        "picked or re-extracted particles off their centre, or refined against an off-centre reference",
        "share of the box edge",
        (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3),
        "0.a",
        off_centre,
    ),
    Defect(
        "clipped_particle",
        "extracted particles in a box that the particle leaves on one side",
        "share of the molecule's volume outside the box",
        (0.0, 0.01, 0.05, 0.1, 0.2),
        "0.a",
        clipped_particle,
    ),
    Defect(
        "tight_box",
        "extracted particles in a box with no room for the signal that defocus spreads",
        "share of the free space that is missing",
        (0.0, 0.25, 0.5, 0.75, 1.0),
        "0.a",
        tight_box,
    ),
    Defect(
        "dust",
        "left unattached densities in the map, or aligned on noise",
        "number of blobs",
        (0, 3, 10, 30, 100, 300),
        "0.b",
        dust,
    ),
    Defect(
        "wrong_contour",
        "typed a contour level that belongs to another map or to another scale of the greys",
        "given level as a multiple of the right one",
        (1.0, 0.8, 0.6, 0.4, 0.2, 1.5, 2.0, 3.0),
        "0.b",
        wrong_contour,
    ),
    Defect(
        "background_offset",
        "normalised over the whole box, or saved the map without subtracting the background",
        "share of the molecule's contrast",
        (0.0, 0.001, 0.01, 0.03, 0.1, 0.3),
        "0.c",
        background_offset,
    ),
    Defect(
        "dark_halo",
        "corrected the CTF with too little of the delocalised signal in the box, or with a wrong amplitude contrast",
        "depth as a share of the molecule's contrast",
        (0.0, 0.05, 0.1, 0.2, 0.4),
        "0.c",
        dark_halo,
    ),
    Defect(
        "hot_voxels",
        "left X-ray hits or detector defects in, or damaged the file",
        "number of voxels at 8 sigma",
        (0, 1, 3, 10, 30),
        "0.c",
        hot_voxels,
    ),
    Defect(
        "rings",
        "interpolated in Fourier space without padding, or divided by a CTF near its zeros",
        "amplitude in noise sigma",
        (0.0, 0.1, 0.3, 1.0, 3.0),
        "0.c",
        rings,
    ),
    Defect(
        "streaks",
        "reconstructed from views that crowd about one direction and overfitted the rest",
        "variance in units of the noise's",
        (0.0, 0.1, 0.3, 1.0, 3.0),
        "0.c",
        streaks,
    ),
    Defect(
        "hard_mask",
        "multiplied the map by a binary sphere before depositing it",
        "share of the space outside the particle's sphere that is zero",
        (0.0, 0.25, 0.5, 0.75, 1.0),
        "0.c",
        hard_mask,
        outcome="not applicable",
    ),
    Defect(
        "flattened_solvent",
        "deposited the map after its solvent was flattened",
        "share of the background that is taken away",
        (0.0, 0.3, 0.6, 0.9, 1.0),
        "0.c",
        flattened_solvent,
        outcome="not applicable",
    ),
    Defect(
        "oversharpened",
        "sharpened with a B-factor larger than the decay",
        "Å² beyond the right value",
        (0.0, 30.0, 60.0, 100.0, 150.0, 250.0),
        "0.d",
        oversharpened,
    ),
    Defect(
        "blurred",
        "deposited the map unsharpened, or averaged misaligned particles",
        "Å² added",
        (0.0, 50.0, 100.0, 200.0, 300.0, 500.0),
        "0.d",
        blurred,
    ),
    Defect(
        "flexible_domain",
        "averaged a moving domain into one map",
        "Å² added to half of the molecule",
        (0.0, 50.0, 100.0, 200.0, 400.0),
        "0.f",
        flexible_domain,
    ),
    Defect(
        "low_occupancy",
        "averaged particles of which a part lacks a subunit",
        "occupancy that one subunit lacks",
        (0.0, 0.2, 0.4, 0.6, 0.8),
        "0.g",
        low_occupancy,
    ),
    Defect(
        "mirrored",
        "kept the wrong one of the two hands of the initial model",
        "1: mirrored",
        (0.0, 1.0),
        "0.h",
        mirrored,
    ),
)


def defect(name: str) -> Defect:
    """The defect of that name. Raises KeyError with the known names."""
    for entry in DEFECTS:
        if entry.name == name:
            return entry
    raise KeyError(f"no defect is called {name!r}; known are {', '.join(entry.name for entry in DEFECTS)}")


# --------------------------------------------------------------------------- carrying the truth along


def _with_data(sound: SimulatedMap, data: NDArray) -> SimulatedMap:
    return replace(sound, density_map=replace(sound.density_map, data=np.asarray(data, np.float32)))


def _with_signal(sound: SimulatedMap, change: NDArray[np.float32], model: AtomicModel) -> SimulatedMap:
    """Add `change` to map and signal; the level and the half maps follow."""
    raw = Transfer(sound.truth.raw_b_factor - sound.truth.transfer.b_factor)
    half_change = raw.apply(replace(sound.density_map, data=change)).data
    truth = replace(sound.truth, signal=replace(sound.truth.signal, data=sound.truth.signal.data + change))
    changed = replace(
        sound,
        density_map=replace(sound.density_map, data=sound.density_map.data + change),
        half_1=replace(sound.half_1, data=sound.half_1.data + half_change),
        half_2=replace(sound.half_2, data=sound.half_2.data + half_change),
        model=model,
        truth=truth,
    )
    return _relevelled(changed)


def _filtered(sound: SimulatedMap, b_factor: float) -> SimulatedMap:
    if b_factor == 0:
        return sound
    extra = Transfer(b_factor)
    density_map, signal = extra.apply(sound.density_map), extra.apply(sound.truth.signal)
    transfer = replace(sound.truth.transfer, b_factor=sound.truth.transfer.b_factor + b_factor)
    truth = replace(
        sound.truth,
        b_factor=sound.truth.b_factor + b_factor,
        transfer=transfer,
        signal=signal,
        noise_sigma=float(np.std(density_map.data - signal.data, dtype=np.float64)),
    )
    return _relevelled(replace(sound, density_map=density_map, truth=truth))


def _relevelled(sound: SimulatedMap) -> SimulatedMap:
    """The depositor looks at the changed map and sets the contour level anew."""
    data, truth = sound.density_map.data, sound.truth
    level = enclosing_level(data[truth.mask], sound.density_map.voxel_volume, truth.molecular_weight)
    return replace(sound, truth=replace(truth, contour_level=max(level, 4.0 * truth.noise_sigma)))


def _multiplied(sound: SimulatedMap, weight: NDArray[np.float32]) -> SimulatedMap:
    signal = replace(sound.truth.signal, data=sound.truth.signal.data * weight)
    changed = _with_data(sound, sound.density_map.data * weight)
    return replace(changed, truth=replace(changed.truth, signal=signal))


def _mapped(sound: SimulatedMap, change: Callable[[NDArray], NDArray]) -> SimulatedMap:
    def of(density_map: DensityMap) -> DensityMap:
        return replace(density_map, data=change(density_map.data))

    truth = sound.truth
    return replace(
        sound,
        density_map=of(sound.density_map),
        half_1=of(sound.half_1),
        half_2=of(sound.half_2),
        truth=replace(truth, mask=change(truth.mask), molecule=change(truth.molecule), signal=of(truth.signal)),
    )


def _moved(sound: SimulatedMap, voxels: tuple[int, int, int]) -> SimulatedMap:
    """Move everything by whole voxels; the origin moves back, so that the model still lies in its density."""
    moved = _mapped(sound, lambda data: np.roll(data, voxels, axis=(0, 1, 2)))
    px = sound.density_map.pixel_size
    x, y, z = sound.density_map.origin
    origin = (x - voxels[2] * px, y - voxels[1] * px, z - voxels[0] * px)
    cz, cy, cx = sound.truth.centre
    centre = (cz + voxels[0] * px, cy + voxels[1] * px, cx + voxels[2] * px)
    return _with_origin(replace(moved, truth=replace(moved.truth, centre=centre)), origin)


def _windowed(sound: SimulatedMap, window: tuple[slice, slice, slice]) -> SimulatedMap:
    cropped = _mapped(sound, lambda data: np.ascontiguousarray(data[window]))
    px = sound.density_map.pixel_size
    x, y, z = sound.density_map.origin
    return _with_origin(cropped, (x + window[2].start * px, y + window[1].start * px, z + window[0].start * px))


def _with_origin(sound: SimulatedMap, origin: tuple[float, float, float]) -> SimulatedMap:
    return replace(
        sound,
        density_map=replace(sound.density_map, origin=origin),
        half_1=replace(sound.half_1, origin=origin),
        half_2=replace(sound.half_2, origin=origin),
        truth=replace(sound.truth, signal=replace(sound.truth.signal, origin=origin)),
    )


def _radius(density_map: DensityMap) -> NDArray[np.float32]:
    """Å from the box centre."""
    z, y, x = ((np.arange(n, dtype=np.float32) - n // 2) * density_map.pixel_size for n in density_map.shape)
    return np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2)


def _within_band(sound: SimulatedMap) -> NDArray[np.bool_]:
    """Coefficients that the map's low-pass lets through."""
    grid = frequency_grid(sound.density_map.shape, sound.density_map.pixel_size)
    resolution = sound.truth.transfer.resolution
    return grid <= (1.0 / resolution if resolution else sound.density_map.nyquist)
