"""The FSC of the half maps by direction, what it would be without anisotropy, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veritem.derived.half_maps import HalfMapFsc, MaskedHalves
from veritem.derived.registry import derived
from veritem.errors import Inconclusive
from veritem.numerics.density_map import HalfMaps
from veritem.numerics.directional_fsc import (
    CellSums,
    ChanceModel,
    Reader,
    Readings,
    anisotropy,
    beyond_chance,
    cell_sums,
    coarser_mask,
    cone,
    degree_powers,
    draw_powers,
    drawn_fsc,
    hemisphere_cells,
    mask_coherence,
    masked_low_frequencies,
    shell_filters,
    smoothing,
    soft_cone,
    symmetry_representatives,
)
from veritem.numerics.directions import evaluate_even, extremes, hemisphere, quadratic_axis
from veritem.numerics.fsc import THRESHOLD, first_lasting_crossing

CELLS, COARSE_CELLS = 1536, 384  # of the half sphere: for the sums, and for the draws
DIRECTIONS = 240  # cones; 5.2° apart, well within a cone
SOFT_ANGLE, HARD_ANGLE = 17.0, 20.0  # °, half-angles: of the shell occupancy and of the 3-D FSC as published
SHAPE_THRESHOLD = 0.5  # FSC of the surface whose sphericity is measured, as published
BEYOND = 1.3  # shells are summed up to so many times the cut-off
DRAWS, REPEATS = 400, 200  # of isotropic half maps; of half maps as anisotropic as these
SMOOTHING = 0.08  # of the cut-off, at least LEAST_SMOOTHING shells
LEAST_SMOOTHING = 0.7
# Independent coefficients that the poorest cone must hold for a shell to say anything about direction.
LEAST_COEFFICIENTS = 2.0
# Shells between the first with evidence and the cut-off; with fewer, a curve has no room to differ.
LEAST_SHELLS = 5
# Beyond so much of an expected FSC of the mask alone, nothing is left to correct.
MOST_LEAK = 0.9
NEARLY_ONE = 0.98  # chance moves an FSC above this by less than its own distance from 1


@dataclass(frozen=True, eq=False)
class DirectionalCorrelation:
    """The half maps' FSC by direction inside the soft mask, corrected for the mask, with its law under isotropy.

    frequency: (shells,) 1/Å, from shell 1 on. first_shell: the first in which every cone holds enough coefficients;
    before it, draws of chance are the expectation itself. shell_width: 1/Å.
    directions: (cones, 3) z, y, x. soft, hard: (shells, cones) FSC in soft cones of 17° and top-hat cones of 20°.
    average: (shells,) over all directions. sums, leak: the tables behind them, from shell 0 on; see `curve`.
    found: readings of the measurement, n = 1. chance: of `DRAWS` isotropic half maps. repeats: of `REPEATS` half maps
    with the anisotropy that was found. Cut-offs in these are shells; times `scale` (soft cones) and `cone_scale`
    (top-hat cones) they are 1/Å.
    coefficients: (15,) of the directional cut-off (1/Å), reduced to what is beyond chance; `raw`: as measured.
    anisotropy: (highest - lowest) / mean of that function. anisotropy_draws: the same of the repeats.
    p_value: how often isotropic half maps look at least as anisotropic.
    at_limit: share of directions whose cut-off lies beyond what was sampled.
    chance_band: (2, shells) between which the FSC of one top-hat cone lies in 95 % of isotropic half maps.
    """

    frequency: NDArray[np.float64]
    first_shell: int
    shell_width: float
    directions: NDArray[np.float64]
    soft: NDArray[np.float64]
    hard: NDArray[np.float64]
    average: NDArray[np.float64]
    sums: CellSums
    leak: NDArray[np.float64]
    found: Readings
    chance: Readings
    repeats: Readings
    scale: float
    cone_scale: float
    resolution: float
    raw: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    repeated_coefficients: NDArray[np.float64]
    anisotropy: float
    anisotropy_draws: NDArray[np.float64]
    p_value: float
    at_limit: float
    chance_band: NDArray[np.float64]
    reader: Reader

    def curve(self, directions: NDArray, half_angle: float = HARD_ANGLE) -> NDArray[np.float64]:
        """The corrected FSC in top-hat cones along any directions (n, 3), from shell 0 on: (all shells, n).

        Where a cone holds no coefficient, the average over all directions stands in.
        """
        weights = cone(directions, hemisphere_cells(CELLS).centres, half_angle)
        return _corrected(self.sums, self.leak, weights)


def _corrected(sums: CellSums, leak: NDArray, weights: NDArray) -> NDArray[np.float64]:
    """(shells, cones): the masked FSC with what the mask alone correlates taken off; a cone without coefficients
    takes the average. Shell 0, which says nothing, is 1.
    """
    curve, spread = sums.fsc(weights), _leak_share(sums, leak, weights)
    everywhere = np.ones((1, weights.shape[1]))
    all_round = (sums.fsc(everywhere) - _leak_share(sums, leak, everywhere)) / (
        1.0 - _leak_share(sums, leak, everywhere)
    )
    found = (curve - spread) / (1.0 - spread)
    found = np.where(np.isnan(found), all_round, found)
    found[0] = 1.0
    return found


def _leak_share(sums: CellSums, leak: NDArray, weights: NDArray) -> NDArray[np.float64]:
    """(shells, cones): the FSC that the mask alone makes."""
    scale = np.sqrt((sums.power_1 @ weights.T) * (sums.power_2 @ weights.T))
    share = np.divide(leak @ weights.T, scale, out=np.zeros_like(scale), where=scale > 0)
    return np.clip(share, 0.0, MOST_LEAK)


@derived
def directional_fsc(
    half_maps: HalfMaps,
    masked_halves: MaskedHalves,
    half_map_fsc: HalfMapFsc,
    symmetry: str,
    seed: int,
    threads: int,
) -> DirectionalCorrelation:
    """Sum coefficients by shell and direction, read cut-offs, and draw what isotropic half maps would give.

    Raises Inconclusive when the half maps agree up to Nyquist, or hold too few coefficients to tell directions apart.
    """
    if half_map_fsc.resolution is None:
        raise Inconclusive(half_map_fsc.reason)
    size = masked_halves.shape[0]
    width = 1.0 / (size * masked_halves.pixel_size)
    cutoff = 1.0 / (half_map_fsc.resolution * width)
    last = min(int(np.ceil(BEYOND * cutoff)) + 1, size // 2)
    cells, coarse = hemisphere_cells(CELLS), hemisphere_cells(COARSE_CELLS)
    directions = hemisphere(DIRECTIONS)
    sums = cell_sums(masked_halves.first, masked_halves.second, size, last, cells)
    leak = _mask_leak(half_maps, masked_halves, half_map_fsc, last, threads)
    weights = soft_cone(directions, cells.centres, SOFT_ANGLE), cone(directions, cells.centres, HARD_ANGLE)
    coherence = mask_coherence(masked_halves.mask, threads)
    held = (sums.counts @ weights[0].T) ** 2 / np.maximum(sums.counts @ (weights[0] ** 2).T, 1e-9) / coherence.total
    enough = held.min(axis=1) >= LEAST_COEFFICIENTS
    first = int(np.flatnonzero(~enough)[-1]) + 1 if not enough.all() else 1
    if cutoff < first + LEAST_SHELLS:
        raise Inconclusive(
            f"The particle is {1 / width:.0f} Å across and the half maps agree to {half_map_fsc.resolution:.3g} Å: "
            f"that is {cutoff:.0f} shells in Fourier space, of which the first {first - 1} hold too few coefficients "
            "to tell directions apart. A larger particle or a higher resolution is needed."
        )
    whole = np.ones((1, len(cells.centres)))
    reader = Reader(
        directions=directions,
        weights=sums.counts.sum(axis=1)[1:],
        resolution_threshold=THRESHOLD,
        shape_threshold=SHAPE_THRESHOLD,
        sigma=max(LEAST_SMOOTHING, SMOOTHING * cutoff),
    )
    soft, hard = (_corrected(sums, leak, w)[1:] for w in weights)
    average = _corrected(sums, leak, whole)[:, 0]
    found = reader.read(soft[None], hard[None])
    expected = _isotropic_fsc(average, sums.counts.sum(axis=1), LEAST_SMOOTHING)
    spread = [_leak_share(sums, leak, w)[1:] for w in weights]
    gathered = np.zeros((len(cells.centres), len(coarse.centres)))
    gathered[np.arange(len(gathered)), coarse.find(cells.centres)] = 1.0
    # Where every curve is nearly 1, chance moves nothing that is read.
    lowest = np.min([expected[1:], *(reader.smooth(c[None])[0].min(axis=1) for c in (soft, hard))], axis=0)
    drawn_from = max(first, int(np.argmax(lowest < NEARLY_ONE)) + 1)
    model = ChanceModel(
        counts=sums.counts @ gathered,
        representative=symmetry_representatives(coarse, symmetry),
        weights=tuple((w @ gathered / gathered.sum(axis=0)).astype(np.float32) for w in weights),
        filters=shell_filters(coherence, directions),
        inflation=coherence.total,
        first_shell=drawn_from,
        last_shell=last,
    )
    powers = draw_powers(model, DRAWS, np.random.default_rng([seed, 0x16]))

    def draw(curves: list[NDArray], count: int) -> tuple[Readings, NDArray, NDArray]:
        drawn: list[NDArray] = []
        for kind, truth in enumerate(curves):
            sums_and_differences = powers[kind][0][:count], powers[kind][1][:count]
            r = spread[kind].astype(np.float32)
            full = np.broadcast_to(np.asarray(truth, np.float32), (count, last, DIRECTIONS)).copy()
            late = slice(drawn_from - 1, None)
            full[:, late] = (drawn_fsc(sums_and_differences, (r + (1 - r) * truth)[late]) - r[late]) / (1 - r[late])
            drawn.append(full)
        few = drawn[1][:: max(1, count // 50), :, ::4]
        variance = reader.smooth(drawn[1][:50]).var(axis=2).mean(axis=0)
        return reader.read(drawn[0], drawn[1]), np.percentile(few, [2.5, 97.5], axis=(0, 2)), variance

    alike = expected[1:, None]
    chance, band, variance = draw([alike, alike], DRAWS)
    typical = degree_powers(chance.coefficients).mean(axis=0)
    kept = beyond_chance(found.coefficients, typical)
    # Noise in a cone moves its cut-off up a little; as much among the draws, whose truth is the global resolution.
    level, cone_level = float(chance.coefficients[:, 0].mean()), float(chance.cone_cutoffs.mean())
    shells = np.arange(1, last + 1)
    # As anisotropic as found, beyond chance: for the cut-offs the average curve, stretched along each direction; for
    # the shape the curves themselves, which in a direction without signal are no stretched average.
    ratio = np.clip(evaluate_even(kept[0], directions) / level, 0.05, 2.0)
    stretched = np.interp(shells[:, None] / ratio, np.arange(len(expected)), expected)
    curves = [stretched, _beyond_chance(hard, reader, variance)]
    repeats, _, _ = draw(curves, REPEATS)
    repeated = beyond_chance(repeats.coefficients, typical)
    scale = 1.0 / (half_map_fsc.resolution * level)
    raw_anisotropy = anisotropy(found.coefficients)[0]
    beaten = int(np.count_nonzero(anisotropy(chance.coefficients) >= raw_anisotropy))
    return DirectionalCorrelation(
        frequency=np.asarray(shells * width, np.float64),
        first_shell=first,
        shell_width=width,
        directions=directions,
        soft=soft,
        hard=hard,
        average=average[1:],
        sums=sums,
        leak=leak,
        found=found,
        chance=chance,
        repeats=repeats,
        scale=scale,
        cone_scale=1.0 / (half_map_fsc.resolution * cone_level),
        resolution=half_map_fsc.resolution,
        raw=found.coefficients[0] * scale,
        coefficients=kept[0] * scale,
        repeated_coefficients=repeated * scale,
        anisotropy=float(anisotropy(kept)[0]),
        anisotropy_draws=anisotropy(repeated),
        p_value=(1 + beaten) / (1 + DRAWS),
        at_limit=float(np.mean(found.cutoffs >= last)),
        chance_band=band,
        reader=reader,
    )


def read_cutoffs(correlation: DirectionalCorrelation, curves: NDArray) -> NDArray[np.float64]:
    """Cut-offs in shells of curves from shell 0 on, (all shells, n), read as those of `found`."""
    return correlation.reader.cutoffs(curves[None, 1:])[0]


def _beyond_chance(curves: NDArray, reader: Reader, chance: NDArray) -> NDArray[np.float64]:
    """Curves (shells, cones), smoothed, whose scatter over directions is what it is beyond chance, shell by shell.

    chance: (shells,) variance over directions of smoothed isotropic curves.
    """
    smooth = reader.smooth(curves[None])[0]
    middle = smooth.mean(axis=1, keepdims=True)
    share = np.sqrt(np.maximum(1.0 - chance / np.maximum(smooth.var(axis=1), 1e-300), 0.0))
    return np.clip(middle + share[:, None] * (smooth - middle), -0.5, 0.9999)


def _isotropic_fsc(average: NDArray, counts: NDArray, sigma: float) -> NDArray[np.float64]:
    """The average corrected FSC, smoothed, and 0 well beyond its cut-off: what half maps alike in every direction
    would be expected to show, from shell 0 on."""
    smooth = average.copy()
    smooth[1:] = smoothing(counts[1:], sigma) @ average[1:]
    shells = np.arange(len(average), dtype=float)
    crossing = first_lasting_crossing(shells, smooth, THRESHOLD)
    if crossing is not None:
        smooth[shells > 1.2 * crossing] = 0.0
    return np.clip(smooth, 0.0, 0.9999)


def _mask_leak(
    half_maps: HalfMaps, masked_halves: MaskedHalves, half_map_fsc: HalfMapFsc, last: int, threads: int
) -> NDArray[np.float64]:
    """(shells, cells): the cross term that the mask spreads from frequencies at which the half maps agree anyway.

    What randomising the phases beyond a frequency measures, with the random part, of expectation 0, left out; so it
    can be told by direction. As there, it counts from two shells beyond that frequency on.
    """
    size = masked_halves.shape[0]
    below = half_map_fsc.randomised_from * size * masked_halves.pixel_size
    cells = hemisphere_cells(CELLS)
    if below + 2 > last:
        return np.zeros((last + 1, len(cells.centres)))
    transforms = []
    mask = coarser_mask(masked_halves.mask, last, threads)
    for half, level in zip((half_maps.first, half_maps.second), masked_halves.levels, strict=True):
        cube = np.zeros_like(masked_halves.mask)
        source, goal = [], []
        for start, n in zip(masked_halves.start, half.shape, strict=True):
            low, high = max(start, 0), min(start + size, n)
            source.append(slice(low, high))
            goal.append(slice(low - start, high - start))
        cube[tuple(goal)] = half.data[tuple(source)] - np.float32(level)
        transforms.append(masked_low_frequencies(cube, mask, below, threads))
    leak = cell_sums(transforms[0], transforms[1], mask.shape[0], last, cells).cross
    leak[: int(np.ceil(below + 2))] = 0.0
    return leak


def axis_of(coefficients: NDArray) -> tuple[NDArray[np.float64], bool]:
    """The direction along which the part of degree 2 departs most from the mean, and whether it rises there."""
    values, axes = quadratic_axis(coefficients)
    best = 0 if values[0] >= -values[2] else 2
    return axes[best], best == 0


def best_and_worst(coefficients: NDArray) -> tuple[float, NDArray, float, NDArray]:
    """Highest and lowest cut-off (1/Å) with their directions; not below 0."""
    high, best, low, worst = extremes(coefficients)
    return high, best, max(low, 0.0), worst
