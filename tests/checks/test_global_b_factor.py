"""0.d on maps whose B-factor, cut-off and noise are planted."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from scipy.stats import binom

from tests.checks.by_name import Values, outcomes
from veritem.checks.level_0.global_b_factor import TOLERATED, GlobalBFactor, sharpened, strongest_blur
from veritem.errors import Inconclusive, NotApplicable
from veritem.numerics.density_map import DensityMap
from veritem.numerics.distance import signed_distance
from veritem.numerics.fourier import frequency_grid, gaussian_filter, low_pass, rfftn
from veritem.numerics.masks import raised_cosine_edge
from veritem.results import CurveFigure, Outcome
from veritem.simulation.half_maps import SimulatedMap, simulate_map
from veritem.simulation.models import AtomicModel, ideal_protein, load_model
from veritem.simulation.noise import low_passed_noise

PIXEL_SIZE, RESOLUTION, ATOMIC_B = 1.1, 3.2, 20.0


@lru_cache(maxsize=1)
def protein() -> AtomicModel:
    return ideal_protein(residues=260, subunits=2, seed=5)


@lru_cache(maxsize=8)
def deposited(planted: float, box: int = 104, noise: float = RESOLUTION, seed: int = 1) -> SimulatedMap:
    """Atoms at 20 Å², imaging blur, sharpening: together the planted B-factor. Low-passed at 3.2 Å."""
    blur = max(60.0, -planted - ATOMIC_B)
    return simulate_map(
        protein(), box, PIXEL_SIZE, resolution=noise, b_factor=blur, sharpen=planted + ATOMIC_B + blur,
        atomic_b_factor=ATOMIC_B, seed=seed,
    )  # fmt: skip


def values(density_map: DensityMap, resolution: float | None = RESOLUTION) -> Values:
    return Values(density_map=density_map, reported_resolution=resolution, molecular_weight=protein().molecular_weight)


# Proteins that are not behind the reference spectrum, and small enough for a box of 110 voxels.
HELD_OUT = (
    "1ai2", "1emh", "1ib1", "1z5s", "2bgg", "2cfq", "2v7o", "2y8w", "3bam", "3dwo", "4alw", "4tq3",
)  # fmt: skip
PLANTED = (30.0, 0.0, -60.0, -150.0, -250.0, -400.0)


@pytest.fixture(scope="module")
def recovered(real_data) -> list[tuple[float, float, float, float]]:
    """Planted B, measured B and its interval of 24 maps: 12 proteins, each with two of six B-factors, own noise."""
    found = []
    for k, name in enumerate(2 * HELD_OUT):
        model = load_model(real_data / "training_models" / f"{name}.pdb.gz")
        planted = PLANTED[(k + k // len(HELD_OUT)) % len(PLANTED)]
        blur = max(60.0, -planted - ATOMIC_B)
        density_map = simulate_map(
            model, 110, PIXEL_SIZE, resolution=RESOLUTION, b_factor=blur, sharpen=planted + ATOMIC_B + blur,
            atomic_b_factor=ATOMIC_B, occupancy=1.0, seed=k,
        ).density_map  # fmt: skip
        inputs = Values(
            density_map=density_map, reported_resolution=RESOLUTION, molecular_weight=model.molecular_weight
        )
        b = inputs.measure(GlobalBFactor()).b_factor
        found.append((planted, b.value, *b.interval))
    return found


def test_planted_b_factors_are_recovered_without_bias(recovered):
    """The mean error over proteins is within 10 Å², and so is that of either half, the sharp and the blurred.

    One protein errs by some 15 Å² (half of an interval's width): the mean of 12 by 4, of 24 by 3. What is left of
    10 Å² is what the models lack that the reference holds: half of the hydrogens, 5 Å² between 10 and 3.5 Å.
    """
    planted, measured = np.array(recovered).T[:2]
    error = measured - planted
    sharp = planted > -100
    for part in (np.ones(error.size, bool), sharp, ~sharp):
        assert abs(error[part].mean()) < 10.0
    # A protein that errs by more than 10 % of a strong decay, or 45 Å² of any (three times 15), is no matter of noise.
    assert (abs(error) < np.maximum(45.0, 0.1 * abs(planted))).all()


def test_the_interval_holds_the_truth_as_often_as_it_says(recovered):
    """95 % intervals of 24 maps: fewer hits than 19 have a chance below 0.2 % where 95 % is true."""
    planted, _, low, high = np.array(recovered).T
    hits = int(((low <= planted) & (planted <= high)).sum())
    assert hits > binom.ppf(0.002, planted.size, 0.95) - 1
    # An interval that says something: the median is no wider than what 0.d tolerates unseen.
    assert np.median(high - low) < TOLERATED


@lru_cache(maxsize=32)
def invented(planted: float, seed: int) -> float:
    """The measured B of an invented protein."""
    blur = max(60.0, -planted - ATOMIC_B)
    density_map = simulate_map(
        ideal_protein(residues=160, subunits=2, seed=seed), 88, PIXEL_SIZE, resolution=RESOLUTION, b_factor=blur,
        sharpen=planted + ATOMIC_B + blur, atomic_b_factor=ATOMIC_B, seed=10 * seed + round(abs(planted)),
    ).density_map  # fmt: skip
    inputs = Values(density_map=density_map, reported_resolution=RESOLUTION, molecular_weight=37000.0)
    return float(inputs.measure(GlobalBFactor()).b_factor.value)


@pytest.mark.parametrize("planted", [30.0, -60.0, -150.0, -300.0])
def test_a_difference_in_b_factor_is_found(planted):
    """An invented protein has a spectrum of its own, which looks like a B of -25 to -50 Å²; the difference
    between two of its maps is free of it where both are fitted over the same range.

    The range ends earlier the stronger the decay, and what of its own spectrum is left out changes the difference by
    up to 25 Å² for one protein; that is half as much for the mean of four. Within 10 % or 12 Å², whichever is more.
    """
    difference = np.mean([invented(planted, seed) - invented(0.0, seed) for seed in (1, 2, 3, 4)])
    assert abs(difference - planted) <= max(0.1 * abs(planted), 12.0)


def test_oversharpening_warns_and_common_practice_does_not():
    """60 Å² too much is a warning; B = 0, and 18 Å² too much (a flat Guinier plot at 3.2 Å), are none."""
    found = {b: outcomes(values(deposited(b).density_map).judged(GlobalBFactor())[1]) for b in (60.0, 18.0, 0.0)}
    assert found[60.0]["surely_above"] == "warning"
    assert found[18.0]["surely_above"] == "pass"
    assert found[0.0]["surely_above"] == "pass"


def test_strong_blur_warns():
    _, verdict = values(deposited(-450.0).density_map).judged(GlobalBFactor())
    assert outcomes(verdict)["blur_at_resolution"] == "warning"
    assert "strongly blurred" in verdict.criteria[1].warning


def test_how_much_blur_is_strong_depends_on_the_resolution():
    """−300 Å² leave exp(-300 / (4 x 3.5²)) = 0.22 % at 3.5 Å; the limit leaves as much at any coarser resolution."""
    assert strongest_blur(2.0) == strongest_blur(3.5) == -300.0
    for resolution in (4.0, 6.6, 8.0):
        left = np.exp(strongest_blur(resolution) / (4 * resolution**2))
        assert left == pytest.approx(np.exp(-300.0 / (4 * 3.5**2)))
    coarse = simulate_map(
        protein(), 80, 2.0, resolution=6.0, b_factor=500.0, sharpen=0.0, atomic_b_factor=ATOMIC_B, seed=1
    )
    measurement, verdict = values(coarse.density_map, 6.0).judged(GlobalBFactor())
    assert measurement.b_factor.interval[1] < -300.0
    assert outcomes(verdict)["blur_at_resolution"] == "pass"
    assert measurement.blur_at_resolution.value == pytest.approx(measurement.b_factor.value * (3.5 / 6.0) ** 2)


@pytest.mark.parametrize("mask", ["bare", "hard", "tight", "soft"])
def test_a_map_blurred_beyond_recognition_never_passes(mask):
    """Blurred by a Gaussian to −100 ... −4000 Å²; then a depositor's mask: none, hard at 3 Å from the molecule, hard
    within its surface, or with an edge of 6 Å.

    No pass beyond −400 Å² where the limit is −300; a pass holds the truth in its interval, or within 25 Å² of it,
    which an invented protein's own spectrum is off. (The noise of a masked map shifts it by up to the same.) What
    surely ends is told: at least half of the maps beyond −400 Å² warn, the others say what hides the answer.
    """
    sound = deposited(0.0)
    distance = signed_distance(sound.truth.mask, PIXEL_SIZE, 60.0)
    weight = {
        "bare": np.float32(1), "hard": distance <= 0, "tight": distance < -2.5,
        "soft": raised_cosine_edge(distance, 6.0),
    }[mask]  # fmt: skip
    warnings = 0
    blurs = (-100.0, -250.0, -400.0, -700.0, -1200.0, -2000.0, -4000.0)
    for b in blurs:
        sigma = np.sqrt(-b / (8 * np.pi**2)) / PIXEL_SIZE
        data = (gaussian_filter(sound.density_map.data, sigma) * weight).astype(np.float32)
        measurement, verdict = values(replace(sound.density_map, data=data)).judged(GlobalBFactor())
        warnings += verdict.outcome is Outcome.WARNING and b <= -400
        if verdict.outcome is Outcome.PASS:
            assert b > -400, b
            low, high = measurement.b_factor.interval
            assert low - 25 <= b <= high + 25
        if measurement.line is None:
            assert measurement.b_factor.value is None
            assert measurement.undecided
            assert "own" in GlobalBFactor().summary(measurement)
            assert GlobalBFactor().maps(measurement) == []
            (figure,) = GlobalBFactor().figures(measurement)
            assert {series.role for series in figure.series} >= {"data", "other"}
    assert warnings >= sum(b <= -400 for b in blurs) / 2


@pytest.mark.parametrize("planted", [-60.0, -150.0])
def test_a_map_that_was_cut_at_a_level_is_undecided(planted):
    """All below a fifth of the maximum set to zero: the edge follows the molecule, sharp as it is, and hides it.

    Its amplitudes do not fall as those of a blurred map do, so that no end may be claimed either.
    """
    sound = deposited(planted)
    data = sound.density_map.data
    inputs = values(replace(sound.density_map, data=np.where(data > data.max() / 5, data, np.float32(0))))
    inputs.known["given_contour_level"] = float(data.max() / 5)
    measurement, verdict = inputs.judged(GlobalBFactor())
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert measurement.map_ends_at.value is None
    assert "masks" in verdict.reason


def test_what_masks_leave_of_a_map_without_detail_is_known():
    """A ball of 20 Å that falls off as a Gaussian of 12 Å holds nothing at 6 Å: all there is comes from the mask.

    The average along the edge is the map itself here, but for the voxels' staircase: within a factor of two.
    """
    n, px = 80, 1.5
    z, y, x = np.meshgrid(*(np.arange(n) - n // 2,) * 3, indexing="ij")
    radius = px * np.sqrt(z**2 + y**2 + x**2)
    smooth = np.exp(-0.5 * (radius / 12.0) ** 2)
    inputs = values(DensityMap(np.where(radius < 22, smooth, 0).astype(np.float32), px), 4.0)
    inputs.known["given_contour_level"] = float(np.exp(-0.5 * (20 / 12.0) ** 2))
    spectrum = inputs["map_spectrum"]
    fine = (spectrum.frequency > 1 / 10.0) & (spectrum.frequency < 1 / 4.0)
    ratio = spectrum.power[fine] / spectrum.edge_power[fine]
    assert 0.5 < np.exp(np.log(ratio).mean()) < 2.0
    # A map with all its detail stands out of it by far: 20 times at every frequency.
    sound = values(deposited(0.0).density_map)["map_spectrum"]
    fine = (sound.frequency > 1 / 9.0) & (sound.frequency < 1 / RESOLUTION)
    assert (sound.power[fine] > 20 * sound.edge_power[fine]).all()


def test_padding_does_not_matter():
    """The same noise-free map in a box 40 % larger: the mask is the same, so that B moves by less than 1 Å²."""
    small = deposited(-80.0, noise=2.3)
    wide = np.pad(small.truth.signal.data, 21)
    origin = tuple(o - 21 * PIXEL_SIZE for o in small.density_map.origin)
    level = small.truth.contour_level
    rng = np.random.default_rng(0)
    found = []
    for data, where in ((small.truth.signal.data, small.density_map.origin), (wide, origin)):
        noisy = data + 0.01 * level * rng.standard_normal(data.shape).astype(np.float32)
        inputs = values(DensityMap(noisy, PIXEL_SIZE, where))
        inputs.known["given_contour_level"] = level
        found.append(inputs.measure(GlobalBFactor()).b_factor.value)
    assert abs(found[0] - found[1]) < 1.0


def test_a_low_pass_short_of_the_reported_resolution_is_named():
    """Cut at 5 Å with an edge of 0.02 1/Å, whose middle is at 4.76 Å; shells are 0.009 1/Å wide: ± 0.25 Å."""
    whole = deposited(-60.0)
    cut = replace(whole.density_map, data=low_pass(whole.density_map.data, PIXEL_SIZE, 0.2, 0.02))
    measurement, verdict = values(cut).judged(GlobalBFactor())
    assert outcomes(verdict)["end_over_reported"] == "warning"
    assert measurement.map_ends_at.value == pytest.approx(4.76, abs=0.3)
    assert measurement.fit_to.value >= 4.7
    assert outcomes(values(whole.density_map).judged(GlobalBFactor())[1])["end_over_reported"] == "pass"


def test_a_masked_map_gives_a_bound():
    """Zeros outside: no noise to take off. The interval then reaches further down.

    A rise that noise could have made is undecided; one beyond all noise that the resolution allows is a warning.
    """
    simulated = deposited(-60.0)
    mask = simulated.truth.mask.astype(np.float32)
    masked = replace(simulated.density_map, data=simulated.density_map.data * mask)
    bare = values(masked).measure(GlobalBFactor())
    whole = values(simulated.density_map).measure(GlobalBFactor())
    assert bare.signal_at_limit.value is None
    assert any("could not be measured" in caveat for caveat in bare.caveats)
    low, high = bare.b_factor.interval
    assert low <= -60.0 <= high
    assert high - low > whole.b_factor.interval[1] - whole.b_factor.interval[0]
    found = {}
    for planted in (30.0, 75.0):
        rising = deposited(planted)
        masked = replace(rising.density_map, data=rising.density_map.data * mask)
        _, found[planted] = values(masked).judged(GlobalBFactor())
    assert found[30.0].outcome.value == "inconclusive"
    assert "noise" in found[30.0].reason
    assert found[75.0].outcome.value == "warning"


def test_what_it_does_not_apply_to():
    with pytest.raises(NotApplicable, match=r"8 Å or better"):
        values(deposited(-60.0).density_map, resolution=9.0).measure(GlobalBFactor())
    with pytest.raises(NotApplicable, match=r"shells lie between"):
        values(deposited(-60.0).density_map, resolution=7.5).measure(GlobalBFactor())


def test_noise_has_no_b_factor():
    data = low_passed_noise((72, 72, 72), 1.1, 3.0, 1.0, np.random.default_rng(0))
    inputs = Values(density_map=DensityMap(data, 1.1), reported_resolution=3.2)
    z, y, x = np.meshgrid(*(np.arange(72) - 36,) * 3, indexing="ij")
    inputs.known["hard_mask"] = z**2 + y**2 + x**2 < 15**2
    with pytest.raises(Inconclusive, match="noise"):
        inputs.measure(GlobalBFactor())


def test_the_filter_is_the_exponential_it_says():
    """White noise: amplitudes are multiplied by exp(75 f²) up to the resolution and are gone beyond its edge."""
    data = np.random.default_rng(0).standard_normal((48, 54, 60)).astype(np.float32)
    before, after = rfftn(data), rfftn(sharpened(DensityMap(data, 1.2), -300.0, 4.0, 1))
    for k, f in ((8, 8 / 72.0), (16, 16 / 72.0)):
        assert abs(after[0, 0, k] / before[0, 0, k] - np.exp(75.0 * f**2)) < 1e-3 * np.exp(75.0 * f**2)
    assert abs(after[0, 0, 20]) < 1e-3 * abs(before[0, 0, 20])


def test_the_gain_of_sharpening_is_bounded():
    """B of −3000 Å² would multiply by exp(47) at 4 Å; it is e^6, and the map stays finite. Beyond: nothing."""
    data = np.random.default_rng(0).standard_normal((48, 48, 48)).astype(np.float32)
    before, after = rfftn(data), rfftn(sharpened(DensityMap(data, 1.2), -3000.0, 4.0, 1))
    gain = abs(after[0, 0, 1:]) / abs(before[0, 0, 1:])
    f = np.arange(1, 25) / (48 * 1.2)
    assert np.allclose(gain[f <= 0.25], np.minimum(np.exp(750.0 * f[f <= 0.25] ** 2), np.exp(6.0)), rtol=1e-3)
    assert (gain[f > 0.27] < 0.1).all()


def test_the_sharpened_map_ends_with_the_fit_and_says_so():
    check = GlobalBFactor()
    measurement = values(deposited(-400.0).density_map).measure(check)
    (output,) = check.maps(measurement)
    end = measurement.fit_to.value
    assert f"low-passed at {end:.3g} Å" in output.description.description
    assert "by 403 at most" in output.description.description
    grid = frequency_grid(output.data.shape, PIXEL_SIZE)
    power = abs(rfftn(output.data)) ** 2
    # The edge is 5 % of the cut-off wide; beyond is rounding.
    assert power[grid > 1.06 / end].max() < 1e-6 * power[grid < 1 / end].max()


def test_the_sharpened_map_has_no_decay_left():
    inputs = values(deposited(-150.0).density_map)
    check = GlobalBFactor()
    (output,) = check.maps(inputs.measure(check))
    assert output.origin == inputs["density_map"].origin
    again = values(DensityMap(output.data, PIXEL_SIZE, output.origin)).measure(check)
    low, high = again.b_factor.interval
    # What was measured was taken off; the second measurement may differ by what the first one's mask did.
    assert low - 5.0 <= 0.0 <= high + 5.0


def test_the_page_says_what_was_found():
    check = GlobalBFactor()
    measurement = values(deposited(-60.0).density_map).measure(check)
    (figure,) = check.figures(measurement)
    assert isinstance(figure, CurveFigure)
    assert figure.x_scale == "inverse_square"
    assert {series.role for series in figure.series} == {"data", "expected", "corrected", "model", "other"}
    assert any(marker.role == "reported" for marker in figure.markers)
    assert all(np.isfinite(series.y).all() for series in figure.series)
    assert measurement.b_factor.text() in check.summary(measurement)
    assert check.question().endswith("?")
    assert check.misleads().startswith("Misleads when")


@pytest.mark.parametrize(
    ("name", "resolution", "expected"),
    [
        # Sharpened by another program, and not: the masked average decays more slowly.
        ("empiar10248_apoferritin/cryosparc_refine_9355.mrc.gz", 3.7, (-160.0, -50.0)),
        ("empiar10248_apoferritin/deepemhancer_11000.mrc.gz", 3.7, (-90.0, 20.0)),
        # Unsharpened and Wiener-filtered.
        ("betagal_relion_tutorial/betaGal.mrc.gz", 8.0, (-1500.0, -400.0)),
    ],
)
def test_real_maps(real_data, name, resolution, expected):
    """Wide bounds from how the maps were made; the exact values are no truth."""
    from veritem.submission.map_file import read_map

    density_map, _, _ = read_map(real_data / "maps_with_models" / name)
    assert density_map is not None
    measurement = Values(density_map=density_map, reported_resolution=resolution).measure(GlobalBFactor())
    assert expected[0] < measurement.b_factor.value < expected[1]
