"""The band bank: local power of the map in bands of frequency, inside the particle, on a grid just fine enough."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label, map_coordinates

from veritem.derived.noise import NoiseRegion
from veritem.derived.registry import derived
from veritem.derived.spectra import MeasuredNoise, bounding_slices, outside_level
from veritem.errors import NotApplicable
from veritem.numerics.bands import (
    Band,
    cut_part,
    degrees_of_freedom,
    local_band_powers,
    plan_resampling,
)
from veritem.numerics.density_map import DensityMap
from veritem.numerics.fourier import gaussian_filter, rfftn
from veritem.numerics.guinier import ReferenceSpectrum
from veritem.numerics.local import STRUCTURE, LocalLines, band_model, local_guinier

# Å, standard deviation of the windows: a few residues across at 10 Å. Higher bands hold more independent values and get
# by with less, so that a sharp part colours its blurred neighbour less.
WINDOW, NARROWEST_WINDOW = 6.0, 4.0
PADDING = 25.0  # Å around the particle: four windows
TAPER = 8.0  # Å at the faces of the part
FIRST = 0.1  # 1/Å: a band is centred here; Guinier lines start at it
LOWEST = 0.045  # 1/Å: the lowest centre; below, the box's own corrections rule
NARROWEST, WIDEST = 0.02, 0.04  # 1/Å half-widths: narrower bands reach far beyond the window
SAMPLING = 0.4  # pixel size over resolution
COARSEST_PIXEL = 3.0  # Å
# Centres of the bands whose power is the strength of a place, 1/Å: 13 to 6.5 Å.
STRENGTH_FROM, STRENGTH_TO = 0.075, 0.155
# Weak parts are looked for up to so far from the particle (Å), from so large on (Å³).
WEAK_REACH, WEAK_LEAST = 100.0, 10_000.0
# A local B needs so many neighbouring bands that span so much in frequency.
LEAST_BANDS, LEAST_SPAN = 4, 1.5


@dataclass(frozen=True, eq=False)
class BandBank:
    """Local powers of the map at the voxels of the particle.

    bands: rising. powers: (bands, voxels) float32, noise included. noise: (bands,) the noise's expected local power,
        0 where it could not be measured. noise_error: its relative standard error, common to all bands.
    freedom: (bands,) independent values behind one local power.
    index: (voxels,) flat indices into a volume of `shape`, where the hard mask is.
    density: the resampled part of the map. depth: (voxels,) Å inside the hard mask.
    window: Å, the widest. background: the grey value taken as zero.
    strength: (nz, ny, nx) float32 at every voxel of the part, outside the particle too: power between 13 and 6.5 Å less
        the noise's, relative to protein of B = -50 Å². strength_noise: the noise's level in it.
    """

    bands: tuple[Band, ...]
    powers: NDArray[np.float32]
    noise: NDArray[np.float64]
    noise_error: float
    freedom: NDArray[np.float64]
    index: NDArray[np.int64]
    density: DensityMap
    depth: NDArray[np.float32]
    window: float
    background: float
    strength: NDArray[np.float32]
    strength_noise: float

    @property
    def centres(self) -> NDArray[np.float64]:
        """1/Å."""
        return np.array([band.centre for band in self.bands])

    @property
    def reach(self) -> float:
        """Å, the standard deviation over which local values are correlated: the window and the bands' own reach."""
        return 1.2 * self.window

    @property
    def guinier(self) -> NDArray[np.bool_]:
        """Which bands a Guinier line may use: those from 10 Å on."""
        return self.centres > FIRST - 1e-6

    def volume(self, values: NDArray, fill: float = np.nan) -> NDArray[np.float32]:
        """Values at the particle's voxels as a volume."""
        full = np.full(self.density.data.size, fill, np.float32)
        full[self.index] = values
        return full.reshape(self.density.shape)

    def positions(self, index: NDArray | None = None) -> NDArray[np.float64]:
        """(voxels, 3) z, y, x in Å from the part's first voxel, of the particle's voxels or of others."""
        flat = self.index if index is None else index
        voxels = np.stack(np.unravel_index(flat, self.density.shape), axis=1).astype(np.float64)
        return voxels * self.density.pixel_size


