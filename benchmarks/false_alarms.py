"""Measure how often each check warns of a sound map: the rates that the reports state.

    python benchmarks/false_alarms.py [--maps 120] [--models FOLDER] [--shard 0/2]   # resumes where it stopped
    python benchmarks/false_alarms.py --summary                                     # writes the rates into the package

A sound map is simulated from an atomic model (those of FOLDER, else proteins that the package makes up): centred, with
room around it, sharpened as usual, low-passed at its resolution, with noise of its own seed, and seen at the contour
level that a depositor would choose. Model, resolution, pixel size, decay and colour of the noise vary from map to map.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from veritem._version import __version__
from veritem.checks.registry import CHECKS
from veritem.numerics.density_map import DensityMap
from veritem.numerics.statistics import binomial_interval
from veritem.run.execute import RATES, Runner, code_sha256
from veritem.run.plan import make_plan
from veritem.simulation.half_maps import SimulatedMap, simulate_map
from veritem.simulation.models import AtomicModel, ideal_protein, load_model

ROOT = Path(__file__).resolve().parent.parent
CHECKPOINT = ROOT / "benchmarks" / "results" / "false_alarms.jsonl"
ATOMS = (1500, 9000)
# At coarser resolutions the simulator's noise is so strong, voxel by voxel, that a level of four standard deviations
# breaks the particle into fragments: 0.b says so, rightly (15 of 28 maps), and such maps are no longer sound as seen.
COARSEST = 3.5  # Å


def sound_map(index: int, models: list[Path]) -> SimulatedMap:
    """The sound map of a number: everything that varies comes from it as the seed."""
    rng = np.random.default_rng([index, 77])
    model = choose_model(rng, models)
    pixel_size = float(rng.uniform(0.9, 1.3))
    resolution = float(rng.uniform(max(2.6, 2.4 * pixel_size), 4.5))
    widest = 2 * float(np.abs(model.positions - model.centre).max())
    # The free space that 0.a asks for at this resolution, and a little more.
    room = max(25.0, 0.5e4 * 0.0197 / resolution + 5.0)
    box = int(np.ceil((widest + 2 * room) / pixel_size / 8)) * 8
    decay = float(rng.uniform(100.0, 200.0))
    exponent = float(rng.uniform(-0.5, 0.5))
    return simulate_map(
        replace(model, positions=model.positions - model.centre),
        box,
        pixel_size,
        resolution=resolution,
        b_factor=decay,
        sharpen=float(rng.uniform(0.4, 0.9)) * decay,
        noise=lambda f: (np.asarray(f) + 0.02) ** exponent,
        seed=index,
    )


def choose_model(rng: np.random.Generator, models: list[Path]) -> AtomicModel:
    """A model of a size that fits a box of at most about 130 voxels."""
    while models:
        model = load_model(models[int(rng.integers(len(models)))])
        extent = 2 * float(np.abs(model.positions - model.centre).max())
        if ATOMS[0] <= len(model) <= ATOMS[1] and extent < 95.0:
            return model
    return ideal_protein(
        residues=int(rng.integers(100, 280)), subunits=int(rng.integers(1, 5)), seed=int(rng.integers(1e6))
    )


def judge(simulated: SimulatedMap, seed: int) -> dict[str, object]:
    density_map: DensityMap = simulated.density_map
    values = {
        "density_map": density_map,
        "given_contour_level": simulated.truth.contour_level,
        "reported_resolution": simulated.truth.resolution,
        "molecular_weight": simulated.truth.molecular_weight,
        "seed": seed,
        "threads": 1,
    }
    results = Runner(make_plan(CHECKS, values), values, dict.fromkeys(values, "")).run()
    return {
        r.code: {"outcome": r.outcome.value, "warned_of": [w.quantity for w in r.warnings], "reason": r.reason[:160]}
        for r in results
    }


def run(maps: int, models: list[Path], shard: tuple[int, int]) -> None:
    done = {json.loads(line)["map"] for line in CHECKPOINT.open()} if CHECKPOINT.exists() else set()
    CHECKPOINT.parent.mkdir(exist_ok=True)
    for index in range(shard[0], maps, shard[1]):
        if index in done:
            continue
        simulated = sound_map(index, models)
        checks = judge(simulated, index)
        line = {
            "map": index,
            "box": simulated.density_map.shape[0],
            "resolution": simulated.truth.resolution,
            "checks": checks,
        }
        with CHECKPOINT.open("a") as stream:
            stream.write(json.dumps(line) + "\n")
        print(index, {code: c["outcome"] for code, c in checks.items() if c["outcome"] != "not applicable"}, flush=True)


def summarise() -> None:
    lines = [json.loads(line) for line in CHECKPOINT.open()]
    lines = [line for line in lines if line["resolution"] <= COARSEST]
    rates: dict[str, object] = {}
    kept = json.loads(RATES.read_text())["checks"] if RATES.exists() else {}
    for code in lines[0]["checks"]:
        outcomes = Counter(line["checks"][code]["outcome"] for line in lines)
        judged = outcomes["pass"] + outcomes["warning"] + outcomes["inconclusive"]
        if judged == 0:
            continue
        low, high = binomial_interval(outcomes["warning"], judged)
        warned_of = Counter(q for line in lines for q in line["checks"][code]["warned_of"])
        rates[code] = {
            "sound_maps": judged,
            "warnings": outcomes["warning"],
            "inconclusive": outcomes["inconclusive"],
            "rate": outcomes["warning"] / judged,
            "interval": [round(low, 4), round(high, 4)],
            "warned_of": dict(warned_of),
        }
        print(
            code,
            dict(outcomes),
            f"false alarms {outcomes['warning'] / judged:.3f} ({low:.3f} to {high:.3f})",
            dict(warned_of),
        )
    content = {
        "command": "python benchmarks/false_alarms.py",
        "measured_on": "sound maps simulated from atomic models, given contour level and resolution, up to 3.5 Å",
        "version": __version__,
        "code_sha256": code_sha256(),
        # Rates of half-map checks come from level_1_rates.py and stay.
        "checks": dict(sorted((kept | rates).items())),
    }
    RATES.write_text(json.dumps(content, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--maps", type=int, default=120)
    parser.add_argument("--models", type=Path, help="folder of PDB or mmCIF files; made-up proteins if not given")
    parser.add_argument("--shard", default="0/1", help="i/n: the i-th of n processes that share the work")
    parser.add_argument("--summary", action="store_true")
    arguments = parser.parse_args()
    if arguments.summary:
        summarise()
        return
    first, count = map(int, arguments.shard.split("/"))
    models = (
        sorted(p for p in arguments.models.iterdir() if ".cif" in p.name or ".pdb" in p.name)
        if arguments.models
        else []
    )
    run(arguments.maps, models, (first, count))


if __name__ == "__main__":
    main()
