"""The decay of amplitudes with frequency: a line through ln amplitude against frequency squared, with its interval.

A B-factor here is 4 times the slope of that line, in Å²: an amplitude that goes as exp(B f² / 4). It is negative for
a map that decays and positive for one that was sharpened too far.

Rosenthal and Henderson, J Mol Biol 333 (2003) 721, doi:10.1016/j.jmb.2003.07.013.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

# Residuals beyond this many robust deviations pull with constant force (Huber); 1.345 keeps 95 % efficiency.
HUBER = 1.345
# The edge between molecule and ice is soft and hydrated; what it does to amplitudes is known to so much of itself.
SOLVENT_ERROR = 0.3


@dataclass(frozen=True, eq=False)
class ReferenceSpectrum:
    """ln amplitude of protein without thermal motion, and how proteins differ in it.

    frequency: (n,) 1/Å. log_amplitude: (n,) the mean over proteins in ice, hydrogens half counted.
    hydrogens: (n,) what counting them in full adds (and leaving them out takes away).
    solvent: (n,) what the ice around adds; uncertain by 30 % of it.
    deviations: (proteins, n) of each protein from the mean.
    """

    frequency: NDArray[np.float64]
    log_amplitude: NDArray[np.float64]
    hydrogens: NDArray[np.float64]
    solvent: NDArray[np.float64]
    deviations: NDArray[np.float64]

    def at(self, frequency: NDArray) -> NDArray[np.float64]:
        """ln amplitude at any frequencies (1/Å); flat beyond the table."""
        return np.interp(frequency, self.frequency, self.log_amplitude)

    def scatter(self, frequency: NDArray) -> NDArray[np.float64]:
        """Standard deviation between proteins."""
        uniform = (self.hydrogens**2 + (SOLVENT_ERROR * self.solvent) ** 2) / 3.0
        spread = np.sqrt(self.deviations.std(axis=0) ** 2 + uniform)
        return np.interp(frequency, self.frequency, spread)

    def draws(self, frequency: NDArray, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """(count, n) deviations of proteins drawn at random, hydrogens and solvent counted by random parts."""
        on_grid = np.array([np.interp(frequency, self.frequency, d) for d in self.deviations])
        hydrogens = np.interp(frequency, self.frequency, self.hydrogens)
        solvent = SOLVENT_ERROR * np.interp(frequency, self.frequency, self.solvent)
        which = rng.integers(len(on_grid), size=count)
        parts = rng.uniform(-1.0, 1.0, (2, count, 1))
        return on_grid[which] + parts[0] * hydrogens + parts[1] * solvent


@dataclass(frozen=True, eq=False)
class GuinierLine:
    """A fitted line ln amplitude = intercept + b_factor f² / 4.

    b_factor: Å². draws: (n,) of the b_factor under resampling. used: which of the shells given took part.
    residuals: of the shells used, in ln amplitude.
    """

    b_factor: float
    intercept: float
    draws: NDArray[np.float64]
    intercept_draws: NDArray[np.float64]
    residuals: NDArray[np.float64]

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Percentile interval of the b_factor."""
        tail = 50.0 * (1.0 - confidence)
        low, high = np.percentile(self.draws, [tail, 100.0 - tail])
        return float(low), float(high)

    def band(self, frequency: NDArray, confidence: float = 0.95) -> tuple[NDArray, NDArray]:
        """Limits of the line at each frequency."""
        tail = 50.0 * (1.0 - confidence)
        lines = self.intercept_draws[:, None] + self.draws[:, None] * np.asarray(frequency)[None, :] ** 2 / 4.0
        low, high = np.percentile(lines, [tail, 100.0 - tail], axis=0)
        return low, high


def weighted_line(x: NDArray, y: NDArray, weights: NDArray) -> tuple[NDArray, NDArray]:
    """Least-squares slope and intercept over the last axis; y may hold many curves, (..., n)."""
    total = weights.sum()
    centre = (weights * x).sum() / total
    lever = weights * (x - centre)
    slope = (y * lever).sum(axis=-1) / (lever * (x - centre)).sum()
    intercept = (y * weights).sum(axis=-1) / total - slope * centre
    return slope, intercept


def robust_weights(x: NDArray, y: NDArray, variance: NDArray) -> NDArray[np.float64]:
    """1 / variance, lowered for outliers by Huber's rule around the line itself."""
    weights = 1.0 / variance
    for _ in range(20):
        slope, intercept = weighted_line(x, y, weights)
        standard = (y - intercept - slope * x) / np.sqrt(variance)
        # The variance handed in may be off as a whole; the limit is in units of what is seen.
        scale = max(1.4826 * float(np.median(np.abs(standard))), 1e-9)
        new = np.minimum(1.0, HUBER * scale / np.maximum(np.abs(standard), 1e-300)) / variance
        if np.allclose(new, weights, rtol=1e-6):
            break
        weights = new
    return weights


