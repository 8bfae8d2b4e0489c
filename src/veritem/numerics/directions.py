"""Directions on the half sphere and even functions of them.

A direction and its opposite are the same for a real map (Friedel's law), so every function of direction here is even.
Directions are unit vectors z, y, x. Harmonics are scaled to a mean square of 1 over the sphere: the coefficient of
degree 0 is the mean of a function, and the sum of the squares of the others its variance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Degree by number of coefficients.
DEGREES = {1: 0, 6: 2, 15: 4}


def hemisphere(n: int) -> NDArray[np.float64]:
    """n directions of equal area on the half sphere z > 0: (n, 3) z, y, x, along a Fibonacci spiral.

    Gonzalez, Math Geosci 42 (2010) 49, doi:10.1007/s11004-009-9257-x.
    """
    i = np.arange(n) + 0.5
    z = 1.0 - i / n
    azimuth = np.pi * (1.0 + np.sqrt(5.0)) * i
    radius = np.sqrt(1.0 - z**2)
    return np.stack([z, radius * np.sin(azimuth), radius * np.cos(azimuth)], axis=1)


def even_harmonics(directions: ArrayLike, degree: int) -> NDArray[np.float64]:
    """Real spherical harmonics of the even degrees up to `degree` (0, 2 or 4): (n, 1), (n, 6) or (n, 15).

    Column 0 is 1, columns 1 to 5 are of degree 2 and 6 to 14 of degree 4. They are orthonormal under the mean over
    the sphere.
    """
    if degree not in DEGREES.values():
        raise ValueError(f"Even harmonics are there up to degree 0, 2 or 4, not {degree}.")
    z, y, x = np.asarray(directions, np.float64).T
    columns = [np.ones_like(z)]
    if degree >= 2:
        columns += [
            np.sqrt(15.0) * x * y,
            np.sqrt(15.0) * y * z,
            np.sqrt(5.0) / 2 * (3 * z**2 - 1),
            np.sqrt(15.0) * x * z,
            np.sqrt(15.0) / 2 * (x**2 - y**2),
        ]
    if degree >= 4:
        columns += [
            1.5 * np.sqrt(35.0) * x * y * (x**2 - y**2),
            1.5 * np.sqrt(17.5) * y * z * (3 * x**2 - y**2),
            1.5 * np.sqrt(5.0) * x * y * (7 * z**2 - 1),
            1.5 * np.sqrt(2.5) * y * z * (7 * z**2 - 3),
            0.375 * (35 * z**4 - 30 * z**2 + 3),
            1.5 * np.sqrt(2.5) * x * z * (7 * z**2 - 3),
            0.75 * np.sqrt(5.0) * (x**2 - y**2) * (7 * z**2 - 1),
            1.5 * np.sqrt(17.5) * x * z * (x**2 - 3 * y**2),
            0.375 * np.sqrt(35.0) * (x**4 - 6 * x**2 * y**2 + y**4),
        ]
    return np.stack(columns, axis=1)


def fit_even(
    directions: ArrayLike, values: ArrayLike, weights: ArrayLike | None = None, degree: int = 4
) -> NDArray[np.float64]:
    """Least squares: coefficients of `even_harmonics`, (k,), or (k, m) for m functions at once.

    values: (n,) or (n, m). weights: (n,), inverse variances; a direction of weight 0 may hold NaN. None: all alike.
    """
    base, y = even_harmonics(directions, degree), np.asarray(values, np.float64)
    w = np.ones(len(base)) if weights is None else np.asarray(weights, np.float64)
    known = w > 0
    root = np.sqrt(w[known])
    target = y[known] * root.reshape(-1, *[1] * (y.ndim - 1))
    return np.asarray(np.linalg.lstsq(base[known] * root[:, None], target, rcond=None)[0], np.float64)


def evaluate_even(coefficients: ArrayLike, directions: ArrayLike) -> NDArray[np.float64]:
    """The function of these coefficients along directions: (n,)."""
    c = np.asarray(coefficients, np.float64)
    return even_harmonics(directions, DEGREES[len(c)]) @ c


def extremes(coefficients: ArrayLike) -> tuple[float, NDArray[np.float64], float, NDArray[np.float64]]:
    """Highest value, its direction, lowest value, its direction, of a function given by 1, 6 or 15 coefficients.

    Each direction is the one of the pair with z >= 0. A fine set of directions is searched first; then the best one
    is refined by steps of a halving cone. Directions of a constant mean nothing.
    """
    c = np.asarray(coefficients, np.float64)
    start = hemisphere(1000)
    values = evaluate_even(c, start)
    found = []
    for sign in (1.0, -1.0):
        best = start[int(np.argmax(sign * values))]
        reach = 0.1  # more than the 0.08 rad between neighbours of the set
        while reach > 1e-6:
            best = _around(best, reach)[int(np.argmax(sign * evaluate_even(c, _around(best, reach))))]
            reach *= 0.5
        best = -best if best[0] < 0 else best
        found.append((float(evaluate_even(c, best[None])[0]), best))
    return found[0][0], found[0][1], found[1][0], found[1][1]


def quadratic_axis(coefficients: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The part of degree 2 as a traceless quadratic form: its values along its own axes, falling, and the axes.

    Returns (3,) values, and (3, 3) axes in rows, z, y, x, each with z >= 0. The middle value tells how far the form is
    from a surface of revolution.
    """
    values, vectors = np.linalg.eigh(_form(np.asarray(coefficients, np.float64)))
    axes = vectors.T[::-1].copy()
    axes[axes[:, 0] < 0] *= -1.0
    return values[::-1].copy(), axes


