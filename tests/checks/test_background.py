"""0.c on noise with known faults, each at the dose that its page names; the clean control stays silent."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from veritem.checks.base import Verdict, judge
from veritem.checks.level_0.background import Background, BackgroundMeasurement
from veritem.derived.noise import noise_region, noise_spectrum
from veritem.errors import NotApplicable
from veritem.numerics.background import Coarse, choose_tiles, coarse_region, hemisphere
from veritem.numerics.density_map import DensityMap
from veritem.numerics.fourier import low_pass
from veritem.results import Outcome

BOX = 64
CONTRAST = 5.0


@cache
def particle() -> tuple[np.ndarray, np.ndarray]:
    axes = np.indices((BOX,) * 3) - BOX // 2
    ball = np.sqrt((axes**2).sum(axis=0)) < 13
    distance = distance_transform_edt(~ball) - distance_transform_edt(ball)
    return ball, distance.astype(np.float32)


@cache
def sound(seed: int = 5) -> np.ndarray:
    """A particle of density 5 in noise of deviation 1, low-passed at 4 Å."""
    white = np.random.default_rng(seed).standard_normal((BOX,) * 3, dtype=np.float32)
    noise = low_pass(white, 1.0, 0.25)
    return noise / noise.std() + CONTRAST * particle()[0].astype(np.float32)


def examine(values: np.ndarray, seed: int = 1, threads: int = 1) -> tuple[BackgroundMeasurement, Verdict]:
    ball, distance = particle()
    density_map = DensityMap(values.astype(np.float32), 1.0)
    region = noise_region(density_map, ball, distance, 4.0)
    spectrum = noise_spectrum(density_map, region, 1) if region.available else None
    check = Background()
    measured = check.measure(density_map, distance, region, spectrum, seed=seed, threads=threads)  # type: ignore[arg-type]
    return measured, judge(check, measured)


def warned(verdict: Verdict) -> set[str]:
    return {r.quantity for r in verdict.criteria if r.outcome is Outcome.WARNING}


def test_sound_map_passes():
    measured, verdict = examine(sound())
    assert verdict.outcome is Outcome.PASS, verdict
    # One map of a hundred would fail this; the seed is fixed and its map is not one of them.
    assert measured.family_p.value > 0.01
    assert "noise as far as can be told" in Background().summary(measured)


def test_same_seed_same_answer_whatever_the_threads():
    first, second = examine(sound(), threads=1)[0], examine(sound(), threads=2)[0]
    assert first.statistics.p == second.statistics.p
    assert examine(sound(), seed=2)[0].statistics.p != first.statistics.p


def test_answer_does_not_depend_on_the_grey_scale():
    first, second = examine(sound())[0], examine(0.004 * sound())[0]
    assert second.offset.value == pytest.approx(first.offset.value, abs=1e-5)
    assert second.outlier_excess.value == pytest.approx(first.outlier_excess.value, abs=1e-3)


@pytest.mark.parametrize(("share", "expected"), [(0.001, set()), (0.01, set()), (0.10, {"offset"})])
def test_offset_warns_beyond_five_percent_of_the_particle(share, expected):
    measured, verdict = examine(sound() + share * CONTRAST)
    assert warned(verdict) == expected
    # The mean of 15 000 independent voxels is known to 1/122 of sigma, 0.16 % of the contrast; the contrast to 1 %.
    assert measured.offset.value == pytest.approx(share, abs=4 * 0.0016 + 0.012 * share + share**2)
    low, high = measured.offset.interval
    assert low < measured.offset.value < high


def test_certain_but_small_offset_is_told_and_not_warned():
    measured, verdict = examine(sound() + 0.02 * CONTRAST)
    assert measured.offset_p.value < 0.01
    assert verdict.outcome is Outcome.PASS
    assert "too small to matter" in Background().summary(measured)


def test_box_mean_of_zero_is_recognised():
    values = sound() + 3 * particle()[0]
    large = np.where(particle()[1] < 6, values + 6, values)
    measured, verdict = examine(large - large.mean())
    assert measured.background_mean.value < -0.05 * measured.reference
    assert "offset" not in warned(verdict)
    assert any("mean of the whole box is zero" in c for c in measured.caveats)


@pytest.mark.parametrize(("depth", "expected"), [(0.0, set()), (0.05, set()), (0.20, {"halo"})])
def test_dark_halo(depth, expected):
    distance = particle()[1]
    measured, verdict = examine(sound() - depth * CONTRAST * ((distance > 0) & (distance <= 15)))
    assert warned(verdict) == expected
    if depth:
        # The background starts at 6 Å; a cell that straddles the end of the halo holds a part of it. The offset of
        # the far cells, of which a tenth lies in the halo, takes up as much of its depth.
        assert -1.05 * depth < measured.halo.value < -0.75 * depth
        assert measured.halo_p.value < 0.01


def test_bright_shell():
    distance = particle()[1]
    _, verdict = examine(sound() + 0.2 * CONTRAST * ((distance > 12) & (distance <= 18)))
    assert "shell" in warned(verdict)


@pytest.mark.parametrize(("height", "expected"), [(5.0, set()), (8.0, {"outlier_excess"})])
def test_hot_voxels(height, expected):
    values = sound().copy()
    outside = np.flatnonzero(particle()[1] > 13)
    picked = np.random.default_rng(3).choice(outside, 10, replace=False)
    values.reshape(-1)[picked] = height
    measured, verdict = examine(values)
    assert warned(verdict) == expected
    assert measured.highest.value == pytest.approx(height, rel=0.03)
    if expected:
        found = {tuple(p) for p in measured.statistics.peaks[:10]}
        assert found == set(zip(*(map(int, a) for a in np.unravel_index(picked, values.shape)), strict=True))


def test_body_in_the_background_is_a_cluster():
    values = sound().copy()
    values[4:9, 4:9, 4:9] += 4.6
    assert "cluster_ratio" in warned(examine(values)[1])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_streaks_along_an_axis(axis):
    lines = low_pass(np.random.default_rng(4).standard_normal((1, BOX, BOX), dtype=np.float32), 1.0, 0.25)
    lines = np.moveaxis(lines / lines.std(), 0, axis)
    measured, verdict = examine(sound() + 0.6 * lines)
    assert warned(verdict) == {"directional_excess"}
    # A belt across the streaks holds their power: the direction named is the axis, within a cell's spacing.
    s = measured.statistics
    belt = s.axes[int(np.argmax(s.relative_power[len(s.axes) :]))]
    assert abs(belt[2 - axis]) > np.cos(np.deg2rad(15))


def test_fainter_streaks_do_not_warn():
    lines = low_pass(np.random.default_rng(4).standard_normal((1, BOX, BOX), dtype=np.float32), 1.0, 0.25)
    measured, verdict = examine(sound() + 0.2 * lines / lines.std())
    assert verdict.outcome is Outcome.PASS
    assert measured.directional_excess.value < 0.3


def test_noise_that_falls_with_the_radius_is_no_outlier():
    """As a reconstruction's noise does; divided by its overall deviation it would show 7 sigma."""
    axes = np.indices((BOX,) * 3) - BOX // 2
    fall = np.exp(-np.sqrt((axes**2).sum(axis=0)) / 40)
    noise = sound() - CONTRAST * particle()[0]
    values = noise * fall / fall[particle()[1] > 12].mean() + CONTRAST * particle()[0]
    measured, verdict = examine(values)
    assert not {"outlier_excess", "cluster_ratio"} & warned(verdict)
    assert measured.highest_p.value > 0.01


