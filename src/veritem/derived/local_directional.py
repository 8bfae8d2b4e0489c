"""The resolution around each place of the map along each direction, from the half maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, map_coordinates

from veritem.derived.half_maps import HalfMapFsc, HalfPart, half_part
from veritem.derived.registry import derived
from veritem.errors import NotApplicable
from veritem.numerics.bands import Band
from veritem.numerics.density_map import HalfMaps
from veritem.numerics.device import Device
from veritem.numerics.directions import hemisphere
from veritem.numerics.fourier import fourier_resize
from veritem.numerics.fsc import THRESHOLD
from veritem.numerics.local_directional import (
    CoarseGrid,
    WindowShares,
    coarse_grid,
    coarse_sizes,
    correlated_reach,
    correlation_limits,
    crossing_frequencies,
    directional_shares,
    faded,
    local_powers,
)

DIRECTIONS = 46
WINDOW = 11.0  # Å, standard deviation: 26 Å wide at half its height
FADE = 22.0  # Å at the faces of the part, which are 25 Å from the particle
STRIDE = 6.0  # Å between points: half a window, so that little is lost between them
MOST_POINTS = 12_000  # a larger particle gets a wider stride
LEAST_SHARE = 0.25  # of a window must lie in the particle
COARSEST = 15.0  # Å, the first band's centre
BEYOND = 1.5  # bands reach so far beyond the resolution of the whole map, as a ratio of frequencies
FINER = 0.8  # the part is sampled for a resolution finer by this factor, so that those bands fit
BANDS = 13  # so many half-widths span the range
NARROWEST, WIDEST = 0.015, 0.035  # 1/Å, half-widths
LEAST_BANDS = 4
MOST_OPEN = 0.25  # share of a place's directions that may lie at the finest band
COARSEST_RESOLUTION = 10.0  # Å
LEAST_POINTS = 200
# A direction that lies further than this factor from its place's median counts as so far: one that found no band at all
# would outweigh hundreds.
FURTHEST = 2.0


@dataclass(frozen=True, eq=False)
class LocalDirectional:
    """Directional resolution at points of a coarse grid.

    resolution: (directions, points) Å. of_even_signal: the same if the signal of each place were alike in all
    directions, and only the noise differed.
    directions: (n, 3) unit vectors z, y, x. grid: the points, in the box of `part`.
    finest, coarsest: Å, the range that could be found. resolved: (points,) whether a place is coarser than the finest,
    as far as the noise decides: elsewhere directions cannot be told apart.
    centre: z, y, x in Å from the part's first voxel to the centre of the submitted box, about which particles were
    turned when they were aligned. reach: Å, the standard deviation of the window by which values are correlated.
    """

    resolution: NDArray[np.float32]
    of_even_signal: NDArray[np.float32]
    directions: NDArray[np.float64]
    grid: CoarseGrid
    bands: tuple[Band, ...]
    part: HalfPart
    centre: NDArray[np.float64]
    window: float
    reach: float
    finest: float
    coarsest: float
    resolved: NDArray[np.bool_]

    def on_part(self, values: NDArray) -> NDArray[np.float32]:
        """Values at the points as a volume of the part: linear between points, NaN outside the particle.

        Voxels at the rim lie beyond the last points and take the nearest's value.
        """
        coarse = self.grid.volume(values)
        away, nearest = distance_transform_edt(~self.grid.inside, return_indices=True)
        filled = coarse[tuple(nearest)]
        inside = np.unravel_index(self.part.index, self.part.shape)
        where = [
            i * (n / m) for i, n, m in zip(inside, self.grid.sizes, self.part.shape, strict=True)
        ]  # fmt: skip
        found = map_coordinates(filled, where, order=1, mode="grid-wrap")
        near = map_coordinates(away.astype(np.float32), where, order=0, mode="grid-wrap") <= 2.0
        return self.part.volume(np.where(near, found, np.nan))


def logarithms(resolution: NDArray[np.float32]) -> NDArray[np.float64]:
    """ln of directional resolutions (directions, points), none further than a factor of two from its place's median."""
    values = np.log(resolution.astype(np.float64))
    middle = np.median(values, axis=0)
    return np.clip(values, middle - np.log(FURTHEST), middle + np.log(FURTHEST))


