"""Directional truths, measured back cone by cone."""

from __future__ import annotations

import numpy as np
import pytest

from veritem.numerics.directions import hemisphere
from veritem.numerics.fourier import rfftn
from veritem.numerics.shells import power, shell_means
from veritem.simulation.anisotropy import (
    Anisotropy,
    MissingCone,
    RotationalJitter,
    cone_directions,
    cosine_grid,
    directional_fsc,
)
from veritem.simulation.half_maps import simulate_half_maps, simulate_map
from veritem.simulation.models import ideal_protein
from veritem.simulation.phantoms import simulate_density

AXES = {"z": (1.0, 0.0, 0.0), "oblique": (1.0, 2.0, -1.0)}


@pytest.fixture(scope="module")
def clean(protein):
    return simulate_density(protein, (80, 85, 96), 1.3, b_factor=80.0, solvent=3.0)


def cone_power(first, second, shape, axis, half_angle):
    """Cross power and both powers per shell of the coefficients within a cone, and how many there are."""
    inside = (np.abs(cosine_grid(shape, axis)) >= np.cos(np.deg2rad(half_angle))).astype(np.float32)
    share, _, held = shell_means(inside, shape)
    cross, a, b = (
        shell_means(values * inside, shape)[0] for values in ((first * second.conj()).real, power(first), power(second))
    )
    return cross, a, b, np.round(share * held)


@pytest.mark.parametrize("axis", AXES.values(), ids=AXES)
@pytest.mark.parametrize("strength", [-0.6, 0.6, 1.5])
def test_noise_along_a_direction_has_the_planted_power(clean, strength, axis):
    planted = Anisotropy(strength, axis)
    sound, _, plain = simulate_half_maps(clean, 4.0, seed=2)
    half, _, expected = simulate_half_maps(clean, 4.0, seed=2, anisotropy=planted)
    noise, even = (rfftn(h.data - clean.data) for h in (half, sound))
    across = np.cross(axis, np.eye(3)[np.argmin(np.abs(axis))])
    for direction in (planted.axis, tuple(across)):
        inside = np.abs(cosine_grid(clean.shape, direction)) >= np.cos(np.deg2rad(10.0))
        # The same random numbers with and without: their ratio is free of scatter. The cone's mean of a power that
        # changes by less than a factor of 2 within 10 degrees is known by 200 directions to a percent.
        measured = power(noise)[inside].sum(dtype=np.float64) / power(even)[inside].sum(dtype=np.float64)
        expected_ratio = planted.noise(cone_directions(direction, 10.0)).mean()
        assert measured == pytest.approx(expected_ratio, rel=0.05)
    # The mean over all directions is what it was, so is the global resolution.
    assert planted.noise(hemisphere(5000)).mean() == pytest.approx(1.0, abs=1e-3)
    assert expected.resolution == plain.resolution
    # Over the shells, that is; the corners of the box beyond them have directions of their own.
    (own, _, held), (without, _, _) = (shell_means(power(n), clean.shape) for n in (noise, even))
    # 5000 coefficients of a shell, each weighed by up to 4 and known to 1: 4.5 standard errors, on both.
    used = held > 5000
    assert (np.abs(own[used] / without[used] - 1) < 4.5 * np.sqrt(2 / held[used])).all()


@pytest.mark.parametrize("strength", [0.8, -0.8])
def test_the_fsc_in_a_cone_is_the_directional_truth(clean, strength):
    planted = Anisotropy(strength)
    half_1, half_2, expected = simulate_half_maps(clean, 4.0, ssnr_width=0.06, seed=4, anisotropy=planted)
    truth = directional_fsc(expected)
    first, second = rfftn(half_1.data), rfftn(half_2.data)
    signal = rfftn(clean.data)
    for direction in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)):
        cross, a, b, held = cone_power(first, second, clean.shape, direction, 20.0)
        own, _, _, _ = cone_power(signal, signal, clean.shape, direction, 20.0)
        whole = shell_means(power(signal), clean.shape)[0]
        share = cone_power(np.ones_like(signal), np.ones_like(signal), clean.shape, direction, 20.0)[0]
        # The molecule's own spectrum differs between directions; the truth takes it as the mean, so it is put in.
        band = (expected.frequency > 0.1) & (expected.frequency < 0.33) & (held > 30)
        molecule = own[band] / (whole * share)[band]
        mean = truth.fsc([direction], 20.0)[0][band]
        ssnr = mean / (1 - mean) * molecule
        fsc, goal = cross[band] / np.sqrt(a * b)[band], ssnr / (1 + ssnr)
        # The signal of single coefficients is far from even, so a cone's FSC is that of the power-weighted mean; its
        # scatter stays below that of noise of as many coefficients, (1 - fsc) sqrt((1 + 2 fsc) / 2 n).
        error = (1 - goal) * np.sqrt((1 + 2 * goal) / (2 * held[band]))
        assert (np.abs(fsc - goal) < 4.5 * error + 0.02).all()
    better, worse = truth.resolution([(1.0, 0.0, 0.0), (0.0, 1.0, 0.0)])
    if strength < 0:
        better, worse = worse, better
    # Log-linear SSNR: the cut-off moves by w log10 of the noise's ratio. Crossings are interpolated between shells.
    moved = 0.06 * np.log10(planted.noise((0.0, 1.0, 0.0)) / planted.noise((1.0, 0.0, 0.0)))
    assert abs(1 / better - 1 / worse) == pytest.approx(abs(moved), abs=0.001)


