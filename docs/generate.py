"""Write the pages of the documentation that come from the code.

    python docs/generate.py            # text, and the exhibits of checks whose code has changed
    python docs/generate.py --text     # text only, with the exhibits as they are stored
    python docs/generate.py --again    # run every exhibit

A check's page is made from its docstring, its criteria and its exhibits (exhibits.py); the reference from the command
line, the JSON schema and the public names; the pages on speed, on real maps, on half maps whose answer is known and
on other programs from the committed benchmarks.
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import json
import re
import sys
import types
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
BENCHMARKS = ROOT / "benchmarks"


def load_script(path: Path) -> types.ModuleType:
    """Import a script that is not part of a package, once."""
    name = f"veritem_{path.parent.name}_{path.stem}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


exhibits = load_script(DOCS / "exhibits.py")


def text_pages() -> dict[Path, str]:
    """Every generated text by its path; the same code and the same stored runs give the same texts."""
    pages = {
        "checks/index.md": checks_index(),
        "reference/command-line.md": command_line(),
        "reference/results.md": results_page(),
        "reference/results.schema.json": schema_text(),
        "reference/python.md": python_page(),
        "explanation/speed.md": speed_page(),
        "explanation/real-maps.md": real_maps_page(),
        "explanation/known-half-maps.md": known_half_maps_page(),
        "explanation/other-programs.md": other_programs_page(),
    }
    stored = exhibits.stored()
    for check in _checks():
        pages[f"checks/{check.code}.md"] = check_page(check, stored.get(check.code))
    return {DOCS / name: text for name, text in pages.items()}


def _checks() -> tuple[Any, ...]:
    from veritem.checks.registry import CHECKS

    return CHECKS


# --- checks ------------------------------------------------------------------------------------------------


def checks_index() -> str:
    from veritem.checks.registry import LEVELS

    lines = [
        "# The checks",
        "",
        "A check asks one question, measures, and is judged by written criteria. `veritem explain CODE` shows the "
        "same in the terminal.",
        "",
    ]
    for level, about in LEVELS.items():
        lines += [f"## Level {level}: {about.title}", "", "| check | title | question | needs |", "|---|---|---|---|"]
        for check in _checks():
            if check.level == level:
                question = check.question() + (f" *Not available: {check.unavailable}.*" if check.unavailable else "")
                lines.append(
                    f"| [{check.code}]({check.code}.md) | {_cell(check.title)} | {_cell(question)} | "
                    f"{_cell(', '.join(_needs(check)))} |"
                )
        lines.append("")
    lines += [
        "What *pass*, *warning*, *inconclusive*, *not applicable* and *failed* mean is told in "
        "[How a map is judged](../explanation/how-a-map-is-judged.md).",
    ]
    return _page(lines)


def _needs(check: Any) -> list[str]:
    from veritem.derived.registry import INPUTS

    return [INPUTS[name] for name in check.needs]


def check_page(check: Any, record: dict[str, Any] | None) -> str:
    lines = [f"# {check.code} {check.title}", "", f"**{check.question()}**", ""]
    lines += [f"Needs {' and '.join(_needs(check))}. Level {check.level}.", ""]
    if check.unavailable:
        lines += ["!!! note", f"    Not available yet: {check.unavailable}. The outcome is *not applicable*.", ""]
    lines += ["## How it measures", "", check.method(), ""]
    if check.criteria:
        lines += ["## Criteria", ""]
        lines += [line for criterion in check.criteria for line in _criterion_lines(criterion)]
    if record is not None:
        lines += ["## A sound map", "", *_exhibit_lines(record["sound"])]
        seen = {figure["caption"] for figure in record["sound"]["figures"]}
        lines += ["## A faulty map", "", *_exhibit_lines(record["faulty"], seen)]
    elif not check.unavailable:
        lines += ["## A sound and a faulty map", "", "Not shown yet.", ""]
    if check.misleads():
        lines += ["## When the answer misleads", "", check.misleads().replace("Misleads when", "It misleads when"), ""]
    lines += ["## How far to trust it", "", *_trust_lines(check)]
    lines += ["## References", ""]
    for reference in check.references:
        link = f" [{reference.doi}]({reference.url})" if reference.doi else ""
        lines.append(f"- {reference.text}{link}")
    return _page(lines)


def _criterion_lines(criterion: Any) -> list[str]:
    decided = {
        "interval": "The whole interval decides: wholly beyond the limit is a warning, wholly within is a pass, "
        "anything else is inconclusive.",
        "value": "",
    }[criterion.rule]
    if criterion.significance:
        decided += (
            f" A value beyond the limit is a warning only when chance explains it with p below {criterion.alpha:g}."
        )
    lines = [
        f"**{criterion.text}** ({criterion.limit_text}).",
        "",
        f"- Why this limit: {_sentence(criterion.because)}",
    ]
    if decided:
        lines.append(f"- How it is decided: {decided.strip()}")
    if criterion.causes:
        lines.append(f"- Most probable causes of a warning, the likeliest first: {_listed(criterion.causes)}")
    if criterion.advice:
        lines.append(f"- What to do: {criterion.advice}")
    return [*lines, ""]


def _listed(causes: Iterable[str]) -> str:
    return _sentence("; ".join(_lower_first(cause.rstrip(".")) for cause in causes))


def _lower_first(text: str) -> str:
    """Without the capital of a sentence; abbreviations such as CTF keep theirs."""
    return text[:1].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else text + "."


def _exhibit_lines(record: dict[str, Any], said: Iterable[str] = ()) -> list[str]:
    """said: captions that the page holds already and that are not repeated."""
    options = " ".join(f"--{name.replace('_', '-')} {value:g}" for name, value in record["options"].items())
    if record.get("half_maps"):
        options = f"--half-map-1 half_1.mrc --half-map-2 half_2.mrc {options}"
    lines = [f"{record['made']} Validated with `{options}`.", ""]
    lines += [f"Outcome: **{record['outcome']}**." + (f" {_sentence(record['reason'])}" if record["reason"] else "")]
    if record["summary"]:
        lines += ["", record["summary"]]
    lines.append("")
    for criterion in record["criteria"]:
        if criterion["warning"]:
            lines += ["!!! warning", f"    {criterion['warning']}", ""]
    for caveat in record["caveats"]:
        lines += ["!!! note", f"    {caveat}", ""]
    if record["quantities"]:
        lines += ["| quantity | value |", "|---|---|"]
        lines += [f"| {_cell(label)} | {_cell(value)} |" for label, value, _ in record["quantities"]]
        lines.append("")
    for figure in record["figures"]:
        lines += [
            f"![{_alt(figure['alt_text'])}](figures/{figure['file']})",
            "",
            f"*{_escape_emphasis(figure['title'])}.* {'' if figure['caption'] in said else figure['caption']}".strip(),
            "",
        ]
    return lines


# What the keys of the calibrations mean, for the heads of tables and columns.
MEASURED = {
    "noise": "Pure noise",
    "family": "found significant (nominal 1 %)",
    "family_at_5_percent": "p below 5 %",
    "warning": "warns",
    "inconclusive": "inconclusive",
    "significant": "found significant",
    "voxelwise": "a test that counts voxels warns",
    "voxelwise_t_test": "of these by its t-test",
    "voxelwise_5_sigma": "of these by its count beyond 5 σ",
    "interval_holds_truth": "The 95 % interval holds the planted value",
    "within_10_percent_or_interval": "Within 10 % of the planted value, or its interval holds it",
    "false_alarms_sound": "Warnings of sound maps",
    "false_alarms_uniform": "Warnings of maps in which everything is there",
    "declined": "No answer (too few segments, too little signal)",
    "error": "Measured less planted B (Å²), by planted B (Å²)",
    "half_width_of_interval": "Half width of the 95 % interval (Å²), by resolution",
    "warned": "Warnings, by planted B (Å²)",
    "outcomes": "Outcomes, by planted B (Å²)",
    "scatter_over_standard_error": "Scatter of local values over their stated standard error, by resolution",
    "sd_of_ln_occupancy_between_segments": "Scatter of ln occupancy between segments that are all there",
    "one_of_four": "One of four subunits weak, by its occupancy",
    "two_domains_planted_-150": "Two domains planted 150 Å² apart, difference measured",
}
MEASURED_COLUMNS = {"sd": "standard deviation", "warned": "warns", "found": "found", "rate": "share", "share": "share"}


def _trust_lines(check: Any) -> list[str]:
    """What was measured of the check's errors, from the committed calibrations."""
    if check.unavailable:
        return ["It gives no answer yet.", ""]
    lines = [*_false_alarm_lines(check.code), *_calibration_lines(check)]
    return lines or ["Its false-alarm and detection rates have not been measured yet.", ""]


