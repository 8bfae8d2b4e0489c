"""Map files written byte by byte, independently of the readers under test."""

from __future__ import annotations

import struct

import numpy as np

TYPES = {0: "i1", 1: "i2", 2: "f4", 4: "c8", 6: "u2", 12: "f2"}


def blob(shape: tuple[int, int, int], centre: tuple[float, float, float], sigma: float) -> np.ndarray:
    """A Gaussian, zyx, centre and sigma in voxels, height 100."""
    axes = [np.exp(-((np.arange(n) - c) ** 2) / (2 * sigma**2)) for n, c in zip(shape, centre, strict=True)]
    return (100 * axes[0][:, None, None] * axes[1][:, None] * axes[2]).astype(np.float32)


def mrc(
    data: np.ndarray,
    *,
    mode: int = 2,
    order: str = "<",
    axes: tuple[int, int, int] = (1, 2, 3),
    voxel: tuple[float, float, float] = (2.0, 2.0, 2.0),
    sampling: tuple[int, int, int] | None = None,
    start: tuple[int, int, int] = (0, 0, 0),
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
    angles: tuple[float, float, float] = (90.0, 90.0, 90.0),
    space_group: int = 1,
    extended: bytes = b"",
    word: bytes = b"MAP ",
    stamp: bytes | None = None,
    statistics: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0),
    imod: tuple[int, int] = (0, 0),
) -> bytes:
    """An MRC file.

    data: zyx, before the axes are permuted. axes: MAPC, MAPR, MAPS. voxel, sampling, start, origin: x, y, z.
    """
    size = data.shape[::-1]
    sampling = sampling or size
    # File order is sections, rows, columns; axis 1 (x) is the last of data.
    stored = data.transpose([3 - axis for axis in reversed(axes)])
    counts = [size[axis - 1] for axis in axes]
    starts = [start[axis - 1] for axis in axes]
    cell = [count * step for count, step in zip(sampling, voxel, strict=True)]
    header = bytearray(1024)
    put = lambda word, kind, *values: struct.pack_into(order + kind, header, 4 * (word - 1), *values)  # noqa: E731
    put(1, "10i", *counts, mode, *starts, *sampling)
    put(11, "6f", *cell, *angles)
    put(17, "3i", *axes)
    put(20, "3f", *statistics[:3])
    put(23, "2i", space_group, len(extended))
    put(39, "2i", *imod)
    put(50, "3f", *origin)
    put(55, "f", statistics[3])
    header[208:212] = word
    header[212:216] = stamp or {"<": b"DD\0\0", ">": b"\x11\x11\0\0"}[order]
    return bytes(header) + extended + values(stored, mode, order)


def values(stored: np.ndarray, mode: int, order: str) -> bytes:
    if mode == 101:
        rows = stored.reshape(-1, stored.shape[-1]).astype(np.uint8)
        packed = bytearray()
        for row in rows.tolist():
            padded = row + [0] * (len(row) % 2)
            packed += bytes(low | high << 4 for low, high in zip(padded[::2], padded[1::2], strict=True))
        return bytes(packed)
    return np.ascontiguousarray(stored).astype(order + TYPES[mode], casting="unsafe").tobytes()


def em(data: np.ndarray, code: int, machine: int, order: str, kind: str) -> bytes:
    """An EM file."""
    header = bytearray(512)
    header[0], header[3] = machine, code
    struct.pack_into(order + "3i", header, 4, *data.shape[::-1])
    return bytes(header) + data.astype(order + kind).tobytes()
