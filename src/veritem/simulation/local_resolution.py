"""Maps whose parts have a resolution of their own, known voxel by voxel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from veritem.numerics.density_map import DensityMap
from veritem.numerics.fourier import frequency_grid, irfftn, raised_cosine, rfftn
from veritem.simulation.half_maps import SimulatedMap, first_crossing, simulate_map
from veritem.simulation.models import AtomicModel

Kind = Literal["b_factor", "low_pass"]
Gain = Callable[[NDArray], NDArray]
BORDER = 10.0  # Å


@dataclass(frozen=True, eq=False)
class LocalTruth:
    """Where the expected FSC of each place falls to 0.143.

    resolution: (nz, ny, nx) float32 Å in the whole box; NaN outside the map's true mask. In the border between two
        regions it runs from one value to the other.
    regions: (nz, ny, nx) int16, the region of each voxel, from 1; 0 outside the mask.
    resolutions: Å per region, away from borders. gains: per region what is left of the amplitude at a frequency.

    The intact molecule's SSNR is taken as the same in all its parts: what a window measures scatters about this truth
    with the composition of what lies in it, and falls off where the window reaches into the solvent.
    """

    resolution: NDArray[np.float32]
    regions: NDArray[np.int16]
    resolutions: tuple[float, ...]
    gains: tuple[Gain, ...]


@dataclass(frozen=True, eq=False)
class RegionalBlur:
    """Blur each region on its own; borders are `BORDER` Å wide.

    weights: per region (nz, ny, nx) float32; their sum is 1. gains: per region, of the frequency in 1/Å.
    """

    weights: tuple[NDArray[np.float32], ...]
    gains: tuple[Gain, ...]

    def __call__(self, signal: DensityMap) -> DensityMap:
        transform = rfftn(signal.data)
        frequency = frequency_grid(signal.shape, signal.pixel_size)
        data = np.zeros(signal.shape, np.float32)
        for weight, gain in zip(self.weights, self.gains, strict=True):
            data += weight * irfftn(transform * gain(frequency).astype(np.float32), signal.shape)
        return replace(signal, data=data)


def simulate_local_resolution(
    model: AtomicModel,
    shape: int | tuple[int, int, int],
    pixel_size: float,
    resolutions: tuple[float, ...] = (3.2, 6.0),
    split: Literal["slabs", "shells"] = "slabs",
    kind: Kind = "b_factor",
    border: float = BORDER,
    ssnr_width: float | None = None,
    seed: int = 0,
    **options: object,
) -> tuple[SimulatedMap, LocalTruth]:
    """A map of a molecule whose regions have the given local resolutions (Å at FSC 0.143).

    split: "slabs" cuts across x, the first region at the lowest x; "shells" by distance from the centre of mass, the
        first region innermost. Regions hold equal numbers of atoms.
    kind: how a region loses its detail: "b_factor", as motion does; "low_pass", with an edge of 0.02 / pixel_size,
        after which nothing is left.
    border: Å, over which one region passes into the next.
    ssnr_width: see `simulate_half_maps`; options: further arguments of `simulate_map`.

    The noise is that of a uniform map at the finest of the resolutions; each region's loss is solved for.
    """
    finest = min(resolutions)
    intact = simulate_map(model, shape, pixel_size, finest, ssnr_width=ssnr_width, seed=seed, **options)  # type: ignore[arg-type]
    truth = intact.truth
    assert truth.ssnr is not None
    edge = 0.02 / pixel_size
    gains = tuple(_gain(truth.frequency, truth.ssnr, goal, finest, kind, edge) for goal in resolutions)
    labels = _regions(intact, len(resolutions), split)
    weights = tuple(
        # A Gaussian step of this standard deviation runs from 2 % to 98 % over the border. Regions go on past the box.
        scipy.ndimage.gaussian_filter((labels == region).astype(np.float32), border / 4 / pixel_size, mode="nearest")
        for region in range(1, len(resolutions) + 1)
    )
    blur = RegionalBlur(weights, gains)
    simulated = simulate_map(
        model, shape, pixel_size, finest, ssnr_width=ssnr_width, seed=seed, degrade=blur, **options  # type: ignore[arg-type]
    )  # fmt: skip
    local = np.full(truth.mask.shape, np.nan, np.float32)
    inside = np.stack([w[truth.mask] for w in weights], axis=1)
    local[truth.mask] = _crossings(inside, gains, truth.frequency, truth.ssnr)
    return simulated, LocalTruth(local, np.where(truth.mask, labels, 0).astype(np.int16), tuple(resolutions), gains)


def _gain(frequency: NDArray, ssnr: NDArray, goal: float, finest: float, kind: Kind, edge: float) -> Gain:
    """The loss with which the FSC first falls below 0.143 at `goal` Å."""

    def b_factor(value: float) -> Gain:
        return lambda f: np.exp(-value * np.asarray(f, np.float64) ** 2 / 4)

    def low_pass(value: float) -> Gain:
        return lambda f: raised_cosine(np.asarray(f), 1.0 / value, edge)

    # Both losses grow with their value, and so does the resolution reached.
    make, low, high = (b_factor, 0.0, 40.0 * goal**2) if kind == "b_factor" else (low_pass, 0.5 * finest, 4.0 * goal)
    if goal <= finest and kind == "b_factor":
        return make(0.0)
    for _ in range(60):
        middle = 0.5 * (low + high)
        left = ssnr * (make(middle)(_within(frequency)) ** 2).mean(-1)
        reached = first_crossing(frequency, left / (1 + left))
        low, high = (middle, high) if reached is None or reached < goal else (low, middle)
    return make(0.5 * (low + high))


def _within(frequency: NDArray) -> NDArray[np.float64]:
    """(shells, 9) frequencies spread over each shell: an edge may be steeper than a shell is thick."""
    width = frequency[1] - frequency[0]
    return np.maximum(frequency[:, None] + width * (np.arange(9) - 4) / 9, 0.0)


def _regions(intact: SimulatedMap, count: int, split: str) -> NDArray[np.int16]:
    """(nz, ny, nx), from 1; the whole box is divided."""
    grid = intact.density_map
    axes = [np.arange(n) * grid.pixel_size + o for n, o in zip(grid.shape, grid.origin[::-1], strict=True)]
    centre = intact.model.centre
    if split == "slabs":
        measure = np.broadcast_to(axes[2] - centre[0], grid.shape)
        atoms = intact.model.positions[:, 0] - centre[0]
    elif split == "shells":
        z, y, x = (axis - c for axis, c in zip(axes, centre[::-1], strict=True))
        measure = np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2)
        atoms = np.linalg.norm(intact.model.positions - centre, axis=1)
    else:
        raise ValueError(f'split is "{split}"; expected "slabs" or "shells"')
    limits = np.quantile(atoms, np.arange(1, count) / count)
    return (1 + np.searchsorted(limits, measure, side="right")).astype(np.int16)


def _crossings(weights: NDArray, gains: tuple[Gain, ...], frequency: NDArray, ssnr: NDArray) -> NDArray[np.float32]:
    """Å for each row of weights (voxels, regions): where the FSC of the blended gains first falls below 0.143."""
    table = np.stack([gain(_within(frequency)) for gain in gains], axis=-1)
    # Weights to a hundredth: the few blends that occur are solved once each.
    rounded, which = np.unique(np.round(weights, 2), axis=0, return_inverse=True)
    found = np.empty(len(rounded), np.float32)
    for row, blend in enumerate(rounded):
        left = ssnr * ((table @ blend) ** 2).mean(-1)
        crossing = first_crossing(frequency, left / (1 + left))
        found[row] = np.nan if crossing is None else crossing
    return found[which.ravel()]
