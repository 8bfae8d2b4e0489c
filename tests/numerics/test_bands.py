"""Local band powers of fields whose power is known, and parts of maps that stay where they were."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veritem.derived.bands import LOWEST, choose_bands
from veritem.numerics.bands import (
    Band,
    degrees_of_freedom,
    extract,
    local_band_powers,
    plan_resampling,
)
from veritem.numerics.fourier import fast_size, fourier_resize, rfftn


def test_the_squares_of_the_gains_add_up_to_one():
    bands = [Band(0.1 + 0.03 * k, 0.03) for k in range(6)]
    f = np.linspace(0.1, 0.25, 301)
    assert np.allclose(sum(band.gain(f).astype(float) ** 2 for band in bands), 1.0, atol=1e-6)


@pytest.mark.parametrize("band", [Band(0.1, 0.04), Band(0.22, 0.04), Band(0.1, 0.02)])
def test_white_noise_has_the_power_and_the_freedom_that_are_computed(band):
    """Mean and variance of local powers of white noise over a box of 72³ at 1.3 Å.

    The box holds (72 x 1.3)³ / (4 pi 36)^1.5 = 110 windows of 6 Å, each of `freedom` values: the mean is known to
    sqrt(2 / (110 freedom)), below 3 %, and the variance to about sqrt(2 / 110) = 13 %; 4 of either are allowed, the
    band's own reach making windows fewer where it is narrow.
    """
    pixel_size, shape = 1.3, (72, 72, 72)
    noise = np.random.default_rng(5).standard_normal(shape).astype(np.float32)
    ((power, _),) = local_band_powers(rfftn(noise), shape, pixel_size, (band,), (6.0,))
    freedom = degrees_of_freedom(band, pixel_size, 6.0)
    expected = pixel_size**3 * band.volume()
    assert power.mean() == pytest.approx(expected, rel=4 * np.sqrt(2 / (110 * freedom)) + 0.01)
    measured = 2 * power.mean(dtype=float) ** 2 / power.var(dtype=float)
    assert measured == pytest.approx(freedom, rel=0.5)


def test_half_maps_give_signal_and_noise_apart():
    """W * (a b) holds the signal alone, W * (a - b)² / 4 the noise of the mean: unit signal, noise of 2 in each half.

    Noise of variance 4 in each half is 2 in their mean. Means over the box are known to about 2 %, times the noise
    over signal of 4 in the product: 4 standard deviations are 0.2 of the signal.
    """
    shape, band = (72, 72, 72), Band(0.2, 0.04)
    rng = np.random.default_rng(6)
    signal = rng.standard_normal(shape)
    halves = [(signal + 2 * rng.standard_normal(shape)).astype(np.float32) for _ in range(2)]
    ((power, noise),) = local_band_powers(rfftn(halves[0]), shape, 1.3, (band,), (6.0,), other=rfftn(halves[1]))
    one = 1.3**3 * band.volume()
    assert noise is not None
    assert power.mean() / one == pytest.approx(1.0, abs=0.2)
    assert noise.mean() / one == pytest.approx(2.0, abs=0.1)


def test_power_is_where_the_structure_is():
    """A textured ball of radius 12 Å in an empty box: local power in its middle is the texture's, far away nothing."""
    shape, pixel_size, band = (64, 80, 72), 1.25, Band(0.2, 0.04)
    rng = np.random.default_rng(7)
    z, y, x = np.meshgrid(*((np.arange(n) - n // 2) * pixel_size for n in shape), indexing="ij")
    ball = z**2 + y**2 + x**2 < 20.0**2
    data = (rng.standard_normal(shape) * ball).astype(np.float32)
    ((power, _),) = local_band_powers(rfftn(data), shape, pixel_size, (band,), (6.0,))
    one = pixel_size**3 * band.volume()
    # In the middle the window (6 Å) lies within the ball but for 1 %; the freedom of 390 leaves 7 %.
    assert power[32, 40, 36] / one == pytest.approx(1.0, abs=0.35)
    assert power[0, 0, 0] / one < 1e-3


@settings(max_examples=60, deadline=None)
@given(
    low=st.tuples(*[st.integers(-40, 50)] * 3),
    size=st.tuples(*[st.integers(1, 220)] * 3),
    pixel_size=st.floats(0.4, 3.0),
    target=st.floats(0.5, 4.0),
)
def test_a_planned_part_holds_what_was_asked_on_fast_isotropic_grids(low, size, pixel_size, target):
    high = tuple(a + b for a, b in zip(low, size, strict=True))
    plan = plan_resampling(low, high, pixel_size, target)
    assert plan.pixel_size <= max(target, pixel_size) * (1 + 1e-9)
    # Fractions of denominators up to 10 come within 1/10 of a pixel ratio of the target.
    assert plan.pixel_size > min(target, max(target, pixel_size)) - 0.34 * pixel_size or plan.pixel_size == pixel_size
    for axis in range(3):
        assert plan.start[axis] <= low[axis]
        assert plan.start[axis] + plan.taken[axis] >= high[axis]
        assert plan.taken[axis] * pixel_size == pytest.approx(plan.shape[axis] * plan.pixel_size)
        assert fast_size(plan.shape[axis]) == plan.shape[axis]


def test_a_part_keeps_density_in_its_place():
    """A Gaussian blob of known place, resampled from 0.9 to about 1.5 Å, is found there again within 0.02 Å."""
    pixel_size, shape = 0.9, (70, 64, 61)
    centre = np.array([33.3, 25.1, 30.7])
    z, y, x = (np.arange(n) * pixel_size for n in shape)
    r2 = (z[:, None, None] - centre[0]) ** 2 + (y[None, :, None] - centre[1]) ** 2 + (x - centre[2]) ** 2
    data = (3.0 + np.exp(-r2 / (2 * 3.0**2))).astype(np.float32)
    plan = plan_resampling((-5, 4, 6), (66, 60, 67), pixel_size, 1.5)
    part = fourier_resize(extract(data, plan, 3.0, 6.0), plan.shape)
    ox, oy, oz = plan.origin((0.0, 0.0, 0.0), pixel_size)
    axes = [o + np.arange(n) * plan.pixel_size for o, n in zip((oz, oy, ox), plan.shape, strict=True)]
    weight = np.where(part > 0.05, part, 0.0).astype(float)
    found = [(weight.sum(axis=tuple(a for a in range(3) if a != k)) * axes[k]).sum() / weight.sum() for k in range(3)]
    assert np.allclose(found, centre, atol=0.02)
    # The voxel nearest the peak is at most half a voxel off along each axis.
    farthest = 3 * (plan.pixel_size / 2) ** 2
    assert np.exp(-farthest / (2 * 3.0**2)) - 0.01 < part.max() < 1.01


@pytest.mark.parametrize("resolution", [2.0, 3.0, 4.0, 5.5, 8.0])
def test_bands_stay_within_the_resolution(resolution):
    bands = choose_bands(1 / resolution)
    assert all(band.centre + band.half_width <= 1.0001 / resolution for band in bands)
    assert all(band.centre >= LOWEST for band in bands)
    if resolution <= 5.5:
        from_ten = [band for band in bands if band.centre > 0.0999]
        assert len(from_ten) >= 4
        assert from_ten[-1].centre >= 1.5 * from_ten[0].centre
