"""Lines that figures of several checks share."""

from __future__ import annotations

from typing import Literal

from veritem.results import Marker


def reported_marker(
    resolution: float | None, power: Literal[1, -1, -2] = -1, axis: Literal["x", "y"] = "x"
) -> tuple[Marker, ...]:
    """The reported resolution as a line; nothing where none was reported.

    power: of the resolution that the axis shows: 1 for Å, -1 for 1/Å, -2 for 1/Å².
    """
    if resolution is None:
        return ()
    return (Marker(axis=axis, value=resolution**power, label=f"reported {resolution:.3g} Å", role="reported"),)
