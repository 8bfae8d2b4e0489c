"""Contour levels and masks, against particles of known volume and against real maps with models."""

from __future__ import annotations

import mrcfile
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from veritem.derived import masks
from veritem.derived.contour import find_envelope, level_for_volume
from veritem.errors import NotApplicable
from veritem.numerics.density_map import DensityMap
from veritem.simulation.half_maps import simulate_map
from veritem.simulation.models import ideal_protein
from veritem.simulation.phantoms import simulate_density


def cone(shape: tuple[int, int, int] = (48, 52, 50), pixel_size: float = 2.0) -> DensityMap:
    """Density that falls by one per voxel from 20 in the centre: the level 20 - r encloses a ball of radius r."""
    z, y, x = (np.arange(n) - n // 2 for n in shape)
    radius = np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2)
    return DensityMap(np.maximum(20 - radius, 0).astype(np.float32), pixel_size)


@pytest.fixture(scope="module")
def protein():
    return ideal_protein(residues=200, subunits=1, seed=2)


@pytest.fixture(scope="module")
def protein_map(protein):
    return simulate_map(protein, (72, 64, 68), 1.5, 3.4, seed=1)


# --------------------------------------------------------------------------- contour level


def test_a_given_level_is_taken_as_it_is():
    level = masks.contour_level(cone(), 3.25, 5e4)
    assert (level.value, level.source) == (3.25, "given")


@pytest.mark.parametrize("radius", [6.0, 9.5, 14.0])
def test_the_level_of_a_molecular_weight_encloses_its_volume(radius):
    """The ball of radius r has the volume of the weight: level 20 - r. Its voxels are off a sphere by about 1 %."""
    weight = 4 / 3 * np.pi * radius**3 * 8.0 / 1.21
    level = masks.contour_level(cone(), None, weight)
    assert level.source == "estimated"
    assert level.value == pytest.approx(20 - radius, abs=0.1)
    assert "1.21" in level.method


def test_only_the_largest_component_counts_for_a_molecular_weight():
    """A second, lower body elsewhere does not raise the level."""
    alone = cone((48, 52, 110))
    data = alone.data.copy()
    data[:, :, 84:] = 0.9 * np.roll(alone.data, 41, axis=2)[:, :, 84:]
    weight = 4 / 3 * np.pi * 8.0**3 * 8.0 / 1.21
    one, two = (masks.contour_level(DensityMap(d, 2.0), None, weight).value for d in (alone.data, data))
    assert two == pytest.approx(one, abs=0.01)


def test_a_molecule_that_does_not_fit_is_refused():
    with pytest.raises(NotApplicable, match="pixel size"):
        masks.contour_level(cone(), None, 1e7)


def test_level_for_volume_takes_the_nearer_side_of_a_jump():
    """Two bodies of 100 and 80 voxels that a bridge joins at level 3: of 110 wanted, 100 is nearer than 181."""
    data = np.zeros((5, 10, 30), np.float32)
    data[:4, :5, :5] = 10
    data[:4, :5, 20:24] = 9
    data[0, 0, 5:20] = 3
    assert level_for_volume(data, 110, 1.0)[1] == 100
    level, size = level_for_volume(data, 190, 1.0)
    assert (level <= 3, size) == (True, 100 + 80 + 15)


@pytest.mark.parametrize("resolution", [8.0, 15.0])
@pytest.mark.parametrize("pixel_size", [2.0, 3.0])
def test_the_envelope_of_a_noise_free_protein_has_its_volume(protein, pixel_size, resolution):
    """21 kDa of protein is small for an envelope smoothed by 4 Å: the surface layer adds up to a half."""
    b_factor = 8 * resolution**2
    map_ = simulate_density(protein, round(110 / pixel_size), pixel_size, b_factor=b_factor, solvent=0.0)
    volume = find_envelope(map_).volume
    assert 0.9 < volume / (1.21 * protein.molecular_weight) < 2.2


def test_the_estimated_level_encloses_the_protein(protein, protein_map):
    """Within the factor of 1.6 that the level's method states, by the largest component."""
    level = masks.contour_level(protein_map.density_map, None, None)
    assert level.particle_found
    raw = masks.raw_mask(protein_map.density_map, level)
    volume = masks.components(raw).sizes[0] * protein_map.density_map.voxel_volume
    assert 1 / 1.6 < volume / (1.21 * protein.molecular_weight) < 1.6
    # And it is where the protein is: what is outside the true mask is few stray voxels at the surface.
    largest = masks.components(raw).largest()
    assert np.count_nonzero(largest & ~protein_map.truth.mask) < 0.02 * np.count_nonzero(largest)


@pytest.mark.parametrize(("scale", "offset"), [(0.001, 0.0), (250.0, 0.0), (1.0, 40.0), (3.0, -7.0)])
def test_grey_values_may_be_scaled_and_shifted(protein_map, scale, offset):
    """The same voxels are chosen whatever the unit and zero of the grey values."""
    map_ = protein_map.density_map
    reference = masks.contour_level(map_, None, None).value
    changed = DensityMap(map_.data * np.float32(scale) + np.float32(offset), map_.pixel_size)
    sigma = protein_map.truth.noise_sigma
    assert (masks.contour_level(changed, None, None).value - offset) / scale == pytest.approx(
        reference, abs=0.01 * sigma
    )


def test_eight_bit_grey_values_change_the_level_by_the_rounding_of_the_noise(protein_map):
    """The level is here three noise levels above the median: both are rounded to half a step, the noise times 1.4826
    from its median absolute deviation; 0.5 + 3 x 1.4826 x 0.5 = 2.7 steps."""
    data = protein_map.density_map.data
    step = float(data.max() - data.min()) / 255
    coarse = DensityMap(np.round((data - data.min()) / step).astype(np.float32), 1.5)
    fine = masks.contour_level(protein_map.density_map, None, None).value
    level = masks.contour_level(coarse, None, None).value
    assert level * step + data.min() == pytest.approx(fine, abs=2.73 * step)


