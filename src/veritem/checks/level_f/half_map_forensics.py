"""F.a: whether the half maps are what half maps should be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from veritem.checks.base import Check, Criterion, judge, quantities_of
from veritem.checks.markers import reported_marker
from veritem.derived.forensics import AGREES, NAMED_BY, Estimate, HalfMapEvidence, Lay, particle_shaped
from veritem.derived.masks import ContourLevel
from veritem.numerics.density_map import DensityMap
from veritem.numerics.forensics import GAUSSIAN_FLATNESS, SpectrumEnd, changes_hand, describe_orientation
from veritem.results import (
    Column,
    CurveFigure,
    Figure,
    ImageFigure,
    Marker,
    Outcome,
    Panel,
    Quantity,
    Reference,
    Series,
    Table,
    format_number,
)

LEAST_DISTINCT = 1e-5
LEAST_OVERLAY = 5.0  # standard errors; the best of 48 orientations and many shifts is some of them by chance
LEAST_AGREEMENT = AGREES
GAINED = NAMED_BY
LARGEST_SHIFT = 0.05
FAINTEST_DRAWN = 1e-4  # of the median power
SURE_VECTOR = 3.37  # standard errors that hold 99 % of the vectors of three normal numbers
SCALES = (0.8, 1.25)
LARGEST_FILTER_RATIO = 1.42
LARGEST_CORRELATION = 0.05
LEAST_NOISE = 0.05
SOLVENT_RATIOS = (0.5, 2.0)
LEAST_FLATNESS = 0.77
LEAST_END = 0.9
LARGEST_RISE = 15.0
LEAST_MAP_NOISE = 0.3
LARGEST_LEANING = 0.4


@dataclass(frozen=True, eq=False)
class HalfMapForensicsMeasurement:
    """Numbers first; what the figures need after."""

    distinct_noise: Quantity
    noise_correlation: Quantity
    half_in_map: Quantity
    half_agreement: Quantity
    half_mirrored: Quantity
    half_turned: Quantity
    half_shift: Quantity
    half_scale: Quantity
    filter_ratio: Quantity
    filter_b_factor: Quantity
    noise_removed: Quantity
    solvent_ratio: Quantity
    noise_flatness: Quantity
    noise_by_signal: Quantity
    noise_end: Quantity
    noise_rise: Quantity
    map_agreement: Quantity
    map_mirrored: Quantity
    map_turned: Quantity
    map_shift: Quantity
    map_noise: Quantity
    sphere: Quantity
    constant_share: Quantity
    undecided: str
    caveats: tuple[str, ...]
    evidence: HalfMapEvidence = field(repr=False)
    density_map: DensityMap = field(repr=False)
    mask_outline: np.ndarray = field(repr=False)
    reported_resolution: float | None = field(repr=False)


class HalfMapForensics(Check):
    """Are these the two half maps of this map, independent, and as the reconstruction wrote them?

    Everything that rests on half maps, from the FSC to local resolution, assumes that their noise is independent and
    that nothing was done to them. This check looks for what breaks that, and names it.

    First the halves, and the map, are laid over each other in detail from 40 Å to 6 Å (coarser at low resolution),
    with every shell given the same weight, at all shifts and in all 48 ways to exchange and flip the axes. Another
    orientation is named when it gains 0.15 in correlation. Halves that correlate by less than 0.35 do not show the
    same thing, unless both fit the map alike: then noise alone lowers it. The shift between the halves is measured by
    the phases of all shells, to about a hundredth of a voxel, and taken off. One that is surely more than a twentieth
    of the resolution is named: it costs the FSC 1.6 % there.

    The ratio of the halves' amplitudes, in sixteen bands inside the particle, tells different scales (named beyond
    0.8 to 1.25) and different filters (named when the ratio changes by more than 1.42 over the spectrum; halves with
    60 and 40 % of the particles differ by 1.22).

    The difference of the halves holds noise alone. Its spectrum tells a low-pass, or a grid finer than that of the
    reconstruction: noise falls by a factor of 30 and stays there. A sphere in Fourier space is a filter, or a grid
    whose corners were empty; a cube is another grid. Sharpening shows as noise that rises faster than in proportion
    to frequency, which is the most that the thinning of slices through Fourier space causes: by more than a B-factor
    of 15 Å².

    The difference is then whitened and looked at in space. Where noise is missing around the particle, either the
    distance from the particle or the distance from the box centre explains where. The first is a mask, or a program
    that removes noise around the particle, and a warning. The second is the sphere that reconstruction programs
    write, and is only told. Noise in only one of the halves is told from their power around the particle. Noise is
    Gaussian: its mean absolute value over its standard deviation is 0.798. Shrinking, thresholding and networks leave
    a few strong places, and the ratio falls. It is taken in small bins of place, so that noise of unequal strength
    does not lower it.

    Independence is tested around the particle, beyond the resolution where there is room, so that no signal can be
    shared: the correlation of the halves' noise is compared with 0.05. Its standard error follows from the window's
    volume, the band and the point group. A third of the particles in both halves gives a correlation of a third.
    Copies correlate wholly, whatever their scale.

    Last, the map's noise is compared with that of the halves: around the particle where it has any, else well inside,
    where a mask changes nothing. A map made from them, by any filter, has the noise of their mean; a map of other
    data has none of it. By least squares the map is so much of the one half and so much of the other; one that is all
    of one half was made from that half, or that half is the map. A masked map is fine. Where the map holds too little
    noise to tell, nothing is said.

    Half maps that end in a sphere are no fault. The last shells before Nyquist are not asked for an FSC of 0, since
    good data have signal there; the solvent is asked instead. The limits were set, and the rates measured, on
    simulated pairs: benchmarks/results/forensics.json holds what was named in sound pairs, and in faulty ones by
    dose.

    Misleads when the map's mask is far from the particle, since noise is looked at around it. Halves in a tight
    sphere leave no room to test independence, and the answer is then undecided. Local filtering of the halves by
    resolution looks like removed noise. Noise that falls with frequency hides a moderate sharpening. Halves of two
    different things whose mean is the map fit it alike, and look like very noisy halves. A mask that follows a round
    particle loosely looks like a sphere. Copies of one half with fresh noise added are not recognised. A map from a
    network or from density modification has lost part of its noise, and is said not to come from these halves when
    less than 0.3 of it is left.
    """

    code = "F.a"
    title = "Half maps"
    level = "F"
    needs: ClassVar[tuple[str, ...]] = ("half_maps",)
    criteria = (
        Criterion(
            quantity="distinct_noise",
            text="The two half maps are not one and the same",
            at_least=LEAST_DISTINCT,
            because="Rounding leaves copies, also scaled ones, alike to one part in 100 000; two reconstructions "
            "differ "
            "by their noise, most of all in the finest detail",
            warning="The two half maps are the same map: of the finest detail of the first, the second lacks {value}.",
            causes=("One file was uploaded twice", "One half is a scaled copy of the other"),
            advice="Send the two half maps of the refinement. Nothing that rests on half maps can be believed until "
            "then.",
        ),
        Criterion(
            quantity="half_in_map",
            text="Neither of the halves is the map",
            at_least=-LARGEST_LEANING,
            at_most=LARGEST_LEANING,
            rule="interval",
            because="The mean of two halves leans to neither (0); a map that is one of them gives 1 or −1. Halves of "
            "60 "
            "and 40 % of the particles give 0.2",
            warning="The map is one of the half maps, or one of the halves is the map: it leans to a half by {value}.",
            causes=(
                "The full map was uploaded in place of a half map",
                "A half map was uploaded as the map",
            ),
            advice="Send both half maps and the map that was made from both.",
        ),
        Criterion(
            quantity="noise_correlation",
            text="The noise of the halves is independent",
            at_most=LARGEST_CORRELATION,
            rule="interval",
            because="Independent noise correlates to 0; a correlation of 0.05 adds 0.05 to the FSC at every frequency, "
            "a third of the 0.143 by which resolution is read",
            warning="The halves share noise: around the particle, in the finest detail, they correlate by {value}.",
            causes=(
                "Some of the particles are in both halves (duplicates, symmetry-expanded copies, overlapping picks)",
                "One of the halves, or a map made from both, stands in place of the other",
                "Both halves were processed with the same reference at high resolution",
            ),
            advice="Remove duplicate particles, split them once and keep the split, and reconstruct both halves anew.",
        ),
        Criterion(
            quantity="half_agreement",
            text="The two half maps show the same thing",
            at_least=LEAST_AGREEMENT,
            because="Halves of one reconstruction agree nearly wholly in detail much coarser than the resolution",
            warning="The two half maps show different things: in whatever orientation, they agree by {value}.",
            causes=("The half maps of another entry or class", "One of the files is not a half map"),
            advice="Check both files against the refinement that wrote them.",
        ),
        Criterion(
            quantity="half_mirrored",
            text="The halves have the same hand",
            at_most=GAINED,
            because="A correlation that grows by 0.15 when one half is mirrored is beyond what noise can do",
            warning="One half map is mirrored: mirrored back, it correlates by {value} more.",
            causes=(
                "The hand of one half was flipped",
                "One file was read or written with its axes in another order, or backwards",
            ),
            advice="Flip neither or both. The comparison with the map tells which of them is the other one's mirror.",
        ),
        Criterion(
            quantity="half_turned",
            text="The halves have the same orientation",
            at_most=GAINED,
            because="A correlation that grows by 0.15 when one half is turned is beyond what noise can do",
            warning="One half map is turned: turned back, it correlates by {value} more.",
            causes=("One half was aligned to the symmetry axes or to another map, the other was not",),
            advice="Apply one and the same transformation to both halves and to the map, or none.",
        ),
        Criterion(
            quantity="half_shift",
            text="The halves lie on each other",
            at_most=LARGEST_SHIFT,
            because="A shift of a twentieth of the resolution costs the FSC 1.6 % there; the least "
            "shift within the 99 % region decides",
            warning="The halves are shifted against each other by {value} of the resolution.",
            causes=("One half was re-centred", "The halves drifted apart in independent refinements"),
            advice="Align one half to the other before they are compared, and average them again.",
        ),
        Criterion(
            quantity="half_scale",
            text="The halves are on one scale of greys",
            at_least=SCALES[0],
            at_most=SCALES[1],
            rule="interval",
            because="Halves of one reconstruction differ in scale by a few percent; their plain mean is right only "
            "then",
            warning="The halves are on different scales: the greys of the second over those of the first are {value}; "
            "negative means inverted contrast.",
            causes=("The halves were normalised one by one", "The contrast of one half was inverted"),
            advice="Use the halves as the reconstruction wrote them, without normalising.",
        ),
        Criterion(
            quantity="filter_ratio",
            text="The halves were filtered alike",
            at_most=LARGEST_FILTER_RATIO,
            rule="interval",
            because="The ratio of their amplitudes should not depend on frequency; halves of 60 and 40 % of the "
            "particles change it by 1.22",
            warning="The halves were filtered differently: the ratio of their amplitudes changes by a factor of "
            "{value} "
            "over the spectrum.",
            causes=(
                "One of the halves was sharpened, low-passed or weighted by its FSC, the other was not",
                "Very unequal numbers of particles",
            ),
            advice="Use both halves as the reconstruction wrote them.",
        ),
        Criterion(
            quantity="noise_removed",
            text="Noise around the particle was not removed",
            at_most=LEAST_NOISE,
            because="An unmasked half map has noise wherever the reconstruction has, up to a sphere about the box "
            "centre",
            warning="The halves were masked, or noise around the particle was removed by a program: {value} of the "
            "space "
            "around it holds less than a quarter of the noise inside, and the border follows the particle.",
            causes=(
                "Both halves were multiplied by the mask of the refinement",
                "Both halves were denoised, locally filtered, or their solvent flattened",
            ),
            advice="Send the half maps as the reconstruction wrote them. A mask that both share raises the FSC.",
        ),
        Criterion(
            quantity="solvent_ratio",
            text="Both halves have noise of the same strength around the particle",
            at_least=SOLVENT_RATIOS[0],
            at_most=SOLVENT_RATIOS[1],
            because="With the noise inside the particle made alike, that around it is alike too",
            warning="Noise around the particle is stronger in one of the halves: the power in the first over that in "
            "the second is {value}.",
            causes=("One half was masked, or its solvent flattened, and the other was not",),
            advice="Treat both halves alike; best, send them as the reconstruction wrote them.",
        ),
        Criterion(
            quantity="noise_flatness",
            text="The noise is Gaussian, as reconstruction leaves it",
            at_least=LEAST_FLATNESS,
            because="Gaussian noise has a mean absolute value of 0.798 standard deviations, whatever its spectrum; "
            "masks, spheres and symmetry move that by less than 0.015 in simulations",
            warning="The halves were denoised: the mean absolute value of their noise is {value} standard deviations, "
            "and Gaussian noise has 0.798.",
            causes=("Denoising by wavelets, total variation or a network", "Thresholding of weak density"),
            advice="Send the half maps before denoising. Denoised halves agree where both were set to the same guess.",
        ),
        Criterion(
            quantity="noise_end",
            text="Noise reaches Nyquist",
            at_least=LEAST_END,
            because="Reconstruction leaves noise up to the highest frequency of its grid",
            warning="The halves were low-passed, or resampled to a finer grid: their noise ends at {value} of Nyquist.",
            causes=(
                "Both halves were low-passed, or weighted by their FSC",
                "Both halves were interpolated or padded to smaller voxels than they were reconstructed on",
            ),
            advice="Send the half maps unfiltered, on the grid of the reconstruction. Beyond this frequency their FSC "
            "means nothing.",
        ),
        Criterion(
            quantity="noise_rise",
            text="The halves are not sharpened",
            at_most=LARGEST_RISE,
            rule="interval",
            because="Noise of a raw reconstruction rises at most in proportion to frequency, as slices through Fourier "
            "space get sparser; 15 Å² are left for what differs from that",
            warning="The halves were sharpened: their noise rises with frequency by a B-factor of {value} more than "
            "any "
            "reconstruction leaves it.",
            causes=("A negative B-factor, or a detector's MTF, was applied to both halves",),
            advice="Send the unsharpened half maps. The FSC is the same; local methods and B-factors are not.",
        ),
        Criterion(
            quantity="map_agreement",
            text="The map shows what the halves show",
            at_least=LEAST_AGREEMENT,
            because="A map made from its halves agrees with each of them nearly wholly in coarse detail",
            warning="The map does not show what the half maps show: in whatever orientation, they correlate by "
            "{value}.",
            causes=("The half maps belong to another map or class",),
            advice="Send the half maps of this map.",
        ),
        Criterion(
            quantity="map_mirrored",
            text="Map and halves have the same hand",
            at_most=GAINED,
            because="A correlation that grows by 0.15 when the halves are mirrored is beyond what noise can do",
            warning="The map is the mirror image of its half maps: mirrored, they correlate by {value} more.",
            causes=("The hand of the map was corrected and that of its halves was not",),
            advice="Flip the half maps in the same way, and send them again.",
        ),
        Criterion(
            quantity="map_turned",
            text="Map and halves have the same orientation",
            at_most=GAINED,
            because="A correlation that grows by 0.15 when the halves are turned is beyond what noise can do",
            warning="The map is turned against its half maps: turned back, they correlate by {value} more.",
            causes=("The map was aligned to its symmetry axes or to a model, its halves were not",),
            advice="Apply the same transformation to the half maps, and send them again.",
        ),
        Criterion(
            quantity="map_shift",
            text="The map lies on its halves",
            at_most=LARGEST_SHIFT,
            because="A shift of a twentieth of the resolution costs the correlation 1.6 % there; the least shift "
            "within "
            "the 99 % region decides",
            warning="The map is shifted against its half maps by {value} of the resolution.",
            causes=("The map was re-centred or resampled and its halves were not",),
            advice="Shift the half maps in the same way, and send them again.",
        ),
        Criterion(
            quantity="map_noise",
            text="The map has the noise of its halves",
            at_least=LEAST_MAP_NOISE,
            rule="interval",
            because="Any filter of the halves' mean keeps its noise (1); a map of other data has none of it (0). "
            "Density "
            "modification and networks keep a part",
            warning="The map was not made from these halves: of their noise it has {value}; 1 is expected, 0 with "
            "other data.",
            causes=(
                "The half maps of another run, iteration or subset of the same particle",
                "A map from a program that leaves little of the noise of its halves",
            ),
            advice="Send the half maps from which this map was made.",
        ),
    )
    references = (
        Reference(
            text="Rosenthal PB, Rubinstein JL. Validating maps from single particle electron cryomicroscopy. Current "
            "Opinion in Structural Biology 34 (2015) 135–144.",
            doi="10.1016/j.sbi.2015.07.002",
        ),
        Reference(
            text="Scheres SHW, Chen S. Prevention of overfitting in cryo-EM structure determination. Nature Methods 9 "
            "(2012) 853–854.",
            doi="10.1038/nmeth.2115",
        ),
        Reference(
            text="Geary RC. Moments of the ratio of the mean deviation to the standard deviation for normal samples. "
            "Biometrika 28 (1936) 295–307.",
            doi="10.1093/biomet/28.3-4.295",
        ),
    )

    def measure(  # type: ignore[override]
        self,
        half_map_evidence: HalfMapEvidence,
        density_map: DensityMap,
        mask_distance: np.ndarray,
        contour_level: ContourLevel,
        reported_resolution: float | None,
    ) -> HalfMapForensicsMeasurement:
        """Give every measurement its name, unit and interval. Raises NotApplicable for empty halves."""
        e = half_map_evidence
        # A half that is off the other is off the map too; the map is judged by the one that fits it better.
        with_map = max((e.first_with_map, e.second_with_map), key=lambda lay: lay.best)
        overlay = e.halves_overlay
        nyquist = 0.5 / density_map.pixel_size
        ends = [end for end in (e.end, e.grid_end) if end is not None]
        end = min(ends, key=lambda found: found.frequency) if ends else None
        removed = None if e.shape is None else (e.shape.missing if particle_shaped(e.shape) else 0.0)
        vector = e.shift_vector
        undecided = ""
        caveats = list(e.notes)
        copies = e.distinct is not None and e.distinct < LEAST_DISTINCT
        if overlay and not copies and e.noise_correlation is None:
            undecided = (
                "Whether the halves share noise cannot be told: around the particle there is too little noise, or it "
                "was filtered to coarser than 6.5 Å"
            )
        if e.shape is not None and not particle_shaped(e.shape) and e.shape.radius is not None:
            caveats.append(
                f"The half maps fade to zero about {e.shape.radius:.0f} Å from the box centre, in a sphere, as "
                "reconstruction programs write them. That is no fault."
            )
        if e.by_signal is not None and e.by_signal.interval()[0] > 1.3:
            caveats.append(
                f"Noise is {e.by_signal.value:.2g} times stronger where the signal is strong than where it is weak, as "
                "programs that suppress noise leave it."
            )
        if contour_level.source == "estimated":
            caveats.append("The particle was found at an estimated contour level; noise is looked at around it.")
        return HalfMapForensicsMeasurement(
            distinct_noise=_plain("Finest detail of half 1 that half 2 lacks (1 − FSC)", e.distinct),
            noise_correlation=_estimated(
                "Correlation of the halves' noise around the particle",
                e.noise_correlation,
                note=f"in the finest detail, over {format_number(round(e.solvent_voxels))} voxels"
                if e.noise_correlation
                else "too little noise around the particle",
            ),
            half_in_map=_estimated(
                "How far the map leans to one half",
                e.half_in_map,
                note="1: the map is the first half; −1: the second; 0: their mean",
            ),
            half_agreement=_plain(
                "Agreement of the halves in coarse detail",
                e.agreement,
                note=f"they correlate by {e.halves.best:.2f}, with the map by {e.first_with_map.best:.2f} and "
                f"{e.second_with_map.best:.2f}",
            ),
            half_mirrored=_gain("Correlation gained by mirroring one half", e.halves, mirror=True),
            half_turned=_gain("Correlation gained by turning one half", e.halves, mirror=False),
            half_shift=_surely(
                "Shift between the halves that is sure, over the resolution",
                e.shift,
                e.resolution,
                note=""
                if e.shift is None or vector is None
                else f"{format_number(e.shift.value, 2)} ± {format_number(e.shift.error, 1)} Å; x, y, z: "
                + ", ".join(f"{v:.2f}".replace("-", "−") for v in vector)
                + " Å",
            ),
            half_scale=_estimated("Greys of the second half over the first", e.scale, note="negative: inverted"),
            filter_ratio=_filter_ratio(e.filter_range),
            filter_b_factor=_estimated(
                "Blur of the second half beyond the first",
                e.filter_b_factor,
                unit="Å²",
                note="a line through the ratio",
            ),
            noise_removed=_plain(
                "Space around the particle from which noise is missing, in the particle's shape",
                removed,
                note=""
                if e.shape is None or e.shape.reach is None or not removed
                else f"noise reaches {e.shape.reach:.0f} Å from the particle",
            ),
            solvent_ratio=_estimated("Noise power around the particle, first half over second", e.solvent_ratio),
            noise_flatness=_estimated(
                "Mean absolute value of the noise over its standard deviation",
                e.flatness,
                note=f"{GAUSSIAN_FLATNESS:.3f} for Gaussian noise",
            ),
            noise_by_signal=_estimated(
                "Noise where the signal is strong over noise where it is weak",
                e.by_signal,
                note="inside the particle; not judged, since errors of the halves' scale raise it too",
            ),
            noise_end=_end(end, nyquist, e),
            noise_rise=_estimated(
                "Rise of the noise beyond a straight line",
                e.rise,
                unit="Å²",
                note="as a B-factor; a flat spectrum gives less than 0",
            ),
            map_agreement=_plain(
                "Agreement of map and halves in coarse detail",
                e.map_agreement,
                note=f"correlation {with_map.best:.2f}, over the least expected of halves with this much noise",
            ),
            map_mirrored=_gain("Correlation of map and halves gained by mirroring", with_map, mirror=True),
            map_turned=_gain("Correlation of map and halves gained by turning", with_map, mirror=False),
            map_shift=_surely(
                "Shift between map and halves that is sure, over the resolution",
                e.map_shift,
                e.resolution,
                note="" if e.map_shift is None else f"{format_number(e.map_shift.value, 2)} Å",
            ),
            map_noise=_estimated("Noise of the halves that the map has", e.map_noise, note="1: all of it; 0: none"),
            sphere=_plain(
                "Radius of the sphere that holds the noise",
                None if e.shape is None or particle_shaped(e.shape) else e.shape.radius,
                unit="Å",
                note="" if e.shape is None or e.shape.radius is not None else "noise reaches the corners of the box",
            ),
            constant_share=_plain("Voxels that hold one constant value in both halves", 100.0 * e.constant, unit="%"),
            undecided=undecided,
            caveats=tuple(caveats),
            evidence=e,
            density_map=density_map,
            mask_outline=mask_distance <= 0,
            reported_resolution=reported_resolution,
        )

    def findings(self, measurement: HalfMapForensicsMeasurement) -> list[str]:
        """The quantities whose criterion warns, in order: what is wrong with the halves."""
        verdict = judge(self, measurement)
        return [c.quantity for c in verdict.criteria if c.outcome is Outcome.WARNING]

    def summary(self, measurement: HalfMapForensicsMeasurement) -> str:
        m = measurement
        found = self.findings(m)
        if not found:
            correlation = m.noise_correlation
            text = "The half maps overlay each other and the map, and nothing was found to have been done to them"
            if correlation.value is not None:
                text += f"; their noise correlates by {correlation.text()}"
            elif m.undecided:
                text += "; whether they share noise could not be told"
            return text + "."
        named = [_named(key, m) for key in found]
        return f"Found: {'; '.join(named)}."

    def tables(self, measurement: HalfMapForensicsMeasurement) -> list[Table]:
        quantities = quantities_of(measurement)
        rows: list[tuple[bool | int | float | str | None, ...]] = []
        for criterion in self.criteria:
            result = criterion.judge(quantities)
            quantity = quantities[criterion.quantity]
            rows.append(
                (
                    criterion.text,
                    quantity.text(),
                    criterion.limit_text,
                    "not tested" if result is None else result.outcome.value,
                )
            )
        return [
            Table(
                key="tests",
                title="What was tested",
                columns=(Column(label="Test"), Column(label="Found"), Column(label="Limit"), Column(label="Outcome")),
                rows=tuple(rows),
                caption="Each test, what was measured, and the limit for it. A test that needs what another test found "
                "broken, or noise that is not there, is not made.",
            )
        ]

    def figures(self, measurement: HalfMapForensicsMeasurement) -> list[Figure]:
        m = measurement
        e = m.evidence
        figures: list[Figure] = []
        if e.spectrum is not None:
            figures.append(_spectrum_figure(m))
        if e.solvent_frequency is not None:
            figures.append(_solvent_figure(m))
        if e.profile is not None:
            figures.append(_profile_figure(m))
        if e.difference is not None:
            figures.append(_difference_figure(m))
        return figures


# --------------------------------------------------------------------------- quantities


def _plain(label: str, value: float | None, unit: str = "", note: str = "") -> Quantity:
    return Quantity(label=label, value=value, unit=unit, note=note)


def _estimated(label: str, estimate: Estimate | None, unit: str = "", note: str = "") -> Quantity:
    if estimate is None:
        return Quantity(label=label, value=None, unit=unit, note=note)
    return Quantity(
        label=label, value=estimate.value, unit=unit, interval=estimate.interval(), confidence=0.95, note=note
    )


def _surely(label: str, shift: Estimate | None, resolution: float, note: str) -> Quantity:
    """The least shift that the 99 % region of the vector holds: noise alone makes a length of 1.6 standard errors."""
    value = None if shift is None else max(0.0, shift.interval(SURE_VECTOR)[0]) / resolution
    return Quantity(label=label, value=value, note=note)


def _gain(label: str, lay: Lay, mirror: bool) -> Quantity:
    """What the best orientation of this kind gains; 0 where the maps overlay as they are, None where nothing does."""
    if max(lay.best, lay.as_they_are) < LEAST_OVERLAY * lay.error:
        return Quantity(label=label, value=None, note="they overlay in no orientation")
    applies = lay.reoriented and changes_hand(lay.orientation) == mirror
    return Quantity(
        label=label,
        value=lay.best - lay.as_they_are if applies else 0.0,
        note=f"{describe_orientation(lay.orientation)}: {lay.best:.2f} instead of {lay.as_they_are:.2f}"
        if applies
        else "",
    )


def _filter_ratio(span: Estimate | None) -> Quantity:
    label = "Change of the halves' amplitude ratio over the spectrum"
    if span is None:
        return Quantity(label=label, value=None)
    low, high = span.interval()
    return Quantity(
        label=label,
        value=float(np.exp(span.value)),
        interval=(float(np.exp(max(low, 0.0))), float(np.exp(high))),
        confidence=0.95,
    )


def _end(end: SpectrumEnd | None, nyquist: float, evidence: HalfMapEvidence) -> Quantity:
    label = "Where noise ends, as a share of Nyquist"
    if evidence.spectrum is None:
        return Quantity(label=label, value=None)
    if end is None:
        return Quantity(label=label, value=1.0, note="it reaches Nyquist")
    step = float(evidence.spectrum.frequency[1])
    where = f"{1 / end.frequency:.3g} Å"
    kind = (
        f"in a cube at {where}: resampled from voxels of {0.5 / end.frequency:.3g} Å"
        if end is evidence.grid_end
        else f"in a sphere at {where}: low-passed there, or resampled from voxels of {0.5 / end.frequency:.3g} Å"
    )
    return Quantity(
        label=label,
        value=end.frequency / nyquist,
        interval=((end.frequency - step) / nyquist, (end.frequency + step) / nyquist),
        confidence=0.95,
        note=kind,
    )


def _reach(e: HalfMapEvidence) -> str:
    if e.shape is None or e.shape.reach is None or not particle_shaped(e.shape):
        return ""
    return f"it reaches {e.shape.reach:.0f} Å from the particle"


def _named(key: str, m: HalfMapForensicsMeasurement) -> str:
    """One finding in a few words, with its evidence."""
    e = m.evidence
    quantity: Quantity = getattr(m, key)
    value = quantity.value if isinstance(quantity.value, float) else 0.0
    off = ""
    if key in ("half_mirrored", "half_turned", "half_agreement"):
        first, second = e.first_with_map.as_they_are, e.second_with_map.as_they_are
        if max(first, second) > LEAST_AGREEMENT > min(first, second):
            off = f" (half {2 if second < first else 1} is the one that is off the map)"
    texts = {
        "distinct_noise": "the two half maps are the same map",
        "noise_correlation": f"the halves share noise (correlation {quantity.text()})",
        "half_in_map": f"half {1 if value > 0 else 2} is the map, or the map was made from it alone",
        "half_agreement": f"the half maps show different things (correlation {quantity.text()}){off}",
        "half_mirrored": f"one half is {describe_orientation(e.halves.orientation)}{off}",
        "half_turned": f"one half is {describe_orientation(e.halves.orientation)}{off}",
        "half_shift": f"the second half is shifted by {quantity.note}",
        "half_scale": "the contrast of one half is inverted"
        if value < 0
        else f"the second half's greys are {format_number(value)} times those of the first",
        "filter_ratio": f"the halves were filtered differently, by a B-factor of {m.filter_b_factor.text()} if by one",
        "noise_removed": "noise around the particle was removed, by a mask or by a program"
        + (f" ({_reach(e)})" if _reach(e) else ""),
        "solvent_ratio": f"only one half has its full noise around the particle (ratio {quantity.text()})",
        "noise_flatness": "the halves were denoised",
        "noise_end": f"noise ends {quantity.note}",
        "noise_rise": f"the halves were sharpened, by {quantity.text()} or more",
        "map_agreement": "the map does not show what the half maps show",
        "map_mirrored": f"against the map, the halves are {m.map_mirrored.note}",
        "map_turned": f"against the map, the halves are {m.map_turned.note}",
        "map_shift": f"the map is shifted against its halves by {quantity.text()} of the resolution",
        "map_noise": f"the map was not made from these halves (it has {quantity.text()} of their noise)",
    }
    return texts[key]


# --------------------------------------------------------------------------- figures


def _spectrum_figure(m: HalfMapForensicsMeasurement) -> CurveFigure:
    e = m.evidence
    assert e.spectrum is not None
    use = (e.spectrum.frequency > 0) & (e.spectrum.radial > 0)
    x, y = e.spectrum.frequency[use], e.spectrum.radial[use]
    level = float(np.median(y[y > 1e-4 * y.max()]))
    markers = list(reported_marker(m.reported_resolution))
    for end, what in ((e.end, "low-pass"), (e.grid_end, "end of the grid")):
        if end is not None:
            markers.append(
                Marker(axis="x", value=end.frequency, label=f"{what} {1 / end.frequency:.3g} Å", role="note")
            )
    ends = [end.frequency for end in (e.end, e.grid_end) if end is not None]
    last = min([*ends, float(x[-1])])
    series = [
        Series(label="noise (difference of the halves)", x=tuple(x), y=tuple(np.maximum(y / level, FAINTEST_DRAWN)))
    ]
    fitted = (x >= 0.4 * last) & (x <= 0.95 * last)
    if e.rise is not None and fitted.any():
        shown = x <= last
        steep = x * np.exp(0.5 * LARGEST_RISE * x**2)
        scale = float(np.exp(np.mean(np.log(y[fitted] / level / steep[fitted]))))
        series.append(
            Series(
                label="steepest that is not called sharpened",
                x=tuple(x[shown]),
                y=tuple(scale * steep[shown]),
                style="dashed",
                role="expected",
            )
        )
    return CurveFigure(
        key="noise_spectrum",
        title="Power of the noise by frequency",
        caption="The difference of the two half maps holds no signal, only noise. In half maps as a reconstruction "
        "writes them it reaches to the right edge (Nyquist) and rises no faster than the dashed curve. A cliff is a "
        "low-pass, or the edge of a coarser grid; a steep rise is sharpening. It is drawn down to a ten-thousandth "
        "of its median.",
        alt_text=f"Noise power against frequency. {m.noise_end.label}: {m.noise_end.text()}.",
        series=tuple(series),
        x_label="Frequency (1/Å)",
        y_label="Power over its median",
        x_scale="inverse",
        y_scale="log",
        markers=tuple(markers),
    )


def _solvent_figure(m: HalfMapForensicsMeasurement) -> CurveFigure:
    e = m.evidence
    assert e.solvent_frequency is not None and e.solvent_fsc is not None and e.solvent_error is not None
    use = e.solvent_frequency > 1 / 20.0
    x, y, error = e.solvent_frequency[use], e.solvent_fsc[use], e.solvent_error[use]
    return CurveFigure(
        key="solvent_fsc",
        title="Correlation of the halves around the particle",
        caption="Where there is no particle the halves hold noise only, and independent noise does not correlate: the "
        "curve should stay in the grey band, which holds 95 % of the shells of independent halves. In coarse detail, "
        "to "
        "the left, solvent and the particle's surroundings may correlate. A curve that stays above the band to the "
        "right "
        "edge means that the halves share noise.",
        alt_text=f"FSC of the halves in solvent. {m.noise_correlation.label}: {m.noise_correlation.text()}.",
        series=(
            Series(label="FSC around the particle", x=tuple(x), y=tuple(np.nan_to_num(y))),
            Series(
                label="independent noise",
                x=tuple(x),
                y=tuple(np.zeros(len(x))),
                low=tuple(-1.96 * error),
                high=tuple(1.96 * error),
                role="expected",
                style="dashed",
            ),
        ),
        x_label="Frequency (1/Å)",
        y_label="FSC",
        x_scale="inverse",
        markers=(
            Marker(axis="y", value=LARGEST_CORRELATION, label="limit 0.05", role="limit"),
            *reported_marker(m.reported_resolution),
        ),
    )


def _profile_figure(m: HalfMapForensicsMeasurement) -> CurveFigure:
    e = m.evidence
    assert e.profile is not None
    p = e.profile
    level = p.level
    counts = p.counts.sum(axis=0)
    use = counts >= 100

    def line(sums: np.ndarray, scale: float) -> tuple[float, ...]:
        return tuple(float(v) for v in sums.sum(axis=0)[use] / counts[use] / scale)

    x = tuple(float(d) for d in p.distance[use])
    outside = tuple(float(d) for d in p.distance[use & (p.distance > 4)])
    far = use & (p.distance > 4)
    series = [Series(label="noise (difference of the halves)", x=x, y=line(p.difference, level))]
    for label, sums in (("first half", p.first), ("second half", p.second)):
        y = sums.sum(axis=0)[far] / np.maximum(counts[far], 1) / (0.5 * level)
        series.append(
            Series(label=f"{label}, outside", x=outside, y=tuple(float(v) for v in y), style="dashed", role="other")
        )
    return CurveFigure(
        key="noise_by_distance",
        title="Noise by distance from the particle",
        caption="Variance of the whitened noise against distance from the particle's surface (negative: inside), "
        "relative "
        "to inside. Half maps as a reconstruction writes them have about the same noise everywhere (1), or lose it far "
        "out where a sphere ends. Noise that falls to nothing within a few Å of the particle was masked away. The "
        "dashed "
        "curves are the two halves outside the particle; where they part, only one of them was changed.",
        alt_text=f"Noise variance against distance from the particle. {m.noise_removed.label}: "
        f"{m.noise_removed.text()}.",
        series=tuple(series),
        x_label="Distance from the particle (Å)",
        y_label="Noise variance over that inside",
        markers=(
            Marker(axis="x", value=0.0, label="surface of the mask"),
            Marker(axis="y", value=0.25, label="below: missing", role="limit"),
        ),
    )


def _difference_figure(m: HalfMapForensicsMeasurement) -> ImageFigure:
    difference = m.evidence.difference
    assert difference is not None
    arrays: dict[str, np.ndarray] = {}
    panels = []
    spread = float(np.percentile(np.abs(np.concatenate([image.ravel() for image in difference])), 99.0)) or 1.0
    for axis, name in enumerate(("z", "y", "x")):
        arrays[f"noise_{name}"] = difference[axis]
        outline = np.take(m.mask_outline, m.mask_outline.shape[axis] // 2, axis)
        arrays[f"outline_{name}"] = np.ascontiguousarray(outline)
        panels.append(
            Panel(
                label=f"slice across {name}",
                image=f"noise_{name}",
                outline=f"outline_{name}",
                limits=(-spread, spread),
            )
        )
    return ImageFigure(
        key="difference",
        title="The difference of the half maps",
        caption="Central slices of the whitened difference, with the particle's outline. It should look like one even "
        "field of grain: no trace of the particle, no empty space in its shape. A round border about the box centre is "
        "the sphere in which programs write half maps.",
        alt_text="Three central slices of the difference of the half maps.",
        arrays=arrays,
        panels=tuple(panels),
        pixel_size=m.density_map.pixel_size,
        value_label="whitened difference",
    )
