"""Measure what the checks of half maps say of half maps whose answer is known: bias, spread, coverage.

    python benchmarks/level_1_truth.py [--seeds 3] [--part 0 --of 2] [--only global ...]    # resumes where it stopped
    python benchmarks/level_1_truth.py --summary                     # writes benchmarks/results/level_1_truth.json

global: uniform pairs; the resolution of 1.a and the limit of 1.b against the expected FSC inside the check's own mask.
local: regions of known local resolution; each method's values deep inside every region against what the half maps
    hold there, and its order of all voxels against the planted one.
noise: the same, with the signal left out of both halves: what a method finds where nothing is.
directions: crowded views and missing cones; what 1.f, 1.g and 1.h read against the planted cut-offs.
angles: angles that are wrong by up to three degrees; what 1.f makes of a blur that grows with the radius.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from level_1_rates import half_map_checks, inputs_of, sound_pair, usual_decay, weighted_by_fsc
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.stats import spearmanr

from veritem.checks.base import Check, judge, quantities_of
from veritem.checks.level_1.local_resolution import LocalResolutionCheck
from veritem.errors import Inconclusive, NotApplicable
from veritem.numerics.density_map import DensityMap
from veritem.numerics.directions import hemisphere
from veritem.numerics.fourier import frequency_grid, irfftn, rfftn
from veritem.numerics.shells import power, shell_means
from veritem.numerics.statistics import binomial_interval
from veritem.run.execute import Runner
from veritem.run.plan import make_plan
from veritem.simulation.anisotropy import Anisotropy, MissingCone, RotationalJitter, directional_fsc
from veritem.simulation.half_map_defects import raw_signal
from veritem.simulation.half_maps import SimulatedMap, first_crossing, simulate_map
from veritem.simulation.local_resolution import BORDER, LocalTruth, simulate_local_resolution
from veritem.simulation.models import AtomicModel, ideal_protein

ROOT = Path(__file__).resolve().parent.parent
CHECKPOINT = ROOT / "benchmarks" / "results" / "level_1_truth.jsonl"
RESULT = CHECKPOINT.with_suffix(".json")
BOX, PIXEL_SIZE = 96, 1.25
RESIDUES, SUBUNITS = 260, 4
PAIRS = 20  # uniform pairs per seed
DIRECTIONS = 240
CONE = 17.0  # degrees
Record = dict[str, Any]


@dataclass(frozen=True)
class LocalCase:
    name: str
    resolutions: tuple[float, ...]
    split: str
    kind: str

    @property
    def finest(self) -> float:
        return min(self.resolutions)


LOCAL_CASES = (
    LocalCase("uniform, 3.2 Å", (3.2,), "slabs", "b_factor"),
    LocalCase("uniform, 5 Å", (5.0,), "slabs", "b_factor"),
    LocalCase("uniform, 8 Å", (8.0,), "slabs", "b_factor"),
    LocalCase("two halves, 3.2 and 5 Å", (3.2, 5.0), "slabs", "b_factor"),
    LocalCase("two halves, 3.2 and 8 Å", (3.2, 8.0), "slabs", "b_factor"),
    LocalCase("two halves, 4 and 7 Å, low-passed", (4.0, 7.0), "slabs", "low_pass"),
    LocalCase("core 3.2 Å, rim 5 Å", (3.2, 5.0), "shells", "b_factor"),
    LocalCase("core 4 Å, rim 8 Å", (4.0, 8.0), "shells", "b_factor"),
)
ALONG, ACROSS = (1.0, 0.0, 0.0), (1.0, 1.0, 0.5)
DIRECTION_CASES: tuple[tuple[str, Anisotropy | None, MissingCone | None], ...] = (
    ("all directions alike", None, None),
    ("side views crowd, a = 0.3", Anisotropy(0.3, ACROSS), None),
    ("side views crowd, a = 0.6", Anisotropy(0.6, ACROSS), None),
    ("side views crowd, a = 1.2", Anisotropy(1.2, ALONG), None),
    ("top views crowd, a = -0.3", Anisotropy(-0.3, ACROSS), None),
    ("top views crowd, a = -0.6", Anisotropy(-0.6, ALONG), None),
    ("top views crowd, a = -0.9", Anisotropy(-0.9, ACROSS), None),
    ("a cone of 20° is missing", None, MissingCone(20.0, ACROSS)),
    ("a cone of 35° is missing", None, MissingCone(35.0, ALONG)),
)
ANGLES = (0.0, 1.0, 2.0, 3.0)  # degrees


class Values:
    """Inputs and derived values of a pair by name, as in a run."""

    def __init__(self, simulated: SimulatedMap, level: float, resolution: float | None, seed: int) -> None:
        self.known = inputs_of(simulated, level, resolution, seed)
        self._runner = Runner(make_plan((), self.known), self.known, {})

    def __getitem__(self, name: str) -> Any:
        return self._runner.value(name)

    def measured(self, check: Check) -> tuple[Any, Record]:
        """The measurement, None where the check could not say; and what is kept of it."""
        clock = time.process_time()
        try:
            measurement = check.measure(**{name: self[name] for name in check.uses()})
        except (Inconclusive, NotApplicable) as error:
            return None, {"outcome": type(error).__name__.lower(), "reason": str(error)}
        verdict = judge(check, measurement)
        return measurement, {
            "outcome": verdict.outcome.value,
            "warned_of": [c.quantity for c in verdict.criteria if c.outcome.value == "warning"],
            "cpu": round(time.process_time() - clock, 2),
            "quantities": {
                name: [q.value, *(q.interval or (None, None))] for name, q in quantities_of(measurement).items()
            },
        }


# --- the truth -----------------------------------------------------------------------------------------------------


def expected_crossing(simulated: SimulatedMap, mask: NDArray[np.float32], threshold: float) -> float | None:
    """Å at which the expected FSC inside a mask falls to a threshold, from the known signal and the known noise."""
    truth, shape = simulated.truth, simulated.half_1.shape
    assert truth.ssnr is not None
    signal = raw_signal(simulated)
    whole, _, _ = shell_means(power(rfftn(signal)), shape)
    noise = whole / (truth.ssnr * float(np.mean(truth.mask)))
    inside = (signal - np.average(signal, weights=mask)).astype(np.float32) * mask
    masked, _, _ = shell_means(power(rfftn(inside)), shape)
    ssnr = masked / (noise * float(np.mean(np.square(mask, dtype=np.float64))))
    return first_crossing(truth.frequency, ssnr / (1 + ssnr), threshold)


def held_resolutions(simulated: SimulatedMap, truth: LocalTruth) -> list[float | None]:
    """Å per region: what the half maps hold deep inside it, from the known signal and the known noise.

    What was planted is meant with the SSNR of the whole mask; inside the molecule more of it is signal. The intact
    signal's power among the region's voxels, band by band, over the noise's, times the region's own loss.
    """
    shape, px = simulated.half_1.shape, simulated.half_1.pixel_size
    assert simulated.truth.ssnr is not None
    signal = raw_signal(simulated)
    transform = rfftn(signal)
    whole, _, held = shell_means(power(transform), shape)
    noise = whole / (simulated.truth.ssnr * float(np.mean(simulated.truth.mask)))
    inside = [deep_inside(simulated, truth, region + 1) for region in range(len(truth.resolutions))]
    frequencies, grid, shells = np.arange(0.04, 0.5 / px, 0.01), frequency_grid(shape, px), simulated.truth.frequency
    ssnr: list[list[float]] = [[] for _ in inside]
    for f in frequencies:
        band = irfftn(transform * np.exp(-((grid - f) ** 2) / 2e-4), shape)
        # Power per coefficient to power per voxel: every coefficient counts with its mate.
        noise_there = 2 * float((noise * held * np.exp(-((shells - f) ** 2) / 1e-4)).sum()) / signal.size**2
        for curve, own in zip(ssnr, inside, strict=True):
            curve.append(float(np.mean(np.square(band[own], dtype=np.float64))) / noise_there)
    found = []
    for curve, gain in zip(ssnr, truth.gains, strict=True):
        left = np.array(curve) * np.asarray(gain(frequencies)) ** 2
        found.append(first_crossing(np.r_[0.0, frequencies], np.r_[1.0, left / (1 + left)]))
    return found


def at_part(values: NDArray, grid: DensityMap, part: Any) -> NDArray:
    """Values on the map's grid at the voxels of a HalfPart, nearest voxel."""
    offset = np.subtract(part.density.origin, grid.origin)[::-1]
    index = np.rint((part.positions() + offset) / grid.pixel_size).astype(int)
    return values[tuple(np.clip(index, 0, np.array(grid.shape) - 1).T)]


