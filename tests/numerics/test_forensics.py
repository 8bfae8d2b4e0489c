"""Planted filters, masks, shifts and turns, and the noise of half maps, measured back."""

from __future__ import annotations

import numpy as np
import pytest

from veritem.numerics.forensics import (
    GAUSSIAN_FLATNESS,
    IDENTITY,
    Overlay,
    changes_hand,
    coarse_cube,
    describe_orientation,
    estimate_shift,
    flatness,
    leaning_to_a_half,
    noise_by_signal,
    noise_profile,
    noise_rise,
    noise_shape,
    noise_spectrum,
    noise_taken_over,
    orientations,
    scaled_transform,
    spectrum_end,
    turned,
    volume_share,
)
from veritem.numerics.fourier import frequency_grid, irfftn, rfftn, shifted_transform
from veritem.numerics.fsc import shell_sums
from veritem.numerics.shells import shell_count, shell_frequencies


def white(shape: tuple[int, int, int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def centred_radius(shape: tuple[int, int, int]) -> np.ndarray:
    z, y, x = (np.arange(n, dtype=np.float32) - n // 2 for n in shape)
    return np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x**2)


def blob(shape: tuple[int, int, int], seed: int, width: float = 0.16) -> np.ndarray:
    """A smooth particle without symmetry: white noise filtered and cut to a ball."""
    grid = frequency_grid(shape, 1.0)
    data = irfftn(rfftn(white(shape, seed)) * np.exp(-((grid / width) ** 2)).astype(np.float32), shape)
    data *= np.exp(-((centred_radius(shape) / (0.22 * min(shape))) ** 4)).astype(np.float32)
    return data / data.std()


# --------------------------------------------------------------------------- noise by frequency


@pytest.mark.parametrize("shape", [(48, 48, 48), (40, 45, 51)])
def test_spectrum_of_white_noise_is_flat(shape):
    """Two white halves differ by twice their power; a shell of n coefficients is known to 1 / sqrt(n)."""
    spectrum = noise_spectrum(rfftn(white(shape, 1)), rfftn(white(shape, 2)), np.ones(shell_count(shape)), shape, 1.3)
    expected = 2.0 * np.prod(shape)
    use = slice(3, None)
    assert (abs(spectrum.radial[use] / expected - 1) < 4.5 / np.sqrt(spectrum.counts[use])).all()
    assert (abs(spectrum.cubic[use] / expected - 1) < 4.5 / np.sqrt(spectrum.cubic_counts[use])).all()
    assert spectrum.counts.sum() == pytest.approx(spectrum.cubic_counts.sum())


@pytest.mark.parametrize("cut", [0.15, 0.25, 0.38])
@pytest.mark.parametrize("kind", ["sphere", "cube"])
def test_a_cliff_is_found_where_it_is(cut, kind):
    """Within a shell, 1/64 per voxel; a sphere is sharper over |f|, a cube over the largest component."""
    shape, pixel = (64, 64, 64), 1.0
    grid = frequency_grid(shape, pixel)
    if kind == "cube":
        z = np.abs(np.fft.fftfreq(64))
        grid = np.maximum(np.maximum(z[:, None, None], z[None, :, None]), np.abs(np.fft.rfftfreq(64)))
    keep = (grid <= cut).astype(np.float32)
    halves = [rfftn(white(shape, seed)) * keep for seed in (3, 4)]
    spectrum = noise_spectrum(*halves, np.ones(shell_count(shape)), shape, pixel)
    radial = spectrum_end(spectrum.frequency, spectrum.radial, 0.05)
    cubic = spectrum_end(spectrum.frequency, spectrum.cubic, 0.05)
    sharper, other = (radial, cubic) if kind == "sphere" else (cubic, radial)
    assert radial is not None or kind == "cube"
    assert sharper is not None
    assert sharper.frequency == pytest.approx(cut, abs=1.0 / 64)
    # The rule by which one is told from the other.
    assert other is None or (radial.width <= 2 * cubic.width if kind == "sphere" else radial.width > 2 * cubic.width)


@pytest.mark.parametrize("exponent", [-2.0, -1.0, 0.0, 1.0])
def test_power_laws_and_blur_have_no_cliff(exponent):
    frequency = np.arange(1, 49) / 96.0
    rng = np.random.default_rng(0)
    scatter = 1 + 0.03 * rng.standard_normal(48)
    power = frequency**exponent * np.exp(-30 * frequency**2 / 2) * scatter
    assert spectrum_end(frequency, power, 0.05) is None


@pytest.mark.parametrize("b_factor", [-40.0, 0.0, 50.0, 150.0])
def test_rise_of_the_noise_is_recovered(b_factor):
    """Power f exp(B f² / 2) has the rise B; each shell scatters by 1 / sqrt(n), so within 4 of its errors."""
    frequency = np.arange(0, 49) / 96.0
    counts = np.maximum(2 * np.pi * (frequency * 96) ** 2, 1.0)
    scatter = np.random.default_rng(1).gamma(counts, 1 / counts)
    found = noise_rise(frequency, frequency * np.exp(b_factor * frequency**2 / 2) * scatter, counts, 0.5)
    assert found is not None
    assert found[0] == pytest.approx(b_factor, abs=4 * found[1])
    assert found[1] < 3.0
    assert noise_rise(frequency[:5], frequency[:5], counts[:5], 0.5) is None


def test_scaling_by_shells_is_scaling_by_frequency():
    shape = (24, 30, 27)
    transform = rfftn(white(shape, 5))
    table = np.linspace(1.0, 2.0, shell_count(shape))
    scaled = scaled_transform(transform, table, shape)
    df = 1 / (30 * 1.0)
    shell = (frequency_grid(shape, 1.0).astype(float) / df + 0.5).astype(int)
    inside = shell < len(table)
    # A few coefficients lie half-way between shells, and rounding may put them in either.
    agreed = np.isclose(scaled[inside], transform[inside] * table[shell[inside]], rtol=1e-5)
    assert agreed.mean() > 0.99
    assert (scaled[~inside] == 0).mean() > 0.99


# --------------------------------------------------------------------------- noise by place


def test_profile_holds_what_was_put_in():
    """Against sums over the same bins by numpy."""
    shape, pixel = (20, 25, 22), 1.5
    first, second, distance = white(shape, 6), white(shape, 7), 5 * white(shape, 8)
    profile = noise_profile(first, second, distance, pixel)
    radius_bin = (centred_radius(shape) * pixel / (2 * pixel)).astype(int)
    for row in (2, 5):
        here = radius_bin == row
        assert profile.counts[row].sum() == pytest.approx(here.sum(), abs=2)
    assert profile.counts.sum() == first.size
    assert profile.first.sum() == pytest.approx((first.astype(float) ** 2).sum(), rel=1e-6)
    assert profile.product.sum() == pytest.approx((first.astype(float) * second).sum(), rel=1e-5)
    assert profile.difference.sum() == pytest.approx(((first - second).astype(float) ** 2).sum(), rel=1e-6)
    assert profile.absolute.sum() == pytest.approx(np.abs(first - second).sum(dtype=float), rel=1e-6)
    columns = ((distance - (-12.0)) / 2.0).astype(int)
    assert profile.counts[:, 8].sum() == ((columns == 8) & (distance > -12)).sum()


def elongated(shape: tuple[int, int, int]) -> np.ndarray:
    """Å to an ellipsoid of half-axes 20, 9 and 9 voxels, roughly."""
    z, y, x = (np.arange(n, dtype=np.float32) - n // 2 for n in shape)
    scaled = np.sqrt((z[:, None, None] / 20) ** 2 + (y[None, :, None] / 9) ** 2 + (x / 9) ** 2)
    return ((scaled - 1) * np.sqrt(centred_radius(shape) ** 2) / np.maximum(scaled, 1e-3)).astype(np.float32)


@pytest.mark.parametrize("kind", ["none", "sphere", "particle"])
def test_what_bounds_the_noise_is_told(kind):
    shape = (64, 64, 64)
    distance = elongated(shape)
    weight = {
        "none": np.ones(shape),
        "sphere": centred_radius(shape) <= 28,
        "particle": distance <= 6,
    }[kind].astype(np.float32)
    found = noise_shape(noise_profile(white(shape, 1) * weight, white(shape, 2) * weight, distance, 1.0))
    assert found is not None
    if kind == "none":
        assert found.missing == 0 and found.radius is None and found.reach is None
    elif kind == "sphere":
        # Half a bin of two voxels, and a bin that the border cuts.
        assert found.by_radius < 0.3 * found.by_distance and found.radius == pytest.approx(28, abs=3)
    else:
        assert found.by_distance < 0.3 * found.by_radius and found.reach == pytest.approx(6, abs=2)


def test_flatness_tells_gaussian_from_peaked_noise_of_any_strength():
    """One Gaussian |d| / sigma has the variance 1 - 2/pi, of which 1 - 3/pi is left after dividing by the sigma found.

    A third of the strength outside changes nothing, since it is taken in bins; Laplace noise has 0.707.
    """
    shape = (48, 48, 48)
    distance = centred_radius(shape) - 10
    strength = np.where(centred_radius(shape) > 20, 0.33, 1.0).astype(np.float32)
    found = flatness(noise_profile(white(shape, 1) * strength, white(shape, 2) * strength, distance, 1.0), 2.0, np.inf)
    assert found is not None
    value, voxels = found
    # The small-sample bias in bins of 60 voxels and more is below 1 / (4 * 60).
    assert value == pytest.approx(GAUSSIAN_FLATNESS, abs=4 * np.sqrt((1 - 3 / np.pi) / voxels) + 0.001)
    peaked = np.random.default_rng(4).laplace(size=shape).astype(np.float32)
    nothing = np.zeros(shape, np.float32)
    value, _ = flatness(noise_profile(peaked, nothing, distance, 1.0), 2.0, np.inf)
    assert value == pytest.approx(np.sqrt(0.5), abs=0.01)
    assert flatness(noise_profile(nothing, nothing, distance, 1.0), 2.0, np.inf) is None


@pytest.mark.parametrize("planted", [1.0, 2.0])
def test_noise_that_follows_the_signal_is_measured(planted):
    """Where the signal is strong the noise is `planted` times stronger in power; thirds of 9000 voxels: 3 %."""
    shape = (40, 40, 40)
    distance = centred_radius(shape) - 13
    z = np.arange(40)[:, None, None] - 20
    strong = np.broadcast_to(z > 4, shape)
    gain = np.where(strong, np.sqrt(planted), 1.0).astype(np.float32)
    signal = np.where(strong, 10.0, 0.0).astype(np.float32)
    found = noise_by_signal(signal + gain * white(shape, 1), signal + gain * white(shape, 2), distance)
    assert found is not None
    assert found[0] == pytest.approx(planted, rel=4 * 2 / np.sqrt(found[1]) + 0.02)


@pytest.mark.parametrize("radius", [10.0, 20.0])
def test_share_of_a_ball_is_its_volume(radius):
    ball = (centred_radius((64, 64, 64)) <= radius).astype(np.float32)
    assert volume_share(ball) == pytest.approx(ball.mean(), rel=1e-6)
    assert volume_share(np.zeros((4, 4, 4), np.float32)) == 0.0


# --------------------------------------------------------------------------- how two maps overlay


def test_there_are_48_orientations_and_half_of_them_mirror():
    data = np.arange(27).reshape(3, 3, 3)
    seen = {turned(data, o).tobytes() for o in orientations()}
    assert len(seen) == 48 and orientations()[0] == IDENTITY
    assert sum(changes_hand(o) for o in orientations()) == 24
    for o in orientations():
        matrix = np.zeros((3, 3))
        for new, (old, sign) in enumerate(zip(*o, strict=True)):
            matrix[new, old] = sign
        assert changes_hand(o) == (np.linalg.det(matrix) < 0)
    assert describe_orientation(((0, 1, 2), (1, 1, -1))) == "mirrored along x"
    assert describe_orientation(((0, 1, 2), (1, -1, -1))) == "turned by 180° about z"
    assert describe_orientation(((0, 2, 1), (1, -1, 1))) == "turned by 90° about z"
    assert "mirror image" in describe_orientation(((2, 1, 0), (1, 1, 1)))


@pytest.mark.parametrize("number", [0, 1, 6, 13, 30, 47])
def test_a_planted_orientation_is_found(number):
    shape = (40, 40, 40)
    particle = blob(shape, 3)
    planted = orientations()[number]
    back = turned(particle, planted)
    cubes = [coarse_cube(rfftn(np.ascontiguousarray(data)), shape, 2.0, 2.0, 24.0) for data in (particle, back)]
    overlay = Overlay(cubes[0][0], cubes[1][0], cubes[0][1], 8.0, 40.0)
    found, score = overlay.best()
    # Turned as planted and then as found, the particle is where it was.
    again = turned(back, found)
    assert score > 0.8
    assert np.corrcoef(again[1:, 1:, 1:].ravel(), particle[1:, 1:, 1:].ravel())[0, 1] > 0.6 or np.allclose(
        again, particle
    )
    other = min(abs(overlay.score(o)[0]) for o in orientations())
    assert other < 0.5


def test_inverted_contrast_and_a_shift_are_found():
    shape = (40, 44, 48)
    particle = blob(shape, 5)
    moved = -np.roll(particle, (2, -4, 0), axis=(0, 1, 2))
    cubes = [coarse_cube(rfftn(data), shape, 1.0, 2.0, 14.0) for data in (particle, moved)]
    score, shift = Overlay(cubes[0][0], cubes[1][0], cubes[0][1], 6.0, 30.0).score()
    assert score < -0.7
    # The second moved by the shift lies on the first: against what was planted, in coarse voxels of 2 Å.
    assert shift == (-1, 2, 0)


@pytest.mark.parametrize("shape", [(48, 48, 48), (40, 45, 51)])
@pytest.mark.parametrize("planted", [(0.0, 0.0, 0.0), (0.3, -0.2, 0.6), (2.5, 1.25, -1.0)])
def test_a_shift_is_recovered_within_its_error(shape, planted):
    signal = blob(shape, 1, width=0.2)
    first = rfftn(signal + 0.7 * white(shape, 2))
    second = shifted_transform(rfftn(signal), shape, planted) + rfftn(0.7 * white(shape, 3))
    start = tuple(round(v) for v in planted)
    found = estimate_shift(first, second, shape, start)
    assert found is not None
    error = np.array(found.shift) - planted
    # 99.9 % of chi square with three degrees of freedom.
    assert error @ np.linalg.solve(found.covariance, error) < 16.3
    assert np.sqrt(np.trace(found.covariance)) < 0.1


def test_errors_of_shifts_are_right_on_average():
    """The mean of chi square with 3 degrees of freedom over 24 pairs is 3 ± 0.5."""
    shape = (32, 32, 32)
    signal = blob(shape, 9, width=0.2)
    chi = []
    for seed in range(24):
        halves = [rfftn(signal + 1.2 * white(shape, 100 + 2 * seed + k)) for k in (0, 1)]
        found = estimate_shift(halves[0], halves[1], shape)
        chi.append(np.array(found.shift) @ np.linalg.solve(found.covariance, np.array(found.shift)))
    assert 1.5 < np.mean(chi) < 4.5


def test_nothing_in_common_has_no_shift():
    shape = (32, 32, 32)
    assert estimate_shift(rfftn(white(shape, 1)), rfftn(white(shape, 2)), shape, order=8) is None


# --------------------------------------------------------------------------- one map from two halves


@pytest.mark.parametrize("kept", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("level", [0.6, 1.5])
def test_noise_taken_over_is_measured(kept, level):
    """A map of the same signal whose noise is `kept` (as an amplitude) that of the halves' mean."""
    shape = (40, 40, 40)
    signal, n1, n2, other = (white(shape, k) for k in (1, 2, 3, 4))
    halves = [rfftn(signal + level * n) for n in (n1, n2)]
    noise = kept * (n1 + n2) * np.sqrt(0.5) + np.sqrt(1 - kept**2) * other
    whole = rfftn(signal + level * np.sqrt(0.5) * noise)
    sums, means = shell_sums(*halves, shape), shell_sums(halves[0] + halves[1], whole, shape)
    use = slice(2, None)
    f = np.clip(sums.fsc[use], 0, 1)
    found = noise_taken_over(means.fsc[use], f, sums.counts[use], np.ones(f.shape), 2 * f / (1 + f))
    assert found is not None
    assert found[0] == pytest.approx(kept, abs=4 * found[1] + 0.02)


@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.6, 0.4), (1.0, 0.0), (0.0, 1.0)])
@pytest.mark.parametrize("shared", [0.0, 0.5])
def test_a_map_leans_to_the_half_it_was_made_from(weights, shared):
    """Through any filter, and with noise that the halves share."""
    shape = (32, 32, 32)
    signal, common = white(shape, 1), white(shape, 9)
    halves = [rfftn(signal + 0.8 * (np.sqrt(shared) * common + np.sqrt(1 - shared) * white(shape, k))) for k in (2, 3)]
    gain = np.exp(-2 * frequency_grid(shape, 1.0))
    whole = (weights[0] * halves[0] + weights[1] * halves[1]) * gain + 0.2 * rfftn(white(shape, 5))
    sums = [shell_sums(a, b, shape) for a, b in ((halves[0], halves[1]), (halves[0], whole), (halves[1], whole))]
    chosen = np.arange(len(shell_frequencies(shape, 1.0))) > 2
    found = leaning_to_a_half(*sums, chosen, sums[0].counts[chosen])
    assert found is not None
    assert found[0] == pytest.approx(weights[0] - weights[1], abs=4 * found[1])
    assert found[1] < 0.1
