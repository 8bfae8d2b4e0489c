"""Averages along an edge of maps whose parts along and across it are known."""

from __future__ import annotations

import numpy as np
import pytest

from veritem.numerics.edges import average_along_edge

SHAPE = (40, 44, 48)


def depths(shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """A flat edge across z at 8: the voxel at z = 8 is the first inside, one voxel deep."""
    z = np.arange(shape[0], dtype=float) - 7
    return np.broadcast_to(np.where(z > 0, z, z - 1)[:, None, None], shape).copy()


def test_what_depends_on_the_depth_alone_stays_as_it_is():
    profile = np.random.default_rng(0).standard_normal(SHAPE[0])
    data = np.broadcast_to(profile[:, None, None], SHAPE).astype(np.float32)
    averaged = average_along_edge(data, depths(), 12.0)
    # Means of equal numbers: single precision.
    assert np.allclose(averaged[8:20], data[8:20], atol=1e-6)
    assert (averaged[:8] == 0).all()
    assert (averaged[20:] == 0).all()


@pytest.mark.parametrize("cell", [1, 3, 4])
def test_what_changes_along_the_edge_is_averaged_away(cell):
    """A wave of 8 voxels under a Gaussian of 5: exp(-2 (π 5 / 8)²) = 5e-4. Cells sample it, and the box ends it.

    At the ends of the box the Gaussian is cut, and half a wave is left over at the most: 1 / (5 sqrt(2π)) x 8 / π of
    it. White noise keeps one part in 4π 5² of its power on a plane; at its corners four times that.
    """
    x = np.arange(SHAPE[2])
    wave = np.broadcast_to(np.sin(2 * np.pi * x / 8), SHAPE).astype(np.float32)
    averaged = average_along_edge(wave, depths(), 6.0, cell, 5.0)
    assert abs(averaged[8:14, :, 16:32]).max() < 0.02
    assert abs(averaged).max() < 8 / np.pi / (5 * np.sqrt(2 * np.pi))
    noise = np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)
    averaged = average_along_edge(noise, depths(), 6.0, cell, 5.0)
    assert averaged[8:14].std() < 2 / (np.sqrt(4 * np.pi) * 5)


def test_a_slow_change_along_the_edge_stays():
    """A slope is its own average but within two Gaussian widths of the end of the box; cells are joined by lines."""
    slope = np.broadcast_to(np.arange(SHAPE[1], dtype=np.float32)[:, None], SHAPE)
    averaged = average_along_edge(slope, depths(), 6.0, 4, 5.0)
    assert np.allclose(averaged[8:14, 16:28], slope[8:14, 16:28], atol=0.5)


def test_nothing_inside_the_edge_gives_nothing():
    assert (average_along_edge(np.ones(SHAPE, np.float32), -np.ones(SHAPE), 5.0) == 0).all()