def _false_alarm_lines(code: str) -> list[str]:
    from veritem.run.execute import RATES

    if not RATES.is_file():
        return []
    stored = json.loads(RATES.read_text())
    found = stored["checks"].get(code)
    if found is None:
        return []
    rate = {"maps": found["sound_maps"], "rate": found["rate"], "interval_95": found["interval"]}
    about = stored | found
    return [
        f"Of {found['sound_maps']} {about['measured_on']}, it warned of {found['warnings']}: a false-alarm rate of "
        f"{_rate_text(rate)}; {found['inconclusive']} came out inconclusive (`{about['command']}`).",
        "",
    ]


def _calibration_lines(check: Any) -> list[str]:
    """The check's own calibration, beside its module or among the results of the benchmarks."""
    module = Path(inspect.getfile(check))
    own = module.with_name(f"{module.stem}_calibration.json")
    lines: list[str] = []
    if own.is_file():
        stored = json.loads(own.read_text())
        lines += _measured_lines(stored, stored["command"])
    b_factor = BENCHMARKS / "results" / "b_factor.json"
    if b_factor.is_file() and check.code in (stored := json.loads(b_factor.read_text())):
        lines += _measured_lines(stored[check.code], stored.get("command", "python benchmarks/calibrate_b_factor.py"))
        alone = stored.get("noise", {}).get(check.code)
        if alone:
            said = ", ".join(f"{outcome} {count}" for outcome, count in alone.items())
            lines += [f"Maps of noise alone came out: {said}.", ""]
    return lines


def _measured_lines(measured: dict[str, Any], command: str) -> list[str]:
    """Single rates as a list, groups of them as tables."""
    lines = [f"Measured with `{command}`; rates have their 95 % interval in brackets.", ""]
    single = [
        f"- {_measured_name(key)}: {_measured_text(value)}"
        for key, value in measured.items()
        if _is_rate(value) or isinstance(value, float)
        if key != "nominal"
    ]
    lines += [*single, ""] if single else []
    for key, group in measured.items():
        if not isinstance(group, dict) or _is_rate(group):
            continue
        if "mean" in group:
            said = [f"{MEASURED_COLUMNS.get(k) or _words(k)} {_measured_text(v)}" for k, v in group.items()]
            lines += [f"{_measured_name(key)}: {', '.join(said)}.", ""]
        elif all(isinstance(entry, list) for entry in group.values()):
            for kind, entries in group.items():
                rows = {f"{entry['dose']:g}": entry for entry in entries}
                lines += _measured_table(f"{_measured_name(key)}: {kind}", "dose", rows)
        else:
            lines += _measured_table(_measured_name(key), "", group)
    return lines