def deep_inside(simulated: SimulatedMap, truth: LocalTruth, region: int) -> NDArray[np.bool_]:
    """The molecule's voxels of a region that lie further from the others than the border reaches."""
    others = (truth.regions != region) & (truth.regions > 0)
    if not others.any():
        return simulated.truth.molecule.copy()
    away = distance_transform_edt(~others, sampling=simulated.density_map.pixel_size)
    return simulated.truth.molecule & (away > BORDER)


# --- the cases -----------------------------------------------------------------------------------------------------


def global_records(seed: int) -> Iterator[Record]:
    for index in range(1000 + PAIRS * seed, 1000 + PAIRS * (seed + 1)):
        simulated, said = sound_pair(index, [])
        values = Values(simulated, said["contour_level"], said["resolution"], index)
        truth = expected_crossing(simulated, values["soft_mask"], 0.143)
        half = expected_crossing(simulated, values["soft_mask"], 0.5)
        for check in half_map_checks():
            if check.code in ("1.a", "1.b"):
                _, kept = values.measured(check())
                yield {"case": f"pair {index}", "code": check.code, "truth": truth, "truth_at_half": half, **kept}


def local_records(seed: int) -> Iterator[Record]:
    model = ideal_protein(RESIDUES, SUBUNITS, seed=60 + seed)
    for case in LOCAL_CASES:
        simulated, truth = simulate_local_resolution(
            model, BOX, PIXEL_SIZE, case.resolutions, split=case.split, kind=case.kind, seed=seed,
            **_usual(model, case.finest),
        )  # fmt: skip
        simulated = weighted_by_fsc(simulated)
        values = Values(simulated, simulated.truth.contour_level, case.finest, seed)
        for method in _local_methods():
            measurement, kept = values.measured(method())
            record: Record = {"case": case.name, "code": method.code, **kept}
            if measurement is not None:
                record |= _local_comparison(measurement.local, simulated, truth)
            yield record


