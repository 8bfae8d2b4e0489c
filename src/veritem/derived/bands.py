"""The band bank: local power of the map in bands of frequency, inside the particle, on a grid just fine enough."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from veritem.derived.noise import NoiseRegion, noise_spectrum
from veritem.derived.registry import derived
from veritem.derived.spectra import LEAST_NOISE_ERROR, bounding_slices, outside_level, variance_scatter
from veritem.errors import NotApplicable
from veritem.numerics.bands import (
    Band,
    degrees_of_freedom,
    extract,
    local_band_powers,
    plan_resampling,
)
from veritem.numerics.density_map import DensityMap
from veritem.numerics.fourier import fourier_resize, rfftn

WINDOW = 6.0  # Å, standard deviation: a few residues across
PADDING = 25.0  # Å around the particle: three and a half windows
TAPER = 8.0  # Å at the faces of the part
FIRST = 0.1  # 1/Å: a band is centred here; Guinier lines start at it
LOWEST = 0.045  # 1/Å: the lowest centre; below, the box's own corrections rule
NARROWEST, WIDEST = 0.02, 0.04  # 1/Å half-widths: narrower bands reach far beyond the window
SAMPLING = 0.4  # pixel size over resolution
FINEST_PIXEL, COARSEST_PIXEL = 0.0, 3.0  # Å


@dataclass(frozen=True, eq=False)
class BandBank:
    """Local powers of the map at the voxels of the particle.

    bands: rising. powers: (bands, voxels) float32, noise included. noise: (bands,) the noise's expected local power,
        0 where it could not be measured. noise_error: its relative standard error, common to all bands.
    freedom: (bands,) independent values behind one local power.
    index: (voxels,) flat indices into a volume of `shape`, where the hard mask is.
    density: the resampled part of the map. depth: (voxels,) Å inside the hard mask.
    window: Å. background: the grey value taken as zero.
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

    @property
    def centres(self) -> NDArray[np.float64]:
        """1/Å."""
        return np.array([band.centre for band in self.bands])

    def volume(self, values: NDArray, fill: float = np.nan) -> NDArray[np.float32]:
        """Values at the particle's voxels as a volume."""
        full = np.full(self.density.data.size, fill, np.float32)
        full[self.index] = values
        return full.reshape(self.density.shape)

    def positions(self) -> NDArray[np.float64]:
        """(voxels, 3) z, y, x in Å from the part's first voxel."""
        return np.stack(np.unravel_index(self.index, self.density.shape), axis=1) * self.density.pixel_size


def choose_bands(limit: float) -> tuple[Band, ...]:
    """Bands of one width up to `limit` (1/Å), none reaching beyond it; at least five from 10 Å on where they fit."""
    half_width = float(np.clip((limit - FIRST) / 5.0, NARROWEST, WIDEST))
    steps = np.arange(-10, 400)
    centres = FIRST + half_width * steps
    return tuple(
        Band(float(c), half_width) for c in centres if c >= LOWEST and c + half_width <= limit * (1 + 1e-6)
    )


@derived
def band_bank(
    density_map: DensityMap,
    mask_distance: NDArray[np.float32],
    noise_region: NoiseRegion,
    reported_resolution: float,
    threads: int,
) -> BandBank:
    """Local band powers from 22 Å to the reported resolution, in windows of 6 Å, on pixels of 0.4 x resolution.

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
    box = bounding_slices(mask_distance <= 0)
    margin = int(np.ceil(PADDING / pixel_size))
    low = tuple(s.start - margin for s in box)
    high = tuple(s.stop + margin for s in box)
    target = min(max(SAMPLING / limit, FINEST_PIXEL), COARSEST_PIXEL)
    plan = plan_resampling((low[0], low[1], low[2]), (high[0], high[1], high[2]), pixel_size, target)
    known = noise_region.available
    background = noise_region.centre if known else outside_level(density_map.data, mask_distance > 5.0)
    part = extract(density_map.data, plan, background, TAPER / pixel_size)
    data = part if plan.shape == plan.taken else fourier_resize(part, plan.shape, threads)
    density = DensityMap(data, plan.pixel_size, plan.origin(density_map.origin, pixel_size))
    depth = _depth(mask_distance, density, density_map)
    index = np.flatnonzero(depth > 0)
    noise, noise_error = np.zeros(len(bands)), 0.0
    if known:
        spectrum = noise_spectrum(density_map, noise_region, threads)
        fine = np.linspace(0.0, spectrum.frequency[-1], 2001)
        power = np.interp(fine, spectrum.frequency, spectrum.power)
        noise = np.array([density_map.voxel_volume * band.volume() * band.average(fine, power) for band in bands])
        noise_error = max(LEAST_NOISE_ERROR, variance_scatter(density_map.data, noise_region))
    powers = np.empty((len(bands), index.size), np.float32)
    stream = local_band_powers(rfftn(data, threads), density.shape, density.pixel_size, bands, WINDOW, None, threads)
    for row, (local, _) in zip(powers, stream, strict=True):
        row[:] = local.ravel()[index]
    freedom = np.array([degrees_of_freedom(band, density.pixel_size, WINDOW, threads) for band in bands])
    return BandBank(
        bands, powers, noise, noise_error, freedom, index, density, depth.ravel()[index], WINDOW, float(background)
    )


def _depth(
    mask_distance: NDArray[np.float32], part: DensityMap, density_map: DensityMap
) -> NDArray[np.float32]:
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
