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


@pytest.fixture(scope="session")
def small_map(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    """A sound simulated map on disk (80³ at 1.4 Å), and the options that describe it."""
    from veritem.simulation.half_maps import simulate_map
    from veritem.simulation.models import ideal_protein
    from veritem.submission.map_writer import write_map

    simulated = simulate_map(ideal_protein(residues=120, subunits=2, seed=3), 80, 1.4, resolution=3.6, seed=3)
    path = tmp_path_factory.mktemp("small-map") / "small.mrc"
    density_map = simulated.density_map
    write_map(path, density_map.data, density_map.pixel_size, density_map.origin)
    return path, {"contour_level": simulated.truth.contour_level, "resolution": 3.6}