def choose_bands(limit: float) -> tuple[Band, ...]:
    """Bands of one width up to `limit` (1/Å), none reaching beyond it; at least five from 10 Å on where they fit."""
    half_width = float(np.clip((limit - FIRST) / 5.0, NARROWEST, WIDEST))
    steps = np.arange(-10, 400)
    centres = FIRST + half_width * steps
    return tuple(Band(float(c), half_width) for c in centres if c >= LOWEST and c + half_width <= limit * (1 + 1e-6))


@derived
def band_bank(
    density_map: DensityMap,
    mask_distance: NDArray[np.float32],
    noise_region: NoiseRegion,
    measured_noise: MeasuredNoise | None,
    reference_spectrum: ReferenceSpectrum,
    reported_resolution: float,
    threads: int,
) -> BandBank:
    """Local band powers from 22 Å to the reported resolution, in windows of 6 to 4 Å, on pixels of 0.4 x resolution.

    Raises NotApplicable when the resolution leaves no band, or the mask is empty.
    """
    pixel_size = density_map.pixel_size
    limit = min(1.0 / reported_resolution, 0.98 * density_map.nyquist)
    bands = choose_bands(limit)
    if not bands:
        raise NotApplicable(
            f"At {1.0 / limit:.3g} Å no band of frequencies is left between {1.0 / LOWEST:.0f} Å and the resolution; "
            "12 Å or better is needed."
        )
    known = noise_region.available
    background = noise_region.centre if known else outside_level(density_map.data, mask_distance > 5.0)
    box = _with_weak_parts(density_map, mask_distance, background, measured_noise)
    margin = int(np.ceil(PADDING / pixel_size))
    low = tuple(s.start - margin for s in box)
    high = tuple(s.stop + margin for s in box)
    target = min(SAMPLING / limit, COARSEST_PIXEL)
    plan = plan_resampling((low[0], low[1], low[2]), (high[0], high[1], high[2]), pixel_size, target)
    data = cut_part(density_map.data, plan, background, TAPER / pixel_size, threads)
    density = DensityMap(data, plan.pixel_size, plan.origin(density_map.origin, pixel_size))
    depth = depth_on(mask_distance, density, density_map)
    index = np.flatnonzero(depth > 0)
    noise, noise_error = np.zeros(len(bands)), 0.0
    if measured_noise is not None:
        fine = np.linspace(0.0, measured_noise.frequency[-1], 2001)
        power = np.interp(fine, measured_noise.frequency, measured_noise.power)
        noise = np.array([density_map.voxel_volume * band.volume() * band.average(fine, power) for band in bands])
        noise_error = measured_noise.relative_error
    powers = np.empty((len(bands), index.size), np.float32)
    windows = [window_of(band) for band in bands]
    freedom = np.array(
        [degrees_of_freedom(b, density.pixel_size, w, threads) for b, w in zip(bands, windows, strict=True)]
    )
    scale = strength_weights(bands, freedom, reference_spectrum)
    strength = np.full(density.shape, -float(scale @ noise), np.float32)
    stream = local_band_powers(rfftn(data, threads), density.shape, density.pixel_size, bands, windows, None, threads)
    for row, weight, (local, _) in zip(powers, scale, stream, strict=True):
        row[:] = local.ravel()[index]
        if weight > 0:
            local *= np.float32(weight)
            strength += local
    return BandBank(
        bands, powers, noise, noise_error, freedom, index, density, depth.ravel()[index], WINDOW, float(background),
        strength, float(scale @ noise),
    )  # fmt: skip


def window_of(band: Band) -> float:
    """Å, the standard deviation of the window in which a band's power is averaged."""
    return float(np.clip(WINDOW * np.sqrt(FIRST / band.centre), NARROWEST_WINDOW, WINDOW))


def strength_weights(
    bands: tuple[Band, ...], freedom: NDArray[np.float64], reference: ReferenceSpectrum
) -> NDArray[np.float64]:
    """(bands,) factors that turn powers between 13 and 6.5 Å into one strength; 0 for the other bands."""
    centres = np.array([band.centre for band in bands])
    chosen = (centres > STRENGTH_FROM) & (centres < STRENGTH_TO)
    if not chosen.any():
        return np.zeros(len(bands))
    level, _ = band_model(bands, reference, -50.0)
    weights = np.where(chosen, 1.0 / (STRUCTURE**2 + 0.5 / freedom), 0.0)
    return weights / weights.sum() * np.exp(-2.0 * level)


