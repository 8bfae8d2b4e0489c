"""The page: whole, offline, safe against what users type, and true to the results."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from tests.report import example
from veritem.report import content
from veritem.report.html import write_html
from veritem.report.illustrations import illustrate
from veritem.report.render import load
from veritem.results import Outcome, Quantity

ASSETS = Path(content.__file__).parent / "assets"
VOID = {"meta", "br", "img", "input", "link", "hr"}


class Page(HTMLParser):
    """Elements, their attributes and the text of a page; complains of tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == [], f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif not (self.open and self.open[-1] == "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def values(self, name: str) -> list[str]:
        return [a[name] for _, a in self.elements if a.get(name) is not None]


@pytest.fixture(scope="module")
def html(rendered) -> str:
    return (rendered[1] / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html) -> Page:
    return Page(html)


def plain(text: str) -> str:
    return " ".join(text.split())


def test_the_page_asks_nothing_of_the_network(html, page):
    """Everything is inlined; the only addresses are DOI links, which open when they are clicked."""
    for tag, attributes in page.elements:
        for name in ("src", "srcset", "data", "poster", "action", "formaction", "xlink:href"):
            value = attributes.get(name)
            assert value is None or value.startswith("data:"), (tag, name, value[:80])
        assert tag not in ("link", "iframe", "object", "embed", "base")
        if href := attributes.get("href"):
            assert tag == "a"
            assert href.startswith(("#", "https://doi.org/")) or not re.match(r"[a-z]+:|//", href), href
    css = "".join(re.findall(r"<style>(.*?)</style>", html, re.S))
    assert "@import" not in css and "url(" not in css
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "connect-src" not in policy


def test_the_policy_allows_exactly_the_scripts_inside(html, page):
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    allowed = set(re.findall(r"'sha256-([^']+)'", policy))
    scripts = re.findall(r"<script>(.*?)</script>", html, re.S)
    assert {base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts} == allowed
    assert len(scripts) == 4 and "unsafe-inline" not in policy.split("script-src")[1]


def test_vendored_files_are_those_that_were_reviewed_and_carry_their_licence():
    manifest = json.loads((ASSETS / "vendored.json").read_text())
    for entry in manifest:
        assert hashlib.sha256((ASSETS / entry["file"]).read_bytes()).hexdigest() == entry["sha256"], entry["file"]
        assert (ASSETS / entry["licence_file"]).stat().st_size > 500
        for bundled in entry.get("bundled", ()):
            # Each work inside the bundle stands in the file of licences and in NOTICE.
            assert bundled["name"] in (ASSETS / entry["bundled_licence_file"]).read_text()
            assert bundled["name"] in (Path(__file__).parents[2] / "NOTICE").read_text()
    ours = {"report.css", "plots.js", "viewer.js", "vendored.json"}
    present = {p.relative_to(ASSETS).as_posix() for p in ASSETS.rglob("*") if p.is_file()}
    licences = {entry[key] for entry in manifest for key in ("licence_file", "bundled_licence_file") if key in entry}
    assert present == ours | licences | {entry["file"] for entry in manifest}


def test_every_inner_link_arrives_and_no_name_is_given_twice(page):
    names = page.values("id")
    assert len(names) == len(set(names))
    targets = {href[1:] for href in page.values("href") if href.startswith("#")}
    assert targets <= set(names) and len(targets) > 15
    assert set(page.values("aria-labelledby")) <= set(names)


def test_links_to_files_lead_to_files(rendered, page):
    _, folder = rendered
    relative = [h for h in page.values("href") if not h.startswith(("#", "https://"))]
    assert "maps/0.f_local_b.mrc" in relative and "chimerax/0.f_local_b.cxc" in relative
    assert all((folder / name).is_file() for name in relative)


def test_every_number_and_every_judgement_of_the_results_is_shown(rendered, page):
    result, _ = rendered
    for check in result.checks:
        assert plain(check.title) in page.text and plain(check.question) in page.text
        for quantity in check.quantities.values():
            assert plain(quantity.label) in page.text
            assert plain(quantity.text()) in page.text
            assert plain(quantity.note) in page.text
        for criterion in check.criteria:
            for text in (criterion.text, criterion.observed, criterion.limit, criterion.because, criterion.warning):
                assert plain(text) in page.text
            for text in (*criterion.causes, criterion.advice):
                assert plain(text) in page.text
        for table in check.tables:
            for row in table.rows:
                assert all(plain(content.cell(value)) in page.text for value in row)
        for text in (check.summary, check.reason, check.error, check.misleads, *check.caveats):
            assert plain(text) in page.text or check.outcome is Outcome.NOT_APPLICABLE
        for figure in check.figures:
            assert plain(figure.title) in page.text and plain(figure.caption) in page.text
    for problem in result.problems:
        assert problem.code in page.text and plain(problem.action) in page.text
    for quantity in result.facts.values():
        assert plain(quantity.text()) in page.text
    for file in result.inputs:
        assert file.sha256 in page.text and file.sha256_content in page.text


def test_outcomes_are_told_by_symbol_and_word_and_not_by_colour_alone(page):
    for style in content.STYLES.values():
        assert style.symbol in page.text and style.label in page.text
    assert len({s.symbol for s in content.STYLES.values()}) == len(content.STYLES)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("style", content.STYLES.values(), ids=lambda s: s.key)
def test_colours_of_outcomes_can_be_read(style):
    """WCAG 2 AA: 4.5 against the page and the cards, light and dark, and under white or dark letters."""
    assert all(contrast(style.light, ground) >= 4.5 for ground in ("#ffffff", "#f5f7f9"))
    assert all(contrast(style.dark, ground) >= 4.5 for ground in ("#14181c", "#1c2228"))


def test_pictures_have_words_for_those_who_do_not_see_them(page):
    pictures = [a for tag, a in page.elements if tag == "img"]
    assert len(pictures) > 10 and all(a.get("alt") for a in pictures)
    assert ("html", {"lang": "en"}) in page.elements
    headings = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert headings.count(1) == 1 and all(b - a <= 1 for a, b in pairwise(headings))


def test_the_verdict_is_short_and_comes_first(rendered, page):
    result, _ = rendered
    sentences = content.verdict(result)
    assert 1 <= len(sentences) <= 6
    places = [page.text.index(plain(s.text)) for s in sentences]
    assert places == sorted(places)
    assert max(places) < page.text.index("evaluable checks passed")


def test_data_of_plots_are_the_numbers_of_the_results(rendered, page):
    result, _ = rendered
    element = next(s for s in page.scripts if '"check-0-d-fsc"' in s)
    plots = json.loads(element)
    curve = next(f for f in result.check("0.d").figures if f.key == "fsc").series[0]
    shown = plots["check-0-d-fsc"]["series"][0]
    assert shown["x"] == pytest.approx(curve.x, rel=1e-6) and shown["y"] == pytest.approx(curve.y, rel=1e-6)
    histogram = next(f for f in result.check("0.c").figures if f.key == "histogram")
    assert plots["check-0-c-histogram"]["counts"] == pytest.approx(histogram.counts)


def test_a_report_made_again_from_its_json_is_the_same(rendered, tmp_path, html):
    _, folder = rendered
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    write_html(load(copy / "results.json"), copy)
    assert (copy / "report.html").read_text(encoding="utf-8") == html


def test_the_report_fits_an_e_mail(html):
    assert len(html.encode()) < 8_000_000


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """The example, with a text in every field that would break out of HTML, scripts, Typst or ChimeraX commands."""
    folder = tmp_path_factory.mktemp("hostile")
    bad = example.HOSTILE
    result = example.example_result(folder, title=bad)
    guinier = result.check("0.d")
    figure = guinier.figures[0]
    figure = figure.model_copy(
        update={"title": bad, "caption": bad, "alt_text": bad, "x_label": bad,
                "series": tuple(s.model_copy(update={"label": bad}) for s in figure.series),
                "markers": tuple(m.model_copy(update={"label": bad}) for m in figure.markers)}
    )  # fmt: skip
    guinier = guinier.model_copy(
        update={
            "title": bad,
            "summary": bad,
            "figures": (figure,),
            "quantities": {bad: Quantity(label=bad, value=bad, unit=bad, note=bad)},
            "references": (guinier.references[0].model_copy(update={"text": bad, "doi": '10.1/"><script>'}),),
            "maps": (
                result.check("0.f")
                .maps[0]
                .model_copy(update={"label": bad, "description": "first\nsecond line", "file": "../../etc/passwd"}),
            ),
        }
    )
    checks = tuple(guinier if c.code == "0.d" else c for c in result.checks)
    inputs = (result.inputs[0].model_copy(update={"name": bad + ".map"}),)
    parameters = result.parameters | {bad: bad}
    return result.model_copy(update={"checks": checks, "inputs": inputs, "parameters": parameters}), folder


def test_what_users_type_stays_text(hostile):
    result, folder = hostile
    html = write_html(result, folder).read_text(encoding="utf-8")
    page = Page(html)
    assert sum(tag == "script" for tag, _ in page.elements) == 6  # two of data, four of code
    assert "<script>alert" not in html
    assert plain(example.HOSTILE) in page.text
    assert not any("etc/passwd" in href for href in page.values("href"))
    assert all(name.startswith(("class", "id", "href", "style", "aria", "data", "role", "content", "http-equiv", "lang",
                                "charset", "name", "src", "alt", "scope", "type", "tabindex", "for", "min", "max",
                                "step", "value", "width", "height", "hidden", "open", "rel", "datetime", "download"))
               for _, attributes in page.elements for name in attributes)  # fmt: skip
    assert json.loads(next(s for s in page.scripts if '"check-0-d-guinier"' in s))


def test_lost_files_leave_a_note_and_the_rest_of_the_report(tmp_path):
    result = example.example_result(tmp_path)
    shutil.rmtree(tmp_path / "data")
    page = Page(write_html(result, tmp_path).read_text(encoding="utf-8"))
    assert "Interactive view missing." in page.text and "data/scene.npz is missing" in page.text
    assert page.text.count("Figure missing.") == sum(
        f.kind in ("images", "surface") for _, f in content.figures_of(result)
    )
    assert "Guinier plot" in page.text
    assert not any("3dmol" in script.lower() for script in page.scripts)


def test_damaged_files_leave_a_note_too(tmp_path):
    result = example.example_result(tmp_path)
    (tmp_path / "data" / "overview.npz").write_bytes(b"PK\x03\x04 cut short")
    drawn = illustrate(result, tmp_path)
    assert "overview.npz cannot be read" in drawn["input-slices"].note


@pytest.mark.full
@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium to open the page with")
def test_a_browser_draws_the_plots_and_the_view_within_the_policy(rendered, tmp_path):
    """The page as delivered, its own content policy in force, scrolled to the plots by an address."""
    _, folder = rendered
    for part, sign in (("#figure-check-0-d-fsc", 'class="plot live"'), ("#viewer", 'class="viewer live"')):
        shown = subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--use-angle=swiftshader", "--no-first-run",
             "--enable-unsafe-swiftshader", "--disable-background-networking", f"--user-data-dir={tmp_path / part[1:]}",
             "--window-size=1280,1200", "--virtual-time-budget=10000", "--dump-dom",
             f"{(folder / 'report.html').as_uri()}{part}"],
            capture_output=True, timeout=120, check=True, text=True,
        ).stdout  # fmt: skip
        assert sign in shown


