"""The small volumes of the interactive view: the map, and what can colour it, on one grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from veritem.checks.base import MapOutput
from veritem.numerics.density_map import DensityMap
from veritem.results import CheckResult, Scene
from veritem.run.folder import OutputFolder


def colouring_on_view(output: MapOutput, view: DensityMap) -> NDArray[np.float32]:
    """Sample a derived map at the voxels of the view, linearly; NaN where it is not determinable."""
    offset = [(v - o) / output.pixel_size for v, o in zip(view.origin[::-1], output.origin[::-1], strict=True)]
    step = view.pixel_size / output.pixel_size
    axes = [start + step * np.arange(n) for start, n in zip(offset, view.shape, strict=True)]
    where = np.meshgrid(*axes, indexing="ij")
    known = np.isfinite(output.data)
    values = map_coordinates(np.where(known, output.data, 0.0), where, order=1, mode="constant", cval=0.0)
    weight = map_coordinates(known.astype(np.float32), where, order=1, mode="constant", cval=0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weight > 0.5, values / weight, np.nan).astype(np.float32)


def write_scene(view: DensityMap, level: float, checks: tuple[CheckResult, ...], folder: OutputFolder) -> Scene:
    """Gather the view and every stored colouring into data/scene.npz."""
    arrays = {"map": view.data}
    colourings = []
    for result in checks:
        stored = folder.read_arrays(result.code) if any(m.colours_map for m in result.maps) else {}
        for derived_map in result.maps:
            name = f"scene/{derived_map.key}"
            if derived_map.colours_map and name in stored:
                arrays[derived_map.key] = stored[name]
                colourings.append(derived_map)
    return Scene(
        data_file=folder.write_arrays("scene", arrays),
        pixel_size=view.pixel_size,
        origin=view.origin,
        level=level,
        colourings=tuple(colourings),
    )
