"""What was handed in: described, read, checked, with every problem told at once."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from veritem.errors import InputError
from veritem.numerics.density_map import DensityMap, HalfMaps
from veritem.numerics.molecule import MOLECULAR_VOLUME
from veritem.results import InputFile, Problem
from veritem.submission.map_file import SAME_SIZE, expanded, near_names, read_map
from veritem.submission.problems import ProblemList, summary

# The fields that name files, in the order in which they are read.
FILES = ("map", "half_map_1", "half_map_2")
FEWEST_SELECTED, MOST_SELECTED = 0.001, 0.6
MASK_SHARE = 0.2

# Strict: true is no number and "3.1" is text; a description that says so is asked about, not guessed at.
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
_Finite = Annotated[float, Field(allow_inf_nan=False, strict=True)]

_POINT_GROUP = re.compile(r"[CD][1-9]\d{0,2}|T|O|I[1-4]?")


class Submission(BaseModel):
    """What a user hands in. Frozen; every field but the map is optional.

    Build it with `from_options` or `from_file`, which tell every mistake at once.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    map: Path = Field(description="a file in MRC2014, CCP4 or EM format, plain, .gz, .bz2 or .xz")
    half_map_1: Path | None = Field(default=None, description="a half map as the refinement wrote it, unmasked")
    half_map_2: Path | None = Field(default=None, description="the other half map")
    title: Annotated[str, Field(strict=True, max_length=300)] = Field(
        default="", description="shown on the report; the map's name by default"
    )
    pixel_size: _Positive | None = Field(default=None, description="Å; the header's by default")
    contour_level: _Finite | None = Field(default=None, description="in the map's units; estimated by default")
    resolution: _Positive | None = Field(default=None, description="as reported, Å")
    molecular_weight_kda: _Positive | None = Field(default=None, description="of what the map shows, kDa")
    symmetry: str = Field(default="C1", description="point group of the map")
    seed: Annotated[int, Field(ge=0, lt=2**63, strict=True)] = Field(
        default=0, description="of every random number of the run"
    )
    include: tuple[str, ...] = Field(default=(), description="codes of the checks to run; all by default")
    exclude: tuple[str, ...] = Field(default=(), description="codes of the checks to leave out")

    @field_validator("symmetry")
    @classmethod
    def _point_group(cls, value: str) -> str:
        value = value.strip().upper()
        if not _POINT_GROUP.fullmatch(value):
            raise ValueError("should be C1, C2, ..., D2, D3, ..., T, O or I")
        return value

    @classmethod
    def from_options(cls, **options: Any) -> Submission:
        """Build from keyword arguments; None means not given.

        Raises InputError that carries every problem, unknown names among them.
        """
        return cls._checked(options, dict.fromkeys(options, "the options"), "the options")

    @classmethod
    def from_file(cls, path: str | Path, **options: Any) -> Submission:
        """Build from a TOML file; paths in it are relative to its folder.

        options: as in `from_options`; they win over the file.
        Raises InputError that carries every problem.
        """
        path = expanded(path)
        found = ProblemList("entry")
        try:
            content = tomllib.loads(path.read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            found.error(
                "IN-22",
                f"{path} does not exist.",
                "A description of an entry in TOML.",
                f"Check the path.{near_names(path)}",
            )
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            found.error(
                "IN-28",
                f"{path.name} is not TOML: {error}.",
                'Lines such as map = "emd_1234.map.gz" and resolution = 3.1.',
                "Correct that line; text goes in quotation marks, numbers do not.",
            )
        except (OSError, ValueError) as error:
            found.error("IN-22", f"{path} cannot be read: {error}.", "A TOML file.", "Check path and permissions.")
        else:
            for name in FILES:
                if isinstance(content.get(name), str):
                    content[name] = path.parent / expanded(content[name])
            options = {name: value for name, value in options.items() if value is not None}
            sources = dict.fromkeys(content, path.name) | dict.fromkeys(options, "the options")
            return cls._checked(content | options, sources, path.name)
        raise InputError(summary(tuple(found.items)), tuple(found.items))

    @classmethod
    def _checked(cls, values: Mapping[str, Any], sources: Mapping[str, str], source: str) -> Submission:
        """sources: where each value came from; source: where one that is missing would have been."""
        problems: list[Problem] = []
        known = list(cls.model_fields)
        given: dict[str, Any] = {}
        for name, value in values.items():
            if name not in known:
                problems.append(_unknown(name, known, sources[name]))
            elif value is not None:
                given[name] = value.item() if isinstance(value, np.generic) else value
        for name in FILES:
            if isinstance(given.get(name), str | os.PathLike):
                given[name] = expanded(given[name])
        try:
            submission = cls(**given)
        except ValidationError as error:
            for detail in error.errors():
                problems.append(_invalid(detail, sources.get(str(detail["loc"][0]), source)))
        else:
            if not problems:
                return submission
        raise InputError(summary(tuple(problems)), tuple(problems))


def _unknown(name: str, known: list[str], source: str) -> Problem:
    near = difflib.get_close_matches(name.lower().replace("-", "_"), known, n=1, cutoff=0.5)
    return ProblemList(name).error(
        "IN-28",
        f"There is '{name}' in {source}, which is not known.",
        f"One of {', '.join(known)}.",
        f"Did you mean '{near[0]}'?" if near else "Remove it or correct its name.",
    )


def _invalid(detail: Any, source: str) -> Problem:
    """One of pydantic's complaints in our words."""
    name = str(detail["loc"][0])
    about = Submission.model_fields[name].description
    if detail["type"] == "missing":
        return ProblemList(name).error(
            "IN-28", f"No {name} was given in {source}.", f"{name} is {about}.", f"Add {name}."
        )
    reason = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return ProblemList(name).error(
        "IN-28", f"{name} is {detail['input']!r}.", f"It {reason} ({about}).", f"Correct {name} in {source}."
    )


@dataclass(frozen=True, eq=False)
class ReceivedSubmission:
    """A submission whose files were read and found usable.

    inputs: one record per file. problems: warnings and informations; an error would have been raised.
    """

    submission: Submission
    density_map: DensityMap
    inputs: tuple[InputFile, ...]
    problems: tuple[Problem, ...]
    half_maps: HalfMaps | None = None

    def values(self) -> dict[str, Any]:
        """What was handed in, by the names of `veritem.derived.registry.INPUTS`; None where not given."""
        weight = self.submission.molecular_weight_kda
        return {
            "density_map": self.density_map,
            "half_maps": self.half_maps,
            "symmetry": self.submission.symmetry,
            "given_contour_level": self.submission.contour_level,
            "reported_resolution": self.submission.resolution,
            "molecular_weight": None if weight is None else 1000.0 * weight,
            "seed": self.submission.seed,
        }

    def identities(self) -> dict[str, str]:
        """A text per input that changes whenever the input does."""
        grid = self.density_map
        # A pixel size that was given decides whether unequal voxels are resampled, so it is part of the identity.
        texts = {
            "density_map": f"sha256:{self.inputs[0].sha256_content} pixel_size={grid.pixel_size!r} "
            f"given={self.submission.pixel_size!r} origin={grid.origin!r}"
        }
        if self.half_maps is not None:
            pair = ", ".join(f"sha256:{record.sha256_content}" for record in self.inputs[1:3])
            texts["half_maps"] = f"{pair} on the grid of {texts['density_map']}"
        return {name: texts.get(name) or repr(value) for name, value in self.values().items()}


def receive(submission: Submission) -> ReceivedSubmission:
    """Read every file and check every value against it.

    Raises InputError that carries all problems of all inputs when one is an error.
    """
    density_map, record, found = read_map(submission.map, submission.pixel_size, role="map")
    problems, records = list(found), [record]
    if density_map is not None:
        problems += _mask_like(density_map)
        problems += _contour_level(submission.contour_level, density_map)
        problems += _resolution(submission.resolution, density_map)
        problems += _molecular_weight(submission.molecular_weight_kda, density_map)
    halves: list[DensityMap] = []
    for name in ("half_map_1", "half_map_2"):
        path = getattr(submission, name)
        if path is None:
            continue
        half, record, found = read_map(path, submission.pixel_size, role=name)
        records.append(record)
        problems += found
        if half is not None and density_map is not None:
            problems += _half_map_grid(name, half, density_map)
            # One frame for all three: what the headers say differently was told.
            halves.append(DensityMap(half.data, density_map.pixel_size, density_map.origin))
    problems += _pair(submission)
    if density_map is None or any(problem.severity == "error" for problem in problems):
        raise InputError(summary(tuple(problems)), tuple(problems))
    half_maps = HalfMaps(*halves) if len(halves) == 2 else None
    return ReceivedSubmission(submission, density_map, tuple(records), tuple(problems), half_maps)


def _pair(submission: Submission) -> list[Problem]:
    given = {name: getattr(submission, name) is not None for name in ("half_map_1", "half_map_2")}
    if sum(given.values()) != 1:
        return []
    (missing,) = (name for name, there in given.items() if not there)
    (there,) = (name for name, there in given.items() if there)
    found = ProblemList(missing)
    found.error("IN-08", f"{there} was given without {missing}.", "Both half maps or none.", f"Add {missing}.")
    return found.items


def _half_map_grid(name: str, half: DensityMap, density_map: DensityMap) -> list[Problem]:
    found = ProblemList(name)
    (nz, ny, nx), (mz, my, mx) = half.shape, density_map.shape
    if half.shape != density_map.shape:
        found.error(
            "IN-09",
            f"The half map is {nx} × {ny} × {nz} voxels at {half.pixel_size:.4g} Å, the map {mx} × {my} × {mz} at "
            f"{density_map.pixel_size:.4g} Å.",
            "Half maps on the grid of the map.",
            "Send the half maps and the map as the refinement wrote them, before cropping or resampling.",
        )
        return found.items
    if abs(half.pixel_size / density_map.pixel_size - 1.0) > SAME_SIZE:
        found.warning(
            "IN-09",
            f"The half map's header gives a pixel size of {half.pixel_size:.5g} Å, the map's "
            f"{density_map.pixel_size:.5g} Å.",
            "One pixel size.",
            "The map's is used. Correct the header that is wrong, or give the pixel size.",
        )
    if max(abs(a - b) for a, b in zip(half.origin, density_map.origin, strict=True)) > 0.5 * density_map.pixel_size:
        at, of = (", ".join(f"{v:.1f}" for v in m.origin) for m in (half, density_map))
        found.warning(
            "IN-09",
            f"The half map's header puts its first voxel at ({at}) Å, the map's at ({of}) Å.",
            "One origin.",
            "The map's is used; if the half maps are really shifted, the check of the half maps says so.",
        )
    return found.items


def _mask_like(density_map: DensityMap) -> list[Problem]:
    found = ProblemList("map")
    data = density_map.data
    low, high = float(data.min()), float(data.max())
    above = np.count_nonzero(data > low + 0.05 * (high - low))
    share = np.count_nonzero(data > low + 0.95 * (high - low)) / above
    # In real densities the share is below 0.001; a mask with a soft edge has 0.3 and more.
    if share > MASK_SHARE and above < 0.95 * data.size:
        found.warning(
            "IN-33",
            f"{100 * share:.0f} % of the voxels above the background hold the map's largest values, as a mask does.",
            "A density, in which few voxels come near the maximum.",
            "Give the map that the refinement or the post-processing wrote, not the mask.",
        )
    return found.items


def _contour_level(level: float | None, density_map: DensityMap) -> list[Problem]:
    found = ProblemList("contour_level")
    if level is None:
        return found.items
    data = density_map.data
    low, high = float(data.min()), float(data.max())
    selected = np.count_nonzero(data >= level) / data.size
    if not low < level < high:
        found.error(
            "IN-11",
            f"The contour level {level:.6g} is outside the map's values, {low:.6g} to {high:.6g}.",
            "A level between them, in the map's own units.",
            "Give the level in the map's units (not in standard deviations), or none to have it estimated.",
        )
    elif not FEWEST_SELECTED <= selected <= MOST_SELECTED:
        found.warning(
            "IN-11",
            f"The contour level {level:.6g} selects {100 * selected:.3g} % of the box.",
            f"Between {100 * FEWEST_SELECTED:g} and {100 * MOST_SELECTED:g} %.",
            "Look at the map at that level: it may belong to another map or be in standard deviations.",
        )
    return found.items


def _resolution(resolution: float | None, density_map: DensityMap) -> list[Problem]:
    found = ProblemList("resolution")
    if resolution is None:
        return found.items
    finest, coarsest = 2 * density_map.pixel_size, min(density_map.extent) / 4
    # The header's pixel size is rounded: a resolution at Nyquist is not finer than it.
    if resolution < finest * (1 - 1e-3):
        found.warning(
            "IN-12",
            f"The reported resolution of {resolution:.4g} Å is finer than {finest:.4g} Å, twice the pixel size.",
            "A resolution that the grid can hold.",
            "Check the resolution and the pixel size; one of them is wrong.",
        )
    elif resolution > coarsest:
        found.warning(
            "IN-12",
            f"The reported resolution of {resolution:.4g} Å is coarser than a quarter of the box, {coarsest:.4g} Å.",
            "A box of at least four resolution elements.",
            "Check the resolution and the pixel size; expect undecided checks if both are right.",
        )
    return found.items


def _molecular_weight(weight_kda: float | None, density_map: DensityMap) -> list[Problem]:
    found = ProblemList("molecular_weight_kda")
    if weight_kda is None:
        return found.items
    voxels = density_map.data.size
    most_kda = voxels * density_map.voxel_volume / MOLECULAR_VOLUME / 1000
    if weight_kda > most_kda or weight_kda < 1:
        found.warning(
            "IN-29",
            f"The molecular weight is {weight_kda:.6g} kDa.",
            f"Between 1 kDa and {most_kda:.4g} kDa, which would fill the whole box with protein.",
            "Give it in kDa: 465 for β-galactosidase, not 465000 or 0.465.",
        )
    return found.items
