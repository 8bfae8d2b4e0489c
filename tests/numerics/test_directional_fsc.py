"""The FSC by direction on fields whose directions are known; the law of chance against fields drawn voxel by voxel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from veritem.numerics.directional_fsc import (
    ChanceModel,
    Reader,
    anisotropy,
    beyond_chance,
    cell_sums,
    coarser_mask,
    cone,
    cutoffs,
    degree_powers,
    draw_powers,
    drawn_fsc,
    hemisphere_cells,
    mask_coherence,
    masked_low_frequencies,
    net,
    point_group_rotations,
    shell_filters,
    soft_cone,
    sphericity,
    symmetry_representatives,
)
from veritem.numerics.directions import angle_between, fit_even, hemisphere, quadratic_axis
from veritem.numerics.fourier import fourier_resize, frequency_grid, irfftn, rfftn
from veritem.numerics.fsc import shell_sums
from veritem.simulation.anisotropy import cosine_grid


def soft_ball(size: int, radius: float, edge: float, squeeze: tuple[float, float, float] = (1, 1, 1)) -> NDArray:
    """A ball, or an ellipsoid whose axes are divided by `squeeze`, with a raised-cosine edge; voxels."""
    grid = np.indices((size,) * 3) - size // 2
    r = np.sqrt(sum((s * g) ** 2 for s, g in zip(squeeze, grid, strict=True)))
    return (0.5 + 0.5 * np.cos(np.pi * np.clip((r - radius) / edge, 0, 1))).astype(np.float32)


@dataclass
class Pairs:
    """Half maps of a random particle that fills the inside of a mask, with white noise, drawn voxel by voxel.

    The half-map SSNR inside the mask falls as a Gaussian of frequency, through 1/6 at shell `cutoff`, by a decade in
    `decade` shells there. shift: (directions) -> by how much the cut-off is moved, as a share; the noise is what makes
    it move.
    """

    mask: NDArray
    cutoff: float
    decade: float
    tilt: float = 0.0
    axis: tuple[float, float, float] = (1.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        self.size = self.mask.shape[0]
        self.shape = (self.size,) * 3
        self.inside = (self.mask > 0.99).astype(np.float32)
        f = frequency_grid(self.shape, 1.0) * self.size
        p2 = 1.5 * cosine_grid(self.shape, self.axis) ** 2 - 0.5
        # SSNR(f) = exp(-(f² - c²) g) / 6 with c = cutoff (1 + tilt P2): exact, so that the cut-off moves as planted.
        g = np.log(10) / (2 * self.decade * self.cutoff)
        share = float((self.mask.astype(float) ** 2).sum() / self.inside.sum())
        moved = self.cutoff * (1 + self.tilt * p2)
        self.amplitude = np.sqrt(np.exp(-(f**2 - self.cutoff**2) * g) * share / 6).astype(np.float32)
        self.noise = np.exp(-0.5 * (moved**2 - self.cutoff**2) * g).astype(np.float32)

    def draw(self, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
        """The transforms of two masked half maps."""
        white = [rng.standard_normal(self.shape, np.float32) for _ in range(3)]
        signal = rfftn(self.inside * white[0]) * self.amplitude
        halves = [irfftn(signal + rfftn(w) * self.noise, self.shape) * self.mask for w in white[1:]]
        return rfftn(halves[0]), rfftn(halves[1])


CELLS = hemisphere_cells(1536)
COARSE = hemisphere_cells(384)
DIRECTIONS = hemisphere(240)
SOFT, HARD = soft_cone(DIRECTIONS, CELLS.centres, 17.0), cone(DIRECTIONS, CELLS.centres, 20.0)


def chance_model(mask: NDArray, counts: NDArray, first: int, last: int, symmetry: str = "C1") -> ChanceModel:
    gathered = np.zeros((len(CELLS.centres), len(COARSE.centres)))
    gathered[np.arange(len(gathered)), COARSE.find(CELLS.centres)] = 1.0
    coherence = mask_coherence(mask)
    return ChanceModel(
        counts=counts @ gathered,
        representative=symmetry_representatives(COARSE, symmetry),
        weights=tuple((w @ gathered / gathered.sum(axis=0)).astype(np.float32) for w in (SOFT, HARD)),
        filters=shell_filters(coherence, DIRECTIONS),
        inflation=coherence.total,
        first_shell=first,
        last_shell=last,
    )


# --- cells ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("about", [20, 384, 1536])
def test_cells_have_equal_areas(about):
    """Of 400 000 random directions every cell gets its share: no count is more than 6 standard errors off."""
    cells = hemisphere_cells(about)
    n = len(cells.centres)
    assert abs(n - about) < 0.15 * about
    assert (cells.find(cells.centres) == np.arange(n)).all()
    vectors = np.random.default_rng(0).standard_normal((400_000, 3))
    counts = np.bincount(cells.find(vectors), minlength=n)
    expected = len(vectors) / n
    assert (abs(counts - expected) < 6 * np.sqrt(expected)).all()


def test_a_direction_and_its_opposite_share_a_cell():
    vectors = np.random.default_rng(1).standard_normal((1000, 3))
    assert (CELLS.find(vectors) == CELLS.find(-vectors)).all()


@pytest.mark.parametrize("size", [24, 25])
def test_cells_add_up_to_shells(size):
    rng = np.random.default_rng(2)
    a, b = (rfftn(rng.standard_normal((size,) * 3, np.float32)) for _ in range(2))
    last = size // 2
    tables, shells = cell_sums(a, b, size, last, CELLS), shell_sums(a, b, (size,) * 3)
    for name in ("cross", "power_1", "power_2", "counts"):
        assert np.allclose(getattr(tables, name).sum(axis=1)[1:], getattr(shells, name)[1:], rtol=1e-5)


def test_a_cone_holds_the_coefficients_in_it():
    """Against every coefficient by itself; a cell (3.7° wide) at the rim may fall on the other side."""
    size, last, angle = 32, 14, 30.0
    rng = np.random.default_rng(3)
    signal = rfftn(rng.standard_normal((size,) * 3, np.float32))
    a, b = (signal + rfftn(rng.standard_normal((size,) * 3, np.float32)) for _ in range(2))
    axis = np.array([0.36, -0.48, 0.8])
    found = cell_sums(a, b, size, last, CELLS).fsc(cone(axis[None], CELLS.centres, angle))[:, 0]
    shell = np.rint(frequency_grid((size,) * 3, 1.0) * size)
    inside = abs(cosine_grid((size,) * 3, tuple(axis))) >= np.cos(np.deg2rad(angle))
    for k in (8, 11, 14):
        here = inside & (shell == k)
        cross = (a[here] * b[here].conj()).real.sum()
        expected = cross / np.sqrt((abs(a[here]) ** 2).sum() * (abs(b[here]) ** 2).sum())
        # The coefficients on the rim, 2·3.7/30 of the cone at most, are exchanged for others like them.
        independent = here.sum() / 2
        assert abs(found[k] - expected) < 4 * np.sqrt(0.25 / independent)


# --- readings -------------------------------------------------------------------------------------------------


def test_cutoffs_of_known_curves():
    shells = np.arange(1, 41)
    weights = shells.astype(float) ** 2
    falling = 1 / (1 + np.exp((shells - 20.3) / 2))
    at = 20.3 + 2 * np.log(1 / 0.143 - 1)
    dip = falling.copy()
    dip[6:8] = 0.05
    curves = np.stack([falling, dip, np.zeros(40), np.ones(40)])
    found = cutoffs(curves, weights, 0.143, 1)
    # Linear interpolation between shells of a logistic of width 2: less than 0.05 shells off.
    assert found[0] == pytest.approx(at, abs=0.05)
    assert found[1] == pytest.approx(at, abs=0.05), "a dip at low frequency is no cut-off"
    assert found[2] == 0.5
    assert found[3] == 40
    curves[0, 3] = np.nan
    assert cutoffs(curves[:1], weights, 0.143, 1)[0] == pytest.approx(at, abs=0.05)


@pytest.mark.parametrize("ratio", [0.4, 0.7, 1.0, 1.5])
def test_sphericity_of_spheroids(ratio):
    """Semi-axes ratio, 1, 1, against the exact area; a net of 5° is good to 0.3 %."""
    directions = hemisphere(240)
    radii = 1 / np.sqrt((directions[:, 0] / ratio) ** 2 + directions[:, 1] ** 2 + directions[:, 2] ** 2)
    if ratio < 1:
        e = np.sqrt(1 - ratio**2)
        area = 2 * np.pi * (1 + (1 - e**2) / e * np.arctanh(e))
    elif ratio > 1:
        e = np.sqrt(1 - 1 / ratio**2)
        area = 2 * np.pi * (1 + ratio / e * np.arcsin(e))
    else:
        area = 4 * np.pi
    exact = np.pi ** (1 / 3) * (6 * 4 / 3 * np.pi * ratio) ** (2 / 3) / area
    assert sphericity(radii[None], net(directions))[0] == pytest.approx(exact, rel=3e-3)


def test_anisotropy_of_a_known_function():
    """f (1 + δ P2): the range is 1.5 δ of the mean."""
    directions = hemisphere(300)
    f = 30 * (1 + 0.2 * (1.5 * directions[:, 1] ** 2 - 0.5))
    coefficients = fit_even(directions, f)[None]
    assert anisotropy(coefficients)[0] == pytest.approx(0.3, abs=0.003)
    # Var P2 = 1/5.
    assert degree_powers(coefficients)[0] == pytest.approx([0.04 / 5, 0.0], abs=1e-5)
    none = beyond_chance(coefficients, np.array([0.01, 0.01]))
    assert anisotropy(none)[0] == pytest.approx(0.0, abs=1e-9)
    half = beyond_chance(coefficients, np.array([0.02 / 5, 1.0]))
    assert degree_powers(half)[0] == pytest.approx([0.02 / 5, 0.0], abs=1e-5)


# --- the mask -------------------------------------------------------------------------------------------------


def test_low_frequencies_are_masked_on_a_coarser_grid():
    """The small grid gives the coefficients of the full one."""
    size, below, last = 60, 9.0, 14
    rng = np.random.default_rng(4)
    cube, mask = rng.standard_normal((size,) * 3).astype(np.float32), soft_ball(size, 14, 6)
    small = coarser_mask(mask, last)
    assert small.shape[0] < size
    found = masked_low_frequencies(cube, small, below)
    low = rfftn(cube) * (frequency_grid(cube.shape, 1.0) * size < below)
    full = rfftn(irfftn(low, cube.shape) * mask)
    # Both on the small grid, back in real space, where coefficients up to its Nyquist can be told apart.
    n = small.shape[0]
    expected = rfftn(fourier_resize(irfftn(full, cube.shape), (n, n, n))) * (size / n) ** 3
    inside = frequency_grid((n, n, n), 1.0) * n <= last
    assert abs(found - expected)[inside].max() < 2e-3 * abs(full).max()


def test_coherence_adds_up_to_what_the_mask_leaves():
    mask = soft_ball(32, 9, 4)
    coherence = mask_coherence(mask)
    power = mask.astype(float)
    assert coherence.total == pytest.approx(mask.size * (power**4).sum() / (power**2).sum() ** 2, rel=1e-4)
    assert coherence.values.sum() == pytest.approx(coherence.total, rel=0.02)
    open_box = mask_coherence(np.ones((16, 16, 16), np.float32))
    assert open_box.total == pytest.approx(1.0)
    # Slabs of neighbouring independent coefficients share none but through rounding to shells.
    filters = shell_filters(open_box, DIRECTIONS[:3])
    assert filters[:, 5] == pytest.approx(1.0, abs=1e-6)


# --- chance ---------------------------------------------------------------------------------------------------


def replicates(pairs: Pairs, count: int, last: int, seed: int) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """FSC in soft and hard cones of drawn pairs (count, shells from 1, cones), their mean FSC, the cells' counts."""
    rng = np.random.default_rng(seed)
    soft, hard, mean = [], [], []
    for _ in range(count):
        tables = cell_sums(*pairs.draw(rng), pairs.size, last, CELLS)
        soft.append(tables.fsc(SOFT)[1:])
        hard.append(tables.fsc(HARD)[1:])
        mean.append(tables.fsc(np.ones((1, len(CELLS.centres))))[1:, 0])
    return np.array(soft), np.array(hard), np.mean(mean, axis=0), tables.counts