def test_warnings_of_the_input_come_before_those_of_the_checks(html):
    section = html[html.index('<section id="warnings"') : html.index('<section id="summary"')]
    assert 0 < section.index("IN-07") < section.index('<article class="warning')
    assert "IN-12" not in section and html.count(">IN-07<") == 1
    # Four criteria of the checks and one doubt about the input.
    assert '<a href="#warnings">Warnings</a> <span class="count">5</span>' in html


def test_a_column_with_nothing_in_it_is_left_out(rendered, tmp_path):
    result, folder = rendered
    levels = tuple(level.model_copy(update={"missing": ()}) for level in result.levels)
    drawn = illustrate(result, folder)
    shutil.copytree(folder, tmp_path / "copy")
    page = write_html(result.model_copy(update={"levels": levels}), tmp_path / "copy", drawn).read_text()
    assert "What would reach it" in (folder / "report.html").read_text()
    assert "What would reach it" not in page


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
@pytest.mark.parametrize(("low", "high", "least"), [(1e-3, 1e7, 4), (1e-2, 1e2, 4), (2.0, 9.0, 1), (1.0, 1e20, 4)])
def test_a_logarithmic_axis_has_readable_ticks_over_any_range(tmp_path, low, high, least):
    """What the plot writes on its canvas is noted down; decades are written as powers or plain numbers."""
    data = {
        "kind": "curves", "title": "t", "x": {"label": "x", "scale": "linear"}, "y": {"label": "y", "scale": "log"},
        "series": [{"label": "s", "role": "data", "style": "line", "x": [0, 1], "y": [low, high], "low": None,
                    "high": None}],
        "markers": [],
    }  # fmt: skip
    note = (
        "const p = CanvasRenderingContext2D.prototype, f = p.fillText, said = []; "
        "p.fillText = function (t, x, ...r) { said.push([t, x]); "
        "document.body.dataset.said = JSON.stringify(said); return f.call(this, t, x, ...r); };"
    )
    scripts = [note, *((ASSETS / n).read_text() for n in ("uPlot-1.6.32.min.js", "plots.js"))]
    plots = f'<script type="application/json" id="plot-data">{json.dumps({"a": data})}</script>'
    body = f'<div data-plot="a" style="width:600px"></div>{plots}'
    style = "<style>:root{--role-data:#112233;--line:#cccccc;--quiet:#444444;--ink:#000000;--page:#ffffff}</style>"
    (tmp_path / "p.html").write_text(
        f"<meta charset=utf-8>{style}<body>{body}{''.join(f'<script>{s}</script>' for s in scripts)}"
    )
    shown = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         f"--user-data-dir={tmp_path / 'profile'}", "--window-size=900,700", "--virtual-time-budget=5000", "--dump-dom",
         (tmp_path / "p.html").as_uri()],
        capture_output=True, timeout=120, check=True, text=True,
    ).stdout  # fmt: skip
    said = json.loads(unescape(re.search(r'data-said="([^"]*)"', shown)[1]))
    # Labels of the y axis stand at its left, all at one x, the smallest.
    left = min(x for text, x in said if text != "y")
    ticks = {text for text, x in said if x == left and text != "y"}
    assert least <= len(ticks) <= 9, said
    assert all(re.fullmatch(r"(10[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+|[0-9.\u202f]+)", t) for t in ticks), ticks
