"""0.a against maps whose centre and free space are planted."""

from __future__ import annotations

import mrcfile
import numpy as np
import pytest
from scipy.ndimage import binary_erosion, gaussian_filter

from tests.checks.by_name import measured, outcomes, values
from veritem.checks.base import judge
from veritem.checks.level_0.centring import WAVELENGTH, Centring
from veritem.derived.noise import noise_region
from veritem.numerics.density_map import DensityMap
from veritem.results import Outcome
from veritem.simulation.half_maps import SimulatedMap, simulate_map
from veritem.simulation.models import ideal_protein


def ball(
    shape: tuple[int, int, int],
    radius: float,
    centre: tuple[float, float, float],
    pixel_size: float = 2.0,
    noise: float = 0.0,
    seed: int = 0,
) -> DensityMap:
    """A ball of density 10 whose surface falls linearly over two voxels through 5 at `radius` (voxels)."""
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    distance = np.sqrt((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2)
    data = 10 * np.clip((radius - distance) / 2 + 0.5, 0, 1)
    data = data + noise * np.random.default_rng(seed).standard_normal(shape)
    return DensityMap(data.astype(np.float32), pixel_size)


def filament(seed: int = 0) -> DensityMap:
    """A rod of radius 8 voxels through the whole box along z, with noise."""
    y, x = np.mgrid[:60, :60] - 30
    data = np.broadcast_to(10.0 * (y**2 + x**2 < 64), (50, 60, 60))
    noise = np.random.default_rng(seed).standard_normal(data.shape)
    return DensityMap((data + noise).astype(np.float32), 2.0)


@pytest.fixture(scope="module")
def protein():
    return ideal_protein(residues=150, subunits=1, seed=0)


def simulated(protein, centre: tuple[float, float, float], seed: int) -> SimulatedMap:
    return simulate_map(protein, (72, 64, 68), 1.5, 3.4, centre=centre, seed=seed)


@pytest.mark.parametrize(("seed", "centre"), [(1, (0.0, 0.0, 0.0)), (2, (4.2, -6.3, 2.6)), (3, (-7.1, 0.7, 5.2))])
def test_a_protein_off_centre_by_a_known_amount(protein, seed, centre):
    """Realistic noise, a non-cubic box, shifts of fractions of a voxel: found within half a voxel.

    The truth is the centre of mass of the same protein without noise, found in the same way in the unshifted box,
    plus the planted shift.
    """
    truth = simulated(protein, (0.0, 0.0, 0.0), seed=0).truth
    clean, _ = measured(Centring(), truth.signal, level=truth.contour_level)
    map_ = simulated(protein, centre, seed)
    m, _ = measured(Centring(), map_.density_map, level=map_.truth.contour_level, resolution=3.4)
    for axis, shift in zip("zyx", centre, strict=True):
        found = getattr(m, f"mass_{axis}")
        assert found.value - getattr(clean, f"mass_{axis}").value == pytest.approx(shift, abs=0.75)
        assert found.interval[0] < found.value < found.interval[1]


def test_the_interval_of_the_centre_of_mass_holds_the_truth():
    """Correlated noise on a strong ball, mask fixed: 95 % of 180 intervals should hold the noise-free centre.

    Their number is binomial with standard deviation sqrt(180 x 0.05 x 0.95) = 2.9; three of them below 171 is 162.
    """
    clean = ball((40, 44, 48), 9.0, (20.3, 21.6, 24.4))
    inputs = values(clean, level=5.0)
    known = {n: inputs[n] for n in Centring.uses()}
    truth = Centring().measure(**known)
    rng = np.random.default_rng(0)
    held, halves = 0, []
    for _ in range(60):
        noise = gaussian_filter(rng.standard_normal(clean.shape), 1.0, mode="wrap")
        noisy = DensityMap((clean.data + 2.0 * noise / noise.std()).astype(np.float32), 2.0)
        # Density inside stays positive: the inside is 10 and noise of 2 hardly reaches below 0 but at the surface.
        now = known | {
            "density_map": noisy,
            "noise_region": noise_region(noisy, known["hard_mask"], known["mask_distance"], None),
        }
        m = Centring().measure(**{n: now[n] for n in Centring.uses()})
        for axis in "zyx":
            low, high = getattr(m, f"mass_{axis}").interval
            held += low <= getattr(truth, f"mass_{axis}").value <= high
            halves.append((high - low) / 2)
    assert held >= 162
    # And not because the interval is wide: it is a small part of a voxel.
    assert np.mean(halves) < 0.5


def test_free_space_is_that_of_the_six_sides():
    """A ball of radius 8 voxels, seen at half height, is grown by one voxel (2 Å); 2 Å a voxel.

    Along z it takes voxels 20 - 9 ... 20 + 9 of 0 ... 39: 11 are free below and 10 above.
    """
    m, _ = measured(Centring(), ball((40, 60, 50), 8.0, (20, 22, 30)), level=5.0)
    found = [getattr(m, f"free_{axis}_{side}").value for axis in "zyx" for side in ("low", "high")]
    assert found == [22.0, 20.0, 26.0, 56.0, 42.0, 20.0]
    assert m.free_space.value == 20.0
    assert outcomes(judge_of(m))["free_space"] == "pass"


def judge_of(measurement):
    return judge(Centring(), measurement)


@pytest.mark.parametrize(("free_voxels", "outcome"), [(12, "pass"), (10, "pass"), (9, "warning"), (4, "warning")])
def test_free_space_warns_below_twenty_angstrom(free_voxels, outcome):
    """2 Å a voxel: ten free voxels are 20 Å, which is still within."""
    edge = 2 * (9 + free_voxels) + 1
    centre = edge // 2
    _, verdict = measured(Centring(), ball((edge,) * 3, 8.0, (centre,) * 3), level=5.0)
    assert outcomes(verdict)["free_space"] == outcome


def test_supported_defocus_follows_from_space_and_resolution():
    map_ = ball((61, 61, 61), 8.0, (30, 30, 30))
    m, _ = measured(Centring(), map_, level=5.0, resolution=4.0)
    # 30 - 9 = 21 free voxels of 2 Å; Δf = s d / λ, 1 µm = 10⁴ Å.
    assert m.supported_defocus.value == pytest.approx(42.0 * 4.0 / WAVELENGTH / 1e4, rel=1e-12)
    without, verdict = measured(Centring(), map_, level=5.0)
    assert without.supported_defocus.value is None
    assert "supported_defocus" not in outcomes(verdict)
    assert verdict.outcome is Outcome.PASS
    assert any("resolution" in caveat for caveat in without.caveats)


@pytest.mark.parametrize(
    ("share", "outcome"), [(0.0, "pass"), (0.05, "pass"), (0.08, "pass"), (0.12, "warning"), (0.2, "warning")]
)
def test_decentring_warns_beyond_a_tenth_of_the_box(share, outcome):
    """The planted doses keep half a voxel (0.5 %) from the limit of 10 %."""
    shift = round(share * 100)
    m, verdict = measured(Centring(), ball((90, 90, 100), 10.0, (45, 45, 50 + shift), noise=1.0), level=5.0)
    assert m.box_decentring.value == pytest.approx(shift, abs=0.51)
    assert m.mass_decentring.value == pytest.approx(shift, abs=0.51)
    assert outcomes(verdict)["box_decentring"] == outcome
    assert outcomes(verdict)["mass_decentring"] == outcome


@pytest.mark.parametrize("offset", [-1.0, 1.0, 50.0])
def test_a_background_offset_does_not_move_the_centre_of_mass(offset):
    """An offset of one σ (and of fifty) with the level moved along: less than a voxel of 2 Å."""
    plain = ball((60, 60, 60), 9.0, (25, 33, 36), noise=1.0, seed=4)
    moved = DensityMap(plain.data + np.float32(offset), 2.0)
    reference, _ = measured(Centring(), plain, level=5.0)
    m, _ = measured(Centring(), moved, level=5.0 + offset)
    for axis in "xyz":
        assert getattr(m, f"mass_{axis}").value == pytest.approx(getattr(reference, f"mass_{axis}").value, abs=0.01)


@pytest.mark.parametrize("offset", [-1.0, 1.0])
def test_a_background_offset_under_a_fixed_level_moves_it_less_than_a_voxel(offset):
    plain = ball((60, 60, 60), 9.0, (25, 33, 36), noise=1.0, seed=4)
    moved = DensityMap(plain.data + np.float32(offset), 2.0)
    reference, _ = measured(Centring(), plain, level=5.0)
    m, _ = measured(Centring(), moved, level=5.0)
    for axis in "xyz":
        assert abs(getattr(m, f"mass_{axis}").value - getattr(reference, f"mass_{axis}").value) < 2.0


def test_a_particle_at_the_border_is_clipped():
    """A ball that sticks out of the low x face. Surface voxels are those that erosion by face neighbours removes."""
    map_ = ball((60, 60, 60), 10.0, (30, 30, 6))
    m, verdict = measured(Centring(), map_, level=5.0)
    mask = values(map_, level=5.0)["hard_mask"]
    surface = mask & ~binary_erosion(mask, border_value=0)
    assert m.clipped.value == pytest.approx(100 * mask[:, :, 0].sum() / surface.sum(), rel=1e-12)
    assert m.free_x_low.value == 0.0
    assert {outcomes(verdict)[q] for q in ("clipped", "free_space")} == {"warning"}
    assert m.continues_along.value == "none"


def test_a_filament_is_judged_across_its_axis_alone():
    m, verdict = measured(Centring(), filament(), level=5.0)
    assert m.continues_along.value == "z"
    assert m.clipped.value == 0.0
    # Radius 8 voxels, of which the outermost is 7, grown by 1: 30 - 8 voxels of 2 Å below, 59 - 38 above.
    assert m.free_space.value == 42.0
    # A particle that the box cuts at both ends looks the same: no pass.
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "filament" in verdict.reason and "cuts at both ends" in verdict.reason
    assert {outcomes(verdict)[q] for q in ("free_space", "clipped", "box_decentring")} == {"pass"}


def test_a_lattice_is_undecided():
    """Half of the box filled without an end in any direction, as the unit cell of a crystal is."""
    cell = gaussian_filter(np.random.default_rng(0).standard_normal((48, 52, 56)), 2.0, mode="wrap")
    m, verdict = measured(Centring(), DensityMap((cell / cell.std()).astype(np.float32), 1.0), level=0.2)
    assert m.continues_along.value == "x, y, z"
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "lattice" in verdict.reason


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("maps_with_models/emd5168_factin/emd_5168.map.gz", "z"),
        ("maps_with_models/betagal_relion_tutorial/betaGal.mrc.gz", "none"),
    ],
)
def test_real_filaments_and_particles_are_told_apart(real_data, name, axes):
    with mrcfile.open(real_data / name) as mrc:
        map_ = DensityMap(np.array(mrc.data, np.float32), float(mrc.voxel_size.x))
    m, _ = measured(Centring(), map_)
    assert m.continues_along.value == axes


