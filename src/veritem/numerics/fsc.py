"""Fourier shell correlation of two half maps: curves, their null width, crossings and intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from veritem.numerics.fourier import rfftn
from veritem.numerics.shells import shell_count

THRESHOLD = 0.143  # Rosenthal and Henderson, J Mol Biol 333 (2003) 721, doi:10.1016/j.jmb.2003.07.013


@njit(nogil=True, cache=True)
def _shell_sums(first, second, nz, ny, nx, scale_z, scale_y, scale_x, cross, power_1, power_2, counts):
    shells = cross.size
    last = nx // 2
    for iz in range(nz):
        kz = (iz if iz <= nz // 2 else iz - nz) * scale_z
        for iy in range(ny):
            ky = (iy if iy <= ny // 2 else iy - ny) * scale_y
            for ix in range(last + 1):
                kx = ix * scale_x
                shell = int(np.sqrt(kz * kz + ky * ky + kx * kx) + 0.5)
                if shell >= shells:
                    continue
                # On x = 0 and x = Nyquist the mates are in the array too: each is half a coefficient.
                weight = 0.5 if ix == 0 or (nx % 2 == 0 and ix == last) else 1.0
                a, b = first[iz, iy, ix], second[iz, iy, ix]
                cross[shell] += weight * (a.real * b.real + a.imag * b.imag)
                power_1[shell] += weight * (a.real * a.real + a.imag * a.imag)
                power_2[shell] += weight * (b.real * b.real + b.imag * b.imag)
                counts[shell] += weight


@dataclass(frozen=True, eq=False)
class ShellSums:
    """Sums over the independent coefficients of each shell, all (shells,) float64.

    cross: of Re F1 F2*. power_1, power_2: of |F1|², |F2|². counts: how many.
    """

    cross: NDArray[np.float64]
    power_1: NDArray[np.float64]
    power_2: NDArray[np.float64]
    counts: NDArray[np.float64]

    @property
    def fsc(self) -> NDArray[np.float64]:
        """The correlation; 0 where a half map holds nothing (filtered away). Shell 0, the mean, is NaN: no evidence."""
        scale = np.sqrt(self.power_1 * self.power_2)
        with np.errstate(invalid="ignore", divide="ignore"):
            curve = np.where(scale > 0, self.cross / scale, 0.0)
        curve[0] = np.nan
        return curve


def shell_sums(first: NDArray, second: NDArray, shape: tuple[int, int, int]) -> ShellSums:
    """Sums per shell of two half-complex transforms of maps of `shape` (nz, ny, nx).

    Harauz and van Heel, Optik 73 (1986) 146.
    """
    longest, shells = max(shape), shell_count(shape)
    sums = [np.zeros(shells) for _ in range(4)]
    nz, ny, nx = shape
    _shell_sums(first, second, nz, ny, nx, longest / nz, longest / ny, longest / nx, *sums)
    return ShellSums(*sums)


def mask_inflation(mask: NDArray, threads: int = 1) -> float:
    """D: by how much multiplying with a mask widens the null of a shell's FSC, as a factor on its standard deviation.

    mask: (nz, ny, nx) in [0, 1], in the box in which the shells are one Fourier voxel thick.
    D² = Σ_q |M2(q)|² / |M2(0)|² Π(|q|), M2 the transform of the squared mask, Π the chance that a neighbour at offset
    q Fourier voxels falls into the same shell: 1 - q/2 up to 1, 1/(2q) beyond.
    """
    shape = mask.shape
    nz, ny, nx = shape
    transform = rfftn(mask * mask, threads)
    power = transform.real**2 + transform.imag**2
    longest = max(shape)
    qz = np.fft.fftfreq(nz, 1 / nz).astype(np.float32) * np.float32(longest / nz)
    qy = np.fft.fftfreq(ny, 1 / ny).astype(np.float32) * np.float32(longest / ny)
    qx = np.arange(nx // 2 + 1, dtype=np.float32) * np.float32(longest / nx)
    q = np.sqrt(qz[:, None, None] ** 2 + qy[None, :, None] ** 2 + qx**2)
    share = np.where(q <= 1, 1 - 0.5 * q, 0.5 / np.maximum(q, 1))
    weight = np.full(nx // 2 + 1, 2.0)
    weight[0] = 1.0
    if nx % 2 == 0:
        weight[-1] = 1.0
    total = float(((power * share).sum(axis=(0, 1), dtype=np.float64) * weight).sum())
    # A shell cannot hold more independent coefficients than coefficients.
    return max(1.0, float(np.sqrt(total / float(power[0, 0, 0]))))


def point_group_order(symmetry: str) -> int:
    """How many asymmetric units a point group has: C4 4, D7 14, T 12, O 24, I 60."""
    kind = symmetry[0].upper()
    if kind in "TOI":
        return {"T": 12, "O": 24, "I": 60}[kind]
    return int(symmetry[1:]) * (2 if kind == "D" else 1)


def randomise_phases(transform: NDArray, beyond: NDArray, noise: NDArray) -> NDArray:
    """Replace phases by random ones where `beyond` holds, keeping amplitudes and Hermitian symmetry.

    noise: the half-complex transform of real white noise of the same box, whose phases are taken.
    """
    amplitude = np.abs(noise)
    phase = noise / np.maximum(amplitude, np.float32(1e-20))
    return np.where(beyond, np.abs(transform) * phase, transform)


def first_lasting_crossing(
    frequency: NDArray, fsc: NDArray, threshold: float = THRESHOLD, lasting: int = 3
) -> float | None:
    """Frequency (1/Å) at which a curve falls below `threshold` and stays there for `lasting` shells, interpolated.

    Shells without evidence (NaN) are passed over. None when it never does; a curve that ends below counts as staying.
    """
    known = np.flatnonzero(np.isfinite(fsc))
    x, y = np.asarray(frequency)[known], np.asarray(fsc)[known]
    below = y < threshold
    for k in np.flatnonzero(below):
        if below[k : k + lasting].all():
            if k == 0:
                return float(x[0])
            share = (y[k - 1] - threshold) / (y[k - 1] - y[k])
            return float(x[k - 1] + share * (x[k] - x[k - 1]))
    return None
