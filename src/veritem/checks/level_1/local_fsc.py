"""1.c: local resolution by the Fourier shell correlation in a moving window."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from veritem.checks.base import MapOutput
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
from veritem.derived.local_fsc import NARROWEST_WINDOW, LocalFscResolution
from veritem.derived.masks import ContourLevel
from veritem.errors import Inconclusive
from veritem.numerics.density_map import DensityMap
from veritem.numerics.fsc import THRESHOLD
from veritem.results import CurveFigure, Figure, Marker, Quantity, Reference, Series

MEASURES = "local resolution by FSC"
TOLERANCE = 1.0
WINDOWS = 1.5  # of its size that the particle must hold


@dataclass(frozen=True, eq=False)
class LocalFscMeasurement(LocalResolutionMeasurement):
    """median_at_half: at FSC 0.5, which other programs use. beyond: voxels that are resolved to the limit or better."""

    median_at_half: Quantity
    beyond: Quantity
    undecided: str
    found: LocalFscResolution = field(repr=False)


class LocalFsc(LocalResolutionCheck):
    """Down to what detail do the half maps agree around each place of the map?

    Both half maps are divided by the radial amplitude of their noise, taken from their difference, so that no
    sharpening changes the answer; then they are filtered into bands of frequency from 20 Å on. In each band the two
    are correlated in a Gaussian window around every voxel of the particle. The local resolution is where the curve
    of a voxel falls below 0.143 to stay below in four neighbouring bands, interpolated in frequency; the same at 0.5
    is listed, since other programs use it.

    The window is 25 Å across (six times the resolution where that is more, and five periods at low frequency). Its
    standard deviation is 1/6.5 of that, and the bands' half-width 1.6 over it. A value then speaks of a neighbourhood
    with a standard deviation of 4.6 Å, and the correlation of noise has one of 0.06 at 3 Å, 0.09 at low frequency. A
    window counted in voxels, as is usual, would be 10 Å wide on fine pixels and 40 Å on coarse ones. Products of the
    filtered halves count by the square of the soft mask (filtered first, masked after), so that solvent beside a
    place at the surface does not make it look worse, and the mask makes no correlation of its own.

    A band holds frequencies to both sides of its mean, and where the signal falls steeply the stronger side decides:
    curves cross too late, by 2 to 3 %. This is taken off with the slope of each voxel's own curve between 0.5 and
    0.143. On fields whose spectra are known the median is then right within 1 %, and single values scatter by 3 to
    6 % of the resolution. On the simulated pair on which programs are compared, local values have a rank correlation
    of 0.91 with those expected in the same windows without chance, and 0.98 at FSC 0.5.

    A curve that has fallen comes back only by a value three standard deviations of noise above 0. A voxel is not
    determinable where its correlation is not four of them above 0 in any band up to 10 Å, or up to the first whose
    noise has a standard deviation below 0.15, nor where it falls before that band. How much noise passes as better
    than 15 Å is measured in each run, on noise in the same mask.

    Misleads when a sharply resolved part lies next to a blurred one: within 10 to 18 Å of the border the blurred one
    takes on better values, since its neighbour is a hundred times stronger at high frequency. One place in a hundred
    of a part that is blurred to twice the resolution looks much sharper, by chance. Half maps that were low-passed
    by a steep filter before their noise was added, as only simulations are, give values that are a sixth too fine at
    a cut-off of 6 Å and a tenth at 3 Å. Masks that were applied to both half maps, and noise that both share, count as
    agreement. Patches smaller than the window are chance, and within a window of a symmetry axis, where the noise
    repeats itself, chance is larger than reckoned.
    """

    code = "1.c"
    title = "Local resolution: local FSC"
    measures = MEASURES
    criteria: ClassVar = local_resolution_criteria(
        MEASURES,
        TOLERANCE,
        "In 20 sound pairs between 2.6 and 6 Å, of one B-factor throughout, the finest 5 % lay between 0.79 and 0.97 "
        "of the resolution of the whole, no interval reached above 0.98; parts that differ reach further",
    )
    references = (
        Reference(
            text="Cardone G, Heymann JB, Steven AC. One number does not fit all: mapping local variations in "
            "resolution in cryo-EM reconstructions. J Struct Biol 184 (2013) 226–236.",
            doi="10.1016/j.jsb.2013.08.002",
        ),
        Reference(
            text="Penczek PA. Reliable cryo-EM resolution estimation with modified Fourier shell correlation. IUCrJ "
            "7 (2020) 995–1008.",
            doi="10.1107/S2052252520011574",
        ),
    )

    def measure(  # type: ignore[override]
        self,
        local_fsc: LocalFscResolution,
        reported_resolution: float | None,
        view_map: DensityMap,
        contour_level: ContourLevel,
        seed: int,
    ) -> LocalFscMeasurement:
        """Quantiles of the local values. Raises Inconclusive when the particle is too small for intervals."""
        local = local_fsc
        known = local.determinable
        volume = local.part.index.size * local.part.density.voxel_volume
        window = np.pi / 6.0 * NARROWEST_WINDOW**3
        if volume < WINDOWS * window:
            raise Inconclusive(
                f"The particle fills {volume:.0f} Å³, a window of {NARROWEST_WINDOW:g} Å {window:.0f} Å³. Below "
                f"{WINDOWS:g} windows the correlation of noise in one is as large as that of signal."
            )
        caveats, undecided = [], ""
        end = resolved_to_the_end(local, local.extra["open_end"] > 0, "frequency searched")
        beyond = float(end.value or 0.0)
        if beyond > SAID:
            caveats.append(
                f"In {beyond:.0f} % of the particle the half maps agree up to {local.finest:.3g} Å, where the search "
                "ends: those places are resolved to this or better."
            )
        if beyond > TOO_MANY:
            undecided = (
                f"In {beyond:.0f} % of the particle the half maps agree to the last frequency they hold, "
                f"{local.finest:.3g} Å: the halves are the same map, or their pixels are too coarse"
            )
        assert local.curves is not None
        caveats += filtered_caveat(1.0 / local.curves.limit, local.part.pixel_size)
        shared = self.measured(local, reported_resolution, view_map, contour_level, seed, tuple(caveats))
        half = local.extra["fsc_0.5"][known]
        return LocalFscMeasurement(
            **vars(shared),
            median_at_half=Quantity(
                label="Median at FSC 0.5",
                value=float(np.median(half)) if half.size and shared.median.value is not None else None,
                unit="Å",
                note="the level that other programs for local FSC use",
            ),
            beyond=end,
            undecided=undecided,
            found=local,
        )

    def figures(self, measurement: LocalResolutionMeasurement) -> list[Figure]:
        assert isinstance(measurement, LocalFscMeasurement)
        return [*super().figures(measurement), self._curves(measurement)]

    def _curves(self, m: LocalFscMeasurement) -> CurveFigure:
        curves = m.found.curves
        assert curves is not None
        f = tuple(float(v) for v in curves.frequency)
        low, middle, high = (tuple(float(v) for v in column) for column in curves.percentiles.T)
        markers = [
            Marker(axis="y", value=THRESHOLD, label="0.143", role="limit"),
            *reported_marker(m.reported_resolution),
        ]
        return CurveFigure(
            key="curves",
            title="FSC around single places of the particle",
            caption="The correlation of the half maps around each voxel, band by band: the curve is the median over "
            "the particle, the band holds 90 % of the voxels. Where a voxel's curve falls below 0.143 is its "
            "resolution. Dashed: one standard deviation of what noise alone gives at one voxel. A wide band at middle "
            "frequencies means that some parts are resolved better than others.",
            alt_text="Curves of the local correlation against frequency.",
            series=(
                Series(label="median, and 90 % of the voxels", x=f, y=middle, low=low, high=high),
                Series(
                    label="noise alone",
                    x=f,
                    y=tuple(float(v) for v in curves.null_deviation),
                    style="dashed",
                    role="expected",
                ),
            ),
            x_label="Spatial frequency (1/Å)",
            y_label="Local FSC",
            x_scale="inverse",
            markers=tuple(markers),
        )

    def maps(self, measurement: LocalResolutionMeasurement) -> list[MapOutput]:
        (shared,) = super().maps(measurement)
        local = measurement.local
        description = shared.description.model_copy(
            update={
                "key": "resolution_at_half",
                "label": "Local resolution at FSC 0.5",
                "description": "The local resolution at FSC 0.5, which other programs use; 0 where not determinable.",
                "colours_map": False,
            }
        )
        return [
            shared,
            dataclasses.replace(shared, description=description, data=local.part.volume(local.extra["fsc_0.5"])),
        ]
