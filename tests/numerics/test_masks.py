"""Components, edges and sums over masks, against scipy and against shapes of known size."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from veritem.numerics.masks import (
    components_for_share,
    counts_above,
    label_components,
    mass_profiles,
    raised_cosine_edge,
    slice_variances,
)

EVERY_NEIGHBOUR = np.ones((3, 3, 3))


@pytest.mark.parametrize("share", [0.02, 0.1, 0.2, 0.5, 0.97])
@pytest.mark.parametrize("seed", range(6))
def test_components_equal_scipys(seed, share):
    rng = np.random.default_rng(seed)
    mask = rng.random(tuple(rng.integers(1, 22, 3))) < share
    labels, count = ndimage.label(mask, EVERY_NEIGHBOUR)
    sizes = np.bincount(labels.ravel())[1:]
    found = label_components(mask)
    assert np.array_equal(found.sizes, np.sort(sizes)[::-1])
    assert np.array_equal(found.select(np.ones(count, bool)), mask)
    if count:
        # Of equal sizes the one met first comes first, in scipy's order too.
        assert np.array_equal(found.largest(), labels == np.argmax(sizes) + 1)


def test_every_component_is_one_of_scipys():
    mask = np.random.default_rng(9).random((14, 15, 16)) < 0.12
    labels, count = ndimage.label(mask, EVERY_NEIGHBOUR)
    found = label_components(mask)
    for i in range(count):
        keep = np.zeros(count, bool)
        keep[i] = True
        part = found.select(keep)
        of_scipy = np.unique(labels[part])
        assert of_scipy.size == 1
        assert np.array_equal(labels == of_scipy[0], part)


def test_an_empty_mask_has_no_components():
    found = label_components(np.zeros((4, 5, 6), bool))
    assert found.sizes.size == 0
    assert not found.largest().any()


@pytest.mark.parametrize(
    ("sizes", "share", "count"),
    [([], 0.95, 0), ([7], 0.95, 1), ([95, 5], 0.95, 1), ([94, 6], 0.95, 2), ([10] * 10, 0.5, 5), ([10] * 10, 1.0, 10)],
)
def test_components_for_a_share(sizes, share, count):
    """A share that is reached exactly is reached."""
    assert components_for_share(np.array(sizes, np.int64), share) == count


def test_a_raised_cosine_edge():
    distance = np.array([-5.0, 0.0, 1.5, 3.0, 4.5, 6.0, 9.0], np.float32)
    expected = [1.0, 1.0, 0.5 * (1 + np.sqrt(0.5)), 0.5, 0.5 * (1 - np.sqrt(0.5)), 0.0, 0.0]
    # float32 cosines: a few units of 6e-8.
    assert raised_cosine_edge(distance, 6.0) == pytest.approx(expected, abs=3e-7)


def test_slice_variances_equal_numpys_even_on_a_large_offset():
    data = np.random.default_rng(2).standard_normal((7, 9, 12)).astype(np.float32) + np.float32(1000)
    for axis, found in enumerate(slice_variances(data)):
        expected = data.astype(float).var(axis=tuple(a for a in range(3) if a != axis))
        assert found == pytest.approx(expected, rel=1e-9)


def test_mass_profiles_give_the_centre_of_mass():
    rng = np.random.default_rng(5)
    data = rng.standard_normal((8, 11, 13)).astype(np.float32)
    mask = rng.random(data.shape) < 0.3
    profiles = mass_profiles(data, mask, base=0.2)
    weight = np.where(mask, np.maximum(data.astype(float) - 0.2, 0), 0)
    assert profiles.centre() == pytest.approx(ndimage.center_of_mass(weight), rel=1e-12)
    assert profiles.total == pytest.approx(weight.sum(), rel=1e-12)
    for axis, (mass, count) in enumerate(zip(profiles.mass, profiles.count, strict=True)):
        others = tuple(a for a in range(3) if a != axis)
        assert mass == pytest.approx(weight.sum(others), rel=1e-12)
        assert np.array_equal(count, mask.sum(others))


def test_mass_without_any_has_no_centre():
    assert np.isnan(mass_profiles(np.zeros((3, 3, 3), np.float32), np.ones((3, 3, 3), bool)).centre()).all()


def test_counts_above_equal_counting():
    data = np.random.default_rng(6).standard_normal((12, 13, 14)).astype(np.float32)
    # Levels that no float32 value comes near: rounding cannot move a voxel across.
    levels = np.linspace(-1.00000003, 3.00000003, 37)
    assert np.array_equal(counts_above(data, levels), [(data >= level).sum() for level in levels])
