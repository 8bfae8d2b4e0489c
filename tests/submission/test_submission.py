from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from tests.submission.written_maps import blob, mrc
from veritem.derived.registry import INPUTS
from veritem.errors import InputError
from veritem.results import Severity
from veritem.submission import Submission, receive
from veritem.submission.map_writer import write_map
from veritem.submission.problems import PROBLEMS, ProblemList, problems_page

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def map_file(tmp_path: Path) -> Path:
    """A Gaussian of height 100 and sigma 5 voxels in a box of 40, at 2 Å."""
    path = tmp_path / "map.mrc"
    path.write_bytes(mrc(blob((40, 40, 40), (20, 20, 20), 5.0)))
    return path


def refusal(**options) -> InputError:
    with pytest.raises(InputError) as caught:
        receive(Submission.from_options(**options))
    return caught.value


# --- describing ----------------------------------------------------------------------------------------------


def test_options_that_are_none_are_not_given(map_file):
    submission = Submission.from_options(map=str(map_file), resolution=None, seed=None, title=None)
    assert submission == Submission(map=map_file)
    assert (submission.symmetry, submission.seed, submission.title) == ("C1", 0, "")


def test_numbers_of_numpy_are_numbers(map_file):
    submission = Submission.from_options(map=map_file, resolution=np.float32(3.5), seed=np.int64(7))
    assert submission.resolution == 3.5 and submission.seed == 7


def test_a_submission_does_not_change(map_file):
    with pytest.raises(ValidationError, match="frozen"):
        Submission(map=map_file).resolution = 3.0


def test_every_mistake_is_told_at_once():
    with pytest.raises(InputError) as caught:
        Submission.from_options(
            resolutoin=3.0,
            pixel_size=-1.0,
            symmetry="Z9",
            seed=1.5,
            contour_level=float("nan"),
            molecular_weight_kda=True,
        )
    problems = {problem.field: problem for problem in caught.value.problems}
    assert set(problems) == {
        "resolutoin", "map", "pixel_size", "symmetry", "seed", "contour_level", "molecular_weight_kda"
    }  # fmt: skip
    assert {problem.code for problem in problems.values()} == {"IN-28"}
    assert problems["resolutoin"].action == "Did you mean 'resolution'?"
    assert "-1.0" in problems["pixel_size"].found and "greater than 0" in problems["pixel_size"].expected
    assert "C1, C2" in problems["symmetry"].expected
    message = str(caught.value)
    assert "7 errors" in message and len(message.splitlines()) == 8


@pytest.mark.parametrize(
    "name, meant",
    [("pixel-size", "pixel_size"), ("contour", "contour_level"), ("Resolution", "resolution"), ("mass_kda", None)],
)
def test_unknown_names_get_a_suggestion(map_file, name, meant):
    problem = refusal(map=map_file, **{name: 1.0}).problems[0]
    if meant:
        assert problem.action == f"Did you mean '{meant}'?"
    assert "pixel_size" in problem.expected


@pytest.mark.parametrize("group, stored", [("c1", "C1"), (" D7 ", "D7"), ("o", "O"), ("i2", "I2"), ("C12", "C12")])
def test_point_groups(map_file, group, stored):
    assert Submission.from_options(map=map_file, symmetry=group).symmetry == stored


@pytest.mark.parametrize("group", ["", "C0", "C", "I5", "P212121", "C1 C2"])
def test_what_is_no_point_group(map_file, group):
    assert [problem.field for problem in refusal(map=map_file, symmetry=group).problems] == ["symmetry"]


def test_file_with_paths_relative_to_it(map_file, monkeypatch):
    monkeypatch.chdir("/")
    entry = map_file.parent / "entry.toml"
    entry.write_text('map = "map.mrc"\ntitle = "β-galactosidase"\nresolution = 8\nexclude = ["0.h"]\n')
    submission = Submission.from_file(entry)
    assert submission.map == map_file and submission.resolution == 8.0 and submission.exclude == ("0.h",)
    assert receive(submission).density_map.shape == (40, 40, 40)


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (b"map = emd.map", "IN-28", "line 1"),
        (b"\xff\xfe", "IN-28", "not TOML"),
        (b'map = "map.mrc"\nresolution = "3.1"\n', "IN-28", "'3.1'"),
        (b'map = "map.mrc"\n[options]\nseed = 1\n', "IN-28", "'options'"),
        (b'map = "map.mrc"\ninclude = "0.a"\n', "IN-28", "'0.a'"),
        (b'map = ["map.mrc"]\n', "IN-28", "map is"),
        (b"", "IN-28", "No map"),
    ],
)
def test_files_that_are_not_understood(map_file, content, code, words):
    entry = map_file.parent / "entry.toml"
    entry.write_bytes(content)
    with pytest.raises(InputError, match="cannot be used: 1 error") as caught:
        Submission.from_file(entry)
    assert caught.value.problems[0].code == code
    assert words in str(caught.value)


