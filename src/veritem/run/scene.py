"""The small volumes of the interactive view: the map, and what can colour it, on one grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from veritem.checks.base import MapOutput
from veritem.checks.local_figures import on_view
from veritem.numerics.density_map import DensityMap
from veritem.results import CheckResult, Scene
from veritem.run.folder import OutputFolder


def colouring_on_view(output: MapOutput, view: DensityMap) -> NDArray[np.float32]:
    """Sample a derived map at the voxels of the view, linearly; NaN where it is not determinable."""
    return on_view(output.data, output.pixel_size, output.origin, view)


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