def directional_bands(resolution: float, nyquist: float) -> tuple[Band, ...]:
    """Evenly spaced bands from 15 Å to half beyond the resolution (in frequency), none beyond Nyquist (1/Å)."""
    first, top = 1.0 / COARSEST, min(BEYOND / resolution, 0.98 * nyquist)
    half_width = float(np.clip((top - first) / BANDS, NARROWEST, WIDEST))
    count = int(np.floor((top - first) / half_width + 1e-6))
    return tuple(Band(first + half_width * j, half_width) for j in range(count))


@derived
def local_directional(
    half_maps: HalfMaps,
    mask_distance: NDArray[np.float32],
    half_map_fsc: HalfMapFsc,
    reported_resolution: float | None,
    device: Device,
    threads: int,
) -> LocalDirectional:
    """The resolution along 46 directions at points 6 Å apart.

    Raises NotApplicable for maps coarser than 10 Å and for particles of fewer than 200 points.
    """
    resolution = half_map_fsc.resolution or reported_resolution
    decisive = reported_resolution or resolution
    if decisive is None or resolution is None or max(decisive, resolution) > COARSEST_RESOLUTION:
        known = "no resolution is known" if decisive is None else f"it is {max(decisive, resolution or 0.0):.3g} Å"
        raise NotApplicable(
            f"Directions of one place can be told apart in maps of {COARSEST_RESOLUTION:g} Å and better; {known}."
        )
    # Parts of a map are finer than the whole, and some directions finer than others.
    part = half_part(half_maps, mask_distance, half_map_fsc, FINER * resolution, device, threads)
    bands = directional_bands(resolution, min(0.5 / part.pixel_size, half_maps.first.nyquist))
    if len(bands) < LEAST_BANDS:
        raise NotApplicable(
            f"{len(bands)} bands fit between {COARSEST:g} Å and half beyond {resolution:.3g} Å at this pixel "
            f"size; {LEAST_BANDS} are needed."
        )
    mask = np.clip(0.5 + part.depth / part.pixel_size, 0.0, 1.0).astype(np.float32)
    volume = float(part.index.size) * part.pixel_size**3
    stride = max(STRIDE, (volume / MOST_POINTS) ** (1 / 3))
    sizes = coarse_sizes(part.shape, part.pixel_size, stride)
    shares = WindowShares(mask * mask, part.pixel_size, sizes, threads)
    inside = (fourier_resize(mask, sizes, threads) > 0.5) & (shares.at(WINDOW) >= LEAST_SHARE)
    grid = coarse_grid(part.shape, part.pixel_size, inside)
    if grid.count < LEAST_POINTS:
        raise NotApplicable(
            f"The particle holds {grid.count} points {stride:.2g} Å apart whose window lies in it; {LEAST_POINTS} are "
            "needed to tell a direction that all share from chance."
        )
    directions = hemisphere(DIRECTIONS)
    powers = local_powers(
        part.first, part.second, part.shape, part.pixel_size, bands, directions, WINDOW, grid, FADE, threads
    )
    noise = WindowShares(faded(part.shape, FADE / part.pixel_size) ** 2, part.pixel_size, sizes, threads)
    of_signal, of_noise = (directional_shares(s, grid, bands, directions, WINDOW) for s in (shares, noise))
    frequency = crossing_frequencies(powers.fsc, correlation_limits(of_signal, of_noise, THRESHOLD), bands)
    even = crossing_frequencies(powers.fsc_of_even_signal(of_signal, of_noise), np.float32(THRESHOLD), bands)
    last = bands[-1].centre
    x, y, z = (
        m - p for m, p in zip(half_maps.first.origin, part.density.origin, strict=True)
    )  # fmt: skip
    middle = np.array([n // 2 for n in half_maps.shape]) * half_maps.pixel_size
    return LocalDirectional(
        resolution=(1.0 / np.maximum(frequency, 1.0 / COARSEST)).astype(np.float32),
        of_even_signal=(1.0 / np.maximum(even, 1.0 / COARSEST)).astype(np.float32),
        directions=directions,
        grid=grid,
        bands=bands,
        part=part,
        centre=np.array([z, y, x]) + middle,
        window=WINDOW,
        reach=correlated_reach(bands, WINDOW),
        finest=1.0 / last,
        coarsest=COARSEST,
        resolved=np.mean(even >= np.float32(last), axis=0) <= MOST_OPEN,
    )
