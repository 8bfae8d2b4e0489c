"""1.e: local resolution by the amplitude of the finest oscillation that stands out from noise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from veritem.checks.level_1.local_resolution import (
    SAID,
    TOO_MANY,
    LocalResolutionCheck,
    LocalResolutionMeasurement,
    local_resolution_criteria,
    resolved_to_the_end,
)
from veritem.checks.markers import reported_marker
from veritem.derived.masks import ContourLevel
from veritem.derived.monores import MonogenicResolution
from veritem.numerics.density_map import DensityMap
from veritem.results import CurveFigure, Figure, Marker, Quantity, Reference, Series

MEASURES = "local resolution by MonoRes"
TOLERANCE = 1.05


@dataclass(frozen=True, eq=False)
class MonoResMeasurement(LocalResolutionMeasurement):
    """beyond: voxels that stand out to the finest wavelength searched."""

    beyond: Quantity
    undecided: str
    found: MonogenicResolution = field(repr=False)


class MonoRes(LocalResolutionCheck):
    """Down to what wavelength does the map stand out from its noise around each place?

    The sum of the half maps holds signal and noise, their difference the same noise alone. Both are divided by the
    radial amplitude of the difference, so that no sharpening changes the answer, and filtered into bands of frequency,
    10 % apart and 13 % wide to either side, from 17 Å on (3 times the resolution where that is more). In each band the
    monogenic amplitude is the strength of the oscillation at a place, whatever its phase and direction; its square is
    averaged over half a wavelength. A place is resolved as far as its amplitude exceeds a threshold: the local
    amplitude of the difference, averaged over 2.5 wavelengths, times the factor that 1 % of pure noise exceeds. The
    local resolution is where two bands in a row first fail, interpolated; then the median over the neighbouring voxels
    is taken. Places that stand out in neither of the first two bands have no signal, and no number.

    The factor is taken in each run from noise of the pair's own spectrum: the difference with its phases made random,
    compared with another such field. The search is run on that noise too, and the share of its voxels that get a
    resolution better than 15 Å is told; on simulated pairs it is at most 0.4 %.

    Bands are taken instead of everything beyond a frequency, as the original does. With all that lies beyond, the
    noise up to the finest pixel weighs against the signal, and the answer depends on how fine the pixels are: on a
    pair of halves with white noise, whose FSC falls to 0.143 at 3.3 Å, the median over the particle was 6.7 Å then
    (6.4 Å by the original program), and it is 3.7 Å with bands. Noise is compared with in a window that grows with
    the wavelength, not in one of 20 Å, which at 17 Å would hold one independent value.

    A place passes while its signal has more than about 0.6 times the power of the noise in the mean of the halves; an
    FSC of 0.143 asks for a third, so the median is a little coarser than the resolution at that FSC. On 57 uniform
    simulated pairs it was 1.04 times that (1.01 to 1.10) at 2.5 to 4.5 Å, and 1.13 times (1.07 to 1.21) at 4.5 to
    8 Å, where a protein's spectrum is flatter. At 2.5 to 4.5 Å, 90 % of the values of a uniform map lie between 0.93
    and 1.24 times its resolution: that is the scatter of the method, and no sign of parts that differ.

    Misleads when a sharply resolved part lies next to a blurred one: within about two wavelengths of the border the
    blurred one takes on better values. Where the signal ends abruptly, as after a steep low-pass filter, values are up
    to a tenth too fine, since a band reaches 13 % beyond its centre. Noise that both halves share counts as signal, and
    masks that were applied to both make the rim finer by a few percent. On a symmetry axis noise adds up in step and
    can stand out. The difference holds signal as well when the halves are scaled differently or misaligned: values are
    then too coarse.
    """

    code = "1.e"
    title = "Local resolution: MonoRes"
    measures = MEASURES
    criteria: ClassVar = local_resolution_criteria(
        MEASURES,
        TOLERANCE,
        "On 57 uniform simulated pairs the finest 5 % began at 0.83 to 1.03 times the resolution that a depositor "
        "reads in a usual mask, and the lower end of the interval lay below 1 in all of them; small particles at 6 Å "
        "and coarser are often undecided",
    )
    references = (
        Reference(
            text="Vilas JL, Gómez-Blanco J, Conesa P, et al. MonoRes: automatic and accurate estimation of local "
            "resolution for electron microscopy maps. Structure 26 (2018) 337–344.",
            doi="10.1016/j.str.2017.12.018",
        ),
        Reference(
            text="Felsberg M, Sommer G. The monogenic signal. IEEE Trans Signal Process 49 (2001) 3136–3144.",
            doi="10.1109/78.969520",
        ),
    )

    def measure(  # type: ignore[override]
        self,
        monores: MonogenicResolution,
        reported_resolution: float | None,
        view_map: DensityMap,
        contour_level: ContourLevel,
        seed: int,
    ) -> MonoResMeasurement:
        """Quantiles of the local values. Raises Inconclusive when the particle is too small for intervals."""
        local = monores
        caveats, undecided = [], ""
        end = resolved_to_the_end(local, local.at_the_end, "wavelength searched")
        beyond = float(end.value or 0.0)
        if beyond > SAID:
            caveats.append(
                f"{beyond:.0f} % of the particle stands out from noise up to {local.finest:.3g} Å, where the search "
                "ends: those places are resolved to this or better."
            )
        # An end of the search that is coarser than the reported resolution is evidence against it; a finer one is none.
        open_end = reported_resolution is None or local.finest <= TOLERANCE * reported_resolution
        if beyond > TOO_MANY and open_end:
            undecided = (
                f"{beyond:.0f} % of the particle stands out from noise to the last wavelength that the half maps hold, "
                f"{local.finest:.3g} Å: the halves hardly differ, or their pixels are too coarse"
            )
        shared = self.measured(local, reported_resolution, view_map, contour_level, seed, tuple(caveats))
        return MonoResMeasurement(
            **vars(shared),
            beyond=end,
            undecided=undecided,
            found=local,
        )

    def figures(self, measurement: LocalResolutionMeasurement) -> list[Figure]:
        assert isinstance(measurement, MonoResMeasurement)
        return [*super().figures(measurement), self._profile(measurement)]

    def _profile(self, m: MonoResMeasurement) -> CurveFigure:
        profile = m.found.profile
        assert profile is not None
        f = tuple(float(v) for v in profile.frequency)
        low, middle, high = (tuple(float(v) for v in column) for column in profile.percentiles.T)
        markers = [
            Marker(axis="y", value=1.0, label="threshold", role="limit"),
            *reported_marker(m.reported_resolution),
        ]
        return CurveFigure(
            key="profile",
            title="How far single places stand out from noise",
            caption="The local amplitude of the map over its threshold, wavelength by wavelength; 1 % of pure noise "
            "exceeds the threshold. The curve is the median over the particle, the band holds 90 % of its voxels. "
            "Where a voxel's own curve falls below 1 is its resolution. Dashed: the median of noise alone, to which "
            "the curve comes down where nothing is left of the signal.",
            alt_text="Curves of the local amplitude over its threshold against frequency.",
            series=(
                Series(label="median, and 90 % of the voxels", x=f, y=middle, low=low, high=high),
                Series(
                    label="noise alone",
                    x=f,
                    y=tuple(float(v) for v in profile.noise),
                    style="dashed",
                    role="expected",
                ),
            ),
            x_label="Spatial frequency (1/Å)",
            y_label="Amplitude over threshold",
            x_scale="inverse",
            y_scale="log",
            markers=tuple(markers),
        )
