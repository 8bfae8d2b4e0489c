"""Statistics for voxels that are not independent: robust scales, intervals, surrogates and what they decide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import beta, norm


def robust_scale(values: NDArray) -> tuple[float, float]:
    """Median and 1.4826 times the median absolute deviation: the standard deviation of Gaussian values."""
    centre = float(np.median(values))
    return centre, 1.4826 * float(np.median(np.abs(values - np.asarray(centre, values.dtype))))


def binomial_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact (Clopper-Pearson) interval of a rate. Biometrika 26 (1934) 404, 10.1093/biomet/26.4.404."""
    tail = (1.0 - confidence) / 2
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, trials - successes + 1))
    high = 1.0 if successes == trials else float(beta.ppf(1 - tail, successes + 1, trials - successes))
    return low, high


def permutation_p_value(observed: float, null: NDArray) -> float:
    """(1 + number of null values at least as large) / (1 + number of null values): never 0.

    Phipson and Smyth, Stat. Appl. Genet. Mol. Biol. 9 (2010) 39, 10.2202/1544-6115.1585.
    """
    return (1 + int(np.count_nonzero(np.asarray(null) >= observed))) / (1 + len(null))


def block_bootstrap(
    sums: NDArray, weights: NDArray, rng: np.random.Generator, draws: int = 1000, confidence: float = 0.95
) -> tuple[float, float]:
    """Interval of a mean over blocks that are drawn with replacement.

    sums, weights: (blocks,) the sum of the values and the number of voxels of each block.
    """
    count = len(sums)
    picked = rng.multinomial(count, np.full(count, 1.0 / count), size=draws)
    means = (picked @ sums) / np.maximum(picked @ weights, 1e-300)
    tail = 50 * (1 - confidence)
    low, high = np.percentile(means, [tail, 100 - tail])
    return float(low), float(high)


def westfall_young(observed: NDArray, null: NDArray) -> tuple[float, NDArray[np.float64]]:
    """Family-wise and adjusted p-values of several tests by the smallest p (single step).

    observed: (tests,) a p-value or anything that is smaller for stronger evidence.
    null: (draws, tests) the same of surrogates in which no hypothesis is false; their dependence is kept.
    Returns the family's p-value, and each test's adjusted p-value. Whatever the dependence between the tests, and
    however rough the values are as p-values, the smallest of them is compared with its own distribution.
    Raises ValueError for values that are not numbers.
    Westfall and Young, Resampling-based multiple testing (1993).
    """
    if not (np.isfinite(observed).all() and np.isfinite(null).all()):
        raise ValueError("A test has no p-value. Leave the test out of the family instead.")
    smallest = np.min(null, axis=1)
    adjusted = np.array([(1 + np.count_nonzero(smallest <= p)) / (1 + len(smallest)) for p in observed])
    return float(adjusted.min()), adjusted


# --- the largest of many: distributions fitted to surrogates ---------------------------------------------------


@dataclass(frozen=True)
class LargestNormal:
    """The largest of an effective number of independent standard normal |z|.

    scale: of z, 1 where the standard errors are right.
    """

    tests: float
    scale: float = 1.0

    def p_value(self, largest: NDArray | float) -> NDArray[np.float64]:
        """P(the largest >= the given value)."""
        tail = 2 * norm.sf(np.asarray(largest, float) / self.scale)
        return -np.expm1(self.tests * np.log1p(-np.minimum(tail, 1 - 1e-12)))

    def quantile(self, p: float) -> float:
        """The value that the largest passes with probability p."""
        tail = -np.expm1(np.log1p(-p) / self.tests)
        return float(-ndtri(tail / 2) * self.scale)


