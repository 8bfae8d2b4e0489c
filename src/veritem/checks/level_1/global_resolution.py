"""1.a: the resolution of the whole map, from the FSC of its half maps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from veritem.checks.base import Check, Criterion
from veritem.checks.markers import reported_marker
from veritem.derived.half_maps import HalfMapFsc, MaskedEstimate, MaskedHalves
from veritem.numerics.density_map import HalfMaps
from veritem.numerics.fsc import (
    RESIDUAL_0143,
    RESIDUAL_NOISE,
    THRESHOLD,
    Return,
    first_lasting_crossing,
    fsc_deviation,
    largest_return,
    mean_level,
    phase_residual,
)
from veritem.results import (
    Column,
    CurveFigure,
    Figure,
    ImageFigure,
    IntervalFigure,
    IntervalRow,
    Marker,
    Panel,
    Quantity,
    Reference,
    Series,
    Table,
    format_number,
)

TOLERATED, ROUNDING = 0.05, 0.1  # share and Å by which a reported resolution may be finer than the finest likely one
FINEST_OVER_PIXEL = 2.2
LARGEST_RETURN = 0.07  # FSC, half of the threshold
END_SHARE, END_BEYOND = 0.9, 1.3  # the last tenth of the shells, when it lies so far beyond the crossing
NOISE_RESIDUAL_DEVIATION = 47.5  # degrees: of one coefficient's share in a phase residual of noise
LEAST_OUTSIDE_NOISE = 0.02  # of the noise inside: less is a mask, not the scatter of particles
LARGEST_IMAGE = 400  # pixels


@dataclass(frozen=True, eq=False)
class GlobalResolutionMeasurement:
    """Numbers first; what the figures and tables need after."""

    resolution: Quantity
    half_resolution: Quantity
    uncorrected_resolution: Quantity
    unmasked_resolution: Quantity
    reported_over_finest: Quantity
    reported_p_value: Quantity
    sampling: Quantity
    mask_spread: Quantity
    carried: Quantity
    largest_rise: Quantity
    rise_p_value: Quantity
    level_at_end: Quantity
    end_p_value: Quantity
    undecided: str
    caveats: tuple[str, ...]
    curve: HalfMapFsc = field(repr=False)
    family: tuple[MaskedEstimate, ...] = field(repr=False)
    residual: NDArray[np.float64] = field(repr=False)
    slices: dict[str, NDArray] = field(repr=False)
    pixel_size: float = field(repr=False)
    reported_resolution: float | None = field(repr=False)


class GlobalResolution(Check):
    """How far do the half maps agree, and was a resolution reported that they support?

    The half maps are multiplied with a soft mask around the particle and correlated in shells of Fourier space (FSC).
    A mask correlates by itself: a product in space is a convolution of transforms, so the strong low frequencies, on
    which the halves agree, leak to where they hold noise. To take that off, the low frequencies are removed from both
    halves before they are masked, from where the FSC without a mask falls below 0.8. Other programs make the phases
    random there and correct by a formula (Chen and others 2013); what they draw at random is known in the mean, so
    nothing is drawn here. On simulated pairs both agree, and this way the result scatters a third less. All shells are
    brought to the same power before, which changes no FSC, so that no strong one is left to leak. Inside tight and
    wide, hard and soft masks the crossing then lies within 2 % of each mask's own truth.

    The resolution is where the curve falls below 0.143 for at least three shells. Before, the curve is smoothed over
    neighbouring shells by a straight line on a logarithmic scale, so that its fall is not shifted. Every shell counts
    as many coefficients as are independent in this mask and this symmetry. The noise is drawn again 400 times, with
    the correlation of neighbouring shells that the mask makes, and the crossing is read each time.

    A resolution belongs to a mask: a wider one holds more noise. So the crossing is measured inside eight masks (the
    particle shrunk by 2 Å, as it is, grown by 4 and 8 Å; soft edges of 6 and 12 Å), and the interval of the result
    holds them all with equal weight, beside the noise. The result itself is that of the particle with an edge of 6 Å.

    A reported resolution warns when at least 97.5 % of these crossings are coarser than it, by more than 5 % (0.1 Å
    where that is more: resolutions are rounded). A resolution coarser than what the half maps support is told and
    never a warning. Beyond the crossing the curve should fall to zero and stay there: a rise by more than 0.07 that
    noise does not explain, or a mean above 0.07 in the last tenth of the shells, means that the halves share more
    than the particle. The p-values come from curves drawn again, and allow for looking at every shell. A resolution
    closer than 2.2 voxels is limited by the sampling. Of 320 sound simulated pairs none was warned of; of 360 intervals
    by noise alone 346 held the planted resolution.

    The signal-to-noise ratio of the mean map is the same curve, as 2 FSC / (1 - FSC). The phase residual is shown
    beside it, with the value that noise has (103.9°) and the one that corresponds to FSC 0.143 (94.8°). They are three
    views of one measurement and never averaged.

    Misleads when the halves are not independent: refined against one common reference, filtered alike, or masked
    before they were deposited. Then their FSC is too good at all frequencies and nothing here can tell; overfitting
    beyond the particle's true resolution does the same. Noise that is shared evenly is seen only where shells remain
    well beyond the crossing. One number does not describe a map whose parts differ; see the local resolution. A
    contour level that leaves part of the particle out, or takes solvent in, changes the mask.
    """

    code = "1.a"
    title = "Global resolution"
    level = "1"
    needs: ClassVar[tuple[str, ...]] = ("half_maps",)
    criteria = (
        Criterion(
            quantity="reported_over_finest",
            text="The half maps support the reported resolution: it is not finer than their FSC allows, in any of the "
            "masks",
            at_least=1.0 - TOLERATED,
            because="Whoever reports rounds, and uses a mask and a crossing of their own: 5 %, and no less than 0.1 Å, "
            "are allowed beyond the 95 % interval over masks and noise",
            warning="The reported resolution is finer than the half maps support: it is {value} of what they allow.",
            causes=(
                "An FSC inside a tight mask, not corrected for what the mask correlates",
                "Half maps other than those of the reported refinement",
                "A resolution of the best region, or from another criterion",
            ),
            advice="Report the corrected FSC at 0.143, with its mask, or deposit the half maps that belong to it.",
            significance="reported_p_value",
            alpha=0.025,
        ),
        Criterion(
            quantity="sampling",
            text="The voxels are fine enough: the FSC falls below 0.143 at 2.2 voxels or coarser",
            at_least=FINEST_OVER_PIXEL,
            because="Two voxels are the limit of any sampling, and interpolation damps what lies close to it",
            warning="The resolution is limited by the voxels: the crossing is at {value}.",
            causes=(
                "Particles binned, or reconstructed with voxels too large for what they hold",
                "Half maps that are not independent, or identical: their FSC falls nowhere",
            ),
            advice="Reconstruct with smaller voxels, and see whether the FSC then falls.",
        ),
        Criterion(
            quantity="largest_rise",
            text="Beyond the resolution the FSC does not rise again",
            at_most=LARGEST_RETURN,
            because="Noise of halves that are independent has no correlation to come back to; rises below half the "
            "threshold move no resolution. Curves that never rise show as much noise in one of a thousand cases",
            warning="The FSC rises again beyond the resolution, by {value}.",
            causes=(
                "The halves share something other than the particle: a mask, a filter, a reference",
                "Duplicated particles in the two halves",
                "Errors of the CTF in a band of frequencies",
            ),
            advice="Look at the frequency of the rise; compare the unmasked and the masked curve there.",
            significance="rise_p_value",
        ),
        Criterion(
            quantity="level_at_end",
            text="The FSC falls to zero: its mean over the last tenth of the shells is small",
            at_most=LARGEST_RETURN,
            because="Far beyond the resolution independent halves hold independent noise. It is judged where these "
            "shells lie at least 1.3 times further than the crossing",
            warning="The FSC does not fall to zero: it ends at {value}.",
            causes=(
                "Halves that share noise: particles in both, or a common reference without low-pass",
                "Halves that were masked before they were deposited",
            ),
            advice="Deposit the half maps as the refinement wrote them.",
            significance="end_p_value",
        ),
    )
    references = (
        Reference(
            text="Rosenthal PB, Henderson R. Optimal determination of particle orientation, absolute hand, and "
            "contrast loss in single-particle electron cryomicroscopy. J Mol Biol 333 (2003) 721–745.",
            doi="10.1016/j.jmb.2003.07.013",
        ),
        Reference(
            text="Chen S, McMullan G, Faruqi AR, et al. High-resolution noise substitution to measure overfitting and "
            "validate resolution in 3D structure determination by single particle electron cryomicroscopy. "
            "Ultramicroscopy 135 (2013) 24–35.",
            doi="10.1016/j.ultramic.2013.06.004",
        ),
        Reference(
            text="Penczek PA. Reliable cryo-EM resolution estimation with modified Fourier shell correlation. "
            "IUCrJ 7 (2020) 995–1008.",
            doi="10.1107/S2052252520011574",
        ),
        Reference(
            text="Sorzano COS, Vargas J, Otón J, et al. A review of resolution measures and related aspects in 3D "
            "electron microscopy. Prog Biophys Mol Biol 124 (2017) 1–30.",
            doi="10.1016/j.pbiomolbio.2016.09.005",
        ),
    )

    def measure(  # type: ignore[override]
        self,
        half_maps: HalfMaps,
        masked_halves: MaskedHalves,
        half_map_fsc: HalfMapFsc,
        mask_family: tuple[MaskedEstimate, ...],
        mask_distance: NDArray[np.float32],
        reported_resolution: float | None,
        seed: int,
    ) -> GlobalResolutionMeasurement:
        """Read the crossings, compare the reported resolution, look at what the curve does beyond."""
        curve, pixel_size = half_map_fsc, half_maps.pixel_size
        rng = np.random.default_rng([seed, 0x1A])
        # Where the halves agree on nothing, they resolve no more than the whole of what is masked.
        coarsest = 1.0 / float(curve.frequency[1])
        nothing = curve.nothing
        draws = np.concatenate([m.draws for m in mask_family])
        resolution = curve.resolution
        low, high = (float(v) for v in np.percentile(draws, [2.5, 97.5]))
        assert curve.interval is not None or resolution is None
        if resolution is not None and curve.interval is not None:
            low, high = min(low, resolution), max(high, resolution)
        caveats: list[str] = []
        undecided = curve.reason if nothing else ""
        if nothing:
            low = high = coarsest
            draws = np.full(draws.size, coarsest)

        ratio, p_value, why = None, None, "no resolution was reported"
        if reported_resolution is not None:
            allowed = reported_resolution + max(0.0, ROUNDING - TOLERATED * low)
            ratio, why = allowed / low, ""
            supported = int(np.count_nonzero(allowed / draws >= 1.0 - TOLERATED))
            p_value = (1 + supported) / (1 + draws.size)
            if resolution is not None:
                ratio = allowed / resolution
                if reported_resolution > 1.1 * resolution:
                    caveats.append(
                        f"The reported resolution, {reported_resolution:.3g} Å, is coarser than what the half maps "
                        f"support, {resolution:.3g} Å. That is careful, or the half maps are others."
                    )
        else:
            caveats.append("No resolution was reported, so nothing is compared with it.")

        tail = self._tail(curve)
        returned = None
        if tail is not None:
            returned = largest_return(curve.corrected, curve.independent, curve.correlation, tail, rng)
        end = self._end(curve)
        if curve.outside_noise is not None and curve.outside_noise < LEAST_OUTSIDE_NOISE:
            undecided = undecided or (
                "The half maps were masked before they were deposited: what that mask correlates cannot be told from "
                "what the halves share"
            )
        uncorrected = first_lasting_crossing(curve.frequency, curve.masked)
        unmasked = first_lasting_crossing(curve.box_frequency, curve.unmasked)
        spread = [m.resolution for m in mask_family if m.resolution is not None]
        carried = None
        if resolution is not None:
            carried = float(np.interp(1.0 / resolution, curve.frequency[1:], curve.randomised[1:]))
        return GlobalResolutionMeasurement(
            resolution=Quantity(
                label="Resolution at FSC 0.143",
                value=resolution,
                unit="Å",
                interval=None if resolution is None else (low, high),
                confidence=None if resolution is None else 0.95,
                note=curve.reason.rstrip(".")
                if curve.interval is None
                else f"the interval holds the choice of the mask; by noise alone {curve.interval[0]:.3g} to "
                f"{curve.interval[1]:.3g} Å",
                estimates="resolution",
            ),
            half_resolution=Quantity(
                label="Resolution at FSC 0.5",
                value=curve.half_resolution,
                unit="Å",
                interval=curve.half_interval,
                confidence=None if curve.half_interval is None else 0.95,
                note="with this mask",
            ),
            uncorrected_resolution=Quantity(
                label="Resolution at 0.143 with the mask's own correlation",
                value=None if uncorrected is None else 1.0 / uncorrected,
                unit="Å",
            ),
            unmasked_resolution=Quantity(
                label="Resolution at 0.143 without a mask",
                value=None if unmasked is None else 1.0 / unmasked,
                unit="Å",
            ),
            reported_over_finest=Quantity(
                label="Reported resolution, rounding allowed, over that of the half maps",
                value=ratio,
                note=why or (f"{ROUNDING:g} Å are allowed for rounding" if TOLERATED * low < ROUNDING else ""),
            ),
            reported_p_value=Quantity(
                label="Share of crossings, over masks and noise, that support the reported resolution",
                value=p_value,
                digits=2,
                note=why,
            ),
            sampling=Quantity(
                label="Crossing over voxel size",
                value=None if nothing else 2.0 if resolution is None else resolution / pixel_size,
                unit="voxels",
                note="or finer: the curve does not fall below 0.143" if resolution is None and not nothing else "",
            ),
            mask_spread=Quantity(
                label="Spread of the resolution over the masks",
                value=100.0 * (max(spread) - min(spread)) / min(spread) if len(spread) > 1 else None,
                unit="%",
                digits=2,
            ),
            carried=Quantity(label="FSC that the mask alone carries to the crossing", value=carried, digits=2),
            **self._beyond(returned, end, curve),
            undecided=undecided,
            caveats=tuple(caveats),
            curve=curve,
            family=mask_family,
            residual=phase_residual(masked_halves.first, masked_halves.second, masked_halves.shape),
            slices=_slices(half_maps, mask_distance),
            pixel_size=pixel_size * _step(half_maps.shape),
            reported_resolution=reported_resolution,
        )

    @staticmethod
    def _tail(curve: HalfMapFsc) -> int | None:
        """The first shell beyond the crossing."""
        if curve.resolution is None:
            return None
        return int(np.searchsorted(curve.frequency, 1.0 / curve.resolution))

    @staticmethod
    def _end(curve: HalfMapFsc) -> tuple[float, float, float] | None:
        """Mean, deviation and p-value of the last tenth of the shells; None where they are too close or too few."""
        shells = curve.frequency.size
        first = min(int(END_SHARE * shells), shells - 3)
        if curve.resolution is None or curve.frequency[first] * curve.resolution < END_BEYOND:
            return None
        return mean_level(curve.corrected, curve.independent, curve.correlation, slice(first, shells))

    @staticmethod
    def _beyond(
        returned: Return | None, end: tuple[float, float, float] | None, curve: HalfMapFsc
    ) -> dict[str, Quantity]:
        few = "too few shells lie beyond the crossing"
        where = "" if returned is None else f"most around {1.0 / float(curve.frequency[returned.at]):.3g} Å"
        interval = None if end is None else (end[0] - 1.96 * end[1], end[0] + 1.96 * end[1])
        return {
            "largest_rise": Quantity(
                label="Largest rise of the FSC beyond the crossing, over three shells",
                value=None if returned is None else returned.rise,
                digits=2,
                note=where or few,
            ),
            "rise_p_value": Quantity(
                label="Share of curves that only fall whose noise rises as much",
                value=None if returned is None else returned.p_value,
                digits=2,
            ),
            "level_at_end": Quantity(
                label="Mean FSC in the last tenth of the shells",
                value=None if end is None else end[0],
                interval=interval,
                confidence=None if end is None else 0.95,
                digits=2,
                note="" if end is not None else few,
            ),
            "end_p_value": Quantity(
                label="p-value of that mean where the halves share nothing",
                value=None if end is None else end[2],
                digits=2,
            ),
        }

    def summary(self, measurement: GlobalResolutionMeasurement) -> str:
        m = measurement
        if m.resolution.value is None:
            return m.curve.reason
        text = f"The half maps agree to {m.resolution.text()}, at FSC 0.143 in the mask"
        if m.reported_resolution is not None:
            text += f"; reported are {format_number(m.reported_resolution, 3)} Å"
        if m.half_resolution.value is not None:
            text += f". FSC 0.5 is reached at {format_number(float(m.half_resolution.value), 3)} Å"
        return text + "."

    def tables(self, measurement: GlobalResolutionMeasurement) -> list[Table]:
        rows: list[tuple[float | str | None, ...]] = []
        for m in measurement.family:
            low, high = m.interval if m.interval is not None else (None, None)
            rows.append(
                (f"{m.grow:+g} Å".replace("-", "−"), m.edge, round(m.volume / 1000.0, 1), m.resolution, low, high)
            )
        rows.append(("mean of the curves", None, None, _mean_resolution(measurement.family), None, None))
        return [
            Table(
                key="masks",
                title="The resolution inside different masks",
                columns=(
                    Column(label="Particle grown by"),
                    Column(label="Soft edge", unit="Å"),
                    Column(label="Volume", unit="nm³"),
                    Column(label="FSC 0.143 at", unit="Å"),
                    Column(label="from (2.5 %)", unit="Å"),
                    Column(label="to (97.5 %)", unit="Å"),
                ),
                rows=tuple(rows),
                caption="A wider mask holds more noise, a tighter one cuts the particle. The last row is the crossing "
                "of the mean of the curves.",
            )
        ]

    def figures(self, measurement: GlobalResolutionMeasurement) -> list[Figure]:
        m = measurement
        return [_fsc_figure(m), _mask_figure(m), _family_figure(m), _ssnr_figure(m), _residual_figure(m)]


def _step(shape: tuple[int, int, int]) -> int:
    return max(1, -(-max(shape) // LARGEST_IMAGE))


def _slices(half_maps: HalfMaps, mask_distance: NDArray[np.float32]) -> dict[str, NDArray]:
    """Slices of the mean of the halves and of the mask through the mask's middle; row 0 lies at the bottom."""
    inside = mask_distance <= 0
    step = _step(half_maps.shape)
    arrays: dict[str, NDArray] = {}
    for axis, name in ((0, "xy"), (1, "xz"), (2, "yz")):
        extent = np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))
        middle = int(extent[0] + extent[-1]) // 2
        mean = np.take(half_maps.first.data, middle, axis) + np.take(half_maps.second.data, middle, axis)
        arrays[f"map_{name}"] = (0.5 * mean).astype(np.float32)[::step, ::step]
        arrays[f"mask_{name}"] = np.take(inside, middle, axis)[::step, ::step]
    return arrays


