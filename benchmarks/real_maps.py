"""Run `veritem validate` on every real map of the test data and keep what came out.

    python benchmarks/real_maps.py [--data FOLDER] [--only TEXT] [--again]

Each map is validated in a process of its own, with the level and the resolution that are known for it. Results go to
benchmarks/results/real_maps.json after every map, so a run that was stopped goes on where it stopped; maps whose
result is from the same code are not run again unless --again is given. The page docs/explanation/real-maps.md is made
from this file and those results.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "real_maps.json"
LONGEST = 1800.0  # seconds a map may take before it counts as hung


@dataclass(frozen=True)
class RealMap:
    """A map and what is known about it.

    file: relative to the folder of the data. name: short, unique.
    resolution: Å; contour_level: grey value; pixel_size: Å, in place of the header's. None: not given.
    about: what is known of the map beforehand.
    """

    file: str
    name: str
    about: str
    resolution: float | None = None
    contour_level: float | None = None
    pixel_size: float | None = None

    def options(self, data: Path) -> list[str]:
        options = ["--map", str(data / self.file)]
        for option in ("resolution", "contour_level", "pixel_size"):
            value = getattr(self, option)
            if value is not None:
                options += [f"--{option.replace('_', '-')}", f"{value:g}"]
        return options


_APOFERRITIN = (
    "Apoferritin, EMPIAR-10248, rebuilt from 8-bit JPEG slices: grey values 0 to 255, compression noise. The "
    "resolution is not stated; two programs' maps agree to about 3.7 Å."
)
_INITIAL = (
    "One of nine initial models of apoferritin that competed with each other; the header lost its pixel size, 3.7125 Å."
)
_SUBUNIT = "One subunit of EMD-0093 cut out by a segmentation program, 440³, zeros elsewhere; resolution 3.4 Å."

MAPS: tuple[RealMap, ...] = (
    RealMap(
        "maps_with_models/emd30342_7cec_chainA/390_emd_30342_A_z4.mrc.gz",
        "EMD-30342, chain A",
        "Cut to within 4 Å of one chain of its model, so there is no background and hardly any box around it.",
        resolution=3.9,
        contour_level=0.0293,
    ),
    RealMap(
        "maps_with_models/emd0093_hcn4_6gyn/MAP_m4A.mrc.gz",
        "EMD-0093 (HCN4)",
        "Membrane channel with C4, masked to within 4 Å of its model: 98 % of the box is exactly zero.",
        resolution=3.4,
        contour_level=0.121,
    ),
    *(
        RealMap(
            f"maps_with_models/emd0093_hcn4_6gyn/region{i}.mrc.gz",
            f"EMD-0093, segment {i}",
            _SUBUNIT,
            resolution=3.4,
        )
        for i in range(4)
    ),
    RealMap(
        "maps_with_models/emd5778_trpv1_transmembrane/transmem.mrc.gz",
        "EMD-5778 (TRPV1), one subunit",
        "Transmembrane part of one subunit, segmented: nothing but the density, in a tight box.",
        resolution=3.4,
        contour_level=0.00538,
    ),
    RealMap(
        "maps_with_models/emd1461_rotavirus_vp6/emd_1461.mrc.gz",
        "EMD-1461 (VP6), a cut-out",
        "The region of one trimer cut out of a virus map; zeros around it, in a tight box.",
        resolution=3.8,
    ),
    RealMap(
        "maps_with_models/emd1461_rotavirus_vp6/vp6-96o.mrc.gz",
        "EMD-1461 (VP6), one copy",
        "One VP6 cut out of the same map with room around it; its place in the virus was lost.",
        resolution=3.8,
        contour_level=0.0782,
    ),
    RealMap(
        "maps_with_models/emd5168_factin/emd_5168.map.gz",
        "EMD-5168 (F-actin)",
        "A filament that runs through the whole box, as deposited.",
        resolution=6.6,
    ),
    RealMap(
        "maps_with_models/emd5168_factin/emd_5168_monomer.mrc.gz",
        "EMD-5168, one subunit",
        "One actin segmented out of the filament; the box hugs it.",
        resolution=6.6,
    ),
    RealMap(
        "maps_with_models/emd1997_groel/1997.map.gz",
        "EMD-1997 (GroEL), author's level",
        "GroEL at 7 Å (FSC 0.5), as deposited. The author's level of 1.0 encloses 280 000 Å³ in 83 pieces, a third of "
        "the 870 000 Å³ of the 14-mer: too tight.",
        resolution=7.0,
        contour_level=1.0,
    ),
    RealMap(
        "maps_with_models/emd1997_groel/1997.map.gz",
        "EMD-1997 (GroEL), no level",
        "The same map without a level. 0.045 would enclose the volume of the 14-mer in one piece.",
        resolution=7.0,
    ),
    RealMap(
        "maps_with_models/betagal_relion_tutorial/betaGal.mrc.gz",
        "β-galactosidase, EMPIAR-10017",
        "A tutorial reconstruction with D2, at about 8 Å, on coarse voxels (3.54 Å).",
        resolution=8.0,
        contour_level=0.0952,
    ),
    RealMap(
        "maps_with_models/betagal_relion_tutorial/localResolution.mrc.gz",
        "β-galactosidase, its local resolution",
        "Not a density: its voxels hold local resolutions of 7 to 14 Å. Its header says 1.0 Å, which is wrong "
        "(3.54 Å).",
        resolution=8.0,
    ),
    RealMap(
        "maps_with_models/pytme_5khe_lowres/em_map.map",
        "A tiny low-resolution map",
        "19 × 14 × 20 voxels of 5.28 Å; ORIGIN and NSTART are both set. The resolution is not stated; about 15 Å.",
        resolution=15.0,
        contour_level=3.05,
    ),
    RealMap(
        "maps_with_models/emd2513_frh_partial/emd_2513.mrc.gz",
        "EMD-2513 (FrhABG), a cut-out",
        "A region cut out of a larger complex, zeros around it, in a tight box.",
        resolution=3.4,
    ),
    RealMap(
        "maps_with_models/emd6824_trpml1/6824.mrc.gz",
        "EMD-6824 (TRPML1)",
        "Membrane channel with its detergent belt, C4, about 3.7 Å. It was resampled to 2.64 Å voxels and normalised "
        "for a network, so nothing finer than 5.3 Å is left.",
        resolution=3.7,
    ),
    RealMap(
        "maps_with_models/empiar10248_apoferritin/xmipp_highres_10450.mrc.gz",
        "Apoferritin, Xmipp HighRes",
        _APOFERRITIN,
        resolution=3.7,
        contour_level=110.0,
    ),
    RealMap(
        "maps_with_models/empiar10248_apoferritin/cryosparc_refine_9355.mrc.gz",
        "Apoferritin, cryoSPARC",
        _APOFERRITIN,
        resolution=3.7,
        contour_level=71.0,
    ),
    RealMap(
        "maps_with_models/empiar10248_apoferritin/deepemhancer_11000.mrc.gz",
        "Apoferritin, DeepEMhancer",
        _APOFERRITIN + " This one was sharpened and cleaned by a network.",
        resolution=3.7,
    ),
    RealMap(
        "maps_with_models/empiar10248_apoferritin/mask_10749.mrc.gz",
        "Apoferritin, its mask",
        "Not a density: a mask, 0 outside and 255 inside, with JPEG noise at its edge.",
        resolution=3.7,
    ),
    RealMap(
        "maps_with_models/empiar10248_apoferritin/deepres_local_resolution_15130.mrc.gz",
        "Apoferritin, its local resolution",
        "Not a density: its voxels hold resolutions in Å.",
        resolution=3.7,
    ),
    RealMap(
        "maps_only/initial_models_apoferritin/7846.outputVolumes_cryosparc_P2_J8_class_00_final_volume.mrc.gz",
        "Apoferritin, ab-initio model",
        "An ab-initio model on 64³ voxels of 2.32 Å; low resolution.",
    ),
    *(
        RealMap(
            f"maps_only/initial_models_apoferritin/8819.outputVolumes_volume{i:03d}_best.mrc.gz",
            f"Apoferritin, initial model {i}",
            _INITIAL,
            pixel_size=3.7125,
        )
        for i in range(9)
    ),
    RealMap(
        "maps_only/emd1832/emd_1832.map.gz",
        "EMD-1832",
        "A small map as deposited (64³ of 5.7 Å); resolution and level were not at hand.",
    ),
    RealMap(
        "maps_only/emd5625/emd_5625.map.gz",
        "EMD-5625",
        "A small map as deposited (56³ of 4.23 Å); resolution and level were not at hand.",
    ),
    RealMap(
        "maps_only/emd3001_microed/EMD-3001.map.gz",
        "EMD-3001 (MicroED)",
        "A crystal map (space group 4) with axes stored in another order and voxels that are not cubes.",
    ),
    RealMap(
        "maps_only/emd3197/EMD-3197.map.gz",
        "EMD-3197",
        "20³ voxels of 11.4 Å, with an uneven start.",
    ),
    RealMap(
        "maps_only/crystal_7c4u/map.mrc.gz",
        "EMD-30288 (7C4U), a crystal",
        "The unit cell of a crystal (P1), axes stored in another order, voxels that are not cubes: density fills it.",
    ),
    RealMap(
        "maps_only/relion_test_refine/out_it005_class001.mrc.gz",
        "β-galactosidase, iteration 5",
        "An early iteration of a refinement: low resolution, masked to a sphere by the program.",
    ),
    RealMap(
        "maps_only/pytom_templates/emd_2938_21A.mrc",
        "Ribosome template 2938",
        "A template on 20³ voxels at 21 Å; the header's pixel size of 1.0 Å is wrong.",
        resolution=21.0,
    ),
    RealMap(
        "maps_only/pytom_templates/emd_5592_21A.mrc",
        "Ribosome template 5592",
        "A template on 20³ voxels at 21 Å; the header's pixel size of 1.0 Å is wrong.",
        resolution=21.0,
    ),
    RealMap(
        "maps_only/pytom_templates/human_ribo_21A.mrc",
        "Ribosome template, human",
        "A template on 32³ voxels of 20.96 Å. Such voxels hold nothing finer than 42 Å, whatever the name says.",
        resolution=21.0,
    ),
    RealMap(
        "maps_only/pytom_templates/emd_1480.map.em_bin_4.em",
        "EMD-1480, EM format",
        "A volume in EM format, 42³; the format keeps no pixel size, and the true one was not at hand: 10 Å is "
        "given to see that it is read.",
        pixel_size=10.0,
    ),
    RealMap(
        "format_edge_cases/maps/non_zero_origin_map.ccp4",
        "A crystal map off the origin",
        "A model's crystal map whose grid starts at 100, 100, 100; axes stored in another order.",
    ),
    RealMap("format_edge_cases/maps/D7.ccp4", "A synthetic map with D7", "Synthetic, 45³ of 0.444 Å."),
    RealMap(
        "format_edge_cases/maps/5i55_tiny.ccp4",
        "A tiny crystal map",
        "8 × 6 × 10 voxels of a crystal map: too few for any check.",
    ),
    RealMap("format_edge_cases/maps/float16.mrc", "A single image", "One image, 64 × 64, 16-bit floats: no volume."),
    RealMap(
        "format_edge_cases/maps/test_data_corrupt_header.map",
        "A corrupt header",
        "A file whose header is damaged on purpose.",
    ),
    RealMap(
        "format_edge_cases/maps/test_unfixable_mask.map",
        "A mask that is not binary",
        "Not a density: a mask with many values, 46³ of 4.6 Å.",
    ),
    RealMap(
        "format_edge_cases/maps/test_data_multi0.map",
        "A segmentation",
        "Not a density: labels of segments, 8-bit, with voxels of 14.5 × 18.3 × 17.3 Å.",
    ),
    RealMap(
        "format_edge_cases/maps/clean70SRibosome_vol_65p.mrc",
        "A synthetic ribosome, no pixel size",
        "A noise-free 70S ribosome; the header's pixel size is 0.",
    ),
    RealMap(
        "format_edge_cases/maps/clean70SRibosome_vol_65p.mrc",
        "A synthetic ribosome at 5 Å",
        "The same file with its pixel size of 5 Å given.",
        pixel_size=5.0,
    ),
)

_CUT = (
    "Yes. The box hugs what was cut out, zeros are around it, and so there is no noise: 0.a warns, 0.c has nothing to "
    "judge, the B-factors come with the caveat that noise was not taken off, and 0.g does not decide."
)
_SUBUNIT_SENSE = (
    "Yes: the zeros are seen as a mask, the centre of mass is off because it is one of four subunits, and what needs "
    "noise is left out or undecided. The estimated level is too high: it keeps a third of the subunit's volume."
)
_INITIAL_SENSE = (
    "In part. The tight box is real. The estimated level encloses 1.1 to 1.25 times the volume of the protein, good "
    "for such a map. 0.c finds that the background is not noise, and it is not: a low-passed "
    "initial model holds ripples instead, so the sentence about voxels that stand out says too much. Whether the "
    "model is a right one Level 0 does not ask."
)
_NO_DENSITY = (
    "No, and that is a limit of this level: the volume is no density, but it has a compact body with an edge, and "
    "centring, mask and B-factors find little amiss. Whether a volume looks like a protein is the question of 0.e, "
    "which is not available yet."
)
_TEMPLATE = (
    "Yes. With so few voxels and a wrong pixel size nothing can be said: the pixel size and the "
    "resolution are doubted on "
    "reading, and 0.b finds no body of a protein's size, which follows from the pixel size."
)

# Whether the findings make sense: written by a person after looking at them.
SENSE: dict[str, str] = {
    "EMD-30342, chain A": _CUT,
    "EMD-0093 (HCN4)": "Yes. The mask is seen, 0.c has nothing to judge, and the B-factors say that noise was not "
    "taken off. The centre of mass is 7 Å off along the symmetry axis, as the shape of the channel has it.",
    **{f"EMD-0093, segment {i}": _SUBUNIT_SENSE for i in range(4)},
    "EMD-5778 (TRPV1), one subunit": _CUT,
    "EMD-1461 (VP6), a cut-out": _CUT,
    "EMD-1461 (VP6), one copy": "Yes. The box is tight. Outside the particle the map varies by a millionth of its "
    "density, which is no noise, and is said to be none.",
    "EMD-5168 (F-actin)": (
        "Mostly. The filament through both faces along z is seen, and 0.a leaves open whether it is "
        "one. A bright rim is likely: the estimated level keeps noise out, and encloses too little. "
        "Noise that depends on direction is what helical averaging leaves. The warning of 0.g is "
        "doubtful: a filament is alike along its length, and at 6.6 Å the check cannot tell blur from"
        " absence."
    ),
    "EMD-5168, one subunit": "Yes. The box is tight, 28 voxels are few, and too little noise is left to measure it.",
    "EMD-1997 (GroEL), author's level": (
        "Yes. 0.b finds the pieces; 0.a, 0.d and 0.g do not decide and ask whether the level is too high, which it is."
    ),
    "EMD-1997 (GroEL), no level": (
        "Yes. The estimated level encloses 98 % of the right volume. The map was masked before it was"
        " deposited, and never sharpened."
    ),
    "β-galactosidase, EMPIAR-10017": (
        "Yes. It is the unsharpened map of a tutorial, so its amplitudes fall steeply; between 10 and"
        " 8 Å the range is short. The background lies just below zero, at the limit, and 0.c leaves "
        "that open."
    ),
    "β-galactosidase, its local resolution": "Yes: the pixel size is doubted, no particle is found, and the rest "
    "follows from that.",
    "A tiny low-resolution map": "Yes. The box is tight, and with 360 voxels of background nothing is said of it.",
    "EMD-2513 (FrhABG), a cut-out": _CUT,
    "EMD-6824 (TRPML1)": (
        "Mostly. The voxels cannot hold 3.7 Å, and that is said. The large B-factor is that of the "
        "resampling more than of the map, and 0.f should not judge by the half per cent of the "
        "particle in which it could measure. What stands out of the background is a large body, most "
        "likely the detergent belt (which 0.c names among the causes), and a dark spot on the "
        "symmetry axis."
    ),
    "Apoferritin, Xmipp HighRes": "Mostly. The level that encloses the volume of the model lies only 2.6 standard "
    "deviations above the noise of this map, so it carries dust, and dust joins the mask and makes the box look "
    "tight. The voxel that stands out may come from the JPEG compression.",
    "Apoferritin, cryoSPARC": "Yes. The corners are flat: the program masked the box to a sphere. Between the sphere "
    "and the particle too few independent values of noise are left to judge it, and that is said instead of a pass.",
    "Apoferritin, DeepEMhancer": "Yes as far as it goes. The network removed the background. That it also rewrote the "
    "map cannot be seen here.",
    "Apoferritin, its mask": _NO_DENSITY,
    "Apoferritin, its local resolution": _NO_DENSITY,
    "Apoferritin, ab-initio model": _INITIAL_SENSE,
    **{f"Apoferritin, initial model {i}": _INITIAL_SENSE for i in range(9)},
    "EMD-1832": "Doubtful. Only 5 % of the box counts as background, 127 independent values, so that offset and rim "
    "are left out. Some groups of voxels stand out; without the authors' level it cannot be told whether they belong "
    "to the particle.",
    "EMD-5625": "Yes. A protrusion touches a face, and the solvent is flat.",
    "EMD-3001 (MicroED)": "Yes. The cell has an angle of 94°, so it cannot be a single-particle map; that is said.",
    "EMD-3197": ("Yes. In 20³ voxels no particle stands out by itself; with a contour level more would be said."),
    "EMD-30288 (7C4U), a crystal": "In part. That it is cut off at the faces, in many pieces, is right. It is a "
    "lattice, and 0.c judges its neighbours' density as background.",
    "β-galactosidase, iteration 5": "Yes. The program masked it to a sphere and low-passed it, so that too few blocks "
    "of noise are left to judge.",
    "Ribosome template 2938": _TEMPLATE,
    "Ribosome template 5592": _TEMPLATE,
    "Ribosome template, human": "In part. The template is dark on bright, and is said to look inverted; the "
    "resolution is finer than its voxels can hold, and that is said as well. 0.c should not answer where no particle "
    "was found.",
    "EMD-1480, EM format": "Yes: it is read, and it is masked. Lengths scale with the pixel size that was made up.",
    "A crystal map off the origin": "Yes. Cut off at the faces, nothing outside.",
    "A synthetic map with D7": "Yes. It is cut off at the faces; hardly any background is left.",
    "A tiny crystal map": "Yes.",
    "A single image": "Yes.",
    "A corrupt header": "Yes. The header promises 34 MB and the file holds 1 kB.",
    "A mask that is not binary": "In part, as for any volume that is no density: that it lies to one side is right.",
    "A segmentation": "In part. No particle is found, which is right; 0.c should then not answer.",
    "A synthetic ribosome, no pixel size": "Yes.",
    "A synthetic ribosome at 5 Å": "Yes: a low-passed model has ripples around it (a dark rim) and no noise at all, "
    "so that anything stands out.",
}


# Runs the command in the child and says what it took. ru_maxrss is in KiB on Linux, in bytes on macOS.
CHILD = """
import json, resource, sys, time
clock = time.perf_counter()
sys.argv[0] = "veritem"
code = 0
try:
    from veritem.cli import main
    main()
