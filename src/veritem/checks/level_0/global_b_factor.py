"""0.d: how fast the map's amplitudes decay, and whether they reach the reported resolution."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from veritem.checks.base import Check, Criterion, MapOutput
from veritem.checks.markers import reported_marker
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
# ln amplitude below its highest from 20 Å on, relative to protein at rest: rounding of the grey values is as strong.
LOWEST_RESOLUTION_OF_LEVEL, DEEPEST_FALL = 20.0, 5.0
# Power over what a map without detail would show there, which is accurate to a factor of three: a map needs more than
# EDGE_LEAD to be fitted, and has ended where it stays below EDGE_ALONE.
EDGE_LEAD, EDGE_ALONE = 4.0, 2.0
# ln amplitude: no protein of the reference falls by more than 0.42 from its highest at 20 to 10 Å on to any shell.
SHAPE = 0.7
# Å: small particles smear their coarse density over 10 Å; a fit may begin as late as here.
LATEST_START = 8.0
MOST_END = 1.15  # end of the map over reported resolution
# The strongest blur: so much of a protein's amplitude must be left at the reported resolution, or at 3.5 Å if finer.
STRONGEST_BLUR, FINEST_JUDGED = -300.0, 3.5  # Å², Å
# The sharpened map's largest gain in amplitude, as an exponent: e^6 = 400.
LARGEST_GAIN = 6.0
# Å²: an oversharpening by less is hard to see in a map; a wider interval than this is no evidence of a pass.
TOLERATED = 50.0
# What the micrographs' own decay may be (Å²); the range over which unseen noise is bounded.
RAW_B_FACTORS = (20.0, 50.0, 100.0, 200.0, 400.0)


@dataclass(frozen=True, eq=False)
class GlobalBFactorMeasurement:
    """Numbers first; what the figures and the sharpened map need after."""

    b_factor: Quantity
    blur_at_resolution: Quantity
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
    line: GuinierLine | None = field(repr=False)
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

    The edges of masks, the check's and the depositor's, spread the strong amplitudes below 10 Å over all others, and
    in a blurred map nothing else is left. What they spread is computed from a copy of the map without detail
    (low-passed at 13 Å, with the depositor's mask kept); frequencies that do not exceed it four times take no part.
    Where too few are left to fit, and what is there is weaker than the strongest blur allowed would leave, the
    amplitudes have ended, and the check says where; otherwise the mask may cover them, and it is inconclusive, as for
    a map of which all below a level was set to zero.

    The check also looks for the frequency at which amplitudes fall off a cliff, as they do after a low-pass
    filter: a map that ends far before its reported resolution cannot show it.

    How much blur is strong depends on the resolution. −300 Å² leave 0.2 % of a protein's amplitude at 3.5 Å; the same
    share is left at 6 Å by −880 Å². At 3.5 Å and finer the limit is −300 Å², at d Å beyond it −300 (d / 3.5)² Å².

    Misleads when the particle is mostly nucleic acid: its spectrum falls faster than a protein's between 10 and 4 Å,
    which looks like a B of about −50 Å² for a map of 5 Å, −34 Å² at 4 Å and +5 Å² at 3 Å (protein with a third of
    nucleic acid: a third of that). At 6 Å and coarser the range of the fit is short and the interval wide. Weighting
    by the FSC, usual in post-processing, and the Wiener filter of refinement programs lower amplitudes near the limit
    and make B more negative, by hundreds of Å² at 6 Å and coarser. A made-up protein, as in simulated maps, has a
    spectrum of its own, which looks like a B of −25 to −50 Å². A hard mask hides the decay of a map that is
    blurred: from some −150 Å² on if it cuts through the particle, from −200 Å² on around it, the answer is that
    nothing can be said. A map altered by a network (density modification)
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
            quantity="blur_at_resolution",
            text="The map is not strongly blurred: what is left at the reported resolution is no less than −300 Å² "
            "leave at 3.5 Å",
            at_least=STRONGEST_BLUR,
            rule="interval",
            because="−300 Å² leave 0.2 % of a protein's amplitude at 3.5 Å, and hide features that the data may hold. "
            "At 3.5 Å and finer B itself is judged; at a coarser d, B × (3.5 Å / d)², which is the B that loses as "
            "much at 3.5 Å: filters by FSC or SSNR alone move B by hundreds of Å² at 6 Å and coarser (the whole 95 % "
            "interval decides)",
            warning="The map is strongly blurred: at the reported resolution as little is left as B = {value} leaves "
            "at 3.5 Å (or at the reported resolution if finer); the limit is −300 Å². Details near the reported "
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
            at_most=MOST_END,
            because="Filters at the reported resolution halve amplitudes within 10 % of it; farther off the map "
            "was cut elsewhere",
            warning="The map's amplitudes end at {value} times the reported resolution (limit {limit}): what lies "
            "between is not in this map.",
            causes=(
                "A low-pass filter coarser than the reported resolution",
                "The resolution was reported for another map, or for a part of this one",
                "A blur so strong that nothing is left: errors of alignment or of the CTF, or states averaged",
                "A hard mask cut through the particle, whose edge covers what lies beyond",
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
        finest = min(1.0 / reported_resolution, density_map.nyquist)
        whole = (frequency >= 1.0 / LOWEST_RESOLUTION) & (frequency <= finest * 1.0001)
        if whole.sum() < LEAST_SHELLS:
            raise NotApplicable(
                f"Only {whole.sum()} shells lie between {LOWEST_RESOLUTION:g} Å and {1.0 / finest:.3g} Å; "
                f"{LEAST_SHELLS} are needed. The particle is too small for this resolution."
            )
        reach = _reach(map_spectrum, reference_spectrum, whole, strongest_blur(reported_resolution))
        limit = min(finest, np.inf if end is None else end.onset)
        in_range = reach.shells & (frequency <= limit * 1.0001)
        if in_range.sum() < LEAST_SHELLS:
            return self._nothing_to_fit(
                density_map, map_spectrum, reference_spectrum, reported_resolution, end, reach, in_range, threads
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
        covered = reach.covered and reach.finest < 1.0 / (MOST_END * reported_resolution)
        if covered and not undecided:
            undecided = (
                f"From {1.0 / reach.finest:.3g} Å on the map is hardly stronger than what the edge of its mask leaves "
                "there: its amplitudes have ended, or the mask covers them"
            )
        if end is not None and end.half < 0.95 / reported_resolution:
            caveats.append(f"Amplitudes fall off at {1.0 / end.half:.3g} Å; the fit stops before.")
        if 1.0 / reported_resolution > density_map.nyquist * 1.0001:
            caveats.append(
                f"The pixel size of {density_map.pixel_size:.3g} Å holds nothing finer than "
                f"{2 * density_map.pixel_size:.3g} Å; the fit stops there."
            )
        ends_at: float | None = 1.0 / (density_map.nyquist if end is None else end.half)
        if end is None and covered and density_map.nyquist > 1.0 / (MOST_END * reported_resolution):
            ends_at = None
        return GlobalBFactorMeasurement(
            b_factor=Quantity(
                label="B-factor of the map",
                value=line.b_factor,
                unit="Å²",
                interval=(low, high),
                confidence=0.95,
                note="negative: amplitudes decay; the spectrum of protein at rest is taken off",
            ),
            blur_at_resolution=_scaled(line.b_factor, (low, high), reported_resolution),
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
                value=ends_at,
                unit="Å",
                note=_note_on_end(end, covered),
            ),
            end_over_reported=Quantity(
                label="End of the map over reported resolution",
                value=None if ends_at is None else ends_at / reported_resolution,
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

    def _nothing_to_fit(
        self,
        density_map: DensityMap,
        map_spectrum: MapSpectrum,
        reference_spectrum: ReferenceSpectrum,
        reported_resolution: float,
        end: SpectralEnd | None,
        reach: Reach,
        in_range: NDArray[np.bool_],
        threads: int,
    ) -> GlobalBFactorMeasurement:
        """Where a map ends that holds too little beyond 10 Å for a line."""
        ends = [f for f in (reach.end, None if end is None else end.half) if f is not None]
        ends_at = max(1.0 / min(ends), 1.0 / density_map.nyquist) if ends else None
        if end is not None and end.onset < reach.finest:
            why = "its amplitudes fall off there, as after a low-pass"
        elif reach.covered:
            why = "beyond, it is hardly stronger than what the edges of masks leave of a map without any detail"
        else:
            why = f"beyond, its amplitudes are below {100 * np.exp(-DEEPEST_FALL):.1g} % of a protein's at rest"
        at = 1.0 / (reach.finest if end is None else min(reach.finest, end.onset))
        undecided = (
            f"Between {LOWEST_RESOLUTION:g} Å and {reported_resolution:.3g} Å only {in_range.sum()} shells hold "
            f"amplitudes of the map's own, and {LEAST_SHELLS} are needed for a B-factor: the map can be followed to "
            f"{at:.3g} Å; {why}"
        )
        none = Quantity(label="", value=None)
        return GlobalBFactorMeasurement(
            b_factor=_unmeasured("B-factor of the map", "Å²"),
            blur_at_resolution=_unmeasured("B that blurs as much at 3.5 Å", "Å²"),
            plain_b_factor=_unmeasured("B-factor of the plain Guinier plot", "Å²"),
            surely_above=_unmeasured("B is surely above (97.5 %)", "Å²"),
            fit_from=_unmeasured("Fit from", "Å"),
            fit_to=_unmeasured("Fit to", "Å"),
            shells=Quantity(label="Shells that could be fitted", value=int(in_range.sum())),
            map_ends_at=Quantity(
                label="The map's amplitudes end at",
                value=ends_at,
                unit="Å",
                note="there or at a coarser resolution; beyond, masks alone would leave as much",
            ),
            end_over_reported=Quantity(
                label="End of the map over reported resolution",
                value=None if ends_at is None else float(ends_at / reported_resolution),
            ),
            signal_at_limit=none.model_copy(update={"label": "Signal over noise at the end of the fit (power)"}),
            undecided=undecided,
            caveats=(),
            line=None,
            used=in_range,
            spectrum=map_spectrum,
            reference=reference_spectrum,
            end=end,
            reported_resolution=reported_resolution,
            density_map=density_map,
            threads=threads,
        )

    def summary(self, measurement: GlobalBFactorMeasurement) -> str:
        if measurement.line is None:
            return f"{measurement.undecided}."
        b = measurement.b_factor
        assert isinstance(b.value, float) and b.interval is not None
        if float(measurement.surely_above.value or 0.0) > 0:
            verdict = "oversharpened"
        elif b.interval[0] > 0:
            verdict = "a little more than a protein at rest has, as a map sharpened to a flat Guinier plot does"
        elif b.interval[1] < strongest_blur(measurement.reported_resolution):
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
        if m.line is None:
            return []
        b, resolution = m.line.b_factor, float(m.fit_to.value)  # type: ignore[arg-type]
        return [
            MapOutput(
                description=DerivedMap(
                    key="sharpened",
                    label="Map sharpened to B = 0",
                    file="",
                    description=f"The submitted map multiplied by exp({-b:.0f} f² / 4) in Fourier space, by "
                    f"{np.exp(LARGEST_GAIN):.0f} at most, and low-passed at {resolution:.3g} Å, where the fit ends: "
                    "its amplitudes then fall as a protein's at rest do, as far as that gain reaches. For looking at; "
                    "not a better map.",
                ),
                data=sharpened(m.density_map, b, resolution, m.threads),
                pixel_size=m.density_map.pixel_size,
                origin=m.density_map.origin,
            )
        ]


@dataclass(frozen=True, eq=False)
class Reach:
    """The shells from 10 Å on that hold amplitudes of the map's own.

    finest: 1/Å, the last of them, 1 / (10 Å) without any. covered: what follows is no stronger than what edges leave.
    end: 1/Å, from where on the map surely has none; None if its mask may cover a sound map: if what is there, edges
        included, is nowhere weaker than the strongest blur allowed would leave.
    """

    shells: NDArray[np.bool_]
    finest: float
    covered: bool
    end: float | None


def _reach(spectrum: MapSpectrum, reference: ReferenceSpectrum, whole: NDArray[np.bool_], strongest: float) -> Reach:
    """Follow the spectrum from 10 Å to the first shell that is too deep, or hardly above what edges leave."""
    frequency = spectrum.frequency
    level = spectrum.log_amplitude - reference.at(frequency)
    lowest = 1.0 / LOWEST_RESOLUTION_OF_LEVEL
    level = level - level[(frequency >= lowest) & (frequency <= frequency[whole][-1])].max()
    deep = level < -DEEPEST_FALL
    allowed = strongest / 4.0 * (frequency**2 - lowest**2) - SHAPE
    lead = np.log(np.maximum(spectrum.power, 1e-300)) - np.log(np.maximum(spectrum.edge_power, 1e-300))
    # Three shells together decide: one alone is a toss.
    lead, smooth = (np.convolve(np.pad(y, 1, mode="edge"), np.ones(3) / 3.0, mode="valid") for y in (lead, level))
    holds = whole & ~deep & (lead >= np.log(EDGE_LEAD))
    first = np.flatnonzero(holds & (frequency <= 1.0 / LATEST_START))
    shells = np.zeros(frequency.size, bool)
    last = int(np.flatnonzero(whole)[0]) - 1
    if first.size:
        lost = np.flatnonzero(whole & ~holds & (np.arange(frequency.size) > first[0]))
        last = int(lost[0]) - 1 if lost.size else int(np.flatnonzero(whole)[-1])
        shells[first[0] : last + 1] = True
    following = min(last + 1, frequency.size - 1)
    empty = deep | (lead < np.log(EDGE_ALONE))
    held = np.flatnonzero(whole & ~empty)
    start = int(held[-1]) + 1 if held.size else int(np.flatnonzero(whole)[0])
    at_end = start < frequency.size and whole[start] and (smooth < allowed)[whole].any()
    return Reach(
        shells=shells,
        finest=float(frequency[last]) if shells.any() else 1.0 / LOWEST_RESOLUTION,
        covered=bool(whole[following] and not deep[following]),
        end=(float(frequency[start]) if held.size else 1.0 / LOWEST_RESOLUTION) if at_end else None,
    )


def strongest_blur(resolution: float) -> float:
    """The B (Å²) that leaves at `resolution` (Å) what −300 Å² leave at 3.5 Å; −300 Å² at finer resolution."""
    return STRONGEST_BLUR * (max(resolution, FINEST_JUDGED) / FINEST_JUDGED) ** 2


def _scaled(b_factor: float, interval: tuple[float, float], resolution: float) -> Quantity:
    scale = STRONGEST_BLUR / strongest_blur(resolution)
    left = 100.0 * np.exp(min(b_factor, 0.0) / (4.0 * max(resolution, FINEST_JUDGED) ** 2))
    return Quantity(
        label="B that blurs as much at 3.5 Å", value=b_factor * scale, unit="Å²",
        interval=(interval[0] * scale, interval[1] * scale), confidence=0.95,
        note=f"leaves {left:.2g} % of a protein's amplitude at {max(resolution, FINEST_JUDGED):.3g} Å",
    )  # fmt: skip


def _note_on_end(end: SpectralEnd | None, covered: bool) -> str:
    if end is not None:
        return "where amplitudes are half of their trend"
    if covered:
        return "the edge of the map's mask covers what lies beyond the fit"
    return "no end found up to the finest that the pixel size holds"


def _unmeasured(label: str, unit: str) -> Quantity:
    return Quantity(label=label, value=None, unit=unit, note="too few shells to fit")


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
    """Multiply by exp(-b_factor f² / 4), at most e^6, and low-pass at `resolution` (Å), the edge 5 % of that wide."""
    cutoff = 1.0 / resolution
    grid = frequency_grid(density_map.shape, density_map.pixel_size)
    transform = rfftn(density_map.data, threads)
    transform *= raised_cosine(grid, cutoff, 0.05 * cutoff)
    np.square(grid, out=grid)
    grid *= np.float32(-b_factor / 4.0)
    np.minimum(grid, np.float32(LARGEST_GAIN), out=grid)
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
    edges = 0.5 * np.log(np.maximum(spectrum.edge_power[shown], 1e-300)) - level
    series.append(_series("Left by the edges of masks", x, edges, "other"))
    markers = list(reported_marker(m.reported_resolution, power=-2))
    if m.line is not None:
        series += _fit_series(m, m.line, shown, level)
        fitted = frequency[m.used]
        markers.append(
            Marker(axis="x", value=float(fitted[0] ** 2), end=float(fitted[-1] ** 2), label="range of the fit")
        )
    if m.end is not None:
        markers.append(Marker(axis="x", value=m.end.half**2, label=f"amplitudes end at {1.0 / m.end.half:.3g} Å"))
    return CurveFigure(
        key="guinier",
        title="Guinier plot",
        caption="ln of the mean amplitude in shells of equal frequency, against frequency squared. A B-factor is a "
        "straight line here: falling for a decaying map, level after proper sharpening, rising when sharpened too "
        "far. The points are the map's signal with the noise and the spectrum of protein at rest taken off; the "
        "line and its band (95 %) are fitted to them within the shaded range. Where the map comes down to what the "
        "edges of masks leave of a map without detail, it holds nothing of its own.",
        alt_text=f"Guinier plot; the fitted line has B = {m.b_factor.text()}."
        if m.line is not None
        else "Guinier plot without a fit: too few shells hold amplitudes of the map's own.",
        series=tuple(series),
        x_label="Frequency squared (1/Å²)",
        y_label="ln amplitude",
        x_scale="inverse_square",
        markers=tuple(markers),
    )


def _fit_series(m: GlobalBFactorMeasurement, line: GuinierLine, shown: NDArray[np.bool_], level: float) -> list[Series]:
    """The corrected signal and the line through it, both shifted to meet the map's curve at the start of the fit."""
    spectrum, frequency = m.spectrum, m.spectrum.frequency
    positive = shown & (spectrum.signal > 0)
    corrected = 0.5 * np.log(spectrum.signal[positive]) - m.reference.at(frequency[positive])
    start = int(np.flatnonzero(m.used)[0])
    shift = float(m.reference.at(frequency[start : start + 1])[0]) - level
    fitted = frequency[m.used]
    low, high = line.band(fitted)
    return [
        Series(
            label="Signal, noise and protein's own spectrum taken off",
            x=_tuple(frequency[positive] ** 2),
            y=_tuple(corrected + shift),
            style="points",
            role="corrected",
        ),
        Series(
            label=f"Fit, B = {m.b_factor.text()}",
            x=_tuple(fitted**2),
            y=_tuple(line.intercept + line.b_factor * fitted**2 / 4.0 + shift),
            low=_tuple(low + shift),
            high=_tuple(high + shift),
            role="model",
        ),
    ]


def _series(label: str, x: NDArray, y: NDArray, role: str) -> Series:
    return Series(label=label, x=_tuple(x), y=_tuple(y), role=role)  # type: ignore[arg-type]


def _tuple(values: NDArray) -> tuple[float, ...]:
    return tuple(float(f"{v:.6g}") for v in values)
