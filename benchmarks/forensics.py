"""Measure what half-map forensics (F.a) names: in sound pairs nothing, in planted faults the fault.

    python benchmarks/forensics.py --sound 200 [--shard 0/2]     # resumes where it stopped
    python benchmarks/forensics.py --trials 20 [--shard 0/2]
    python benchmarks/forensics.py --summary                      # writes benchmarks/results/forensics.json, prints it

A sound pair is simulated from an invented protein. Size, pixel size, resolution, decay, colour of the noise, room in
the box and whether a resolution is reported vary from pair to pair; so does what the program did to the halves that
is no fault: a sphere, fading corners, an empty corner of Fourier space, weakening by gridding, averaging over a point
group, unequal numbers of particles, a masked map. A faulty pair is a sound one with one fault of
`veritem.simulation.half_map_defects` at one dose.
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
from level_1_rates import inputs_of

from veritem._version import __version__
from veritem.checks.base import judge
from veritem.checks.level_f.half_map_forensics import HalfMapForensics
from veritem.numerics.density_map import DensityMap
from veritem.numerics.distance import signed_distance
from veritem.numerics.masks import raised_cosine_edge
from veritem.numerics.statistics import binomial_interval
from veritem.run.execute import Runner
from veritem.run.plan import make_plan
from veritem.simulation.half_map_defects import (
    HALF_MAP_DEFECTS,
    averaged,
    fading,
    gridded,
    half_map_defect,
    in_sphere,
    unequal,
    without_corners,
)
from veritem.simulation.half_maps import SimulatedMap, Transfer, simulate_map
from veritem.simulation.models import ideal_protein

ROOT = Path(__file__).resolve().parent.parent
CHECKPOINT = ROOT / "benchmarks" / "results" / "forensics.jsonl"
RESULT = ROOT / "benchmarks" / "results" / "forensics.json"
VARIANTS = (
    "plain", "sphere", "fading", "no_corners", "gridded", "unequal", "C2", "C4", "D2", "D4", "masked_map", "tight_box",
)  # fmt: skip


def sound_pair(index: int, variant: str | None = None) -> tuple[SimulatedMap, str, str, float | None]:
    """The sound pair of a number, its variant, point group and reported resolution."""
    rng = np.random.default_rng([index, 0xFA])
    variant = VARIANTS[index % len(VARIANTS)] if variant is None else variant
    # Another number of subunits would be another symmetry, under which a turned half is a sound one.
    subunits = {"C2": 2, "C4": 4, "D2": 2, "D4": 4}.get(variant, int(rng.integers(1, 4)))
    model = ideal_protein(residues=int(rng.integers(90, 260)), subunits=subunits, seed=int(rng.integers(1, 10**6)))
    model = replace(model, positions=model.positions - model.centre)
    pixel_size = float(rng.uniform(0.8, 1.6))
    resolution = float(rng.uniform(max(2.4, 2.4 * pixel_size), 5.0))
    widest = 2 * float(np.abs(model.positions).max())
    room = float(rng.uniform(10.0, 14.0)) if variant == "tight_box" else float(rng.uniform(20.0, 35.0))
    box = min(160, 2 * int(np.ceil((widest + 2 * room) / pixel_size / 2)))
    if rng.random() < 0.3 and variant not in ("C2", "C4", "D2", "D4"):
        box += 1
    decay = float(rng.uniform(0.0, 200.0))
    exponent = float(rng.uniform(-1.0, 0.8))
    sound = simulate_map(
        model,
        box,
        pixel_size,
        resolution=resolution,
        b_factor=decay,
        sharpen=float(rng.uniform(0.3, 0.9)) * decay,
        noise=lambda f: (np.asarray(f) + 0.02) ** exponent,
        seed=index,
    )
    symmetry = "C1"
    half_box = 0.5 * box * pixel_size
    if variant == "sphere":
        least = (0.5 * widest + 12.0) / half_box
        sound = in_sphere(sound, float(rng.uniform(min(least, 0.98), 1.0)), float(rng.uniform(3.0, 8.0)))
    elif variant == "fading":
        sound = fading(sound, float(rng.uniform(0.1, 0.4)))
    elif variant == "no_corners":
        sound = without_corners(sound)
    elif variant == "gridded":
        sound = gridded(sound, float(rng.uniform(0.5, 2.0)))
    elif variant == "unequal":
        sound = unequal(sound, float(rng.uniform(0.45, 0.55)))
    elif variant in ("C2", "C4", "D2", "D4"):
        sound, symmetry = averaged(sound, int(variant[1]), variant[0] == "D"), variant
        mean = (sound.half_1.data + sound.half_2.data) * np.float32(0.5)
        sound = replace(sound, density_map=_processed(sound, mean))
    elif variant == "masked_map":
        mask = raised_cosine_edge(
            signed_distance(sound.truth.mask, pixel_size, 40.0) - np.float32(rng.uniform(0.0, 4.0)), 6.0
        )
        sound = replace(sound, density_map=replace(sound.density_map, data=sound.density_map.data * mask))
    return sound, variant, symmetry, None if rng.random() < 0.2 else float(sound.truth.resolution or resolution)


def _processed(sound: SimulatedMap, mean: np.ndarray) -> DensityMap:
    """The map that the processing of the deposited one makes of a mean of halves."""
    truth = sound.truth
    processing = Transfer(truth.transfer.b_factor - truth.raw_b_factor, truth.transfer.resolution, truth.transfer.edge)
    return processing.apply(replace(sound.density_map, data=mean))


def faulty_base(trial: int) -> tuple[SimulatedMap, float]:
    """The sound pair that a fault is planted in: of no symmetry, at 2.9 to 3.8 Å, voxels of 1.0 to 1.3 Å."""
    rng = np.random.default_rng([trial, 0xFB])
    model = ideal_protein(residues=int(rng.integers(180, 320)), subunits=1, seed=int(rng.integers(1, 10**6)))
    model = replace(model, positions=model.positions - model.centre)
    pixel_size = float(rng.uniform(1.0, 1.3))
    widest = 2 * float(np.abs(model.positions).max())
    box = 2 * int(np.ceil((widest + 2 * float(rng.uniform(20.0, 30.0))) / pixel_size / 2))
    decay = float(rng.uniform(60.0, 180.0))
    exponent = float(rng.uniform(-0.3, 0.3))
    resolution = float(rng.uniform(2.9, 3.8))
    sound = simulate_map(
        model,
        box,
        pixel_size,
        resolution=resolution,
        b_factor=decay,
        sharpen=0.6 * decay,
        noise=lambda f: (np.asarray(f) + 0.02) ** exponent,
        seed=trial + 1000,
    )
    return sound, resolution


def evaluate(simulated: SimulatedMap, symmetry: str, resolution: float | None, seed: int) -> dict[str, object]:
    check = HalfMapForensics()
    known = inputs_of(simulated, simulated.truth.contour_level, resolution, seed, symmetry)
    runner = Runner(make_plan((), known), known, {})
    measurement = check.measure(**{name: runner.value(name) for name in check.uses()})
    verdict = judge(check, measurement)
    e = measurement.evidence
    values = {
        key: None if (found := getattr(e, key)) is None else [round(found.value, 5), round(found.error, 6)]
        for key in (
            "noise_correlation", "half_in_map", "shift", "scale", "filter_range", "filter_b_factor", "solvent_ratio",
            "flatness", "by_signal", "rise", "map_noise", "map_shift",
        )
    }  # fmt: skip
    end = measurement.noise_end
    return {
        "outcome": verdict.outcome.value,
        "named": check.findings(measurement),
        "undecided": [c.quantity for c in verdict.criteria if c.outcome.value == "inconclusive"],
        "reason": verdict.reason[:200],
        "agreement": [round(e.halves.as_they_are, 4), round(e.first_with_map.as_they_are, 4)],
        "removed": measurement.noise_removed.value,
        "end": end.value,
        **values,
    }


def run(sound: int, trials: int, shard: tuple[int, int], only: list[str]) -> None:
    CHECKPOINT.parent.mkdir(exist_ok=True)
    done = {json.loads(line)["key"] for line in CHECKPOINT.open()} if CHECKPOINT.exists() else set()

    def record(key: str, content: dict[str, object]) -> None:
        with CHECKPOINT.open("a") as stream:
            stream.write(json.dumps({"key": key} | content) + "\n")
        print(key, content["named"], content["outcome"], flush=True)

    for index in range(shard[0], sound, shard[1]):
        key = f"sound/{index}"
        if key in done:
            continue
        pair, variant, symmetry, resolution = sound_pair(index)
        record(
            key,
            {"variant": variant, "box": pair.density_map.shape[0], "pixel_size": pair.density_map.pixel_size,
             "resolution": pair.truth.resolution, "b_factor": pair.truth.raw_b_factor}
            | evaluate(pair, symmetry, resolution, index),
        )  # fmt: skip
    for trial in range(shard[0], trials, shard[1]):
        for entry in HALF_MAP_DEFECTS:
            if only and entry.name not in only:
                continue
            base: tuple[SimulatedMap, float] | None = None
            for dose in entry.doses:
                key = f"{entry.name}/{dose:g}/{trial}"
                if key in done:
                    continue
                base = base or faulty_base(trial)
                record(key, evaluate(entry(base[0], dose, seed=trial), "C1", base[1], trial))


def summarise() -> None:
    lines = [json.loads(line) for line in CHECKPOINT.open()]
    sound = [line for line in lines if line["key"].startswith("sound/")]
    wrong = [line for line in sound if line["named"]]
    low, high = binomial_interval(len(wrong), len(sound))
    outcomes = Counter(line["outcome"] for line in sound)
    print(f"sound pairs {len(sound)}: named {len(wrong)} ({low:.3f} to {high:.3f}); {dict(outcomes)}")
    variants = {
        variant: {
            "pairs": len(of := [line for line in sound if line["variant"] == variant]),
            "named": sum(bool(line["named"]) for line in of),
            "inconclusive": sum(line["outcome"] == "inconclusive" for line in of),
        }
        for variant in VARIANTS
    }
    for variant, counts in variants.items():
        print(f"  {variant:12s} {counts}")
    for line in wrong:
        print("  ", line["key"], line["variant"], line["named"])
    faults: dict[str, dict[str, object]] = {}
    for entry in HALF_MAP_DEFECTS:
        doses: dict[str, object] = {}
        for dose in entry.doses:
            of = [line for line in lines if line["key"].startswith(f"{entry.name}/{dose:g}/")]
            if not of:
                continue
            hits = sum(entry.finding in line["named"] for line in of)
            low, high = binomial_interval(hits, len(of))
            others = Counter(n for line in of for n in line["named"] if n != entry.finding)
            doses[f"{dose:g}"] = {
                "trials": len(of),
                "named": hits,
                "rate": hits / len(of),
                "interval": [round(low, 4), round(high, 4)],
                "also_named": dict(others),
            }
            print(f"{entry.name:24s} {dose:6g}  {hits}/{len(of)}  {dict(others) or ''}")
        if doses:
            faults[entry.name] = {"dose": entry.dose, "finding": entry.finding, "doses": doses}
    low, high = binomial_interval(len(wrong), len(sound))
    content = {
        "command": "python benchmarks/forensics.py",
        "measured_on": "pairs of simulated half maps of invented proteins, given contour level",
        "version": __version__,
        "sound": {
            "pairs": len(sound),
            "named": len(wrong),
            "rate": len(wrong) / len(sound),
            "interval": [round(low, 4), round(high, 4)],
            "inconclusive": outcomes["inconclusive"],
            "variants": variants,
        },
        "faults": faults,
    }
    RESULT.write_text(json.dumps(content, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sound", type=int, default=0, help="number of sound pairs")
    parser.add_argument("--trials", type=int, default=0, help="of each fault at each dose")
    parser.add_argument("--only", nargs="*", default=[], help="names of faults")
    parser.add_argument("--shard", default="0/1", help="i/n: the i-th of n processes that share the work")
    parser.add_argument("--summary", action="store_true")
    arguments = parser.parse_args()
    for name in arguments.only:
        half_map_defect(name)
    if arguments.summary:
        summarise()
        return
    first, count = map(int, arguments.shard.split("/"))
    run(arguments.sound, arguments.trials, (first, count), arguments.only)


if __name__ == "__main__":
    main()
