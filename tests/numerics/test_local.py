"""Local lines with known slopes, statistics of correlated places, segments of known bodies."""

from __future__ import annotations

import numpy as np
import pytest

from veritem.derived.spectra import reference_spectrum
from veritem.numerics.bands import Band
from veritem.numerics.fourier import gaussian_filter
from veritem.numerics.local import (
    band_model,
    block_inflation,
    block_labels,
    bootstrap_mean,
    bootstrap_quantile,
    density_mode,
    local_guinier,
    segment,
    slope_of,
)

BANDS = tuple(Band(0.1 + 0.04 * k, 0.04) for k in range(5))
FREEDOM = np.array([100.0, 180.0, 290.0, 420.0, 580.0])


def planted_powers(b_factors: np.ndarray) -> np.ndarray:
    """Exact band powers of protein with these B-factors, (bands, voxels)."""
    reference = reference_spectrum()
    return np.stack([np.exp(2 * band_model(BANDS, reference, b)[0]) for b in b_factors], axis=1).astype(np.float32)


@pytest.mark.parametrize("planted", [30.0, -60.0, -150.0, -400.0])
def test_a_planted_b_factor_is_found(planted):
    """Exact powers of one B-factor everywhere: two rounds of linearising about the median leave less than 0.5 Å²."""
    lines = local_guinier(planted_powers(np.full(10, planted)), BANDS, np.zeros(5), FREEDOM, 0.0, reference_spectrum())
    assert np.allclose(lines.b_factor, planted, atol=0.5)


def test_b_factors_150_apart_are_told_apart():
    """Off the median by 75 Å² either way the linear model errs by its curvature, below 5 % of 150."""
    lines = local_guinier(
        planted_powers(np.array([-50.0, -200.0])), BANDS, np.zeros(5), FREEDOM, 0.0, reference_spectrum()
    )
    assert lines.b_factor[1] - lines.b_factor[0] == pytest.approx(-150.0, rel=0.05)


def test_standard_errors_are_those_of_repeated_windows():
    """Powers drawn as chi-square with the freedom stated, and the structure's own scatter: spread equals error.

    4000 draws: the spread is known to 1.1 %, and the delta method is good to about 5 % at these freedoms.
    """
    rng = np.random.default_rng(2)
    exact = planted_powers(np.full(4000, -80.0))
    chance = rng.chisquare(FREEDOM[:, None], exact.shape) / FREEDOM[:, None]
    structure = np.exp(2 * 0.06 * rng.standard_normal(exact.shape))
    lines = local_guinier(
        (exact * chance * structure).astype(np.float32), BANDS, np.zeros(5), FREEDOM, 0.0, reference_spectrum()
    )
    assert lines.b_factor.std() == pytest.approx(np.median(lines.standard_error), rel=0.08)
    assert np.median(lines.b_factor) == pytest.approx(-80.0, abs=4 * lines.b_factor.std() / np.sqrt(4000) + 1.0)


def test_noise_alone_is_not_determinable():
    """Local powers of noise, its level known: no voxel in 2000 may be called signal in four bands."""
    rng = np.random.default_rng(3)
    noise = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    powers = noise[:, None] * rng.chisquare(FREEDOM[:, None], (5, 2000)) / FREEDOM[:, None]
    lines = local_guinier(powers.astype(np.float32), BANDS, noise, FREEDOM, 0.2, reference_spectrum())
    assert not lines.determinable.any()


def test_noise_subtraction_leaves_no_bias():
    """Signal and noise of known power, signal over noise from 20 down to 1.5 in the last band."""
    exact = planted_powers(np.full(3000, -100.0)).astype(float)
    noise = np.full(5, exact[-1, 0] / 1.5)
    rng = np.random.default_rng(4)
    powers = (exact + noise[:, None]) * rng.chisquare(FREEDOM[:, None], exact.shape) / FREEDOM[:, None]
    lines = local_guinier(powers.astype(np.float32), BANDS, noise, FREEDOM, 0.0, reference_spectrum())
    known = lines.determinable
    assert known.mean() > 0.95
    # Standard error of the median of 3000, and 3 Å² for the skew of logarithms of noisy powers.
    assert np.median(lines.b_factor[known]) == pytest.approx(-100.0, abs=3.0)


def test_slopes_of_curves():
    x = np.array([0.01, 0.03, 0.06, 0.1])
    curves = np.array([1.0, -2.0])[:, None] * x / 4
    assert np.allclose(slope_of(curves, x, np.ones(4)), [1.0, -2.0])


