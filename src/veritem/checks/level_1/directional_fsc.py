"""1.h: the FSC as a function of the whole Fourier vector."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from veritem.checks.base import Check, Criterion, MapOutput
from veritem.checks.level_1.direction_figures import (
    direction_text,
    interpolated,
    projected_directions,
    sphere_figure,
)
from veritem.checks.markers import reported_marker
from veritem.derived.directional_fsc import (
    DRAWS,
    SHAPE_THRESHOLD,
    DirectionalCorrelation,
    read_cutoffs,
)
from veritem.numerics.fsc import THRESHOLD
from veritem.results import (
    CurveFigure,
    DerivedMap,
    Figure,
    HistogramFigure,
    Marker,
    Quantity,
    Reference,
    Series,
    SurfaceFigure,
    format_number,
)

Role = Literal["data", "corrected", "model"]
LEAST_SPHERICITY = 0.85
LEAST_AREA_RATIO = 0.5
ALPHA = 0.01
AXES = {"x": (0.0, 0.0, 1.0), "y": (0.0, 1.0, 0.0), "z": (1.0, 0.0, 0.0)}
ANGLES = (19, 72)  # polar and azimuthal steps of the grid from which the volume is interpolated
LARGEST_VOLUME = 128


@dataclass(frozen=True, eq=False)
class DirectionalFscMeasurement:
    """Numbers first; what the figures and the map need after."""

    sphericity: Quantity
    sphericity_p: Quantity
    area_ratio: Quantity
    area_p: Quantity
    resolution_x: Quantity
    resolution_y: Quantity
    resolution_z: Quantity
    best_cone: Quantity
    worst_cone: Quantity
    spread: Quantity
    undecided: str
    caveats: tuple[str, ...]
    correlation: DirectionalCorrelation = field(repr=False)
    best: NDArray[np.float64] = field(repr=False)
    worst: NDArray[np.float64] = field(repr=False)
    reported_resolution: float | None = field(repr=False)


class DirectionalFsc(Check):
    """What shape has the region of Fourier space in which the half maps agree?

    The FSC is measured in cones of 20° around every direction, from the same sums as the Fourier shell occupancy
    (1.g), with what the mask alone correlates taken off by direction. As a function of frequency and direction it is
    the 3-D FSC, written as a map that can be opened beside the density: a ball for a sound map, a ball with dents or a
    spindle where views are missing.

    Two numbers describe the shape. The sphericity is that of the surface at an FSC of 0.5, as published: 1 for a ball.
    The ratio of conical areas is the smallest area under the FSC of a cone over the largest. Each is compared with
    400 pairs of half maps that are alike in all directions, drawn as for 1.g: what chance and the mask do is in
    them. A number has to lie below 99 % of these and below a limit of its own to be a warning. Intervals come
    from 200 pairs drawn with the anisotropy that was found beyond chance.

    Resolutions along x, y, z and along the best and the worst cone are where the FSC falls below 0.143. The axes
    of the box have no meaning of their own unless the particle has symmetry; they are shown because programs show
    them. The histogram takes directions of equal area.

    1.g and this check are one piece of evidence seen twice: two warnings are not two faults. The sphericity moves
    little for smooth anisotropy: an ellipsoid whose axes differ by a third still has 0.98. A warning here means that
    directions are missing; a pass says nothing about milder anisotropy, which 1.g tells.

    Misleads when the molecule's own signal lies in few directions, as in fibres. The mask spreads signal of strong
    low frequencies into directions that hold none, so that a missing cone looks shallower than it is; cones of 20°
    blur its rim. The number for the worst of many cones is lower than 1 by chance; compare it with the isotropic value.
    """

    code = "1.h"
    title = "Directional (3-D) FSC"
    level = "1"
    needs: ClassVar[tuple[str, ...]] = ("half_maps",)
    criteria = (
        Criterion(
            quantity="sphericity",
            text="The half maps agree in a region like a ball: the sphericity is at least 0.85, or no less than chance "
            "makes it",
            at_least=LEAST_SPHERICITY,
            rule="interval",
            significance="sphericity_p",
            alpha=ALPHA,
            because="Below 0.85 whole directions are missing; a warning also needs a sphericity below that of 99 % of "
            "isotropic half maps",
            warning="The region of agreement is far from a ball: its sphericity is {value}.",
            causes=(
                "Preferred orientations: directions that no particle shows",
                "A missing cone of views",
            ),
            advice="See 1.g, which rests on the same evidence: collect tilted images or change the grid.",
        ),
        Criterion(
            quantity="area_ratio",
            text="No direction falls far behind: the ratio of conical areas is at least 0.5, or no less than chance "
            "makes it",
            at_least=LEAST_AREA_RATIO,
            rule="interval",
            significance="area_p",
            alpha=ALPHA,
            because="Where the worst cone holds less than half of the best, views are missing; one half is the usual "
            "limit. A warning needs the whole 95 % interval below it, and a ratio below that of 99 % of isotropic half "
            "maps",
            warning="The worst direction holds {value} of the agreement of the best.",
            causes=(
                "Preferred orientations: directions that few particles show",
                "A missing cone of views",
            ),
            advice="See 1.g, which rests on the same evidence: collect tilted images or change the grid.",
        ),
    )
    references = (
        Reference(
            text="Tan YZ, Baldwin PR, Davis JH, et al. Addressing preferred specimen orientation in single-particle "
            "cryo-EM through tilting. Nature Methods 14 (2017) 793–796.",
            doi="10.1038/nmeth.4347",
        ),
    )

    def measure(  # type: ignore[override]
        self, directional_fsc: DirectionalCorrelation, reported_resolution: float | None
    ) -> DirectionalFscMeasurement:
        """Read the shape; what cannot be told is Inconclusive before it gets here."""
        d = directional_fsc
        cutoffs = d.found.cone_cutoffs[0]
        repeated = d.repeats.cone_cutoffs
        best, worst = int(np.argmax(cutoffs)), int(np.argmin(cutoffs))

        def resolution(label: str, direction: NDArray, shells: float) -> Quantity:
            # The nearest of the directions that were drawn, at most 3° away, has the same scatter.
            near = int(np.argmax(np.abs(d.directions @ direction)))
            factor = repeated[:, near] / np.median(repeated[:, near])
            value = 1.0 / (shells * d.cone_scale)
            low, high = (float(v) for v in value / np.percentile(factor, [97.5, 2.5]))
            return Quantity(
                label=label,
                value=value,
                unit="Å",
                interval=(low, high),
                confidence=0.95,
                note=direction_text(direction) if label.startswith("Resolution in the") else "",
            )

        along = np.array(list(AXES.values()))
        on_axes = read_cutoffs(d, d.curve(along))
        found = {
            f"resolution_{name}": resolution(f"Resolution along {name}", along[i], float(on_axes[i]))
            for i, name in enumerate(AXES)
        }

        def shape(label: str, value: float, repeats: NDArray, chance: NDArray) -> tuple[Quantity, Quantity]:
            low, high = (float(v) for v in np.percentile(repeats, [2.5, 97.5]))
            alike = np.percentile(chance, [2.5, 50, 97.5])
            quantity = Quantity(
                label=label,
                value=value,
                interval=(min(low, value), max(high, value)),
                confidence=0.95,
                note=f"isotropic half maps: {alike[1]:.3f} (95 % between {alike[0]:.3f} and {alike[2]:.3f})",
            )
            p = (1 + int(np.count_nonzero(chance <= value))) / (1 + len(chance))
            return quantity, Quantity(
                label=f"p of so low a value if all directions were alike ({label[0].lower()}{label[1:]})",
                value=p,
                digits=2,
                note=f"of {DRAWS} isotropic pairs of half maps",
            )

        sphericity, sphericity_p = shape(
            "Sphericity of the surface at FSC 0.5",
            float(d.found.sphericity[0]), d.repeats.sphericity, d.chance.sphericity,
        )  # fmt: skip
        area_ratio, area_p = shape(
            "Ratio of conical areas, worst over best",
            float(d.found.area_ratio[0]), d.repeats.area_ratio, d.chance.area_ratio,
        )  # fmt: skip
        values = 1.0 / (cutoffs * d.cone_scale)
        inner = np.percentile(values, [10, 90])
        expected = np.percentile(1.0 / (d.chance.cone_cutoffs * d.cone_scale), [10, 90], axis=1).mean(axis=1)
        caveats = ["1.g rests on the same coefficients; a warning of both is one fault."]
        undecided = ""
        limited = float(np.mean(cutoffs >= len(d.frequency)))
        if limited > 0.05:
            undecided = (
                f"In {100 * limited:.0f} % of the directions the half maps agree as far as was looked or sampled, so "
                "that the shape is not seen whole"
            )
        return DirectionalFscMeasurement(
            sphericity=sphericity,
            sphericity_p=sphericity_p,
            area_ratio=area_ratio,
            area_p=area_p,
            **found,
            best_cone=resolution("Resolution in the best cone", d.directions[best], float(cutoffs[best])),
            worst_cone=resolution("Resolution in the worst cone", d.directions[worst], float(cutoffs[worst])),
            spread=Quantity(
                label="Range of the resolution over 80 % of the directions",
                value=float(inner[1] - inner[0]),
                unit="Å",
                note=f"from {inner[0]:.3g} to {inner[1]:.3g} Å (10th and 90th percentile); isotropic half maps: "
                f"{expected[1] - expected[0]:.2g} Å",
            ),
            undecided=undecided,
            caveats=tuple(caveats),
            correlation=d,
            best=d.directions[best],
            worst=d.directions[worst],
            reported_resolution=reported_resolution,
        )

    def summary(self, measurement: DirectionalFscMeasurement) -> str:
        m = measurement
        axes = ", ".join(
            f"{format_number(q.value)} Å along {name}"
            for name, q in zip("xyz", (m.resolution_x, m.resolution_y, m.resolution_z), strict=True)
            if isinstance(q.value, float)
        )
        return (
            f"The sphericity of the 3-D FSC is {m.sphericity.text()}; the worst cone holds "
            f"{m.area_ratio.text()} of the best. The half maps agree to {axes}."
        )

    def figures(self, measurement: DirectionalFscMeasurement) -> list[Figure]:
        return [
            _profiles(measurement),
            _histogram(measurement),
            _sphere(measurement),
            _surface(measurement),
        ]

    def maps(self, measurement: DirectionalFscMeasurement) -> list[MapOutput]:
        volume, step = fsc_volume(measurement.correlation)
        # One Å of the viewer is 0.001 1/Å, so that viewers, which expect Å, show it at a size like that of a particle.
        size = 1000.0 * step
        half = (volume.shape[0] // 2) * size
        return [
            MapOutput(
                description=DerivedMap(
                    key="directional_fsc",
                    label="3-D FSC",
                    file="",
                    unit="",
                    description="FSC by frequency and direction, zero frequency at the centre; one Å of the file is "
                    f"0.001 1/Å. The surface at {THRESHOLD} is the resolution in each direction, the one at "
                    f"{SHAPE_THRESHOLD} that whose sphericity is told.",
                    colours_map=False,
                ),
                data=volume,
                pixel_size=size,
                origin=(-half, -half, -half),
            )
        ]


def fsc_volume(d: DirectionalCorrelation, falling: bool = False) -> tuple[NDArray[np.float32], float]:
    """The 3-D FSC on a cube, (n, n, n) with n odd and zero frequency in the middle, and its voxel in 1/Å.

    0 beyond the shells that were summed. Interpolated from cones on a grid of polar and azimuthal angles.
    falling: smoothed over shells, and no higher than anything nearer to the centre, so that a surface has no islands.
    """
    polar = np.linspace(0.0, 0.5 * np.pi, ANGLES[0])
    turn = np.arange(ANGLES[1]) * 2 * np.pi / ANGLES[1]
    z = np.cos(polar)[:, None] * np.ones(len(turn))
    y, x = np.sin(polar)[:, None] * np.sin(turn), np.sin(polar)[:, None] * np.cos(turn)
    curves = d.curve(np.stack([z, y, x], axis=2).reshape(-1, 3))
    if falling:
        curves[1:] = d.reader.smooth(curves[None, 1:])[0]
        curves = np.minimum.accumulate(curves, axis=0)
    shells = len(curves)
    # The last azimuth is followed by the first.
    table = curves.reshape(shells, *ANGLES)
    table = np.concatenate([table, table[:, :, :1]], axis=2).astype(np.float32)
    reach = shells - 1
    step = max(1.0, 2 * reach / (LARGEST_VOLUME - 1))
    side = np.arange(-int(reach / step), int(reach / step) + 1, dtype=np.float32) * np.float32(step)
    kz, ky, kx = np.meshgrid(side, side, side, indexing="ij")
    radius = np.sqrt(kz**2 + ky**2 + kx**2)
    sign = np.where(kz < 0, np.float32(-1), np.float32(1))
    angle = np.arccos(np.clip(np.abs(kz) / np.maximum(radius, np.float32(1e-6)), 0, 1))
    azimuth = np.arctan2(sign * ky, sign * kx) % np.float32(2 * np.pi)
    at = np.stack(
        [radius, angle * np.float32((ANGLES[0] - 1) / (0.5 * np.pi)), azimuth * np.float32(ANGLES[1] / (2 * np.pi))]
    )
    volume = map_coordinates(table, at.reshape(3, -1), order=1, mode="nearest").reshape(radius.shape)
    volume[radius > reach] = 0.0
    return volume.astype(np.float32), d.shell_width * step


def _profiles(m: DirectionalFscMeasurement) -> CurveFigure:
    d = m.correlation
    names = ["x", "y", "z", "best cone", "worst cone"]
    directions = np.array([*AXES.values(), m.best, m.worst])
    curves = d.curve(directions)[1:]
    x = tuple(map(float, d.frequency))
    low, high = (tuple(map(float, v)) for v in d.chance_band)
    series = [
        Series(
            label="all directions (band: any one cone, by chance)",
            x=x,
            y=tuple(map(float, d.average)),
            low=low,
            high=high,
            style="dashed",
            role="expected",
        )
    ]
    roles: tuple[Role, ...] = ("data", "data", "data", "corrected", "model")
    for name, role, curve in zip(names, roles, curves.T, strict=True):
        series.append(Series(label=name, x=x, y=tuple(map(float, curve)), role=role))
    return CurveFigure(
        key="profiles",
        title="FSC by direction",
        caption="The FSC in cones of 20° along the axes of the box and along the best and the worst direction. Curves "
        "of a sound map stay in the band, except the best and the worst, which are picked from 240 directions. "
        "A direction whose curve falls long before the others is badly resolved.",
        alt_text=f"FSC curves: {m.resolution_x.text()} along x, {m.resolution_y.text()} along y, "
        f"{m.resolution_z.text()} along z.",
        series=tuple(series),
        x_label="frequency (1/Å)",
        y_label="FSC",
        x_scale="inverse",
        markers=(
            Marker(axis="y", value=THRESHOLD, label="0.143", role="limit"),
            *reported_marker(m.reported_resolution),
        ),
    )


def _histogram(m: DirectionalFscMeasurement) -> HistogramFigure:
    d = m.correlation
    values = 1.0 / (d.found.cone_cutoffs[0] * d.cone_scale)
    alike = 1.0 / (d.chance.cone_cutoffs * d.cone_scale)
    # A direction that holds nothing must not stretch the axis over all others.
    top = min(float(values.max()), 3.0 * float(np.median(values)))
    low, high = min(float(values.min()), float(alike.min())), max(top, float(np.percentile(alike, 99.9)))
    edges = np.linspace(low, high + 1e-6, 31)
    counts, _ = np.histogram(np.minimum(values, high), edges)
    expected = np.histogram(alike, edges)[0] / len(alike)
    middle = 0.5 * (edges[1:] + edges[:-1])
    return HistogramFigure(
        key="histogram",
        title="Directions by resolution",
        caption="How many of 240 directions of equal area have which resolution (FSC 0.143 in a cone of 20°). The line "
        "is what isotropic half maps show on average: cones hold few coefficients, so that their resolution scatters. "
        "A tail to the right of the line is what is badly resolved."
        + (" The last bar holds all that are coarser still." if values.max() > high else ""),
        alt_text=f"Histogram of directional resolutions, from {m.best_cone.text()} to {m.worst_cone.text()}.",
        edges=tuple(map(float, edges)),
        counts=tuple(map(float, counts)),
        expected=(
            Series(
                label="alike in all directions",
                x=tuple(map(float, middle)),
                y=tuple(map(float, expected)),
                role="expected",
            ),
        ),
        x_label="resolution (Å)",
        y_label="directions",
        markers=(
            Marker(axis="x", value=d.resolution, label=f"global {d.resolution:.3g} Å"),
            *reported_marker(m.reported_resolution, power=1),
        ),
    )


def _sphere(m: DirectionalFscMeasurement) -> Figure:
    d = m.correlation
    values = interpolated(d.directions, 1.0 / (d.found.cone_cutoffs[0] * d.cone_scale), projected_directions())
    return sphere_figure(
        "sphere",
        "Resolution in cones",
        values,
        m.worst,
        "resolution (Å)",
        caption="The resolution in cones of 20° around each direction, as measured, on the half sphere of directions: "
        "the centre of the disc is z, its rim the xy plane, and equal areas are equal areas. The ring marks the "
        "worst cone. Patches of about 20° are what chance makes; a band or a cap is anisotropy.",
        alt_text=f"Disc of directions coloured by resolution, {m.best_cone.text()} to {m.worst_cone.text()}.",
    )


def _surface(m: DirectionalFscMeasurement) -> SurfaceFigure:
    volume, step = fsc_volume(m.correlation, falling=True)
    return SurfaceFigure(
        key="surface",
        title="Where the half maps agree",
        caption="The surface of the 3-D FSC at 0.143 in Fourier space: its distance from the centre along a direction "
        "is the resolution there, in 1/Å. Islands of noise farther out are left out. A sound map gives a ball, with "
        "bumps that chance makes; dents are directions without signal.",
        alt_text=f"Surface of the 3-D FSC from three sides; sphericity {m.sphericity.text()}.",
        arrays={"volume": volume},
        level=THRESHOLD,
        pixel_size=step,
        length_unit="1/Å",
    )
