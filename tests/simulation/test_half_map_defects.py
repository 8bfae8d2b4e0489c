"""Each fault planted in half maps, its dose measured back by other means than planted it."""

from __future__ import annotations

import numpy as np
import pytest

from veritem.numerics.fourier import axis_frequencies, frequency_grid, rfftn
from veritem.numerics.shells import power, shell_frequencies, shell_means
from veritem.simulation.defects import distance_outside
from veritem.simulation.half_map_defects import (
    HALF_MAP_DEFECTS,
    averaged,
    fading,
    fresh_noise,
    gridded,
    half_map_defect,
    in_sphere,
    raw_signal,
    unequal,
    without_corners,
)
from veritem.simulation.half_maps import SimulatedMap, simulate_map
from veritem.simulation.models import ideal_protein


@pytest.fixture(scope="module")
def pair() -> SimulatedMap:
    return simulate_map(ideal_protein(residues=120, subunits=1, seed=4), 64, 1.4, resolution=3.6, seed=6)


def noises(simulated: SimulatedMap) -> tuple[np.ndarray, np.ndarray]:
    signal = raw_signal(simulated)
    return simulated.half_1.data - signal, simulated.half_2.data - signal


def spectrum(data: np.ndarray) -> np.ndarray:
    mean, _, _ = shell_means(power(rfftn(data)), data.shape)
    return mean


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


# --------------------------------------------------------------------------- the table


def test_names_are_unique_and_each_finding_has_a_criterion():
    from veritem.checks.level_f.half_map_forensics import HalfMapForensics

    criteria = {criterion.quantity for criterion in HalfMapForensics.criteria}
    assert {entry.finding for entry in HALF_MAP_DEFECTS} <= criteria
    assert len({entry.name for entry in HALF_MAP_DEFECTS}) == len(HALF_MAP_DEFECTS) >= 12
    assert all(len(entry.doses) == 3 for entry in HALF_MAP_DEFECTS)
    with pytest.raises(KeyError, match="known are same_file_twice"):
        half_map_defect("absent")


@pytest.mark.parametrize("entry", HALF_MAP_DEFECTS, ids=lambda entry: entry.name)
def test_a_dose_is_reproducible_and_leaves_the_sound_pair_alone(entry, pair):
    before = [m.data.copy() for m in (pair.density_map, pair.half_1, pair.half_2)]
    once, twice = (entry(pair, entry.doses[1], seed=3) for _ in range(2))
    for name in ("density_map", "half_1", "half_2"):
        first, second = getattr(once, name), getattr(twice, name)
        assert (first.data == second.data).all()
        assert first.data.dtype == np.float32 and first.data.shape == pair.half_1.shape
    changed = [
        np.abs(getattr(once, name).data - data).max()
        for name, data in zip(("density_map", "half_1", "half_2"), before, strict=True)
    ]
    assert max(changed) > 0
    for m, data in zip((pair.density_map, pair.half_1, pair.half_2), before, strict=True):
        assert (m.data == data).all()


# --------------------------------------------------------------------------- parts


def test_signal_and_fresh_noise_are_those_of_the_pair(pair):
    """What is left of a half without the signal is white; 262 144 voxels tell a correlation to 0.002."""
    first, second = noises(pair)
    assert abs(correlation(first, second)) < 0.01
    inside = pair.truth.molecule
    assert abs(first[inside].mean()) < 5 * first.std() / np.sqrt(inside.sum())
    fresh = fresh_noise(pair, np.random.default_rng(0))
    assert fresh.std() == pytest.approx(first.std(), rel=0.01)
    assert abs(correlation(fresh, first)) < 0.01 and abs(correlation(fresh, second)) < 0.01


# --------------------------------------------------------------------------- doses


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_the_share_of_noise_is_common(share, pair):
    faulty = half_map_defect("shared_noise")(pair, share, seed=1)
    first, second = noises(faulty)
    assert correlation(first, second) == pytest.approx(share, abs=0.012)
    assert first.std() == pytest.approx(noises(pair)[0].std(), rel=0.01)


def test_copies_are_copies(pair):
    faulty = half_map_defect("same_file_twice")(pair, 3.0)
    assert correlation(faulty.half_1.data, faulty.half_2.data) == pytest.approx(1.0, abs=1e-6)
    assert faulty.half_2.data.std() == pytest.approx(3 * faulty.half_1.data.std(), rel=1e-5)


