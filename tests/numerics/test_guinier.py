"""Lines through ln amplitude with known slopes, and spectra that end where they were cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from veritem.derived.spectra import reference_spectrum
from veritem.numerics.guinier import (
    ReferenceSpectrum,
    find_spectral_end,
    fit_guinier,
    most_noise,
    robust_weights,
    weighted_line,
)

SHELLS = np.arange(0.1, 0.31, 0.006)


def flat_reference(deviations: np.ndarray | None = None) -> ReferenceSpectrum:
    zero = np.zeros(SHELLS.size)
    return ReferenceSpectrum(SHELLS, zero, zero, zero, np.zeros((1, SHELLS.size)) if deviations is None else deviations)


@pytest.mark.parametrize("planted", [30.0, 0.0, -60.0, -400.0])
def test_a_line_without_noise_is_found_exactly(planted):
    line = fit_guinier(SHELLS, 2.0 + planted * SHELLS**2 / 4, np.full(SHELLS.size, 0.01), np.random.default_rng(0))
    assert line.b_factor == pytest.approx(planted, abs=1e-9)
    assert line.intercept == pytest.approx(2.0, abs=1e-12)


def test_the_reference_is_taken_off():
    reference = reference_spectrum()
    y = reference.at(SHELLS) - 80.0 * SHELLS**2 / 4
    line = fit_guinier(SHELLS, y, np.full(SHELLS.size, 0.01), np.random.default_rng(0), reference=reference)
    assert line.b_factor == pytest.approx(-80.0, abs=1e-6)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """300 fits with independent errors of known size: coverage of the 95 % interval.

    The standard deviation of a share of 0.95 in 300 is 0.013; the interval of few shells errs on the wide side, so
    the coverage may be up to 1 but not below 0.95 - 4 x 0.013.
    """
    hits = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        y = -100.0 * SHELLS**2 / 4 + 0.1 * rng.standard_normal(SHELLS.size)
        line = fit_guinier(SHELLS, y, np.full(SHELLS.size, 0.01), rng, draws=400)
        low, high = line.interval()
        hits += low <= -100.0 <= high
    assert hits / 300 > 0.95 - 4 * 0.013


def test_correlated_errors_widen_the_interval():
    """Errors shared by three shells carry a third of the information: the interval grows towards sqrt(3).

    Moving blocks of three recover most of it; without blocks the width would not change at all.
    """
    widths = {1: [], 3: []}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        shared = np.repeat(rng.standard_normal(SHELLS.size // 3 + 1), 3)[: SHELLS.size]
        for block, found in widths.items():
            line = fit_guinier(
                SHELLS, 0.1 * shared, np.full(SHELLS.size, 0.01), np.random.default_rng(seed), block=block, draws=400
            )
            low, high = line.interval()
            found.append(high - low)
    assert np.mean(widths[3]) > 1.3 * np.mean(widths[1])


def test_one_wild_shell_does_not_decide():
    """An ice ring lifts one shell by 2; least squares moves by its leverage, the robust fit by less than a quarter."""
    y = -100.0 * SHELLS**2 / 4 + 0.05 * np.random.default_rng(1).standard_normal(SHELLS.size)
    variance = np.full(SHELLS.size, 0.0025)
    clean = 4 * weighted_line(SHELLS**2, y, 1 / variance)[0]
    y[-2] += 2.0
    pulled = 4 * weighted_line(SHELLS**2, y, 1 / variance)[0] - clean
    robust = 4 * weighted_line(SHELLS**2, y, robust_weights(SHELLS**2, y, variance))[0] - clean
    assert abs(robust) < 0.25 * abs(pulled)


def test_how_proteins_differ_is_part_of_the_interval():
    """Deviations that are lines themselves, with B of ±40 Å², must show as an interval of at least ±40."""
    deviations = np.array([40.0, -40.0])[:, None] * SHELLS**2 / 4
    line = fit_guinier(
        SHELLS, np.zeros(SHELLS.size), np.full(SHELLS.size, 0.01), np.random.default_rng(0),
        reference=flat_reference(deviations),
    )  # fmt: skip
    low, high = line.interval()
    assert low == pytest.approx(-40.0, abs=1.0)
    assert high == pytest.approx(40.0, abs=1.0)


@pytest.mark.parametrize("planted", [0.0, -150.0])
@pytest.mark.parametrize("finest", [2.8, 3.5, 4.5])
def test_a_protein_that_is_not_in_the_reference_is_covered(planted, finest):
    """Each of the 50 proteins against the mean of the other 49, hydrogens and solvent as uncertain as they are.

    95 % intervals: fewer hits than binom.ppf(0.001) in 50 would be chance once in a thousand. No bias: the mean of
    50 errors is within four of its standard errors of zero, and never off by 10 Å².
    """
    reference = reference_spectrum()
    shells = np.arange(0.1, 1 / finest, 0.008)
    errors, hits = [], 0
    for k, own in enumerate(reference.deviations):
        others = np.delete(reference.deviations, k, axis=0)
        shift = others.mean(axis=0)
        without = replace(reference, log_amplitude=reference.log_amplitude + shift, deviations=others - shift)
        rng = np.random.default_rng(1000 + k)
        uncertain = rng.uniform(-1, 1) * reference.hydrogens + 0.3 * rng.uniform(-1, 1) * reference.solvent
        truth = np.interp(shells, reference.frequency, reference.log_amplitude + own + uncertain)
        noise = 0.02 * rng.standard_normal(shells.size)
        variance = 0.02**2 + without.scatter(shells) ** 2
        line = fit_guinier(shells, truth + planted * shells**2 / 4 + noise, variance, rng, reference=without, draws=400)
        low, high = line.interval()
        hits += low <= planted <= high
        errors.append(line.b_factor - planted)
    assert hits >= binom.ppf(0.001, 50, 0.95)
    assert abs(np.mean(errors)) < min(10.0, 4 * np.std(errors, ddof=1) / np.sqrt(50))


def test_too_few_shells_are_refused():
    with pytest.raises(ValueError, match="at least 4 shells"):
        fit_guinier(SHELLS[:3], SHELLS[:3], np.ones(3), np.random.default_rng(0))


# --- where a spectrum ends ----------------------------------------------------------------------------------

FINE = np.arange(0.005, 0.5, 0.005)


@pytest.mark.parametrize("b_factor", [0.0, -100.0, -400.0])
@pytest.mark.parametrize("cutoff", [0.2, 0.3])
def test_a_low_pass_is_found_where_it_was_set(b_factor, cutoff):
    """A raised-cosine edge of 0.02 1/Å from the cut-off is half at 0.01 beyond it; shells are 0.005 wide."""
    edge = 0.5 * (1 + np.cos(np.pi * np.clip((FINE - cutoff) / 0.02, 0, 1)))
    rng = np.random.default_rng(3)
    y = b_factor * FINE**2 / 4 + np.log(np.maximum(edge, 1e-4)) + 0.05 * rng.standard_normal(FINE.size)
    end = find_spectral_end(FINE, y)
    assert end is not None
    assert abs(end.half - (cutoff + 0.01)) <= 0.0125
    assert cutoff - 0.03 <= end.onset <= end.half


@pytest.mark.parametrize("b_factor", [30.0, 0.0, -150.0, -600.0])
def test_a_steep_decay_is_no_end(b_factor):
    rng = np.random.default_rng(4)
    bump = 0.2 * np.exp(-(((FINE - 0.21) / 0.02) ** 2))
    y = b_factor * FINE**2 / 4 + bump + 0.05 * rng.standard_normal(FINE.size)
    assert find_spectral_end(FINE, y) is None


def test_a_gap_is_no_end():
    """A CTF zero that was not filled: amplitudes come back."""
    y = -60.0 * FINE**2 / 4
    y[(FINE > 0.2) & (FINE < 0.22)] -= 3.0
    assert find_spectral_end(FINE, y) is None


# --- the reference ------------------------------------------------------------------------------------------


def test_the_reference_shows_what_protein_spectra_show():
    """The dip at 6 to 7 Å and the rise to 5 Å that helices and strands make, and a fall from there on."""
    reference = reference_spectrum()
    level = dict(zip((10.0, 6.5, 5.0, 3.5, 2.5), reference.at(1 / np.array([10.0, 6.5, 5.0, 3.5, 2.5])), strict=True))
    assert level[6.5] < level[5.0]
    assert level[5.0] > level[3.5] > level[2.5]
    assert (np.diff(reference.frequency) > 0).all()
    assert reference.deviations.shape == (50, reference.frequency.size)


def test_draws_of_the_reference_scatter_as_it_says():
    reference = reference_spectrum()
    draws = reference.draws(SHELLS, 4000, np.random.default_rng(0))
    # 4000 draws: the standard deviation is known to 1.1 %; kurtosis of the mixture is below normal.
    assert np.allclose(draws.std(axis=0), reference.scatter(SHELLS), rtol=0.06, atol=2e-3)


def test_the_most_noise_is_three_times_the_signal_at_the_limit():
    """FSC 0.143 between half maps is a signal-to-noise ratio of 1/3 in their mean."""
    noise = most_noise(np.array([0.1, 0.2, 1 / 3.0]), 3.0, reference_spectrum(), 100.0)
    assert noise[-1] == pytest.approx(3.0)
    assert noise[0] < 0.1 < noise[-1]
