"""Estimates of one thing by several checks, put beside each other. Nothing is averaged: they are of different kinds."""

from __future__ import annotations

import numpy as np
from scipy.stats import spearmanr

from veritem.checks.markers import reported_marker
from veritem.results import (
    CheckResult,
    Column,
    Comparison,
    Figure,
    IntervalFigure,
    IntervalRow,
    Table,
)
from veritem.run.folder import OutputFolder

# Voxels of the view that two maps must share before their agreement is said.
LEAST_SHARED = 2700
# Neighbouring voxels are correlated; every third along each axis still shows the rank correlation and takes a 27th.
STRIDE = 3


def compare_resolutions(
    checks: tuple[CheckResult, ...], reported: float | None, folder: OutputFolder | None
) -> Comparison | None:
    """All estimates of the resolution in one figure, and how far the local maps agree; None where there are not two.

    folder: where the checks' maps are stored on the grid of the view; without one the agreement is left out.
    """
    rows = []
    for check in checks:
        for quantity in check.quantities.values():
            if quantity.estimates == "resolution" and isinstance(quantity.value, int | float):
                low, high = quantity.interval or (None, None)
                rows.append(
                    IntervalRow(label=f"{check.code} {quantity.label}", value=quantity.value, low=low, high=high)
                )
    if len(rows) < 2:
        return None
    figure: Figure = IntervalFigure(
        key="estimates",
        title="Every estimate of the resolution",
        caption="One row for each estimate, named by what it is; lines are 95 % intervals. They are of different kinds "
        "and need not agree: a global FSC at 0.143, the limit of what is significant, medians over the particle. The "
        "reported resolution is judged only against estimates of its own kind.",
        alt_text="; ".join(f"{row.label} {row.value:.3g} Å" for row in rows),
        rows=tuple(rows),
        x_label="resolution (Å)",
        markers=reported_marker(reported, power=1),
    )
    tables = () if folder is None else _agreement(checks, folder)
    return Comparison(
        key="resolution",
        title="Estimates of the resolution",
        text="Each method asks a question of its own, so their numbers differ on a sound map too. An estimate far from "
        "the others is worth a look at its section."
        + (
            "\n\nHow far the maps of local resolution agree on which parts are better is a second, independent look: a "
            "rank correlation near 1 says that they do, near 0 that at least one of them follows something else."
            if tables
            else ""
        ),
        figures=(figure,),
        tables=tables,
    )


def _agreement(checks: tuple[CheckResult, ...], folder: OutputFolder) -> tuple[Table, ...]:
    maps = {}
    for check in checks:
        for derived_map in check.maps:
            if derived_map.key.startswith("local_resolution"):
                stored = folder.read_arrays(check.code).get(f"scene/{derived_map.key}")
                if stored is not None:
                    maps[f"{check.code} {check.title}"] = stored[::STRIDE, ::STRIDE, ::STRIDE].ravel()
    rows: list[tuple[str, str, float | None, float | None, int]] = []
    names = list(maps)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            a, b = maps[first], maps[second]
            both = np.isfinite(a) & np.isfinite(b)
            if both.sum() < LEAST_SHARED // STRIDE**3:
                rows.append((first, second, None, None, int(both.sum())))
                continue
            # A map of one value ranks nothing.
            flat = np.ptp(a[both]) == 0 or np.ptp(b[both]) == 0
            rank = None if flat else round(float(spearmanr(a[both], b[both]).statistic), 2)
            rows.append((first, second, rank, round(float(np.median(b[both] - a[both])), 2), int(both.sum())))
    if not rows:
        return ()
    table = Table(
        key="agreement",
        title="Agreement of the maps of local resolution",
        columns=(
            Column(label="first"),
            Column(label="second"),
            Column(label="rank correlation"),
            Column(label="median of second − first", unit="Å"),
            Column(label="points compared"),
        ),
        rows=tuple(rows),
        caption="Over the points of the particle where both are determinable. Shown, not judged.",
    )
    return (table,)
