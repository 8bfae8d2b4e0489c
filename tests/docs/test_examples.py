"""Every command and every piece of Python that the documentation shows does what it says.

The map that the pages call emd_1234.map.gz is simulated here, with its half maps half_1.map.gz and half_2.map.gz, and
scaled so that their contour level suits it.
"""

from __future__ import annotations

import ast
import gzip
import re
import shlex
import shutil
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.docs.pages import ROOT, Block, blocks, pages

# What the pages write on the command line.
CONTOUR_LEVEL, RESOLUTION = 0.03, 3.2

REPORTS_WRITTEN: set[str] = set()

SHELL = [block for page in pages() for block in blocks(page, "sh")]
PYTHON = [page for page in pages() if blocks(page, "python")]
ENTRIES = [block for page in pages() for block in blocks(page, "toml")]


@cache
def small_map(threads: int = 1) -> Any:
    from veritem.simulation.half_maps import simulate_map
    from veritem.simulation.models import ideal_protein

    return simulate_map(ideal_protein(residues=40, subunits=1, seed=3), 48, 1.5, resolution=RESOLUTION, seed=3)


@pytest.fixture(autouse=True)
def each_report_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write each kind of report the first time that a page asks for it; drawing dozens of them would show no more."""
    from veritem.report import render as module

    whole = module.render

    def once(result: Any, folder: Path, formats: Any = module.FORMATS) -> list[Path]:
        new = [name for name in formats if name not in REPORTS_WRITTEN]
        written = whole(result, folder, new)
        REPORTS_WRITTEN.update(new)
        return written

    monkeypatch.setattr(module, "render", once)


def test_the_reports_that_the_pages_promise_are_written(workplace: Path) -> None:
    """README's table of files: all of them appear."""
    from veritem import api

    folder = workplace / "promised"
    api.validate(workplace / "map.mrc", contour_level=CONTOUR_LEVEL, resolution=RESOLUTION, output=folder)
    table = re.findall(r"^\| `([^`]+)` \| ", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert {"report.html", "report.pdf", "results.json"} <= set(table)
    for pattern in table:
        assert any(folder.glob(pattern)), f"README promises {pattern}, and the report has none"


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the pages talk of."""
    from veritem.submission.map_writer import write_map

    folder = tmp_path_factory.mktemp("examples")
    simulated = small_map()
    scale = np.float32(CONTOUR_LEVEL / simulated.truth.contour_level)
    plain = folder / "map.mrc"
    write_map(plain, simulated.density_map.data * scale, simulated.density_map.pixel_size, (0.0, 0.0, 0.0), "simulated")
    content = plain.read_bytes()
    shutil.copy(plain, folder / "run_class001.mrc")
    (folder / "half_written.mrc").write_bytes(content[: len(content) // 2])
    (folder / "maps").mkdir()
    for path in (folder / "emd_1234.map.gz", folder / "maps" / "emd_1234.map.gz"):
        path.write_bytes(gzip.compress(content, 1, mtime=0))
    for number, half in ((1, simulated.half_1), (2, simulated.half_2)):
        path = folder / f"half_{number}.mrc"
        write_map(path, half.data * scale, half.pixel_size, (0.0, 0.0, 0.0), "simulated half map")
        packed = gzip.compress(path.read_bytes(), 1, mtime=0)
        for place in (folder, folder / "maps"):
            (place / f"half_{number}.map.gz").write_bytes(packed)
    described = next(block for block in ENTRIES if block.page.name == "describe-an-entry.md")
    (folder / "entry.toml").write_text(described.text)
    return folder


def commands(block: Block) -> list[list[str]]:
    """The commands of a shell block, comments and joins taken apart."""
    found = []
    for line in re.sub(r"\\\n", " ", block.text).splitlines():
        for part in line.split("&&"):
            words = shlex.split(part, comments=True)
            if words:
                found.append(words)
    return found


def run_veritem(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run the command line in this process; returns its exit code."""
    from veritem import cli

    monkeypatch.setattr(sys, "argv", words)
    try:
        cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_commands(
    block: Block, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """veritem's own commands run; those that install or build are checked against what they would use."""
    monkeypatch.chdir(workplace)
    # The demonstration's own map takes a minute; the path is the same with a small one.
    monkeypatch.setattr("veritem.simulation.demo.demo_map", small_map)
    for words in commands(block):
        if words[0] == "veritem":
            code = run_veritem(words, monkeypatch)
            said = capsys.readouterr()
            # 0: no check warns; 1: one does. Both mean that the report was written.
            assert code in (0, 1), f"{shlex.join(words)} ended with {code}: {said.err}{said.out}"
            for option in ("-o", "--output"):
                if option in words and words[1] == "validate":
                    assert (workplace / words[words.index(option) + 1] / "results.json").is_file()
        else:
            assert_would_work(words)


def assert_would_work(words: list[str]) -> None:
    """A command that is not run here: what it needs is in the repository."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    if words[0] == "make":
        rules = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        assert set(words[1:]) <= rules, f"the Makefile has no rule for {words[1:]}"
    elif words[:2] == ["pip", "install"]:
        extras = set(project["project"]["optional-dependencies"])
        for wanted in words[2:]:
            match = re.fullmatch(r"\.(?:\[([\w,]+)\])?", wanted)
            assert match, f"pip install {wanted}: only the repository itself is installed"
            assert set((match[1] or "").split(",")) - {""} <= extras
    elif words[0] in ("python", "python3") and words[1] != "-m":
        assert (ROOT / words[1]).is_file(), f"{words[1]} is not there"
    else:
        known = words[:3] == ["python3", "-m", "venv"] or (words[0] == "." and words[1].endswith("/bin/activate"))
        assert known, f"the documentation shows a command that no test knows: {shlex.join(words)}"


def test_commands_that_are_wrong_are_found() -> None:
    with pytest.raises(AssertionError, match="no rule"):
        assert_would_work(["make", "coffee"])
    with pytest.raises(AssertionError, match="no test knows"):
        assert_would_work(["conda", "install", "veritem"])


@pytest.mark.parametrize("page", PYTHON, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_python(page: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page run one after the other in one namespace, as a reader would type them.

    A block with a body of `...` is an illustration: it must parse, and is not run.
    """
    monkeypatch.chdir(workplace)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    ran = 0
    for block in blocks(page, "python"):
        tree = ast.parse(block.text, str(block))
        if any(isinstance(node, ast.Constant) and node.value is Ellipsis for node in ast.walk(tree)):
            continue
        # Line numbers of the page in a traceback.
        ast.increment_lineno(tree, block.line - 1)
        exec(compile(tree, str(page), "exec"), namespace)
        ran += 1
    assert ran or page.name == "architecture.md"


@pytest.mark.parametrize("block", ENTRIES, ids=str)
def test_entries(block: Block, workplace: Path) -> None:
    """A described entry is understood, and its map is read."""
    from veritem.submission import Submission, receive

    path = workplace / f"entry-{block.line}.toml"
    path.write_text(block.text)
    submission = Submission.from_file(path)
    assert receive(submission).inputs