def test_a_masked_map_gets_a_level_inside_its_mask(protein, protein_map):
    """Zero outside a tight mask: there is no noise to see, and the level still encloses the protein."""
    truth = protein_map.truth
    masked = DensityMap(protein_map.density_map.data * truth.mask, 1.5)
    level = masks.contour_level(masked, None, None)
    assert level.particle_found
    assert level.value > 0
    sizes = masks.components(masks.raw_mask(masked, level)).sizes
    assert 1 / 1.6 < sizes[0] * 1.5**3 / (1.21 * protein.molecular_weight) < 1.6


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("smoothed", [0.0, 1.5])
def test_noise_alone_is_called_noise(seed, smoothed):
    noise = np.random.default_rng(seed).standard_normal((72, 64, 60))
    if smoothed:
        noise = gaussian_filter(noise, smoothed, mode="wrap")
    level = masks.contour_level(DensityMap(noise.astype(np.float32), 1.5), None, None)
    assert not level.particle_found
    assert "no particle stands out" in level.method
    # It still is a level of the map, so that what follows can run and say more.
    assert noise.min() < level.value <= np.float32(noise.max())


def test_an_inverted_map_is_called_inverted(protein_map):
    level = masks.contour_level(DensityMap(-protein_map.density_map.data, 1.5), None, None)
    assert not level.particle_found
    assert "inverted" in level.method


REAL_MAPS = [
    ("emd30342_7cec_chainA/390_emd_30342_A_z4.mrc.gz", 61.2e3),
    ("emd5778_trpv1_transmembrane/transmem.mrc.gz", 35.4e3),
    ("emd1997_groel/1997.map.gz", 767e3),
    ("betagal_relion_tutorial/betaGal.mrc.gz", 467e3),
    ("empiar10248_apoferritin/cryosparc_refine_9355.mrc.gz", 482e3),
    ("empiar10248_apoferritin/xmipp_highres_10450.mrc.gz", 482e3),
]


@pytest.mark.parametrize(("name", "weight"), REAL_MAPS)
def test_real_maps_get_a_level_near_their_models_volume(real_data, name, weight):
    """weight: Da of the fitted model with its hydrogens. The stated factor is 1.6; 0.60 and 1.32 are the extremes."""
    with mrcfile.open(real_data / "maps_with_models" / name) as mrc:
        map_ = DensityMap(np.array(mrc.data, np.float32), float(mrc.voxel_size.x))
    level = masks.contour_level(map_, None, None)
    assert level.particle_found
    volume = masks.components(masks.raw_mask(map_, level)).sizes[0] * map_.voxel_volume
    assert 0.59 < volume / (1.21 * weight) < 1.6


# --------------------------------------------------------------------------- masks


def test_nothing_above_the_level_is_not_applicable():
    with pytest.raises(NotApplicable, match=r"largest value is 20"):
        masks.raw_mask(cone(), masks.ContourLevel(21.0, "given", ""))


def voxel_at(shape: tuple[int, int, int], at: tuple[int, int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[at] = True
    return mask


@pytest.mark.parametrize(("pixel_size", "radius"), [(0.5, 4), (1.0, 2), (1.5, 1), (3.0, 1)])
def test_the_hard_mask_is_the_largest_component_and_two_angstrom(pixel_size, radius):
    """One pair of voxels and, far away, a single one that is left out. Below 2 Å a voxel the growth is floor(2 / px)
    voxels along an axis; above, one voxel."""
    raw = (
        voxel_at((20, 21, 40), (10, 10, 10)) | voxel_at((20, 21, 40), (10, 10, 11)) | voxel_at((20, 21, 40), (3, 3, 33))
    )
    hard = masks.hard_mask(masks.components(raw), DensityMap(raw.astype(np.float32), pixel_size))
    along_x = np.flatnonzero(hard[10, 10])
    assert (along_x[0], along_x[-1]) == (10 - radius, 11 + radius)
    z, y, x = np.nonzero(hard)
    nearest = np.minimum((x - 10) ** 2, (x - 11) ** 2) + (z - 10) ** 2 + (y - 10) ** 2
    assert np.sqrt(nearest.max()) * pixel_size <= max(2.0, pixel_size)
    assert not hard[3, 3, 33]


def test_distances_are_capped_at_sixty_angstrom_and_change_sign_at_the_edge():
    hard = np.zeros((70, 8, 9), bool)
    hard[:20] = True
    distance = masks.mask_distance(hard, DensityMap(hard.astype(np.float32), 2.0))
    assert distance.dtype == np.float32
    assert distance[20, 4, 4] == 2.0
    assert distance[19, 4, 4] == -2.0
    assert distance.max() == 60.0
    assert ((distance > 0) == ~hard).all()


@pytest.mark.parametrize(("pixel_size", "width"), [(1.0, 6.0), (2.0, 6.0), (3.5, 10.5)])
def test_the_soft_mask_falls_over_six_angstrom_or_three_voxels(pixel_size, width):
    hard = np.zeros((40, 8, 8), bool)
    hard[:20] = True
    map_ = DensityMap(hard.astype(np.float32), pixel_size)
    soft = masks.soft_mask(masks.mask_distance(hard, map_), map_)[:, 4, 4]
    outside = pixel_size * np.arange(1, 21)
    expected = np.where(outside < width, 0.5 * (1 + np.cos(np.pi * outside / width)), 0.0)
    assert (soft[:20] == 1).all()
    assert soft[20:] == pytest.approx(expected, abs=1e-6)
