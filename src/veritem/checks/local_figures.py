"""Figures that the local checks share: a histogram, coloured slices, a coloured surface."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from veritem.numerics.density_map import DensityMap
from veritem.numerics.fourier import low_pass
from veritem.results import HistogramFigure, ImageFigure, Marker, Panel, Quantity, SurfaceFigure

LARGEST_VIEW = 128  # voxels along an axis of a surface figure


def local_histogram(
    key: str,
    title: str,
    values: NDArray,
    median: Quantity,
    x_label: str,
    limits: tuple[float | None, float | None],
    caption: str,
    bins: int = 40,
    name: str = "median",
) -> HistogramFigure:
    """The distribution of local values with the interval of their median and the limits for it.

    values: (n,) finite. limits: of the median, low and high; None where there is none.
    """
    low, high = np.percentile(values, [0.2, 99.8])
    edges = np.linspace(low, max(high, low + 1e-6), bins + 1)
    counts, _ = np.histogram(values, edges)
    markers = [
        Marker(axis="x", value=float(limit), label=f"limit {limit:g}".replace("-", "−"), role="limit")
        for limit in limits
        if limit is not None and low <= limit <= high
    ]
    assert isinstance(median.value, float)
    if median.interval is not None:
        markers.append(
            Marker(axis="x", value=median.interval[0], end=median.interval[1], label=f"{name}, 95 % interval")
        )
    markers.append(Marker(axis="x", value=median.value, label=f"{name} {median.value:.3g}".replace("-", "−")))
    return HistogramFigure(
        key=key,
        title=title,
        caption=caption,
        alt_text=f"Histogram: {name} {median.text()}.",
        edges=tuple(float(e) for e in edges),
        counts=tuple(float(c) for c in counts),
        x_label=x_label,
        markers=tuple(markers),
    )


def on_view(
    data: NDArray[np.float32], pixel_size: float, origin: tuple[float, float, float], view: DensityMap
) -> NDArray[np.float32]:
    """Sample local values at the voxels of another grid, linearly; NaN where they are not determinable.

    data: (z, y, x), NaN where not determinable, on voxels of `pixel_size` Å from `origin` (x, y, z in Å) on.
    """
    offset = [(v - o) / pixel_size for v, o in zip(view.origin[::-1], origin[::-1], strict=True)]
    step = view.pixel_size / pixel_size
    axes = [start + step * np.arange(n) for start, n in zip(offset, view.shape, strict=True)]
    where = np.meshgrid(*axes, indexing="ij")
    known = np.isfinite(data)
    values = map_coordinates(np.where(known, data, 0.0), where, order=1, mode="constant", cval=0.0)
    weight = map_coordinates(known.astype(np.float32), where, order=1, mode="constant", cval=0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weight > 0.5, values / weight, np.nan).astype(np.float32)


def coloured_slices(
    key: str,
    title: str,
    density: DensityMap,
    values: NDArray[np.float32],
    index: NDArray[np.int64],
    value_label: str,
    limits: tuple[float, float],
    palette: str,
    caption: str,
) -> ImageFigure:
    """Slices through the middle of the particle: the map in grey, local values over it.

    values: on the grid of `density`, NaN where not determinable. index: flat indices of the particle's voxels.
    """
    centre = [round(float(c.mean())) for c in np.unravel_index(index, density.shape)]
    panels, arrays = [], {}
    # Axis 0 of the arrays is z: a slice across it shows x to the right and y upwards.
    for axis, name in ((0, "xy"), (1, "xz"), (2, "yz")):
        grey = np.take(density.data, centre[axis], axis=axis)
        colour = np.take(values, centre[axis], axis=axis)
        arrays[f"map_{name}"] = grey
        arrays[f"value_{name}"] = colour
        arrays[f"known_{name}"] = np.isfinite(colour)
        panels.append(
            Panel(label=f"map ({name[0]} →, {name[1]} ↑)", image=f"map_{name}", outline=f"known_{name}", palette="gray")
        )
    for name in ("xy", "xz", "yz"):
        panels.append(
            Panel(
                label=f"local value ({name[0]} →, {name[1]} ↑)",
                image=f"value_{name}",
                palette=palette,
                limits=limits,
                show_key=True,
            )
        )
    return ImageFigure(
        key=key,
        title=title,
        caption=caption,
        alt_text=f"{title}: three perpendicular slices of the map, and below them the local values.",
        arrays=arrays,
        panels=tuple(panels),
        pixel_size=density.pixel_size,
        value_label=value_label,
        columns=3,
    )


def coloured_surface(
    key: str,
    title: str,
    density: DensityMap,
    level: float,
    values: NDArray[np.float32],
    colour_label: str,
    limits: tuple[float, float],
    palette: str,
    caption: str,
) -> SurfaceFigure:
    """The iso-surface of the resampled map, coloured; both brought to at most 128 voxels along an axis."""
    volume, colour, pixel_size = density.data, values, density.pixel_size
    step = -(-max(density.shape) // LARGEST_VIEW)
    if step > 1:
        cutoff = 0.5 / (step * pixel_size)
        volume = low_pass(volume, pixel_size, 0.8 * cutoff, 0.2 * cutoff)[::step, ::step, ::step]
        colour, pixel_size = colour[::step, ::step, ::step], step * pixel_size
    return SurfaceFigure(
        key=key,
        title=title,
        caption=caption,
        alt_text=f"{title}, from several sides.",
        arrays={"volume": volume, "colour": colour},
        level=level,
        pixel_size=pixel_size,
        colour_label=colour_label,
        colour_limits=limits,
        palette=palette,
    )
