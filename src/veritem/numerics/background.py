"""Five questions to the noise around a particle, answered against simulated noise of the same spectrum.

The surrogates are stationary Gaussian fields with the spectrum that was measured, seen through the same region and
treated as the data are (centre, robust scale, spectrum of the coarse cells are estimated again in each). They live on
two grids: coarse cells over the whole box for what is slow (offset, halo), tiles at full sampling for what is fine
(outliers, clusters, directions). Each surrogate answers all five questions, so that the five are judged as one family
(Westfall and Young).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, map_coordinates
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
# What a block mean is made of: blocks at least this long (voxels), this full, and this many.
BLOCK_LEAST, BLOCK_FILL, BLOCKS = 8, 0.9, 50
# A box up to WHOLE voxels an axis is one tile; larger ones are sampled by tiles of TILE.
WHOLE, TILE, TILES = 96, 64, 8
# Independent voxels behind each step of the radial scale.
SCALE_VOXELS = 4000.0
# Directions: fine cells on the hemisphere; caps and belts around the centres of a coarser set.
DIRECTION_CELLS, DIRECTIONS = 192, 46
CAP, BELT = np.cos(np.deg2rad(20.0)), np.sin(np.deg2rad(10.0))
# The first surrogates; the rest are drawn only when the family's p-value is not above STOP_ABOVE by then.
FIRST_DRAWS, STOP_ABOVE = 99, 0.1
# What limits are drawn at: five tests at this level make a family at 1 %.
COMPONENT_LEVEL = 0.002
# Coefficients without which a direction cannot be judged.
LEAST_COEFFICIENTS = 30
# In a thinner region the spectrum of the noise is blurred to that of the region's own shape.
LEAST_TILE_SHARE = 0.1
# Cells and blocks without which what is slow cannot be judged.
LEAST_CELLS, LEAST_BLOCKS = 24, 10
# Shells whose power is below this share of the strongest shell's hold no noise, only leakage.
LEAST_POWER = 0.03
# Change of the log power from shell to shell beyond which a shell is too steep to compare directions in.
STEEP = 0.3


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

    @property
    def usable(self) -> bool:
        """Whether there is enough of it for the slow questions."""
        return self.distance.size >= LEAST_CELLS and self.blocks >= LEAST_BLOCKS

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

    def largest_departure(self, cells: NDArray) -> float:
        """The largest departure of a bin from the far cells, in its standard errors."""
        departure, error, _ = self.halo(cells)
        return float(np.max(np.abs(departure) / error))

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
            best = (np.where(full[flat] & far, number[flat], -1), count, size)
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
        i, j, k = (int(a) for a in np.unravel_index(int(flat), counts.shape))
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
def _whitened_by_direction(real, imag, shell, cell, weight, sums, counts, out):
    flat = shell.size
    for i in range(flat):
        s = shell[i]
        if s >= 0:
            sums[s] += weight[i] * (real[i] * real[i] + imag[i] * imag[i])
            counts[s] += weight[i]
    for i in range(flat):
        s = shell[i]
        if s >= 0:
            out[cell[i]] += weight[i] * (real[i] * real[i] + imag[i] * imag[i]) * counts[s] / sums[s]


def hemisphere(points: int) -> NDArray[np.float64]:
    """Directions of equal area on the hemisphere, (points, 3) as x, y, z: a Fibonacci spiral."""
    i = np.arange(points)
    z = 1.0 - (i + 0.5) / points
    azimuth = np.pi * (1 + np.sqrt(5.0)) * (i + 0.5)
    planar = np.sqrt(1 - z**2)
    return np.stack([planar * np.cos(azimuth), planar * np.sin(azimuth), z], axis=1)


def _usable_shells(frequency: NDArray, power: NDArray, longest: int) -> NDArray[np.bool_]:
    """The shells (one per Fourier voxel of the longest axis) that hold noise and in which it changes slowly.

    Directions of a grid meet a shell at different radii: where the power falls steeply within a shell, they would
    differ without being different.
    """
    shells = np.interp(np.arange(longest + 1) / longest, frequency, np.maximum(power, 1e-12))
    change = np.abs(np.gradient(np.log(shells)))
    return (shells >= LEAST_POWER * power.max()) & ~binary_dilation(change > STEEP)


class DirectionalPower:
    """Power of windowed noise by direction, each shell divided by its own mean.

    shape: of the tile. usable: boolean for each shell of one Fourier voxel of the longest axis.
    """

    def __init__(self, shape: tuple[int, int, int], usable: NDArray[np.bool_]) -> None:
        nz, ny, nx = shape
        fz, fy = np.fft.fftfreq(nz), np.fft.fftfreq(ny)
        fx = np.fft.rfftfreq(nx)
        grid = np.stack(
            [np.broadcast_to(a, (nz, ny, fx.size)) for a in (fx[None, None], fy[None, :, None], fz[:, None, None])], -1
        ).reshape(-1, 3)
        radius = np.linalg.norm(grid, axis=1)
        longest = max(shape)
        shell = np.rint(radius * longest).astype(np.int64)
        # The lowest shells have too few coefficients; the coefficient at the origin has no direction.
        good = (shell >= 3) & (radius <= 0.5) & usable[np.minimum(shell, usable.size - 1)]
        self.shell = np.where(good, shell, -1).astype(np.int32)
        centres = hemisphere(DIRECTION_CELLS)
        tree = cKDTree(np.concatenate([centres, -centres]))
        cell = np.zeros(len(grid), np.int32)
        cell[good] = tree.query(grid[good] / radius[good][:, None])[1] % DIRECTION_CELLS
        self.cell = cell
        # On the plane x = 0 both mates of a coefficient are in the grid: each is a half.
        self.weight = np.where(grid[:, 0] > 0, 1.0, 0.5).astype(np.float32)
        self.counts = np.bincount(cell[good], self.weight[good], minlength=DIRECTION_CELLS)
        self.axes = hemisphere(DIRECTIONS)
        cosine = np.abs(self.axes @ centres.T)
        groups = np.concatenate([cosine >= CAP, cosine <= BELT]) * self.counts
        members = groups.sum(axis=1, keepdims=True)
        self.groups = groups / np.maximum(members, 1e-9)
        # Coarsely sampled or strongly blurred noise fills too few shells to have directions.
        self.usable = bool(members.min() >= LEAST_COEFFICIENTS)

    def measure(self, z: NDArray[np.float32], window: NDArray[np.float32]) -> NDArray[np.float64]:
        """(2 x directions,) mean relative power in the cap around each direction, then in the belt across it."""
        transform = scipy.fft.rfftn(np.clip(z, -5.0, 5.0) * window).ravel()
        shells = int(self.shell.max()) + 1
        out = np.zeros(DIRECTION_CELLS)
        _whitened_by_direction(
            transform.real,
            transform.imag,
            self.shell,
            self.cell,
            self.weight,
            np.zeros(shells),
            np.zeros(shells),
            out,
        )
        return self.groups @ (out / np.maximum(self.counts, 0.5))


# --- the family -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class BackgroundStatistics:
    """What the background looks like, beside what noise alone would look like.

    Densities are in grey values, z in local standard deviations of the noise.
    p: adjusted p-value of each component that could be asked; family_p: the smallest of them.
    surrogates: how many were drawn.
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
    # halo: per distance bin; empty where the background is too small
    distance: NDArray[np.float64]
    departure: NDArray[np.float64]
    departure_error: NDArray[np.float64]
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
    # orders of the symmetry axes on which outliers were found; their heights count divided by the root of the order
    symmetry: tuple[int, ...]
    # directions; empty where the noise fills too few shells
    axes: NDArray[np.float64]
    relative_power: NDArray[np.float64]
    relative_power_error: NDArray[np.float64]
    direction_limit: float
    z: NDArray[np.float32]
    scale: NDArray[np.float64]


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
    directional = DirectionalPower(tile_shape, _usable_shells(*fine_power, max(tile_shape)))
    turning = directional.usable and tiles[0].voxels >= LEAST_TILE_SHARE * tiles[0].region.size
    seeds = np.random.SeedSequence(seed).spawn(2 * surrogates + 1)

    # What is slow, on the coarse grid; what is fine, on tiles.
    cells = _cell_means(data, rim, coarse)
    cells_z = _cell_means(z, rim, coarse)
    z *= region
    shape = tuple(scipy.fft.next_fast_len(n, real=True) for n in tile_shape)
    field = GaussianField.from_power((shape[0], shape[1], shape[2]), *fine_power)
    slow_field = _slow_field(coarse, cells_z) if coarse.usable else None

    def draw(i: int) -> _Draw:
        t, halo = 0.0, 0.0
        if slow_field is not None:
            t, halo = _slow_draw(coarse, slow_field, np.random.default_rng(seeds[i]))
        tile = tiles[i % len(tiles)]
        values = field.draw(np.random.default_rng(seeds[surrogates + i]))
        values = np.ascontiguousarray(values[: tile_shape[0], : tile_shape[1], : tile_shape[2]])
        inside = values[tile.region]
        # Every third voxel tells the centre of correlated noise as well as all of them.
        middle, spread = float(np.median(inside[::3])), float(inside.std())
        z0, y0, x0 = (o - s.start for o, s in zip(box_centre, tile.slices, strict=True))
        local = radial_scale(values, tile.region, middle, spread, bin_voxels, (z0, y0, x0))
        part = normalise_noise(values, tile.region, middle, local, (z0, y0, x0))
        highest, sizes, _ = excursion_clusters(part, cluster_level)
        turned = directional.measure(part, tile.window) if turning else None
        return _Draw(t, halo, float(highest), sizes, turned)

    _, sizes, peaks = excursion_clusters(z, cluster_level)
    symmetry = SymmetryAxes(z, region, box_centre, zero_lag)
    highest, largest = symmetry.extremes(peaks, sizes, cluster_level)
    seen = _Observed(
        t=coarse.offset(cells)[0] if coarse.usable else None,
        halo=coarse.largest_departure(cells_z) if coarse.usable and coarse.bins > 1 else None,
        highest=highest,
        largest=largest,
        voxels=int(np.count_nonzero(region)),
        direction=_measured_direction(directional, tiles, z) if turning else None,
    )
    first = min(FIRST_DRAWS, surrogates)
    with ThreadPoolExecutor(max(1, threads)) as pool:
        draws = list(pool.map(draw, range(first)))
        judged = _judge_family(seen, draws, tiles, coarse, np.random.default_rng(seeds[-1]))
        # Noise that looks like noise needs no more draws. Stopping here cannot add to the rate of small p-values.
        if judged.family_p <= STOP_ABOVE and surrogates > first:
            draws += pool.map(draw, range(first, surrogates))
            judged = _judge_family(seen, draws, tiles, coarse, np.random.default_rng(seeds[-1]))

    order = np.argsort(-np.abs(z[tuple(peaks.T)]), kind="stable") if len(peaks) else np.zeros(0, np.int64)
    profile = _profile(coarse, cells, cells_z)
    mean, interval = _mean_with_interval(coarse, cells, np.random.default_rng(seeds[-1]))
    return BackgroundStatistics(
        family_p=judged.family_p,
        p=judged.adjusted,
        surrogates=len(draws),
        mean=mean,
        mean_interval=interval,
        t=seen.t if seen.t is not None else float("nan"),
        blocks=coarse.blocks,
        block_edge=coarse.block_edge,
        distance=profile[0],
        departure=profile[1],
        departure_error=profile[2],
        halo_limit=judged.halo.quantile(COMPONENT_LEVEL),
        highest=seen.highest,
        highest_expected=judged.rate.quantile(0.5, seen.voxels),
        highest_limit=judged.rate.quantile(COMPONENT_LEVEL, seen.voxels),
        largest_cluster=seen.largest,
        cluster_limit=judged.clusters.quantile(COMPONENT_LEVEL, seen.voxels),
        peaks=peaks[order],
        peak_z=z[tuple(peaks[order].T)].astype(float) if len(peaks) else np.zeros(0),
        peak_size=sizes[order],
        symmetry=tuple(symmetry.orders),
        axes=directional.axes,
        relative_power=judged.relative_power,
        relative_power_error=judged.relative_power_error,
        direction_limit=judged.direction.quantile(COMPONENT_LEVEL) if judged.direction else float("nan"),
        z=z,
        scale=scale,
    )


