"""Figures of functions of direction: the half sphere seen from +z, in an equal-area projection."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from veritem.numerics.directions import tilt_and_azimuth
from veritem.results import ImageFigure, Panel, format_number

PIXELS = 121
RING = 6.0  # °, radius of the ring drawn around a direction
LEAST_RANGE = 0.1  # of the median, on either side of it
BLUR = 4.0  # °, of the interpolation between directions


def projected_directions() -> NDArray[np.float64]:
    """(pixels, pixels, 3) z, y, x of each pixel of a disc, x to the right and y upwards; NaN outside the disc.

    Lambert's azimuthal projection: equal areas of the half sphere are equal areas of the disc.
    """
    side = np.linspace(-1.02, 1.02, PIXELS)
    y, x = np.meshgrid(side, side, indexing="ij")
    r = np.hypot(x, y)
    # r = √2 sin(θ/2), so that the rim, at 90°, is at 1.
    z = 1.0 - r**2
    scale = np.sqrt(np.maximum(2.0 - r**2, 0.0))
    directions = np.stack([z, y * scale, x * scale], axis=2)
    directions[r > 1.0] = np.nan
    return directions


def interpolated(directions: NDArray, values: NDArray, at: NDArray) -> NDArray[np.float64]:
    """An even function known along directions (n, 3), averaged over its neighbours, at (..., 3)."""
    flat = at.reshape(-1, 3)
    known = np.isfinite(flat[:, 0])
    angle = np.arccos(np.minimum(np.abs(flat[known] @ directions.T), 1.0))
    weight = np.exp(-0.5 * (angle / np.deg2rad(BLUR)) ** 2)
    found = np.full(len(flat), np.nan)
    found[known] = weight @ values / weight.sum(axis=1)
    return found.reshape(at.shape[:-1])


def sphere_figure(
    key: str,
    title: str,
    values: NDArray,
    marked: NDArray | None,
    value_label: str,
    caption: str,
    alt_text: str,
    palette: str = "viridis_r",
) -> ImageFigure:
    """values: (pixels, pixels) on `projected_directions`. marked: (3,) the direction to be ringed; None: no ring."""
    arrays = {"value": values.astype(np.float32)}
    if marked is not None:
        with np.errstate(invalid="ignore"):
            arrays["ring"] = np.abs(projected_directions() @ marked) >= np.cos(np.deg2rad(RING))
    finite = values[np.isfinite(values)]
    middle = float(np.median(finite))
    # A narrower range would colour noise.
    low = min(float(finite.min()), middle * (1 - LEAST_RANGE))
    high = max(float(finite.max()), middle * (1 + LEAST_RANGE))
    return ImageFigure(
        key=key,
        title=title,
        caption=caption,
        alt_text=alt_text,
        arrays=arrays,
        panels=(
            Panel(
                label="seen from +z (x →, y ↑; rim: the xy plane)",
                image="value",
                outline=None if marked is None else "ring",
                palette=palette,
                limits=(low, high),
                show_key=True,
            ),
        ),
        pixel_size=1.0,
        length_unit="",
        value_label=value_label,
        columns=1,
    )


def direction_text(direction: NDArray) -> str:
    """An axis in words, e.g. "12° from z, towards 40° (from x to y)"."""
    tilt, azimuth = tilt_and_azimuth(direction)
    if tilt < 0.5:
        return "along z"
    if tilt > 89.5:
        azimuth %= 180.0
    return f"{format_number(round(tilt))}° from z, towards {format_number(round(azimuth))}° (from x to y)"
