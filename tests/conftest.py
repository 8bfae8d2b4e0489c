"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real maps and models: VERITEM_TEST_DATA, else ../shared/data. Skips where there is none."""
    folder = Path(os.environ.get("VERITEM_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "MANIFEST.md").is_file():
        pytest.skip(f"no real data at {folder}; set VERITEM_TEST_DATA to the folder that holds MANIFEST.md")
    return folder


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The long tier runs only when it is asked for: pytest -m full."""
    if "full" in (config.option.markexpr or ""):
        return
    kept = [item for item in items if "full" not in item.keywords]
    config.hook.pytest_deselected(items=[item for item in items if "full" in item.keywords])
    items[:] = kept
