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
