"""1.b on pairs of noise, and on pairs whose signal is planted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.checks.by_name import Values, outcomes
from tests.checks.test_global_resolution import RESOLUTION, halves, phantom, values, with_data
from veritem.checks.level_1.fsc_significance import FscSignificance
from veritem.numerics.density_map import DensityMap, HalfMaps
from veritem.numerics.statistics import binomial_interval
from veritem.report.figures import draw
from veritem.simulation.noise import coloured_noise

COLOURS = {
    "white": lambda f: np.ones_like(f),
    "falling": lambda f: np.exp(-100 * f * f / 2),
    "steep": lambda f: np.exp(-400 * f * f / 2),
    "rising": lambda f: 0.1 + f / 0.3,
}


def judged(first, second, reported: float | None = RESOLUTION):
    return values(first, second, reported).judged(FscSignificance())


def declared(colour: str, seeds, particle=(64, 1.6, 150, 1, 1)) -> int:
    """How many pairs of noise are said to share something."""
    raw, distance = phantom(*particle)
    count = 0
    for seed in seeds:
        rng = np.random.default_rng([seed, 7, raw.shape[0]])
        pair = [
            DensityMap(coloured_noise(raw.shape, raw.pixel_size, COLOURS[colour], rng), raw.pixel_size)
            for _ in range(2)
        ]
        known = Values(density_map=pair[0], half_maps=HalfMaps(*pair), mask_distance=distance)
        count += known.measure(FscSignificance()).groups_passed.value > 0
    return count


@pytest.mark.parametrize("colour", list(COLOURS))
def test_noise_shares_nothing(colour):
    """Of 20 pairs at a rate of 1 % three or more are declared once in a thousand times."""
    assert declared(colour, range(1000, 1020)) <= 2


@pytest.mark.full
def test_noise_is_declared_in_one_of_a_hundred_pairs():
    """2400 pairs of four colours in three masks: the rate of 1 % lies in the interval of what is counted."""
    count = pairs = 0
    for particle in ((64, 1.6, 150, 1, 1), (64, 2.0, 300, 2, 3), (72, 1.4, 120, 2, 3)):
        for colour in COLOURS:
            count += declared(colour, range(200), particle)
            pairs += 200
    low, high = binomial_interval(count, pairs, 0.99)
    print(f"{count} of {pairs} pairs of noise are declared: {100 * low:.2g} to {100 * high:.2g} %")
    assert low <= 0.01 <= high


def test_a_sound_pair_is_significant_beyond_its_resolution():
    measurement, verdict = judged(*halves())
    assert verdict.outcome == "pass"
    assert measurement.significant_resolution.value < measurement.curve.resolution
    low, high = measurement.significant_resolution.interval
    assert low <= measurement.significant_resolution.value <= high
    assert 0 < measurement.reported_p_value.value < 1e-6


def test_the_limit_lies_where_the_expected_curve_is_as_large_as_noise():
    """Mean of ten pairs against the planted log-linear SSNR; one limit scatters by 5 %, their mean by 1.6 %."""
    found, expected = [], []
    for seed in range(10):
        measurement, _ = judged(*halves(seed=seed))
        found.append(measurement.significant_resolution.value)
        curve, limit = measurement.curve, measurement.found
        f0 = 1 / RESOLUTION - 0.778 * 0.05
        ssnr = 10 ** ((f0 - limit.frequency) / 0.05)
        needed = limit.needed - ssnr / (1 + ssnr)
        expected.append(1 / np.interp(0, needed, limit.frequency))
        assert curve.frequency[0] == 0
    # The first failure of a noisy curve comes a little early: up to one shell (4 %).
    assert np.mean(found) == pytest.approx(np.mean(expected), rel=0.06)


@pytest.mark.parametrize(("reported", "outcome"), [(RESOLUTION, "pass"), (3.3, "inconclusive"), (2.9, "warning")])
def test_a_reported_resolution_beyond_the_limit_warns(reported, outcome):
    """The FSC is 0.008 at 3.3 Å, a tenth of what is needed; with rounding, the limit's own interval reaches there."""
    _, verdict = judged(*halves(), reported)
    assert outcomes(verdict)["reported_over_significant"] == outcome


def test_halves_of_noise_warn():
    raw, _ = phantom()
    noise = [with_data(h, h.data - raw.data) for h in halves()]
    measurement, verdict = judged(*noise, None)
    assert outcomes(verdict) == {"groups_passed": "warning"}
    assert measurement.significant_resolution.value is None
    assert "nothing" in FscSignificance().summary(measurement)
    _, verdict = judged(*noise, 4.0)
    assert outcomes(verdict)["reported_over_significant"] == "warning"


def test_a_crossing_that_is_noise_is_no_pass():
    """In symmetry O (24) the shells at 0.143 hold so few coefficients that three need 0.19: 0.2 decades earlier.

    At 0.1 1/Å per decade that is 0.016 1/Å, 7 % of the resolution.
    """
    first, second = halves(width=0.1)
    known = Values(
        density_map=first, half_maps=HalfMaps(first, second), mask_distance=phantom()[1],
        reported_resolution=RESOLUTION, symmetry="O",
    )  # fmt: skip
    measurement, verdict = known.judged(FscSignificance())
    assert measurement.needed_at_crossing.value > 0.143
    assert measurement.significant_over_half_maps.value > 1.05
    # So few coefficients leave the limit itself unsure: its interval reaches to both sides of 1.05.
    assert outcomes(verdict)["significant_over_half_maps"] == "inconclusive"
    # And the same halves without it are fine.
    _, verdict = values(first, second).judged(FscSignificance())
    assert outcomes(verdict)["significant_over_half_maps"] == "pass"


def test_mirrored_halves_agree_on_the_envelope_only():
    first, second = halves()
    _, verdict = judged(first, with_data(second, second.data[::-1]))
    assert outcomes(verdict)["reported_over_significant"] == "warning"


def test_identical_halves_are_significant_everywhere():
    first, _ = halves()
    measurement, verdict = judged(first, replace(first))
    assert "Nyquist" in measurement.significant_resolution.note
    assert outcomes(verdict)["reported_over_significant"] == "pass"
    assert measurement.significant_over_half_maps.value is None


def test_everything_is_shown():
    check = FscSignificance()
    measurement, _ = judged(*halves())
    figures = {f.key: f for f in check.figures(measurement)}
    assert set(figures) == {"needed", "p_values"}
    for figure in figures.values():
        assert any(m.role == "reported" for m in figure.markers)
        kind, content = draw(figure, figure.arrays)
        assert kind == "svg" and len(content) > 1000
    curve, needed = figures["needed"].series
    assert curve.x == needed.x
    # Where the limit was read the two curves meet, to the width of a shell.
    gap = np.interp(1 / measurement.significant_resolution.value, curve.x, np.subtract(curve.y, needed.y))
    assert abs(gap) < 0.02
    assert min(figures["p_values"].series[0].y) > 0
    assert "2400 pairs" in check.method()
