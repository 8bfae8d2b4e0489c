"""1.c on pairs whose local resolution is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.checks.by_name import Values, outcomes, pair_values
from veritem.checks.level_1.local_fsc import LocalFsc
from veritem.derived.local_fsc import bands_for
from veritem.derived.masks import ContourLevel
from veritem.numerics.density_map import DensityMap, HalfMaps
from veritem.numerics.fourier import low_pass
from veritem.results import CurveFigure, HistogramFigure, ImageFigure, SurfaceFigure
from veritem.simulation.half_maps import SimulatedMap, simulate_map
from veritem.simulation.models import ideal_protein
from veritem.simulation.phantoms import region_labels, two_domain

RESOLUTION = 3.2


def sound(seed: int = 1, box: int = 100) -> SimulatedMap:
    """Two subunits of one B-factor in white noise, the halves' FSC 0.143 at 3.2 Å."""
    model = ideal_protein(residues=220, subunits=2, seed=seed)
    return simulate_map(model, box, 1.2, resolution=RESOLUTION, atomic_b_factor=40.0, seed=seed)


@pytest.fixture(scope="module")
def uniform() -> Values:
    return pair_values(sound(), RESOLUTION)


def test_a_uniform_map_has_its_resolution_everywhere(uniform):
    """The median is the global one within 5 %, and nothing is warned of."""
    measurement, verdict = uniform.judged(LocalFsc())
    assert measurement.median.value == pytest.approx(uniform["half_map_fsc"].resolution, rel=0.05)
    assert measurement.determinable.value > 99.0
    assert measurement.beyond.value < 2.0
    assert measurement.median_at_half.value > measurement.median.value
    assert measurement.false_rate.value <= 1.0
    assert outcomes(verdict) == {"finest_over_reported": "pass", "determinable": "pass"}


def test_a_resolution_that_no_part_reaches_is_a_warning(uniform):
    """Reported at 0.8 of what it is: the finest 5 %, at 0.93 of it, lie a sixth above."""
    check = LocalFsc()
    values = {name: uniform[name] for name in check.uses()} | {"reported_resolution": 0.8 * RESOLUTION}
    measurement = check.measure(**values)
    assert measurement.finest_over_reported.interval[0] > 1.05
    criterion = check.criteria[0].judge({"finest_over_reported": measurement.finest_over_reported})
    assert criterion.outcome.value == "warning"


def test_blurred_parts_are_found():
    """B = 30 Å² and 230 Å²: the blurred half's signal falls by exp(-100 f²) more, by 3.2 Å to 1 in 17 000.

    Its resolution is at least 20 % coarser. In the sharp half the median is finer than that of the whole.
    """
    model, domains = two_domain(ideal_protein(residues=220, subunits=2, seed=3), "plane", b_factors=(30.0, 230.0))
    simulated = simulate_map(model, 100, 1.2, resolution=RESOLUTION, seed=3)
    measurement = pair_values(simulated, RESOLUTION).measure(LocalFsc())
    part = measurement.local.part
    labels = region_labels(simulated.model, domains, part.density).ravel()[part.index]
    across = part.positions()[:, 2] + part.density.origin[0] - simulated.model.centre[0]
    sharp = np.nanmedian(measurement.local.resolution[(labels == 1) & (across < -12.0)])
    blurred = np.nanmedian(measurement.local.resolution[(labels == 2) & (across > 12.0)])
    assert blurred > 1.2 * sharp
    assert sharp < measurement.median.value < blurred


def noise_pair(seed: int) -> Values:
    """White noise in both halves, and a mask of 30 Å that finds a particle in it."""
    shape, pixel_size = (72, 72, 72), 1.2
    rng = np.random.default_rng(seed)
    first, second = (DensityMap(rng.standard_normal(shape, np.float32), pixel_size) for _ in range(2))
    values = Values(
        density_map=DensityMap((first.data + second.data) / 2, pixel_size),
        half_maps=HalfMaps(first, second),
        reported_resolution=3.0,
    )
    axis = (np.arange(72) - 36) * pixel_size
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis**2)
    values.known["mask_distance"] = np.minimum(radius - 30.0, 60.0).astype(np.float32)
    values.known["contour_level"] = ContourLevel(1.0, "given", "")
    return values


