"""0.b against maps made of pieces of known number and size, and of noise of known strength."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import norm

from tests.checks.by_name import measured, outcomes
from veritem.checks.base import judge
from veritem.checks.level_0.mask import RESIDUE_VOLUME, Mask
from veritem.numerics.density_map import DensityMap
from veritem.results import Outcome
from veritem.simulation.half_maps import simulate_map
from veritem.simulation.models import ideal_protein


def balls(count: int, radius: int = 5, dust: int = 0, dust_shape: tuple[int, int, int] = (1, 1, 2)) -> np.ndarray:
    """`count` equal balls of density 10 in a row, well apart, and `dust` blocks of density 10 in another row."""
    size = max(16 * count, 5 * dust, 48) + 8
    data = np.zeros((48, 48, size), np.float32)
    z, y, x = np.ogrid[:48, :48, :size]
    for i in range(count):
        data[(z - 14) ** 2 + (y - 14) ** 2 + (x - 10 - 16 * i) ** 2 <= radius**2] = 10
    for i in range(dust):
        data[38 : 38 + dust_shape[0], 38 : 38 + dust_shape[1], 3 + 5 * i : 3 + 5 * i + dust_shape[2]] = 10
    return data


def ball_voxels(radius: int = 5) -> int:
    index = np.arange(-radius, radius + 1)
    return int((sum(np.meshgrid(index**2, index**2, index**2, indexing="ij")) <= radius**2).sum())


@pytest.fixture(scope="module")
def protein_map():
    return simulate_map(ideal_protein(residues=150, subunits=1, seed=0), (72, 64, 68), 1.5, 3.4, seed=1)


@pytest.mark.parametrize(("count", "dust"), [(1, 0), (1, 12), (3, 7), (6, 20)])
def test_equal_balls_and_dust_are_counted_exactly(count, dust):
    """Everything is a whole number of voxels, so everything is exact. 2 Å a voxel: dust of 2 voxels is 16 Å³."""
    m, _ = measured(Mask(), DensityMap(balls(count, dust=dust), 2.0), level=5.0)
    one = ball_voxels()
    total = count * one + 2 * dust
    assert m.component_count.value == count + dust
    assert m.volume.value == 8.0 * total
    assert m.largest_volume.value == 8.0 * one
    assert m.largest_share.value == pytest.approx(100 * one / total)
    # The fewest largest components that hold 95 %: balls first, dust then, in whole components.
    held = np.cumsum([one] * count + [2] * dust)
    assert m.bodies_95.value == int(np.searchsorted(held, 0.95 * total)) + 1
    assert m.dust_count.value == dust
    assert m.dust_share.value == pytest.approx(100 * 2 * dust / total)
    if dust:
        assert m.dust_mean.value == 16.0
        assert m.dust_largest.value == 16.0
    assert m.mass.value == pytest.approx(8.0 * total / 1.21 / 1000)
    assert m.residues.value == pytest.approx(8.0 * total / 133.1)


def test_dust_ends_at_the_volume_of_a_residue():
    """133.1 Å³ are 16.6 voxels of 2 Å: a block of 16 is dust, one of 17 (17 in a row) is not."""
    small, _ = measured(Mask(), DensityMap(balls(1, dust=3, dust_shape=(4, 4, 1)), 2.0), level=5.0)
    large, _ = measured(Mask(), DensityMap(balls(1, dust=1, dust_shape=(1, 1, 17)), 2.0), level=5.0)
    assert pytest.approx(133.1) == RESIDUE_VOLUME
    assert (small.dust_count.value, large.dust_count.value) == (3, 0)


@pytest.mark.parametrize(
    ("count", "outcome", "overlap"),
    [(1, "pass", "pass"), (2, "pass", "warning"), (5, "pass", "warning"), (6, "warning", "warning")],
)
def test_more_than_five_bodies_warn(count, outcome, overlap):
    """Of equal bodies, two still leave half in the largest; six need six for 95 %. The mask holds 1/count."""
    m, verdict = measured(Mask(), DensityMap(balls(count), 2.0), level=5.0)
    assert outcomes(verdict)["bodies"] == outcome
    assert outcomes(verdict)["overlap"] == overlap
    assert m.overlap.value == pytest.approx(100 / count)


@pytest.mark.parametrize(("dust", "outcome"), [(0, "pass"), (20, "pass"), (40, "warning")])
def test_dust_warns_above_ten_percent(dust, outcome):
    """A ball of 515 voxels: 20 pairs are 7 %, 40 are 13 %."""
    m, verdict = measured(Mask(), DensityMap(balls(1, dust=dust), 2.0), level=5.0)
    assert m.dust_share.value == pytest.approx(100 * 2 * dust / (515 + 2 * dust))
    assert outcomes(verdict)["dust_share"] == outcome


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("z", "outcome"), [(2.0, "warning"), (2.7, "warning"), (3.3, "pass"), (5.0, "pass")])
@pytest.mark.parametrize("correlation", [0.0, 1.0])
def test_a_level_in_the_noise_is_flagged(z, outcome, seed, correlation):
    """A ball in white or in correlated noise: the level is planted at z σ. 2 σ warns, 5 σ does not."""
    map_, sigma = noisy_ball(seed, correlation)
    m, verdict = measured(Mask(), map_, level=z * sigma, resolution=6.0)
    assert outcomes(verdict)["level_over_noise"] == outcome
    low, high = m.level_over_noise.interval
    assert low < m.level_over_noise.value < high
    assert m.level_over_noise.value == pytest.approx(z, rel=0.1)


@pytest.mark.parametrize("z", [0.2, 0.5, 1.0])
def test_a_level_so_low_that_its_mask_leaves_no_noise_is_flagged(z):
    """At half a σ the noise percolates: one body fills the box, without dust. It is no particle."""
    m, verdict = measured(Mask(), noisy_ball(0, 1.0)[0], level=z, resolution=6.0)
    assert outcomes(verdict)["level_over_noise"] == "warning"
    # The noise is found without the mask: the median is off by what the ball's surroundings add.
    assert m.level_over_noise.value == pytest.approx(z, abs=0.2)


def noisy_ball(seed: int, correlation: float, background: float = 0.0) -> tuple[DensityMap, float]:
    """A ball of density 20 and radius 9 in noise of σ = 1, smoothed by `correlation` voxels; and σ."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((64, 68, 72))
    if correlation:
        noise = gaussian_filter(noise, correlation, mode="wrap")
        noise /= noise.std()
    z, y, x = np.ogrid[:64, :68, :72]
    body = 20.0 * ((z - 32) ** 2 + (y - 34) ** 2 + (x - 36) ** 2 <= 81)
    return DensityMap((noise + body + background).astype(np.float32), 2.0), 1.0


