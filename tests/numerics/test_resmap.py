"""The likelihood-ratio statistic of local waves against its definition, and the laws that judge it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from veritem.numerics.device import to_host
from veritem.numerics.fourier import fourier_resize, frequency_grid, irfftn, resize_transform, rfftn
from veritem.numerics.resmap import (
    CUBIC,
    SCALE,
    NoiseLaw,
    ScaleTest,
    anchored_law,
    correlation_volume,
    false_discovery_limit,
    finest_significant,
    hollow_variance,
    log_spaced,
    scale_tests,
    squares_law,
    wave_filters,
    wave_statistic,
    whitened,
    whitening,
)
from veritem.simulation.noise import coloured_noise

PHI = (1 + np.sqrt(5)) / 2
ICOSAHEDRON = np.array([(1, 0, PHI), (PHI, 1, 0), (0, PHI, 1), (1, 0, -PHI), (-PHI, 1, 0), (0, -PHI, 1)])
DODECAHEDRON = np.array(
    [(1, 1, 1), (1, 1, -1), (1, -1, 1), (-1, 1, 1), (0, 1 / PHI, PHI), (0, 1 / PHI, -PHI), (1 / PHI, PHI, 0),
     (1 / PHI, -PHI, 0), (PHI, 0, 1 / PHI), (-PHI, 0, 1 / PHI)]
)  # fmt: skip


def quadratic_form(wavelength: float, pixel_sizes: tuple[float, float, float], reach: int) -> np.ndarray:
    """The method's own matrix: the weighted residual form of a constant less that of all seventeen functions."""
    axes = [SCALE / wavelength * p * np.arange(-reach, reach + 1) for p in pixel_sizes]
    points = np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=1)
    along = [points @ (d / np.linalg.norm(d)) for d in ICOSAHEDRON]
    odd = [points @ (d / np.linalg.norm(d)) for d in DODECAHEDRON]
    ones = np.ones((len(points), 1))
    full = np.column_stack([ones, *(4 * t**2 - 2 for t in along), *(t**3 - CUBIC * t for t in odd)])
    weight = np.exp(-(points**2).sum(axis=1))

    def residual_form(functions: np.ndarray) -> np.ndarray:
        weighted = weight[:, None] * functions
        return np.diag(weight) - weighted @ np.linalg.solve(functions.T @ weighted, weighted.T)

    return residual_form(ones) - residual_form(full)


@pytest.mark.parametrize("pixel_sizes", [(1.0, 1.0, 1.0), (1.0, 1.06, 0.97)])
@pytest.mark.parametrize("wavelength", [2.9, 4.3, 6.5])
def test_sixteen_filters_are_the_quadratic_form(wavelength, pixel_sizes):
    """The identity is exact: rounding is all that separates the two. Windows reach over the faces of the box."""
    filters = wave_filters(wavelength, pixel_sizes)
    reach = filters.reach
    form = quadratic_form(wavelength, pixel_sizes, reach)
    assert np.linalg.matrix_rank(form, tol=1e-9 * np.abs(form).max()) == 16
    values = np.random.default_rng(1).standard_normal((9, 12, 11))
    direct = np.empty(values.shape)
    for place in np.ndindex(values.shape):
        where = np.ix_(*((np.arange(c - reach, c + reach + 1)) % n for c, n in zip(place, values.shape, strict=True)))
        window = values[where].ravel()
        direct[place] = window @ form @ window
    # Two roundings of 1e-16 (float32: 6e-8) in sums of some hundred terms.
    assert np.abs(wave_statistic(values, filters) / direct - 1).max() < 1e-10
    assert np.abs(wave_statistic(values.astype(np.float32), filters) / direct - 1).max() < 1e-5
    kernels = np.stack([k.ravel() for k in filters.kernels()], axis=1)
    assert np.abs(kernels @ kernels.T - form).max() < 1e-10 * np.abs(form).max()


def test_only_wanted_voxels_need_be_computed():
    values = np.random.default_rng(1).standard_normal((20, 17, 22)).astype(np.float32)
    wanted = np.zeros(values.shape, bool)
    wanted[3:9, :2, 15:] = True
    wanted[19, 16, 0] = True
    filters = wave_filters(5.2, (1.0, 1.0, 1.0))
    whole = wave_statistic(values, filters)
    assert np.array_equal(wave_statistic(values, filters, wanted)[wanted], whole[wanted])


def test_the_statistic_turns_and_mirrors_with_the_map():
    """The spans are the same in any orientation: turning the map turns the answer, to float32 rounding."""
    values = np.random.default_rng(1).standard_normal((16, 16, 16)).astype(np.float32)
    filters = wave_filters(4.0, (1.0, 1.0, 1.0))
    plain = wave_statistic(values, filters)
    for change in (lambda v: np.rot90(v, axes=(0, 2)), lambda v: v.transpose(1, 2, 0), lambda v: v[::-1], np.negative):
        turned = wave_statistic(np.ascontiguousarray(change(values)), filters)
        expected = np.abs(plain) if change is np.negative else change(plain)
        assert np.abs(turned / expected - 1).max() < 1e-5


