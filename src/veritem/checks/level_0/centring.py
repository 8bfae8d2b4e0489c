"""0.a: mass and centring."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veritem.checks.base import Check, Criterion
from veritem.checks.level_0.images import binned, binned_mask, binning, draw_cross
from veritem.derived.masks import LEAST_PARTICLE, ContourLevel
from veritem.derived.noise import NoiseRegion
from veritem.numerics.density_map import DensityMap
from veritem.numerics.masks import ComponentRuns, MassProfiles, mass_profiles
from veritem.numerics.noise import block_moments
from veritem.numerics.statistics import robust_scale
from veritem.results import (
    Column,
    CurveFigure,
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
WAVELENGTH = 0.01969  # Å, electrons of 300 kV
# A body is cut by both faces at this share of its usual cross-section: it goes on beyond them.
SPANNING = 0.5
FEWEST_BLOCKS = 30
# With less of what is above the contour level in the mask, its middle is not the particle's.
WHOLE_PARTICLE = 0.75


@dataclass(frozen=True, eq=False)
class CentringMeasurement:
    """Free space, centre and clipping of the hard mask. Along axes on which the body goes on (a filament's, a
    lattice's) there is no free space to ask for, and none is counted."""

    free_space: Quantity
    supported_defocus: Quantity
    box_decentring: Quantity
    mass_decentring: Quantity
    clipped: Quantity
    free_x_low: Quantity
    free_x_high: Quantity
    free_y_low: Quantity
    free_y_high: Quantity
    free_z_low: Quantity
    free_z_high: Quantity
    mass_x: Quantity
    mass_y: Quantity
    mass_z: Quantity
    mass_distance: Quantity
    continues_along: Quantity
    profiles: MassProfiles
    projections: dict[str, NDArray]
    outlines: dict[str, NDArray]
    binning: int
    rows: tuple[tuple[str | float | None, ...], ...]
    mass_centre: NDArray[np.float64]
    shape: tuple[int, int, int]
    pixel_size: float
    caveats: tuple[str, ...]
    undecided: str = ""


class Centring(Check):
    """Is the particle in the middle of the box, with room around it?

    The particle is the hard mask: the largest connected body above the contour level, grown by 2 Å. The free space is
    the distance from its outermost voxels to each of the six faces of the box. The microscope's defocus spreads a
    detail of size d over λ Δf / d beside the particle, 131 Å for 3 Å at 2 µm and 300 kV; what is spread beyond the
    box is lost. The smallest free space s therefore says up to which defocus the box keeps details of the reported
    resolution: Δf = s × resolution / λ. Half a micrometre is asked for, 33 Å of free space at 3 Å resolution, and
    20 Å in any case.

    Two centres are compared with the centre of the box, the voxel n // 2 about which programs rotate: the middle of the
    mask along each axis, and the centre of the mass inside the mask, which is the density above the background. The
    interval of the centre of mass follows from the noise of the background and from how far its neighbouring voxels
    are alike; it holds for the given contour level.

    A mask that touches the box is clipped, and so is the particle. When both opposite faces cut it at no less than
    half of its usual cross-section, the body may go on: a filament along one axis, a sheet along two, a lattice or a
    cut-out along three. A particle that the box cuts at both ends looks the same, so that the answer is then at most
    inconclusive; free space, clipping and the middle of the mask are judged along the other axes alone.

    When the largest component holds less than three quarters of what is above the contour level, its middle need not
    be the particle's, and the centring is left undecided.

    Misleads when the contour level is so low that noise or a neighbouring particle joins the particle, or so high
    that a part of it is left out; 0.b asks that. A particle may be off centre on purpose, after a focused refinement
    or when a subunit was cut out, and an uneven particle has its centre of mass away from its middle. The mask cannot
    show what the box has already lost.
    """

    code = "0.a"
    title = "Mass and centring"
    level = "0"
    criteria = (
        Criterion(
            quantity="free_space",
            text="At least 20 Å are free on every side",
            at_least=20.0,
            because="Below it, even details of 5 Å keep their signal only up to 0.5 µm of defocus, and masks with soft "
            "edges no longer fit; reconstruction programs ask for 20 to 40 Å.",
            warning="Only {value} are free on the tightest side; at least 20 Å are needed.",
            causes=(
                "the particles were extracted in too small a box",
                "the particle is off centre",
                "the contour level is so low that noise or a neighbour joins the particle",
            ),
            advice="Extract the particles again in a larger box, 1.5 to 2 times the particle's diameter.",
        ),
        Criterion(
            quantity="supported_defocus",
            text="The box keeps details of the reported resolution up to 0.5 µm of defocus",
            at_least=0.5,
            because="A detail of size d is spread over λ Δf / d; few images are taken closer to focus than 0.5 µm.",
            warning="At the reported resolution the free space keeps the signal only up to {value} of defocus; images "
            "are usually taken at 0.5 to 3 µm, and what is spread beyond the box is lost.",
            causes=("the particles were extracted in too small a box", "the particle is off centre"),
            advice="Extract the particles again in a larger box; at 3 Å and 2 µm, 130 Å around the particle are ideal.",
        ),
        Criterion(
            quantity="box_decentring",
            text="The middle of the particle is within 10 % of the box edge from the centre of the box",
            at_most=10.0,
            because="Farther out the free space is spent on one side, and rotations about the box centre move the "
            "particle in the box.",
            warning="The middle of the particle lies {value} of the box edge away from the centre of the box along one "
            "axis.",
            causes=(
                "particles were picked or extracted off centre",
                "the reference or initial model was off centre",
                "a focused refinement or a cut-out part, where it is on purpose",
            ),
            advice="Unless it is on purpose, shift the map to the centre and refine again from re-extracted, "
            "re-centred particles.",
        ),
        Criterion(
            quantity="mass_decentring",
            text="The centre of mass is within 10 % of the box edge from the centre of the box",
            at_most=10.0,
            because="The same limit as for the middle of the particle; a centre of mass this far out means a particle "
            "off centre or with most of its mass in one part.",
            warning="The centre of mass lies {value} of the box edge away from the centre of the box along one axis.",
            causes=(
                "the particle is off centre",
                "one part is much denser or better resolved than the rest",
                "a part of the particle is below the contour level",
            ),
            advice="Look at the projections: when the whole particle is to one side, re-centre; when a part is "
            "missing, lower the contour level.",
        ),
        Criterion(
            quantity="clipped",
            text="The particle does not touch the box",
            at_most=0.0,
            because="A particle that touches a face has lost what lies beyond it.",
            warning="{value} of the particle's surface lie on faces of the box: the particle is clipped.",
            causes=(
                "the box is too small or the particle off centre",
                "the contour level is so low that noise joins the particle to the box",
                "the map was cut out of a larger one",
            ),
            advice="Use the whole, uncropped map; extract in a larger box.",
        ),
    )
    references = (
        Reference(
            text="Sorzano COS, Vilas JL, Ramírez-Aportela E, et al. Image processing tools for the validation of "
            "CryoEM maps. Faraday Discussions 240 (2022) 210-227.",
            doi="10.1039/d2fd00059h",
        ),
        Reference(
            text="Rosenthal PB, Henderson R. Optimal determination of particle orientation, absolute hand, and "
            "contrast loss in single-particle electron cryomicroscopy. "
            "Journal of Molecular Biology 333 (2003) 721-745.",
            doi="10.1016/j.jmb.2003.07.013",
        ),
    )

    def measure(  # type: ignore[override]
        self,
        density_map: DensityMap,
        contour_level: ContourLevel,
        raw_mask: NDArray[np.bool_],
        components: ComponentRuns,
        hard_mask: NDArray[np.bool_],
        mask_distance: NDArray[np.float32],
        noise_region: NoiseRegion,
        reported_resolution: float | None,
    ) -> CentringMeasurement:
        pixel_size, shape = density_map.pixel_size, density_map.shape
        base = noise_region.centre if np.isfinite(noise_region.centre) else 0.0
        profiles = mass_profiles(density_map.data, hard_mask, base)
        first, last = zip(*((int(w[0]), int(w[-1])) for w in map(np.flatnonzero, profiles.count)), strict=True)
        held = float(components.sizes[0] / components.sizes.sum())
        # The pieces of a lattice, and noise, show that they have no end only when taken together.
        body = profiles.count if held >= WHOLE_PARTICLE else mass_profiles(density_map.data, raw_mask).count
        spanning = tuple(_goes_on(count) for count in body)
        closed = [axis for axis in range(3) if not spanning[axis]]
        low = [pixel_size * first[a] for a in range(3)]
        high = [pixel_size * (shape[a] - 1 - last[a]) for a in range(3)]
        free = min((min(low[a], high[a]) for a in closed), default=None)

        centre = profiles.centre()
        margin = _centre_margin(density_map, profiles, centre, noise_region)
        offset = [(centre[a] - shape[a] // 2) * pixel_size for a in range(3)]
        middle = [((first[a] + last[a]) / 2 - shape[a] // 2) * pixel_size for a in range(3)]
        edges = density_map.extent
        box_share = max((100 * abs(middle[a]) / edges[a] for a in closed), default=None)
        mass_share = max(100 * abs(offset[a]) / edges[a] for a in range(3)) if np.isfinite(offset).all() else None

        defocus = None if free is None or reported_resolution is None else free * reported_resolution / WAVELENGTH / 1e4
        factor = binning(shape)
        projections, outlines = _projections(density_map.data, hard_mask, factor)
        names = [AXES[a] for a in reversed(range(3)) if spanning[a]]
        caveats = []
        undecided = ""
        if names and closed:
            kind = "a filament" if len(names) == 1 else "a sheet (or noise at too low a contour level)"
            undecided = (
                f"The body goes on through both faces along {' and '.join(names)}, as {kind} does, and as a particle "
                "does that the box cuts at both ends; the map cannot tell which. Free space, clipping and the middle "
                "of the mask were judged along the other axes alone."
            )
        if not closed:
            mass_share = None
            undecided = (
                "What is above the contour level goes on through opposite faces along x, y and z: a lattice (crystal), "
                "a part cut out of a larger map, or a contour level in the noise. There is no free space or centre to "
                "judge."
            )
        clipped = 100 * _clipped_share(hard_mask, mask_distance, pixel_size, closed) if closed else None
        if not contour_level.particle_found:
            free = defocus = box_share = mass_share = clipped = None
            undecided = f"Where the particle is cannot be told: the contour level is {contour_level.method}."
        elif float(components.sizes[0]) * density_map.voxel_volume < LEAST_PARTICLE:
            free = defocus = box_share = mass_share = clipped = None
            undecided = (
                "What is above the contour level has room for less than 5 kDa of protein: it is a fragment, and where "
                "the particle lies cannot be told from it. Choose a lower level; 0.b shows which."
            )
        elif held < WHOLE_PARTICLE and closed:
            box_share = mass_share = None
            undecided = (
                f"The largest component, which makes the mask, holds only {100 * held:.0f} % of the voxels above the "
                "contour level, so that its middle need not be the particle's. Choose a level at which the particle is "
                "in one piece; 0.b shows which."
            )
        if reported_resolution is None:
            caveats.append("Without a reported resolution, how much defocus the box supports is not judged.")
        if margin is None and noise_region.reason:
            caveats.append(f"The centre of mass has no interval: {noise_region.reason}")

        def mass(axis: int) -> Quantity:
            return Quantity(
                label=f"Centre of mass along {AXES[axis]}, from the box centre",
                value=float(offset[axis]) if np.isfinite(offset[axis]) else None,
                unit="Å",
                interval=None if margin is None else (offset[axis] - margin[axis], offset[axis] + margin[axis]),
                confidence=None if margin is None else 0.95,
                note="density above the background inside the hard mask",
            )

        def side(axis: int, upper: bool) -> Quantity:
            return Quantity(
                label=f"Free space at the {'high' if upper else 'low'} {AXES[axis]} face",
                value=high[axis] if upper else low[axis],
                unit="Å",
                note="the body goes on through this face" if spanning[axis] else "",
            )

        return CentringMeasurement(
            free_space=Quantity(
                label="Free space on the tightest side", value=free, unit="Å", note=f"in steps of {pixel_size:.3g} Å"
            ),
            supported_defocus=Quantity(
                label="Largest defocus at which the free space keeps details of the reported resolution",
                value=defocus,
                unit="µm",
                note="for 300 kV" if defocus is not None else "needs a reported resolution and a free side",
            ),
            box_decentring=Quantity(
                label="Middle of the particle from the box centre, largest of the axes", value=box_share, unit="%"
            ),
            mass_decentring=Quantity(
                label="Centre of mass from the box centre, largest of the axes", value=mass_share, unit="%"
            ),
            clipped=Quantity(
                label="Share of the particle's surface on faces of the box",
                value=clipped,
                unit="%",
            ),
            free_x_low=side(2, False),
            free_x_high=side(2, True),
            free_y_low=side(1, False),
            free_y_high=side(1, True),
            free_z_low=side(0, False),
            free_z_high=side(0, True),
            mass_x=mass(2),
            mass_y=mass(1),
            mass_z=mass(0),
            mass_distance=Quantity(
                label="Distance of the centre of mass from the box centre",
                value=float(np.linalg.norm(offset)) if np.isfinite(offset).all() else None,
                unit="Å",
            ),
            continues_along=Quantity(
                label="Axes along which the body goes on beyond the box", value=", ".join(names) or "none"
            ),
            profiles=profiles,
            projections=projections,
            outlines=outlines,
            binning=factor,
            rows=tuple(
                (
                    AXES[a],
                    low[a],
                    high[a],
                    middle[a],
                    100 * abs(middle[a]) / edges[a],
                    float(offset[a]),
                    100 * abs(float(offset[a])) / edges[a],
                    "yes" if spanning[a] else "no",
                )
                for a in (2, 1, 0)
            ),
            mass_centre=centre,
            shape=shape,
            pixel_size=pixel_size,
            caveats=tuple(caveats),
            undecided=undecided,
        )

    def summary(self, measurement: CentringMeasurement) -> str:
        m = measurement
        if m.undecided and (m.free_space.value is None or m.box_decentring.value is None):
            return m.undecided
        text = f"{m.free_space.text()} are free on the tightest side"
        if m.supported_defocus.value is not None:
            text += f", enough for details of the reported resolution up to {m.supported_defocus.text()} of defocus"
        text += "."
        if m.mass_distance.value is not None and m.mass_decentring.value is not None:
            text += (
                f" The centre of mass lies {m.mass_distance.text()} from the centre of the box "
                f"({format_number(float(m.mass_decentring.value))} % of the box edge)."
            )
        if float(m.clipped.value or 0.0) > 0.0:
            text += " The particle touches the box."
        return f"{text} {m.undecided}".strip()

    def tables(self, measurement: CentringMeasurement) -> list[Table]:
        return [
            Table(
                key="axes",
                title="Along each axis",
                columns=(
                    Column(label="axis"),
                    Column(label="free, low side", unit="Å"),
                    Column(label="free, high side", unit="Å"),
                    Column(label="middle of the particle", unit="Å"),
                    Column(label="of the box edge", unit="%"),
                    Column(label="centre of mass", unit="Å"),
                    Column(label="of the box edge", unit="%"),
                    Column(label="goes on beyond the box"),
                ),
                rows=measurement.rows,
                caption="Positions are relative to the centre of the box, voxel n // 2.",
            )
        ]

    def figures(self, measurement: CentringMeasurement) -> list[Figure]:
        return [_pictures(measurement), _curves(measurement)]


def _goes_on(count: NDArray[np.float64]) -> bool:
    """Whether both faces cut the body at no less than half of its usual cross-section along this axis."""
    usual = float(np.median(count[count > 0]))
    return bool(min(count[0], count[-1]) >= SPANNING * usual)


def _clipped_share(mask: NDArray[np.bool_], distance: NDArray[np.float32], pixel_size: float, axes: list[int]) -> float:
    """The share of the mask's surface voxels that lie on faces across the given axes.

    Surface voxels have a face neighbour outside the mask, or lie on one of those faces.
    """
    on_face = np.zeros(mask.shape, bool)
    for axis in axes:
        for end in (0, -1):
            face = [slice(None)] * 3
            face[axis] = slice(end, None) if end else slice(0, 1)
            on_face[tuple(face)] = True
    on_face &= mask
    touching = int(np.count_nonzero(on_face))
    if touching == 0:
        return 0.0
    # Inside the mask the distance is negative; -1 pixel is a face neighbour outside.
    on_face |= mask & (distance >= np.float32(-1.001 * pixel_size))
    return touching / int(np.count_nonzero(on_face))


def correlation_volume(density_map: DensityMap, noise_region: NoiseRegion) -> float | None:
    """Voxels that count as one for sums over the noise: how much more block means vary than of independent voxels.

    None where the noise region does not hold enough whole blocks.
    """
    if not noise_region.available or noise_region.sigma <= 0:
        return None
    for edge in (8, 4):
        moments = block_moments(density_map.data, noise_region.mask, edge)
        whole = moments.counts == edge**3
        if np.count_nonzero(whole) >= FEWEST_BLOCKS:
            _, spread = robust_scale(moments.sums[whole] / edge**3)
            return max(1.0, spread**2 * edge**3 / noise_region.sigma**2)
    return None


def _centre_margin(
    density_map: DensityMap, profiles: MassProfiles, centre: NDArray[np.float64], noise_region: NoiseRegion
) -> NDArray[np.float64] | None:
    """Half of the 95 % interval of the centre of mass along z, y, x in Å.

    The centre is Σ x w / Σ w; noise of variance σ² in w moves it with variance σ² v Σ (x - c)² / (Σ w)², where v is
    the number of voxels that count as one.
    """
    volume = correlation_volume(density_map, noise_region)
    if volume is None or not np.isfinite(centre).all():
        return None
    spread = [float(((np.arange(n.size) - c) ** 2 * n).sum()) for n, c in zip(profiles.count, centre, strict=True)]
    error = noise_region.sigma * np.sqrt(volume * np.array(spread)) / profiles.total
    return 1.96 * error * density_map.pixel_size


def _projections(
    data: NDArray[np.float32], mask: NDArray[np.bool_], factor: int
) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
    images, outlines = {}, {}
    for axis, name in enumerate(AXES):
        images[name] = binned(data.sum(axis=axis, dtype=np.float64), factor)
        outlines[name] = binned_mask(np.any(mask, axis=axis), factor)
    return images, outlines


def _pictures(m: CentringMeasurement) -> ImageFigure:
    arrays: dict[str, NDArray] = {}
    panels = []
    for axis, name in enumerate(AXES):
        row, column = (a for a in range(3) if a != axis)
        image = m.projections[name].copy()
        low, high = np.quantile(image, (0.01, 0.995))
        np.clip(image, low, high, out=image)
        half = (m.binning - 1) / 2
        draw_cross(image, (m.shape[row] // 2 - half) / m.binning, (m.shape[column] // 2 - half) / m.binning)
        if np.isfinite(m.mass_centre).all():
            at = (m.mass_centre - half) / m.binning
            draw_cross(image, float(at[row]), float(at[column]), diagonal=True)
        arrays[name], arrays[f"{name}_mask"] = image, m.outlines[name]
        panels.append(
            Panel(
                label=f"along {name} ({AXES[column]} →, {AXES[row]} ↑)",
                image=name,
                outline=f"{name}_mask",
                limits=(float(low), float(high)) if high > low else None,
            )
        )
    return ImageFigure(
        key="projections",
        title="The particle in its box",
        caption="Projections of the whole map along the three axes. The line is the outline of the hard mask, + is the "
        "centre of the box, × the centre of mass. The outline should lie in the middle, away from the edges.",
        alt_text="Three projections of the map with the outline of the mask, the box centre and the centre of mass.",
        arrays=arrays,
        panels=tuple(panels),
        pixel_size=m.pixel_size * m.binning,
    )


def _curves(m: CentringMeasurement) -> CurveFigure:
    series, markers = [], [Marker(axis="x", value=0.0, label="box centre", role="note")]
    roles = ("data", "model", "corrected")
    for axis, role in zip((2, 1, 0), roles, strict=True):
        mass = m.profiles.mass[axis]
        x = (np.arange(mass.size) - m.shape[axis] // 2) * m.pixel_size
        share = 100 * mass / max(m.profiles.total, 1e-30) / m.pixel_size
        series.append(
            Series(label=f"along {AXES[axis]}", x=tuple(x.tolist()), y=tuple(share.tolist()), role=role)  # type: ignore[arg-type]
        )
        place = float((m.mass_centre[axis] - m.shape[axis] // 2) * m.pixel_size)
        # Marks nearer than this to the box centre would only cover it.
        if abs(place) > 0.01 * m.shape[axis] * m.pixel_size:
            markers.append(Marker(axis="x", value=place, label=f"mass, {AXES[axis]}", role="note"))
    return CurveFigure(
        key="mass",
        title="Where the mass lies along each axis",
        caption="The share of the mass per Å along x, y and z, from one face of the box to the other. Curves should "
        "fall to zero well before the faces. Upright lines mark the centre of the box and, where it lies elsewhere, of "
        "the mass.",
        alt_text="Three curves of mass against the distance from the box centre.",
        series=tuple(series),
        x_label="distance from the box centre (Å)",
        y_label="mass (% per Å)",
        markers=tuple(markers),
    )
