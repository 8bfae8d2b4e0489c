"""The report as a PDF, typeset by Typst from data: no text of a user is ever read as markup."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import typst

from veritem.files import whole_file
from veritem.report import content
from veritem.report.chimerax import command_file
from veritem.report.figures import FONTS
from veritem.report.illustrations import Illustration, illustrate
from veritem.results import CheckResult, CriterionResult, Outcome, Problem, Quantity, Table, ValidationResult

NAME = "report.pdf"
_TEMPLATE = Path(__file__).parent / "templates" / "report.typ"
# PDF/UA-1: tagged, with alternative texts, every letter mapped to its meaning.
_ACCESSIBLE: Literal["ua-1"] = "ua-1"


def write_pdf(result: ValidationResult, folder: Path, illustrations: Mapping[str, Illustration] | None = None) -> Path:
    """Write report.pdf into the folder that holds the result's data. Returns its path.

    illustrations: the figures when they are drawn already; drawn here by default.
    The same results give the same bytes: the document's date is that of the run, and only the fonts that come with
    Veritem are used.
    """
    drawn = illustrate(result, folder) if illustrations is None else illustrations
    with tempfile.TemporaryDirectory(prefix="veritem-pdf-") as name:
        work = Path(name)
        for illustration in drawn.values():
            if illustration.kind:
                (work / _picture_name(illustration)).write_bytes(illustration.data)
        document = json.dumps(_tied(_document(result, drawn)), ensure_ascii=False)
        (work / "report.json").write_text(document, encoding="utf-8")
        (work / "report.typ").write_bytes(_TEMPLATE.read_bytes())
        pdf = _compiled(work, int(result.provenance.started.timestamp()))
    with whole_file(folder / NAME) as temporary:
        temporary.write_bytes(pdf)
    return folder / NAME


def _tied(value: Any) -> Any:
    """The same document, with raised exponents, in which a number and its unit do not part at a line's end."""
    if isinstance(value, str):
        return content.tied(content.raised(value))
    if isinstance(value, dict):
        return {key: _tied(item) for key, item in value.items()}
    return [_tied(item) for item in value] if isinstance(value, list) else value


def _compiled(work: Path, timestamp: int) -> bytes:
    try:
        return typst.compile(
            work / "report.typ",
            root=work,
            format="pdf",
            font_paths=[FONTS],
            ignore_system_fonts=True,
            timestamp=timestamp,
            pdf_standards=[_ACCESSIBLE],
        )
    except typst.TypstError:
        # The standard forbids a letter that no font here has, as in a title in Chinese. Such a report is set with the
        # fonts of the system, and without the standard's seal; any other error comes again.
        return typst.compile(work / "report.typ", root=work, format="pdf", font_paths=[FONTS], timestamp=timestamp)


def _picture_name(illustration: Illustration) -> str:
    return f"figure-{illustration.number}.{illustration.kind}"


def _document(result: ValidationResult, drawn: Mapping[str, Illustration]) -> dict[str, Any]:
    provenance = result.provenance
    return {
        "title": result.title,
        "date": content.date_text(provenance.started),
        "version": provenance.veritem_version,
        "grade": result.grade,
        "verdict": [{"text": s.text, "target": s.anchor, "label": s.link_text} for s in content.verdict(result)],
        "passed": result.score.passed,
        "evaluable": result.score.evaluable,
        "counts": [_style(o) | {"n": n} for o, n in content.outcome_counts(result)],
        "score": f"{content.score_explanation(result)} {content.false_alarms(result)}",
        "facts": [[q.label, q.text()] for q in content.key_facts(result)],
        "cover": next((_figure(drawn[f"input-{f.key}"]) for f in result.overview if f.kind == "surface"), None),
        "levels": [
            {
                "code": level.level,
                "title": level.title,
                "reached": level.reached,
                "missing": ", ".join(level.missing),
                "counts": [_style(o) | {"n": n} for o, n in content.outcome_counts(result, level.level)],
            }
            for level in result.levels
        ],
        "styles": [_style(outcome) for outcome in content.STYLES],
        "warnings": [_warning(w.criterion) | _reference(w.check) for w in content.warnings(result)],
        "summary": [
            _reference(c)
            | {
                "style": _style(c.outcome),
                "answer": content.answer(c),
                "section": c.outcome is not Outcome.NOT_APPLICABLE,
            }
            for c in result.checks
        ],
        "doubts": [_problem(p) for p in content.input_warnings(result)],
        "remarks": [_problem(p) for p in content.remarks(result)],
        "inputs": [
            {
                "role": content.readable(f.role),
                "name": f.name,
                "size": content.size_text(f.size),
                "description": f.description,
                "sha256": f.sha256,
                "content": f.sha256_content if f.sha256_content != f.sha256 else "",
            }
            for f in result.inputs
        ],
        "parameters": [[p.name, p.value, p.source] for p in content.parameters(result)],
        "all_facts": [_quantity(q) for q in result.facts.values()],
        "overview": [_figure(drawn[f"input-{f.key}"]) for f in result.overview],
        "comparisons": [
            {
                "title": c.title,
                "target": f"compared-{c.key}",
                "text": list(content.paragraphs(c.text)),
                "figures": [_figure(drawn[f"compared-{c.key}-{f.key}"]) for f in c.figures],
                "tables": [_table(t) for t in c.tables],
            }
            for c in result.comparisons
        ],
        "checks": [_check(c, drawn) for c in content.evaluated(result)],
        "not_applicable": [
            [f"{c.code} {c.title}", c.question, c.reason] for c in content.with_outcome(result, Outcome.NOT_APPLICABLE)
        ],
        "command": provenance.command,
        "provenance": [
            ["Started", content.date_text(provenance.started)],
            [
                "Took",
                f"{content.duration(provenance.seconds)}, {content.memory(provenance.peak_memory_mb)} of memory at "
                f"most, {content.threads(provenance.threads)}, {provenance.device}",
            ],
            ["Seed", str(provenance.seed)],
            ["Veritem", f"{provenance.veritem_version}, source {provenance.code_sha256}"],
            ["Python", f"{provenance.python} on {provenance.platform}"],
            ["Packages", ", ".join(f"{name} {version}" for name, version in provenance.packages.items())],
            ["Format", f"{result.schema_version}; every number here is in results.json"],
        ],
        "glossary": [list(entry) for entry in content.GLOSSARY],
    }