def test_a_constant_says_nothing():
    """Constant maps have no waves: what is left of 100² is rounding, below 1e-9 of it."""
    assert wave_statistic(np.full((12, 12, 12), 100.0), wave_filters(4.0, (1.0, 1.0, 1.0))).max() < 1e-9 * 100.0**2


def test_filters_answer_most_to_waves_a_factor_shorter_than_their_name():
    """Over waves of any length the response peaks at the length for which the scale is named, within 5 %."""
    filters = wave_filters(13.0, (1.0, 1.0, 1.0))
    x = np.arange(240.0)
    wavelengths = 240.0 / np.arange(15, 36)
    response = [
        wave_statistic(np.broadcast_to(np.cos(2 * np.pi * x / w), (14, 14, 240)).copy(), filters).mean()
        for w in wavelengths
    ]
    assert wavelengths[int(np.argmax(response))] == pytest.approx(10.0, rel=0.05)


# --- the law of noise -------------------------------------------------------------------------------------------


def test_the_law_of_equal_squares_is_chi_square():
    law = squares_law(np.full(16, 2.0))
    for p in (0.1, 1e-2, 1e-4, 1e-8):
        # 3 % of the probability, as the page of the method says.
        assert chi2.sf(law.quantile(p) / 2.0, 16) == pytest.approx(p, rel=0.03)
        assert law.survival(law.quantile(p)) == pytest.approx(p, rel=1e-6)


def test_the_law_of_unequal_squares_is_exact_in_its_tail():
    """Two pairs of weights a and b: P = (a exp(-x / 2a) - b exp(-x / 2b)) / (a - b)."""
    a, b = 3.0, 0.5
    law = squares_law(np.array([a, a, b, b, 0.0]))
    for p in (0.05, 1e-3, 1e-6):
        x = float(law.quantile(p))
        assert (a * np.exp(-x / (2 * a)) - b * np.exp(-x / (2 * b))) / (a - b) == pytest.approx(p, rel=0.05)


def halves_of_noise(shape, pixel_size, seed, power=lambda f: 1.0 + 0.0 * f, strength=1.0):
    rng = np.random.default_rng(seed)
    return [rfftn(coloured_noise(shape, pixel_size, power, rng) * strength) for _ in range(2)]


def steep(f):
    return np.exp(-40.0 * f**2)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("varying", [False, True])
def test_noise_passes_as_often_as_the_law_says(varying, seed):
    """The mean of the halves is noise here, independent of the difference from which the law comes.

    Coloured noise, and noise three times as strong on one side. Scale by scale the share above the point of p = 0.01 is
    a mean over the independent values of 64 000 voxels; its standard error follows from their number.
    """
    shape, pixel_size = (40, 44, 48), 1.3
    strength = 1.0
    if varying:
        # Over 57 Å from 1 to 3: the variance in a window of 8.5 Å is known to some per cent.
        strength = np.linspace(1.0, 3.0, 44, dtype=np.float32)[:, None]
    first, second = halves_of_noise(shape, pixel_size, seed, steep, strength)
    mean, noise, _ = whitened(first, second, shape, pixel_size)
    inside = np.zeros(shape, bool)
    inside[4:-4, 6:-6, 4:-4] = True
    index = np.flatnonzero(inside)
    for test in scale_tests(mean, noise, shape, pixel_size, np.array([2.9, 3.6, 4.5, 6.0]), index, 8.5):
        share = float(np.mean(test.signal >= test.law.quantile(0.01)))
        correlated = (np.sqrt(4 * np.pi) * test.window) ** 3
        independent = index.size * pixel_size**3 / correlated
        # Standard errors of the share and of the anchor; a tenth more for variances that vary within their window.
        error = np.sqrt(2 * 0.01 / independent)
        assert share == pytest.approx(0.01, abs=4 * error + 0.001)


def test_anchored_law_passes_through_the_measured_point():
    rng = np.random.default_rng(0)
    weights = np.array([3.0, 2.0, 1.0, 1.0, 0.5])
    noise = 7.0 * (rng.standard_normal((200_000, 5)) ** 2) @ weights
    law = anchored_law(weights, noise, noise.size)
    # 2000 values lie above the 99 % point, so that its probability is known to 2 %; 20 above the 0.01 % point: 22 %.
    assert np.mean(noise >= law.quantile(1e-2)) == pytest.approx(1e-2, rel=0.03)
    assert np.mean(noise >= law.quantile(1e-4)) == pytest.approx(1e-4, rel=0.7)
    nothing = anchored_law(weights, np.zeros(10), 10.0)
    assert nothing.survival(1e6) == pytest.approx(1.0) and nothing.quantile(1e-3) >= 1e29


