"""Atomic models as the simulator sees them: read from a file, or built here so that no file is needed.

The built models obey the geometry that maps show: right-handed alpha helices, beta strands, L amino acids, side chains
in staggered rotamers, a packing density of protein. Their sequence and fold are invented.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path

import gemmi
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from veritem.errors import InputError

HELIX_RISE = 1.541
"""Å per residue of an ideal alpha helix."""
HELIX_TURN = 98.9
"""Degrees per residue, right-handed."""

# Cylindrical coordinates (radius Å, angle degrees, height Å) of one residue of an ideal alpha helix relative to its CA,
# for phi = -57.8, psi = -47.0, omega = 180 degrees.
_HELIX_RESIDUE = {
    "N": (1.57, -26.7, -0.92),
    "CA": (2.29, 0.0, 0.0),
    "C": (1.68, 26.9, 1.06),
    "O": (1.94, 20.5, 2.24),
    "CB": (3.34, 16.7, -0.77),
}
_BACKBONE = ("N", "CA", "C", "O", "CB")
# A side chain nearer than this (Å) to another residue's atoms has no room.
_LEAST_ROOM = 2.3

# Side chains beyond CB: atom, element, the three atoms that place it, bond Å, angle degrees, torsion. A torsion given
# as "chi" is drawn from the staggered rotamers; "chi+120" turns with the latest one; a number is fixed.
_SideAtom = tuple[str, str, tuple[str, str, str], float, float, str | float]
_SIDE_CHAINS: dict[str, tuple[_SideAtom, ...]] = {
    "GLY": (),
    "ALA": (),
    "SER": (("OG", "O", ("N", "CA", "CB"), 1.42, 110.8, "chi"),),
    "VAL": (
        ("CG1", "C", ("N", "CA", "CB"), 1.53, 110.9, "chi"),
        ("CG2", "C", ("N", "CA", "CB"), 1.53, 110.9, "chi+120"),
    ),
    "THR": (
        ("OG1", "O", ("N", "CA", "CB"), 1.43, 109.2, "chi"),
        ("CG2", "C", ("N", "CA", "CB"), 1.53, 111.1, "chi-120"),
    ),
    "LEU": (
        ("CG", "C", ("N", "CA", "CB"), 1.53, 116.3, "chi"),
        ("CD1", "C", ("CA", "CB", "CG"), 1.53, 110.3, "chi"),
        ("CD2", "C", ("CA", "CB", "CG"), 1.53, 110.6, "chi+120"),
    ),
    "ILE": (
        ("CG1", "C", ("N", "CA", "CB"), 1.53, 110.7, "chi"),
        ("CG2", "C", ("N", "CA", "CB"), 1.53, 110.5, "chi-120"),
        ("CD1", "C", ("CA", "CB", "CG1"), 1.52, 114.0, "chi"),
    ),
    "MET": (
        ("CG", "C", ("N", "CA", "CB"), 1.52, 114.0, "chi"),
        ("SD", "S", ("CA", "CB", "CG"), 1.80, 112.7, "chi"),
        ("CE", "C", ("CB", "CG", "SD"), 1.79, 100.8, "chi"),
    ),
    "ASP": (
        ("CG", "C", ("N", "CA", "CB"), 1.52, 112.6, "chi"),
        ("OD1", "O", ("CA", "CB", "CG"), 1.25, 118.4, -20.0),
        ("OD2", "O", ("CA", "CB", "CG"), 1.25, 118.4, 160.0),
    ),
    "ASN": (
        ("CG", "C", ("N", "CA", "CB"), 1.52, 112.6, "chi"),
        ("OD1", "O", ("CA", "CB", "CG"), 1.23, 120.8, -30.0),
        ("ND2", "N", ("CA", "CB", "CG"), 1.33, 116.4, 150.0),
    ),
    "GLU": (
        ("CG", "C", ("N", "CA", "CB"), 1.52, 114.1, "chi"),
        ("CD", "C", ("CA", "CB", "CG"), 1.52, 112.6, "chi"),
        ("OE1", "O", ("CB", "CG", "CD"), 1.25, 118.4, -10.0),
        ("OE2", "O", ("CB", "CG", "CD"), 1.25, 118.4, 170.0),
    ),
    "GLN": (
        ("CG", "C", ("N", "CA", "CB"), 1.52, 114.1, "chi"),
        ("CD", "C", ("CA", "CB", "CG"), 1.52, 112.6, "chi"),
        ("OE1", "O", ("CB", "CG", "CD"), 1.23, 120.8, -20.0),
        ("NE2", "N", ("CB", "CG", "CD"), 1.33, 116.4, 160.0),
    ),
    "LYS": (
        ("CG", "C", ("N", "CA", "CB"), 1.52, 114.1, "chi"),
        ("CD", "C", ("CA", "CB", "CG"), 1.52, 111.3, "chi"),
        ("CE", "C", ("CB", "CG", "CD"), 1.52, 111.3, "chi"),
        ("NZ", "N", ("CG", "CD", "CE"), 1.49, 111.9, "chi"),
    ),
    "ARG": (
        ("CG", "C", ("N", "CA", "CB"), 1.52, 114.1, "chi"),
        ("CD", "C", ("CA", "CB", "CG"), 1.52, 111.3, "chi"),
        ("NE", "N", ("CB", "CG", "CD"), 1.46, 112.0, "chi"),
        ("CZ", "C", ("CG", "CD", "NE"), 1.33, 124.2, 180.0),
        ("NH1", "N", ("CD", "NE", "CZ"), 1.33, 120.0, 0.0),
        ("NH2", "N", ("CD", "NE", "CZ"), 1.33, 119.7, 180.0),
    ),
    "PHE": (
        ("CG", "C", ("N", "CA", "CB"), 1.50, 113.8, "chi"),
        ("CD1", "C", ("CA", "CB", "CG"), 1.39, 120.7, 90.0),
        ("CD2", "C", ("CA", "CB", "CG"), 1.39, 120.7, -90.0),
        ("CE1", "C", ("CB", "CG", "CD1"), 1.39, 120.7, 180.0),
        ("CE2", "C", ("CB", "CG", "CD2"), 1.39, 120.7, 180.0),
        ("CZ", "C", ("CG", "CD1", "CE1"), 1.39, 120.0, 0.0),
    ),
    "TYR": (
        ("CG", "C", ("N", "CA", "CB"), 1.51, 113.8, "chi"),
        ("CD1", "C", ("CA", "CB", "CG"), 1.39, 120.8, 90.0),
        ("CD2", "C", ("CA", "CB", "CG"), 1.39, 120.8, -90.0),
        ("CE1", "C", ("CB", "CG", "CD1"), 1.39, 121.2, 180.0),
        ("CE2", "C", ("CB", "CG", "CD2"), 1.39, 121.2, 180.0),
        ("CZ", "C", ("CG", "CD1", "CE1"), 1.39, 119.6, 0.0),
        ("OH", "O", ("CD1", "CE1", "CZ"), 1.38, 119.9, 180.0),
    ),
}

# Relative frequency of each residue: helices and strands avoid glycine, loops do not. Chosen so that the mean residue
# is about 105 Da once crowded sites have become alanine.
_COMPOSITION = {
    "GLY": 1, "ALA": 9, "SER": 6, "VAL": 7, "THR": 6, "LEU": 12, "ILE": 7, "MET": 3, "ASP": 5, "ASN": 4, "GLU": 8,
    "GLN": 4, "LYS": 6, "ARG": 5, "PHE": 5, "TYR": 4,
}  # fmt: skip
_LOOP_COMPOSITION = {"GLY": 6, "SER": 3, "ASN": 2, "ASP": 3, "THR": 2, "ALA": 1, "LYS": 2, "GLU": 1}


@dataclass(frozen=True, eq=False)
class AtomicModel:
    """Atoms and what belongs to each.

    positions: (n, 3) float64, x, y, z in Å.
    atomic_numbers: (n,) int.
    b_factors: (n,) Å². occupancies: (n,).
    masses: (n,) Da; hydrogens that the model leaves out are added to the heavy atoms of their residue.
    chains, residues: (n,) int, index of the chain and of the residue, both counted over the model from 0.
    residue_numbers: (n,) int, the numbers that a file shows.
    atom_names, residue_names: (n,) str. chain_names: one per chain index.
    """

    positions: NDArray[np.float64]
    atomic_numbers: NDArray[np.int64]
    b_factors: NDArray[np.float64]
    occupancies: NDArray[np.float64]
    masses: NDArray[np.float64]
    chains: NDArray[np.int64]
    residues: NDArray[np.int64]
    residue_numbers: NDArray[np.int64]
    atom_names: NDArray[np.str_]
    residue_names: NDArray[np.str_]
    chain_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def molecular_weight(self) -> float:
        """Da, hydrogens included, whatever the occupancy."""
        return float(self.masses.sum())

    @property
    def residue_count(self) -> int:
        return len(np.unique(self.residues))

    @property
    def centre(self) -> NDArray[np.float64]:
        """Centre of mass, x, y, z in Å."""
        return self.masses @ self.positions / self.masses.sum()

    def select(self, atoms: NDArray) -> AtomicModel:
        """The atoms that a boolean mask or an index array names, as a model of their own; indices are kept."""
        fields = {name: getattr(self, name)[atoms] for name in self.__dataclass_fields__ if name != "chain_names"}
        return replace(self, **fields)

    def moved(self, rotation: ArrayLike | None = None, shift: ArrayLike = (0.0, 0.0, 0.0)) -> AtomicModel:
        """Rotate about the coordinate origin by a (3, 3) matrix, then shift by x, y, z Å."""
        turn = np.eye(3) if rotation is None else np.asarray(rotation, np.float64)
        return replace(self, positions=self.positions @ turn.T + np.asarray(shift, np.float64))


def load_model(path: str | Path, hydrogens: bool = False, waters: bool = False) -> AtomicModel:
    """Read a PDB or mmCIF file, gzipped or not: its first model, the first of alternative conformations.

    Hydrogens and waters are left out unless asked for; the mass of absent hydrogens stays counted (`masses`).
    Raises InputError when the file cannot be read or holds no atom.
    """
    path = Path(path)
    try:
        structure = gemmi.read_structure(str(path))
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{path.name} could not be read as an atomic model ({error}). "
            "Veritem reads PDB and mmCIF, plain or gzipped; send one of those."
        ) from error
    if len(structure) == 0:
        raise InputError(f"{path.name} holds no model. Send a coordinate file with ATOM records.")
    structure.remove_alternative_conformations()
    rows: list[tuple] = []
    masses: list[NDArray] = []
    chain_names: list[str] = []
    residue_index = 0
    for chain in structure[0]:
        chain_names.append(chain.name)
        for residue in chain:
            if residue.is_water() and not waters:
                continue
            kept = [atom for atom in residue if hydrogens or not atom.is_hydrogen()]
            if not kept:
                continue
            masses.append(_masses(residue.name, [atom.element for atom in kept]))
            rows.extend(
                (
                    *atom.pos.tolist(),
                    atom.element.atomic_number,
                    atom.b_iso,
                    atom.occ,
                    len(chain_names) - 1,
                    residue_index,
                    residue.seqid.num if residue.seqid.num is not None else residue_index + 1,
                    atom.name,
                    residue.name,
                )
                for atom in kept
            )
            residue_index += 1
    if not rows:
        raise InputError(f"{path.name} holds no atom that is not water or hydrogen. Send the fitted model.")
    columns = list(zip(*rows, strict=True))
    return AtomicModel(
        positions=np.array(columns[:3], np.float64).T.copy(),
        atomic_numbers=np.array(columns[3], np.int64),
        b_factors=np.array(columns[4], np.float64),
        occupancies=np.array(columns[5], np.float64),
        masses=np.concatenate(masses),
        chains=np.array(columns[6], np.int64),
        residues=np.array(columns[7], np.int64),
        residue_numbers=np.array(columns[8], np.int64),
        atom_names=np.array(columns[9], np.str_),
        residue_names=np.array(columns[10], np.str_),
        chain_names=tuple(chain_names),
    )


def write_model(model: AtomicModel, path: str | Path) -> None:
    """Write a model as mmCIF (`.cif`) or PDB (any other suffix)."""
    path = Path(path)
    structure = gemmi.Structure()
    structure.name = path.stem
    written = gemmi.Model(1)
    # gemmi copies what is added, so residues are filled before they go into their chain, chains before the model.
    for chain_index, chain_name in enumerate(model.chain_names):
        chain = gemmi.Chain(chain_name)
        atoms = np.flatnonzero(model.chains == chain_index)
        for members in np.split(atoms, np.flatnonzero(np.diff(model.residues[atoms])) + 1):
            if not len(members):
                continue
            residue = gemmi.Residue()
            residue.name = str(model.residue_names[members[0]])
            residue.seqid = gemmi.SeqId(str(model.residue_numbers[members[0]]))
            for i in members:
                atom = gemmi.Atom()
                atom.name = str(model.atom_names[i])
                atom.element = gemmi.Element(int(model.atomic_numbers[i]))
                atom.pos = gemmi.Position(*model.positions[i])
                atom.b_iso = float(model.b_factors[i])
                atom.occ = float(model.occupancies[i])
                residue.add_atom(atom)
            chain.add_residue(residue)
        if len(chain):
            written.add_chain(chain)
    structure.add_model(written)
    structure.setup_entities()
    if path.suffix == ".cif":
        structure.make_mmcif_document().write_file(str(path))
    else:
        structure.write_pdb(str(path))


def _masses(residue_name: str, elements: list[gemmi.Element]) -> NDArray[np.float64]:
    """Da per atom; the residue's hydrogens that are not among the atoms are spread over them by their weight."""
    weights = np.array([element.weight for element in elements], np.float64)
    if any(element.is_hydrogen for element in elements):
        return weights
    known = gemmi.find_tabulated_residue(residue_name)
    if not known.found():
        return weights
    # The table describes the free compound; a polymer bond takes the hydrogens of one water away.
    polymer = known.is_amino_acid() or known.is_nucleic_acid()
    absent = max(0, known.hydrogen_count - (2 if polymer else 0))
    return weights * (1.0 + absent * gemmi.Element("H").weight / weights.sum())


