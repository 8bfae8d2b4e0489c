"""What is made from the code is what is committed, and says what the code says."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import types
from typing import Any

import pytest

from tests.docs.pages import DOCS, ROOT
from veritem.checks.registry import CHECKS


@pytest.fixture(scope="module")
def generate() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("veritem_docs_generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_generated_pages_are_current(generate: types.ModuleType) -> None:
    """A changed docstring, criterion, option or record without its page fails."""
    expected = generate.text_pages()
    outdated = [
        path.relative_to(ROOT).as_posix()
        for path, text in expected.items()
        if not path.is_file() or path.read_bytes() != text.encode()
    ]
    assert not outdated, f"out of date: {', '.join(outdated)}; run python docs/generate.py and commit what it writes"


def test_a_changed_docstring_changes_its_page(generate: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    check = CHECKS[0]
    path = DOCS / "checks" / f"{check.code}.md"
    before = generate.text_pages()[path]
    monkeypatch.setattr(check, "__doc__", (check.__doc__ or "").rstrip() + "\n\n    A sentence that was added.\n    ")
    after = generate.text_pages()[path]
    assert "A sentence that was added." in after and "A sentence that was added." not in before


def test_no_page_of_a_check_is_left_over() -> None:
    codes = {check.code for check in CHECKS}
    assert {p.stem for p in (DOCS / "checks").glob("*.md")} == codes | {"index"}


@pytest.mark.parametrize("check", [c for c in CHECKS if not c.unavailable], ids=lambda c: c.code)
def test_exhibits_show_a_pass_and_the_warning_that_the_check_is_for(generate: types.ModuleType, check: Any) -> None:
    """The stored runs: the sound map passes, the faulty one warns in a sentence that a criterion of today says."""
    record = generate.exhibits.stored()[check.code]
    assert record["sound"]["outcome"] == "pass", record["sound"]["reason"]
    warnings = [c["warning"] for c in record["faulty"]["criteria"] if c["outcome"] == "warning"]
    assert record["faulty"]["outcome"] == "warning" and warnings
    said = [_pattern(criterion.warning) for criterion in check.criteria]
    for warning in warnings:
        assert any(pattern.fullmatch(warning) for pattern in said), f"no criterion of {check.code} says: {warning}"


def test_figures_are_small_and_all_used(generate: types.ModuleType) -> None:
    stored = generate.exhibits.stored()
    named = {f["file"] for r in stored.values() for kind in ("sound", "faulty") for f in r[kind]["figures"]}
    files = {p.name: p.stat().st_size for p in generate.exhibits.FIGURES.iterdir()}
    assert set(files) == named
    # What a clone of the repository should carry, and what a page should load.
    assert sum(files.values()) < 500_000 * len(stored)
    assert max(files.values()) <= generate.exhibits.LARGEST_FIGURE


def test_the_published_schema_is_that_of_the_code() -> None:
    from veritem.results import ValidationResult

    published = json.loads((DOCS / "reference" / "results.schema.json").read_text())
    assert published == ValidationResult.model_json_schema()


def test_every_option_of_the_command_line_is_on_its_page(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The help of each command and its section name the same options."""
    from veritem import cli

    monkeypatch.setenv("COLUMNS", "200")
    page = (DOCS / "reference" / "command-line.md").read_text().split("\n## Exit codes")[0]
    sections = {part.split("\n", 1)[0]: part for part in page.split("\n## veritem ")[1:]}
    assert set(sections) == {info.name or info.callback.__name__ for info in cli.app.registered_commands}
    for name, section in sections.items():
        with pytest.raises(SystemExit):
            cli.app([name, "--help"], prog_name="veritem")
        helped = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", capsys.readouterr().out)) - {"--help"}
        assert set(re.findall(r"^\| `(--[a-z0-9-]+)`", section, re.MULTILINE)) == helped


def _pattern(sentence: str) -> re.Pattern[str]:
    """The warning of a criterion with anything in place of its value and limit."""
    parts = re.split(r"\{(?:value|limit)\}", sentence)
    return re.compile(".+".join(re.escape(part) for part in parts))


@pytest.mark.full
@pytest.mark.parametrize("check", [c for c in CHECKS if not c.unavailable], ids=lambda c: c.code)
def test_exhibits_come_out_the_same_again(generate: types.ModuleType, check: Any) -> None:
    """The shown runs are those of today's code: same outcome and same numbers.

    Three significant digits are shown; the last may differ by the rounding of sums on another processor.
    """
    stored = generate.exhibits.stored()[check.code]
    specimens = {"sound": generate.exhibits.sound_for(check.code), "faulty": generate.exhibits.FAULTS[check.code]()}
    for kind, specimen in specimens.items():
        again = generate.exhibits.exhibit(check.code, kind, specimen, draw=False)
        assert again["outcome"] == stored[kind]["outcome"]
        for (label, shown, _), (label_again, value, _) in zip(
            stored[kind]["quantities"], again["quantities"], strict=True
        ):
            assert label == label_again
            for first, second in zip(_numbers(shown), _numbers(value), strict=True):
                assert second == pytest.approx(first, rel=0.02, abs=1e-3), f"{label}: {shown} is now {value}"


def _numbers(text: str) -> list[float]:
    plain = text.replace("\u202f", "").replace("\u2212", "-").replace("×10^", "e")
    return [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", plain)]


def test_every_page_of_the_navigation_exists_and_every_page_is_in_it() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text().split("\nnav:\n")[1]
    named = re.findall(r"[\w./-]+\.md", navigation)
    assert len(named) == len(set(named))
    assert set(named) == {p.relative_to(DOCS).as_posix() for p in DOCS.rglob("*.md")}


def test_the_site_asks_no_other_host_for_anything() -> None:
    """Nothing in the theme's settings loads a font or a script from elsewhere."""
    text = (ROOT / "mkdocs.yml").read_text()
    assert re.search(r"^  font: false$", text, re.MULTILINE)
    assert "http" not in re.sub(r"#.*", "", text)
    for style in (DOCS / "assets").glob("*"):
        assert "http" not in style.read_text() if style.suffix in {".css", ".js"} else True