def _local_comparison(local: Any, simulated: SimulatedMap, truth: LocalTruth) -> Record:
    known = local.determinable
    there = at_part(truth.resolution, simulated.density_map, local.part)
    both = known & np.isfinite(there)
    regions: list[Record] = []
    held = held_resolutions(simulated, truth)
    for region, goal in enumerate(truth.resolutions, 1):
        own = at_part(deep_inside(simulated, truth, region), simulated.density_map, local.part)
        values = local.resolution[own & known].astype(np.float64)
        if not values.size:
            regions.append({"planted": goal, "truth": held[region - 1], "voxels": 0, "determinable": 0.0})
            continue
        low, median, high = (float(v) for v in np.percentile(values, [10, 50, 90]))
        regions.append(
            {"planted": goal, "truth": held[region - 1], "voxels": int(own.sum()),
             "determinable": float(known[own].mean()), "low": low, "median": median, "high": high}
        )  # fmt: skip
    varied = len(truth.resolutions) > 1 and both.sum() > 2
    rank = float(spearmanr(local.resolution[both], there[both]).statistic) if varied else None
    return {"regions": regions, "rank_correlation": rank, "determinable": float(known.mean())}


def noise_records(seed: int) -> Iterator[Record]:
    model = ideal_protein(RESIDUES, SUBUNITS, seed=60 + seed)
    for resolution in (3.5, 6.0):
        sound = weighted_by_fsc(
            simulate_map(model, BOX, PIXEL_SIZE, resolution, seed=seed, **_usual(model, resolution))
        )
        empty = replace(sound, **{
            name: replace(half, data=half.data - raw_signal(sound))
            for name, half in (("half_1", sound.half_1), ("half_2", sound.half_2))
        })  # fmt: skip
        values = Values(empty, sound.truth.contour_level, resolution, seed)
        for method in _local_methods():
            measurement, kept = values.measured(method())
            record: Record = {"case": f"noise as of {resolution:g} Å", "code": method.code, **kept}
            if measurement is not None:
                local = measurement.local
                fine = local.determinable & (np.nan_to_num(local.resolution, nan=np.inf) < 15.0)
                record |= {"determinable": float(local.determinable.mean()), "finer_than_15": float(fine.mean())}
            yield record


