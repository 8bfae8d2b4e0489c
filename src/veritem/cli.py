"""The command line. Imports nothing heavy until a command runs, so that --help answers at once."""

from __future__ import annotations

import os
import shlex
import sys
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from veritem._version import __version__

if TYPE_CHECKING:
    from veritem.results import ValidationResult
    from veritem.run.execute import Event


class Exit(IntEnum):
    """Exit codes; a documented contract."""

    CLEAN = 0
    WARNINGS = 1
    BAD_INPUT = 2
    CHECK_FAILED = 3
    INTERNAL_ERROR = 4
    INTERRUPTED = 130


EXIT_TEXT = """[bold]Exit codes[/bold]

0  the report is written and no check warns
1  the report is written and at least one check warns
2  the input, an option or the output folder cannot be used
3  the report is written, but a check failed to run
4  an error of Veritem's own ended the run
130  interrupted; run the same command again to go on where it stopped"""

app = typer.Typer(
    name="veritem",
    help="Tells whether a cryo-EM single-particle map is right.",
    epilog=EXIT_TEXT,
    rich_markup_mode="rich",
    no_args_is_help=True,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    pretty_exceptions_enable=False,
)
output_console = Console()
error_console = Console(stderr=True)

_INPUT = "Input"
_CHECKS = "Checks"
_OUTPUT = "Output"
_MACHINE = "Machine"


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"veritem {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command(
    rich_help_panel="Validate",
    epilog="""[bold]Examples[/bold]

veritem validate --map emd_1234.map.gz --contour-level 0.03 --resolution 3.2 -o report/

veritem validate --map emd_1234.map.gz --half-map-1 half_1.map.gz --half-map-2 half_2.map.gz -o report/

veritem validate --map run_class001.mrc --check 0.a --check 0.c -o quick/

veritem validate --entry entry.toml -o report/

"""
    + EXIT_TEXT,
)
def validate(
    map: Annotated[
        Path | None,
        typer.Option(help="The map: MRC, CCP4 or EM, plain, .gz, .bz2 or .xz.", rich_help_panel=_INPUT),
    ] = None,
    half_map_1: Annotated[
        Path | None,
        typer.Option("--half-map-1", help="A half map as the refinement wrote it.", rich_help_panel=_INPUT),
    ] = None,
    half_map_2: Annotated[
        Path | None, typer.Option("--half-map-2", help="The other half map.", rich_help_panel=_INPUT)
    ] = None,
    entry: Annotated[
        Path | None,
        typer.Option(help="A TOML file that describes the submission. Options win over it.", rich_help_panel=_INPUT),
    ] = None,
    contour_level: Annotated[
        float | None,
        typer.Option(help="Grey value to look at the map at. Estimated if not given.", rich_help_panel=_INPUT),
    ] = None,
    resolution: Annotated[float | None, typer.Option(help="Reported resolution in Å.", rich_help_panel=_INPUT)] = None,
    pixel_size: Annotated[
        float | None,
        typer.Option(help="Pixel size (sampling rate) in Å, if the header is wrong.", rich_help_panel=_INPUT),
    ] = None,
    molecular_weight_kda: Annotated[
        float | None, typer.Option(help="Molecular weight of the particle in kDa.", rich_help_panel=_INPUT)
    ] = None,
    symmetry: Annotated[
        str | None,
        typer.Option(
            help="Imposed point group, e.g. C1, D7, O: images of one asymmetric unit are not independent.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title of the report.", rich_help_panel=_INPUT)] = None,
    check: Annotated[
        list[str] | None,
        typer.Option(
            help="Run only this check (repeat for more); `veritem checks` lists them.", rich_help_panel=_CHECKS
        ),
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option(help="Leave this check out (repeat for more).", rich_help_panel=_CHECKS)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the random numbers; recorded in the report.", rich_help_panel=_CHECKS)
    ] = None,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder for the report; made if need be.", rich_help_panel=_OUTPUT),
    ] = Path("veritem-report"),
    format: Annotated[
        list[str] | None,
        typer.Option(help="html, pdf or chimerax (repeat for more); all by default.", rich_help_panel=_OUTPUT),
    ] = None,
    exit_zero: Annotated[
        bool, typer.Option("--exit-zero", help="Exit with 0 even when checks warn.", rich_help_panel=_OUTPUT)
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress, no table.", rich_help_panel=_OUTPUT)
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Cores to use; all by default.", rich_help_panel=_MACHINE),
    ] = None,
    device: Annotated[
        str, typer.Option(help="auto, cpu or cuda (a GPU; needs CuPy).", rich_help_panel=_MACHINE)
    ] = "auto",
) -> None:
    """Check a map and write the report."""
    from veritem import api

    with _Progress(quiet) as progress:
        result = api.validate(
            map=map,
            half_map_1=half_map_1,
            half_map_2=half_map_2,
            entry=entry,
            contour_level=contour_level,
            resolution=resolution,
            pixel_size=pixel_size,
            molecular_weight_kda=molecular_weight_kda,
            symmetry=symmetry,
            title=title,
            include=check or (),
            exclude=skip or (),
            seed=seed,
            output=output,
            formats=format or api.FORMATS,
            threads=threads,
            device=device,
            progress=progress,
            command=shlex.join(["veritem", *sys.argv[1:]]),
        )
    _finish(result, output, quiet)
    raise typer.Exit(Exit.CLEAN if exit_zero and _exit_code(result) is Exit.WARNINGS else _exit_code(result))


