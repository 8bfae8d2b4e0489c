"""0.f on maps whose local B-factors are planted."""

from __future__ import annotations

import numpy as np
import pytest

from tests.checks.by_name import Values
from veritem.checks.level_0.local_b_factor import LocalBFactor
from veritem.derived.masks import ContourLevel
from veritem.errors import Inconclusive, NotApplicable
from veritem.numerics.density_map import DensityMap
from veritem.results import HistogramFigure, ImageFigure, SurfaceFigure
from veritem.simulation.half_maps import SimulatedMap, simulate_map
from veritem.simulation.models import ideal_protein, load_model
from veritem.simulation.noise import low_passed_noise
from veritem.simulation.phantoms import two_domain


def deposited(name, real_data, b_factors: tuple[float, float], box: int = 130, seed: int = 1) -> SimulatedMap:
    """A real protein whose halves have these B-factors after all blur and sharpening, at 3 Å, SSNR 1/3 there."""
    model, _ = two_domain(
        load_model(real_data / "training_models" / f"{name}.pdb.gz"), "plane",
        b_factors=tuple(b + 20.0 for b in b_factors),
    )  # fmt: skip
    return simulate_map(model, box, 1.0, resolution=3.0, b_factor=60.0, sharpen=80.0, occupancy=1.0, seed=seed)


def values(simulated: SimulatedMap, resolution: float = 3.0) -> Values:
    return Values(
        density_map=simulated.density_map,
        reported_resolution=resolution,
        molecular_weight=simulated.model.molecular_weight,
    )


@pytest.mark.parametrize("planted", [0.0, -60.0, -150.0])
def test_a_uniform_b_factor_is_recovered(planted, real_data):
    """The median within 10 % or its interval; single places scatter by no more than twice their standard error."""
    measurement = values(deposited("2v7o", real_data, (-planted, -planted))).measure(LocalBFactor())
    low, high = measurement.median_b_factor.interval
    error = abs(measurement.median_b_factor.value - planted)
    assert error <= 0.1 * abs(planted) or low <= planted <= high
    assert high - low < 80.0
    known = measurement.lines.determinable
    assert known.mean() > 0.9
    b_factor = measurement.lines.b_factor[known]
    spread = 1.4826 * np.median(np.abs(b_factor - np.median(b_factor)))
    assert spread < 2.0 * measurement.standard_error.value


def test_two_domains_are_told_apart(real_data):
    """Halves at 50 and 200 Å²: medians of places more than 12 Å from the plane (two windows) differ by -150 ± 30."""
    simulated = deposited("2v7o", real_data, (50.0, 200.0))
    measurement = values(simulated).measure(LocalBFactor())
    bank = measurement.bank
    across = bank.positions()[:, 2] + bank.density.origin[0] - simulated.model.centre[0]
    b_factor = measurement.lines.b_factor
    sides = [np.median(b_factor[np.isfinite(b_factor) & (sign * across > 12.0)]) for sign in (-1, 1)]
    assert sides[1] - sides[0] == pytest.approx(-150.0, abs=30.0)


def test_solvent_does_not_matter(real_data):
    """The box 40 % larger, the signal the same: the median moves by less than its standard error."""
    found = []
    for box in (110, 154):
        measurement = values(deposited("2v7o", real_data, (60.0, 60.0), box=box)).measure(LocalBFactor())
        found.append(measurement.median_b_factor)
    low, high = found[0].interval
    assert abs(found[1].value - found[0].value) < (high - low) / 4


def test_strong_blur_and_oversharpening_warn():
    model = ideal_protein(residues=260, subunits=2, seed=5)
    outcome = {}
    for planted in (-450.0, 90.0, -80.0):
        blur = max(60.0, -planted - 20.0)
        simulated = simulate_map(
            model, 110, 1.0, resolution=2.8, b_factor=blur, sharpen=planted + 20.0 + blur, atomic_b_factor=20.0, seed=3
        )
        _, verdict = values(simulated, 2.8).judged(LocalBFactor())
        outcome[planted] = {c.quantity: c.outcome.value for c in verdict.criteria}
    assert outcome[-450.0]["median_b_factor"] == "warning"
    assert outcome[90.0]["surely_above"] == "warning"
    assert set(outcome[-80.0].values()) == {"pass"}


def test_noise_has_no_local_b_factor():
    """Noise inside the mask as outside: no place may claim four bands of signal."""
    data = low_passed_noise((80, 80, 80), 1.0, 3.0, 1.0, np.random.default_rng(0))
    inputs = Values(density_map=DensityMap(data, 1.0), reported_resolution=3.0)
    z, y, x = np.meshgrid(*(np.arange(80) - 40,) * 3, indexing="ij")
    inputs.known["hard_mask"] = z**2 + y**2 + x**2 < 18**2
    inputs.known["contour_level"] = ContourLevel(1.0, "given", "")
    with pytest.raises(Inconclusive, match="noise"):
        inputs.measure(LocalBFactor())


def test_coarse_maps_are_left_out():
    simulated = simulate_map(ideal_protein(residues=150, subunits=2, seed=5), 64, 1.8, resolution=6.5, seed=3)
    with pytest.raises(NotApplicable, match=r"5\.5 Å or better"):
        values(simulated, 6.5).measure(LocalBFactor())


def test_a_masked_map_is_measured_with_a_caveat():
    simulated = simulate_map(
        ideal_protein(residues=260, subunits=2, seed=5), 104, 1.0, resolution=3.0, atomic_b_factor=60.0, sharpen=60.0
    )
    mask = simulated.truth.mask.astype(np.float32)
    masked = SimulatedMap(
        DensityMap(simulated.density_map.data * mask, 1.0, simulated.density_map.origin),
        simulated.half_1, simulated.half_2, simulated.model, simulated.truth,
    )  # fmt: skip
    bare = values(masked).measure(LocalBFactor())
    whole = values(simulated).measure(LocalBFactor())
    assert bare.determinable.value is None
    assert any("could not be measured" in caveat for caveat in bare.caveats)
    low, high = bare.median_b_factor.interval
    assert low < whole.median_b_factor.value < high + 5.0


def test_the_page_shows_what_was_found():
    check = LocalBFactor()
    simulated = simulate_map(ideal_protein(residues=200, subunits=2, seed=5), 100, 1.0, resolution=3.0, seed=3)
    measurement = values(simulated).measure(check)
    kinds = [type(figure) for figure in check.figures(measurement)]
    assert kinds == [HistogramFigure, ImageFigure, SurfaceFigure]
    outputs = {output.description.key: output for output in check.maps(measurement)}
    colours = outputs["local_b_factor"]
    assert colours.description.colours_map
    # Where the colours are, the map is: the particle's centre of mass, in Å of one frame, within 2 Å.
    where = np.argwhere(np.isfinite(colours.data)).mean(axis=0)[::-1] * colours.pixel_size + np.array(colours.origin)
    assert np.allclose(where, simulated.model.centre, atol=2.0)
    assert "median local B" in check.summary(measurement)
    assert check.misleads().startswith("Misleads when")
