"""0.g: how much of each part of the particle is there, compared with most of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, label

from veritem.checks.base import Check, Criterion, MapOutput
from veritem.checks.local_figures import coloured_slices, coloured_surface, local_histogram
from veritem.derived.bands import STRENGTH_FROM, STRENGTH_TO, WEAK_LEAST, BandBank
from veritem.derived.masks import ContourLevel
from veritem.derived.noise import NoiseRegion
from veritem.errors import Inconclusive, NotApplicable
from veritem.numerics.density_map import DensityMap
from veritem.numerics.fourier import gaussian_filter
from veritem.numerics.guinier import ReferenceSpectrum
from veritem.numerics.local import (
    STRUCTURE,
    LocalLines,
    band_model,
    block_inflation,
    block_labels,
    bootstrap_mean,
    bootstrap_quantile,
    density_mode,
    segment,
)
from veritem.numerics.masks import ComponentRuns
from veritem.results import Column, DerivedMap, Figure, Quantity, Reference, Table

COARSEST_REPORTED = 8.0  # Å
DEPTH = 6.0  # Å inside the mask, for the plateau
LEAST_PLATEAU = 3.0  # plateau over noise, in power: half an occupancy is then 0.75 of the noise
BLOCK = 15.0  # Å
# Basins are those of the map smoothed by this (Å), and hold at least this much (Å³, 16 kDa).
SMOOTHING, SMALLEST = 6.0, 20_000.0
LEAST_VOLUME = 30_000.0  # Å³ of the whole particle: a few windows
# Standard deviation of ln amplitude between segments of maps in which everything is there
# (benchmarks/calibrate_b_factor.py): folds differ in how strong they are between 13 and 6.5 Å.
SEGMENT_SCATTER = 0.09
LOW = 0.5
# Share of the volume above the contour level, dust left out, that the mask's one component must hold.
LEAST_WHOLE = 0.8
# Weak parts outside the mask: where the amplitude is this or more (a part at occupancy 0.25 shows 0.18, since its
# windows are half empty), and farther from the mask than half a window.
GHOST, GHOST_AWAY = 0.18, 6.0  # -, Å


@dataclass(frozen=True)
class Segment:
    """volume: Å³. share: of the particle. centre: x, y, z in Å. occupancy with its 95 % interval.

    inside: of the mask; False for a weak part that the contour level hides.
    """

    volume: float
    share: float
    centre: tuple[float, float, float]
    occupancy: float
    low: float
    high: float
    inside: bool = True


@dataclass(frozen=True, eq=False)
class LocalOccupancyMeasurement:
    """Numbers first; what the figures and maps need after."""

    low_volume: Quantity
    median_occupancy: Quantity
    lowest_segment: Quantity
    weak_outside: Quantity
    segments: Quantity
    plateau_over_noise: Quantity
    undecided: str
    caveats: tuple[str, ...]
    parts: tuple[Segment, ...] = field(repr=False)
    occupancy: NDArray[np.float32] = field(repr=False)
    inside_values: NDArray[np.float32] = field(repr=False)
    index: NDArray[np.int64] = field(repr=False)
    labels: NDArray[np.int32] = field(repr=False)
    bank: BandBank = field(repr=False)
    contour_level: float = field(repr=False)


class LocalOccupancy(Check):
    """Is every part of the particle there in all the images, or some only in a fraction of them?

    A subunit that is bound in 40 % of the particles comes out of the reconstruction with 0.4 of its density. The check
    measures how strong the map is around each place in frequencies between 13 and 6.5 Å, where proteins of all folds
    are alike and blur matters little: the power of these bands in a window of 6 Å, less that of the noise, each
    band divided by the spectrum of protein. What blur remains is corrected by the local B-factor where that could be
    measured. Near the surface the window holds solvent too; the power is divided by how much of the window the mask
    fills.

    The square root of that power over its plateau is the occupancy. The plateau is the most common value deep inside
    the particle, so that "1" means "as most of the particle", and the answer is relative: a particle whose every part
    is there in half of the images shows 1 everywhere.

    The map is split into segments of at least 16 kDa along its valleys of density. Each has a mean occupancy and a
    95 % interval, from resampling cubes of 15 Å, from how much folds differ in strength (9 %, measured on maps in
    which everything is there), and from how well the noise is known. A segment counts as low when its whole interval
    lies below 0.5.

    Large bodies of density near the particle that the contour level hides, but that are a quarter as strong or
    more, are listed too (their occupancy comes out up to a quarter low, since windows reach past their unsharp
    borders): a subunit that is there in a third of the particles is easily cut away by the contour. They make the
    answer inconclusive and not a warning, since one map cannot tell them from detergent, or from noise that is
    stronger near the particle than far away.

    Where the plateau does not stand out from the noise threefold, nothing is said: a map of noise has no occupancy.

    Misleads when the particle holds nucleic acid or metal, which show more than 1, or lipid, detergent and glycans,
    which show less without being absent. A part that moves more than its local B tells, or that the masked
    refinement left out of focus, looks like a part that is missing; which of the two it is, classification must
    say. Parts that are there in few of the particles, and that the contour level hides, are easily missed: of
    simulated subunits of 45 kDa outside the mask, those at 0.4 were found in half of the maps at 3.2 and 4 Å, those
    at 0.2 in one of eight.
    """

    code = "0.g"
    title = "Local occupancy"
    level = "0"
    needs: ClassVar[tuple[str, ...]] = ("density_map", "reported_resolution")
    criteria = (
        Criterion(
            quantity="low_volume",
            text="At most 10 % of the particle lies in segments with less than half of the usual strength",
            at_most=10.0,
            because="Of 69 simulated maps in which everything is there, none has any segment surely below 0.5 "
            "(95 % interval of that share: 0 to 5 %; benchmarks/results/b_factor.json)",
            warning="{value} of the particle (limit {limit}) lies in segments whose density is less than half of what "
            "most of the particle has, beyond doubt.",
            causes=(
                "A subunit or ligand that is bound in a part of the particles only",
                "A flexible domain that averages out",
                "Lipid, detergent or solvent inside the contour",
            ),
            advice="Classify in 3-D with a mask around the weak part, and say in the deposition what fraction holds "
            "it.",
        ),
    )
    references = (
        Reference(
            text="Kaur S, Gomez-Blanco J, Khalifa AAZ, et al. Local computational methods to improve the "
            "interpretability and analysis of cryo-EM maps. Nature Communications 12 (2021) 1240.",
            doi="10.1038/s41467-021-21509-5",
        ),
    )

    def measure(  # type: ignore[override]
        self,
        density_map: DensityMap,
        band_bank: BandBank,
        local_lines: LocalLines | None,
        reference_spectrum: ReferenceSpectrum,
        noise_region: NoiseRegion,
        contour_level: ContourLevel,
        components: ComponentRuns,
        reported_resolution: float,
        seed: int,
        threads: int,
    ) -> LocalOccupancyMeasurement:
        """Relative strength of every segment. Raises NotApplicable and Inconclusive with the reason in words."""
        if reported_resolution > COARSEST_REPORTED:
            raise NotApplicable(
                f"The reported resolution is {reported_resolution:.3g} Å; strength is compared between 13 and 6.5 Å, "
                f"which needs {COARSEST_REPORTED:g} Å or better."
            )
        bank = band_bank
        voxel = bank.density.voxel_volume
        volume = bank.index.size * voxel
        if volume < LEAST_VOLUME:
            raise NotApplicable(
                f"The particle fills {volume:.0f} Å³; parts of it can be compared from {LEAST_VOLUME:.0f} Å³ on."
            )
        chosen = (bank.centres > STRENGTH_FROM) & (bank.centres < STRENGTH_TO)
        if not chosen.any():
            raise NotApplicable("The pixel size leaves no band between 13 and 6.5 Å.")
        rng = np.random.default_rng([seed, 0x10])
        relative, noise_level = _relative_power(bank, chosen, local_lines, reference_spectrum, threads)
        deep = bank.depth > min(DEPTH, 0.6 * float(bank.depth.max()))
        plateau, over_noise = _plateau(relative[deep], noise_level)
        if noise_region.available and over_noise < LEAST_PLATEAU:
            raise Inconclusive(
                f"Between 13 and 6.5 Å the particle is only {max(over_noise, 0.0):.2g} times as strong as the noise "
                f"(in power; {LEAST_PLATEAU:g} is needed): an occupancy cannot be told from noise. Either the map is "
                "mostly noise, or parts of the particle lie outside the mask and were taken for noise (is the contour "
                "level too high?)."
            )
        ratio = relative / plateau
        inside = np.zeros(bank.density.data.size, bool)
        inside[bank.index] = True
        inside = inside.reshape(bank.density.shape)
        noise_part = bank.noise_error * noise_level / plateau
        weak, excess = _weak_parts(bank, deep, inside, threads)
        smooth = gaussian_filter(bank.density.data, SMOOTHING / bank.density.pixel_size, threads)
        everywhere = excess.copy()
        everywhere[inside] = ratio
        labels, count = segment(smooth, inside | weak, int(SMALLEST / voxel), np.maximum(everywhere, 1e-3))
        weak = _trimmed(labels, count, inside, excess, int(WEAK_LEAST / voxel))
        filling = gaussian_filter(weak.astype(np.float32), bank.window / bank.density.pixel_size, threads)
        labels[~(inside | weak)] = -1
        found = np.flatnonzero(weak)
        index = np.concatenate([bank.index, found])
        all_ratio = np.concatenate([ratio, excess.ravel()[found] / np.maximum(filling.ravel()[found], 0.2)])
        in_mask = np.arange(index.size) < bank.index.size
        parts = _measure_segments(bank, index, labels.ravel()[index], count, all_ratio, in_mask, noise_part, rng)
        occupancy = np.sqrt(np.maximum(ratio, 0.0)).astype(np.float32)
        volume_of = np.full(bank.density.data.size, np.nan, np.float32)
        volume_of[index] = np.sqrt(np.maximum(all_ratio, 0.0))
        low_share = 100.0 * sum(p.share for p in parts if p.inside and p.high < LOW)
        possible = 100.0 * sum(p.share for p in parts if p.inside and p.low < LOW)
        hidden = 100.0 * sum(p.share for p in parts if not p.inside and p.high < LOW)
        weakest = min((p for p in parts if p.inside), key=lambda p: p.occupancy)
        blocks = block_labels(bank.positions(), BLOCK)
        medians = bootstrap_quantile(occupancy.astype(float), blocks, 0.5, rng, block_inflation(BLOCK, bank.reach))
        low, high = (float(v) for v in np.percentile(medians, [2.5, 97.5]))
        caveats, undecided = [], ""
        # Dust does not count: a piece that does could be a small domain.
        bodies = components.sizes[components.sizes * density_map.voxel_volume > 0.25 * SMALLEST]
        whole = float(components.sizes[0] / max(bodies.sum(), components.sizes[0]))
        if not noise_region.available:
            caveats.append(
                f"The noise could not be measured ({noise_region.reason.rstrip('.')}), so none was taken off: weak "
                "parts are weaker still than shown."
            )
            undecided = "The noise could not be measured, and noise may stand in for density in weak parts"
        elif whole < LEAST_WHOLE:
            undecided = (
                f"The mask holds {100 * whole:.0f} % of what lies above the contour level: the particle is in pieces "
                "there, and what the mask leaves out was taken for noise or weighed as weak. Give a lower contour level"
            )
        elif hidden > 10.0 >= low_share:
            undecided = (
                f"Outside the mask lies weak density, {hidden:.0f} % of the whole. It may be a part that is there in "
                "few particles, detergent, or noise that is stronger near the particle; a lower contour level shows it"
            )
        elif possible > 10.0 >= low_share:
            undecided = (
                f"{possible:.0f} % of the particle lies in segments that may have less than half of the usual "
                "strength; their intervals reach from below 0.5 to above"
            )
        if local_lines is None:
            caveats.append("A local B-factor could not be measured at this resolution: blur counts as low occupancy.")
        return LocalOccupancyMeasurement(
            low_volume=Quantity(
                label="Part of the particle in segments surely below 0.5",
                value=float(low_share),
                unit="%",
                interval=(float(low_share), float(max(possible, low_share))),
                note="the interval's upper end counts the segments that may be below 0.5",
            ),
            median_occupancy=Quantity(
                label="Median local occupancy",
                value=float(np.median(occupancy)),
                interval=(low, high),
                confidence=0.95,
                note="1 is what most of the particle has, by definition",
            ),
            lowest_segment=Quantity(
                label="Occupancy of the weakest segment",
                value=weakest.occupancy,
                interval=(weakest.low, weakest.high),
                confidence=0.95,
                note=f"{100 * weakest.share:.2g} % of the particle",
            ),
            weak_outside=Quantity(
                label="Weak density outside the mask",
                value=float(hidden),
                unit="%",
                note="of the particle and it; surely below 0.5",
            ),
            segments=Quantity(label="Segments", value=len(parts)),
            plateau_over_noise=Quantity(
                label="Plateau over noise (power, 13 to 6.5 Å)",
                value=float(over_noise) if noise_region.available else None,
            ),
            undecided=undecided,
            caveats=tuple(caveats),
            parts=parts,
            occupancy=volume_of.reshape(bank.density.shape),
            inside_values=occupancy,
            index=index,
            labels=labels,
            bank=bank,
            contour_level=contour_level.value,
        )

    def summary(self, measurement: LocalOccupancyMeasurement) -> str:
        m = measurement
        low = [p for p in m.parts if p.inside and p.high < LOW]
        inside = sum(p.inside for p in m.parts)
        if low:
            first = (
                f"{len(low)} of {inside} segments, {m.low_volume.value:.0f} % of the particle, have less than "
                "half of the usual strength beyond doubt"
            )
        else:
            first = f"None of the {inside} segments has less than half of the usual strength beyond doubt"
        text = f"{first}; the weakest has {m.lowest_segment.text()}."
        weak = float(m.weak_outside.value or 0.0)
        if weak > 0:
            text += f" Outside the mask there is weak density, {weak:.0f} % of the whole."
        return text

    def tables(self, measurement: LocalOccupancyMeasurement) -> list[Table]:
        return [
            Table(
                key="segments",
                title="Segments, the weakest first",
                columns=(
                    Column(label="Volume", unit="Å³"),
                    Column(label="Part of the particle", unit="%"),
                    Column(label="Occupancy"),
                    Column(label="Low end (95 %)"),
                    Column(label="High end (95 %)"),
                    Column(label="In the mask"),
                    Column(label="Centre x", unit="Å"),
                    Column(label="Centre y", unit="Å"),
                    Column(label="Centre z", unit="Å"),
                ),
                rows=tuple(
                    (
                        round(p.volume, -2),
                        round(100 * p.share, 1),
                        round(p.occupancy, 2),
                        round(p.low, 2),
                        round(p.high, 2),
                        p.inside,
                        *(round(c, 1) for c in p.centre),
                    )
                    for p in sorted(measurement.parts, key=lambda p: p.occupancy)[:20]
                ),
                caption="At most 20 are listed. Centres are in the frame of the map.",
            )
        ]

    def figures(self, measurement: LocalOccupancyMeasurement) -> list[Figure]:
        m = measurement
        volume = m.occupancy
        return [
            local_histogram(
                "histogram",
                "Local occupancies",
                m.inside_values.astype(float),
                m.median_occupancy,
                "Local occupancy (1: as most of the particle)",
                limits=(LOW, None),
                caption="How often each local occupancy occurs among the voxels of the mask. One peak around 1 is a "
                "particle that is all there; a second peak further down is a part that is missing in some images. "
                "Values scatter by 10 to 15 % because folds differ.",
            ),
            coloured_slices(
                "slices",
                "Local occupancy in central slices",
                m.bank.density,
                volume,
                m.index,
                "Local occupancy",
                (0.0, 1.5),
                "RdYlBu",
                "The three slices through the centre of the particle, coloured by local occupancy over the map: red "
                "below, blue above what most of the particle has.",
            ),
            coloured_surface(
                "surface",
                "The map coloured by local occupancy",
                m.bank.density,
                m.contour_level - m.bank.background,
                volume,
                "Local occupancy",
                (0.0, 1.5),
                "RdYlBu",
                "The surface of the map at the contour level. Red parts have less density than most of the particle.",
            ),
        ]

    def maps(self, measurement: LocalOccupancyMeasurement) -> list[MapOutput]:
        m = measurement
        grid = m.bank.density
        return [
            MapOutput(
                description=DerivedMap(
                    key="local_occupancy",
                    label="Local occupancy",
                    file="",
                    description="Strength around each voxel of the particle, 1 as most of it; 0 outside.",
                    colours_map=True,
                    colour_limits=(0.0, 1.5),
                    palette="RdYlBu",
                ),
                data=m.occupancy,
                pixel_size=grid.pixel_size,
                origin=grid.origin,
            ),
            MapOutput(
                description=DerivedMap(
                    key="segments",
                    label="Segments",
                    file="",
                    description="The number of the segment that each voxel belongs to, from 1; 0 outside.",
                ),
                data=(m.labels + 1).astype(np.float32),
                pixel_size=grid.pixel_size,
                origin=grid.origin,
            ),
        ]


def _relative_power(
    bank: BandBank, chosen: NDArray[np.bool_], lines: LocalLines | None, reference: ReferenceSpectrum, threads: int
) -> tuple[NDArray[np.float64], float]:
    """Power in the chosen bands at every voxel, less noise, relative to protein, for a full window; and the noise's."""
    bands = tuple(b for b, c in zip(bank.bands, chosen, strict=True) if c)
    shift = np.zeros(bank.index.size)
    typical = 0.0
    if lines is not None and lines.determinable.any():
        known = lines.determinable
        typical = float(np.median(lines.b_factor[known]))
        deviation = np.where(known, lines.b_factor - typical, 0.0)
        error = np.where(known, lines.standard_error, 1.0)
        spread = (1.4826 * float(np.median(np.abs(deviation[known])))) ** 2 - float(np.median(error[known])) ** 2
        # Shrunk: where B is no better known than B varies, taking it at its word would add noise.
        shift = deviation * max(spread, 0.0) / (max(spread, 0.0) + error**2)
    level, x = band_model(bands, reference, typical)
    weights = 1.0 / (STRUCTURE**2 + 0.5 / bank.freedom[chosen])
    weights /= weights.sum()
    total = np.zeros(bank.index.size)
    noise_level = 0.0
    for power, noise, w, base, square in zip(bank.powers[chosen], bank.noise[chosen], weights, level, x, strict=True):
        total += w * (power - noise) * np.exp(-2.0 * base - 0.5 * square * shift)
        noise_level += w * noise * float(np.exp(-2.0 * base))
    inside = np.zeros(bank.density.data.size, np.float32)
    inside[bank.index] = 1.0
    filling = gaussian_filter(inside.reshape(bank.density.shape), bank.window / bank.density.pixel_size, threads)
    return total / np.maximum(filling.ravel()[bank.index], 0.1), noise_level


