"""What the checks of local resolution share: quantities, criteria, figures, maps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from veritem.checks.base import Check, Criterion, MapOutput
from veritem.checks.local_figures import coloured_slices, coloured_surface, local_histogram, on_view
from veritem.checks.markers import reported_marker
from veritem.derived.local_resolution import LocalResolution
from veritem.derived.masks import ContourLevel
from veritem.errors import Inconclusive
from veritem.numerics.density_map import DensityMap
from veritem.numerics.local import block_inflation, block_labels, bootstrap_quantile
from veritem.results import DerivedMap, Figure, Quantity, format_number

BLOCK = 2.5  # windows: cubes of the bootstrap
LEAST_BLOCKS = 8
LEAST_DETERMINABLE = 70.0  # % of the particle
# Shares of the particle, in %, that are resolved to the end of the search: above the first it is said, above the second
# nothing is judged.
SAID, TOO_MANY = 1.0, 50.0
QUANTILES = {"finest": 0.05, "median": 0.5, "quartile": 0.75, "coarsest": 0.95}


@dataclass(frozen=True, eq=False)
class LocalResolutionMeasurement:
    """Numbers first; what the figures and maps need after."""

    median: Quantity
    finest: Quantity
    coarsest: Quantity
    finest_over_reported: Quantity
    reported_rank: Quantity
    determinable: Quantity
    false_rate: Quantity
    window: Quantity
    caveats: tuple[str, ...]
    local: LocalResolution = field(repr=False)
    reported_resolution: float | None = field(repr=False)
    view_map: DensityMap = field(repr=False)
    contour_level: float = field(repr=False)


class LocalResolutionCheck(Check):
    """The base of 1.c, 1.d and 1.e. A subclass sets the class variables and hands its `LocalResolution` to `measured`.

    measures: what the values are, for labels, e.g. "local resolution by FSC".
    """

    level = "1"
    needs: ClassVar[tuple[str, ...]] = ("half_maps",)
    measures: ClassVar[str] = "local resolution"
    palette: ClassVar[str] = "viridis_r"

    def measured(
        self,
        local: LocalResolution,
        reported_resolution: float | None,
        view_map: DensityMap,
        contour_level: ContourLevel,
        seed: int,
        caveats: tuple[str, ...] = (),
    ) -> LocalResolutionMeasurement:
        """Quantiles with intervals from a bootstrap over cubes, and where the reported resolution falls.

        Raises Inconclusive when the particle is too small for intervals.
        """
        known = local.determinable
        share = 100.0 * float(known.mean()) if known.size else 0.0
        notes = list(caveats)
        values = local.resolution[known].astype(np.float64)
        found: dict[str, Quantity] = {}
        edge = BLOCK * local.window
        labels = block_labels(local.part.positions()[known], edge) if known.any() else np.zeros(0, np.int64)
        blocks = int(labels.max()) + 1 if labels.size else 0
        whole = int(block_labels(local.part.positions(), edge).max()) + 1 if known.size else 0
        if whole < LEAST_BLOCKS:
            raise Inconclusive(
                f"The particle fills {whole} cubes of {edge:.0f} Å; {LEAST_BLOCKS} are needed for quantiles of the "
                "local resolution with intervals."
            )
        rng = np.random.default_rng([seed, 0x10C])
        names = {"finest": "Finest 5 %", "median": "Median", "quartile": "Upper quartile", "coarsest": "Coarsest 5 %"}
        ratio: Quantity | None = None
        for name, quantile in QUANTILES.items():
            label = f"{names[name]} of the {self.measures}"
            if blocks < LEAST_BLOCKS:
                found[name] = Quantity(label=label, value=None, unit="Å", note="too little of it is determinable")
                continue
            value = float(np.quantile(values, quantile))
            draws = bootstrap_quantile(values, labels, quantile, rng, block_inflation(edge, local.window))
            low, high = (float(v) for v in np.percentile(draws, [2.5, 97.5]))
            # Where many values are equal, as at the end of a search, the histogram's quantile lies a bin beside them.
            low, high = min(low, value), max(high, value)
            found[name] = Quantity(
                label=label,
                value=value,
                unit="Å",
                interval=(low, high),
                confidence=0.95,
                estimates="resolution" if name == "median" else "",
            )
            if name == "finest" and reported_resolution is not None:
                ratio = Quantity(
                    label="Finest 5 % over the reported resolution",
                    value=value / reported_resolution,
                    interval=(low / reported_resolution, high / reported_resolution),
                    confidence=0.95,
                )
        if ratio is None:
            why = "no resolution was reported" if reported_resolution is None else "too little is determinable"
            ratio = Quantity(label="Finest 5 % over the reported resolution", value=None, note=why)
        if reported_resolution is None:
            notes.append("No resolution was reported, so nothing is compared with it.")
        rank = None
        if reported_resolution is not None and values.size:
            rank = 100.0 * float(np.mean(values <= reported_resolution))
        quartile = found["quartile"].value
        if reported_resolution is not None and isinstance(quartile, float) and reported_resolution > quartile:
            notes.append(
                f"Three quarters of the particle are finer than the reported resolution of {reported_resolution:.3g} Å."
            )
        return LocalResolutionMeasurement(
            median=found["median"],
            finest=found["finest"],
            coarsest=found["coarsest"],
            finest_over_reported=ratio,
            reported_rank=Quantity(
                label="Part of the particle that reaches the reported resolution",
                value=rank,
                unit="%",
                note="of what is determinable; a resolution at FSC 0.143 usually lies between 5 and 40 %",
            ),
            determinable=Quantity(
                label=f"Part of the particle where the {self.measures} is determinable", value=share, unit="%"
            ),
            false_rate=Quantity(
                label="Noise voxels that this method gives a resolution better than 15 Å",
                value=None if local.false_rate is None else 100.0 * local.false_rate,
                unit="%",
                digits=2,
            ),
            window=Quantity(label="Standard deviation of the window behind one value", value=local.window, unit="Å"),
            caveats=tuple(notes),
            local=local,
            reported_resolution=reported_resolution,
            view_map=view_map,
            contour_level=contour_level.value,
        )

    def summary(self, measurement: LocalResolutionMeasurement) -> str:
        m = measurement
        if m.median.value is None:
            return (
                f"The {self.measures} is determinable in {m.determinable.text()} of the particle: too little for a "
                "distribution."
            )
        text = (
            f"The median {self.measures} is {m.median.text()}; the finest 5 % reach "
            f"{m.finest.text()} and the coarsest begin at {format_number(float(m.coarsest.value or 0.0), 3)} Å"
        )
        if m.reported_rank.value is not None:
            text += f"; {m.reported_rank.text()} of the particle reach the reported resolution"
        return text + "."

    def figures(self, measurement: LocalResolutionMeasurement) -> list[Figure]:
        m = measurement
        known = m.local.determinable
        values = m.local.resolution[known]
        if not values.size:
            return []
        limits = colour_limits(values)
        label = f"{self.measures[0].upper()}{self.measures[1:]} (Å)"
        volume = m.local.part.volume(m.local.resolution)
        grid = m.local.part.density
        figures: list[Figure] = []
        if m.median.value is not None:
            histogram = local_histogram(
                "histogram",
                f"Distribution of the {self.measures}",
                values,
                m.median,
                label,
                limits=(None, None),
                caption="How often each value occurs among the voxels of the particle where it is determinable. The "
                "band around the median is its 95 % interval. The reported resolution should lie among the finer "
                "values: no part of a map can be better than what its half maps agree on.",
            )
            reported = reported_marker(m.reported_resolution, power=1)
            figures.append(histogram.model_copy(update={"markers": (*histogram.markers, *reported)}))
        figures.append(
            coloured_slices(
                "slices",
                f"{label.removesuffix(' (Å)')} in central slices",
                grid,
                volume,
                m.local.part.index,
                label,
                limits,
                self.palette,
                "The three slices through the centre of the particle: the mean of the half maps in grey, and below it "
                "the local values. Grey in the lower row: outside the particle, or not determinable.",
            )
        )
        figures.append(
            coloured_surface(
                "surface",
                f"The map coloured by {self.measures}",
                m.view_map,
                m.contour_level,
                on_view(volume, grid.pixel_size, grid.origin, m.view_map),
                label,
                limits,
                self.palette,
                "The surface of the submitted map at the contour level. Bright parts are resolved finer than dark "
                "ones; grey parts are not determinable.",
            )
        )
        return figures

    def maps(self, measurement: LocalResolutionMeasurement) -> list[MapOutput]:
        local = measurement.local
        known = local.resolution[local.determinable]
        grid = local.part.density
        return [
            MapOutput(
                description=DerivedMap(
                    key=self.map_key(),
                    label=f"{self.measures[0].upper()}{self.measures[1:]}",
                    file="",
                    unit="Å",
                    description=f"The {self.measures} at each voxel of the particle; 0 where it is not determinable.",
                    colours_map=True,
                    colour_limits=colour_limits(known) if known.size else None,
                    palette=self.palette,
                ),
                data=local.part.volume(local.resolution),
                pixel_size=grid.pixel_size,
                origin=grid.origin,
            )
        ]

    @classmethod
    def map_key(cls) -> str:
        """Part of the file's name: local_resolution_localfsc, ..."""
        return f"local_resolution_{cls.__name__.lower()}"


