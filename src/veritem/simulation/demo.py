"""The demonstration: a sound map of an invented protein and its half maps, as a depositor would hand them in."""

from __future__ import annotations

from pathlib import Path

from veritem.simulation.half_maps import SimulatedMap, simulate_map
from veritem.simulation.models import ideal_protein, write_model
from veritem.submission.map_writer import write_map

RESOLUTION = 3.2
PIXEL_SIZE = 1.1
BOX_SIZE = 180


def demo_map(threads: int = 1) -> SimulatedMap:
    """A C4 particle of about 170 kDa in a 198 Å box at 3.2 Å, with 35 Å free on every side."""
    return simulate_map(
        ideal_protein(residues=400, subunits=4, seed=0), BOX_SIZE, PIXEL_SIZE, RESOLUTION, seed=1, threads=threads
    )


def write_demo_map(folder: str | Path, threads: int = 1) -> Path:
    """Write `demo.mrc`, its half maps and model, and `demo.toml`, which describes the map. Returns the last.

    folder: created if absent; existing files of these names are replaced.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    simulated = demo_map(threads)
    maps = {"demo": simulated.density_map, "demo_half_1": simulated.half_1, "demo_half_2": simulated.half_2}
    for name, density_map in maps.items():
        write_map(folder / f"{name}.mrc", density_map.data, density_map.pixel_size, density_map.origin, "simulated map")
    write_model(simulated.model, folder / "demo.cif")
    truth = simulated.truth
    entry = folder / "demo.toml"
    entry.write_text(
        "# A simulated map of an invented protein and its half maps; demo.cif is the model behind them.\n"
        'title = "Demonstration: a simulated C4 protein"\n'
        'map = "demo.mrc"\n'
        'half_map_1 = "demo_half_1.mrc"\n'
        'half_map_2 = "demo_half_2.mrc"\n'
        f"contour_level = {truth.contour_level:.4g}\n"
        f"resolution = {truth.resolution:.2f}\n"
        f"molecular_weight_kda = {truth.molecular_weight / 1e3:.1f}\n"
        'symmetry = "C4"\n',
        "utf-8",
    )
    return entry