# --------------------------------------------------------------------------- built models


def ideal_helix(length: int, b_factor: float = 30.0) -> AtomicModel:
    """A right-handed poly-alanine alpha helix along z, its middle at the coordinate origin.

    length: residues, at least 1. Raises ValueError for fewer.
    """
    if length < 1:
        raise ValueError(f"a helix of {length} residues was asked for; it needs at least 1")
    segment = _helix(np.zeros(3), np.array([0.0, 0.0, 1.0]), length)
    model = _assemble(segment, ["ALA"] * length, {}, b_factor)
    return model.moved(shift=-model.centre)


def ideal_protein(residues: int = 400, subunits: int = 4, seed: int = 0) -> AtomicModel:
    """A compact invented protein with C_n symmetry about z, its centre at the coordinate origin.

    Each subunit packs layers of alpha helices (crossed by 40 degrees) round one layer of beta strands, joined by loops,
    inside an ellipsoid of about 0.78 Da/Å³; subunits touch. Atomic B rises from 25 Å² in the core to about 90 Å²
    on the surface and in loops.

    residues: per subunit, at least 30. subunits: order of the point group, at least 1.
    """
    if residues < 30 or subunits < 1:
        raise ValueError(
            f"{residues} residues in {subunits} subunits were asked for; at least 30 residues and 1 subunit are needed"
        )
    rng = np.random.default_rng(seed)
    backbone, is_loop = _fold(residues, rng)
    sequence, side_atoms = _side_chains(backbone, _sequence(is_loop, rng), rng)
    subunit = _assemble(backbone, sequence, side_atoms, 0.0)
    subunit = subunit.moved(shift=-subunit.centre)
    depth = np.linalg.norm(subunit.positions, axis=1)
    loop_atom = is_loop[subunit.residues]
    b_factors = 25.0 + 45.0 * (depth / depth.max()) ** 2 + 20.0 * loop_atom
    subunit = replace(subunit, b_factors=b_factors)
    if subunits == 1:
        return subunit.moved(_random_rotation(rng))
    return _cyclic(subunit, subunits, rng)


