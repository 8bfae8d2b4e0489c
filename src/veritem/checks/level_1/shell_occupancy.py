"""1.g: the share of directions that still agree in each shell, and how much the resolution depends on direction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from veritem.checks.base import Check, Criterion
from veritem.checks.level_1.direction_figures import direction_text, projected_directions, sphere_figure
from veritem.checks.markers import reported_marker
from veritem.derived.directional_fsc import DirectionalCorrelation, axis_of, best_and_worst
from veritem.numerics.directions import angle_between, evaluate_even, even_harmonics, hemisphere, tilt_and_azimuth
from veritem.results import CurveFigure, Figure, Marker, Quantity, Reference, Series, format_number

LIMIT = 0.15
ALPHA = 0.01
MOST_AT_LIMIT = 0.05  # share of directions beyond the sampling that leaves the answer open


@dataclass(frozen=True, eq=False)
class ShellOccupancyMeasurement:
    """Numbers first; what the figures need after."""

    anisotropy: Quantity
    p_value: Quantity
    occupancy_resolution: Quantity
    nine_tenths: Quantity
    one_tenth: Quantity
    best_resolution: Quantity
    worst_resolution: Quantity
    axis_tilt: Quantity
    axis_azimuth: Quantity
    undecided: str
    caveats: tuple[str, ...]
    correlation: DirectionalCorrelation = field(repr=False)
    reported_resolution: float | None = field(repr=False)


class ShellOccupancy(Check):
    """Is the map equally well resolved in all directions?

    Fourier coefficients of the two half maps, inside the soft mask, are added up by shell and by direction, in 1536
    cells of equal area on the half sphere. The FSC in a soft cone of 17° around each of 240 directions follows from
    them; what the mask alone correlates is taken off, as in the global FSC, but direction by direction, because
    the mask of a long particle spreads low frequencies more across it than along it. The Fourier shell occupancy
    (FSO) of a shell is the share of directions whose FSC is still 0.143 or more.

    Where the FSC of a direction falls below 0.143 is its cut-off: the shell up to which the sum of (FSC - 0.143) over
    coefficients is largest. This needs no assumption about the shape of the curve (a logistic curve does not fit the
    dip that proteins have near 7 Å, nor a direction that holds nothing), and noise moves it little. The FSC is first
    averaged over neighbouring shells, a Gaussian of 8 % of the cut-off, which moves all directions alike. An even
    function of direction with the terms of degree 2 and 4 is fitted to the cut-offs. The anisotropy A2 is its highest
    value less its lowest over its mean, after each degree was reduced to the power that it has beyond chance: 0.15
    means that the worst direction is resolved 15 % less finely than the best.

    What chance does is drawn, not assumed: 400 pairs of half maps that are alike in all directions, with the same
    radial signal-to-noise ratio, the same mask and the same symmetry. The sum and the difference of two half maps are
    independent, so their powers in a cell are gamma variables, with as many degrees of freedom as the mask leaves
    independent coefficients; the mask makes neighbouring shells alike, as much as its own transform says. The
    law was compared with half maps drawn voxel by voxel. The p-value is the rank of the measured A2 among these, and
    the band in the figure holds 95 % of their curves, shell by shell. Intervals come from 200 pairs drawn with the
    anisotropy that was found.

    The published significance measure (the Bingham test) is not used: it takes overlapping cones for independent and
    calls every map anisotropic. The 3-D FSC (1.h) rests on the same coefficients: the two checks are one piece of
    evidence, seen twice, and this one is the more sensitive.

    Misleads when the molecule itself is anisotropic: helices or strands that all run one way, as in a fibre or a
    bundle, and the bases of a straight duplex of DNA or RNA, stacked 3.4 Å apart, put their signal into few
    directions, and the resolution then differs although every view was seen. The effect has to pass 15 % for that
    reason; a duplex in a small complex may still pass it. Views that crowd move the resolution little where the signal
    falls steeply with frequency: that three times as many particles were seen from one side may stay below 15 %. A
    particle of few resolution elements leaves the answer open, since cones then hold few coefficients. What half
    maps share by mistake (1.a) hides anisotropy too.
    """

    code = "1.g"
    title = "Fourier shell occupancy"
    level = "1"
    needs: ClassVar[tuple[str, ...]] = ("half_maps",)
    criteria = (
        Criterion(
            quantity="anisotropy",
            text="The resolution hardly depends on direction: A2 is at most 0.15, or no more than chance makes it",
            at_most=LIMIT,
            rule="interval",
            significance="p_value",
            alpha=ALPHA,
            because="Below 15 % between the best and the worst direction a map looks the same from all sides, and the "
            "spectrum of a sound protein may do as much; beyond it, density is smeared along the worst direction. "
            "A warning needs the whole 95 % interval beyond it, and that fewer than 1 % of isotropic half maps look so "
            "anisotropic",
            warning="The resolution depends on direction: best and worst differ by {value} of the mean (A2).",
            causes=(
                "Preferred orientations: too few particles were seen from some directions",
                "A missing cone of views, as at an air-water interface or with a membrane",
                "Poses that are wrong for part of the views",
            ),
            advice="Look at the distribution of views. Collect tilted images or change the grid, the support or the "
            "detergent; leaving out particles of the crowded views evens out the resolution but adds no signal.",
        ),
    )
    references = (
        Reference(
            text="Vilas JL, Tagare HD. New measures of anisotropy of cryo-EM maps. Nature Methods 20 (2023) 1021–1024.",
            doi="10.1038/s41592-023-01874-3",
        ),
        Reference(
            text="Chen S, McMullan G, Faruqi AR, et al. High-resolution noise substitution to measure overfitting and "
            "validate resolution in 3D structure determination by single particle electron cryomicroscopy. "
            "Ultramicroscopy 135 (2013) 24–35.",
            doi="10.1016/j.ultramic.2013.06.004",
        ),
    )

    def measure(  # type: ignore[override]
        self, directional_fsc: DirectionalCorrelation, reported_resolution: float | None
    ) -> ShellOccupancyMeasurement:
        """Read the curves; what cannot be told is Inconclusive before it gets here."""
        d = directional_fsc
        significant = d.p_value <= ALPHA
        a_low, a_high = _anisotropy_interval(d)
        levels = 1.0 / (d.found.occupancy_shells[0] * d.shell_width)
        repeated = 1.0 / (d.repeats.occupancy_shells * d.shell_width)
        alike = 1.0 / (np.median(d.chance.occupancy_shells, axis=0) * d.shell_width)

        def crossing(at: int, name: str, estimates: bool) -> Quantity:
            low, high = (float(v) for v in np.percentile(repeated[:, at], [2.5, 97.5]))
            value = float(levels[at])
            return Quantity(
                label=f"Resolution at which the FSO falls below {name}",
                value=value,
                unit="Å",
                interval=(min(low, value), max(high, value)),
                confidence=0.95,
                note=f"{alike[at]:.3g} Å if all directions were alike",
                estimates="resolution" if estimates else "",
            )

        finest, best, coarsest, worst = best_and_worst(d.coefficients)
        floor = 1.0 * d.shell_width
        drawn = d.repeated_coefficients @ even_harmonics(hemisphere(1000), 4).T
        ends = np.stack([drawn.max(axis=1), drawn.min(axis=1)], axis=1)
        ranges = [
            tuple(float(v) for v in np.percentile(1.0 / np.maximum(ends[:, side], floor), [2.5, 97.5]))
            for side in (0, 1)
        ]

        def extreme(label: str, frequency: float, direction: NDArray, interval: tuple) -> Quantity:
            value = 1.0 / max(frequency, floor)
            return Quantity(
                label=label,
                value=value,
                unit="Å",
                interval=(min(interval[0], value), max(interval[1], value)),
                confidence=0.95,
                note=direction_text(direction) if significant else "its direction is chance",
            )

        axis, finer = axis_of(d.coefficients if significant else d.raw)
        tilt, azimuth = tilt_and_azimuth(axis)
        scatter = float(np.percentile([angle_between(axis, axis_of(c)[0]) for c in d.repeated_coefficients], 95))
        uncertain = (
            f"95 % of repeats lie within {scatter:.0f}°; the resolution is {'finer' if finer else 'coarser'} along it"
        )
        undecided, caveats = "", []
        if d.at_limit > MOST_AT_LIMIT:
            undecided = (
                f"In {100 * d.at_limit:.0f} % of the directions the half maps agree as far as was looked or sampled, "
                "so that the anisotropy may be larger than was measured"
            )
            caveats.append("Some directions agree up to the end of the range, so that A2 is a lower limit.")
        if significant and d.anisotropy <= LIMIT:
            caveats.append(
                f"The resolution does depend on direction, more than chance explains (p = {d.p_value:.2g}), but by "
                "less than 15 %."
            )
        return ShellOccupancyMeasurement(
            anisotropy=Quantity(
                label="Anisotropy A2: (best − worst) / mean cut-off frequency",
                value=d.anisotropy,
                interval=(min(a_low, d.anisotropy), max(a_high, d.anisotropy)),
                confidence=0.95,
                digits=2,
                note="beyond chance",
            ),
            p_value=Quantity(
                label="p of so large an A2 if all directions were alike",
                value=d.p_value,
                digits=2,
                note=f"of {len(d.chance.sphericity)} isotropic pairs of half maps",
            ),
            occupancy_resolution=crossing(1, "0.5", True),
            nine_tenths=crossing(0, "0.9", False),
            one_tenth=crossing(2, "0.1", False),
            best_resolution=extreme("Resolution in the best direction", finest, best, ranges[0]),
            worst_resolution=extreme("Resolution in the worst direction", coarsest, worst, ranges[1]),
            axis_tilt=Quantity(
                label="Axis of the anisotropy: angle from z",
                value=tilt if significant else None,
                unit="°",
                digits=2,
                note=uncertain if significant else "no anisotropy beyond chance",
            ),
            axis_azimuth=Quantity(
                label="Axis of the anisotropy: azimuth from x towards y",
                value=azimuth if significant else None,
                unit="°",
                note="means little for an axis near z" if significant else "no anisotropy beyond chance",
            ),
            undecided=undecided,
            caveats=tuple(caveats),
            correlation=d,
            reported_resolution=reported_resolution,
        )

    def summary(self, measurement: ShellOccupancyMeasurement) -> str:
        m = measurement
        assert isinstance(m.best_resolution.value, float) and isinstance(m.worst_resolution.value, float)
        half = f"Half of the directions agree to {m.occupancy_resolution.text()}"
        if m.correlation.p_value > ALPHA:
            return (
                f"{half}. The resolution depends on direction no more than chance makes it (p = {m.p_value.text()}; "
                f"A2 {m.anisotropy.text()})."
            )
        return (
            f"{half}. The resolution runs from {format_number(m.best_resolution.value)} Å in the best direction to "
            f"{format_number(m.worst_resolution.value)} Å in the worst (A2 {m.anisotropy.text()}; p = "
            f"{m.p_value.text()})."
        )

    def figures(self, measurement: ShellOccupancyMeasurement) -> list[Figure]:
        return [_occupancy_figure(measurement), _sphere(measurement)]


def _anisotropy_interval(d: DirectionalCorrelation) -> tuple[float, float]:
    """95 %, of repeats as anisotropic as what was found. A range is pushed up by noise, so that what the repeats exceed
    the finding by is also taken off the lower end; and it reaches 0 where chance may have made all of it.
    """
    low, high = (float(v) for v in np.percentile(d.anisotropy_draws, [2.5, 97.5]))
    pushed = max(float(np.median(d.anisotropy_draws)) - d.anisotropy, 0.0)
    return (0.0 if d.p_value > 0.025 else max(low - pushed, 0.0)), high


def _occupancy_figure(m: ShellOccupancyMeasurement) -> CurveFigure:
    d = m.correlation
    shown = slice(d.first_shell - 1, None)
    low, high = np.percentile(d.chance.occupancy, [2.5, 97.5], axis=0)
    middle = np.median(d.chance.occupancy, axis=0)

    def line(values: NDArray) -> tuple[float, ...]:
        return tuple(map(float, values[shown]))

    x = line(d.frequency)
    markers = [Marker(axis="y", value=0.5, label="0.5", role="note")]
    ends = d.found.occupancy_shells[0, [0, 2]] * d.shell_width
    markers.append(Marker(axis="x", value=float(ends[0]), end=float(ends[1]), label="FSO 0.9 to 0.1"))
    markers += reported_marker(m.reported_resolution)
    return CurveFigure(
        key="occupancy",
        title="Fourier shell occupancy",
        caption="The share of directions in which the half maps still agree (FSC of 0.143 or more), by frequency. It "
        "falls from 1 to 0; the steeper, the more alike the directions are. The band is where the curve of half maps "
        "lies that differ in direction by chance only, in 95 % of cases at each frequency: a curve that leaves it, "
        "first below and then above, is that of an anisotropic map. Frequencies too low to tell directions apart are "
        "left out.",
        alt_text=f"FSO against frequency; it falls below 0.5 at {m.occupancy_resolution.text()}, below 0.9 at "
        f"{m.nine_tenths.text()}, below 0.1 at {m.one_tenth.text()}.",
        series=(
            Series(label="half maps", x=x, y=line(d.found.occupancy[0])),
            Series(
                label="alike in all directions (95 % band)",
                x=x,
                y=line(middle),
                low=line(low),
                high=line(high),
                style="dashed",
                role="expected",
            ),
        ),
        x_label="frequency (1/Å)",
        y_label="share of directions with FSC ≥ 0.143",
        x_scale="inverse",
        markers=tuple(markers),
    )


def _sphere(m: ShellOccupancyMeasurement) -> Figure:
    d = m.correlation
    at = projected_directions()
    flat = at.reshape(-1, 3)
    known = np.isfinite(flat[:, 0])
    values = np.full(len(flat), np.nan)
    values[known] = 1.0 / np.maximum(evaluate_even(d.coefficients, flat[known]), d.shell_width)
    worst = best_and_worst(d.coefficients)[3] if d.p_value <= ALPHA else None
    return sphere_figure(
        "sphere",
        "Resolution by direction",
        values.reshape(at.shape[:-1]),
        worst,
        "resolution (Å)",
        caption="The fitted resolution in each direction, reduced to what is beyond chance, on the half sphere of "
        "directions: the centre of the disc is z, its rim the xy plane, and equal areas are equal areas. A ring "
        "marks the worst direction where there is anisotropy. One colour all over is what a sound map shows. A "
        "direction and its opposite are the same. A frequency along a direction is seen by particles that look across "
        "it: a bad direction z means that few views lie in the xy plane.",
        alt_text=f"Disc of directions: {m.best_resolution.text()} in the best, {m.worst_resolution.text()} in the "
        "worst direction.",
    )