def _mean_resolution(family: tuple[MaskedEstimate, ...]) -> float | None:
    """The crossing of the mean of the family's curves."""
    if not family:
        return None
    crossing = first_lasting_crossing(family[0].frequency, np.mean([m.corrected for m in family], axis=0))
    return None if crossing is None else 1.0 / crossing


def _curve(label: str, x: NDArray, y: NDArray, **more: object) -> Series:
    known = np.isfinite(y)
    return Series(
        label=label,
        x=tuple(float(v) for v in x[known]),
        y=tuple(float(v) for v in y[known]),
        **more,  # type: ignore[arg-type]
    )


def _fsc_figure(m: GlobalResolutionMeasurement) -> CurveFigure:
    curve = m.curve
    deviation = fsc_deviation(curve.smoothed, curve.independent)[1:]
    markers = [Marker(axis="y", value=THRESHOLD, label="0.143", role="limit"), *reported_marker(m.reported_resolution)]
    if m.resolution.interval is not None:
        low, high = m.resolution.interval
        markers.append(Marker(axis="x", value=1.0 / high, end=1.0 / low, label="95 % interval"))
    found = "nowhere" if curve.resolution is None else f"at {curve.resolution:.3g} Å"
    return CurveFigure(
        key="fsc",
        title="Fourier shell correlation of the half maps",
        caption="How alike the two half maps are at each level of detail: 1 is the same, 0 is noise. The corrected "
        "curve is that of the particle inside its mask, with what the mask itself correlates taken off; its band is "
        "where it would lie in 95 of 100 repetitions. The resolution is where it falls below 0.143; the shaded stretch "
        "is its interval over noise and masks. Without a mask the noise around the particle lowers the curve. The "
        "mask’s own curve should be near zero where the corrected one crosses.",
        alt_text=f"FSC against frequency; the corrected curve crosses 0.143 {found}.",
        series=(
            _curve("without a mask", curve.box_frequency, curve.unmasked, role="other"),
            _curve("in the mask", curve.frequency, curve.masked, role="model", style="dashed"),
            _curve("the mask’s own", curve.frequency, curve.randomised, role="expected", style="dashed"),
            _curve(
                "corrected",
                curve.frequency,
                curve.corrected,
                role="data",
                low=tuple(float(v) for v in curve.corrected[1:] - 1.96 * deviation),
                high=tuple(float(v) for v in curve.corrected[1:] + 1.96 * deviation),
            ),
        ),
        x_label="Frequency (1/Å)",
        y_label="FSC",
        x_scale="inverse",
        markers=tuple(markers),
    )


