"""1.d: local resolution by waves that stand out of the noise (ResMap)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from veritem.checks.level_1.local_resolution import (
    SAID,
    TOO_MANY,
    LocalResolutionCheck,
    LocalResolutionMeasurement,
    filtered_caveat,
    local_resolution_criteria,
    resolved_to_the_end,
)
from veritem.checks.markers import reported_marker
from veritem.derived.masks import ContourLevel
from veritem.derived.resmap import FALSE_DISCOVERIES, WaveResolution
from veritem.numerics.density_map import DensityMap
from veritem.results import CurveFigure, Figure, Quantity, Reference, Series, format_number

MEASURES = "local resolution by ResMap"
TOLERANCE = 1.25
BECAUSE = (
    "Detection at one place takes more signal than FSC 0.143 of the whole map does. On 62 sound pairs of uniform "
    "proteins at 2.2 to 4.2 Å the finest 5 % were 0.99 to 1.12 times the true resolution, and the lower end of their "
    "interval at most 1.07 times; on 25 of which a mask held fewer than 5000 voxels, up to 7.5 Å, it was at most 1.23 "
    "times. A warning needs the whole interval beyond"
)
HISTOGRAM = (
    "How often each value occurs among the voxels of the particle where it is determinable. The band around the "
    "median is its 95 % interval. Detection at one place takes about as much signal as FSC 0.5: the reported "
    "resolution, at FSC 0.143, lies at the fine end or just beyond it. Far to the left of all values it is better than "
    "the half maps allow."
)


@dataclass(frozen=True, eq=False)
class ResMapMeasurement(LocalResolutionMeasurement):
    """beyond: voxels where even the finest waves that were looked for stand out. limit: the p-value that was used."""

    scales: Quantity
    beyond: Quantity
    limit: Quantity
    undecided: str
    found: WaveResolution = field(repr=False)


class ResMap(LocalResolutionCheck):
    """What is the finest wave that stands out of the noise around each place of the map?

    Around each voxel a model of local waves (the polynomials of second and third degree of the original method, under
    a Gaussian) is compared with a constant, by a likelihood ratio. The original computes it as a quadratic form of the
    whole window, at each voxel. The form has rank 16, so that sixteen filtered maps, squared and added, give the same
    number to the sixth digit in a thirtieth of the time. Twelve to twenty wavelengths are tried, a factor of about
    1.12 apart, from 2.2 voxels to 15 Å or four times the resolution. The original tries a few, 0.5 or 1 Å apart, and
    by default ends at four voxels.

    A wavelength here is the one that the filters answer to most. The original names the same filters by a wavelength
    1.3 times longer, and its values are coarser by that. Before the filters each scale is cut to a band of frequencies
    from 1/1.2 to 1.2 times its own. Without the band the filters see so much of a protein's strong low frequencies
    that on most maps the finest scale stands out everywhere.

    Both the mean of the halves and half their difference are divided by the radial amplitude of the difference, so that
    sharpening changes nothing, and by its variance within about 20 Å (the voxel's own neighbourhood left out), so that
    noise may be stronger in some places. The difference holds noise alone, and shows what noise does: the law of a
    weighted sum of squares, whose weights follow from the covariance of the difference, is scaled to pass through its
    99 % point inside the particle. No model of the noise's spectrum is needed, and no eigenvalue is dropped.

    What is significant is decided once, over all voxels and scales, at a false discovery rate of 1 % that holds under
    any dependence between them. The resolution of a voxel is the finest wavelength that is significant together with
    the next coarser one, interpolated to where the statistic passes its limit. Nothing is blurred, and voxels without a
    significant wave stay empty.

    The value says where waves can be detected at one place, and that takes more signal than FSC 0.143 over a whole map
    does. On uniform simulated proteins the median is the resolution at FSC 0.5 of the same half maps, within 3 % in
    nine of ten and from 3 % below to 12 % above in all; against FSC 0.143 it is 1.04 to 1.38 times as coarse, the more
    the slower the signal falls. The finest 5 % are 0.99 to 1.14 times as coarse, and they are what the reported
    resolution is compared with: a resolution reported better than the half maps' by a fifth or more is noticed.

    Misleads when it is read as an FSC: it speaks of strength over noise and not of agreement, and coarse values where
    the density is weak or empty (cavities, the rim) are no sign of blur. Structure of one sharp period is given up to a
    quarter finer than that period when it is strong. Noise that both halves share (a mask, a common reference) counts
    as signal. Halves that differ in scale, or are shifted against each other, leave signal in their difference, which
    is then taken for noise: the values are too coarse.
    """

    code = "1.d"
    title = "Local resolution: ResMap"
    measures = MEASURES
    criteria: ClassVar = local_resolution_criteria(MEASURES, TOLERANCE, BECAUSE)
    references = (
        Reference(
            text="Kucukelbir A, Sigworth FJ, Tagare HD. Quantifying the local resolution of cryo-EM density maps. "
            "Nature Methods 11 (2014) 63–65.",
            doi="10.1038/nmeth.2727",
        ),
        Reference(
            text="Benjamini Y, Yekutieli D. The control of the false discovery rate in multiple testing under "
            "dependency. Ann Stat 29 (2001) 1165–1188.",
            doi="10.1214/aos/1013699998",
        ),
        Reference(
            text="Kuonen D. Saddlepoint approximations for distributions of quadratic forms in normal variables. "
            "Biometrika 86 (1999) 929–935.",
            doi="10.1093/biomet/86.4.929",
        ),
    )

    def measure(  # type: ignore[override]
        self,
        resmap: WaveResolution,
        reported_resolution: float | None,
        view_map: DensityMap,
        contour_level: ContourLevel,
        seed: int,
    ) -> ResMapMeasurement:
        """Quantiles of the local values. Raises Inconclusive when the particle is too small for intervals."""
        local = resmap
        caveats, undecided = [], ""
        end = resolved_to_the_end(local, local.resolution <= 1.001 * local.finest, "wavelength tested")
        beyond = float(end.value or 0.0)
        if beyond > SAID:
            caveats.append(
                f"In {beyond:.0f} % of the particle waves of {local.finest:.3g} Å stand out, the finest that were "
                "looked for: those places are resolved to this or better."
            )
        if beyond > TOO_MANY:
            undecided = (
                f"In {beyond:.0f} % of the particle the finest waves that were looked for stand out "
                f"({local.finest:.3g} Å): the halves share their noise, or their pixels are too coarse"
            )
        caveats += filtered_caveat(local.held, local.part.pixel_size)
        shared = self.measured(local, reported_resolution, view_map, contour_level, seed, tuple(caveats))
        tested = local.wavelengths
        rank = shared.reported_rank.model_copy(
            update={"note": "of what is determinable; few places do, since detection takes more than FSC 0.143"}
        )
        return ResMapMeasurement(
            **(vars(shared) | {"reported_rank": rank}),
            scales=Quantity(
                label="Wavelengths tested",
                value=tested.size,
                note=f"from {tested[0]:.3g} to {tested[-1]:.3g} Å, each {tested[1] / tested[0]:.3g} times the last",
            ),
            beyond=end,
            limit=Quantity(
                label="p-value that is significant for one voxel and scale",
                value=local.limit,
                digits=2,
                note=f"from a false discovery rate of {100 * FALSE_DISCOVERIES:g} % over all of them",
            ),
            undecided=undecided,
            found=local,
        )

    def summary(self, measurement: LocalResolutionMeasurement) -> str:
        m = measurement
        if m.median.value is None:
            return super().summary(m)
        assert m.coarsest.value is not None
        return (
            f"Waves stand out of the noise down to {m.median.text()} in half of the particle, down to "
            f"{m.finest.text()} in its finest 5 % and no finer than {format_number(float(m.coarsest.value), 3)} Å in "
            "its coarsest 5 %. Detection at one place takes about as much signal as FSC 0.5."
        )

    def figures(self, measurement: LocalResolutionMeasurement) -> list[Figure]:
        assert isinstance(measurement, ResMapMeasurement)
        shared = [
            figure.model_copy(update={"caption": HISTOGRAM}) if figure.key == "histogram" else figure
            for figure in super().figures(measurement)
        ]
        return [*shared, self._shares(measurement)] if shared else []

    def _shares(self, m: ResMapMeasurement) -> CurveFigure:
        found = m.found
        f = tuple(float(1.0 / w) for w in found.wavelengths[::-1])
        signal, noise = (
            tuple(float(100.0 * s) for s in shares[::-1]) for shares in (found.significant, found.significant_noise)
        )
        return CurveFigure(
            key="shares",
            title="Where waves of each length stand out",
            caption="How much of the particle holds waves of each tested length that stand out of the noise. The curve "
            "of a sound map falls where its resolution ends, slowly when some parts are better resolved than others. "
            "Dashed: the same test on half the difference of the half maps, which is noise; it should stay near 0.",
            alt_text="Part of the particle where waves stand out, against spatial frequency.",
            series=(
                Series(label="mean of the half maps", x=f, y=signal),
                Series(label="half their difference", x=f, y=noise, style="dashed", role="expected"),
            ),
            x_label="Spatial frequency (1/Å)",
            y_label="Part of the particle (%)",
            x_scale="inverse",
            markers=reported_marker(m.reported_resolution),
        )
