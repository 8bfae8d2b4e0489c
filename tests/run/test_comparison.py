"""Estimates beside each other: which are shown, and how agreement of local maps is measured."""

from __future__ import annotations

import numpy as np
import pytest

from veritem.results import CheckResult, DerivedMap, Outcome, Quantity
from veritem.run.comparison import compare_resolutions
from veritem.run.folder import OutputFolder


def check(code: str, value: float | None, estimates: str = "resolution", maps: tuple[DerivedMap, ...] = ()):
    quantity = Quantity(label="limit", value=value, unit="Å", interval=None, estimates=estimates)
    return CheckResult(
        code=code, title="T", level="1", question="?", outcome=Outcome.PASS, quantities={"limit": quantity}, maps=maps
    )


def local_map() -> DerivedMap:
    return DerivedMap(key="local_resolution_x", label="", file="", description="", colours_map=True)


def test_only_measured_estimates_of_the_resolution_are_shown():
    results = (check("1.a", 3.0), check("1.b", None), check("1.c", 4.0), check("0.d", -50.0, estimates=""))
    compared = compare_resolutions(results, 3.1, None)
    (figure,) = compared.figures
    assert [row.value for row in figure.rows] == [3.0, 4.0]
    assert figure.markers[0].value == 3.1
    assert compared.tables == ()


def test_one_estimate_alone_is_compared_with_nothing():
    assert compare_resolutions((check("1.a", 3.0), check("1.b", None)), 3.1, None) is None


@pytest.mark.parametrize(("sign", "expected"), [(1.0, 1.0), (-1.0, -1.0)])
def test_agreement_is_the_rank_correlation_of_the_stored_maps(tmp_path, sign, expected):
    """One map is a growing function of the other, or a falling one: the ranks agree, or are reversed, exactly."""
    folder = OutputFolder(tmp_path / "report")
    values = np.random.default_rng(0).uniform(3, 6, (30, 30, 30)).astype(np.float32)
    values[:5] = np.nan
    other = 4.5 + sign * (values - 4.5) ** 3
    folder.write_arrays("1.c", {"scene/local_resolution_x": values})
    folder.write_arrays("1.d", {"scene/local_resolution_x": other})
    results = (check("1.c", 4.0, maps=(local_map(),)), check("1.d", 4.2, maps=(local_map(),)))
    (table,) = compare_resolutions(results, None, folder).tables
    ((_, _, rank, difference, points),) = table.rows
    assert rank == pytest.approx(expected)
    assert points == 8 * 10 * 10  # every third of 30, without the unknown planes (0 and 3)
    assert difference == pytest.approx(float(np.nanmedian((other - values)[::3, ::3, ::3])), abs=0.006)
