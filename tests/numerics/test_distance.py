"""The distance transform is exact: it equals scipy's, and a ball."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from veritem.numerics.distance import bounding_box, dilate, signed_distance, squared_distance

NO_CAP = 10**6


def random_mask(seed: int, share: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mask = rng.random(tuple(rng.integers(2, 24, 3))) < share
    # Both sides must be there for a distance to exist.
    mask.flat[0], mask.flat[-1] = True, False
    return mask


def reference(mask: np.ndarray) -> np.ndarray:
    """Signed squared distances in whole numbers, from scipy."""
    inside, outside = (np.round(ndimage.distance_transform_edt(m) ** 2).astype(int) for m in (mask, ~mask))
    return outside - inside


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("seed", range(6))
def test_squared_distance_equals_scipy(seed, share):
    """Squared distances between voxels are integers, so nothing but equality will do. Boxes are odd, even, unequal."""
    mask = random_mask(seed, share)
    assert np.array_equal(squared_distance(mask, NO_CAP), reference(mask))


@pytest.mark.parametrize("cap", [1, 2, 7, 40])
@pytest.mark.parametrize("seed", range(4))
def test_a_cap_cuts_and_changes_nothing_below(seed, cap):
    mask = random_mask(seed, 0.03)
    assert np.array_equal(squared_distance(mask, cap), np.clip(reference(mask), -cap, cap))


def test_threads_change_nothing():
    mask = np.random.default_rng(0).random((40, 33, 27)) < 0.02
    assert np.array_equal(squared_distance(mask, NO_CAP, threads=1), squared_distance(mask, NO_CAP, threads=3))


@pytest.mark.parametrize(("filled", "value"), [(False, 9), (True, -9)])
def test_a_mask_of_one_side_is_at_the_cap_everywhere(filled, value):
    assert (squared_distance(np.full((5, 6, 7), filled), 9) == value).all()


def test_signed_distance_in_angstrom():
    """A plane: distances on either side are whole pixels, the cap is met exactly, and the box's faces do not erode."""
    mask = np.zeros((30, 4, 5), bool)
    mask[10:] = True
    distance = signed_distance(mask, pixel_size=1.5, cap_distance=9.0)[:, 2, 2]
    z = np.arange(30)
    expected = np.where(z < 10, np.minimum(1.5 * (10 - z), 9.0), -np.minimum(1.5 * (z - 9), 9.0))
    assert np.array_equal(distance, expected.astype(np.float32))


@pytest.mark.parametrize("radius", [1.0, np.sqrt(2.0), 2.0, 2.9, 5.0])
def test_dilation_is_by_a_ball(radius):
    mask = np.random.default_rng(3).random((21, 18, 25)) < 0.003
    reach = int(radius)
    z, y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1, -reach : reach + 1]
    # sqrt(2)² is 2.0000000000000004: the ball, like the code, takes integers up to the rounded square.
    ball = z**2 + y**2 + x**2 <= radius**2 + 1e-9
    assert np.array_equal(dilate(mask, radius), ndimage.binary_dilation(mask, ball))


def test_dilation_by_less_than_a_voxel_changes_nothing():
    mask = np.random.default_rng(4).random((9, 9, 9)) < 0.1
    assert np.array_equal(dilate(mask, 0.99), mask)


def test_bounding_box_is_padded_within_the_box():
    mask = np.zeros((10, 12, 14), bool)
    mask[3:5, 0, 6:13] = True
    assert bounding_box(mask) == (slice(3, 5), slice(0, 1), slice(6, 13))
    assert bounding_box(mask, 4) == (slice(0, 9), slice(0, 5), slice(2, 14))


def test_an_empty_mask_has_no_bounding_box():
    with pytest.raises(ValueError, match="empty"):
        bounding_box(np.zeros((3, 3, 3), bool))
