"""The Python door: typed results, nothing written unless asked, everything written when asked."""

from __future__ import annotations

import hashlib
import json

import mrcfile
import numpy as np
import pytest

import veritem
from veritem.results import SCHEMA_VERSION, ValidationResult


@pytest.fixture(scope="module")
def report(small_map, tmp_path_factory):
    path, options = small_map
    folder = tmp_path_factory.mktemp("api") / "report"
    return veritem.validate(path, **options, output=folder), folder


def test_every_check_of_the_table_answers(report):
    result, _ = report
    assert [c.code for c in result.checks] == [page.code for page in veritem.list_checks()]
    assert not [c.error for c in result.checks if c.outcome is veritem.Outcome.FAILED]
    assert result.grade == "0"


def test_what_was_written_is_what_was_returned(report):
    result, folder = report
    stored = ValidationResult.model_validate_json((folder / "results.json").read_text())
    assert stored == result
    assert json.loads((folder / "results.json").read_text())["schema_version"] == SCHEMA_VERSION


def test_results_name_only_files_that_are_there(report):
    result, folder = report
    files = [f.data_file for c in result.checks for f in c.figures if f.data_file]
    files += [f.data_file for f in result.overview] + [result.scene.data_file]
    files += [m.file for c in result.checks for m in c.maps]
    assert files and all((folder / name).is_file() for name in files)
    assert {p.name for p in folder.iterdir()} >= {"report.html", "report.pdf", "results.json", "maps", "chimerax"}
    assert not list(folder.rglob("*.part"))


def test_figures_find_their_arrays(report):
    result, folder = report
    for check in result.checks:
        for figure in check.figures:
            names = {p.image for p in getattr(figure, "panels", ())} | (
                {"volume"} if figure.kind == "surface" else set()
            )
            if names:
                with np.load(folder / figure.data_file) as arrays:
                    assert {f"{figure.key}/{name}" for name in names} <= set(arrays)


def test_derived_maps_are_in_the_frame_of_the_submitted_map(report, small_map):
    """What was measured inside the particle lies where the particle lies, whatever grid it is on."""
    _, folder = report
    centres = {}
    for path in (folder / "maps").glob("*.mrc"):
        with mrcfile.open(path) as mrc:
            assert np.isfinite(mrc.data).all()
            held = np.argwhere(mrc.data != 0)[:, ::-1]
            centres[path.stem] = np.array(mrc.header.origin.item()) + held.mean(axis=0) * float(mrc.voxel_size.x)
    assert {"0.b_hard_mask", "0.b_soft_mask", "0.f_local_b_factor", "0.g_local_occupancy"} <= set(centres)
    for name in ("0.b_soft_mask", "0.f_local_b_factor", "0.g_local_occupancy"):
        # A soft edge or a window is not quite symmetric about the particle: a pixel of the coarsest grid.
        assert np.abs(centres[name] - centres["0.b_hard_mask"]).max() < 1.5, name
    with mrcfile.open(folder / "maps" / "0.d_sharpened.mrc") as sharpened, mrcfile.open(small_map[0]) as submitted:
        assert np.corrcoef(sharpened.data.ravel(), submitted.data.ravel())[0, 1] > 0.5
        assert sharpened.header.origin.item() == submitted.header.origin.item()


def test_the_input_is_described_by_its_hash(report, small_map):
    result, _ = report
    assert result.inputs[0].sha256 == hashlib.sha256(small_map[0].read_bytes()).hexdigest()


def test_a_second_run_measures_nothing_again(report, small_map):
    first, folder = report
    events = []
    path, options = small_map
    again = veritem.validate(path, **options, output=folder, formats=(), progress=events.append)
    assert {e.kind for e in events if e.name != "report"} <= {"planned", "check reused", "computing"}
    assert {e.name for e in events if e.kind == "computing"} <= {"contour_level", "view_map"}
    assert [c.model_dump() for c in again.checks] == [c.model_dump() for c in first.checks]


def test_the_same_seed_gives_the_same_numbers(small_map):
    path, options = small_map
    one, two = (veritem.validate(path, **options, seed=5, threads=threads) for threads in (1, 2))
    for a, b in zip(one.checks, two.checks, strict=True):
        assert {k: q.text() for k, q in a.quantities.items()} == {k: q.text() for k, q in b.quantities.items()}, a.code


def test_without_output_nothing_is_written_and_figures_keep_their_arrays(small_map, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, options = small_map
    result = veritem.validate(path, **options, include=("0.a",))
    assert list(tmp_path.iterdir()) == []
    assert all(f.arrays for f in result.overview)


def test_without_resolution_the_checks_that_need_it_say_so(small_map):
    path, options = small_map
    result = veritem.validate(path, contour_level=options["contour_level"], include=("0.d", "0.f"))
    assert {c.outcome for c in result.checks} == {veritem.Outcome.NOT_APPLICABLE}
    assert all("a reported resolution" in c.reason for c in result.checks)


def test_an_estimated_level_is_said_to_be_estimated(small_map):
    result = veritem.validate(small_map[0], include=("0.a",))
    assert result.parameters["contour_level"]["source"] == "estimated"
    # Where the surface is, not how well: the level encloses between half and twice the true volume.
    mass_kda = result.facts["enclosed_mass"].value
    assert 0.5 < mass_kda / (240 * 0.11) < 2.0


def test_an_unknown_check_or_format_is_told_before_anything_runs(small_map, tmp_path):
    with pytest.raises(veritem.InputError, match=r"no check 9\.z"):
        veritem.validate(small_map[0], include=("9.z",), output=tmp_path / "o")
    with pytest.raises(veritem.InputError, match="no report format docx"):
        veritem.validate(small_map[0], formats=("docx",), output=tmp_path / "o")
    assert not (tmp_path / "o").exists()


def test_bad_input_leaves_nothing_behind(tmp_path):
    broken = tmp_path / "broken.mrc"
    broken.write_bytes(b"\0" * 500)
    with pytest.raises(veritem.InputError) as caught:
        veritem.validate(broken, resolution=-1.0, output=tmp_path / "out")
    assert caught.value.problems
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken.mrc"]


def test_explain_gives_the_page():
    page = veritem.explain("0.c")
    assert page.question.endswith("?") and page.criteria and page.references