def test_options_win_over_the_file(map_file, monkeypatch):
    folder = map_file.parent / "entries"
    folder.mkdir()
    (folder / "entry.toml").write_text('map = "no_such.mrc"\nresolution = 8\nsymmetry = "D7"\nseeed = 1\n')
    monkeypatch.chdir(map_file.parent)
    with pytest.raises(InputError) as caught:
        Submission.from_file("entries/entry.toml", map="map.mrc", resolution=-1.0, symmetry=None)
    problems = {problem.field: problem for problem in caught.value.problems}
    assert "the options" in problems["resolution"].action and "'seeed' in entry.toml" in problems["seeed"].found
    (folder / "entry.toml").write_text('map = "no_such.mrc"\nresolution = 8\nsymmetry = "D7"\n')
    submission = Submission.from_file("entries/entry.toml", map="map.mrc", resolution=5.0, symmetry=None)
    assert (submission.resolution, submission.symmetry) == (5.0, "D7")
    assert receive(submission).density_map.pixel_size == 2.0, "a path among the options is relative to where we are"


def test_the_described_entry_of_the_documentation_is_understood(tmp_path):
    page = (ROOT / "docs/how-to/describe-an-entry.md").read_text("utf-8")
    (block,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "entry.toml").write_text(block, "utf-8")
    submission = Submission.from_file(tmp_path / "entry.toml")
    for name in Submission.model_fields:
        assert f"`{name}`" in page, f"the page does not explain {name}"
    assert submission.map == tmp_path / "maps/emd_1234.map.gz"


def test_missing_description_suggests_a_near_name(map_file):
    (map_file.parent / "entry.toml").write_text("")
    with pytest.raises(InputError, match=r"Did you mean entry\.toml\?"):
        Submission.from_file(map_file.parent / "entri.toml")
    with pytest.raises(InputError, match="cannot be read"):
        Submission.from_file(map_file.parent)


# --- receiving -----------------------------------------------------------------------------------------------


def test_values_are_the_inputs_of_the_derived_values(map_file):
    received = receive(
        Submission.from_options(map=map_file, contour_level=10.0, resolution=6.0, molecular_weight_kda=50.0, seed=3)
    )
    values = received.values()
    # How many cores there are is the run's to say, not the submitter's.
    assert set(values) == set(received.identities()) == set(INPUTS) - {"threads", "device"}
    assert values["density_map"] is received.density_map
    assert values["given_contour_level"] == 10.0 and values["reported_resolution"] == 6.0
    assert values["molecular_weight"] == 50_000.0, "Da"
    assert values["seed"] == 3
    assert received.problems == () and [record.role for record in received.inputs] == ["map"]


def test_what_was_not_given_is_none(map_file):
    values = receive(Submission(map=map_file)).values()
    for name in ("given_contour_level", "reported_resolution", "molecular_weight"):
        assert values[name] is None


def test_identities_change_with_the_inputs_and_only_then(map_file, tmp_path):
    base = receive(Submission(map=map_file)).identities()
    copy = tmp_path / "another_name.mrc"
    copy.write_bytes(map_file.read_bytes())
    assert receive(Submission(map=copy)).identities() == base

    def changed(**options: float) -> set[str]:
        other = receive(Submission(map=map_file, **options)).identities()
        return {name for name in base if base[name] != other[name]}

    assert changed(resolution=6.0) == {"reported_resolution"}
    assert changed(contour_level=10.0) == {"given_contour_level"}
    assert changed(pixel_size=2.001) == {"density_map"}
    assert changed(seed=1) == {"seed"}
    copy.write_bytes(mrc(blob((40, 40, 40), (20, 20, 21), 5.0)))
    assert receive(Submission(map=copy)).identities()["density_map"] != base["density_map"]


@pytest.mark.parametrize("level", [-1.0, 0.0, 100.0, 1e6])
def test_contour_level_outside_the_map(map_file, level):
    """The values go from about 0 to 100: the smallest is above 0, the largest is 100."""
    (problem,) = refusal(map=map_file, contour_level=level).problems
    assert (problem.code, problem.severity, problem.field) == ("IN-11", Severity.ERROR, "contour_level")
    assert f"{level:.6g}" in problem.found and "100" in problem.found and "standard deviations" in problem.action


