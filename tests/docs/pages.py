"""The pages of the documentation, their code blocks and their links."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

_BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)|!\[[^\]]*\]\((?P<image>[^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block. page: its file; line: of the first line of its text; language: as written after the fence."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def blocks(page: Path, language: str) -> list[Block]:
    """The blocks of one language, in the order of the page."""
    text = page.read_text()
    return [
        Block(page, text.count("\n", 0, m.start("text")) + 1, m["language"], textwrap.dedent(m["text"]))
        for m in _BLOCK.finditer(text)
        if m["language"] == language
    ]


def links(page: Path) -> list[str]:
    """Targets of links and pictures, code left out."""
    text = re.sub(r"`[^`\n]*`", "``", _BLOCK.sub("", page.read_text()))
    return [m["target"] or m["image"] for m in _LINK.finditer(text)]