def _mask_figure(m: GlobalResolutionMeasurement) -> ImageFigure:
    return ImageFigure(
        key="mask",
        title="The mask on the mean of the half maps",
        caption="Slices through the middle of the particle. The line is the edge of the mask, before its soft edge of "
        "6 Å. It should hold the whole particle and little else: what it cuts off or takes in changes the resolution.",
        alt_text="Three perpendicular slices of the mean half map with the outline of the mask.",
        arrays=m.slices,
        panels=tuple(
            Panel(label=f"{n[0]} →, {n[1]} ↑", image=f"map_{n}", outline=f"mask_{n}") for n in ("xy", "xz", "yz")
        ),
        pixel_size=m.pixel_size,
    )


def _family_figure(m: GlobalResolutionMeasurement) -> IntervalFigure:
    rows = [
        IntervalRow(
            label=f"{e.grow:+g} Å, edge {e.edge:.2g} Å".replace("-", "−"),
            value=e.resolution,
            low=None if e.interval is None else e.interval[0],
            high=None if e.interval is None else e.interval[1],
            role="other",
        )
        for e in m.family
        if e.resolution is not None
    ]
    if m.curve.resolution is not None and m.resolution.interval is not None:
        rows.append(
            IntervalRow(
                label="result",
                value=m.curve.resolution,
                low=m.resolution.interval[0],
                high=m.resolution.interval[1],
                role="data",
            )
        )
    return IntervalFigure(
        key="masks",
        title="What the choice of the mask does to the resolution",
        caption="The crossing of 0.143 inside tighter and wider masks, each with the 95 % interval that the noise "
        "leaves. The last row is the result; its interval holds them all.",
        alt_text=f"Resolution inside {len(m.family)} masks with their intervals.",
        rows=tuple(rows),
        x_label="Resolution (Å)",
        markers=reported_marker(m.reported_resolution, power=1),
    )


