"""Half maps and maps whose truth is measured back by other means."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.ndimage

from veritem.numerics.fourier import rfftn
from veritem.numerics.shells import power, shell_frequencies, shell_means
from veritem.simulation.half_maps import Transfer, first_crossing, simulate_half_maps, simulate_map
from veritem.simulation.phantoms import VOLUME_PER_DALTON, simulate_density


def shells_of(a, b):
    """Cross power, both powers, independent coefficients per shell."""
    fa, fb = rfftn(a), rfftn(b)
    cross, _, held = shell_means((fa * fb.conj()).real, a.shape)
    return cross, shell_means(power(fa), a.shape)[0], shell_means(power(fb), a.shape)[0], held


def correlation(a, b):
    cross, pa, pb, held = shells_of(a, b)
    return cross / np.sqrt(pa * pb), held


@pytest.fixture(scope="module")
def clean(protein):
    return simulate_density(protein, (80, 85, 96), 1.3, b_factor=80.0, solvent=3.0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ssnr_width", [None, 0.05])
def test_half_maps_have_the_expected_fsc(clean, ssnr_width, seed):
    half_1, half_2, expected = simulate_half_maps(clean, 4.0, ssnr_width=ssnr_width, seed=seed)
    fsc, held = correlation(half_1.data, half_2.data)
    # Standard error of a correlation of n complex pairs: (1 - fsc²) / sqrt(2 n). The signal is not Gaussian, but it
    # is the same in both, so only the noise fluctuates and this bounds it. Low shells hold too few coefficients.
    error = (1 - expected.unmasked_fsc**2) / np.sqrt(2 * held)
    assert (np.abs(fsc - expected.unmasked_fsc)[5:] < 4.5 * error[5:] + 1e-4).all()
    assert expected.resolution == pytest.approx(4.0, abs=0.02)
    assert expected.unmasked_resolution == expected.resolution


def test_log_linear_ssnr_is_measured_from_the_halves(clean):
    width, resolution = 0.05, 4.0
    f0 = 1 / resolution - 0.778 * width
    frequency = shell_frequencies(clean.shape, clean.pixel_size)
    ratios = []
    for seed in range(6):
        half_1, half_2, _ = simulate_half_maps(clean, resolution, ssnr_width=width, seed=seed)
        cross, p1, p2, held = shells_of(half_1.data, half_2.data)
        ratios.append(cross / ((p1 + p2) / 2 - cross))
    ssnr = np.mean(ratios, axis=0)
    expected = 10 ** ((f0 - frequency) / width)
    band = (frequency > 0.06) & (frequency < f0 + width)
    # Relative error of S/N from n coefficients: about sqrt(2 / n (1 + 1 / ssnr)²), averaged over 6 pairs.
    error = np.sqrt(2 / (6 * held[band])) * (1 + 1 / expected[band])
    assert (np.abs(ssnr[band] / expected[band] - 1) < 4.5 * error).all()


def test_the_mask_moves_the_resolution_by_its_share_of_the_box(clean, sound):
    """The FSC measured inside the mask, with noise outside it gone, crosses where the truth says."""
    mask = scipy.ndimage.gaussian_filter(sound.truth.mask.astype(np.float32), 3.0)
    crossings = []
    for seed in range(6):
        half_1, half_2, expected = simulate_half_maps(clean, 4.0, mask=sound.truth.mask, seed=seed)
        fsc, _ = correlation(half_1.data * mask, half_2.data * mask)
        crossings.append(first_crossing(expected.frequency, fsc))
    assert expected.unmasked_resolution > 4.4  # the particle fills some 10 % of the box
    # A mask with a soft edge passes a little less noise than the binary one of the truth, and it mixes neighbouring
    # shells over 1 / (mask size of 50 Å): the crossing is known to 0.01 of 0.25 1/Å, 0.16 Å.
    assert np.mean(crossings) == pytest.approx(4.0, abs=0.16)


def test_halves_are_independent_and_equal_in_noise(clean):
    half_1, half_2, _ = simulate_half_maps(clean, 4.0, seed=5)
    n1, n2 = (half.data - clean.data for half in (half_1, half_2))
    count = n1.size
    # Flat noise: voxels are independent, so a correlation has standard deviation 1 / sqrt(N).
    assert abs(np.corrcoef(n1.ravel(), n2.ravel())[0, 1]) < 4.5 / np.sqrt(count)
    assert n1.var() / n2.var() == pytest.approx(1.0, abs=4.5 * np.sqrt(4 / count))
    again, _, _ = simulate_half_maps(clean, 4.0, seed=5)
    assert (again.data == half_1.data).all()
    other, _, _ = simulate_half_maps(clean, 4.0, seed=6)
    assert not (other.data == half_1.data).all()


def test_prescribed_noise_spectrum_is_kept(clean):
    def rising(frequency):
        return 0.1 + frequency

    half_1, _, expected = simulate_half_maps(clean, 4.0, noise=rising, seed=1)
    measured, _, held = shell_means(power(rfftn(half_1.data - clean.data)), clean.shape)
    frequency = expected.frequency
    ratio = measured[4:] / rising(frequency[4:])
    weight = held[4:]
    scale = (weight * ratio).sum() / weight.sum()
    # Shell averages of a linear spectrum differ from the centre's value by (df / f)² / 12 at most.
    assert (np.abs(ratio / scale - 1) < 4.5 / np.sqrt(weight) + 0.01).all()
    assert expected.resolution == pytest.approx(4.0, abs=0.02)


def test_no_noise_and_too_fine_a_resolution(clean):
    half_1, half_2, expected = simulate_half_maps(clean, None)
    assert (half_1.data == clean.data).all() and (half_2.data == clean.data).all()
    assert expected.resolution is None and (expected.fsc == 1).all()
    with pytest.raises(ValueError, match="beyond Nyquist"):
        simulate_half_maps(clean, 2.0)


def test_map_is_the_processed_mean_of_its_halves(sound):
    processing = Transfer(
        sound.truth.transfer.b_factor - sound.truth.raw_b_factor, sound.truth.transfer.resolution,
        sound.truth.transfer.edge,
    )  # fmt: skip
    mean = replace(sound.half_1, data=(sound.half_1.data + sound.half_2.data) / 2)
    again = processing.apply(mean)
    assert np.abs(again.data - sound.density_map.data).max() < 1e-4 * np.abs(sound.density_map.data).max()


def test_truth_of_a_sound_map(sound, protein):
    truth, density_map = sound.truth, sound.density_map
    assert density_map.data.dtype == np.float32 and density_map.shape == (80, 85, 96)
    assert truth.resolution == pytest.approx(3.6, abs=0.02)
    assert truth.molecular_weight == protein.molecular_weight
    volume = truth.molecule.sum() * density_map.voxel_volume
    assert volume == pytest.approx(protein.molecular_weight * VOLUME_PER_DALTON, rel=1e-3)
    off = scipy.ndimage.distance_transform_edt(~truth.molecule, sampling=density_map.pixel_size)
    assert (truth.mask == (off <= 3.0)).all()
    # The noise is measured where no molecule is: 8 Å off it, over some 500 000 voxels of which about one in eight is
    # independent after the low-pass; with ringing of the molecule this leaves 2 %.
    far = scipy.ndimage.distance_transform_edt(~truth.mask, sampling=density_map.pixel_size) > 8
    assert density_map.data[far].std() == pytest.approx(truth.noise_sigma, rel=0.02)
    # The contour shows the molecule and no noise: one body holds nearly all of it.
    labels, _ = scipy.ndimage.label(density_map.data >= truth.contour_level, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel())[1:]
    assert sizes.max() / sizes.sum() > 0.98
    enclosed = sizes.sum() * density_map.voxel_volume / (protein.molecular_weight * VOLUME_PER_DALTON)
    assert 0.5 < enclosed <= 1.02


@pytest.mark.parametrize("sharpen", [0.0, 60.0, 120.0])
def test_net_b_factor_is_read_back_from_the_signal(protein, sharpen):
    shape, pixel_size = (72, 72, 72), 1.5
    made = simulate_map(protein, shape, pixel_size, None, b_factor=100.0, sharpen=sharpen, low_pass=False)
    plain = simulate_density(protein, shape, pixel_size, solvent=3.0)
    a, _, _ = shell_means(power(rfftn(made.density_map.data)), shape)
    b, _, _ = shell_means(power(rfftn(plain.data)), shape)
    band = slice(6, 34)
    slope = np.polyfit(shell_frequencies(shape, pixel_size)[band] ** 2, np.log(a / b)[band], 1)[0]
    assert made.truth.b_factor == 100.0 - sharpen
    # See the same measurement on the phantom; a shell's width biases B by less than 1 Å² here.
    assert -2 * slope == pytest.approx(made.truth.b_factor, abs=1.0)


def test_low_pass_and_mask_are_applied(protein):
    shape = (64, 64, 64)
    weight = np.zeros(shape, np.float32)
    weight[8:-8, 8:-8, 8:-8] = 1
    made = simulate_map(protein, shape, 1.7, 5.0, mask=weight, seed=2)
    assert (made.density_map.data[weight == 0] == 0).all()
    unmasked = simulate_map(protein, shape, 1.7, 5.0, seed=2)
    radial, _, _ = shell_means(power(rfftn(unmasked.density_map.data)), shape)
    frequency = shell_frequencies(shape, 1.7)
    beyond = frequency > 1 / 5.0 + unmasked.truth.transfer.edge + frequency[1]
    assert radial[beyond].max() < 1e-9 * radial[3]
    assert (unmasked.density_map.data[weight > 0] == made.density_map.data[weight > 0]).all()


def test_atomic_b_and_occupancy_override_the_model(protein):
    made = simulate_map(protein, 64, 1.7, None, atomic_b_factor=33.0, occupancy=0.5)
    assert (made.model.b_factors == 33.0).all() and (made.model.occupancies == 0.5).all()
    assert made.truth.model_b_factor == pytest.approx(33.0)


def test_first_crossing_interpolates_and_takes_the_first():
    frequency = np.array([0.0, 0.1, 0.2, 0.3, 0.4])
    assert first_crossing(frequency, np.array([np.nan, 0.9, 0.243, 0.043, 0.9])) == pytest.approx(1 / 0.25)
    assert first_crossing(frequency, np.ones(5)) is None
    assert first_crossing(frequency, np.zeros(5)) == pytest.approx(10.0)