SHAPES = {
    "ball": (44, 15.0, 5.0, (1, 1, 1)),
    "rod": (44, 7.0, 3.0, (0.42, 1, 1)),
    "disc": (44, 16.0, 4.0, (2.2, 1, 1)),
}


def compare_with_law(shape: str, count: int) -> dict[str, tuple[NDArray, NDArray]]:
    """Statistics of pairs drawn voxel by voxel, and of the same number by 400 drawn by law, by name."""
    size, radius, edge, squeeze = SHAPES[shape]
    pairs = Pairs(soft_ball(size, radius, edge, squeeze), cutoff=14.0, decade=4.0)
    last = 18
    soft, hard, mean, counts = replicates(pairs, count, last, seed=5)
    first = 6
    powers = draw_powers(chance_model(pairs.mask, counts, first, last), 400, np.random.default_rng(6))
    expected = np.clip(mean, 0, 0.9999)
    drawn = []
    for p in powers:
        full = np.broadcast_to(expected[:, None], (400, last, len(DIRECTIONS))).astype(np.float32).copy()
        full[:, first - 1 :] = drawn_fsc(p, expected[first - 1 :, None])
        drawn.append(full)
    reader = Reader(DIRECTIONS, counts.sum(axis=1)[1:], 0.143, 0.5, 1.1)
    for curves in (soft, hard):
        curves[:, : first - 1] = expected[: first - 1, None]
    real, law = reader.read(soft, hard), reader.read(drawn[0], drawn[1])
    near = slice(9, 15)
    return {
        "scatter of one cone": (soft[:, near].std(axis=0).mean(axis=1), drawn[0][:, near].std(axis=0).mean(axis=1)),
        "anisotropy": (anisotropy(real.coefficients), anisotropy(law.coefficients)),
        "sphericity": (real.sphericity, law.sphericity),
        "area ratio": (real.area_ratio, law.area_ratio),
        "occupancy": (real.occupancy, law.occupancy),
        "occupancy resolution": (real.occupancy_shells[:, 1], law.occupancy_shells[:, 1]),
    }


