"""A rendered example, made once for all tests of the report."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report import example
from veritem.report.render import render
from veritem.results import ValidationResult


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> tuple[ValidationResult, Path]:
    """The example result and the folder with its report. Tests read it and change nothing."""
    folder = tmp_path_factory.mktemp("report")
    result = example.example_result(folder)
    (folder / "maps" / "0.f_local_b.mrc").write_bytes(b"stand-in: the report links to it and never reads it")
    (folder / "results.json").write_text(result.model_dump_json())
    render(result, folder)
    return result, folder
