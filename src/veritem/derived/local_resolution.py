"""What a method of local resolution gives, whichever it is."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from veritem.derived.half_maps import HalfPart


@dataclass(frozen=True, eq=False)
class LocalResolution:
    """The local resolution at each voxel of the particle.

    resolution: (voxels,) float32 Å at `part.index`; NaN where not determinable.
    part: the half maps it was measured on.
    window: Å, the standard deviation of the (nearly Gaussian) window behind one value: values closer than about twice
        that share their data.
    finest, coarsest: Å, the range that was searched; nothing outside it can be found.
    false_rate: the share of noise voxels that the method gives a resolution better than 15 Å, measured on noise with
        this pair's spectrum; None where it was not measured in this run.
    extra: further values per voxel by name, e.g. {"fsc_0.5": (voxels,) float32}.
    """

    resolution: NDArray[np.float32]
    part: HalfPart
    window: float
    finest: float
    coarsest: float
    false_rate: float | None = None
    extra: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def determinable(self) -> NDArray[np.bool_]:
        """(voxels,)"""
        return np.isfinite(self.resolution)
