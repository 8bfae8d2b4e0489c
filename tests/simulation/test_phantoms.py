"""Densities against the analytic form factors and against what was planted."""

from __future__ import annotations

import time
from dataclasses import replace

import gemmi
import numpy as np
import pytest

from veritem.numerics.fourier import frequency_grid, rfftn
from veritem.numerics.shells import shell_frequencies, shell_means
from veritem.simulation.models import ideal_helix, ideal_protein, load_model
from veritem.simulation.phantoms import (
    POTENTIAL_OF_SCATTERING,
    VOLUME_PER_DALTON,
    enclosing_mask,
    form_factor,
    molecular_envelope,
    region_labels,
    simulate_density,
    two_domain,
)


def one_atom(element: str = "C"):
    alanine = ideal_helix(1)
    atom = alanine.select(np.array([1]))
    return replace(atom, atomic_numbers=np.array([gemmi.Element(element).atomic_number]))


@pytest.mark.parametrize("element", ["C", "N", "O", "S", "P", "ZN"])
@pytest.mark.parametrize(("shape", "pixel_size"), [((48, 48, 48), 1.06), ((45, 40, 51), 2.0), ((64, 60, 63), 0.7)])
@pytest.mark.parametrize("b_factor", [0.0, 30.0, 120.0])
def test_single_atom_has_the_analytic_spectrum(element, shape, pixel_size, b_factor):
    density = simulate_density(one_atom(element), shape, pixel_size, b_factor=b_factor, centre=(0.31, -0.2, 0.57))
    grid = frequency_grid(shape, pixel_size)
    amplitude = np.abs(rfftn(density.data)) * pixel_size**3
    number = gemmi.Element(element).atomic_number
    expected = POTENTIAL_OF_SCATTERING * form_factor(number, grid, b_factor)
    # Aliases weigh below 1e-4 by the choice of grid and blur. Float32 transforms err by 1e-7 of the largest
    # coefficient, which counts where B has made the spectrum small.
    inside = grid <= 0.8 * 0.5 / pixel_size
    tolerance = 1e-4 * expected + 1e-6 * expected.max()
    assert (np.abs(amplitude - expected)[inside] < tolerance[inside]).all()
    radial, _, _ = shell_means(amplitude.astype(np.float32), shape)
    ideal, _, _ = shell_means(expected.astype(np.float32), shape)
    top = int(0.8 * (len(radial) - 1))
    assert radial[:top] == pytest.approx(ideal[:top], rel=0.01)


def test_form_factors_are_gemmi_s():
    for element in ("C", "O", "S", "MG"):
        for stol2 in (0.0, 0.01, 0.05, 0.2):
            expected = gemmi.Element(element).c4322.calculate_sf(stol2)
            ours = form_factor(gemmi.Element(element).atomic_number, np.array([2 * np.sqrt(stol2)]))
            # gemmi keeps the coefficients in single precision.
            assert ours[0] == pytest.approx(expected, rel=1e-6)


def test_agrees_with_gemmi_on_a_whole_model(real_data):
    """Another program's density of crambin, made with gemmi's DensityCalculatorE on the same grid."""
    path = real_data / "models" / "all" / "1CRN.cif"
    model = load_model(path)
    pixel_size, n, origin = 1.0, 64, (-18.0, -18.0, -18.0)
    ours = simulate_density(model, n, pixel_size, b_factor=100.0, origin=origin)
    structure = gemmi.read_structure(str(path))
    structure.cell = gemmi.UnitCell(n * pixel_size, n * pixel_size, n * pixel_size, 90, 90, 90)
    structure.spacegroup_hm = "P 1"
    for site in structure[0].all():
        site.atom.b_iso = 100.0
        x, y, z = site.atom.pos.tolist()
        site.atom.pos = gemmi.Position(x - origin[0], y - origin[1], z - origin[2])
        site.atom.aniso = gemmi.SMat33f(0, 0, 0, 0, 0, 0)
    structure.remove_alternative_conformations()
    calculator = gemmi.DensityCalculatorE()
    calculator.cutoff = 1e-7
    calculator.grid.set_unit_cell(structure.cell)
    calculator.grid.spacegroup = gemmi.SpaceGroup("P 1")
    calculator.grid.set_size(n, n, n)
    calculator.put_model_density_on_grid(structure[0])
    theirs = calculator.grid.array.transpose(2, 1, 0) * POTENTIAL_OF_SCATTERING
    # B = 100 Å² on 1 Å voxels: the largest alias of the plain sampling is exp(-25 (0.5)²) = 2e-3 of a coefficient at
    # Nyquist, that of ours is taken out; what is left below is 1e-3 of the greatest density.
    assert np.abs(ours.data - theirs).max() < 1e-3 * ours.data.max()


