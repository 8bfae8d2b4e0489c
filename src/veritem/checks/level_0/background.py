"""0.c: the background of the map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from veritem.checks.base import Check, Criterion, quantities_of
from veritem.derived.noise import NoiseRegion, NoiseSpectrum
from veritem.errors import NotApplicable
from veritem.numerics.background import BackgroundStatistics, background_statistics
from veritem.numerics.density_map import DensityMap
from veritem.results import (
    Column,
    CurveFigure,
    Figure,
    HistogramFigure,
    ImageFigure,
    Marker,
    Outcome,
    Panel,
    Quantity,
    Reference,
    Series,
    Table,
)

SURROGATES = 399
# |z| above which voxels are joined into clusters.
CLUSTER_LEVEL = 4.0
# The family-wise rate at which sound noise is called significant.
ALPHA = 0.01

_CALIBRATED = (
    "Noise alone breaks none of the five limits in 99 of 100 maps: the p-value of each is that of all five tests "
    "together, against simulated noise of the same spectrum."
)


@dataclass(frozen=True, eq=False)
class BackgroundMeasurement:
    """What 0.c measured. Densities relative to the particle's mean density above the background, or to the standard
    deviation of the noise where that is larger (a map that shows no particle)."""

    offset: Quantity
    halo: Quantity
    shell: Quantity
    outlier_excess: Quantity
    cluster_ratio: Quantity
    directional_excess: Quantity
    family_p: Quantity
    offset_p: Quantity
    halo_p: Quantity
    highest_p: Quantity
    cluster_p: Quantity
    direction_p: Quantity
    background_mean: Quantity
    noise_sigma: Quantity
    contrast: Quantity
    region_fraction: Quantity
    independent_voxels: Quantity
    highest: Quantity
    largest_cluster: Quantity
    statistics: BackgroundStatistics
    region: NDArray[np.bool_]
    pixel_size: float
    reference: float
    box_mean: float
    caveats: tuple[str, ...]
    undecided: str = ""


class Background(Check):
    """Is the background structureless noise of mean zero?

    Far from the particle a reconstruction holds noise and nothing else. A mean that is not zero, a dark or bright rim
    around the particle, voxels that stand out, or streaks along one direction are left by something else: a wrong
    CTF, a mask, bad micrographs, a part of the particle that the contour level leaves out.

    The background is what lies farther from the particle than 10 Å and than three times the resolution, where the
    map does vary as noise does (a halo is looked for from 5 Å, and one and a half times the resolution, on); what was
    masked, padded or flattened is left out, with the border of the mask. The centre of the noise is its median, its
    strength comes from the median absolute deviation, step by step with the distance from the centre of the box,
    since noise of a reconstruction is seldom even.

    Five things are measured. The offset is the mean over blocks that are longer than the noise is correlated, as a
    share of the particle's mean density. The halo is the mean by distance from the particle. Outliers are the voxel
    that stands out most and the largest connected group of voxels above 4 σ. Streaks show as a direction in Fourier
    space, a cap of 20° around it or a belt of 10° across it, in which the noise is stronger or weaker than elsewhere.

    Neighbouring voxels are not independent, so that no textbook p-value holds. Noise fields are simulated instead, 399
    of them (99 where those already show nothing unusual), with the spectrum measured in the background, seen through
    the same region and measured in the same way. Each field answers all five questions; its most striking answer is
    compared with that of the map, so that one sound map of a hundred is called significant by any of the five. On
    boxes longer than 96 voxels the fine questions are simulated on tiles of 64 voxels, and the law of the highest
    voxel (Poisson, with the tail of a Gaussian field) is carried over to the whole background.

    Significant is not large: with millions of voxels an offset of a thousandth of the particle's density is certain,
    and harmless. A warning needs both, a p-value of at most 0.01 and an effect beyond its limit; a certain but small
    effect is told in the summary.

    Misleads when the particle's flexible or disordered parts, a detergent belt or a neighbouring particle lie in the
    background: they are density, and are reported as outliers or as a halo. When symmetry was imposed, the noise
    repeats and is stronger along the axes of symmetry, which the simulated noise does not know. When a program set
    the mean of the box to zero, the background is negative by the particle's share of the box; this is recognised and
    not warned about. A map that was low-passed, or blurred by resampling, holds fewer independent voxels, and weaker
    faults go unseen. A background that was masked or flattened cannot be judged at all.
    """

    code = "0.c"
    title = "Background"
    level = "0"
    criteria = (
        Criterion(
            quantity="offset",
            text="The mean of the background is within 5 % of the particle's density",
            at_least=-0.05,
            at_most=0.05,
            significance="offset_p",
            alpha=ALPHA,
            because="A working limit: a smaller offset is within what a contour level is uncertain by. " + _CALIBRATED,
            warning="The mean of the background is {value} of the particle's density; expected {limit}.",
            causes=(
                "the mean of the box, not that of the background, was set to zero",
                "particles were normalised with a background circle that cuts the particle",
                "a constant was added by a conversion or a filter",
            ),
            advice="Look at the particles' normalisation; subtract the background before contour levels are compared.",
        ),
        Criterion(
            quantity="halo",
            text="No dark rim deeper than 10 % of the particle's density lies around the particle",
            at_least=-0.10,
            significance="halo_p",
            alpha=ALPHA,
            because="A working limit: a rim of 10 % takes as much from all density beside it. " + _CALIBRATED,
            warning="A dark rim of {value} of the particle's density lies around the particle; expected {limit}.",
            causes=(
                "an error of the CTF correction at low frequency (defocus, amplitude contrast, phase flipping only)",
                "a high-pass filter",
                "particles were extracted in boxes too small for the delocalisation at this defocus",
            ),
            advice="Compare with the unfiltered map; check defocus and amplitude contrast, and the extraction box.",
        ),
        Criterion(
            quantity="shell",
            text="No bright rim above 10 % of the particle's density lies around the particle",
            at_most=0.10,
            significance="halo_p",
            alpha=ALPHA,
            because="A working limit, that of the dark rim: density this strong belongs to something. " + _CALIBRATED,
            warning="A bright rim of {value} of the particle's density lies around the particle; expected {limit}.",
            causes=(
                "the contour level leaves out a part of the sample: detergent, lipid, a flexible domain",
                "neighbouring particles in the extraction box",
            ),
            advice="Look at the map at a lower contour level.",
        ),
        Criterion(
            quantity="outlier_excess",
            text="The voxel that stands out most does so by at most 1 σ more than in noise",
            at_most=1.0,
            significance="highest_p",
            alpha=ALPHA,
            because="A working limit: voxels of 6 σ reach it in a small box. " + _CALIBRATED,
            warning="The voxel that stands out most does so by {value} more than noise would; expected {limit}.",
            causes=(
                "density of the sample that the contour level leaves out",
                "bad pixels, gold or ice contamination in the particles",
                "amplified noise near an axis of symmetry",
            ),
            advice="Look at the marked places of the slices; the table names the voxels.",
        ),
        Criterion(
            quantity="cluster_ratio",
            text="No group of voxels above 4 σ is larger than twice the largest of noise",
            at_most=2.0,
            significance="cluster_p",
            alpha=ALPHA,
            because="Noise makes a group of half this size in one map of five hundred. " + _CALIBRATED,
            warning="The largest group of voxels above 4 σ is {value} times the largest that noise makes; "
            "expected {limit}.",
            causes=(
                "density of the sample that the contour level leaves out: dust, detergent, a flexible domain",
                "neighbouring particles in the extraction box",
                "amplified noise near an axis of symmetry",
            ),
            advice="Look at the marked places of the slices at a lower contour level.",
        ),
        Criterion(
            quantity="directional_excess",
            text="The noise is equally strong in all directions within 30 %",
            at_least=-0.30,
            at_most=0.30,
            significance="direction_p",
            alpha=ALPHA,
            because="A working limit: streaks along one direction reach it at a third of the noise. " + _CALIBRATED,
            warning="In one direction of Fourier space the noise differs by {value} from the mean; expected {limit}.",
            causes=(
                "few or unevenly spread views (preferred orientation)",
                "streaks of single bright particles or of contamination",
                "a filter or a resampling that does not treat the axes alike",
            ),
            advice="Look at the distribution of the views, and at the directional resolution with half maps.",
        ),
    )
    references = (
        Reference(
            text="Sorzano COS, Vilas JL, Ramírez-Aportela E, et al. Image processing tools for the validation of "
            "CryoEM maps. Faraday Discussions 240 (2022) 210–227.",
            doi="10.1039/d2fd00059h",
        ),
        Reference(
            text="Westfall PH, Young SS. Resampling-based multiple testing: examples and methods for p-value "
            "adjustment. Wiley (1993)."
        ),
        Reference(
            text="Adler RJ, Taylor JE. Random fields and geometry. Springer (2007).",
            doi="10.1007/978-0-387-48116-6",
        ),
        Reference(
            text="Phipson B, Smyth GK. Permutation p-values should never be zero. Statistical Applications in "
            "Genetics and Molecular Biology 9 (2010) 39.",
            doi="10.2202/1544-6115.1585",
        ),
    )

    def measure(  # type: ignore[override]
        self,
        density_map: DensityMap,
        mask_distance: NDArray[np.float32],
        noise_region: NoiseRegion,
        noise_spectrum: NoiseSpectrum,
        seed: int,
        threads: int,
    ) -> BackgroundMeasurement:
        if not noise_region.available:
            raise NotApplicable(noise_region.reason)
        found = background_statistics(
            density_map.data,
            noise_region.mask,
            noise_region.rim,
            mask_distance,
            noise_region.margin,
            density_map.pixel_size,
            noise_region.centre,
            noise_region.sigma,
            noise_spectrum.covariance,
            noise_spectrum.independent_voxels / noise_region.voxels,
            cluster_level=CLUSTER_LEVEL,
            surrogates=SURROGATES,
            seed=seed,
            threads=threads,
        )
        return measurement(found, density_map, noise_region, noise_spectrum)

    def summary(self, m: BackgroundMeasurement) -> str:
        judged = [c.judge(quantities_of(m)) for c in self.criteria]
        beyond = [r for r in judged if r is not None and r.outcome is Outcome.WARNING]
        significant = [name for name, p in m.statistics.p.items() if p <= ALPHA]
        named = {
            "offset": "an offset",
            "halo": "a rim around the particle",
            "highest": "a voxel that stands out",
            "cluster": "a group of voxels that stands out",
            "direction": "noise that depends on direction",
        }
        family = f"family-wise p {m.statistics.family_p:.2g}, limit {ALPHA:g}"
        if not significant and m.offset.value is None:
            return f"Nothing stands out of the background ({family}), but it is too small for its mean to be judged."
        if not significant:
            return (
                f"The background is noise as far as can be told ({family}): mean {_percent(m.offset)} of the "
                f"particle's density, highest voxel {m.highest.text()}."
            )
        found = ", ".join(named[name] for name in significant)
        if not beyond:
            return f"The background shows {found} ({family}), too small to matter."
        return f"The background is not noise alone: it shows {found} ({family})."

    def tables(self, m: BackgroundMeasurement) -> list[Table]:
        s = m.statistics
        rows = tuple(
            (
                *(int(i) for i in s.peaks[k][::-1]),
                round(float(s.peak_z[k]), 2),
                int(s.peak_size[k]),
            )
            for k in range(min(10, len(s.peaks)))
        )
        tests = (
            ("Offset of the mean", _percent(m.offset), s.p.get("offset")),
            ("Rim around the particle", f"{_percent(m.halo)} to {_percent(m.shell)}", s.p.get("halo")),
            ("Highest voxel", m.highest.text(), s.p.get("highest")),
            ("Largest group above 4 σ", m.largest_cluster.text(), s.p.get("cluster")),
            ("Dependence on direction", _percent(m.directional_excess), s.p.get("direction")),
        )
        tables = [
            Table(
                key="tests",
                title="The five tests",
                columns=(Column(label="Test"), Column(label="Effect"), Column(label="p, adjusted for all five")),
                rows=tests,
                caption=f"p-values against {s.surrogates} simulated noise fields; the smallest possible is "
                f"{1 / (s.surrogates + 1):.2g}. The smallest of the five is the family-wise p-value.",
            )
        ]
        if rows:
            tables.append(
                Table(
                    key="outliers",
                    title="Where the background stands out",
                    columns=(
                        Column(label="x", unit="voxel"),
                        Column(label="y", unit="voxel"),
                        Column(label="z", unit="voxel"),
                        Column(label="height", unit="σ"),
                        Column(label="voxels above 4 σ"),
                    ),
                    rows=rows,
                    caption="The ten highest groups, counted from voxel 0. In noise the highest voxel of this "
                    f"background is at {s.highest_expected:.2f} σ, and above {s.highest_limit:.2f} σ in few maps.",
                )
            )
        return tables

    def figures(self, m: BackgroundMeasurement) -> list[Figure]:
        figures: list[Figure] = [_histogram(m), _slices(m)]
        if "halo" in m.statistics.p:
            figures.insert(1, _profile(m))
        if "direction" in m.statistics.p:
            figures.append(_directions(m))
        return figures


def measurement(
    found: BackgroundStatistics, density_map: DensityMap, region: NoiseRegion, spectrum: NoiseSpectrum
) -> BackgroundMeasurement:
    """Turn the statistics into quantities relative to the particle."""
    seen = bool(np.isfinite(region.contrast) and region.contrast > region.sigma)
    reference = region.contrast if seen else region.sigma
    box_mean = float(density_map.data.mean(dtype=np.float64))
    offset = found.mean / reference
    interval = (found.mean_interval[0] / reference, found.mean_interval[1] / reference)
    caveats = []
    note = ""
    # A box whose mean was set to zero: the background has to be as negative as the particle's share of the box.
    if offset < -0.05 and abs(box_mean) < 0.02 * abs(found.mean):
        note = f"{100 * offset:.1f} % before the box mean of zero is allowed for"
        caveats.append(
            f"The mean of the whole box is zero, which puts the background at {100 * offset:.1f} % of the particle's "
            "density. A program did this; it is not a fault, and it is not counted as an offset."
        )
        offset, interval = 0.0, (interval[0] - offset, interval[1] - offset)
    if not seen:
        caveats.append(
            "The density inside the mask does not rise above the noise; effects are relative to the noise's standard "
            "deviation instead of the particle's density."
        )
    undecided = []
    if "offset" not in found.p:
        undecided.append(
            f"only {found.blocks} blocks of noise hold a mean, too few to judge an offset or a halo: the box is too "
            "tight, or most of it is masked"
        )
    if found.symmetry:
        folds = ", ".join(f"{n}-fold" for n in sorted(set(found.symmetry), reverse=True))
        caveats.append(
            f"The noise repeats about axes through the centre ({folds}): "
            "symmetry was imposed, and noise is stronger on its axes. Outliers there count divided by the root of "
            "the order; fewer voxels are independent than is assumed, so p-values of small effects are too small."
        )
    if "direction" not in found.p:
        caveats.append(
            "The strength of the noise was not compared between directions: there is too little background, or its "
            "noise fills too few frequencies (a map that is sampled coarsely, or was blurred)."
        )

    def p(name: str, label: str) -> Quantity:
        return Quantity(label=label, value=found.p.get(name), digits=2, note=f"of {found.surrogates} surrogates")

    return BackgroundMeasurement(
        offset=Quantity(
            label="Mean of the background / particle's density",
            value=offset if "offset" in found.p else None,
            interval=interval if "offset" in found.p else None,
            confidence=0.95 if "offset" in found.p else None,
            digits=2,
            note=note,
        ),
        halo=_rim_quantity(found, reference, "Deepest rim / particle's density", -1.0),
        shell=_rim_quantity(found, reference, "Highest rim / particle's density", 1.0),
        outlier_excess=Quantity(
            label="Highest voxel, beyond what noise would show",
            value=found.highest - found.highest_expected,
            unit="σ",
            digits=2,
            note=f"noise alone: {found.highest_expected:.2f} σ",
        ),
        cluster_ratio=Quantity(
            label="Largest group above 4 σ / largest of noise",
            value=found.largest_cluster / found.cluster_limit,
            digits=2,
            note=f"largest of noise: {found.cluster_limit:.0f} voxels",
        ),
        directional_excess=_direction_quantity(found),
        family_p=Quantity(label="Family-wise p-value", value=found.family_p, digits=2),
        offset_p=p("offset", "p of the offset, adjusted"),
        halo_p=p("halo", "p of the rim, adjusted"),
        highest_p=p("highest", "p of the highest voxel, adjusted"),
        cluster_p=p("cluster", "p of the largest group, adjusted"),
        direction_p=p("direction", "p of the dependence on direction, adjusted"),
        background_mean=Quantity(
            label="Mean of the background",
            value=found.mean if "offset" in found.p else region.centre,
            unit="grey values",
            interval=found.mean_interval if "offset" in found.p else None,
            confidence=0.95 if "offset" in found.p else None,
            note=f"over {found.blocks} blocks of {found.block_edge} voxels",
        ),
        noise_sigma=Quantity(label="Standard deviation of the noise (robust)", value=region.sigma, unit="grey values"),
        contrast=Quantity(
            label="Mean density of the particle above the background",
            value=region.contrast if np.isfinite(region.contrast) else None,
            unit="grey values",
        ),
        region_fraction=Quantity(label="Share of the box that is background", value=region.fraction, digits=2),
        independent_voxels=Quantity(
            label="Independent voxels in the background",
            value=round(spectrum.independent_voxels),
            digits=3,
            note=f"of {region.voxels}; N (ΣP)² / (K ΣP²) from the power spectrum P of the noise",
        ),
        highest=Quantity(label="Highest voxel of the background", value=found.highest, unit="σ"),
        largest_cluster=Quantity(label="Largest group of voxels above 4 σ", value=found.largest_cluster, unit="voxels"),
        statistics=found,
        region=region.mask,
        pixel_size=density_map.pixel_size,
        reference=reference,
        box_mean=box_mean,
        caveats=tuple(caveats),
        undecided=_sentence("; ".join(undecided)),
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "." if text else ""


def _rim_quantity(found: BackgroundStatistics, reference: float, label: str, sign: float) -> Quantity:
    """The deepest (sign -1) or highest (sign 1) departure of the profile by distance, 0 where there is none."""
    if "halo" not in found.p:
        return Quantity(label=label, value=None)
    rim = found.departure / reference
    error = found.halo_limit * found.departure_error / reference
    at = int(np.argmax(sign * rim))
    value = float(rim[at]) if sign * rim[at] > 0 else 0.0
    return Quantity(
        label=label,
        value=value,
        interval=(value - float(error[at]), value + float(error[at])),
        confidence=0.99,
        digits=2,
        note=f"at {found.distance[at]:.0f} Å from the particle; interval simultaneous over distances and tests",
    )


def _direction_quantity(found: BackgroundStatistics) -> Quantity:
    label = "Noise power in the direction that stands out most, relative to the mean"
    if "direction" not in found.p:
        return Quantity(label=label, value=None)
    at = int(np.argmax(np.abs(found.relative_power / found.relative_power_error)))
    value, error = float(found.relative_power[at]), found.direction_limit * float(found.relative_power_error[at])
    return Quantity(label=label, value=value, interval=(value - error, value + error), confidence=0.99, digits=2)


def _percent(quantity: Quantity) -> str:
    if quantity.value is None:
        return "not determinable"
    return f"{100 * float(quantity.value):+.1f} %".replace("-", "−")


# --- figures --------------------------------------------------------------------------------------------------


def _histogram(m: BackgroundMeasurement) -> HistogramFigure:
    s = m.statistics
    values = s.z[m.region]
    reach = float(min(12.0, max(6.0, np.ceil(s.highest))))
    counts, edges = np.histogram(np.clip(values, -reach, reach), bins=round(10 * reach), range=(-reach, reach))
    expected = values.size * np.diff(norm.cdf(edges))
    middle = 0.5 * (edges[1:] + edges[:-1])
    visible = expected >= 0.1
    return HistogramFigure(
        key="histogram",
        title="Background against noise",
        caption="How many voxels of the background have which density, in standard deviations of the noise. The line "
        "is what Gaussian noise gives. Bars that rise above the line far from 0 are density, or artefacts; between "
        "the vertical lines lies what the highest voxel of noise reaches.",
        alt_text=f"Histogram of the background, largest deviation {s.highest:.1f} σ, expected {s.highest_expected:.1f}",
        edges=tuple(map(float, edges)),
        counts=tuple(map(float, counts)),
        expected=(
            Series(
                label="Gaussian noise",
                x=tuple(map(float, middle[visible])),
                y=tuple(map(float, expected[visible])),
                role="expected",
            ),
        ),
        x_label="density (σ of the noise)",
        y_scale="log",
        markers=(
            Marker(axis="x", value=s.highest_limit, label="noise stays within", role="limit"),
            Marker(axis="x", value=-s.highest_limit, role="limit"),
        ),
    )


def _profile(m: BackgroundMeasurement) -> CurveFigure:
    s = m.statistics
    band = 100 * s.halo_limit * s.departure_error / m.reference
    x = tuple(map(float, s.distance))
    return CurveFigure(
        key="profile",
        title="Background by distance from the particle",
        caption="Mean density of the background at each distance from the particle, less the mean of all of it. The "
        "band is where noise stays at all distances together in 99 % of maps. A dip below −10 % near the "
        "particle is a dark rim; a rise is density that the contour level left out.",
        alt_text=f"Radial profile from {s.distance[0]:.0f} to {s.distance[-1]:.0f} Å, lowest {_percent(m.halo)}",
        series=(
            Series(
                label="background",
                x=x,
                y=tuple(map(float, 100 * s.departure / m.reference)),
                low=None,
                high=None,
                style="points",
            ),
            Series(
                label="noise alone",
                x=x,
                y=tuple(0.0 for _ in x),
                low=tuple(map(float, -band)),
                high=tuple(map(float, band)),
                style="dashed",
                role="expected",
            ),
        ),
        x_label="distance from the particle (Å)",
        y_label="mean density (% of the particle's)",
        markers=(
            Marker(axis="y", value=-10.0, label="limit", role="limit"),
            Marker(axis="y", value=10.0, role="limit"),
        ),
    )


def _slices(m: BackgroundMeasurement) -> ImageFigure:
    """The slice along each axis in which the background varies most."""
    s = m.statistics
    panels, arrays = [], {}
    for axis, name in enumerate("zyx"):
        others = tuple(a for a in range(3) if a != axis)
        counts = m.region.sum(axis=others)
        squares = np.einsum(f"zyx,zyx->{name}", s.z, s.z)
        variance = np.where(counts >= 0.2 * counts.max(), squares / np.maximum(counts, 1), 0.0)
        index = int(np.argmax(variance))
        image = np.take(s.z, index, axis=axis)
        inside = np.take(m.region, index, axis=axis)
        arrays[f"image_{name}"] = np.where(inside, image, np.nan).astype(np.float32)
        arrays[f"outliers_{name}"] = np.abs(image) > s.highest_limit
        panels.append(
            Panel(
                label=f"{name} = {index} ({'zyx'[others[1]]} →, {'zyx'[others[0]]} ↑)",
                image=f"image_{name}",
                outline=f"outliers_{name}",
                limits=(-5.0, 5.0),
                show_key=axis == 2,
            )
        )
    return ImageFigure(
        key="slices",
        title="The background, where it varies most",
        caption="Slices of the background across each axis, at the place where it varies most, in standard deviations "
        "of the noise. The particle and its surroundings are left out. Noise looks like fog; streaks, rings and spots "
        f"are artefacts or density. Voxels beyond {s.highest_limit:.1f} σ, which noise hardly reaches, are outlined.",
        alt_text="Three slices of the background",
        arrays=arrays,
        panels=tuple(panels),
        pixel_size=m.pixel_size,
        value_label="density (σ of the noise)",
    )


def _directions(m: BackgroundMeasurement) -> CurveFigure:
    s = m.statistics
    count = len(s.axes)
    tilt = np.rad2deg(np.arccos(np.clip(s.axes[:, 2], -1, 1)))
    order = np.argsort(tilt)
    limit = 100 * s.direction_limit * s.relative_power_error
    series = []
    for label, part in (("around the direction", slice(0, count)), ("across the direction", slice(count, None))):
        series.append(
            Series(
                label=label,
                x=tuple(map(float, tilt[order])),
                y=tuple(map(float, 100 * s.relative_power[part][order])),
                style="points",
                role="data" if part.start == 0 else "other",
            )
        )
    widest = np.maximum(limit[:count], limit[count:])[order]
    series.append(
        Series(
            label="even noise",
            x=tuple(map(float, tilt[order])),
            y=tuple(0.0 for _ in order),
            low=tuple(map(float, -widest)),
            high=tuple(map(float, widest)),
            style="dashed",
            role="expected",
        )
    )
    return CurveFigure(
        key="directions",
        title="Strength of the noise by direction",
        caption="Power of the noise in Fourier space around each of 46 directions (a cap of 20°) and across it (a belt "
        "of 10°), relative to the mean of all directions, against the direction's angle from z. The band is where "
        "even noise stays, all directions together, in 99 % of maps. Streaks along a direction raise the belt "
        "across it; a missing range of views lowers or raises a cap.",
        alt_text=f"Relative noise power by direction; the largest departure is {_percent(m.directional_excess)}",
        series=tuple(series),
        x_label="angle of the direction from z (°)",
        y_label="noise power relative to the mean (%)",
        markers=(
            Marker(axis="y", value=-30.0, label="limit", role="limit"),
            Marker(axis="y", value=30.0, role="limit"),
        ),
    )