def _ssnr_figure(m: GlobalResolutionMeasurement) -> CurveFigure:
    curve = m.curve
    fsc = np.clip(curve.smoothed, 0.001, 0.9999)
    deviation = fsc_deviation(fsc, curve.independent)

    def ratio(f: NDArray) -> NDArray:
        f = np.clip(f, 0.001, 0.9999)
        return 2 * f / (1 - f)

    known = curve.smoothed > 0.001
    known[0] = False
    return CurveFigure(
        key="ssnr",
        title="Signal-to-noise ratio of the mean map",
        caption="How much stronger the particle is than the noise at each level of detail, in the mean of the half "
        "maps: 2 FSC / (1 − FSC) of the corrected curve. At FSC 0.143 it is 1/3; shells without signal are left out.",
        alt_text="Spectral signal-to-noise ratio against frequency, logarithmic.",
        series=(
            Series(
                label="2 FSC / (1 − FSC)",
                x=tuple(float(v) for v in curve.frequency[known]),
                y=tuple(float(v) for v in ratio(fsc)[known]),
                low=tuple(float(v) for v in ratio(fsc - 1.96 * deviation)[known]),
                high=tuple(float(v) for v in ratio(fsc + 1.96 * deviation)[known]),
                role="data",
            ),
        ),
        x_label="Frequency (1/Å)",
        y_label="Signal over noise (power)",
        x_scale="inverse",
        y_scale="log",
        markers=(
            Marker(axis="y", value=2 * THRESHOLD / (1 - THRESHOLD), label="FSC 0.143", role="limit"),
            *reported_marker(m.reported_resolution),
        ),
    )


