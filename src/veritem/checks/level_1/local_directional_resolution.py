"""1.f: the resolution around each place along each direction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from veritem.checks.base import Check, Criterion, MapOutput
from veritem.checks.level_1.direction_figures import direction_text, projected_directions, sphere_figure
from veritem.checks.local_figures import coloured_slices
from veritem.checks.markers import reported_marker
from veritem.derived.local_directional import LocalDirectional, logarithms
from veritem.errors import Inconclusive
from veritem.numerics.directions import (
    angle_between,
    evaluate_even,
    even_harmonics,
    fit_even,
    hemisphere,
    quadratic_axis,
    quadratic_values,
)
from veritem.numerics.fsc import point_group_order
from veritem.numerics.local import block_labels
from veritem.numerics.local_directional import (
    CommonPattern,
    Slope,
    block_slope,
    common_pattern,
    cone_coefficients,
    cone_modes,
    radial_and_azimuthal,
    sum_freedom,
    sum_inflation,
)
from veritem.results import (
    Column,
    CurveFigure,
    DerivedMap,
    Figure,
    Marker,
    Quantity,
    Reference,
    Series,
    Table,
    format_number,
)

MOST_ANISOTROPY = 0.10
MOST_EXCESS = 10.0  # %
ALPHA = 0.01
BLOCK = 2.5  # windows: cubes that are drawn
LEAST_BLOCKS = 8
LEAST_RESOLVED = 0.5  # share of the places that must not lie at the finest band
DRAWS = 500  # of the bootstrap over cubes
NEAR, FAR = 45.0, 70.0  # °


@dataclass(frozen=True, eq=False)
class RadialCurves:
    """radius: (bins,) Å. radial, azimuthal: (bins,) Å; their errors in ln."""

    radius: NDArray[np.float64]
    radial: NDArray[np.float64]
    azimuthal: NDArray[np.float64]
    radial_error: NDArray[np.float64]
    azimuthal_error: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LocalDirectionalMeasurement:
    """Numbers first; what the figures and maps need after."""

    noise_anisotropy: Quantity
    noise_p: Quantity
    noise_worst_axis: Quantity
    anisotropy: Quantity
    anisotropy_p: Quantity
    typical: Quantity
    best: Quantity
    best_axis: Quantity
    worst: Quantity
    worst_axis: Quantity
    axis_error: Quantity
    azimuthal_excess: Quantity
    azimuthal_p: Quantity
    azimuthal_change: Quantity
    radial_change: Quantity
    local_anisotropy: Quantity
    resolved: Quantity
    points: Quantity
    window: Quantity
    undecided: str
    caveats: tuple[str, ...]
    local: LocalDirectional = field(repr=False)
    coefficients: NDArray[np.float64] = field(repr=False)  # (points, 15) of ln resolution, cones undone
    pattern: CommonPattern = field(repr=False)
    noise_pattern: CommonPattern = field(repr=False)
    by_direction: NDArray[np.float64] = field(repr=False)  # (directions,) mean ln resolution as measured in cones
    direction_error: NDArray[np.float64] = field(repr=False)
    curves: RadialCurves = field(repr=False)
    reported_resolution: float | None = field(repr=False)


class LocalDirectionalResolution(Check):
    """Is the map resolved alike in all directions, and at its rim as in its middle?

    The half maps are filtered by bands of frequency and by cones around 46 directions of equal area; a cone passes
    half of the power at 20° from its axis. The correlation of the two is averaged in a Gaussian window of 11 Å
    (26 Å wide at half its height) around points 6 Å apart inside the particle. The resolution of a place along a
    direction is where its correlation falls to 0.143, found as the frequency that best parts the bands above the limit
    from those below: a low band that fails by chance does not end the search. Where a part of the window lies
    outside the particle the limit is lowered in proportion, by direction, so that a flat particle does not seem worse
    resolved along its short axis. Bands reach from 15 Å to half beyond the resolution of the whole map.

    At each place the logarithm of the resolution is fitted with even spherical harmonics of degree 2 and 4, and what
    the cones blur is undone. The degree-2 part of the mean over all places gives the best axis, the worst axis and the
    anisotropy: the resolution along the worst less that along the best axis, over the mean, less what chance adds to
    it (in squares).

    A molecule has directions of its own: helices and strands that run one way make its signal stronger across them
    than along them, and so its resolution, in a map without any fault. What missing views change is the noise. So the
    resolution is found a second time with the signal of each place averaged over the directions and the noise left as
    it is along each; the anisotropy of that is what is judged, over the places that are coarser than the finest band.
    The anisotropy with the signal as it is stands beside it.

    What a faulty reconstruction adds points the same way in all places; a molecule's helices point anywhere. So the
    mean pattern is compared with how cubes of 27 Å of the particle differ, by an F test of its five degree-2
    coefficients. A warning needs p of at most 0.01 and an anisotropy above 0.10. This takes the place of a simulation
    of isotropic half maps and needs no model of the molecule; on simulated isotropic pairs small p are as rare as they
    should be. In particles of thousands of places p finds anisotropies of half a percent, and some of those the faces
    of the box make, so that p alone is no warning. Cubes share windows and are not independent; by how much is added up
    over all pairs of points and widens chance and intervals. Symmetric copies count as one.

    Radial resolution is the mean over directions within 45° of the line from the centre of the box to the place,
    azimuthal the mean over those 70° and more away; what all places share is taken off first. Errors of the angles
    blur the azimuthal one, in proportion to the distance from the centre. Slopes against radius of its logarithm and
    of the logarithm of the ratio of the two give by how much the azimuthal resolution worsens from the centre to the
    rim, outright and beyond the radial one, since flexible rims blur both. The smaller of the two is judged at 10 %:
    angles that err by 3° about each axis make 14 % in a ball of 46 Å and 20 % in one of 54 Å.

    Misleads when half maps were filtered by direction before they were deposited: the noise then has the filter's
    pattern, and the axes may be exchanged. Density that a face of the box cuts looks well resolved across that face. A
    blur along one axis changes the signal and not the noise: where that is sure the answer is inconclusive. Where the
    box was not centred on the point about which particles were turned, "radial" has another meaning. Domains that swing
    about the middle blur the azimuthal resolution as errors of the angles do. Particles of few cubes seldom give a
    small p. Values of one place scatter by some percent; only what many places share is sure.
    """

    code = "1.f"
    title = "Local directional resolution"
    level = "1"
    needs: ClassVar[tuple[str, ...]] = ("half_maps",)
    criteria = (
        Criterion(
            quantity="noise_anisotropy",
            text="The noise leaves all directions equally well resolved: the anisotropy of the resolution that it "
            "makes is at most 0.10",
            at_most=MOST_ANISOTROPY,
            significance="noise_p",
            alpha=ALPHA,
            because="A tenth between the best and the worst direction is seen in the map as stretched features; less "
            "is common and harmless. A warning also needs p of at most 0.01",
            warning="Noise differs by direction, in all places alike, so that the map is resolved better along some "
            "directions than along others: the anisotropy is {value}.",
            causes=(
                "Preferred orientations: the resolution is worst along the direction from which most particles are "
                "seen",
                "A missing cone or wedge of views",
                "Half maps that were filtered by direction",
            ),
            advice="Look at the distribution of the particles' angles; see 1.g and 1.h. Collect tilted images or "
            "change the grid; do not read features that are stretched along the worst axis.",
        ),
        Criterion(
            quantity="azimuthal_excess",
            text="The azimuthal resolution worsens by at most 10 % from the centre to the rim, beyond what the radial "
            "one does",
            at_most=MOST_EXCESS,
            rule="interval",
            significance="azimuthal_p",
            alpha=ALPHA,
            because="Errors of the angles blur across the radius and in proportion to it, and nothing else in imaging "
            "does. A warning needs the whole 95 % interval beyond the limit, and p of at most 0.01",
            warning="Towards the rim the map is blurred across the radius more than along it: {value}.",
            causes=(
                "Errors of the particles' angles of two or three degrees",
                "Domains that swing about the middle of the particle",
                "A rim of small or disordered parts that mislead the alignment",
            ),
            advice="Refine the angles locally or with a mask; look for motions of domains by 3-D variability or "
            "classification.",
        ),
    )
    references = (
        Reference(
            text="Vilas JL, Tagare HD, Vargas J, Carazo JM, Sorzano COS. Measuring local-directional resolution and "
            "local anisotropy in cryo-EM maps. Nature Communications 11 (2020) 55.",
            doi="10.1038/s41467-019-13742-w",
        ),
        Reference(
            text="Cardone G, Heymann JB, Steven AC. One number does not fit all: mapping local variations in "
            "resolution in cryo-EM reconstructions. J Struct Biol 184 (2013) 226–236.",
            doi="10.1016/j.jsb.2013.08.002",
        ),
        Reference(
            text="Penczek PA. Reliable cryo-EM resolution estimation with modified Fourier shell correlation. IUCrJ 7 "
            "(2020) 995–1008.",
            doi="10.1107/S2052252520011574",
        ),
    )

    def measure(  # type: ignore[override]
        self,
        local_directional: LocalDirectional,
        symmetry: str,
        reported_resolution: float | None,
        seed: int,
    ) -> LocalDirectionalMeasurement:
        """The pattern that places share, and how it changes with radius. Raises Inconclusive for small particles."""
        local = local_directional
        rng = np.random.default_rng([seed, 0x1F])
        positions = local.grid.positions()
        labels = block_labels(positions, BLOCK * local.window)
        resolved = local.resolved
        if resolved.mean() < LEAST_RESOLVED:
            raise Inconclusive(
                f"{100 * (1 - resolved.mean()):.0f} % of the particle is resolved to {local.finest:.3g} Å or better, "
                "the finest band that fits the pixels: directions that are finer cannot be told apart. Half maps with "
                "smaller pixels would show it."
            )
        known_labels = np.unique(labels[resolved], return_inverse=True)[1]
        blocks = int(known_labels.max()) + 1
        if blocks < LEAST_BLOCKS:
            raise Inconclusive(
                f"The particle fills {blocks} cubes of {BLOCK * local.window:.0f} Å; {LEAST_BLOCKS} are needed to tell "
                "what places share from chance."
            )
        copies = float(np.sqrt(point_group_order(symmetry)))
        values = logarithms(local.resolution)
        cones = np.repeat(cone_coefficients(), [1, 5, 9])
        coefficients = fit_even(local.directions, values).T / cones
        ones = resolved.astype(float)
        inflation = sum_inflation(local.grid, labels, local.reach, ones, (ones,))
        free = sum_freedom(local.grid, labels, local.reach, ones, (ones,), ones[None], inflation)
        widen, free = copies * inflation, max(free / copies**2, 1.0)
        pattern = common_pattern(coefficients[resolved], known_labels, rng, widen, DRAWS)
        shared = _shared(pattern, free)
        even = fit_even(local.directions, logarithms(local.of_even_signal)).T / cones
        noise_pattern = common_pattern(even[resolved], known_labels, rng, widen, DRAWS)
        noise = _shared(noise_pattern, free)
        by_direction, direction_error = _by_direction(values[:, resolved], known_labels, rng, widen)

        common = fit_even(local.directions, by_direction)
        common[0] = 0.0
        own = values - evaluate_even(common, local.directions)[:, None]
        outwards = positions - local.centre
        radius = np.linalg.norm(outwards, axis=1)
        along, across = radial_and_azimuthal(local.directions, outwards)
        known: NDArray[np.bool_] = np.isfinite(along[0]) & np.isfinite(across[0])
        along, across = np.where(known, along, 0.0), np.where(known, across, 0.0)
        lever = np.where(known, radius - radius[known].mean(), 0.0)
        rim = float(np.quantile(radius, 0.95))
        modes = cone_modes(local.directions).T

        def change(weights: NDArray) -> Slope:
            fitted, factors = (known.astype(float), lever), modes @ weights
            inflation = sum_inflation(local.grid, labels, local.reach, lever, fitted, factors)
            free = sum_freedom(local.grid, labels, local.reach, lever, fitted, factors, inflation)
            y = (own * weights).sum(axis=0)
            slope = block_slope(
                radius[known], y[known], labels[known], rng, copies * inflation, max(free / copies**2, 1.0), DRAWS
            )
            return Slope(slope.value * rim, slope.error * rim, slope.freedom)

        excess, outright, radial_change = change(across - along), change(across), change(along)
        radial, azimuthal = (own * along).sum(axis=0), (own * across).sum(axis=0)
        # Both must hold: a radial resolution that improves outwards is no fault, nor is a rim that is worse altogether.
        decisive = min(excess, outright, key=lambda slope: slope.value)
        undecided, caveats = "", []
        total, by_noise = shared["anisotropy"], noise["anisotropy"]
        if pattern.p_value <= ALPHA and float(total.value or 0.0) > max(
            MOST_ANISOTROPY, 2 * float(by_noise.value or 0)
        ):
            undecided = (
                f"The resolution differs by direction (anisotropy {total.text()}), and the noise does not account for "
                "it: the signal is weaker along the worst axis. A molecule whose helices or strands run one way does "
                "that, and so does a blur along that axis; half maps cannot tell which."
            )
        if copies > 1:
            caveats.append(
                f"Symmetry {symmetry}: its copies count as one, and directions that it makes equal are alike by "
                "construction."
            )
        spans = quadratic_values(coefficients)
        return LocalDirectionalMeasurement(
            noise_anisotropy=noise["anisotropy"].model_copy(
                update={"label": "Anisotropy of the resolution that the noise makes"}
            ),
            noise_p=_chance(noise_pattern, "p of so strong a common direction of the noise by chance", blocks, rng),
            noise_worst_axis=noise["worst_axis"].model_copy(update={"label": "Worst axis by the noise"}),
            anisotropy=shared["anisotropy"],
            anisotropy_p=_chance(pattern, "p of so strong a common direction by chance", blocks, rng),
            typical=Quantity(
                label="Mean directional resolution",
                value=float(np.exp(pattern.coefficients[0])),
                unit="Å",
                interval=_interval(pattern.coefficients[0], pattern.draws[:, 0], free, np.exp),
                confidence=0.95,
                note="geometric mean over places and directions, solvent in the windows allowed for",
            ),
            best=shared["best"],
            best_axis=shared["best_axis"],
            worst=shared["worst"],
            worst_axis=shared["worst_axis"],
            axis_error=shared["axis_error"],
            azimuthal_excess=_percent(
                "Azimuthal resolution worsens, centre to rim, outright and beyond the radial (the smaller)", decisive
            ),
            azimuthal_p=Quantity(
                label="p of so large a worsening by chance",
                value=max(excess.p_above, outright.p_above),
                digits=2,
                note="one-sided, the larger of the two",
            ),
            azimuthal_change=_percent("Azimuthal resolution worsens, centre to rim", outright),
            radial_change=_percent("Radial resolution worsens, centre to rim", radial_change),
            local_anisotropy=Quantity(
                label="Anisotropy of one place (median)",
                value=float(np.median(np.exp(spans[:, 0]) - np.exp(spans[:, 2]))),
                digits=2,
                note="the molecule's own directions and chance included",
            ),
            resolved=Quantity(
                label="Part of the particle where directions can be told apart",
                value=100.0 * float(resolved.mean()),
                unit="%",
                note=f"the rest is resolved to {local.finest:.3g} Å or better, the finest band",
            ),
            points=Quantity(
                label="Places",
                value=local.grid.count,
                note=f"{local.grid.strides.mean():.2g} Å apart, {len(local.directions)} directions, {len(local.bands)} "
                "bands",
            ),
            window=Quantity(label="Standard deviation of the window", value=local.window, unit="Å"),
            undecided=undecided,
            caveats=tuple(caveats),
            local=local,
            coefficients=coefficients,
            pattern=pattern,
            noise_pattern=noise_pattern,
            by_direction=by_direction,
            direction_error=direction_error,
            curves=_radial_curves(radius, radial, azimuthal, known, labels, rng, widen, local.window),
            reported_resolution=reported_resolution,
        )

    def summary(self, measurement: LocalDirectionalMeasurement) -> str:
        m = measurement
        assert isinstance(m.best.value, float) and isinstance(m.worst.value, float)
        assert isinstance(m.noise_p.value, float) and isinstance(m.azimuthal_p.value, float)
        return (
            f"The directional resolution is {m.typical.text()} on average; best is {format_number(m.best.value)} Å "
            f"({m.best_axis.value}), worst {format_number(m.worst.value)} Å ({m.worst_axis.value}). The noise makes an "
            f"anisotropy of {m.noise_anisotropy.text()}, p = {format_number(m.noise_p.value, 2)}. From the centre to "
            f"the rim the azimuthal resolution changes by {m.azimuthal_change.text()} and the radial one by "
            f"{m.radial_change.text()}, where more is worse; p of a blur across the radius is "
            f"{format_number(m.azimuthal_p.value, 2)}."
        )

    def tables(self, measurement: LocalDirectionalMeasurement) -> list[Table]:
        c = measurement.curves
        return [
            Table(
                key="radius",
                title="Radial and azimuthal resolution by radius",
                columns=(
                    Column(label="Radius", unit="Å"),
                    Column(label="Radial resolution", unit="Å"),
                    Column(label="Azimuthal resolution", unit="Å"),
                ),
                rows=tuple(
                    (round(float(r), 1), round(float(a), 3), round(float(b), 3))
                    for r, a, b in zip(c.radius, c.radial, c.azimuthal, strict=True)
                ),
                caption="Means over the places at each distance from the centre of the box.",
            )
        ]

    def figures(self, measurement: LocalDirectionalMeasurement) -> list[Figure]:
        m = measurement
        axes = quadratic_axis(m.pattern.coefficients)[1]
        worst = axes[0]
        disc = projected_directions()
        seen = np.isfinite(disc[..., 0])
        values = np.full(disc.shape[:2], np.nan)
        values[seen] = np.exp(evaluate_even(m.pattern.coefficients, disc[seen]))
        marker = reported_marker(m.reported_resolution, power=1, axis="y")
        local_span = _local_extremes(m.coefficients)
        part = m.local.part
        return [
            sphere_figure(
                "directions",
                "Resolution along each direction",
                values,
                worst,
                "resolution (Å)",
                "The mean over all places of the resolution along each direction, on the half of all directions that "
                "point up (+z, the middle of the disc); the rim is the xy plane, and equal areas of the disc are equal "
                "shares of all directions. A sound map has nearly one colour. The ring marks the worst axis: views "
                "along it are too many, or views across it too few.",
                f"Disc of directions coloured by resolution; worst {m.worst_axis.value}, best {m.best_axis.value}.",
            ),
            _angle_figure(m, worst, tuple(marker)),
            _radius_figure(m, tuple(marker)),
            coloured_slices(
                "local_anisotropy",
                "Anisotropy of each place in central slices",
                part.density,
                m.local.on_part(local_span[2]),
                part.index,
                "anisotropy",
                (0.0, float(np.round(np.quantile(local_span[2], 0.98), 2)) or 0.1),
                "viridis",
                "The three slices through the centre of the particle: the mean of the half maps in grey, and below it "
                "how much worse the worst direction of each place is than its best, as a share. Every place has some, "
                "from the molecule's own helices and sheets and by chance; parts that stand out are resolved unevenly.",
            ),
        ]

    def maps(self, measurement: LocalDirectionalMeasurement) -> list[MapOutput]:
        m = measurement
        best, worst, span = _local_extremes(m.coefficients)
        both = np.concatenate([best, worst])
        limits = (float(np.round(np.quantile(both, 0.02), 2)), float(np.round(np.quantile(both, 0.98), 2)))
        grid = m.local.part.density
        told = (
            ("best_directional_resolution", "Best directional resolution", "Å", best, "viridis_r", limits),
            ("worst_directional_resolution", "Worst directional resolution", "Å", worst, "viridis_r", limits),
            (
                "directional_anisotropy", "Anisotropy of the resolution", "", span, "viridis",
                (0.0, float(np.round(np.quantile(span, 0.98), 2)) or 0.1),
            ),
        )  # fmt: skip
        return [
            MapOutput(
                description=DerivedMap(
                    key=key,
                    label=label,
                    file="",
                    unit=unit,
                    description=f"{label} around each place, from the degree-2 part of its directional resolution; "
                    "0 outside the particle.",
                    colours_map=True,
                    colour_limits=colours,
                    palette=palette,
                ),
                data=m.local.on_part(values),
                pixel_size=grid.pixel_size,
                origin=grid.origin,
            )
            for key, label, unit, values, palette, colours in told
        ]


def _interval(value: float, draws: NDArray, free: float, back: np.ufunc) -> tuple[float, float]:
    """95 % from the scatter of bootstrap draws, with the t of `free` degrees; `back` undoes the logarithm."""
    reach = float(student.ppf(0.975, free) * np.std(draws))
    return float(back(value - reach)), float(back(value + reach))


def _chance(pattern: CommonPattern, label: str, blocks: int, rng: np.random.Generator) -> Quantity:
    return Quantity(
        label=label,
        value=pattern.p_value,
        digits=2,
        note=f"F test over {blocks} cubes; without a common direction chance reaches "
        f"{np.expm1(pattern.chance_span(rng)):.2g} in 5 % of cases",
    )


def _shared(pattern: CommonPattern, free: float) -> dict[str, Quantity]:
    """The degree-2 part of the common pattern as resolutions, axes and anisotropy, with intervals."""
    values, axes = quadratic_axis(pattern.coefficients)
    worst_axis, best_axis = axes[0], axes[2]
    mean = pattern.coefficients[0]
    # Along the axes that were found: a draw's own axes would add its scatter to the span once more.
    along = even_harmonics(np.stack([best_axis, worst_axis]), 2)
    drawn = pattern.draws[:, :6] @ along.T
    away = pattern.draws - pattern.coefficients
    forms = quadratic_values(away)
    chance = float(np.mean((forms[:, 0] - forms[:, 2]) ** 2))
    span = float(values[0] - values[2])
    left = float(np.sqrt(max(span**2 - chance, 0.0)))
    scale = float(np.exp(values[0]) - np.exp(values[2])) / span if span > 0 else 1.0
    low, high = _interval(left, drawn[:, 1] - drawn[:, 0], free, np.positive)
    turned = [quadratic_axis(draw)[1] for draw in pattern.draws]
    off = [
        float(np.quantile([angle_between(draw[i], axis) for draw in turned], 0.95))
        for i, axis in ((2, best_axis), (0, worst_axis))
    ]

    def resolution(label: str, value: float, draws: NDArray) -> Quantity:
        return Quantity(
            label=label,
            value=float(np.exp(mean + value)),
            unit="Å",
            interval=_interval(mean + value, draws, free, np.exp),
            confidence=0.95,
        )

    return {
        "anisotropy": Quantity(
            label="Anisotropy: worst less best directional resolution, over the mean",
            value=scale * left,
            interval=(max(0.0, scale * low), scale * high),
            confidence=0.95,
            digits=2,
            note="degree-2 part, less what chance adds",
        ),
        "best": resolution("Resolution along the best axis", float(values[2]), drawn[:, 0]),
        "worst": resolution("Resolution along the worst axis", float(values[0]), drawn[:, 1]),
        "best_axis": Quantity(
            label="Best axis", value=direction_text(best_axis), note=f"95 % of draws lie within {off[0]:.0f}°"
        ),
        "worst_axis": Quantity(
            label="Worst axis", value=direction_text(worst_axis), note=f"95 % of draws lie within {off[1]:.0f}°"
        ),
        "axis_error": Quantity(
            label="Error of the surer of the two axes (95 %)",
            value=min(off),
            unit="°",
            digits=2,
            note="an axis around which all directions are alike leaves the other one open",
        ),
    }


def _by_direction(
    values: NDArray, labels: NDArray[np.int64], rng: np.random.Generator, widen: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean ln resolution of each direction, and its standard error beside the mean of all directions."""
    blocks = int(labels.max()) + 1
    relative = values - values.mean(axis=0)
    sums = np.stack([np.bincount(labels, row, minlength=blocks) for row in relative], axis=1)
    counts = np.bincount(labels, minlength=blocks)
    picks = rng.multinomial(blocks, np.full(blocks, 1.0 / blocks), size=DRAWS)
    means = (picks @ sums) / np.maximum(picks @ counts, 1)[:, None]
    return values.mean(axis=1), widen * means.std(axis=0)


