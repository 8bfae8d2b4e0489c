"""Local FSC of fields whose local spectra are known."""

from __future__ import annotations

import numpy as np
import pytest

from veritem.numerics.fourier import frequency_grid, gaussian_filter, irfftn, rfftn
from veritem.numerics.fsc import first_lasting_crossing, held_to, shell_sums
from veritem.numerics.local_fsc import (
    CurveFollower,
    LocalCrossings,
    Target,
    WindowedBand,
    exact_local_fsc,
    local_correlations,
    noise_amplitude,
    plan_bands,
)

PIXEL = 1.2
NYQUIST = 0.5 / PIXEL


def shaped(shape, power, rng) -> np.ndarray:
    """White noise times the root of a radial power, given as a function of frequency."""
    gain = np.sqrt(power(frequency_grid(shape, PIXEL))).astype(np.float32)
    return irfftn(rfftn(rng.standard_normal(shape, np.float32)) * gain, shape)


def log_linear(resolution: float, width: float):
    """SSNR of one half map that falls by 10 over `width` (1/Å); its FSC is 0.143 at `resolution`."""
    return lambda f: 10.0 ** ((1.0 / resolution - 0.7776 * width - f) / width)


def b_factor_fall(resolution: float, at_zero: float):
    """SSNR at_zero exp(-B f² / 2) with the B for which the FSC is 0.143 at `resolution`."""
    b = 2.0 * np.log(at_zero / (0.143 / 0.857)) * resolution**2
    return lambda f: at_zero * np.exp(-b * f**2 / 2.0)


def noisy(signal, seed: int) -> list[np.ndarray]:
    generators = np.random.default_rng(seed).spawn(2)
    return [signal + rng.standard_normal(signal.shape, np.float32) for rng in generators]


def crossings(halves, diameter: float = 25.0, index=None, weight=None, whiten: bool = True) -> LocalCrossings:
    first, second = (rfftn(half) for half in halves)
    shape = halves[0].shape
    index = np.arange(halves[0].size) if index is None else index
    target = Target.around(index, shape)
    where = target.index(index, shape)
    noise = noise_amplitude(shell_sums(first, second, shape)) if whiten else None
    bands = plan_bands(0.05, NYQUIST, diameter, 5.0)
    follower = CurveFollower(index.size)
    stream = local_correlations(first, second, shape, PIXEL, bands, target, weight, noise)
    for band, (rho, deviation) in zip(bands, stream, strict=True):
        follower.add(band, rho.ravel()[where], deviation.ravel()[where])
    return follower.crossings()


def inner(shape, margin: int = 16) -> np.ndarray:
    """Flat indices of the voxels at least `margin` voxels from every face."""
    mask = np.zeros(shape, bool)
    mask[tuple(slice(margin, n - margin) for n in shape)] = True
    return np.flatnonzero(mask)


# --- one band -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("centre", [0.1, 0.2, 0.35])
def test_noise_correlates_as_much_as_is_computed(centre):
    """The root mean square over eight pairs of noise fields.

    A field of (64 x 1.2)³ holds some (77 / (2 sqrt(pi) window))³ independent windows: 180 at 0.2 1/Å and above, 23 at
    0.1; the standard deviation over eight pairs is known to 1 / sqrt(2 x 8 x 23) = 5 %, or 2 %. Allowed: 3 of it, and
    3 % for the denominators, which the formula takes as known.
    """
    shape = (64, 64, 64)
    band = plan_bands(centre, NYQUIST, 25.0, 5.0)[0]
    target = Target((0, 0, 0), shape)
    squares = []
    for seed in range(8):
        halves = [rfftn(half) for half in noisy(np.zeros(shape, np.float32), seed)]
        ((rho, deviation),) = local_correlations(*halves, shape, PIXEL, (band,), target)
        assert np.allclose(deviation, band.null_deviation)
        middle = rho[16:-16, 16:-16, 16:-16]
        squares.append(float(np.mean(middle.astype(float) ** 2)))
    tolerance = 0.03 + 3 * (0.05 if centre < 0.15 else 0.02)
    assert np.sqrt(np.mean(squares)) == pytest.approx(band.null_deviation, rel=tolerance)


def test_thin_masks_leave_less_to_go_by():
    """A slab of 12 Å in windows of 25 Å: the computed deviation is that of noise within 10 %, and larger than whole."""
    shape = (64, 64, 64)
    band = plan_bands(0.25, NYQUIST, 25.0, 5.0)[0]
    slab = np.zeros(shape, np.float32)
    slab[27:37] = 1.0
    slab = np.clip(gaussian_filter(slab, 1.5), 0.0, 1.0)
    target = Target((30, 16, 16), (4, 32, 32))
    squares = []
    for seed in range(12):
        halves = [rfftn(half) for half in noisy(np.zeros(shape, np.float32), seed)]
        ((rho, deviation),) = local_correlations(*halves, shape, PIXEL, (band,), target, slab)
        squares.append(float(np.mean(rho.astype(float) ** 2)))
    assert float(deviation.mean()) > 1.1 * band.null_deviation
    assert np.sqrt(np.mean(squares)) == pytest.approx(float(deviation.mean()), rel=0.1)


