"""The report as one HTML file that opens offline."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from veritem.report import content
from veritem.report.chimerax import command_file
from veritem.report.files import write_text
from veritem.results import Outcome, ValidationResult

NAME = "report.html"
_HERE = Path(__file__).parent


def write_html(result: ValidationResult, folder: Path) -> Path:
    """Write report.html into the folder that holds the result's data. Returns its path."""
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            result=result,
            content=content,
            styles=content.STYLES,
            Outcome=Outcome,
            command_file=command_file,
            css=_asset("report.css"),
            files_beside=_files_beside(folder),
        )
    )
    return write_text(folder / NAME, page)


def _files_beside(folder: Path) -> set[str]:
    return {
        p.relative_to(folder).as_posix()
        for pattern in ("*.*", "chimerax/*.cxc")
        for p in folder.glob(pattern)
    }


@cache
def _asset(name: str) -> str:
    return (_HERE / "assets" / name).read_text(encoding="utf-8")


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {
        "cell": content.cell,
        "plain": content.plain,
        "size_text": content.size_text,
        "duration": content.duration,
        "paragraphs": content.paragraphs,
        "anchor": content.anchor,
        "readable": content.readable,
    }
    environment.filters.update(filters)
    return environment