def _radial_curves(
    radius: NDArray,
    radial: NDArray,
    azimuthal: NDArray,
    known: NDArray[np.bool_],
    labels: NDArray[np.int64],
    rng: np.random.Generator,
    widen: float,
    window: float,
) -> RadialCurves:
    """Means in shells half a window thick that hold ten places at least; the others join a neighbour."""
    shell = np.floor(radius / (0.5 * window)).astype(np.int64)
    held = np.bincount(shell[known])
    cubes = np.array([np.unique(labels[known & (shell == k)]).size for k in range(held.size)])
    # Fewer than four cubes give no error of a mean.
    full = np.flatnonzero((held >= 10) & (cubes >= 4))
    if not full.size:
        full = np.array([int(np.argmax(cubes))])
    where = full[np.clip(np.searchsorted(full, shell, side="right") - 1, 0, len(full) - 1)]
    rows = []
    for one in full:
        chosen = np.flatnonzero(known & (where == one))
        own = np.unique(labels[chosen], return_inverse=True)[1]
        blocks = int(own.max()) + 1
        picks = rng.multinomial(blocks, np.full(blocks, 1.0 / blocks), size=200)
        counts = picks @ np.bincount(own)
        row = [radius[chosen].mean()]
        for y in (radial, azimuthal):
            drawn = (picks @ np.bincount(own, y[chosen])) / np.maximum(counts, 1)
            row += [y[chosen].mean(), widen * drawn.std()]
        rows.append(row)
    r, a, ae, b, be = np.array(rows).T
    return RadialCurves(r, np.exp(a), np.exp(b), ae, be)


