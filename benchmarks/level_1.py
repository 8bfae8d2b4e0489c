"""Wall time, CPU time and peak memory of Level 1, each box in a process of its own, beside budget and other programs.

    python benchmarks/level_1.py [--boxes 128 256 400] [--threads 2] [--write benchmarks/results/level_1.json]

Seconds of a check hold the shared values that it is the first to need. The first run in an environment also compiles
the kernels; it is done once beforehand on a small box and not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

# Box: (seconds, GB) on two cores, for Level 0 and Level 1 together.
BUDGET = {128: (None, None), 256: (180.0, 6.0), 400: (None, None)}
FSC_BUDGET = 2.0  # seconds at 256³, for the global FSC with mask, correction and intervals (1.a)

# CPU seconds of other programs on pairs of 128³ and 256³ voxels, on the same kind of processor; see other_programs.py.
OTHER_PROGRAMS: dict[str, dict[str, float]] = {
    "RELION postprocess": {"128": 0.6, "256": 7.1},
    "Bsoft bresolve": {"128": 0.2, "256": 2.6},
    "EMDA halffsc": {"128": 1.7, "256": 9.7},
    "Servalcat fsc": {"128": 2.4, "256": 7.1},
    "SPoC FDR-FSC": {"128": 4.8, "256": 35.6},
    "Bsoft blocres (every voxel)": {"128": 579.0},
    "SPoC local resolution (every third voxel)": {"128": 49.0},
    "RELION local resolution": {"128": 196.0},
    "ResMap": {"128": 73.0},
    "Xmipp MonoRes": {"128": 8.1, "256": 189.0},
    "Xmipp FSO": {"128": 1.4, "256": 10.7},
    "3DFSC": {"128": 67.0, "256": 454.0},
}
# What stands beside which check.
BESIDE = {
    "1.a": ("RELION postprocess", "Bsoft bresolve", "EMDA halffsc", "Servalcat fsc"),
    "1.b": ("SPoC FDR-FSC",),
    "1.c": ("Bsoft blocres (every voxel)", "SPoC local resolution (every third voxel)", "RELION local resolution"),
    "1.d": ("ResMap",),
    "1.e": ("Xmipp MonoRes",),
    "1.g": ("Xmipp FSO",),
    "1.h": ("3DFSC",),
}

MEASURE = """
import json, resource, sys, time
clock, cpu = time.perf_counter(), time.process_time()
from veritem import api
options = json.loads(sys.argv[1])
taken, begun = {}, {}
def watch(event):
    if event.kind == "check started":
        begun[event.name] = time.process_time()
    elif event.kind == "check finished":
        taken[event.name] = time.process_time() - begun[event.name]
result = api.validate(progress=watch, **options)
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"wall": time.perf_counter() - clock, "cpu": usage.ru_utime + usage.ru_stime,
                  "peak_gb": usage.ru_maxrss / 2**20, "checks_cpu": taken,
                  "checks": {c.code: c.seconds for c in result.checks},
                  "outcomes": {c.code: c.outcome.value for c in result.checks}}))
"""


def make_pair(box: int, folder: Path) -> dict[str, object]:
    """A made-up protein that fills the box as particles usually do, with its half maps; returns the options."""
    from veritem.simulation.half_maps import simulate_map
    from veritem.simulation.models import ideal_protein
    from veritem.submission.map_writer import write_map

    model = ideal_protein(residues=int(300 * (box / 128) ** 2), subunits=4, seed=1)
    simulated = simulate_map(model, box, 1.0, resolution=3.2, seed=1)
    paths = {"map": simulated.density_map, "half_map_1": simulated.half_1, "half_map_2": simulated.half_2}
    for name, density_map in paths.items():
        write_map(folder / f"{name}_{box}.mrc", density_map.data, density_map.pixel_size, density_map.origin)
    options: dict[str, object] = {name: str(folder / f"{name}_{box}.mrc") for name in paths}
    return options | {"contour_level": float(f"{simulated.truth.contour_level:.6g}"), "resolution": 3.2}


def measure(options: dict[str, object]) -> dict[str, object]:
    run = subprocess.run([sys.executable, "-c", MEASURE, json.dumps(options)], capture_output=True, text=True)
    if run.returncode != 0:
        raise RuntimeError(run.stderr[-2000:])
    return dict(json.loads(run.stdout.strip().splitlines()[-1]))


def half_map_codes() -> list[str]:
    from veritem.checks.registry import CHECKS

    return [check.code for check in CHECKS if "half_maps" in check.needs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--boxes", nargs="+", type=int, default=sorted(BUDGET))
    parser.add_argument("--threads", type=int, help="cores to use; all by default")
    parser.add_argument("--write", type=Path, help="also write the figures as JSON")
    arguments = parser.parse_args()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    figures: dict[str, object] = {"machine": platform.platform(), "cores": arguments.threads or cores}
    codes = half_map_codes()
    rows: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measure(make_pair(64, folder) | {"output": str(folder / "warm-up")})
        for box in arguments.boxes:
            # Simulated in a process of its own: its memory is not the validation's.
            options = json.loads(
                subprocess.run(
                    [sys.executable, __file__, "--make", str(box), str(folder)],
                    capture_output=True, text=True, check=True,
                ).stdout.splitlines()[-1]
            )  # fmt: skip
            options |= {"threads": arguments.threads} if arguments.threads else {}
            alone = measure(options | {"include": codes, "output": str(folder / f"level_1_{box}")})
            both = measure(options | {"output": str(folder / f"both_{box}")})
            rows[str(box)] = {"level_1": alone, "both": both}
            _show(box, alone, both)
    figures["boxes"] = rows
    if arguments.write:
        arguments.write.parent.mkdir(parents=True, exist_ok=True)
        arguments.write.write_text(json.dumps(figures, indent=1) + "\n")


def _show(box: int, alone: dict[str, object], both: dict[str, object]) -> None:
    seconds, memory = BUDGET.get(box, (None, None))
    for title, found in (("Level 1", alone), ("Level 0 and 1", both)):
        print(
            f"{box}³ {title}: {found['wall']:.1f} s, {found['cpu']:.1f} CPU s, {found['peak_gb']:.2f} GB"
            + (f" (budget of both {seconds:.0f} s, {memory:.0f} GB)" if seconds and memory else "")
        )
    taken: dict[str, float] = alone["checks_cpu"]  # type: ignore[assignment]
    for code, cpu in taken.items():
        others = [f"{p} {OTHER_PROGRAMS[p][str(box)]:g}" for p in BESIDE.get(code, ()) if str(box) in OTHER_PROGRAMS[p]]
        budget = f" (budget {FSC_BUDGET:g} s)" if code == "1.a" and box == 256 else ""
        print(f"    {code} {cpu:.1f} CPU s{budget}" + (f"; {', '.join(others)}" if others else ""), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make"]:
        print(json.dumps(make_pair(int(sys.argv[2]), Path(sys.argv[3]))))
    else:
        main()