def test_noise_has_no_centre():
    noise = np.random.default_rng(1).standard_normal((60, 60, 60)).astype(np.float32)
    _, verdict = measured(Centring(), DensityMap(noise, 2.0))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "no particle" in verdict.reason


def test_a_particle_in_pieces_leaves_centring_undecided():
    """Two equal balls far apart: the mask is one of them, and its middle is not the particle's."""
    pair = ball((60, 60, 90), 9.0, (30, 30, 28)).data + ball((60, 60, 90), 9.0, (30, 30, 62)).data
    noise = np.random.default_rng(2).standard_normal(pair.shape)
    _, verdict = measured(Centring(), DensityMap((pair + noise).astype(np.float32), 2.0), level=5.0)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "box_decentring" not in outcomes(verdict)


def test_a_masked_map_has_a_centre_without_an_interval():
    masked = ball((60, 60, 60), 9.0, (30, 30, 30))
    m, verdict = measured(Centring(), masked, level=5.0, resolution=8.0)
    assert m.mass_x.interval is None
    assert m.mass_distance.value == pytest.approx(0.0, abs=1e-4)
    assert verdict.outcome is Outcome.PASS


def test_figures_are_small_and_mark_what_they_say():
    m, _ = measured(Centring(), ball((30, 30, 600), 8.0, (15, 15, 200), noise=1.0), level=5.0)
    pictures, curves = Centring().figures(m)
    assert max(max(a.shape) for a in pictures.arrays.values()) <= 512
    assert pictures.pixel_size == 2 * 2.0
    assert all(panel.outline in pictures.arrays for panel in pictures.panels)
    assert any(marker.value == pytest.approx(m.mass_x.value) for marker in curves.markers)
    assert sum(curves.series[0].y) * 2.0 == pytest.approx(100.0)
