"""The table in the terminal: narrow, without colour, and on terminals that know no ✓."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tests.report import example
from veritem.report.content import STYLES
from veritem.report.terminal import print_results


def printed(result, folder, width: int, encoding: str = "utf-8", **options) -> str:
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding=encoding)
    print_results(result, folder, Console(file=stream, width=width, **options))
    stream.flush()
    return buffer.getvalue().decode(encoding)


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A folder with a short name, so that lines are as wide as the table and not as a path."""
    return example.example_result(tmp_path_factory.mktemp("terminal"))


@pytest.mark.parametrize("width", [60, 80, 140])
def test_lines_keep_to_the_terminal_and_every_check_is_there(short, tmp_path, width):
    text = printed(short, tmp_path, width)
    assert max(len(line) for line in text.splitlines()) <= width
    for check in short.checks:
        assert f"{check.code} " in text
    assert "3 of 8 evaluable checks passed; two checks not applicable." in text


def test_without_colour_the_symbols_tell_the_outcome(short, tmp_path):
    text = printed(short, tmp_path, 100, no_color=True)
    assert "\x1b" not in text
    for outcome in {c.outcome for c in short.checks}:
        assert f"{STYLES[outcome].symbol} {STYLES[outcome].label}" in text


def test_an_ascii_terminal_gets_ascii_symbols(tmp_path):
    result = example.example_result(tmp_path, title="plain")
    checks = tuple(c for c in result.checks if (c.summary + c.reason + c.error + c.title).isascii() and not c.warnings)
    text = printed(result.model_copy(update={"checks": checks}), tmp_path, 80, encoding="ascii")
    assert "+ Pass" in text and "x Failed" in text


def test_markup_in_a_title_is_text(short, tmp_path):
    result = short.model_copy(update={"title": "[bold]not markup[/nothing]"})
    assert "[bold]not markup[/nothing]" in printed(result, tmp_path, 80)


def test_it_says_where_the_report_is(rendered):
    result, folder = rendered
    assert str(folder / "report.html") in printed(result, folder, 80)
