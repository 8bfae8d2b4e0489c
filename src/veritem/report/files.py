"""The text files of a report, and the arrays that its figures are drawn from."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from veritem.errors import VeritemError
from veritem.files import whole_file


class MissingData(VeritemError):
    """The arrays of a figure are not beside the report, or not readable. The text names the file."""


def write_text(path: Path, text: str) -> Path:
    """Write UTF-8 with plain line ends, the same bytes on every platform."""
    with whole_file(path) as temporary:
        temporary.write_bytes(text.encode())
    return path


class ArrayStore:
    """Reads arrays from the npz files of one report folder; one file is open at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def arrays(self, data_file: str, prefix: str = "") -> dict[str, NDArray]:
        """The arrays whose name begins with `prefix`, without it.

        Raises MissingData when the file is absent, outside the folder, or not an npz file.
        """
        path = (self._folder / data_file).resolve()
        if not path.is_relative_to(self._folder.resolve()):
            raise MissingData(f"The data file {data_file} lies outside the report's folder and is not read.")
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                return {name[len(prefix) :]: stored[name] for name in stored.files if name.startswith(prefix)}
        except FileNotFoundError as error:
            raise MissingData(
                f"The data file {data_file} is missing beside this report. "
                "Run the validation again, or bring the file back."
            ) from error
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise MissingData(
                f"The data file {data_file} cannot be read ({error}). Run the validation again."
            ) from error
