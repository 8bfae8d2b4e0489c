"""Where arrays live: in this computer's memory (numpy) or on a GPU (CuPy). The same array code serves both.

Code that works on volumes asks `namespace` for the module of an array and `like` to bring small numpy arrays to where
a volume is. What irregular kernels (numba) read comes back with `to_host`.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from veritem.errors import InputError

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class Device:
    """name: "cpu" or "cuda". description: what it is, for the record of a run."""

    name: Literal["cpu", "cuda"]
    description: str = "cpu"

    def put(self, array: np.ndarray) -> Any:
        """A numpy array on this device; itself on the CPU."""
        return array if self.name == "cpu" else importlib.import_module("cupy").asarray(array)


CPU = Device("cpu")


def select_device(name: str = "auto") -> Device:
    """The device by name; "auto" takes a GPU when CuPy finds one.

    Raises InputError when a GPU is asked for and none can be used, and for an unknown name.
    """
    if name not in DEVICES:
        raise InputError(f"There is no device '{name}'. Expected one of {', '.join(DEVICES)}.")
    if name == "cpu":
        return CPU
    if importlib.util.find_spec("cupy") is None:
        if name == "auto":
            return CPU
        raise InputError(
            "The device 'cuda' needs CuPy, which is not installed. Install it (pip install 'veritem[gpu]'), or use "
            "--device cpu."
        )
    cupy = importlib.import_module("cupy")
    try:
        found = int(cupy.cuda.runtime.getDeviceCount())
        model = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode() if found else ""
    except cupy.cuda.runtime.CUDARuntimeError as error:
        if name == "auto":
            return CPU
        raise InputError(f"CuPy finds no usable GPU: {error}. Check the driver, or use --device cpu.") from error
    if not found:
        if name == "auto":
            return CPU
        raise InputError("CuPy finds no GPU. Check the driver, or use --device cpu.")
    return Device("cuda", f"cuda: {model}")


def namespace(array: Any) -> Any:
    """The module whose functions work on this array: numpy, CuPy, or another of the array standard."""
    if isinstance(array, np.ndarray | np.generic):
        return np
    if type(array).__module__.split(".")[0] == "cupy":
        return importlib.import_module("cupy")
    return array.__array_namespace__()


def like(array: np.ndarray, reference: Any) -> Any:
    """A numpy array brought to where `reference` lives."""
    if isinstance(reference, np.ndarray):
        return array
    return namespace(reference).asarray(array)


def to_host(array: Any) -> np.ndarray:
    """Any array as numpy."""
    if isinstance(array, np.ndarray):
        return array
    if hasattr(array, "get"):
        return array.get()
    return np.from_dlpack(array) if hasattr(array, "__dlpack__") else np.asarray(array)
