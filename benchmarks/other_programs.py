"""Veritem beside other programs on one pair of half maps: FSC, local resolution, directions, CPU seconds.

    python benchmarks/other_programs.py [--reference FOLDER]      # writes benchmarks/results/other_programs.json
                                                                  # and docs/explanation/figures/other-programs-*

The pair: the electron density of PDB 7CEC, chains A and B, 128³ voxels of 1.2 Å, with atomic B of 40 + 160 (r / Rmax)²
Å² (sharp in the centre, blurred at the rim), and independent white noise in each half, scaled so that the FSC in the
mask falls to 0.143 at 3.2 Å. FOLDER holds the half maps and masks (inputs/), what each program wrote on them (maps/ and
tables/); of none given, VERITEM_REFERENCE, else ../shared/reference/simulated_7cec_128. All are given the same mask.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import gemmi
import mrcfile
import numpy as np
from level_1 import OTHER_PROGRAMS
from level_1_rates import half_map_checks
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree
from scipy.stats import spearmanr

from veritem.checks.level_1.local_resolution import LocalResolutionCheck
from veritem.errors import Inconclusive, NotApplicable
from veritem.numerics.density_map import DensityMap, HalfMaps
from veritem.numerics.device import CPU
from veritem.numerics.distance import signed_distance
from veritem.report.figures import draw
from veritem.results import CurveFigure, Figure, IntervalFigure, IntervalRow, Marker, Series
from veritem.run.execute import Runner
from veritem.run.plan import make_plan

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "other_programs.json"
FIGURES = ROOT / "docs" / "explanation" / "figures"
PIXEL_SIZE, PLANTED, THRESHOLD = 1.2, 3.2, 0.143
FURTHEST = 40.0  # Å, of the distance to the mask
Curve = tuple[NDArray[np.float64], NDArray[np.float64]]

# Programs whose local maps there are: file, values that mean "none", CPU seconds, how it was run.
LOCAL_MAPS: dict[str, tuple[str, Callable[[NDArray], NDArray], str, str]] = {
    "Bsoft blocres": ("blocres_box20_fsc0.5", lambda v: v > 0, "Bsoft blocres (every voxel)",
                      "box of 20 voxels, every voxel, FSC 0.5"),
    "SPoC": ("spoc_local_resolution_w20_step3", lambda v: v > 0, "SPoC local resolution (every third voxel)",
             "window of 20 voxels, every third voxel, permutation test"),
    "RELION": ("relion_locres_sampling10_maskrad10", lambda v: (v > 0) & (v < 50), "RELION local resolution",
               "sampling 10 Å, mask radius 10 voxels, FSC 0.143"),
    "ResMap": ("resmap", lambda v: v < 100, "ResMap", "2.4 to 8 Å, step 0.5 Å"),
    "Xmipp MonoRes": ("monores", lambda v: v > 0, "Xmipp MonoRes", "2.4 to 12 Å, step 0.25 Å"),
}  # fmt: skip


# --- what the programs wrote ---------------------------------------------------------------------------------------


def read_map(path: Path) -> NDArray[np.float32]:
    with mrcfile.open(path, permissive=True) as mrc:
        return np.asarray(mrc.data, np.float32).copy()


def other_curves(tables: Path) -> dict[str, Curve]:
    """FSC curves by name: frequency in 1/Å, FSC."""
    relion = _star(tables / "relion_postprocess.star", "data_fsc")
    servalcat = np.loadtxt(tables / "servalcat_fsc.dat", comments="#", skiprows=3, usecols=range(8))
    frequency = 1.0 / servalcat[:, 0]
    spoc = np.loadtxt(tables / "spoc_fdr_fsc.txt")
    emda = _emda(tables / "emda_halffsc.txt")
    bsoft = np.loadtxt(tables / "bresolve_fsc.tsv")
    return {
        "RELION postprocess, corrected": (relion[:, 1], relion[:, 3]),
        "RELION postprocess, masked": (relion[:, 1], relion[:, 6]),
        "RELION postprocess, unmasked": (relion[:, 1], relion[:, 5]),
        "Servalcat fsc, corrected": (frequency, servalcat[:, 6]),
        "EMDA halffsc, masked": emda["Masked"],
        "EMDA halffsc, unmasked": emda["Unmasked"],
        "Bsoft bresolve, masked": (bsoft[:, 0], bsoft[:, 1]),
        "SPoC FDR-FSC, its own sphere": (spoc[0], spoc[1]),
        "3DFSC, masked": _columns(tables / "threedfsc_global_fsc.csv", 1, 2),
        "Xmipp FSO, masked": _xmipp(tables / "fso_global_fsc.xmd", 1, 0),
        "Xmipp FSC, unmasked": _xmipp(tables / "xmipp_fsc_unmasked.xmd", 3, 1),
    }


def _star(path: Path, name: str) -> NDArray[np.float64]:
    rows, inside = [], False
    for line in path.read_text().splitlines():
        if line.startswith("data_"):
            inside = line.strip() == name
        words = line.split()
        if inside and words and words[0].isdigit():
            rows.append([float(word) for word in words])
    return np.array(rows)


def _emda(path: Path) -> dict[str, Curve]:
    found: dict[str, list[tuple[float, float]]] = {}
    kind = ""
    for line in path.read_text().splitlines():
        words = line.split()
        if "statistics" in words:
            kind = words[1]
            found[kind] = []
        elif kind and len(words) == 7 and words[0].isdigit():
            found[kind].append((1.0 / float(words[1]), float(words[5])))
    return {kind: (np.array(rows)[:, 0], np.array(rows)[:, 1]) for kind, rows in found.items()}


def _columns(path: Path, x: int, y: int) -> Curve:
    with path.open() as stream:
        rows = np.array([[float(v) for v in row] for row in csv.reader(stream)])
    return rows[:, x], rows[:, y]


def _xmipp(path: Path, x: int, y: int) -> Curve:
    rows = []
    for line in path.read_text().splitlines():
        words = line.split()
        if words and words[0].lstrip("-")[:1].isdigit():
            rows.append([float(word) for word in words])
    table = np.array(rows)
    return table[:, x], table[:, y]


def crossing(curve: Curve, threshold: float = THRESHOLD) -> float | None:
    """Å where a curve first falls below the threshold, interpolated: one rule for all programs."""
    frequency, fsc = curve
    for k in range(1, len(fsc)):
        if frequency[k] > 0.02 and fsc[k] < threshold:
            share = (fsc[k - 1] - threshold) / (fsc[k - 1] - fsc[k])
            return float(1.0 / (frequency[k - 1] + share * (frequency[k] - frequency[k - 1])))
    return None


# --- ours ----------------------------------------------------------------------------------------------------------


def run_ours(reference: Path) -> dict[str, Any]:
    """Measurements by code with CPU seconds, in the mask that the other programs were given."""
    first, second = (read_map(reference / "inputs" / f"half{i}.mrc.gz") for i in (1, 2))
    mask = read_map(reference / "inputs" / "mask_bin.mrc.gz") > 0.5
    mean = DensityMap((first + second) / 2, PIXEL_SIZE)
    values = {
        "density_map": mean,
        "half_maps": HalfMaps(DensityMap(first, PIXEL_SIZE), DensityMap(second, PIXEL_SIZE)),
        # The mask takes the place of that of a contour level, which only places the surface of figures.
        "mask_distance": signed_distance(mask, PIXEL_SIZE, FURTHEST),
        "given_contour_level": float(np.percentile(mean.data[mask], 60)),
        "reported_resolution": PLANTED,
        "molecular_weight": None,
        "symmetry": "C1",
        "seed": 0,
        "threads": 1,
        "device": CPU,
    }
    found: dict[str, Any] = {}
    for check_class in half_map_checks():
        # Once to compile, on values of its own; once to measure.
        for _ in range(2):
            runner, check = Runner(make_plan((), values), values, {}), check_class()
            clock = time.process_time()
            try:
                measurement = check.measure(**{name: runner.value(name) for name in check.uses()})
            except (Inconclusive, NotApplicable) as error:
                found[check.code] = {"reason": str(error), "cpu": time.process_time() - clock}
                continue
            found[check.code] = {
                "measurement": measurement, "cpu": time.process_time() - clock, "runner": runner, "class": check_class,
            }  # fmt: skip
        print(
            check_class.code, f"{found[check_class.code]['cpu']:.1f} CPU s", found[check_class.code].get("reason", "")
        )
    return found


def our_curves(found: dict[str, Any]) -> dict[str, Curve]:
    curve = found["1.a"]["runner"].value("half_map_fsc")
    return {
        "Veritem, corrected": (curve.frequency, curve.corrected),
        "Veritem, masked": (curve.frequency, curve.masked),
        "Veritem, unmasked": (curve.box_frequency, curve.unmasked),
    }


def our_local_maps(found: dict[str, Any], shape: tuple[int, int, int]) -> dict[str, tuple[NDArray, float, str]]:
    """Name: (map on the pair's grid with NaN where not determinable, CPU seconds, method)."""
    maps: dict[str, tuple[NDArray, float, str]] = {}
    for code, entry in found.items():
        if "measurement" not in entry or not issubclass(entry["class"], LocalResolutionCheck):
            continue
        local = entry["measurement"].local
        method = entry["class"].title.split(": ")[-1]
        how = "every voxel" if code != "1.c" else "window of 25 Å, every voxel, FSC 0.143"
        maps[f"Veritem {code} ({method})"] = (_on_grid(local, local.resolution, shape), entry["cpu"], how)
        for name, values in local.extra.items():
            if name == "fsc_0.5":
                how = "window of 25 Å, every voxel, FSC 0.5"
                maps[f"Veritem {code} ({method}) at FSC 0.5"] = (_on_grid(local, values, shape), entry["cpu"], how)
    return maps


def _on_grid(local: Any, values: NDArray, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    part = local.part
    z, y, x = (np.arange(n) * PIXEL_SIZE for n in shape)
    origin = np.array(part.density.origin)[::-1]
    grid = np.meshgrid(*((a - o) / part.pixel_size for a, o in zip((z, y, x), origin, strict=True)), indexing="ij")
    return map_coordinates(part.volume(values), grid, order=0, mode="constant", cval=np.nan)


def planted_b(reference: Path, shape: tuple[int, int, int], mask: NDArray) -> NDArray[np.float64]:
    """The B of the atom next to each voxel of the mask: what the local resolution should follow."""
    with gzip.open(reference / "inputs" / "model.cif.gz", "rt") as stream:
        structure = gemmi.make_structure_from_block(gemmi.cif.read_string(stream.read()).sole_block())
    atoms = [(a.pos.z, a.pos.y, a.pos.x, a.b_iso) for c in structure[0] for r in c for a in r]
    table = np.array(atoms)
    _, nearest = cKDTree(table[:, :3]).query(np.argwhere(mask) * PIXEL_SIZE)
    return table[nearest, 3]


# --- the comparison ------------------------------------------------------------------------------------------------


def compare(reference: Path) -> dict[str, Any]:
    found = run_ours(reference)
    mask = read_map(reference / "inputs" / "mask_bin.mrc.gz") > 0.5
    curves = our_curves(found) | other_curves(reference / "tables")
    result: dict[str, Any] = {
        "command": "python benchmarks/other_programs.py",
        "planted": PLANTED,
        "resolutions": {
            name: {"0.143": crossing(curve), "0.5": crossing(curve, 0.5)} for name, curve in curves.items()
        },
        "stated": {"RELION postprocess": 3.34, "cctbx mtriage, masked": 3.20, "cctbx mtriage, unmasked": 4.40},
        "ours": {
            code: {
                "cpu": round(entry["cpu"], 2),
                "reason": entry.get("reason", ""),
                "quantities": _shown_quantities(entry.get("measurement")),
            }
            for code, entry in found.items()
        },
        "other_cpu": {name: row["128"] for name, row in OTHER_PROGRAMS.items()},
    }
    local = _local_comparison(reference, found, mask)
    directions = _directional_comparison(reference, found)
    result |= {"local": local, "directions": {name: crossing(c, 0.5) for name, c in directions["occupancy"].items()}}
    result["axes"] = {name: crossing(c) for name, c in directions["axes"].items()}
    _draw("fsc", _fsc_figure(curves))
    _draw("local", _local_figure(local))
    if directions["occupancy"]:
        _draw("occupancy", _occupancy_figure(directions["occupancy"]))
    if directions["axes"]:
        _draw("axes", _axes_figure(directions["axes"]))
    return result


def _shown_quantities(measurement: Any) -> dict[str, str]:
    from veritem.checks.base import quantities_of

    return {} if measurement is None else {q.label: q.text() for q in quantities_of(measurement).values()}


def _local_comparison(reference: Path, found: dict[str, Any], mask: NDArray[np.bool_]) -> dict[str, Any]:
    maps: dict[str, dict[str, Any]] = {}
    for name, (values, cpu, how) in our_local_maps(found, mask.shape).items():
        maps[name] = {"values": values[mask], "cpu": round(cpu, 1), "how": how}
    for name, (file, valid, program, how) in LOCAL_MAPS.items():
        values = read_map(reference / "maps" / f"{file}.mrc.gz")[mask].astype(np.float64)
        maps[name] = {"values": np.where(valid(values), values, np.nan), "cpu": OTHER_PROGRAMS[program]["128"],
                      "how": how}  # fmt: skip
    b_factor = planted_b(reference, mask.shape, mask)
    rows: dict[str, Any] = {}
    for name, entry in maps.items():
        known = np.isfinite(entry["values"])
        quantiles = np.percentile(entry["values"][known], [5, 25, 50, 75, 95])
        rows[name] = {
            "how": entry["how"],
            "cpu": entry["cpu"],
            "percentiles": [round(float(q), 2) for q in quantiles],
            "determinable": float(known.mean()),
            "follows_b": float(spearmanr(entry["values"][known], b_factor[known]).statistic),
        }
    names = list(maps)
    ranks = [[_rank(maps[a]["values"], maps[b]["values"]) for b in names] for a in names]
    return {"maps": rows, "names": names, "rank_correlation": ranks}


def _rank(first: NDArray, second: NDArray) -> float:
    both = np.isfinite(first) & np.isfinite(second)
    return round(float(spearmanr(first[both], second[both]).statistic), 3)


def _directional_comparison(reference: Path, found: dict[str, Any]) -> dict[str, dict[str, Curve]]:
    occupancy: dict[str, Curve] = {}
    axes: dict[str, Curve] = {}
    entry = found.get("1.g", {})
    if "measurement" in entry:
        d = entry["runner"].value("directional_fsc")
        occupancy["Veritem 1.g"] = (d.frequency, (d.soft >= THRESHOLD).mean(axis=1))
        along = d.curve(np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]))
        frequency = np.arange(along.shape[0]) * d.shell_width
        axes |= {f"Veritem 1.h, {axis}": (frequency, along[:, i]) for i, axis in enumerate("xyz")}
    occupancy["Xmipp FSO"] = _xmipp(reference / "tables" / "fso_curve.xmd", 1, 3)
    plots = np.loadtxt(reference / "tables" / "threedfsc_plots.csv")
    frequency = np.arange(len(plots)) / (128 * PIXEL_SIZE)
    axes |= {f"3DFSC, {axis}": (frequency, plots[:, i]) for i, axis in enumerate("xyz")}
    return {"occupancy": occupancy, "axes": axes}


