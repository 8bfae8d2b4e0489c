"""Masks: connected components, edges, enclosed volumes.

Components are kept as runs of voxels along x, not as a volume of labels: that is quick to make, small, and everything
that is asked of components (sizes, the largest, where they lie) follows from the runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ComponentRuns:
    """The connected components of a mask (26 neighbours), largest first.

    shape: (nz, ny, nx) of the mask.
    row_start: (nz * ny + 1,) int64; the runs of row z * ny + y are row_start[row] ... row_start[row + 1] - 1.
    begin, end: (runs,) int32, the x range of each run, `end` not included.
    label: (runs,) int32, the component of each run: 0 is the largest, 1 the next, ...
    sizes: (components,) int64 voxels, falling; equal sizes in the order in which they are met along z, y, x.
    """

    shape: tuple[int, int, int]
    row_start: NDArray[np.int64]
    begin: NDArray[np.int32]
    end: NDArray[np.int32]
    label: NDArray[np.int32]
    sizes: NDArray[np.int64]

    def select(self, keep: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The mask (nz, ny, nx) of the components for which `keep` (components,) is true."""
        mask = np.zeros(self.shape, bool)
        _paint(self.row_start, self.begin, self.end, self.label, keep, mask.reshape(-1, self.shape[2]))
        return mask

    def largest(self) -> NDArray[np.bool_]:
        """The mask (nz, ny, nx) of the largest component; empty when there is none."""
        keep = np.zeros(self.sizes.size, bool)
        keep[:1] = True
        return self.select(keep)


@njit(nogil=True, cache=True)
def _count_runs(rows, row_start):
    nx = rows.shape[1]
    total = 0
    for row in range(rows.shape[0]):
        row_start[row] = total
        inside = False
        for x in range(nx):
            now = rows[row, x]
            if now and not inside:
                total += 1
            inside = now
    row_start[rows.shape[0]] = total
    return total


@njit(nogil=True, cache=True)
def _find(parent, i):
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(nogil=True, cache=True)
def _join(parent, begin, end, first_a, last_a, first_b, last_b):
    """Unite the touching runs of two neighbouring rows; diagonal neighbours touch."""
    a, b = first_a, first_b
    while a < last_a and b < last_b:
        if begin[a] <= end[b] and begin[b] <= end[a]:
            root_a, root_b = _find(parent, a), _find(parent, b)
            # The smaller index becomes the root, so a component is named after the run that is met first.
            if root_a < root_b:
                parent[root_b] = root_a
            elif root_b < root_a:
                parent[root_a] = root_b
        if end[a] < end[b]:
            a += 1
        else:
            b += 1


@njit(nogil=True, cache=True)
def _label_runs(rows, ny, row_start, begin, end, parent):
    nx = rows.shape[1]
    run = 0
    for row in range(rows.shape[0]):
        inside = False
        for x in range(nx):
            now = rows[row, x]
            if now and not inside:
                begin[run] = x
            elif inside and not now:
                end[run] = x
                run += 1
            inside = now
        if inside:
            end[run] = nx
            run += 1
        first, last = row_start[row], row_start[row + 1]
        for i in range(first, last):
            parent[i] = i
        if first == last:
            continue
        y = row % ny
        if y > 0:
            _join(parent, begin, end, first, last, row_start[row - 1], row_start[row])
        if row >= ny:
            for step in range(-1, 2):
                if 0 <= y + step < ny:
                    other = row - ny + step
                    _join(parent, begin, end, first, last, row_start[other], row_start[other + 1])


@njit(nogil=True, cache=True)
def _size_roots(begin, end, parent, sizes):
    for i in range(begin.size):
        root = _find(parent, i)
        parent[i] = root
        sizes[root] += end[i] - begin[i]


@njit(nogil=True, cache=True)
def _paint(row_start, begin, end, label, keep, rows):
    for row in range(rows.shape[0]):
        for i in range(row_start[row], row_start[row + 1]):
            if keep[label[i]]:
                rows[row, begin[i] : end[i]] = True


def label_components(mask: NDArray[np.bool_]) -> ComponentRuns:
    """The connected components of a mask, voxels that share a face, an edge or a corner being connected.

    mask: (nz, ny, nx) bool. The box is not periodic.
    """
    mask = np.ascontiguousarray(mask, bool)
    nz, ny, nx = mask.shape
    rows = mask.reshape(nz * ny, nx)
    row_start = np.empty(nz * ny + 1, np.int64)
    runs = _count_runs(rows, row_start)
    begin, end, parent = (np.empty(runs, np.int32) for _ in range(3))
    _label_runs(rows, ny, row_start, begin, end, parent)
    root_sizes = np.zeros(runs, np.int64)
    _size_roots(begin, end, parent, root_sizes)
    roots = np.flatnonzero(root_sizes)
    order = roots[np.argsort(-root_sizes[roots], kind="stable")]
    rank = np.zeros(runs, np.int32)
    rank[order] = np.arange(order.size, dtype=np.int32)
    return ComponentRuns((nz, ny, nx), row_start, begin, end, rank[parent], root_sizes[order])


