"""Measure how often each check of half maps warns of a sound pair: the rates that the reports state.

    python benchmarks/level_1_rates.py [--pairs 200] [--models FOLDER] [--part 0 --of 2]   # resumes where it stopped
    python benchmarks/level_1_rates.py --summary                                     # writes the rates into the package

A sound pair is isotropic, homogeneous and independent: two half maps of one structure, each with noise of its own, and
the map made from them. Structure, resolution (2.5 to 8 Å), pixel size (0.6 to 1.5 Å), box (64 to 112 voxels, odd or
even), decay, sharpening, colour of the noise and contour level (0.8 to 1.25 times the usual one, so the masks are loose
or tight) vary from pair to pair. What is reported is what a depositor reads in a usual soft mask.
FOLDER: PDB or mmCIF files; of VERITEM_TEST_DATA, its training models; else proteins that the package makes up.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from veritem._version import __version__
from veritem.checks.base import Check
from veritem.checks.registry import CHECKS
from veritem.errors import VeritemError
from veritem.numerics.density_map import HalfMaps
from veritem.numerics.device import CPU
from veritem.numerics.distance import signed_distance
from veritem.numerics.fourier import frequency_grid, irfftn, rfftn
from veritem.numerics.masks import label_components, raised_cosine_edge
from veritem.numerics.statistics import binomial_interval
from veritem.results import CheckResult, Outcome
from veritem.run.execute import RATES, Runner, code_sha256
from veritem.run.plan import make_plan
from veritem.simulation.half_maps import SimulatedMap, first_crossing, simulate_map
from veritem.simulation.models import AtomicModel, ideal_protein, load_model
from veritem.simulation.noise import by_shell
from veritem.simulation.phantoms import VOLUME_PER_DALTON, enclosing_level

ROOT = Path(__file__).resolve().parent.parent
CHECKPOINT = ROOT / "benchmarks" / "results" / "level_1_rates.jsonl"
ATOMS = (600, 12000)
LARGEST_BOX, SMALLEST_BOX = 112, 64
FINEST_PIXEL, COARSEST_PIXEL = 0.6, 1.5  # Å
USUAL_GROWTH, USUAL_EDGE = 3.0, 6.0  # Å, of the mask in which a depositor measures


def half_map_checks() -> tuple[type[Check], ...]:
    return tuple(check for check in CHECKS if "half_maps" in check.needs)


def sound_pair(index: int, models: list[Path]) -> tuple[SimulatedMap, dict[str, float]]:
    """The sound pair of a number, and what a depositor says of it: everything that varies comes from the number."""
    rng = np.random.default_rng([index, 1201])
    while True:
        model, pixel_size, box = fitting_model(rng, models)
        finest = max(2.5, 2.5 * pixel_size)
        # The logarithm is uniform: as many pairs at 2.5 to 4.5 Å as at 4.5 to 8 Å.
        resolution = float(np.exp(rng.uniform(np.log(finest), np.log(8.0))))
        # A curve that falls by a decade of SSNR over a fifth to a third of the cut-off frequency, as those of real maps
        # do: what the atoms' own B leaves of the decay for that is the images'. Without it the first crossing of a
        # coarse pair would lie in a dip of a protein's spectrum, anywhere from 5 to 10 Å.
        steepness = float(rng.uniform(0.2, 0.33))
        decay = usual_decay(model, resolution, steepness)
        exponent = float(rng.uniform(-0.7, 0.7))
        try:
            simulated = simulate_map(
                model, box, pixel_size, resolution=resolution, b_factor=decay,
                sharpen=float(rng.uniform(0.2, 0.8)) * decay,
                noise=lambda f, power=exponent: (np.asarray(f) + 0.02) ** power, seed=index,
            )  # fmt: skip
        except VeritemError:
            raise
        except ValueError:
            continue  # a box too small for the molecule's volume: the next draw
        simulated = weighted_by_fsc(simulated)
        level = float(rng.uniform(0.8, 1.25)) * simulated.truth.contour_level
        if shows_one_body(simulated, level):
            return simulated, {"contour_level": level, "resolution": usual_resolution(simulated)}


def usual_decay(model: AtomicModel, resolution: float, steepness: float = 0.25) -> float:
    """Å² of B in the images, with which the SSNR falls by a decade over `steepness` times the cut-off frequency."""
    own = float(np.average(model.b_factors, weights=model.occupancies * model.masses))
    return max(0.0, float(np.log(10.0)) * resolution**2 / steepness - own)


def shows_one_body(simulated: SimulatedMap, level: float) -> bool:
    """Most of what the level shows is one body, of a quarter to three times the molecular volume."""
    bodies = label_components(simulated.density_map.data >= level)
    largest = int(bodies.sizes.max(initial=0))
    volume = simulated.truth.molecular_weight * VOLUME_PER_DALTON / simulated.density_map.voxel_volume
    return largest > 0.5 * int(bodies.sizes.sum()) and 0.25 * volume < largest < 3.0 * volume


def weighted_by_fsc(simulated: SimulatedMap) -> SimulatedMap:
    """The final map after the weighting that programs apply, and the level at which it is then looked at.

    sqrt(2 FSC / (1 + FSC)), with the FSC expected in the mask: without it the noise of the last shells would break the
    surface of a map that is sharpened to them.
    """
    truth, grid = simulated.truth, simulated.density_map
    root = np.sqrt(2 * truth.fsc / (1 + truth.fsc)).astype(np.float32)
    weight = by_shell(root, grid.shape, grid.pixel_size)(frequency_grid(grid.shape, grid.pixel_size))
    final, signal = (
        replace(m, data=irfftn(rfftn(m.data) * weight, m.shape)) for m in (simulated.density_map, truth.signal)
    )
    sigma = float(np.std(final.data - signal.data, dtype=np.float64))
    level = enclosing_level(final.data[truth.mask], grid.voxel_volume, truth.molecular_weight)
    truth = replace(truth, signal=signal, noise_sigma=sigma, contour_level=max(level, 3.0 * sigma))
    return replace(simulated, density_map=final, truth=truth)


def fitting_model(rng: np.random.Generator, models: list[Path]) -> tuple[AtomicModel, float, int]:
    """A model, a pixel size and a box in which it lies with 12 to 30 Å of room, of at most 112 voxels."""
    while True:
        if models:
            model = load_model(models[int(rng.integers(len(models)))])
        else:
            model = ideal_protein(
                residues=int(rng.integers(60, 220)), subunits=int(rng.integers(1, 5)), seed=int(rng.integers(40))
            )
        model = replace(model, positions=model.positions - model.centre)
        edge = 2 * float(np.abs(model.positions).max()) + 2 * float(rng.uniform(12.0, 30.0))
        finest = max(FINEST_PIXEL, edge / LARGEST_BOX)
        if ATOMS[0] <= len(model) <= ATOMS[1] and finest <= COARSEST_PIXEL:
            pixel_size = float(rng.uniform(finest, COARSEST_PIXEL))
            return model, pixel_size, max(SMALLEST_BOX, int(np.ceil(edge / pixel_size)))


def usual_resolution(simulated: SimulatedMap) -> float:
    """Å, to two digits after the point: the FSC's crossing as expected in a soft mask around the molecule.

    The mask holds the molecule grown by 3 Å and falls off over 6 Å.
    """
    truth, grid = simulated.truth, simulated.density_map
    assert truth.ssnr is not None and truth.resolution is not None
    distance = signed_distance(truth.molecule, grid.pixel_size, 40.0) - np.float32(USUAL_GROWTH)
    soft = raised_cosine_edge(distance.astype(np.float32), USUAL_EDGE)
    share = float(np.mean(truth.mask)) / float(np.mean(np.square(soft, dtype=np.float64)))
    ssnr = truth.ssnr * share
    crossing = first_crossing(truth.frequency, ssnr / (1 + ssnr))
    return round(crossing if crossing is not None else truth.resolution, 2)


def inputs_of(
    simulated: SimulatedMap, contour_level: float, resolution: float | None, seed: int, symmetry: str = "C1"
) -> dict[str, Any]:
    """A simulated pair by the names of the inputs of a run."""
    return {
        "density_map": simulated.density_map,
        "half_maps": HalfMaps(simulated.half_1, simulated.half_2),
        "given_contour_level": contour_level,
        "reported_resolution": resolution,
        "molecular_weight": simulated.truth.molecular_weight,
        "symmetry": symmetry,
        "seed": seed,
        "threads": 1,
        "device": CPU,
    }


def judged(
    simulated: SimulatedMap, said: dict[str, float], seed: int, checks: tuple[type[Check], ...] | None = None
) -> tuple[CheckResult, ...]:
    """Run the checks of half maps as a run does, in memory."""
    values = inputs_of(simulated, said["contour_level"], said["resolution"], seed)
    return Runner(make_plan(checks or half_map_checks(), values), values, dict.fromkeys(values, "")).run()


def run(pairs: int, models: list[Path], part: tuple[int, int], checkpoint: Path) -> None:
    checkpoint.parent.mkdir(exist_ok=True)
    done = {json.loads(line)["pair"] for line in checkpoint.open()} if checkpoint.exists() else set()
    for index in range(part[0], pairs, part[1]):
        if index in done:
            continue
        simulated, said = sound_pair(index, models)
        clock = time.process_time()
        results = judged(simulated, said, index)
        line = {
            "pair": index,
            "box": simulated.density_map.shape[0],
            "pixel_size": round(simulated.density_map.pixel_size, 3),
            "atoms": len(simulated.model),
            "resolution": said["resolution"],
            "cpu": round(time.process_time() - clock, 2),
            "checks": {
                r.code: {
                    "outcome": r.outcome.value,
                    "warned_of": [w.quantity for w in r.warnings],
                    "reason": (r.error or r.reason)[:200],
                }
                for r in results
            },
        }
        with checkpoint.open("a") as stream:
            stream.write(json.dumps(line) + "\n")
        print(
            f"{index}: {line['box']}³ at {line['pixel_size']} Å, {line['resolution']} Å, {line['cpu']} CPU s",
            {code: [c["outcome"], *c["warned_of"]] for code, c in line["checks"].items()},
            flush=True,
        )


def summarise(checkpoint: Path) -> None:
    """Merge the rates into those of the other checks; a check that failed anywhere is told and keeps its old rate."""
    lines = [json.loads(line) for line in checkpoint.open()]
    content = json.loads(RATES.read_text()) if RATES.exists() else {"checks": {}}
    for code in sorted({code for line in lines for code in line["checks"]}):
        found = [line["checks"][code] for line in lines if code in line["checks"]]
        outcomes = Counter(check["outcome"] for check in found)
        warned_of = Counter(q for check in found for q in check["warned_of"])
        count = outcomes[Outcome.PASS] + outcomes[Outcome.WARNING] + outcomes[Outcome.INCONCLUSIVE]
        if not count or outcomes[Outcome.FAILED]:
            print(code, dict(outcomes), "not written", [c["reason"] for c in found if c["outcome"] == "failed"][:1])
            continue
        low, high = binomial_interval(outcomes[Outcome.WARNING], count)
        content["checks"][code] = {
            "sound_maps": count,
            "warnings": outcomes[Outcome.WARNING],
            "inconclusive": outcomes[Outcome.INCONCLUSIVE],
            "rate": outcomes[Outcome.WARNING] / count,
            "interval": [round(low, 4), round(high, 4)],
            "warned_of": dict(warned_of),
            "command": "python benchmarks/level_1_rates.py",
            "measured_on": "sound pairs of half maps simulated from atomic models, isotropic, homogeneous and "
            "independent, at 2.5 to 8 Å",
            "version": __version__,
            "code_sha256": code_sha256(),
        }
        rate = outcomes[Outcome.WARNING] / count
        print(code, dict(outcomes), f"false alarms {rate:.3f} ({low:.3f} to {high:.3f})", dict(warned_of))
    content["checks"] = dict(sorted(content["checks"].items()))
    RATES.write_text(json.dumps(content, indent=1) + "\n")


def known_models(folder: Path | None) -> list[Path]:
    """The coordinate files of a folder; of none given, the training models of the test data, if they are there."""
    if folder is None:
        data = Path(os.environ.get("VERITEM_TEST_DATA", ROOT.parent / "shared" / "data"))
        folder = data / "training_models"
    return sorted(p for p in folder.iterdir() if ".cif" in p.name or ".pdb" in p.name) if folder.is_dir() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--models", type=Path, help="folder of PDB or mmCIF files")
    parser.add_argument("--part", type=int, default=0, help="which of the processes that share the work, from 0")
    parser.add_argument("--of", type=int, default=1, help="how many processes share it")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, help="another file for trials")
    parser.add_argument("--summary", action="store_true", help="write the rates into the package")
    arguments = parser.parse_args()
    if arguments.summary:
        summarise(arguments.checkpoint)
    else:
        run(arguments.pairs, known_models(arguments.models), (arguments.part, arguments.of), arguments.checkpoint)


if __name__ == "__main__":
    main()
