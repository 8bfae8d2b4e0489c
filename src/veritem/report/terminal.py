"""The results as a table in the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from veritem.report.content import (
    STYLES,
    counted,
    evaluated,
    input_warnings,
    short_answer,
    tied,
    warnings,
    with_outcome,
)
from veritem.results import CheckResult, Outcome, ValidationResult

# Rich breaks lines at every kind of space, the non-breaking ones too: letters of no meaning keep their place until
# the lines are set.
_KEPT = str.maketrans({"\u202f": "\ue000", "\u00a0": "\ue001"})
_SHOWN = str.maketrans({"\ue000": "\u202f", "\ue001": " "})
_PLAIN = str.maketrans("\u202f−–×Å²³µσ≤≥“”’", ' --xA23us<>""\'')


def print_results(result: ValidationResult, output: Path, console: Console | None = None) -> None:
    """Print one line a check, what each warning says, the score and where the report is.

    output: the folder with the report. console: where to print; standard output by default. Colour only repeats what
    the symbols say.
    """
    console = console or Console()
    console.print()
    console.print(_Tied(Text(result.title, style="bold")), soft_wrap=False)
    console.print(_Tied(_table(result, _ascii_only(console))))
    for warning in warnings(result):
        _say(console, warning.check.code, warning.criterion.warning or warning.criterion.text, Outcome.WARNING)
    for check in with_outcome(result, Outcome.FAILED):
        _say(console, check.code, f"failed to run: {check.error or check.reason}", Outcome.FAILED)
    for problem in input_warnings(result):
        _say(console, problem.code, f"{problem.found} {problem.action}", Outcome.WARNING)
    console.print()
    console.print(Text(_score_line(result), style="bold"))
    for name in ("report.html", "report.pdf", "results.json"):
        if (output / name).exists():
            console.print(f"  {escape(str(output / name))}", highlight=False, soft_wrap=True)


class _Tied:
    """What is printed, in which a number keeps its sign, its thousands and its unit on one line."""

    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[Segment]:
        for segment in console.render(self._inner, options):
            yield Segment(_sayable(segment.text.translate(_SHOWN), console.encoding), segment.style, segment.control)


def _sayable(text: str, encoding: str) -> str:
    """The text in the letters that a terminal has, one for one, so that columns stay in line."""
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return text.translate(_PLAIN).encode("ascii", "replace").decode()
    return text


def _kept(text: str) -> str:
    return tied(text).translate(_KEPT)


def _say(console: Console, code: str, text: str, outcome: Outcome) -> None:
    line = Text(f"{code}  ", style=STYLES[outcome].terminal)
    line.append(_kept(text), style="not bold default")
    console.print(_Tied(Padding(line, (0, 0, 0, 1))))


def _answer(check: CheckResult) -> str:
    """The first sentence, but a reason in full: why there is no clear answer must not be cut."""
    if check.reason and check.outcome in (Outcome.INCONCLUSIVE, Outcome.WARNING):
        return check.reason[:1].upper() + check.reason[1:]
    return short_answer(check)


def _table(result: ValidationResult, ascii_only: bool) -> Table:
    table = Table(box=box.ASCII2 if ascii_only else box.SIMPLE_HEAD, pad_edge=False, expand=False)
    table.add_column("", no_wrap=True)
    table.add_column("Check", max_width=22)
    table.add_column("Outcome", no_wrap=True)
    table.add_column("Answer", ratio=1)
    for check in (*evaluated(result), *with_outcome(result, Outcome.NOT_APPLICABLE)):
        style = STYLES[check.outcome]
        symbol = {"✓": "+", "–": "-", "×": "x"}.get(style.symbol, style.symbol) if ascii_only else style.symbol
        quiet = "dim" if check.outcome is Outcome.NOT_APPLICABLE else ""
        table.add_row(
            Text(check.code, style=quiet),
            Text(check.title, style=quiet),
            Text(f"{symbol} {style.label}", style=style.terminal),
            Text(_kept(_answer(check)), style=quiet),
        )
    return table


def _score_line(result: ValidationResult) -> str:
    score = result.score
    text = f"{score.applicable_text} evaluable checks passed"
    if score.not_applicable:
        text += f"; {counted(score.not_applicable, 'check')} not applicable"
    more = sum(_NEEDS_RESOLUTION.match(c.reason) is not None for c in with_outcome(result, Outcome.NOT_APPLICABLE))
    if more:
        text += f" (give --resolution to run {counted(more, 'more', 'more')})"
    return text + "."


# The plan's reason for a check that lacks the resolution and nothing else.
_NEEDS_RESOLUTION = re.compile(r"needs (a|the) reported resolution(,|$)")


def _ascii_only(console: Console) -> bool:
    """Whether the terminal's encoding has no ✓, as on an old Windows console or LANG=C."""
    try:
        "✓–×".encode(console.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return True
    return False