def fit_largest_normal(null: NDArray) -> LargestNormal:
    """Fit the effective number and the scale to surrogates of the largest, by their median and upper tenth."""
    ordered = np.sort(np.asarray(null, float))
    middle, upper = np.quantile(ordered, [0.5, 0.9])
    best = None
    for tests in np.geomspace(1.0, 3000.0, 200):
        unit = LargestNormal(float(tests))
        low, high = unit.quantile(0.5), unit.quantile(0.1)
        error = abs(upper / max(middle, 1e-12) - high / low)
        if best is None or error < best[0]:
            best = (error, LargestNormal(float(tests), max(middle, 1e-12) / low))
    assert best is not None
    return best[1]


@dataclass(frozen=True)
class ExcursionRate:
    """How often a Gaussian field rises above u: `rate * u**power * exp(-u²/2)` excursions per voxel.

    The power is 2 for a smooth field in three dimensions and -1 for independent voxels; a sampled field lies between.
    Excursions are rare and independent, so that their number in a region is Poisson (the Poisson clumping heuristic).
    Adler and Taylor, Random fields and geometry (2007), 10.1007/978-0-387-48116-6.
    """

    rate: float
    power: float

    def expected(self, height: NDArray | float, voxels: NDArray | float) -> NDArray[np.float64]:
        """Expected number of excursions above `height` in a region of `voxels`."""
        height = np.maximum(np.asarray(height, float), 1e-6)
        return voxels * self.rate * height**self.power * np.exp(-(height**2) / 2)

    def p_value(self, highest: NDArray | float, voxels: NDArray | float) -> NDArray[np.float64]:
        """P(the highest of the region is at least so high). Below 2 the law does not hold, and 1 is returned."""
        highest = np.asarray(highest, float)
        return np.where(highest < 2.0, 1.0, -np.expm1(-self.expected(highest, voxels)))

    def quantile(self, p: float, voxels: float) -> float:
        """The height that the highest of the region passes with probability p."""
        heights = np.linspace(2.0, 12.0, 2001)
        return float(np.interp(-p, -self.p_value(heights, voxels), heights))


def fit_excursion_rate(highest: NDArray, voxels: NDArray) -> ExcursionRate:
    """Fit the law of the highest |z| to surrogates, by maximum likelihood.

    highest: (draws,) the largest |z| of each surrogate. voxels: (draws,) the size of its region.
    """
    u, n = np.asarray(highest, float), np.asarray(voxels, float)
    best = None
    for power in np.linspace(-1.0, 2.5, 36):
        shape = n * u**power * np.exp(-(u**2) / 2)
        rate = u.size / shape.sum()
        # The derivative of the expected number has to stay negative: the law falls with height.
        slope = np.maximum(u - power / u, 1e-12)
        likelihood = np.sum(np.log(rate * shape * slope) - rate * shape)
        if best is None or likelihood > best[0]:
            best = (likelihood, ExcursionRate(float(rate), float(power)))
    assert best is not None
    return best[1]


@dataclass(frozen=True, eq=False)
class ClusterSizes:
    """How often noise makes a cluster of at least so many voxels, per voxel of region.

    Measured where surrogates have enough clusters; beyond, log rate falls with size^(2/3), as the size of an
    excursion of a Gaussian field in three dimensions does (Friston et al., Hum. Brain Mapp. 1 (1994) 210,
    10.1002/hbm.460010306).
    """

    sizes: NDArray[np.float64]
    rates: NDArray[np.float64]
    slope: float

    def rate(self, size: NDArray | float) -> NDArray[np.float64]:
        size = np.atleast_1d(np.asarray(size, float))
        if self.sizes.size == 0:
            return np.zeros(size.shape)
        # The rate of "at least s" is a step function of whole sizes: constant from one seen size to the next.
        where = np.searchsorted(self.sizes, size, side="left")
        inside = self.rates[np.minimum(where, self.sizes.size - 1)]
        last_size, last_rate = self.sizes[-1], self.rates[-1]
        beyond = last_rate * np.exp(-self.slope * (np.maximum(size, last_size) ** (2 / 3) - last_size ** (2 / 3)))
        return np.where(size > last_size, beyond, inside)

    def p_value(self, largest: NDArray | float, voxels: NDArray | float) -> NDArray[np.float64]:
        """P(the largest cluster of the region has at least so many voxels); 1 where there is none."""
        largest = np.atleast_1d(np.asarray(largest, float))
        return np.where(largest < 1, 1.0, -np.expm1(-voxels * self.rate(largest)))

    def quantile(self, p: float, voxels: float) -> float:
        """The smallest size that the largest cluster reaches with probability p at most."""
        sizes = np.unique(np.rint(np.geomspace(1, 1e6, 4000)))
        reached = np.flatnonzero(self.p_value(sizes, voxels) <= p)
        return float(sizes[reached[0]]) if reached.size else float("inf")