def quadratic_values(coefficients: ArrayLike) -> NDArray[np.float64]:
    """The values of `quadratic_axis` of many functions at once: (..., k) coefficients give (..., 3), falling."""
    c = np.asarray(coefficients, np.float64)
    return np.asarray(np.linalg.eigvalsh(_form(c))[..., ::-1], np.float64)


def angle_between(first: ArrayLike, second: ArrayLike) -> float:
    """Degrees between two axes, 0 to 90."""
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b)), abs(float(a @ b)))))


def tilt_and_azimuth(direction: ArrayLike) -> tuple[float, float]:
    """Degrees from +z (0 to 90), and degrees from +x towards +y (0 to 360), of an axis."""
    z, y, x = np.asarray(direction, np.float64)
    if z < 0:
        z, y, x = -z, -y, -x
    return float(np.degrees(np.arctan2(np.hypot(x, y), z))), float(np.degrees(np.arctan2(y, x)) % 360.0)


def _form(c: NDArray[np.float64]) -> NDArray[np.float64]:
    """The symmetric matrices (..., 3, 3) of the part of degree 2."""
    xy, yz, zz, xz, xx = np.moveaxis(c[..., 1:6], -1, 0)
    a, b = np.sqrt(15.0) / 2, np.sqrt(5.0)
    rows = [[b * zz, a * yz, a * xz], [a * yz, -b / 2 * zz - a * xx, a * xy], [a * xz, a * xy, -b / 2 * zz + a * xx]]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def _around(direction: NDArray[np.float64], reach: float) -> NDArray[np.float64]:
    """The direction itself and eight around it at `reach` rad: (9, 3)."""
    helper = np.eye(3)[int(np.argmin(np.abs(direction)))]
    first = np.cross(direction, helper)
    first /= np.linalg.norm(first)
    second = np.cross(direction, first)
    turn = np.arange(8) * np.pi / 4
    offsets = np.cos(turn)[:, None] * first + np.sin(turn)[:, None] * second
    moved = np.concatenate([direction[None], direction + np.tan(reach) * offsets])
    return moved / np.linalg.norm(moved, axis=1, keepdims=True)