def test_a_missing_cone_holds_no_signal_and_the_rest_all(clean):
    cone = MissingCone(30.0, (0.0, 0.0, 1.0))
    half_1, half_2, expected = simulate_half_maps(clean, 4.0, seed=3, degrade=cone)
    first, second = rfftn(half_1.data), rfftn(half_2.data)
    cross, a, b, held = cone_power(first, second, clean.shape, cone.axis, 29.0)
    used = slice(6, 30)
    # Nothing in common: a correlation of n pairs scatters by 1 / sqrt(2 n).
    assert (np.abs(cross[used] / np.sqrt(a * b)[used]) < 4.5 / np.sqrt(2 * held[used])).all()
    seen = rfftn(cone(clean).data)
    outside = np.abs(cosine_grid(clean.shape, cone.axis)) < np.cos(np.deg2rad(36.0))
    intact = rfftn(clean.data)
    assert np.abs(seen - intact)[outside].max() < 1e-4 * np.abs(intact).max()
    truth = directional_fsc(expected)
    inside, rim, beyond = truth.resolution([(0.0, 0.0, 1.0), (0.0, np.sin(0.57), np.cos(0.57)), (1.0, 0.0, 0.0)])
    # Half-way up the edge a quarter of the power is left.
    assert np.isinf(inside) and beyond == pytest.approx(4.0, abs=0.05) and rim > 4.0
    # The whole shell lost 1 - cos(32°) of its power, so the crossing of the mean moved out a little.
    assert expected.resolution > 4.0


def test_anisotropy_and_cone_are_carried_by_a_simulated_map(protein):
    planted, cone = Anisotropy(0.5), MissingCone(20.0)
    made = simulate_map(protein, 64, 1.7, 5.0, seed=1, anisotropy=planted, degrade=cone)
    truth = directional_fsc(made.truth)
    assert (truth.anisotropy, truth.cone) == (planted, cone)
    plain = simulate_map(protein, 64, 1.7, 5.0, seed=1)
    assert made.truth.resolution > plain.truth.resolution == pytest.approx(5.0, abs=0.02)
    with pytest.raises(ValueError, match="without noise"):
        directional_fsc(simulate_map(protein, 64, 1.7, None).truth)
    with pytest.raises(ValueError, match="between -1 and 2"):
        Anisotropy(-1.0)


def test_cone_directions_fill_their_cone_evenly():
    axis = np.array([0.2, -0.5, 0.7])
    found = cone_directions(axis, 20.0, 4000)
    cosine = found @ axis / np.linalg.norm(axis)
    assert np.allclose(np.linalg.norm(found, axis=1), 1.0)
    assert cosine.min() >= np.cos(np.deg2rad(20.0)) - 1e-9
    # Equal area: the cosine is uniform; 4000 points of a spiral leave steps of 1/4000 of its range.
    assert cosine.mean() == pytest.approx((1 + np.cos(np.deg2rad(20.0))) / 2, abs=1e-4)
    # Without a preferred side: the mean lies on the axis.
    assert np.allclose(found.mean(0) / np.linalg.norm(found.mean(0)), axis / np.linalg.norm(axis), atol=2e-3)


def test_jitter_smears_across_the_radius_and_not_along_it():
    """One atom 40 Å off the centre along x: moments of its density, and its transform across the radius."""
    model = ideal_protein(residues=60, subunits=1, seed=2)
    pair = model.select(np.array([0, 1]))
    pair.positions[:] = [[-40.0, 0.0, 0.0], [40.0, 0.0, 0.0]]
    pair.masses[:] = 12.0
    pair.atomic_numbers[:] = 6
    pair.b_factors[:] = 40.0
    jitter = RotationalJitter(pair, 2.0, b_factor=0.0, count=64)
    signal = simulate_density(pair, (48, 48, 110), 1.0)
    seen = jitter(signal)
    half = slice(60, 110)
    spreads = []
    for density in (signal, seen):
        part = density.data[:, :, half].astype(np.float64)
        part = np.where(part > 0.02 * part.max(), part, 0.0)
        z, y, x = (np.arange(n) for n in part.shape)
        weights = [part.sum((1, 2)), part.sum((0, 2)), part.sum((0, 1))]
        means = [w @ a / w.sum() for w, a in zip(weights, (z, y, x), strict=True)]
        spreads.append([w @ (a - m) ** 2 / w.sum() for w, a, m in zip(weights, (z, y, x), means, strict=True)])
    added = np.subtract(spreads[1], spreads[0])
    expected = float(jitter.spread(40.0)) ** 2  # (40 Å x 2 degrees)² = 1.95 Å²
    # 64 quasi-random turns know a variance to about 4 %; cutting the tails at 2 % of the peak takes off up to 10 %.
    assert added[0] == pytest.approx(expected, rel=0.15)
    assert added[1] == pytest.approx(expected, rel=0.15)
    # Along the radius the chord is shorter by r (1 - cos): 0.05 Å with a variance far below that.
    assert abs(added[2]) < 0.05
    # Across the radius the amplitude falls as the Gaussian's, exp(-B f² / 4).
    lines = [rfftn(d.data)[:, 0, 0].real for d in (signal, seen)]
    frequency = np.fft.fftfreq(48)
    for k in (4, 6, 8):
        left = lines[1][k] / lines[0][k]
        assert left == pytest.approx(np.exp(-jitter.tangential_b(40.0) * frequency[k] ** 2 / 4), abs=2 / 64 ** (2 / 3))
