"""The PDF: complete, tagged, navigable, and the same bytes from the same results."""

from __future__ import annotations

import html
import re
import zlib

import pytest

from tests.report import example
from veritem.report import content
from veritem.report.illustrations import illustrate
from veritem.report.pdf import _tied, write_pdf
from veritem.results import Outcome


def unpacked(pdf: bytes) -> bytes:
    """The file with its deflated streams (objects among them) opened."""
    parts = [pdf]
    for found in re.finditer(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.S):
        try:
            parts.append(zlib.decompress(found.group(1)))
        except zlib.error:
            continue  # a picture, or not deflated
    return b"\n".join(parts)


def titles(pdf: bytes) -> list[str]:
    """The texts of the bookmarks."""
    found = re.findall(rb"/Title\s*(\((?:[^()\\]|\\.)*\)|<[0-9A-Fa-f]*>)", unpacked(pdf))
    return [_string(raw) for raw in found]


def _string(raw: bytes) -> str:
    if raw.startswith(b"<"):
        data = bytes.fromhex(raw[1:-1].decode())
    else:
        data = re.sub(rb"\\([()\\])", rb"\1", raw[1:-1])
        data = re.sub(rb"\\(\d{3})", lambda m: bytes([int(m.group(1), 8)]), data)
    return data.decode("utf-16") if data.startswith(b"\xfe\xff") else data.decode("latin-1")


def document_title(pdf: bytes) -> str:
    found = re.search(rb"<dc:title>.*?<rdf:li[^>]*>(.*?)</rdf:li>", unpacked(pdf), re.S)
    return html.unescape(found.group(1).decode())


@pytest.fixture(scope="module")
def illustrations(rendered):
    """The example's figures, drawn once."""
    return illustrate(*rendered)


@pytest.fixture(scope="module")
def pdf(rendered) -> bytes:
    return (rendered[1] / "report.pdf").read_bytes()


def test_every_check_has_a_bookmark(rendered, pdf):
    result, _ = rendered
    bookmarks = " | ".join(titles(pdf)).replace("\u00a0", " ")
    for check in content.evaluated(result):
        assert f"{check.code} {check.title}" in bookmarks
    for name in ("Verdict", "Warnings", "All checks", "The input", "Not applicable", "How to run it again"):
        assert name in bookmarks
    for check in content.with_outcome(result, Outcome.NOT_APPLICABLE):
        assert f"{check.code} {check.title}" not in bookmarks


def test_pages_are_there_and_links_lead_to_places(rendered, pdf):
    text = unpacked(pdf)
    pages = len(re.findall(rb"/Type\s*/Page\b", text))
    assert 8 <= pages <= 25
    assert int(re.search(rb"/Type\s*/Pages\s*/Count (\d+)", text).group(1)) == pages
    # Two links per row of the table of checks, and one more per warning's heading.
    inner = len(re.findall(rb"/Dest|/GoTo", text))
    assert inner >= 2 * len(rendered[0].checks)
    assert b"https://doi.org/10.1016/j.jmb.2003.07.013" in text


def test_it_is_tagged_and_names_its_language_and_pictures(rendered, pdf):
    text = unpacked(pdf)
    assert b"/StructTreeRoot" in text and b"/Lang" in text and b"pdfuaid" in text
    drawn = [f for _, f in content.figures_of(rendered[0]) if f.key != "lost"]
    assert len(re.findall(rb"/Alt\s*[(<]", text)) >= len(drawn)


def test_the_same_results_give_the_same_bytes(rendered, pdf, tmp_path):
    result, folder = rendered
    write_pdf(result, folder)
    assert (folder / "report.pdf").read_bytes() == pdf


def test_what_users_type_is_no_markup(rendered, illustrations, tmp_path):
    result = rendered[0].model_copy(update={"title": example.HOSTILE})
    assert document_title(write_pdf(result, tmp_path, illustrations).read_bytes()) == example.HOSTILE


def test_letters_that_no_font_here_has_cost_the_seal_and_not_the_report(rendered, illustrations, tmp_path):
    result = rendered[0].model_copy(update={"title": "核糖体"})
    pdf = write_pdf(result, tmp_path, illustrations).read_bytes()
    assert pdf.startswith(b"%PDF-") and b"pdfuaid" not in unpacked(pdf)
    assert document_title(pdf) == "核糖体"


def test_numbers_and_units_stay_together():
    document = {"a": ["14.2 Å are", "95 % interval", "1 234 kDa", "3 short words", "9 sides", "2.8×10^−16 Å"]}
    assert _tied(document)["a"] == [
        "14.2\u00a0Å are", "95\u00a0% interval", "1 234\u00a0kDa", "3 short words", "9 sides", "2.8×10⁻¹⁶\u00a0Å",
    ]  # fmt: skip
