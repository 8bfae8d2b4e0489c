"""A Guinier line at every place of a map, from its local band powers, and statistics over places that are not
independent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from veritem.numerics.bands import Band
from veritem.numerics.guinier import ReferenceSpectrum

# ln amplitude: how much local spectra of one protein scatter beyond what the window's freedom explains, per band. With
# it, local B-factors of proteins of one B scatter as their standard errors say, within 20 % (results/b_factor.json).
STRUCTURE = 0.06


@dataclass(frozen=True, eq=False)
class LocalLines:
    """b_factor, standard_error: (voxels,) Å², NaN where not determinable. bands_used: (voxels,)."""

    b_factor: NDArray[np.float32]
    standard_error: NDArray[np.float32]
    bands_used: NDArray[np.int64]

    @property
    def determinable(self) -> NDArray[np.bool_]:
        return np.isfinite(self.b_factor)


@njit(nogil=True, cache=True)
def _lines(
    powers, noise, freedom, noise_error, model, x, centres, least_signal, least_bands, least_span, structure, b, e, used
):
    bands, voxels = powers.shape
    for v in range(voxels):
        sw = swx = swy = swxx = swxy = 0.0
        count = 0
        for j in range(bands):
            signal = powers[j, v] - noise[j]
            chance = noise[j] * (np.sqrt(2.0 / freedom[j]) + noise_error)
            # Beyond the first band without signal nothing is taken: one that stands out by chance would be chosen.
            if signal <= 0.0 or signal < least_signal * noise[j] or signal < 2.0 * chance:
                break
            ratio = noise[j] / signal
            variance = (1.0 + ratio) ** 2 / (2.0 * freedom[j]) + structure**2 + (0.5 * ratio * noise_error) ** 2
            w = 1.0 / variance
            y = 0.5 * np.log(signal) - model[j]
            sw += w
            swx += w * x[j]
            swy += w * y
            swxx += w * x[j] * x[j]
            swxy += w * x[j] * y
            count += 1
        used[v] = count
        if count < least_bands or centres[count - 1] < least_span * centres[0]:
            b[v] = np.nan
            e[v] = np.nan
            continue
        spread = swxx - swx * swx / sw
        b[v] = 4.0 * (swxy - swx * swy / sw) / spread
        e[v] = 4.0 / np.sqrt(spread)


def band_model(
    bands: tuple[Band, ...], reference: ReferenceSpectrum | None, b_factor: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """ln amplitude of each band for protein of one B-factor, and 4 times its derivative by B: the band's own f².

    A steep spectrum is stronger at the low side of a band, so that the band's f² is below that of its centre.
    """
    level, x = np.empty(len(bands)), np.empty(len(bands))
    for j, band in enumerate(bands):
        f = np.linspace(max(band.centre - band.half_width, 1e-4), band.centre + band.half_width, 201)
        log_power = b_factor * f**2 / 2.0 + (0.0 if reference is None else 2.0 * reference.at(f))
        weight = band.gain(f).astype(float) ** 2 * f**2 * np.exp(log_power)
        level[j] = 0.5 * np.log(np.trapezoid(weight, f))
        x[j] = np.trapezoid(weight * f**2, f) / np.trapezoid(weight, f)
    return level, x


def local_guinier(
    powers: NDArray[np.float32],
    bands: tuple[Band, ...],
    noise: NDArray,
    freedom: NDArray,
    noise_error: float,
    reference: ReferenceSpectrum | None,
    *,
    least_signal: float = 1.0,
    least_bands: int = 4,
    least_span: float = 1.5,
    expected: float | None = None,
) -> LocalLines:
    """Fit ln amplitude of local signal, less the reference's, against f², voxel by voxel.

    powers: (bands, voxels) local power, noise included; bands rising from the first that is to be used.
    noise: (bands,) expected local power of the noise. freedom: (bands,) of one local power.
    noise_error: relative standard error of `noise`, common to the bands.
    expected: Å², the B-factor about which bands are modelled; found in two rounds when None.
    Where fewer than `least_bands` neighbouring bands, from the first on, spanning `least_span` in frequency, hold more
    than `least_signal` times the noise (and twice its standard error), the answer is NaN.
    """
    centres = np.array([band.centre for band in bands])
    voxels = powers.shape[1]
    lines = LocalLines(np.empty(voxels, np.float32), np.empty(voxels, np.float32), np.empty(voxels, np.int64))
    about = -50.0 if expected is None else expected
    for _ in range(2 if expected is None else 1):
        level, x = band_model(bands, reference, about)
        _lines(
            powers, np.asarray(noise, float), np.asarray(freedom, float), float(noise_error), level, x, centres,
            float(least_signal), least_bands, float(least_span), STRUCTURE,
            lines.b_factor, lines.standard_error, lines.bands_used,
        )  # fmt: skip
        lines.b_factor[:] += np.float32(about)
        known = lines.b_factor[lines.determinable]
        if known.size:
            about = float(np.median(known))
    return lines


def slope_of(values: NDArray, x: NDArray, variance: NDArray) -> NDArray:
    """4 times the weighted slope of curves (..., bands) against x: the B-factor that they would look like."""
    w = 1.0 / variance
    centre = (w * x).sum() / w.sum()
    lever = w * (x - centre)
    return 4.0 * (values * lever).sum(axis=-1) / (lever * (x - centre)).sum()


def block_labels(positions: NDArray, edge: float) -> NDArray[np.int64]:
    """Number the cubes of `edge` Å that hold positions (n, 3), in Å: (n,) from 0 without gaps."""
    cells = np.floor(positions / edge).astype(np.int64)
    cells -= cells.min(axis=0)
    sizes = cells.max(axis=0) + 1
    flat = (cells[:, 0] * sizes[1] + cells[:, 1]) * sizes[2] + cells[:, 2]
    return np.unique(flat, return_inverse=True)[1]


def block_inflation(edge: float, window: float) -> float:
    """By how much the bootstrap over cubes of `edge` underrates the standard error of a mean, as a factor.

    Values that were averaged in a Gaussian window (standard deviation `window`, Å) are correlated as exp(-r² / 4w²),
    beyond the faces of their cube too. Along one axis the variance of a mean over a long stretch is
    2 sqrt(pi) w / length; cubes taken as independent have their own variance times edge / length.
    """
    r = np.linspace(0.0, edge, 401)
    within = 2.0 / edge**2 * np.trapezoid((edge - r) * np.exp(-(r**2) / (4.0 * window**2)), r)
    return float((2.0 * np.sqrt(np.pi) * window / (edge * within)) ** 1.5)


def bootstrap_quantile(
    values: NDArray,
    labels: NDArray,
    quantile: float,
    rng: np.random.Generator,
    inflation: float = 1.0,
    draws: int = 500,
    bins: int = 400,
) -> NDArray[np.float64]:
    """Quantiles of `values` when whole blocks are drawn with replacement: (draws,).

    values: (n,) finite. labels: (n,) block of each, from 0. inflation: see `block_inflation`; the draws are spread by
    it about the quantile itself. Histograms of `bins` bins per block make a draw one product of matrices; within a
    bin the quantile is interpolated.
    """
    lowest, highest = np.percentile(values, [0.5, 99.5])
    # Values beyond go to the end bins: they count, and the middle of the distribution keeps its resolution.
    edges = np.linspace(lowest, max(highest, lowest + 1e-9), bins + 1)
    which = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, bins - 1)
    blocks = int(labels.max()) + 1
    counts = np.bincount(labels * bins + which, minlength=blocks * bins).reshape(blocks, bins)
    picks = rng.multinomial(blocks, np.full(blocks, 1.0 / blocks), size=draws)
    totals = np.cumsum(picks @ counts, axis=1)
    goal = quantile * totals[:, -1]
    bin_index = np.array([np.searchsorted(row, g) for row, g in zip(totals, goal, strict=True)])
    bin_index = np.minimum(bin_index, bins - 1)
    before = np.where(bin_index > 0, totals[np.arange(draws), np.maximum(bin_index - 1, 0)], 0)
    inside = totals[np.arange(draws), bin_index] - before
    part = (goal - before) / np.maximum(inside, 1)
    drawn = edges[bin_index] + part * (edges[1] - edges[0])
    centre = float(np.quantile(values, quantile))
    return centre + inflation * (drawn - centre)


def bootstrap_mean(
    values: NDArray, labels: NDArray, rng: np.random.Generator, inflation: float = 1.0, draws: int = 500
) -> NDArray[np.float64]:
    """Means of `values` when whole blocks are drawn with replacement, spread by `inflation`: (draws,)."""
    blocks = int(labels.max()) + 1
    sums = np.bincount(labels, values, minlength=blocks)
    counts = np.bincount(labels, minlength=blocks)
    picks = rng.multinomial(blocks, np.full(blocks, 1.0 / blocks), size=draws)
    means = (picks @ sums) / np.maximum(picks @ counts, 1)
    centre = float(np.mean(values))
    return centre + inflation * (means - centre)


@njit(nogil=True, cache=True)
def _climb(density, inside, parent):
    nz, ny, nx = density.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                here = (z * ny + y) * nx + x
                if not inside[z, y, x]:
                    parent[here] = -1
                    continue
                best, place = density[z, y, x], here
                for dz in range(-1, 2):
                    for dy in range(-1, 2):
                        for dx in range(-1, 2):
                            a, b, c = z + dz, y + dy, x + dx
                            if 0 <= a < nz and 0 <= b < ny and 0 <= c < nx and inside[a, b, c]:
                                value, there = density[a, b, c], (a * ny + b) * nx + c
                                # Of equal neighbours the later one: a plateau must not send voxels in circles.
                                if value > best or (value == best and there > place):
                                    best, place = value, there
                parent[here] = place
    for start in range(parent.size):
        if parent[start] < 0:
            continue
        top = start
        while parent[top] != top:
            top = parent[top]
        here = start
        while parent[here] != top and here != top:
            parent[here], here = top, parent[here]


@njit(nogil=True, cache=True)
def _contacts(labels, count, strength, density):
    """For each pair of touching segments the sum of the density along their border."""
    nz, ny, nx = labels.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                a = labels[z, y, x]
                if a < 0:
                    continue
                for axis in range(3):
                    zz, yy, xx = z + (axis == 0), y + (axis == 1), x + (axis == 2)
                    if zz < nz and yy < ny and xx < nx:
                        b = labels[zz, yy, xx]
                        if b >= 0 and b != a:
                            value = max(0.0, 0.5 * (density[z, y, x] + density[zz, yy, xx]))
                            strength[a, b] += value
                            strength[b, a] += value


def segment(
    density: NDArray[np.float32],
    inside: NDArray[np.bool_],
    smallest: int,
    strength: NDArray | None = None,
    likeness: float = 0.35,
) -> tuple[NDArray[np.int32], int]:
    """Split a region into the basins of a smooth density: each voxel goes uphill to its maximum (a watershed).

    density: (nz, ny, nx), smooth on the scale of the parts that are wanted. inside: where.
    smallest: voxels; smaller basins join the neighbour with which they share most density along the border.
    strength: (nz, ny, nx); if given, neighbours are weighed by exp(-(difference of ln mean strength / likeness)²), so
        that a weak part joins weak parts rather than a strong neighbour in which it would be lost.
    Returns labels (nz, ny, nx) int32, -1 outside and 0 ... n - 1 inside, and n.
    """
    parent = np.empty(density.size, np.int64)
    _climb(np.ascontiguousarray(density), np.ascontiguousarray(inside), parent)
    labels = np.full(density.size, -1, np.int32)
    known = parent >= 0
    labels[known] = np.unique(parent[known], return_inverse=True)[1]
    count = int(labels.max()) + 1
    if count == 0:
        return labels.reshape(density.shape), 0
    sizes = np.bincount(labels[known], minlength=count).astype(float)
    if strength is None:
        total = sizes.copy()
    else:
        total = np.maximum(np.bincount(labels[known], strength.ravel()[known], minlength=count), 1e-6 * sizes)
    members = sizes.copy()
    contact = np.zeros((count, count))
    _contacts(labels.reshape(density.shape), count, contact, density)
    target = np.arange(count)
    alive = np.ones(count, bool)
    while alive.sum() > 1:
        least = int(np.argmin(np.where(alive, sizes, np.inf)))
        if sizes[least] >= smallest:
            break
        difference = np.log(total / members) - np.log(total[least] / members[least])
        row = np.where(alive, contact[least] * np.exp(-np.minimum((difference / likeness) ** 2, 600.0)), -1.0)
        row[least] = -1.0
        into = int(np.argmax(row))
        if row[into] <= 0.0:
            sizes[least] = np.inf  # an island: nothing to join, it stays as it is
            continue
        contact[into] += contact[least]
        contact[:, into] += contact[:, least]
        contact[into, into] = 0.0
        for amount in (sizes, members, total):
            amount[into] += amount[least]
        alive[least] = False
        target[target == least] = into
    final = np.unique(target[labels[known]], return_inverse=True)[1]
    labels[known] = final
    return labels.reshape(density.shape), int(final.max()) + 1


def density_mode(values: NDArray, width: float) -> float:
    """The most common value of a sample: where the density estimated with a Gaussian of `width` is highest."""
    low, high = float(values.min()) - 3 * width, float(values.max()) + 3 * width
    bins = int(np.clip((high - low) / (width / 5.0), 16, 20_000))
    counts, edges = np.histogram(values, bins, (low, high))
    step = edges[1] - edges[0]
    reach = int(4 * width / step) + 1
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * step / width) ** 2)
    smooth = np.convolve(counts, kernel, mode="same")
    return float(edges[int(np.argmax(smooth))] + 0.5 * step)