@pytest.mark.parametrize(
    ("fraction", "warned"), [(0.00075, True), (0.00125, False), (0.3, False), (0.59, False), (0.61, True)]
)
def test_share_of_the_box_that_the_contour_selects(tmp_path, fraction, warned):
    """Values 0, 1, ..., n-1 shuffled: the level that selects a share is known to one voxel."""
    values = np.random.default_rng(0).permutation(40**3).astype(np.float32).reshape(40, 40, 40)
    path = tmp_path / "map.mrc"
    path.write_bytes(mrc(values))
    level = 40**3 * (1 - fraction)
    problems = receive(Submission(map=path, contour_level=level)).problems
    assert [problem.code for problem in problems] == (["IN-11"] if warned else [])
    if warned:
        assert f"{100 * fraction:.3g} %" in problems[0].found


@pytest.mark.parametrize(
    ("resolution", "words"), [(3.9, "finer"), (4.0, None), (12.0, None), (20.0, None), (20.5, "coarser")]
)
def test_resolution_against_grid_and_box(map_file, resolution, words):
    """2 Å voxels hold 4 Å; a box of 80 Å holds four elements of 20 Å."""
    problems = receive(Submission(map=map_file, resolution=resolution)).problems
    assert [problem.code for problem in problems] == (["IN-12"] if words else [])
    assert not words or words in problems[0].found


@pytest.mark.parametrize("weight, warned", [(0.465, True), (1.0, False), (400.0, False), (465000.0, True)])
def test_molecular_weight_in_the_wrong_unit(map_file, weight, warned):
    """80³ Å³ by 1.21 Å³/Da is 423 kDa."""
    problems = receive(Submission(map=map_file, molecular_weight_kda=weight)).problems
    assert [problem.code for problem in problems] == (["IN-29"] if warned else [])
    assert not warned or "423.1 kDa" in problems[0].expected


def test_all_problems_of_a_refusal_are_in_it(map_file):
    error = refusal(map=map_file, contour_level=200.0, resolution=1.0, pixel_size=2.1)
    assert {(p.code, p.severity) for p in error.problems} == {
        ("IN-11", "error"), ("IN-07", "warning"), ("IN-12", "warning")
    }  # fmt: skip
    message = str(error)
    assert message.splitlines()[0] == "The submission cannot be used: 1 error and 2 more remarks."
    assert message.splitlines()[1].startswith("  error IN-11 (contour_level): The contour level 200")


@pytest.mark.parametrize(("edge", "values"), [(0, 1.0), (6, 1.0), (3, 255.0)])
def test_a_mask_in_place_of_a_map_is_told(edge, values, tmp_path):
    """A ball of radius 20 voxels with a soft edge of 0, 3 or 6 voxels is a mask; the density of a ball with a
    bump in its middle is none."""
    z, y, x = np.ogrid[:64, :64, :64]
    distance = np.sqrt((z - 32.0) ** 2 + (y - 32) ** 2 + (x - 32) ** 2) - 20
    mask = np.clip(0.5 * (1 + np.cos(np.pi * np.clip(distance / max(edge, 1e-6), 0, 1))), 0, 1) * values
    density = np.exp(-((distance + 20) ** 2) / 200) + 0.05 * np.random.default_rng(0).standard_normal((64, 64, 64))
    for name, data, told in (("mask", mask, True), ("density", density, False)):
        path = tmp_path / f"{name}.mrc"
        write_map(path, data.astype(np.float32), 1.5, (0.0, 0.0, 0.0))
        codes = {p.code for p in receive(Submission.from_options(map=path)).problems}
        assert ("IN-33" in codes) is told, name


def test_missing_map_is_refused(tmp_path):
    (problem,) = refusal(map=tmp_path / "map.mrc").problems
    assert (problem.code, problem.field) == ("IN-22", "map")


# --- the table -----------------------------------------------------------------------------------------------


def test_the_page_is_made_from_the_table():
    page = (ROOT / "docs/reference/input-problems.md").read_text("utf-8")
    assert page == problems_page(), "write problems_page() of veritem.submission.problems into it"


def test_every_code_of_the_table_is_used_with_its_severities_and_no_other():
    """A code that nothing reports, or that is reported in a severity that its page does not name, misleads."""
    sources = "\n".join(
        path.read_text("utf-8")
        for folder in ("submission", "run")
        for path in (ROOT / "src/veritem" / folder).glob("*.py")
    )
    used = {}
    for severity, code in re.findall(r"\.(error|warning|information)\(\s*\"(IN-\d\d)\"", sources):
        used.setdefault(code, set()).add(severity)
    # _header picks the code by the reason, which the pattern does not see.
    used["IN-01"].add("error")
    assert {code: set(map(str, kind.severities)) for code, kind in PROBLEMS.items()} == used


def test_a_problem_outside_the_table_is_a_mistake_of_ours():
    with pytest.raises(ValueError, match="never of severity"):
        ProblemList("map").error("IN-05", "a", "b", "c")
    with pytest.raises(KeyError):
        ProblemList("map").error("IN-99", "a", "b", "c")