# --- figures -------------------------------------------------------------------------------------------------------


def _draw(name: str, figure: Figure) -> None:
    suffix, content = draw(figure, figure.arrays)
    FIGURES.mkdir(parents=True, exist_ok=True)
    text = b"\n".join(line.rstrip() for line in content.splitlines()) + b"\n" if suffix == "svg" else content
    (FIGURES / f"other-programs-{name}.{suffix}").write_bytes(text)


def _series(label: str, curve: Curve, **options: Any) -> Series:
    keep = curve[0] > 0
    return Series(
        label=label, x=tuple(float(v) for v in curve[0][keep]), y=tuple(float(v) for v in curve[1][keep]), **options
    )


def _fsc_figure(curves: dict[str, Curve]) -> CurveFigure:
    shown = {
        "Veritem, corrected": {"role": "corrected"},
        "RELION postprocess, corrected": {"style": "dashed", "role": "corrected"},
        "Veritem, masked": {"role": "data"},
        "3DFSC, masked": {"style": "dashed", "role": "data"},
        "Veritem, unmasked": {"role": "model"},
        "Xmipp FSC, unmasked": {"style": "dashed", "role": "model"},
        "SPoC FDR-FSC, its own sphere": {"style": "dashed", "role": "other"},
    }
    return CurveFigure(
        key="fsc",
        title="FSC of one pair by several programs",
        caption="The same half maps, masked, corrected for the mask, and unmasked.",
        alt_text="FSC curves of Veritem and of other programs against frequency; solid and dashed curves coincide.",
        series=tuple(_series(name, curves[name], **options) for name, options in shown.items()),
        x_label="frequency (1/Å)",
        y_label="FSC",
        x_scale="inverse",
        markers=(
            Marker(axis="y", value=THRESHOLD, label="0.143", role="limit"),
            Marker(axis="x", value=1 / PLANTED, label=f"planted {PLANTED} Å", role="note"),
        ),
    )


