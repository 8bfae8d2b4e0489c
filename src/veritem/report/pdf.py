"""The report as a PDF, typeset by Typst from data: no text of a user is ever read as markup."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import typst

from veritem.report import content
from veritem.report.files import whole_file
from veritem.results import CheckResult, ValidationResult

NAME = "report.pdf"
_TEMPLATE = Path(__file__).parent / "templates" / "report.typ"


def write_pdf(result: ValidationResult, folder: Path) -> Path:
    """Write report.pdf into the folder that holds the result's data. Returns its path.

    The same results give the same bytes: the document's date is that of the run.
    """
    with tempfile.TemporaryDirectory(prefix="veritem-pdf-") as name:
        work = Path(name)
        (work / "report.json").write_text(json.dumps(_document(result), ensure_ascii=False), encoding="utf-8")
        (work / "report.typ").write_bytes(_TEMPLATE.read_bytes())
        with whole_file(folder / NAME) as temporary:
            pdf = typst.compile(work / "report.typ", root=work, format="pdf", timestamp=_timestamp(result))
            temporary.write_bytes(pdf)
    return folder / NAME


def _timestamp(result: ValidationResult) -> int:
    return int(result.provenance.started.timestamp())


def _document(result: ValidationResult) -> dict[str, Any]:
    return {
        "title": result.title,
        "date": result.provenance.started.strftime("%Y-%m-%d %H:%M"),
        "verdict": [s.text for s in content.verdict(result)],
        "score": content.score_explanation(result),
        "checks": [_check(c) for c in content.evaluated(result)],
    }


def _check(check: CheckResult) -> dict[str, Any]:
    style = content.STYLES[check.outcome]
    return {
        "heading": f"{check.code} {check.title}",
        "question": check.question,
        "outcome": f"{style.symbol} {style.label}",
        "summary": " ".join(t for t in (check.summary, check.reason, check.error) if t),
        "quantities": [[q.label, q.text()] for q in check.quantities.values()],
        "criteria": [[k.text, k.observed, k.limit] for k in check.criteria],
    }
