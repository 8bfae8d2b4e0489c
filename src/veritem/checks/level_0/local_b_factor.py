"""0.f: the B-factor around each place of the map."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from veritem.checks.base import Check, Criterion, MapOutput
from veritem.checks.level_0.global_b_factor import RAW_B_FACTORS, TOLERATED
from veritem.checks.local_figures import coloured_slices, coloured_surface, local_histogram
from veritem.derived.bands import BandBank
from veritem.derived.masks import ContourLevel
from veritem.derived.noise import NoiseRegion
from veritem.errors import Inconclusive, NotApplicable
from veritem.numerics.guinier import ReferenceSpectrum, most_noise
from veritem.numerics.local import (
    STRUCTURE,
    LocalLines,
    band_model,
    block_inflation,
    block_labels,
    bootstrap_quantile,
    local_guinier,
    slope_of,
)
from veritem.results import DerivedMap, Figure, Quantity, Reference, format_number

COARSEST_REPORTED = 5.5  # Å: four bands from 10 Å on that span a factor of 1.5 do not fit below
BLOCK = 15.0  # Å
LEAST_BLOCKS = 8
# % of the particle for which the median must stand. Less is no warning: a sound map whose half maps agree to FSC 0.143
# at the reported resolution has three times more noise than signal there, and may have as much well before it.
LEAST_SHARE = 50.0


@dataclass(frozen=True, eq=False)
class LocalBFactorMeasurement:
    """Numbers first; what the figures and maps need after."""

    median_b_factor: Quantity
    surely_above: Quantity
    interquartile_range: Quantity
    range_95: Quantity
    standard_error: Quantity
    determinable: Quantity
    bands: Quantity
    window: Quantity
    undecided: str
    caveats: tuple[str, ...]
    lines: LocalLines = field(repr=False)
    bank: BandBank = field(repr=False)
    contour_level: float = field(repr=False)


class LocalBFactor(Check):
    """How fast do the amplitudes decay around each place of the map?

    The map is split into bands of frequency, from 10 Å to the reported resolution, and the power of each band is
    averaged in a Gaussian window of 6 Å (4 Å in the highest bands) around every voxel of the particle. The power of
    the noise, measured away from the particle, is taken off; so is the spectrum of protein at rest. A weighted line
    through ln amplitude against frequency squared gives the local B, as in the global check: negative where
    amplitudes decay.

    A voxel counts only where at least four neighbouring bands, which span a factor of 1.5 in frequency, hold more
    signal than noise; elsewhere B is not determinable, and the map of B is empty there. Each B has a standard error,
    from the number of independent values in its window, from the noise, and from how much local spectra scatter in
    one protein.

    The median over the particle is judged as the global B is. Its interval comes from resampling cubes of 15 Å,
    allows for windows that reach from one cube into the next, and holds how proteins differ and how well the noise
    is known. The number of voxels is no measure of certainty. The spread within the map is reported and not judged:
    flexible parts have a lower B, and that is what they should have.

    A map without noise around it (masked, or flattened) is measured as it is; the interval of the median then
    reaches down to what it would be if the map held as much noise as its resolution allows, and how much of the map
    is determinable cannot be said.

    Misleads when the particle holds nucleic acid or lipid, whose spectra are not protein's. A domain with a low B
    (much blur) next to one that is sharp takes on some of the neighbour's B within about 12 Å, because the sharp one
    is so much stronger at high frequency. Noise that is stronger inside the particle than outside makes B too high,
    most of all where the signal is weak. Local sharpening before deposition makes B alike everywhere: the map of B
    then shows what the program did.
    """

    code = "0.f"
    title = "Local B-factor"
    level = "0"
    needs: ClassVar[tuple[str, ...]] = ("density_map", "reported_resolution")
    criteria = (
        Criterion(
            quantity="surely_above",
            text="The map is not oversharpened as a whole: the median local B is not above 0 Å² beyond doubt",
            at_most=0.0,
            because="A protein at rest has B = 0 and no reconstruction decays less; sharpening until the Guinier "
            "plot is flat, the usual rule, is allowed. The lower end of the 95 % interval decides",
            warning="Half of the particle or more is oversharpened: the median local B is at least {value}.",
            causes=(
                "A sharpening B-factor larger than the map's own decay",
                "Local sharpening that whitened the spectrum",
                "Noise inside the particle that is stronger than outside",
            ),
            advice="Sharpen the unsharpened map again with a smaller B-factor.",
        ),
        Criterion(
            quantity="median_b_factor",
            text="The map is not strongly blurred: the median local B is not below −300 Å²",
            at_least=-300.0,
            rule="interval",
            because="Beyond −300 Å² the amplitude at 3 Å is below 0.03 % of a protein at rest (the whole 95 % "
            "interval decides)",
            warning="The map is strongly blurred: the median local B is {value}.",
            causes=("The map was not sharpened", "Flexibility, or several states averaged", "Errors of alignment"),
            advice="Sharpen the map; look for heterogeneity if the raw half maps decay as fast.",
        ),
    )
    references = (
        Reference(
            text="Kaur S, Gomez-Blanco J, Khalifa AAZ, et al. Local computational methods to improve the "
            "interpretability and analysis of cryo-EM maps. Nature Communications 12 (2021) 1240.",
            doi="10.1038/s41467-021-21509-5",
        ),
        Reference(
            text="Rosenthal PB, Henderson R. Optimal determination of particle orientation, absolute hand, and "
            "contrast loss in single-particle electron cryomicroscopy. J Mol Biol 333 (2003) 721–745.",
            doi="10.1016/j.jmb.2003.07.013",
        ),
    )

    def measure(  # type: ignore[override]
        self,
        band_bank: BandBank,
        local_lines: LocalLines | None,
        reference_spectrum: ReferenceSpectrum,
        noise_region: NoiseRegion,
        contour_level: ContourLevel,
        reported_resolution: float,
        seed: int,
    ) -> LocalBFactorMeasurement:
        """Fit a line at every voxel. Raises NotApplicable and Inconclusive with the reason in words."""
        bank, lines = band_bank, local_lines
        used = bank.guinier
        bands = tuple(b for b, u in zip(bank.bands, used, strict=True) if u)
        if lines is None:
            raise NotApplicable(
                f"A local B needs four bands between 10 Å and the resolution; at {reported_resolution:.3g} Å and "
                f"with this pixel size {len(bands)} fit. {COARSEST_REPORTED:g} Å or better is needed."
            )
        rng = np.random.default_rng([seed, 0x0F])
        powers, noise, freedom = bank.powers[used], bank.noise[used], bank.freedom[used]
        known = lines.determinable
        positions = bank.positions()[known]
        labels = block_labels(positions, BLOCK) if known.any() else np.zeros(0, np.int64)
        blocks = int(labels.max()) + 1 if known.any() else 0
        if blocks < LEAST_BLOCKS:
            raise Inconclusive(
                f"A local B can be determined in {100 * known.mean():.2g} % of the particle, {blocks} cubes of "
                f"{BLOCK:g} Å; {LEAST_BLOCKS} are needed. Elsewhere the bands from 10 Å on hold no more signal than "
                "noise."
            )
        values = lines.b_factor[known].astype(float)
        median = float(np.median(values))
        draws = bootstrap_quantile(values, labels, 0.5, rng, block_inflation(BLOCK, bank.reach))
        _, x = band_model(bands, reference_spectrum, median)
        variance = STRUCTURE**2 + 0.5 / freedom
        centres = np.array([b.centre for b in bands])
        draws = draws + slope_of(reference_spectrum.draws(centres, draws.size, rng), x, variance)
        if bank.noise_error > 0:
            draws = draws + rng.standard_normal(draws.size) * _noise_effect(
                powers, bands, noise, freedom, bank.noise_error, reference_spectrum, median, known
            )
        low, high = (float(v) for v in np.percentile(draws, [2.5, 97.5]))
        # What the reference's own fall adds: a plain Guinier line would be lower by so much.
        fall = min(0.0, float(slope_of(reference_spectrum.at(centres), x, variance)))
        caveats, undecided = [], ""
        measured_noise = noise_region.available
        if not measured_noise:
            shift = min(
                0.0,
                *(
                    float(
                        slope_of(
                            -0.5 * np.log1p(most_noise(centres, reported_resolution, reference_spectrum, raw)),
                            x,
                            variance,
                        )
                    )
                    for raw in RAW_B_FACTORS
                ),
            )
            if low + fall > 0:
                undecided = (
                    f"The median local B is {median:.0f} Å² as the map is, but noise that cannot be measured in "
                    "this map may raise it as sharpening does"
                )
            low += shift
            caveats.append(
                f"The noise could not be measured ({noise_region.reason.rstrip('.')}), so none was taken off: B is "
                "at most what is shown."
            )
        surely, possibly = low + fall, high + fall
        if not undecided and surely <= 0 and possibly > TOLERATED:
            undecided = (
                f"The interval of the median reaches from {low:.0f} to {high:.0f} Å²: an oversharpening of up to "
                f"{possibly:.0f} Å² could not have been seen"
            )
        share = 100.0 * float(known.mean())
        if not undecided and measured_noise and share < LEAST_SHARE:
            undecided = (
                f"B is determinable in {share:.0f} % of the particle only; whether the rest is blurred or sharpened "
                "cannot be told from one map"
            )
        quartiles = np.percentile(values, [2.5, 25, 75, 97.5])
        return LocalBFactorMeasurement(
            median_b_factor=Quantity(
                label="Median local B-factor", value=median, unit="Å²", interval=(low, high), confidence=0.95
            ),
            surely_above=Quantity(
                label="Median B is surely above (97.5 %)",
                value=surely,
                unit="Å²",
                note="after taking off what a flat Guinier plot would show",
            ),
            interquartile_range=Quantity(
                label="Interquartile range",
                value=float(quartiles[2] - quartiles[1]),
                unit="Å²",
                note=f"from {quartiles[1]:.0f} to {quartiles[2]:.0f} Å²".replace("-", "−"),
            ),
            range_95=Quantity(
                label="Range of 95 % of the local values",
                value=float(quartiles[3] - quartiles[0]),
                unit="Å²",
                interval=(float(quartiles[0]), float(quartiles[3])),
                note="from the 2.5th to the 97.5th percentile",
            ),
            standard_error=Quantity(
                label="Standard error of one local B (median)",
                value=float(np.median(lines.standard_error[known])),
                unit="Å²",
                digits=2,
            ),
            determinable=Quantity(
                label="Part of the particle where B is determinable",
                value=share if measured_noise else None,
                unit="%",
                note="" if measured_noise else "needs the noise, which could not be measured",
            ),
            bands=Quantity(
                label="Bands",
                value=len(bands),
                note=f"centred from {1 / centres[0]:.3g} Å to {1 / centres[-1]:.3g} Å",
            ),
            window=Quantity(label="Standard deviation of the widest window", value=bank.window, unit="Å"),
            undecided=undecided,
            caveats=tuple(caveats),
            lines=lines,
            bank=bank,
            contour_level=contour_level.value,
        )

    def summary(self, measurement: LocalBFactorMeasurement) -> str:
        m = measurement
        spread = m.range_95.interval
        assert spread is not None
        text = (
            f"The median local B is {m.median_b_factor.text()}; 95 % of the particle lies between "
            f"{format_number(round(spread[0]))} and {format_number(round(spread[1]))} Å²"
        )
        if m.determinable.value is not None:
            text += f", determined in {m.determinable.text()} of it"
        return text + "."

    def figures(self, measurement: LocalBFactorMeasurement) -> list[Figure]:
        m = measurement
        known = m.lines.determinable
        values = m.lines.b_factor[known]
        limits = _colour_limits(values)
        volume = m.bank.volume(m.lines.b_factor)
        return [
            local_histogram(
                "histogram",
                "Local B-factors",
                values,
                m.median_b_factor,
                "Local B-factor (Å²)",
                limits=(-300.0, 0.0),
                caption="How often each local B occurs among the voxels of the particle. The band around the median is "
                "its 95 % interval; the lines at −300 and 0 Å² are the limits for it. Neighbouring voxels share their "
                "window, so the bars are smooth and their number is no measure of certainty.",
            ),
            coloured_slices(
                "slices",
                "Local B-factor in central slices",
                m.bank.density,
                volume,
                m.bank.index,
                "Local B-factor (Å²)",
                limits,
                "viridis",
                "The three slices through the centre of the particle, coloured by local B over the map: bright where "
                "amplitudes hold up, dark where they decay. Grey: outside the particle, or not determinable.",
            ),
            coloured_surface(
                "surface",
                "The map coloured by local B-factor",
                m.bank.density,
                m.contour_level - m.bank.background,
                volume,
                "Local B-factor (Å²)",
                limits,
                "viridis",
                "The surface of the map at the contour level. Dark parts are blurred more than bright ones; grey parts "
                "hold too little signal for a B.",
            ),
        ]

    def maps(self, measurement: LocalBFactorMeasurement) -> list[MapOutput]:
        m = measurement
        grid = m.bank.density
        limits = _colour_limits(m.lines.b_factor[m.lines.determinable])
        return [
            MapOutput(
                description=DerivedMap(
                    key="local_b_factor",
                    label="Local B-factor",
                    file="",
                    unit="Å²",
                    description="Local B around each voxel of the particle; 0 where it is not determinable.",
                    colours_map=True,
                    colour_limits=limits,
                    palette="viridis",
                ),
                data=m.bank.volume(m.lines.b_factor),
                pixel_size=grid.pixel_size,
                origin=grid.origin,
            ),
            MapOutput(
                description=DerivedMap(
                    key="local_b_factor_error",
                    label="Standard error of the local B-factor",
                    file="",
                    unit="Å²",
                    description="Standard error of the local B; 0 where it is not determinable.",
                ),
                data=m.bank.volume(m.lines.standard_error),
                pixel_size=grid.pixel_size,
                origin=grid.origin,
            ),
        ]


def _noise_effect(
    powers: NDArray,
    bands: tuple,
    noise: NDArray,
    freedom: NDArray,
    error: float,
    reference: ReferenceSpectrum,
    median: float,
    known: NDArray[np.bool_],
) -> float:
    """How much the median moves (Å²) when the noise is stronger by one standard error, the other way for weaker."""
    some = np.flatnonzero(known)
    some = some[:: max(1, some.size // 50_000)]
    moved = []
    for factor in (1.0 - error, 1.0 + error):
        lines = local_guinier(
            powers[:, some], bands, factor * noise, freedom, error, reference, least_signal=0.0, expected=median
        )
        ok = lines.determinable
        moved.append(float(np.median(lines.b_factor[ok])) if ok.any() else median)
    return abs(moved[1] - moved[0]) / 2.0


def _colour_limits(values: NDArray) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    # A range narrower than the error of one value would colour noise.
    if high - low < 40.0:
        middle = 0.5 * (low + high)
        low, high = middle - 20.0, middle + 20.0
    return float(round(low)), float(round(high))
