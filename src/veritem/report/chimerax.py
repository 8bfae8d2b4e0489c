"""Command files that open the submitted map and the derived maps in ChimeraX, coloured and with a key.

Commands as the ChimeraX user guide documents them (open, volume, color sample, key, 2dlabels, hide, view); relative
paths in a command file count from the file's own folder.
Meng et al., Protein Science 32 (2023) e4792, doi:10.1002/pro.4792.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from veritem.report.files import write_text
from veritem.report.palette import hex_colours
from veritem.results import CheckResult, DerivedMap, ValidationResult

FOLDER = "chimerax"
PALETTE_STEPS = 9


def write_chimerax(result: ValidationResult, folder: Path, map_path: Path | None) -> list[Path]:
    """Write `chimerax/overview.cxc` and one file for each map that colours the surface. Returns the files.

    map_path: the submitted map; None when it is not known where it lies, and then the files say where to put its path.
    """
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    level = contour_level(result)
    written = [write_text(folder / FOLDER / "overview.cxc", _overview(result, folder, map_path, level))]
    for check in result.checks:
        for derived in check.maps:
            if derived.colours_map:
                path = folder / command_file(check, derived)
                written.append(write_text(path, _colouring(result, check, derived, folder, map_path, level)))
    return written


def command_file(check: CheckResult, derived: DerivedMap) -> str:
    """Where the command file of a colouring is, relative to the report's folder."""
    return f"{FOLDER}/{_file_word(check.code)}_{_file_word(derived.key)}.cxc"


def contour_level(result: ValidationResult) -> float | None:
    level = result.facts.get("contour_level")
    if level is not None and isinstance(level.value, int | float):
        return float(level.value)
    return result.scene.level if result.scene else None


def find_map(result: ValidationResult, folder: Path) -> Path | None:
    """The submitted map, where it was when the report was made, or else near the report."""
    for file in result.inputs:
        if file.role not in ("map", "density_map"):
            continue
        name = Path(file.name)
        recorded = [folder / file.path] if file.path else []
        for candidate in (*recorded, folder / name, folder.parent / name):
            if candidate.is_file():
                return candidate
    return None


def _file_word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip(".") or "map"


def _comment(text: str) -> str:
    """One comment line, whatever the text holds: a line break must not begin a command."""
    return "# " + " ".join(text.split())


def _quoted(text: str) -> str | None:
    """A ChimeraX string, or None when the text cannot be quoted safely."""
    if re.search(r'["\\\x00-\x1f\x7f]', text):
        return None
    return f'"{text}"'


def _label(text: str) -> str:
    """A label's text: what would end the string or begin an escape is replaced, nothing else."""
    return '"' + re.sub(r"[\x00-\x1f\x7f]+", " ", text.replace("\\", "/").replace('"', "'")) + '"'


def _open(path: Path, start: Path, number: int) -> list[str]:
    try:
        shown = os.path.relpath(path.resolve(), start.resolve())
    except ValueError:
        # Another drive on Windows has no relative path.
        shown = str(path.resolve())
    quoted = _quoted(shown.replace(os.sep, "/"))
    if quoted is None:
        return [
            _comment(f"The name {shown!r} cannot be written in a command. Open the file by hand as model #{number}.")
        ]
    return [f"open {quoted} id #{number}"]


def _open_map(result: ValidationResult, map_path: Path | None, start: Path) -> list[str]:
    if map_path is not None:
        return _open(map_path, start, 1)
    name = next((f.name for f in result.inputs if f.role in ("map", "density_map")), "map.mrc")
    quoted = _quoted(name) or '"map.mrc"'
    lines = [_comment("The submitted map was not found beside this report: put its path into the next line.")]
    return [*lines, f"open {quoted} id #1"]


def _head(result: ValidationResult, title: str) -> list[str]:
    return [
        _comment(f"Veritem {result.provenance.veritem_version}: {title}"),
        _comment(f"Of: {result.title}"),
        _comment("Open this file in ChimeraX 1.4 or later: File > Open, or the command 'open' and its path."),
        "",
    ]


def _surface(level: float | None) -> list[str]:
    level_option = "" if level is None else f" level {level:.6g}"
    return [f"volume #1 style surface step 1{level_option} color #b9c6d6"]


_SCENE = ["set bgColor white", "lighting soft", "graphics silhouettes true", "view #1"]


def _overview(result: ValidationResult, folder: Path, map_path: Path | None, level: float | None) -> str:
    start = folder / FOLDER
    lines = _head(result, "the submitted map and every derived map")
    lines += [*_open_map(result, map_path, start), *_surface(level)]
    number = 1
    for check in result.checks:
        for derived in check.maps:
            number += 1
            unit = f", {derived.unit}" if derived.unit else ""
            lines += ["", _comment(f"#{number}: {check.code} {derived.label}{unit}. {derived.description}")]
            lines += _open(folder / derived.file, start, number)
            lines += [f"hide #{number} models"]
            if derived.colours_map:
                lines.append(_comment(f"to colour the map by it: open {Path(command_file(check, derived)).name}"))
    return "\n".join([*lines, "", *_SCENE, ""])


def _colouring(
    result: ValidationResult,
    check: CheckResult,
    derived: DerivedMap,
    folder: Path,
    map_path: Path | None,
    level: float | None,
) -> str:
    start = folder / FOLDER
    unit = f" ({derived.unit})" if derived.unit else ""
    lines = _head(result, f"{check.code} {check.title}: the map coloured by {derived.label}{unit}")
    lines += [_comment(derived.description)]
    lines += _open_map(result, map_path, start)
    lines += _open(folder / derived.file, start, 2)
    lines += ["hide #2 models", *_surface(level)]
    colours = hex_colours(derived.palette, PALETTE_STEPS)
    if derived.colour_limits is None:
        palette, key = ":".join(colours), " key true"
    else:
        low, high = derived.colour_limits
        values = [low + (high - low) * i / (PALETTE_STEPS - 1) for i in range(PALETTE_STEPS)]
        palette = ":".join(f"{value:.5g},{colour}" for value, colour in zip(values, colours, strict=True))
        shown = {0, (PALETTE_STEPS - 1) // 2, PALETTE_STEPS - 1}
        stops = (
            f"{c}:{v:.4g}" if i in shown else f"{c}:" for i, (v, c) in enumerate(zip(values, colours, strict=True))
        )
        key = ""
        lines += [f"key {' '.join(stops)} pos 0.30,0.06 size 0.40,0.03"]
    lines += [f"color sample #1 map #2 palette {palette} noValueColor #9ea3ab{key}"]
    lines += [f"2dlabels text {_label(derived.label + unit)} xpos 0.30 ypos 0.11 size 18 color black"]
    return "\n".join([*lines, "", *_SCENE, ""])