def _measured_table(title: str, first: str, rows: dict[str, Any]) -> list[str]:
    """One row per condition; a column for every number or rate that any of them has."""
    if not any(isinstance(row, dict) for row in rows.values()):
        rows = {label: {"value": value} for label, value in rows.items()}
    elif all(_is_rate(row) for row in rows.values()):
        rows = {label: {"maps": row["maps"], "rate": row} for label, row in rows.items()}
    rows = {label: row if isinstance(row, dict) else {"value": row} for label, row in rows.items()}
    columns = list(dict.fromkeys(key for row in rows.values() for key, value in row.items() if _is_shown(value)))
    columns = [column for column in columns if column not in ("dose", "independent_voxels", "interval_95")]
    if not columns:
        return []
    heads = [MEASURED_COLUMNS.get(column) or MEASURED.get(column) or _words(column) for column in columns]
    lines = [f"### {title}", "", f"| {first} | {' | '.join(heads)} |", "|---|" + "--:|" * len(columns)]
    for label, row in rows.items():
        lines.append(
            f"| {_cell(_words(label))} | {' | '.join(_measured_text(row.get(column)) for column in columns)} |"
        )
    return [*lines, ""]


def _is_rate(value: Any) -> bool:
    return isinstance(value, dict) and "interval_95" in value and ("rate" in value or "share" in value)


def _is_shown(value: Any) -> bool:
    return _is_rate(value) or value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _measured_text(value: Any) -> str:
    if value is None:
        return "–"
    if _is_rate(value):
        return _rate_text(value)
    return f"{value:.3g}".replace("-", "\u2212")


def _rate_text(rate: dict[str, Any]) -> str:
    low, high = (100 * bound for bound in rate["interval_95"])
    value = 100 * (rate["rate"] if "rate" in rate else rate["share"])
    return f"{value:.3g} % ({low:.2g} to {high:.3g}; {rate['maps']} maps)"


def _measured_name(key: str) -> str:
    words = MEASURED.get(key) or _words(key)
    return words[:1].upper() + words[1:]


def _words(key: str) -> str:
    return key.replace("_", " ").replace("-", "\u2212")


# --- command line ------------------------------------------------------------------------------------------


def command_line() -> str:
    from veritem import cli

    commands = {info.name or info.callback.__name__.replace("_", "-"): info for info in cli.app.registered_commands}
    lines = [
        "# Command line",
        "",
        f"`veritem COMMAND [OPTIONS]`. {cli.app.info.help}",
        "",
        "| command | what it does |",
        "|---|---|",
    ]
    for name, info in commands.items():
        lines.append(f"| [`veritem {name}`](#veritem-{name}) | {_cell(_docstring(info.callback)[0])} |")
    lines += ["", "`veritem --version` shows the version; `--help` or `-h` after any command explains it.", ""]
    for name, info in commands.items():
        lines += [f"## veritem {name}", "", "\n\n".join(_docstring(info.callback)), ""]
        arguments, options = _parameters(info.callback)
        usage = ["veritem", name, *(["[OPTIONS]"] if options else []), *(a.upper() for a in arguments)]
        lines += [f"Usage: `{' '.join(usage)}`", ""]
        if arguments:
            lines += ["| argument | meaning |", "|---|---|"]
            lines += [f"| `{argument.upper()}` | {_cell(about)} |" for argument, about in arguments.items()]
            lines.append("")
        for panel, rows in options.items():
            if panel:
                lines += [f"### {panel} {{ #{name}-{panel.lower()} }}", ""]
            lines += ["| option | value | default | meaning |", "|---|---|---|---|", *rows, ""]
        examples = [line for line in _plain(info.epilog or "").splitlines() if line.startswith("veritem ")]
        if examples:
            lines += ["Examples:" if len(examples) > 1 else "Example:", "", "```sh", *examples, "```", ""]
    lines += ["## Exit codes", "", "| code | meaning |", "|---|---|"]
    for line in _plain(cli.EXIT_TEXT).splitlines():
        code, _, meaning = line.partition("  ")
        if code.isdigit():
            lines.append(f"| {code} | {_cell(meaning)} |")
    lines += [
        "",
        "`veritem demo` exits with 0 even when a check warns. `veritem validate --exit-zero` does so as well.",
    ]
    return _page(lines)


def _docstring(function: Any) -> list[str]:
    return [" ".join(block.split()) for block in (inspect.getdoc(function) or "").split("\n\n")]


def _parameters(function: Any) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The arguments with their help, and the rows of the options by panel, from a command's signature."""
    from typer.models import OptionInfo

    arguments: dict[str, str] = {}
    options: dict[str, list[str]] = {}
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        kind, about = get_args(hints[name])
        if not isinstance(about, OptionInfo):
            arguments[name] = about.help
            continue
        # Typer takes the first name of an annotated option for its default.
        first = [about.default] if isinstance(about.default, str) and about.default.startswith("-") else []
        declared = [*first, *(about.param_decls or ())] or [f"--{name.replace('_', '-')}"]
        names = ", ".join(f"`{d}`" for d in declared)
        default = "" if parameter.default in (None, False) else f"`{parameter.default}`"
        row = f"| {names} | {_value_text(kind)} | {default} | {_cell(about.help)} |"
        options.setdefault(about.rich_help_panel or "", []).append(row)
    return arguments, options


def _value_text(kind: Any) -> str:
    kinds = [part for part in get_args(kind) or (kind,) if part is not type(None)]
    if get_origin(kinds[0]) is list:
        return "text, repeatable"
    if get_origin(kind) is list:
        return f"{_value_text(get_args(kind)[0])}, repeatable"
    return {bool: "", float: "number", int: "whole number", str: "text", Path: "path"}[kinds[0]]


def _plain(markup: str) -> str:
    """Rich's [bold] and its like taken out."""
    from rich.text import Text

    return Text.from_markup(markup).plain


