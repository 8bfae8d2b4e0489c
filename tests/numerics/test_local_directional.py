"""Directional powers against their definition on the full grid; crossings, shares and statistics that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.special import erf
from scipy.stats import binom

from veritem.numerics.bands import Band
from veritem.numerics.device import to_host
from veritem.numerics.directions import even_harmonics, fit_even, hemisphere, quadratic_values
from veritem.numerics.fourier import rfftn
from veritem.numerics.local import block_labels
from veritem.numerics.local_directional import (
    CONE_END,
    CONE_REACH,
    LocalPowers,
    WindowShares,
    blob_reach,
    block_slope,
    coarse_grid,
    coarse_sizes,
    common_pattern,
    cone_coefficients,
    cone_modes,
    correlation_limits,
    crossing_frequencies,
    directional_shares,
    fade,
    freedom,
    local_powers,
    radial_and_azimuthal,
    sum_freedom,
    sum_inflation,
)

PIXEL = 1.5
WINDOW = 8.0


def noisy_pair(shape: tuple[int, int, int], seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    common = rng.standard_normal(shape)
    return [(common + rng.standard_normal(shape)).astype(np.float32) for _ in range(2)]


def full_grid(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.meshgrid(*(np.fft.fftfreq(n, PIXEL) for n in shape), indexing="ij")


def direct_powers(halves: list[np.ndarray], band: Band, direction: np.ndarray, window: float) -> list[np.ndarray]:
    """The definition: filter on the full grid, multiply, average in a periodic Gaussian."""
    shape = halves[0].shape
    f = full_grid(shape)
    radius = np.sqrt(f[0] ** 2 + f[1] ** 2 + f[2] ** 2)
    cosine = (f[0] * direction[0] + f[1] * direction[1] + f[2] * direction[2]) / np.maximum(radius, 1e-9)
    cone = np.where(1 - cosine < CONE_END, np.cos(np.pi * np.minimum(1 - cosine, CONE_END) / (2 * CONE_END)), 0.0)
    gain = band.gain(radius) * cone
    a, b = (np.fft.ifftn(np.fft.fftn(h) * gain) for h in halves)
    average = np.exp(-2 * np.pi**2 * window**2 * radius**2)
    return [np.fft.ifftn(np.fft.fftn(p) * average).real for p in ((a * b.conj()).real, abs(a) ** 2, abs(b) ** 2)]


@pytest.mark.parametrize("shape", [(48, 40, 44), (45, 40, 39)])
def test_blobs_on_small_grids_give_what_the_full_grid_gives(shape):
    """The window passes e^-6 = 0.0026 of what wraps around; the correlation of two powers so perturbed moves less."""
    halves = noisy_pair(shape)
    bands = (Band(0.12, 0.03), Band(0.22, 0.04))
    directions = np.concatenate([hemisphere(5), [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]]])
    sizes = coarse_sizes(shape, PIXEL, 6.0)
    inside = np.zeros(sizes, bool)
    inside[2:5, 1:4, 3:6] = True
    inside[3, 2, 4] = False
    grid = coarse_grid(shape, PIXEL, inside)
    found = local_powers(*map(rfftn, halves), shape, PIXEL, bands, directions, WINDOW, grid)
    assert found.fsc.shape == (8, 2, 26) == (len(directions), len(bands), grid.count)
    for d, direction in enumerate(directions):
        for j, band in enumerate(bands):
            cross, first, second = direct_powers(halves, band, direction, WINDOW)
            expected = cross / np.sqrt(first * second)
            # Points of the coarse grid lie between voxels: linear interpolation of a field smooth over 8 Å.
            where = (grid.positions() / PIXEL).T
            at = np.array([periodic_linear(expected, p) for p in where.T])
            # A window of 8 Å on voxels of 1.5 Å: linear interpolation errs by (1.5/8)² / 8 = 0.4 % of the range of 1.
            assert np.abs(found.fsc[d, j] - at).max() < 0.012


def periodic_linear(volume: np.ndarray, point: np.ndarray) -> float:
    low = np.floor(point).astype(int)
    share = point - low
    total = 0.0
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod([s if c else 1 - s for c, s in zip(corner, share, strict=True)])
        total += weight * volume[tuple((low + corner) % volume.shape)]
    return total


def test_threads_change_nothing():
    shape = (32, 32, 32)
    halves = [rfftn(h) for h in noisy_pair(shape)]
    grid = coarse_grid(shape, PIXEL, np.ones(coarse_sizes(shape, PIXEL, 8.0), bool))
    arguments = (shape, PIXEL, (Band(0.15, 0.03),), hemisphere(6), WINDOW, grid, 6.0)
    one, two = (local_powers(*halves, *arguments, threads=t) for t in (1, 2))
    assert np.array_equal(one.cross, two.cross) and np.array_equal(one.power, two.power)


def test_another_array_library_gives_the_same():
    xp = pytest.importorskip("array_api_strict")
    shape = (32, 30, 28)
    halves = [rfftn(h) for h in noisy_pair(shape)]
    grid = coarse_grid(shape, PIXEL, np.ones(coarse_sizes(shape, PIXEL, 8.0), bool))
    arguments = (shape, PIXEL, (Band(0.1, 0.03), Band(0.2, 0.03)), hemisphere(4), WINDOW, grid, 6.0)
    expected = local_powers(*halves, *arguments)
    found = local_powers(*(xp.asarray(h) for h in halves), *arguments)
    # Two single-precision transforms of some 10^4 values.
    assert np.allclose(to_host(found.cross), expected.cross, atol=1e-4 * expected.power.max())
    assert np.allclose(to_host(found.power), expected.power, atol=1e-4 * expected.power.max())


@pytest.mark.parametrize("seed", range(3))
def test_white_pairs_have_the_correlation_of_their_signal(seed):
    """Signal and noise of one power: 0.5 everywhere.

    The mean over 46 directions, two bands and all windows of a box of 96 Å holds the coefficients of both bands once or
    more: 0.06 (1/Å) wide shells of 0.2 have some 4 pi 0.04 0.06 x 96³ / 2 = 13 000; the standard error is
    (1 - 0.25) / sqrt(2 x 13 000) = 0.005.
    """
    shape = (64, 64, 64)
    halves = [rfftn(h) for h in noisy_pair(shape, seed)]
    grid = coarse_grid(shape, PIXEL, np.ones(coarse_sizes(shape, PIXEL, 8.0), bool))
    found = local_powers(*halves, shape, PIXEL, (Band(0.18, 0.03), Band(0.21, 0.03)), hemisphere(46), WINDOW, grid)
    correlation = found.cross.sum() / found.power.sum()
    assert abs(correlation - 0.5) < 4 * 0.005


def test_a_cone_blurs_harmonics_by_its_coefficients():
    """The weighted mean of a harmonic around a direction is the coefficient times its value there (Funk and Hecke)."""
    fine = np.concatenate([hemisphere(40_000), -hemisphere(40_000)])
    rng = np.random.default_rng(0)
    coefficients = rng.standard_normal(15)
    values = even_harmonics(fine, 4) @ coefficients
    blurred = coefficients * np.repeat(cone_coefficients(), [1, 5, 9])
    for direction in hemisphere(4):
        v = 1 - fine @ direction
        weight = np.where(v < CONE_END, np.cos(np.pi * np.minimum(v, CONE_END) / (2 * CONE_END)) ** 2, 0.0)
        expected = even_harmonics(direction[None], 4)[0] @ blurred
        # 80 000 directions: about 5000 within the cone, evenly spread.
        assert (weight @ values) / weight.sum() == pytest.approx(expected, abs=0.01)
    assert np.degrees(CONE_REACH) == pytest.approx(28.4, abs=0.1)


@pytest.mark.parametrize("centre", [0.12, 0.2])
def test_a_blob_spreads_as_its_reach_says(centre):
    """Second moments of the squared kernel on a fine grid."""
    band, n = Band(centre, 0.03), 128
    f = full_grid((n, n, n))
    radius = np.sqrt(f[0] ** 2 + f[1] ** 2 + f[2] ** 2)
    v = 1 - f[0] / np.maximum(radius, 1e-9)
    gain = band.gain(radius) * np.where(v < CONE_END, np.cos(np.pi * np.minimum(v, CONE_END) / (2 * CONE_END)), 0.0)
    kernel = np.abs(np.fft.ifftn(gain)) ** 2
    lag = np.fft.fftfreq(n, 1 / n) * PIXEL
    weight = kernel / kernel.sum()
    along = np.sqrt((weight.sum(axis=(1, 2)) * lag**2).sum())
    across = np.sqrt((weight.sum(axis=(0, 1)) * lag**2).sum())
    expected = blob_reach(band)
    # The band's sphere is curved within the cone, which spreads it along the direction too: f CONE_END / 2 of 0.03.
    assert along == pytest.approx(expected[0], rel=0.15)
    assert across == pytest.approx(expected[1], rel=0.1)


def test_shares_of_a_window_in_a_slab():
    """The share of a Gaussian between two planes is a difference of error functions; wider along the normal."""
    n, sigma, along = 64, 9.0, 7.0
    z = (np.arange(n) - 32) * PIXEL
    mask = np.broadcast_to((np.abs(z) < 15.0)[:, None, None], (n, n, n)).astype(np.float32)
    thick = (np.abs(z) < 15.0).sum() * PIXEL / 2
    sizes = coarse_sizes(mask.shape, PIXEL, 6.0)
    shares = WindowShares(mask, PIXEL, sizes)
    centre = float(z[np.abs(z) < 15.0].mean())
    at = (np.arange(sizes[0]) * n * PIXEL / sizes[0]) - 32 * PIXEL - centre
    for direction, width in ((None, sigma), ([1.0, 0, 0], np.hypot(sigma, along)), ([0, 0, 1.0], sigma)):
        found = shares.at(sigma, None if direction is None else np.array(direction), along)[:, 3, 3]
        expected = 0.5 * (erf((thick - at) / (np.sqrt(2) * width)) + erf((thick + at) / (np.sqrt(2) * width)))
        # The slab repeats every 96 Å: beyond 48 - 15 Å from its face the next one's tail is below 0.2 %.
        assert np.abs(found - expected)[4:-4].max() < 0.005


def test_directional_shares_are_smaller_along_the_short_axis():
    n = 48
    z = np.abs(np.arange(n) - 24) * PIXEL
    mask = np.broadcast_to((z < 12)[:, None, None], (n, n, n)).astype(np.float32)
    sizes = coarse_sizes(mask.shape, PIXEL, 6.0)
    grid = coarse_grid(mask.shape, PIXEL, np.ones(sizes, bool))
    directions = np.array([[1.0, 0, 0], [0, 1.0, 0]])
    held = directional_shares(WindowShares(mask, PIXEL, sizes), grid, (Band(0.2, 0.02),), directions, WINDOW)
    middle = np.abs(grid.positions()[:, 0] - 24 * PIXEL) < 4
    assert (held[0, 0, middle] < held[1, 0, middle] - 0.05).all()


def test_the_limit_holds_the_signal_to_noise_ratio_of_the_particle():
    """Half of the window in the particle, everywhere noise: 0.143 inside shows as r/2 / (1 + r/2)."""
    r = 0.143 / 0.857
    half = np.full((1, 1, 1), 0.5, np.float32)
    whole = np.ones((1, 1, 1), np.float32)
    assert correlation_limits(half, whole, 0.143).item() == pytest.approx(0.5 * r / (1 + 0.5 * r))
    assert correlation_limits(half, half, 0.143).item() == pytest.approx(0.143)


def test_an_even_signal_leaves_the_noise_as_it_is():
    """Signal 1 and 3 along two directions, noise 2 and 6: the mean signal 2 gives 2/4 and 2/8."""
    cross = np.array([1.0, 3.0], np.float32).reshape(2, 1, 1)
    power = np.array([3.0, 9.0], np.float32).reshape(2, 1, 1)
    ones = np.ones((2, 1, 1), np.float32)
    assert LocalPowers(cross, power).fsc_of_even_signal(ones, ones).ravel() == pytest.approx([0.5, 0.25])
    # Where half of the window holds the signal, a full one holds twice as much.
    assert LocalPowers(cross, power).fsc_of_even_signal(0.5 * ones, ones).ravel() == pytest.approx([4 / 6, 4 / 10])


def test_a_fade_is_smooth_and_leaves_the_middle():
    weight = fade(60, 12.0)
    assert weight[0] < 1e-3 and (weight[12:48] == 1).all()
    assert np.allclose(weight, weight[::-1])
    # Two continuous derivatives: no step between neighbours exceeds the steepest slope, 15/8 over the width.
    assert np.abs(np.diff(weight)).max() < 15 / 8 / 12 + 1e-3


BANDS = tuple(Band(0.08 + 0.02 * j, 0.02) for j in range(8))


def curve(values: list[float]) -> np.ndarray:
    return np.array(values, np.float32).reshape(1, 8, 1)


def test_a_falling_curve_crosses_where_it_crosses():
    """From 0.2 to 0.1 between 0.14 and 0.16 1/Å: 0.143 is passed at 57 % of the way."""
    found = crossing_frequencies(curve([0.9, 0.8, 0.5, 0.2, 0.1, 0.02, 0.0, 0.0]), np.float32(0.143), BANDS)
    assert found.item() == pytest.approx(0.14 + 0.02 * 0.57, abs=1e-6)


def test_a_low_band_that_fails_by_chance_does_not_end_the_search():
    found = crossing_frequencies(curve([0.9, 0.1, 0.8, 0.7, 0.6, 0.0, 0.0, 0.0]), np.float32(0.143), BANDS)
    assert 0.16 < found.item() < 0.18


def test_a_high_band_that_passes_by_chance_is_not_taken():
    found = crossing_frequencies(curve([0.9, 0.8, 0.6, 0.0, 0.0, 0.0, 0.2, 0.0]), np.float32(0.143), BANDS)
    assert 0.12 < found.item() < 0.14


def test_no_band_and_every_band():
    assert crossing_frequencies(curve([0.1] * 8), np.float32(0.143), BANDS).item() == 0.0
    assert crossing_frequencies(curve([0.5] * 8), np.float32(0.143), BANDS).item() == pytest.approx(0.22)


# --- statistics of places that share windows ---------------------------------------------------------------------


def ball() -> tuple:
    """A coarse grid of 6 Å with a ball of 36 Å in it, and its cubes of 27 Å."""
    n = 24
    axis = (np.arange(n) - 12) * 6.0
    inside = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis**2) < 36.0
    grid = coarse_grid((n, n, n), 6.0, inside)
    return grid, block_labels(grid.positions(), 27.5)


def windowed_field(grid, rng: np.random.Generator, window: float, count: int) -> np.ndarray:
    """(points, count) noise averaged in Gaussian windows, of unit variance."""
    fields = [gaussian_filter(rng.standard_normal(grid.sizes), window / 6.0, mode="wrap") for _ in range(count)]
    values = np.stack([f[grid.inside] for f in fields], axis=1)
    # White noise in a window of w voxels has the variance 1 / (8 pi^1.5 w³).
    return values * np.sqrt(8 * np.pi**1.5 * (window / 6.0) ** 3)


@pytest.mark.parametrize("slope", [False, True])
def test_inflation_is_the_one_that_windowed_noise_needs(slope):
    """400 fields: the standard deviation of a sum is known within 1 / sqrt(800) = 3.5 %."""
    grid, labels = ball()
    weights = grid.positions()[:, 0] - grid.positions()[:, 0].mean() if slope else None
    values = windowed_field(grid, np.random.default_rng(0), 11.0, 400)
    weighted = values if weights is None else values * weights[:, None]
    true = weighted.sum(axis=0).std()
    own = np.stack([np.bincount(labels, column) for column in weighted.T])
    needed = true / np.sqrt(np.square(own).sum(axis=1).mean())
    assert sum_inflation(grid, labels, 11.0, weights) == pytest.approx(needed, rel=4 * 0.035)


def places() -> tuple:
    """The ball, and the inflation of a mean over it."""
    grid, labels = ball()
    ones = np.ones(grid.count)
    return grid, labels, sum_inflation(grid, labels, 11.0, ones, (ones,))


def test_directions_that_blocks_do_not_share_are_chance():
    """200 null cases: p at most 0.05 and 0.01 in no more than the binomial 99.9 % point; p of all kinds."""
    grid, labels, inflation = places()
    found, spans, allowed = [], [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        local = np.zeros((grid.count, 15))
        local[:, 1:6] = windowed_field(grid, rng, 11.0, 5)
        pattern = common_pattern(local, labels, rng, inflation, draws=50)
        found.append(pattern.p_value)
        values = quadratic_values(pattern.coefficients)
        spans.append(values[0] - values[2])
        allowed.append(pattern.chance_span(rng, 0.5, draws=200))
    for limit in (0.01, 0.05):
        assert np.count_nonzero(np.array(found) <= limit) <= binom.ppf(0.999, 200, limit)
    assert 0.3 < np.median(found) < 0.75
    # Half of the spans pass the median of what chance is said to reach.
    assert np.median(allowed) == pytest.approx(np.median(spans), rel=0.25)


def test_a_direction_that_all_blocks_share_is_found():
    grid, labels, inflation = places()
    rng = np.random.default_rng(1)
    local = windowed_field(grid, rng, 11.0, 15)
    planted = fit_even(hemisphere(46), (hemisphere(46) @ np.array([0.6, 0.0, 0.8])) ** 2)
    found = common_pattern(local + 20.0 * planted, labels, rng, inflation)
    assert found.p_value <= 0.001
    # A ball of 195 000 Å³ holds 3.3 windows of 8 pi^1.5 11³ Å³: the mean of a coefficient scatters by 0.55.
    assert found.error == pytest.approx(0.55, rel=0.5)
    assert np.abs(found.coefficients - 20.0 * planted)[1:].max() < 4 * 0.55


def test_directions_of_one_kind_turned_in_each_block_are_not_shared():
    """Each block has a strong direction of its own: a helix bundle, turned differently everywhere."""
    _, labels = ball()
    rng = np.random.default_rng(2)
    axes = rng.standard_normal((int(labels.max()) + 1, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    turned = fit_even(hemisphere(46), (hemisphere(46) @ axes.T) ** 2).T
    assert common_pattern(turned[labels], labels, rng).p_value > 0.01


def test_radial_and_azimuthal_weights_lie_along_and_across_the_radius():
    """Means of cos² of the angle to the radius: above cos² 45° = 0.5 along it, below cos² 70° = 0.12 across."""
    rng = np.random.default_rng(0)
    offsets = rng.standard_normal((50, 3)) * 30.0
    directions = hemisphere(46)
    unit = offsets / np.linalg.norm(offsets, axis=1, keepdims=True)
    along, across = radial_and_azimuthal(directions, offsets)
    assert np.allclose(along.sum(axis=0), 1.0) and np.allclose(across.sum(axis=0), 1.0)
    squared = (directions @ unit.T) ** 2
    assert ((along * squared).sum(axis=0) > 0.5).all()
    assert ((across * squared).sum(axis=0) < 0.12).all()
    along, across = radial_and_azimuthal(directions, np.zeros((1, 3)))
    assert np.isnan(along).all() and np.isnan(across).all()


def test_cones_are_correlated_where_they_overlap():
    directions = hemisphere(46)
    correlation = cone_modes(directions) @ cone_modes(directions).T
    assert np.allclose(np.diagonal(correlation), 1.0)
    apart = np.degrees(np.arccos(np.minimum(np.abs(directions @ directions.T), 1.0)))
    # Cones end at 28.4°: twice that apart they share nothing.
    assert np.abs(correlation[apart > 57.0]).max() < 1e-9
    close = correlation[(apart > 1) & (apart < 15)]
    assert (close > 0.4).all() and (close < 1.0).all()


def test_inflation_of_a_contrast_of_directions():
    """A value that mixes 46 fields by weights of its place: azimuthal less radial. 200 draws know it within 5 %."""
    grid, labels = ball()
    rng = np.random.default_rng(0)
    offsets = grid.positions() - 71.0
    along, across = radial_and_azimuthal(hemisphere(46), offsets)
    modes = cone_modes(hemisphere(46)).T
    factors = modes @ (across - along)
    # 46 cones share much: the strongest 24 fields hold 98 % of the variance at least.
    strongest = np.argsort(np.square(factors).sum(axis=1))[-24:]
    assert np.square(factors[strongest]).sum() > 0.98 * np.square(factors).sum()
    factors = factors[strongest]
    lever = np.linalg.norm(offsets, axis=1)
    lever -= lever.mean()
    true, own = [], []
    for _ in range(200):
        y = (factors * windowed_field(grid, rng, 11.0, 24).T).sum(axis=0)
        true.append(lever @ y)
        left = y - y.mean() - lever * (lever @ y) / (lever @ lever)
        own.append(np.square(np.bincount(labels, lever * left)).sum())
    needed = np.std(true) / np.sqrt(np.mean(own))
    found = sum_inflation(grid, labels, 11.0, lever, (np.ones_like(lever), lever), factors)
    assert found == pytest.approx(needed, rel=4 * 0.05)


def test_the_interval_of_a_slope_holds_the_truth_as_often_as_it_says():
    """200 fields of windowed noise with a planted slope: a 95 % interval misses 2 to 19 (binomial, 99.8 %)."""
    grid, labels = ball()
    x = np.linalg.norm(grid.positions() - 72.0, axis=1)
    lever = x - x.mean()
    fitted, one = (np.ones_like(x), lever), np.ones((1, grid.count))
    inflation = sum_inflation(grid, labels, 11.0, lever, fitted)
    free = sum_freedom(grid, labels, 11.0, lever, fitted, one, inflation)
    assert freedom(27, inflation) < free < 26
    missed = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        y = 0.03 * x + windowed_field(grid, rng, 11.0, 1)[:, 0]
        low, high = block_slope(x, y, labels, rng, inflation, free, 200).interval()
        missed += not low <= 0.03 <= high
    assert 2 <= missed <= 19