def _residual_figure(m: GlobalResolutionMeasurement) -> CurveFigure:
    curve = m.curve
    frequency = curve.frequency[1:]
    half = 1.96 * NOISE_RESIDUAL_DEVIATION / np.sqrt(curve.independent[1:])
    return CurveFigure(
        key="phase_residual",
        title="Differential phase residual",
        caption="The mean difference of the phases of the two half maps, weighted by amplitude, in the mask. Noise has "
        "103.9°, within the band in 95 of 100 shells; FSC 0.143 corresponds to 94.8°.",
        alt_text="Phase residual against frequency with the value of noise.",
        series=(
            _curve("phase residual", curve.frequency, m.residual, role="data"),
            Series(
                label="noise",
                x=tuple(float(v) for v in frequency),
                y=(RESIDUAL_NOISE,) * frequency.size,
                low=tuple(float(v) for v in RESIDUAL_NOISE - half),
                high=tuple(float(v) for v in RESIDUAL_NOISE + half),
                role="expected",
                style="dashed",
            ),
        ),
        x_label="Frequency (1/Å)",
        y_label="Phase residual (degrees)",
        x_scale="inverse",
        markers=(
            Marker(axis="y", value=RESIDUAL_0143, label="94.8°", role="limit"),
            *reported_marker(m.reported_resolution),
        ),
    )
