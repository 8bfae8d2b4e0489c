"""The exact Euclidean distance transform, signed and capped, along one axis after another.

A voxel's squared distance in voxels is an integer, so the transform is exact: it equals the brute-force minimum.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(nogil=True, cache=True)
def _along_rows(mask, first, last, cap, squared):
    """Squared distance within each x row: positive outside the mask, negative inside, at most `cap` either way."""
    ny, nx = mask.shape[1], mask.shape[2]
    reach = int(np.sqrt(cap)) + 1
    for z in range(first, last):
        for y in range(ny):
            steps = reach
            for x in range(nx):
                if x > 0 and mask[z, y, x] != mask[z, y, x - 1]:
                    steps = 0
                steps = min(steps + 1, reach)
                squared[z, y, x] = steps
            steps = reach
            for x in range(nx - 1, -1, -1):
                if x < nx - 1 and mask[z, y, x] != mask[z, y, x + 1]:
                    steps = 0
                steps = min(steps + 1, reach)
                nearest = min(steps, squared[z, y, x])
                distance = min(nearest * nearest, cap)
                squared[z, y, x] = -distance if mask[z, y, x] else distance


@njit(nogil=True, cache=True)
def _along_line(line, n, cap, sign, where, value, bound, out):
    """Lower envelope of the parabolas of one line (Felzenszwalb and Huttenlocher), for one side of the mask.

    `sign` +1: distances of the voxels outside to the mask; -1: of those inside to the outside. A parabola that
    starts at the cap can lower nothing, so it is left out.
    """
    k = -1
    asked = False
    for q in range(n):
        height = max(sign * line[q], 0)
        if height > 0:
            asked = True
        if height >= cap:
            continue
        crossing = -1.0e30
        while k >= 0:
            v = where[k]
            crossing = ((height + q * q) - (value[k] + v * v)) / (2.0 * (q - v))
            if crossing > bound[k]:
                break
            k -= 1
        if k < 0:
            crossing = -1.0e30
        k += 1
        where[k] = q
        value[k] = height
        bound[k] = crossing
    if not asked or k < 0:
        return
    last = k
    k = 0
    for p in range(n):
        while k < last and bound[k + 1] < p:
            k += 1
        if sign * line[p] > 0:
            out[p] = sign * min((p - where[k]) ** 2 + value[k], cap)


@njit(nogil=True, cache=True)
def _along_axis(squared, axis, first, last, cap):
    """One pass along z (axis 0, planes of constant y) or y (axis 1, planes of constant z), in place."""
    nz, ny, nx = squared.shape
    n = nz if axis == 0 else ny
    plane = np.empty((nx, n), np.int32)
    out = np.empty(n, np.int32)
    where = np.empty(n, np.int64)
    value = np.empty(n, np.int64)
    bound = np.empty(n, np.float64)
    for index in range(first, last):
        for i in range(n):
            for x in range(nx):
                plane[x, i] = squared[i, index, x] if axis == 0 else squared[index, i, x]
        for x in range(nx):
            line = plane[x]
            out[:] = line
            _along_line(line, n, cap, 1, where, value, bound, out)
            _along_line(line, n, cap, -1, where, value, bound, out)
            line[:] = out
        for i in range(n):
            for x in range(nx):
                if axis == 0:
                    squared[i, index, x] = plane[x, i]
                else:
                    squared[index, i, x] = plane[x, i]


@njit(nogil=True, cache=True)
def _root(squared, first, last, pixel_size, cap_distance, distance):
    ny, nx = squared.shape[1], squared.shape[2]
    for z in range(first, last):
        for y in range(ny):
            for x in range(nx):
                value = squared[z, y, x]
                length = min(np.sqrt(float(abs(value))) * pixel_size, cap_distance)
                distance[z, y, x] = -length if value < 0 else length


def _in_slabs(function: Callable[[int, int], object], n: int, threads: int) -> None:
    """Call `function(first, last)` on consecutive slabs of range(n), on several threads when that helps."""
    if threads <= 1 or n < 2 * threads:
        function(0, n)
        return
    edges = np.linspace(0, n, 4 * threads + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(function, edges[:-1], edges[1:]))


def squared_distance(mask: NDArray[np.bool_], cap: int, threads: int = 1) -> NDArray[np.int32]:
    """Squared distance (voxels²) to the nearest voxel on the other side of the mask, exact up to `cap`.

    mask: (nz, ny, nx) bool.
    cap: voxels²; every larger squared distance is returned as `cap`, and so is all of a mask that has one side only.
    Returns (nz, ny, nx) int32: > 0 outside the mask, < 0 inside. What lies beyond the box counts as neither side.
    Felzenszwalb and Huttenlocher, Theory of Computing 8 (2012) 415, doi:10.4086/toc.2012.v008a019.
    """
    mask = np.ascontiguousarray(mask, bool)
    nz, ny, _ = mask.shape
    squared = np.empty(mask.shape, np.int32)
    _in_slabs(lambda a, b: _along_rows(mask, a, b, cap, squared), nz, threads)
    _in_slabs(lambda a, b: _along_axis(squared, 1, a, b, cap), nz, threads)
    _in_slabs(lambda a, b: _along_axis(squared, 0, a, b, cap), ny, threads)
    return squared


def signed_distance(
    mask: NDArray[np.bool_], pixel_size: float, cap_distance: float, threads: int = 1
) -> NDArray[np.float32]:
    """Distance (Å) from voxel centre to the nearest voxel centre on the other side of the mask.

    mask: (nz, ny, nx) bool. pixel_size: Å.
    cap_distance: Å; larger distances are returned as this.
    Returns (nz, ny, nx) float32: > 0 outside, < 0 inside. `signed_distance(m) <= r` is `m` dilated by r exactly, and
    `signed_distance(m) < -r` is `m` eroded by r (the box's faces do not erode).
    """
    cap = int(np.ceil((cap_distance / pixel_size) ** 2)) + 1
    squared = squared_distance(mask, cap, threads)
    # The root is written over the integers: one array less at the peak.
    distance = squared.view(np.float32)
    _in_slabs(lambda a, b: _root(squared, a, b, pixel_size, cap_distance, distance), mask.shape[0], threads)
    return distance


def dilate(mask: NDArray[np.bool_], radius: float, threads: int = 1) -> NDArray[np.bool_]:
    """Every voxel whose centre is within `radius` (voxels) of a voxel of the mask, exactly Euclidean.

    mask: (nz, ny, nx) bool.
    """
    if radius < 1.0 or not mask.any():
        return mask.copy()
    within = int(np.floor(radius * radius + 1e-6))
    grown = mask.copy()
    box = bounding_box(mask, int(radius) + 1)
    grown[box] = squared_distance(mask[box], within + 1, threads) <= within
    return grown


def bounding_box(mask: NDArray[np.bool_], padding: int = 0) -> tuple[slice, slice, slice]:
    """The smallest slices (z, y, x) that hold the mask, `padding` voxels wider where the box allows.

    Raises ValueError when the mask is empty.
    """
    slices = []
    # One pass over the volume; the two projections that follow are on planes.
    across_z, across_x = np.any(mask, axis=0), np.any(mask, axis=2)
    profiles = (np.any(across_x, axis=1), np.any(across_z, axis=1), np.any(across_z, axis=0))
    for profile in profiles:
        where = np.flatnonzero(profile)
        if where.size == 0:
            raise ValueError("The mask is empty, so it has no bounding box. Lower the level that makes the mask.")
        slices.append(slice(max(0, int(where[0]) - padding), min(profile.size, int(where[-1]) + 1 + padding)))
    return slices[0], slices[1], slices[2]
