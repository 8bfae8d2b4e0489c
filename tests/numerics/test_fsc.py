"""FSC, its null and its crossings against planted values and simulated noise."""

from __future__ import annotations

import numpy as np
import pytest

from veritem.numerics.fourier import frequency_grid, irfftn, rfftn
from veritem.numerics.fsc import (
    RESIDUAL_0143,
    RESIDUAL_NOISE,
    THRESHOLD,
    ShellCorrelation,
    detection_limit,
    filtered_part,
    first_lasting_crossing,
    fsc_deviation,
    fsc_draws,
    fsc_z,
    group_z,
    largest_return,
    mask_correlation,
    mask_inflation,
    mean_level,
    normal_p_value,
    phase_residual,
    point_group_order,
    shell_sums,
    smooth_fsc,
    smoothed_crossing,
)
from veritem.numerics.masks import raised_cosine_edge

SIZE = 48
ALONE = ShellCorrelation(1.0, np.array([1.0]))


def noise(shape, rng):
    return rng.standard_normal(shape, np.float32)


def radius(shape: tuple[int, int, int]):
    z, y, x = (np.arange(n, dtype=np.float32) - n // 2 for n in shape)
    return np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x**2)


def ball(share: float, edge: float = 0.0, size: int = SIZE):
    """A ball whose radius is a share of the box, with a soft edge in voxels."""
    outside = radius((size,) * 3) - np.float32(share * size)
    return raised_cosine_edge(outside, edge) if edge else (outside <= 0).astype(np.float32)


def brick():
    mask = np.zeros((40, 48, 64), np.float32)
    mask[5:35, 6:42, 8:56] = 1
    return mask


def null_curves(mask, count: int, seed: int = 0):
    """FSC of masked white noise, (count, shells) without shell 0, and the coefficients per shell."""
    rng = np.random.default_rng(seed)
    curves = []
    for _ in range(count):
        sums = shell_sums(rfftn(noise(mask.shape, rng) * mask), rfftn(noise(mask.shape, rng) * mask), mask.shape)
        curves.append(sums.fsc[1:])
    return np.array(curves), sums.counts[1:]


# --- curves ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("snr", [0.1, 1.0, 10.0])
def test_fsc_of_half_maps_with_known_snr(snr):
    """White signal and noise give snr / (1 + snr) in every shell."""
    rng = np.random.default_rng(int(10 * snr))
    shape = (44, 48, 37)
    signal = noise(shape, rng) * np.sqrt(snr)
    sums = shell_sums(*(rfftn(signal + noise(shape, rng)) for _ in range(2)), shape)
    expected = snr / (1 + snr)
    standard_error = (1 - expected**2) / np.sqrt(2 * sums.counts[4:])
    assert (np.abs(sums.fsc[4:] - expected) < 4 * standard_error).all()


@pytest.mark.parametrize("shape", [(8, 8, 8), (7, 9, 11), (8, 9, 12)])
def test_sums_are_those_of_the_full_transform(shape):
    """Over all coefficients, each mate counted half."""
    rng = np.random.default_rng(1)
    a, b = noise(shape, rng), noise(shape, rng)
    full_a, full_b = np.fft.fftn(a), np.fft.fftn(b)
    axes = np.meshgrid(*(np.fft.fftfreq(n, 1 / n) * max(shape) / n for n in shape), indexing="ij")
    shell = np.floor(np.sqrt(sum(f**2 for f in axes)) + 0.5).astype(int)
    sums = shell_sums(rfftn(a), rfftn(b), shape)
    for k in range(sums.counts.size):
        here = shell == k
        assert sums.counts[k] == here.sum() / 2
        assert sums.cross[k] == pytest.approx((full_a * full_b.conj()).real[here].sum() / 2, rel=1e-4, abs=1e-2)
        assert sums.power_1[k] == pytest.approx((np.abs(full_a) ** 2)[here].sum() / 2, rel=1e-4)
    assert np.isnan(sums.fsc[0])


def test_scale_and_offset_change_nothing():
    rng = np.random.default_rng(2)
    a, b = noise((20, 20, 20), rng), noise((20, 20, 20), rng)
    first = shell_sums(rfftn(a), rfftn(b), a.shape).fsc
    second = shell_sums(rfftn(7 * a + 3), rfftn(0.1 * b - 5), a.shape).fsc
    # Single precision over 10⁴ coefficients.
    assert np.nanmax(np.abs(first - second)) < 1e-4


