"""0.b: the mask at the contour level."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veritem.checks.base import Check, Criterion, MapOutput
from veritem.checks.level_0.centring import correlation_volume
from veritem.checks.level_0.images import binned, binned_mask, binning
from veritem.derived.contour import map_background
from veritem.derived.masks import LEAST_PARTICLE, ContourLevel
from veritem.derived.noise import NoiseRegion
from veritem.numerics.density_map import DensityMap
from veritem.numerics.masks import (
    ComponentRuns,
    components_for_share,
    counts_above,
    label_components,
    slice_variances,
)
from veritem.numerics.molecule import MOLECULAR_VOLUME
from veritem.results import (
    Column,
    CurveFigure,
    DerivedMap,
    Figure,
    ImageFigure,
    Marker,
    Panel,
    Quantity,
    Reference,
    Series,
    Table,
    format_number,
)

AXES = ("z", "y", "x")
RESIDUE_MASS = 110.0  # Da
RESIDUE_VOLUME = RESIDUE_MASS * MOLECULAR_VOLUME  # 133 Å³
LEAST_OVERLAP = 75.0  # % of the voxels above the level in the hard mask, for later checks to see the particle
MOST_BODIES = 5
# Levels at which the pieces are counted again, relative to the contour level.
FACTORS = (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3)
LEVELS_IN_TABLE = 25
LISTED_COMPONENTS = 20
DRAWN_COMPONENTS = 100
CURVE_POINTS = 240
# Standard errors of the median and of 1.4826 MAD of n independent normal values: 1.253 and 1.166 sigma / sqrt(n).
MEDIAN_ERROR, MAD_ERROR = 1.253, 1.166


@dataclass(frozen=True)
class LevelRow:
    """The pieces at one level: `factor` times the contour level, counted from the background."""

    factor: float
    level: float
    volume: float
    largest_share: float
    bodies_95: int

    @property
    def bodies(self) -> int:
        return _bodies(self.largest_share, self.bodies_95)


@dataclass(frozen=True, eq=False)
class MaskMeasurement:
    """The pieces, the volume and the plausibility of what lies above the contour level."""

    contour_level: Quantity
    bodies: Quantity
    dust_share: Quantity
    level_over_noise: Quantity
    volume_ratio: Quantity
    overlap: Quantity
    component_count: Quantity
    bodies_95: Quantity
    largest_share: Quantity
    volume: Quantity
    mass: Quantity
    residues: Quantity
    largest_volume: Quantity
    hard_mask_volume: Quantity
    dust_count: Quantity
    dust_mean: Quantity
    dust_largest: Quantity
    measured_level_over_noise: Quantity | None
    noise_voxels: Quantity
    noise_share: Quantity
    stable_from: Quantity
    stable_to: Quantity
    level_rows: tuple[LevelRow, ...]
    mass_rows: tuple[tuple[float | int, ...], ...]
    component_rows: tuple[tuple[float | int, ...], ...]
    component_volumes: NDArray[np.float64]
    curve_levels: NDArray[np.float64]
    curve_volumes: NDArray[np.float64]
    noise_level: float | None
    expected_volume: float | None
    slices: dict[str, NDArray]
    slice_indices: tuple[int, int, int]
    binning: int
    density_map: DensityMap
    hard_mask: NDArray[np.bool_]
    soft_mask: NDArray[np.float32]
    particle_found: bool
    caveats: tuple[str, ...]
    undecided: str = ""


class Mask(Check):
    """Does the contour level show one particle, free of dust and noise?

    Voxels at or above the contour level that share a face, an edge or a corner form one component. The components are
    sorted by size: n95 is how many of the largest hold 95 % of all voxels. A particle in one piece has a
    largest component with at least half of the voxels; otherwise n95 should be at most five. Dust is what lies outside
    the hard mask in components smaller than one residue (133 Å³).

    The level is compared with the noise found away from the particle: how many standard deviations of the noise it
    lies above the background, with an interval that takes neighbouring voxels as the few independent values they are.
    Where the level is so low that its mask leaves no noise, the noise is sought away from where a smoothed copy of
    the map shows a particle.
    The share of that noise which does pass the level says how many voxels of noise the whole box contributes. When the
    molecular weight is known, the enclosed volume is compared with 1.21 Å³ per Da.

    A largest component with room for less than 5 kDa of protein (6 050 Å³) is no particle but a fragment of one.

    How firm the answer is shows when the level is moved: the pieces are counted again from 0.7 to 1.3 times the
    level, counted from the background. The table of levels gives the volume, mass and number of residues that each
    would enclose. Mass and residues are those of protein that fills the volume.

    The hard mask is the largest component grown by 2 Å; the soft mask adds an edge of half a cosine, 6 Å or three
    voxels wide. Both are written beside the report. A level that was not given was estimated, and is then not held
    against the map: its height over the noise and the volume it encloses are shown and not judged.

    Misleads when the particle does consist of separate bodies (a filament's neighbours, a flexible domain behind a
    weak linker), or when nucleic acid, detergent or glycans make the volume differ from protein's. The volume at
    high resolution follows the level closely; levels that keep the noise out of simulated sound maps of 3 Å enclose 0.3
    to 1 of the molecule's volume, which is why less than half of it is not held against a level. In a map with a
    tight mask all noise is gone, and the level cannot be compared with it.
    """

    code = "0.b"
    title = "Mask and contour level"
    level = "0"
    criteria = (
        Criterion(
            quantity="bodies",
            text="One component holds half of the voxels, or at most five hold 95 %",
            at_most=float(MOST_BODIES),
            because="A particle is one body, or a few. Many equal pieces mean that the level breaks the particle up or "
            "lets noise in.",
            warning="No component holds half of the voxels above the contour level, and {value} are needed for 95 %.",
            causes=(
                "the contour level is too high and breaks the particle into pieces",
                "the contour level is so low that noise comes up as dust",
                "the map holds little more than noise",
            ),
            advice="Look at the table of levels below and choose one at which the particle is in one piece.",
        ),
        Criterion(
            quantity="largest_volume",
            text="The largest component has room for at least 5 kDa of protein",
            at_least=LEAST_PARTICLE,
            because="No particle that small has been solved, and levels enclose half of the molecule or more: less "
            "is a fragment.",
            warning="The largest component above the contour level holds only {value}, room for less than 5 kDa of "
            "protein (limit {limit}).",
            causes=(
                "the contour level is near the maximum of the map",
                "the contour level belongs to another map, or to another scale of the grey values",
                "the pixel size is wrong: its cube enters the volume",
            ),
            advice="Choose a level from the table of levels below; check the pixel size.",
        ),
        Criterion(
            quantity="dust_share",
            text="At most 10 % of the voxels are dust",
            at_most=10.0,
            because="Nothing smaller than a residue is a molecule, or a part of one that stands alone.",
            warning="{value} of the voxels above the contour level are dust, in components smaller than one residue.",
            causes=("the contour level is in the noise", "the map is sharpened beyond its signal"),
            advice="Raise the contour level, or filter the map to its resolution.",
        ),
        Criterion(
            quantity="level_over_noise",
            text="The contour level is at least three standard deviations of the noise above the background",
            at_least=3.0,
            because="Of noise alone, one voxel in 740 passes three standard deviations, but one in 44 passes two: with "
            "most of the box empty, there would then be as much noise as particle above the level.",
            warning="The contour level is only {value} above the background: what is seen at it contains noise.",
            causes=(
                "the contour level was chosen too low",
                "the map is not filtered to its resolution, so that its noise is strong",
                "the level belongs to another version of the map (masked, sharpened)",
            ),
            advice="Raise the contour level above three standard deviations, or filter the map to its resolution.",
            rule="interval",
        ),
        Criterion(
            quantity="volume_ratio",
            text="The enclosed volume is between a quarter of the molecule's and twice of it",
            at_least=0.25,
            at_most=2.0,
            because="Protein takes 1.21 Å³ per Da. A level that keeps the noise out of a sound map of 3 Å encloses "
            "little more than the backbone, 0.3 to 1 of it; below a quarter, parts are missing.",
            warning="The contour level encloses {value} times the volume of the given molecular weight.",
            causes=(
                "the contour level is too low (ratio above 2) or too high (below 0.25)",
                "the pixel size is wrong: its cube enters the volume",
                "the molecular weight is not that of what is in the map",
            ),
            advice="Check the pixel size and the molecular weight; then choose the level from the table of levels.",
        ),
        Criterion(
            quantity="overlap",
            text="At least 75 % of the voxels above the level are in the hard mask",
            at_least=LEAST_OVERLAP,
            because="Later checks look inside the hard mask; what it leaves out is not validated.",
            warning="Only {value} of the voxels above the contour level are in the hard mask that later checks use.",
            causes=(
                "the particle consists of separate bodies",
                "much of what is above the contour level is noise or dust",
            ),
            advice="Choose a level at which the particle is in one piece; validate separate bodies one by one.",
        ),
    )
    references = (
        Reference(
            text="Sorzano COS, Vilas JL, Ramírez-Aportela E, et al. Image processing tools for the validation of "
            "CryoEM maps. Faraday Discussions 240 (2022) 210-227.",
            doi="10.1039/d2fd00059h",
        ),
        Reference(
            text="Harpaz Y, Gerstein M, Chothia C. Volume changes on protein folding. Structure 2 (1994) 641-649.",
            doi="10.1016/s0969-2126(00)00065-4",
        ),
    )

    def measure(  # type: ignore[override]
        self,
        density_map: DensityMap,
        contour_level: ContourLevel,
        raw_mask: NDArray[np.bool_],
        components: ComponentRuns,
        hard_mask: NDArray[np.bool_],
        soft_mask: NDArray[np.float32],
        noise_region: NoiseRegion,
        molecular_weight: float | None,
        threads: int,
    ) -> MaskMeasurement:
        voxel = density_map.voxel_volume
        level, given = contour_level.value, contour_level.source == "given"
        sizes = components.sizes
        total = int(sizes.sum())
        base = _background(density_map.data, hard_mask, noise_region)
        small = sizes * voxel < RESIDUE_VOLUME
        dust = components.select(small) & ~hard_mask if small.any() else np.zeros((1, 1, 1), bool)
        # A component that the hard mask holds in part is no dust; its voxels outside are counted all the same.
        dust_voxels = int(np.count_nonzero(dust))
        del dust
        inside = int(np.count_nonzero(hard_mask & raw_mask))
        rows = _at_other_levels(density_map, level, base, components, threads)
        stable = _stable_range(rows)
        volume = total * voxel
        expected = MOLECULAR_VOLUME * molecular_weight if molecular_weight else None
        over_noise = _level_over_noise(density_map, level, noise_region, 100.0 * inside / total, threads)
        noise_voxels, noise_note = _noise_above(density_map.data, level, hard_mask, noise_region)
        bodies_95, largest_share = components_for_share(sizes, 0.95), float(sizes[0] / total)
        not_judged = "the level was estimated, so that it is not judged"
        curve_levels, curve_volumes = _curve(density_map.data, base, voxel)
        factor = binning(density_map.shape)
        slices, indices = _slices(density_map.data, raw_mask, factor)
        caveats = [f"The contour level was {contour_level.method}."] if not given else []
        if over_noise.value is None:
            caveats.append(f"The level cannot be compared with the noise. {over_noise.note}")
        return MaskMeasurement(
            contour_level=Quantity(label="Contour level", value=level, digits=4, note=contour_level.method),
            bodies=Quantity(
                label="Bodies",
                value=_bodies(largest_share, bodies_95),
                note="1 when one component holds half of the voxels, else the number that holds 95 %",
            ),
            dust_share=Quantity(
                label="Dust", value=100.0 * dust_voxels / total, unit="%", note="of the voxels above the level"
            ),
            level_over_noise=over_noise
            if given
            else Quantity(label=over_noise.label, value=None, unit=over_noise.unit, note=not_judged),
            volume_ratio=Quantity(
                label="Enclosed volume over the molecule's",
                value=volume / expected if expected and given else None,
                note="" if expected and given else not_judged if expected else "needs a molecular weight",
            ),
            overlap=Quantity(
                label="Voxels above the level that are in the hard mask", value=100.0 * inside / total, unit="%"
            ),
            component_count=Quantity(label="Components", value=int(sizes.size)),
            bodies_95=Quantity(label="Largest components that hold 95 % of the voxels", value=bodies_95),
            largest_share=Quantity(label="Share of the largest component", value=100.0 * largest_share, unit="%"),
            volume=Quantity(label="Volume above the contour level", value=volume, unit="Å³"),
            mass=Quantity(
                label="Protein mass that fills it",
                value=volume / MOLECULAR_VOLUME / 1000,
                unit="kDa",
                note="at 1.21 Å³ per Da",
            ),
            residues=Quantity(label="Residues that fill it", value=volume / RESIDUE_VOLUME, note="of 110 Da"),
            largest_volume=Quantity(label="Volume of the largest component", value=float(sizes[0] * voxel), unit="Å³"),
            hard_mask_volume=Quantity(
                label="Volume of the hard mask", value=float(np.count_nonzero(hard_mask) * voxel), unit="Å³"
            ),
            dust_count=Quantity(
                label="Components smaller than one residue",
                value=int(np.count_nonzero(small)),
                note="a voxel is larger than a residue, so that there can be none" if voxel >= RESIDUE_VOLUME else "",
            ),
            dust_mean=Quantity(
                label="Their mean volume", value=float(sizes[small].mean() * voxel) if small.any() else None, unit="Å³"
            ),
            dust_largest=Quantity(
                label="The largest of them", value=float(sizes[small].max() * voxel) if small.any() else None, unit="Å³"
            ),
            # A given level is judged, and stands above.
            measured_level_over_noise=None
            if given
            else over_noise.model_copy(update={"label": f"{over_noise.label}, not judged"}),
            noise_voxels=Quantity(
                label="Voxels of noise above the level, in the whole box", value=noise_voxels, note=noise_note
            ),
            noise_share=Quantity(
                label="Noise among the voxels above the level",
                value=None if noise_voxels is None else min(100.0, 100.0 * noise_voxels / total),
                unit="%",
            ),
            stable_from=Quantity(label="Lowest level tried with at most five bodies", value=stable[0], digits=4),
            stable_to=Quantity(label="Highest level tried with at most five bodies", value=stable[1], digits=4),
            level_rows=rows,
            mass_rows=_mass_rows(density_map.data, base, voxel),
            component_rows=_component_rows(sizes, voxel),
            component_volumes=sizes[:DRAWN_COMPONENTS].astype(np.float64) * voxel,
            curve_levels=curve_levels,
            curve_volumes=curve_volumes,
            noise_level=noise_region.centre + 3 * noise_region.sigma if noise_region.available else None,
            expected_volume=expected,
            slices=slices,
            slice_indices=indices,
            binning=factor,
            density_map=density_map,
            hard_mask=hard_mask,
            soft_mask=soft_mask,
            particle_found=contour_level.particle_found,
            caveats=tuple(caveats),
            undecided=""
            if contour_level.particle_found
            else f"No level could be found for this map: the level is {contour_level.method}.",
        )

    def summary(self, measurement: MaskMeasurement) -> str:
        m = measurement
        if m.undecided:
            return m.undecided
        count = int(m.component_count.value or 0)
        text = (
            f"The contour level {format_number(float(m.contour_level.value or 0.0), 4)} encloses {m.volume.text()}, "
            f"room for {m.mass.text()} of protein, in {format_number(count)} component{'s' if count != 1 else ''}; the "
            f"largest holds {m.largest_share.text()}."
        )
        z = m.measured_level_over_noise or m.level_over_noise
        if z.value is not None:
            text += f" The level lies {z.text()} above the background."
        return text

    def tables(self, measurement: MaskMeasurement) -> list[Table]:
        m = measurement
        return [
            Table(
                key="stability",
                title="The pieces when the level is moved",
                columns=(
                    Column(label="times the level"),
                    Column(label="level"),
                    Column(label="volume", unit="Å³"),
                    Column(label="largest component", unit="%"),
                    Column(label="components for 95 %"),
                ),
                rows=tuple((r.factor, r.level, r.volume, 100 * r.largest_share, r.bodies_95) for r in m.level_rows),
                caption="Levels are multiplied as heights above the background.",
            ),
            Table(
                key="components",
                title="The largest components",
                columns=(
                    Column(label="rank"),
                    Column(label="voxels"),
                    Column(label="volume", unit="Å³"),
                    Column(label="share", unit="%"),
                    Column(label="with all larger", unit="%"),
                ),
                rows=m.component_rows,
            ),
            Table(
                key="levels",
                title="What each level would enclose",
                columns=(
                    Column(label="level"),
                    Column(label="voxels"),
                    Column(label="volume", unit="Å³"),
                    Column(label="mass", unit="kDa"),
                    Column(label="residues"),
                ),
                rows=m.mass_rows,
                caption="Steps of 1/25 of the way from the background to the highest voxel. Protein of 1.21 Å³ per Da, "
                "residues of 110 Da.",
            ),
        ]

    def figures(self, measurement: MaskMeasurement) -> list[Figure]:
        return [_slice_figure(measurement), _volume_figure(measurement), _component_figure(measurement)]

    def maps(self, measurement: MaskMeasurement) -> list[MapOutput]:
        m = measurement
        return [
            MapOutput(
                description=DerivedMap(
                    key="hard_mask",
                    label="Hard mask",
                    file="",
                    description="1 in the largest component above the contour level, grown by 2 Å; 0 elsewhere.",
                ),
                data=m.hard_mask,
                pixel_size=m.density_map.pixel_size,
                origin=m.density_map.origin,
            ),
            MapOutput(
                description=DerivedMap(
                    key="soft_mask",
                    label="Soft mask",
                    file="",
                    description="The hard mask with an edge of half a cosine outside it, 6 Å or three voxels wide.",
                ),
                data=m.soft_mask,
                pixel_size=m.density_map.pixel_size,
                origin=m.density_map.origin,
            ),
        ]


def _bodies(largest_share: float, bodies_95: int) -> int:
    return 1 if largest_share >= 0.5 else bodies_95


def _background(data: NDArray[np.float32], hard_mask: NDArray[np.bool_], noise_region: NoiseRegion) -> float:
    """The grey value of the solvent: of the noise, else the median outside the mask, else 0."""
    if np.isfinite(noise_region.centre):
        return noise_region.centre
    step = max(1, data.size // 2_000_000)
    outside = data.reshape(-1)[::step][~hard_mask.reshape(-1)[::step]]
    return float(np.median(outside)) if outside.size else 0.0


def _at_other_levels(
    density_map: DensityMap, level: float, base: float, components: ComponentRuns, threads: int
) -> tuple[LevelRow, ...]:
    def row(factor: float) -> LevelRow | None:
        moved = base + factor * (level - base)
        sizes = components.sizes if factor == 1.0 else label_components(density_map.data >= moved).sizes
        if sizes.size == 0:
            return None
        total = int(sizes.sum())
        return LevelRow(
            factor, moved, total * density_map.voxel_volume, float(sizes[0] / total), components_for_share(sizes, 0.95)
        )

    with ThreadPoolExecutor(max(1, threads)) as pool:
        return tuple(r for r in pool.map(row, FACTORS) if r is not None)


def _stable_range(rows: tuple[LevelRow, ...]) -> tuple[float | None, float | None]:
    """The levels around the contour level, without a gap, at which the particle is in few pieces."""
    middle = next(i for i, r in enumerate(rows) if r.factor == 1.0)
    if rows[middle].bodies > MOST_BODIES:
        good = [r for r in rows if r.bodies <= MOST_BODIES]
        return (good[0].level, good[-1].level) if good else (None, None)
    first = last = middle
    while first > 0 and rows[first - 1].bodies <= MOST_BODIES:
        first -= 1
    while last + 1 < len(rows) and rows[last + 1].bodies <= MOST_BODIES:
        last += 1
    return rows[first].level, rows[last].level


def _level_over_noise(
    density_map: DensityMap, level: float, noise_region: NoiseRegion, overlap: float, threads: int
) -> Quantity:
    label, unit = "Contour level above the background", "σ"
    note = "standard deviations of the noise, from the median absolute deviation"
    if noise_region.available and overlap >= LEAST_OVERLAP:
        centre, sigma, voxels = noise_region.centre, noise_region.sigma, noise_region.voxels
    else:
        # A level in the noise makes a mask that fills the box and leaves no noise beside it, and one that breaks the
        # particle leaves pieces of it beside the mask, which would pass for noise: the very cases to see.
        background = map_background(density_map, threads)
        if background.sigma == 0.0:
            reason = noise_region.reason or "Beside the mask lie other parts of the particle, and no noise is known."
            return Quantity(label=label, value=None, unit=unit, note=reason)
        centre, sigma, voxels = background.centre, background.sigma, background.voxels
        note += ", of what lies away from where the map alone shows a particle"
    z = (level - centre) / sigma
    volume = correlation_volume(density_map, noise_region)
    # Too few whole blocks to see the correlation: one value per cube of 4 voxels is safe for any sensible sampling.
    independent = max(2.0, voxels / (64.0 if volume is None else volume))
    error = float(np.hypot(MEDIAN_ERROR, MAD_ERROR * z) / np.sqrt(independent))
    return Quantity(
        label=label,
        value=float(z),
        unit=unit,
        interval=(float(z - 1.96 * error), float(z + 1.96 * error)),
        confidence=0.95,
        note=note,
    )


def _noise_above(
    data: NDArray[np.float32], level: float, hard_mask: NDArray[np.bool_], noise_region: NoiseRegion
) -> tuple[float | None, str]:
    """How many voxels of noise lie above the level outside the particle, from the share of the noise that does."""
    if not noise_region.available:
        return None, noise_region.reason
    above = int(np.count_nonzero(noise_region.mask & (data >= np.float32(level))))
    outside = hard_mask.size - int(np.count_nonzero(hard_mask))
    note = f"{above} of {noise_region.voxels} voxels of noise pass the level; the box has {outside} outside the mask"
    return above / noise_region.voxels * outside, note


def _mass_rows(data: NDArray[np.float32], base: float, voxel: float) -> tuple[tuple[float | int, ...], ...]:
    highest = float(data.max())
    rows = []
    for step in range(1, LEVELS_IN_TABLE):
        level = base + step * (highest - base) / LEVELS_IN_TABLE
        count = int(np.count_nonzero(data >= np.float32(level)))
        volume = count * voxel
        rows.append((level, count, volume, volume / MOLECULAR_VOLUME / 1000, volume / RESIDUE_VOLUME))
    return tuple(rows)


def _component_rows(sizes: NDArray[np.int64], voxel: float) -> tuple[tuple[float | int, ...], ...]:
    total = int(sizes.sum())
    running = np.cumsum(sizes[:LISTED_COMPONENTS])
    return tuple(
        (rank + 1, int(size), float(size * voxel), 100.0 * float(size) / total, 100.0 * float(running[rank]) / total)
        for rank, size in enumerate(sizes[:LISTED_COMPONENTS])
    )


def _curve(data: NDArray[np.float32], base: float, voxel: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    highest = float(data.max())
    if highest <= base:
        return np.array([base]), np.array([0.0])
    levels = np.linspace(base, highest, CURVE_POINTS)
    return levels, np.asarray(counts_above(data, levels) * voxel, np.float64)


def _slices(
    data: NDArray[np.float32], raw_mask: NDArray[np.bool_], factor: int
) -> tuple[dict[str, NDArray], tuple[int, int, int]]:
    arrays: dict[str, NDArray] = {}
    indices = []
    for axis, variance in enumerate(slice_variances(data)):
        index = int(np.argmax(variance))
        indices.append(index)
        arrays[AXES[axis]] = binned(np.take(data, index, axis=axis), factor)
        arrays[f"{AXES[axis]}_above"] = binned_mask(np.take(raw_mask, index, axis=axis), factor)
    return arrays, (indices[0], indices[1], indices[2])


def _slice_figure(m: MaskMeasurement) -> ImageFigure:
    panels = []
    for axis, name in enumerate(AXES):
        row, column = (AXES[a] for a in range(3) if a != axis)
        panels.append(
            Panel(
                label=f"{name} = {m.slice_indices[axis]} ({column} →, {row} ↑)",
                image=name,
                outline=f"{name}_above",
            )
        )
    return ImageFigure(
        key="slices",
        title="The contour level in the slices of largest variance",
        caption="One slice across each axis, where grey values vary most. The line encloses the voxels above the "
        "contour level: it should follow the particle closely and leave the background empty.",
        alt_text="Three slices of the map with the voxels above the contour level outlined.",
        arrays=m.slices,
        panels=tuple(panels),
        pixel_size=m.density_map.pixel_size * m.binning,
    )


def _volume_figure(m: MaskMeasurement) -> CurveFigure:
    shown = m.curve_volumes > 0
    markers = [Marker(axis="x", value=float(m.contour_level.value or 0.0), label="contour level", role="reported")]
    if m.noise_level is not None:
        markers.append(Marker(axis="x", value=m.noise_level, label="3 σ of the noise", role="limit"))
    if m.expected_volume is not None:
        markers.append(Marker(axis="y", value=m.expected_volume, label="volume of the molecule", role="note"))
    return CurveFigure(
        key="volume",
        title="Enclosed volume against the level",
        caption="The volume of all voxels above each level, from the background to the highest voxel. A good contour "
        "level lies right of the steep fall, which is noise, where the curve turns flat.",
        alt_text="A falling curve of the enclosed volume against the level, with the contour level marked.",
        series=(
            Series(
                label="volume above the level",
                x=tuple(m.curve_levels[shown].tolist()),
                y=tuple(m.curve_volumes[shown].tolist()),
            ),
        ),
        x_label="level",
        y_label="volume (Å³)",
        y_scale="log",
        markers=tuple(markers),
    )


def _component_figure(m: MaskMeasurement) -> CurveFigure:
    ranks = np.arange(1, m.component_volumes.size + 1, dtype=float)
    return CurveFigure(
        key="components",
        title="The components by size",
        caption=f"The volume of the largest components, up to {DRAWN_COMPONENTS}. One particle shows as one high point "
        "far above the rest; points below the line are smaller than a residue.",
        alt_text="Points of falling component volumes by rank.",
        series=(
            Series(
                label="component",
                x=tuple(ranks.tolist()),
                y=tuple(m.component_volumes.tolist()),
                style="points",
            ),
        ),
        x_label="rank",
        y_label="volume (Å³)",
        x_scale="log" if ranks.size > 20 else "linear",
        y_scale="log",
        markers=(Marker(axis="y", value=RESIDUE_VOLUME, label="one residue", role="limit"),),
    )
