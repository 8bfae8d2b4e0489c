"""0.e and 0.h are on the table and say why they do not answer."""

from __future__ import annotations

import pytest

from veritem.checks.level_0.handedness import Handedness
from veritem.checks.level_0.local_quality import LocalQuality
from veritem.errors import NotApplicable
from veritem.run.plan import make_plan


@pytest.mark.parametrize("check", [LocalQuality, Handedness])
def test_they_are_not_applicable_with_the_reason(check):
    given = {"density_map": object(), "reported_resolution": 3.0}
    (planned,) = make_plan([check], given).checks
    assert planned.reason == "no network installed"
    with pytest.raises(NotApplicable, match="no network installed"):
        check().measure()


@pytest.mark.parametrize("check", [LocalQuality, Handedness])
def test_their_pages_say_what_they_will_ask(check):
    assert check.question().endswith("?")
    assert "No network is installed" in check.method()
    assert check.misleads().startswith("Misleads when")
    assert all(reference.doi for reference in check.references)