def test_the_interval_of_the_height_over_the_noise_holds_the_truth():
    """σ is known to be 1: of 60 intervals of 95 % in correlated noise, at least 57 - 3 sqrt(60 x 0.05 x 0.95) = 52."""
    held = 0
    for seed in range(60):
        m, _ = measured(Mask(), noisy_ball(seed, 1.0)[0], level=4.0)
        low, high = m.level_over_noise.interval
        held += low <= 4.0 <= high
    assert held >= 52


def test_voxels_of_noise_are_counted():
    """At 2.5 σ one white-noise voxel in 161 passes; their number in 300 000 is known to 3 %."""
    map_, _ = noisy_ball(1, 0.0)
    m, _ = measured(Mask(), map_, level=2.5)
    mask_voxels = m.hard_mask_volume.value / 8.0
    assert m.noise_voxels.value == pytest.approx(norm.sf(2.5) * (map_.data.size - mask_voxels), rel=0.1)


@pytest.mark.parametrize("offset", [-3.0, 100.0])
def test_nothing_depends_on_an_offset(offset):
    """A constant added to the map and to the level changes no answer."""
    reference, _ = measured(Mask(), noisy_ball(0, 1.0)[0], level=4.0)
    m, _ = measured(Mask(), noisy_ball(0, 1.0, background=offset)[0], level=4.0 + offset)
    assert m.volume.value == pytest.approx(reference.volume.value, rel=0.01)
    assert m.level_over_noise.value == pytest.approx(reference.level_over_noise.value, abs=0.01)
    for moved, plain in zip(m.level_rows, reference.level_rows, strict=True):
        assert moved.volume == pytest.approx(plain.volume, rel=0.01)


