"""Where the map holds noise and nothing else, and what that noise is like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veritem.derived.registry import derived
from veritem.errors import NotApplicable
from veritem.numerics.density_map import DensityMap
from veritem.numerics.noise import (
    block_moments,
    blocks_to_voxels,
    covariance_to_power,
    featureless_blocks,
    grey_step,
    independent_voxels,
    lag_taper,
    most_frequent_value,
    radial_mean,
    windowed_covariance,
    within_fading_border,
)
from veritem.numerics.shells import shell_frequencies
from veritem.numerics.statistics import robust_scale

# Blocks in which noise is looked for; with their neighbours they make windows of 12 voxels.
BLOCK = 4
# A number that more than this share of the voxels repeat, and this many times more than any other, was filled in.
FILL_SHARE, FILL_LEAD = 0.002, 10.0
# Less local variance than this share of the usual is no noise.
RELATIVE_VARIANCE = 0.01
# Noise below this share of the mean density of the particle is rounding or ringing: no reconstruction is so clean.
LEAST_NOISE = 0.002
# Beside a mask the noise has come up when its variance reaches this share of what it is farther away ...
FULL_NOISE = 0.6
# ... which is looked for up to so many voxels; soft edges of masks are 3 to 15 voxels wide.
WIDEST_BORDER = 24
# Noise is seen when its standard deviation spans this many steps of the stored grey values.
LEAST_STEPS = 2.0
# Resolution elements ((resolution / 2)³) and voxels without which nothing can be said about noise.
LEAST_ELEMENTS = 200
LEAST_VOXELS = 2000
# The distance from the particle is known up to 60 Å.
LARGEST_MARGIN = 55.0


@dataclass(frozen=True, eq=False)
class NoiseRegion:
    """The voxels that hold noise and nothing else.

    mask: (nz, ny, nx) boolean.
    rim: the same and what is nearer to the particle, down to `rim_margin`: noise, and what a halo adds to it.
    available: False when there are too few of them; `reason` then says why, in words fit for the report.
    centre, sigma: median and 1.4826 times the median absolute deviation, in grey values.
    voxels, fraction: of the box.
    margin, rim_margin: Å kept from the hard mask.
    featureless: share of the voxels outside the particle that hold no noise (masked, padded, flattened).
    contrast: mean density inside the hard mask minus `centre`.
    """

    mask: NDArray[np.bool_]
    rim: NDArray[np.bool_]
    available: bool
    reason: str
    centre: float
    sigma: float
    voxels: int
    fraction: float
    margin: float
    rim_margin: float
    featureless: float
    contrast: float


@derived
def noise_region(
    density_map: DensityMap,
    hard_mask: NDArray[np.bool_],
    mask_distance: NDArray[np.float32],
    reported_resolution: float | None,
) -> NoiseRegion:
    """Find the noise: away from the particle by max(10 Å, 3 x resolution), and where the map does vary.

    Bodies of blocks without variance (a mask, padding, flattened solvent) are left out together with a border in
    which the edge of the mask may still be felt. Never raises: what cannot be used says so in `reason`.
    """
    data, pixel_size = density_map.data, density_map.pixel_size
    resolution = max(reported_resolution or 0.0, 2 * pixel_size)
    # Without a reported resolution, that of an ordinary map.
    margin = min(LARGEST_MARGIN, max(10.0, 3.0 * (reported_resolution or max(4.0, 2 * pixel_size))))
    # Blur reaches less far than the particle's flexible parts do.
    rim_margin = min(margin, max(5.0, 1.5 * resolution))
    outside = mask_distance > margin
    candidates = int(np.count_nonzero(outside))
    need = max(LEAST_VOXELS, int(np.ceil(LEAST_ELEMENTS * (resolution / 2 / pixel_size) ** 3)))
    if candidates < need:
        reason = (
            f"Only {candidates} voxels lie more than {margin:.0f} Å from the particle; {need} are needed to judge "
            "noise. The box is too tight, or the contour level too low."
        )
        return _unavailable(np.zeros(data.shape, bool), reason, margin, 0.0)

    moments = block_moments(data, outside, BLOCK)
    flat, _ = featureless_blocks(moments, RELATIVE_VARIANCE)
    value, share, was_filled = _fill_value(data[outside])
    filled = outside & (data == np.float32(value)) if was_filled else None
    mask, rim, featureless = outside, mask_distance > rim_margin, 0.0
    if flat.any() or filled is not None:
        empty = blocks_to_voxels(flat, BLOCK, density_map.shape)
        if filled is not None:
            # Noise does not repeat a number, so that one such voxel is enough: slivers thinner than a block count.
            empty |= filled
        featureless = float(np.count_nonzero(empty & outside) / candidates)
        kept = ~within_fading_border(data, outside, empty, FULL_NOISE, WIDEST_BORDER)
        mask = outside & kept
        rim &= kept
    voxels = int(np.count_nonzero(mask))
    if voxels < need:
        if share > 0.5:
            seen = f"{100 * share:.0f} % of the voxels outside the particle hold exactly {value:g}"
        else:
            seen = f"{100 * featureless:.0f} % of the voxels outside the particle do not vary as noise does"
        reason = f"{seen}: the map is masked. {voxels} voxels of noise are left and {need} are needed."
        return _unavailable(mask, reason, margin, featureless)

    values = data[mask]
    centre, sigma = robust_scale(values)
    contrast = float(data[hard_mask].mean(dtype=np.float64) - centre) if hard_mask.any() else float("nan")
    reason = ""
    step = grey_step(values)
    if sigma < LEAST_STEPS * step:
        reason = (
            f"Grey values come in steps of {step:.3g}, and the noise outside the particle has a standard deviation of "
            f"{sigma:.3g}: the map was stored too coarsely for its noise to be seen. Send it as 32-bit numbers."
        )
    elif sigma < LEAST_NOISE * abs(contrast):
        reason = (
            f"The map varies by only {100 * sigma / abs(contrast):.2g} % of the particle's mean density outside the "
            "particle: the solvent was flattened, or the map is noise-free."
        )
    return NoiseRegion(
        mask=mask,
        rim=rim,
        available=not reason,
        reason=reason,
        centre=centre,
        sigma=sigma,
        voxels=voxels,
        fraction=voxels / data.size,
        margin=margin,
        rim_margin=rim_margin,
        featureless=featureless,
        contrast=contrast,
    )


def _fill_value(values: NDArray) -> tuple[float, float, bool]:
    """The value that most voxels hold, their share, and whether it was filled in: no other value comes near."""
    sample = values[:: max(1, values.size // 200_000)]
    value, share, second = most_frequent_value(sample)
    return value + 0.0, share, share > FILL_SHARE and share > FILL_LEAD * second


def _unavailable(mask: NDArray[np.bool_], reason: str, margin: float, featureless: float) -> NoiseRegion:
    voxels = int(np.count_nonzero(mask))
    nan = float("nan")
    return NoiseRegion(mask, mask, False, reason, nan, nan, voxels, voxels / mask.size, margin, nan, featureless, nan)


@dataclass(frozen=True, eq=False)
class NoiseSpectrum:
    """The power of the noise.

    frequency, power: on the shells of the map (`numerics.shells`), 1/Å and E|F|² per voxel: the transform of noise
        under a window w has E|F|² = power * sum(w²). White noise of unit variance has power 1.
    covariance: (2 reach + 1,)*3, lag 0 in the middle; in squared grey values, not tapered.
    resolution: 1/Å, the width over which the estimate is smoothed.
    independent_voxels: N (ΣP)² / (K ΣP²), see `numerics.noise.independent_voxels`.
    """

    frequency: NDArray[np.float64]
    power: NDArray[np.float64]
    covariance: NDArray[np.float64]
    resolution: float
    independent_voxels: float


@derived
def noise_spectrum(density_map: DensityMap, noise_region: NoiseRegion, threads: int) -> NoiseSpectrum:
    """The radial power of the noise, free of the shape of the region.

    Raises NotApplicable when there is no noise region.
    """
    if not noise_region.available:
        raise NotApplicable(noise_region.reason)
    reach = min(24, (min(density_map.shape) - 1) // 2)
    values = np.where(noise_region.mask, density_map.data - np.float32(noise_region.centre), np.float32(0))
    # Rare bright voxels would carry the spectrum; noise hardly ever passes 6 sigma.
    np.clip(values, -6 * noise_region.sigma, 6 * noise_region.sigma, out=values)
    covariance, _ = windowed_covariance(values, noise_region.mask, reach, threads)
    size = 2 * reach + 2
    power_cube = covariance_to_power(covariance * lag_taper(reach), size)
    frequency, mean = radial_mean(power_cube, size, density_map.pixel_size)
    shells = shell_frequencies(density_map.shape, density_map.pixel_size)
    return NoiseSpectrum(
        frequency=shells,
        power=np.interp(shells, frequency, mean),
        covariance=covariance,
        resolution=1.0 / (size * density_map.pixel_size),
        independent_voxels=independent_voxels(noise_region.voxels, power_cube),
    )