def test_a_bands_own_grid_changes_nothing():
    """A box of unequal, odd edges: the same correlation as on the full grid with a plain Gaussian filter.

    What folds back from products is below 1 % of them by construction; correlations may differ by about 0.01.
    """
    shape = (45, 54, 50)
    rng = np.random.default_rng(2)
    halves = noisy(shaped(shape, log_linear(4.0, 0.1), rng), 3)
    first, second = (rfftn(half) for half in halves)
    grid = frequency_grid(shape, PIXEL)
    bands = plan_bands(0.1, 0.3, 25.0, 5.0)[::4]
    target = Target((20, 20, 20), (6, 10, 8))
    cut = tuple(slice(s, s + n) for s, n in zip(target.start, target.shape, strict=True))
    for band, (rho, _) in zip(bands, local_correlations(first, second, shape, PIXEL, bands, target), strict=True):
        gain = band.gain(grid).astype(np.float32)
        a, b = (irfftn(t * gain, shape) for t in (first, second))
        cross, aa, bb = (gaussian_filter(p, band.window / PIXEL) for p in (a * b, a * a, b * b))
        assert np.abs(rho - (cross / np.sqrt(aa * bb))[cut]).max() < 0.02


def test_other_arrays_give_the_same():
    """The same code on a module of the array standard: float32 arithmetic in another order, 1e-4."""
    strict = pytest.importorskip("array_api_strict")
    shape = (32, 36, 30)
    rng = np.random.default_rng(4)
    halves = noisy(shaped(shape, log_linear(4.0, 0.1), rng), 5)
    transforms = [rfftn(half) for half in halves]
    noise = noise_amplitude(shell_sums(*transforms, shape))
    weight = gaussian_filter(np.pad(np.ones((16, 16, 16), np.float32), ((8, 8), (10, 10), (7, 7))), 2.0)
    bands = plan_bands(0.08, 0.3, 25.0, 5.0)[::3]
    target = Target((9, 9, 9), (12, 14, 10))
    here = local_correlations(*transforms, shape, PIXEL, bands, target, weight, noise)
    there = local_correlations(
        *(strict.asarray(t) for t in transforms), shape, PIXEL, bands, target, strict.asarray(weight), noise
    )
    for (rho, deviation), (rho_there, deviation_there) in zip(here, there, strict=True):
        assert np.abs(rho - np.from_dlpack(rho_there)).max() < 1e-4
        assert np.abs(deviation - np.from_dlpack(deviation_there)).max() < 1e-4


# --- curves that are known by hand --------------------------------------------------------------------------------


def followed(curve, deviation=0.01, **options) -> LocalCrossings:
    follower = CurveFollower(1, **options)
    for k, rho in enumerate(curve):
        band = WindowedBand(0.05 + 0.02 * k, 1e-4, 4.0)  # so narrow that its mean is its centre
        follower.add(band, np.array([rho], np.float32), np.array([deviation], np.float32))
    return follower.crossings(undo_width=False)


def test_crossings_are_interpolated_and_have_to_last():
    found = followed([1.0, 0.9, 0.1, 0.6, 0.4, 0.043, 0.0, 0.0, 0.0], lasting=3)
    # 0.5 halfway between the bands at 0.11 and 0.13; 0.143 at (0.4 - 0.143) / (0.4 - 0.043) = 0.72 of the next.
    assert found.at_half[0] == pytest.approx(0.12, abs=1e-5)
    assert found.at_threshold[0] == pytest.approx(0.13 + 0.02 * 0.257 / 0.357, abs=1e-5)
    assert not found.open_end[0]


def test_a_curve_that_ends_above_is_open():
    found = followed([1.0, 0.9, 0.8, 0.7])
    assert found.open_end[0]
    assert found.at_threshold[0] == pytest.approx(found.last)


def test_a_fall_in_the_last_band_counts():
    found = followed([1.0, 0.9, 0.643, 0.043])
    assert found.at_threshold[0] == pytest.approx(0.09 + 0.02 * 0.5 / 0.6, abs=1e-5)