@functools.lru_cache(maxsize=1)
def _strand_template() -> NDArray[np.float64]:
    """(60, 5, 3): an extended strand along +z, side chains alternating along ±x."""
    phi, psi = np.deg2rad(-120.0), np.deg2rad(120.0)
    atoms = [np.array([0.0, 0.0, 0.0]), np.array([1.46, 0.0, 0.0])]
    atoms.append(atoms[1] + 1.52 * np.array([-np.cos(np.deg2rad(111.0)), np.sin(np.deg2rad(111.0)), 0.0]))
    for _ in range(60):
        for bond, angle, torsion in ((1.33, 116.6, psi), (1.46, 121.7, np.pi), (1.52, 111.0, phi)):
            atoms.append(_place(atoms[-3], atoms[-2], atoms[-1], bond, angle, torsion))
    chain = np.array(atoms).reshape(-1, 3, 3)
    n, ca, c, after = chain[:-1, 0], chain[:-1, 1], chain[:-1, 2], chain[1:, 0]
    # The carbonyl oxygen is trans to the next residue's CA: it bisects the outer angle at C.
    outward = 2 * c - ca - after
    o = c + 1.23 * outward / np.linalg.norm(outward, axis=1, keepdims=True)
    strand = np.stack([n, ca, c, o, _beta_carbon(n, ca, c)], axis=1)
    axis = _unit(ca[-1] - ca[0])
    alternate = (-1.0) ** np.arange(len(ca))
    side = (alternate[:, None] * (strand[:, 4] - ca)).sum(0)
    side = _unit(side - axis * (side @ axis))
    frame = np.stack([side, np.cross(axis, side), axis])
    return (strand - ca.mean(0)) @ frame.T