@app.command(rich_help_panel="Validate")
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the map and the report.")] = Path(
        "veritem-demo"
    ),
) -> None:
    """Simulate a map of a made-up protein and validate it: a first look that needs no data."""
    from veritem import api

    with _Progress(quiet=False) as progress:
        result = api.demo(output, progress=progress, command=shlex.join(["veritem", *sys.argv[1:]]))
    _finish(result, output / "report", quiet=False)
    raise typer.Exit(Exit.CHECK_FAILED if _exit_code(result) is Exit.CHECK_FAILED else Exit.CLEAN)


@app.command(rich_help_panel="Validate", epilog="veritem report report/results.json --format pdf")
def report(
    results: Annotated[Path, typer.Argument(help="results.json, or the folder that holds it.")],
    format: Annotated[
        list[str] | None, typer.Option(help="html, pdf or chimerax (repeat for more); all by default.")
    ] = None,
) -> None:
    """Write the report again from its results."""
    from veritem import api

    for path in api.render_report(results, format or api.FORMATS):
        output_console.print(str(path), highlight=False, soft_wrap=True)


@app.command(rich_help_panel="Learn")
def checks() -> None:
    """List the checks."""
    from rich.table import Table

    from veritem import api

    table = Table(box=None, pad_edge=False)
    for column in ("Check", "Title", "Question"):
        table.add_column(column)
    for page in api.list_checks():
        note = f" [dim](not available: {page.unavailable})[/dim]" if page.unavailable else ""
        table.add_row(page.code, page.title, escape(page.question) + note)
    output_console.print(table)
    output_console.print("\n[dim]veritem explain CODE shows a check's page.[/dim]")


@app.command(rich_help_panel="Learn", epilog="veritem explain 0.c")
def explain(code: Annotated[str, typer.Argument(help="A check's code, e.g. 0.c.")]) -> None:
    """Show a check's page: what it asks, how it measures, when it misleads."""
    from veritem import api

    page = api.explain(code)
    out = output_console
    out.print(f"[bold]{page.code}  {escape(page.title)}[/bold]\n\n{escape(page.question)}\n")
    if page.unavailable:
        out.print(f"[yellow]Not available: {escape(page.unavailable)}[/yellow]\n")
    out.print(f"[bold]Needs[/bold] {', '.join(page.needs)}\n")
    out.print(f"[bold]Method[/bold]\n{escape(page.method)}\n")
    if page.criteria:
        out.print("[bold]Criteria[/bold]")
        for text, limit, because in page.criteria:
            out.print(f"• {escape(text)} ({escape(limit)}). [dim]{escape(because)}[/dim]")
        out.print()
    if page.misleads:
        out.print(f"[bold]When not to trust it[/bold]\n{escape(page.misleads)}\n")
    for reference in page.references:
        out.print(f"[dim]{escape(reference.text)} {reference.url or ''}[/dim]")


@app.command(rich_help_panel="Learn")
def schema() -> None:
    """Print the JSON schema of results.json."""
    import json

    from veritem.results import ValidationResult

    typer.echo(json.dumps(ValidationResult.model_json_schema(), indent=2))


class _Progress:
    """One line per check while it runs, on the error stream so that output can be piped."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._status: Any = None
        self._titles: dict[str, str] = {}

    def __enter__(self) -> _Progress:
        if not self._quiet:
            self._status = error_console.status("Reading the input")
            self._status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self._status is not None:
            self._status.stop()
        if kind is KeyboardInterrupt:
            # Typer ends with the right exit code, but without a word.
            error_console.print("Interrupted. Give the same command again: finished checks are kept.", highlight=False)

    def __call__(self, event: Event) -> None:
        if self._quiet:
            return
        if event.kind == "planned":
            error_console.print(f"[dim]Expect {event.name}.[/dim]", highlight=False)
        elif event.kind == "check started":
            self._status.update(f"{event.name}  measuring")
        elif event.kind == "computing":
            self._status.update(f"computing {event.name.replace('_', ' ')}")
        elif event.kind == "report":
            self._status.update("writing the report")
        elif event.result is not None:
            result = event.result
            how = "kept" if event.kind == "check reused" else f"{result.seconds:.1f} s"
            error_console.print(
                f"{result.code}  {escape(result.title):<36}  {result.outcome.value:<15} [dim]{how}[/dim]",
                highlight=False,
            )


def _exit_code(result: ValidationResult) -> Exit:
    score = result.score
    if score.failed:
        return Exit.CHECK_FAILED
    return Exit.WARNINGS if score.warned else Exit.CLEAN


def _finish(result: ValidationResult, output: Path, quiet: bool) -> None:
    if quiet:
        return
    from veritem.report.terminal import print_results

    print_results(result, output, output_console)


def _print_error(message: str) -> None:
    error_console.print(f"[bold red]Error[/bold red] {escape(message)}", highlight=False, soft_wrap=True)


def main() -> None:
    """Run the command line; every foreseen error ends in one message and an exit code, never a traceback."""
    try:
        app()
    except Exception as error:
        from veritem.errors import VeritemError

        if isinstance(error, VeritemError):
            _print_error(str(error))
            sys.exit(Exit.BAD_INPUT)
        if os.environ.get("VERITEM_TRACEBACK"):
            raise
        _print_error(
            f"Veritem itself failed ({type(error).__name__}: {error}). Your files are as they were, and finished "
            "checks are kept. Set VERITEM_TRACEBACK=1 and run it again to see where, and please report that."
        )
        sys.exit(Exit.INTERNAL_ERROR)