def _paragraphs(text: str | None) -> list[str]:
    return [" ".join(block.split()) for block in (text or "").split("\n\n")]


# --- results -----------------------------------------------------------------------------------------------


def schema() -> dict[str, Any]:
    from veritem.results import ValidationResult

    return ValidationResult.model_json_schema()


def schema_text() -> str:
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def results_page() -> str:
    from veritem.results import SCHEMA_VERSION

    described = schema()
    records = {"ValidationResult": described} | described["$defs"]
    lines = [
        "# results.json",
        "",
        f"`results.json` is one [ValidationResult](#validationresult) (schema `{SCHEMA_VERSION}`). The report is made "
        "from it and from the arrays beside it, and shows nothing else. The schema itself: "
        "[results.schema.json](results.schema.json), or `veritem schema`.",
        "",
        "Numbers that are not finite are written as `NaN`, `Infinity` and `-Infinity`. A field with a default may be "
        "missing.",
        "",
    ]
    for name in _reading_order(records):
        record = records[name]
        lines += [f"## {name}", ""]
        description = record.get("description", "")
        lines += [block + "\n" for block in _paragraphs(description)] if description else []
        if "enum" in record:
            lines += [f"One of {', '.join(f'`{value}`' for value in record['enum'])}.", ""]
            continue
        required = set(record.get("required", ()))
        lines += ["| field | type | meaning |", "|---|---|---|"]
        for field, about in record["properties"].items():
            meaning = about.get("description", "")
            if field not in required and about.get("default") not in (None, "", [], {}):
                meaning += f" Default `{json.dumps(about['default'], ensure_ascii=False)}`."
            lines.append(f"| `{field}` | {_type_text(about)} | {_cell(meaning.strip())} |")
        lines.append("")
    return _page(lines)


def _reading_order(records: dict[str, Any]) -> list[str]:
    """From the whole to its parts, in the order in which they are first mentioned."""
    order: list[str] = []

    def visit(name: str) -> None:
        if name in order:
            return
        order.append(name)
        for about in records[name].get("properties", {}).values():
            for part in _mentioned(about):
                visit(part)

    visit("ValidationResult")
    return order


def _mentioned(about: Any) -> list[str]:
    if isinstance(about, dict):
        found = [about["$ref"].rsplit("/", 1)[-1]] if "$ref" in about else []
        return found + [n for key, value in about.items() if key != "discriminator" for n in _mentioned(value)]
    if isinstance(about, list):
        return [name for value in about for name in _mentioned(value)]
    return []