def _beta_carbon(n: NDArray, ca: NDArray, c: NDArray) -> NDArray[np.float64]:
    """CB of an L residue from its backbone; each (n, 3)."""
    b1, b2 = ca - n, c - ca
    normal = np.cross(b1, b2)
    # Ideal tetrahedral placement expressed in the basis (normal, b2, b1).
    return ca - 0.58273431 * normal + 0.56802827 * b1 - 0.54067466 * b2


def _helix(start: NDArray, axis: NDArray, length: int, phase: float = 0.0) -> NDArray[np.float64]:
    """(length, 5, 3) N, CA, C, O, CB; the first CA at the height of `start` on the axis."""
    x, y = _perpendicular(axis)
    frame = np.stack([x, y, axis])  # right-handed: x × y = axis
    cylindrical = np.array([_HELIX_RESIDUE[name] for name in _BACKBONE])
    i = np.arange(length)[:, None]
    angle = np.deg2rad(cylindrical[:, 1] + HELIX_TURN * i + phase)
    local = np.stack(
        [cylindrical[:, 0] * np.cos(angle), cylindrical[:, 0] * np.sin(angle), cylindrical[:, 2] + HELIX_RISE * i],
        axis=-1,
    )
    return start + local @ frame


def _strand(start: NDArray, axis: NDArray, side: NDArray, length: int) -> NDArray[np.float64]:
    """(length, 5, 3) of an extended strand whose side chains point along ±`side`."""
    local = _strand_template()[20 : 20 + length]
    local = local - np.array([0.0, 0.0, local[0, 1, 2]])
    side = _unit(side - axis * (side @ axis))
    return start + local @ np.stack([side, np.cross(axis, side), axis])


