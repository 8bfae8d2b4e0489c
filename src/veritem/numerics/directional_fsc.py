"""Fourier shell correlation by direction: sums over cells of the half sphere, cones, cut-offs, and what chance does.

Coefficients of each shell are added up in cells of equal area on the half sphere, once. Any cone is then a weighted
sum of cells, a small matrix product. Directions are unit vectors z, y, x; a direction and its opposite are one.
Frequencies are in shells, one Fourier voxel of the (cubic) box thick.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import ConvexHull

from veritem.numerics.directions import even_harmonics, hemisphere
from veritem.numerics.fourier import fast_size, fourier_resize, irfftn, rfftn

# --- cells and sums -------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells of equal area on the half sphere z >= 0: rings around the z axis, each cut into equal parts.

    bounds: (rings + 1,) z from 1 down to 0. per_ring, first: (rings,) cells in each ring, and before it.
    centres: (cells, 3) z, y, x. guess: (4096,) the ring at which z = (i + 1) / 4096 lies.
    """

    bounds: NDArray[np.float64]
    per_ring: NDArray[np.int64]
    first: NDArray[np.int64]
    centres: NDArray[np.float64]
    guess: NDArray[np.int64]

    def find(self, directions: NDArray) -> NDArray[np.int64]:
        """The cell of each direction (n, 3)."""
        out = np.empty(len(directions), np.int64)
        _find(np.ascontiguousarray(directions, np.float64), self.bounds, self.per_ring, self.first, self.guess, out)
        return out


def hemisphere_cells(about: int) -> Cells:
    """Cut the half sphere into about so many cells, as square as may be."""
    step = np.sqrt(2 * np.pi / about)
    rings = max(1, round(0.5 * np.pi / step))
    middle = (np.arange(rings) + 0.5) * 0.5 * np.pi / rings
    per_ring = np.maximum(3, np.rint(2 * np.pi * np.sin(middle) / step)).astype(np.int64)
    total = int(per_ring.sum())
    bounds = 1.0 - np.concatenate([[0], np.cumsum(per_ring)]) / total
    first = np.concatenate([[0], np.cumsum(per_ring)[:-1]])
    z = 0.5 * (bounds[1:] + bounds[:-1]).repeat(per_ring)
    turn = np.concatenate([(np.arange(n) + 0.5) * 2 * np.pi / n for n in per_ring])
    radius = np.sqrt(1 - z**2)
    centres = np.stack([z, radius * np.sin(turn), radius * np.cos(turn)], axis=1)
    guess = np.searchsorted(-bounds, -(np.arange(4096) + 1) / 4096, side="right") - 1
    return Cells(bounds, per_ring, first, centres, np.clip(guess, 0, rings - 1))


@njit(nogil=True, cache=True)
def _cell(z, y, x, length, bounds, per_ring, first, guess):
    if z < 0:
        z, y, x = -z, -y, -x
    height = z / length
    ring = guess[min(int(height * 4096), 4095)]
    while height < bounds[ring + 1] and ring + 1 < per_ring.size:
        ring += 1
    turn = np.arctan2(y, x) / (2 * np.pi)
    if turn < 0:
        turn += 1.0
    n = per_ring[ring]
    return first[ring] + min(int(turn * n), n - 1)


@njit(nogil=True, cache=True)
def _find(directions, bounds, per_ring, first, guess, out):
    for i in range(directions.shape[0]):
        z, y, x = directions[i]
        out[i] = _cell(z, y, x, np.sqrt(z * z + y * y + x * x), bounds, per_ring, first, guess)


@njit(nogil=True, cache=True)
def _cell_sums(half_1, half_2, n, bounds, per_ring, first, guess, cross, power_1, power_2, counts):
    shells = cross.shape[0]
    last = n // 2
    for iz in range(n):
        kz = iz if iz <= n // 2 else iz - n
        if abs(kz) >= shells:
            continue
        for iy in range(n):
            ky = iy if iy <= n // 2 else iy - n
            if kz * kz + ky * ky >= shells * shells:
                continue
            for ix in range(min(last + 1, shells)):
                length = np.sqrt(float(kz * kz + ky * ky + ix * ix))
                shell = int(length + 0.5)
                if shell >= shells:
                    break
                if shell == 0:
                    continue
                # On x = 0 and x = Nyquist the mates are in the array too: each is half a coefficient.
                weight = 0.5 if ix == 0 or (n % 2 == 0 and ix == last) else 1.0
                cell = _cell(float(kz), float(ky), float(ix), length, bounds, per_ring, first, guess)
                a, b = half_1[iz, iy, ix], half_2[iz, iy, ix]
                cross[shell, cell] += weight * (a.real * b.real + a.imag * b.imag)
                power_1[shell, cell] += weight * (a.real * a.real + a.imag * a.imag)
                power_2[shell, cell] += weight * (b.real * b.real + b.imag * b.imag)
                counts[shell, cell] += weight


