"""A contour level for a map that came without one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veritem.errors import NotApplicable
from veritem.numerics.density_map import DensityMap
from veritem.numerics.distance import dilate
from veritem.numerics.fourier import gaussian_filter
from veritem.numerics.masks import label_components
from veritem.numerics.molecule import MOLECULAR_VOLUME
from veritem.numerics.statistics import robust_scale
from veritem.results import format_number

# Smoothed this much, the inside of a molecule is one plateau and atoms no longer show.
SMOOTHINGS = (4.0, 6.0, 9.0)  # Å, standard deviation
# The smoothed map is looked at on voxels of at least this size: nothing is lost, and large boxes stay quick.
COARSE_PIXEL = 2.5  # Å
# The edge in the smoothed map stays above the first; small separate parts are dropped, so 3 is enough. No noise peak
# of a box reaches the second: sqrt(2 ln N) is 5.3 for a million independent voxels.
NOISE_FLOOR, CERTAIN_PEAK = 3.0, 6.0  # standard deviations of the background
# Noise goes as far down as up. A particle goes up.
MOST_SYMMETRIC = 1.25
MASKED_SHARE = 0.05  # of blocks that hold one and the same value, for a map to be called masked
# In the map itself the level stays above the first of these at which next to nothing but the particle is above it ...
CLEAN_Z = (3.0, 3.25, 3.5, 3.75, 4.0)  # standard deviations of the background
LARGEST_DUST = 0.05  # share of the voxels above the level that may lie away from the envelope
# ... unless the particle falls to pieces there. Then it is the first of these at which it hangs together: its largest
# component holds this share of all that is above the level near the envelope.
LOWEST_Z = (3.0, 2.75, 2.5, 2.25, 2.0)
CONNECTED_SHARE = 0.5
# Where there is no noise to see, it stays above this share of the way from the background to the highest peak.
LOWEST_SHARE = 0.005
ENVELOPE_MARGIN = 8.0  # Å around the envelope that count as neither particle nor background
ENVELOPE_EXCESS = 1.15  # volume of the envelope over 1.21 Å³/Da, on average
ACCURACY = "which on real maps encloses 0.4 to 1.6 times the molecular volume, and less where noise sets it"
FEWEST_BACKGROUND = 500  # coarse voxels that are neither flat nor near the envelope
MINIMUM_SHARE = 0.05  # of the largest part's volume, for a separate part of the envelope to count


@dataclass(frozen=True, eq=False)
class Envelope:
    """Where the particle roughly is, on a coarse grid of blocks of `factor`³ voxels.

    mask: (nz // factor, ...) bool. volume: Å³.
    centre, sigma: of the background of the smoothed map; sigma is 0 where there is no background (a masked map).
    plateau: mean of the smoothed map inside. peak, trough: its extremes, as distances from `centre`.
    found: whether the peak is beyond what noise does. limited: whether noise, not half the plateau, set the edge.
    smoothing: standard deviation, Å.
    """

    mask: NDArray[np.bool_]
    factor: int
    volume: float
    centre: float
    sigma: float
    plateau: float
    peak: float
    trough: float
    found: bool
    limited: bool
    smoothing: float


def find_envelope(density_map: DensityMap, threads: int = 1) -> Envelope:
    """Find the particle in a smoothed copy of the map, at half of the way from the background to its inside.

    Where noise forbids going there, the map is smoothed more.
    """
    factor = max(1, int(COARSE_PIXEL / density_map.pixel_size))
    coarse, flat = _blocks(density_map.data, factor)
    tried = []
    for smoothing in SMOOTHINGS:
        tried.append(_envelope(coarse, flat, factor, density_map.pixel_size, smoothing, threads))
        if tried[-1].found and not tried[-1].limited:
            return tried[-1]
    return max(tried, key=lambda e: (e.found, max(e.peak, e.trough) / max(e.sigma, 1e-30)))


def _envelope(
    coarse: NDArray[np.float32],
    flat: NDArray[np.bool_],
    factor: int,
    pixel_size: float,
    smoothing: float,
    threads: int,
) -> Envelope:
    coarse_pixel = pixel_size * factor
    # Averaging over a block is already a smoothing, of (factor² - 1) / 12 voxels².
    variance = (smoothing / coarse_pixel) ** 2 - (factor**2 - 1) / 12.0 / factor**2
    smooth = gaussian_filter(coarse, np.sqrt(variance), threads) if variance > 0.1 else coarse
    if np.count_nonzero(flat) > MASKED_SHARE * flat.size:
        # Around a mask the background is known; what is not flat may be particle alone, with its negative ripples.
        centre, sigma = float(np.median(coarse[flat])), 0.0
    else:
        centre, sigma = _background(smooth)
    radius = ENVELOPE_MARGIN / coarse_pixel
    mask, limited = _half_plateau(smooth, centre, sigma)
    for _ in range(2):
        outside = ~(dilate(mask, radius) | flat)
        if np.count_nonzero(outside) >= FEWEST_BACKGROUND:
            centre, sigma = robust_scale(smooth[outside])
        elif flat.any():
            # Nothing but particle and flat surroundings: a tightly masked map.
            centre, sigma = float(np.median(coarse[flat])), 0.0
        mask, limited = _half_plateau(smooth, centre, sigma)
    peak, trough = float(smooth.max()) - centre, centre - float(smooth.min())
    return Envelope(
        mask=mask,
        factor=factor,
        volume=float(np.count_nonzero(mask)) * coarse_pixel**3,
        centre=centre,
        sigma=sigma,
        smoothing=smoothing,
        plateau=float(smooth[mask].mean(dtype=np.float64)) if mask.any() else centre,
        peak=peak,
        trough=trough,
        found=peak > max(CERTAIN_PEAK * sigma, MOST_SYMMETRIC * trough) and bool(mask.any()),
        limited=limited,
    )


def _blocks(data: NDArray[np.float32], factor: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Means over blocks of factor³ voxels, and which blocks hold one value only. Incomplete blocks are left out."""
    nz, ny, nx = (n // factor for n in data.shape)
    mean = np.empty((nz, ny, nx), np.float32)
    flat = np.empty((nz, ny, nx), bool)
    common = _most_frequent(data)
    for z in range(nz):
        slab = data[z * factor : (z + 1) * factor, : ny * factor, : nx * factor]
        blocks = slab.reshape(factor, ny, factor, nx, factor)
        mean[z] = blocks.mean(axis=(0, 2, 4))
        flat[z] = (blocks == common).all(axis=(0, 2, 4))
    return mean, flat


def _most_frequent(data: NDArray[np.float32]) -> float:
    """The value that most often follows itself along x: what a masked map is filled with. NaN when none does."""
    sample = data.reshape(-1, data.shape[2])
    repeated = sample[:, 1:][sample[:, 1:] == sample[:, :-1]]
    if repeated.size < 0.01 * sample.size:
        return float("nan")
    return float(np.median(repeated))


def _background(smooth: NDArray[np.float32]) -> tuple[float, float]:
    """Mode of the smoothed map, and the spread on its low side, which holds no particle."""
    values = np.sort(smooth, axis=None)
    centre = _half_sample_mode(values)
    low = centre - values[values < centre]
    return centre, float(np.median(low)) / 0.6745 if low.size else 0.0


def _half_sample_mode(ordered: NDArray[np.float32]) -> float:
    """The middle of the densest part of sorted values, found by halving (Robertson and Cryer 1974)."""
    while ordered.size > 200:
        half = ordered.size // 2
        start = int(np.argmin(ordered[half:] - ordered[: ordered.size - half]))
        ordered = ordered[start : start + half]
    return float(ordered.mean(dtype=np.float64))


def _half_plateau(smooth: NDArray[np.float32], centre: float, sigma: float) -> tuple[NDArray[np.bool_], bool]:
    """Voxels above half of the inside's mean, the inside being those voxels; and whether noise forbade going there."""
    floor = centre + NOISE_FLOOR * sigma
    level = centre + 0.5 * (float(smooth.max()) - centre)
    mask = _main_parts(smooth >= max(level, floor))
    for _ in range(50):
        if not mask.any():
            break
        new = centre + 0.5 * (float(smooth[mask].mean(dtype=np.float64)) - centre)
        settled = abs(new - level) < 1e-3 * abs(new - centre)
        level = new
        mask = _main_parts(smooth >= max(level, floor))
        if settled:
            break
    return mask, level < floor


def _main_parts(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    parts = label_components(mask)
    if parts.sizes.size == 0:
        return mask
    return parts.select(parts.sizes >= MINIMUM_SHARE * parts.sizes[0])


@dataclass(frozen=True)
class Background:
    """Grey values of the map itself away from the envelope: median, spread (1.4826 MAD), and how many were seen."""

    centre: float
    sigma: float
    voxels: int


def _map_background(data: NDArray[np.float32], envelope: Envelope, pixel_size: float) -> Background:
    """The background at full sampling: outside the envelope's margin and not flat."""
    common = _most_frequent(data)
    near = dilate(envelope.mask, ENVELOPE_MARGIN / (pixel_size * envelope.factor))
    # Every fourth voxel and row is plenty for a median.
    step = 4 if data.size > 2_000_000 else 1
    values = []
    for z, outside in _planes(~near, envelope.factor, data.shape):
        chosen = data[z, ::step, ::step][outside[::step, ::step]]
        values.append(chosen[chosen != common])
    seen = np.concatenate(values) if values else np.empty(0, np.float32)
    if seen.size < FEWEST_BACKGROUND:
        centre = envelope.centre if np.isnan(common) else common
        return Background(centre, 0.0, seen.size)
    return Background(*robust_scale(seen), seen.size)


def map_background(density_map: DensityMap, threads: int = 1) -> Background:
    """The background as the map alone shows it, whatever contour level was given. Its spread is 0 in a masked map."""
    return _map_background(density_map.data, find_envelope(density_map, threads), density_map.pixel_size)


def _lowest(data: NDArray[np.float32], envelope: Envelope, background: Background, pixel_size: float) -> float:
    """The lowest level that does not join background to the particle, nor breaks the particle into pieces."""
    highest = float(data.max())
    if background.sigma == 0.0:
        return background.centre + LOWEST_SHARE * (highest - background.centre)
    near = dilate(envelope.mask, ENVELOPE_MARGIN / 2 / (pixel_size * envelope.factor))
    values = np.concatenate([data[z][plane] for z, plane in _planes(near, envelope.factor, data.shape)])

    def level_at(z_score: float) -> float:
        return background.centre + z_score * background.sigma

    def dust(z_score: float) -> float:
        above = int(np.count_nonzero(data >= np.float32(level_at(z_score))))
        return 1.0 - np.count_nonzero(values >= np.float32(level_at(z_score))) / above if above else 1.0

    clean = next((z for z in CLEAN_Z if dust(z) <= LARGEST_DUST), CLEAN_Z[-1])
    best, best_share = highest, 0.0
    for z_score in (clean, *(z for z in LOWEST_Z if z < clean)):
        level = level_at(z_score)
        sizes = label_components(data >= np.float32(level)).sizes
        share = sizes[0] / max(1, np.count_nonzero(values >= np.float32(level))) if sizes.size else 0.0
        if share > best_share:
            best, best_share = level, share
        if share >= CONNECTED_SHARE:
            break
    return best


def _planes(coarse: NDArray[np.bool_], factor: int, shape: tuple[int, ...]) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """The coarse mask at full sampling, plane by plane; what no whole block covers is false."""
    for z in range(coarse.shape[0] * factor):
        plane = np.zeros(shape[1:], bool)
        fine = np.repeat(np.repeat(coarse[z // factor], factor, axis=0), factor, axis=1)
        plane[: fine.shape[0], : fine.shape[1]] = fine
        yield z, plane


def estimate_level(density_map: DensityMap, threads: int = 1) -> tuple[float, str, bool]:
    """A level from the map alone; returns it, how it was found, and whether anything stands out from the noise.

    The envelope of the particle is where a smoothed copy of the map exceeds half of its inside's mean. The level is
    the one that encloses, near the envelope, the envelope's volume divided by 1.15, by which envelopes exceed
    1.21 Å³/Da on average; but not less than three noise levels above the background, four where more than a
    twentieth of the voxels would else be noise, and two where the particle would fall to pieces.

    Measured. The envelope over 1.21 Å³/Da: 0.98 to 1.41 on 65 simulated maps of five proteins (3.2 to 20 Å, with and
    without low frequencies; thin bodies such as bare DNA more), 0.98 to 1.87 on twelve real maps with a model. The
    largest component at the level over 1.21 Å³/Da: median 1.1, 0.43 to 1.63, on those real maps. Where noise sets the
    level it encloses less, often a third, as authors' own levels may (GroEL, EMD-1997: 0.30).
    """
    data, pixel_size = density_map.data, density_map.pixel_size
    envelope = find_envelope(density_map, threads)
    background = _map_background(data, envelope, pixel_size)
    highest = float(data.max())
    if not envelope.found:
        level = background.centre + 4.0 * background.sigma if background.sigma > 0 else 0.5 * highest
        upside_down = envelope.trough > CERTAIN_PEAK * envelope.sigma and envelope.trough > envelope.peak
        reason = (
            "its strongest features lie below the background, so the map looks inverted (multiply it by −1)"
            if upside_down
            else "no particle stands out from the background"
        )
        return min(level, highest), f"a guess, four noise levels above the background: {reason}", False
    near = dilate(envelope.mask, ENVELOPE_MARGIN / 2 / (pixel_size * envelope.factor))
    values = np.concatenate([data[z][plane] for z, plane in _planes(near, envelope.factor, data.shape)])
    wanted = min(values.size, max(1, round(envelope.volume / ENVELOPE_EXCESS / density_map.voxel_volume)))
    level = float(np.partition(values, values.size - wanted)[values.size - wanted])
    floor = _lowest(data, envelope, background, pixel_size)
    method = f"estimated from the map alone, {ACCURACY}"
    if level <= floor:
        level = floor
        method += "; the level that encloses its volume lies in the background, so this one encloses less"
    return min(level, highest), method, True


def level_enclosing(density_map: DensityMap, molecular_weight: float, threads: int = 1) -> tuple[float, str]:
    """The level at which the largest component has the volume of the molecule (1.21 Å³/Da), and how it was found.

    The level does not go below three noise levels above the background, where noise would be joined to the particle.
    Raises NotApplicable when the molecule does not fit into the box.
    """
    data = density_map.data
    wanted = max(1, round(MOLECULAR_VOLUME * molecular_weight / density_map.voxel_volume))
    mass = f"{format_number(molecular_weight / 1000)} kDa"
    if wanted >= data.size:
        raise NotApplicable(
            f"{mass} take {format_number(wanted * density_map.voxel_volume)} Å³ and the box has "
            f"{format_number(data.size * density_map.voxel_volume)} Å³. Expected a box that holds the whole particle; "
            "check the molecular weight (Da) and the pixel size (Å)."
        )
    envelope = find_envelope(density_map, threads)
    background = _map_background(data, envelope, density_map.pixel_size)
    level, size = level_for_volume(data, wanted, _lowest(data, envelope, background, density_map.pixel_size))
    method = f"the level at which the largest component holds the volume of {mass} (1.21 Å³ per Da)"
    share = size / wanted
    if not 0.9 < share < 1.1:
        method = (
            f"the lowest level that keeps the particle apart from its background; it holds {100 * share:.0f} % of the "
            f"volume of {mass} (1.21 Å³ per Da)"
        )
    return level, method


def level_for_volume(data: NDArray[np.float32], wanted: int, floor: float) -> tuple[float, int]:
    """The level, not below `floor`, at which the largest component's size is nearest to `wanted` voxels, and the size.

    The largest component can only grow as the level falls, so bisection finds it. Where it grows in one jump past
    `wanted` (two bodies join), the nearer side of the jump is taken, by ratio.
    """

    def size_at(level: float) -> int:
        sizes = label_components(data >= level).sizes
        return int(sizes[0]) if sizes.size else 0

    low, high = floor, float(data.max())
    size_low, size_high = size_at(low), size_at(high)
    if size_low <= wanted:
        return low, size_low
    resolution = (high - low) * 1e-4
    while high - low > resolution and size_low > 1.01 * wanted:
        middle = 0.5 * (low + high)
        size = size_at(middle)
        if size >= wanted:
            low, size_low = middle, size
        else:
            high, size_high = middle, size
    if size_low * max(size_high, 1) > wanted * wanted:
        return high, size_high
    return low, size_low
