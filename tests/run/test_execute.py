"""A check that crashes is an outcome; what was finished is not measured again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from veritem.checks.base import Check, Criterion, MapOutput
from veritem.derived.registry import Derived
from veritem.errors import Inconclusive, InputError, NotApplicable
from veritem.numerics.density_map import DensityMap
from veritem.results import DerivedMap, ImageFigure, Outcome, Panel, Quantity, score
from veritem.run.execute import Event, Runner
from veritem.run.folder import OutputFolder
from veritem.run.plan import Plan, PlannedCheck
from veritem.run.scene import colouring_on_view


@dataclass(frozen=True)
class Number:
    size: Quantity


class SizeCheck(Check):
    """Is it large enough?"""

    code, title, level = "t.a", "Size", "0"
    criteria = (Criterion("size", "At least 2", "two is company", "It is {value}, not {limit}.", at_least=2.0),)
    measured = 0

    def measure(self, doubled):
        type(self).measured += 1
        return Number(Quantity(label="Size", value=doubled))

    def summary(self, m):
        return f"It is {m.size.text()}."

    def figures(self, m):
        image = np.eye(3, dtype=np.float32)
        return [
            ImageFigure(
                key="eye",
                title="t",
                caption="c",
                alt_text="a",
                arrays={"i": image},
                panels=(Panel(label="", image="i"),),
                pixel_size=1.0,
            )
        ]


def crashing(error: Exception) -> Check:
    class Crashes(SizeCheck):
        """Does it survive?"""

        code = "t.b"

        def measure(self, doubled):
            raise error

    return Crashes()


def runner(checks, folder=None, value=1.0, doubled=lambda density_map: 2 * density_map, events=None):
    table = {"doubled": Derived("doubled", doubled, ("density_map",))}
    planned = tuple(PlannedCheck(c, "", ("density_map",)) for c in checks)
    return Runner(
        Plan(planned, table),
        {"density_map": value},
        {"density_map": str(value)},
        folder,
        (events.append if events is not None else lambda e: None),
    )


def test_measures_judges_and_reports():
    (result,) = runner([SizeCheck()]).run()
    assert result.outcome is Outcome.PASS
    assert result.summary == "It is 2.00."
    assert result.question == "Is it large enough?"


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (NotApplicable("too small"), Outcome.NOT_APPLICABLE),
        (Inconclusive("too noisy"), Outcome.INCONCLUSIVE),
        (ZeroDivisionError("division by zero"), Outcome.FAILED),
        (MemoryError("out of memory"), Outcome.FAILED),
    ],
)
def test_what_a_check_raises_is_its_outcome_and_stops_no_other(error, outcome):
    crashed, sound = runner([crashing(error), SizeCheck()]).run()
    assert crashed.outcome is outcome
    assert sound.outcome is Outcome.PASS
    assert str(error) in (crashed.error if outcome is Outcome.FAILED else crashed.reason)


def test_a_crash_stays_in_the_denominator():
    results = tuple(runner([crashing(ValueError("broken")), SizeCheck()]).run())
    counted = score(results)
    assert (counted.passed, counted.evaluable, counted.failed) == (1, 2, 1)


def test_a_broken_derived_value_takes_down_what_needs_it_and_is_tried_once():
    calls = []

    def broken(density_map):
        calls.append(1)
        raise NotApplicable("the map is masked")

    results = runner([SizeCheck(), SizeCheck()], doubled=broken).run()
    assert {r.reason for r in results} == {"the map is masked"}
    assert len(calls) == 1


def test_a_stopped_run_goes_on_where_it_stopped(tmp_path):
    folder = OutputFolder(tmp_path / "out")
    SizeCheck.measured = 0
    runner([SizeCheck()], folder).run()
    events: list[Event] = []
    (again,) = runner([SizeCheck()], folder, events=events).run()
    assert SizeCheck.measured == 1
    assert [e.kind for e in events] == ["check reused"]
    assert again.figures[0].data_file == "data/t.a.npz"


def test_another_input_is_measured_again(tmp_path):
    folder = OutputFolder(tmp_path / "out")
    SizeCheck.measured = 0
    runner([SizeCheck()], folder).run()
    (again,) = runner([SizeCheck()], folder, value=0.5).run()
    assert SizeCheck.measured == 2
    assert again.outcome is Outcome.WARNING


def test_a_lost_data_file_is_measured_again(tmp_path):
    folder = OutputFolder(tmp_path / "out")
    SizeCheck.measured = 0
    runner([SizeCheck()], folder).run()
    (tmp_path / "out" / "data" / "t.a.npz").unlink()
    runner([SizeCheck()], folder).run()
    assert SizeCheck.measured == 2


def test_a_failure_is_tried_again(tmp_path):
    folder = OutputFolder(tmp_path / "out")
    (first,) = runner([crashing(OSError("disk full"))], folder).run()
    events: list[Event] = []
    runner([crashing(OSError("disk full"))], folder, events=events).run()
    assert first.outcome is Outcome.FAILED
    assert [e.kind for e in events if e.kind.startswith("check")] == ["check started", "check finished"]


def test_a_folder_with_somebody_elses_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="not empty"):
        OutputFolder(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_interrupted_write_leaves_nothing_half_written(tmp_path):
    folder = OutputFolder(tmp_path / "out")

    class Unwritable:
        def __array__(self, *args, **kwargs):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folder.write_arrays("t.a", {"x": Unwritable()})
    assert list((tmp_path / "out" / "data").iterdir()) == []


def test_a_colouring_lands_where_the_view_is():
    """A plane x (Å) sampled on a grid of its own reads back as x on the view: linear interpolation is exact."""
    x = 10.0 + 0.7 * np.arange(40, dtype=np.float32)
    data = np.broadcast_to(x, (30, 30, 40)).copy()
    data[:5] = np.nan
    output = MapOutput(DerivedMap(key="k", label="l", file="", description=""), data, 0.7, (10.0, 0.0, 0.0))
    view = DensityMap(np.zeros((8, 8, 8), np.float32), 1.5, (12.0, 4.5, 4.5))
    colours = colouring_on_view(output, view)
    assert np.allclose(colours[2, 2], 12.0 + 1.5 * np.arange(8), atol=1e-4)
    low = DensityMap(np.zeros((2, 2, 2), np.float32), 1.0, (12.0, 4.5, 0.5))
    assert np.isnan(colouring_on_view(output, low)).all()