def test_an_empty_half_has_no_correlation():
    rng = np.random.default_rng(3)
    fsc = shell_sums(rfftn(noise((16, 16, 16), rng)), rfftn(np.zeros((16, 16, 16))), (16, 16, 16)).fsc
    assert (fsc[1:] == 0).all()


@pytest.mark.parametrize(("fsc", "residual"), [(0.0, RESIDUAL_NOISE), (THRESHOLD, RESIDUAL_0143)])
def test_the_phase_residual_that_belongs_to_an_fsc(fsc, residual):
    """A coefficient scatters by about 50°; 30 pairs of 32³ hold 30 times so many coefficients a shell."""
    rng = np.random.default_rng(4)
    shape, strength = (32, 32, 32), np.sqrt(fsc / (1 - fsc))
    curves = []
    for _ in range(30):
        signal = noise(shape, rng) * strength
        halves = [rfftn((signal + noise(shape, rng)).astype(np.float32)) for _ in range(2)]
        curves.append(phase_residual(*halves, shape))
    counts = shell_sums(*halves, shape).counts
    error = 50.0 / np.sqrt(30 * counts[6:].sum())
    mean = np.average(np.mean(curves, axis=0)[6:], weights=counts[6:])
    assert mean == pytest.approx(residual, abs=4 * error + 0.05)  # the constants are rounded to 0.1


@pytest.mark.parametrize("shape", [(20, 24, 18), (21, 19, 23), (16, 16, 16)])
@pytest.mark.parametrize("last", [0, 3, 8, 99])
def test_a_filtered_part_is_that_of_the_whole_map(shape, last):
    rng = np.random.default_rng(5)
    data = noise(shape, rng)
    transform = rfftn(data)
    shells = max(shape) // 2 + 1
    gain = rng.random(shells)
    gain[last + 1 :] = 0
    shell = (frequency_grid(shape, 1.0) * max(shape) + 0.5).astype(int)
    expected = irfftn(transform * np.append(gain, 0.0)[np.minimum(shell, shells)].astype(np.float32), shape)
    box = (slice(2, 15), slice(0, 16), slice(5, 14))
    part = filtered_part(transform, shape, gain, box)
    assert part.dtype == np.float32
    assert np.abs(part - expected[box]).max() < 1e-5


# --- the null --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mask",
    [np.ones((SIZE,) * 3, np.float32), ball(0.49), ball(0.3), ball(0.25, 5.0), ball(0.2), brick()],
    ids=["whole box", "ball 0.49", "ball 0.3", "soft ball", "ball 0.2", "non-cubic"],
)
def test_masks_widen_the_null_and_couple_shells_as_predicted(mask):
    predicted = mask_correlation(mask)
    curves, counts = null_curves(mask, 60)
    use = slice(4, None)
    scaled = (curves * np.sqrt(2 * counts))[:, use]
    # 60 curves of some 20 shells, of which neighbours share: about 400 values, 3.5 % on a standard deviation.
    assert np.sqrt((scaled**2).mean()) == pytest.approx(predicted.inflation, rel=0.12)
    scaled /= scaled.std(axis=0)
    for lag in (1, 2):
        measured = (scaled[:, lag:] * scaled[:, :-lag]).mean()
        assert measured == pytest.approx(predicted.neighbours[lag], abs=0.12)


def test_padding_changes_the_shells_and_not_what_they_hold():
    """Twice the box: two thin shells for one, four times the coefficients in each, and the same information.

    The variance of their mean is D'² (1 + ρ) / 2 / (2 · 4 n), that of the thick shell D² / (2 n): D'² (1 + ρ) = 8 D².
    """
    tight, wide = ball(0.3, size=32), np.zeros((64, 64, 64), np.float32)
    wide[16:48, 16:48, 16:48] = tight
    a, b = mask_correlation(tight), mask_correlation(wide)
    # Sums stand for one integral over q, whose integrand has a cusp at 0: read on the coarse grid it is 4 % larger.
    assert b.inflation**2 * (1 + b.neighbours[1]) == pytest.approx(8 * a.inflation**2, rel=0.05)
    assert mask_inflation(tight) == a.inflation


