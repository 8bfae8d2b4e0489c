"""Measure how right checks 0.d, 0.f and 0.g are on maps whose B-factors and occupancies are planted.

    python benchmarks/calibrate_b_factor.py run MODELS   # about 20 minutes of one core; resumes where it stopped
    python benchmarks/calibrate_b_factor.py summary      # writes benchmarks/results/b_factor.json and prints it

MODELS is a folder of atomic models (PDB or mmCIF). Those behind the reference spectrum are left out: none that the
checks know is used to judge them. Every map has noise from its own seed, solvent around it, and its own padding.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from veritem.checks.base import Check, judge
from veritem.checks.level_0.global_b_factor import GlobalBFactor
from veritem.checks.level_0.local_b_factor import LocalBFactor
from veritem.checks.level_0.local_occupancy import LocalOccupancy
from veritem.errors import Inconclusive, NotApplicable
from veritem.numerics.density_map import DensityMap
from veritem.numerics.masks import label_components
from veritem.numerics.statistics import binomial_interval
from veritem.run.execute import Runner
from veritem.run.plan import make_plan
from veritem.simulation.half_maps import SimulatedMap, simulate_map
from veritem.simulation.models import AtomicModel, ideal_protein, load_model
from veritem.simulation.noise import low_passed_noise
from veritem.simulation.phantoms import two_domain

ROOT = Path(__file__).resolve().parent.parent
CHECKPOINT = ROOT / "benchmarks" / "results" / "b_factor_maps.jsonl"
RESULT = ROOT / "benchmarks" / "results" / "b_factor.json"
TABLE = ROOT / "src" / "veritem" / "derived" / "data" / "reference_spectrum.csv"

PLANTED = (30.0, 0.0, -30.0, -60.0, -150.0, -400.0)  # Å², of the deposited map
RESOLUTIONS = (2.8, 3.2, 3.8, 4.5)
PADDINGS = (40.0, 80.0, 120.0)  # Å
OCCUPANCIES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.8)
ATOMIC_B = 20.0
TYPICAL = -60.0  # Å², of the maps in which occupancies are planted
MODEL_SIZES = (2000, 6500)  # atoms
MODELS = 30


@dataclass(frozen=True)
class Case:
    kind: str
    planted: float
    resolution: float
    model: str
    padding: float
    seed: int

    @property
    def name(self) -> str:
        return f"{self.kind}|{self.planted:g}|{self.resolution:g}|{self.model}|{self.padding:g}|{self.seed}"


def held_out(folder: Path) -> list[Path]:
    """Models of a fitting size that are not behind the reference spectrum, evenly through the alphabet."""
    known = set(TABLE.read_text().splitlines()[1].split(",")[4:])
    fitting = []
    for path in sorted(folder.glob("*.gz")):
        if path.name.split(".")[0] not in known:
            model = load_model(path)
            # A chain of nucleic acid holds phosphorus in every residue.
            nucleic = np.count_nonzero(model.atomic_numbers == 15) > 0.01 * len(model)
            if MODEL_SIZES[0] <= len(model) <= MODEL_SIZES[1] and not nucleic:
                fitting.append(path)
    return [fitting[i] for i in np.linspace(0, len(fitting) - 1, MODELS).round().astype(int)]


def cases(paths: list[Path], runs: int) -> Iterator[Case]:
    count = 0
    for run in range(runs):
        for resolution in RESOLUTIONS:
            for planted in PLANTED:
                path = paths[count % len(paths)]
                yield Case("uniform", planted, resolution, path.name, PADDINGS[(count // 2) % 3], 1000 + count)
                count += 1
            path = paths[(7 * run + 3) % len(paths)]
            yield Case("two domains", 0.0, resolution, path.name, 60.0, 5000 + 10 * run)
        for k, occupancy in enumerate(OCCUPANCIES):
            for resolution in (3.2, 4.0):
                yield Case("one of four", occupancy, resolution, "invented", 60.0, 7000 + 10 * run + k)
        for resolution in (3.0, 4.0):
            yield Case("noise", 0.0, resolution, "none", 0.0, 9000 + run)


class Values:
    """Inputs and derived values by name, resolved as in a run."""

    def __init__(self, **inputs: Any) -> None:
        self.known: dict[str, Any] = {
            "given_contour_level": None, "molecular_weight": None, "seed": 0, "threads": 1, **inputs,
        }  # fmt: skip
        self._runner = Runner(make_plan((), self.known), self.known, {})

    def __getitem__(self, name: str) -> Any:
        return self._runner.value(name)

    def run(self, check: Check) -> tuple[Any, str]:
        """The measurement and the outcome; None where the check declined."""
        try:
            measurement = check.measure(**{name: self[name] for name in check.uses()})
        except NotApplicable:
            return None, "not applicable"
        except Inconclusive:
            return None, "inconclusive"
        return measurement, judge(check, measurement).outcome.value


def simulate(case: Case, model: AtomicModel, **changes: Any) -> SimulatedMap:
    pixel_size = min(case.resolution / 3.0, 1.3)
    size = int((np.ptp(model.positions, axis=0).max() + case.padding) / pixel_size)
    # Imaging blurs by 60 Å² or by what is planted; sharpening brings the whole to the planted value.
    blur = max(60.0, -case.planted - ATOMIC_B)
    settings: dict[str, Any] = {"atomic_b_factor": ATOMIC_B, "occupancy": 1.0} | changes
    return simulate_map(
        model, size + size % 2, pixel_size, resolution=case.resolution, b_factor=blur,
        sharpen=case.planted + ATOMIC_B + blur, seed=case.seed, **settings,
    )  # fmt: skip


def evaluate(case: Case, folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = asdict(case)
    clock = time.perf_counter()
    if case.kind == "noise":
        rng = np.random.default_rng(case.seed)
        data = low_passed_noise((96, 96, 96), 1.0, case.resolution, 1.0, rng)
        values = Values(
            density_map=DensityMap(data, 1.0), reported_resolution=case.resolution,
            given_contour_level=float(2.0 * data.std()), seed=case.seed,
        )  # fmt: skip
        # A contour level as an author of noise would choose it; the mask is whatever hangs together.
        values.known["hard_mask"] = _ball(data.shape, 20.0)
        values.known["components"] = label_components(values.known["hard_mask"])
        for check in (GlobalBFactor(), LocalBFactor(), LocalOccupancy()):
            record[check.code] = values.run(check)[1]
    else:
        record |= KINDS[case.kind](case, folder)
    record["seconds"] = round(time.perf_counter() - clock, 2)
    return record


def _ball(shape: tuple[int, ...], radius: float) -> np.ndarray:
    axes = np.meshgrid(*(np.arange(n) - n // 2 for n in shape), indexing="ij")
    return sum(a**2 for a in axes) <= radius**2


def uniform(case: Case, folder: Path) -> dict[str, Any]:
    model = load_model(folder / case.model)
    simulated = simulate(case, model)
    values = Values(
        density_map=simulated.density_map, reported_resolution=case.resolution,
        molecular_weight=model.molecular_weight, seed=case.seed,
    )  # fmt: skip
    found: dict[str, Any] = {}
    measurement, found["0.d"] = values.run(GlobalBFactor())
    if measurement is not None and measurement.line is not None:
        found["global"] = [measurement.b_factor.value, *measurement.b_factor.interval]
    measurement, found["0.f"] = values.run(LocalBFactor())
    if measurement is not None:
        found["local"] = [measurement.median_b_factor.value, *measurement.median_b_factor.interval]
        known = measurement.lines.determinable
        b_factors = measurement.lines.b_factor[known].astype(float)
        found["local_spread"] = float(1.4826 * np.median(np.abs(b_factors - np.median(b_factors))))
        found["local_error"] = float(np.median(measurement.lines.standard_error[known]))
    measurement, found["0.g"] = values.run(LocalOccupancy())
    if measurement is not None:
        found["segments"] = [round(part.occupancy, 3) for part in measurement.parts]
    return found


def two_domains(case: Case, folder: Path) -> dict[str, Any]:
    model, _ = two_domain(load_model(folder / case.model), "plane", b_factors=(50.0, 200.0))
    simulated = simulate(case, model, atomic_b_factor=None)
    values = Values(
        density_map=simulated.density_map, reported_resolution=case.resolution,
        molecular_weight=model.molecular_weight, seed=case.seed,
    )  # fmt: skip
    measurement, outcome = values.run(LocalBFactor())
    if measurement is None:
        return {"0.f": outcome}
    bank, b_factor = measurement.bank, measurement.lines.b_factor
    across = bank.positions()[:, 2] + bank.density.origin[0] - simulated.model.centre[0]
    sides = [b_factor[np.isfinite(b_factor) & (sign * across > 12.0)] for sign in (-1, 1)]
    if min(side.size for side in sides) < 500:
        return {"0.f": outcome}
    return {"0.f": outcome, "difference": float(np.median(sides[1]) - np.median(sides[0]))}


def one_of_four(case: Case, folder: Path) -> dict[str, Any]:
    model = ideal_protein(seed=case.seed)
    weak = model.chains == 0
    # A map that decays a little, as most do: sharpened to B = 0 its density is so peaked that any contour breaks it.
    decaying = replace(case, planted=TYPICAL)
    simulated = simulate(decaying, model, occupancy=np.where(weak, case.planted, 1.0))
    values = Values(
        density_map=simulated.density_map, reported_resolution=case.resolution,
        # As an author sets it who wants to see the weak subunit too.
        given_contour_level=0.5 * simulated.truth.contour_level, seed=case.seed,
    )  # fmt: skip
    measurement, outcome = values.run(LocalOccupancy())
    found: dict[str, Any] = {"0.g": outcome}
    if measurement is not None:
        atoms = simulated.model.positions
        parts: dict[bool, list[float]] = {True: [], False: []}
        for part in measurement.parts:
            near = weak[np.linalg.norm(atoms - np.array(part.centre), axis=1) < 12.0]
            if near.size and not 0.1 < near.mean() < 0.9:
                parts[bool(near.mean() > 0.5)].append(round(part.occupancy, 3))
        found |= {"weak": parts[True], "others": parts[False]}
        in_mask = np.unravel_index(measurement.bank.index, measurement.bank.density.shape)
        places = np.stack(in_mask[::-1], axis=1) * measurement.bank.density.pixel_size
        places = places + np.array(measurement.bank.density.origin)
        some = places[:: max(1, len(places) // 400)]
        nearest = np.array([weak[np.argmin(((atoms - p) ** 2).sum(axis=1))] for p in some])
        found["weak_share_of_mask"] = round(float(nearest.mean()), 3)
    return found


KINDS: dict[str, Callable[[Case, Path], dict[str, Any]]] = {
    "uniform": uniform,
    "two domains": two_domains,
    "one of four": one_of_four,
}


def run(arguments: argparse.Namespace) -> None:
    CHECKPOINT.parent.mkdir(exist_ok=True)
    done = set()
    if CHECKPOINT.exists():
        for line in CHECKPOINT.read_text().splitlines():
            record = json.loads(line)
            done.add(Case(**{k: record[k] for k in Case.__dataclass_fields__}).name)
    paths = held_out(arguments.models)
    with CHECKPOINT.open("a") as stream:
        for case in cases(paths, arguments.runs):
            if case.name not in done:
                stream.write(json.dumps(evaluate(case, arguments.models)) + "\n")
                stream.flush()


def share(hits: list[bool]) -> dict[str, Any]:
    if not hits:
        return {"maps": 0}
    low, high = binomial_interval(sum(hits), len(hits))
    return {"maps": len(hits), "share": round(sum(hits) / len(hits), 4), "interval_95": [round(low, 4), round(high, 4)]}


def summary() -> None:
    records = [json.loads(line) for line in CHECKPOINT.read_text().splitlines()]
    even = [r for r in records if r["kind"] == "uniform"]
    result: dict[str, Any] = {"maps": len(records)}
    for key, code in (("global", "0.d"), ("local", "0.f")):
        measured = [r for r in even if key in r]
        errors = {p: [r[key][0] - p for r in measured if r["planted"] == p] for p in PLANTED}
        result[code] = {
            "interval_holds_truth": share([r[key][1] <= r["planted"] <= r[key][2] for r in measured]),
            "within_10_percent_or_interval": share(
                [
                    abs(r[key][0] - r["planted"]) <= 0.1 * abs(r["planted"]) or r[key][1] <= r["planted"] <= r[key][2]
                    for r in measured
                ]
            ),
            "error": {
                f"{p:g}": {"mean": round(float(np.mean(e)), 1), "sd": round(float(np.std(e)), 1), "maps": len(e)}
                for p, e in errors.items()
                if e
            },
            "half_width_of_interval": {
                f"{d:g} Å": round(
                    float(np.median([(r[key][2] - r[key][1]) / 2 for r in measured if r["resolution"] == d] or [0])), 1
                )
                for d in RESOLUTIONS
            },
            "false_alarms_sound": share([r[code] == "warning" for r in even if -200 < r["planted"] < 1]),
            "warned": {f"{p:g}": share([r[code] == "warning" for r in even if r["planted"] == p]) for p in PLANTED},
            "outcomes": {
                f"{p:g}": {o: sum(r[code] == o for r in even if r["planted"] == p) for o in {r[code] for r in even}}
                for p in PLANTED
            },
        }
    spread = [(r["local_spread"], r["local_error"], r["resolution"]) for r in even if "local_spread" in r]
    result["0.f"]["scatter_over_standard_error"] = {
        f"{d:g} Å": round(float(np.median([s / e for s, e, res in spread if res == d] or [0])), 2) for d in RESOLUTIONS
    }
    differences = [r["difference"] for r in records if r["kind"] == "two domains" and "difference" in r]
    result["0.f"]["two_domains_planted_-150"] = {
        "maps": len(differences),
        "mean": round(float(np.mean(differences)), 1),
        "sd": round(float(np.std(differences)), 1),
        "within_30": share([abs(d + 150.0) <= 30.0 for d in differences]),
    }
    logs = [float(np.log(max(o, 1e-3))) for r in even for o in r.get("segments", ())]
    sound = [r for r in even if "segments" in r]
    result["0.g"] = {
        "false_alarms_uniform": share([r["0.g"] == "warning" for r in sound]),
        "declined": share([r["0.g"] in ("not applicable", "inconclusive") for r in even]),
        "sd_of_ln_occupancy_between_segments": round(float(np.std(logs)), 3),
        "one_of_four": {},
    }
    for q in OCCUPANCIES:
        some = [r for r in records if r["kind"] == "one of four" and r["planted"] == q]
        weak = [o for r in some for o in r.get("weak", ())]
        others = [o for r in some for o in r.get("others", ())]
        result["0.g"]["one_of_four"][f"{q:g}"] = {
            "warned": share([r["0.g"] == "warning" for r in some]),
            "found": share([bool(r.get("weak")) for r in some]),
            "weak_mean": round(float(np.mean(weak)), 3) if weak else None,
            "weak_sd": round(float(np.std(weak)), 3) if weak else None,
            "others_mean": round(float(np.mean(others)), 3) if others else None,
            "others_sd": round(float(np.std(others)), 3) if others else None,
        }
    noise = [r for r in records if r["kind"] == "noise"]
    result["noise"] = {
        code: {o: sum(r[code] == o for r in noise) for o in {r[code] for r in noise}} for code in ("0.d", "0.f", "0.g")
    }
    RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(json.dumps(result, indent=1, ensure_ascii=False))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("models", type=Path)
    running.add_argument("--runs", type=int, default=10)
    commands.add_parser("summary")
    arguments = parser.parse_args()
    if arguments.command == "run":
        run(arguments)
    else:
        summary()


if __name__ == "__main__":
    main()