@pytest.mark.parametrize("seed", range(3))
def test_noise_has_no_local_resolution(seed):
    """Not determinable at 99 % of the voxels at least, none better than 10 Å; and that is a warning."""
    measurement, verdict = noise_pair(seed).judged(LocalFsc())
    values = measurement.local.resolution
    assert np.isnan(values).mean() >= 0.99
    assert not (values < 10.0).any()
    assert measurement.median.value is None
    assert outcomes(verdict)["determinable"] == "warning"


def test_without_a_reported_resolution_the_map_is_still_made():
    simulated = sound()
    measurement, verdict = pair_values(simulated, None).judged(LocalFsc())
    assert measurement.median.value == pytest.approx(RESOLUTION, rel=0.05)
    assert any("No resolution was reported" in caveat for caveat in measurement.caveats)
    assert outcomes(verdict) == {"determinable": "pass"}


def test_halves_that_are_one_map_are_undecided():
    simulated = sound()
    twice = replace(simulated, half_2=simulated.half_1)
    measurement, verdict = pair_values(twice, RESOLUTION).judged(LocalFsc())
    assert measurement.beyond.value > 90.0
    assert verdict.outcome.value == "inconclusive"
    assert "same map" in verdict.reason


def test_low_passed_halves_end_at_their_filter():
    """Both halves cut at 4 Å with an edge of 0.01 1/Å: nothing is found beyond its end, 3.85 Å, and the page says why.

    The halves agreed to 3.2 Å before, so that nearly all of the particle is resolved to the filter.
    """
    simulated = sound()
    cut = {
        name: replace(half, data=low_pass(half.data, 1.2, 0.25, 0.01))
        for name, half in (("half_1", simulated.half_1), ("half_2", simulated.half_2))
    }
    measurement = pair_values(replace(simulated, **cut), 4.0).measure(LocalFsc())
    known = measurement.local.determinable
    assert measurement.local.resolution[known].min() > 3.8
    assert measurement.median.value == pytest.approx(4.0, rel=0.05)
    assert any("low-pass filtered" in caveat for caveat in measurement.caveats)


def test_the_windows_are_as_wide_as_the_page_says():
    for resolution, at, diameter in ((3.0, 3.0, 25.0), (3.0, 10.0, 50.0), (6.0, 6.0, 36.0)):
        bands = bands_for(resolution, 1.25 / resolution)
        band = min(bands, key=lambda band: abs(band.centre - 1.0 / at))
        assert 6.5 * band.window == pytest.approx(diameter, rel=0.06)
    band = min(bands_for(3.0, 0.4), key=lambda band: abs(band.mean - 1.0 / 3.0))
    assert band.reach == pytest.approx(4.6, abs=0.1)
    assert band.null_deviation == pytest.approx(0.055, abs=0.005)


def test_the_page_shows_what_was_found(uniform):
    check = LocalFsc()
    measurement = uniform.measure(check)
    figures = check.figures(measurement)
    assert [type(figure) for figure in figures] == [HistogramFigure, ImageFigure, SurfaceFigure, CurveFigure]
    for figure in (figures[0], figures[3]):
        assert any(marker.role == "reported" for marker in figure.markers)
    output, at_half = check.maps(measurement)
    assert at_half.description.key == "resolution_at_half" and at_half.data.shape == output.data.shape
    where = np.argwhere(np.isfinite(output.data)).mean(axis=0)[::-1] * output.pixel_size + np.array(output.origin)
    assert np.allclose(where, sound().model.centre, atol=2.0)
    assert "median local resolution by FSC" in check.summary(measurement)
    assert check.misleads().startswith("Misleads when")