def test_the_law_of_chance_is_that_of_drawn_fields():
    """25 pairs: the scatter of a cone within 15 % (a standard error of 1/√50 / √8 independent cones is 5 %, and the
    law leaves out that a mask blurs the SSNR too), and the median anisotropy within what 25 draws leave open.
    """
    found = compare_with_law("ball", 25)
    real, law = found["scatter of one cone"]
    assert np.allclose(real, law, rtol=0.15)
    real, law = found["anisotropy"]
    below = np.mean(law < np.median(real))
    # The median of 25: a standard error of 0.1 in rank.
    assert abs(below - 0.5) < 0.35


@pytest.mark.full
@pytest.mark.parametrize("shape", SHAPES)
def test_quantiles_of_chance_agree(shape):
    """150 pairs of each shape: of the voxels' statistics no more than 5 % + 4 standard errors (12 %) lie beyond the
    law's 5 and 95 % points, on either side; occupancy is in the 95 % band in 87 % of cases at least.
    """
    found = compare_with_law(shape, 150)
    real, law = found["scatter of one cone"]
    assert np.allclose(real, law, rtol=0.08)
    for name in ("anisotropy", "occupancy resolution"):
        real, law = found[name]
        low, high = np.percentile(law, [5, 95])
        assert np.mean(real < low) < 0.13 and np.mean(real > high) < 0.13, name
    for name in ("sphericity", "area ratio"):
        # One-sided: a warning asks for less than the law's 1 % point, and noise may not make that happen often.
        real, law = found[name]
        assert np.mean(real < np.percentile(law, 1)) < 0.06, name
    real, law = found["occupancy"]
    low, high = np.percentile(law, [2.5, 97.5], axis=0)
    assert np.mean((real >= low) & (real <= high)) > 0.87


