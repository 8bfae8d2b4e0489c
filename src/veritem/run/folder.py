"""The output folder: every file appears whole or not at all, and a run that was stopped is found again."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import psutil

from veritem.errors import InputError
from veritem.files import whole_file
from veritem.results import CheckResult, ValidationResult

MARKER = ".veritem"
MARKER_TEXT = "Written by Veritem. What is beside this file is replaced when a run is repeated here.\n"


class OutputFolder:
    """Where a run keeps its results.

    `checks/` holds each finished check, `data/` the arrays of the figures, `maps/` the derived maps.
    Raises InputError when the path cannot be used, or holds files that Veritem did not write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} is a file. The output must be a folder; choose another name with -o.")
        if path.is_dir() and not (path / MARKER).exists() and any(path.iterdir()):
            raise InputError(
                f"{path} is not empty, and Veritem did not write what is in it. Nothing of yours is overwritten; "
                "choose a new folder with -o."
            )
        try:
            for part in (path, path / "checks", path / "data", path / "maps"):
                part.mkdir(parents=True, exist_ok=True)
            (path / MARKER).write_text(MARKER_TEXT)
            self._clear_unfinished()
        except OSError as error:
            raise InputError(
                f"The output folder {path} cannot be written ({error.strerror}). Choose a folder of yours with -o."
            ) from error

    def _clear_unfinished(self) -> None:
        """Remove what a run left that was killed while it wrote; one that still runs keeps what is its own."""
        for unfinished in self.path.rglob(".*.part"):
            process = unfinished.suffixes[-2:-1]
            number = process[0][1:] if process else ""
            if number.isdigit() and (int(number) == os.getpid() or not psutil.pid_exists(int(number))):
                unfinished.unlink(missing_ok=True)

    def begin(self, kept: Collection[str]) -> None:
        """Remove what an earlier run left, but for the checks that are kept as they are.

        Nothing of another map, or of other options, may stand beside the results of this run.
        """
        for stored in (self.path / "checks").glob("*.json"):
            if stored.stem not in kept:
                self.forget_check(stored.stem)
        for old in (*self.path.glob("report.*"), *(self.path / "chimerax").glob("*.cxc")):
            old.unlink(missing_ok=True)
        (self.path / "results.json").unlink(missing_ok=True)

    def finished_check(self, code: str, fingerprint: str) -> CheckResult | None:
        """The stored result of a check, if its inputs, parameters and code are what they are now."""
        path = self.path / "checks" / f"{code}.json"
        try:
            stored = CheckResult.model_validate_json(path.read_text())
        except (OSError, ValueError):
            # Absent, or written by another version: measured again.
            return None
        if stored.fingerprint != fingerprint:
            return None
        files = [f.data_file for f in stored.figures if f.data_file] + [m.file for m in stored.maps]
        return stored if all((self.path / name).exists() for name in files) else None

    def forget_check(self, code: str) -> None:
        """Remove what an earlier run left of a check."""
        for path in (self.path / "checks" / f"{code}.json", self.path / "data" / f"{code}.npz"):
            path.unlink(missing_ok=True)
        for path in (self.path / "maps").glob(f"{code}_*.mrc"):
            path.unlink()

    def write_arrays(self, name: str, arrays: Mapping[str, np.ndarray]) -> str:
        """Write arrays to data/<name>.npz; returns the path relative to the folder."""
        relative = f"data/{name}.npz"
        with whole_file(self.path / relative) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, allow_pickle=False, **dict(arrays))
        return relative

    def read_arrays(self, name: str) -> dict[str, np.ndarray]:
        path = self.path / "data" / f"{name}.npz"
        if not path.exists():
            return {}
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored)

    def write_check(self, result: CheckResult) -> None:
        with whole_file(self.path / "checks" / f"{result.code}.json") as temporary:
            temporary.write_text(result.model_dump_json(indent=1))

    def write_results(self, result: ValidationResult) -> Path:
        path = self.path / "results.json"
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(result.model_dump(mode="json"), indent=1, ensure_ascii=False))
        return path
