"""The command line: exit codes, messages, streams, and what a killed run leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest


def veritem(*arguments: str, cwd=None, env=None) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "veritem", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | {"COLUMNS": "100"} | (env or {}),
    )


def options(small_map) -> list[str]:
    path, given = small_map
    return ["--map", path, "--contour-level", given["contour_level"], "--resolution", given["resolution"]]


def test_a_run_shows_each_check_and_ends_with_a_table(small_map, tmp_path):
    run = veritem("validate", *options(small_map), "-o", tmp_path / "report")
    result = json.loads((tmp_path / "report" / "results.json").read_text())
    warned = any(c["outcome"] == "warning" for c in result["checks"])
    assert run.returncode == (1 if warned else 0)
    for check in result["checks"]:
        assert check["code"] in run.stdout and check["code"] in run.stderr
    assert "report.html" in run.stdout
    assert "Traceback" not in run.stderr


def test_exit_zero_and_quiet(small_map, tmp_path):
    path, given = small_map
    # A level inside the noise makes 0.b warn.
    run = veritem(
        "validate", "--map", path, "--contour-level", 0.05 * given["contour_level"], "--check", "0.b",
        "-o", tmp_path / "r", "--exit-zero", "--quiet", "--format", "html",
    )  # fmt: skip
    result = json.loads((tmp_path / "r" / "results.json").read_text())
    assert result["checks"][0]["outcome"] == "warning"
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert not (tmp_path / "r" / "report.pdf").exists()


def test_a_warning_is_exit_code_1(small_map, tmp_path):
    path, given = small_map
    run = veritem(
        "validate", "--map", path, "--contour-level", 0.05 * given["contour_level"], "--check", "0.b",
        "-o", tmp_path / "r", "--format", "html",
    )  # fmt: skip
    assert run.returncode == 1


def test_all_problems_are_told_at_once_without_traceback(tmp_path):
    (tmp_path / "text.mrc").write_text("this is no map, and too short for one")
    run = veritem("validate", "--map", "text.mrc", "--resolution", "3.0", "--check", "0.a", cwd=tmp_path)
    assert run.returncode == 2
    assert "text.mrc" in run.stderr and "Traceback" not in run.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["text.mrc"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["validate"], "map"),
        (["validate", "--map", "nothing-here.mrc"], "nothing-here.mrc"),
        (["validate", "--entry", "nothing.toml"], "nothing.toml"),
        (["explain", "7.q"], "7.q"),
        (["report", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_get_one_message(arguments, said, tmp_path):
    run = veritem(*arguments, cwd=tmp_path)
    assert run.returncode == 2
    assert said in run.stderr and "Traceback" not in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_somebody_elses_folder_is_not_written_to(small_map, tmp_path):
    (tmp_path / "report.html").write_text("mine")
    run = veritem("validate", *options(small_map), "--check", "0.a", "-o", tmp_path)
    assert run.returncode == 2
    assert (tmp_path / "report.html").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_crashed_check_is_exit_code_3_and_the_others_stand(small_map, tmp_path):
    code = (
        "import sys; from veritem.checks.level_0.mask import Mask\n"
        "def crash(self, density_map): raise RuntimeError('planted')\n"
        "Mask.measure = crash\n"
        "from veritem.cli import main; main()"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, "validate", *map(str, options(small_map)), "--check", "0.a", "--check", "0.b",
         "-o", tmp_path / "r"],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert run.returncode == 3
    outcomes = {c["code"]: c for c in json.loads((tmp_path / "r" / "results.json").read_text())["checks"]}
    assert outcomes["0.b"]["outcome"] == "failed" and "planted" in outcomes["0.b"]["error"]
    assert outcomes["0.a"]["outcome"] != "failed"
    assert (tmp_path / "r" / "report.html").exists()


@pytest.mark.parametrize("broken", ["contour_level", "view_map", "hard_mask", "noise_region", "overview"])
def test_no_broken_part_ends_a_run(broken, small_map, tmp_path):
    """Whatever derived value crashes, the report is written and says so; what does not need it still stands."""
    code = (
        "import sys, dataclasses\n"
        "from veritem.derived.registry import DERIVED, load_all\n"
        "import veritem.run.validate as validate\n"
        "def crash(*_, **__): raise RuntimeError('planted')\n"
        "load_all()\n"
        f"name = {broken!r}\n"
        "if name in DERIVED: DERIVED[name] = dataclasses.replace(DERIVED[name], function=crash)\n"
        "else: setattr(validate, name, crash)\n"
        "from veritem.cli import main; main()"
    )
    arguments = ["validate", *map(str, options(small_map)), "--check", "0.a", "--check", "0.b", "-o", tmp_path / "r"]
    run = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    result = json.loads((tmp_path / "r" / "results.json").read_text())
    failed = [c["code"] for c in result["checks"] if c["outcome"] == "failed"]
    assert failed == ([] if broken in ("view_map", "overview") else ["0.a", "0.b"])
    assert run.returncode == (3 if failed else 1 if "warning" in {c["outcome"] for c in result["checks"]} else 0)
    assert "planted" in json.dumps(result)
    assert (tmp_path / "r" / "report.html").exists() and (tmp_path / "r" / "report.pdf").exists()


def test_an_error_of_our_own_has_an_exit_code_of_its_own(small_map, tmp_path):
    code = (
        "import veritem.run.validate as v\n"
        "def crash(*_, **__): raise RuntimeError('planted')\n"
        "v.make_plan = crash\n"
        "from veritem.cli import main; main()"
    )
    arguments = ["validate", *map(str, options(small_map)), "-o", tmp_path / "r"]
    run = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert run.returncode == 4
    assert "planted" in run.stderr and "Traceback" not in run.stderr


def test_a_folder_used_again_holds_this_run_alone(small_map, tmp_path):
    path, _ = small_map
    veritem("validate", *options(small_map), "--check", "0.b", "--check", "0.d", "-o", tmp_path / "r")
    assert (tmp_path / "r" / "maps" / "0.d_sharpened.mrc").exists()
    veritem("validate", "--map", path, "--check", "0.a", "-o", tmp_path / "r", "--format", "html")
    left = {p.relative_to(tmp_path / "r").as_posix() for p in (tmp_path / "r").rglob("*") if p.is_file()}
    assert left == {
        ".veritem", "checks/0.a.json", "data/0.a.npz", "data/overview.npz", "data/scene.npz", "report.html",
        "results.json",
    }  # fmt: skip


def test_a_map_inside_the_output_folder_is_refused(small_map, tmp_path):
    inside = tmp_path / "r" / "maps"
    inside.mkdir(parents=True)
    (inside / "0.b_mine.mrc").write_bytes(small_map[0].read_bytes())
    (tmp_path / "r" / ".veritem").write_text("")
    run = veritem("validate", "--map", inside / "0.b_mine.mrc", "-o", tmp_path / "r")
    assert run.returncode == 2 and "lies in the output folder" in run.stderr
    assert (inside / "0.b_mine.mrc").exists()


def test_a_killed_run_goes_on_where_it_stopped(small_map, tmp_path):
    output = tmp_path / "report"
    arguments = [sys.executable, "-m", "veritem", "validate", *map(str, options(small_map)), "-o", str(output)]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not (output / "checks" / "0.a.json").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    finished = {p.stem for p in (output / "checks").glob("*.json")}
    assert "0.a" in finished
    for path in (output / "checks").glob("*.json"):
        json.loads(path.read_text())
    again = subprocess.run(arguments, capture_output=True, text=True)
    assert again.returncode in (0, 1)
    kept = {line.split()[0] for line in again.stderr.splitlines() if line.rstrip().endswith("kept")}
    assert kept == finished
    assert not list(output.rglob("*.part")) and (output / "report.html").exists()


def test_an_interrupted_run_says_that_it_can_go_on(small_map, tmp_path):
    output = tmp_path / "report"
    arguments = [sys.executable, "-m", "veritem", "validate", *map(str, options(small_map)), "-o", str(output)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not (output / "checks" / "0.a.json").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Give the same command again" in said and "Traceback" not in said


def test_checks_explain_and_schema(tmp_path):
    assert "0.c" in veritem("checks").stdout
    assert "Misleads" not in veritem("explain", "0.c").stderr
    assert "When not to trust it" in veritem("explain", "0.c").stdout
    assert json.loads(veritem("schema").stdout)["title"] == "ValidationResult"


def test_help_names_groups_examples_and_exit_codes():
    text = veritem("validate", "--help").stdout
    for expected in ("Input", "Checks", "Output", "Examples", "Exit codes", "emd_1234.map.gz"):
        assert expected in text
