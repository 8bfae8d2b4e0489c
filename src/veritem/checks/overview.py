"""The input as a person looks at it, before any check: slices, projections, a surface, and the facts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veritem.derived.masks import ContourLevel
from veritem.numerics.density_map import DensityMap, HalfMaps
from veritem.numerics.masks import slice_variances
from veritem.numerics.molecule import MOLECULAR_VOLUME
from veritem.results import Figure, ImageFigure, Panel, Quantity, SurfaceFigure

AXES = ("z", "y", "x")
LARGEST_IMAGE = 400


@dataclass(frozen=True, eq=False)
class Overview:
    """figures and facts of the report's input section."""

    figures: tuple[Figure, ...]
    facts: dict[str, Quantity]


def overview(
    density_map: DensityMap, contour_level: ContourLevel, view_map: DensityMap, half_maps: HalfMaps | None = None
) -> Overview:
    """Show the submitted map, and its half maps where there are, and say its numbers.

    Slices are those of largest variance along each axis, which show more than the central ones when the particle
    is hollow or off centre.
    """
    level = contour_level.value
    data, pixel_size = density_map.data, density_map.pixel_size
    step = max(1, -(-max(density_map.shape) // LARGEST_IMAGE))
    slices: dict[str, NDArray] = {}
    projections: dict[str, NDArray] = {}
    slice_panels, projection_panels = [], []
    for axis, (name, variance) in enumerate(zip(AXES, slice_variances(data), strict=True)):
        others = tuple(a for a in range(3) if a != axis)
        index = int(np.argmax(variance))
        image: NDArray = np.take(data, index, axis=axis)
        slices[name] = image[::step, ::step]
        slices[f"{name}_above"] = (image >= level)[::step, ::step]
        projections[name] = data.sum(axis=axis, dtype=np.float64).astype(np.float32)[::step, ::step]
        up, right = (AXES[a] for a in others)
        seen = f"{right} →, {up} ↑"
        slice_panels.append(Panel(label=f"{name} = {index} ({seen})", image=name, outline=f"{name}_above"))
        projection_panels.append(Panel(label=f"along {name} ({seen})", image=name))
    figures: tuple[Figure, ...] = (
        SurfaceFigure(
            key="surface",
            title="The map at its contour level",
            caption=f"Surface at {level:.4g} from three directions at right angles.",
            alt_text="Three shaded views of the map's surface.",
            arrays={"volume": view_map.data},
            level=level,
            pixel_size=view_map.pixel_size,
        ),
        ImageFigure(
            key="slices",
            title="Slices of largest variance",
            caption="One slice through each axis, where the grey values vary most. The line is the contour level: "
            "it should follow the particle and leave the background empty.",
            alt_text="Three grey slices through the map with the contour level drawn as a line.",
            arrays=slices,
            panels=tuple(slice_panels),
            pixel_size=pixel_size * step,
        ),
        ImageFigure(
            key="projections",
            title="Projections along the three axes",
            caption="Sums of the whole map along each axis, the background included.",
            alt_text="Three grey projections of the map.",
            arrays=projections,
            panels=tuple(projection_panels),
            pixel_size=pixel_size * step,
        ),
    )
    if half_maps is not None:
        figures = (*figures, _half_map_slices(half_maps))
    return Overview(figures, _facts(density_map, contour_level))


def _half_map_slices(half_maps: HalfMaps) -> ImageFigure:
    """The same slice through both half maps and their difference, along each axis."""
    first, second = half_maps.first.data, half_maps.second.data
    step = max(1, -(-max(half_maps.shape) // LARGEST_IMAGE))
    arrays: dict[str, NDArray] = {}
    panels = []
    for axis, (name, variance) in enumerate(zip(AXES, slice_variances(first), strict=True)):
        index = int(np.argmax(variance))
        up, right = (AXES[a] for a in range(3) if a != axis)
        one, two = (np.take(data, index, axis=axis)[::step, ::step] for data in (first, second))
        for key, label, image in (
            ("first", "half map 1", one),
            ("second", "half map 2", two),
            ("difference", "1 − 2", one - two),
        ):
            arrays[f"{key}_{name}"] = image
            panels.append(Panel(label=f"{label}, {name} = {index} ({right} →, {up} ↑)", image=f"{key}_{name}"))
    return ImageFigure(
        key="half_maps",
        title="The half maps and their difference",
        caption="The slice of largest variance along each axis through half map 1, half map 2 and their difference. "
        "The two should look alike and grainy; the difference should show noise and no trace of the particle.",
        alt_text="Nine grey slices: for each axis both half maps and their difference.",
        arrays=arrays,
        panels=tuple(panels),
        pixel_size=half_maps.pixel_size * step,
    )


def _facts(density_map: DensityMap, contour_level: ContourLevel) -> dict[str, Quantity]:
    nz, ny, nx = density_map.shape
    depth, height, width = density_map.extent
    volume = float(np.count_nonzero(density_map.data >= contour_level.value)) * density_map.voxel_volume
    x, y, z = density_map.origin
    return {
        "box": Quantity(label="Box (x, y, z)", value=f"{nx} × {ny} × {nz}", unit="voxels"),
        "edges": Quantity(label="Box edges (x, y, z)", value=f"{width:.1f} × {height:.1f} × {depth:.1f}", unit="Å"),
        "pixel_size": Quantity(label="Pixel size", value=density_map.pixel_size, unit="Å", digits=4),
        "origin": Quantity(label="Origin (x, y, z)", value=f"{x:.2f}, {y:.2f}, {z:.2f}", unit="Å"),
        "nyquist": Quantity(label="Finest resolution the grid can hold", value=2 * density_map.pixel_size, unit="Å"),
        "contour_level": Quantity(
            label="Contour level", value=contour_level.value, digits=4, note=contour_level.method
        ),
        "enclosed_volume": Quantity(label="Volume above the contour level", value=volume, unit="Å³"),
        "enclosed_mass": Quantity(
            label="Protein mass that fills that volume",
            value=volume / MOLECULAR_VOLUME / 1000.0,
            unit="kDa",
            note="at 1.21 Å³ per Da",
        ),
    }
