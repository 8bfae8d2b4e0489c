"""What the half-map checks share: transforms, the FSC with its correction, and the part around the particle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veritem.derived.bands import PADDING, TAPER, depth_on
from veritem.derived.registry import derived
from veritem.derived.spectra import bounding_slices
from veritem.numerics.bands import extract, plan_resampling
from veritem.numerics.density_map import DensityMap, HalfMaps
from veritem.numerics.device import Device
from veritem.numerics.fourier import fast_size, fourier_resize, frequency_grid, irfftn, rfftn
from veritem.numerics.fsc import (
    THRESHOLD,
    ShellSums,
    first_lasting_crossing,
    mask_inflation,
    point_group_order,
    randomise_phases,
    shell_sums,
)
from veritem.numerics.masks import raised_cosine_edge
from veritem.numerics.shells import shell_frequencies

EDGE_WIDTH, EDGE_VOXELS = 6.0, 3.0  # Å, voxels: as the soft mask
RANDOMISED_BELOW = 0.8  # phases are randomised from where the unmasked FSC first falls below this
SAMPLING, COARSEST_PIXEL = 0.4, 3.0  # pixel size over resolution, and at most so much Å


@dataclass(frozen=True, eq=False)
class HalfTransforms:
    """Half-complex transforms of the whole half maps, unmasked: (nz, ny, nx // 2 + 1) complex64 each."""

    first: NDArray[np.complex64]
    second: NDArray[np.complex64]
    shape: tuple[int, int, int]
    pixel_size: float

    @property
    def sums(self) -> ShellSums:
        return shell_sums(self.first, self.second, self.shape)


@dataclass(frozen=True, eq=False)
class MaskedHalves:
    """Both half maps times the soft mask, cut to a cube around it, and their transforms.

    mask: (n, n, n) in [0, 1]. first, second: half-complex transforms in that cube. inflation: D of `mask_inflation`.
    start: (z, y, x) voxel of the map at which the cube begins; may be negative.
    """

    mask: NDArray[np.float32]
    first: NDArray[np.complex64]
    second: NDArray[np.complex64]
    inflation: float
    pixel_size: float
    start: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        nz, ny, nx = self.mask.shape
        return nz, ny, nx


@dataclass(frozen=True, eq=False)
class HalfMapFsc:
    """The FSC of the half maps, inside the soft mask, in shells of the cube cut to it; and over the whole box.

    frequency: (n,) 1/Å, shell 0 included (its FSC is NaN). masked: (n,). randomised: (n,), with phases made random
    beyond `randomised_from` (1/Å). corrected: (n,), the mask's own correlation taken off.
    independent: (n,) n_eff, so that an FSC of 0 has the variance 1 / (2 n_eff); mask and symmetry allowed for.
    box_frequency, unmasked, box_independent: of the whole box.
    resolution: Å, where `corrected` falls below 0.143 to stay; None where it never does. interval: 95 %, Å.
    """

    frequency: NDArray[np.float64]
    masked: NDArray[np.float64]
    randomised: NDArray[np.float64]
    corrected: NDArray[np.float64]
    independent: NDArray[np.float64]
    randomised_from: float
    box_frequency: NDArray[np.float64]
    unmasked: NDArray[np.float64]
    box_independent: NDArray[np.float64]
    resolution: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True, eq=False)
class HalfPart:
    """The half maps around the particle, unmasked, on a grid just fine enough; what local methods work on.

    first, second: half-complex transforms of the part (nz, ny, nx // 2 + 1), on the run's device. The part's faces
    are tapered over 8 Å, 25 Å away from the particle. density: their mean as a map (in this computer's memory).
    depth: (nz, ny, nx) float32, Å inside the hard mask, negative outside. index: flat indices of the voxels inside.
    resolution: Å, the finer of the reported and the measured one, from which the grid was chosen.
    """

    first: Any
    second: Any
    density: DensityMap
    depth: NDArray[np.float32]
    index: NDArray[np.int64]
    resolution: float

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.density.shape

    @property
    def pixel_size(self) -> float:
        return self.density.pixel_size

    def volume(self, values: NDArray, fill: float = np.nan) -> NDArray[np.float32]:
        """Values at the particle's voxels as a volume."""
        full = np.full(self.density.data.size, fill, np.float32)
        full[self.index] = values
        return full.reshape(self.shape)

    def positions(self, index: NDArray | None = None) -> NDArray[np.floating]:
        """(voxels, 3) z, y, x in Å from the part's first voxel."""
        flat = self.index if index is None else index
        return np.stack(np.unravel_index(flat, self.shape), axis=1) * self.pixel_size


@derived
def half_transforms(half_maps: HalfMaps, threads: int) -> HalfTransforms:
    """One transform of each half map."""
    return HalfTransforms(
        rfftn(half_maps.first.data, threads), rfftn(half_maps.second.data, threads), half_maps.shape,
        half_maps.pixel_size,
    )  # fmt: skip


@derived
def masked_halves(half_maps: HalfMaps, mask_distance: NDArray[np.float32], threads: int) -> MaskedHalves:
    """The half maps in the soft mask, cut to a cube around it.

    Raises NotApplicable when the mask is empty.
    """
    edge = max(EDGE_WIDTH, EDGE_VOXELS * half_maps.pixel_size)
    return mask_halves(half_maps, mask_distance, 0.0, edge, threads)


