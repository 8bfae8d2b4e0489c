"""1.h on half maps whose directions are known."""

from __future__ import annotations

import numpy as np
import pytest

from tests.checks.anisotropic_pairs import RESOLUTION, pair
from veritem.checks.level_1.directional_fsc import DirectionalFsc, fsc_volume
from veritem.numerics.fsc import THRESHOLD
from veritem.results import CurveFigure, HistogramFigure, ImageFigure, SurfaceFigure
from veritem.simulation.anisotropy import MissingCone

CHECK = DirectionalFsc()


def test_sound_pairs_are_balls():
    """Sphericity and area ratio of isotropic pairs lie where the law puts them, and never warn."""
    for seed in range(3):
        measurement, verdict = pair(seed).judged(CHECK)
        assert verdict.outcome.value == "pass"
        assert measurement.sphericity.value > 0.95
        assert measurement.area_ratio.value > 0.8
        # All cones agree to about the global resolution: noise in one moves it by a few per cent.
        for quantity in (measurement.resolution_x, measurement.resolution_y, measurement.resolution_z):
            assert quantity.value == pytest.approx(RESOLUTION, rel=0.15)
            assert quantity.interval[0] < quantity.value < quantity.interval[1]


@pytest.mark.parametrize(("name", "axis"), [("x", (0, 0, 1)), ("y", (0, 1, 0)), ("z", (1, 0, 0))])
def test_axes_are_those_of_the_box(name, axis):
    """A cone without signal along one axis (z, y, x) makes that one coarse, and neither of the others."""
    measurement = pair(1, degrade=MissingCone(35.0, axis=axis)).measure(CHECK)
    found = {n: getattr(measurement, f"resolution_{n}").value for n in "xyz"}
    others = [value for n, value in found.items() if n != name]
    assert found[name] > 1.3 * max(others)
    assert max(others) < 1.15 * RESOLUTION
    # The volume is zyx too: along that axis it falls below the threshold first.
    volume, step = fsc_volume(measurement.correlation, falling=True)
    middle = volume.shape[0] // 2
    reach = {
        n: np.count_nonzero(np.take(line, range(middle, volume.shape[0])) > THRESHOLD) * step
        for n, line in zip("zyx", (volume[:, middle, middle], volume[middle, :, middle], volume[middle, middle]),
                           strict=True)
    }  # fmt: skip
    assert min(reach, key=lambda n: reach[n]) == name


def test_the_ball_loses_its_shape_as_a_cone_widens():
    sphericities, ratios, outcomes = [], [], []
    for half_angle in (0.0, 20.0, 30.0, 40.0, 60.0):
        degrade = MissingCone(half_angle, axis=(1.0, 1.0, 0.0)) if half_angle else None
        measurement, verdict = pair(2, degrade=degrade).judged(CHECK)
        sphericities.append(measurement.sphericity.value)
        ratios.append(measurement.area_ratio.value)
        outcomes.append(verdict.outcome.value)
    assert (np.diff(sphericities) < 0).all()
    assert (np.diff(ratios) < 0).all()
    assert outcomes[0] == "pass"
    assert outcomes[-1] == "warning"


def test_the_volume_holds_the_cones():
    """Along a direction between grid points the volume is the cone's curve, interpolated over 5° and a shell."""
    d = pair(3).measure(CHECK).correlation
    volume, _ = fsc_volume(d)
    assert volume.shape[0] % 2 == 1
    middle = volume.shape[0] // 2
    assert volume[middle, middle, middle] == pytest.approx(1.0)
    # Friedel: a point and its opposite are one.
    assert np.allclose(volume, volume[::-1, ::-1, ::-1], atol=1e-4)
    direction = np.array([0.48, -0.64, 0.6])
    curve = d.curve(direction[None])[:, 0]
    for k in (10, 15, 20):
        z, y, x = np.rint(middle + k * direction).astype(int)
        length = np.sqrt(((np.array([z, y, x]) - middle) ** 2).sum())
        expected = np.interp(length, np.arange(len(curve)), curve)
        # Half a voxel sideways at 10 shells is 3°: cones of 20° share most coefficients.
        assert volume[z, y, x] == pytest.approx(expected, abs=0.12)


def test_the_page_shows_what_was_found():
    measurement = pair(4, degrade=MissingCone(40.0)).measure(CHECK)
    figures = CHECK.figures(measurement)
    assert [type(figure) for figure in figures] == [CurveFigure, HistogramFigure, ImageFigure, SurfaceFigure]
    assert all(figure.caption and figure.alt_text for figure in figures)
    assert sum(figures[1].counts) == 240
    (output,) = CHECK.maps(measurement)
    n = output.data.shape[0]
    # The origin puts zero frequency at 0 Å.
    assert output.origin == pytest.approx((-(n // 2) * output.pixel_size,) * 3)
    assert np.isfinite(output.data).all()
    assert "1.g" in " ".join(measurement.caveats)
    assert CHECK.misleads().startswith("Misleads when")
