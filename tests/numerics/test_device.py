"""The choice of a device, and array code on a module that is not numpy."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from veritem.errors import InputError
from veritem.numerics.device import CPU, like, namespace, select_device, to_host
from veritem.numerics.fourier import fftn, gaussian_filter, ifftn, irfftn, rfftn


def test_an_unknown_device_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="auto, cpu, cuda"):
        select_device("tpu")


def test_the_cpu_needs_nothing():
    array = np.ones(3, np.float32)
    assert select_device("cpu") is CPU
    assert CPU.put(array) is array and to_host(array) is array and like(array, array) is array


@pytest.mark.skipif(importlib.util.find_spec("cupy") is not None, reason="CuPy is installed")
def test_without_cupy_auto_is_the_cpu_and_cuda_says_what_to_install():
    assert select_device("auto") is CPU
    with pytest.raises(InputError, match="veritem\\[gpu\\]"):
        select_device("cuda")


def test_transforms_and_filters_agree_on_another_array_module():
    """A strict module of the array standard refuses what a GPU's arrays would refuse: mixing with numpy."""
    xp = pytest.importorskip("array_api_strict")
    data = np.random.default_rng(0).standard_normal((12, 10, 15)).astype(np.float32)
    there = xp.asarray(data)
    assert namespace(there) is xp
    # Single precision: a transform of 1800 voxels rounds by about 1e-7 x log2(1800) of its largest coefficient.
    tolerance = 2e-6 * float(np.abs(rfftn(data)).max())
    assert np.abs(to_host(rfftn(there)) - rfftn(data)).max() < tolerance
    assert np.abs(to_host(irfftn(rfftn(there), data.shape)) - data).max() < 1e-5
    assert np.abs(to_host(gaussian_filter(there, 1.7)) - gaussian_filter(data, 1.7)).max() < 1e-5
    both = xp.asarray((data + 1j * data[::-1]).astype(np.complex64))
    assert np.abs(to_host(ifftn(fftn(both))) - to_host(both)).max() < 1e-5
    small = like(np.arange(3, dtype=np.float32), there)
    assert namespace(small) is xp


@pytest.mark.skipif(importlib.util.find_spec("cupy") is None, reason="no CuPy, so no GPU to compare with")
def test_the_gpu_gives_the_cpus_numbers():
    device = select_device("cuda")
    data = np.random.default_rng(0).standard_normal((48, 40, 44)).astype(np.float32)
    assert np.abs(to_host(gaussian_filter(device.put(data), 2.0)) - gaussian_filter(data, 2.0)).max() < 1e-5
