"""One simulated map that the tests of this folder share; nobody writes into it."""

from __future__ import annotations

import pytest

from veritem.simulation.half_maps import SimulatedMap, simulate_map
from veritem.simulation.models import AtomicModel, ideal_protein


@pytest.fixture(scope="session")
def protein() -> AtomicModel:
    """Two subunits of 120 residues, about 25 kDa."""
    return ideal_protein(residues=120, subunits=2, seed=3)


@pytest.fixture(scope="session")
def sound(protein: AtomicModel) -> SimulatedMap:
    """A sound map at 3.6 Å in a non-cubic, partly odd box."""
    return simulate_map(protein, (80, 85, 96), 1.3, resolution=3.6, seed=11)
