"""What depends on direction: crowded views, views that are missing, angles that are not exact; each with its truth.

Directions are unit vectors z, y, x; one and its opposite are the same. A frequency along a direction is filled by the
images that look across it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import qmc

from veritem.numerics.density_map import DensityMap
from veritem.numerics.fourier import axis_frequencies, frequency_grid, irfftn, rfftn
from veritem.simulation.half_maps import ExpectedFsc, Transfer, Truth, first_crossing
from veritem.simulation.models import AtomicModel
from veritem.simulation.phantoms import simulate_density

Axis = tuple[float, float, float]

CONE_SAMPLES = 200
"""Directions of a cone over which a directional truth is averaged."""


@dataclass(frozen=True)
class Anisotropy:
    """Views that crowd: s = 1 + strength P2(cos θ) times as many images look across a direction as on average.

    strength: a, above -1 and below 2. Positive: directions near the axis are seen best, as when the particle rolls
        about it (side views only); negative: those across it, as when it looks along the axis (top views only).
    axis: z, y, x, of any length.

    Each direction's noise power is divided by s, and scaled so that its mean over a shell is what it is without.
    """

    strength: float
    axis: Axis = (1.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if not -1.0 < self.strength < 2.0:
            raise ValueError(
                f"a strength of {self.strength:g} leaves directions without any view; it must lie between -1 and 2"
            )

    def views(self, directions: ArrayLike) -> NDArray[np.float64]:
        """s along (..., 3) directions."""
        cosine = np.asarray(directions, np.float64) @ _unit(self.axis)
        return 1.0 + self.strength * (1.5 * cosine**2 - 0.5)

    def noise(self, directions: ArrayLike) -> NDArray[np.float64]:
        """Noise power along (..., 3) directions over its mean over all of them."""
        return 1.0 / (self.views(directions) * self._mean())

    def noise_grid(self, shape: tuple[int, int, int]) -> NDArray[np.float32]:
        """`noise` at each coefficient of a half-complex transform; 1 at the origin."""
        squared = cosine_grid(shape, self.axis) ** 2
        grid = 1.0 / (np.float32(self._mean()) * (1.0 + np.float32(self.strength) * (1.5 * squared - 0.5)))
        grid[0, 0, 0] = 1.0
        return grid

    def _mean(self) -> float:
        """Mean of 1 / s over the sphere."""
        node, weight = np.polynomial.legendre.leggauss(64)
        return float((weight / (1.0 + self.strength * (1.5 * node**2 - 0.5))).sum() / 2)


@dataclass(frozen=True)
class MissingCone:
    """No signal in the directions within `half_angle` degrees of an axis; half a cosine, `edge` degrees wide, beyond.

    As when no image looks across the axis: top views within 90° - half_angle of it leave such a cone.
    """

    half_angle: float
    axis: Axis = (1.0, 0.0, 0.0)
    edge: float = 5.0

    def gain(self, directions: ArrayLike) -> NDArray[np.float64]:
        """What is left of the amplitude along (..., 3) directions, 0 to 1."""
        return self._of(np.abs(np.asarray(directions, np.float64) @ _unit(self.axis)))

    def __call__(self, signal: DensityMap) -> DensityMap:
        gain = self._of(np.abs(cosine_grid(signal.shape, self.axis))).astype(np.float32)
        gain[0, 0, 0] = 1.0
        return replace(signal, data=irfftn(rfftn(signal.data) * gain, signal.shape))

    def _of(self, cosine: NDArray) -> NDArray[np.float64]:
        angle = np.degrees(np.arccos(np.clip(np.asarray(cosine, np.float64), 0.0, 1.0)))
        return 0.5 - 0.5 * np.cos(np.pi * np.clip((angle - self.half_angle) / self.edge, 0.0, 1.0))


@dataclass(frozen=True, eq=False)
class DirectionalFsc:
    """The half maps' expected FSC along each direction, inside the mask.

    frequency: (shells,) 1/Å. ssnr: (shells,) of a half map inside the mask, intact signal over noise.
    anisotropy, cone: what was planted; None: nothing.

    The molecule's own spectrum is taken as the same in all directions.
    """

    frequency: NDArray[np.float64]
    ssnr: NDArray[np.float64]
    anisotropy: Anisotropy | None
    cone: MissingCone | None

    def fsc(self, directions: ArrayLike, half_angle: float | None = None) -> NDArray[np.float64]:
        """(n, shells) along (n, 3) directions; with `half_angle` (degrees) as a cone so wide measures it."""
        seen = np.atleast_2d(np.asarray(directions, np.float64))
        if half_angle is None:
            return self._ratio(self._signal(seen), self._noise(seen))
        around = np.stack([cone_directions(d, half_angle) for d in seen])
        return self._ratio(self._signal(around).mean(1), self._noise(around).mean(1))

    def resolution(self, directions: ArrayLike, half_angle: float | None = None) -> NDArray[np.float64]:
        """(n,) Å, where the FSC first falls below 0.143; NaN where it never does, infinite where there is none."""
        found = []
        for curve in self.fsc(directions, half_angle):
            if (curve[1:] < 0.143).all():
                found.append(np.inf)
                continue
            crossing = first_crossing(self.frequency, curve)
            found.append(np.nan if crossing is None else crossing)
        return np.array(found)

    def _signal(self, directions: NDArray) -> NDArray[np.float64]:
        return np.ones(directions.shape[:-1]) if self.cone is None else self.cone.gain(directions) ** 2

    def _noise(self, directions: NDArray) -> NDArray[np.float64]:
        return np.ones(directions.shape[:-1]) if self.anisotropy is None else self.anisotropy.noise(directions)

    def _ratio(self, signal: NDArray, noise: NDArray) -> NDArray[np.float64]:
        power = signal[:, None] * self.ssnr
        return power / (power + noise[:, None])


def directional_fsc(expected: ExpectedFsc | Truth) -> DirectionalFsc:
    """The directional truth of half maps that were simulated with `anisotropy`, a `MissingCone`, both or neither.

    Raises ValueError when there is no noise: the FSC is 1 everywhere.
    """
    if expected.ssnr is None:
        raise ValueError("half maps without noise have no resolution; simulate them with one")
    cone = expected.degrade if isinstance(expected.degrade, MissingCone) else None
    return DirectionalFsc(expected.frequency, expected.ssnr, expected.anisotropy, cone)


@dataclass(frozen=True, eq=False)
class RotationalJitter:
    """Angles that are wrong by `degrees` (standard deviation about each axis): blur that grows with the radius.

    An atom at distance r from the centre of mass is smeared across its radius by a Gaussian of standard deviation
    r times the angle, and not along it. The mean of `count` turned copies of the atoms stands for the average over all
    particles: it follows the Gaussian down to amplitudes of about 2 / count^(2/3).
    b_factor: Å², what blurs the half maps beyond the atoms' own B (`simulate_map`'s b_factor).
    """

    model: AtomicModel
    degrees: float
    b_factor: float = 150.0
    count: int = 64
    seed: int = 0

    def spread(self, radius: ArrayLike) -> NDArray[np.float64]:
        """Å, standard deviation of the smear across the radius at `radius` Å."""
        return np.deg2rad(self.degrees) * np.asarray(radius, np.float64)

    def tangential_b(self, radius: ArrayLike) -> NDArray[np.float64]:
        """Å², the B-factor 8π² spread² that this is for frequencies across the radius; along it there is none."""
        return 8 * np.pi**2 * self.spread(radius) ** 2

    def turned(self) -> AtomicModel:
        """All copies in one model, each at its share of the occupancy."""
        drawn = qmc.MultivariateNormalQMC(np.zeros(3), seed=np.random.default_rng([self.seed, 64])).random(self.count)
        # The mean turn is none.
        vectors = np.deg2rad(self.degrees) * (drawn - drawn.mean(0))
        offset = self.model.positions - self.model.centre
        copies = [self.model.centre + offset @ _rotation(v).T for v in vectors]
        index = np.tile(np.arange(len(self.model)), self.count)
        everything = self.model.select(index)
        return replace(everything, positions=np.concatenate(copies), occupancies=everything.occupancies / self.count)

    def __call__(self, signal: DensityMap) -> DensityMap:
        before, after = (
            simulate_density(model, signal.shape, signal.pixel_size, origin=signal.origin)
            for model in (self.model, self.turned())
        )
        change = Transfer(self.b_factor).apply(replace(after, data=after.data - before.data))
        return replace(signal, data=signal.data + change.data)


def cosine_grid(shape: tuple[int, int, int], axis: Axis) -> NDArray[np.float32]:
    """Cosine of the angle between each coefficient's frequency and an axis (z, y, x); 0 at the origin."""
    fz, fy, fx = axis_frequencies(shape, 1.0)
    z, y, x = _unit(axis).astype(np.float32)
    along = fz[:, None, None] * z + fy[None, :, None] * y + fx[None, None, :] * x
    length = frequency_grid(shape, 1.0)
    length[0, 0, 0] = 1.0
    return along / length


def cone_directions(direction: ArrayLike, half_angle: float, count: int = CONE_SAMPLES) -> NDArray[np.float64]:
    """(count, 3) directions of equal area within `half_angle` degrees of one."""
    axis = _unit(direction)
    i = np.arange(count) + 0.5
    cosine = 1.0 - (1.0 - np.cos(np.deg2rad(half_angle))) * i / count
    azimuth = np.pi * (1.0 + np.sqrt(5.0)) * i
    helper = np.eye(3)[np.argmin(np.abs(axis))]
    first = _unit(np.cross(axis, helper))
    second = np.cross(axis, first)
    sine = np.sqrt(1.0 - cosine**2)
    return (
        cosine[:, None] * axis + (sine * np.cos(azimuth))[:, None] * first + (sine * np.sin(azimuth))[:, None] * second
    )


def _unit(vector: ArrayLike) -> NDArray[np.float64]:
    v = np.asarray(vector, np.float64)
    return v / np.linalg.norm(v)


def _rotation(vector: NDArray) -> NDArray[np.float64]:
    """The matrix that turns by |vector| radians about it (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    if angle == 0.0:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross
