"""Maps and half maps as a depositor would send them, with the truth behind them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from veritem.numerics.density_map import DensityMap
from veritem.numerics.distance import dilate
from veritem.numerics.fourier import frequency_grid, irfftn, raised_cosine, rfftn
from veritem.numerics.shells import shell_frequencies, shell_means
from veritem.simulation.models import AtomicModel
from veritem.simulation.noise import (
    CROSSING_DECADES,
    FSC_0143_SSNR,
    Spectrum,
    coloured_noise,
    noise_for_ssnr,
    radial_power,
)
from veritem.simulation.phantoms import enclosing_level, enclosing_mask, simulate_density

if TYPE_CHECKING:
    from veritem.simulation.anisotropy import Anisotropy

Degrade = Callable[[DensityMap], DensityMap]
"""What happens to the signal of both half maps after their noise was scaled for the intact one."""


@dataclass(frozen=True)
class Transfer:
    """What was done to the signal in Fourier space: exp(-b_factor f² / 4), then a low-pass.

    b_factor: Å², negative sharpens. resolution: Å, None for no low-pass. edge: width of its raised cosine, 1/Å.
    """

    b_factor: float = 0.0
    resolution: float | None = None
    edge: float = 0.02

    def __call__(self, frequency: NDArray) -> NDArray[np.float32]:
        gain = np.exp(-self.b_factor * np.asarray(frequency, np.float32) ** 2 / 4)
        if self.resolution is not None:
            gain = gain * raised_cosine(frequency, 1.0 / self.resolution, self.edge)
        return gain.astype(np.float32)

    def apply(self, density_map: DensityMap, threads: int = 1) -> DensityMap:
        transform = rfftn(density_map.data, threads)
        transform *= self(frequency_grid(density_map.shape, density_map.pixel_size))
        return replace(density_map, data=irfftn(transform, density_map.shape, threads))


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known about a simulated map.

    resolution: Å, where the expected FSC of the half maps inside `mask` falls to 0.143; None without noise.
    unmasked_resolution: Å, the same for the whole box.
    b_factor: Å², net blur of the map beyond the model's own atomic B (negative: sharpened).
    model_b_factor: Å², occupancy-weighted mean of the atomic B as simulated.
    centre: z, y, x in Å of the model's centre of mass from the box centre.
    contour_level: as a depositor sets it: the level that encloses the molecular volume inside `mask`, or four times
        `noise_sigma` where that is higher, so that the surface shows no noise.
    molecular_weight: Da.
    noise_sigma: standard deviation of the noise in the map.
    mask: (nz, ny, nx) bool, the noise-free density's molecular volume and a margin of about 3 Å.
    molecule: the same without margin: its volume is the molecular volume.
    frequency, fsc: expected FSC of the half maps inside `mask`, per shell.
    signal: the noise-free map after the same processing.
    transfer: what the processing did to the signal of the model. raw_b_factor: Å², the half maps' blur beyond atomic B.
    solvent: V, see `simulate_density`.
    seed: of the noise.
    ssnr: of a half map inside `mask`, per shell, of the intact signal; None without noise.
    anisotropy, degrade: what was planted, if anything; see `simulate_half_maps`.
    """

    resolution: float | None
    unmasked_resolution: float | None
    b_factor: float
    model_b_factor: float
    centre: tuple[float, float, float]
    contour_level: float
    molecular_weight: float
    noise_sigma: float
    mask: NDArray[np.bool_]
    molecule: NDArray[np.bool_]
    frequency: NDArray[np.float64]
    fsc: NDArray[np.float64]
    signal: DensityMap
    transfer: Transfer
    raw_b_factor: float
    solvent: float
    seed: int
    ssnr: NDArray[np.float64] | None = None
    anisotropy: Anisotropy | None = None
    degrade: Degrade | None = None


@dataclass(frozen=True, eq=False)
class SimulatedMap:
    """A map as deposited, the half maps behind it, the model in its frame with the B and occupancy used, the truth."""

    density_map: DensityMap
    half_1: DensityMap
    half_2: DensityMap
    model: AtomicModel
    truth: Truth


def simulate_map(
    model: AtomicModel,
    shape: int | tuple[int, int, int],
    pixel_size: float,
    resolution: float | None = 3.2,
    b_factor: float = 150.0,
    sharpen: float = 90.0,
    atomic_b_factor: float | ArrayLike | None = None,
    occupancy: float | ArrayLike | None = None,
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ssnr_width: float | None = None,
    noise: Spectrum | None = None,
    low_pass: bool = True,
    mask: NDArray | None = None,
    solvent: float = 3.0,
    seed: int = 0,
    threads: int = 1,
    anisotropy: Anisotropy | None = None,
    degrade: Degrade | None = None,
) -> SimulatedMap:
    """The map that a depositor would send: the mean of two noisy half maps, sharpened and low-passed.

    shape, pixel_size, centre, solvent: see `simulate_density`. Vitreous ice has about 4.5 V; the default is lower by
        what the hydrogens that models leave out would add to the protein.
    resolution: Å at which the half maps' FSC inside the true mask falls to 0.143. None: no noise.
    b_factor: Å², imaging blur on top of the atoms' own B.
    sharpen: Å², undone on the final map; the half maps stay raw.
    atomic_b_factor, occupancy: replace the model's own.
    ssnr_width: None gives the noise the spectrum `noise` (its scale is solved for; default flat). A number w (1/Å per
        decade) instead gives the half maps a log-linear SSNR, and the noise the colour that this needs.
    low_pass: cut the final map at `resolution` with a raised-cosine edge two Fourier voxels wide.
    mask: (nz, ny, nx) in [0, 1], multiplies the final map, as some programs do before deposition.
    anisotropy, degrade: see `simulate_half_maps`.
    """
    if atomic_b_factor is not None:
        model = replace(model, b_factors=np.broadcast_to(np.asarray(atomic_b_factor, np.float64), len(model)).copy())
    if occupancy is not None:
        model = replace(model, occupancies=np.broadcast_to(np.asarray(occupancy, np.float64), len(model)).copy())
    clean = simulate_density(model, shape, pixel_size, centre=centre, solvent=solvent, threads=threads)
    molecule = enclosing_mask(clean, model.molecular_weight, threads=threads)
    margin = dilate(molecule, 3.0 / pixel_size, threads)
    raw = Transfer(b_factor).apply(clean, threads)
    half_1, half_2, expected = simulate_half_maps(
        raw, resolution, mask=margin, ssnr_width=ssnr_width, noise=noise, seed=seed, threads=threads,
        anisotropy=anisotropy, degrade=degrade,
    )  # fmt: skip
    if degrade is not None:
        raw = degrade(raw)
    edge = 2.0 / (max(clean.shape) * pixel_size)
    processing = Transfer(-sharpen, resolution if low_pass else None, edge)
    mean = replace(clean, data=(half_1.data + half_2.data) * np.float32(0.5))
    final = processing.apply(mean, threads)
    signal = processing.apply(raw, threads)
    noise_sigma = float(np.std(final.data - signal.data, dtype=np.float64))
    if mask is not None:
        weight = np.asarray(mask, np.float32)
        final, signal = (replace(m, data=m.data * weight) for m in (final, signal))
    level = enclosing_level(final.data[margin], clean.voxel_volume, model.molecular_weight)
    level = max(level, 4.0 * noise_sigma)
    weights = model.occupancies * model.masses
    truth = Truth(
        resolution=expected.resolution,
        unmasked_resolution=expected.unmasked_resolution,
        b_factor=b_factor - sharpen,
        model_b_factor=float(weights @ model.b_factors / weights.sum()),
        centre=centre,
        contour_level=level,
        molecular_weight=model.molecular_weight,
        noise_sigma=noise_sigma,
        mask=margin,
        molecule=molecule,
        frequency=expected.frequency,
        fsc=expected.fsc,
        signal=signal,
        transfer=Transfer(b_factor - sharpen, processing.resolution, edge),
        raw_b_factor=b_factor,
        solvent=solvent,
        seed=seed,
        ssnr=expected.ssnr,
        anisotropy=anisotropy,
        degrade=degrade,
    )
    return SimulatedMap(final, half_1, half_2, model, truth)


@dataclass(frozen=True, eq=False)
class ExpectedFsc:
    """The half maps' expected FSC, per shell, inside the mask and over the whole box, and their 0.143 crossings.

    ssnr: (shells,) of a half map inside the mask: the intact signal's power over the noise's, each averaged over the
        shell; None without noise. anisotropy, degrade: what was planted, if anything.
    """

    frequency: NDArray[np.float64]
    fsc: NDArray[np.float64]
    unmasked_fsc: NDArray[np.float64]
    resolution: float | None
    unmasked_resolution: float | None
    ssnr: NDArray[np.float64] | None = None
    anisotropy: Anisotropy | None = None
    degrade: Degrade | None = None