@dataclass(frozen=True, eq=False)
class CellSums:
    """Sums over the independent coefficients of each shell and cell, all (shells, cells) float64; shell 0 is empty.

    cross: of Re F1 F2*. power_1, power_2: of |F1|², |F2|². counts: how many.
    """

    cross: NDArray[np.float64]
    power_1: NDArray[np.float64]
    power_2: NDArray[np.float64]
    counts: NDArray[np.float64]

    def fsc(self, weights: NDArray) -> NDArray[np.float64]:
        """The correlation in cones, (shells, cones); NaN where a cone holds less than one coefficient.

        weights: (cones, cells).
        """
        cross, power_1, power_2, counts = (
            table @ weights.T for table in (self.cross, self.power_1, self.power_2, self.counts)
        )
        scale = np.sqrt(power_1 * power_2)
        with np.errstate(invalid="ignore", divide="ignore"):
            curve = np.where(scale > 0, cross / scale, 0.0)
        return np.where(counts >= 1.0, curve, np.nan)


def cell_sums(first: NDArray, second: NDArray, size: int, last_shell: int, cells: Cells) -> CellSums:
    """One pass over two half-complex transforms of cubes of `size` voxels, up to `last_shell`."""
    sums = [np.zeros((last_shell + 1, len(cells.centres))) for _ in range(4)]
    _cell_sums(first, second, size, cells.bounds, cells.per_ring, cells.first, cells.guess, *sums)
    return CellSums(*sums)


def soft_cone(directions: NDArray, centres: NDArray, half_angle: float) -> NDArray[np.float64]:
    """Weights exp(-4 (cos - 1)² / (cos half_angle - 1)²) within `half_angle` degrees, (directions, centres).

    Vilas and Tagare, Nat Methods 20 (2023) 1021, doi:10.1038/s41592-023-01874-3.
    """
    cosine = np.minimum(np.abs(directions @ centres.T), 1.0)
    edge = np.cos(np.deg2rad(half_angle))
    return np.where(cosine >= edge, np.exp(-4.0 * ((cosine - 1.0) / (edge - 1.0)) ** 2), 0.0)


def cone(directions: NDArray, centres: NDArray, half_angle: float) -> NDArray[np.float64]:
    """1 within `half_angle` degrees, 0 outside, (directions, centres).

    Tan et al., Nat Methods 14 (2017) 793, doi:10.1038/nmeth.4347.
    """
    return (np.abs(directions @ centres.T) >= np.cos(np.deg2rad(half_angle))).astype(np.float64)


def coarser_mask(mask: NDArray, last_shell: int, threads: int = 1) -> NDArray[np.float32]:
    """A cubic mask on the coarsest grid of a fast size that holds `last_shell` and a margin."""
    small = min(mask.shape[0], fast_size(2 * (last_shell + 8)))
    return mask if small == mask.shape[0] else fourier_resize(mask, (small, small, small), threads)