def test_the_half_is_the_mean_or_the_map_or_the_map_the_half(pair):
    entry = half_map_defect("half_is_the_map")
    mean = 0.5 * (pair.half_1.data + pair.half_2.data)
    assert np.allclose(entry(pair, 1.0).half_2.data, mean)
    assert (entry(pair, 2.0).half_2.data == pair.density_map.data).all()
    # The map of the first half has its noise beyond the mean's: processed alike, it is as far from the map.
    made = entry(pair, 3.0).density_map.data
    assert correlation(made, pair.density_map.data) < 0.99


@pytest.mark.parametrize(("name", "dose"), [("hard_masked", 5.0), ("soft_masked", 8.0)])
def test_masks_keep_the_particle_and_empty_the_rest(name, dose, pair):
    faulty = half_map_defect(name)(pair, dose)
    distance = distance_outside(pair.truth.mask, 1.4)
    for before, after in ((pair.half_1, faulty.half_1), (pair.half_2, faulty.half_2)):
        assert (after.data[pair.truth.mask] == before.data[pair.truth.mask]).all()
        assert (after.data[distance > dose + 1.5] == 0).all()
    if name == "soft_masked":
        # Half-way down the cosine the density is about halved.
        ring = (distance > 3.5) & (distance < 4.5)
        assert np.median(faulty.half_1.data[ring] / pair.half_1.data[ring]) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("dose", [0.5, 1.0])
def test_only_one_half_is_flattened(dose, pair):
    faulty = half_map_defect("one_half_flattened")(pair, dose)
    far = distance_outside(pair.truth.mask, 1.4) > 8.0
    assert faulty.half_1 is pair.half_1
    assert np.allclose(faulty.half_2.data[far], (1 - dose) * pair.half_2.data[far], atol=1e-6)


@pytest.mark.parametrize("cut", [4.0, 8.0])
def test_low_pass_keeps_what_is_coarser_and_nothing_else(cut, pair):
    faulty = half_map_defect("low_passed")(pair, cut)
    before, after = spectrum(pair.half_1.data), spectrum(faulty.half_1.data)
    f = shell_frequencies(pair.half_1.shape, 1.4)
    step = f[1]
    assert np.allclose(after[f < 1 / cut - step], before[f < 1 / cut - step], rtol=1e-4)
    assert (after[f > 1 / cut + 3 * step] < 1e-6 * before[f > 1 / cut + 3 * step]).all()


@pytest.mark.parametrize("b_factor", [50.0, 150.0])
def test_sharpening_and_blurring_change_the_spectrum_by_their_b_factor(b_factor, pair):
    """Power changes by exp(± B f² / 2); a shell one Fourier voxel thick holds f to half a voxel."""
    f = shell_frequencies(pair.half_1.shape, 1.4)
    use = (f > 0.05) & (f < 0.33)
    sharp = half_map_defect("sharpened")(pair, b_factor)
    ratio = np.log(spectrum(sharp.half_1.data) / spectrum(pair.half_1.data))
    slope = np.polyfit(f[use] ** 2 / 2, ratio[use], 1)[0]
    assert slope == pytest.approx(b_factor, rel=0.03)
    blurred = half_map_defect("filtered_differently")(pair, b_factor)
    assert blurred.half_1 is pair.half_1
    ratio = np.log(spectrum(blurred.half_2.data) / spectrum(pair.half_2.data))
    assert np.polyfit(f[use] ** 2 / 2, ratio[use], 1)[0] == pytest.approx(-b_factor, rel=0.03)


@pytest.mark.parametrize("dose", [1.0, 2.0])
def test_weighting_follows_the_expected_fsc(dose, pair):
    faulty = half_map_defect("weighted_differently")(pair, dose)
    ratio = np.sqrt(spectrum(faulty.half_2.data) / spectrum(pair.half_2.data))
    fsc = np.clip(pair.truth.fsc, 1e-4, 1)
    # The weight is interpolated in frequency, so within a shell it varies where the FSC falls.
    assert ratio[3:30] == pytest.approx(np.sqrt(2 * fsc / (1 + fsc))[3:30] ** dose, rel=0.15, abs=0.02)