def fit_cluster_sizes(sizes: NDArray, voxels: float, enough: int = 20) -> ClusterSizes:
    """The law of cluster sizes from all clusters of the surrogates.

    sizes: (clusters,) voxels of each. voxels: region voxels of all surrogates together.
    enough: clusters that a measured rate rests on at least.
    """
    ordered = np.sort(np.asarray(sizes, float))
    if ordered.size == 0:
        return ClusterSizes(np.zeros(0), np.zeros(0), 1.0)
    distinct = np.unique(ordered)
    at_least = ordered.size - np.searchsorted(ordered, distinct, side="left")
    keep = at_least >= min(enough, ordered.size)
    known, counts = distinct[keep], at_least[keep]
    # The slope from the largest tenth (and at least `enough`): the excess of an exponential is its mean.
    tail = ordered[-max(enough, ordered.size // 10) :] ** (2 / 3)
    excess = float(np.mean(tail - (tail[0] - 0.25)))
    return ClusterSizes(known, counts / voxels, 1.0 / max(excess, 1e-3))


@njit(nogil=True, cache=True)
def excursion_clusters(z, threshold):
    """Clusters of |z| > threshold of one sign or both, 26 neighbours, by flood filling.

    z: (nz, ny, nx) float32, 0 outside the region.
    Returns the largest |z|, and per cluster its size and the index of its highest voxel (z, y, x).
    """
    nz, ny, nx = z.shape
    seen = np.zeros(0, np.uint8)
    highest = np.float32(0.0)
    exceed = 0
    for iz in range(nz):
        for iy in range(ny):
            for ix in range(nx):
                value = abs(z[iz, iy, ix])
                if value > highest:
                    highest = value
                if value > threshold:
                    exceed += 1
    sizes = np.zeros(exceed, np.int64)
    peaks = np.zeros((exceed, 3), np.int32)
    if exceed == 0:
        return highest, sizes, peaks
    seen = np.zeros(nz * ny * nx, np.uint8)
    stack = np.empty(exceed, np.int64)
    found = 0
    for iz in range(nz):
        for iy in range(ny):
            for ix in range(nx):
                start = (iz * ny + iy) * nx + ix
                if seen[start] or abs(z[iz, iy, ix]) <= threshold:
                    continue
                seen[start] = 1
                stack[0] = start
                depth = 1
                size = 0
                top = np.float32(0.0)
                while depth:
                    depth -= 1
                    here = stack[depth]
                    cz, rest = here // (ny * nx), here % (ny * nx)
                    cy, cx = rest // nx, rest % nx
                    size += 1
                    value = abs(z[cz, cy, cx])
                    if value > top:
                        top = value
                        peaks[found, 0], peaks[found, 1], peaks[found, 2] = cz, cy, cx
                    for dz in range(max(0, cz - 1), min(nz, cz + 2)):
                        for dy in range(max(0, cy - 1), min(ny, cy + 2)):
                            for dx in range(max(0, cx - 1), min(nx, cx + 2)):
                                there = (dz * ny + dy) * nx + dx
                                if not seen[there] and abs(z[dz, dy, dx]) > threshold:
                                    seen[there] = 1
                                    stack[depth] = there
                                    depth += 1
                sizes[found] = size
                found += 1
    return highest, sizes[:found], peaks[:found]