def test_noise_without_a_particle_is_judged_and_says_so():
    measured, verdict = examine(sound() - CONTRAST * particle()[0])
    assert verdict.outcome in (Outcome.PASS, Outcome.INCONCLUSIVE)
    assert measured.reference == pytest.approx(1.0, abs=0.05)
    assert any("does not rise above the noise" in c for c in measured.caveats)


def test_masked_map_is_not_applicable_and_says_why():
    with pytest.raises(NotApplicable, match="hold exactly 0: the map is masked"):
        examine(sound() * (particle()[1] < 5))


def test_what_cannot_be_asked_is_left_open():
    """Noise in a thin shell between two masks: enough voxels, too few blocks. The offset is undecided, not passed."""
    ball, distance = particle()
    values = np.where(distance < 17, sound(), 0.0).astype(np.float32)
    density_map = DensityMap(values, 1.0)
    region = noise_region(density_map, ball, distance, 2.0)
    assert region.available, region.reason
    check = Background()
    measured = check.measure(density_map, distance, region, noise_spectrum(density_map, region, 1), seed=1, threads=1)
    verdict = judge(check, measured)
    assert "offset" not in measured.statistics.p
    assert measured.offset.value is None
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "too few to judge an offset" in verdict.reason
    assert "profile" not in {f.key for f in check.figures(measured)}
    assert check.tables(measured)[0].rows[0][1] == "not determinable"


