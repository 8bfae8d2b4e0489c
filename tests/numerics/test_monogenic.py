"""Monogenic amplitudes of waves that are known, and the search that reads a resolution from them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage

from veritem.numerics.bands import Band
from veritem.numerics.fourier import irfftn, rfftn
from veritem.numerics.monogenic import (
    band_shape,
    gaussian_average,
    median_of_neighbours,
    monogenic_power,
    part_of_spectrum,
    random_phases,
    resolution_of_ratios,
    sample,
)

SHAPE, PIXEL = (40, 45, 48), 1.5
LENGTHS = (SHAPE[0] * PIXEL, SHAPE[1] * PIXEL, SHAPE[2] * PIXEL)


def wave(cycles: tuple[int, int, int], phase: float, shape=SHAPE) -> np.ndarray:
    """A plane wave of amplitude 1 with whole numbers of cycles along z, y, x of the box."""
    grids = np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij")
    return np.cos(2 * np.pi * sum(c * g for c, g in zip(cycles, grids, strict=True)) + phase).astype(np.float32)


def frequency_of(cycles: tuple[int, int, int]) -> float:
    return float(np.sqrt(sum((c / length) ** 2 for c, length in zip(cycles, LENGTHS, strict=True))))


@pytest.mark.parametrize("cycles", [(6, 0, 0), (0, -7, 0), (0, 0, 8), (3, 4, 5), (-5, 4, -2)])
@pytest.mark.parametrize("phase", [0.0, 1.0])
def test_a_wave_has_its_amplitude_everywhere(cycles, phase):
    """cos² + sin² is 1 at every voxel, whatever direction and phase; single precision leaves 1e-5."""
    band = Band(frequency_of(cycles), 0.3 * frequency_of(cycles))
    power = monogenic_power(rfftn(3.0 * wave(cycles, phase)), SHAPE, LENGTHS, band)
    assert np.allclose(power, 9.0, atol=9.0 * 2e-5)


def test_a_wave_outside_the_band_is_not_seen():
    band = Band(frequency_of((6, 0, 0)), 0.1 * frequency_of((6, 0, 0)))
    power = monogenic_power(rfftn(wave((9, 0, 0), 0.3)), SHAPE, LENGTHS, band)
    assert power.max() < 1e-8


def test_a_mean_has_no_amplitude():
    power = monogenic_power(rfftn(np.ones(SHAPE, np.float32)), SHAPE, LENGTHS, Band(0.05, 0.05))
    assert power.max() < 1e-8


def test_the_grid_of_a_band_gives_what_the_full_grid_gives():
    """Averaged over half a wavelength, at the voxels that both grids share; the average leaves 0.7 % of what a grid at
    the band's own Nyquist frequency folds back, which is itself the lesser part of the squared amplitude."""
    shape, lengths = (72, 72, 96), (108.0, 108.0, 144.0)
    transform = rfftn(np.random.default_rng(0).standard_normal(shape, np.float32))
    band = Band(1.0 / 8.0, 0.13 / 8.0)
    coarse = band_shape(lengths, shape, 1.13 / 8.0, 1.0, 3.0)
    assert coarse == (36, 36, 48)  # 3 Å: the limit that was given; the band alone would allow 3.54 Å
    fine_power = gaussian_average(monogenic_power(transform, shape, lengths, band), lengths, 4.0)
    cropped = part_of_spectrum(transform, shape, coarse)
    coarse_power = gaussian_average(monogenic_power(cropped, coarse, lengths, band), lengths, 4.0)
    assert np.allclose(coarse_power, fine_power[::2, ::2, ::2], rtol=0.01, atol=0.01 * fine_power.mean())
    tight = band_shape(lengths, shape, 1.13 / 8.0, 1.0, 10.0)
    tight_power = gaussian_average(
        monogenic_power(part_of_spectrum(transform, shape, tight), tight, lengths, band), lengths, 4.0
    )
    index = np.arange(np.prod(shape))
    at_fine = np.empty(index.size, np.float32)
    sample(tight_power, shape, index, at_fine)
    # Linear interpolation over 3.5 Å of a field that is smooth over 4 Å: it flattens peaks, by a tenth of their height
    # where neighbours lie one standard deviation apart.
    error = at_fine / fine_power.ravel() - 1.0
    assert abs(np.mean(error)) < 0.03
    assert np.percentile(abs(error), 95) < 0.1


def test_a_grid_has_no_more_voxels_than_the_finest():
    assert band_shape((100.0, 100.0, 100.0), (50, 60, 70), 10.0, 1.0, 3.0) == (50, 60, 70)


def test_part_of_a_spectrum_is_the_map_on_a_coarser_grid():
    both = wave((3, 2, 4), 0.5) + wave((15, 0, 0), 0.0)  # 15 cycles do not fit into 24 voxels
    goal = (24, 27, 24)
    kept = irfftn(part_of_spectrum(rfftn(both), SHAPE, goal), goal)
    assert np.allclose(kept, wave((3, 2, 4), 0.5, goal), atol=1e-5)
    same = part_of_spectrum(rfftn(both), SHAPE, SHAPE)
    assert np.array_equal(same, rfftn(both))


