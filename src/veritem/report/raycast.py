"""Still pictures of an iso-surface, drawn on the CPU: no display, no graphics stack, the same pixels every time.

Views are orthographic along the axes of the map, so every ray runs along one axis of the grid. Between two planes of
voxels the trilinear field changes linearly along such a ray, and the surface is where the line crosses the level:
exact, with no step that could jump over a thin wall.

Light is soft: a key light and a sky, dimmed where the surroundings are full (the share of the neighbourhood that lies
above the level, at two radii), fading with depth, with a line where the depth jumps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label, uniform_filter

from veritem.errors import VeritemError
from veritem.report.palette import PLAIN_SURFACE, UNKNOWN_COLOUR, colour_table

# Every view is right-handed: right × up points to the viewer. A picture of the mirror image would be a wrong picture.
# (name, axis to the right, axis up, axis of sight, +1 when the viewer looks along the falling axis)
VIEWS: tuple[tuple[str, str, str, int, int, int, int], ...] = (
    ("along z", "x", "y", 2, 1, 0, +1),
    ("along y", "x", "z", 2, 0, 1, -1),
    ("along x", "y", "z", 1, 0, 2, +1),
)
LONGEST_AXIS = 160
MARGIN = 2
# A piece with less than this share of the voxels above the level is dust; the frame need not hold it.
BODY_SHARE = 0.005
SUPERSAMPLING = 2
_FAR = np.float32(1e30)


class NoSurface(VeritemError):
    """Nothing of the volume lies above the level, or everything does."""


@dataclass(frozen=True, eq=False)
class View:
    """One picture.

    image: (height, width, 4) uint8, red green blue alpha, transparent where no surface is.
    depth: (height, width) float32, voxels from the viewer's side of the crop, inf where no surface is; supersampled.
    normal: (height, width, 3) float32 to the right, up and towards the viewer; supersampled.
    """

    label: str
    right: str
    up: str
    image: NDArray[np.uint8]
    depth: NDArray[np.float32]
    normal: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Picture:
    """Three views at one scale. angstrom_per_pixel: of the images.

    outside: share of the voxels above the level that lie outside the frame.
    """

    views: tuple[View, ...]
    angstrom_per_pixel: float
    outside: float = 0.0


def render_surface(
    volume: NDArray,
    level: float,
    pixel_size: float,
    *,
    colour: NDArray | None = None,
    colour_limits: tuple[float, float] | None = None,
    palette: str = "viridis",
    largest_side: int = 420,
) -> Picture:
    """Draw the surface of `volume` at `level` along its three axes.

    volume: (nz, ny, nx). pixel_size: Å. colour: values on the same grid, NaN where unknown (drawn grey).
    largest_side: of the pictures, in pixels.

    Raises NoSurface when there is no surface at this level.
    """
    volume = np.asarray(volume, np.float32)
    volume, colour, pixel_size = _reduced(np.nan_to_num(volume, nan=level - 1.0), colour, pixel_size)
    crop = _crop(volume, level)
    above = np.count_nonzero(volume >= level)
    outside = 1.0 - np.count_nonzero(volume[crop] >= level) / above
    solid = _closed(volume[crop], level)
    shade_near, shade_far = _fullness(solid >= level)
    painted = None if colour is None else np.pad(np.asarray(colour, np.float32)[crop], 1, constant_values=np.nan)
    low, high = colour_limits if colour_limits is not None else _limits(painted)
    longest = max(solid.shape)
    scale = largest_side * SUPERSAMPLING / longest
    views = tuple(
        _view(view, solid, level, (shade_near, shade_far), painted, (low, high), colour_table(palette), scale)
        for view in VIEWS
    )
    return Picture(views, pixel_size * SUPERSAMPLING / scale, float(outside))


def _limits(values: NDArray | None) -> tuple[float, float]:
    if values is None or not np.isfinite(values).any():
        return 0.0, 1.0
    low, high = np.percentile(values[np.isfinite(values)], (2, 98))
    return float(low), float(high)


def _reduced(
    volume: NDArray[np.float32], colour: NDArray | None, pixel_size: float
) -> tuple[NDArray[np.float32], NDArray | None, float]:
    """Average blocks of voxels until no axis has more than LONGEST_AXIS; a picture shows no more."""
    factor = -(-max(volume.shape) // LONGEST_AXIS)
    if factor == 1:
        return volume, colour, pixel_size
    shape = tuple(n // factor for n in volume.shape)
    blocked = volume[tuple(slice(0, n * factor) for n in shape)]
    split = tuple(size for n in shape for size in (n, factor))
    small = blocked.reshape(split).mean(axis=(1, 3, 5), dtype=np.float64).astype(np.float32)
    if colour is not None:
        middle = slice(factor // 2, None, factor)
        colour = colour[middle, middle, middle][: shape[0], : shape[1], : shape[2]]
    return small, colour, pixel_size * factor


def _crop(volume: NDArray[np.float32], level: float) -> tuple[slice, slice, slice]:
    """The frame: what lies above the level, less the dust, which would make the particle small."""
    above = volume >= level
    if not above.any():
        raise NoSurface(f"No voxel reaches the level {level:.4g}; the highest is {volume.max():.4g}.")
    if above.all():
        raise NoSurface(f"Every voxel reaches the level {level:.4g}; the lowest is {volume.min():.4g}.")
    pieces, count = label(above, structure=np.ones((3, 3, 3)))
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    sizes[0] = 0
    bodies = sizes >= max(BODY_SHARE * sizes.sum(), 1)
    boxes = [box for box, body in zip(find_objects(pieces), bodies[1:], strict=True) if body]
    if not boxes:
        boxes = [box for box in find_objects(pieces) if box is not None]
    frame = [
        slice(
            max(0, min(box[axis].start for box in boxes) - MARGIN),
            min(n, max(box[axis].stop for box in boxes) + MARGIN),
        )
        for axis, n in enumerate(volume.shape)
    ]
    return frame[0], frame[1], frame[2]


def _closed(volume: NDArray[np.float32], level: float) -> NDArray[np.float32]:
    """One layer of empty voxels around, so that what touches the box's edge ends in a flat face and not in a hole."""
    spread = float(volume.max()) - level
    return np.pad(volume, 1, constant_values=np.float32(level - max(spread, 1e-6)))


