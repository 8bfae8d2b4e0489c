"""Run a plan in this process: compute what each check needs once, measure, judge, write, free."""

from __future__ import annotations

import hashlib
import json
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from veritem.checks.base import Check, MapOutput, judge, quantities_of
from veritem.derived.registry import MEANS
from veritem.errors import Inconclusive, NotApplicable, VeritemError
from veritem.files import whole_file
from veritem.results import CheckResult, DerivedMap, Figure, Outcome
from veritem.run.folder import OutputFolder
from veritem.run.plan import Plan, PlannedCheck
from veritem.submission.map_writer import write_map


@dataclass(frozen=True)
class Event:
    """Progress.

    kind: "planned" (name: what it will take), "check started", "computing", "check finished", "check reused" or
        "report".
    name: of the check or derived value. result: of a check that is finished.
    """

    kind: str
    name: str
    result: CheckResult | None = None


Progress = Callable[[Event], None]


def silent(event: Event) -> None:
    """Progress for those who do not watch."""


RATES = Path(__file__).resolve().parent.parent / "checks" / "measured_rates.json"


@cache
def measured_rates() -> dict[str, Any]:
    """How often each check warned of sound maps, by code (benchmarks/false_alarms.py); empty where not measured."""
    return json.loads(RATES.read_text("utf-8"))["checks"] if RATES.exists() else {}


