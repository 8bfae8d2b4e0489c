"""The pairs on which false alarms are counted are sound, and what is reported of them is what they hold."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from veritem.numerics.distance import signed_distance
from veritem.numerics.fourier import rfftn
from veritem.numerics.masks import raised_cosine_edge
from veritem.numerics.shells import power, shell_means
from veritem.simulation.half_maps import first_crossing

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def rates() -> types.ModuleType:
    path = ROOT / "benchmarks" / "level_1_rates.py"
    spec = importlib.util.spec_from_file_location("veritem_benchmark_level_1_rates", path)
    assert spec is not None and spec.loader is not None
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("index", [0, 3, 5])
def test_what_is_reported_is_what_the_halves_hold(rates, index):
    simulated, said = rates.sound_pair(index, [])
    grid = simulated.half_1
    assert rates.FINEST_PIXEL <= grid.pixel_size <= rates.COARSEST_PIXEL
    assert rates.SMALLEST_BOX <= max(grid.shape) <= rates.LARGEST_BOX
    assert 2.5 <= simulated.truth.resolution <= 8.1
    assert rates.shows_one_body(simulated, said["contour_level"])
    # Measured by plain means in the mask that a depositor would take.
    distance = signed_distance(simulated.truth.molecule, grid.pixel_size, 40.0) - np.float32(rates.USUAL_GROWTH)
    mask = raised_cosine_edge(distance.astype(np.float32), rates.USUAL_EDGE)
    first, second = (rfftn(half.data * mask) for half in (simulated.half_1, simulated.half_2))
    cross, a, b = (
        shell_means(values, grid.shape)[0] for values in ((first * second.conj()).real, power(first), power(second))
    )
    reached = first_crossing(simulated.truth.frequency, np.r_[1.0, cross[1:] / np.sqrt(a * b)[1:]])
    # A shell of n coefficients, of which the mask leaves one in D² (about 3 to 10) independent, scatters at FSC 0.143
    # by sqrt((1 + 2 * 0.143) / 2 / n D²): with 500 to 5000 coefficients 0.02 to 0.06. The FSC falls by 0.1 over 0.02
    # times the cut-off at the steepest and 0.08 at the flattest, so a crossing is known to about a twentieth; the first
    # of several noisy crossings comes early rather than late.
    assert 1 / reached == pytest.approx(1 / said["resolution"], rel=0.15)


def test_a_number_gives_the_same_pair_again(rates):
    (one, said), (again, said_again) = rates.sound_pair(7, []), rates.sound_pair(7, [])
    assert said == said_again and (one.half_1.data == again.half_1.data).all()


def test_a_level_that_shows_crumbs_or_nothing_is_not_taken(rates):
    simulated, said = rates.sound_pair(0, [])
    assert not rates.shows_one_body(simulated, 0.5 * simulated.truth.noise_sigma)
    assert not rates.shows_one_body(simulated, float(simulated.density_map.data.max()) + 1.0)
    assert rates.shows_one_body(simulated, said["contour_level"])


def test_weighting_leaves_the_strong_shells_and_takes_the_weak_ones(rates):
    simulated, _ = rates.sound_pair(0, [])
    weighted = rates.weighted_by_fsc(simulated)
    before, after = (shell_means(power(rfftn(m.truth.signal.data)), m.half_1.shape)[0] for m in (simulated, weighted))
    fsc = simulated.truth.fsc
    strong, weak = (fsc > 0.99) & (before > 0), (fsc < 0.3) & (before > 1e-9 * before.max())
    # The weight's square is 2 FSC / (1 + FSC): above 0.995 and below 0.47.
    assert (after[strong] > 0.99 * before[strong]).all()
    assert (after[weak] < 0.48 * before[weak]).all() and weak.any()
    assert weighted.truth.noise_sigma < simulated.truth.noise_sigma