def test_denoising_makes_noise_weaker_and_peaked(pair):
    far = distance_outside(pair.truth.mask, 1.4) > 8.0
    last = np.inf
    for dose in (1.0, 2.0, 3.0):
        faulty = half_map_defect("denoised")(pair, dose)
        difference = (faulty.half_1.data - faulty.half_2.data)[far]
        assert difference.std() < last
        last = difference.std()
    assert np.abs(difference).mean() / difference.std() < 0.75


def test_local_enhancement_weakens_noise_where_there_is_no_signal(pair):
    far = distance_outside(pair.truth.mask, 1.4) > 8.0
    for dose in (0.6, 0.8, 1.0):
        faulty = half_map_defect("locally_enhanced")(pair, dose)
        left = np.std((faulty.half_1.data - faulty.half_2.data)[far]) / np.std(
            (pair.half_1.data - pair.half_2.data)[far]
        )
        # The local gain of noise alone lies between 0 and 0.25.
        assert 1 - dose - 0.01 < left < 1 - 0.7 * dose


@pytest.mark.parametrize("factor", [1.25, 2.0])
def test_padding_leaves_a_cube(factor, pair):
    faulty = half_map_defect("resampled")(pair, factor)
    before, after = np.abs(rfftn(pair.half_1.data)), np.abs(rfftn(faulty.half_1.data))
    fz, fy, fx = axis_frequencies(pair.half_1.shape, 1.0)
    largest = np.maximum(np.maximum(abs(fz)[:, None, None], abs(fy)[None, :, None]), abs(fx))
    inside, outside = largest < 0.5 / factor - 1e-4, largest > 0.5 / factor + 1e-4
    assert np.allclose(after[inside], before[inside], rtol=1e-3, atol=1e-2)
    assert after[outside].max() < 1e-4 * before.max()


@pytest.mark.parametrize("factor", [1.5, 2.0])
def test_splines_through_the_coarse_grid_reproduce_it(factor, pair):
    """A wave far below the coarse Nyquist passes; above it nearly nothing is left."""
    faulty = half_map_defect("interpolated")(pair, factor)
    before, after = spectrum(pair.half_1.data), spectrum(faulty.half_1.data)
    f = shell_frequencies(pair.half_1.shape, 1.4)
    nyquist = 0.5 / 1.4
    low = (f > 0) & (f < 0.3 * nyquist / factor)
    assert np.allclose(after[low], before[low], rtol=0.02)
    assert (after[f > 1.5 * nyquist / factor] < 0.05 * before[f > 1.5 * nyquist / factor]).all()


@pytest.mark.parametrize("dose", [0.5, 3.0])
def test_the_second_half_is_moved_by_so_many_voxels(dose, pair):
    faulty = half_map_defect("shifted_half")(pair, dose, seed=2)
    # Phases of the lowest coefficients along each axis, on the signal alone.
    cross = rfftn(faulty.half_2.data) * np.conj(rfftn(pair.half_2.data))
    n = 64
    shift = [-np.angle(cross[index]) * n / (2 * np.pi) for index in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]
    assert np.linalg.norm(shift) == pytest.approx(dose, rel=0.01)


def test_mirrors_and_turns_are_exact(pair):
    data = pair.half_2.data
    mirrored = half_map_defect("mirrored_half")(pair, 1.0).half_2.data
    assert (mirrored[:, :, 1:] == data[:, :, :0:-1]).all()
    assert (half_map_defect("mirrored_half")(pair, 2.0).half_2.data == data[::-1]).all()
    assert (half_map_defect("mirrored_half")(pair, 3.0).half_2.data == np.swapaxes(data, 0, 2)).all()
    once = half_map_defect("turned_half")(pair, 1.0).half_2.data
    assert (np.rot90(once, 3, axes=(1, 2)) == data).all()
    flipped = half_map_defect("map_reoriented")(pair, 2.0)
    assert (flipped.density_map.data == pair.density_map.data[::-1]).all() and flipped.half_1 is pair.half_1


