"""Every link inside the documentation leads somewhere."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT, links, pages

_HEADING = re.compile(r"^#+ +(?P<title>.+?)(?: *\{ *#(?P<anchor>[\w.-]+) *\})?$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors that mkdocs gives the headings of a page."""
    found: set[str] = set()
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for match in _HEADING.finditer(text):
        # The slug of Python-Markdown: accents off, marks dropped, blanks to hyphens.
        plain = unicodedata.normalize("NFKD", re.sub(r"[`*]", "", match["title"])).encode("ascii", "ignore").decode()
        slug = re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())
        base, number = match["anchor"] or slug, 1
        anchor = base
        while anchor in found:
            anchor, number = f"{base}_{number}", number + 1
        found.add(anchor)
    return found


@pytest.mark.parametrize("page", pages(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_resolve(page: Path) -> None:
    broken = []
    for target in links(page):
        if re.match(r"[a-z]+:", target):
            assert target.startswith("https://"), f"{target} is not an https link"
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.is_file() or not path.is_relative_to(ROOT):
            broken.append(target)
        elif DOCS in page.parents and DOCS not in path.parents:
            broken.append(f"{target} (outside docs/, so not on the site)")
        elif anchor and anchor not in anchors(path):
            broken.append(target)
    assert not broken, f"links that lead nowhere: {', '.join(broken)}"


def test_a_broken_link_would_be_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("[good](https://doi.org/10.1) and [bad](missing.md) and `[code](not_a_link.md)`\n")
    assert links(page) == ["https://doi.org/10.1", "missing.md"]


def test_files_that_the_readme_names_exist() -> None:
    """README names folders and pages of docs/ in code, not as links."""
    text = (ROOT / "README.md").read_text()
    for name in re.findall(r"`(docs/[\w./-]+)`", text):
        assert (ROOT / name).exists(), f"README names {name}, which is not there"