def _local_figure(local: dict[str, Any]) -> IntervalFigure:
    return IntervalFigure(
        key="local",
        title="Local resolution of one pair by several programs",
        caption="The median and the span from the 5th to the 95th percentile of the local values in one mask.",
        alt_text="Medians and spans of local resolution, one row per program.",
        rows=tuple(
            IntervalRow(
                label=name,
                value=row["percentiles"][2],
                low=row["percentiles"][0],
                high=row["percentiles"][4],
                role="data" if name.startswith("Veritem") else "other",
            )
            for name, row in local["maps"].items()
        ),
        x_label="local resolution (Å)",
        markers=(Marker(axis="x", value=PLANTED, label="planted global 3.2 Å", role="note"),),
    )


def _occupancy_figure(occupancy: dict[str, Curve]) -> CurveFigure:
    return CurveFigure(
        key="occupancy",
        title="Fourier shell occupancy by two programs",
        caption="The share of directions whose FSC is at least 0.143.",
        alt_text="Two curves that fall from 1 to 0 between 4 and 2.9 Å.",
        series=tuple(
            _series(name, curve, style="line" if name.startswith("Veritem") else "dashed")
            for name, curve in occupancy.items()
        ),
        x_label="frequency (1/Å)",
        y_label="share of directions",
        x_scale="inverse",
        markers=(Marker(axis="y", value=0.5, label="0.5", role="limit"),),
    )


def _axes_figure(axes: dict[str, Curve]) -> CurveFigure:
    roles = {"x": "data", "y": "model", "z": "corrected"}
    return CurveFigure(
        key="axes",
        title="FSC in cones of 20° along the axes by two programs",
        caption="Solid: Veritem, corrected for the mask by direction. Dashed: 3DFSC, masked.",
        alt_text="Six curves of the FSC along x, y and z against frequency.",
        series=tuple(
            _series(name, curve, role=roles[name[-1]], style="line" if name.startswith("Veritem") else "dashed")
            for name, curve in axes.items()
        ),
        x_label="frequency (1/Å)",
        y_label="FSC",
        x_scale="inverse",
        markers=(Marker(axis="y", value=THRESHOLD, label="0.143", role="limit"),),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = os.environ.get("VERITEM_REFERENCE", ROOT.parent / "shared" / "reference" / "simulated_7cec_128")
    parser.add_argument("--reference", type=Path, default=Path(known))
    arguments = parser.parse_args()
    if not arguments.reference.is_dir():
        parser.error(f"{arguments.reference} is not there; --reference names the folder with inputs, maps and tables")
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(compare(arguments.reference), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
