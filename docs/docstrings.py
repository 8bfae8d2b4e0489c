"""Show the package's docstrings as they are meant: each "name: meaning" at the start of a line is an item of a list."""

from __future__ import annotations

import re
from typing import Any

import griffe

ITEM = re.compile(r"^(?P<names>[a-z_][a-z0-9_]*(?:, [a-z_][a-z0-9_]*)*): (?P<meaning>\S.*)$")
SENTENCE = re.compile(r"^(Raises|Returns) ")


class Fields(griffe.Extension):
    """Turn lines such as "map: MRC or CCP4 file" into Markdown lists when a documentation page is built."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(docstring: str) -> str:
    """The docstring with its fields as a list, and with "Raises" and "Returns" as paragraphs of their own."""
    lines: list[str] = []
    listing = False
    for line in docstring.splitlines():
        item = ITEM.match(line)
        if item:
            if not listing:
                lines.append("")
            names = ", ".join(f"`{name}`" for name in item["names"].split(", "))
            lines.append(f"- {names}: {item['meaning']}")
            listing = True
        elif listing and line.startswith(" "):
            lines.append(f"  {line.strip()}")
        else:
            if listing or SENTENCE.match(line):
                lines.append("")
            lines.append(line)
            listing = False
    return "\n".join(lines).strip()
