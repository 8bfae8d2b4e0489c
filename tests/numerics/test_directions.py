"""Even functions of direction against integrals and functions that are known."""

from __future__ import annotations

import numpy as np
import pytest

from veritem.numerics.directions import (
    angle_between,
    evaluate_even,
    even_harmonics,
    extremes,
    fit_even,
    hemisphere,
    quadratic_axis,
    quadratic_values,
    tilt_and_azimuth,
)


def random_direction(rng: np.random.Generator) -> np.ndarray:
    v = rng.standard_normal(3)
    return v / np.linalg.norm(v)


@pytest.mark.parametrize("n", [1, 46, 321])
def test_directions_are_unit_vectors_above_the_equator(n):
    directions = hemisphere(n)
    assert directions.shape == (n, 3)
    assert np.allclose(np.linalg.norm(directions, axis=1), 1.0)
    assert (directions[:, 0] > 0).all()


def test_directions_are_evenly_spread():
    """46 of equal area have 2 pi / 46 sr each: a circle of 23.9 degrees across; neighbours are about so far apart.

    Where the spiral meets its own opposite, at the equator, a pair may be as near as about half of that.
    """
    directions = hemisphere(46)
    cosine = np.abs(directions @ directions.T)
    np.fill_diagonal(cosine, 0.0)
    nearest = np.degrees(np.arccos(cosine.max(axis=1)))
    assert nearest.min() > 11.7 and nearest.max() < 23.9
    # The second moment of an even set is a third of the identity.
    assert np.allclose(directions.T @ directions / 46, np.eye(3) / 3, atol=0.02)


def test_harmonics_are_orthonormal_over_the_sphere():
    """Gauss-Legendre in z and equal steps in azimuth integrate products of degree 8 exactly."""
    z, weight = np.polynomial.legendre.leggauss(12)
    azimuth = np.arange(24) * 2 * np.pi / 24
    radius = np.sqrt(1 - z**2)
    grid = np.stack(
        [
            np.repeat(z, 24),
            (radius[:, None] * np.sin(azimuth)).ravel(),
            (radius[:, None] * np.cos(azimuth)).ravel(),
        ],
        axis=1,
    )
    base = even_harmonics(grid, 4)
    products = base.T @ (base * np.repeat(weight / 2 / 24, 24)[:, None])
    assert np.abs(products - np.eye(15)).max() < 1e-12
    assert np.array_equal(even_harmonics(grid, 2), base[:, :6])


def test_an_unknown_degree_is_refused():
    with pytest.raises(ValueError, match="degree"):
        even_harmonics(hemisphere(5), 3)


def test_a_fit_gives_back_what_was_put_in():
    rng = np.random.default_rng(0)
    directions = hemisphere(46)
    planted = rng.standard_normal((15, 3))
    values = even_harmonics(directions, 4) @ planted
    assert np.allclose(fit_even(directions, values), planted)
    # A direction without weight has no say, whatever it holds.
    values[7] = np.nan
    weights = rng.uniform(0.5, 2.0, 46)
    weights[7] = 0.0
    assert np.allclose(fit_even(directions, values, weights), planted)
    assert np.allclose(evaluate_even(planted[:, 1], directions[:5]), values[:5, 1])


@pytest.mark.parametrize("seed", range(10))
def test_extremes_of_an_axial_function(seed):
    """a + b (3 cos² - 1) / 2 + c cos⁴ has its extremes along the axis and across it."""
    axis = random_direction(np.random.default_rng(seed))
    directions = hemisphere(200)
    cosine = directions @ axis
    coefficients = fit_even(directions, 3.0 + 0.2 * (3 * cosine**2 - 1) / 2 + 0.1 * cosine**4)
    highest, along, lowest, across = extremes(coefficients)
    assert highest == pytest.approx(3.3, abs=1e-6)
    assert lowest == pytest.approx(2.9, abs=1e-6)
    assert angle_between(along, axis) < 0.01
    assert angle_between(across, axis) == pytest.approx(90.0, abs=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_extremes_are_the_highest_and_lowest_of_all(seed):
    """No direction of a set forty times finer lies beyond, for functions without any symmetry."""
    coefficients = np.random.default_rng(seed).standard_normal(15)
    highest, along, lowest, across = extremes(coefficients)
    values = evaluate_even(coefficients, hemisphere(40_000))
    assert values.max() <= highest + 1e-9 and values.min() >= lowest - 1e-9
    # Neighbours of the fine set are 0.7 degrees apart: it misses the peak by less than a thousandth of the range.
    assert highest - values.max() < 1e-3 * (highest - lowest)
    assert along[0] >= 0 and across[0] >= 0


@pytest.mark.parametrize("seed", range(5))
def test_the_quadratic_part_has_its_axes(seed):
    coefficients = np.random.default_rng(seed).standard_normal(15)
    values, axes = quadratic_axis(coefficients)
    assert np.allclose(axes @ axes.T, np.eye(3))
    second = coefficients[:6] * (np.arange(6) > 0)
    assert np.allclose(evaluate_even(second, axes), values)
    assert values.sum() == pytest.approx(0.0, abs=1e-12)
    highest, along, lowest, _ = extremes(second)
    assert (highest, lowest) == pytest.approx((values[0], values[2]))
    assert angle_between(along, axes[0]) < 0.01


def test_quadratic_values_of_many_functions_at_once():
    coefficients = np.random.default_rng(0).standard_normal((4, 7, 15))
    values = quadratic_values(coefficients)
    assert values.shape == (4, 7, 3)
    assert np.allclose(values[2, 3], quadratic_axis(coefficients[2, 3])[0])


def test_angles():
    assert angle_between([1, 0, 0], [-1, 0, 0]) == 0.0
    assert angle_between([1, 0, 0], [1, 0, 1]) == pytest.approx(45.0)
    assert tilt_and_azimuth([0.0, 1.0, 0.0]) == pytest.approx((90.0, 90.0))
    assert tilt_and_azimuth([-1.0, 0.0, -1.0]) == pytest.approx((45.0, 0.0))
