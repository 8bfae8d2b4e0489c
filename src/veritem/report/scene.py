"""The interactive view's volumes, packed small enough to travel inside a page."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from veritem.report.figures import REPLACED_PALETTES
from veritem.report.files import ArrayStore, MissingData
from veritem.report.palette import hex_colours
from veritem.results import ValidationResult

LARGEST_AXIS = 128
PALETTE_COLOURS = 33


def pack_scene(result: ValidationResult, folder: Path) -> dict[str, Any] | None:
    """The scene as JSON, its volumes as deflated bytes in base64; None when the result has none.

    The map becomes 8 bits over the levels that the slider can reach, and a little beyond: everything lower is one
    value, which packs to nearly nothing and draws the same surfaces. A colouring becomes 1 to 255 over its limits,
    0 where it is not known or no surface can come.

    Raises MissingData when the scene's file is absent or lacks a volume.
    """
    scene = result.scene
    if scene is None:
        return None
    arrays = ArrayStore(folder).arrays(scene.data_file)
    for name in ("map", *(c.key for c in scene.colourings)):
        if name not in arrays:
            raise MissingData(f"The volume '{name}' of the interactive view is not in {scene.data_file}.")
    volume = np.asarray(arrays["map"], np.float32)
    if max(volume.shape) > LARGEST_AXIS:
        raise MissingData(
            f"The volume of the interactive view is {volume.shape}; at most {LARGEST_AXIS} voxels an axis were "
            "expected. Run the validation again."
        )
    low, high = slider_range(volume, scene.level)
    span = high - low
    bottom, top = low - 0.1 * span, high + 0.1 * span
    quantised = np.clip(np.round((volume - bottom) / (top - bottom) * 255), 0, 255)
    near = binary_dilation(volume >= low, iterations=2)
    colourings = []
    for colouring in scene.colourings:
        values = np.asarray(arrays[colouring.key], np.float32)
        limits = colouring.colour_limits or _limits(values[np.isfinite(values) & near])
        colourings.append(
            {
                "key": colouring.key,
                "label": colouring.label,
                "unit": colouring.unit,
                "limits": [float(v) for v in limits],
                "colours": hex_colours(REPLACED_PALETTES.get(colouring.palette, colouring.palette), PALETTE_COLOURS),
                "data": _packed(_coded(values, limits, near)),
            }
        )
    return {
        "shape": list(volume.shape),
        "pixel_size": scene.pixel_size,
        "level": scene.level,
        "range": [low, high],
        "bottom": bottom,
        "top": top,
        "map": _packed(quantised.astype(np.uint8)),
        "colourings": colourings,
    }


def slider_range(volume: NDArray[np.float32], level: float) -> tuple[float, float]:
    """The levels that a reader may choose: around the contour level, up to where little is left."""
    above = volume[volume >= level]
    high = float(np.percentile(above, 98)) if above.size else float(volume.max())
    high = max(high, level + 1e-6 * max(1.0, abs(level)))
    return level - 0.7 * (high - level) if level <= 0 else max(0.5 * level, level - 2 * (high - level)), high


def _limits(values: NDArray[np.float32]) -> tuple[float, float]:
    if values.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(values, (2, 98))
    return float(low), float(high) if high > low else float(low) + 1.0


def _coded(values: NDArray[np.float32], limits: tuple[float, float], near: NDArray[np.bool_]) -> NDArray[np.uint8]:
    low, high = limits
    known = np.isfinite(values) & near
    share = np.clip((np.where(known, values, low) - low) / (high - low), 0, 1) if high > low else 0 * values
    return np.where(known, 1 + np.round(share * 254), 0).astype(np.uint8)


def _packed(volume: NDArray[np.uint8]) -> str:
    return base64.b64encode(zlib.compress(np.ascontiguousarray(volume).tobytes(), 9)).decode()