@pytest.mark.parametrize("order", [1, 4])
def test_noise_of_a_symmetric_map_has_fewer_coefficients(order):
    """Noise averaged over the quarter turns about z holds a quarter."""
    rng = np.random.default_rng(6)
    size, values = 41, []
    for _ in range(40):
        halves = []
        for _ in range(2):
            data = noise((size,) * 3, rng)
            if order == 4:
                data = sum(np.rot90(data, k, (1, 2)) for k in range(4))
            halves.append(rfftn(data))
        sums = shell_sums(*halves, (size,) * 3)
        values.append(sums.fsc[5:] * np.sqrt(2 * sums.counts[5:] / point_group_order(f"C{order}")))
    # 40 x 16 values: 2.8 % on a standard deviation; the axis itself has more symmetry, 1 of 20 coefficients.
    assert np.std(values) == pytest.approx(1.0, rel=0.12)


@pytest.mark.parametrize(
    ("symmetry", "order"), [("C1", 1), ("C4", 4), ("D7", 14), ("T", 12), ("O", 24), ("I", 60), ("I2", 60), ("c3", 3)]
)
def test_orders_of_point_groups(symmetry, order):
    assert point_group_order(symmetry) == order


@pytest.mark.parametrize("fsc", [0.0, 0.143, 0.5, 0.9])
def test_the_scatter_of_an_fsc_whose_signal_stays(fsc):
    rng = np.random.default_rng(7)
    shape = (24, 24, 24)
    signal = noise(shape, rng) * np.sqrt(fsc / (1 - fsc))
    # The signal is flattened, so that every coefficient has the same ratio to the noise.
    transform = rfftn(signal)
    if fsc:
        transform *= np.sqrt(fsc / (1 - fsc) * np.prod(shape)) / np.abs(transform)
    signal = irfftn(transform, shape)
    sums = [shell_sums(*(rfftn(signal + noise(shape, rng)) for _ in range(2)), shape) for _ in range(150)]
    curves, counts = np.array([s.fsc for s in sums])[:, 5:], sums[0].counts[5:]
    ratio = curves.std(axis=0) / fsc_deviation(np.full(counts.size, fsc), counts)
    # 150 x 8 values: 2 % on a standard deviation.
    assert np.sqrt((ratio**2).mean()) == pytest.approx(1.0, abs=0.08)


def test_normal_scores_of_noise_are_standard_normal():
    curves, counts = null_curves(ball(0.3), 80, seed=8)
    correlation = mask_correlation(ball(0.3))
    z = fsc_z(curves, counts / correlation.inflation**2)[:, 3:]
    assert z.mean() == pytest.approx(0.0, abs=0.12)
    assert z.std() == pytest.approx(1.0, abs=0.1)
    grouped = group_z(z, correlation)
    assert grouped.std() == pytest.approx(1.0, abs=0.12)


def test_normal_scores_are_students_t():
    """FSC of n = 3 against the definition, and far out, where a p-value would be lost."""
    from scipy.stats import t

    f, n = 0.5, 3.0
    expected = t.sf(f * np.sqrt((2 * n - 1) / (1 - f * f)), 2 * n - 1)
    assert normal_p_value(fsc_z(np.array([f]), np.array([n])))[0] == pytest.approx(expected, rel=1e-9)
    assert fsc_z(np.array([-f]), np.array([n]))[0] == pytest.approx(-fsc_z(np.array([f]), np.array([n]))[0])
    extreme = fsc_z(np.array([0.9999]), np.array([1e5]))[0]
    assert np.isfinite(extreme) and extreme > 30
    assert normal_p_value(np.array(50.0)) > 0


def test_drawn_curves_scatter_and_couple_as_asked():
    correlation = ShellCorrelation(1.5, np.array([1.0, 0.5, 0.1]))
    independent = np.full(31, 200.0)
    drawn = fsc_draws(np.full(31, 0.2), independent, correlation, 4000, np.random.default_rng(9))
    assert np.isnan(drawn[:, 0]).all()
    values = drawn[:, 1:]
    expected = fsc_deviation(np.array([0.2]), np.array([200.0]))[0]
    # 4000 draws: 1.6 % on a deviation, 0.016 on a correlation.
    assert values.std(axis=0).mean() == pytest.approx(expected, rel=0.02)
    neighbours = np.mean([np.corrcoef(values[:, k], values[:, k + 1])[0, 1] for k in range(29)])
    assert neighbours == pytest.approx(0.5, abs=0.02)


def test_a_cut_row_of_correlations_can_be_drawn():
    """0.9, 0.9, then 0 is the correlation of nothing: the nearest that is one is drawn, without an error."""
    correlation = ShellCorrelation(3.0, np.array([1.0, 0.9, 0.9]))
    assert np.isfinite(correlation.draws(40, 10, np.random.default_rng(0))).all()


# --- crossings -------------------------------------------------------------------------------------------------


