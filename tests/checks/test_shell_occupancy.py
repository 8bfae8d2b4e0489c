"""1.g on half maps whose directions are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.checks.anisotropic_pairs import RESOLUTION, clean_protein, masked_values, pair
from tests.checks.by_name import pair_values
from veritem.checks.level_1.shell_occupancy import ShellOccupancy
from veritem.derived.directional_fsc import axis_of
from veritem.errors import Inconclusive
from veritem.numerics.density_map import DensityMap, HalfMaps
from veritem.numerics.directional_fsc import anisotropy
from veritem.numerics.directions import angle_between, fit_even, hemisphere
from veritem.results import CurveFigure, ImageFigure
from veritem.simulation.anisotropy import Anisotropy, MissingCone, directional_fsc
from veritem.simulation.half_maps import simulate_half_maps, simulate_map
from veritem.simulation.models import ideal_protein, load_model

AXIS = (0.6, 0.0, 0.8)
CHECK = ShellOccupancy()


def sound_outcomes(seeds: range) -> tuple[int, np.ndarray]:
    """Warnings, and p-values, of pairs that are alike in all directions."""
    warnings, p_values = 0, []
    for seed in seeds:
        measurement, verdict = pair(seed).judged(CHECK)
        warnings += verdict.outcome.value == "warning"
        p_values.append(measurement.p_value.value)
    return warnings, np.array(p_values)


def test_sound_pairs_are_silent():
    """6 pairs: no warning, and not all of the p-values are small. Their molecule is one, with a spectrum of its own."""
    warnings, p_values = sound_outcomes(range(6))
    assert warnings == 0
    assert np.median(p_values) > 0.05


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_sound_pairs_are_silent_a_hundred_times():
    """100 pairs of one protein: at most 1 warning. Its own spectrum is in every pair, so p-values are its own too."""
    warnings, _ = sound_outcomes(range(1000, 1100))
    assert warnings <= 1


def test_crowded_views_are_measured():
    """Views by 1 + a P2: A2 rises with a; where the truth exceeds 15 % it warns, with the axis within 10°.

    The truth is that of cones of 17° in which the molecule's own spectrum is round; that spectrum, seen once, and the
    noise leave 0.1 on either side.
    """
    found = []
    directions = hemisphere(300)
    clean = clean_protein()
    for strength in (0.3, 1.2, 1.8):
        planted = Anisotropy(strength, axis=AXIS)
        *_, expected = simulate_half_maps(
            clean.half_1, RESOLUTION, mask=clean.truth.mask, seed=1, anisotropy=planted
        )  # fmt: skip
        truth = anisotropy(fit_even(directions, 1 / directional_fsc(expected).resolution(directions, 17.0))[None])[0]
        measurement, verdict = pair(1, anisotropy=planted).judged(CHECK)
        found.append(measurement.anisotropy.value)
        low, high = measurement.anisotropy.interval
        assert low - 0.1 <= truth <= high + 0.1
        if truth > 0.2:
            assert verdict.outcome.value == "warning"
            axis, finer = axis_of(measurement.correlation.coefficients)
            assert finer and angle_between(axis, AXIS) < 10.0
    assert found[0] < found[1] < found[2]
    assert found[2] > 0.2


def test_top_views_are_told_from_side_views():
    """a = -0.9: the resolution is worst along the axis, and the page says so."""
    measurement, verdict = pair(2, anisotropy=Anisotropy(-0.9, axis=AXIS)).judged(CHECK)
    axis, finer = axis_of(measurement.correlation.coefficients)
    assert not finer and angle_between(axis, AXIS) < 15.0
    assert "coarser" in measurement.axis_tilt.note
    assert verdict.outcome.value in ("warning", "inconclusive")


def test_missing_cones_warn_and_grow():
    """No signal within 20, 30, 40° of an axis: each is found, the axis within 10°, the larger the coarser."""
    worst, a2, nine_tenths = [], [], []
    axis = (0.0, 0.6, 0.8)
    for half_angle in (20.0, 30.0, 40.0):
        measurement, verdict = pair(3, degrade=MissingCone(half_angle, axis=axis)).judged(CHECK)
        assert verdict.outcome.value == "warning", half_angle
        found, finer = axis_of(measurement.correlation.coefficients)
        assert not finer and angle_between(found, axis) < 10.0
        worst.append(measurement.worst_resolution.value)
        a2.append(measurement.anisotropy.value)
        nine_tenths.append(measurement.nine_tenths.value)
        assert measurement.best_resolution.value < RESOLUTION * 1.05
    assert worst[0] < worst[1] < worst[2]
    assert a2[0] < a2[1] < a2[2]
    assert nine_tenths[0] < nine_tenths[1] < nine_tenths[2]


@pytest.mark.parametrize("name", ["1jiw", "1ofu"])
def test_long_proteins_do_not_warn(name, real_data):
    """Three times as long as thick: the mask spreads frequencies more across than along, and no warning comes of it."""
    model = load_model(real_data / "training_models" / f"{name}.pdb.gz")
    model = model.moved(shift=-model.centre)
    reach = 2 * float(abs(model.positions).max()) + 24
    simulated = simulate_map(model, 2 * int(reach / 2.4 + 1), 1.2, resolution=3.4, b_factor=70.0, seed=4)
    half_maps = HalfMaps(simulated.half_1, simulated.half_2)
    _, verdict = masked_values(half_maps, simulated.truth.mask).judged(CHECK)
    assert verdict.outcome.value != "warning"


def test_resolutions_scale_with_the_pixel():
    """The same voxels at another pixel size: every length scales with it, and nothing else changes."""
    values = pair(5, anisotropy=Anisotropy(1.5))
    reference = values.measure(CHECK)
    halves = values["half_maps"]
    for pixel_size in (0.5, 1.0, 2.0):
        scaled = HalfMaps(*(replace(half, pixel_size=pixel_size) for half in (halves.first, halves.second)))
        again = masked_values(scaled, values["hard_mask"])
        # The soft edge is at least 6 Å wide, whatever the pixel: the mask itself is kept.
        again.known["masked_halves"] = replace(values["masked_halves"], pixel_size=pixel_size)
        found, scale = again.measure(CHECK), pixel_size / halves.pixel_size
        assert found.anisotropy.value == pytest.approx(reference.anisotropy.value, rel=1e-6)
        for name in ("occupancy_resolution", "best_resolution", "worst_resolution", "nine_tenths"):
            assert getattr(found, name).value == pytest.approx(scale * getattr(reference, name).value, rel=1e-6)


def test_imposed_symmetry_is_allowed_for():
    """Noise averaged over four turns: with the symmetry told, sound pairs stay silent."""
    model = ideal_protein(residues=130, subunits=4, seed=3)
    clean = simulate_map(model, 81, 1.2, resolution=None, b_factor=70.0)
    for seed in range(2):
        first, second, _ = simulate_half_maps(clean.half_1, 3.4, mask=clean.truth.mask, seed=seed)
        # An odd box turns about its centre voxel.
        turned = [
            replace(half, data=np.mean([np.rot90(half.data, k, axes=(1, 2)) for k in range(4)], axis=0))
            for half in (first, second)
        ]
        measurement, verdict = masked_values(HalfMaps(*turned), clean.truth.mask, "C4").judged(CHECK)
        assert verdict.outcome.value != "warning", seed
        assert measurement.p_value.value > 0.01


def test_few_shells_leave_it_open():
    """A small particle at 6 Å has too few coefficients in a cone."""
    simulated = simulate_map(ideal_protein(residues=80, subunits=1, seed=2), 48, 1.6, resolution=6.0, seed=1)
    with pytest.raises(Inconclusive, match="shells in Fourier space"):
        pair_values(simulated, 6.0).measure(CHECK)


def test_half_maps_without_noise_leave_it_open():
    clean = clean_protein()
    with pytest.raises(Inconclusive, match="up to Nyquist"):
        masked_values(HalfMaps(clean.half_1, clean.half_1), clean.truth.mask).measure(CHECK)


def test_only_noise_is_not_called_isotropic():
    rng = np.random.default_rng(0)
    halves = [DensityMap(rng.standard_normal((64, 64, 64)).astype(np.float32), 1.2) for _ in range(2)]
    grid = np.indices((64, 64, 64)) - 32
    with pytest.raises(Inconclusive):
        masked_values(HalfMaps(*halves), (grid**2).sum(axis=0) < 20**2).measure(CHECK)


def test_the_page_shows_what_was_found():
    measurement, _ = pair(6, degrade=MissingCone(35.0)).judged(CHECK)
    figures = CHECK.figures(measurement)
    assert [type(figure) for figure in figures] == [CurveFigure, ImageFigure]
    assert all(figure.caption and figure.alt_text for figure in figures)
    curve, band = figures[0].series
    below = np.array(curve.y) < np.array(band.low)
    assert below.any(), "the curve of an anisotropic map leaves the band"
    # The cone is about z, the centre of the disc: coarse there, finer at the rim.
    disc = figures[1].arrays["value"]
    assert disc[60, 60] > 1.2 * np.nanmin(disc[60, :6])
    assert "best direction" in CHECK.summary(measurement)
    assert CHECK.misleads().startswith("Misleads when")