# --- statistics over places -----------------------------------------------------------------------------------


def test_blocks_are_cubes():
    positions = np.array([[0.0, 0.0, 0.0], [14.9, 0.0, 0.0], [15.1, 0.0, 0.0], [0.0, 0.0, 31.0]])
    assert block_labels(positions, 15.0).tolist() == [0, 0, 2, 1]


def test_the_bootstrap_holds_the_truth_for_correlated_places():
    """Fields smoothed by 6 Å: 95 % intervals of the median from cubes of 15 Å, over 100 fields of (80 Å)³.

    A share of 0.95 in 100 has a standard deviation of 0.022; the periodic field's own mean, which cubes that see
    only 50 correlation volumes know to 10 %, takes 0.02 more: at least 0.95 - 4 x 0.03. Cubes taken as independent
    hold it in about 0.6, voxels taken one by one in fewer than a quarter.
    """
    hits = plain = naive = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        field = gaussian_filter(rng.standard_normal((40, 40, 40)).astype(np.float32), 3.0).ravel()
        positions = np.stack(np.unravel_index(np.arange(field.size), (40, 40, 40)), axis=1) * 2.0
        labels = block_labels(positions, 15.0)
        for inflation in (block_inflation(15.0, 6.0), 1.0):
            draws = bootstrap_quantile(field.astype(float), labels, 0.5, rng, inflation, draws=300, bins=100)
            low, high = np.percentile(draws, [2.5, 97.5])
            inside = bool(low <= 0.0 <= high)
            if inflation > 1.0:
                hits += inside
            else:
                plain += inside
        naive += abs(np.median(field)) < 1.96 * 1.2533 * field.std() / np.sqrt(field.size)
    assert hits / 100 > 0.95 - 4 * 0.03
    assert plain / 100 < 0.8
    assert naive / 100 < 0.25


def test_bootstrap_means_scatter_as_block_means_do():
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(50), 20)
    values = np.repeat(rng.standard_normal(50), 20)
    draws = bootstrap_mean(values, labels, rng, draws=4000)
    assert draws.std() == pytest.approx(values.std() / np.sqrt(50), rel=0.08)


def test_the_mode_is_where_most_values_are():
    """Three quarters around 1, a quarter around 0.4: the mode is 1 within the width of the kernel's bins."""
    rng = np.random.default_rng(2)
    values = np.concatenate([rng.normal(1.0, 0.1, 3000), rng.normal(0.4, 0.1, 1000)])
    assert density_mode(values, 0.1) == pytest.approx(1.0, abs=0.05)


# --- segments -------------------------------------------------------------------------------------------------


def blobs(centres: list[tuple[int, int, int]], heights: list[float], shape=(40, 44, 48)) -> np.ndarray:
    z, y, x = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    total = np.zeros(shape, np.float32)
    for (a, b, c), height in zip(centres, heights, strict=True):
        total += height * np.exp(-((z - a) ** 2 + (y - b) ** 2 + (x - c) ** 2) / (2 * 5.0**2)).astype(np.float32)
    return total


def test_each_body_is_a_segment():
    centres = [(12, 12, 12), (12, 30, 14), (28, 20, 34)]
    density = blobs(centres, [1.0, 0.5, 0.8])
    labels, count = segment(density, density > 0.1, 50)
    assert count == 3
    assert len({int(labels[c]) for c in centres}) == 3
    assert (labels[density <= 0.1] == -1).all()
    assert (labels[density > 0.1] >= 0).all()


def test_small_segments_join_what_they_touch_most():
    """A bud of 0.3 on the flank of a body is less than 400 voxels and joins it, not the other body far away."""
    centres = [(12, 12, 12), (12, 27, 12), (28, 20, 38)]
    density = blobs(centres, [1.0, 0.3, 0.8])
    inside = density > 0.12
    labels, count = segment(density, inside, 50)
    assert count == 3
    labels, count = segment(density, inside, int(np.count_nonzero(labels == labels[centres[1]])) + 1)
    assert count == 2
    assert labels[centres[0]] == labels[centres[1]] != labels[centres[2]]


def test_plateaus_end():
    labels, count = segment(np.ones((8, 9, 10), np.float32), np.ones((8, 9, 10), bool), 1)
    assert count == 1
    assert (labels == 0).all()


def test_nothing_inside_is_no_segment():
    labels, count = segment(np.ones((5, 5, 5), np.float32), np.zeros((5, 5, 5), bool), 1)
    assert count == 0
    assert (labels == -1).all()
