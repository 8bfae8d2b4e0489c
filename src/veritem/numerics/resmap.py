"""Local sinusoid-like features by a likelihood-ratio test at every voxel, scale by scale.

Around each voxel a model of local waves (polynomials up to the third degree under a Gaussian) is compared with a
constant. The statistic is a quadratic form of the window's values. It has rank 16: it is the sum of the squares of 16
filtered maps, and the 16 filters are a monomial of degree at most 3 times a Gaussian each, so that one pass over three
separable axes gives them all.
Kucukelbir, Sigworth and Tagare, Nature Methods 11 (2014) 63, doi:10.1038/nmeth.2727.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.stats import gamma

from veritem.numerics.device import like, namespace, to_host
from veritem.numerics.fourier import fast_size, irfftn, rfftn

SCALE = 2.0 * np.pi * np.sqrt(0.4)  # the Gaussian's exponent is -(SCALE r / wavelength)²
CUBIC = 2.254  # the odd functions are t³ - 2.254 t: with 4 t² - 2 under the Gaussian a quadrature pair
TUNED = 1.3  # filters of one wavelength answer most to waves this much shorter


# --- the filters ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class WaveFilters:
    """The 16 filters of one scale on one grid, as products of one-dimensional ones.

    profile: (3, 4, taps) float64: along z, y, x the Gaussian weight times coordinate^0, 1, 2, 3.
    even: (3, 4) rows of coefficients of 1, z², y², x². products: (3,) of yz, xz, xy.
    odd: (3, 3, 4): for z, y, x three rows of coefficients of v, v³, v p², v q², where p and q are the other two axes
    in the order z, y, x. triple: the coefficient of xyz.
    """

    profile: NDArray[np.float64]
    even: NDArray[np.float64]
    products: NDArray[np.float64]
    odd: NDArray[np.float64]
    triple: float

    @property
    def reach(self) -> int:
        """Voxels on either side of the centre."""
        return self.profile.shape[2] // 2

    def kernels(self) -> Iterator[NDArray[np.float64]]:
        """The 16 filters as (taps, taps, taps)."""
        z, y, x = self.profile

        def outer(powers: tuple[int, int, int]) -> NDArray[np.float64]:
            return np.einsum("i,j,k->ijk", z[powers[0]], y[powers[1]], x[powers[2]])

        squares = [outer((0, 0, 0)), outer((2, 0, 0)), outer((0, 2, 0)), outer((0, 0, 2))]
        for row in self.even:
            yield sum(c * s for c, s in zip(row, squares, strict=True))  # type: ignore[misc]
        for c, powers in zip(self.products, ((1, 1, 0), (1, 0, 1), (0, 1, 1)), strict=True):
            yield c * outer(powers)
        for axis in range(3):
            others = [a for a in range(3) if a != axis]
            terms = []
            for own, first, second in ((1, 0, 0), (3, 0, 0), (1, 2, 0), (1, 0, 2)):
                powers = [0, 0, 0]
                powers[axis], powers[others[0]], powers[others[1]] = own, first, second
                terms.append(outer((powers[0], powers[1], powers[2])))
            for row in self.odd[axis]:
                yield sum(c * t for c, t in zip(row, terms, strict=True))  # type: ignore[misc]
        yield self.triple * outer((1, 1, 1))


def wave_filters(wavelength: float, pixel_sizes: tuple[float, float, float]) -> WaveFilters:
    """The filters for one wavelength (Å) on voxels of the given edges along z, y, x (Å).

    The functions are, with t the coordinate along a direction in units of wavelength / SCALE: 4 t² - 2 along the six
    axes of an icosahedron and t³ - 2.254 t along the ten of a dodecahedron, next to a constant. They span all
    quadratic forms, the seven cubic harmonics and v (r² - c), v = z, y, x: spans that no rotation changes. They are
    made orthonormal, to the constant too, under the square root of the Gaussian weight on the voxels of the window.
    The window reaches half a wavelength, rounded up to whole voxels.
    """
    rate = SCALE / wavelength
    reach = int(np.ceil(0.5 * wavelength / max(pixel_sizes)))
    steps = np.arange(-reach, reach + 1)
    axes = [rate * p * steps for p in pixel_sizes]
    profile = np.stack([np.exp(-(u**2)) * u ** np.arange(4)[:, None] for u in axes])
    z, y, x = np.meshgrid(*axes, indexing="ij")
    weight = np.exp(-(z**2 + y**2 + x**2))
    root = np.sqrt(weight).ravel()

    def orthonormal(functions: list[NDArray], terms: list[NDArray]) -> NDArray[np.float64]:
        """Coefficients on `terms` of the functions made orthonormal in their order: (functions, terms)."""
        basis = np.stack([t.ravel() for t in terms], axis=1) * root[:, None]
        rows = np.stack(functions)
        triangle = np.linalg.cholesky(rows @ (basis.T @ basis) @ rows.T)
        return np.linalg.solve(triangle, rows)

    ones = np.ones_like(z)
    even = orthonormal(list(np.eye(4)), [ones, z**2, y**2, x**2])[1:]
    products = np.array([1.0 / np.sqrt((weight * t**2).sum()) for t in (y * z, x * z, x * y)])
    # Summed over the ten directions n, n (n u)³ is 2 r² u and n (n u) is 10/3 u.
    centre = CUBIC * 10.0 / 3.0 / 2.0
    odd = np.empty((3, 3, 4))
    for axis, (v, p, q) in enumerate(((z, y, x), (y, z, x), (x, z, y))):
        functions = [
            np.array([0.0, 2.0, -3.0, -3.0]),
            np.array([0.0, 0.0, 1.0, -1.0]),
            np.array([-centre, 1.0, 1.0, 1.0]),
        ]
        odd[axis] = orthonormal(functions, [v, v**3, v * p**2, v * q**2])
    triple = float(1.0 / np.sqrt((weight * (x * y * z) ** 2).sum()))
    return WaveFilters(profile, even, products, odd, triple)


@njit(nogil=True, cache=True, fastmath=True)
def _statistic(data, first, last, profile, even, products, odd, triple, out):
    nz, ny, nx = data.shape
    taps = profile.shape[2]
    reach = taps // 2
    zero = profile[0, 0, 0] * 0
    planes = np.empty((4, ny, nx), data.dtype)
    rows = np.empty((10, nx + 2 * reach), data.dtype)
    c = np.empty((20, nx), data.dtype)
    wanted = np.empty(ny, np.bool_)
    for z in range(nz):
        some = False
        for y in range(ny):
            wanted[y] = False
        for y in range(ny):
            if first[z, y] < last[z, y]:
                some = True
                for k in range(-reach, reach + 1):
                    wanted[(y + k) % ny] = True
        if not some:
            continue
        for y in range(ny):
            if not wanted[y]:
                continue
            for a in range(4):
                for x in range(nx):
                    planes[a, y, x] = zero
            for k in range(taps):
                source = data[(z + k - reach) % nz, y]
                w0, w1, w2, w3 = profile[0, 0, k], profile[0, 1, k], profile[0, 2, k], profile[0, 3, k]
                p0, p1, p2, p3 = planes[0, y], planes[1, y], planes[2, y], planes[3, y]
                for x in range(nx):
                    value = source[x]
                    p0[x] += w0 * value
                    p1[x] += w1 * value
                    p2[x] += w2 * value
                    p3[x] += w3 * value
        for y in range(ny):
            low, high = first[z, y], last[z, y]
            if low >= high:
                continue
            # Powers (z, y): 00 01 02 03 10 11 12 20 21 30.
            for a in range(10):
                for x in range(low, high + 2 * reach):
                    rows[a, x] = zero
            for k in range(taps):
                there = (y + k - reach) % ny
                w0, w1, w2, w3 = profile[1, 0, k], profile[1, 1, k], profile[1, 2, k], profile[1, 3, k]
                for part in range(3):
                    # The row with its wrapped ends: x - reach ... x + reach lie at x ... x + 2 reach.
                    if part == 0:
                        begin, end, shift = low, min(high + 2 * reach, reach), nx - reach
                    elif part == 1:
                        begin, end, shift = max(low, reach), min(high + 2 * reach, nx + reach), -reach
                    else:
                        begin, end, shift = max(low, nx + reach), high + 2 * reach, -nx - reach
                    for x in range(begin, end):
                        v0, v1 = planes[0, there, x + shift], planes[1, there, x + shift]
                        v2, v3 = planes[2, there, x + shift], planes[3, there, x + shift]
                        rows[0, x] += w0 * v0
                        rows[1, x] += w1 * v0
                        rows[2, x] += w2 * v0
                        rows[3, x] += w3 * v0
                        rows[4, x] += w0 * v1
                        rows[5, x] += w1 * v1
                        rows[6, x] += w2 * v1
                        rows[7, x] += w0 * v2
                        rows[8, x] += w1 * v2
                        rows[9, x] += w0 * v3
            for a in range(20):
                for x in range(low, high):
                    c[a, x] = zero
            for k in range(taps):
                w0, w1, w2, w3 = profile[2, 0, k], profile[2, 1, k], profile[2, 2, k], profile[2, 3, k]
                for x in range(low, high):
                    r0, r1, r2, r3, r4 = rows[0, x + k], rows[1, x + k], rows[2, x + k], rows[3, x + k], rows[4, x + k]
                    r5, r6, r7, r8, r9 = rows[5, x + k], rows[6, x + k], rows[7, x + k], rows[8, x + k], rows[9, x + k]
                    # Powers (z, y, x).
                    c[0, x] += w0 * r0  # 000
                    c[1, x] += w1 * r0  # 001
                    c[2, x] += w2 * r0  # 002
                    c[3, x] += w3 * r0  # 003
                    c[4, x] += w0 * r1  # 010
                    c[5, x] += w1 * r1  # 011
                    c[6, x] += w2 * r1  # 012
                    c[7, x] += w0 * r2  # 020
                    c[8, x] += w1 * r2  # 021
                    c[9, x] += w0 * r3  # 030
                    c[10, x] += w0 * r4  # 100
                    c[11, x] += w1 * r4  # 101
                    c[12, x] += w2 * r4  # 102
                    c[13, x] += w0 * r5  # 110
                    c[14, x] += w1 * r5  # 111
                    c[15, x] += w0 * r6  # 120
                    c[16, x] += w0 * r7  # 200
                    c[17, x] += w1 * r7  # 201
                    c[18, x] += w0 * r8  # 210
                    c[19, x] += w0 * r9  # 300
            for x in range(low, high):
                total = (products[0] * c[13, x]) ** 2 + (products[1] * c[11, x]) ** 2 + (products[2] * c[5, x]) ** 2
                total += (triple * c[14, x]) ** 2
                for i in range(3):
                    t = even[i, 0] * c[0, x] + even[i, 1] * c[16, x] + even[i, 2] * c[7, x] + even[i, 3] * c[2, x]
                    total += t * t
                    t = odd[0, i, 0] * c[10, x] + odd[0, i, 1] * c[19, x]
                    t += odd[0, i, 2] * c[15, x] + odd[0, i, 3] * c[12, x]
                    total += t * t
                    t = odd[1, i, 0] * c[4, x] + odd[1, i, 1] * c[9, x]
                    t += odd[1, i, 2] * c[18, x] + odd[1, i, 3] * c[6, x]
                    total += t * t
                    t = odd[2, i, 0] * c[1, x] + odd[2, i, 1] * c[3, x]
                    t += odd[2, i, 2] * c[17, x] + odd[2, i, 3] * c[8, x]
                    total += t * t
                out[z, y, x] = total


def row_spans(wanted: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """First wanted voxel of each row along x, and one past the last; (nz, ny) each, equal where there is none."""
    some = wanted.any(axis=2)
    first = np.where(some, wanted.argmax(axis=2), 0).astype(np.int32)
    last = np.where(some, wanted.shape[2] - wanted[:, :, ::-1].argmax(axis=2), 0).astype(np.int32)
    return first, last


def wave_statistic(
    field: Any, filters: WaveFilters, wanted: NDArray[np.bool_] | None = None, threads: int = 1
) -> Any:
    """The sum of the squares of the 16 filtered maps: the likelihood-ratio statistic times the noise's variance.

    field: (nz, ny, nx) real, periodic. wanted: (nz, ny, nx) where it is needed (on the host); elsewhere the answer may
    be 0. Arrays of a GPU are filtered by Fourier transforms and answered everywhere.
    """
    xp = namespace(field)
    if xp is np:
        first, last = row_spans(np.ones(field.shape, bool) if wanted is None else wanted)
        out = np.zeros_like(field)
        kind = field.dtype.type
        _statistic(
            np.ascontiguousarray(field), first, last, filters.profile.astype(kind), filters.even.astype(kind),
            filters.products.astype(kind), filters.odd.astype(kind), kind(filters.triple), out,
        )  # fmt: skip
        return out
    transform = rfftn(field, threads)
    total = xp.zeros_like(field)
    for kernel in filters.kernels():
        taps = rfftn(like(_centred(kernel, field.shape), field), threads)
        filtered = irfftn(transform * xp.conj(taps), field.shape, threads)
        total += filtered * filtered
    return total


def _centred(kernel: NDArray[np.float64], shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """The kernel on a periodic grid with its centre at voxel (0, 0, 0); what is wider than the grid wraps around."""
    steps = [np.arange(-(n // 2), n // 2 + 1) % full for n, full in zip(kernel.shape, shape, strict=True)]
    out = np.zeros(shape, np.float32)
    np.add.at(out, np.ix_(*steps), kernel.astype(np.float32))
    return out
