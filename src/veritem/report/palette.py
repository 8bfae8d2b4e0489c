"""Colour palettes as lists of colours, for everything that is not drawn by matplotlib."""

from __future__ import annotations

from functools import lru_cache

import matplotlib
import numpy as np
from numpy.typing import NDArray

UNKNOWN_COLOUR = (0.62, 0.64, 0.67)
PLAIN_SURFACE = (0.73, 0.78, 0.84)


@lru_cache(maxsize=32)
def colour_table(name: str) -> NDArray[np.float32]:
    """A palette as (256, 3) red, green, blue in 0 to 1. An unknown name gives viridis.

    Returned array is shared: not to be written to.
    """
    maps = matplotlib.colormaps
    colours = maps[name if name in maps else "viridis"](np.linspace(0.0, 1.0, 256))
    table = np.ascontiguousarray(colours[:, :3], np.float32)
    table.flags.writeable = False
    return table


def hex_colours(name: str, n: int) -> list[str]:
    """`n` colours at even steps through a palette, as '#rrggbb'."""
    table = colour_table(name)[np.linspace(0, 255, n).round().astype(int)]
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in np.round(table * 255).astype(int)]
