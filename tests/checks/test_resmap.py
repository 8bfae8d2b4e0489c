"""1.d on fields whose waves are planted, on noise, and on simulated half maps."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.checks.by_name import Values, pair_values, uncut
from veritem.checks.level_1.resmap import ResMap
from veritem.derived.half_maps import HalfPart, WhitenedPart
from veritem.derived.resmap import WaveResolution, resmap
from veritem.errors import Inconclusive
from veritem.numerics.density_map import DensityMap
from veritem.numerics.fourier import frequency_grid, irfftn, rfftn
from veritem.numerics.resmap import whitened
from veritem.simulation.half_maps import SimulatedMap, Transfer, first_crossing, simulate_map
from veritem.simulation.local_resolution import simulate_local_resolution
from veritem.simulation.models import AtomicModel, ideal_protein, load_model
from veritem.simulation.noise import coloured_noise

PIXEL, SIZE = 1.5, 72
BAND = 1.2  # each scale sees waves up to this factor from its own
AXIS = (np.arange(SIZE) - SIZE // 2) * PIXEL
RADIUS = np.sqrt(AXIS[:, None, None] ** 2 + AXIS[None, :, None] ** 2 + AXIS**2)


def part_of(signal: NDArray, seed: int, noise=lambda rng: rng.standard_normal((SIZE,) * 3, np.float32)) -> HalfPart:
    """A ball of 36 Å radius in a box of 108 Å, each half with noise of its own."""
    rng = np.random.default_rng(seed)
    halves = [signal.astype(np.float32) + noise(rng) for _ in range(2)]
    depth = (36.0 - RADIUS).astype(np.float32)
    density = DensityMap((halves[0] + halves[1]) / 2, PIXEL)
    return HalfPart(
        rfftn(halves[0]), rfftn(halves[1]), density, depth, np.flatnonzero(depth > 0), PIXEL / 0.4, uncut(density)
    )


def waves(part: HalfPart) -> WaveResolution:
    """The part is the whole box."""
    mean, noise, limit = whitened(part.first, part.second, part.shape, part.pixel_size)
    return resmap(part, WhitenedPart(mean, noise, 1.0 / limit), 1)


def within(found: WaveResolution, where: NDArray[np.bool_]) -> NDArray[np.float32]:
    return found.resolution[where.ravel()[found.part.index]]


def plane_waves(wavelength: float) -> NDArray:
    z, y, x = np.meshgrid(AXIS, AXIS, AXIS, indexing="ij", sparse=True)
    return np.cos(2 * np.pi * (z + 2 * y + 2 * x) / (3 * wavelength))


def rods(wavelength: float) -> NDArray:
    """Gaussian rods along z on a triangular lattice whose rows are one wavelength apart: three waves in the plane."""
    _, y, x = np.meshgrid(AXIS, AXIS, AXIS, indexing="ij", sparse=True)
    directions = np.deg2rad([0.0, 60.0, 120.0])
    waves = sum(np.cos(2 * np.pi * (x * np.cos(a) + y * np.sin(a)) / wavelength) for a in directions)
    return np.broadcast_to(waves / 1.5, (SIZE,) * 3)


def patch(radius: float = 29.0) -> NDArray:
    """1 inside, falling to 0 over 10 Å about this radius."""
    return 0.5 - 0.5 * np.cos(np.pi * np.clip((radius + 5.0 - RADIUS) / 10.0, 0.0, 1.0))


@pytest.mark.parametrize("pattern", [plane_waves, rods])
@pytest.mark.parametrize("wavelength", [4.5, 6.0, 8.0, 11.0])
def test_planted_waves_are_found_at_their_wavelength(pattern, wavelength):
    """Noise of one per voxel; the wave is as strong against it in its window whatever its length (window ~ length³).

    The level is within one scale step of the wavelength (median, 20 Å and less from the centre: away from the border).
    """
    signal = 1.3 * (4.5 / wavelength) ** 1.5 * pattern(wavelength) * patch()
    found = waves(part_of(signal, 2))
    step = found.wavelengths[1] / found.wavelengths[0]
    inside = (RADIUS < 20).ravel()[found.part.index]
    level = found.extra["level"][inside]
    assert np.isfinite(level).mean() > 0.9
    assert 1 / step < np.nanmedian(level) / wavelength < step
    # Interpolation goes on from the level by less than a step.
    assert 1 / step**2 < np.nanmedian(found.resolution[inside]) / wavelength < step


def test_strong_waves_are_not_seen_beyond_the_band():
    """Four times the noise: SSNR of thousands in its shell. Scales see waves up to 1.2 times their own wavelength,
    and the one that is interpolated to lies less than a step beyond."""
    found = waves(part_of(4.0 * plane_waves(4.5) * patch(), 2))
    step = found.wavelengths[1] / found.wavelengths[0]
    assert np.nanmedian(within(found, RADIUS < 20)) > 4.5 / (BAND * step)


@pytest.mark.parametrize("kind", ["white", "coloured", "varying"])
def test_noise_is_given_no_resolution(kind):
    """At most 1 % of the ball, whatever the noise; the false discovery rate over everything gives none at all."""

    def noise(rng: np.random.Generator) -> NDArray:
        if kind == "white":
            return rng.standard_normal((SIZE,) * 3, np.float32)
        data = coloured_noise((SIZE,) * 3, PIXEL, lambda f: np.exp(-30 * f**2) + 0.01, rng)
        return data * (1.0 + np.clip(AXIS / 30.0, -0.6, 1.5)).astype(np.float32) if kind == "varying" else data

    assigned = [waves(part_of(np.zeros((SIZE,) * 3), seed, noise)).determinable.mean() for seed in (1, 2)]
    assert max(assigned) <= 0.01


def test_noise_beside_signal_is_given_a_resolution_as_often_as_is_said():
    """Half of the ball holds 5 Å waves. In the other, 15 Å and more from them, the share with a resolution is small,
    and what the run itself reports, within a factor of 4 (a few independent places decide).

    Four windows of the longest scale and the border of the patch are left out: 15 Å from the plane.
    """
    side = np.broadcast_to(0.5 - 0.5 * np.cos(np.pi * np.clip(-AXIS / 8.0, 0.0, 1.0)), (SIZE,) * 3)
    shares, reported = [], []
    for seed in range(4):
        found = waves(part_of(2.0 * plane_waves(5.0) * side, seed))
        assert np.isfinite(within(found, np.broadcast_to(AXIS < -12, RADIUS.shape) & (RADIUS < 36))).mean() > 0.99
        far = within(found, np.broadcast_to(AXIS > 15, RADIUS.shape))
        shares.append(np.mean(far < 15.0))
        reported.append(found.false_rate)
    assert np.mean(shares) < 0.01
    assert np.mean(shares) < 4 * np.mean(reported) + 0.001


# --- whole half maps --------------------------------------------------------------------------------------------


def protein(
    resolution: float = 3.2, width: float | None = 0.06, box: int = 100, pixel_size: float = 1.1, seed: int = 3
):
    return simulate_map(
        ideal_protein(residues=260, subunits=2, seed=5), box, pixel_size, resolution=resolution, ssnr_width=width,
        b_factor=50.0, sharpen=50.0, atomic_b_factor=50.0, seed=seed,
    )  # fmt: skip


def test_a_sound_uniform_pair_passes_and_its_median_is_fsc_one_half():
    check = ResMap()
    values = pair_values(protein(), 3.2)
    m, verdict = values.judged(check)
    assert verdict.outcome == "pass" and {c.outcome.value for c in verdict.criteria} == {"pass"}
    curve = values["half_map_fsc"]
    half = first_crossing(curve.frequency, curve.corrected, 0.5)
    # On nine of ten such pairs the ratio was 0.97 to 1.05; the crossing of 0.5 is known to 2 %.
    assert 0.95 < m.median.value / half < 1.09
    assert m.determinable.value > 99.0
    assert m.false_rate.value < 1.0
    assert "stand out" in check.summary(m) and m.caveats == () and m.undecided == ""
    assert [f.key for f in check.figures(m)] == ["histogram", "slices", "surface", "shares"]
    (output,) = check.maps(m)
    assert np.array_equal(output.data.ravel()[m.local.part.index], m.local.resolution, equal_nan=True)


def test_a_resolution_that_no_part_reaches_warns():
    """3.2 Å reported as 2.6: the finest 5 % at 1.05 x 3.2 are 1.29 of it, beyond the 1.25 that are allowed."""
    m, verdict = pair_values(protein(), 2.6).judged(ResMap())
    assert verdict.outcome == "warning"
    assert m.finest_over_reported.interval[0] > 1.25


def test_without_a_reported_resolution_the_map_is_measured():
    m, verdict = pair_values(protein(), None).judged(ResMap())
    assert m.median.value is not None and m.finest_over_reported.value is None
    assert [c.quantity for c in verdict.criteria] == ["determinable"]


def changed(simulated: SimulatedMap, change) -> SimulatedMap:
    halves = []
    for half in (simulated.half_1, simulated.half_2):
        gain = change(frequency_grid(half.shape, half.pixel_size)).astype(np.float32)
        data = irfftn(rfftn(half.data) * gain, half.shape)
        halves.append(DensityMap(data, half.pixel_size, half.origin))
    return SimulatedMap(simulated.density_map, halves[0], halves[1], simulated.model, simulated.truth)


def test_sharpening_does_not_matter():
    """B = -100 and 100 Å² on both halves: the whitening undoes both, but for the averages within a shell.

    The corners of the box, beyond Nyquist, are left as at Nyquist: at B = -100 Å² they would be 10⁶ times the rest, and
    their rounding in float32 as strong as the noise.
    """
    sound = protein()
    plain = pair_values(sound, 3.2)["resmap"]
    for b_factor in (-100.0, 100.0):
        gain = Transfer(b_factor)
        other = pair_values(changed(sound, lambda f, gain=gain: gain(np.minimum(f, 0.5 / 1.1))), 3.2)["resmap"]
        assert np.nanmedian(other.resolution) == pytest.approx(np.nanmedian(plain.resolution), rel=0.002)
        assert np.nanquantile(np.abs(np.log(other.resolution / plain.resolution)), 0.95) < 0.005


def test_halves_that_were_cut_say_so():
    """A low-pass with nothing left beyond 4.5 Å: nothing finer is looked for, and the reader is told."""
    cut = changed(protein(), lambda f: f < 1 / 4.5)
    m = pair_values(cut, 3.2).measure(ResMap())
    assert any("low-pass" in c for c in m.caveats)
    # To a shell of the part (1 % of its frequency there).
    assert m.local.finest == pytest.approx(4.5, rel=0.03)


def test_one_map_twice_is_undecided():
    sound = protein(box=80, pixel_size=1.4, resolution=4.0)
    twice = SimulatedMap(sound.density_map, sound.half_1, sound.half_1, sound.model, sound.truth)
    with pytest.raises(Inconclusive, match="do not differ"):
        pair_values(twice, 4.0).measure(ResMap())


def test_halves_that_share_their_noise_are_undecided():
    """Noise of a common origin stands out everywhere: the finest scale does in most of the particle."""
    sound = protein()
    rng = np.random.default_rng(9)
    common = 30.0 * sound.half_1.data.std() * rng.standard_normal(sound.half_1.shape, np.float32)
    halves = [DensityMap(h.data + common, h.pixel_size, h.origin) for h in (sound.half_1, sound.half_2)]
    shared = SimulatedMap(sound.density_map, halves[0], halves[1], sound.model, sound.truth)
    m, verdict = pair_values(shared, 3.2).judged(ResMap())
    assert m.beyond.value > 50.0 and "share their noise" in m.undecided
    assert verdict.outcome == "inconclusive"


def test_two_parts_are_told_apart():
    """Slabs of 3.2 and 6 Å at FSC 0.143: more than 10 Å from the border each is coarser than its truth by no more than
    uniform maps are (1.0 to 1.4 times), and the border itself is resolved within 10 Å."""
    simulated, truth = simulate_local_resolution(
        ideal_protein(residues=300, subunits=2, seed=5), 110, 1.1, (3.2, 6.0), seed=1, ssnr_width=0.05
    )
    found = pair_values(simulated, 3.2)["resmap"]
    part = found.part
    across = part.positions()[:, 2] + part.density.origin[0]
    x = np.arange(110) * 1.1 + simulated.density_map.origin[0]
    border = np.mean([x[np.flatnonzero((truth.regions == r).any(axis=(0, 1)))[e]] for r, e in ((1, -1), (2, 0))])
    for sign, planted in ((-1, 3.2), (1, 6.0)):
        value = np.nanmedian(found.resolution[sign * (across - border) > 10.0])
        assert 0.97 < value / planted < 1.4


def test_the_interval_of_the_median_covers_other_noise():
    """The same protein with other noise: four medians lie within the first's interval, but for one (95 %)."""

    def small(seed: int) -> Values:
        return pair_values(protein(box=84, pixel_size=1.3, resolution=3.6, seed=seed), 3.6)

    low, high = small(3).measure(ResMap()).median.interval
    others = [float(np.nanmedian(small(seed)["resmap"].resolution)) for seed in range(10, 14)]
    assert sum(not low <= value <= high for value in others) <= 1
    # The interval holds how places differ too, and still is a few per cent.
    assert high - low < 0.06 * np.mean(others)