def _with_weak_parts(
    density_map: DensityMap, mask_distance: NDArray[np.float32], background: float, noise: MeasuredNoise | None
) -> tuple[slice, slice, slice]:
    """The box of the particle, and of what is near it, large, and at least a fifth as dense: parts seldom there."""
    box = bounding_slices(mask_distance <= 0)
    step = max(1, int(4.0 / density_map.pixel_size))
    coarse = _block_means(density_map.data, step) - np.float32(background)
    pixel = step * density_map.pixel_size
    coarse = gaussian_filter(coarse, 4.0 / pixel)
    inside = _block_means((mask_distance <= 0).astype(np.float32), step) > 0.5
    if not inside.any():
        return box
    least = 0.2 * float(np.median(coarse[inside]))
    if noise is not None:
        # The standard deviation that the noise keeps after the Gaussian, by its power; five of it is no chance.
        gain = np.exp(-((2.0 * np.pi * 4.0 * noise.frequency) ** 2))
        shells = 4.0 * np.pi * noise.frequency**2 * noise.power * gain
        left = density_map.voxel_volume * float(np.trapezoid(shells, noise.frequency))
        least = max(least, 5.0 * float(np.sqrt(left)))
    weak = coarse > least
    labels, count = label(weak, np.ones((3, 3, 3)))
    if count == 0:
        return box
    sizes = np.bincount(labels.ravel(), minlength=count + 1) * pixel**3
    near = np.zeros(count + 1, bool)
    near[np.unique(labels[inside])] = True
    reach = WEAK_REACH / density_map.pixel_size
    spans = find_objects(labels)
    bounds = [(s.start, s.stop) for s in box]
    for number in range(1, count + 1):
        if sizes[number] < WEAK_LEAST and not near[number]:
            continue
        for axis, span in enumerate(spans[number - 1]):
            low, high = bounds[axis]
            first = max(span.start * step, int(box[axis].start - reach))
            last = min(span.stop * step, int(box[axis].stop + reach), density_map.shape[axis])
            bounds[axis] = (min(low, first), max(high, last))
    return slice(*bounds[0]), slice(*bounds[1]), slice(*bounds[2])


def _block_means(data: NDArray, step: int) -> NDArray[np.float32]:
    """Means over cubes of `step` voxels; what is left over at the far faces is dropped."""
    nz, ny, nx = (n // step for n in data.shape)
    cut = data[: nz * step, : ny * step, : nx * step]
    return cut.reshape(nz, step, ny, step, nx, step).mean(axis=(1, 3, 5), dtype=np.float32)


def depth_on(mask_distance: NDArray[np.float32], part: DensityMap, density_map: DensityMap) -> NDArray[np.float32]:
    """Å inside the hard mask at the voxels of the part (negative outside), by linear interpolation."""
    axes = []
    for axis, n in enumerate(part.shape):
        shift = (part.origin[2 - axis] - density_map.origin[2 - axis]) / density_map.pixel_size
        axes.append(shift + np.arange(n) * part.pixel_size / density_map.pixel_size)
    depth = np.empty(part.shape, np.float32)
    y, x = np.meshgrid(axes[1], axes[2], indexing="ij")
    for k, z in enumerate(axes[0]):  # one plane at a time: coordinates of all voxels would be three more maps
        where = np.stack([np.full(y.shape, z), y, x])
        depth[k] = -map_coordinates(mask_distance, where, order=1, mode="constant", cval=60.0)
    return depth


@derived
def local_lines(band_bank: BandBank, reference_spectrum: ReferenceSpectrum) -> LocalLines | None:
    """The local B-factor at every voxel of the particle; None where the resolution leaves fewer than four bands."""
    bank = band_bank
    used = bank.guinier
    bands = tuple(b for b, u in zip(bank.bands, used, strict=True) if u)
    if len(bands) < LEAST_BANDS or bands[-1].centre < LEAST_SPAN * bands[0].centre - 1e-9:
        return None
    return local_guinier(
        bank.powers[used], bands, bank.noise[used], bank.freedom[used], bank.noise_error, reference_spectrum,
        least_bands=LEAST_BANDS, least_span=LEAST_SPAN,
    )  # fmt: skip
