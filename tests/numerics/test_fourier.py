"""Transforms and resampling: what a Gaussian of known width and place becomes."""

from __future__ import annotations

import numpy as np
import pytest

from veritem.numerics.density_map import DensityMap
from veritem.numerics.fourier import (
    fast_size,
    fourier_resize,
    frequency_grid,
    gaussian_filter,
    irfftn,
    low_pass,
    resample,
    rfftn,
)
from veritem.numerics.shells import power, shell_count, shell_frequencies, shell_means

SHAPES = [(32, 32, 32), (31, 24, 40), (25, 27, 21)]


def gaussian_map(shape, pixel_size, centre, sigma):
    """A Gaussian blob; centre (z, y, x) and sigma in Å."""
    axes = [np.arange(n) * pixel_size - c for n, c in zip(shape, centre, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return np.exp(-(z**2 + y**2 + x**2) / (2 * sigma**2)).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_transform_and_its_inverse_give_the_map_back(shape):
    data = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    # Single precision: eps * log2(n) of the largest value.
    assert np.abs(irfftn(rfftn(data), shape) - data).max() < 1e-5


@pytest.mark.parametrize("shape", SHAPES)
def test_a_plane_wave_is_in_the_coefficient_of_its_frequency(shape):
    ny = shape[1]
    wave = np.cos(2 * np.pi * 3 * np.arange(ny) / ny).astype(np.float32)
    transform = np.abs(rfftn(np.broadcast_to(wave[None, :, None], shape)))
    where = np.unravel_index(transform.argmax(), transform.shape)
    assert frequency_grid(shape, 1.3)[where] == pytest.approx(3 / (ny * 1.3), rel=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_white_noise_has_the_same_power_in_every_shell(shape):
    """Unit-variance white noise: E|F|² = number of voxels; the mean of n exponentials has relative error 1/sqrt(n)."""
    data = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    mean, _, count = shell_means(power(rfftn(data)), shape)
    used = slice(2, shell_count(shape) - 1)
    assert (np.abs(mean[used] / data.size - 1) < 4.5 / np.sqrt(count[used])).all()


def test_shells_hold_every_coefficient_once():
    """A cube's inscribed sphere: the counts sum to half the lattice points within it (Friedel pairs count once)."""
    shape = (24, 24, 24)
    _, _, count = shell_means(np.ones((24, 24, 13), np.float32), shape)
    k = np.fft.fftfreq(24, 1 / 24)
    radius = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + k[None, None, :] ** 2)
    expected = 0.5 * np.bincount(np.floor(radius + 0.5).astype(int).ravel())[: shell_count(shape)]
    assert count == pytest.approx(expected)
    assert shell_frequencies(shape, 2.0)[12] == pytest.approx(0.25)


@pytest.mark.parametrize("shape", SHAPES)
def test_gaussian_filter_adds_variances(shape):
    """A Gaussian of 2 voxels blurred by 1.5 becomes one of 2.5; the box is wide enough for its tails (< 1e-4)."""
    centre = [n // 2 for n in shape]
    blurred = gaussian_filter(gaussian_map(shape, 1.0, centre, 2.0), 1.5)
    expected = gaussian_map(shape, 1.0, centre, 2.5) * (2.0 / 2.5) ** 3
    assert np.abs(blurred - expected).max() < 1e-3


@pytest.mark.parametrize("new", [(40, 40, 40), (24, 30, 36), (17, 33, 20)])
def test_resized_density_stays_in_place(new):
    """A band-limited density is sampled, not changed: the blob of 2.5 Å holds nothing beyond 1 / (4 Å)."""
    old = (32, 32, 32)
    resized = fourier_resize(gaussian_map(old, 1.0, (15.3, 16.1, 17.0), 2.5), new)
    axes = [np.arange(n) * 32 / n - c for n, c in zip(new, (15.3, 16.1, 17.0), strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    assert np.abs(resized - np.exp(-(z**2 + y**2 + x**2) / 12.5)).max() < 3e-3


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("wanted", [0.8, 1.37, 1.9])
def test_resampled_map_keeps_place_and_width(shape, wanted):
    old = DensityMap(gaussian_map(shape, 1.1, [1.1 * n / 2 for n in shape], 2.5), 1.1, (5.0, 6.0, 7.0))
    new = resample(old, wanted)
    # The cube has an even number of new voxels n, so its pixel size is off by at most one part in n.
    assert new.pixel_size == pytest.approx(wanted, rel=wanted / (1.1 * fast_size(max(shape))))
    assert new.origin == old.origin
    expected = gaussian_map(new.shape, new.pixel_size, [1.1 * n / 2 for n in shape], 2.5)
    # Beyond 1 / (2 x 1.9 Å) the blob holds exp(-2 (pi 2.5 / 3.8)²) = 2e-4 of its amplitude.
    assert np.abs(new.data - expected).max() < 5e-3


def test_low_pass_keeps_what_is_below_and_removes_what_is_above():
    n, pixel_size = 48, 1.0
    x = np.arange(n)
    low, high = np.cos(2 * np.pi * 4 * x / n), np.cos(2 * np.pi * 16 * x / n)
    data = np.broadcast_to((low + high).astype(np.float32), (n, n, n))
    passed = low_pass(data, pixel_size, cutoff=0.2)
    assert np.abs(passed[0, 0] - low).max() < 1e-5
