"""Write maps as MRC2014 files that ChimeraX, Coot and RELION open in the right place."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
from numpy.typing import NDArray

from veritem._version import __version__


def write_map(
    path: Path, data: NDArray, pixel_size: float, origin: tuple[float, float, float], label: str = ""
) -> None:
    """Write a (nz, ny, nx) array as MRC2014.

    data: boolean arrays become mode 0 (0 and 1), everything else mode 2 (float32).
    pixel_size: Å. origin: (x, y, z) Å of voxel (0, 0, 0), stored in the ORIGIN field.
    """
    stored = data.astype(np.int8) if data.dtype == bool else np.asarray(data, np.float32)
    with mrcfile.new(path, overwrite=True) as mrc:
        mrc.set_data(np.ascontiguousarray(stored))
        mrc.set_volume()
        mrc.voxel_size = pixel_size
        mrc.header.origin = origin
        # A fixed label in place of the time of day: the same run writes the same bytes.
        mrc.header.nlabl = 1
        mrc.header.label[0] = f"Veritem {__version__}: {label}".encode("ascii", "replace")[:79]