def test_every_other_coefficient_is_noise_of_the_same_spectrum():
    """Power per voxel as in the whole box: of 16 000 coefficients, within 4 standard errors of 0.8 %."""
    shape, half = (64, 64, 64), (32, 32, 32)
    noise = rfftn(np.random.default_rng(1).standard_normal(shape, np.float32))
    power = float(np.mean(irfftn(part_of_spectrum(noise, shape, half, 2), half) ** 2))
    # The Nyquist planes are left out: (31/32)³ of the coefficients are there.
    assert power == pytest.approx((31 / 32) ** 3, rel=4 * np.sqrt(2 / 32**3))


def test_random_phases_keep_amplitudes_and_nothing_else():
    transform = rfftn(np.random.default_rng(2).standard_normal(SHAPE, np.float32))
    other = random_phases(transform, SHAPE, np.random.default_rng(3))
    assert np.allclose(abs(other), abs(transform), rtol=1e-4, atol=1e-3)
    first, second = (irfftn(t, SHAPE).ravel() for t in (transform, other))
    # Independent: the correlation of 86 400 voxels has the standard error 1 / sqrt(86 400).
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(first.size)
    again = random_phases(transform, SHAPE, np.random.default_rng(3))
    assert np.array_equal(other, again)


def test_sampling_is_linear_and_periodic():
    rng = np.random.default_rng(4)
    coarse = rng.standard_normal((9, 10, 12)).astype(np.float32)
    index = rng.integers(0, np.prod(SHAPE), 500)
    out = np.empty(index.size, np.float32)
    sample(coarse, SHAPE, index, out)
    where = np.stack(np.unravel_index(index, SHAPE)) * (np.array(coarse.shape) / np.array(SHAPE))[:, None]
    assert np.allclose(out, scipy.ndimage.map_coordinates(coarse, where, order=1, mode="grid-wrap"), atol=1e-5)


def test_the_crossing_is_found_between_bands():
    centres = np.array([0.1, 0.125, 0.2, 0.25, 0.4])
    ratios = np.array(
        [
            [4.0, 4.0, 4.0, 0.5, 0.5, 9.0, 0.5],
            [4.0, 0.5, 4.0, 0.5, 2.0, 9.0, 0.5],
            [2.0, 2.0, 4.0, 4.0, 0.5, 9.0, 0.5],
            [0.5, 0.5, 4.0, 4.0, 0.5, 9.0, 9.0],
            [0.5, 0.5, 0.5, 4.0, 4.0, 0.5, 9.0],
        ],
        np.float32,
    )
    found = resolution_of_ratios(ratios, centres)
    middle = 1 / np.sqrt(0.2 * 0.25)  # from 2 to 1/2 in equal steps of the logarithm: half-way between bands
    # From 4 to 1/2: two thirds of the way; from 9: log 9 / log 18 of it. From 2 to 1/2 again after a first miss.
    late = 1 / np.exp(np.log(0.25) + 2 / 3 * np.log(0.4 / 0.25))
    latest = 1 / np.exp(np.log(0.25) + np.log(9) / np.log(18) * np.log(0.4 / 0.25))
    early = 1 / np.sqrt(0.125 * 0.2)
    assert np.allclose(found[:3], [middle, middle, late], rtol=1e-5)
    # Two misses at the start: no signal, whatever comes later. One is forgiven.
    assert np.isnan(found[3]) and np.isnan(found[6])
    assert np.allclose(found[4:6], [early, latest], rtol=1e-5)


def test_a_ratio_that_never_falls_ends_at_the_last_band():
    assert resolution_of_ratios(np.full((3, 1), 2.0, np.float32), np.array([0.1, 0.2, 0.25]))[0] == pytest.approx(4.0)


def test_medians_take_neighbours_inside_and_count_nothing_as_the_worst():
    rng = np.random.default_rng(5)
    shape = (7, 8, 9)
    inside = rng.random(shape) < 0.7
    index = np.flatnonzero(inside)
    values = rng.random(index.size).astype(np.float32)
    values[rng.random(index.size) < 0.4] = np.nan
    volume = np.full(shape, -1.0, np.float32)
    volume.ravel()[index] = np.where(np.isnan(values), np.inf, values)
    padded = np.pad(volume, 1, constant_values=-1.0)
    expected = []
    for z, y, x in np.argwhere(inside):
        near = padded[z : z + 3, y : y + 3, x : x + 3].ravel()
        near = np.sort(near[near >= 0])
        expected.append(near[near.size // 2])
    expected = np.array(expected)
    expected[np.isinf(expected)] = np.nan
    assert np.isnan(expected).any() and np.isfinite(expected).any()
    assert np.array_equal(median_of_neighbours(values, index, shape), expected.astype(np.float32), equal_nan=True)


def test_other_arrays_give_what_numpy_gives():
    strict = pytest.importorskip("array_api_strict")
    shape, lengths, goal = (24, 20, 18), (36.0, 30.0, 27.0), (16, 12, 12)
    data = np.random.default_rng(6).standard_normal(shape, np.float32)
    band = Band(0.15, 0.04)

    def chain(transform):
        coarse = part_of_spectrum(transform, shape, goal)
        noise = random_phases(coarse, goal, np.random.default_rng(7))
        power = monogenic_power(noise, goal, lengths, band)
        return power, gaussian_average(power, lengths, 3.0), gaussian_average(power, lengths, 6.0, goal=(12, 10, 10))

    ours = chain(rfftn(data))
    theirs = chain(rfftn(strict.asarray(data)))
    for mine, other in zip(ours, theirs, strict=True):
        other = np.from_dlpack(other)
        assert np.allclose(mine, other, rtol=1e-3, atol=1e-4 * mine.max())
