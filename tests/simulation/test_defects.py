"""Each planted defect, its dose measured back by other means than planted it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage

from veritem.numerics.fourier import axis_frequencies, frequency_grid, rfftn
from veritem.numerics.shells import power, shell_frequencies, shell_means
from veritem.simulation.defects import (
    DEFECTS,
    contrast,
    defect,
    distance_outside,
    mirror_density,
    shift_density,
)
from veritem.simulation.noise import white_noise
from veritem.simulation.phantoms import simulate_density

HARMLESS = {"wrong_contour": 1.0}


def far_from(sound, distance=10.0):
    return distance_outside(sound.truth.mask, sound.density_map.pixel_size) > distance


def change(faulty, sound):
    return faulty.density_map.data.astype(np.float64) - sound.density_map.data


# --------------------------------------------------------------------------- the table


def test_every_defect_names_a_check_that_exists_and_has_a_name_of_its_own():
    from veritem.checks.registry import CHECKS

    assert {entry.check for entry in DEFECTS} <= {check.code for check in CHECKS}
    assert len({entry.name for entry in DEFECTS}) == len(DEFECTS)
    assert defect("dust").name == "dust"
    with pytest.raises(KeyError, match="known are off_centre"):
        defect("absent")


@pytest.mark.parametrize("entry", DEFECTS, ids=lambda entry: entry.name)
def test_no_dose_no_change_and_a_dose_is_reproducible(entry, sound):
    before = sound.density_map.data.copy()
    harmless = entry(sound, HARMLESS.get(entry.name, 0.0), seed=1)
    # The two that add a difference of densities add exactly zero times it, up to float32 rounding of the sum.
    assert np.abs(change(harmless, sound)).max() <= 1e-6 * np.abs(before).max()
    assert harmless.truth.contour_level == pytest.approx(sound.truth.contour_level, rel=1e-5)
    dose = entry.doses[-1]
    once, twice = entry(sound, dose, seed=7), entry(sound, dose, seed=7)
    assert (once.density_map.data == twice.density_map.data).all()
    assert once.density_map.data.dtype == np.float32
    assert (sound.density_map.data == before).all()
    level_moved = once.truth.contour_level != sound.truth.contour_level
    assert once.density_map.shape != before.shape or level_moved or np.abs(change(once, sound)).max() > 0


# --------------------------------------------------------------------------- on arrays


@pytest.mark.parametrize("shape", [(32, 32, 32), (31, 40, 37)])
@pytest.mark.parametrize("shift", [(1.3, -2.7, 0.5), (3.0, 0.0, -4.0), (0.25, 0.0, 0.0)])
def test_shift_moves_a_blob_by_what_was_asked(shape, shift):
    z, y, x = np.meshgrid(*[np.arange(n) - n // 2 for n in shape], indexing="ij")
    blob = np.exp(-(z**2 + y**2 + x**2) / (2 * 2.0**2)).astype(np.float32)
    moved = shift_density(blob, shift).astype(np.float64)
    centre = [float((moved * axis).sum() / moved.sum()) for axis in (z, y, x)]
    # A Gaussian of 2 voxels is band-limited to 1e-8 at Nyquist and has fallen to exp(-15) at the faces.
    assert centre == pytest.approx(shift, abs=1e-3)
    expected = np.exp(-((z - shift[0]) ** 2 + (y - shift[1]) ** 2 + (x - shift[2]) ** 2) / 8.0)
    assert np.abs(moved - expected).max() < 1e-4


@pytest.mark.parametrize("shape", [(16, 18, 20), (15, 17, 19)])
def test_shifts_undo_each_other_and_keep_the_spectrum(shape):
    noise = white_noise(shape, 1.0, np.random.default_rng(0))
    there = shift_density(noise, (0.4, -1.6, 2.2))
    if all(n % 2 for n in shape):  # an even axis loses the phase of its Nyquist plane
        assert np.abs(shift_density(there, (-0.4, 1.6, -2.2)) - noise).max() < 1e-4
        assert power(rfftn(there)) == pytest.approx(power(rfftn(noise)), rel=1e-3, abs=1e-2)
    assert (shift_density(noise, (1.0, 2.0, 3.0)) == np.roll(noise, (1, 2, 3), axis=(0, 1, 2))).all()


@pytest.mark.parametrize("nx", [16, 17])
def test_mirror_keeps_the_centre_and_undoes_itself(nx):
    noise = white_noise((5, 6, nx), 1.0, np.random.default_rng(0))
    mirrored = mirror_density(noise)
    assert (mirrored[:, :, nx // 2] == noise[:, :, nx // 2]).all()
    for k in range(1, (nx - 1) // 2 + 1):
        assert (mirrored[:, :, nx // 2 + k] == noise[:, :, nx // 2 - k]).all()
    assert (mirror_density(mirrored) == noise).all()


def test_distance_is_that_of_scipy(sound):
    ours = distance_outside(sound.truth.mask, 1.3)
    theirs = np.minimum(scipy.ndimage.distance_transform_edt(~sound.truth.mask, sampling=1.3), 40.0)
    assert np.abs(ours - theirs).max() < 1e-4


# --------------------------------------------------------------------------- 0.a, 0.b


@pytest.mark.parametrize("dose", [0.05, 0.1])
def test_off_centre_moves_the_particle_and_not_the_model_in_it(sound, dose):
    moved = defect("off_centre")(sound, dose)
    px = sound.density_map.pixel_size
    before, after = (
        np.array(scipy.ndimage.center_of_mass(s.truth.signal.data * s.truth.mask)) * px for s in (sound, moved)
    )
    # Half a voxel of rounding to whole voxels.
    assert after - before == pytest.approx([0, 0, dose * 96 * px], abs=0.51 * px)
    assert np.array(moved.truth.centre) - np.array(sound.truth.centre) == pytest.approx(after - before, abs=1e-3)
    # The density at the atoms is what it was, voxel by voxel.
    at_atoms = []
    for s in (sound, moved):
        z, y, x = np.rint((s.model.positions - np.array(s.density_map.origin))[:, ::-1].T / px).astype(int)
        at_atoms.append(s.density_map.data[z, y, x])
    assert (at_atoms[0] == at_atoms[1]).mean() > 0.999  # rounding may fall the other way for an atom between voxels
    assert moved.half_1.origin == moved.density_map.origin


@pytest.mark.parametrize("dose", [0.05, 0.2])
def test_clipped_particle_loses_its_share(sound, dose):
    clipped = defect("clipped_particle")(sound, dose)
    left = clipped.truth.molecule.sum() / sound.truth.molecule.sum()
    # Whole slices are cut, the thickest of which holds 1 / 20 of this molecule.
    thickest = sound.truth.molecule.sum(axis=(0, 1)).max() / sound.truth.molecule.sum()
    assert 1 - dose - thickest <= left <= 1 - dose
    assert clipped.truth.molecule[:, :, -1].any()
    # Nothing has wrapped round: the first slices hold noise of the usual size.
    assert clipped.density_map.data[:, :, 0].std() == pytest.approx(sound.truth.noise_sigma, rel=0.1)


def test_tight_box_takes_the_free_space(sound):
    tight = defect("tight_box")(sound, 1.0)
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        occupied = np.flatnonzero(tight.truth.molecule.any(axis=others))
        assert min(occupied[0], tight.density_map.shape[axis] - 1 - occupied[-1]) == 0
    half = defect("tight_box")(sound, 0.5)
    offset = (np.array(half.density_map.origin) - np.array(sound.density_map.origin)) / sound.density_map.pixel_size
    x, y, z = np.rint(offset).astype(int)
    nz, ny, nx = half.density_map.shape
    assert (half.density_map.data == sound.density_map.data[z : z + nz, y : y + ny, x : x + nx]).all()


def test_dust_adds_that_many_bodies_at_contour_level(sound):
    count = 8
    dusty = defect("dust")(sound, count, seed=2)
    level = sound.truth.contour_level
    labels, bodies = scipy.ndimage.label(change(dusty, sound) >= level, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel())[1:] * sound.density_map.voxel_volume
    # Blobs may touch one another or the box face, never split.
    assert count - 2 <= bodies <= count
    # A ball of 5 Å holds 524 Å³; on 1.3 Å voxels a radius is known to a quarter of a voxel: 20 %.
    assert np.median(sizes) == pytest.approx(4 / 3 * np.pi * 5**3, rel=0.2)
    assert not (change(dusty, sound)[sound.truth.molecule] > level / 10).any()


def test_wrong_contour_touches_only_the_level(sound):
    wrong = defect("wrong_contour")(sound, 0.4)
    assert wrong.truth.contour_level == pytest.approx(0.4 * sound.truth.contour_level)
    assert wrong.density_map is sound.density_map


# --------------------------------------------------------------------------- 0.c


def test_background_offset_is_a_share_of_the_contrast(sound):
    shifted = defect("background_offset")(sound, 0.1)
    background = far_from(sound)
    inside = sound.density_map.data[sound.truth.molecule].mean(dtype=np.float64)
    outside = np.median(sound.density_map.data[background])
    moved = change(shifted, sound)
    assert np.ptp(moved) < 1e-5 * np.abs(sound.density_map.data).max()
    # The contrast is taken from the median of a background of 5e5 voxels of sd one tenth of it: 1 % at the most.
    assert moved.mean() == pytest.approx(0.1 * (inside - outside), rel=0.01)
    assert (shifted.density_map.data >= shifted.truth.contour_level).sum() == pytest.approx(
        (sound.density_map.data >= sound.truth.contour_level).sum(), rel=1e-3
    )


def test_dark_halo_has_its_depth_and_its_place(sound):
    dark = defect("dark_halo")(sound, 0.2)
    distance = distance_outside(sound.truth.molecule, sound.density_map.pixel_size)
    lost = change(dark, sound) / contrast(sound)
    assert lost[(distance > 5) & (distance < 14)] == pytest.approx(-0.2, abs=1e-4)
    assert np.abs(lost[(distance > 26) | (distance == 0)]).max() < 1e-6
    edge = lost[(distance > 19.5) & (distance < 20.5)]
    assert edge.mean() == pytest.approx(-0.1, abs=0.02)


@pytest.mark.parametrize("count", [1, 10])
def test_hot_voxels_are_single_and_as_hot_as_said(sound, count):
    hot = defect("hot_voxels")(sound, count, seed=3)
    raised = change(hot, sound)
    assert (raised > 0).sum() == count
    assert raised[raised > 0] / sound.truth.noise_sigma == pytest.approx(8.0, rel=1e-3)
    assert far_from(sound, 8.0)[raised > 0].all()


def test_rings_have_period_and_amplitude(sound):
    ringed = defect("rings")(sound, 1.0)
    wave = change(ringed, sound) / sound.truth.noise_sigma
    nz, ny, nx = wave.shape
    along = wave[nz // 2, ny // 2, nx // 2 :][: int(min(wave.shape) / 2) - 1]
    radius = np.arange(len(along)) * sound.density_map.pixel_size
    assert along == pytest.approx(np.cos(2 * np.pi * radius / 20.0), abs=1e-3)


def test_streaks_add_their_variance_in_their_cone(sound):
    streaked = defect("streaks")(sound, 1.0, seed=5)
    extra = change(streaked, sound)
    assert extra.var() == pytest.approx(sound.truth.noise_sigma**2, rel=1e-3)
    shape, px = sound.density_map.shape, sound.density_map.pixel_size
    energy = power(rfftn(extra.astype(np.float32)))
    grid = frequency_grid(shape, px)
    fx = axis_frequencies(shape, px)[2][None, None, :] * np.ones(grid.shape)
    # Half a degree either side of 15.
    outside = fx < np.cos(np.deg2rad(15.5)) * grid
    assert energy[outside].sum() < 1e-6 * energy.sum()


def test_hard_mask_leaves_a_sphere(sound):
    masked = defect("hard_mask")(sound, 1.0)
    data = masked.density_map.data
    z, y, x = (np.arange(n) - n // 2 for n in data.shape)
    radius = np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2)
    edge = radius[sound.truth.mask].max()
    assert (data[radius > edge + 0.5] == 0).all()
    kept = radius <= edge - 0.01
    assert (data[kept] == sound.density_map.data[kept]).all()
    shares = [(defect("hard_mask")(sound, dose).density_map.data == 0).mean() for dose in (0, 0.25, 0.5, 0.75, 1)]
    assert shares[0] == 0 and (np.diff(shares) >= 0).all() and shares[-1] > 0.3


@pytest.mark.parametrize("dose", [0.3, 0.9])
def test_flattened_solvent_scales_the_noise_outside(sound, dose):
    flat = defect("flattened_solvent")(sound, dose)
    background = far_from(sound)
    ratio = flat.density_map.data[background].std() / sound.density_map.data[background].std()
    assert ratio == pytest.approx(1 - dose, rel=1e-3)
    assert (flat.density_map.data[sound.truth.mask] == sound.density_map.data[sound.truth.mask]).all()


# --------------------------------------------------------------------------- 0.d, 0.f, 0.g, 0.h


@pytest.mark.parametrize(("name", "dose", "sign"), [("oversharpened", 60.0, -1), ("blurred", 150.0, 1)])
def test_planted_b_factor_is_read_back(sound, name, dose, sign):
    faulty = defect(name)(sound, dose)
    shape = sound.density_map.shape
    before, after = (shell_means(power(rfftn(s.density_map.data)), shape)[0] for s in (sound, faulty))
    frequency = shell_frequencies(shape, sound.density_map.pixel_size)
    band = (frequency > 0.06) & (frequency < 0.26)
    slope = np.polyfit(frequency[band] ** 2, np.log(after / before)[band], 1)[0]
    # Shells of 0.008 1/Å average the gain over their width: below 1 % of B.
    assert -2 * slope == pytest.approx(sign * dose, rel=0.01)
    assert faulty.truth.b_factor == sound.truth.b_factor + sign * dose
    far = far_from(sound, 8.0)
    assert faulty.density_map.data[far].std() == pytest.approx(faulty.truth.noise_sigma, rel=0.05)


def test_flexible_domain_blurs_its_half_alone(sound):
    dose = 150.0
    faulty = defect("flexible_domain")(sound, dose)
    domains = sound.model.positions[:, 0] > sound.model.centre[0]
    assert (faulty.model.b_factors - sound.model.b_factors == dose * domains).all()
    # The signal is that of the model with the new B, simulated afresh without solvent and passed through the transfer.
    px, shape, origin = sound.density_map.pixel_size, sound.density_map.shape, sound.density_map.origin
    fresh, old = (
        sound.truth.transfer.apply(simulate_density(s.model, shape, px, origin=origin)).data for s in (faulty, sound)
    )
    difference = faulty.truth.signal.data - sound.truth.signal.data
    assert np.abs(difference - (fresh - old)).max() < 1e-4 * np.abs(fresh).max()
    assert np.abs(change(faulty, sound) - difference).max() < 1e-4 * np.abs(fresh).max()
    # Deep in the other half nothing changes: 15 Å from the cut.
    x = np.arange(shape[2]) * px + origin[0] - sound.model.centre[0]
    assert np.abs(difference[:, :, x < -15]).max() < 0.05 * np.abs(difference).max()


@pytest.mark.parametrize("dose", [0.3, 0.6])
def test_low_occupancy_takes_its_share_of_one_chain(sound, dose):
    faulty = defect("low_occupancy")(sound, dose)
    assert set(np.unique(faulty.model.occupancies[faulty.model.chains == 0])) == {1 - dose}
    assert set(np.unique(faulty.model.occupancies[faulty.model.chains == 1])) == {1.0}
    # Regression of the new signal on the old one, over voxels at the atoms of each chain that lie away from the other.
    px, origin = sound.density_map.pixel_size, np.array(sound.density_map.origin)
    ratios = []
    for chain in (0, 1):
        own, other = (sound.model.positions[sound.model.chains == c] for c in (chain, 1 - chain))
        lonely = own[np.min(np.linalg.norm(own[:, None] - other[None], axis=2), axis=1) > 12]
        assert len(lonely) > 100
        z, y, x = np.rint((lonely - origin)[:, ::-1].T / px).astype(int)
        a, b = (s.truth.signal.data[z, y, x].astype(np.float64) for s in (sound, faulty))
        ratios.append((a @ b) / (a @ a))
    # The solvent that fills the gap follows an envelope of the one chain, which differs from the whole's near contacts.
    assert ratios == pytest.approx([1 - dose, 1.0], abs=0.02)
    # Half maps lost the same, before sharpening.
    moved = faulty.half_1.data - sound.half_1.data
    assert np.abs(moved - (faulty.half_2.data - sound.half_2.data)).max() < 1e-3 * np.abs(moved).max()


def test_mirrored_map_has_the_other_hand(sound):
    faulty = defect("mirrored")(sound, 1.0)
    assert (faulty.density_map.data == mirror_density(sound.density_map.data)).all()
    assert (faulty.half_1.data == mirror_density(sound.half_1.data)).all()
    assert faulty.truth.molecule.sum() == sound.truth.molecule.sum()
    assert faulty.model is sound.model
