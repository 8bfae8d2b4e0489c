"""F.a on sound pairs, and on pairs with planted faults: it names the fault, and nothing in sound ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.checks.by_name import pair_values
from veritem.checks.level_f.half_map_forensics import HalfMapForensics
from veritem.errors import NotApplicable
from veritem.numerics.density_map import DensityMap
from veritem.results import CurveFigure, ImageFigure
from veritem.simulation.half_map_defects import (
    HALF_MAP_DEFECTS,
    averaged,
    fading,
    gridded,
    half_map_defect,
    in_sphere,
    unequal,
    without_corners,
)
from veritem.simulation.half_maps import SimulatedMap, simulate_map
from veritem.simulation.models import ideal_protein

RESOLUTION = 3.6


@pytest.fixture(scope="module")
def sound() -> SimulatedMap:
    """One subunit, so that no turn leaves it as it is; 18 Å free on every side."""
    return simulate_map(
        ideal_protein(residues=180, subunits=1, seed=5),
        72,
        1.4,
        resolution=RESOLUTION,
        b_factor=110,
        sharpen=70,
        seed=3,
    )


def judged(simulated: SimulatedMap, resolution: float | None = RESOLUTION, **inputs):
    check = HalfMapForensics()
    measurement, verdict = pair_values(simulated, resolution, **inputs).judged(check)
    return measurement, verdict, check.findings(measurement)


# --------------------------------------------------------------------------- sound pairs


VARIANTS = {
    "plain": lambda s: s,
    "sphere": lambda s: in_sphere(s, 1.0, 5.0),
    "fading": lambda s: fading(s, 0.2),
    "without corners": without_corners,
    "gridded": lambda s: gridded(s, 2.0),
    "unequal": lambda s: unequal(s, 0.55),
    "masked map": lambda s: replace(
        s, density_map=replace(s.density_map, data=s.density_map.data * s.truth.mask.astype(np.float32))
    ),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_what_programs_do_is_no_fault(name, sound):
    measurement, verdict, found = judged(VARIANTS[name](sound))
    assert found == []
    # Independence is tested, or said not to be testable; in a sphere of this box too little room is left.
    if name in ("plain", "without corners", "gridded", "unequal", "masked map"):
        assert verdict.outcome.value == "pass", verdict.reason
        low, high = measurement.noise_correlation.interval
        assert low - 0.01 < 0.0 < high + 0.01 and high - low < 0.05
    if name in ("sphere", "fading"):
        assert measurement.sphere.value is not None
        assert any("no fault" in caveat for caveat in measurement.caveats)


@pytest.mark.parametrize(("symmetry", "rotations", "dihedral"), [("C2", 2, False), ("C4", 4, False), ("D4", 4, True)])
def test_averaging_over_a_point_group_is_no_fault(symmetry, rotations, dihedral):
    simulated = simulate_map(ideal_protein(residues=70, subunits=rotations, seed=2), 72, 1.4, resolution=3.6, seed=8)
    pair = averaged(simulated, rotations, dihedral)
    mean = (pair.half_1.data + pair.half_2.data) * np.float32(0.5)
    _, _, found = judged(replace(pair, density_map=replace(pair.density_map, data=mean)), 3.6, symmetry=symmetry)
    assert found == []


def test_non_cubic_odd_boxes_and_no_resolution(sound):
    window = (slice(0, 70), slice(1, 72), slice(0, 67))
    cut = [
        DensityMap(np.ascontiguousarray(m.data[window]), m.pixel_size, m.origin)
        for m in (sound.density_map, sound.half_1, sound.half_2)
    ]
    _, _, found = judged(replace(sound, density_map=cut[0], half_1=cut[1], half_2=cut[2]), None)
    assert found == []


def test_a_tight_box_is_no_fault(sound):
    occupied = [np.flatnonzero(sound.truth.molecule.any(axis=a)) for a in ((1, 2), (0, 2), (0, 1))]
    window = tuple(slice(o[0] - 3, o[-1] + 4) for o in occupied)
    cut = [
        DensityMap(np.ascontiguousarray(m.data[window]), m.pixel_size, m.origin)
        for m in (sound.density_map, sound.half_1, sound.half_2)
    ]
    _, _, found = judged(replace(sound, density_map=cut[0], half_1=cut[1], half_2=cut[2]))
    assert found == []


@pytest.mark.parametrize("share", [0.65, 0.75, 0.85, 1.0])
def test_a_tight_sphere_is_no_fault_and_leaves_independence_undecided(share, sound):
    """The particle reaches 28 Å from the centre, the box 50 Å: little room is left between it and the sphere."""
    measurement, verdict, found = judged(in_sphere(sound, share, 5.0))
    assert found == []
    assert measurement.sphere.value == pytest.approx(share * 50.4 - 2.5, abs=4.0)
    if share == 0.65:
        assert measurement.noise_correlation.value is None
        assert verdict.outcome.value == "inconclusive" and "cannot be told" in verdict.reason


# --------------------------------------------------------------------------- planted faults


@pytest.mark.parametrize("name", [entry.name for entry in HALF_MAP_DEFECTS])
def test_a_planted_fault_is_named(name, sound):
    """At its gross dose, in the summary and by the criterion that is for it."""
    entry = half_map_defect(name)
    measurement, verdict, found = judged(entry(sound, entry.doses[-1], seed=1))
    assert entry.finding in found
    assert verdict.outcome.value == "warning"
    assert HalfMapForensics().summary(measurement).startswith("Found: ")


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_the_share_of_common_noise_is_measured(share, sound):
    measurement, _, found = judged(half_map_defect("shared_noise")(sound, share, seed=2))
    assert "noise_correlation" in found
    low, high = measurement.noise_correlation.interval
    # Twice the interval's half-width: one of three trials may lie outside of 95 %.
    assert abs(measurement.noise_correlation.value - share) < (high - low)


@pytest.mark.parametrize("cut", [4.0, 5.0, 8.0])
def test_the_low_pass_is_named_within_a_tenth(cut, sound):
    measurement, _, found = judged(half_map_defect("low_passed")(sound, cut, seed=2))
    assert "noise_end" in found
    nyquist = 0.5 / sound.density_map.pixel_size
    assert 1.0 / (measurement.noise_end.value * nyquist) == pytest.approx(cut, rel=0.1)
    assert "low-passed" in measurement.noise_end.note


@pytest.mark.parametrize("factor", [1.25, 1.5])
def test_another_grid_is_named_by_its_voxels(factor, sound):
    measurement, _, found = judged(half_map_defect("resampled")(sound, factor, seed=2))
    assert "noise_end" in found and "in a cube" in measurement.noise_end.note
    assert measurement.noise_end.value == pytest.approx(1.0 / factor, rel=0.05)


@pytest.mark.parametrize("voxels", [0.5, 1.0, 3.0])
def test_the_shift_is_named(voxels, sound):
    measurement, _, found = judged(half_map_defect("shifted_half")(sound, voxels, seed=2))
    assert "half_shift" in found
    length = np.linalg.norm(measurement.evidence.shift_vector)
    assert length == pytest.approx(voxels * 1.4, abs=4 * measurement.evidence.shift.error + 0.005)


@pytest.mark.parametrize("b_factor", [60.0, 120.0])
def test_the_filter_between_the_halves_is_measured(b_factor, sound):
    measurement, _, found = judged(half_map_defect("filtered_differently")(sound, b_factor, seed=2))
    assert "filter_ratio" in found
    assert measurement.filter_b_factor.value == pytest.approx(b_factor, rel=0.1)


@pytest.mark.parametrize("b_factor", [50.0, 150.0])
def test_sharpening_is_measured_up_to_what_raw_noise_may_do(b_factor, sound):
    """White noise is no steeper than f by -2 ln(f2 / f1) / (f2² - f1²) from 0.4 to 0.95 of Nyquist: -17 Å² at 1.4 Å."""
    measurement, _, found = judged(half_map_defect("sharpened")(sound, b_factor, seed=2))
    assert "noise_rise" in found
    assert measurement.noise_rise.value == pytest.approx(b_factor - 17.0, abs=4.0)


def test_the_half_that_is_off_is_told():
    """Half 1 is mirrored; the map shows that it is half 1."""
    simulated = simulate_map(ideal_protein(residues=180, subunits=1, seed=5), 72, 1.4, resolution=3.6, seed=3)
    swapped = replace(simulated, half_1=simulated.half_2, half_2=simulated.half_1)
    faulty = half_map_defect("mirrored_half")(swapped, 1.0)
    faulty = replace(faulty, half_1=faulty.half_2, half_2=faulty.half_1)
    measurement, _, found = judged(faulty)
    assert found == ["half_mirrored"]
    assert "half 1 is the one that is off the map" in HalfMapForensics().summary(measurement)
    assert "mirrored along x" in HalfMapForensics().summary(measurement)


def test_an_empty_half_is_not_applicable(sound):
    empty = replace(sound.half_2, data=np.zeros_like(sound.half_2.data))
    with pytest.raises(NotApplicable):
        judged(replace(sound, half_2=empty))


# --------------------------------------------------------------------------- what is shown


def test_the_page_shows_what_was_found(sound):
    check = HalfMapForensics()
    measurement = pair_values(sound, RESOLUTION).measure(check)
    figures = check.figures(measurement)
    assert [type(f) for f in figures] == [CurveFigure, CurveFigure, CurveFigure, ImageFigure]
    assert [f.key for f in figures] == ["noise_spectrum", "solvent_fsc", "noise_by_distance", "difference"]
    table = check.tables(measurement)[0]
    assert len(table.rows) == len(check.criteria)
    assert "nothing was found" in check.summary(measurement)
    assert check.question().startswith("Are these the two half maps")
    assert check.misleads().startswith("Misleads when")


def test_a_copy_has_no_figures_and_still_a_table(sound):
    check = HalfMapForensics()
    measurement = pair_values(half_map_defect("same_file_twice")(sound, 3.0), RESOLUTION).measure(check)
    assert check.figures(measurement) == []
    assert check.tables(measurement)[0].rows[0][3] == "warning"


def test_the_same_numbers_again(sound):
    first, _, _ = judged(sound)
    second, _, _ = judged(sound)
    assert first.noise_correlation == second.noise_correlation
    assert first.map_noise == second.map_noise
