"""The Python door: the command line and the service call what is here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from veritem.checks.base import Check
from veritem.checks.registry import CHECKS
from veritem.derived.registry import INPUTS
from veritem.errors import InputError
from veritem.numerics.device import select_device
from veritem.report.render import FORMATS, known_formats, load, render
from veritem.results import Reference, ValidationResult
from veritem.run.execute import Event, Progress, silent
from veritem.run.folder import OutputFolder
from veritem.run.validate import available_threads, run_submission, select_checks
from veritem.submission import Submission, receive
from veritem.submission.submission import FILES


def validate(
    map: str | Path | None = None,
    *,
    half_map_1: str | Path | None = None,
    half_map_2: str | Path | None = None,
    entry: str | Path | None = None,
    contour_level: float | None = None,
    resolution: float | None = None,
    pixel_size: float | None = None,
    molecular_weight_kda: float | None = None,
    symmetry: str | None = None,
    title: str | None = None,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    seed: int | None = None,
    output: str | Path | None = None,
    formats: Iterable[str] = FORMATS,
    threads: int | None = None,
    device: str = "auto",
    progress: Progress = silent,
    command: str = "",
) -> ValidationResult:
    """Validate a map and return the typed results.

    map: MRC, CCP4 or EM file, plain or compressed.
    half_map_1, half_map_2: the two half maps as the refinement wrote them: unmasked, unfiltered, on the map's grid.
    entry: a TOML file that describes the submission, in place of or beside the options; an option wins over it.
    contour_level: grey value at which the map is looked at; estimated when it is not given.
    resolution: the reported resolution in Å. Without it the checks that need it are not applicable.
    pixel_size: Å; the header's when it is not given.
    molecular_weight_kda: of what is in the map, in kDa.
    include, exclude: codes of checks; every check when `include` is empty.
    output: folder for results.json, the report, the derived maps and the ChimeraX files. Nothing is written when it
        is not given, and the figures then carry their arrays in memory.
    formats: which reports to write: "html", "pdf", "chimerax".
    threads: cores to use; all by default. device: "auto", "cpu" or "cuda"; a GPU gives the same numbers sooner.

    Raises InputError, carrying every problem found, when the submission cannot be used.
    """
    options = {
        "map": map,
        "half_map_1": half_map_1,
        "half_map_2": half_map_2,
        "contour_level": contour_level,
        "resolution": resolution,
        "pixel_size": pixel_size,
        "molecular_weight_kda": molecular_weight_kda,
        "symmetry": symmetry,
        "title": title,
        "include": tuple(include) or None,
        "exclude": tuple(exclude) or None,
        "seed": seed,
    }
    given = {name: value for name, value in options.items() if value is not None}
    formats = known_formats(formats)
    submission = Submission.from_file(Path(entry), **given) if entry else Submission.from_options(**given)
    # Before anything heavy: a misspelt check or a folder that cannot be written is said at once.
    select_checks(submission.include, submission.exclude)
    where = select_device(device)
    files = [path for path in (getattr(submission, name) for name in FILES) if path is not None]
    for path in files:
        if output is not None and path.resolve().is_relative_to(Path(output).resolve()):
            raise InputError(
                f"{path} lies in the output folder {output}, where Veritem replaces what is there. "
                "Choose another folder with -o."
            )
    received = receive(submission)
    folder = OutputFolder(Path(output)) if output is not None else None
    result = run_submission(received, folder, threads=threads, device=where, progress=progress, command=command)
    if folder:
        progress(Event("report", "report"))
        render_report(folder.path, formats)
    return result


def render_report(results: str | Path, formats: Iterable[str] = FORMATS) -> list[Path]:
    """Write the report again from results.json and the data beside it. Returns the files written.

    results: results.json or the folder that holds it.
    Raises InputError when it is not a results file of a version that is known here.
    """
    path = Path(results)
    folder = path if path.is_dir() else path.parent
    return render(load(path), folder, formats)


@dataclass(frozen=True)
class CheckPage:
    """What `explain` says of a check."""

    code: str
    title: str
    level: str
    question: str
    method: str
    misleads: str
    needs: tuple[str, ...]
    criteria: tuple[tuple[str, str, str], ...]
    references: tuple[Reference, ...]
    unavailable: str


def list_checks() -> tuple[CheckPage, ...]:
    """The table of checks, in the order of the report."""
    return tuple(_page(check) for check in CHECKS)


def explain(code: str) -> CheckPage:
    """One check's page: question, method, criteria with their reasons, when it misleads, references.

    Raises InputError when there is no such check.
    """
    (check,) = select_checks((code,))
    return _page(check)


def _page(check: type[Check]) -> CheckPage:
    return CheckPage(
        code=check.code,
        title=check.title,
        level=check.level,
        question=check.question(),
        method=check.method(),
        misleads=check.misleads(),
        needs=tuple(INPUTS[name] for name in check.needs),
        criteria=tuple((c.text, c.limit_text, c.because) for c in check.criteria),
        references=check.references,
        unavailable=check.unavailable,
    )


def demo(output: str | Path, *, progress: Progress = silent, command: str = "") -> ValidationResult:
    """Simulate a map of a protein that the package builds, write it, and validate it.

    output: folder; the map and its description go to `input/`, the report to `report/`.
    Raises InputError when the folder cannot be used.
    """
    from veritem.simulation.demo import write_demo_map

    folder = Path(output)
    OutputFolder(folder / "report")
    entry = write_demo_map(folder / "input", available_threads())
    return validate(entry=entry, output=folder / "report", progress=progress, command=command)
