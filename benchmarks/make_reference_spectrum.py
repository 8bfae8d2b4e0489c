"""Make the table of protein spectra without thermal motion, against which checks 0.d and 0.f measure a B-factor.

    python benchmarks/make_reference_spectrum.py FOLDER_OF_MODELS

Each model's rotationally averaged scattering power is computed by the Debye sum over its atom pairs (exact, no grid),
with the electron scattering factors of Peng et al. (Acta Cryst. A52 (1996) 257) and every atom at B = 0.
Hydrogens are taken as united atoms: a heavy atom with n hydrogens at 1.05 Å scatters as f + n f_H sin(x)/x, which is
exact after averaging over the hydrogens' directions. How much of them shows in a map is not known beforehand (many
move, radiation takes some), so the table's curve lies half-way between none and all, and says how far apart the two
are: a uniform uncertainty.

Particles lie in ice, which takes from their contrast what the ice would have scattered in their place. The change of
ln amplitude by a solvent of 4.5 V that fills the box outside the molecule (`veritem.simulation.simulate_density`) is
much the same for all proteins: -0.22 (standard deviation 0.03) at 10 Å, -0.05 at 6.7 Å, nothing from 5 Å on. It is in
the table's curve; how it depends on the shape of the edge between the two is allowed for by 30 % of it either way.

The table also holds each model's deviation from the mean. Its scatter does not shrink with the size of the protein
(2000 to 15 000 atoms): it is structure (how much helix, how much strand, how compact), and it is what a fit cannot
tell from a B-factor. It is smoothed by a Gaussian of 0.01 1/Å, the width of the widest shells in use.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import gemmi
import numpy as np
from numba import njit
from scipy.ndimage import gaussian_filter1d

from veritem.numerics.fourier import fast_size, rfftn
from veritem.numerics.shells import power, shell_frequencies, shell_means
from veritem.simulation.models import load_model
from veritem.simulation.phantoms import simulate_density

FREQUENCIES = np.arange(0.02, 0.7001, 0.005)
BIN = 0.02  # Å: the phase 2 pi f r is off by at most 0.044 rad at the last frequency
PROTEINS = 50
SMOOTHING = 0.01  # 1/Å
SMALLEST = 2000  # heavy atoms
TABLE = Path(__file__).parents[1] / "src/veritem/derived/data/reference_spectrum.csv"
# Hydrogens on the atoms of amino acids, by atom name, where it does not depend on the residue.
BACKBONE_H = {"N": 1, "CA": 1}
SIDE_CHAIN_H = {
    "ALA": {"CB": 3},
    "ARG": {"CB": 2, "CG": 2, "CD": 2, "NE": 1, "NH1": 2, "NH2": 2},
    "ASN": {"CB": 2, "ND2": 2},
    "ASP": {"CB": 2},
    "CYS": {"CB": 2, "SG": 1},
    "GLN": {"CB": 2, "CG": 2, "NE2": 2},
    "GLU": {"CB": 2, "CG": 2},
    "GLY": {"CA": 2},
    "HIS": {"CB": 2, "CD2": 1, "CE1": 1, "ND1": 1},
    "ILE": {"CB": 1, "CG1": 2, "CG2": 3, "CD1": 3},
    "LEU": {"CB": 2, "CG": 1, "CD1": 3, "CD2": 3},
    "LYS": {"CB": 2, "CG": 2, "CD": 2, "CE": 2, "NZ": 3},
    "MET": {"CB": 2, "CG": 2, "CE": 3},
    "PHE": {"CB": 2, "CD1": 1, "CD2": 1, "CE1": 1, "CE2": 1, "CZ": 1},
    "PRO": {"N": 0, "CB": 2, "CG": 2, "CD": 2},
    "SER": {"CB": 2, "OG": 1},
    "THR": {"CB": 1, "OG1": 1, "CG2": 3},
    "TRP": {"CB": 2, "CD1": 1, "NE1": 1, "CE3": 1, "CZ2": 1, "CZ3": 1, "CH2": 1},
    "TYR": {"CB": 2, "CD1": 1, "CD2": 1, "CE1": 1, "CE2": 1, "OH": 1},
    "VAL": {"CB": 1, "CG1": 3, "CG2": 3},
}


@njit(nogil=True, cache=True)
def pair_histogram(positions, kinds, n_kinds, bins, width):
    """Ordered atom pairs by distance and by the two kinds, each pair once with the smaller kind first."""
    histogram = np.zeros((n_kinds, n_kinds, bins))
    n = positions.shape[0]
    for i in range(n):
        for j in range(i):
            dx = positions[i, 0] - positions[j, 0]
            dy = positions[i, 1] - positions[j, 1]
            dz = positions[i, 2] - positions[j, 2]
            b = int(np.sqrt(dx * dx + dy * dy + dz * dz) / width)
            a, c = kinds[i], kinds[j]
            histogram[min(a, c), max(a, c), b] += 1.0
    return histogram


def hydrogens_on(residue: str, atom: str) -> int:
    table = SIDE_CHAIN_H.get(residue, {})
    return table.get(atom, BACKBONE_H.get(atom, 0))


def read(path: Path) -> tuple[np.ndarray, list[tuple[str, int]], bool]:
    """Positions, (element, hydrogens) of each heavy atom, and whether there is nucleic acid."""
    structure = gemmi.read_structure(str(path))
    structure.remove_waters()
    structure.remove_hydrogens()
    positions, kinds, nucleic = [], [], False
    for chain in structure[0]:
        for residue in chain:
            nucleic |= gemmi.find_tabulated_residue(residue.name).is_nucleic_acid()
            for atom in residue:
                if atom.altloc in ("\0", "A") and atom.element.name != "X":
                    positions.append(atom.pos.tolist())
                    kinds.append((atom.element.name, hydrogens_on(residue.name, atom.name)))
    return np.array(positions), kinds, nucleic


def form_factor(element: str, hydrogens: int) -> np.ndarray:
    def peng(name: str) -> np.ndarray:
        coefficients = gemmi.Element(name).c4322
        return np.array([coefficients.calculate_sf(float((f / 2) ** 2)) for f in FREQUENCIES])

    return peng(element) + hydrogens * peng("H") * np.sinc(2 * FREQUENCIES * 1.05)


def log_amplitude(positions: np.ndarray, kinds: list[tuple[str, int]]) -> np.ndarray:
    """ln of the root of the rotationally averaged power per atom, at FREQUENCIES."""
    names = sorted(set(kinds))
    number = np.array([names.index(kind) for kind in kinds])
    extent = np.linalg.norm(np.ptp(positions, axis=0))
    bins = int(extent / BIN) + 2
    histogram = pair_histogram(positions, number, len(names), bins, BIN)
    distance = (np.arange(bins) + 0.5) * BIN
    factors = np.array([form_factor(*name) for name in names])
    counts = np.bincount(number, minlength=len(names))
    total = (counts[:, None] * factors**2).sum(axis=0)
    occupied = histogram.sum(axis=(0, 1)) > 0
    for k, f in enumerate(FREQUENCIES):
        wave = np.sinc(2 * f * distance[occupied])
        total[k] += 2 * np.einsum("abr,r,a,b->", histogram[..., occupied], wave, factors[:, k], factors[:, k])
    return 0.5 * np.log(total / len(kinds))


def solvent_change(folder: Path, name: str) -> np.ndarray:
    """What ice around the molecule adds to ln amplitude, at FREQUENCIES; 0 beyond 0.4 1/Å."""
    model = load_model(next(folder.glob(f"{name}.*")))
    size = fast_size(int(np.ptp(model.positions, axis=0).max()) + 30)
    curves = []
    for solvent in (0.0, 4.5):
        density = simulate_density(model, size, 1.0, b_factor=20.0, occupancy=1.0, solvent=solvent)
        mean, _, _ = shell_means(power(rfftn(density.data)), density.shape)
        curves.append(0.5 * np.log(mean))
    known = np.interp(FREQUENCIES, shell_frequencies(density.shape, 1.0), curves[1] - curves[0])
    return np.where(FREQUENCIES < 0.4, known, 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("--output", type=Path, default=TABLE)
    arguments = parser.parse_args()
    eligible = []
    for path in sorted(arguments.models.iterdir()):
        if path.name.split(".")[-1] in {"gz", "pdb", "cif"}:
            positions, kinds, nucleic = read(path)
            if not nucleic and len(kinds) >= SMALLEST:
                eligible.append((path.name.split(".")[0], positions, kinds))
    # Evenly through the alphabet of entry codes, which knows nothing of folds.
    chosen = [eligible[i] for i in np.linspace(0, len(eligible) - 1, PROTEINS).round().astype(int)]
    bare = np.array([log_amplitude(positions, [(e, 0) for e, _ in kinds]) for _, positions, kinds in chosen])
    covered = np.array([log_amplitude(positions, kinds) for _, positions, kinds in chosen])
    curves = (bare + covered) / 2
    solvent = np.mean([solvent_change(arguments.models, name) for name, _, _ in chosen], axis=0)
    mean = curves.mean(axis=0)
    half_shift = (covered - bare).mean(axis=0) / 2
    deviations = gaussian_filter1d(curves - mean, SMOOTHING / (FREQUENCIES[1] - FREQUENCIES[0]), axis=1)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    with arguments.output.open("w", newline="") as stream:
        stream.write("# ln amplitude per root of an atom, proteins at B = 0; benchmarks/make_reference_spectrum.py\n")
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["frequency", "log_amplitude", "hydrogens", "solvent", *(name for name, _, _ in chosen)])
        for k, f in enumerate(FREQUENCIES):
            row = [f"{f:.3f}", f"{mean[k] + solvent[k]:.5f}", f"{half_shift[k]:.5f}", f"{solvent[k]:.5f}"]
            row += [*(f"{d:.4f}" for d in deviations[:, k])]
            writer.writerow(row)
    print(f"{len(eligible)} eligible models, {PROTEINS} used; wrote {arguments.output}")


if __name__ == "__main__":
    main()
