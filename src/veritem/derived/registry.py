"""The table of derived values."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# What a submission offers by name. Optional inputs are None when they were not given.
INPUTS: dict[str, str] = {
    "density_map": "the map",
    "given_contour_level": "a contour level",
    "reported_resolution": "a reported resolution",
    "molecular_weight": "a molecular weight",
    "half_maps": "two half maps",
    "symmetry": "a point group",
    "seed": "a random seed",
    "threads": "a number of threads",
    "device": "a device to compute on",
}

# What changes how a number is computed and not what it is: no part of a result's identity.
MEANS = ("threads", "device")

# Every module that defines derived values; imported when a plan is made.
MODULES = (
    "masks",
    "noise",
    "spectra",
    "bands",
    "views",
    "half_maps",
    "directional_fsc",
    "resmap",
    "local_fsc",
    "local_directional",
    "forensics",
    "monores",
)


@dataclass(frozen=True)
class Derived:
    """One derived value.

    name: what other derived values and checks call it.
    needs: the names of its parameters, in order.
    """

    name: str
    function: Callable[..., Any]
    needs: tuple[str, ...]


DERIVED: dict[str, Derived] = {}


def derived(function: Callable[..., Any]) -> Callable[..., Any]:
    """Put a function on the table of derived values under its own name.

    Raises ValueError when the name is taken by an input or by another derived value.
    """
    name = function.__name__
    known = DERIVED.get(name)
    if name in INPUTS or (known is not None and known.function.__module__ != function.__module__):
        raise ValueError(f"'{name}' is on the table already. Derived values need names of their own; rename it.")
    DERIVED[name] = Derived(name, function, tuple(inspect.signature(function).parameters))
    return function


def load_all() -> dict[str, Derived]:
    """Import every module of derived values and return the table."""
    for module in MODULES:
        importlib.import_module(f"veritem.derived.{module}")
    return DERIVED