def _fullness(inside: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """How full the neighbourhood of each voxel is, near and far. Two box filters make a smooth kernel."""
    full = inside.astype(np.float32)
    near = uniform_filter(uniform_filter(full, 5, mode="constant"), 5, mode="constant")
    wide = max(9, 2 * (max(inside.shape) // 14) + 1)
    far = uniform_filter(uniform_filter(full, wide, mode="constant"), wide, mode="constant")
    return near, far


def _view(
    view: tuple[str, str, str, int, int, int, int],
    volume: NDArray[np.float32],
    level: float,
    fullness: tuple[NDArray[np.float32], NDArray[np.float32]],
    colour: NDArray[np.float32] | None,
    limits: tuple[float, float],
    table: NDArray[np.float32],
    scale: float,
) -> View:
    name, right, up, axis_right, axis_up, axis_depth, sign = view

    def seen(array: NDArray[np.float32]) -> NDArray[np.float32]:
        """Axes (up, right, depth), depth growing away from the viewer and lying together in memory."""
        turned = array.transpose(axis_up, axis_right, axis_depth)
        return np.ascontiguousarray(turned[:, :, ::-1] if sign > 0 else turned)

    solid = seen(volume)
    n_up, n_right, n_depth = solid.shape
    height, width = round((n_up - 1) * scale), round((n_right - 1) * scale)
    height, width = (n - n % SUPERSAMPLING for n in (height, width))
    depth = np.full((height, width), np.inf, np.float32)
    normal = np.zeros((height, width, 3), np.float32)
    _cast(solid, np.float32(level), np.float32(1.0 / scale), depth, normal)
    painted = seen(colour) if colour is not None else np.zeros((1, 1, 1), np.float32)
    rgba = np.zeros((height, width, 4), np.float32)
    _shade(
        depth,
        normal,
        seen(fullness[0]),
        seen(fullness[1]),
        painted,
        colour is not None,
        np.float32(limits[0]),
        np.float32(limits[1]),
        table,
        np.float32(1.0 / scale),
        np.float32(n_depth),
        rgba,
    )
    # Averaging the samples of a pixel with their alpha makes smooth edges on any background.
    small = rgba.reshape(height // SUPERSAMPLING, SUPERSAMPLING, width // SUPERSAMPLING, SUPERSAMPLING, 4)
    small = small.mean(axis=(1, 3))
    alpha = small[..., 3:]
    small[..., :3] = np.divide(small[..., :3], alpha, out=np.zeros_like(small[..., :3]), where=alpha > 0)
    # Rows run downwards in a picture, the up axis upwards.
    image = np.round(np.clip(small[::-1], 0, 1) * 255).astype(np.uint8)
    return View(name, right, up, image, depth[::-1], normal[::-1])


@njit(nogil=True, cache=True)
def _at(volume, v, u, d):
    """Trilinear value at a place, clamped to the volume."""
    n_v, n_u, n_d = volume.shape
    v = min(max(v, 0.0), n_v - 1.001)
    u = min(max(u, 0.0), n_u - 1.001)
    d = min(max(d, 0.0), n_d - 1.001)
    i, j, k = int(v), int(u), int(d)
    fv, fu, fd = v - i, u - j, d - k
    near = (volume[i, j, k] * (1 - fu) + volume[i, j + 1, k] * fu) * (1 - fv) + (
        volume[i + 1, j, k] * (1 - fu) + volume[i + 1, j + 1, k] * fu
    ) * fv
    far = (volume[i, j, k + 1] * (1 - fu) + volume[i, j + 1, k + 1] * fu) * (1 - fv) + (
        volume[i + 1, j, k + 1] * (1 - fu) + volume[i + 1, j + 1, k + 1] * fu
    ) * fv
    return near * (1 - fd) + far * fd


@njit(nogil=True, cache=True)
def _cast(volume, level, step, depth, normal):
    """First crossing of the level along each ray, and the outward normal there."""
    n_v, n_u, n_d = volume.shape
    height, width = depth.shape
    for row in range(height):
        v = (row + np.float32(0.5)) * step
        i = min(int(v), n_v - 2)
        fv = v - i
        for column in range(width):
            u = (column + np.float32(0.5)) * step
            j = min(int(u), n_u - 2)
            fu = u - j
            a = (1 - fv) * (1 - fu)
            b = (1 - fv) * fu
            c = fv * (1 - fu)
            e = fv * fu
            previous = np.float32(0.0)
            hit = np.float32(-1.0)
            for k in range(n_d):
                value = (
                    a * volume[i, j, k]
                    + b * volume[i, j + 1, k]
                    + c * volume[i + 1, j, k]
                    + e * volume[i + 1, j + 1, k]
                )
                if value >= level:
                    hit = np.float32(k) if k == 0 else k - (value - level) / (value - previous)
                    break
                previous = value
            if hit < 0:
                continue
            depth[row, column] = hit
            g_u = _at(volume, v, u + 1, hit) - _at(volume, v, u - 1, hit)
            g_v = _at(volume, v + 1, u, hit) - _at(volume, v - 1, u, hit)
            g_d = _at(volume, v, u, hit + 1) - _at(volume, v, u, hit - 1)
            length = np.sqrt(g_u * g_u + g_v * g_v + g_d * g_d)
            if length > 0:
                # Density falls outwards, and the depth axis points away from the viewer.
                normal[row, column, 0] = -g_u / length
                normal[row, column, 1] = -g_v / length
                normal[row, column, 2] = g_d / length


@njit(nogil=True, cache=True)
def _paint(painted, v, u, d, low, high, table, rgb):
    """Colour of the second volume at a place; grey where most of its neighbours are unknown."""
    n_v, n_u, n_d = painted.shape
    v = min(max(v, 0.0), n_v - 1.001)
    u = min(max(u, 0.0), n_u - 1.001)
    d = min(max(d, 0.0), n_d - 1.001)
    i, j, k = int(v), int(u), int(d)
    total = 0.0
    weight = 0.0
    for di in range(2):
        wi = v - i if di else 1 - (v - i)
        for dj in range(2):
            wj = u - j if dj else 1 - (u - j)
            for dk in range(2):
                wk = d - k if dk else 1 - (d - k)
                value = painted[i + di, j + dj, k + dk]
                if not np.isnan(value):
                    total += wi * wj * wk * value
                    weight += wi * wj * wk
    if weight < 0.25:
        return False
    place = (total / weight - low) / (high - low) if high > low else 0.5
    index = int(min(max(place, 0.0), 1.0) * 255 + 0.5)
    for channel in range(3):
        rgb[channel] = table[index, channel]
    return True


@njit(nogil=True, cache=True)
def _shade(depth, normal, near, far, painted, has_colour, low, high, table, step, n_depth, rgba):
    """Light every hit. rgba is premultiplied by its alpha."""
    height, width = depth.shape
    rgb = np.zeros(3, np.float32)
    # From above, left and the viewer's side; unit length.
    light = np.array([-0.36, 0.58, 0.73], np.float32)
    jump = np.float32(0.022) * n_depth + np.float32(1.5)
    for row in range(height):
        v = (row + np.float32(0.5)) * step
        for column in range(width):
            d = depth[row, column]
            if d > 1e29:
                continue
            u = (column + np.float32(0.5)) * step
            n_u = normal[row, column, 0]
            n_v = normal[row, column, 1]
            n_out = normal[row, column, 2]
            known = False
            if has_colour:
                known = _paint(painted, v, u, d, low, high, table, rgb)
                if not known:
                    rgb[0], rgb[1], rgb[2] = UNKNOWN_COLOUR
            else:
                rgb[0], rgb[1], rgb[2] = PLAIN_SURFACE
            # Fullness a little outside the surface: one half on a plain wall, more in a groove, less on a ridge.
            crowd_near = _at(near, v + 1.5 * n_v, u + 1.5 * n_u, d - 1.5 * n_out)
            crowd_far = _at(far, v + 4 * n_v, u + 4 * n_u, d - 4 * n_out)
            open_sky = min(max(1.28 - 0.95 * crowd_near - 0.75 * crowd_far, 0.2), 1.0)
            facing = n_u * light[0] + n_v * light[1] + n_out * light[2]
            key = max(facing, 0.0)
            # Half-lambert wraps light around, so that the shadow side keeps its shape.
            wrap = 0.5 + 0.5 * facing
            shine = max(2 * facing * n_out - light[2], 0.0) ** 24
            brightness = open_sky * (0.34 + 0.34 * wrap + 0.42 * key)
            fade = 0.30 * (d / n_depth) ** 1.2
            edge = np.float32(0.0)
            for dr, dc in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                r = row + dr
                q = column + dc
                if r < 0 or q < 0 or r >= height or q >= width or depth[r, q] - d > jump:
                    edge = np.float32(1.0)
            for channel in range(3):
                value = rgb[channel] * brightness + 0.10 * shine * open_sky
                value = value * (1 - fade) + 0.93 * fade
                rgba[row, column, channel] = value * (1 - 0.72 * edge)
            rgba[row, column, 3] = 1.0