def test_what_does_not_stand_out_from_noise_is_refused():
    assert np.isnan(followed([0.25, 0.2, 0.2, 0.0, 0.0, 0.0, 0.0], deviation=0.1).at_threshold[0])
    assert np.isfinite(followed([0.45, 0.2, 0.2, 0.0, 0.0, 0.0, 0.0], deviation=0.1).at_threshold[0])


def test_a_fall_where_noise_alone_could_be_higher_is_no_resolution():
    assert np.isnan(followed([0.9, 0.8, 0.0, 0.0, 0.0, 0.0], deviation=0.2).at_threshold[0])


# --- fields -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("power", "resolution"),
    [
        (log_linear(3.2, 0.06), 3.2),
        (log_linear(3.2, 0.1), 3.2),
        (b_factor_fall(3.2, 1000.0), 3.2),
        (b_factor_fall(4.5, 30.0), 4.5),
    ],
)
def test_uniform_fields_have_their_resolution_everywhere(power, resolution):
    """The median, over some 60 independent windows that scatter by 4 to 6 %: 0.06 x 1.25 / sqrt(60) = 1 %, allowed 2 %
    (two standard deviations and the 0.5 % of bias left). Scatter below 8 %, and no voxel without a value."""
    shape = (80, 80, 80)
    halves = noisy(shaped(shape, power, np.random.default_rng(7)), 8)
    found = crossings(halves, max(25.0, 6.0 * resolution), inner(shape))
    values = 1.0 / found.at_threshold
    assert np.isfinite(values).all()
    assert np.median(values) == pytest.approx(resolution, rel=0.02)
    assert np.std(values) / resolution < 0.08


def test_fast_and_exact_agree():
    """Bands, and windows transformed one by one: medians within 5 % over 200 places of a 96³ pair, and the same places
    are better or worse. The exact windows are of 32 Å, whose neighbourhood is as wide as that of the bands' 25 Å."""
    shape = (96, 96, 96)
    halves = noisy(shaped(shape, log_linear(3.2, 0.06), np.random.default_rng(9)), 10)
    index = np.random.default_rng(11).choice(inner(shape, 20), 200, replace=False)
    fast = 1.0 / crossings(halves, index=index).at_threshold
    centres = np.stack(np.unravel_index(index, shape), axis=1)
    frequency, curves = exact_local_fsc(halves[0], halves[1], PIXEL, centres, 32.0)
    slow = np.array([1.0 / (first_lasting_crossing(frequency, curve, lasting=4) or np.nan) for curve in curves])
    assert np.isfinite(slow).all()
    assert np.median(fast) == pytest.approx(np.median(slow), rel=0.05)
    assert np.corrcoef(fast, slow)[0, 1] > 0.7


def test_the_exact_fsc_of_white_halves_is_known():
    """White signal of twice the noise's power: 2/3 in every shell.

    The mean over 60 windows, of which each shell beyond the eighth holds more than 50 independent coefficients: known
    to (1 - 4/9) / sqrt(2 x 60 x 50) = 0.007 if windows were apart; they overlap, and 0.03 is allowed.
    """
    rng = np.random.default_rng(12)
    signal = rng.standard_normal((64, 64, 64), np.float32) * np.float32(np.sqrt(2.0))
    halves = noisy(signal, 13)
    centres = rng.integers(12, 52, (60, 3))
    frequency, curves = exact_local_fsc(halves[0], halves[1], PIXEL, centres, 24.0)
    assert np.isnan(curves[:, 0]).all()
    beyond = (frequency > 0.15) & (frequency < 0.4)
    assert np.abs(curves[:, beyond].mean(axis=0) - 2 / 3).max() < 0.03


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("fall", [lambda r: log_linear(r, 0.06 if r < 4 else 0.04), lambda r: b_factor_fall(r, 30.0)])
def test_two_domains_are_told_apart(fall, seed):
    """3 Å to one side of a plane, 6 Å to the other, in white noise.

    The box is periodic, so that there is a second border at its face: places are more than 25 Å away from that one.
    Medians farther than half a window (12.5 Å) from the plane on the sharp side and farther than 15 Å on the blurred
    one are within 10 %; at the plane values lie between. A window (25 Å) away nothing of the sharp side is left;
    what is finer than 4 Å there is noise that rose by three standard deviations, at one place in a hundred (0.0013
    for each of some five bands); the region holds about five places, and such a rise fills less than a quarter of one.
    """
    shape = (64, 64, 96)
    rng = np.random.default_rng(seed)
    x = (np.arange(shape[2]) - shape[2] // 2) * PIXEL
    # Smooth at the second border too: a step would be a signal of its own at every frequency.
    blend = (np.clip(0.5 + x / 4.0, 0.0, 1.0) * np.clip((x[-1] + PIXEL - x) / 4.0, 0.0, 1.0)).astype(np.float32)
    signal = (1 - blend) * shaped(shape, fall(3.0), rng) + blend * shaped(shape, fall(6.0), rng)
    index = inner(shape, 14)
    where = x[np.unravel_index(index, shape)[2]]
    index, where = index[np.abs(where) < 32.0], where[np.abs(where) < 32.0]
    values = 1.0 / crossings(noisy(signal, 20 + seed), index=index).at_threshold
    assert np.nanmedian(values[where < -12.5]) == pytest.approx(3.0, rel=0.1)
    assert np.nanmedian(values[where > 15.0]) == pytest.approx(6.0, rel=0.1)
    assert np.mean(values[where > 25.0] < 4.0) <= 0.05
    assert 3.0 < np.nanmedian(values[np.abs(where) < 3.0]) < 5.0


def test_noise_has_no_resolution():
    """White noise in a ball of 36 Å: at least 99 % not determinable in each of six pairs, and nothing below 10 Å."""
    shape = (72, 72, 72)
    axis = (np.arange(72) - 36) * PIXEL
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis**2)
    mask = np.clip((42.0 - radius) / 6.0, 0.0, 1.0).astype(np.float32)
    index = np.flatnonzero(radius < 36.0)
    for seed in range(6):
        found = crossings(noisy(np.zeros(shape, np.float32), seed), index=index, weight=mask)
        known = np.isfinite(found.at_threshold)
        assert known.mean() <= 0.01
        assert not (found.at_threshold[known] > 0.1).any()


