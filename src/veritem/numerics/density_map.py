"""A map on its grid: the one container that simulation, readers, derived values and checks share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class DensityMap:
    """A density on an isotropic orthogonal grid.

    data: (nz, ny, nx) float32.
    pixel_size: Å per voxel, the same along the three axes.
    origin: (x, y, z) in Å of voxel (0, 0, 0), in the frame of the atomic model.
    """

    data: NDArray[np.float32]
    pixel_size: float
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along z, y, x."""
        nz, ny, nx = self.data.shape
        return nz, ny, nx

    @property
    def extent(self) -> tuple[float, float, float]:
        """Box edges along z, y, x in Å."""
        nz, ny, nx = self.shape
        return nz * self.pixel_size, ny * self.pixel_size, nx * self.pixel_size

    @property
    def voxel_volume(self) -> float:
        """Å³."""
        return self.pixel_size**3

    @property
    def nyquist(self) -> float:
        """The highest frequency that the grid holds, 1/Å."""
        return 0.5 / self.pixel_size


@dataclass(frozen=True, eq=False)
class HalfMaps:
    """Two half maps on one grid."""

    first: DensityMap
    second: DensityMap

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.first.shape

    @property
    def pixel_size(self) -> float:
        return self.first.pixel_size

    @property
    def nyquist(self) -> float:
        return self.first.nyquist
