"""Local truth, measured back region by region."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage

from veritem.numerics.fourier import frequency_grid, irfftn, rfftn
from veritem.simulation.half_maps import first_crossing, simulate_map
from veritem.simulation.local_resolution import BORDER, RegionalBlur, simulate_local_resolution
from veritem.simulation.models import ideal_protein

BOX, PIXEL_SIZE = 64, 1.6


@pytest.fixture(scope="module")
def model():
    return ideal_protein(residues=200, subunits=4, seed=6)


def interior(made, truth, region):
    """The molecule's voxels of a region that lie further from the others than the border reaches."""
    others = (truth.regions != region) & (truth.regions > 0)
    return made.truth.molecule & (scipy.ndimage.distance_transform_edt(~others, sampling=PIXEL_SIZE) > BORDER)


def masked_crossing(made, sd=0.004):
    """Å, where the FSC in the true mask crosses 0.143. Bands are cut out before masking, so none leaks into another."""
    frequencies = np.arange(0.1, 0.29, 0.01)
    grid = frequency_grid(made.half_1.shape, PIXEL_SIZE)
    transforms = [rfftn(half.data) for half in (made.half_1, made.half_2)]
    fsc = []
    for f in frequencies:
        band = np.exp(-((grid - f) ** 2) / (2 * sd**2))
        a, b = (irfftn(t * band, made.half_1.shape)[made.truth.mask].astype(np.float64) for t in transforms)
        fsc.append((a @ b) / np.sqrt((a @ a) * (b @ b)))
    return first_crossing(np.r_[0.0, frequencies], np.r_[1.0, fsc])


GOALS = (4.2, 6.5)


def uniform(model, gain):
    everywhere = RegionalBlur((np.ones((BOX,) * 3, np.float32),), (gain,))
    return simulate_map(model, BOX, PIXEL_SIZE, min(GOALS), seed=5, degrade=everywhere)


@pytest.mark.parametrize("kind", ["b_factor", "low_pass"])
def test_what_a_region_loses_brings_a_map_to_its_resolution(model, kind):
    _, truth = simulate_local_resolution(model, BOX, PIXEL_SIZE, GOALS, kind=kind, seed=5)
    for goal, gain in zip(GOALS, truth.gains, strict=True):
        made = uniform(model, gain)
        assert made.truth.resolution == pytest.approx(goal, abs=0.02)
        # A band lets power of its neighbours through with a standard deviation of 0.004 / sqrt(2): after a sharp edge
        # the strong shells before it, ten to a hundred times the noise, are seen 2.5 of these further out. Noise moves
        # the crossing by less: each band holds some 100 independent voxels.
        assert 1 / masked_crossing(made) == pytest.approx(1 / goal, abs=0.01)


@pytest.mark.parametrize("split", ["slabs", "shells"])
def test_inside_a_region_the_map_is_as_if_it_were_everywhere(model, split):
    made, truth = simulate_local_resolution(model, BOX, PIXEL_SIZE, GOALS, split=split, seed=5)
    for region, (goal, gain) in enumerate(zip(GOALS, truth.gains, strict=True), 1):
        whole = uniform(model, gain)
        own = interior(made, truth, region)
        assert own.sum() > 500
        assert np.abs(truth.resolution[own] - goal).max() < 0.01 * goal
        for which in ("half_1", "half_2"):
            a, b = (getattr(m, which).data[own] for m in (made, whole))
            # Four standard deviations of the border's edge away, the other region weighs less than 1e-4.
            assert np.abs(a - b).max() < 2e-4 * np.abs(b).max()


def test_local_truth_runs_from_one_value_to_the_other_within_the_border(model):
    made, truth = simulate_local_resolution(model, BOX, PIXEL_SIZE, (4.2, 7.0), seed=5)
    known = np.isfinite(truth.resolution)
    assert (known == made.truth.mask).all()
    assert truth.resolution[known].min() == pytest.approx(4.2, abs=0.05)
    assert truth.resolution[known].max() == pytest.approx(7.0, abs=0.1)
    edge = np.flatnonzero((truth.regions == 1).any((0, 1)))[-1] + 0.5
    x = np.arange(BOX) - edge
    for side, goal in ((x < -BORDER / PIXEL_SIZE, 4.2), (x > BORDER / PIXEL_SIZE, 7.0)):
        values = truth.resolution[:, :, side]
        assert np.nanmax(np.abs(values - goal)) < 0.02 * goal
    # It is never finer than both.
    profile = np.array([np.nanmean(truth.resolution[:, :, i]) for i in range(BOX) if known[:, :, i].any()])
    assert (np.diff(profile) > -0.02).all()


def test_one_region_is_the_uniform_map(model):
    made, truth = simulate_local_resolution(model, BOX, PIXEL_SIZE, (4.5,), seed=5)
    assert np.allclose(truth.resolution[made.truth.mask], made.truth.resolution, atol=0.02)
    assert made.truth.resolution == pytest.approx(4.5, abs=0.03)


def test_more_than_two_regions_and_an_unknown_split(model):
    _, truth = simulate_local_resolution(model, BOX, PIXEL_SIZE, (4.5, 6.0, 9.0), split="shells", seed=5)
    medians = [float(np.nanmedian(truth.resolution[truth.regions == region])) for region in (1, 2, 3)]
    assert medians == sorted(medians)
    with pytest.raises(ValueError, match='"slabs" or "shells"'):
        simulate_local_resolution(model, BOX, PIXEL_SIZE, (4.5, 6.0), split="octants")
