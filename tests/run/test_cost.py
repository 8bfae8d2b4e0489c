"""What a run takes is said before, and a lack of memory is told."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from veritem.run import cost


def test_prediction_grows_with_the_map_and_reads_well():
    small, large = cost.predict(128**3), cost.predict(400**3)
    assert small.seconds < large.seconds and small.gigabytes < large.gigabytes
    assert str(cost.Cost(12.4, 1.04)) == "about 12 s and 1.0 GB of memory"
    assert str(cost.Cost(150.0, 6.0)) == "about 2 min and 6.0 GB of memory"


@pytest.mark.parametrize(("free_gb", "told"), [(8.0, False), (1.0, True)])
def test_too_little_memory_is_told(free_gb, told, monkeypatch):
    monkeypatch.setattr(cost.psutil, "virtual_memory", lambda: SimpleNamespace(available=free_gb * 1e9))
    problem = cost.memory_problem(cost.Cost(60.0, 4.0))
    assert (problem is not None) is told
    if problem:
        assert "4.0 GB" in problem.found and "1.0 GB are free" in problem.found and problem.action