@pytest.mark.parametrize(("tilt", "axis"), [(0.15, (1.0, 0.0, 0.0)), (-0.12, (0.0, 0.6, 0.8))])
def test_a_planted_cutoff_is_recovered(tilt, axis):
    """f (1 + δ P2) with A2 = 1.5 |δ|. A soft cone of 17° takes 4 % off P2; noise of one pair leaves about 0.03."""
    pairs = Pairs(soft_ball(64, 22, 6), cutoff=22.0, decade=4.0, tilt=tilt, axis=axis)
    last = 29
    soft, hard, _, counts = replicates(pairs, 3, last, seed=7)
    soft, hard = (np.where(np.isnan(c), 1.0, c) for c in (soft, hard))
    reader = Reader(DIRECTIONS, counts.sum(axis=1)[1:], 0.143, 0.5, 1.8)
    coefficients = reader.read(soft, hard).coefficients.mean(axis=0)
    assert anisotropy(coefficients[None])[0] == pytest.approx(1.5 * abs(tilt) * 0.96, abs=0.05)
    values, axes = quadratic_axis(coefficients)
    found = axes[0] if tilt > 0 else axes[2]
    assert angle_between(found, axis) < 10.0
    assert (values[0] > -values[2]) == (tilt > 0)


# --- symmetry -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("symmetry", "order"), [("C1", 1), ("C4", 4), ("D2", 4), ("D7", 14), ("T", 12), ("O", 24), ("I", 60)]
)
def test_point_groups_are_closed(symmetry, order):
    group = point_group_rotations(symmetry)
    assert len(group) == order
    assert np.allclose(np.linalg.det(group), 1)
    products = np.einsum("aij,bjk->abik", group, group).reshape(-1, 3, 3)
    assert (abs(products[:, None] - group).max(axis=(2, 3)).min(axis=1) < 1e-6).all()


