"""The noise region, its spectrum, and the fields that are drawn from it."""

from __future__ import annotations

import numpy as np
import pytest

from veritem.derived.noise import noise_region, noise_spectrum
from veritem.errors import NotApplicable
from veritem.numerics.density_map import DensityMap
from veritem.numerics.fourier import frequency_grid, low_pass
from veritem.numerics.noise import (
    GaussianField,
    block_moments,
    independent_voxels,
    lag_taper,
    normalise_noise,
    radial_scale,
    windowed_covariance,
)
from veritem.numerics.shells import power, shell_means

BOX = 72
RADIUS = 14.0


def sphere(shape: tuple[int, int, int], pixel_size: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distance from the centre (Å), a ball as hard mask, distance from the ball (Å)."""
    axes = [np.arange(n) - n // 2 for n in shape]
    radius = pixel_size * np.sqrt(axes[0][:, None, None] ** 2 + axes[1][None, :, None] ** 2 + axes[2] ** 2)
    return radius, radius < RADIUS, np.minimum(radius - RADIUS, 60.0).astype(np.float32)


def noise(shape: tuple[int, int, int], seed: int, resolution: float = 4.0) -> np.ndarray:
    values = low_pass(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32), 1.0, 1 / resolution)
    return values / values.std()


@pytest.mark.parametrize("shape", [(72, 72, 72), (61, 80, 70)])
def test_unmasked_noise_is_all_region(shape):
    _radius, ball, distance = sphere(shape)
    values = noise(shape, 1) + 5 * ball + 0.3
    region = noise_region(DensityMap(values.astype(np.float32), 1.0), ball, distance, 4.0)
    assert region.available, region.reason
    assert region.margin == 12.0
    assert (region.mask == (distance > 12.0)).all()
    assert (region.rim == (distance > 6.0)).all()
    # About 1/12 of the voxels are independent at 4 Å; the median is 1.25, the deviation 1.17 times less sure.
    independent = region.voxels / 12
    assert region.centre == pytest.approx(0.3, abs=4 * 1.25 / independent**0.5)
    assert region.sigma == pytest.approx(1.0, abs=4 * 1.17 / independent**0.5)
    assert region.contrast == pytest.approx(5.0, abs=0.3)


@pytest.mark.parametrize("edge", [0.0, 8.0])
def test_edge_of_a_spherical_mask_stays_outside(edge):
    """Noise up to a radius, hard or fading over 8 Å: neither zeros nor the fading border may enter."""
    radius, ball, distance = sphere((BOX,) * 3)
    fade = (radius < 34) if edge == 0 else np.clip((34 - radius) / edge, 0, 1)
    values = ((noise((BOX,) * 3, 2) + 5 * ball) * fade).astype(np.float32)
    region = noise_region(DensityMap(values, 1.0), ball, distance, 3.0)
    assert region.available, region.reason
    outermost = radius[region.mask].max()
    assert outermost < (34 - 1 if edge == 0 else 34 - 0.5 * edge)
    assert region.featureless > 0.5
    # What is kept is near full strength: the faded rim would pull the deviation down.
    assert region.sigma == pytest.approx(1.0, abs=0.15)


def test_slivers_of_a_mask_that_touches_the_faces_are_seen():
    """A ball of noise that just passes the faces leaves zeros only in the corners and thin caps."""
    radius, ball, distance = sphere((BOX,) * 3)
    values = ((noise((BOX,) * 3, 3) + 5 * ball) * (radius < BOX / 2 - 0.5)).astype(np.float32)
    region = noise_region(DensityMap(values, 1.0), ball, distance, 3.0)
    assert not (values[region.mask] == 0).any()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("masked", "is masked"),
        ("masked to a constant", "is masked"),
        ("flattened", "flattened"),
        ("8-bit", "steps"),
        ("constant", "masked"),
        ("tight", "too tight"),
    ],
)
def test_a_map_without_noise_says_why(name, words):
    _radius, ball, distance = sphere((BOX,) * 3)
    values = noise((BOX,) * 3, 4) + 8 * ball
    if name == "masked":
        values = values * (distance < 4)
    elif name == "masked to a constant":
        values = np.where(distance < 4, values, -0.37)
    elif name == "flattened":
        values = np.where(distance < 4, values, 1e-3 * values)
    elif name == "8-bit":
        values = np.round(values)
    elif name == "constant":
        values = np.zeros_like(values)
    elif name == "tight":
        distance = distance - 60
    density_map = DensityMap(values.astype(np.float32), 1.0)
    region = noise_region(density_map, ball, distance, 4.0)
    assert not region.available
    assert words in region.reason
    with pytest.raises(NotApplicable):
        noise_spectrum(density_map, region, 1)


def test_corners_alone_are_enough_when_they_are_large():
    radius, ball, distance = sphere((BOX,) * 3)
    values = np.where(radius > 36, noise((BOX,) * 3, 5), 0) + 5 * ball
    region = noise_region(DensityMap(values.astype(np.float32), 1.0), ball, distance, 3.0)
    assert region.available, region.reason
    assert radius[region.mask].min() > 36


def test_no_resolution_no_mask_no_particle_are_survived():
    _radius, ball, distance = sphere((BOX,) * 3)
    density_map = DensityMap(noise((BOX,) * 3, 6), 1.0)
    assert noise_region(density_map, ball, distance, None).available
    assert noise_region(density_map, np.zeros_like(ball), np.full_like(distance, 60.0), 4.0).available
    assert not noise_region(density_map, np.ones_like(ball), np.full_like(distance, -1.0), 4.0).available


def test_spectrum_is_free_of_the_window():
    """Noise of known power outside a ball; the estimate is that power, smoothed over its resolution."""
    _radius, ball, distance = sphere((BOX,) * 3)
    frequency = np.linspace(0, 0.9, 91)
    truth = np.exp(-((frequency - 0.12) ** 2) / (2 * 0.06**2)) + 0.02
    field = GaussianField.from_power((BOX,) * 3, frequency, truth)
    estimates = []
    for seed in range(6):
        values = field.draw(np.random.default_rng(seed))
        density_map = DensityMap((values + 20 * ball).astype(np.float32), 1.0)
        region = noise_region(density_map, ball, distance, 2.0)
        estimates.append(noise_spectrum(density_map, region, 1).power)
    spectrum = noise_spectrum(density_map, region, 1)
    shells = spectrum.frequency
    mean = np.mean(estimates, axis=0)
    # What a perfect covariance would give: the truth, transformed, tapered, transformed back.
    lags = np.arange(-24, 25)
    covariance = np.fft.irfftn(np.interp(frequency_grid((BOX,) * 3, 1.0), frequency, truth), s=(BOX,) * 3)
    cube = covariance[np.ix_(lags, lags, lags)] * lag_taper(24)
    size = 64
    wrapped = np.zeros((size,) * 3)
    wrapped[np.ix_(lags, lags, lags)] = cube
    smooth = shell_means(np.fft.rfftn(wrapped).real, (size,) * 3)[0]
    smoothed = np.interp(shells, np.arange(len(smooth)) / size, smooth)
    inside = (shells > 0.03) & (shells < 0.45)
    # Six maps, at least 200 coefficients a smoothed shell: a standard error below 3 % of the power, and shells average
    # over frequencies that differ by half a shell.
    assert mean[inside] == pytest.approx(smoothed[inside], rel=0.12, abs=0.01)
    # White noise under a window has power * sum(w²): the convention that others rely on.
    window = 1.0 - ball
    sums = shell_means(power(np.fft.rfftn(values * window)), (BOX,) * 3)[0]
    strongest = int(np.argmax(smoothed))
    assert sums[strongest] / (window**2).sum() == pytest.approx(smoothed[strongest], rel=0.1)


def test_windowed_covariance_of_white_noise_is_a_delta():
    rng = np.random.default_rng(8)
    data = rng.standard_normal((40, 33, 36)).astype(np.float32)
    window = rng.random((40, 33, 36)) < 0.5
    covariance, pairs = windowed_covariance(data, window, 5)
    assert covariance.shape == (11, 11, 11)
    assert covariance[5, 5, 5] == pytest.approx((data[window].astype(float) ** 2).mean(), rel=1e-5)
    others = np.delete(covariance.ravel(), 11**3 // 2)
    # Each lag rests on a quarter of the voxels, about 9000 pairs.
    assert np.abs(others).max() < 5.5 / pairs.min() ** 0.5
    # Lags are not wrapped around the box: a pair less for every plane that is lost.
    full, pairs = windowed_covariance(data, np.ones_like(window), 5)
    assert pairs[5 + 3, 5, 5] == pytest.approx((40 - 3) * 33 * 36, rel=1e-5)
    by_hand = np.mean(data[3:, 1:, :-2].astype(float) * data[:-3, :-1, 2:])
    assert full[5 + 3, 5 + 1, 5 - 2] == pytest.approx(by_hand, abs=1e-5)


@pytest.mark.parametrize("shape", [(16, 14, 12), (15, 14, 13)])
def test_field_has_the_power_it_was_asked_for(shape):
    frequency, wanted = np.array([0.0, 0.2, 0.9]), np.array([3.0, 1.0, 0.5])
    field = GaussianField.from_power(shape, frequency, wanted)
    rng = np.random.default_rng(9)
    draws = 1500
    measured = np.mean([np.abs(np.fft.rfftn(field.draw(rng))) ** 2 for _ in range(draws)], axis=0) / np.prod(shape)
    ratio = measured / np.interp(frequency_grid(shape, 1.0), frequency, wanted)
    # |F|² of a complex coefficient varies by 1, of a real one by sqrt(2): 5.5 standard errors for some 2000 of them.
    assert np.abs(ratio - 1).max() < 5.5 * (2 / draws) ** 0.5
    # The planes that are their own mates, which the half-complex drawing treats apart.
    assert ratio[..., 0].mean() == pytest.approx(1.0, abs=0.02)
    assert ratio[..., -1].mean() == pytest.approx(1.0, abs=0.02)


def test_independent_voxels_of_white_and_blurred_noise():
    assert independent_voxels(1000, np.ones((8, 8, 5))) == pytest.approx(1000)
    # A band that fills a tenth of Fourier space leaves a tenth of the voxels independent.
    band = np.zeros((100, 100, 51))
    band[:10] = 2.0
    assert independent_voxels(1000, band) == pytest.approx(100)
    # The definition: the variance of the mean square is 2 sigma^4 / N_eff.
    values = [np.mean(_blurred(s) ** 2) for s in range(200)]
    grid = frequency_grid((32,) * 3, 1.0)
    effective = independent_voxels(32**3, _both_halves(np.exp(-((grid / 0.15) ** 2))))
    assert np.var(values) / np.mean(values) ** 2 == pytest.approx(2 / effective, rel=4 * (2 / 200) ** 0.5)


def _both_halves(half: np.ndarray) -> np.ndarray:
    return np.concatenate([half, half[..., 1:-1]], axis=-1)


def _blurred(seed: int) -> np.ndarray:
    frequency = np.linspace(0, 0.9, 400)
    field = GaussianField.from_power((32,) * 3, frequency, np.exp(-((frequency / 0.15) ** 2)))
    return field.draw(np.random.default_rng(seed)).astype(float)


def test_radial_scale_follows_a_variance_that_falls_with_radius():
    shape = (64, 60, 66)
    radius, ball, _ = sphere(shape)
    truth = 2.0 - radius / 40
    values = (np.random.default_rng(10).standard_normal(shape) * truth).astype(np.float32)
    centre = (32.0, 30.0, 33.0)
    scale = radial_scale(values, ~ball, 0.0, 1.0, 5000, centre)
    where = np.arange(18, 40)
    # 5000 voxels give 1.17 / sqrt(5000) = 1.7 % a bin; the bins are narrow.
    assert scale[where] == pytest.approx(2.0 - (where + 0.5) / 40, rel=0.07)
    z = normalise_noise(values, ~ball, 0.0, scale, centre)
    assert z[~ball].std() == pytest.approx(1.0, abs=0.02)
    assert (z[ball] == 0).all()


def test_block_moments_are_sums():
    rng = np.random.default_rng(11)
    data = (rng.standard_normal((10, 9, 7)) + 1e4).astype(np.float32)
    region = rng.random((10, 9, 7)) < 0.7
    moments = block_moments(data, region, 4)
    part = data[4:8, 0:4, 4:7][region[4:8, 0:4, 4:7]].astype(float)
    assert moments.counts[1, 0, 1] == part.size
    assert moments.sums[1, 0, 1] + moments.offset * part.size == pytest.approx(part.sum(), rel=1e-9)
    # The whole box is one window of reach 2: the variance is not lost against the large mean.
    assert moments.variance(reach=2)[1, 1, 1] == pytest.approx(data[region].astype(float).var(), rel=1e-6)