def simulate_half_maps(
    signal: DensityMap,
    resolution: float | None,
    mask: NDArray | None = None,
    ssnr_width: float | None = None,
    noise: Spectrum | None = None,
    seed: int = 0,
    threads: int = 1,
    anisotropy: Anisotropy | None = None,
    degrade: Degrade | None = None,
) -> tuple[DensityMap, DensityMap, ExpectedFsc]:
    """Two half maps: the signal, each with independent noise.

    resolution: Å at which the expected FSC falls to 0.143 inside `mask`; None adds no noise.
    mask: (nz, ny, nx) in [0, 1] that holds the whole signal. Inside it the signal keeps its power and the noise the
        share mean(mask²) of it, so the masked FSC reaches further than the whole box's. None: the whole box.
    ssnr_width: w in 1/Å per decade: log10 SSNR = (f0 - f) / w with f0 = 1 / resolution - 0.778 w. None: the noise has
        the spectrum `noise` (default flat), scaled so that the FSC crosses 0.143 first at `resolution`.
    anisotropy: the noise's power by direction; its mean over a shell stays what it is without.
    degrade: what is done to the signal of both halves, e.g. `MissingCone`, after the noise was scaled for the intact
        signal. The expected FSC and its crossings are then those of the degraded signal, and may lie elsewhere.
    """
    shape, pixel_size = signal.shape, signal.pixel_size
    frequency = shell_frequencies(shape, pixel_size)
    seen = signal if degrade is None else degrade(signal)
    if resolution is None:
        ones = np.ones(len(frequency))
        expected = ExpectedFsc(frequency, ones, ones, None, None, anisotropy=anisotropy, degrade=degrade)
        return seen, seen, expected
    if not 2.0 * pixel_size <= resolution:
        raise ValueError(f"resolution {resolution} Å lies beyond Nyquist, {2 * pixel_size} Å; use finer voxels")
    fraction = 1.0 if mask is None else float(np.mean(np.square(mask, dtype=np.float64)))
    signal_power = radial_power(signal.data, threads)
    if ssnr_width is not None:
        f0 = 1.0 / resolution - CROSSING_DECADES * ssnr_width
        spectrum, _ = noise_for_ssnr(signal.data, pixel_size, f0, ssnr_width, fraction, threads)
        noise_power = spectrum(frequency.astype(np.float32)).astype(np.float64)
    else:
        shape_of_noise = noise if noise is not None else np.ones_like
        relative = _shell_average(shape_of_noise, shape, pixel_size)
        scale = _noise_scale(frequency, signal_power / (relative * fraction), resolution)
        noise_power = relative * scale

        def spectrum(f: NDArray[np.float32]) -> NDArray:
            return shape_of_noise(f) * np.float32(scale)

    generators = np.random.default_rng(seed).spawn(2)
    directional = spectrum
    if anisotropy is not None:
        by_direction = anisotropy.noise_grid(shape)

        def directional(f: NDArray[np.float32]) -> NDArray:
            return spectrum(f) * by_direction

    halves = [
        replace(signal, data=seen.data + coloured_noise(shape, pixel_size, directional, rng, threads))
        for rng in generators
    ]
    intact = signal_power / noise_power / fraction
    ssnr = (signal_power if degrade is None else radial_power(seen.data, threads)) / noise_power
    masked, unmasked = (s / (1 + s) for s in (ssnr / fraction, ssnr))
    expected = ExpectedFsc(
        frequency, masked, unmasked, first_crossing(frequency, masked), first_crossing(frequency, unmasked), intact,
        anisotropy, degrade,
    )  # fmt: skip
    return halves[0], halves[1], expected


def first_crossing(frequency: NDArray, fsc: NDArray, threshold: float = 0.143) -> float | None:
    """Resolution in Å where a curve first falls below `threshold`, interpolated between shells; shell 0 is ignored."""
    below = np.flatnonzero(fsc[1:] < threshold)
    if not len(below):
        return None
    k = int(below[0]) + 1
    if k == 1:
        return float(1.0 / frequency[1])
    share = (fsc[k - 1] - threshold) / (fsc[k - 1] - fsc[k])
    return float(1.0 / (frequency[k - 1] + share * (frequency[k] - frequency[k - 1])))


def _shell_average(spectrum: Spectrum, shape: tuple[int, int, int], pixel_size: float) -> NDArray[np.float64]:
    values = np.asarray(spectrum(frequency_grid(shape, pixel_size)), np.float32)
    mean, _, _ = shell_means(np.broadcast_to(values, (*shape[:2], shape[2] // 2 + 1)), shape)
    return mean


def _noise_scale(frequency: NDArray, ssnr_at_unit_noise: NDArray, resolution: float) -> float:
    """The factor on the noise for which the FSC first crosses 0.143 at `resolution`.

    The first crossing moves monotonically with the factor but may jump over a dip of the signal; the nearest
    reachable value below or at the target is what bisection ends on, and the truth records what was reached.
    """
    at = float(np.interp(1.0 / resolution, frequency, ssnr_at_unit_noise))
    low, high = at / FSC_0143_SSNR / 1e4, at / FSC_0143_SSNR * 1e4
    for _ in range(80):
        middle = np.sqrt(low * high)
        ssnr = ssnr_at_unit_noise / middle
        reached = first_crossing(frequency, ssnr / (1 + ssnr))
        # No crossing or a finer one: more noise is needed.
        low, high = (middle, high) if reached is None or reached < resolution else (low, middle)
    return float(np.sqrt(low * high))