def direction_records(seed: int) -> Iterator[Record]:
    model = ideal_protein(RESIDUES, SUBUNITS, seed=60 + seed)
    for name, crowded, cone in DIRECTION_CASES:
        made = simulate_map(
            model, BOX, PIXEL_SIZE, 3.8, seed=100 + seed, anisotropy=crowded, degrade=cone, **_usual(model, 3.8)
        )
        simulated = weighted_by_fsc(made)
        cutoff = 1.0 / directional_fsc(simulated.truth).resolution(hemisphere(DIRECTIONS), CONE)
        truth = {
            "best": float(1.0 / cutoff.max()),
            "worst": float(1.0 / cutoff.min()) if cutoff.min() > 0 else None,
            "anisotropy": float((cutoff.max() - cutoff.min()) / cutoff.mean()),
        }
        values = Values(simulated, simulated.truth.contour_level, simulated.truth.resolution, seed)
        for check in half_map_checks():
            if check.code in ("1.f", "1.g", "1.h"):
                _, kept = values.measured(check())
                yield {"case": name, "code": check.code, "truth": truth, **kept}


def angle_records(seed: int) -> Iterator[Record]:
    model = ideal_protein(RESIDUES, SUBUNITS, seed=60 + seed)
    for degrees in ANGLES:
        usual = _usual(model, 3.5)
        wrong = RotationalJitter(model, degrees, b_factor=usual["b_factor"], seed=seed) if degrees else None
        simulated = weighted_by_fsc(simulate_map(model, BOX, PIXEL_SIZE, 3.5, seed=200 + seed, degrade=wrong, **usual))
        values = Values(simulated, simulated.truth.contour_level, simulated.truth.resolution, seed)
        radius = float(np.percentile(np.linalg.norm(model.positions - model.centre, axis=1), 90))
        truth = {"tangential_b_at_rim": float(wrong.tangential_b(radius)) if wrong else 0.0, "rim": radius}
        for check in half_map_checks():
            if check.code == "1.f":
                _, kept = values.measured(check())
                yield {"case": f"angles wrong by {degrees:g}°", "code": check.code, "truth": truth, **kept}


def _usual(model: AtomicModel, resolution: float) -> dict[str, float]:
    """The decay with which a map of this resolution usually comes, and half of it undone."""
    decay = usual_decay(model, resolution)
    return {"b_factor": decay, "sharpen": 0.5 * decay}


def _local_methods() -> list[type[LocalResolutionCheck]]:
    return [check for check in half_map_checks() if issubclass(check, LocalResolutionCheck)]


KINDS = {
    "global": global_records,
    "local": local_records,
    "noise": noise_records,
    "directions": direction_records,
    "angles": angle_records,
}


def run(seeds: int, kinds: list[str], part: tuple[int, int], checkpoint: Path) -> None:
    checkpoint.parent.mkdir(exist_ok=True)
    done = {(r["kind"], r["seed"]) for r in _records(checkpoint)}
    work = [(kind, seed) for seed in range(seeds) for kind in kinds]
    for kind, seed in work[part[0] :: part[1]]:
        if (kind, seed) in done:
            continue
        clock = time.process_time()
        # A seed is written whole, so that one that was interrupted is done again.
        found = [{"kind": kind, "seed": seed, **record} for record in KINDS[kind](seed)]
        with checkpoint.open("a") as stream:
            stream.write("".join(json.dumps(record) + "\n" for record in found))
        print(f"{kind}, seed {seed}: {len(found)} records, {time.process_time() - clock:.0f} CPU s", flush=True)


def _records(checkpoint: Path) -> list[Record]:
    return [json.loads(line) for line in checkpoint.open()] if checkpoint.exists() else []


# --- summary -------------------------------------------------------------------------------------------------------


def summarise(checkpoint: Path) -> Record:
    records = _records(checkpoint)
    summary: Record = {"command": "python benchmarks/level_1_truth.py", "box": BOX, "pixel_size": PIXEL_SIZE}
    for kind, summary_of in (
        ("global", _global_summary), ("local", _local_summary), ("noise", _noise_summary),
        ("directions", _quantity_summary), ("angles", _quantity_summary),
    ):  # fmt: skip
        summary[kind] = summary_of([r for r in records if r["kind"] == kind])
    return summary