def _type_text(about: dict[str, Any]) -> str:
    if "$ref" in about:
        name = about["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if "const" in about:
        return f"`{about['const']}`"
    if "enum" in about:
        return " or ".join(f"`{value}`" for value in about["enum"])
    for key in ("anyOf", "oneOf"):
        if key in about:
            return " or ".join(_type_text(part) for part in about[key])
    kind = about.get("type")
    if kind == "array":
        if "prefixItems" in about:
            return f"list of {len(about['prefixItems'])}: " + ", ".join(_type_text(p) for p in about["prefixItems"])
        return f"list of {_type_text(about['items'])}"
    if kind == "object":
        values = about.get("additionalProperties")
        return f"object of {_type_text(values)}" if isinstance(values, dict) and values else "object"
    if about.get("format") == "date-time":
        return "date and time"
    names = {"string": "text", "number": "number", "integer": "whole number", "boolean": "true or false"}
    return names.get(str(kind), "null" if kind == "null" else "anything")


# --- Python ------------------------------------------------------------------------------------------------


def python_page() -> str:
    lines = [
        "# Python",
        "",
        "Everything public is in the package itself: `import veritem`. How to use it is told in "
        "[Use it from Python](../how-to/use-from-python.md).",
        "",
    ]
    sections = {
        "Validate and report": ("validate", "render_report", "demo"),
        "Learn about the checks": ("api.list_checks", "explain", "api.CheckPage"),
        "Results": (
            "ValidationResult",
            "CheckResult",
            "Outcome",
            "results.Quantity",
            "results.CriterionResult",
            "results.Score",
            "results.Problem",
        ),
        "Errors": ("VeritemError", "InputError"),
    }
    for title, names in sections.items():
        lines += [f"## {title}", ""]
        if title == "Results":
            lines += ["The fields of every record are listed under [results.json](results.md).", ""]
        for name in names:
            lines += [f"::: veritem.{name}", ""]
    return _page(lines)


# --- speed -------------------------------------------------------------------------------------------------


def speed_page() -> str:
    lines = ["# Speed", ""]
    path = BENCHMARKS / "results" / "level_0.json"
    if not path.is_file():
        return _page([*lines, "Not measured yet: `make benchmark` prints the figures for your machine."])
    measured = json.loads(path.read_text())
    budget = load_script(BENCHMARKS / "level_0.py").BUDGET
    lines += [
        "## One map",
        "",
        f"All of Level 0 on simulated maps, report included, on {measured['cores']} cores "
        f"({measured['machine']}), each box in a process of its own. The kernels had been compiled before; that "
        "happens once after an installation and takes about a minute.",
        "",
        "| box | seconds | CPU seconds | peak memory (GB) | budget |",
        "|---|---|---|---|---|",
    ]
    for box, row in measured["boxes"].items():
        lines.append(_speed_row(f"{box}³", row, budget.get(int(box), (None, None))))
    codes = sorted({code for row in measured["boxes"].values() for code in row["checks"]})
    lines += ["", "Seconds per check, with what it is the first to need:", ""]
    lines += ["| box | " + " | ".join(codes) + " |", "|---|" + "---|" * len(codes)]
    for box, row in measured["boxes"].items():
        lines.append(f"| {box}³ | " + " | ".join(f"{row['checks'].get(c, 0.0):.1f}" for c in codes) + " |")
    lines += ["", *_level_1_speed_lines()]
    lines += [
        "",
        f"`veritem --help` answers in {measured['help_seconds']:.2f} s (budget 0.5 s).",
        "",
        "`make benchmark` prints the same for your machine.",
    ]
    return _page(lines)


def _speed_row(name: str, row: dict[str, Any], budget: tuple[float | None, float | None]) -> str:
    seconds, memory = budget
    texts = (f"{seconds:g} s" if seconds else "", f"{memory:g} GB" if memory else "")
    allowed = ", ".join(text for text in texts if text)
    return f"| {name} | {row['wall']:.1f} | {row['cpu']:.1f} | {row['peak_gb']:.2f} | {allowed or '–'} |"


def _level_1_speed_lines() -> list[str]:
    lines = ["## Two half maps", ""]
    path = BENCHMARKS / "results" / "level_1.json"
    if not path.is_file():
        return [*lines, "Not measured yet: `python benchmarks/level_1.py`."]
    measured, script = json.loads(path.read_text()), load_script(BENCHMARKS / "level_1.py")
    lines += [
        f"The checks of half maps on simulated pairs, report included, on {measured['cores']} cores "
        f"({measured['machine']}): alone, and together with Level 0. The budget is for both.",
        "",
        "| box | seconds | CPU seconds | peak memory (GB) | budget |",
        "|---|---|---|---|---|",
    ]
    for box, rows in measured["boxes"].items():
        lines.append(_speed_row(f"{box}³, half maps alone", rows["level_1"], (None, None)))
        lines.append(_speed_row(f"{box}³, with Level 0", rows["both"], script.BUDGET.get(int(box), (None, None))))
    codes = sorted({code for rows in measured["boxes"].values() for code in rows["level_1"]["checks_cpu"]})
    boxes = list(measured["boxes"])
    lines += [
        "",
        "CPU seconds per check, with what it is the first to need, beside those of other programs for the same "
        "question on boxes of 128³ and 256³ (see [Other programs](other-programs.md)):",
        "",
        "| check | " + " | ".join(f"{box}³" for box in boxes) + " | other programs, 128³ / 256³ |",
        "|---|" + "--:|" * len(boxes) + "---|",
    ]
    for code in codes:
        cells = [f"{measured['boxes'][box]['level_1']['checks_cpu'].get(code, 0.0):.1f}" for box in boxes]
        others = [
            f"{program} {_cpu(script.OTHER_PROGRAMS[program], '128')} / {_cpu(script.OTHER_PROGRAMS[program], '256')}"
            for program in script.BESIDE.get(code, ())
        ]
        lines.append(f"| {code} | {' | '.join(cells)} | {'; '.join(others) or '–'} |")
    return lines


def _cpu(row: dict[str, float], box: str) -> str:
    return f"{row[box]:g}" if box in row else "–"


# --- half maps whose answer is known -----------------------------------------------------------------------


def known_half_maps_page() -> str:
    lines = [
        "# Half maps whose answer is known",
        "",
        "Half maps of made-up proteins were simulated with a known resolution: the same everywhere, different in two "
        "regions, different by direction, and with angles that are wrong. What the checks of half maps read there is "
        "set against the truth here.",
        "",
    ]
    path = BENCHMARKS / "results" / "level_1_truth.json"
    if not path.is_file():
        return _page([*lines, "Not measured yet: `python benchmarks/level_1_truth.py`."])
    measured = json.loads(path.read_text())
    lines += [
        f"Measured with `{measured['command']}`: proteins in {measured['box']}³ voxels of "
        f"{measured['pixel_size']:g} Å (the global resolution: in boxes of 64 to 112 voxels of 0.6 to 1.5 Å), with "
        "noise of such strength, and a decay of the signal so steep, that the FSC falls as that of real maps does.",
        "",
        "## The global resolution",
        "",
        "The truth is where the expected FSC inside the very mask of the check falls to the level: the known signal, "
        "masked, over the known noise.",
        "",
        "| level | pairs | measured over true: median | 5 to 95 % of pairs | the 95 % interval holds the truth |",
        "|---|--:|--:|--:|--:|",
    ]
    for level, row in measured["global"].items():
        low, high = row["spread"]
        held = "–" if row["interval_holds"] is None else f"{100 * row['interval_holds']:.0f} %"
        lines.append(
            f"| FSC {level.removeprefix('at ')} | {row['pairs']} | {row['median_ratio']:.3f} | "
            f"{low:.3f} to {high:.3f} | {held} |"
        )
    lines += ["", *_local_truth_lines(measured), *_direction_truth_lines(measured)]
    return _page(lines)


def _local_truth_lines(measured: dict[str, Any]) -> list[str]:
    """One table per case would be long: a row per region, a column per method."""
    codes = sorted({code for case in measured["local"].values() for code in case})
    heads = [f"[{code}](../checks/{code}.md)" for code in codes]
    lines = [
        "## Local resolution",
        "",
        "Two regions meet in a border of 10 Å; only voxels beyond it count. *Held* is the truth: where the signal deep "
        "inside the region falls to 0.143 against the known noise; it lies near what was planted, which is meant for "
        "the whole mask with its margin. Each method: the median, and 10 to 90 % of the voxels in brackets. Methods "
        "answer different questions, so they differ: 1.c reads a correlation; 1.d and 1.e ask what stands out of the "
        "noise at one place, which needs more signal and comes out coarser. The last columns of the second table tell "
        "whether they put the voxels in the right order.",
        "",
        f"| case | planted (Å) | held (Å) | {' | '.join(heads)} |",
        "|---|--:|--:|" + "--:|" * len(codes),
    ]
    for case, methods in measured["local"].items():
        regions = next((m["regions"] for m in methods.values() if "regions" in m), [])
        for i, region in enumerate(regions):
            cells = [_local_cell(methods.get(code, {}).get("regions", []), i) for code in codes]
            lines.append(
                f"| {_cell(case) if i == 0 else ''} | {region['planted']:g} | {_plain_number(region['truth'], 2)} | "
                f"{' | '.join(cells)} |"
            )
    lines += [
        "",
        f"| case | {' | '.join(f'{c}: determinable' for c in codes)} | {' | '.join(f'{c}: order' for c in codes)} |",
        "|---|" + "--:|" * (2 * len(codes)),
    ]
    for case, methods in measured["local"].items():
        shares = [methods.get(code, {}).get("determinable") for code in codes]
        ranks = [methods.get(code, {}).get("rank_correlation") for code in codes]
        lines.append(
            f"| {_cell(case)} | {' | '.join('–' if s is None else f'{100 * s:.0f} %' for s in shares)} | "
            f"{' | '.join(_plain_number(r, 2) for r in ranks)} |"
        )
    lines += [
        "",
        "Order: the rank correlation of all voxels with the planted local resolution, borders included.",
        "",
        "### Noise alone",
        "",
        "The same with the signal left out of both halves. Share of the particle to which a method gives a resolution "
        "better than 15 Å:",
        "",
        f"| case | {' | '.join(heads)} |",
        "|---|" + "--:|" * len(codes),
    ]
    for case, methods in measured["noise"].items():
        shares = [methods.get(code, {}).get("finer_than_15") for code in codes]
        lines.append(f"| {_cell(case)} | {' | '.join('–' if s is None else f'{100 * s:.2g} %' for s in shares)} |")
    return [*lines, ""]


def _local_cell(regions: list[Any], i: int) -> str:
    if i >= len(regions) or regions[i].get("median") is None:
        return "–"
    region = regions[i]
    return f"{region['median']:.2f} ({region['low']:.2f} to {region['high']:.2f})"


# Quantities of the checks of direction that the page shows: code, key, head of the column.
DIRECTION_COLUMNS = (
    ("1.f", "noise_anisotropy", "1.f: anisotropy by the noise"),
    ("1.g", "anisotropy", "1.g: anisotropy"),
    ("1.g", "worst_resolution", "1.g: worst (Å)"),
    ("1.h", "worst_cone", "1.h: worst cone (Å)"),
    ("1.h", "sphericity", "1.h: sphericity"),
    ("1.h", "area_ratio", "1.h: area ratio"),
)
ANGLE_COLUMNS = (
    ("azimuthal_excess", "azimuthal resolution worsens towards the rim by (%)"),
    ("azimuthal_p", "p"),
)


def _direction_truth_lines(measured: dict[str, Any]) -> list[str]:
    lines = [
        "## Directions",
        "",
        "Views crowd by 1 + a P2(cos θ) about an axis, or none look across a cone. The truth is the expected FSC in "
        "cones of 17°: the worst of them, and (best less worst cut-off) over the mean. In brackets: how many runs "
        "warned.",
        "",
        "| case | true worst (Å) | true anisotropy | " + " | ".join(head for _, _, head in DIRECTION_COLUMNS) + " |",
        "|---|" + "--:|" * (2 + len(DIRECTION_COLUMNS)),
    ]
    for case, checks in measured["directions"].items():
        truth = next(iter(checks.values()))["truth"]
        cells, told = [], set()
        for code, key, _ in DIRECTION_COLUMNS:
            found = checks.get(code, {})
            text = _plain_number(found.get("quantities", {}).get(key), 3)
            if code not in told and found:
                text += f" ({found['outcomes'].count('warning')} of {len(found['outcomes'])})"
                told.add(code)
            cells.append(text)
        worst = truth["worst"]
        shown = "none" if worst is None or worst > 20 else f"{worst:.2f}"
        lines.append(f"| {_cell(case)} | {shown} | {_plain_number(truth['anisotropy'], 2)} | {' | '.join(cells)} |")
    lines += [
        "",
        "## Wrong angles",
        "",
        "Angles that are wrong by so much (standard deviation about each axis) blur across the radius, more towards "
        "the rim. What 1.f makes of it:",
        "",
        "| case | planted B across the radius at the rim (Å²) | "
        + " | ".join(head for _, head in ANGLE_COLUMNS)
        + " | warned |",
        "|---|" + "--:|" * (2 + len(ANGLE_COLUMNS)),
    ]
    for case, checks in measured["angles"].items():
        for found in checks.values():
            cells = [_plain_number(found["quantities"].get(key), 3) for key, _ in ANGLE_COLUMNS]
            warned = f"{found['outcomes'].count('warning')} of {len(found['outcomes'])}"
            b_factor = found["truth"]["tangential_b_at_rim"]
            lines.append(f"| {_cell(case)} | {b_factor:.0f} | {' | '.join(cells)} | {warned} |")
    return [*lines, ""]


def _plain_number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "\u2212")