@dataclass(frozen=True)
class _Element:
    kind: str
    start: NDArray
    axis: NDArray
    length: int
    side: NDArray


def _elements(radius: float, rng: np.random.Generator) -> list[_Element]:
    """Helices and strands that fill an ellipsoid of mean radius `radius` (Å), in chain order."""
    semi = radius * np.array([1.28, 0.96, 0.82])
    # The layer nearest the middle is a sheet once the fold is big enough to wrap it.
    heights = np.arange(-np.floor(semi[2] / 9.8), np.floor(semi[2] / 9.8) + 1) * 9.8
    sheet_layer = len(heights) // 2 if radius > 17.0 else -1
    found: list[_Element] = []
    normal = np.array([0.0, 0.0, 1.0])
    for layer, height in enumerate(heights):
        angle = np.deg2rad(20.0 if layer % 2 else -20.0) + rng.normal(0, 0.05)
        axis = np.array([np.cos(angle), np.sin(angle), 0.0])
        lateral = np.array([-np.sin(angle), np.cos(angle), 0.0])
        is_sheet = layer == sheet_layer
        spacing = 4.8 if is_sheet else 9.6
        count = int(np.floor(2 * semi[1] / spacing))
        offsets = (np.arange(count) - (count - 1) / 2) * spacing
        if layer % 2:
            offsets = offsets[::-1]
        for j, offset in enumerate(offsets):
            centre = lateral * offset + normal * height
            inside = 1.0 - (offset / semi[1]) ** 2 - (height / semi[2]) ** 2
            if inside <= 0:
                continue
            chord = 2 * semi[0] * np.sqrt(inside) * rng.uniform(0.86, 1.0)
            rise = 3.3 if is_sheet else HELIX_RISE
            length = int(chord / rise) if not is_sheet else min(int(chord / rise), 9)
            if length < (4 if is_sheet else 7):
                continue
            direction = axis if j % 2 == 0 else -axis
            if is_sheet:
                # A sheet is twisted: seen along its strands, right-handed.
                twist = np.deg2rad(-10.0) * (offset / spacing)
                direction = direction * np.cos(twist) + np.cross(lateral, direction) * np.sin(twist)
            else:
                direction = _unit(direction + rng.normal(0, 0.06, 3))
                centre = centre + rng.normal(0, 0.25, 3)
            side = np.cross(direction, lateral)
            found.append(_Element("E" if is_sheet else "H", centre - direction * rise * (length - 1) / 2,
                                  direction, length, side))  # fmt: skip
    return found