def mask_halves(
    half_maps: HalfMaps, mask_distance: NDArray[np.float32], grow: float, edge: float, threads: int
) -> MaskedHalves:
    """Mask with the hard mask grown by `grow` Å (shrunk when negative) and a raised-cosine edge of `edge` Å."""
    box = bounding_slices(mask_distance < grow + edge)
    size = fast_size(max(s.stop - s.start for s in box))
    start = tuple((s.start + s.stop) // 2 - size // 2 for s in box)
    mask = np.zeros((size, size, size), np.float32)
    goal = tuple(slice(s.start - b, s.stop - b) for s, b in zip(box, start, strict=True))
    mask[goal] = raised_cosine_edge(np.ascontiguousarray(mask_distance[box]) - np.float32(grow), edge)
    transforms = []
    for half in (half_maps.first, half_maps.second):
        cube = np.zeros_like(mask)
        # The mean inside is taken off: a constant under the mask correlates whatever the halves hold.
        values, weight = half.data[box], mask[goal]
        mean = float((values * weight).sum(dtype=np.float64) / weight.sum(dtype=np.float64))
        cube[goal] = (values - np.float32(mean)) * weight
        transforms.append(rfftn(cube, threads))
    return MaskedHalves(
        mask, transforms[0], transforms[1], mask_inflation(mask, threads), half_maps.pixel_size,
        (start[0], start[1], start[2]),
    )  # fmt: skip


@derived
def half_map_fsc(
    half_maps: HalfMaps,
    half_transforms: HalfTransforms,
    masked_halves: MaskedHalves,
    symmetry: str,
    seed: int,
    threads: int,
) -> HalfMapFsc:
    """The masked FSC with the phase-randomised correction, and the unmasked one.

    Chen et al., Ultramicroscopy 135 (2013) 24, doi:10.1016/j.ultramic.2013.06.004.
    """
    order = point_group_order(symmetry)
    whole = half_transforms.sums
    box_frequency = shell_frequencies(half_transforms.shape, half_maps.pixel_size)
    unmasked = whole.fsc
    below = np.flatnonzero(unmasked[1:] < RANDOMISED_BELOW)
    start = float(box_frequency[1 + below[0]]) if below.size else float(box_frequency[-1])
    sums = shell_sums(masked_halves.first, masked_halves.second, masked_halves.shape)
    frequency = shell_frequencies(masked_halves.shape, masked_halves.pixel_size)
    masked = sums.fsc
    rng = np.random.default_rng([seed, 0xF5C])
    beyond = frequency_grid(half_transforms.shape, half_maps.pixel_size) >= start
    corner = [max(0, s) for s in masked_halves.start]
    random = []
    for transform in (half_transforms.first, half_transforms.second):
        noise = rfftn(rng.standard_normal(half_transforms.shape, np.float32), threads)
        real = irfftn(randomise_phases(transform, beyond, noise), half_transforms.shape, threads)
        cube = np.zeros_like(masked_halves.mask)
        low = [c - s for c, s in zip(corner, masked_halves.start, strict=True)]
        size = [min(n - c, m - o) for n, c, m, o in zip(real.shape, corner, masked_halves.shape, low, strict=True)]
        goal = tuple(slice(o, o + n) for o, n in zip(low, size, strict=True))
        cube[goal] = real[tuple(slice(c, c + n) for c, n in zip(corner, size, strict=True))]
        cube -= np.float32((cube * masked_halves.mask).sum(dtype=np.float64) / masked_halves.mask.sum(dtype=np.float64))
        random.append(rfftn(cube * masked_halves.mask, threads))
    randomised = shell_sums(random[0], random[1], masked_halves.shape).fsc
    corrected = masked.copy()
    safe = frequency >= start + 2 * (frequency[1] - frequency[0])
    corrected[safe] = (masked[safe] - randomised[safe]) / np.maximum(1 - randomised[safe], 1e-6)
    crossing = first_lasting_crossing(frequency, corrected, THRESHOLD)
    return HalfMapFsc(
        frequency=frequency,
        masked=masked,
        randomised=randomised,
        corrected=corrected,
        independent=np.maximum(sums.counts / (masked_halves.inflation**2 * order), 1.0),
        randomised_from=start,
        box_frequency=box_frequency,
        unmasked=unmasked,
        box_independent=np.maximum(whole.counts / order, 1.0),
        resolution=None if crossing is None else 1.0 / crossing,
        interval=None,
    )


@derived
def half_part(
    half_maps: HalfMaps,
    mask_distance: NDArray[np.float32],
    half_map_fsc: HalfMapFsc,
    reported_resolution: float | None,
    device: Device,
    threads: int,
) -> HalfPart:
    """Cut both half maps around the particle and sample them at 0.4 of the resolution.

    Raises NotApplicable when the mask is empty.
    """
    pixel_size = half_maps.pixel_size
    known = [r for r in (reported_resolution, half_map_fsc.resolution) if r is not None]
    resolution = max(min(known, default=2 * pixel_size), 2 * pixel_size)
    box = bounding_slices(mask_distance <= 0)
    margin = int(np.ceil(PADDING / pixel_size))
    low, high = ([s.start - margin for s in box], [s.stop + margin for s in box])
    plan = plan_resampling(
        (low[0], low[1], low[2]), (high[0], high[1], high[2]), pixel_size, min(SAMPLING * resolution, COARSEST_PIXEL)
    )
    parts = []
    for half in (half_maps.first, half_maps.second):
        part = extract(half.data, plan, float(np.mean(half.data, dtype=np.float64)), TAPER / pixel_size)
        parts.append(part if plan.shape == plan.taken else fourier_resize(part, plan.shape, threads))
    mean = (parts[0] + parts[1]) * np.float32(0.5)
    density = DensityMap(mean, plan.pixel_size, plan.origin(half_maps.first.origin, pixel_size))
    depth = depth_on(mask_distance, density, half_maps.first)
    return HalfPart(
        first=rfftn(device.put(parts[0]), threads),
        second=rfftn(device.put(parts[1]), threads),
        density=density,
        depth=depth,
        index=np.flatnonzero(depth > 0),
        resolution=resolution,
    )