def falling(frequency, crossing: float, width: float):
    """FSC of log-linear SSNR that is 0.143 at `crossing`; width in 1/Å per decade."""
    ssnr = THRESHOLD / (1 - THRESHOLD) * 10 ** ((crossing - frequency) / width)
    curve = ssnr / (1 + ssnr)
    curve[0] = np.nan
    return curve


@pytest.mark.parametrize("width", [0.03, 0.05, 0.1])
@pytest.mark.parametrize("threshold", [THRESHOLD, 0.5])
def test_smoothing_does_not_move_the_crossing(width, threshold):
    frequency = np.arange(40) * 0.01
    independent = 2 * np.pi * np.maximum(np.arange(40), 1) ** 2 / 2.0
    true = 0.283 if threshold == THRESHOLD else 0.283 + width * np.log10(THRESHOLD / (1 - THRESHOLD))
    curve = falling(frequency, 0.283, width)
    found = float(smoothed_crossing(frequency, curve, independent, threshold))
    # A tenth of a shell at the steepest; the plain mean of three shells is three times as far out.
    assert found == pytest.approx(true, abs=0.001)
    if width == 0.03 and threshold == THRESHOLD:
        plain = curve.copy()
        plain[2:-1] = (curve[1:-2] + curve[2:-1] + curve[3:]) / 3
        assert first_lasting_crossing(frequency, plain) - true > 0.002


def test_smoothing_calms_the_noise():
    """Three independent shells: 1/√3 of the scatter."""
    rng = np.random.default_rng(10)
    independent = np.full(2001, 500.0)
    curve = np.r_[np.nan, 0.15 + rng.standard_normal(2000) * fsc_deviation(np.array([0.15]), np.array([500.0]))]
    smooth = smooth_fsc(curve, independent)
    assert np.isnan(smooth[0])
    assert np.std(smooth[2:-1]) / np.std(curve[2:-1]) == pytest.approx(1 / np.sqrt(3), rel=0.06)
    assert smooth[2:-1].mean() == pytest.approx(0.15, abs=0.003)


def test_a_short_dip_is_no_crossing_and_a_lasting_one_is():
    frequency = np.arange(30) * 0.01
    independent = np.full(30, 1e4)
    curve = np.r_[np.nan, np.full(19, 0.6), np.full(10, 0.0)]
    dipped = curve.copy()
    dipped[10] = 0.0
    assert first_lasting_crossing(frequency, dipped) == first_lasting_crossing(frequency, curve)
    # Smoothed over three shells the dip is three shells wide at most; four that are below stay a crossing.
    dipped[9:14] = -0.05
    assert float(smoothed_crossing(frequency, dipped, independent)) == pytest.approx(0.085, abs=0.01)


def test_curves_that_never_cross_and_that_begin_below():
    frequency = np.arange(20) * 0.01
    independent = np.full(20, 100.0)
    curves = np.stack([np.r_[np.nan, np.full(19, 0.5)], np.r_[np.nan, np.full(19, 0.02)]])
    found = smoothed_crossing(frequency, curves, independent)
    assert np.isnan(found[0]) and found[1] == frequency[1]
    assert first_lasting_crossing(frequency, curves[0]) is None
    assert first_lasting_crossing(frequency, curves[1]) == frequency[1]


def test_many_curves_equal_one_by_one():
    rng = np.random.default_rng(11)
    frequency = np.arange(30) * 0.01
    independent = 5.0 * np.maximum(np.arange(30), 1) ** 2
    curves = fsc_draws(falling(frequency, 0.2, 0.05), independent, ALONE, 20, rng)
    together = smoothed_crossing(frequency, curves, independent)
    single = [float(smoothed_crossing(frequency, c, independent)) for c in curves]
    assert np.allclose(together, single, equal_nan=True)


# --- is there anything; does it come back -----------------------------------------------------------------------


def test_the_detection_limit_lies_where_the_fsc_is_as_large_as_noise():
    """Noise-free curve: z falls to 2.33 where FSC = 2.33 / √(2 n) x √3 / 3 for three independent shells."""
    frequency = np.arange(60) * 0.005
    independent = np.full(60, 800.0)
    curve = falling(frequency, 0.15, 0.05)
    found = detection_limit(frequency, curve, independent, ALONE)
    needed = 2.3263 / np.sqrt(1600) / np.sqrt(3)
    expected = float(np.interp(-needed, -curve[1:], frequency[1:]))
    # A group is three shells wide and the curve is bent: a quarter of a shell.
    assert float(found.limit) == pytest.approx(expected, abs=0.00125)
    assert found.needed[0] == pytest.approx(needed, rel=1e-3)
    assert found.z[found.passed - 1] >= found.critical > found.z[found.passed]


