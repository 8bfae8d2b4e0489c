"""Models: read from files, and built with the geometry that proteins have."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from veritem.errors import InputError
from veritem.simulation.models import AtomicModel, ideal_helix, ideal_protein, load_model, write_model


def atoms(model: AtomicModel, name: str) -> np.ndarray:
    return model.positions[model.atom_names == name]


def torsion(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Degrees, IUPAC sign."""
    b1, b2, b3 = b - a, c - b, d - c
    n1, n2 = np.cross(b1, b2), np.cross(b2, b3)
    sine = np.einsum("ij,ij->i", np.cross(n1, n2), b2) / np.linalg.norm(b2, axis=1)
    return np.rad2deg(np.arctan2(sine, np.einsum("ij,ij->i", n1, n2)))


def test_ideal_helix_has_the_torsions_and_bonds_of_a_right_handed_alpha_helix():
    helix = ideal_helix(12)
    n, ca, c = (atoms(helix, name) for name in ("N", "CA", "C"))
    # The source coordinates are given to 0.01 Å and 0.1 degrees: a bond is known to 0.02 Å, a torsion to 1 degree.
    assert torsion(c[:-1], n[1:], ca[1:], c[1:]) == pytest.approx(-57.8, abs=1.0)
    assert torsion(n[:-1], ca[:-1], c[:-1], n[1:]) == pytest.approx(-47.0, abs=1.0)
    assert np.abs(torsion(ca[:-1], c[:-1], n[1:], ca[1:])) == pytest.approx(180.0, abs=1.5)
    assert np.linalg.norm(c[:-1] - n[1:], axis=1) == pytest.approx(1.33, abs=0.02)
    assert helix.centre == pytest.approx([0, 0, 0], abs=1e-9)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("subunits", [1, 2, 3, 5])
def test_built_protein_obeys_chirality_and_symmetry(subunits, seed):
    residues = 90
    model = ideal_protein(residues, subunits, seed)
    assert model.residue_count == residues * subunits
    assert len(model.chain_names) == subunits == len(np.unique(model.chains))
    # L amino acids: seen from the hydrogen, CO, R and N run clockwise.
    chiral = model.select(model.residue_names != "GLY")
    n, ca, c, cb = (atoms(chiral, name) for name in ("N", "CA", "C", "CB"))
    assert (np.einsum("ij,ij->i", np.cross(n - ca, c - ca), cb - ca) > 0).all()
    # C_n: a turn by 360 / n about z puts each chain on the next one.
    if subunits > 1:
        angle = 2 * np.pi / subunits
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        first, second = (model.positions[model.chains == k] for k in (0, 1))
        assert first @ turn.T == pytest.approx(second, abs=1e-9)
        # Neighbours touch without running into each other: 3 Å by construction, found to within its 0.1 Å step.
        gap = cKDTree(first).query(second)[0].min()
        assert 3.0 <= gap < 3.4