def _fold(residues: int, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Backbone (residues, 5, 3) of one chain and which residues are loop."""
    seed = int(rng.integers(2**63))
    radius = (3 * residues * 120.0 / (4 * np.pi)) ** (1 / 3)
    while True:
        pieces, loops = _thread(_elements(radius, np.random.default_rng(seed)), seed)
        if sum(map(len, pieces)) >= residues:
            break
        radius *= 1.01
    return np.concatenate(pieces)[:residues], np.concatenate(loops)[:residues]


def _thread(elements: list[_Element], seed: int) -> tuple[list[NDArray], list[NDArray]]:
    rng = np.random.default_rng(seed)
    cores = []
    for element in elements:
        if element.kind == "H":
            cores.append(_helix(element.start, element.axis, element.length, rng.uniform(0, 360)))
        else:
            cores.append(_strand(element.start, element.axis, element.side, element.length))
    pieces: list[NDArray] = []
    loops: list[NDArray] = []
    occupied = np.concatenate(cores).reshape(-1, 3)
    for i, core in enumerate(cores):
        if i:
            joint = _roomy_loop(cores[i - 1], core, elements[i].axis, occupied, rng)
            occupied = np.concatenate([occupied, joint.reshape(-1, 3)])
            pieces.append(joint)
            loops.append(np.ones(len(joint), bool))
        pieces.append(core)
        loops.append(np.zeros(len(core), bool))
    return pieces, loops


def _roomy_loop(
    before: NDArray, after: NDArray, axis: NDArray, occupied: NDArray, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Of a few drawn loops, the one that keeps farthest from everything built so far; short ones are preferred."""
    start, end = before[-1, 1], after[0, 1]
    outwards = _unit(before[-1, 1] - before[-4, 1])
    # The residues at the joints are bonded to the loop, so they do not count as obstacles.
    joints = np.concatenate([before[-1], after[0]])
    tree = cKDTree(occupied[cKDTree(joints).query(occupied)[0] > 0.01])
    best, best_score = None, -np.inf
    for attempt in range(24):
        spread = 0.08 * attempt
        drawn = rng.normal(0, spread, (2, 3)) if attempt else np.zeros((2, 3))
        loop = _loop(start, _unit(outwards + drawn[0]), end, _unit(axis + drawn[1]), 1.0 + 0.05 * attempt)
        room = float(tree.query(loop.reshape(-1, 3))[0].min())
        score = min(room, 3.2) - 0.03 * len(loop)
        if score > best_score:
            best, best_score = loop, score
    assert best is not None
    return best


def _loop(start: NDArray, outwards: NDArray, end: NDArray, inwards: NDArray, stretch: float) -> NDArray[np.float64]:
    """Residues (n, 5, 3) along a Bézier curve from one CA to another, 3.8 Å apart, both ends left out."""
    reach = stretch * max(5.0, 0.4 * float(np.linalg.norm(end - start)))
    t = np.linspace(0.0, 1.0, 400)[:, None]
    control = start + outwards * reach, end - inwards * reach
    curve = (1 - t) ** 3 * start + 3 * (1 - t) ** 2 * t * control[0] + 3 * (1 - t) * t**2 * control[1] + t**3 * end
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    count = max(1, round(along[-1] / 3.8) - 1)
    stops = np.interp(np.linspace(0, along[-1], count + 2), along, np.arange(400))
    points = curve[np.clip(np.round(stops).astype(int), 0, 399)]
    ca, step = points[1:-1], _unit_rows(points[2:] - points[:-2])
    bend = _unit_rows(2 * ca - points[:-2] - points[2:] + 1e-3 * np.array([0.3, 0.5, 0.8]))
    bend = _unit_rows(bend - step * np.sum(bend * step, axis=1, keepdims=True))
    flip = ((-1.0) ** np.arange(count))[:, None]
    across = np.cross(step, bend) * flip
    n = ca - 1.20 * step + 0.55 * across - 0.6 * bend
    c = ca + 1.25 * step + 0.55 * across - 0.6 * bend
    o = c + 1.23 * _unit_rows(across + 0.3 * step)
    return np.stack([n, ca, c, o, _beta_carbon(n, ca, c)], axis=1)


def _sequence(is_loop: NDArray, rng: np.random.Generator) -> list[str]:
    def draw(composition: dict[str, int], size: int) -> NDArray:
        share = np.array(list(composition.values()), np.float64)
        return rng.choice(list(composition), size=size, p=share / share.sum())

    return list(np.where(is_loop, draw(_LOOP_COMPOSITION, len(is_loop)), draw(_COMPOSITION, len(is_loop))))


def _side_chains(
    backbone: NDArray, sequence: list[str], rng: np.random.Generator
) -> tuple[list[str], dict[int, list[tuple[str, str, NDArray]]]]:
    """The sequence, and side-chain atoms (name, element, position) per residue.

    Each residue takes the roomiest of 16 drawn rotamers; one that finds no room becomes alanine.
    """
    fixed = cKDTree(backbone.reshape(-1, 3))
    owner = np.repeat(np.arange(len(backbone)), backbone.shape[1])
    placed: dict[int, list[tuple[str, str, NDArray]]] = {}
    others = np.zeros((0, 3))
    kept = list(sequence)
    best: list[tuple[str, str, NDArray]]
    for i, wanted in enumerate(sequence):
        # A second and a third residue are tried before the site is left to alanine.
        for name in (wanted, *rng.choice(list(_COMPOSITION), size=2)):
            table = _SIDE_CHAINS[str(name)]
            if not table:
                kept[i], best = str(name), []
                break
            best, room = _roomiest(backbone[i], table, fixed, owner != i, others, rng)
            if room >= _LEAST_ROOM:
                kept[i] = str(name)
                break
        else:
            kept[i], best = "ALA", []
        if not best:
            continue
        placed[i] = best
        others = np.concatenate([others, [atom[2] for atom in best]])
    return kept, placed


def _roomiest(
    residue: NDArray,
    table: tuple[_SideAtom, ...],
    fixed: cKDTree,
    foreign: NDArray[np.bool_],
    others: NDArray,
    rng: np.random.Generator,
) -> tuple[list[tuple[str, str, NDArray]], float]:
    """Of 16 drawn rotamers the one whose nearest foreign atom is farthest, and that distance in Å."""
    drawn = [_grow(residue, table, rng) for _ in range(16)]
    points = np.array([[atom[2] for atom in candidate] for candidate in drawn])
    distance, index = fixed.query(points, k=8, distance_upper_bound=5.0)
    # scipy marks "no neighbour that near" by an index one past the end.
    counts = np.append(foreign, False)[index]
    room = np.where(counts, distance, 5.0).min(axis=(1, 2))
    if len(others):
        near = others[np.linalg.norm(others - residue[1], axis=1) < 14.0]
        if len(near):
            room = np.minimum(room, np.linalg.norm(points[:, :, None] - near, axis=3).min(axis=(1, 2)))
    best = int(room.argmax())
    return drawn[best], float(room[best])


def _grow(residue: NDArray, table: tuple[_SideAtom, ...], rng: np.random.Generator) -> list[tuple[str, str, NDArray]]:
    known = dict(zip(_BACKBONE, residue, strict=True))
    atoms = []
    chi = 0.0
    for name, element, (a, b, c), bond, angle, torsion in table:
        if torsion == "chi":
            chi = float(rng.choice((-60.0, 180.0, 60.0), p=(0.5, 0.35, 0.15)) + rng.normal(0, 8))
            turn = chi
        elif isinstance(torsion, str):
            turn = chi + float(torsion.removeprefix("chi"))
        else:
            turn = torsion
        known[name] = _place(known[a], known[b], known[c], bond, angle, np.deg2rad(turn))
        atoms.append((name, element, known[name]))
    return atoms


def _place(a: NDArray, b: NDArray, c: NDArray, bond: float, angle: float, torsion: float) -> NDArray[np.float64]:
    """The atom bonded to c with the given bond (Å), angle b-c-d (degrees) and torsion a-b-c-d (radians)."""
    bc = _unit(c - b)
    normal = _unit(np.cross(b - a, bc))
    bend = np.deg2rad(angle)
    local = bond * np.array([-np.cos(bend), np.cos(torsion) * np.sin(bend), np.sin(torsion) * np.sin(bend)])
    return c + local[0] * bc + local[1] * np.cross(normal, bc) + local[2] * normal


def _assemble(
    backbone: NDArray, sequence: list[str], side_atoms: dict[int, list[tuple[str, str, NDArray]]], b_factor: float
) -> AtomicModel:
    """One chain "A" from backbone (n, 5, 3) and side chains; glycine has no CB."""
    names: list[str] = []
    elements: list[gemmi.Element] = []
    positions: list[NDArray] = []
    residues: list[int] = []
    masses: list[NDArray] = []
    for i, name in enumerate(sequence):
        main = _BACKBONE[:4] if name == "GLY" else _BACKBONE
        atoms = [(atom, atom[0], backbone[i, k]) for k, atom in enumerate(main)] + side_atoms.get(i, [])
        own = [gemmi.Element(atom[1]) for atom in atoms]
        masses.append(_masses(name, own))
        elements.extend(own)
        names.extend(atom[0] for atom in atoms)
        positions.extend(atom[2] for atom in atoms)
        residues.extend([i] * len(atoms))
    count = len(names)
    index = np.array(residues, np.int64)
    return AtomicModel(
        positions=np.array(positions, np.float64),
        atomic_numbers=np.array([element.atomic_number for element in elements], np.int64),
        b_factors=np.full(count, float(b_factor)),
        occupancies=np.ones(count),
        masses=np.concatenate(masses),
        chains=np.zeros(count, np.int64),
        residues=index,
        residue_numbers=index + 1,
        atom_names=np.array(names, np.str_),
        residue_names=np.array(sequence, np.str_)[index],
        chain_names=("A",),
    )


def _cyclic(subunit: AtomicModel, order: int, rng: np.random.Generator) -> AtomicModel:
    """`order` copies about z, in the most compact of 32 drawn orientations, atoms of neighbours 3 Å apart or more.

    The subunit's long axis (x) is set upright and leans over by up to 35 degrees.
    """
    upright = np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    trace = subunit.select(subunit.atom_names == "CA")
    best, best_radius = subunit, np.inf
    for _ in range(32):
        spin, lean, heading = rng.uniform(0, 2 * np.pi), rng.uniform(0, np.deg2rad(35)), rng.uniform(0, 2 * np.pi)
        turn = _about_z(heading) @ _about_x(lean) @ _about_z(spin) @ upright
        radius = _ring_radius(trace.moved(turn).positions, order, 5.5)
        if radius < best_radius:
            best, best_radius = subunit.moved(turn), radius
    high = _ring_radius(best.positions, order, 3.0)

    def turned(copy: int, radius: float) -> AtomicModel:
        return best.moved(shift=(radius, 0.0, 0.0)).moved(_about_z(2 * np.pi * copy / order))

    copies = [turned(k, high) for k in range(order)]
    per_copy = int(subunit.residues.max()) + 1

    def joined(name: str) -> NDArray:
        return np.concatenate([getattr(copy, name) for copy in copies])

    return AtomicModel(
        positions=joined("positions"),
        atomic_numbers=joined("atomic_numbers"),
        b_factors=joined("b_factors"),
        occupancies=joined("occupancies"),
        masses=joined("masses"),
        chains=np.repeat(np.arange(order), len(subunit)),
        residues=np.concatenate([subunit.residues + k * per_copy for k in range(order)]),
        residue_numbers=joined("residue_numbers"),
        atom_names=joined("atom_names"),
        residue_names=joined("residue_names"),
        chain_names=tuple(_chain_name(k) for k in range(order)),
    )


def _ring_radius(positions: NDArray, order: int, apart: float) -> float:
    """The distance from the axis beyond which copies stay `apart` Å from each other, within 0.1 Å."""
    turns = [_about_z(2 * np.pi * k / order) for k in range(1, order // 2 + 1)]

    def gap(radius: float) -> float:
        first = positions + np.array([radius, 0.0, 0.0])
        tree = cKDTree(first)
        return min(float(tree.query(first @ turn.T, distance_upper_bound=apart)[0].min()) for turn in turns)

    # From far outside inwards: near the axis copies may pass through each other and be apart again.
    high = 1.1 * np.linalg.norm(positions, axis=1).max() / np.sin(np.pi / order) + apart
    step = 1.6
    while step > 0.1:
        while high - step > 0 and gap(high - step) >= apart:
            high -= step
        step /= 2
    return float(high)


def _about_z(angle: float) -> NDArray[np.float64]:
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])


def _about_x(angle: float) -> NDArray[np.float64]:
    return np.array([[1.0, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])


def _chain_name(index: int) -> str:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return letters[index] if index < 26 else _chain_name(index // 26 - 1) + letters[index % 26]


def _random_rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    """Uniform over rotations."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    # A reflection would make D amino acids and left-handed helices.
    if np.linalg.det(q) < 0:
        q[:, 0] = -q[:, 0]
    return q


def _unit(vector: NDArray) -> NDArray[np.float64]:
    return vector / np.linalg.norm(vector)


def _unit_rows(vectors: NDArray) -> NDArray[np.float64]:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _perpendicular(axis: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """x, y with x × y = axis."""
    helper = np.array([1.0, 0.0, 0.0]) if abs(axis[0]) < 0.9 else np.array([0.0, 1.0, 0.0])
    x = _unit(helper - axis * (helper @ axis))
    return x, np.cross(axis, x)