def _local_extremes(coefficients: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Best and worst directional resolution of each place (Å), and worst less best over the mean."""
    forms, mean = quadratic_values(coefficients), coefficients[:, 0]
    best, worst = np.exp(mean + forms[:, 2]), np.exp(mean + forms[:, 0])
    return best, worst, (worst - best) / np.exp(mean)


def _percent(label: str, slope: Slope) -> Quantity:
    low, high = slope.interval()
    return Quantity(
        label=label,
        value=100.0 * float(np.expm1(slope.value)),
        unit="%",
        interval=(100.0 * float(np.expm1(low)), 100.0 * float(np.expm1(high))),
        confidence=0.95,
        digits=2,
        note="from a straight line through ln resolution against radius, up to the radius that 95 % lie within",
    )


def _angle_figure(m: LocalDirectionalMeasurement, worst: NDArray, markers: tuple[Marker, ...]) -> CurveFigure:
    angles = np.array([angle_between(d, worst) for d in m.local.directions])
    order = np.argsort(angles)
    mean, value = m.pattern.coefficients[0], m.by_direction[order]
    fine = hemisphere(2000)
    cones = np.repeat(cone_coefficients(), [1, 5, 9])
    fitted = evaluate_even(m.pattern.coefficients * cones, fine)
    of_noise = m.noise_pattern.coefficients * cones
    of_noise[0] = mean
    by_noise = evaluate_even(of_noise, fine)
    fine_angle = np.degrees(np.arccos(np.minimum(np.abs(fine @ worst), 1.0)))
    edges = np.linspace(0, 90, 19)
    bins = np.clip(np.digitize(fine_angle, edges) - 1, 0, 17)
    middle = np.array([fine_angle[bins == b].mean() for b in range(18)])
    line, noise_line = (np.array([y[bins == b].mean() for b in range(18)]) for y in (fitted, by_noise))
    usual = 1.96 * float(np.median(m.direction_error))
    return CurveFigure(
        key="angles",
        title="Resolution against the angle from the worst axis",
        caption="Each point is one of the 46 directions, averaged over all places. The line is the smooth pattern "
        "through them, averaged around the axis. The band is where 95 % of the points of a map without any anisotropy "
        "would lie. A line that falls out of the band from left to right means that the map is smeared along the worst "
        "axis. The dashed line is what the noise alone makes of it: where it falls too, views are missing; where it is "
        "level, the molecule's own signal has a direction.",
        alt_text=f"Directional resolution from {np.exp(value[0]):.2f} Å near the worst axis to "
        f"{np.exp(value[-1]):.2f} Å across it.",
        series=(
            Series(
                label="alike in all directions",
                x=(0.0, 90.0),
                y=(float(np.exp(mean)),) * 2,
                low=(float(np.exp(mean - usual)),) * 2,
                high=(float(np.exp(mean + usual)),) * 2,
                role="expected",
            ),
            Series(
                label="46 directions",
                x=tuple(angles[order]),
                y=tuple(np.exp(value)),
                style="points",
                role="data",
            ),
            Series(label="smooth pattern", x=tuple(middle), y=tuple(np.exp(line)), role="model"),
            Series(
                label="of the noise alone",
                x=tuple(middle),
                y=tuple(np.exp(noise_line)),
                style="dashed",
                role="corrected",
            ),
        ),
        x_label="Angle from the worst axis (°)",
        y_label="Resolution (Å)",
        markers=markers,
    )


def _radius_figure(m: LocalDirectionalMeasurement, markers: tuple[Marker, ...]) -> CurveFigure:
    c = m.curves

    def series(label: str, y: NDArray, error: NDArray, role: str) -> Series:
        return Series(
            label=label,
            x=tuple(c.radius),
            y=tuple(y),
            low=tuple(y * np.exp(-1.96 * error)),
            high=tuple(y * np.exp(1.96 * error)),
            role=role,  # type: ignore[arg-type]
        )

    return CurveFigure(
        key="radius",
        title="Radial and azimuthal resolution against radius",
        caption=f"The mean resolution along directions within {NEAR:g}° of the radius (radial) and along those "
        f"{FAR:g}° and more from it (azimuthal), at each distance from the centre of the box, with 95 % bands. Where "
        "the angles of the particles are right the two run together. Where they are wrong the azimuthal curve rises "
        "away from the radial one towards the rim.",
        alt_text=f"Radial resolution from {c.radial[0]:.2f} to {c.radial[-1]:.2f} Å and azimuthal resolution from "
        f"{c.azimuthal[0]:.2f} to {c.azimuthal[-1]:.2f} Å, centre to rim.",
        series=(
            series("radial", c.radial, c.radial_error, "data"),
            series("azimuthal", c.azimuthal, c.azimuthal_error, "corrected"),
        ),
        x_label="Distance from the centre (Å)",
        y_label="Resolution (Å)",
        markers=markers,
    )