def test_independent_values_are_counted():
    """The variance of the statistic's mean over a periodic box is its variance times correlation volume over box.

    Of 60 boxes the variance is known to 18 % (one standard error).
    """
    shape, wavelength = (32, 32, 32), 3.4
    pixel = (1.0, 1.0, 1.0)
    filters = wave_filters(1.3 * wavelength, pixel)
    ratio = np.log(np.maximum(frequency_grid(shape, 1.0), 1e-9) * wavelength) / np.log(1.2)
    band = np.cos(0.5 * np.pi * np.minimum(np.abs(ratio), 1.0)).astype(np.float32)
    rng = np.random.default_rng(0)
    means, variances = [], []
    for _ in range(60):
        field = irfftn(rfftn(rng.standard_normal(shape, np.float32)) * band, shape)
        statistic = wave_statistic(field, filters)
        means.append(statistic.mean(dtype=float))
        variances.append(statistic.var(dtype=float))
    measured = np.var(means, ddof=1) / np.mean(variances) * 32**3
    assert correlation_volume(filters, wavelength, pixel) == pytest.approx(measured, rel=0.6)


# --- grids, spectra, windows ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "smaller"), [((20, 24, 30), (12, 16, 18)), ((21, 17, 16), (21, 12, 10))])
def test_cropping_a_transform_is_resizing_the_map(shape, smaller):
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    cropped = irfftn(resize_transform(rfftn(values), shape, smaller), smaller)
    assert np.allclose(cropped, fourier_resize(values, smaller), atol=2e-6)


def test_whitening_undoes_a_filter():
    shape, pixel_size = (40, 40, 40), 1.2
    first, _ = halves_of_noise(shape, pixel_size, 3, steep)
    frequency, gain = whitening(np.abs(first) ** 2, shape, pixel_size)
    product = gain**2 * steep(frequency) * np.prod(shape)
    # Shells from the fifth on hold 150 coefficients and more, averaged over a tenth in ln f: 5 % each.
    assert np.abs(product[5:] - 1).max() < 0.2
    assert not whitening(np.zeros((40, 40, 21), np.float32), shape, pixel_size)[1].any()


def test_whitened_halves_are_the_same_whatever_the_sharpening():
    shape, pixel_size = (32, 36, 40), 1.2
    halves = halves_of_noise(shape, pixel_size, 3, steep)
    sharpen = np.exp(25.0 * frequency_grid(shape, pixel_size) ** 2)
    plain = whitened(*halves, shape, pixel_size)
    sharp = whitened(*(h * sharpen for h in halves), shape, pixel_size)
    grid = frequency_grid(shape, pixel_size)
    inside = (grid > 0) & (grid < 0.5 / pixel_size)
    for a, b in zip(plain[:2], sharp[:2], strict=True):
        # The shells average a power that rises by 5 % across one: the two gains differ by less than that.
        assert np.abs(np.abs(b[inside]) / np.abs(a[inside]) - 1).max() < 0.05
    assert whitened(halves[0], halves[0], shape, pixel_size)[2] == 0.0


def test_local_variance_leaves_out_its_own_neighbourhood():
    """A single peak is not seen at its own place, and is seen a window away; a constant is itself everywhere."""
    field = np.zeros((48, 48, 48), np.float32)
    field[24, 24, 24] = 1.0
    found = hollow_variance(field, (1.0, 1.0, 1.0), 6.0, 3.0)
    # The answer is on half as many voxels: 24 is at 11.75 there. (1 - exp(-r²/18)) at r = 0.9 Å is 0.04.
    assert found[12, 12, 12] < 0.2 * found[12, 12, 15]
    assert found.sum(dtype=float) * 8 == pytest.approx(1.0, rel=1e-3)
    odd = hollow_variance(np.full((9, 11, 13), 2.0, np.float32), (1.0, 1.0, 1.0), 2.0, 1.0)
    assert odd.shape == (9, 11, 13) and np.allclose(odd, 4.0, rtol=1e-5)


def test_wavelengths_are_evenly_spaced_in_their_logarithm():
    found = log_spaced(2.64, 15.0, 1.12, 12, 20)
    assert found[0] == pytest.approx(2.64) and found[-1] == pytest.approx(15.0) and found.size == 16
    assert np.ptp(np.diff(np.log(found))) < 1e-12
    assert log_spaced(2.0, 80.0, 1.12, 12, 20).size == 20 and log_spaced(10.0, 15.0, 1.12, 12, 20).size == 12