def fit_guinier(
    frequency: NDArray,
    log_amplitude: NDArray,
    variance: NDArray,
    rng: np.random.Generator,
    *,
    reference: ReferenceSpectrum | None = None,
    noise_over_signal: NDArray | None = None,
    noise_error: float = 0.0,
    block: int = 3,
    draws: int = 1000,
) -> GuinierLine:
    """Fit ln amplitude (less the reference's, if one is given) by a robust weighted line in f².

    frequency: (n,) 1/Å, n >= 4. log_amplitude: (n,) ln of the signal's amplitude. variance: (n,) of it.
    noise_over_signal: (n,) power ratio, where noise power was subtracted to get the signal.
    noise_error: relative standard error of the noise power, common to all shells.
    block: shells resampled together, since neighbours are correlated.

    Each of the `draws` resamples the residuals in moving blocks, takes a protein of the reference at random and
    another strength of the noise. With few shells the residuals are enlarged as Student's t is.
    """
    x = np.asarray(frequency, float) ** 2
    y = np.asarray(log_amplitude, float)
    if reference is not None:
        y = y - reference.at(frequency)
    n = x.size
    if n < 4:
        raise ValueError(f"A line with an interval needs at least 4 shells, got {n}.")
    weights = robust_weights(x, y, variance)
    slope, intercept = weighted_line(x, y, weights)
    residuals = y - intercept - slope * x
    standard = residuals / np.sqrt(variance)
    block = min(block, n - 1)
    freedom = max(n - 2.0, 1.0)
    enlarge = np.sqrt(n / freedom) * float(stdtrit(freedom, 0.975)) / 1.959964
    starts = rng.integers(0, n - block + 1, size=(draws, -(-n // block)))
    index = (starts[..., None] + np.arange(block)).reshape(draws, -1)[:, :n]
    # A block carries its own mean; signs are drawn so that the resampled residuals average to zero.
    signs = np.repeat(rng.choice([-1.0, 1.0], size=starts.shape), block, axis=1)[:, :n]
    simulated = (intercept + slope * x) + enlarge * signs * standard[index] * np.sqrt(variance)
    if reference is not None:
        simulated = simulated + reference.draws(frequency, draws, rng)
    if noise_over_signal is not None and noise_error > 0:
        change = -noise_error * rng.standard_normal((draws, 1)) * noise_over_signal
        simulated = simulated + 0.5 * np.log(np.maximum(1.0 + change, 0.05))
    slopes, intercepts = weighted_line(x, simulated, weights)
    return GuinierLine(4.0 * float(slope), float(intercept), 4.0 * slopes, intercepts, residuals)


@dataclass(frozen=True)
class SpectralEnd:
    """Where a map's amplitudes end: at `onset` they leave the trend, at `half` they are half of it (1/Å).

    drop: by how much they then fall below the trend.
    """

    onset: float
    half: float
    drop: float


def find_spectral_end(frequency: NDArray, log_amplitude: NDArray, least_drop: float = 4.0) -> SpectralEnd | None:
    """Find a low-pass: amplitudes fall below their trend by `least_drop` or more within 15 % in frequency, for good.

    frequency: (n,) 1/Å, rising and evenly spaced. log_amplitude: (n,) of the whole map, noise included.
    The trend at f is the line in f² through the shells from 0.72 f to 0.92 f: a steep B-factor is no end.
    None where there is no such fall, or too few shells to tell.
    """
    x = frequency**2
    fall = np.log(least_drop)
    deficit = np.full(frequency.size, np.nan)
    for k, f in enumerate(frequency):
        before = (frequency >= 0.72 * f) & (frequency <= 0.92 * f)
        if before.sum() < 5 or f < 0.04:
            continue
        slope, intercept = weighted_line(x[before], log_amplitude[before], np.ones(int(before.sum())))
        # A trend may not rise above what was seen: the far side of a gap rises, and means nothing beyond it.
        deficit[k] = min(intercept + slope * x[k], log_amplitude[before].max()) - log_amplitude[k]
    for k in np.flatnonzero(np.nan_to_num(deficit) > fall).tolist():
        f = frequency[k]
        # The shells just before may have begun to fall; the trend is taken from those that have not.
        calm = (frequency >= 0.65 * f) & (frequency <= 0.85 * f)
        if calm.sum() < 4:
            continue
        slope, intercept = weighted_line(x[calm], log_amplitude[calm], np.ones(int(calm.sum())))
        trend = np.minimum(intercept + slope * x, log_amplitude[calm].max())
        gap = trend - log_amplitude
        # Amplitudes that come back to where the trend was had a gap, no end.
        if (trend[k] - log_amplitude[k:]).min() < 0.5 * fall:
            continue
        descent = np.flatnonzero((frequency > 0.8 * f) & (frequency <= f))
        above_half = descent[gap[descent] < np.log(2.0)]
        half = int(min(above_half[-1] + 1, k)) if above_half.size else int(descent[0])
        unmoved = descent[(gap[descent] < 0.25) & (descent <= half)]
        onset = unmoved[-1] if unmoved.size else descent[0]
        return SpectralEnd(float(frequency[onset]), float(frequency[half]), float(np.exp(deficit[k])))
    return None


def most_noise(
    frequency: NDArray, resolution: float, reference: ReferenceSpectrum, raw_b_factor: float
) -> NDArray[np.float64]:
    """The noise-over-signal power of a map whose half maps agree to FSC 0.143 at `resolution` (Å).

    There the map's signal-to-noise ratio is 2 x 0.143 / (1 - 0.143) = 1/3; towards lower frequency, before any
    sharpening, the signal grows over flat noise by its own spectrum and by exp(-raw_b_factor f² / 2), `raw_b_factor`
    in Å² and positive.
    """
    limit = 1.0 / resolution
    shape = 2.0 * (reference.at(np.array([limit]))[0] - reference.at(frequency))
    decay = -0.5 * raw_b_factor * (limit**2 - np.asarray(frequency) ** 2)
    return 3.0 * np.exp(shape + decay)
