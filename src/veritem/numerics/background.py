"""Five questions to the noise around a particle, answered against simulated noise of the same spectrum.

The surrogates are stationary Gaussian fields with the spectrum that was measured, seen through the same region and
treated as the data are (centre, robust scale, spectrum of the coarse cells are estimated again in each). They live on
two grids: coarse cells over the whole box for what is slow (offset, halo), tiles at full sampling for what is fine
(outliers, clusters, directions). Each surrogate answers all five questions, so that the five are judged as one family
(Westfall and Young).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numba import njit
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.stats import t as student

from veritem.numerics.noise import (
    GaussianField,
    block_moments,
    covariance_to_power,
    lag_taper,
    normalise_noise,
    radial_mean,
    radial_scale,
    windowed_covariance,
)
from veritem.numerics.statistics import (
    ClusterSizes,
    ExcursionRate,
    LargestNormal,
    block_bootstrap,
    excursion_clusters,
    fit_cluster_sizes,
    fit_excursion_rate,
    fit_largest_normal,
    westfall_young,
)

COMPONENTS = ("offset", "halo", "highest", "cluster", "direction")

# Cells of the coarse grid: about this size (Å), and no more than so many along the longest axis.
CELL = 3.0
CELLS = 48
# Lags of the coarse covariance, in cells.
COARSE_REACH = 6
# Share of a cell that must lie in the region.
CELL_FILL = 0.75
# The spec of a block mean: blocks at least this long (voxels), this full, and this many.
BLOCK_LEAST, BLOCK_FILL, BLOCKS = 8, 0.9, 50
# A box up to WHOLE voxels an axis is one tile; larger ones are sampled by tiles of TILE.
WHOLE, TILE, TILES = 96, 64, 8
# Independent voxels behind each step of the radial scale.
SCALE_VOXELS = 4000.0
# Directions: fine cells on the hemisphere; caps and belts around the centres of a coarser set.
DIRECTION_CELLS, DIRECTIONS = 192, 46
CAP, BELT = np.cos(np.deg2rad(20.0)), np.sin(np.deg2rad(10.0))
# Shells whose power is below this share of the strongest shell's hold no noise, only leakage.
LEAST_POWER = 0.03


@dataclass(frozen=True, eq=False)
class Coarse:
    """The region on a coarse grid: which cells it fills, how far they are, how they are grouped.

    edge: voxels. valid: (gz, gy, gx) boolean. distance: (cells,) Å. far: (cells,) boolean, beyond the particle's reach.
    bin: (cells,) distance bin.
    edges: (bins + 1,) Å. block: (cells,) block of each cell or -1; blocks: their number; block_edge: voxels.
    weights: (bins, lags) such that the variance of a bin's mean less the mean of the far cells is weights @ covariance.
    """

    edge: int
    valid: NDArray[np.bool_]
    distance: NDArray[np.float64]
    far: NDArray[np.bool_]
    bin: NDArray[np.int64]
    edges: NDArray[np.float64]
    block: NDArray[np.int64]
    blocks: int
    block_edge: int
    lag: NDArray[np.int64]
    pairs: NDArray[np.float64]
    weights: NDArray[np.float64]

    @property
    def bins(self) -> int:
        return len(self.edges) - 1

    def bin_means(self, cells: NDArray) -> NDArray[np.float64]:
        counts = np.bincount(self.bin, minlength=self.bins)
        return np.bincount(self.bin, cells, minlength=self.bins) / counts

    def offset(self, cells: NDArray) -> tuple[float, NDArray, NDArray]:
        """Student's t of the block means against zero; sums and counts of the blocks."""
        used = self.block >= 0
        counts = np.bincount(self.block[used], minlength=self.blocks).astype(float)
        sums = np.bincount(self.block[used], cells[used], minlength=self.blocks)
        means = sums / counts
        spread = means.std(ddof=1)
        return float(means.mean() / max(spread / np.sqrt(self.blocks), 1e-300)), sums, counts

    def halo(self, cells: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """Bin means less the mean of the far cells, their standard errors, and the residuals on the grid."""
        means = self.bin_means(cells)
        departure = means - cells[self.far].mean()
        residual = np.zeros(self.valid.shape, np.float32)
        residual[self.valid] = cells - means[self.bin]
        covariance = self._radial_covariance(residual)
        variance = self.weights @ covariance
        # An estimate of the covariance may add up to nothing; independent cells are a floor that it never passes far.
        floor = 0.3 * covariance[0] * self.weights[:, 0]
        return departure, np.sqrt(np.maximum(variance, np.maximum(floor, 1e-300))), residual

    def _radial_covariance(self, residual: NDArray[np.float32]) -> NDArray[np.float64]:
        products = _lag_sums(residual, self.lag)
        return np.where(self.pairs > 0.5, products / np.maximum(self.pairs, 0.5), 0.0)


def _lag_sums(field: NDArray, lag: NDArray[np.int64]) -> NDArray[np.float64]:
    transform = scipy.fft.rfftn(field, s=tuple(_padded(field.shape)))
    correlation = scipy.fft.irfftn(transform.real**2 + transform.imag**2, s=tuple(_padded(field.shape)))
    near = lag <= COARSE_REACH
    return np.bincount(lag[near], correlation[near], minlength=COARSE_REACH + 1).astype(np.float64)


def _padded(shape: tuple[int, ...]) -> list[int]:
    return [scipy.fft.next_fast_len(n + COARSE_REACH, real=True) for n in shape]


def coarse_region(
    rim: NDArray[np.bool_], distance: NDArray[np.float32], margin: float, pixel_size: float, zero_lag: float
) -> Coarse:
    """Lay the coarse grid over a region.

    distance: Å from the particle. margin: Å, where the far cells begin.
    zero_lag: voxels at which the covariance of the noise first vanishes.
    """
    edge = max(int(np.ceil(CELL / pixel_size)), -(-max(rim.shape) // CELLS))
    moments = block_moments(distance, rim, edge)
    valid = moments.counts >= CELL_FILL * edge**3
    away = (moments.sums / np.maximum(moments.counts, 1) + moments.offset)[valid]
    bin_index, edges = _distance_bins(away, max(edge * pixel_size, 4.0))
    far = away > margin
    if not far.any():
        far = np.ones(away.size, bool)
    block, blocks, block_cells = _blocks(valid, far, edge, zero_lag)
    padded = _padded(valid.shape)
    axes = [np.minimum(np.arange(n), n - np.arange(n)) for n in padded]
    lag = np.rint(
        np.sqrt(axes[0][:, None, None] ** 2 + axes[1][None, :, None] ** 2 + axes[2][None, None, :] ** 2)
    ).astype(np.int64)
    pairs = _lag_sums(valid.astype(np.float32), lag)
    weights = []
    for b in range(len(edges) - 1):
        contrast = np.where(far, -1.0 / np.count_nonzero(far), 0.0)
        contrast[bin_index == b] += 1.0 / np.count_nonzero(bin_index == b)
        field = np.zeros(valid.shape, np.float64)
        field[valid] = contrast
        weights.append(_lag_sums(field, lag))
    return Coarse(
        edge, valid, away, far, bin_index, edges, block, blocks, block_cells * edge, lag, pairs,
        np.array(weights).reshape(-1, COARSE_REACH + 1),
    )  # fmt: skip


def _distance_bins(away: NDArray, width: float, least: int = 12) -> tuple[NDArray[np.int64], NDArray]:
    """Bins of equal width; a bin with fewer than `least` cells is joined with the next."""
    if away.size < 2 * least:
        return np.zeros(away.size, np.int64), np.array([0.0, np.inf])
    fine = np.arange(away.min(), away.max() + width, width)
    edges = [fine[0]]
    for stop in fine[1:]:
        if np.count_nonzero((away >= edges[-1]) & (away < stop)) >= least:
            edges.append(stop)
    if len(edges) < 2:
        return np.zeros(away.size, np.int64), np.array([0.0, np.inf])
    edges[-1] = max(edges[-1], away.max() + 1e-3)
    bounds = np.array(edges)
    return np.clip(np.searchsorted(bounds, away, side="right") - 1, 0, len(bounds) - 2), bounds


def _blocks(
    valid: NDArray[np.bool_], far: NDArray[np.bool_], edge: int, zero_lag: float
) -> tuple[NDArray[np.int64], int, int]:
    """Cubes of cells for the block means: as long as three times the correlation, and still enough of them."""
    smallest = max(1, -(-BLOCK_LEAST // edge))
    wanted = max(smallest, int(np.ceil(3 * zero_lag / edge)))
    where = np.array(np.nonzero(valid))
    best: tuple[NDArray[np.int64], int, int] | None = None
    for size in range(wanted, smallest - 1, -1):
        cube = where // size
        grid = [-(-n // size) for n in valid.shape]
        flat = np.ravel_multi_index(tuple(cube), grid)
        full = np.bincount(flat, far, minlength=int(np.prod(grid))) >= BLOCK_FILL * size**3
        number = np.cumsum(full) - 1
        count = int(np.count_nonzero(full))
        if best is None or count > best[1]:
            best = np.where(full[flat] & far, number[flat], -1), count, size
        if count >= BLOCKS:
            break
    assert best is not None
    return best


# --- tiles ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Tile:
    """A part of the box. slices: z, y, x. region: of the part. window: the region with soft faces."""

    slices: tuple[slice, slice, slice]
    region: NDArray[np.bool_]
    window: NDArray[np.float32]
    voxels: int


def choose_tiles(region: NDArray[np.bool_]) -> list[Tile]:
    """The whole box when it is small, else the fullest tiles that do not overlap."""
    shape = region.shape
    if max(shape) <= WHOLE:
        return [_tile(region, (slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])))]
    edges = [min(TILE, n) for n in shape]
    starts = [sorted({*range(0, n - e + 1, max(1, e // 2)), n - e}) for n, e in zip(shape, edges, strict=True)]
    counts = np.zeros([len(s) for s in starts])
    for i, z in enumerate(starts[0]):
        slab = region[z : z + edges[0]].sum(axis=0, dtype=np.int32)
        for j, y in enumerate(starts[1]):
            column = slab[y : y + edges[1]].sum(axis=0)
            for k, x in enumerate(starts[2]):
                counts[i, j, k] = column[x : x + edges[2]].sum()
    tiles: list[Tile] = []
    fullest = counts.max()
    for flat in np.argsort(-counts, axis=None, kind="stable"):
        i, j, k = np.unravel_index(int(flat), counts.shape)
        if len(tiles) == TILES or counts[i, j, k] < 0.2 * fullest:
            break
        corner = (starts[0][i], starts[1][j], starts[2][k])
        if all(
            any(abs(c - t.slices[a].start) >= edges[a] for a, c in enumerate(corner) if edges[a] < shape[a])
            for t in tiles
        ):
            slices = [slice(c, c + e) for c, e in zip(corner, edges, strict=True)]
            tiles.append(_tile(region, (slices[0], slices[1], slices[2])))
    return tiles


def _tile(region: NDArray[np.bool_], slices: tuple[slice, slice, slice]) -> Tile:
    part = np.ascontiguousarray(region[slices])
    window = part.astype(np.float32)
    for axis, n in enumerate(part.shape):
        width = min(8, max(1, n // 4))
        ramp = np.minimum(np.minimum(np.arange(n), n - 1 - np.arange(n)) + 0.5, width) / width
        soft = (0.5 - 0.5 * np.cos(np.pi * ramp)).astype(np.float32)
        window *= soft.reshape([-1 if a == axis else 1 for a in range(3)])
    return Tile(slices, part, window, int(part.sum()))


@njit(nogil=True, cache=True)
def _whitened_by_direction(real, imag, shell, cell, sums, counts, out):
    flat = shell.size
    for i in range(flat):
        s = shell[i]
        if s >= 0:
            sums[s] += real[i] * real[i] + imag[i] * imag[i]
            counts[s] += 1.0
    for i in range(flat):
        s = shell[i]
        if s >= 0:
            out[cell[i]] += (real[i] * real[i] + imag[i] * imag[i]) * counts[s] / sums[s]


def hemisphere(points: int) -> NDArray[np.float64]:
    """Directions of equal area on the hemisphere, (points, 3) as x, y, z: a Fibonacci spiral."""
    i = np.arange(points)
    z = 1.0 - (i + 0.5) / points
    azimuth = np.pi * (1 + np.sqrt(5.0)) * (i + 0.5)
    planar = np.sqrt(1 - z**2)
    return np.stack([planar * np.cos(azimuth), planar * np.sin(azimuth), z], axis=1)


class DirectionalPower:
    """Power of windowed noise by direction, each shell divided by its own mean.

    shape: of the tile. usable: (frequencies) boolean function of cycles per voxel, the shells that hold noise.
    """

    def __init__(self, shape: tuple[int, int, int], usable: Callable[[NDArray], NDArray]) -> None:
        nz, ny, nx = shape
        fz, fy = np.fft.fftfreq(nz), np.fft.fftfreq(ny)
        fx = np.fft.rfftfreq(nx)
        grid = np.stack(
            [np.broadcast_to(a, (nz, ny, fx.size)) for a in (fx[None, None], fy[None, :, None], fz[:, None, None])], -1
        ).reshape(-1, 3)
        radius = np.linalg.norm(grid, axis=1)
        longest = max(shape)
        shell = np.rint(radius * longest).astype(np.int64)
        # Half the plane x = 0 repeats the other half; the lowest shells have too few coefficients.
        good = (grid[:, 0] > 0) & (shell >= 3) & (radius <= 0.5) & usable(radius)
        self.shell = np.where(good, shell, -1).astype(np.int32)
        centres = hemisphere(DIRECTION_CELLS)
        tree = cKDTree(np.concatenate([centres, -centres]))
        cell = np.zeros(len(grid), np.int32)
        cell[good] = tree.query(grid[good] / radius[good][:, None])[1] % DIRECTION_CELLS
        self.cell = cell
        self.counts = np.bincount(cell[good], minlength=DIRECTION_CELLS).astype(float)
        self.coefficients = int(good.sum())
        self.axes = hemisphere(DIRECTIONS)
        cosine = np.abs(self.axes @ centres.T)
        groups = np.concatenate([cosine >= CAP, cosine <= BELT]) * self.counts
        self.groups = groups / np.maximum(groups.sum(axis=1, keepdims=True), 1e-9)

    def measure(self, z: NDArray[np.float32], window: NDArray[np.float32]) -> NDArray[np.float64]:
        """(2 x directions,) mean relative power in the cap around each direction, then in the belt across it."""
        transform = scipy.fft.rfftn(np.clip(z, -5.0, 5.0) * window).ravel()
        shells = int(self.shell.max()) + 1
        out = np.zeros(DIRECTION_CELLS)
        _whitened_by_direction(
            transform.real, transform.imag, self.shell, self.cell, np.zeros(shells), np.zeros(shells), out
        )
        return self.groups @ (out / np.maximum(self.counts, 1.0))


# --- the family -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class BackgroundStatistics:
    """What the background looks like, beside what noise alone would look like.

    Densities are in grey values, z in local standard deviations of the noise.
    p: adjusted p-value of each component; family_p: the smallest of them. surrogates: how many were drawn.
    """

    family_p: float
    p: dict[str, float]
    surrogates: int
    # offset
    mean: float
    mean_interval: tuple[float, float]
    t: float
    blocks: int
    block_edge: int
    # halo: per distance bin
    distance: NDArray[np.float64]
    departure: NDArray[np.float64]
    departure_error: NDArray[np.float64]
    departure_z: NDArray[np.float64]
    halo_limit: float
    # outliers
    highest: float
    highest_expected: float
    highest_limit: float
    largest_cluster: int
    cluster_limit: float
    peaks: NDArray[np.int32]
    peak_z: NDArray[np.float64]
    peak_size: NDArray[np.int64]
    # directions
    axes: NDArray[np.float64]
    relative_power: NDArray[np.float64]
    relative_power_error: NDArray[np.float64]
    direction_limit: float
    z: NDArray[np.float32]
    scale: NDArray[np.float64]
    null_p: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _FineDraw:
    highest: float
    sizes: NDArray[np.int64]
    direction: NDArray[np.float64]


def background_statistics(
    data: NDArray[np.float32],
    region: NDArray[np.bool_],
    rim: NDArray[np.bool_],
    distance: NDArray[np.float32],
    margin: float,
    pixel_size: float,
    centre: float,
    sigma: float,
    covariance: NDArray[np.float64],
    independent_share: float,
    *,
    cluster_level: float,
    surrogates: int,
    seed: int,
    threads: int = 1,
) -> BackgroundStatistics:
    """Measure the background and judge it against surrogates.

    data, region, rim, distance: (nz, ny, nx); distance in Å from the particle. region: noise, `margin` Å and more from
        the particle; rim: the same and what is nearer, where a halo is looked for. centre, sigma: of the noise, robust.
    covariance: of the noise, (2 reach + 1,)*3, lag 0 in the middle. independent_share: N_eff / N.
    cluster_level: |z| above which voxels form clusters.
    """
    fine_power, zero_lag = _fine_spectrum(covariance)
    bin_voxels = SCALE_VOXELS / max(independent_share, 1e-6)
    box_centre = (float(data.shape[0] // 2), float(data.shape[1] // 2), float(data.shape[2] // 2))
    scale = radial_scale(data, region, centre, sigma, bin_voxels, box_centre)
    z = normalise_noise(data, rim, centre, scale, box_centre)

    coarse = coarse_region(rim, distance, margin, pixel_size, zero_lag)
    tiles = choose_tiles(region)
    tile_shape = tiles[0].region.shape
    strongest = fine_power[1].max()
    directional = DirectionalPower(tile_shape, lambda radius: np.interp(radius, *fine_power) >= LEAST_POWER * strongest)
    seeds = np.random.SeedSequence(seed).spawn(2 * surrogates + 1)

    # What is slow, on the coarse grid.
    enough = coarse.blocks >= 10
    cells = _cell_means(data, rim, coarse)
    cells_z = _cell_means(z, rim, coarse)
    z *= region
    t, sums, counts = coarse.offset(cells) if enough else (0.0, np.zeros(1), np.ones(1))
    slow = _slow_draws(coarse, cells_z, [np.random.default_rng(s) for s in seeds[:surrogates]], enough, threads)
    departure_z, error_z, _ = coarse.halo(cells_z)
    far_mean = float(cells[coarse.far].mean())
    profile = coarse.bin_means(cells) - far_mean

    # What is fine, on tiles.
    shape = tuple(scipy.fft.next_fast_len(n, real=True) for n in tile_shape)
    field = GaussianField.from_power((shape[0], shape[1], shape[2]), *fine_power)

    def draw(i: int) -> _FineDraw:
        tile = tiles[i % len(tiles)]
        values = field.draw(np.random.default_rng(seeds[surrogates + i]))
        values = np.ascontiguousarray(values[: tile_shape[0], : tile_shape[1], : tile_shape[2]])
        inside = values[tile.region]
        middle = float(np.median(inside))
        spread = float(inside.std())
        z0, y0, x0 = (o - s.start for o, s in zip(box_centre, tile.slices, strict=True))
        origin = (z0, y0, x0)
        local = radial_scale(values, tile.region, middle, spread, bin_voxels, origin)
        part = normalise_noise(values, tile.region, middle, local, origin)
        highest, sizes, _ = excursion_clusters(part, cluster_level)
        return _FineDraw(float(highest), sizes, directional.measure(part, tile.window))

    with ThreadPoolExecutor(max(1, threads)) as pool:
        fine = list(pool.map(draw, range(surrogates)))

    voxels = int(np.count_nonzero(region))
    highest, sizes, peaks = excursion_clusters(z, cluster_level)
    tile_voxels = np.array([tiles[i % len(tiles)].voxels for i in range(surrogates)], float)
    null_highest = np.array([d.highest for d in fine])
    null_largest = np.array([d.sizes.max() if d.sizes.size else 0 for d in fine])
    rate = fit_excursion_rate(null_highest, tile_voxels)
    clusters = fit_cluster_sizes(np.concatenate([d.sizes for d in fine]), float(tile_voxels.sum()))
    direction = _directions(directional, tiles, z, [d.direction for d in fine], np.random.default_rng(seeds[-1]))

    # Each component on a scale of its own p-value; the family decides by the smallest.
    halo_null = np.max(np.abs(slow.departure) / slow.error, axis=1)
    halo_observed = float(np.max(np.abs(departure_z) / error_z))
    halo_law, direction_law = fit_largest_normal(halo_null), fit_largest_normal(direction.null)
    largest = int(sizes.max()) if sizes.size else 0
    free = max(coarse.blocks - 1, 1)
    observed_p = np.array(
        [
            2 * student.sf(abs(t), free) if enough else 1.0,
            float(halo_law.p_value(halo_observed)) if coarse.bins > 1 else 1.0,
            float(rate.p_value(float(highest), voxels)),
            float(clusters.p_value(largest, voxels)[0]),
            float(direction_law.p_value(direction.observed)),
        ]
    )
    null_p = np.stack(
        [
            2 * student.sf(np.abs(slow.t), free) if enough else np.ones(surrogates),
            halo_law.p_value(halo_null) if coarse.bins > 1 else np.ones(surrogates),
            rate.p_value(null_highest, tile_voxels),
            clusters.p_value(null_largest, tile_voxels),
            direction_law.p_value(direction.null),
        ],
        axis=1,
    )
    family_p, adjusted = westfall_young(observed_p, null_p)
    order = np.argsort(-np.abs(z[tuple(peaks.T)]), kind="stable") if len(peaks) else np.zeros(0, np.int64)
    critical = _critical(null_p)
    return BackgroundStatistics(
        family_p=family_p,
        p=dict(zip(COMPONENTS, map(float, adjusted), strict=True)),
        surrogates=surrogates,
        mean=far_mean if not enough else float(sums.sum() / counts.sum()),
        mean_interval=block_bootstrap(sums, counts, np.random.default_rng(seeds[-1])) if enough else (np.nan, np.nan),
        t=t,
        blocks=coarse.blocks,
        block_edge=coarse.block_edge,
        distance=_bin_centres(coarse),
        departure=profile,
        departure_error=error_z * _bin_scale(coarse, cells, cells_z),
        departure_z=departure_z / error_z,
        halo_limit=halo_law.quantile(critical),
        highest=float(highest),
        highest_expected=rate.quantile(0.5, voxels),
        highest_limit=rate.quantile(critical, voxels),
        largest_cluster=largest,
        cluster_limit=clusters.quantile(critical, voxels),
        peaks=peaks[order],
        peak_z=z[tuple(peaks[order].T)].astype(float) if len(peaks) else np.zeros(0),
        peak_size=sizes[order],
        axes=directional.axes,
        relative_power=direction.relative,
        relative_power_error=direction.error,
        direction_limit=direction_law.quantile(critical),
        z=z,
        scale=scale,
        null_p=null_p,
    )


def _critical(null_p: NDArray, level: float = 0.01) -> float:
    """The component p-value below which the family's is at most `level`."""
    smallest = np.sort(null_p.min(axis=1))
    allowed = int(np.floor(level * (len(smallest) + 1))) - 1
    return float(smallest[max(allowed, 0)])


def _fine_spectrum(covariance: NDArray) -> tuple[tuple[NDArray, NDArray], float]:
    """Radial power of unit-variance noise (frequency in cycles per voxel), and the lag of the first zero."""
    reach = covariance.shape[0] // 2
    middle = covariance[reach, reach, reach]
    normal = covariance / middle
    size = 2 * reach + 2
    frequency, power = radial_mean(covariance_to_power(normal * lag_taper(reach), size), size, 1.0)
    lags = np.arange(-reach, reach + 1)
    radius = np.rint(np.sqrt(lags[:, None, None] ** 2 + lags[None, :, None] ** 2 + lags[None, None, :] ** 2))
    index = radius.astype(np.int64).ravel()
    radial = np.bincount(index, normal.ravel()) / np.bincount(index)
    below = np.flatnonzero(radial[: reach + 1] <= 0)
    return (frequency, power), float(below[0]) if below.size else float(reach)


def _cell_means(values: NDArray[np.float32], rim: NDArray[np.bool_], coarse: Coarse) -> NDArray[np.float64]:
    moments = block_moments(values, rim, coarse.edge)
    return (moments.sums[coarse.valid] / moments.counts[coarse.valid]) + moments.offset


def _bin_centres(coarse: Coarse) -> NDArray[np.float64]:
    return coarse.bin_means(coarse.distance)


def _bin_scale(coarse: Coarse, cells: NDArray, cells_z: NDArray) -> NDArray[np.float64]:
    """Grey values per unit of z, bin by bin, from the spread of the cells of both."""
    spread = np.sqrt(coarse.bin_means((cells - coarse.bin_means(cells)[coarse.bin]) ** 2))
    spread_z = np.sqrt(coarse.bin_means((cells_z - coarse.bin_means(cells_z)[coarse.bin]) ** 2))
    return spread / np.maximum(spread_z, 1e-12)


@dataclass(frozen=True, eq=False)
class _Slow:
    t: NDArray[np.float64]
    departure: NDArray[np.float64]
    error: NDArray[np.float64]


def _slow_draws(
    coarse: Coarse, cells: NDArray, generators: list[np.random.Generator], enough: bool, threads: int
) -> _Slow:
    _, _, residual = coarse.halo(cells)
    covariance, _ = windowed_covariance(residual, coarse.valid, COARSE_REACH)
    size = 2 * COARSE_REACH + 2
    power = covariance_to_power(covariance * lag_taper(COARSE_REACH), size)
    shape = _padded(coarse.valid.shape)
    field = GaussianField.from_power((shape[0], shape[1], shape[2]), *radial_mean(power, size, 1.0))
    gz, gy, gx = coarse.valid.shape

    def draw(rng: np.random.Generator) -> tuple[float, NDArray, NDArray]:
        drawn = field.draw(rng)[:gz, :gy, :gx][coarse.valid].astype(np.float64)
        departure, error, _ = coarse.halo(drawn)
        return (coarse.offset(drawn)[0] if enough else 0.0), departure, error

    with ThreadPoolExecutor(max(1, threads)) as pool:
        drawn = list(pool.map(draw, generators))
    return _Slow(np.array([d[0] for d in drawn]), np.array([d[1] for d in drawn]), np.array([d[2] for d in drawn]))


@dataclass(frozen=True, eq=False)
class _Direction:
    observed: float
    null: NDArray[np.float64]
    relative: NDArray[np.float64]
    error: NDArray[np.float64]


def _directions(
    directional: DirectionalPower,
    tiles: list[Tile],
    z: NDArray[np.float32],
    null: list[NDArray],
    rng: np.random.Generator,
) -> _Direction:
    """Compare the tiles' power by direction with that of their own surrogates.

    A whole-map surrogate is made of one draw per tile; draws are used again in other combinations, so departures are
    scaled for having met their own mean (less spread) or not (more spread).
    """
    share = np.array([t.voxels for t in tiles], float)
    share /= share.sum()
    pools = [np.array(null[i :: len(tiles)]) for i in range(len(tiles))]
    expected = sum(s * p.mean(axis=0) for s, p in zip(share, pools, strict=True))
    variance = sum(s**2 * p.var(axis=0, ddof=1) for s, p in zip(share, pools, strict=True))
    error = np.sqrt(variance)
    observed = sum(
        s * directional.measure(np.ascontiguousarray(z[t.slices]), t.window) for s, t in zip(share, tiles, strict=True)
    )
    draws = np.array([len(p) for p in pools], float).min()
    deviation = (observed - expected) / error / np.sqrt(1 + 1 / draws)
    if len(tiles) == 1:
        combined = pools[0]
    else:
        combined = sum(s * p[rng.integers(len(p), size=len(null))] for s, p in zip(share, pools, strict=True))
    null_deviation = (combined - expected) / error / np.sqrt(1 - 1 / draws)
    return _Direction(
        float(np.max(np.abs(deviation))),
        np.max(np.abs(null_deviation), axis=1),
        observed / expected - 1.0,
        error / expected,
    )


__all__ = [
    "COMPONENTS",
    "BackgroundStatistics",
    "ClusterSizes",
    "ExcursionRate",
    "LargestNormal",
    "background_statistics",
]