def _style(outcome: Outcome) -> dict[str, Any]:
    style = content.STYLES[outcome]
    return {"symbol": style.symbol, "label": style.label, "meaning": style.meaning, "colour": style.light}


def _reference(check: CheckResult) -> dict[str, Any]:
    return {"target": content.anchor(check), "code": check.code, "check": check.title}


def _warning(criterion: CriterionResult) -> dict[str, Any]:
    return {
        "text": criterion.warning or criterion.text,
        "observed": criterion.observed,
        "limit": criterion.limit,
        "causes": list(criterion.causes),
        "advice": criterion.advice,
    }


def _problem(problem: Problem) -> dict[str, Any]:
    return {
        "severity": problem.severity.value,
        "symbol": content.severity_symbol(problem.severity),
        "code": problem.code,
        "field": problem.field,
        "text": problem.found,
        "expected": problem.expected,
        "action": problem.action,
    }


def _quantity(quantity: Quantity) -> list[str]:
    return [quantity.label, quantity.text(), quantity.note]


def _figure(illustration: Illustration) -> dict[str, Any]:
    figure = illustration.figure
    return {
        "file": _picture_name(illustration) if illustration.kind else "",
        "note": illustration.note,
        "width": illustration.width,
        "number": illustration.number,
        "title": figure.title,
        "caption": figure.caption,
        "alt": figure.alt_text or figure.title,
    }


def _table(table: Table) -> dict[str, Any]:
    return {
        "title": table.title,
        "caption": table.caption,
        "columns": [c.label + (f" ({c.unit})" if c.unit else "") for c in table.columns],
        "rows": [[content.cell(value) for value in row] for row in table.rows],
    }


def _check(check: CheckResult, drawn: Mapping[str, Illustration]) -> dict[str, Any]:
    anchor = content.anchor(check)
    cost = f"{content.duration(check.seconds)}, {content.memory(check.peak_memory_mb)} of memory at most"
    if check.seed is not None:
        cost += f", seed {check.seed}"
    if check.fingerprint:
        cost += f", fingerprint {check.fingerprint[:16]}"
    return {
        "anchor": anchor,
        "code": check.code,
        "title": check.title,
        "style": _style(check.outcome),
        "question": check.question,
        "summary": check.summary,
        "reason": check.reason,
        "error": check.error,
        "caveats": list(check.caveats),
        "quantities": [_quantity(q) for q in check.quantities.values()],
        "criteria": [
            {
                "text": k.text,
                "because": k.because,
                "observed": k.observed,
                "limit": k.limit,
                "style": _style(k.outcome),
            }
            for k in check.criteria
        ],
        "warnings": [_warning(k) for k in check.warnings],
        "figures": [_figure(drawn[f"{anchor}-{figure.key}"]) for figure in check.figures],
        "tables": [_table(t) for t in check.tables],
        "maps": [
            {
                "label": m.label + (f" ({m.unit})" if m.unit else ""),
                "file": m.file,
                "description": m.description,
                "open": command_file(check, m) if m.colours_map else m.file,
                "coloured": m.colours_map,
            }
            for m in check.maps
        ],
        "method": list(content.paragraphs(check.method)),
        "misleads": list(content.paragraphs(check.misleads)),
        "false_alarms": ""
        if check.false_alarm_rate is None
        else f"On sound maps this check warned on {content.percent(check.false_alarm_rate)} of them.",
        "references": [{"text": r.text, "doi": r.doi or "", "url": r.url or ""} for r in check.references],
        "cost": cost,
    }
