"""The report as one HTML file that opens offline: no request leaves it, and its own policy forbids one."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup
from PIL import Image

from veritem.report import content
from veritem.report.chimerax import command_file
from veritem.report.figures import MARKER_COLOURS, ROLE_COLOURS
from veritem.report.files import MissingData, write_text
from veritem.report.illustrations import Illustration, illustrate
from veritem.report.scene import pack_scene
from veritem.results import CheckResult, CurveFigure, HistogramFigure, Marker, Outcome, Series, ValidationResult

NAME = "report.html"
_HERE = Path(__file__).parent
_SCRIPTS = ("uPlot-1.6.32.min.js", "3Dmol-2.5.5.min.js", "plots.js", "viewer.js")


def write_html(result: ValidationResult, folder: Path, illustrations: Mapping[str, Illustration] | None = None) -> Path:
    """Write report.html into the folder that holds the result's data. Returns its path.

    illustrations: the figures when they are drawn already; drawn here by default.
    """
    drawn = illustrate(result, folder) if illustrations is None else illustrations
    drawn = {anchor: _lighter(illustration) for anchor, illustration in drawn.items()}
    try:
        scene, scene_note = pack_scene(result, folder), ""
    except MissingData as error:
        scene, scene_note = None, str(error)
    scripts = [_script(name) for name in _SCRIPTS if scene is not None or ("3Dmol" not in name and name != "viewer.js")]
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            result=result,
            content=content,
            drawn=drawn,
            overview=[drawn[f"input-{figure.key}"] for figure in result.overview],
            check_illustrations=lambda check: check_illustrations(check, drawn),
            styles=content.STYLES,
            Outcome=Outcome,
            command_file=command_file,
            css=Markup(_asset("uPlot-1.6.32.min.css") + _asset("report.css")),
            outcome_css=Markup(_outcome_css()),
            scripts=scripts,
            policy="; ".join(
                (
                    "default-src 'none'",
                    "img-src data: blob:",
                    "style-src 'unsafe-inline'",
                    "worker-src blob:",
                    "script-src " + " ".join(f"'sha256-{_digest(s)}'" for s in scripts),
                    "base-uri 'none'",
                    "form-action 'none'",
                )
            ),
            plots=_json({i.anchor: plot for i in drawn.values() if (plot := plot_data(i)) is not None}),
            scene=_json(scene) if scene is not None else None,
            scene_note=scene_note,
            link=lambda relative: _link(folder, relative),
        )
    )
    return write_text(folder / NAME, page)


def _lighter(illustration: Illustration) -> Illustration:
    """A picture as WebP, a fifth of the PNG's size: noise hardly packs without loss, and a page must travel by mail."""
    if illustration.kind != "png":
        return illustration
    packed = io.BytesIO()
    with Image.open(io.BytesIO(illustration.data)) as picture:
        picture.convert("RGB").save(packed, "WEBP", quality=88, method=4)
    return dataclasses.replace(illustration, kind="webp", data=packed.getvalue())


def plot_data(illustration: Illustration) -> dict[str, Any] | None:
    """What the page's plotting script needs of a curve or a histogram; None for pictures."""
    figure = illustration.figure
    if isinstance(figure, CurveFigure):
        return {
            "kind": "curves",
            "title": figure.title,
            "x": {"label": figure.x_label, "scale": figure.x_scale},
            "y": {"label": figure.y_label, "scale": figure.y_scale},
            "series": [_series(s) for s in figure.series],
            "markers": [_marker(m) for m in figure.markers],
        }
    if isinstance(figure, HistogramFigure):
        return {
            "kind": "histogram",
            "title": figure.title,
            "x": {"label": figure.x_label, "scale": "linear"},
            "y": {"label": figure.y_label, "scale": figure.y_scale},
            "edges": _numbers(figure.edges),
            "counts": _numbers(figure.counts),
            "series": [_series(s) for s in figure.expected],
            "markers": [_marker(m) for m in figure.markers],
        }
    return None


def _numbers(values: tuple[float, ...] | None) -> list[float | None] | None:
    """Rounded to what a screen can show; null where there is no number."""
    if values is None:
        return None
    return [float(f"{v:.7g}") if math.isfinite(v) else None for v in values]


def _series(series: Series) -> dict[str, Any]:
    return {
        "label": series.label,
        "role": series.role,
        "style": series.style,
        "x": _numbers(series.x),
        "y": _numbers(series.y),
        "low": _numbers(series.low),
        "high": _numbers(series.high),
    }


def _marker(marker: Marker) -> dict[str, Any]:
    return {"axis": marker.axis, "value": marker.value, "end": marker.end, "label": marker.label, "role": marker.role}


def _json(value: Any) -> Markup:
    """JSON that can stand inside a script element: no text in it can close the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character, code in (
        ("<", "\\u003c"),
        (">", "\\u003e"),
        ("&", "\\u0026"),
        ("\u2028", "\\u2028"),
        ("\u2029", "\\u2029"),
    ):
        text = text.replace(character, code)
    return Markup(text)


def _link(folder: Path, relative: str) -> str | None:
    """A relative link to a file of the report's folder, None when it is not there or lies outside."""
    path = (folder / relative).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        return None
    return quote(Path(relative).as_posix())


def _outcome_css() -> str:
    light = "".join(f"--{s.key}:{s.light};" for s in content.STYLES.values())
    dark = "".join(f"--{s.key}:{s.dark};" for s in content.STYLES.values())
    roles = "".join(f"--role-{name}:{colour};" for name, colour in (ROLE_COLOURS | MARKER_COLOURS).items())
    rules = "".join(f".o-{s.key}{{--c:var(--{s.key})}}" for s in content.STYLES.values())
    return (
        f":root{{{light}{roles}}}"
        f"@media (prefers-color-scheme:dark){{:root{{{dark}{_DARK_ROLES}}}}}"
        f"@media print{{:root{{{light}{roles}}}}}{rules}"
    )


# The figures' colours, lighter on a dark page; each keeps its hue.
_DARK_ROLES = (
    "--role-data:#74b3ea;--role-model:#f09a5c;--role-expected:#a5b0bc;--role-corrected:#4fc2b3;--role-other:#c39be6;"
    "--role-limit:#ff8a75;--role-reported:#b9a3f5;--role-note:#a5b0bc;"
)


@cache
def _asset(name: str) -> str:
    return (_HERE / "assets" / name).read_text(encoding="utf-8")


@cache
def _script(name: str) -> Markup:
    text = _asset(name)
    if "</script" in text.lower():
        raise ValueError(f"{name} holds a closing script tag and cannot stand inside a page.")
    return Markup(text)


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # Of plain texts only: what is markup already holds data and scripts.
        finalize=lambda value: content.raised(value) if type(value) is str else value,
    )
    filters: dict[str, Any] = {
        "cell": content.cell,
        "plain": content.plain,
        "size_text": content.size_text,
        "duration": content.duration,
        "paragraphs": content.paragraphs,
        "anchor": content.anchor,
        "readable": content.readable,
        "numeric": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
        "memory": content.memory,
    }
    environment.filters.update(filters)
    return environment


def check_illustrations(check: CheckResult, drawn: Mapping[str, Illustration]) -> list[Illustration]:
    """The figures of one check, in its order."""
    return [drawn[f"{content.anchor(check)}-{figure.key}"] for figure in check.figures]
