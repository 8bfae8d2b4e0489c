"""1.b: up to which frequency the half maps share anything at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from veritem.checks.base import Check, Criterion
from veritem.checks.markers import reported_marker
from veritem.derived.half_maps import SIGNIFICANCE, HalfMapFsc
from veritem.numerics.fsc import THRESHOLD, DetectionLimit, detection_limit, normal_p_value
from veritem.results import CurveFigure, Figure, Marker, Quantity, Reference, Series, format_number

ALPHA = SIGNIFICANCE
ROUNDING = 0.1  # Å
DRAWS = 400
SHOWN_P_VALUE = 1e-16  # smaller ones are drawn here


@dataclass(frozen=True, eq=False)
class FscSignificanceMeasurement:
    """Numbers first; what the figures need after."""

    significant_resolution: Quantity
    groups_passed: Quantity
    significant_over_half_maps: Quantity
    reported_over_significant: Quantity
    reported_p_value: Quantity
    needed_at_crossing: Quantity
    caveats: tuple[str, ...]
    curve: HalfMapFsc = field(repr=False)
    found: DetectionLimit = field(repr=False)
    reported_resolution: float | None = field(repr=False)


class FscSignificance(Check):
    """Up to which frequency do the half maps share more than noise would?

    A threshold such as FSC 0.143 says how much signal a shell should hold; this check asks whether it holds any. The
    corrected FSC inside the soft mask (see the global resolution) is tested against halves that share nothing. Their
    FSC would scatter by 1 / √(2 n), where n is the number of independent coefficients in the shell: the mask makes
    neighbouring coefficients alike, and symmetry repeats them, and both are taken into account. So a p-value can be
    written down for each shell, from Student's t, and none is 0; no permutation is needed.

    Three neighbouring shells are tested together, as the sum of their normal scores over its standard deviation, which
    holds their correlation. Tests go from coarse to fine and stop at the first that fails at the level of 0.01. In an
    order fixed beforehand this keeps the chance of declaring anything in noise at 1 %, without a correction for the
    number of shells. It begins at the first shell with ten independent coefficients, at the latest after a
    quarter of the shells. The limit is read between the
    last group that passed and the one that failed.

    The limit of detection lies beyond the resolution at 0.143 when a shell holds coefficients enough. If it does not,
    the crossing at 0.143 is itself not significant. Nothing in the half maps supports a reported resolution beyond the
    limit.

    Of 2400 pairs of pure noise, of four colours and in the masks of three particles, 21 were declared to share
    anything: 0.9 %.

    Misleads when the halves share noise or a mask: that is common signal to this test. A symmetry that was imposed and
    not given makes the noise look more independent than it is. A band in which the particle itself has no signal,
    as a hollow shell may have, ends the test early.
    """

    code = "1.b"
    title = "Significance of the FSC"
    level = "1"
    needs: ClassVar[tuple[str, ...]] = ("half_maps",)
    criteria = (
        Criterion(
            quantity="groups_passed",
            text="The half maps share something: the coarsest shells are significant",
            at_least=1,
            because="Halves of any particle agree on its coarse shape",
            warning="The half maps share nothing that noise would not: not even the coarsest shells are significant.",
            causes=(
                "Half maps of different particles, or on different positions or hands",
                "Noise alone",
                "A mask that lies beside the particle",
            ),
            advice="Look at both half maps; check that they belong together and that the contour level shows them.",
        ),
        Criterion(
            quantity="significant_over_half_maps",
            text="The crossing at 0.143 is significant: signal is detectable about as far as it",
            at_most=1.05,
            rule="interval",
            because="Beyond the limit of detection an FSC of 0.143 can be noise; 5 % are allowed for the width of the "
            "groups (the whole 95 % interval decides)",
            warning="The crossing at 0.143 is not significant: the limit of detection is {value} of that resolution.",
            causes=(
                "Too few independent coefficients: a small particle, or high symmetry",
                "A band without signal at lower frequency",
            ),
            advice="Quote the limit of detection beside the resolution at 0.143.",
        ),
        Criterion(
            quantity="reported_over_significant",
            text="Signal is detectable at the reported resolution",
            at_least=1.0,
            rule="interval",
            because="Beyond the limit nothing in the half maps differs from noise; the test errs to the other side in "
            "1 % of cases",
            warning="Nothing is detectable at the reported resolution: it is {value} of the limit of detection.",
            causes=(
                "An FSC inside a tight mask, not corrected for what the mask correlates",
                "Half maps other than those of the reported refinement",
                "A resolution from another criterion, or of the best region",
            ),
            advice="Report a resolution that the deposited half maps support.",
        ),
    )
    references = (
        Reference(
            text="Beckers M, Sachse C. Permutation testing of Fourier shell correlation for resolution estimation of "
            "cryo-EM maps. J Struct Biol 212 (2020) 107579.",
            doi="10.1016/j.jsb.2020.107579",
        ),
        Reference(
            text="Westfall PH, Krishen A. Optimally weighted, fixed sequence and gatekeeper multiple testing "
            "procedures. J Stat Plan Inference 99 (2001) 25–40.",
            doi="10.1016/S0378-3758(01)00077-5",
        ),
    )

    def measure(  # type: ignore[override]
        self, half_map_fsc: HalfMapFsc, reported_resolution: float | None, seed: int
    ) -> FscSignificanceMeasurement:
        """Test the groups in order and compare the limit with the crossing and with what was reported."""
        curve = half_map_fsc
        found = _limit(curve, curve.corrected)
        passed = int(found.passed)
        resolution = 1.0 / float(found.limit) if passed else None
        interval = None
        if resolution is not None:
            rng = np.random.default_rng([seed, 0x1B])
            limits = _limit(curve, curve.draws(DRAWS, rng)).limit
            # A repetition in which the first group fails sees no further than that group.
            limits = np.where(np.isnan(limits), found.frequency[0], limits)
            coarse, fine = np.percentile(limits, [2.5, 97.5])
            # The drawn curves hold the noise twice, so that their limits lie a little further: the interval holds both.
            interval = (min(1.0 / float(fine), resolution), max(1.0 / float(coarse), resolution))
        everywhere = passed == found.frequency.size
        over_half = None
        over_half_interval = None
        if resolution is not None and curve.resolution is not None and interval is not None:
            over_half = resolution / curve.resolution
            over_half_interval = (interval[0] / curve.resolution, interval[1] / curve.resolution)
        caveats = []
        over, over_interval, p_value, why = None, None, None, "no resolution was reported"
        if reported_resolution is None:
            caveats.append("No resolution was reported, so nothing is compared with it.")
        else:
            # Where nothing is significant, the halves resolve no more than the whole of what is masked.
            coarsest = resolution or 1.0 / float(curve.frequency[1])
            over = reported_resolution / coarsest
            low, high = interval or (coarsest, coarsest)
            # A reported resolution is rounded to 0.1 Å.
            over_interval = (reported_resolution / high, (reported_resolution + ROUNDING) / low)
            why = ""
            nearest = int(np.argmin(np.abs(found.frequency - 1.0 / reported_resolution)))
            p_value = float(normal_p_value(found.z[nearest]))
            if everywhere:
                over = max(over, 1.0)
                over_interval = (over, max(over, over_interval[1]))
        needed = None
        if curve.resolution is not None:
            needed = float(np.interp(1.0 / curve.resolution, found.frequency, found.needed))
        return FscSignificanceMeasurement(
            significant_resolution=Quantity(
                label="Limit of detection",
                value=resolution,
                unit="Å",
                interval=interval,
                confidence=None if interval is None else 0.95,
                note="or finer: every group of shells up to Nyquist is significant"
                if everywhere
                else ""
                if passed
                else "not even the coarsest shells are significant",
            ),
            groups_passed=Quantity(
                label="Groups of three shells that are significant, from the coarsest", value=passed
            ),
            significant_over_half_maps=Quantity(
                label="Limit of detection over the resolution at 0.143",
                value=over_half,
                interval=over_half_interval,
                confidence=None if over_half_interval is None else 0.95,
                note="" if over_half is not None else curve.reason.rstrip(".") or "nothing is significant",
            ),
            reported_over_significant=Quantity(
                label="Reported resolution over the limit of detection",
                value=over,
                interval=over_interval,
                confidence=None if over_interval is None else 0.95,
                note=why,
            ),
            reported_p_value=Quantity(
                label="p-value of the three shells at the reported resolution", value=p_value, digits=2, note=why
            ),
            needed_at_crossing=Quantity(
                label="Mean FSC that three shells need to be significant, at the crossing of 0.143",
                value=needed,
                digits=2,
            ),
            caveats=tuple(caveats),
            curve=curve,
            found=found,
            reported_resolution=reported_resolution,
        )

    def summary(self, measurement: FscSignificanceMeasurement) -> str:
        m = measurement
        if m.significant_resolution.value is None:
            return "The half maps share nothing that noise would not: not even their coarsest shells are significant."
        text = f"The half maps share signal up to {m.significant_resolution.text()}, at the level of 1 %"
        if m.curve.resolution is not None:
            text += f"; their FSC is 0.143 at {format_number(m.curve.resolution, 3)} Å"
        return text + "."

    def figures(self, measurement: FscSignificanceMeasurement) -> list[Figure]:
        return [_needed_figure(measurement), _p_value_figure(measurement)]


def _limit(curve: HalfMapFsc, fsc: np.ndarray) -> DetectionLimit:
    return detection_limit(curve.frequency, fsc, curve.independent, curve.correlation, ALPHA)


def _markers(m: FscSignificanceMeasurement) -> list[Marker]:
    markers = []
    if m.significant_resolution.interval is not None:
        low, high = m.significant_resolution.interval
        markers.append(Marker(axis="x", value=1.0 / high, end=1.0 / low, label="limit, 95 % interval"))
    return [*markers, *reported_marker(m.reported_resolution)]


def _numbers(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(v) for v in values)


def _needed_figure(m: FscSignificanceMeasurement) -> CurveFigure:
    first = int(np.searchsorted(m.curve.frequency, m.found.frequency[0] * (1 - 1e-9)))
    smooth = np.stack(
        [m.curve.corrected[first - 1 + i : first - 1 + i + m.found.frequency.size] for i in range(3)]
    ).mean(axis=0)
    return CurveFigure(
        key="needed",
        title="The FSC and what noise would have",
        caption="The corrected FSC, averaged over three neighbouring shells, and the value that such a group must "
        "reach to be more than noise at the level of 1 %. The test goes from left to right and stops where the curve "
        "dips below that value for the first time: there lies the limit of detection. At 0.143 a shell holds the "
        "detail that is usually called resolved.",
        alt_text="FSC of groups of shells and the value needed for significance, against frequency.",
        series=(
            Series(
                label="corrected FSC, three shells",
                x=_numbers(m.found.frequency),
                y=_numbers(smooth),
                role="data",
            ),
            Series(
                label="needed",
                x=_numbers(m.found.frequency),
                y=_numbers(m.found.needed),
                role="expected",
                style="dashed",
            ),
        ),
        x_label="Frequency (1/Å)",
        y_label="FSC",
        x_scale="inverse",
        markers=(Marker(axis="y", value=THRESHOLD, label="0.143"), *_markers(m)),
    )


def _p_value_figure(m: FscSignificanceMeasurement) -> CurveFigure:
    return CurveFigure(
        key="p_values",
        title="p-values of groups of three shells",
        caption="How often halves that share nothing would agree as well as these do, for each group of three "
        "shells. Below the line at 0.01 a group is significant. Smaller values than 10⁻¹⁶ are drawn there.",
        alt_text="p-value of each group of shells against frequency, logarithmic, with the level of 0.01.",
        series=(
            Series(
                label="p-value",
                x=_numbers(m.found.frequency),
                y=_numbers(np.maximum(normal_p_value(m.found.z), SHOWN_P_VALUE)),
                style="points",
                role="data",
            ),
        ),
        x_label="Frequency (1/Å)",
        y_label="p-value",
        x_scale="inverse",
        y_scale="log",
        markers=(Marker(axis="y", value=ALPHA, label="0.01", role="limit"), *_markers(m)),
    )
