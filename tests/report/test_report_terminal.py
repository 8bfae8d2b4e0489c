"""The table in the terminal: narrow, without colour, and on terminals that know no ✓."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tests.report import example
from veritem.report.content import STYLES
from veritem.report.terminal import print_results
from veritem.results import Outcome


def printed(result, folder, width: int, encoding: str = "utf-8", **options) -> str:
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding=encoding)
    print_results(result, folder, Console(file=stream, width=width, **options))
    stream.flush()
    return buffer.getvalue().decode(encoding)


def flat(text: str) -> str:
    return " ".join(text.split())


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
    assert "3 of 8 evaluable checks passed; two checks not applicable (give --resolution to run one more)." in flat(
        text
    )


def test_without_colour_the_symbols_tell_the_outcome(short, tmp_path):
    text = printed(short, tmp_path, 100, no_color=True)
    assert "\x1b" not in text
    for outcome in {c.outcome for c in short.checks}:
        assert f"{STYLES[outcome].symbol} {STYLES[outcome].label}" in text


def test_an_ascii_terminal_gets_ascii_symbols(tmp_path):
    """The title, the answers and the warnings hold Å, ², β and quotation marks."""
    text = printed(example.example_result(tmp_path), tmp_path, 80, encoding="ascii")
    assert "+ Pass" in text and "x Failed" in text and "The header gives 1.310 A" in text
    assert max(len(line) for line in text.splitlines() if str(tmp_path) not in line) <= 80


def test_markup_in_a_title_is_text(short, tmp_path):
    result = short.model_copy(update={"title": "[bold]not markup[/nothing]"})
    assert "[bold]not markup[/nothing]" in printed(result, tmp_path, 80)


def test_it_says_where_the_report_is(rendered):
    result, folder = rendered
    assert str(folder / "report.html") in printed(result, folder, 80)


def test_warnings_of_the_input_stand_before_the_closing_line(short, tmp_path):
    text = flat(printed(short, tmp_path, 80))
    told = "IN-07 The header gives 1.310 Å, the option --pixel-size 1.305 Å. The option was used."
    assert text.index(told) < text.index("3 of 8 evaluable checks passed")
    assert "IN-12" not in text


def test_the_reason_of_an_undecided_check_is_not_cut(short, tmp_path):
    reason = "The first half of it. “A criterion” is undecided: 3.1 Å, limit ≤ 2.9 Å. The last of it."
    checks = tuple(
        c.model_copy(update={"reason": reason}) if c.outcome is Outcome.INCONCLUSIVE else c for c in short.checks
    )
    text = printed(short.model_copy(update={"checks": checks}), tmp_path, 200)
    assert reason in flat(text).replace("\u00a0", " ")


@pytest.mark.parametrize("width", range(60, 90, 3))
def test_a_number_keeps_its_thousands_and_its_unit_on_one_line(short, tmp_path, width):
    """Lines end at any place as the width changes; never inside the number."""
    summary = "Above the level lie 1\u202f145\u202f000 Å³ of protein and −118 Å² of decay in many words of this kind."
    checks = (short.checks[0].model_copy(update={"summary": summary, "criteria": (), "reason": ""}),)
    text = printed(short.model_copy(update={"checks": checks}), tmp_path, width)
    assert "1\u202f145\u202f000 Å³" in text and "−118 Å²" in text
    assert "\ue000" not in text and "\ue001" not in text
