"""Real maps: what is known of them beforehand is what Veritem finds.

The short tier asks a few checks of a few maps; the long one (pytest -m full) sends every map through everything.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from benchmarks.real_maps import MAPS, RealMap
from veritem import api
from veritem.errors import InputError
from veritem.results import Outcome, ValidationResult

BY_NAME = {real_map.name: real_map for real_map in MAPS}


@cache
def validated(name: str, data: Path, *codes: str) -> ValidationResult:
    return _validate(BY_NAME[name], data, codes)


def _validate(real_map: RealMap, data: Path, codes: tuple[str, ...] = ()) -> ValidationResult:
    return api.validate(
        data / real_map.file,
        contour_level=real_map.contour_level,
        resolution=real_map.resolution,
        pixel_size=real_map.pixel_size,
        include=codes,
    )


def problem_codes(result: ValidationResult) -> set[str]:
    return {problem.code for problem in result.problems}


def test_a_masked_map_has_no_background_to_judge(real_data: Path) -> None:
    """EMD-0093 was masked to 4 Å around its model: zeros are no noise, and no statistics come of them."""
    check = validated("EMD-0093 (HCN4)", real_data, "0.c").check("0.c")
    assert check.outcome is Outcome.NOT_APPLICABLE
    assert "mask" in check.reason


def test_a_zoned_map_has_no_background_either(real_data: Path) -> None:
    check = validated("EMD-30342, chain A", real_data, "0.a", "0.c").check("0.c")
    assert check.outcome is Outcome.NOT_APPLICABLE


def test_a_tight_box_is_called_tight(real_data: Path) -> None:
    """The box was cut to the chain: a voxel or two are left on the tightest side."""
    check = validated("EMD-30342, chain A", real_data, "0.a", "0.c").check("0.a")
    assert check.outcome is Outcome.WARNING
    free = check.quantities["free_space"].value
    assert isinstance(free, float) and free < 4 * 1.113


def test_the_authors_level_of_groel_leaves_it_in_pieces(real_data: Path) -> None:
    """At 1.0 it encloses 280 000 Å³ in 83 pieces, as counted by other means; the 14-mer fills 870 000 Å³."""
    result = validated("EMD-1997 (GroEL), author's level", real_data, "0.b")
    check = result.check("0.b")
    assert check.outcome is Outcome.WARNING
    assert any("component" in warning.warning for warning in check.warnings)
    volume = result.facts["enclosed_volume"].value
    # The count of voxels is exact; "280 000" has two digits.
    assert isinstance(volume, float) and volume == pytest.approx(280_000, abs=5_000)


def test_the_estimated_level_of_groel_shows_one_body_of_its_volume(real_data: Path) -> None:
    """The estimate is good to a factor of 1.6 in volume, as its own note says."""
    result = validated("EMD-1997 (GroEL), no level", real_data, "0.b")
    assert result.check("0.b").outcome is Outcome.PASS
    volume = result.facts["enclosed_volume"].value
    assert isinstance(volume, float) and 870_000 / 1.6 < volume < 870_000 * 1.6


def test_a_crystal_fills_its_box(real_data: Path) -> None:
    """A unit cell has neighbours on all sides: its density lies on the faces, and there is no pass."""
    check = validated("EMD-30288 (7C4U), a crystal", real_data, "0.a").check("0.a")
    assert check.outcome in (Outcome.INCONCLUSIVE, Outcome.WARNING)
    assert check.quantities["continues_along"].value != "none" or "clipped" in str(check.warnings)


def test_a_filament_goes_on_along_one_axis(real_data: Path) -> None:
    """F-actin runs along z through the whole box, as deposited; that is no clipping."""
    check = validated("EMD-5168 (F-actin)", real_data, "0.a").check("0.a")
    assert check.quantities["continues_along"].value == "z"
    assert "filament" in check.reason
    assert check.quantities["clipped"].value == 0.0


def test_voxels_that_cannot_hold_the_resolution_are_told(real_data: Path) -> None:
    """TRPML1 at 3.7 Å was resampled to 2.64 Å voxels: nothing finer than 5.28 Å is left in the file."""
    result = validated("EMD-6824 (TRPML1)", real_data, "0.d")
    assert "IN-12" in problem_codes(result)
    assert result.check("0.d").outcome is not Outcome.PASS


def test_a_pixel_size_of_one_is_doubted(real_data: Path) -> None:
    """The header says 1.0 Å where 3.54 Å is right."""
    assert "IN-26" in problem_codes(validated("β-galactosidase, its local resolution", real_data, "0.a"))


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("EMD-3001 (MicroED)", "IN-25"),
        ("A tiny crystal map", "IN-25"),
        ("A single image", "IN-24"),
        ("A corrupt header", "IN-23"),
        ("A synthetic ribosome, no pixel size", "IN-03"),
    ],
)
def test_what_is_no_single_particle_map_is_refused(name: str, code: str, real_data: Path) -> None:
    with pytest.raises(InputError) as refused:
        _validate(BY_NAME[name], real_data)
    errors = {p.code for p in refused.value.problems if p.severity == "error"}
    assert code in errors


def test_the_table_names_every_map_of_the_data(real_data: Path) -> None:
    """A map that is added to the data is added to the benchmark."""
    suffixes = {".mrc", ".map", ".ccp4", ".em"}
    there = set()
    for folder in ("maps_with_models", "maps_only", "format_edge_cases/maps"):
        for path in (real_data / folder).rglob("*"):
            plain = path.with_suffix("") if path.suffix == ".gz" else path
            if path.is_file() and plain.suffix in suffixes:
                there.add(path.relative_to(real_data).as_posix())
    assert there == {real_map.file for real_map in MAPS}


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("real_map", MAPS, ids=lambda m: m.name)
def test_every_map_is_judged_or_refused_for_a_reason(real_map: RealMap, real_data: Path) -> None:
    """No check crashes on any map, and a refusal names a problem."""
    try:
        result = _validate(real_map, real_data)
    except InputError as refused:
        assert any(problem.severity == "error" for problem in refused.problems)
        return
    failed = {check.code: check.error for check in result.checks if check.outcome is Outcome.FAILED}
    assert not failed
    for check in result.checks:
        if check.outcome in (Outcome.INCONCLUSIVE, Outcome.NOT_APPLICABLE):
            assert check.reason, f"{check.code} is {check.outcome} and does not say why"
