"""The results as a table in the terminal."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from veritem.report.content import STYLES, counted, evaluated, short_answer, warnings, with_outcome
from veritem.results import Outcome, ValidationResult


def print_results(result: ValidationResult, output: Path, console: Console | None = None) -> None:
    """Print one line a check, what each warning says, the score and where the report is.

    output: the folder with the report. console: where to print; standard output by default. Colour only repeats what
    the symbols say.
    """
    console = console or Console()
    console.print()
    console.print(Text(result.title, style="bold"), soft_wrap=False)
    console.print(_table(result, _ascii_only(console)))
    for warning in warnings(result):
        text = Text(f"{warning.check.code}  ", style=STYLES[Outcome.WARNING].terminal)
        text.append(warning.criterion.warning or warning.criterion.text, style="not bold default")
        console.print(Padding(text, (0, 0, 0, 1)))
    for check in with_outcome(result, Outcome.FAILED):
        text = Text(f"{check.code}  ", style=STYLES[Outcome.FAILED].terminal)
        text.append(f"failed to run: {check.error or check.reason}", style="not bold default")
        console.print(Padding(text, (0, 0, 0, 1)))
    console.print()
    console.print(Text(_score_line(result), style="bold"))
    for name in ("report.html", "report.pdf", "results.json"):
        if (output / name).exists():
            console.print(f"  {escape(str(output / name))}", highlight=False, soft_wrap=True)


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
            Text(short_answer(check), style=quiet),
        )
    return table


def _score_line(result: ValidationResult) -> str:
    score = result.score
    text = f"{score.applicable_text} evaluable checks passed"
    if score.not_applicable:
        text += f"; {counted(score.not_applicable, 'check')} not applicable"
    return text + "."


def _ascii_only(console: Console) -> bool:
    """Whether the terminal's encoding has no ✓, as on an old Windows console or LANG=C."""
    try:
        "✓–×".encode(console.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return True
    return False