# --- what is significant ----------------------------------------------------------------------------------------


def planted_tests(rng, strong: int) -> list[ScaleTest]:
    """Exponential null values at 3 scales, with some strong ones; the law is exp(-x)."""
    law = NoiseLaw(np.array([0.0, 200.0]), np.array([0.0, -200.0]))
    tests = []
    for wavelength in (3.0, 4.0, 5.0):
        values = rng.exponential(size=2000).astype(np.float32)
        values[:strong] += 20.0
        tests.append(ScaleTest(wavelength, values, values, law, 1.0))
    return tests


@pytest.mark.parametrize("strong", [5, 300, 2000])
def test_false_discovery_limit_is_the_step_up_rule(strong):
    tests = planted_tests(np.random.default_rng(strong), strong)
    p = np.sort(np.exp(-np.concatenate([t.signal for t in tests]).astype(float)))
    harmonic = (1.0 / np.arange(1, p.size + 1)).sum()
    passed = p <= 0.01 * np.arange(1, p.size + 1) / (p.size * harmonic)
    limit = false_discovery_limit(tests, 0.01)
    # The table of p has steps of 1.1 % (ln 6000 over 800).
    exact = 0.01 * (np.flatnonzero(passed)[-1] + 1) / (p.size * harmonic)
    assert limit == pytest.approx(exact, rel=0.03)


def test_nothing_is_significant_in_noise():
    found = [false_discovery_limit(planted_tests(np.random.default_rng(s), 0), 0.01) for s in range(50)]
    # At 1 % over all tests (and less, the rule being strict under independence) 50 draws pass 3 or more times in 1 %.
    assert sum(limit is not None for limit in found) <= 2


def test_the_finest_of_two_neighbouring_significant_scales_counts():
    wavelengths = np.array([2.0, 4.0, 8.0, 16.0])
    ratios = np.array(
        [  # a lone fine one; two; a dip; none; the finest two; at the coarse end alone
            [3.0, 0.25, 0.2, 0.1, 2.0, 0.5],
            [0.5, 4.0, 2.0, 0.9, 1.5, 0.5],
            [2.0, 9.0, 1.0, 0.5, 0.1, 0.5],
            [2.0, 9.0, 0.5, 0.2, 0.1, 5.0],
        ],
        np.float32,
    )
    resolution, level = np.empty(6, np.float32), np.empty(6, np.int64)
    finest_significant(ratios, np.log(wavelengths), resolution, level)
    assert level.tolist() == [2, 1, 1, -1, 0, -1]
    # ln ratio is linear in ln wavelength: 2 at 8 and 0.5 at 4 pass 1 half way; 4 at 4 and 1/4 at 2 half way as well.
    expected = [np.sqrt(32.0), np.sqrt(8.0), 4.0 * 0.5 ** (np.log(2) / np.log(10)), np.nan, 2.0, np.nan]
    assert np.allclose(resolution, expected, rtol=1e-5, equal_nan=True)


# --- devices ----------------------------------------------------------------------------------------------------


def test_another_array_module_gives_the_same():
    """By Fourier transforms instead of by sums along axes: float32 rounding of 16 filters, squared."""
    strict = pytest.importorskip("array_api_strict")
    shape, pixel_size = (24, 20, 30), 1.5
    halves = halves_of_noise(shape, pixel_size, 0)
    white = whitened(*halves, shape, pixel_size)
    elsewhere = whitened(*(strict.asarray(h) for h in halves), shape, pixel_size)
    assert white[2] == elsewhere[2] == pytest.approx(0.5 / pixel_size)
    index = np.flatnonzero(np.random.default_rng(0).random(shape) < 0.3)
    wavelengths = np.array([3.4, 5.0, 9.0])
    here = list(scale_tests(*white[:2], shape, pixel_size, wavelengths, index, 8.5))
    there = list(scale_tests(*elsewhere[:2], shape, pixel_size, wavelengths, index, 8.5))
    for a, b in zip(here, there, strict=True):
        assert np.allclose(a.signal, b.signal, rtol=2e-3, atol=1e-3 * a.signal.mean())
        assert np.allclose(a.noise, b.noise, rtol=2e-3, atol=1e-3 * a.noise.mean())
        assert float(a.law.quantile(1e-4)) == pytest.approx(float(b.law.quantile(1e-4)), rel=1e-3)


def test_the_two_ways_of_filtering_agree():
    strict = pytest.importorskip("array_api_strict")
    values = np.random.default_rng(0).standard_normal((15, 18, 13)).astype(np.float32)
    filters = wave_filters(4.4, (1.0, 1.1, 0.9))
    by_fourier = to_host(wave_statistic(strict.asarray(values), filters))
    assert np.allclose(by_fourier, wave_statistic(values, filters), rtol=1e-4)
