"""Where the particle is: the contour level, the masks made from it, and the distance from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from veritem.derived.contour import estimate_level, level_enclosing
from veritem.derived.registry import derived
from veritem.errors import NotApplicable
from veritem.numerics.density_map import DensityMap
from veritem.numerics.distance import dilate, signed_distance
from veritem.numerics.masks import ComponentRuns, label_components, raised_cosine_edge
from veritem.results import format_number

# The hard mask is the largest component grown by this much, so that it holds the surface and not half of it.
DILATION = 2.0  # Å
# Beyond this, how far a voxel is from the particle changes nothing that is measured.
LARGEST_DISTANCE = 60.0  # Å
# 5 kDa of protein. The smallest particles that cryo-EM has solved weigh three times as much; less is a fragment, or a
# level near the map's maximum.
LEAST_PARTICLE = 6050.0  # Å³
# A softer edge mixes solvent in; a sharper one correlates Fourier coefficients.
EDGE_WIDTH, EDGE_VOXELS = 6.0, 3.0  # Å, voxels


@dataclass(frozen=True)
class ContourLevel:
    """The grey value at which the map is looked at.

    source: who chose it.
    method: how, in words, with how accurate that is.
    particle_found: false when the estimate found nothing that stands out from the noise.
    """

    value: float
    source: Literal["given", "estimated"]
    method: str
    particle_found: bool = True


@derived
def contour_level(
    density_map: DensityMap, given_contour_level: float | None, molecular_weight: float | None, threads: int = 1
) -> ContourLevel:
    """The contour level: the author's, or an estimate that says how it was made.

    molecular_weight: Da, of everything in the box, or None.
    """
    if given_contour_level is not None:
        return ContourLevel(float(given_contour_level), "given", "given with the map")
    if molecular_weight is not None:
        value, note = level_enclosing(density_map, molecular_weight, threads)
        return ContourLevel(value, "estimated", note)
    value, note, found = estimate_level(density_map, threads)
    return ContourLevel(value, "estimated", note, found)


@derived
def raw_mask(density_map: DensityMap, contour_level: ContourLevel) -> NDArray[np.bool_]:
    """The voxels at or above the contour level, (nz, ny, nx) bool. Raises NotApplicable when there are none."""
    mask = density_map.data >= contour_level.value
    if not mask.any():
        highest = float(density_map.data.max())
        raise NotApplicable(
            f"No voxel reaches the contour level of {format_number(contour_level.value, 4)}: the map's largest value "
            f"is {format_number(highest, 4)}. Expected a level below it; give the level that shows the particle."
        )
    return mask


@derived
def components(raw_mask: NDArray[np.bool_]) -> ComponentRuns:
    """The connected components (26 neighbours) of the voxels above the contour level, largest first."""
    return label_components(raw_mask)


@derived
def hard_mask(components: ComponentRuns, density_map: DensityMap, threads: int = 1) -> NDArray[np.bool_]:
    """The largest component dilated by 2 Å, one voxel where voxels are larger; exactly Euclidean, (nz, ny, nx) bool."""
    return dilate(components.largest(), max(1.0, DILATION / density_map.pixel_size), threads)


@derived
def mask_distance(hard_mask: NDArray[np.bool_], density_map: DensityMap, threads: int = 1) -> NDArray[np.float32]:
    """Distance to the edge of the hard mask, (nz, ny, nx) float32 Å: > 0 outside, < 0 inside, at most 60 Å either way.

    It is the distance between voxel centres to the nearest voxel of the other side, so it jumps from -1 to +1 pixel
    across the edge, and `mask_distance <= r` is the mask dilated by r.
    """
    return signed_distance(hard_mask, density_map.pixel_size, LARGEST_DISTANCE, threads)


@derived
def soft_mask(mask_distance: NDArray[np.float32], density_map: DensityMap) -> NDArray[np.float32]:
    """1 in the hard mask, falling to 0 as half a cosine over max(6 Å, 3 voxels) outside; (nz, ny, nx) float32."""
    return raised_cosine_edge(mask_distance, max(EDGE_WIDTH, EDGE_VOXELS * density_map.pixel_size))