# --- other programs ----------------------------------------------------------------------------------------


def other_programs_page() -> str:
    lines = [
        "# Other programs on the same half maps",
        "",
        "One pair of half maps was given to many programs and to Veritem, with the same mask. The pair: the electron "
        "density of PDB 7CEC (two chains) in 128³ voxels of 1.2 Å, with atomic B that rises from 40 Å² in the centre "
        "to 200 Å² at the rim, and independent white noise, so strong that the FSC in the mask falls to 0.143 at "
        "3.2 Å. None of the programs is the truth; where there is one it is stated.",
        "",
    ]
    path = BENCHMARKS / "results" / "other_programs.json"
    if not path.is_file():
        return _page([*lines, "Not compared yet: `python benchmarks/other_programs.py`."])
    found = json.loads(path.read_text())
    lines += [
        f"Measured with `{found['command']}`. CPU seconds are those of one core on the same kind of processor; "
        "Veritem's are those of a check run alone, with everything that it needs.",
        "",
        "## FSC",
        "",
        "![FSC curves of Veritem and other programs](figures/other-programs-fsc.svg)",
        "",
        "Where each curve falls below the level for the first time, read by one rule for all (Å):",
        "",
        "| curve | 0.143 | 0.5 |",
        "|---|--:|--:|",
    ]
    for name, row in found["resolutions"].items():
        lines.append(f"| {_cell(name)} | {_plain_number(row['0.143'], 2)} | {_plain_number(row['0.5'], 2)} |")
    stated = ", ".join(f"{name} {value:.2f} Å" for name, value in found["stated"].items())
    ours = found["ours"].get("1.a", {}).get("quantities", {}).get("Resolution at FSC 0.143", "")
    lines += [
        "",
        f"What programs print: {stated}. Veritem's 1.a prints {ours}.",
        "",
        *FSC_REASONS,
        "",
        "## Local resolution",
        "",
        "![Medians and spans of local resolution by program](figures/other-programs-local.svg)",
        "",
        "| program | how | 5 % | median | 95 % | determinable | follows the planted B | CPU s |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, row in found["local"]["maps"].items():
        low, _, median, _, high = row["percentiles"]
        lines.append(
            f"| {_cell(name)} | {_cell(row['how'])} | {low:.2f} | {median:.2f} | {high:.2f} | "
            f"{100 * row['determinable']:.0f} % | {_plain_number(row['follows_b'], 2)} | {row['cpu']:g} |"
        )
    names = found["local"]["names"]
    medians = [row["percentiles"][2] for row in found["local"]["maps"].values()]
    lines += [
        "",
        "*Follows the planted B*: the rank correlation of the local values with the B of the atom next to each voxel. "
        "It is 1 for a method that puts all voxels in the right order.",
        "",
        f"Why medians run from {min(medians):.1f} to {max(medians):.1f} Å on one pair:",
        "",
        *LOCAL_REASONS,
        "",
        "### How far the maps agree",
        "",
        "Rank correlation of the local values, voxel by voxel, where both are determinable:",
        "",
        "| | " + " | ".join(str(i + 1) for i in range(len(names))) + " |",
        "|---|" + "--:|" * len(names),
    ]
    for i, (name, row) in enumerate(zip(names, found["local"]["rank_correlation"], strict=True)):
        lines.append(f"| {i + 1} {_cell(name)} | " + " | ".join(_plain_number(v, 2) for v in row) + " |")
    lines += [
        "",
        "## Directions",
        "",
        "![Fourier shell occupancy by two programs](figures/other-programs-occupancy.svg)",
        "",
        "The Fourier shell occupancy falls to a half at "
        + " and ".join(f"{_plain_number(v, 2)} Å ({name})" for name, v in found["directions"].items())
        + ".",
        "",
        "![FSC in cones along the axes by two programs](figures/other-programs-axes.svg)",
        "",
        "Cones of 20° along the axes of the box fall below 0.143 at (Å): "
        + ", ".join(f"{_plain_number(v, 2)} ({name})" for name, v in found["axes"].items())
        + ".",
        "",
        *DIRECTION_REASONS,
        "",
        "## CPU seconds",
        "",
        "| check | Veritem | other programs |",
        "|---|--:|---|",
    ]
    beside = load_script(BENCHMARKS / "level_1.py").BESIDE
    for code, row in found["ours"].items():
        others = "; ".join(f"{name} {found['other_cpu'][name]:g}" for name in beside.get(code, ()))
        lines.append(f"| [{code}](../checks/{code}.md) | {row['cpu']:.1f} | {others or '–'} |")
    lines += [
        "",
        "Larger boxes are under [Speed](speed.md).",
    ]
    return _page(lines)


FSC_REASONS = (
    "Why they differ:",
    "",
    "- *Unmasked, masked, corrected.* Solvent adds noise and no signal: without a mask the curve of the same pair "
    "crosses more than an Å earlier. The correction for the mask moves nothing here, because this mask is wide and "
    "soft; a tight mask would be told by it.",
    "- *How a crossing is read.* RELION prints the last whole shell above 0.143, so its number is up to a shell "
    "coarser than the crossing of its own curve. Servalcat and EMDA give the edge of a shell with its value, not its "
    "middle, so half a shell finer. mtriage fits its own mask and shells.",
    "- *SPoC* measures in a sphere that fills the box, whatever mask it is given, and asks up to where the FSC is "
    "significant, not where it falls to 0.143. Veritem's 1.b asks the same inside the mask.",
    "- *One number or an interval.* Veritem's interval holds the noise of the pair and the choice of the mask. Here "
    "the rim is blurred, so a mask that holds more of it crosses at a coarser resolution.",
)
LOCAL_REASONS = (
    "- *The level.* blocres, and Veritem's row beside it, read FSC 0.5; Veritem's other row and RELION 0.143, which "
    "is reached much further out. At the same level the medians of Veritem and blocres agree within a few hundredths "
    "of an Å.",
    "- *The window.* A small window sees single places and knows its correlation badly: SPoC and blocres use 20 "
    "voxels (24 Å) and scatter, which lowers their correlation with the planted B. Veritem filters into bands before "
    "it windows, takes the soft mask into account, and corrects for the width of a band.",
    "- *The question.* ResMap and MonoRes ask down to what wavelength a local oscillation stands out of the noise, and "
    "one place needs about three times the signal for that than FSC 0.143 over a mask does. Numbers of such a method "
    "are coarser than an FSC resolution, by how much depends on how fast the signal falls.",
    "- *The band.* MonoRes keeps all frequencies beyond the one that is tested, so the noise up to the finest pixel "
    "weighs against the signal. Veritem's 1.e keeps a band, and its median is 3.7 Å in place of 6.4; keeping what "
    "MonoRes keeps gave 6.7 Å.",
    "- *The name of a wavelength.* ResMap names its filters by a wavelength 1.3 times longer than the one they "
    "answer to most; Veritem's 1.d by that one. The rest of the difference is the step and the rule for what "
    "is significant.",
    "- *The noise.* Here it is white, which suits every method. In real maps it is not: Veritem whitens it with the "
    "spectrum of the halves' difference before anything is measured.",
    "- *Steps.* ResMap's values are 0.5 Å apart, and where it finds nothing it writes 100.",
)
DIRECTION_REASONS = (
    "Why they differ: the shell occupancies are the same curve; both use a soft cone of 17°. 3DFSC adds two voxels "
    "to one axis before it transforms and leaves the frequencies as they were, so along that axis they are wrong by 2 "
    "in 128, 1.6 %; the other two agree. Veritem takes off what the mask alone correlates, direction by direction. "
    "Neither program says what chance makes of an isotropic map: Veritem draws 400 of them.",
)


# --- real maps ---------------------------------------------------------------------------------------------


def real_maps_page() -> str:
    lines = [
        "# Real maps",
        "",
        "Simulated maps have a known truth; real maps have everything else. Veritem was run on every real map at "
        "hand: deposited maps, cut-outs, segments, masks, templates, and files that are broken on purpose. What was "
        "known of each beforehand, what Veritem said, and whether that makes sense is listed here, also where it "
        "does not.",
        "",
    ]
    path = BENCHMARKS / "results" / "real_maps.json"
    if not path.is_file():
        return _page([*lines, "Not run yet: `python benchmarks/real_maps.py`."])
    stored = json.loads(path.read_text())
    records = {record["name"]: record for record in stored["maps"]}
    script = load_script(BENCHMARKS / "real_maps.py")
    maps = [real_map for real_map in script.MAPS if real_map.name in records]
    codes = sorted({code for record in records.values() for code in record.get("checks", {})})
    shown = [c for c in codes if any(r["checks"][c]["outcome"] != "not applicable" for r in _validated(records))]
    lines += [
        f"Machine: {stored['machine']}. Outcomes: ✓ pass, **!** warning, ? inconclusive, – not applicable, "
        "**✗** failed.",
        "",
        "| map | " + " | ".join(f"[{c}](../checks/{c}.md)" for c in shown) + " | s | GB |",
        "|---|" + ":-:|" * len(shown) + "--:|--:|",
    ]
    signs = {"pass": "✓", "warning": "**!**", "inconclusive": "?", "not applicable": "–", "failed": "**✗**"}
    for real_map in maps:
        record = records[real_map.name]
        if "checks" in record:
            cells = [signs[record["checks"][c]["outcome"]] for c in shown]
        else:
            cells = ["refused" if "refused" in record else "crashed"] + [""] * (len(shown) - 1)
        lines.append(
            f"| [{_cell(real_map.name)}](#{_anchor(real_map.name)}) | {' | '.join(cells)} | "
            f"{record.get('seconds', 0):.0f} | {record.get('peak_gb', 0):.1f} |"
        )
    lines.append("")
    for real_map in maps:
        lines += _real_map_lines(real_map, records[real_map.name], script.SENSE.get(real_map.name, ""))
    return _page(lines)


def _validated(records: dict[str, Any]) -> list[Any]:
    return [record for record in records.values() if "checks" in record]


def _real_map_lines(real_map: Any, record: dict[str, Any], sense: str) -> list[str]:
    given = f" Given: `{' '.join(record['options'])}`." if record["options"] else ""
    lines = [f"## {real_map.name}", "", f"{real_map.about}{given}", ""]
    if "input" in record:
        lines += [f"Read as: {record['input']}", ""]
    if "refused" in record:
        lines += ["Refused:", "", "```text", record["refused"], "```", ""]
    if "crash" in record:
        lines += ["Crashed:", "", "```text", record["crash"], "```", ""]
    problems = [p for p in record.get("problems", ()) if p["severity"] != "information"]
    found = [f"- {p['code']}: {p['found']}" for p in problems]
    for code, check in record.get("checks", {}).items():
        found += [f"- {code} warns: {warning}" for warning in check.get("warnings", ())]
        if check["outcome"] in ("inconclusive", "failed"):
            found.append(f"- {code} {check['outcome']}: {_sentence(check.get('error') or check.get('reason', ''))}")
    lines += [*found, ""] if found else []
    if sense:
        lines += [f"*Does it make sense?* {sense}", ""]
    return lines


# --- text --------------------------------------------------------------------------------------------------


def _anchor(title: str) -> str:
    """The anchor that mkdocs gives a heading."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _alt(text: str) -> str:
    return " ".join(text.split()).replace("[", "(").replace("]", ")")


def _escape_emphasis(text: str) -> str:
    return text.replace("*", "\\*")


def _page(lines: Iterable[str]) -> str:
    text = "\n".join(lines)
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.strip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", action="store_true", help="run nothing, write the text")
    parser.add_argument("--again", action="store_true", help="run every exhibit, changed or not")
    arguments = parser.parse_args()
    if not arguments.text:
        codes = tuple(check.code for check in _checks() if not check.unavailable)
        ran = exhibits.refresh(codes, arguments.again)
        print(f"Exhibits run: {', '.join(ran) or 'none, nothing has changed'}.")
    pages = text_pages()
    for path, text in pages.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    print(f"{len(pages)} pages written.")


if __name__ == "__main__":
    main()