def test_sharpening_changes_nothing():
    """Both halves sharpened by B = -150 Å² up to Nyquist: medians within 0.3 %, places within 1 % on average."""
    shape = (64, 64, 64)
    halves = noisy(shaped(shape, log_linear(3.5, 0.08), np.random.default_rng(14)), 15)
    gain = np.exp(150.0 / 4.0 * np.minimum(frequency_grid(shape, PIXEL), NYQUIST) ** 2).astype(np.float32)
    sharp = [irfftn(rfftn(half) * gain, shape) for half in halves]
    plain, changed = (1.0 / crossings(pair, index=inner(shape)).at_threshold for pair in (halves, sharp))
    assert np.median(changed) == pytest.approx(np.median(plain), rel=0.003)
    assert np.abs(changed / plain - 1.0).mean() < 0.01


def test_empty_space_and_equal_halves_are_no_accident():
    """Where both halves are 0 the correlation is 0; halves that are one map agree to the last band."""
    shape = (48, 48, 48)
    data = np.zeros(shape, np.float32)
    data[:20] = np.random.default_rng(16).standard_normal((20, 48, 48))
    found = crossings([data, data])
    known = found.open_end.reshape(shape)
    assert known[6:14, 16:32, 16:32].all()
    assert np.isfinite(noise_amplitude(shell_sums(rfftn(data), rfftn(data), shape))).all()


def test_filtered_halves_hold_nothing_beyond_the_filter():
    shape = (64, 64, 64)
    halves = noisy(shaped(shape, log_linear(3.0, 0.1), np.random.default_rng(17)), 18)
    grid = frequency_grid(shape, PIXEL)
    cut = [rfftn(irfftn(rfftn(half) * (grid < 0.25), shape)) for half in halves]
    sums = shell_sums(*cut, shape)
    assert held_to(sums) / (64 * PIXEL) == pytest.approx(0.25, abs=1.0 / (64 * PIXEL))
    assert held_to(shell_sums(rfftn(halves[0]), rfftn(halves[1]), shape)) == 32


def test_what_leaked_in_is_no_agreement():
    """Beyond 0.25 1/Å the halves hold nothing but a slab 29 Å away, of common signal and noise: no evidence here.

    What reaches the voxel from the slab is common to the halves, and far weaker than the map's noise in those bands.
    Without a floor on the power it would correlate, and the filter at 4 Å would be passed.
    """
    shape = (64, 64, 96)
    grid = frequency_grid(shape, PIXEL)
    rng = np.random.default_rng(19)
    slab = np.zeros(shape, np.float32)
    slab[:, :, 72:84] = 1.0
    common = 3.0 * rng.standard_normal(shape, np.float32)
    signal = shaped(shape, log_linear(3.0, 0.1), rng)
    halves = []
    for half in noisy(signal, 20):
        beyond = rfftn(slab * (common + rng.standard_normal(shape, np.float32))) * (grid >= 0.25)
        halves.append(irfftn(rfftn(half) * (grid < 0.25) + beyond, shape))
    found = crossings(halves, index=np.array([np.ravel_multi_index((32, 32, 48), shape)]))
    assert 0.23 < found.at_threshold[0] < 0.29