class SymmetryAxes:
    """Symmetry axes through the outliers of the noise.

    Where symmetry of order n was imposed, n copies of the noise are averaged; on the axis they are one and the same,
    so that the noise there is sqrt(n) times as strong as elsewhere, in every sound map. Whether an outlier lies on
    such an axis is seen from the noise itself: turned about the axis by 360°/n it falls on itself.

    z: normalised noise, 0 outside region. centre: of the box, (z, y, x) index. zero_lag: voxels, reach of the noise's
    correlation.
    """

    POINTS = 600
    LARGEST_ORDER = 12
    # Trilinear interpolation leaves a correlation of 0.5 to 0.9; unrelated noise reaches 0.2 at most.
    LEAST_CORRELATION = 0.4
    # Outliers that are looked at, the highest first.
    EXAMINED = 400

    def __init__(
        self, z: NDArray[np.float32], region: NDArray[np.bool_], centre: tuple[float, float, float], zero_lag: float
    ) -> None:
        self._z = z
        self._region = region
        self._centre = np.array(centre)
        self._reach = max(zero_lag, 2.0)
        self._axes: list[NDArray[np.float64]] = []
        self.orders: list[int] = []
        # Points whose turned places stay in the box, spread evenly over the region.
        inscribed = min(min(c, n - 1 - c) for c, n in zip(centre, z.shape, strict=True))
        step = max(1, int((np.count_nonzero(region) / (8 * self.POINTS)) ** (1 / 3)))
        points = step * np.array(np.nonzero(region[::step, ::step, ::step])).T - self._centre
        self._points = points[np.linalg.norm(points, axis=1) < inscribed - 1]

    def extremes(self, peaks: NDArray, sizes: NDArray, level: float) -> tuple[float, int]:
        """The largest |z| and the largest cluster, allowing for the axes.

        peaks: (clusters, 3) index of the highest voxel of each cluster above `level`. sizes: (clusters,).
        """
        if len(peaks) == 0:
            return float(np.max(np.abs(self._z))), 0
        heights = np.abs(self._z[tuple(peaks.T)]).astype(float)
        highest = 0.0
        for k in np.argsort(-heights, kind="stable")[: self.EXAMINED]:
            if heights[k] <= highest:
                break
            order = self.order_at(peaks[k])
            highest = max(highest, heights[k] / np.sqrt(order))
            if order == 1:
                break
        largest = 0
        for k in np.argsort(-sizes, kind="stable")[: self.EXAMINED]:
            order = self.order_at(peaks[k])
            if order == 1 or heights[k] / np.sqrt(order) > level:
                largest = int(sizes[k])
                break
        return highest, largest

    def order_at(self, voxel: NDArray) -> int:
        """The order of the symmetry axis through a voxel and the centre of the box; 1 where there is none."""
        arm = voxel - self._centre
        length = float(np.linalg.norm(arm))
        if length < 2 * self._reach:
            return 1
        for axis, order in zip(self._axes, self.orders, strict=True):
            if np.linalg.norm(arm - (arm @ axis) * axis) <= self._reach:
                return order
        axis = arm / length
        found = [n for n in range(2, self.LARGEST_ORDER + 1) if self._repeats(axis, n)]
        if found:
            self._axes.append(axis)
            self.orders.append(max(found))
            return max(found)
        return 1

    def _repeats(self, axis: NDArray[np.float64], order: int) -> bool:
        angle = 2 * np.pi / order
        points = self._points
        along = (points @ axis)[:, None] * axis
        turned = along + np.cos(angle) * (points - along) + np.sin(angle) * np.cross(axis, points)
        apart = np.linalg.norm(turned - points, axis=1) > 2 * self._reach
        where = turned + self._centre
        nearest = np.rint(where).astype(np.int64)
        apart &= self._region[tuple(nearest.T)]
        if np.count_nonzero(apart) < 100:
            return False
        used = np.flatnonzero(apart)[:: max(1, np.count_nonzero(apart) // self.POINTS)]
        here = self._z[tuple((points[used] + self._centre).astype(np.int64).T)]
        there = map_coordinates(self._z, where[used].T, order=1)
        return bool(np.corrcoef(here, there)[0, 1] > self.LEAST_CORRELATION)


@dataclass(frozen=True, eq=False)
class _Draw:
    """One surrogate's answers."""

    t: float
    halo: float
    highest: float
    sizes: NDArray[np.int64]
    direction: NDArray[np.float64] | None


@dataclass(frozen=True, eq=False)
class _Observed:
    """The map's answers; None where a question cannot be asked."""

    t: float | None
    halo: float | None
    highest: float
    largest: int
    voxels: int
    direction: NDArray[np.float64] | None


@dataclass(frozen=True, eq=False)
class _Judged:
    family_p: float
    adjusted: dict[str, float]
    halo: LargestNormal
    rate: ExcursionRate
    clusters: ClusterSizes
    direction: LargestNormal | None
    relative_power: NDArray[np.float64]
    relative_power_error: NDArray[np.float64]


def _judge_family(
    seen: _Observed, draws: list[_Draw], tiles: list[Tile], coarse: Coarse, rng: np.random.Generator
) -> _Judged:
    """Put each answer on the scale of its own p-value, and compare the smallest with the surrogates' smallest."""
    voxels = np.array([tiles[i % len(tiles)].voxels for i in range(len(draws))], float)
    null_t, null_halo = np.array([d.t for d in draws]), np.array([d.halo for d in draws])
    null_highest = np.array([d.highest for d in draws])
    null_largest = np.array([d.sizes.max() if d.sizes.size else 0 for d in draws])
    halo = fit_largest_normal(null_halo) if seen.halo is not None else LargestNormal(1.0)
    rate = fit_excursion_rate(null_highest, voxels)
    clusters = fit_cluster_sizes(np.concatenate([d.sizes for d in draws]), float(voxels.sum()))
    free = max(coarse.blocks - 1, 1)
    names, observed, null = [], [], []
    if seen.t is not None:
        names.append("offset")
        observed.append(2 * student.sf(abs(seen.t), free))
        null.append(2 * student.sf(np.abs(null_t), free))
    if seen.halo is not None:
        names.append("halo")
        observed.append(halo.p_value(seen.halo))
        null.append(halo.p_value(null_halo))
    names += ["highest", "cluster"]
    observed += [rate.p_value(seen.highest, seen.voxels), clusters.p_value(seen.largest, seen.voxels)[0]]
    null += [rate.p_value(null_highest, voxels), clusters.p_value(null_largest, voxels)]
    direction, relative, error = None, np.zeros(0), np.zeros(0)
    if seen.direction is not None:
        turned = _directions(seen.direction, tiles, [d.direction for d in draws if d.direction is not None], rng)
        direction, relative, error = fit_largest_normal(turned.null), turned.relative, turned.error
        names.append("direction")
        observed.append(direction.p_value(turned.observed))
        null.append(direction.p_value(turned.null))
    family_p, adjusted = westfall_young(np.array(observed, float), np.stack(null, axis=1))
    p_values = dict(zip(names, map(float, adjusted), strict=True))
    return _Judged(family_p, p_values, halo, rate, clusters, direction, relative, error)


def _profile(coarse: Coarse, cells: NDArray, cells_z: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Distance (Å), departure from the far cells and its standard error (grey values), bin by bin."""
    if not coarse.usable:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    _, error_z, _ = coarse.halo(cells_z)
    departure = coarse.bin_means(cells) - cells[coarse.far].mean()
    return coarse.bin_means(coarse.distance), departure, error_z * _bin_scale(coarse, cells, cells_z)


def _mean_with_interval(coarse: Coarse, cells: NDArray, rng: np.random.Generator) -> tuple[float, tuple[float, float]]:
    if not coarse.usable:
        return float("nan"), (float("nan"), float("nan"))
    _, sums, counts = coarse.offset(cells)
    return float(sums.sum() / counts.sum()), block_bootstrap(sums, counts, rng)


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


def _bin_scale(coarse: Coarse, cells: NDArray, cells_z: NDArray) -> NDArray[np.float64]:
    """Grey values per unit of z, bin by bin, from the spread of the cells of both."""
    spread = np.sqrt(coarse.bin_means((cells - coarse.bin_means(cells)[coarse.bin]) ** 2))
    spread_z = np.sqrt(coarse.bin_means((cells_z - coarse.bin_means(cells_z)[coarse.bin]) ** 2))
    return spread / np.maximum(spread_z, 1e-12)


def _slow_field(coarse: Coarse, cells: NDArray) -> GaussianField:
    """Noise of the coarse cells: their covariance once the profile by distance is taken off."""
    _, _, residual = coarse.halo(cells)
    covariance, _ = windowed_covariance(residual, coarse.valid, COARSE_REACH)
    size = 2 * COARSE_REACH + 2
    power = covariance_to_power(covariance * lag_taper(COARSE_REACH), size)
    shape = _padded(coarse.valid.shape)
    return GaussianField.from_power((shape[0], shape[1], shape[2]), *radial_mean(power, size, 1.0))


def _slow_draw(coarse: Coarse, field: GaussianField, rng: np.random.Generator) -> tuple[float, float]:
    gz, gy, gx = coarse.valid.shape
    cells = field.draw(rng)[:gz, :gy, :gx][coarse.valid].astype(np.float64)
    return coarse.offset(cells)[0], coarse.largest_departure(cells)


@dataclass(frozen=True, eq=False)
class _Direction:
    observed: float
    null: NDArray[np.float64]
    relative: NDArray[np.float64]
    error: NDArray[np.float64]


def _tile_shares(tiles: list[Tile]) -> NDArray[np.float64]:
    share = np.array([t.voxels for t in tiles], float)
    return share / share.sum()


def _measured_direction(
    directional: DirectionalPower, tiles: list[Tile], z: NDArray[np.float32]
) -> NDArray[np.float64]:
    parts = [directional.measure(np.ascontiguousarray(z[t.slices]), t.window) for t in tiles]
    return _tile_shares(tiles) @ np.array(parts)


def _directions(observed: NDArray, tiles: list[Tile], null: list[NDArray], rng: np.random.Generator) -> _Direction:
    """Compare the tiles' power by direction with that of their own surrogates.

    One tile: the map is one more draw among the surrogates, and mean and spread are those of all of them, so that the
    map and each surrogate have the same part in what they are compared with. Several tiles: a whole-map surrogate is
    made of one draw per tile; draws are used again in other combinations, so departures are scaled for having met
    their own mean (less spread) or not (more spread).
    """
    share = _tile_shares(tiles)
    pools = [np.array(null[i :: len(tiles)]) for i in range(len(tiles))]
    if len(tiles) == 1:
        everything = np.vstack([observed, pools[0]])
        expected, error = everything.mean(axis=0), everything.std(axis=0, ddof=1)
        deviation = (observed - expected) / error
        null_deviation = (pools[0] - expected) / error
    else:
        expected = share @ np.array([p.mean(axis=0) for p in pools])
        error = np.sqrt(share**2 @ np.array([p.var(axis=0, ddof=1) for p in pools]))
        draws = min(len(p) for p in pools)
        picked = [p[rng.integers(len(p), size=len(null))] for p in pools]
        combined = np.tensordot(share, np.array(picked), axes=1)
        deviation = (observed - expected) / error / np.sqrt(1 + 1 / draws)
        null_deviation = (combined - expected) / error / np.sqrt(1 - 1 / draws)
    return _Direction(
        float(np.max(np.abs(deviation))),
        np.max(np.abs(null_deviation), axis=1),
        observed / expected - 1.0,
        error / expected,
    )