def test_testing_stops_at_the_first_failure():
    frequency = np.arange(40) * 0.01
    curve = np.r_[np.nan, np.full(14, 0.9), np.full(5, 0.0), np.full(20, 0.9)]
    found = detection_limit(frequency, curve, np.full(40, 1000.0), ALONE)
    assert 0.13 < float(found.limit) < 0.18


def test_nothing_and_everything():
    frequency = np.arange(40) * 0.01
    curves = np.stack([np.r_[np.nan, np.zeros(39)], np.r_[np.nan, np.full(39, 0.9)]])
    found = detection_limit(frequency, curves, np.full(40, 1000.0), ALONE)
    assert np.isnan(found.limit[0]) and found.passed[0] == 0
    assert found.limit[1] == found.frequency[-1] and found.passed[1] == found.frequency.size


def test_it_begins_where_there_are_coefficients_enough():
    frequency = np.arange(40) * 0.01
    found = detection_limit(frequency, np.zeros(40), np.r_[0.0, np.arange(2.0, 80.0, 2.0)], ALONE)
    assert found.frequency[0] == pytest.approx(0.06)  # shells 5, 6, 7
    few = detection_limit(frequency, np.zeros(40), np.full(40, 2.0), ALONE)
    assert few.frequency[0] == pytest.approx(0.11)  # shells 10, 11, 12, after a quarter of the shells


def test_noise_alone_is_declared_in_one_of_a_hundred():
    """Correlated normal noise of known null: 1 % of 4000 is 40 ± 6.3."""
    correlation = ShellCorrelation(2.0, np.array([1.0, 0.5, 0.1]))
    independent = np.full(31, 300.0)
    drawn = fsc_draws(np.zeros(31), independent, correlation, 4000, np.random.default_rng(12))
    found = detection_limit(np.arange(31) * 0.01, drawn, independent, correlation)
    assert 40 - 4 * 6.3 < np.count_nonzero(found.passed) < 40 + 4 * 6.3


@pytest.mark.parametrize(("height", "seen"), [(0.0, False), (0.1, True), (0.3, True)])
def test_a_curve_that_comes_back_is_seen(height, seen):
    rng = np.random.default_rng(13)
    frequency = np.arange(60) * 0.005
    independent = 6.0 * np.maximum(np.arange(60), 1) ** 2
    curve = falling(frequency, 0.15, 0.03)
    curve[48:53] += height
    drawn = fsc_draws(curve, independent, ALONE, 1, rng)[0]
    found = largest_return(drawn, independent, ALONE, 31, rng)
    if seen:
        assert found.p_value <= 0.001
        assert found.rise == pytest.approx(height, abs=0.03)
        assert 47 <= found.at <= 53
    else:
        assert found.p_value > 0.001


def test_p_values_of_falling_curves_are_no_smaller_than_chance():
    """The null is fitted to the curve, so the test errs to the safe side: of 200 at most 4 (5 % quantile: 10 ± 3)."""
    rng = np.random.default_rng(14)
    frequency = np.arange(50) * 0.006
    independent = 4.0 * np.maximum(np.arange(50), 1) ** 2
    correlation = ShellCorrelation(1.5, np.array([1.0, 0.4, 0.08]))
    drawn = fsc_draws(falling(frequency, 0.15, 0.08), independent, correlation, 200, rng)
    p = [largest_return(c, independent, correlation, 26, rng, draws=200).p_value for c in drawn]
    assert np.count_nonzero(np.array(p) <= 0.05) <= 10 + 4 * 3.1


def test_too_few_shells_say_nothing():
    assert largest_return(np.zeros(20), np.full(20, 100.0), ALONE, 16, np.random.default_rng(0)) is None


def test_the_level_of_a_plateau():
    correlation = ShellCorrelation(1.5, np.array([1.0, 0.5, 0.1]))
    independent = np.full(40, 400.0)
    drawn = fsc_draws(np.full(40, 0.05), independent, correlation, 500, np.random.default_rng(15))
    found = [mean_level(c, independent, correlation, slice(30, 40)) for c in drawn]
    means, deviation = np.array([f[0] for f in found]), found[0][1]
    assert means.mean() == pytest.approx(0.05, abs=0.002)
    # At 0.05 the scatter is 5 % larger than that of the null.
    assert means.std() == pytest.approx(deviation, rel=0.15)
