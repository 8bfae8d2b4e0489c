"""Imports go one way, and the command line starts without the numerical packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_imports_go_one_way():
    found = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_help_imports_nothing_heavy():
    """--help must answer in half a second; numpy alone takes a fifth of that, scipy and numba all of it."""
    code = "import sys, veritem.cli; print(*sorted(m for m in sys.modules if '.' not in m))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"numpy", "scipy", "numba", "matplotlib", "gemmi", "mrcfile", "jinja2", "pydantic", "typst"}
    assert not heavy & set(loaded)


def test_the_project_speaks_of_itself_alone():
    """No path of a workplace in what is shipped."""
    texts = [p for folder in ("src", "docs", "tests", "benchmarks") for p in (ROOT / folder).rglob("*.py")]
    texts += [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    this_file = Path(__file__)
    found = [p for p in texts if p != this_file and "/work/" in p.read_text(encoding="utf-8")]
    assert not found