def components_for_share(sizes: NDArray[np.int64], share: float) -> int:
    """The number of largest components that together hold at least `share` of all voxels; 0 of none.

    sizes: (components,) falling.
    """
    if sizes.size == 0:
        return 0
    return int(np.searchsorted(np.cumsum(sizes), share * sizes.sum() * (1 - 1e-12))) + 1


@njit(nogil=True, cache=True)
def _edge(distance, width, soft):
    for i in range(distance.size):
        d = distance[i]
        if d <= 0.0:
            soft[i] = 1.0
        elif d >= width:
            soft[i] = 0.0
        else:
            soft[i] = 0.5 * (1.0 + np.cos(np.pi * d / width))


def raised_cosine_edge(distance: NDArray[np.float32], width: float) -> NDArray[np.float32]:
    """A soft mask: 1 where `distance` <= 0, falling to 0 at `width` as half a cosine. Both in the same unit."""
    soft = np.empty(distance.shape, np.float32)
    _edge(np.ascontiguousarray(distance).reshape(-1), width, soft.reshape(-1))
    return soft


@njit(nogil=True, cache=True)
def _slice_sums(data, offset, sums_z, squares_z, sums_y, squares_y, sums_x, squares_x):
    nz, ny, nx = data.shape
    for z in range(nz):
        for y in range(ny):
            total, square = 0.0, 0.0
            for x in range(nx):
                value = float(data[z, y, x]) - offset
                total += value
                square += value * value
                sums_x[x] += value
                squares_x[x] += value * value
            sums_z[z] += total
            squares_z[z] += square
            sums_y[y] += total
            squares_y[y] += square


def slice_variances(data: NDArray[np.float32]) -> tuple[NDArray[np.float64], ...]:
    """The variance of every slice across z, y and x, in one pass: three arrays of (nz,), (ny,), (nx,)."""
    # Relative to a value of the map, so that a large offset does not drown the variance in rounding.
    offset = float(data.flat[data.size // 2])
    shape = data.shape
    sums = [np.zeros(n) for n in shape]
    squares = [np.zeros(n) for n in shape]
    _slice_sums(data, offset, sums[0], squares[0], sums[1], squares[1], sums[2], squares[2])
    held = [data.size / n for n in shape]
    return tuple(q / h - (s / h) ** 2 for s, q, h in zip(sums, squares, held, strict=True))


@njit(nogil=True, cache=True)
def _mass_profiles(data, mask, base, mass_z, mass_y, mass_x, count_z, count_y, count_x):
    nz, ny, nx = data.shape
    for z in range(nz):
        for y in range(ny):
            row, held = 0.0, 0
            for x in range(nx):
                if mask[z, y, x]:
                    weight = max(float(data[z, y, x]) - base, 0.0)
                    row += weight
                    held += 1
                    mass_x[x] += weight
                    count_x[x] += 1
            mass_z[z] += row
            mass_y[y] += row
            count_z[z] += held
            count_y[y] += held


@dataclass(frozen=True, eq=False)
class MassProfiles:
    """Along z, y, x: the mass max(density - base, 0) and the number of mask voxels in each slice, float64."""

    mass: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
    count: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

    @property
    def total(self) -> float:
        return float(self.mass[0].sum())

    def centre(self) -> NDArray[np.float64]:
        """Centre of mass (z, y, x) in voxels; NaN when there is no mass."""
        if self.total <= 0.0:
            return np.full(3, np.nan)
        return np.array([(np.arange(m.size) * m).sum() / m.sum() for m in self.mass])


def mass_profiles(data: NDArray[np.float32], mask: NDArray[np.bool_], base: float = 0.0) -> MassProfiles:
    """How the mass above `base` inside the mask is spread along the axes.

    data, mask: (nz, ny, nx).
    """
    mass = tuple(np.zeros(n) for n in data.shape)
    count = tuple(np.zeros(n) for n in data.shape)
    _mass_profiles(data, mask, base, *mass, *count)
    return MassProfiles((mass[0], mass[1], mass[2]), (count[0], count[1], count[2]))


@njit(nogil=True, cache=True)
def _histogram(values, first, scale, counts):
    last = counts.size - 1
    for i in range(values.size):
        position = (values[i] - first) * scale
        if position >= 0.0:
            counts[min(int(position), last)] += 1


def counts_above(data: NDArray[np.float32], levels: NDArray[np.float64]) -> NDArray[np.int64]:
    """The number of voxels at or above each level, in one pass.

    levels: equally spaced, rising. A voxel within rounding of a level may be counted on either side of it.
    """
    counts = np.zeros(levels.size, np.int64)
    step = float(levels[-1] - levels[0]) / (levels.size - 1)
    _histogram(data.reshape(-1), float(levels[0]), 1.0 / step, counts)
    return np.cumsum(counts[::-1])[::-1]