@pytest.mark.parametrize(
    ("weight_ratio", "outcome"), [(0.2, "warning"), (0.3, "pass"), (1.0, "pass"), (1.9, "pass"), (2.2, "warning")]
)
def test_the_enclosed_volume_is_compared_with_the_molecule(weight_ratio, outcome):
    """The molecular weight is planted so that the ball holds `weight_ratio` of its volume."""
    weight = 8.0 * ball_voxels() / 1.21 / weight_ratio
    m, verdict = measured(Mask(), DensityMap(balls(1), 2.0), level=5.0, molecular_weight=weight)
    assert m.volume_ratio.value == pytest.approx(weight_ratio)
    assert outcomes(verdict)["volume_ratio"] == outcome


def test_a_sound_map_passes_and_a_level_in_its_noise_does_not(protein_map):
    truth = protein_map.truth
    inputs = {"molecular_weight": truth.molecular_weight, "resolution": truth.resolution}
    _, sound = measured(Mask(), protein_map.density_map, level=truth.contour_level, **inputs)
    assert sound.outcome is Outcome.PASS
    m, low = measured(Mask(), protein_map.density_map, level=2.0 * truth.noise_sigma, **inputs)
    assert low.outcome is Outcome.WARNING
    assert outcomes(low)["level_over_noise"] == "warning"
    # The simulation says what σ is; the median absolute deviation finds it within 3 %.
    assert m.level_over_noise.value == pytest.approx(2.0, rel=0.03)


def test_an_estimated_level_is_shown_and_not_held_against_the_map(protein_map):
    m, verdict = measured(Mask(), protein_map.density_map, resolution=3.4)
    assert m.level_over_noise.value is None
    assert m.measured_level_over_noise.value >= 1.9
    assert "level_over_noise" not in outcomes(verdict)
    assert any("estimated" in caveat for caveat in m.caveats)


@pytest.mark.parametrize("seed", range(3))
def test_a_sound_map_passes_without_a_level_too(seed):
    """Most of the box is empty: at three σ its noise alone would be a tenth of what is above the level."""
    model = ideal_protein(residues=150, subunits=1, seed=0)
    map_ = simulate_map(model, 108, 1.2, 3.4, seed=seed)
    m, verdict = measured(Mask(), map_.density_map, resolution=3.4)
    assert verdict.outcome is Outcome.PASS
    assert m.dust_share.value < 7.0
    assert m.contour_level.note.startswith("estimated")


def test_a_map_of_noise_does_not_pass():
    noise = np.random.default_rng(3).standard_normal((64, 64, 64)).astype(np.float32)
    m, verdict = measured(Mask(), DensityMap(noise, 1.5))
    assert verdict.outcome is not Outcome.PASS
    assert "no particle" in m.undecided


def test_a_masked_map_says_that_noise_cannot_be_seen():
    # A ball of radius 15 Å: 14 000 Å³, more than the least that is a particle.
    m, verdict = measured(Mask(), DensityMap(balls(1), 3.0), level=5.0)
    assert m.level_over_noise.value is None
    assert any("noise" in caveat for caveat in m.caveats)
    assert verdict.outcome is Outcome.PASS


