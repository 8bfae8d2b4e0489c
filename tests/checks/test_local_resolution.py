"""The frame of the local-resolution checks, fed with local values that are known."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from tests.checks.by_name import uncut
from veritem.checks.base import judge
from veritem.checks.level_1.local_resolution import LocalResolutionCheck, local_resolution_criteria
from veritem.derived.half_maps import HalfPart
from veritem.derived.local_resolution import LocalResolution
from veritem.derived.masks import ContourLevel
from veritem.errors import Inconclusive
from veritem.numerics.density_map import DensityMap

PIXEL, SIZE, WINDOW = 2.0, 48, 6.0
SPREAD = 0.3  # Å, of the planted local values


class Planted(LocalResolutionCheck):
    """Planted?"""

    code, title = "1.t", "Planted"
    criteria: ClassVar = local_resolution_criteria("local resolution", 1.0, "a test")


def part() -> HalfPart:
    """A ball of 84 Å in a box of 96 Å."""
    axis = (np.arange(SIZE) - SIZE // 2) * PIXEL
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis**2)
    depth = (42.0 - radius).astype(np.float32)
    density = DensityMap(np.maximum(depth, 0).astype(np.float32), PIXEL)
    empty = np.zeros((SIZE, SIZE, SIZE // 2 + 1), np.complex64)
    return HalfPart(empty, empty, density, depth, np.flatnonzero(depth > 0), 4.0, uncut(density))


def local(mean: float, rng: np.random.Generator, missing: float = 0.0) -> LocalResolution:
    """Values of a known mean and spread, correlated as by the window; a share of the ball without any."""
    where = part()
    field = gaussian_filter(rng.standard_normal((SIZE,) * 3), WINDOW / PIXEL, mode="wrap")
    values = (mean + SPREAD * field / field.std()).ravel()[where.index].astype(np.float32)
    z = np.unravel_index(where.index, where.shape)[0]
    values[z < np.quantile(z, missing)] = np.nan
    return LocalResolution(values, where, WINDOW, 2.0, 15.0, 0.002)


def measured(values: LocalResolution, reported: float | None):
    check = Planted()
    level = ContourLevel(1.0, "given", "given")
    measurement = check.measured(values, reported, values.part.density, level, seed=0)
    return check, measurement, judge(check, measurement)


def test_quantiles_and_their_intervals_hold_the_truth():
    """The mean of 20 fields is known; a 95 % interval misses it in at most 4 of 20 (binomial, p = 0.003)."""
    missed_median = missed_finest = 0
    for seed in range(20):
        _, m, _ = measured(local(4.0, np.random.default_rng(seed)), 4.0)
        low, high = m.median.interval
        missed_median += not low <= 4.0 <= high
        low, high = m.finest.interval
        # The 5 % quantile of a Gaussian of this spread (each field is scaled to it exactly over the box).
        missed_finest += not low <= 4.0 - 1.645 * SPREAD <= high
    assert missed_median <= 4
    assert missed_finest <= 4


@pytest.mark.parametrize(
    ("reported", "outcome"),
    # The finest 5 % begin at 4.0 - 1.645 x 0.3 = 3.5 Å; their interval is about ±0.3 Å.
    [(4.0, "pass"), (2.8, "warning"), (3.5, "inconclusive")],
)
def test_the_reported_resolution_is_compared_with_the_finest_values(reported, outcome):
    _, m, verdict = measured(local(4.0, np.random.default_rng(1)), reported)
    by_name = {c.quantity: c.outcome.value for c in verdict.criteria}
    assert by_name["finest_over_reported"] == outcome
    assert m.finest_over_reported.value == pytest.approx(m.finest.value / reported)


def test_without_a_reported_resolution_nothing_is_compared():
    _, m, verdict = measured(local(4.0, np.random.default_rng(1)), None)
    assert [c.quantity for c in verdict.criteria] == ["determinable"]
    assert m.reported_rank.value is None
    assert any("No resolution was reported" in c for c in m.caveats)


def test_a_particle_that_is_mostly_undeterminable_warns():
    _, m, verdict = measured(local(4.0, np.random.default_rng(1), missing=0.5), 4.0)
    # Half of the voxels by construction; whole planes are taken, the thickest holds 4 %.
    assert 46 <= m.determinable.value <= 54
    assert {c.quantity for c in verdict.criteria if c.outcome == "warning"} == {"determinable"}


def test_nothing_determinable_gives_no_numbers_and_a_warning():
    values = local(4.0, np.random.default_rng(1), missing=0.0)
    values.resolution[:] = np.nan
    check, m, verdict = measured(values, 4.0)
    assert m.median.value is None and verdict.outcome == "warning"
    assert check.figures(m) == [] and "too little" in check.summary(m)


def test_a_particle_smaller_than_eight_cubes_is_undecided():
    values = local(4.0, np.random.default_rng(1))
    wide = LocalResolution(values.resolution, values.part, 30.0, 2.0, 15.0)
    with pytest.raises(Inconclusive, match="cubes"):
        measured(wide, 4.0)
    values.resolution[:] = np.nan
    with pytest.raises(Inconclusive, match="cubes"):
        measured(wide, 4.0)


def test_values_that_are_all_alike_lie_inside_their_interval():
    values = local(4.0, np.random.default_rng(1))
    values.resolution[:] = 3.3
    _, m, _ = measured(values, 4.0)
    for quantity in (m.median, m.finest, m.coarsest):
        low, high = quantity.interval
        assert low <= quantity.value <= high


def test_figures_and_map_hold_the_values_where_they_belong():
    values = local(4.0, np.random.default_rng(1))
    check, m, _ = measured(values, 4.0)
    figures = {f.key: f for f in check.figures(m)}
    assert set(figures) == {"histogram", "slices", "surface"}
    assert any(marker.role == "reported" and marker.value == 4.0 for marker in figures["histogram"].markers)
    assert sum(figures["histogram"].counts) == pytest.approx(values.resolution.size, rel=0.006)  # 0.2 % at either end
    (output,) = check.maps(m)
    assert np.array_equal(output.data.ravel()[values.part.index], values.resolution)
    assert np.isnan(np.delete(output.data.ravel(), values.part.index)).all()
