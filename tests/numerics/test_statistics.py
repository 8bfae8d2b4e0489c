"""Statistics against what is known exactly."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest, norm

from veritem.numerics.statistics import (
    binomial_interval,
    block_bootstrap,
    excursion_clusters,
    fit_cluster_sizes,
    fit_excursion_rate,
    fit_largest_normal,
    permutation_p_value,
    robust_scale,
    westfall_young,
)


def test_robust_scale_ignores_a_tenth_of_outliers():
    rng = np.random.default_rng(1)
    values = rng.normal(3.0, 2.0, 100_000)
    values[:1000] = 1e6
    centre, sigma = robust_scale(values)
    # Outliers on one side of 1 % move the median by 0.0125 sigma and the deviation by 1.3 %; chance adds 0.4 %.
    assert centre == pytest.approx(3.0, abs=2.0 * (0.0125 + 4 * 1.25 / 100_000**0.5))
    assert sigma == pytest.approx(2.0, rel=0.03)


def test_binomial_interval_is_that_of_the_textbook():
    # Rule of three, exactly: no event in n gives an upper end of 1 - 0.025^(1/n).
    assert binomial_interval(0, 400) == pytest.approx((0.0, 1 - 0.025 ** (1 / 400)))
    low, high = binomial_interval(5, 20)
    # P(X >= 5 | low) = P(X <= 5 | high) = 0.025 defines the interval.
    from scipy.stats import binom

    assert binom.sf(4, 20, low) == pytest.approx(0.025)
    assert binom.cdf(5, 20, high) == pytest.approx(0.025)


def test_permutation_p_value_is_never_zero():
    assert permutation_p_value(10.0, np.zeros(99)) == pytest.approx(0.01)
    assert permutation_p_value(-1.0, np.zeros(99)) == 1.0


def test_block_bootstrap_covers_the_mean():
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(300):
        weights = rng.integers(50, 100, 60).astype(float)
        sums = weights * rng.normal(1.0, 0.3, 60)
        low, high = block_bootstrap(sums, weights, rng, draws=400)
        covered += low <= 1.0 <= high
    # 95 % of 300 with a standard deviation of 3.8; the bootstrap of 60 blocks falls short by about 1 %.
    assert 282 - 4 * 3.8 <= covered <= 300


def test_westfall_young_keeps_the_family_rate_for_dependent_tests():
    """Five tests, three of which are one and the same: the family fires at its nominal rate all the same."""
    rng = np.random.default_rng(3)

    def tests(n: int) -> np.ndarray:
        z = rng.normal(size=(n, 3))
        return 2 * norm.sf(np.abs(z[:, [0, 0, 0, 1, 2]]))

    null = tests(399)
    fired = sum(westfall_young(p, null)[0] <= 0.05 for p in tests(2000))
    # The null of 399 draws has a 5 % point that itself wanders by sqrt(0.05 * 0.95 / 399) = 1.1 %.
    assert fired / 2000 == pytest.approx(0.05, abs=4 * (0.05 * 0.95 * (1 / 2000 + 1 / 399)) ** 0.5)
    family, adjusted = westfall_young(np.array([1e-9, 1.0, 1.0, 1.0, 1.0]), null)
    assert family == adjusted[0] == pytest.approx(1 / 400)
    assert adjusted[1:].min() > 0.9


def test_westfall_young_refuses_what_is_not_a_number():
    with pytest.raises(ValueError, match="no p-value"):
        westfall_young(np.array([np.nan, 0.5]), np.full((99, 2), 0.5))


def test_fit_largest_normal_finds_the_number_of_tests():
    rng = np.random.default_rng(4)
    null = np.abs(rng.normal(size=(2000, 40))).max(axis=1) * 1.3
    law = fit_largest_normal(null)
    fresh = np.abs(rng.normal(size=(2000, 40))).max(axis=1) * 1.3
    p_values = law.p_value(fresh)
    assert kstest(p_values, "uniform").statistic < 1.63 * (2 / 2000) ** 0.5  # 1 % point, fit and test both of 2000
    assert float(law.p_value(law.quantile(0.01))) == pytest.approx(0.01)


@pytest.mark.parametrize("voxels", [1000, 50_000])
def test_excursion_rate_of_independent_voxels_is_that_of_the_normal_tail(voxels):
    """Fitted on regions of one size, the law holds for a region a hundred times larger."""
    rng = np.random.default_rng(5)
    # The highest of n independent |z|, drawn from its exact distribution.
    highest = -norm.ppf((1 - rng.random(400) ** (1 / voxels)) / 2)
    law = fit_excursion_rate(highest, np.full(400, voxels))
    for p in (0.5, 0.01):
        exact = -norm.ppf((1 - (1 - p) ** (1 / (100 * voxels))) / 2)
        # 400 draws fix the rate to 5 % and its power to about 0.5: at a height of 6, 0.05 to 0.1.
        assert law.quantile(p, 100 * voxels) == pytest.approx(exact, abs=0.2)
    assert law.p_value(1.0, voxels) == 1.0


def test_cluster_sizes_follow_the_counts_and_then_the_law():
    rng = np.random.default_rng(6)
    sizes = np.ceil(rng.exponential(4.0, 5000) ** 1.5)
    law = fit_cluster_sizes(sizes, voxels=1e6)
    assert float(law.rate(1.0)[0]) == pytest.approx(5000 / 1e6)
    # Beyond what was seen: P(size >= s) = exp(-s^(2/3) / 4) by construction; the slope rests on 500 sizes (5 %).
    far = 300.0
    expected = 5000 / 1e6 * np.exp(-((far - 1) ** (2 / 3)) / 4)
    assert np.log(law.rate(far)[0]) == pytest.approx(np.log(expected), abs=1.0)
    assert law.p_value(0, 1e6)[0] == 1.0
    assert (np.diff(law.rate(np.arange(1.0, 500.0))) <= 0).all()


def test_excursion_clusters_joins_corners_and_measures():
    z = np.zeros((9, 8, 7), np.float32)
    z[1, 1, 1] = z[2, 2, 2] = 5.0  # touch at a corner: one cluster
    z[2, 2, 3] = -6.0  # either sign
    z[6, 6, 0] = 4.5
    z[6, 6, 6] = 4.5  # the box is not periodic: two clusters
    z[8, 0, 0] = 3.9  # below
    highest, sizes, peaks = excursion_clusters(z, 4.0)
    assert highest == 6.0
    assert sorted(sizes) == [1, 1, 3]
    assert tuple(peaks[np.argmax(sizes)]) == (2, 2, 3)


def test_excursion_clusters_agrees_with_labelling():
    from scipy.ndimage import label

    z = np.random.default_rng(7).standard_normal((20, 21, 22)).astype(np.float32)
    labels, count = label(np.abs(z) > 1.2, np.ones((3, 3, 3)))
    _, sizes, _ = excursion_clusters(z, 1.2)
    assert len(sizes) == count
    assert sorted(sizes) == sorted(np.bincount(labels.ravel())[1:])