@pytest.mark.parametrize(("pixel_size", "outcome"), [(2.2, "warning"), (2.4, "pass")])
def test_a_fragment_is_no_particle(pixel_size, outcome):
    """The ball's 515 voxels are 5 480 Å³ at 2.2 Å and 7 120 Å³ at 2.4 Å; 5 kDa of protein take 6 050 Å³."""
    m, verdict = measured(Mask(), DensityMap(balls(1), pixel_size), level=5.0)
    assert m.largest_volume.value == pytest.approx(ball_voxels() * pixel_size**3)
    assert outcomes(verdict)["largest_volume"] == outcome


def test_moving_the_level_finds_where_the_particle_breaks():
    """Two balls of density 10 joined by a bar of density 6, level 5.5: one piece up to 1.0, two from 1.1 on."""
    data = balls(2)
    data[13:16, 13:16, 10:26] = np.maximum(data[13:16, 13:16, 10:26], 6)
    m, _ = measured(Mask(), DensityMap(data, 2.0), level=5.5)
    assert [row.bodies_95 for row in m.level_rows] == [1, 1, 1, 1, 2, 2, 2]
    assert [row.level for row in m.level_rows] == pytest.approx([5.5 * f for f in (0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3)])


def test_the_table_of_levels_counts_exactly():
    """Density rises by one per plane of 100 voxels, 0 ... 25: above k there are 100 (26 - k) voxels."""
    data = np.repeat(np.arange(26, dtype=np.float32), 100).reshape(26, 10, 10)
    m, _ = measured(Mask(), DensityMap(data, 1.0), level=20.0)
    base = m.mass_rows[0][0] - (25 - m.mass_rows[0][0]) / 24
    for step, (level, voxels, volume, mass, residues) in enumerate(m.mass_rows, start=1):
        assert level == pytest.approx(base + step * (25 - base) / 25)
        assert voxels == 100 * (26 - np.ceil(np.float32(level)))
        assert (volume, mass, residues) == pytest.approx((voxels, voxels / 1210, voxels / 133.1))


def test_both_masks_are_written_on_the_grid_of_the_map():
    map_ = DensityMap(balls(1), 2.0, origin=(3.0, -4.0, 5.0))
    m, _ = measured(Mask(), map_, level=5.0)
    hard, soft = Mask().maps(m)
    assert {hard.description.key, soft.description.key} == {"hard_mask", "soft_mask"}
    for output in (hard, soft):
        assert output.data.shape == map_.shape
        assert (output.pixel_size, output.origin) == (2.0, (3.0, -4.0, 5.0))
    assert hard.data.sum() * 8.0 == m.hard_mask_volume.value
    assert (soft.data[hard.data] == 1).all()


def test_figures_are_small_and_show_the_level():
    data = np.pad(balls(1, dust=2), ((0, 0), (0, 0), (0, 560)))
    m, _ = measured(Mask(), DensityMap(data, 2.0), level=5.0)
    slices, volume, components = Mask().figures(m)
    assert max(max(a.shape) for a in slices.arrays.values()) <= 512
    assert all(panel.outline in slices.arrays for panel in slices.panels)
    assert any(marker.value == 5.0 for marker in volume.markers)
    assert components.series[0].y == pytest.approx([8.0 * ball_voxels(), 16.0, 16.0])


def test_every_warning_says_what_was_found_and_what_to_do():
    _, verdict = measured(Mask(), DensityMap(balls(7, dust=300), 2.0), level=5.0, molecular_weight=3e5)
    warned = [c for c in verdict.criteria if c.outcome is Outcome.WARNING]
    assert {c.quantity for c in warned} == {"bodies", "largest_volume", "dust_share", "volume_ratio", "overlap"}
    for criterion in warned:
        assert criterion.observed in criterion.warning
        assert criterion.because
        assert criterion.causes
        assert criterion.advice


def test_the_verdict_is_read_from_the_measurement_alone():
    m, verdict = measured(Mask(), DensityMap(balls(1), 2.0), level=5.0)
    assert judge(Mask(), m) == verdict
