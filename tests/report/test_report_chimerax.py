"""ChimeraX command files, as text."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from tests.report import example
from veritem.report.chimerax import find_map, write_chimerax

# The first word of every command that may stand in a file, from ChimeraX's index of commands.
KNOWN = {"open", "volume", "hide", "color", "key", "2dlabels", "set", "lighting", "graphics", "view"}


def commands(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.fixture
def written(tmp_path):
    report = tmp_path / "my report"
    report.mkdir()
    result = example.example_result(report)
    source = tmp_path / "the map.mrc"
    source.write_bytes(b"map")
    paths = write_chimerax(result, report, source)
    return result, report, {p.name: p.read_text(encoding="utf-8") for p in paths}


def test_there_is_one_file_for_each_colouring_and_an_overview(written):
    result, _, texts = written
    colourings = [m for c in result.checks for m in c.maps if m.colours_map]
    assert len(texts) == 1 + len(colourings)
    assert set(texts) == {"overview.cxc", "0.f_local_b.cxc", "0.g_occupancy.cxc"}


def test_lines_are_commands_of_chimerax_and_numbers_agree(written):
    for text in written[2].values():
        assert all(line.split()[0] in KNOWN for line in commands(text))
        opened = re.findall(r'^open "[^"]+" id #(\d+)$', text, re.M)
        assert opened == [str(n + 1) for n in range(len(opened))]
        models = set(re.findall(r"(?<=\s)#(\d)(?=\s|$)", "\n".join(commands(text))))
        assert "1" in models and models <= set(opened)


def test_paths_count_from_the_command_file(written):
    _, report, texts = written
    for text in texts.values():
        paths = re.findall(r'^open "([^"]+)"', text, re.M)
        assert (report / "chimerax" / paths[0]).resolve() == report.parent / "the map.mrc"
        assert all(p.startswith("../maps/") for p in paths[1:])


def test_the_surface_is_coloured_over_the_limits_of_the_derived_map(written):
    text = written[2]["0.f_local_b.cxc"]
    assert f"level {example.LEVEL:g}" in text
    found = re.search(r"^color sample #1 map #2 palette (\S+) noValueColor #[0-9a-f]{6}$", text, re.M)
    stops = [(float(v), c) for v, c in (stop.split(",") for stop in found.group(1).split(":"))]
    assert stops[0][0] == -140.0 and stops[-1][0] == -40.0
    assert all(a[0] < b[0] for a, b in pairwise(stops))
    assert all(re.fullmatch(r"#[0-9a-f]{6}", c) for _, c in stops)
    key = re.search(r"^key (.*?) pos", text, re.M).group(1).split()
    assert [k.split(":")[0] for k in key] == [c for _, c in stops]
    assert key[0].endswith(":-140") and key[-1].endswith(":-40")


def test_names_cannot_become_commands(tmp_path):
    result = example.example_result(tmp_path, title='a\nopen "evil"')
    check = result.check("0.f")
    bad = check.maps[0].model_copy(update={"label": 'x" ; close all\nclose', "description": "y\nclose session"})
    result = result.model_copy(
        update={
            "checks": tuple(c.model_copy(update={"maps": (bad,)}) if c.code == "0.f" else c for c in result.checks),
            "inputs": (result.inputs[0].model_copy(update={"name": 'm"; close session; "\nclose.map'}),),
        }
    )
    for path in write_chimerax(result, tmp_path, None):
        for line in commands(path.read_text(encoding="utf-8")):
            assert line.split()[0] in KNOWN
            # Outside of quotes no semicolon begins a second command.
            assert ";" not in re.sub(r'"[^"]*"', "", line)
            assert line.count('"') % 2 == 0


def test_the_map_is_found_beside_the_report(tmp_path):
    report = tmp_path / "report"
    report.mkdir()
    result = example.example_result(report)
    assert find_map(result, report) is None
    (tmp_path / result.inputs[0].name).write_bytes(b"")
    assert find_map(result, report) == tmp_path / result.inputs[0].name
    text = write_chimerax(result, report, None)[0].read_text(encoding="utf-8")
    assert "put its path into the next line" in text