def masked_low_frequencies(cube: NDArray, mask: NDArray, below: float, threads: int = 1) -> NDArray[np.complex64]:
    """What a mask spreads from below a frequency to beyond it: the transform of mask times the low-passed cube.

    cube: (n, n, n) unmasked. mask: (m, m, m), m <= n, the mask on a grid just fine enough. below: shells; what lies at
    or beyond is cut away. Returns the transform on the mask's grid, at the scale of the full one.
    """
    size, small = cube.shape[0], mask.shape[0]
    full = rfftn(cube, threads)
    keep = min(int(np.ceil(below)), (small - 1) // 2, (size - 1) // 2)
    row = np.r_[0 : keep + 1, -keep:0]
    place = np.ix_(row, row, np.arange(keep + 1))
    z, y, x = place
    low = np.zeros((small, small, small // 2 + 1), np.complex64)
    low[place] = full[place] * ((z * z + y * y + x * x) < below * below)
    # The inverse on the small grid divides by fewer voxels, and the sum over them is shorter by as much.
    return rfftn(irfftn(low, (small, small, small), threads) * mask, threads)


# --- what is read off the curves ------------------------------------------------------------------------------


@njit(nogil=True, cache=True)
def _cutoffs(curves, weights, threshold, first_shell, out):
    for i in range(curves.shape[0]):
        total, best, at = 0.0, 0.0, -1
        for k in range(curves.shape[1]):
            value = curves[i, k]
            if value == value:
                total += weights[k] * (value - threshold)
                if total >= best:
                    best, at = total, k
        if at < 0:
            out[i] = first_shell - 0.5
        elif at + 1 == curves.shape[1]:
            out[i] = first_shell + at
        else:
            high, low = curves[i, at], curves[i, at + 1]
            share = (high - threshold) / (high - low) if high > low else 0.5
            out[i] = first_shell + at + min(max(share, 0.0), 1.0)


def cutoffs(curves: NDArray, weights: NDArray, threshold: float, first_shell: int) -> NDArray[np.float64]:
    """Where each curve falls below `threshold`, in shells.

    curves: (n, shells) from `first_shell` on; NaN holds no evidence. weights: (shells,), of each shell's value.
    The shell up to which the weighted sum of (curve - threshold) is largest: the crossing of the curve's best falling
    fit (isotonic regression), whatever its shape; then interpolated. Half a shell before the first where all is below;
    the last shell where nothing falls.
    """
    out = np.empty(len(curves))
    _cutoffs(np.ascontiguousarray(curves), np.ascontiguousarray(weights, np.float64), threshold, first_shell, out)
    return out


def smoothing(weights: NDArray, sigma: float) -> NDArray[np.float64]:
    """A matrix (shells, shells) that averages over neighbouring shells: a Gaussian of `sigma` shells times weights."""
    k = np.arange(len(weights))
    kernel = np.exp(-0.5 * ((k[:, None] - k) / sigma) ** 2) * weights
    return kernel / kernel.sum(axis=1, keepdims=True)


@dataclass(frozen=True, eq=False)
class Net:
    """Triangles between directions and their opposites, for the surface of a body seen from its centre.

    corners: (triangles, 3) indices into the directions. signs: (triangles, 3), -1 for an opposite.
    """

    directions: NDArray[np.float64]
    corners: NDArray[np.int64]
    signs: NDArray[np.float64]


def net(directions: NDArray) -> Net:
    """The convex hull of directions and their opposites; of each pair of opposite triangles both are kept."""
    both = np.concatenate([directions, -directions])
    triangles = ConvexHull(both).simplices.astype(np.int64)
    n = len(directions)
    return Net(directions, triangles % n, np.where(triangles < n, 1.0, -1.0))


def sphericity(radii: NDArray, mesh: Net) -> NDArray[np.float64]:
    """π^(1/3) (6 V)^(2/3) / A of bodies with these radii along the directions, over that of the same net on a sphere.

    radii: (n, directions). 1 for a sphere, less for anything else.
    Wadell, J Geol 43 (1935) 250, doi:10.1086/624298.
    """

    def ratio(r: NDArray) -> NDArray:
        a, b, c = (
            r[:, mesh.corners[:, i], None] * (mesh.signs[:, i, None] * mesh.directions[mesh.corners[:, i]])
            for i in range(3)
        )
        normal = np.cross(a, b)
        volume = np.abs((normal * c).sum(axis=2)).sum(axis=1) / 6.0
        area = np.sqrt((np.cross(b - a, c - a) ** 2).sum(axis=2)).sum(axis=1) / 2.0
        return np.pi ** (1 / 3) * (6.0 * volume) ** (2 / 3) / area

    found = np.concatenate([ratio(part) for part in np.array_split(radii, max(1, len(radii) // 50))])
    return found / ratio(np.ones((1, radii.shape[1])))


@dataclass(frozen=True, eq=False)
class Reader:
    """How statistics are read off directional curves; the same for a measurement and for draws of chance.

    directions: (cones, 3). weights: (shells,) coefficients of shells 1, 2, ...
    resolution_threshold, shape_threshold: FSC at which cut-offs are read, and the surface for the sphericity.
    sigma: of the smoothing over shells that precedes a cut-off, in shells.
    """

    directions: NDArray[np.float64]
    weights: NDArray[np.float64]
    resolution_threshold: float
    shape_threshold: float
    sigma: float

    def smooth(self, curves: NDArray) -> NDArray:
        """Curves (n, shells, cones) averaged over neighbouring shells."""
        return smoothing(self.weights, self.sigma).astype(curves.dtype) @ curves

    def cutoffs(self, curves: NDArray, threshold: float | None = None) -> NDArray[np.float64]:
        """Cut-offs of smoothed curves (n, shells, cones): (n, cones) shells; at the resolution threshold or another."""
        return self._cut(self.smooth(curves), self.resolution_threshold if threshold is None else threshold)

    def _cut(self, smooth: NDArray, threshold: float) -> NDArray[np.float64]:
        n, shells, cones = smooth.shape
        rows = smooth.transpose(0, 2, 1).reshape(-1, shells).astype(np.float64)
        return cutoffs(rows, self.weights, threshold, 1).reshape(n, cones)

    def read(self, soft: NDArray, hard: NDArray) -> Readings:
        """soft, hard: (n, shells, cones) corrected FSC in soft and in top-hat cones, from shell 1 on."""
        found = self.cutoffs(soft)
        occupancy = (soft >= self.resolution_threshold).mean(axis=2)
        flat = np.ones(soft.shape[1])
        levels = np.stack([cutoffs(occupancy, flat, level, 1) for level in (0.9, 0.5, 0.1)], axis=1)
        area = hard.sum(axis=1, dtype=np.float64)
        smooth = self.smooth(hard)
        return Readings(
            cutoffs=found,
            coefficients=found @ np.linalg.pinv(even_harmonics(self.directions, 4)).T,
            occupancy=occupancy,
            occupancy_shells=levels,
            cone_cutoffs=self._cut(smooth, self.resolution_threshold),
            sphericity=sphericity(self._cut(smooth, self.shape_threshold), net(self.directions)),
            area_ratio=np.maximum(area.min(axis=1), 0.0) / area.max(axis=1),
        )


@dataclass(frozen=True, eq=False)
class Readings:
    """Statistics of n sets of directional curves; cut-offs in shells.

    cutoffs: (n, cones) in soft cones. coefficients: (n, 15) their fit by even harmonics up to degree 4.
    occupancy: (n, shells) share of directions at or above the threshold. occupancy_shells: (n, 3) where it falls below
    0.9, 0.5, 0.1. cone_cutoffs: (n, cones) in top-hat cones. sphericity: (n,) of the surface at the shape threshold.
    area_ratio: (n,) smallest over largest area under the curves of top-hat cones.
    """

    cutoffs: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    occupancy: NDArray[np.float64]
    occupancy_shells: NDArray[np.float64]
    cone_cutoffs: NDArray[np.float64]
    sphericity: NDArray[np.float64]
    area_ratio: NDArray[np.float64]


_FINE = hemisphere(1000)


def anisotropy(coefficients: NDArray) -> NDArray[np.float64]:
    """(highest - lowest) / mean of functions given by even harmonics (n, 15); what lies below 0 counts as 0."""
    values = np.maximum(coefficients @ even_harmonics(_FINE, 4).T, 0.0)
    return (values.max(axis=1) - values.min(axis=1)) / coefficients[:, 0]


def degree_powers(coefficients: NDArray) -> NDArray[np.float64]:
    """Variance over the sphere in degree 2 and in degree 4, relative to the square of the mean: (n, 2)."""
    relative = coefficients / coefficients[:, :1]
    return np.stack([(relative[:, 1:6] ** 2).sum(axis=1), (relative[:, 6:] ** 2).sum(axis=1)], axis=1)


def beyond_chance(coefficients: NDArray, chance: NDArray) -> NDArray[np.float64]:
    """Scale each degree so that its power is what it has beyond chance; to nothing where it has no more.

    coefficients: (n, 15). chance: (2,) mean `degree_powers` without anisotropy.
    """
    found = degree_powers(coefficients)
    share = np.sqrt(np.maximum(1.0 - chance / np.maximum(found, 1e-300), 0.0))
    scaled = coefficients.copy()
    scaled[:, 1:6] *= share[:, :1]
    scaled[:, 6:] *= share[:, 1:]
    return scaled


# --- what chance does -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Coherence:
    """How alike neighbouring coefficients of masked noise are: |M2(q)|² / |M2(0)|², M2 the transform of mask².

    offsets: (n, 3) q in Fourier voxels, z, y, x, of one half. values: (n,), with the other half added.
    total: of all offsets, by how much a sum over many coefficients varies more than one of independent ones.
    """

    offsets: NDArray[np.float64]
    values: NDArray[np.float64]
    total: float


def mask_coherence(mask: NDArray, threads: int = 1, reach: int = 8) -> Coherence:
    """Measure it from a cubic mask in [0, 1], up to `reach` Fourier voxels."""
    size = mask.shape[0]
    reach = min(reach, (size - 1) // 2)
    square = mask * mask
    transform = rfftn(square, threads)[:, :, : reach + 1]
    row = np.r_[0 : reach + 1, -reach:0]
    part = transform[np.ix_(row, row, np.arange(reach + 1))].astype(np.complex128)
    values = (part.real**2 + part.imag**2) / float(part[0, 0, 0].real) ** 2
    values[:, :, 1:] *= 2.0
    qz, qy, qx = np.meshgrid(row, row, np.arange(reach + 1), indexing="ij")
    offsets = np.stack([qz.ravel(), qy.ravel(), qx.ravel()], axis=1).astype(np.float64)
    sums = float(np.sum(square, dtype=np.float64)), float(np.sum(square * square, dtype=np.float64))
    return Coherence(offsets, values.ravel(), mask.size * sums[1] / sums[0] ** 2)


def shell_filters(coherence: Coherence, directions: NDArray, reach: int = 5) -> NDArray[np.float64]:
    """Weights over neighbouring shells that give independent shells the likeness which a mask makes, per direction.

    Two shells, seen as slabs across a direction u, share the coefficients whose offset along u is the shells'
    distance. Returns (directions, 2 reach + 1), none negative, each row of sum 1; its autocorrelation is about that
    likeness.
    """
    size = 64
    along = directions @ coherence.offsets.T
    low = np.floor(along).astype(np.int64)
    share = along - low
    row = np.arange(len(directions))[:, None] * size
    lags = np.zeros(len(directions) * size)
    for lag, part in ((low, 1.0 - share), (low + 1, share)):
        place = (row + lag % size).ravel()
        lags += np.bincount(place, (part * coherence.values).ravel(), minlength=lags.size)
    # An offset and its opposite are one entry; the real part gives half of it to each side.
    spectrum = np.maximum(np.fft.fft(lags.reshape(-1, size), axis=1).real, 0.0)
    kernel = np.fft.ifft(np.sqrt(spectrum), axis=1).real
    kernel = np.maximum(np.concatenate([kernel[:, -reach:], kernel[:, : reach + 1]], axis=1), 0.0)
    return kernel / kernel.sum(axis=1, keepdims=True)


@dataclass(frozen=True, eq=False)
class ChanceModel:
    """What is needed to draw the directional FSC of half maps by their law.

    counts: (shells, cells) coefficients, from shell 0 on. representative: (cells,) the cell whose values each cell
    shares by symmetry. weights: (cones, cells), one array per kind of cone. filters: (cones, 2 reach + 1) over shells.
    inflation: of the mask, `Coherence.total`. first_shell, last_shell: the range that is drawn.
    """

    counts: NDArray[np.float64]
    representative: NDArray[np.int64]
    weights: tuple[NDArray[np.float32], ...]
    filters: NDArray[np.float64]
    inflation: float
    first_shell: int
    last_shell: int


def draw_powers(model: ChanceModel, draws: int, rng: np.random.Generator) -> list[tuple[NDArray, NDArray]]:
    """Powers of the sum and of the difference of half maps in cones, each over its expectation.

    Returns per kind of cone two arrays (draws, shells, cones) float32. The sum and the difference of two half maps
    are independent complex Gaussians, so their power in a cell is a gamma variable with as many degrees of freedom as
    the cell has independent coefficients. The mask leaves 1 / inflation of them independent in all, and makes
    neighbouring shells alike.
    """
    reach = model.filters.shape[1] // 2
    low = max(1, model.first_shell - reach)
    high = min(len(model.counts) - 1, model.last_shell + reach)
    freedom = (model.counts[low : high + 1] / model.inflation).astype(np.float32)[:, model.representative]
    expected = [freedom @ w.T for w in model.weights]
    span = model.last_shell - model.first_shell + 1
    shapes = [(draws, span, len(w)) for w in model.weights]
    found = [(np.zeros(shape, np.float32), np.zeros(shape, np.float32)) for shape in shapes]
    alone = np.array_equal(model.representative, np.arange(freedom.shape[1]))
    taps = model.filters.T.astype(np.float32)
    offset = model.first_shell - low - reach
    # At the ends fewer shells are at hand; the rest weighs more.
    parts = [(j, max(0, -j - offset), min(span, len(freedom) - j - offset)) for j in range(len(taps))]
    for kind, shape in enumerate(shapes):
        norm = np.zeros(shape[1:], np.float32)
        for j, a, b in parts:
            if b > a:
                norm[a:b] += taps[j] * expected[kind][a + j + offset : b + j + offset]
        expected[kind] = np.maximum(norm, np.float32(1e-6))
    batch = 20
    for start in range(0, draws, batch):
        stop = min(start + batch, draws)
        for side in (0, 1):
            gammas = rng.standard_gamma(np.broadcast_to(freedom, (stop - start, *freedom.shape)), dtype=np.float32)
            if not alone:
                gammas = gammas[:, :, model.representative]
            for kind, w in enumerate(model.weights):
                sums = (gammas.reshape(-1, w.shape[1]) @ w.T).reshape(stop - start, len(freedom), -1)
                goal = found[kind][side][start:stop]
                for j, a, b in parts:
                    if b > a:
                        goal[:, a:b] += taps[j] * sums[:, a + j + offset : b + j + offset]
                goal /= expected[kind]
    return found


def drawn_fsc(powers: tuple[NDArray, NDArray], expected: NDArray) -> NDArray[np.float32]:
    """The FSC in cones of drawn powers where its expectation is `expected`, (shells, 1) or (shells, cones)."""
    ratio = np.asarray((1.0 + expected) / (1.0 - expected), np.float32)
    sums = ratio * powers[0]
    return (sums - powers[1]) / np.maximum(sums + powers[1], np.float32(1e-20))


# --- symmetry -------------------------------------------------------------------------------------------------


def point_group_rotations(symmetry: str) -> NDArray[np.float64]:
    """The rotations of a point group, (order, 3, 3) for vectors z, y, x.

    Axes as programs set them: the main axis of C and D along z, a two-fold axis of D along x; two-fold axes of T and I
    and four-fold axes of O along z, y, x, three-fold ones along (1, 1, 1).
    """
    kind, fold = symmetry[0].upper(), int(symmetry[1:]) if symmetry[0].upper() in "CD" else 0
    third = np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])
    generators = {
        "C": [_about_z(fold or 1)],
        "D": [_about_z(fold or 1), np.diag([-1.0, -1.0, 1.0])],
        "T": [_about_z(2), third],
        "O": [_about_z(4), third],
        "I": [_about_z(2), third, _about(np.array([(1 + np.sqrt(5.0)) / 2, 0.0, 1.0]), 5)],
    }[kind]
    group = [np.eye(3)]
    grown = True
    while grown:
        grown = False
        for known in list(group):
            for step in generators:
                new = step @ known
                if not any(np.allclose(new, other, atol=1e-6) for other in group):
                    group.append(new)
                    grown = True
    return np.array(group)


def _about_z(fold: int) -> NDArray[np.float64]:
    return _about(np.array([1.0, 0.0, 0.0]), fold)


def _about(axis: NDArray, fold: int) -> NDArray[np.float64]:
    a = axis / np.linalg.norm(axis)
    turn = 2 * np.pi / fold
    cross = np.array([[0, -a[2], a[1]], [a[2], 0, -a[0]], [-a[1], a[0], 0]])
    return np.eye(3) + np.sin(turn) * cross + (1 - np.cos(turn)) * cross @ cross


def symmetry_representatives(cells: Cells, symmetry: str) -> NDArray[np.int64]:
    """For each cell the cell whose values it shares when this point group was imposed; its own index without."""
    count = len(cells.centres)
    rotations = point_group_rotations(symmetry)
    if len(rotations) == 1:
        return np.arange(count)
    # A direction off every axis and plane: each orbit's member nearest to it stands for the orbit.
    pole = np.array([0.81, 0.23, 0.54])
    moved = np.einsum("gij,cj->gci", rotations, cells.centres)
    nearness = moved @ pole
    best = np.argmax(np.abs(nearness), axis=0)
    at = np.arange(count)
    chosen = moved[best, at] * np.sign(nearness[best, at])[:, None]
    partner = cells.find(chosen)
    graph = coo_array((np.ones(count), (at, partner)), shape=(count, count))
    labels = connected_components(graph, directed=False)[1]
    lowest = np.full(labels.max() + 1, count)
    np.minimum.at(lowest, labels, at)
    return lowest[labels]
