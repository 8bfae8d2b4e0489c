"""Noise whose power is measured back, shell by shell."""

from __future__ import annotations

import numpy as np
import pytest

from veritem.numerics.fourier import frequency_grid, rfftn
from veritem.numerics.shells import power, shell_frequencies, shell_means
from veritem.simulation.half_maps import first_crossing
from veritem.simulation.noise import (
    CROSSING_DECADES,
    coloured_noise,
    low_passed_noise,
    noise_for_ssnr,
    radial_power,
    ssnr_curve,
    white_noise,
)


def counts(shape):
    """Independent coefficients per shell."""
    return shell_means(np.ones((*shape[:2], shape[2] // 2 + 1), np.float32), shape)[2]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", [(48, 48, 48), (45, 64, 51)])
def test_white_noise_has_flat_power(shape, seed):
    measured = radial_power(white_noise(shape, 2.0, np.random.default_rng(seed)))
    held = counts(shape)
    # |F|² of a complex Gaussian has a relative standard deviation of 1, so a shell mean has 1 / sqrt(n);
    # the largest of 30 shells stays below 4.5 of it but for 1 seed in 5000.
    assert (np.abs(measured / 4.0 - 1)[3:] < 4.5 / np.sqrt(held[3:])).all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", [(48, 48, 48), (45, 64, 51)])
def test_coloured_noise_has_the_power_that_was_asked_for(shape, seed):
    pixel_size = 1.3

    def spectrum(frequency):
        return 3.0 * np.exp(-20.0 * frequency**2)

    noise = coloured_noise(shape, pixel_size, spectrum, np.random.default_rng(seed))
    assert noise.dtype == np.float32 and noise.shape == shape
    measured = radial_power(noise)
    expected, _, held = shell_means(spectrum(frequency_grid(shape, pixel_size)), shape)
    assert (np.abs(measured / expected - 1)[3:] < 4.5 / np.sqrt(held[3:])).all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", [(64, 64, 64), (63, 60, 50)])
def test_low_passed_noise_has_its_sigma_and_nothing_beyond(shape, seed):
    pixel_size, resolution = 1.0, 4.0
    noise = low_passed_noise(shape, pixel_size, resolution, 1.7, np.random.default_rng(seed))
    frequency = shell_frequencies(shape, pixel_size)
    radial = radial_power(noise)
    kept = counts(shape)[frequency < 0.25].sum()
    # The variance is a mean over `kept` independent |F|²: relative standard deviation 1 / sqrt(kept).
    assert noise.var(dtype=np.float64) / 1.7**2 == pytest.approx(1.0, abs=4 / np.sqrt(kept))
    assert radial[frequency > 0.25 + 0.02 + frequency[1]].max() < 1e-10 * radial[5]


def test_seed_decides_the_noise():
    a, b, c = (white_noise((8, 8, 8), 1.0, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (a == b).all() and not (a == c).all()


@pytest.mark.parametrize("w", [0.03, 0.06])
def test_noise_gives_the_prescribed_ssnr_in_every_shell(sound, w):
    signal, pixel_size = sound.truth.signal.data, sound.density_map.pixel_size
    f0 = 0.2
    spectrum, crossing = noise_for_ssnr(signal, pixel_size, f0, w)
    frequency = shell_frequencies(signal.shape, pixel_size)
    noise = coloured_noise(signal.shape, pixel_size, spectrum, np.random.default_rng(4))
    signal_power, _, held = shell_means(power(rfftn(signal)), signal.shape)
    noise_power, _, _ = shell_means(power(rfftn(noise)), signal.shape)
    band = (frequency > 0.03) & (frequency < 0.27)  # the map's own low-pass at 0.278 leaves no signal beyond
    measured = signal_power[band] / noise_power[band]
    # Only the noise fluctuates: relative standard deviation 1 / sqrt(n) per shell.
    assert (np.abs(measured / ssnr_curve(frequency[band], f0, w) - 1) < 4.5 / np.sqrt(held[band])).all()
    # Where the expected FSC = SSNR / (1 + SSNR) meets 0.143, on a fine axis.
    fine = np.linspace(0.001, 0.5, 100_000)
    ssnr = ssnr_curve(fine, f0, w)
    assert crossing == pytest.approx(1 / first_crossing(fine, ssnr / (1 + ssnr)), abs=1e-5)
    assert crossing == pytest.approx(f0 + 0.778 * w, abs=0.001 * w)
    assert pytest.approx(0.778, abs=0.0005) == CROSSING_DECADES


def test_share_of_the_volume_scales_the_noise(sound):
    signal, pixel_size = sound.truth.signal.data, sound.density_map.pixel_size
    grid = np.linspace(0.02, 0.25, 30, dtype=np.float32)
    whole, _ = noise_for_ssnr(signal, pixel_size, 0.2, 0.05)
    part, _ = noise_for_ssnr(signal, pixel_size, 0.2, 0.05, signal_fraction=0.25)
    assert part(grid) == pytest.approx(4 * whole(grid), rel=1e-6)
