"""Gaussian noise with a prescribed radial power.

A power spectrum here is the expected |F|² per voxel, so white noise of standard deviation s has the spectrum s², and a
spectrum's mean over all coefficients is the variance per voxel.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from veritem.numerics.fourier import frequency_grid, irfftn, raised_cosine, rfftn
from veritem.numerics.shells import power, shell_count, shell_means, shell_width

Spectrum = Callable[[NDArray[np.float32]], NDArray]
"""Frequency (1/Å, any shape) to power."""

FSC_0143_SSNR = 0.143 / (1 - 0.143)
"""Half-map SSNR at which the expected FSC is 0.143."""
CROSSING_DECADES = -float(np.log10(FSC_0143_SSNR))
"""Where log10 SSNR = (f0 - f) / w, the FSC crosses 0.143 at f0 + 0.778 w."""


def white_noise(shape: tuple[int, int, int], sigma: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Independent voxels of standard deviation `sigma`, float32."""
    return rng.standard_normal(shape, np.float32) * np.float32(sigma)


def coloured_noise(
    shape: tuple[int, int, int],
    pixel_size: float,
    spectrum: Spectrum,
    rng: np.random.Generator,
    threads: int = 1,
) -> NDArray[np.float32]:
    """Gaussian noise whose expected power at frequency f is `spectrum(f)`.

    spectrum: is called with the (nz, ny, nx // 2 + 1) frequencies in 1/Å; must not be negative.
    """
    transform = rfftn(white_noise(shape, 1.0, rng), threads)
    transform *= np.sqrt(np.asarray(spectrum(frequency_grid(shape, pixel_size)), np.float32))
    return irfftn(transform, shape, threads)


def low_passed_noise(
    shape: tuple[int, int, int],
    pixel_size: float,
    resolution: float,
    sigma: float,
    rng: np.random.Generator,
    width: float | None = None,
    threads: int = 1,
) -> NDArray[np.float32]:
    """White noise low-passed at `resolution` (Å), scaled so that its expected standard deviation is `sigma`.

    width: of the raised-cosine edge beyond 1 / resolution, 1/Å; default 0.02 / pixel_size.
    """
    edge = 0.02 / pixel_size if width is None else width
    gain = raised_cosine(frequency_grid(shape, pixel_size), 1.0 / resolution, edge)
    scale = sigma / np.sqrt(_mean_over_box(gain**2, shape[2]))
    transform = rfftn(white_noise(shape, 1.0, rng), threads)
    transform *= gain * np.float32(scale)
    return irfftn(transform, shape, threads)


def radial_power(data: NDArray, threads: int = 1) -> NDArray[np.float64]:
    """Mean |F|² per voxel in each shell, (shells,)."""
    mean, _, _ = shell_means(power(rfftn(data, threads)), data.shape)
    return mean / data.size


def by_shell(values: NDArray, shape: tuple[int, int, int], pixel_size: float) -> Spectrum:
    """A spectrum that is constant over each shell; corners beyond Nyquist get the last shell's value."""
    width, last = shell_width(shape, pixel_size), shell_count(shape) - 1
    table = np.asarray(values, np.float32)

    def spectrum(frequency: NDArray[np.float32]) -> NDArray[np.float32]:
        shell = np.minimum((frequency / np.float32(width) + np.float32(0.5)).astype(np.int32), last)
        return table[shell]

    return spectrum


def ssnr_curve(frequency: NDArray, f0: float, w: float) -> NDArray[np.float64]:
    """Half-map SSNR 10^((f0 - f) / w)."""
    return 10.0 ** ((f0 - np.asarray(frequency, np.float64)) / w)


def noise_for_ssnr(
    signal: NDArray, pixel_size: float, f0: float, w: float, signal_fraction: float = 1.0, threads: int = 1
) -> tuple[Spectrum, float]:
    """The noise spectrum for which a half map of this signal has SSNR 10^((f0 - f) / w) in every shell.

    signal: (nz, ny, nx). f0: frequency of SSNR 1, 1/Å. w: 1/Å per decade.
    signal_fraction: share of the box volume in which the SSNR is meant; inside a mask that holds the whole signal the
        noise power is this share of the whole box's.
    Returns the spectrum and the frequency at which the expected FSC is 0.143, f0 + 0.778 w.
    The mean (shell 0) carries no resolution and takes the noise of shell 1.
    """
    shape = signal.shape
    signal_power = radial_power(signal, threads)
    frequency = np.arange(len(signal_power)) * shell_width(shape, pixel_size)
    noise_power = signal_power / (ssnr_curve(frequency, f0, w) * signal_fraction)
    noise_power[0] = noise_power[1]
    return by_shell(noise_power, shape, pixel_size), f0 + CROSSING_DECADES * w


def _mean_over_box(half: NDArray, nx: int) -> float:
    """Mean over the full box of a radial field given on the half-complex grid."""
    weight = np.full(half.shape[2], 2.0)
    weight[0] = 1.0
    if nx % 2 == 0:
        weight[-1] = 1.0
    return float((half.sum(axis=(0, 1), dtype=np.float64) * weight).sum() / (half.shape[0] * half.shape[1] * nx))
