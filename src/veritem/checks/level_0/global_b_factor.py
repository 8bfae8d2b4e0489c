"""0.d: how fast the map's amplitudes decay, and whether they reach the reported resolution."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from veritem.checks.base import Check, Criterion, MapOutput
from veritem.derived.noise import NoiseRegion
from veritem.derived.spectra import MapSpectrum
from veritem.errors import Inconclusive, NotApplicable
from veritem.numerics.density_map import DensityMap
from veritem.numerics.fourier import frequency_grid, irfftn, raised_cosine, rfftn
from veritem.numerics.guinier import (
    GuinierLine,
    ReferenceSpectrum,
    SpectralEnd,
    find_spectral_end,
    fit_guinier,
    most_noise,
    weighted_line,
)
from veritem.results import CurveFigure, DerivedMap, Figure, Marker, Quantity, Reference, Series

LOWEST_RESOLUTION = 10.0  # Å: below, amplitudes tell the shape of the particle
COARSEST_REPORTED = 8.0  # Å
LEAST_SHELLS = 6
LEAST_SIGNAL = 1.0  # signal over noise, in power
# ln amplitude, relative to protein at rest: further down the leakage of the mask's edge is as strong.
DEEPEST_FALL = 4.5
# Å²: an oversharpening by less is hard to see in a map; a wider interval than this is no evidence of a pass.
TOLERATED = 50.0
# What the micrographs' own decay may be (Å²); the range over which unseen noise is bounded.
RAW_B_FACTORS = (20.0, 50.0, 100.0, 200.0, 400.0)


@dataclass(frozen=True, eq=False)
class GlobalBFactorMeasurement:
    """Numbers first; what the figures and the sharpened map need after."""

    b_factor: Quantity
    plain_b_factor: Quantity
    surely_above: Quantity
    fit_from: Quantity
    fit_to: Quantity
    shells: Quantity
    map_ends_at: Quantity
    end_over_reported: Quantity
    signal_at_limit: Quantity
    undecided: str
    caveats: tuple[str, ...]
    line: GuinierLine = field(repr=False)
    used: NDArray[np.bool_] = field(repr=False)
    spectrum: MapSpectrum = field(repr=False)
    reference: ReferenceSpectrum = field(repr=False)
    end: SpectralEnd | None = field(repr=False)
    reported_resolution: float = field(repr=False)
    density_map: DensityMap = field(repr=False)
    threads: int = field(repr=False)


class GlobalBFactor(Check):
    """How fast do the map's amplitudes decay, and do they reach the reported resolution?

    The amplitude of a map falls with frequency as exp(B f² / 4). B is negative for a map that decays, as every
    reconstruction does before sharpening, and close to zero after a proper sharpening. A positive B means that
    high frequencies are stronger than in a protein at rest: the map was sharpened too far, and noise looks like
    detail. Programs sharpen until a plain Guinier plot is flat, which makes B slightly positive (15 to 25 Å² at
    3 Å) because the plot of a protein at rest falls; that much is common practice and no warning.

    The map is cut to its soft mask, so that solvent and padding do not matter. The power of the noise, measured
    away from the particle and scaled to the volume of the mask, is taken off. The spectrum of protein without
    motion (the mean of 50 structures) is taken off too, so that the bumps of secondary structure at 10 and 4.5 Å
    and the fall of the atoms' own scattering are not mistaken for decay. A robust line through ln amplitude
    against f² then gives B, from 10 Å to the reported resolution, or to where noise is as strong as signal. Its
    95 % interval comes from resampling shells in blocks of three, and holds how proteins differ from each other,
    how many of their hydrogens show, and how well the noise outside stands for the noise inside.

    A map without noise around it (masked, or flattened) is fitted as it is. Noise can only lift the high
    frequencies, so B is then at most what the fit says; the interval reaches down to what B would be if the map
    held as much noise as its reported resolution allows.

    The check also looks for the frequency at which amplitudes fall off a cliff, as they do after a low-pass
    filter: a map that ends far before its reported resolution cannot show it.

    Misleads when the particle is mostly nucleic acid: its spectrum falls faster than a protein's between 10 and 4 Å,
    which looks like a B of about −50 Å² for a map of 5 Å, −34 Å² at 4 Å and +5 Å² at 3 Å (protein with a third of
    nucleic acid: a third of that). At 6 Å and coarser the range of the fit is short and the interval wide. Weighting
    by the FSC, usual in post-processing, and the Wiener filter of refinement programs lower amplitudes near the limit
    and make B more negative, by hundreds of Å² at 6 Å and coarser. A map altered by a network (density modification)
    follows what the network learnt. Noise that is stronger inside the particle than outside makes B too high. It is
    the B of the map as deposited: how much of it is blur and how much sharpening only the unsharpened half maps can
    tell.
    """

    code = "0.d"
    title = "Global B-factor"
    level = "0"
    needs: ClassVar[tuple[str, ...]] = ("density_map", "reported_resolution")
    criteria = (
        Criterion(
            quantity="surely_above",
            text="The map is not oversharpened: B is not above 0 Å² beyond doubt",
            at_most=0.0,
            because="A protein at rest has B = 0 and no reconstruction decays less; sharpening until the Guinier "
            "plot is flat, the usual rule, is allowed. The lower end of the 95 % interval decides, that of B or of the "
            "plain plot's B, whichever is lower",
            warning="The map is oversharpened: B is at least {value}. High frequencies are stronger than in a "
            "protein without any motion, and rise above a flat Guinier plot.",
            causes=(
                "A sharpening B-factor larger than the map's own decay",
                "Noise at high frequency that is not confined to the region outside the particle",
                "Sharpening by a program that whitens the spectrum",
                "A hard mask cut around the density",
            ),
            advice="Sharpen the unsharpened map again with the B-factor of its own Guinier plot, and low-pass it "
            "at its resolution.",
        ),
        Criterion(
            quantity="b_factor",
            text="The map is not strongly blurred: B is not below −300 Å²",
            at_least=-300.0,
            rule="interval",
            because="Beyond −300 Å² the amplitude at 3 Å is below 0.03 % of a protein at rest, and features are "
            "hidden that the data may hold (the whole 95 % interval decides)",
            warning="The map is strongly blurred: B is {value}, below −300 Å². Details near the reported "
            "resolution are there at most in traces.",
            causes=(
                "The map was not sharpened",
                "A Wiener filter, which weighs amplitudes down towards the resolution limit (maps as refinement "
                "programs write them, above all at 5 Å and coarser)",
                "Flexibility of the particle, or several states averaged",
                "Errors of alignment, of the CTF, or of the beam-induced motion",
            ),
            advice="Sharpen the map; if the B-factor of the raw half maps is as large, look for heterogeneity.",
        ),
        Criterion(
            quantity="end_over_reported",
            text="The map's amplitudes reach the reported resolution",
            at_most=1.15,
            because="Filters at the reported resolution halve amplitudes within 10 % of it; farther off the map "
            "was cut elsewhere",
            warning="The map's amplitudes end at {value} times the reported resolution (limit {limit}): what lies "
            "between is not in this map.",
            causes=(
                "A low-pass filter coarser than the reported resolution",
                "The resolution was reported for another map, or for a part of this one",
                "The pixel size does not match",
            ),
            advice="Deposit the map filtered at the resolution that is claimed, or report the resolution of this map.",
        ),
    )
    references = (
        Reference(
            text="Rosenthal PB, Henderson R. Optimal determination of particle orientation, absolute hand, and "
            "contrast loss in single-particle electron cryomicroscopy. J Mol Biol 333 (2003) 721–745.",
            doi="10.1016/j.jmb.2003.07.013",
        ),
        Reference(
            text="Peng L-M, Ren G, Dudarev SL, Whelan MJ. Robust parameterization of elastic and absorptive "
            "electron atomic scattering factors. Acta Cryst A52 (1996) 257–276.",
            doi="10.1107/S0108767395014371",
        ),
    )

    def measure(  # type: ignore[override]
        self,
        density_map: DensityMap,
        map_spectrum: MapSpectrum,
        reference_spectrum: ReferenceSpectrum,
        noise_region: NoiseRegion,
        reported_resolution: float,
        seed: int,
        threads: int,
    ) -> GlobalBFactorMeasurement:
        """Fit the decay. Raises NotApplicable and Inconclusive with the reason in words."""
        if reported_resolution > COARSEST_REPORTED:
            raise NotApplicable(
                f"The reported resolution is {reported_resolution:.3g} Å. The decay is measured between "
                f"{LOWEST_RESOLUTION:g} Å and the resolution, which needs {COARSEST_REPORTED:g} Å or better."
            )
        rng = np.random.default_rng([seed, 0x0D])
        frequency = map_spectrum.frequency
        end = find_spectral_end(frequency, map_spectrum.log_amplitude)
        limit = min(1.0 / reported_resolution, density_map.nyquist, np.inf if end is None else end.onset)
        in_range = (frequency >= 1.0 / LOWEST_RESOLUTION) & (frequency <= limit * 1.0001)
        level = 0.5 * np.log(np.maximum(map_spectrum.power, 1e-300)) - reference_spectrum.at(frequency)
        deep = in_range & (level < level[in_range].max(initial=-np.inf) - DEEPEST_FALL)
        if deep.any():
            in_range[np.flatnonzero(deep)[0] :] = False
        if in_range.sum() < LEAST_SHELLS:
            raise NotApplicable(
                f"Only {in_range.sum()} shells lie between {LOWEST_RESOLUTION:g} Å and {1.0 / limit:.3g} Å; "
                f"{LEAST_SHELLS} are needed. The particle is too small for this resolution, or the map ends early."
            )
        used, ratio = _shells_with_signal(map_spectrum, in_range)
        if used.sum() < LEAST_SHELLS:
            raise Inconclusive(
                f"The signal is stronger than the noise in only {used.sum()} of the {in_range.sum()} shells "
                f"between {LOWEST_RESOLUTION:g} Å and {1.0 / limit:.3g} Å, and {LEAST_SHELLS} are needed. "
                "Either the map is mostly noise inside the mask too, or parts of the particle lie outside the mask "
                "and were taken for noise (is the contour level too high?)."
            )
        f = frequency[used]
        log_signal = 0.5 * np.log(map_spectrum.signal[used])
        variance = (1.0 + ratio[used]) ** 2 / (4.0 * map_spectrum.independent[used])
        variance += reference_spectrum.scatter(f) ** 2 + (map_spectrum.noise_error * ratio[used] / 2.0) ** 2
        line = fit_guinier(
            f,
            log_signal,
            variance,
            rng,
            reference=reference_spectrum,
            noise_over_signal=ratio[used],
            noise_error=map_spectrum.noise_error,
        )
        # Sharpened by the usual rule, a Guinier plot is flat with the protein's own spectrum in it.
        plain = fit_guinier(
            f, log_signal, variance, rng, noise_over_signal=ratio[used], noise_error=map_spectrum.noise_error
        )
        low, high = line.interval()
        plain_low, plain_high = plain.interval()
        caveats, undecided = [], ""
        if map_spectrum.noise_power is None:
            shift = _lowest_shift(f, variance, reported_resolution, reference_spectrum)
            if min(low, plain_low) > 0:
                undecided = (
                    f"The amplitudes rise (B = {line.b_factor:.0f} Å² as the map is), but noise that cannot be "
                    "measured in this map may do that as well as sharpening"
                )
            low, plain_low = low + shift, plain_low + shift
            caveats.append(
                f"The noise could not be measured ({noise_region.reason.rstrip('.')}), so none was taken off: B is "
                "at most what the fit says. The lower end of the interval is what B would be with as much noise "
                "as the reported resolution allows."
            )
        surely = min(low, plain_low)
        possibly = min(high, plain_high)
        if not undecided and surely <= 0 and possibly > TOLERATED:
            undecided = (
                f"The interval of B reaches from {low:.0f} to {high:.0f} Å²: an oversharpening of up to "
                f"{possibly:.0f} Å² could not have been seen"
            )
        if end is not None and end.half < 0.95 / reported_resolution:
            caveats.append(f"Amplitudes fall off at {1.0 / end.half:.3g} Å; the fit stops before.")
        if 1.0 / reported_resolution > density_map.nyquist * 1.0001:
            caveats.append(
                f"The pixel size of {density_map.pixel_size:.3g} Å holds nothing finer than "
                f"{2 * density_map.pixel_size:.3g} Å; the fit stops there."
            )
        ends_at = 1.0 / (density_map.nyquist if end is None else end.half)
        return GlobalBFactorMeasurement(
            b_factor=Quantity(
                label="B-factor of the map",
                value=line.b_factor,
                unit="Å²",
                interval=(low, high),
                confidence=0.95,
                note="negative: amplitudes decay; the spectrum of protein at rest is taken off",
            ),
            plain_b_factor=Quantity(
                label="B-factor of the plain Guinier plot",
                value=plain.b_factor,
                unit="Å²",
                interval=(plain_low, plain_high),
                confidence=0.95,
                note="the protein's own spectrum left in, as refinement programs do",
            ),
            surely_above=Quantity(
                label="B is surely above (97.5 %)",
                value=surely,
                unit="Å²",
                note="the lower of the two intervals' lower ends",
            ),
            fit_from=Quantity(label="Fit from", value=float(1.0 / f[0]), unit="Å"),
            fit_to=Quantity(label="Fit to", value=float(1.0 / f[-1]), unit="Å"),
            shells=Quantity(label="Shells in the fit", value=int(used.sum())),
            map_ends_at=Quantity(
                label="The map's amplitudes end at",
                value=float(ends_at),
                unit="Å",
                note="no end found up to the finest that the pixel size holds"
                if end is None
                else "where amplitudes are half of their trend",
            ),
            end_over_reported=Quantity(
                label="End of the map over reported resolution", value=float(ends_at / reported_resolution)
            ),
            signal_at_limit=Quantity(
                label="Signal over noise at the end of the fit (power)",
                value=None if map_spectrum.noise_power is None else float(1.0 / max(ratio[used][-1], 1e-9)),
                digits=2,
            ),
            undecided=undecided,
            caveats=tuple(caveats),
            line=line,
            used=used,
            spectrum=map_spectrum,
            reference=reference_spectrum,
            end=end,
            reported_resolution=reported_resolution,
            density_map=density_map,
            threads=threads,
        )

    def summary(self, measurement: GlobalBFactorMeasurement) -> str:
        b = measurement.b_factor
        assert isinstance(b.value, float) and b.interval is not None
        if float(measurement.surely_above.value or 0.0) > 0:
            verdict = "oversharpened"
        elif b.interval[0] > 0:
            verdict = "a little more than a protein at rest has, as a map sharpened to a flat Guinier plot does"
        elif b.interval[1] < -300:
            verdict = "a strong blur"
        else:
            verdict = "decaying" if b.interval[1] < 0 else "close to that of a protein at rest"
        text = (
            f"The amplitudes follow B = {b.text()} between {measurement.fit_from.text()} and "
            f"{measurement.fit_to.text()}: {verdict}."
        )
        if measurement.end is not None:
            text += f" The map's amplitudes end at {measurement.map_ends_at.text()}."
        return text

    def figures(self, measurement: GlobalBFactorMeasurement) -> list[Figure]:
        return [_guinier_plot(measurement)]

    def maps(self, measurement: GlobalBFactorMeasurement) -> list[MapOutput]:
        m = measurement
        b = float(m.b_factor.value)  # type: ignore[arg-type]
        return [
            MapOutput(
                description=DerivedMap(
                    key="sharpened",
                    label="Map sharpened to B = 0",
                    file="",
                    description=f"The submitted map multiplied by exp({-b:.0f} f² / 4) in Fourier space and "
                    f"low-passed at {m.reported_resolution:.3g} Å: its amplitudes then fall as a protein's at "
                    "rest do. For looking at; not a better map.",
                ),
                data=sharpened(m.density_map, b, m.reported_resolution, m.threads),
                pixel_size=m.density_map.pixel_size,
                origin=m.density_map.origin,
            )
        ]


def _shells_with_signal(spectrum: MapSpectrum, in_range: NDArray) -> tuple[NDArray[np.bool_], NDArray]:
    """The shells of the range before noise takes over, and noise over signal in each shell."""
    if spectrum.noise_power is None:
        return in_range, np.zeros(spectrum.frequency.size)
    # Three shells together decide: one alone is a toss.
    kernel = np.ones(3) / 3.0
    smooth_signal = np.convolve(spectrum.signal, kernel, mode="same")
    smooth_noise = np.convolve(spectrum.noise_power, kernel, mode="same")
    weak = in_range & ((smooth_signal < LEAST_SIGNAL * smooth_noise) | (spectrum.signal <= 0.1 * spectrum.noise_power))
    used = in_range.copy()
    if weak.any():
        used[np.flatnonzero(weak)[0] :] = False
    ratio = spectrum.noise_power / np.where(spectrum.signal > 0, spectrum.signal, np.nan)
    return used, np.nan_to_num(ratio, nan=np.inf)


def _lowest_shift(frequency: NDArray, variance: NDArray, resolution: float, reference: ReferenceSpectrum) -> float:
    """How much lower B could be (Å², at most 0) if the map held the noise that its resolution allows."""
    shifts = [0.0]
    for raw in RAW_B_FACTORS:
        noise = most_noise(frequency, resolution, reference, raw)
        slope, _ = weighted_line(frequency**2, -0.5 * np.log1p(noise), 1.0 / variance)
        shifts.append(4.0 * float(slope))
    return min(shifts)


def sharpened(density_map: DensityMap, b_factor: float, resolution: float, threads: int) -> NDArray[np.float32]:
    """Multiply by exp(-b_factor f² / 4) and low-pass at `resolution` (Å) with an edge of 5 % of that frequency."""
    cutoff = 1.0 / resolution
    grid = frequency_grid(density_map.shape, density_map.pixel_size)
    transform = rfftn(density_map.data, threads)
    transform *= raised_cosine(grid, cutoff, 0.05 * cutoff)
    # Beyond the edge the filter is zero, and the gain is held where it was so that it cannot overflow.
    np.minimum(grid, np.float32(1.05 * cutoff), out=grid)
    np.square(grid, out=grid)
    grid *= np.float32(-b_factor / 4.0)
    np.exp(grid, out=grid)
    transform *= grid
    return irfftn(transform, density_map.shape, threads)


def _guinier_plot(m: GlobalBFactorMeasurement) -> CurveFigure:
    spectrum = m.spectrum
    frequency = spectrum.frequency
    shown = (frequency >= 1.0 / 30.0) & (frequency <= min(1.3 / m.reported_resolution, frequency[-1]))
    x = frequency[shown] ** 2
    level = 0.5 * np.log(spectrum.power[shown].max())
    series = [_series("Map, as it is", x, 0.5 * np.log(np.maximum(spectrum.power[shown], 1e-300)) - level, "data")]
    if spectrum.noise_power is not None:
        series.append(
            _series("Noise", x, 0.5 * np.log(np.maximum(spectrum.noise_power[shown], 1e-300)) - level, "expected")
        )
    positive = shown & (spectrum.signal > 0)
    corrected = 0.5 * np.log(spectrum.signal[positive]) - m.reference.at(frequency[positive])
    # The corrected curve has a level of its own; it is drawn so that it meets the map's at the start of the fit.
    start = int(np.flatnonzero(m.used)[0])
    shift = (
        0.5 * np.log(spectrum.signal[start])
        - level
        - (0.5 * np.log(spectrum.signal[start]) - m.reference.at(frequency[start : start + 1])[0])
    )
    series.append(
        Series(
            label="Signal, noise and protein's own spectrum taken off",
            x=_tuple(frequency[positive] ** 2),
            y=_tuple(corrected + shift),
            style="points",
            role="corrected",
        )
    )
    fitted = frequency[m.used]
    low, high = m.line.band(fitted)
    series.append(
        Series(
            label=f"Fit, B = {m.b_factor.text()}",
            x=_tuple(fitted**2),
            y=_tuple(m.line.intercept + m.line.b_factor * fitted**2 / 4.0 + shift),
            low=_tuple(low + shift),
            high=_tuple(high + shift),
            role="model",
        )
    )
    markers = [
        Marker(axis="x", value=float(fitted[0] ** 2), end=float(fitted[-1] ** 2), label="range of the fit"),
        Marker(
            axis="x",
            value=1.0 / m.reported_resolution**2,
            role="reported",
            label=f"reported {m.reported_resolution:.3g} Å",
        ),
    ]
    if m.end is not None:
        markers.append(Marker(axis="x", value=m.end.half**2, label=f"amplitudes end at {1.0 / m.end.half:.3g} Å"))
    return CurveFigure(
        key="guinier",
        title="Guinier plot",
        caption="ln of the mean amplitude in shells of equal frequency, against frequency squared. A B-factor is a "
        "straight line here: falling for a decaying map, level after proper sharpening, rising when sharpened too "
        "far. The points are the map's signal with the noise and the spectrum of protein at rest taken off; the "
        "line and its band (95 %) are fitted to them within the shaded range.",
        alt_text=f"Guinier plot; the fitted line has B = {m.b_factor.text()}.",
        series=tuple(series),
        x_label="Frequency squared (1/Å²)",
        y_label="ln amplitude",
        x_scale="inverse_square",
        markers=tuple(markers),
    )


def _series(label: str, x: NDArray, y: NDArray, role: str) -> Series:
    return Series(label=label, x=_tuple(x), y=_tuple(y), role=role)  # type: ignore[arg-type]


def _tuple(values: NDArray) -> tuple[float, ...]:
    return tuple(float(f"{v:.6g}") for v in values)
