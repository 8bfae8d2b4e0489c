"""Every figure of a result, drawn once for all formats. One that cannot be drawn becomes a note in its place."""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from numpy.typing import NDArray

from veritem.errors import VeritemError
from veritem.report.content import figures_of
from veritem.report.figures import DOTS_PER_INCH, draw
from veritem.report.files import ArrayStore
from veritem.results import Figure, ValidationResult


@dataclass(frozen=True)
class Illustration:
    """One figure, ready to be placed.

    number: counts through the report. kind: "svg", "png", "webp", or "" when `note` says why it could not be drawn.
    width: in inches, as it was drawn.
    """

    anchor: str
    number: int
    figure: Figure
    kind: str
    data: bytes
    width: float
    note: str = ""

    @property
    def data_uri(self) -> str:
        media = "image/svg+xml" if self.kind == "svg" else f"image/{self.kind}"
        return f"data:{media};base64,{base64.b64encode(self.data).decode()}"


def illustrate(result: ValidationResult, folder: Path) -> dict[str, Illustration]:
    """Draw every figure; the keys are the anchors that `content.figures_of` gives."""
    store = ArrayStore(folder)
    drawn: dict[str, Illustration] = {}
    for number, (anchor, figure) in enumerate(figures_of(result), start=1):
        kind, data, note = "", b"", ""
        try:
            kind, data = draw(figure, _arrays(figure, store))
        except VeritemError as error:
            note = str(error)
        except Exception as error:
            # A figure must not cost the reader the report; what went wrong stands where it would have been.
            note = f"This figure could not be drawn ({type(error).__name__}: {error})."
        drawn[anchor] = Illustration(anchor, number, figure, kind, data, _width(kind, data), note)
    return drawn


def _arrays(figure: Figure, store: ArrayStore) -> Mapping[str, NDArray]:
    if figure.arrays:
        return figure.arrays
    return store.arrays(figure.data_file, f"{figure.key}/") if figure.data_file else {}


def _width(kind: str, data: bytes) -> float:
    if kind == "png":
        return struct.unpack(">I", data[16:20])[0] / DOTS_PER_INCH
    if kind == "svg" and (found := re.search(rb'<svg[^>]* width="([\d.]+)pt"', data)):
        return float(found.group(1)) / 72
    return 0.0