def test_built_protein_packs_like_protein(protein):
    """Mass per residue and packing density against the proteins' 110 Da and 0.8 Da/Å³."""
    assert protein.molecular_weight / protein.residue_count == pytest.approx(110, abs=8)
    positions = protein.positions
    axes = [np.arange(low - 4, high + 4, 1.0) for low, high in zip(positions.min(0), positions.max(0), strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    # Atoms of 1.8 Å plus half of the gaps that water cannot enter: the volume of 2.2 Å balls, 1 Å³ a point.
    volume = (cKDTree(positions).query(grid, distance_upper_bound=2.2)[0] <= 2.2).sum()
    assert protein.molecular_weight / volume == pytest.approx(0.83, abs=0.08)
    # Hardly any atom sits on another one: closer than any bond.
    nearest = cKDTree(positions).query(positions, k=2)[0][:, 1]
    assert (nearest < 1.15).mean() < 0.03


def test_built_protein_holds_right_handed_helices_and_strands():
    model = ideal_protein(300, 1, 0)
    ca = atoms(model, "CA")
    twist = torsion(ca[:-3], ca[1:-2], ca[2:-1], ca[3:])
    # CA torsions: +50 degrees in alpha helices, about -170 in strands; a mirrored helix would show -50.
    helical = np.abs(twist - 50) < 12
    mirrored = np.abs(twist + 50) < 12
    assert helical.mean() > 0.35
    assert mirrored.mean() < 0.08
    extended = np.abs(np.abs(twist) - 170) < 25
    assert extended.mean() > 0.04


def test_seed_decides_the_fold():
    assert (ideal_protein(60, 1, 5).positions == ideal_protein(60, 1, 5).positions).all()
    assert len(ideal_protein(60, 1, 5)) != len(ideal_protein(60, 1, 6)) or not np.allclose(
        ideal_protein(60, 1, 5).positions, ideal_protein(60, 1, 6).positions
    )


@pytest.mark.parametrize("suffix", [".cif", ".pdb"])
def test_written_model_is_read_back(tmp_path, protein, suffix):
    path = tmp_path / f"model{suffix}"
    write_model(protein, path)
    back = load_model(path)
    assert len(back) == len(protein)
    # Both formats keep 0.001 Å and 0.01 Å².
    assert back.positions == pytest.approx(protein.positions, abs=0.00051)
    assert back.b_factors == pytest.approx(protein.b_factors, abs=0.0051)
    assert (back.atomic_numbers == protein.atomic_numbers).all()
    assert (back.residue_names == protein.residue_names).all()
    assert (back.chains == protein.chains).all()
    assert back.molecular_weight == pytest.approx(protein.molecular_weight, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "weight", "tolerance"),
    [
        # Crambin and hen lysozyme by their sequences' average masses. Open disulfides count 2 H too many each,
        # a chain's ends one water too few: below 0.15 % for either.
        ("1CRN.cif", 4729.6, 0.005),
        ("1aki.cif", 14305.1, 0.002),
    ],
)
def test_molecular_weight_of_known_proteins(real_data, name, weight, tolerance):
    model = load_model(real_data / "models" / "all" / name)
    assert not (model.atomic_numbers == 1).any()
    assert model.molecular_weight == pytest.approx(weight, rel=tolerance)


def test_gzipped_models_and_hydrogens(real_data):
    path = real_data / "models" / "all" / "1l2y.cif.gz"  # trp cage, 20 residues, an NMR model with its hydrogens
    with_hydrogens, without = load_model(path, hydrogens=True), load_model(path)
    assert without.residue_count == with_hydrogens.residue_count == 20
    assert len(with_hydrogens) == 304 and len(without) == 154
    # 20 residues: the ends' water and charges are 3 hydrogens and an oxygen of 2170 Da.
    assert without.molecular_weight == pytest.approx(with_hydrogens.molecular_weight, rel=0.01)


def test_unreadable_models_say_what_to_send(tmp_path):
    empty = tmp_path / "empty.pdb"
    empty.write_text("END\n")
    with pytest.raises(InputError, match=r"empty\.pdb holds no"):
        load_model(empty)
    with pytest.raises(InputError, match=r"could not be read.*PDB and mmCIF"):
        load_model(tmp_path / "absent.cif")
    with pytest.raises(ValueError, match="at least 30 residues"):
        ideal_protein(residues=5)
    with pytest.raises(ValueError, match="at least 1"):
        ideal_helix(0)


def test_selection_and_rigid_motion_keep_what_belongs_together(protein):
    one = protein.select(protein.chains == 1)
    assert len(one) == (protein.chains == 1).sum()
    assert one.molecular_weight == pytest.approx(protein.molecular_weight / 2, rel=1e-9)
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])
    moved = one.moved(turn, (1.0, 2.0, 3.0))
    assert moved.centre == pytest.approx(turn @ one.centre + [1, 2, 3], abs=1e-9)