def _plateau(relative: NDArray[np.float64], noise_level: float) -> tuple[float, float]:
    """The most common power among deep voxels, and how many times the noise that is."""
    positive = relative[relative > 0]
    if positive.size == 0 or positive.size < 0.5 * relative.size:
        return 1.0, 0.0
    mode = float(np.exp(density_mode(np.log(positive), 0.15)))
    return mode, mode / noise_level if noise_level > 0 else float("inf")


def _weak_parts(
    bank: BandBank, deep: NDArray[np.bool_], inside: NDArray[np.bool_], threads: int
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Large bodies of density outside the mask that are a quarter as strong as the particle or more.

    Returns where they are, and at every voxel the strength over the plateau, what the particle casts taken off. No
    local B-factor is taken into account.
    """
    at_particle = bank.strength.ravel()[bank.index]
    plateau, _ = _plateau(at_particle[deep].astype(float), bank.strength_noise)
    error = bank.noise_error * bank.strength_noise
    pixel_size = bank.density.pixel_size
    # What the particle itself casts outside its mask: the window, and the bands' own reach of about the same size.
    cast = gaussian_filter(inside.astype(np.float32), np.sqrt(2.0) * bank.window / pixel_size, threads)
    excess = bank.strength / np.float32(plateau) - cast
    strong = (excess > np.maximum(max(GHOST**2, 3.0 * error / plateau), 0.5 * cast)) & ~inside
    strong &= distance_transform_edt(~inside, sampling=pixel_size) > GHOST_AWAY
    bodies, count = label(strong, np.ones((3, 3, 3)))
    large = np.bincount(bodies.ravel(), minlength=count + 1) * bank.density.voxel_volume >= WEAK_LEAST
    large[0] = False
    return large[bodies], excess


def _trimmed(
    labels: NDArray[np.int32], count: int, inside: NDArray[np.bool_], excess: NDArray[np.float32], smallest: int
) -> NDArray[np.bool_]:
    """The weak parts without the halo that the windows give them: where they have 0.7 of their own amplitude."""
    kept = np.zeros(labels.size, bool)
    flat, values = labels.ravel(), excess.ravel()
    outside = np.flatnonzero((flat >= 0) & ~inside.ravel())
    order = outside[np.argsort(flat[outside], kind="stable")]
    bounds = np.searchsorted(flat[order], np.arange(count + 1))
    for k in range(count):
        members = order[bounds[k] : bounds[k + 1]]
        if members.size:
            body = members[values[members] > 0.5 * np.percentile(values[members], 95)]
            if body.size >= smallest:
                kept[body] = True
    return kept.reshape(labels.shape)


def _measure_segments(
    bank: BandBank,
    index: NDArray[np.int64],
    labels: NDArray[np.int32],
    count: int,
    ratio: NDArray[np.float64],
    in_mask: NDArray[np.bool_],
    noise_error: float,
    rng: np.random.Generator,
) -> tuple[Segment, ...]:
    positions = bank.positions(index)
    inflation = block_inflation(BLOCK, bank.reach)
    order = np.argsort(labels, kind="stable")
    bounds = np.searchsorted(labels[order], np.arange(count + 1))
    parts = []
    for k in range(count):
        members = order[bounds[k] : bounds[k + 1]]
        if members.size * bank.density.voxel_volume < 0.25 * SMALLEST:
            continue
        values = ratio[members]
        draws = bootstrap_mean(values, block_labels(positions[members], BLOCK), rng, inflation)
        draws = draws * np.exp(2.0 * SEGMENT_SCATTER * rng.standard_normal(draws.size))
        draws = draws + noise_error * rng.standard_normal(draws.size)
        low, high = np.sqrt(np.maximum(np.percentile(draws, [2.5, 97.5]), 0.0))
        z, y, x = positions[members].mean(axis=0)
        ox, oy, oz = bank.density.origin
        parts.append(
            Segment(
                volume=members.size * bank.density.voxel_volume,
                share=members.size / labels.size,
                centre=(float(x + ox), float(y + oy), float(z + oz)),
                occupancy=float(np.sqrt(max(values.mean(), 0.0))),
                low=float(low),
                high=float(high),
                inside=bool(in_mask[members].mean() > 0.5),
            )
        )
    return tuple(parts)