def test_noise_on_an_imposed_axis_is_no_outlier():
    """Four-fold symmetry doubles the deviation of the noise on its axis: 8 sigma there is 4 sigma elsewhere."""
    box = 65
    axes = np.indices((box,) * 3) - box // 2
    radius = np.sqrt((axes**2).sum(axis=0))
    ball, distance = radius < 13, np.minimum(radius - 13, 60).astype(np.float32)
    white = np.random.default_rng(6).standard_normal((box,) * 3, dtype=np.float32)
    noise = low_pass(white, 1.0, 1 / 3)
    noise = sum(np.rot90(noise, k, (1, 2)) for k in range(4))
    noise /= noise.std()
    # The axis passes through voxel 32 of y and x; plant what noise may well do there.
    noise[60, 32, 32] = 7.6
    density_map = DensityMap((noise + 6 * ball).astype(np.float32), 1.0)
    region = noise_region(density_map, ball, distance, 3.0)
    check = Background()
    measured = check.measure(density_map, distance, region, noise_spectrum(density_map, region, 1), seed=1, threads=1)
    assert measured.statistics.symmetry == (4,)
    assert measured.statistics.peak_z[0] > 7
    assert not {"outlier_excess", "cluster_ratio"} & warned(judge(check, measured))
    assert any("4-fold" in c for c in measured.caveats)
    # The same voxel off the axis is an outlier.
    noise[60, 32, 32], noise[60, 10, 20] = 0.0, 7.6
    density_map = DensityMap((noise + 6 * ball).astype(np.float32), 1.0)
    region = noise_region(density_map, ball, distance, 3.0)
    measured = check.measure(density_map, distance, region, noise_spectrum(density_map, region, 1), seed=1, threads=1)
    assert "outlier_excess" in warned(judge(check, measured))


def test_figures_hold_what_they_promise():
    values = sound().copy()
    values[5, 6, 7] = 9.0
    measured, _ = examine(values)
    figures = {f.key: f for f in Background().figures(measured)}
    assert set(figures) == {"histogram", "profile", "slices", "directions"}
    histogram = figures["histogram"]
    assert sum(histogram.counts) == measured.region.sum()
    # Gaussian noise: the curve runs through the bars where they hold thousands of voxels.
    curve = np.interp(
        histogram.expected[0].x, 0.5 * (np.array(histogram.edges[1:]) + histogram.edges[:-1]), histogram.counts
    )
    full = np.array(histogram.expected[0].y) > 5000
    assert curve[full] == pytest.approx(np.array(histogram.expected[0].y)[full], rel=0.1)
    slices = figures["slices"]
    for panel in slices.panels:
        assert {panel.image, panel.outline} <= set(slices.arrays)
        assert slices.arrays[panel.image].shape == (BOX, BOX)
    tables = {t.key: t for t in Background().tables(measured)}
    assert tables["outliers"].rows[0][:3] == (7, 6, 5)  # x, y, z


def test_page_is_complete():
    check = Background()
    assert check.question() == "Is the background structureless noise of mean zero?"
    assert check.misleads().startswith("Misleads when")
    assert len(check.method()) > 500
    assert set(check.uses()) >= {"density_map", "noise_region", "noise_spectrum", "seed", "threads"}


# --- parts ----------------------------------------------------------------------------------------------------


def test_standard_errors_of_the_profile_are_right_for_noise():
    """The departure of each bin over its standard error has variance 1 over many fields."""
    _ball, distance = particle()
    coarse = coarse_region(distance > 6, distance, 12.0, 1.0, zero_lag=4.0)
    assert isinstance(coarse, Coarse)
    ratios = []
    for seed in range(150):
        white = np.random.default_rng(seed).standard_normal((BOX,) * 3, dtype=np.float32)
        values = low_pass(white, 1.0, 0.25)
        edge, grid = coarse.edge, coarse.valid.shape
        cut = values[: grid[0] * edge, : grid[1] * edge, : grid[2] * edge]
        padded = np.zeros([g * edge for g in grid])
        padded[: cut.shape[0], : cut.shape[1], : cut.shape[2]] = cut
        cells = padded.reshape(grid[0], edge, grid[1], edge, grid[2], edge).mean(axis=(1, 3, 5))[coarse.valid]
        departure, error, _ = coarse.halo(cells)
        ratios.append(departure / error)
    variance = np.var(ratios, axis=0)
    # Chi-square over 150 fields: a standard deviation of 12 %; the cells straddling the ball hold parts of it.
    assert variance == pytest.approx(1.0, abs=4 * (2 / 150) ** 0.5)


def test_tiles_do_not_overlap_and_hold_the_region():
    region = np.ones((150, 140, 100), bool)
    region[40:110, 40:100, 20:80] = False
    tiles = choose_tiles(region)
    assert 2 <= len(tiles) <= 8
    used = np.zeros(region.shape, int)
    for tile in tiles:
        used[tile.slices] += 1
        assert tile.voxels == region[tile.slices].sum()
    assert used.max() == 1
    assert len(choose_tiles(region[:90, :90, :90])) == 1


def test_hemisphere_is_even():
    points = hemisphere(192)
    assert np.linalg.norm(points, axis=1) == pytest.approx(1.0)
    # Equal area: z is uniform on (0, 1), and no direction is preferred.
    assert points[:, 2].mean() == pytest.approx(0.5, abs=0.01)
    assert np.abs(points[:, :2].mean(axis=0)).max() < 0.02
