"""Two half maps beside a map: read, put on one grid, and every misfit told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.submission.written_maps import blob, mrc
from veritem.errors import InputError
from veritem.results import Severity
from veritem.submission import Submission, receive

SHAPE = (40, 36, 44)


def write(path: Path, shape=SHAPE, seed: int = 0, **header) -> Path:
    noise = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    path.write_bytes(mrc(blob(shape, tuple(n / 2 for n in shape), 5.0) + noise, **header))
    return path


def problems(caught) -> list[tuple[str, str]]:
    return [(p.code, p.field) for p in caught.value.problems if p.severity is Severity.ERROR]


def test_a_pair_is_received_with_its_records_and_identity(tmp_path):
    files = {
        name: write(tmp_path / f"{name}.mrc", seed=i) for i, name in enumerate(("map", "half_map_1", "half_map_2"))
    }
    received = receive(Submission.from_options(**files))
    assert received.half_maps.shape == SHAPE
    assert [r.role for r in received.inputs] == ["map", "half_map_1", "half_map_2"]
    swapped = files | {"half_map_1": files["half_map_2"], "half_map_2": files["half_map_1"]}
    identity = received.identities()["half_maps"]
    assert identity != receive(Submission.from_options(**swapped)).identities()["half_maps"]
    assert received.values()["half_maps"] is received.half_maps


def test_without_half_maps_there_are_none(tmp_path):
    assert receive(Submission.from_options(map=write(tmp_path / "map.mrc"))).half_maps is None


@pytest.mark.parametrize("given", ["half_map_1", "half_map_2"])
def test_one_half_map_alone_is_refused_by_name(tmp_path, given):
    files = {"map": write(tmp_path / "map.mrc"), given: write(tmp_path / "half.mrc")}
    with pytest.raises(InputError) as caught:
        receive(Submission.from_options(**files))
    (missing,) = {"half_map_1", "half_map_2"} - {given}
    assert problems(caught) == [("IN-08", missing)]


def test_half_maps_on_another_grid_are_refused_both_at_once(tmp_path):
    files = {
        "map": write(tmp_path / "map.mrc"),
        "half_map_1": write(tmp_path / "a.mrc", (40, 40, 40)),
        "half_map_2": write(tmp_path / "b.mrc", (44, 36, 40)),
    }
    with pytest.raises(InputError) as caught:
        receive(Submission.from_options(**files))
    assert problems(caught) == [("IN-09", "half_map_1"), ("IN-09", "half_map_2")]
    assert "40 × 36 × 44 voxels" in str(caught.value)


def test_other_headers_are_told_and_the_maps_frame_is_used(tmp_path):
    files = {
        "map": write(tmp_path / "map.mrc", voxel=(1.5, 1.5, 1.5), origin=(3.0, 0.0, 0.0)),
        "half_map_1": write(tmp_path / "a.mrc", voxel=(1.6, 1.6, 1.6), origin=(3.0, 0.0, 0.0)),
        "half_map_2": write(tmp_path / "b.mrc", voxel=(1.5, 1.5, 1.5)),
    }
    received = receive(Submission.from_options(**files))
    told = [(p.code, p.field, p.severity) for p in received.problems if p.code == "IN-09"]
    assert told == [("IN-09", "half_map_1", Severity.WARNING), ("IN-09", "half_map_2", Severity.WARNING)]
    for half in (received.half_maps.first, received.half_maps.second):
        assert half.pixel_size == received.density_map.pixel_size
        assert half.origin == received.density_map.origin


def test_a_broken_half_map_and_a_wrong_level_are_told_together(tmp_path):
    broken = tmp_path / "broken.mrc"
    broken.write_bytes(write(tmp_path / "a.mrc").read_bytes()[:5000])
    files = {"map": write(tmp_path / "map.mrc"), "half_map_1": broken, "half_map_2": write(tmp_path / "b.mrc")}
    with pytest.raises(InputError) as caught:
        receive(Submission.from_options(**files, contour_level=1e9))
    assert sorted(problems(caught)) == [("IN-11", "contour_level"), ("IN-23", "half_map_1")]


def test_paths_of_half_maps_in_a_description_are_relative_to_it(tmp_path):
    folder = tmp_path / "entry"
    folder.mkdir()
    for i, name in enumerate(("map", "one", "two")):
        write(folder / f"{name}.mrc", seed=i)
    (folder / "entry.toml").write_text('map = "map.mrc"\nhalf_map_1 = "one.mrc"\nhalf_map_2 = "two.mrc"\n')
    assert receive(Submission.from_file(folder / "entry.toml")).half_maps is not None