@pytest.mark.full
@pytest.mark.parametrize("name", ["2v7o", "1asy", "1gpw"])
@pytest.mark.parametrize(
    ("resolution", "pixel_size", "b_factor"), [(2.6, 0.9, 40.0), (3.0, 1.0, 50.0), (3.5, 1.15, 60.0)]
)
@pytest.mark.parametrize("width", [None, 0.04, 0.08])
def test_sound_pairs_do_not_warn(name, resolution, pixel_size, b_factor, width, real_data):
    model: AtomicModel = load_model(real_data / "training_models" / f"{name}.pdb.gz")
    box = int(np.ceil((np.ptp(model.positions, axis=0).max() + 40.0) / pixel_size / 2) * 2)
    simulated = simulate_map(
        model, box, pixel_size, resolution=resolution, ssnr_width=width, b_factor=b_factor, sharpen=0.8 * b_factor,
        atomic_b_factor=b_factor, occupancy=1.0, seed=11,
    )  # fmt: skip
    values: Values = pair_values(simulated, resolution)
    m, verdict = values.judged(ResMap())
    assert verdict.outcome == "pass"
    curve = values["half_map_fsc"]
    half = first_crossing(curve.frequency, curve.corrected, 0.5)
    print(
        f"{name} {resolution} {width}: median/d143 {m.median.value / curve.resolution:.3f}, median/d50 "
        f"{m.median.value / half:.3f}, finest/true {m.finest.value / resolution:.3f}, "
        f"low {m.finest.interval[0] / resolution:.3f}, false {m.false_rate.value:.3f} %"
    )
    # The page says 0.97 to 1.12.
    assert 0.95 < m.median.value / half < 1.14
    assert m.finest_over_reported.interval[0] < 1.10


def test_the_page_is_complete():
    assert ResMap.question().endswith("?")
    assert ResMap.misleads().startswith("Misleads when")
    assert ResMap.references[0].doi == "10.1038/nmeth.2727"