def test_representatives_stand_for_their_orbit():
    """With C4 a quarter as many; some turn of a cell lies within a cell's width (9.4°) of what stands for it."""
    representative = symmetry_representatives(COARSE, "C4")
    assert (representative[representative] == representative).all()
    turned = np.einsum("gij,cj->gci", point_group_rotations("C4"), COARSE.centres)
    cosine = abs((turned * COARSE.centres[representative]).sum(axis=2)).max(axis=0)
    assert np.degrees(np.arccos(cosine.min())) < 9.4
    assert len(np.unique(representative)) == pytest.approx(len(COARSE.centres) / 4, rel=0.1)
    assert (symmetry_representatives(COARSE, "C1") == np.arange(len(COARSE.centres))).all()


def test_imposed_symmetry_makes_chance_symmetric_and_larger():
    """Copies add no evidence: with C4 the FSC of a cone far from the axis scatters as in C1, and the four cones of an
    orbit alike; the mean over all directions scatters twice as much.
    """
    mask = soft_ball(44, 15, 5)
    counts = cell_sums(*(2 * [np.zeros((44, 44, 23), np.complex64)]), 44, 18, CELLS).counts
    draws = {}
    for symmetry in ("C1", "C4"):
        powers = draw_powers(chance_model(mask, counts, 10, 14, symmetry), 200, np.random.default_rng(8))
        draws[symmetry] = drawn_fsc(powers[0], np.full((5, 1), 0.3))[:, 2]
    spread = {s: d.mean(axis=1).std() for s, d in draws.items()}
    # The standard error of a standard deviation of 200 draws is 5 %.
    assert spread["C4"] / spread["C1"] == pytest.approx(2.0, rel=0.2)
    tilted = np.array([[0.6, 0.8, 0.0], [0.6, 0.0, 0.8], [0.6, -0.8, 0.0]])
    near = np.argmax(np.abs(DIRECTIONS @ tilted.T), axis=0)
    alike = np.corrcoef(draws["C4"][:, near].T)
    apart = np.corrcoef(draws["C1"][:, near].T)
    assert alike[0, 1] > 0.7 and alike[0, 2] > 0.7
    assert abs(apart[0, 1]) < 0.3