def resolved_to_the_end(local: LocalResolution, at_the_end: NDArray[np.bool_], searched: str) -> Quantity:
    """The part of the particle, in %, whose values stand for `local.finest` or better.

    at_the_end: (voxels,). searched: what the search goes through, e.g. "wavelength searched".
    """
    known = local.determinable
    return Quantity(
        label=f"Part of the particle resolved to the finest {searched}, or better",
        value=100.0 * float(at_the_end[known].mean()) if known.any() else None,
        unit="%",
        digits=2,
        note=f"{local.finest:.3g} Å",
    )


def filtered_caveat(held: float, pixel_size: float) -> tuple[str, ...]:
    """That the half maps end before their grid does. held: Å, beyond which they hold nothing. pixel_size: Å."""
    if held <= 1.1 * 2.0 * pixel_size:
        return ()
    return (f"The half maps hold nothing finer than {held:.3g} Å: they were low-pass filtered there.",)


def local_resolution_criteria(measures: str, tolerance: float, because: str) -> tuple[Criterion, ...]:
    """The two criteria of every method.

    tolerance: by how much the best 5 % may lie beyond the reported resolution, as a ratio, before it is a warning; what
        the method's own bias and scatter on sound, uniform pairs take.
    because: why this tolerance, with the figures it was measured by.
    """
    return (
        Criterion(
            quantity="finest_over_reported",
            text="Some part of the map reaches the reported resolution: the finest 5 % of the local values are not "
            "coarser than it",
            at_most=tolerance,
            rule="interval",
            because=because,
            warning="Hardly any part of the map reaches the reported resolution: the finest 5 % of the "
            f"{measures} begin at {{value}} of it.",
            causes=(
                "The reported resolution is too good: from a tight mask without correction, or from halves that are "
                "not independent",
                "The half maps are not those of the reported refinement",
                "A reported resolution taken from another map or from the best region only",
            ),
            advice="Compare with the corrected FSC of 1.a, and report what the half maps agree on.",
        ),
        Criterion(
            quantity="determinable",
            text=f"The {measures} is determinable in most of the particle",
            at_least=LEAST_DETERMINABLE,
            because="Where less is determinable the half maps agree on no detail in a large part of what the mask "
            "calls particle, and quantiles speak of the rest only",
            warning=f"The {measures} is determinable in {{value}} of the particle only.",
            causes=(
                "A contour level so low that the mask holds solvent",
                "Large parts that are flexible or partly occupied",
                "Half maps with little signal",
            ),
            advice="Look at the grey parts of the coloured surface; raise the contour level if they are solvent.",
        ),
    )


def colour_limits(values: NDArray[Any]) -> tuple[float, float]:
    """From the 2.5th to the 97.5th percentile, at least half an Å apart: less would colour the method's own scatter."""
    low, high = (float(v) for v in np.percentile(values, [2.5, 97.5]))
    if high - low < 0.5:
        middle = 0.5 * (low + high)
        low, high = middle - 0.25, middle + 0.25
    return round(low, 2), round(high, 2)
