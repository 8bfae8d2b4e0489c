"""From results.json to the report's files."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from veritem.errors import InputError
from veritem.results import SCHEMA_VERSION, ValidationResult

FORMATS = ("html", "pdf", "chimerax")


def load(path: Path) -> ValidationResult:
    """Read results.json, given itself or the folder that holds it.

    Raises InputError when there is none, when it is not ours, or of a version that is not known here.
    """
    file = path / "results.json" if path.is_dir() else path
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise InputError(
            f"There is no readable results file {file} ({error.strerror}). "
            "Give the results.json of a validation, or the folder that holds it."
        ) from error
    try:
        content = json.loads(raw)
    except ValueError as error:
        raise InputError(
            f"{file} is not a results file of Veritem: it is not JSON ({error}). "
            "Give the results.json that a validation wrote."
        ) from error
    found = content.get("schema_version") if isinstance(content, dict) else None
    if not isinstance(found, str) or not found.startswith("veritem-results/"):
        raise InputError(
            f"{file} is JSON, but not a results file of Veritem: it names no schema version. "
            "Give the results.json that a validation wrote."
        )
    if found != SCHEMA_VERSION:
        raise InputError(
            f"{file} was written in the format {found}; this version of Veritem reads {SCHEMA_VERSION}. "
            "Use the version that wrote it, or validate again."
        )
    try:
        return ValidationResult.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{file} is damaged or was edited: {where}: {first['msg']} ({error.error_count()} places in all). "
            "Validate again to write it anew."
        ) from error


def known_formats(formats: Iterable[str]) -> tuple[str, ...]:
    """The formats as they are. Raises InputError that names every one that there is not."""
    formats = tuple(formats)
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise InputError(f"There is no report format {', '.join(unknown)}. Choose from {', '.join(FORMATS)}.")
    return formats


def render(result: ValidationResult, folder: Path, formats: Iterable[str] = FORMATS) -> list[Path]:
    """Write the report into `folder`, beside its data. Returns the files written.

    formats: of "html", "pdf", "chimerax". Raises InputError for another, and when the
    folder cannot be written.
    """
    formats = known_formats(formats)
    try:
        return _render(result, folder, formats)
    except OSError as error:
        raise InputError(
            f"The report cannot be written to {folder} ({error.strerror or error}). "
            "Free some space there, or make the folder writable, and write it again with `veritem report`."
        ) from error


def _render(result: ValidationResult, folder: Path, formats: tuple[str, ...]) -> list[Path]:
    written: list[Path] = []
    # ChimeraX files first: the other two link to them.
    if "chimerax" in formats:
        from veritem.report.chimerax import find_map, write_chimerax

        written += write_chimerax(result, folder, find_map(result, folder))
    if {"html", "pdf"} & set(formats):
        from veritem.report.illustrations import illustrate

        illustrations = illustrate(result, folder)
    if "html" in formats:
        from veritem.report.html import write_html

        written.append(write_html(result, folder, illustrations))
    if "pdf" in formats:
        from veritem.report.pdf import write_pdf

        written.append(write_pdf(result, folder, illustrations))
    return written
