"""The demonstration is a sound entry that the readers accept."""

from __future__ import annotations

import tomllib

import mrcfile
import numpy as np
import pytest

from veritem.simulation import demo
from veritem.simulation.models import load_model
from veritem.submission import Submission, receive


def test_demo_entry_is_written_and_received(tmp_path):
    entry = demo.write_demo_map(tmp_path)
    content = tomllib.loads(entry.read_text("utf-8"))
    assert content["resolution"] == pytest.approx(demo.RESOLUTION, abs=0.011)
    received = receive(Submission.from_file(entry))
    assert received.problems == ()
    with mrcfile.open(tmp_path / "demo.mrc") as mrc:
        data, pixel_size = mrc.data.copy(), float(mrc.voxel_size.x)
        origin = np.array([float(mrc.header.origin[name]) for name in "xyz"])
    assert data.shape == (demo.BOX_SIZE,) * 3
    assert pixel_size == pytest.approx(demo.PIXEL_SIZE, rel=1e-6)
    model = load_model(tmp_path / "demo.cif")
    assert model.molecular_weight / 1e3 == pytest.approx(content["molecular_weight_kda"], abs=0.051)
    # The written model lies in the written map: nearly all of its atoms are above the contour.
    z, y, x = np.rint((model.positions - origin)[:, ::-1].T / pixel_size).astype(int)
    assert (data[z, y, x] > content["contour_level"]).mean() > 0.8
    # 30 Å are free on every side: room for the defocus, as check 0.a asks of a map at 3.2 Å.
    room = np.minimum(model.positions.min(0) - origin, origin + demo.BOX_SIZE * pixel_size - model.positions.max(0))
    assert room.min() > 30
