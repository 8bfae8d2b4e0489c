"""Real files from many programs: read as two other libraries read them, or refused with a sentence that helps."""

from __future__ import annotations

import gzip
import hashlib
import re
import warnings
from pathlib import Path

import gemmi
import mrcfile
import numpy as np
import pytest

from veritem.results import Severity
from veritem.submission import read_map

FOLDERS = ("format_edge_cases", "maps_only", "maps_with_models")
MAP_NAME = re.compile(r"\.(mrc|map|ccp4|em)(\.gz)?$")

# Read only with a pixel size, which is the archive's.
NEEDS_PIXEL_SIZE = {"clean70SRibosome_vol_65p.mrc": 5.0, "emd_1480.map.em_bin_4.em": 21.6}

# What a person must find in the sentence about a map that is refused.
REFUSED = {
    "5i55_tiny.ccp4": ("IN-25", r"angles of 90°, 112°, 90°"),
    "EMD-3001.map.gz": ("IN-25", r"angles of 90°, 94.33°, 90°"),
    "float16.mrc": ("IN-24", r"64 × 64 × 1 voxels: an image, not a volume"),
    "test_data_corrupt_header.map": ("IN-23", r"cut short: 1108 bytes are there\. 34280108 bytes for 301 × 401 × 71"),
}

# gemmi asks for the word MAP, a space and a known machine stamp, and does not know EM.
GEMMI_REFUSES = {"vp6-96o.mrc.gz", "emd_2938_21A.mrc", "emd_5592_21A.mrc", "region0.mrc.gz", "emd_1480.map.em_bin_4.em"}

# What must be said about a map that is read.
SAID = {
    "D7.ccp4": {"IN-05"},
    "map.mrc.gz": {"IN-04", "IN-05"},
    "non_zero_origin_map.ccp4": {"IN-03", "IN-04", "IN-05", "IN-30"},
    "test_data_multi0.map": {"IN-03", "IN-04"},
    "EMD-3197.map.gz": {"IN-03"},
    "em_map.map": {"IN-03"},
    "emd_5168_monomer.mrc.gz": {"IN-03"},
    "emd_2938_21A.mrc": {"IN-03", "IN-26", "IN-27"},
    "emd_5592_21A.mrc": {"IN-03", "IN-26", "IN-27"},
    "localResolution.mrc.gz": {"IN-26"},
}


@pytest.fixture(scope="module")
def maps(real_data: Path) -> list[Path]:
    paths = [
        path for folder in FOLDERS for path in sorted((real_data / folder).rglob("*")) if MAP_NAME.search(path.name)
    ]
    assert len(paths) > 40
    # Three more subunits of the same 340 MB map add time and nothing else.
    return [path for path in paths if not re.fullmatch(r"region[123]\.mrc\.gz", path.name)]


def content(path: Path) -> bytes:
    stored = path.read_bytes()
    return gzip.decompress(stored) if path.name.endswith(".gz") else stored


def test_every_map_is_read_or_refused_with_a_reason(maps):
    for path in maps:
        density_map, record, problems = read_map(path, NEEDS_PIXEL_SIZE.get(path.name))
        errors = [problem for problem in problems if problem.severity is Severity.ERROR]
        if path.name in REFUSED:
            code, words = REFUSED[path.name]
            assert density_map is None and code in {problem.code for problem in errors}, path
            assert any(re.search(words, str(problem)) for problem in errors), (path, errors)
            continue
        assert density_map is not None and not errors, (path, errors)
        assert density_map.data.dtype == np.float32 and np.isfinite(density_map.data).all()
        found = {problem.code for problem in problems}
        expected = SAID.get(path.name, {"IN-26"} if "8819.outputVolumes" in path.name else set())
        assert found == expected, (path, problems)
        assert record.size == path.stat().st_size


def test_maps_without_a_pixel_size_ask_for_one(maps):
    asked = [path for path in maps if path.name in NEEDS_PIXEL_SIZE]
    assert len(asked) == len(NEEDS_PIXEL_SIZE)
    for path in asked:
        density_map, _, problems = read_map(path)
        assert density_map is None
        assert [problem.code for problem in problems] == ["IN-03"] and "--pixel-size" in problems[0].action


