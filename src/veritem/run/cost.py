"""What a run will take, said before it begins."""

from __future__ import annotations

from dataclasses import dataclass

import psutil

from veritem.results import Problem
from veritem.submission.problems import ProblemList

# Level 0 and its report on two cores, from benchmarks/level_0.py (128³ to 400³): a start, and so much per voxel.
SECONDS, SECONDS_PER_MILLION_VOXELS = 8.0, 1.1
GIGABYTES, BYTES_PER_VOXEL = 0.4, 48.0
# What half maps add, from benchmarks/level_1.py (128³ and 256³).
HALF_SECONDS, HALF_SECONDS_PER_MILLION_VOXELS, HALF_BYTES_PER_VOXEL = 25.0, 4.0, 24.0


@dataclass(frozen=True)
class Cost:
    """seconds: wall time on two cores. gigabytes: peak resident memory of the process."""

    seconds: float
    gigabytes: float

    def __str__(self) -> str:
        time = f"{self.seconds:.0f} s" if self.seconds < 90 else f"{self.seconds / 60:.0f} min"
        return f"about {time} and {self.gigabytes:.1f} GB of memory"


def predict(voxels: int, half_maps: bool = False) -> Cost:
    """What all checks take on a map of so many voxels, without or with its half maps."""
    seconds = SECONDS + SECONDS_PER_MILLION_VOXELS * voxels / 1e6
    gigabytes = GIGABYTES + BYTES_PER_VOXEL * voxels / 1e9
    if half_maps:
        seconds += HALF_SECONDS + HALF_SECONDS_PER_MILLION_VOXELS * voxels / 1e6
        gigabytes += HALF_BYTES_PER_VOXEL * voxels / 1e9
    return Cost(seconds, gigabytes)


def memory_problem(cost: Cost) -> Problem | None:
    """A warning when the run will hardly fit into the memory that is free."""
    free = psutil.virtual_memory().available / 1e9
    if cost.gigabytes <= free:
        return None
    return ProblemList("map").warning(
        "IN-31",
        f"The run needs about {cost.gigabytes:.1f} GB of memory and {free:.1f} GB are free.",
        "As much free memory as the run needs.",
        "Close other programs, use a machine with more memory, or run the checks one by one with --check.",
    )