def _by(records: list[Record], *keys: str) -> dict[tuple[Any, ...], list[Record]]:
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        groups.setdefault(tuple(record[key] for key in keys), []).append(record)
    return groups


def _global_summary(records: list[Record]) -> Record:
    """1.a: measured over expected crossing, and how often the interval holds it; at 0.143 and at 0.5."""
    found: Record = {}
    for name, truth, label in (("resolution", "truth", "at 0.143"), ("half_resolution", "truth_at_half", "at 0.5")):
        ratios, held = [], []
        for record in records:
            value, low, high = record.get("quantities", {}).get(name, (None, None, None))
            if record["code"] == "1.a" and value is not None and record[truth] is not None:
                ratios.append(value / record[truth])
                held += [low <= record[truth] <= high] if low is not None else []
        if ratios:
            low, high = binomial_interval(sum(held), len(held)) if held else (0.0, 1.0)
            found[label] = {
                "pairs": len(ratios),
                "median_ratio": float(np.median(ratios)),
                "spread": [float(v) for v in np.percentile(ratios, [5, 95])],
                "interval_holds": float(np.mean(held)) if held else None,
                "interval_holds_95": [low, high],
            }
    return found


def _local_summary(records: list[Record]) -> Record:
    """Per case and method: the mean over seeds of each region's median and spread, of the order, of what is known."""
    found: Record = {}
    for (case, code), group in _by(records, "case", "code").items():
        told = [r for r in group if "regions" in r]
        if not told:
            found.setdefault(case, {})[code] = {"outcomes": [r["outcome"] for r in group]}
            continue
        regions = []
        for i, region in enumerate(told[0]["regions"]):
            known = [r["regions"][i] for r in told if "median" in r["regions"][i]]
            regions.append(
                {"planted": region["planted"]}
                | {name: _mean(r["regions"][i][name] for r in told) for name in ("truth", "determinable")}
                | {name: _mean(k[name] for k in known) for name in ("low", "median", "high")}
            )
        found.setdefault(case, {})[code] = {
            "seeds": len(told),
            "regions": regions,
            "rank_correlation": _mean(r["rank_correlation"] for r in told),
            "determinable": _mean(r["determinable"] for r in told),
            "outcomes": [r["outcome"] for r in group],
        }
    return found


def _noise_summary(records: list[Record]) -> Record:
    found: Record = {}
    for (case, code), group in _by(records, "case", "code").items():
        found.setdefault(case, {})[code] = {
            "seeds": len(group),
            "determinable": _mean(r.get("determinable") for r in group),
            "finer_than_15": _mean(r.get("finer_than_15") for r in group),
            "outcomes": [r["outcome"] for r in group],
        }
    return found


def _quantity_summary(records: list[Record]) -> Record:
    """Per case and check: the truth, the mean over seeds of each quantity, how often it warned."""
    found: Record = {}
    for (case, code), group in _by(records, "case", "code").items():
        told = [r["quantities"] for r in group if "quantities" in r]
        names = list(dict.fromkeys(name for quantities in told for name in quantities))
        found.setdefault(case, {})[code] = {
            "seeds": len(group),
            "truth": {k: _mean(r["truth"][k] for r in group) for k in group[0]["truth"]},
            "quantities": {name: _mean(q[name][0] for q in told if name in q) for name in names},
            "outcomes": [r["outcome"] for r in group],
        }
    return found


def _mean(values: Any) -> float | None:
    known = [float(v) for v in values if isinstance(v, int | float) and np.isfinite(v)]
    return float(np.mean(known)) if known else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--part", type=int, default=0, help="which of the processes that share the work, from 0")
    parser.add_argument("--of", type=int, default=1, help="how many processes share it")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, help="another file for trials")
    parser.add_argument("--summary", action="store_true", help="write the result from what has been measured")
    arguments = parser.parse_args()
    if arguments.summary:
        RESULT.write_text(json.dumps(summarise(arguments.checkpoint), indent=1) + "\n")
    else:
        run(arguments.seeds, arguments.only, (arguments.part, arguments.of), arguments.checkpoint)


if __name__ == "__main__":
    main()