@cache
def code_sha256() -> str:
    """Hash of the package's source: results of another source are never mistaken for this one's."""
    package = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*")):
        science = path.suffix in {".py", ".csv", ".json"} and "report" not in path.relative_to(package).parts
        # What was measured of the checks is not part of them.
        science = science and path.name != RATES.name
        if science and path.is_file():
            digest.update(path.relative_to(package).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


class MemoryWatch:
    """The highest resident memory of this process while it is entered, in MB, sampled every 20 ms."""

    def __enter__(self) -> MemoryWatch:
        self._process = psutil.Process()
        self._stop = threading.Event()
        self.peak_mb = self._resident()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _resident(self) -> float:
        return self._process.memory_info().rss / 2**20

    def _sample(self) -> None:
        while not self._stop.wait(0.02):
            self.peak_mb = max(self.peak_mb, self._resident())


@dataclass
class _Broken:
    """A derived value that could not be had; what depends on it shares its fate."""

    name: str
    error: Exception


@dataclass
class Runner:
    """Executes the checks of one submission.

    values: the inputs of the submission by name.
    identities: a text per input that changes whenever the input does; for the fingerprints.
    folder: where to write; None keeps everything in memory.
    """

    plan: Plan
    values: Mapping[str, Any]
    identities: Mapping[str, str]
    folder: OutputFolder | None = None
    progress: Progress = silent
    computed: dict[str, Any] = field(default_factory=dict)

    def run(self) -> tuple[CheckResult, ...]:
        """Every check's result, in the order of the plan. No error of a check ends the run."""
        stored: dict[str, CheckResult] = {}
        to_do: list[PlannedCheck] = []
        for planned in self.plan.checks:
            code = planned.check.code
            found = self.folder.finished_check(code, self.fingerprint(planned)) if self.folder else None
            # A failure may have had a passing cause (memory, disk), so it is tried again.
            if found is not None and found.outcome is not Outcome.FAILED:
                stored[code] = found
                self.progress(Event("check reused", code, found))
            else:
                to_do.append(planned)
        if self.folder:
            self.folder.begin(kept=stored)
        for position, planned in enumerate(to_do):
            result = self._run_check(planned)
            stored[result.code] = result
            self.progress(Event("check finished", result.code, result))
            self._free(to_do[position + 1 :])
        return tuple(stored[planned.check.code] for planned in self.plan.checks)

    def fingerprint(self, planned: PlannedCheck) -> str:
        parts = [planned.check.code, code_sha256()]
        parts += [f"{name}={self.identities.get(name, '')}" for name in planned.inputs if name not in MEANS]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def value(self, name: str) -> Any:
        """An input or a derived value, computed now if it is not there yet.

        Raises what the derived value raised, once for each that asks.
        """
        if name in self.values:
            return self.values[name]
        if name not in self.computed:
            entry = self.plan.table[name]
            try:
                arguments = {need: self.value(need) for need in entry.needs}
                self.progress(Event("computing", name))
                self.computed[name] = entry.function(**arguments)
            except Exception as error:
                # Kept, so that whatever depends on it is told the same; reported by each check as its outcome.
                self.computed[name] = _Broken(name, error)
        value = self.computed[name]
        if isinstance(value, _Broken):
            raise value.error
        return value

    def _free(self, remaining: list[PlannedCheck]) -> None:
        names = [name for planned in remaining if not planned.reason for name in planned.check.uses()]
        keep = self.plan.still_needed([*names, "view_map"], self.computed)
        for name in set(self.computed) - keep:
            del self.computed[name]

    def _run_check(self, planned: PlannedCheck) -> CheckResult:
        check = planned.check
        self.progress(Event("check started", check.code))
        if self.folder:
            self.folder.forget_check(check.code)
        started, clock = datetime.now(UTC), time.perf_counter()
        with MemoryWatch() as memory:
            try:
                content = self._measured(planned)
            except NotApplicable as error:
                content = {"outcome": Outcome.NOT_APPLICABLE, "reason": str(error)}
            except Inconclusive as error:
                content = {"outcome": Outcome.INCONCLUSIVE, "reason": str(error)}
            except Exception as error:
                # A crash is an outcome of its own: said in the report, counted against the score.
                content = {
                    "outcome": Outcome.FAILED,
                    "reason": "The check itself failed; this says nothing about the map.",
                    "error": describe(error),
                }
        result = CheckResult(
            **_page(check),
            **content,
            seed=self.values.get("seed"),
            parameters={name: self.identities.get(name, "") for name in planned.inputs if name not in MEANS},
            seconds=time.perf_counter() - clock,
            peak_memory_mb=memory.peak_mb,
            started=started,
            fingerprint=self.fingerprint(planned),
        )
        if self.folder:
            self.folder.write_check(result)
        return result

    def _measured(self, planned: PlannedCheck) -> dict[str, Any]:
        check = planned.check
        if planned.reason:
            raise NotApplicable(planned.reason)
        measurement = check.measure(**{name: self.value(name) for name in check.uses()})
        verdict = judge(check, measurement)
        figures = check.figures(measurement)
        maps = check.maps(measurement)
        if self.folder:
            figures = self._store_figures(check.code, figures, maps)
        return {
            "outcome": verdict.outcome,
            "reason": verdict.reason,
            "summary": check.summary(measurement),
            "quantities": quantities_of(measurement),
            "criteria": verdict.criteria,
            "tables": tuple(check.tables(measurement)),
            "figures": tuple(figures),
            "maps": self._store_maps(check.code, maps),
            "caveats": tuple(getattr(measurement, "caveats", ())),
        }

    def _store_figures(self, code: str, figures: list[Figure], maps: list[MapOutput]) -> list[Figure]:
        from veritem.run.scene import colouring_on_view

        assert self.folder is not None
        arrays = {f"{f.key}/{name}": np.asarray(a) for f in figures for name, a in f.arrays.items()}
        for output in maps:
            if output.description.colours_map:
                arrays[f"scene/{output.description.key}"] = colouring_on_view(output, self.value("view_map"))
        if not arrays:
            return figures
        file = self.folder.write_arrays(code, arrays)
        return [f.model_copy(update={"data_file": file, "arrays": {}}) if f.arrays else f for f in figures]

    def _store_maps(self, code: str, maps: list[MapOutput]) -> tuple[DerivedMap, ...]:
        if self.folder is None:
            return ()
        stored = []
        for output in maps:
            file = f"maps/{code}_{output.description.key}.mrc"
            with whole_file(self.folder.path / file) as temporary:
                data = output.data
                if data.dtype.kind == "f":
                    data = np.where(np.isfinite(data), data, np.float32(output.fill))
                write_map(temporary, data, output.pixel_size, output.origin, output.description.label)
            stored.append(output.description.model_copy(update={"file": file}))
        return tuple(stored)


def _page(check: Check) -> dict[str, Any]:
    return {
        "code": check.code,
        "title": check.title,
        "level": check.level,
        "question": check.question(),
        "method": check.method(),
        "misleads": check.misleads(),
        "references": check.references,
        "false_alarm_rate": measured_rates().get(check.code, {}).get("rate"),
    }


def describe(error: Exception) -> str:
    """Type and text of an error, and the place in Veritem where it arose."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "veritem" in f.filename] or frames
    place = f" (in {Path(ours[-1].filename).name}, line {ours[-1].lineno})" if ours else ""
    text = str(error) if isinstance(error, VeritemError) else f"{type(error).__name__}: {error}"
    return text + place
