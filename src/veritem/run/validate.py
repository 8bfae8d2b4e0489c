"""One submission from its files to its results."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from veritem._version import __version__
from veritem.checks.base import Check
from veritem.checks.overview import Overview, overview
from veritem.checks.registry import CHECKS, LEVELS
from veritem.derived.registry import INPUTS
from veritem.errors import InputError
from veritem.numerics.device import CPU, Device
from veritem.results import (
    CheckResult,
    Figure,
    InputFile,
    LevelSummary,
    Problem,
    Provenance,
    Scene,
    ValidationResult,
)
from veritem.run.comparison import compare_resolutions
from veritem.run.consequences import weigh_doubts
from veritem.run.cost import memory_problem, predict
from veritem.run.execute import Event, MemoryWatch, Progress, Runner, code_sha256, describe, silent
from veritem.run.folder import OutputFolder
from veritem.run.plan import make_plan
from veritem.run.scene import write_scene
from veritem.submission import ReceivedSubmission
from veritem.submission.problems import ProblemList

PACKAGES = ("numpy", "scipy", "numba", "gemmi", "mrcfile", "pydantic")


def available_threads() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def select_checks(include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> tuple[type[Check], ...]:
    """The checks of the table by code; everything when `include` is empty.

    Raises InputError naming every code that is not on the table.
    """
    known = {check.code for check in CHECKS}
    unknown = [code for code in (*include, *exclude) if code not in known]
    if unknown:
        raise InputError(
            f"There is no check {', '.join(unknown)}. The checks are {', '.join(sorted(known))}; "
            "`veritem checks` lists them."
        )
    return tuple(c for c in CHECKS if (not include or c.code in include) and c.code not in exclude)


def run_submission(
    received: ReceivedSubmission,
    folder: OutputFolder | None = None,
    *,
    threads: int | None = None,
    device: Device = CPU,
    progress: Progress = silent,
    command: str = "",
) -> ValidationResult:
    """Plan and run every check that applies; write each result as it is finished.

    received: the inputs, read and checked.
    folder: where to write; None keeps the arrays of the figures in memory and writes no derived maps.
    threads: the cores to use; all that this process may use by default.
    """
    started, clock = datetime.now(UTC), time.perf_counter()
    threads = threads or available_threads()
    values = received.values() | {"threads": threads, "device": device}
    checks = select_checks(received.submission.include, received.submission.exclude)
    plan = make_plan(checks, values)
    cost = predict(values["density_map"].data.size, values["half_maps"] is not None)
    progress(Event("planned", str(cost)))
    memory_note = memory_problem(cost)
    runner = Runner(plan, values, received.identities(), folder, progress)
    with MemoryWatch() as memory, threadpool_limits(threads):
        seen, problems = _overview(runner)
        results = weigh_doubts(runner.run(), plan)
        compared = compare_resolutions(results, received.submission.resolution, folder)
        scene = _scene(runner, results)
    result = ValidationResult(
        title=received.submission.title or received.inputs[0].name,
        inputs=_located(received, folder),
        parameters=_parameters(received, runner),
        problems=(*received.problems, *((memory_note,) if memory_note else ()), *problems),
        levels=_levels(values),
        overview=seen.figures,
        facts=seen.facts,
        checks=results,
        comparisons=(compared,) if compared else (),
        scene=scene,
        provenance=Provenance(
            veritem_version=__version__,
            code_sha256=code_sha256(),
            python=platform.python_version(),
            platform=platform.platform(),
            packages={name: _version(name) for name in PACKAGES},
            device=device.description,
            threads=threads,
            command=command,
            seed=received.submission.seed,
            started=started,
            seconds=time.perf_counter() - clock,
            peak_memory_mb=memory.peak_mb,
        ),
    )
    if folder:
        folder.write_results(result)
    return result


def _located(received: ReceivedSubmission, folder: OutputFolder | None) -> tuple[InputFile, ...]:
    """The inputs with their place relative to the report, so that ChimeraX can open them from there."""
    if folder is None:
        return received.inputs
    located = []
    for record in received.inputs:
        file = getattr(received.submission, record.role).resolve()
        try:
            path = os.path.relpath(file, folder.path.resolve())
        except ValueError:
            # Another drive on Windows has no relative path.
            path = str(file)
        located.append(record.model_copy(update={"path": Path(path).as_posix()}))
    return tuple(located)


def _overview(runner: Runner) -> tuple[Overview, tuple[Problem, ...]]:
    """The input section. Where it cannot be drawn the report says so and goes on, whatever the reason."""
    try:
        seen = overview(
            runner.value("density_map"),
            runner.value("contour_level"),
            runner.value("view_map"),
            runner.value("half_maps"),
        )
    except Exception as error:
        problem = ProblemList("map").warning(
            "IN-32",
            f"No picture of the map could be made: {describe(error)}",
            "Slices, projections and a surface at the contour level.",
            "Read the checks below; if one of them failed for the same reason, please report it with this message.",
        )
        return Overview((), {}), (problem,)
    figures: list[Figure] = list(seen.figures)
    if runner.folder:
        arrays = {f"{f.key}/{name}": a for f in figures for name, a in f.arrays.items()}
        file = runner.folder.write_arrays("overview", arrays)
        figures = [f.model_copy(update={"data_file": file, "arrays": {}}) for f in figures]
    return Overview(tuple(figures), seen.facts), ()


def _scene(runner: Runner, results: tuple[CheckResult, ...]) -> Scene | None:
    if runner.folder is None:
        return None
    try:
        view, level = runner.value("view_map"), runner.value("contour_level").value
    except Exception:
        # The input section has said so, with the reason: it needs the same two.
        return None
    return write_scene(view, level, results, runner.folder)


def _parameters(received: ReceivedSubmission, runner: Runner) -> dict[str, Any]:
    submission = received.submission
    parameters: dict[str, Any] = {
        "reported_resolution": submission.resolution,
        "symmetry": submission.symmetry,
        "molecular_weight_kda": submission.molecular_weight_kda,
        "seed": submission.seed,
    }
    try:
        level = runner.value("contour_level")
    except Exception as error:
        parameters["contour_level"] = {"value": None, "source": "none", "method": describe(error)}
    else:
        parameters["contour_level"] = {"value": level.value, "source": level.source, "method": level.method}
    return parameters


def _levels(values: Mapping[str, Any]) -> tuple[LevelSummary, ...]:
    """Which levels the inputs reach, and what the others would need."""
    levels = []
    for code, level in LEVELS.items():
        missing = tuple(INPUTS[name] for name in level.needs if values.get(name) is None)
        levels.append(LevelSummary(level=code, title=level.title, reached=not missing, missing=missing))
    return tuple(levels)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