except SystemExit as stop:
    code = stop.code or 0
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
print("\\n" + json.dumps({"exit_code": int(code), "seconds": time.perf_counter() - clock, "peak_gb": peak}))
"""


def run_map(real_map: RealMap, data: Path, output: Path) -> dict[str, Any]:
    """Validate one map and return what the record keeps of it."""
    command = [sys.executable, "-c", CHILD, "validate", *real_map.options(data), "-q", "-o", str(output)]
    record: dict[str, Any] = {
        "name": real_map.name,
        "file": real_map.file,
        "options": real_map.options(Path())[2:],
    }
    try:
        run = subprocess.run(
            command, capture_output=True, text=True, timeout=LONGEST, env=os.environ | {"COLUMNS": "400"}
        )
    except subprocess.TimeoutExpired:
        return record | {"exit_code": None, "crash": f"still running after {LONGEST:.0f} s"}
    try:
        measured = json.loads(run.stdout.strip().splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        return record | {"exit_code": run.returncode, "crash": run.stderr.strip()[-1500:]}
    record |= {
        "exit_code": measured["exit_code"],
        "seconds": round(measured["seconds"], 1),
        "peak_gb": round(measured["peak_gb"], 2),
    }
    results = output / "results.json"
    if not results.is_file():
        return record | {"refused": run.stderr.strip()[-2500:].replace(str(data) + os.sep, "")}
    found = json.loads(results.read_text())
    record["stderr"] = run.stderr.strip()[-1000:]
    record["input"] = found["inputs"][0]["description"]
    record["contour_level"] = found["parameters"]["contour_level"]
    record["problems"] = [{key: problem[key] for key in ("code", "severity", "found")} for problem in found["problems"]]
    record["checks"] = {check["code"]: _kept(check) for check in found["checks"]}
    record["files"] = sorted(p.name for p in output.glob("report.*"))
    record["code_sha256"] = found["provenance"]["code_sha256"]
    return record


def _kept(check: dict[str, Any]) -> dict[str, Any]:
    from veritem.results import Quantity

    quantities = {key: Quantity(**value).text() for key, value in check["quantities"].items()}
    warnings = [c["warning"] for c in check["criteria"] if c["outcome"] == "warning"]
    kept = {
        "outcome": check["outcome"],
        "summary": check["summary"],
        "reason": check["reason"],
        "error": check["error"],
        "warnings": warnings,
        "caveats": check["caveats"],
        "quantities": quantities,
        "seconds": round(check["seconds"], 2),
    }
    return {key: value for key, value in kept.items() if value not in ("", [], {})}


def data_folder() -> Path:
    """VERITEM_TEST_DATA, else ../shared/data beside the repository."""
    return Path(os.environ.get("VERITEM_TEST_DATA", ROOT.parent / "shared" / "data"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=data_folder(), help="folder of the real data")
    parser.add_argument("--only", default="", help="run only maps whose name or file holds this text")
    parser.add_argument("--again", action="store_true", help="run also what has a result from the same code")
    parser.add_argument("--keep", type=Path, help="keep the reports in this folder")
    arguments = parser.parse_args()
    if not (arguments.data / "MANIFEST.md").is_file():
        sys.exit(f"There is no test data at {arguments.data}. Name its folder with --data or VERITEM_TEST_DATA.")
    from veritem.run.execute import code_sha256

    stored = json.loads(RESULTS.read_text())["maps"] if RESULTS.is_file() else []
    known = {record["name"]: record for record in stored}
    for number, real_map in enumerate(MAPS):
        if arguments.only.lower() not in f"{real_map.name} {real_map.file}".lower():
            continue
        earlier = known.get(real_map.name)
        if earlier and not arguments.again and earlier.get("run_by") == code_sha256():
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder = arguments.keep / f"{number:02d}" if arguments.keep else Path(temporary) / "report"
            clock = time.perf_counter()
            record = run_map(real_map, arguments.data, folder)
        known[real_map.name] = record | {"run_by": code_sha256()}
        outcomes = {code: check["outcome"] for code, check in record.get("checks", {}).items()}
        said = record.get("crash") or record.get("refused") or outcomes
        print(f"{real_map.name}: exit {record['exit_code']}, {time.perf_counter() - clock:.0f} s, {said}", flush=True)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        report = {
            "command": "python benchmarks/real_maps.py",
            "machine": f"{platform.system()} {platform.machine()}, {cores} cores",
            "maps": [known[m.name] for m in MAPS if m.name in known],
        }
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