def test_other_molecules_take_the_share_they_are_given(pair):
    signal = raw_signal(pair)
    strong = signal - signal.mean()
    for name, field in (("other_half", "half_2"), ("map_of_other_molecule", "density_map")):
        faulty = half_map_defect(name)(pair, 0.8, seed=1)
        changed = getattr(faulty, field).data - getattr(pair, field).data
        # Against the old signal the change is minus the dose, up to what the two molecules have in common.
        wanted = strong if field == "half_2" else pair.truth.signal.data - pair.truth.signal.data.mean()
        slope = float((changed * wanted).sum() / (wanted**2).sum())
        assert -0.85 < slope < 0.0


@pytest.mark.parametrize("factor", [0.5, -1.0])
def test_greys_are_scaled(factor, pair):
    faulty = half_map_defect("scaled_half")(pair, factor)
    assert np.allclose(faulty.half_2.data, factor * pair.half_2.data)


@pytest.mark.parametrize("share", [0.0, 0.9, 1.0])
def test_the_map_gets_other_noise(share, pair):
    faulty = half_map_defect("map_of_other_halves")(pair, share, seed=1)
    own = pair.density_map.data - pair.truth.signal.data
    other = faulty.density_map.data - pair.truth.signal.data
    # Low-passed noise: about a third of the voxels are independent, 0.003 each, and rounding of the signal.
    assert correlation(own, other) == pytest.approx(1 - share, abs=0.02)
    assert other.std() == pytest.approx(own.std(), rel=0.02)


# --------------------------------------------------------------------------- what is no fault


def test_spheres_and_fading_change_nothing_inside(pair):
    z, y, x = np.meshgrid(*[np.arange(64) - 32] * 3, indexing="ij")
    radius = 1.4 * np.sqrt(z**2 + y**2 + x**2)
    masked = in_sphere(pair, 0.9, 5.0)
    limit = 0.9 * 32 * 1.4
    assert (masked.half_1.data[radius < limit - 5.1] == pair.half_1.data[radius < limit - 5.1]).all()
    assert (masked.half_1.data[radius > limit] == 0).all()
    faded = fading(pair, 0.2)
    inside = radius < 0.79 * 32 * 1.4
    assert (faded.half_2.data[inside] == pair.half_2.data[inside]).all()
    assert np.std(faded.half_2.data[radius > 60]) < 0.2 * np.std(pair.half_2.data[radius > 60])


def test_corners_and_gridding(pair):
    grid = frequency_grid(pair.half_1.shape, 1.4)
    bare = rfftn(without_corners(pair).half_1.data)
    assert np.abs(bare[grid > pair.half_1.nyquist * 1.001]).max() < 1e-3 * np.abs(bare).max()
    ratio = np.sqrt(spectrum(gridded(pair, 2.0).half_1.data) / spectrum(pair.half_1.data))
    f = shell_frequencies(pair.half_1.shape, 1.4) / pair.half_1.nyquist
    assert ratio[2:31] == pytest.approx(np.sinc(f / 2)[2:31] ** 2, abs=0.03)


def test_unequal_halves_have_unequal_noise(pair):
    first, second = (n.std() for n in noises(unequal(pair, 0.6)))
    before = noises(pair)[0].std()
    assert first / before == pytest.approx(np.sqrt(0.5 / 0.6), rel=0.01)
    assert second / before == pytest.approx(np.sqrt(0.5 / 0.4), rel=0.01)


@pytest.mark.parametrize(("rotations", "dihedral"), [(2, False), (4, False), (2, True), (4, True)])
def test_averaged_noise_has_the_symmetry_and_its_strength(rotations, dihedral, pair):
    noise, _ = noises(averaged(pair, rotations, dihedral))
    quarter = np.roll(np.rot90(noise, 4 // rotations, axes=(1, 2)), {4: (1, 0), 2: (1, 1)}[rotations], axis=(1, 2))
    # raw_signal is added and taken off again in single precision.
    assert np.allclose(quarter[:, 1:, 1:], noise[:, 1:, 1:], atol=1e-3 * noise.std() + 1e-3)
    assert noise.std() == pytest.approx(noises(pair)[0].std(), rel=0.02)
    if dihedral:
        flipped = np.roll(np.flip(noise, (0, 1)), (1, 1), axis=(0, 1))
        assert np.allclose(flipped[1:, 1:], noise[1:, 1:], atol=1e-3 * noise.std() + 1e-3)
