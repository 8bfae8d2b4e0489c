"""Pictures of a map for the figures of several checks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LARGEST_IMAGE = 512  # pixels a side


def binning(shape: tuple[int, ...], largest: int = LARGEST_IMAGE) -> int:
    """Voxels per pixel of a picture, so that no side is longer than `largest` pixels."""
    return max(1, -(-max(shape) // largest))


def binned(image: NDArray, factor: int) -> NDArray[np.float32]:
    """Means over factor x factor pixels; incomplete blocks at the far edges are averaged over what they hold."""
    image = np.asarray(image, np.float32)
    if factor == 1:
        return image
    rows, columns = (-(-n // factor) * factor for n in image.shape)
    padded = np.full((rows, columns), np.nan, np.float32)
    padded[: image.shape[0], : image.shape[1]] = image
    return np.nanmean(padded.reshape(rows // factor, factor, columns // factor, factor), axis=(1, 3))


def binned_mask(mask: NDArray[np.bool_], factor: int) -> NDArray[np.bool_]:
    """Where at least half of a pixel is in the mask."""
    return binned(mask, factor) >= 0.5 if factor > 1 else mask


def draw_cross(image: NDArray[np.float32], row: float, column: float, diagonal: bool = False) -> None:
    """Draw a + (or a ×) centred on (row, column), white on black so that it shows on any ground, in place."""
    arm = max(3, round(0.035 * max(image.shape)))
    dark, bright = float(image.min()), float(image.max())
    centre = np.array([round(row), round(column)])
    strokes = [(1, 1), (1, -1)] if diagonal else [(1, 0), (0, 1)]
    for width, value in ((1, dark), (0, bright)):
        for stroke in strokes:
            for step in range(-arm, arm + 1):
                if abs(step) < arm // 3:
                    # The middle stays open: what is there is the point.
                    continue
                at = centre + step * np.array(stroke)
                low = np.maximum(at - width, 0)
                high = np.minimum(at + width + 1, image.shape)
                if (low < high).all():
                    image[low[0] : high[0], low[1] : high[1]] = value
