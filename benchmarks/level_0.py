"""Wall time and peak memory of Level 0, each box in a process of its own, beside the budget.

    python benchmarks/level_0.py [--boxes 128 256 400] [--write benchmarks/results/level_0.json]

The first run in an environment also compiles the kernels; it is done once beforehand on a small box and not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Box: (seconds, GB) on two cores.
BUDGET = {128: (None, None), 256: (60.0, 4.0), 400: (None, 16.0)}

MEASURE = """
import json, resource, sys, time
clock = time.perf_counter()
from veritem.cli import app
try:
    app(sys.argv[1:], standalone_mode=False)
except SystemExit:
    pass
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"wall": time.perf_counter() - clock, "cpu": usage.ru_utime + usage.ru_stime,
                  "peak_gb": usage.ru_maxrss / 2**20}))
"""


def make_map(box: int, folder: Path) -> list[str]:
    """A noisy map of a made-up protein that fills the box as particles usually do; returns the command's options."""
    from veritem.simulation.half_maps import simulate_map
    from veritem.simulation.models import ideal_protein
    from veritem.submission.map_writer import write_map

    pixel_size = 1.0
    residues = int(300 * (box / 128) ** 2)
    model = ideal_protein(residues=residues, subunits=4, seed=1)
    simulated = simulate_map(model, box, pixel_size, resolution=3.2, seed=1)
    path = folder / f"box_{box}.mrc"
    density_map = simulated.density_map
    write_map(path, density_map.data, density_map.pixel_size, density_map.origin)
    level = simulated.truth.contour_level
    return ["--map", str(path), "--contour-level", f"{level:.6g}", "--resolution", "3.2"]


def measure(options: list[str], output: Path) -> dict[str, float]:
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, "validate", *options, "-q", "-o", str(output)],
        capture_output=True,
        text=True,
    )
    if run.returncode != 0:
        raise RuntimeError(run.stderr[-2000:])
    return json.loads(run.stdout.strip().splitlines()[-1])


def measure_help() -> float:
    times = []
    for _ in range(5):
        clock = time.perf_counter()
        subprocess.run([sys.executable, "-m", "veritem", "--help"], capture_output=True, check=True)
        times.append(time.perf_counter() - clock)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--boxes", nargs="+", type=int, default=sorted(BUDGET))
    parser.add_argument("--write", type=Path, help="also write the figures as JSON")
    arguments = parser.parse_args()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    figures: dict[str, object] = {"machine": platform.platform(), "cores": cores}
    figures["help_seconds"] = measure_help()
    print(f"veritem --help: {figures['help_seconds']:.2f} s (budget 0.5 s)", flush=True)
    rows: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measure(make_map(64, folder), folder / "warm-up")
        print("box   wall s   CPU s   peak GB   budget", flush=True)
        for box in arguments.boxes:
            found = measure(make_map(box, folder), folder / f"report_{box}")
            result = json.loads((folder / f"report_{box}" / "results.json").read_text())
            seconds, memory = BUDGET.get(box, (None, None))
            budget = f"{seconds or '-'} s, {memory or '-'} GB"
            print(f"{box:<5} {found['wall']:6.1f} {found['cpu']:7.1f} {found['peak_gb']:9.2f}   {budget}", flush=True)
            checks = {c["code"]: round(c["seconds"], 2) for c in result["checks"]}
            print("      " + "  ".join(f"{code} {took:.1f} s" for code, took in checks.items()), flush=True)
            rows[str(box)] = found | {"checks": checks}
    figures["boxes"] = rows
    if arguments.write:
        arguments.write.parent.mkdir(parents=True, exist_ok=True)
        arguments.write.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