def test_values_grid_and_place_are_those_that_gemmi_reads(maps):
    compared = 0
    for path in maps:
        if path.name in REFUSED or path.name in GEMMI_REFUSES:
            continue
        other = gemmi.read_ccp4_map(str(path))
        stored = [other.header_i32(word) for word in (5, 6, 7)]
        along = [other.header_i32(word) - 1 for word in (17, 18, 19)]
        start = [stored[along.index(axis)] for axis in range(3)]
        cell = other.grid.unit_cell
        sampling = [other.header_i32(word) for word in (8, 9, 10)]
        voxel = np.array([cell.a, cell.b, cell.c]) / sampling
        origin = np.array([other.header_float(word) for word in (50, 51, 52)])
        other.setup(float("nan"), gemmi.MapSetup.ReorderOnly)
        values = np.array(other.grid, copy=False).T
        if path.name in NEEDS_PIXEL_SIZE:
            voxel[:] = NEEDS_PIXEL_SIZE[path.name]
        # A pixel size given keeps unequal voxels from being resampled, so that the values can be compared.
        anisotropic = np.ptp(voxel) > 1e-3 * voxel.min()
        density_map, _, _ = read_map(path, float(voxel.min()) if anisotropic or path.name in NEEDS_PIXEL_SIZE else None)
        np.testing.assert_array_equal(density_map.data, values, err_msg=str(path))
        if not anisotropic:
            # Headers hold 32-bit numbers: seven digits.
            assert density_map.pixel_size == pytest.approx(voxel.mean(), rel=1e-6), path
            expected = origin if origin.any() else start * voxel
            assert density_map.origin == pytest.approx(expected, rel=1e-6, abs=1e-6), path
        compared += 1
    assert compared >= 35


def test_values_are_those_that_mrcfile_reads(maps):
    compared = 0
    for path in maps:
        if path.name in REFUSED or ".em" in path.suffixes or "region0" in path.name:
            continue
        density_map, _, problems = read_map(path, NEEDS_PIXEL_SIZE.get(path.name))
        if any(problem.code in {"IN-04", "IN-05"} for problem in problems):
            continue  # mrcfile leaves axes and voxels as they are.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # mrcfile's remarks on odd headers
            with mrcfile.open(path, permissive=True) as other:
                np.testing.assert_array_equal(density_map.data, other.data, err_msg=str(path))
        compared += 1
    assert compared >= 35


def test_manifest_gives_the_same_sizes_pixels_and_origins(real_data, maps):
    """The manifest was written by hand from headers: three decimals of the pixel size, one of the origin."""
    row = re.compile(r"^\| (\S+) \|.*?\| (\d+)x(\d+)x(\d+)([^|]*)\| ([\d./]+) \|", re.MULTILINE)
    rows = {match[1]: match for match in row.finditer((real_data / "MANIFEST.md").read_text())}
    compared = 0
    for path in maps:
        match = rows.get("/".join(path.parts[-2:]))
        if match is None or path.name in REFUSED or "axes" in match[5] or "/" in match[6]:
            continue
        pixel_size = float(match[6]) or NEEDS_PIXEL_SIZE[path.name]
        density_map, _, _ = read_map(path, None if float(match[6]) else pixel_size)
        assert density_map.shape[::-1] == tuple(int(match[i]) for i in (2, 3, 4)), path
        assert density_map.pixel_size == pytest.approx(pixel_size, abs=0.00051), path
        origin = re.search(r"origin ([-\d.]+),([-\d.]+),([-\d.]+)", match[5])
        if origin:
            assert density_map.origin == pytest.approx([float(value) for value in origin.groups()], abs=0.051), path
        compared += 1
    assert compared >= 35


def test_checksums_are_of_the_file_and_of_its_content(maps):
    for path in [path for path in maps if path.stat().st_size < 1e6 and path.name not in REFUSED]:
        _, record, _ = read_map(path, NEEDS_PIXEL_SIZE.get(path.name))
        assert record.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert record.sha256_content == hashlib.sha256(content(path)).hexdigest()


def test_origin_wins_over_start_and_agreement_is_silent(maps):
    """This file carries both, and they agree."""
    path = next(path for path in maps if path.name == "em_map.map")
    density_map, _, problems = read_map(path)
    assert density_map.origin == pytest.approx((-52.8, -10.56, -52.8), abs=1e-4)
    assert "IN-06" not in {problem.code for problem in problems}


def test_every_other_file_beside_the_maps_is_refused_by_name(real_data):
    kinds = {".pdb": "atomic model (PDB)", ".cif": "atomic model (mmCIF)", ".star": "STAR or CIF table", ".xml": "XML"}
    compared = 0
    for folder in FOLDERS:
        for path in sorted((real_data / folder).rglob("*")):
            kind = next((kinds[suffix] for suffix in reversed(path.suffixes) if suffix in kinds), None)
            if not path.is_file() or kind is None:
                continue
            density_map, _, problems = read_map(path)
            assert density_map is None and [problem.code for problem in problems] == ["IN-01"]
            assert kind in problems[0].found, (path, problems)
            compared += 1
    assert compared > 20


def test_particle_stacks_are_refused(real_data):
    stacks = sorted((real_data / "particles").rglob("*.mrcs.gz"))
    assert stacks
    for path in stacks:
        density_map, _, problems = read_map(path)
        assert density_map is None
        assert any(problem.code == "IN-24" and "particles" in problem.action for problem in problems), (path, problems)