def test_total_potential_is_that_of_the_atoms(protein):
    density = simulate_density(protein, (80, 85, 96), 1.3)
    numbers, counts = np.unique(protein.atomic_numbers, return_counts=True)
    zero = np.zeros(1)
    expected = sum(c * form_factor(int(z), zero)[0] for z, c in zip(numbers, counts, strict=True))
    total = density.data.sum(dtype=np.float64) * density.voxel_volume
    # Gaussians are cut at exp(-16) of their peak: 1e-6 of their integral.
    assert total == pytest.approx(POTENTIAL_OF_SCATTERING * expected, rel=1e-5)


@pytest.mark.parametrize("shape", [(80, 80, 80), (75, 80, 91)])
@pytest.mark.parametrize("centre", [(0.0, 0.0, 0.0), (3.7, -2.2, 5.1)])
def test_coordinates_hold_in_the_frame_of_the_map(shape, centre, protein):
    """Structure factors, phases included, against a direct sum over the atoms at their coordinates."""
    pixel_size = 1.4
    density = simulate_density(protein, shape, pixel_size, centre=centre)
    transform = rfftn(density.data) * pixel_size**3
    rng = np.random.default_rng(0)
    nz, ny, nx = shape
    limits = [int(0.45 * n) for n in shape]  # 0.9 of Nyquist along each axis
    index = np.stack([rng.integers(-k if axis < 2 else 0, k + 1, 300) for axis, k in enumerate(limits)], axis=1)
    index = np.concatenate([index, [[0, 0, 1], [0, 1, 0], [1, 0, 0], [-1, 2, 1]]])
    frequency = index / (np.array([nz, ny, nx]) * pixel_size)
    placed = (protein.positions - np.array(density.origin))[:, ::-1]
    phase = np.exp(-2j * np.pi * frequency @ placed.T)
    size = np.linalg.norm(frequency, axis=1)
    atoms = np.stack(
        [form_factor(int(z), size, b) for z, b in zip(protein.atomic_numbers, protein.b_factors, strict=True)], axis=1
    )
    expected = POTENTIAL_OF_SCATTERING * (phase * atoms).sum(axis=1)
    measured = transform[index[:, 0], index[:, 1], index[:, 2]]
    # Aliases below 1e-4 of a coefficient and float32 rounding, 1e-6 of the largest one.
    tolerance = 1e-6 * np.abs(expected).max() + 1e-4 * np.abs(expected)
    assert (np.abs(measured - expected) < tolerance).all()
    # And the centre of mass is where it was asked to be.
    middle = np.array([(n // 2) * pixel_size for n in shape])
    centre_of_mass = (protein.centre - np.array(density.origin))[::-1]
    assert centre_of_mass - middle == pytest.approx(centre, abs=1e-9)


def test_b_factor_is_read_back_from_the_ratio_of_spectra(protein):
    shape, pixel_size = (72, 72, 72), 1.5
    sharp = np.abs(rfftn(simulate_density(protein, shape, pixel_size, b_factor=40.0).data))
    blurred = np.abs(rfftn(simulate_density(protein, shape, pixel_size, b_factor=110.0).data))
    low, _, _ = shell_means(sharp**2, shape)
    high, _, _ = shell_means(blurred**2, shape)
    squared = shell_frequencies(shape, pixel_size) ** 2
    shells = slice(4, 34)
    slope = np.polyfit(squared[shells], np.log(high / low)[shells], 1)[0]
    # |F|² falls as exp(-B f² / 2). Within a shell of width df the ratio is averaged at slightly unequal f:
    # a relative error of order (df / f)², which leaves the slope right to better than 1 %.
    assert -2 * slope == pytest.approx(70.0, rel=0.01)


def test_density_is_linear_in_atoms_and_occupancy(protein):
    shape, pixel_size = (72, 72, 72), 1.5
    whole = simulate_density(protein, shape, pixel_size)
    chains = [
        simulate_density(protein.select(protein.chains == k), shape, pixel_size, origin=whole.origin, occupancy=q)
        for k, q in ((0, 1.0), (1, 0.4))
    ]
    mixed = simulate_density(
        protein, shape, pixel_size, occupancy=np.where(protein.chains == 1, 0.4, 1.0), origin=whole.origin
    )
    # Each grid is rounded to float32 twice: a few 1e-6 of the maximum.
    assert np.abs(chains[0].data + chains[1].data - mixed.data).max() < 1e-5 * whole.data.max()


def test_box_is_periodic(protein):
    """An atom near the face comes in on the other side: moving the model by a box edge changes nothing."""
    shape, pixel_size = (60, 64, 70), 1.5
    origin = (0.0, 0.0, 0.0)
    here = simulate_density(protein, shape, pixel_size, origin=origin)
    there = simulate_density(protein.moved(shift=(70 * 1.5, -64 * 1.5, 60 * 1.5)), shape, pixel_size, origin=origin)
    assert np.abs(here.data - there.data).max() < 1e-5 * here.data.max()


def test_solvent_lowers_the_molecule_by_its_potential(protein):
    shape, pixel_size = (72, 72, 72), 1.5
    vacuum = simulate_density(protein, shape, pixel_size)
    water = simulate_density(protein, shape, pixel_size, solvent=4.5)
    removed = (vacuum.data - water.data).sum(dtype=np.float64) * vacuum.voxel_volume
    # The envelope holds the molecular volume to within one voxel, and blurring it keeps its integral.
    volume = protein.molecular_weight * VOLUME_PER_DALTON
    assert removed == pytest.approx(4.5 * volume, rel=0.001)
    envelope = molecular_envelope(protein, vacuum)
    assert envelope.max() <= 1.001 and envelope.min() >= -0.001
    far = np.abs(np.arange(72) - 36) * pixel_size > 50
    assert np.abs(water.data[far][:, far][:, :, far]).max() < 0.01


def test_enclosing_mask_has_the_molecular_volume(protein):
    density = simulate_density(protein, (72, 72, 72), 1.5)
    inside = enclosing_mask(density, protein.molecular_weight)
    # Equal greys at the level may add a voxel; the count is rounded to one.
    assert inside.sum() * density.voxel_volume == pytest.approx(
        protein.molecular_weight * VOLUME_PER_DALTON, abs=1.1 * density.voxel_volume
    )
    with pytest.raises(ValueError, match="choose a larger box"):
        enclosing_mask(density, 1e9)


def test_two_domains_and_their_labels(protein):
    model, domains = two_domain(protein, "plane", b_factors=(50.0, 200.0), occupancies=(1.0, 0.4))
    assert set(model.b_factors[domains == 0]) == {50.0} and set(model.b_factors[domains == 1]) == {200.0}
    assert (model.positions[domains == 1, 0] > model.centre[0]).all()
    density = simulate_density(model, (70, 75, 80), 1.5)
    labels = region_labels(model, domains, density)
    # The voxel nearest to an atom is at most sqrt(3) / 2 voxels = 1.3 Å away, so it belongs to some domain;
    # its label is that atom's unless an atom of the other domain is as near.
    voxels = np.rint((model.positions - np.array(density.origin)) / 1.5).astype(int)[:, ::-1]
    at_atoms = labels[tuple(voxels.T)]
    assert (at_atoms > 0).all()
    depth = np.abs(model.positions[:, 0] - model.centre[0])
    assert (at_atoms == domains + 1)[depth > 1.5 * np.sqrt(3)].all()
    _, chains = two_domain(protein, "chain")
    assert (chains == protein.chains).all()
    with pytest.raises(ValueError, match="give one for each"):
        two_domain(protein, "chain", b_factors=(1.0,))
    with pytest.raises(ValueError, match='"plane", "chain"'):
        two_domain(protein, "helix")


def test_faults_in_the_arguments_are_named(protein):
    with pytest.raises(ValueError, match=f"the model has {len(protein)} atoms"):
        simulate_density(protein, 64, 1.5, b_factor=[1.0, 2.0])
    with pytest.raises(ValueError, match="Raise it or use larger voxels"):
        simulate_density(protein, 64, 1.0, b_factor=-400.0)


def test_a_3000_atom_model_in_128_takes_less_than_a_second():
    model = ideal_protein(400, 1, 0)
    simulate_density(model, 32, 3.0)  # compiles
    started = time.perf_counter()
    simulate_density(model, 128, 1.06)
    assert time.perf_counter() - started < 1.0
