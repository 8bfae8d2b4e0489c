"""Read a map, whatever program wrote it, and say everything that is odd about it."""

from __future__ import annotations

import difflib
import math
import os
import stat
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from veritem.numerics.density_map import DensityMap
from veritem.results import InputFile, Problem
from veritem.submission.map_header import (
    FARTHEST_BELIEVABLE,
    MRC_HEADER,
    BadHeader,
    MapHeader,
    guess_content,
    parse_header,
)
from veritem.submission.problems import ProblemList, printable
from veritem.submission.resample import resampled_size, to_isotropic
from veritem.submission.stream import CHUNK, DAMAGED, ContentStream

SMALLEST_AXIS, SMALL_AXIS, LARGEST_AXIS = 8, 32, 2048
# Sizes closer than this are one size, written with rounding (a 0.1 % error moves a feature at 200 Å by 0.2 Å).
SAME_SIZE = 1e-3
# 0.01° shears the far face of a box of 2048 voxels by a third of a voxel.
RIGHT_ANGLE_TOLERANCE = 0.01
MOST_ANISOTROPIC = 2.0
# What may follow the voxels of a compressed file before reading stops: enough for any footer, too little for a bomb.
MOST_TRAILING = 64 << 20

_FORMATS = "A map is MRC2014, CCP4 or EM, plain or compressed with gzip, bzip2 or xz."


class _Refused(Exception):
    """The file cannot be read on; the problem is in the list already."""


@dataclass(frozen=True)
class _Content:
    """What one pass over the file gave. data is in the file's order; not_finite counts NaN and infinite voxels."""

    data: NDArray[np.float32]
    minimum: float
    maximum: float
    nan: int
    infinite: int


def read_map(
    path: str | Path, pixel_size: float | None = None, *, role: str = "map"
) -> tuple[DensityMap | None, InputFile, tuple[Problem, ...]]:
    """Read one map and report what is odd about it. Raises nothing about the file: all is in the problems.

    path: MRC2014, CCP4 or EM, told from the content; plain, gzip, bzip2 or xz. Opened read-only, read once.
    pixel_size: Å; replaces the header's, with a warning where they differ by more than 0.1 %.
    role: what the user calls this input; the field of every problem.
    Returns the map (None when a problem is an error), the record of the file and the problems. The checksums in the
    record are empty where the file was refused before its end.
    Memory: one float32 copy of the grid, two where the axes are reordered or the voxels resampled.
    MRC2014: Cheng et al., J. Struct. Biol. 192 (2015) 146, doi:10.1016/j.jsb.2015.04.002.
    """
    path = expanded(path)
    found = ProblemList(role)
    record = InputFile(
        role=role, name=printable(path.name), size=0, sha256="", sha256_content="", description="not read"
    )
    try:
        size = _regular_file(path, found)
        record = record.model_copy(update={"size": size})
        if pixel_size is not None and not (math.isfinite(pixel_size) and pixel_size > 0):
            found.error(
                "IN-03",
                f"A pixel size of {pixel_size} Å was given.",
                "A pixel size is a positive number of Å.",
                "Give the one of the reconstruction.",
            )
            pixel_size = None
        with _opened(path, found) as stream:
            header = _header(stream, path, found)
            sections = _one_volume(header, path, found)
            content = _read_content(stream, header, sections, path, found)
            stored, inside = stream.checksums()
        record = record.model_copy(update={"sha256": stored, "sha256_content": inside})
        _check_values(content, path, found)
        voxel = _voxel_size(header, pixel_size, path, found)
        # The origin is wanted even where the voxel size failed, so that its problems are told in the same go.
        origin = _origin(header, voxel, pixel_size is not None, path, found)
        if found.has_errors or voxel is None:
            raise _Refused
        data = _to_zyx(content.data, header, path, found)
        del content
        data, pixel = _to_cubes(data, voxel, path, found)
    except _Refused:
        return None, record, tuple(found.items)
    density_map = DensityMap(data=data, pixel_size=pixel, origin=origin)
    description = (
        f"{grid_text(density_map.shape[::-1])} voxels of {pixel:.5g} Å, {header.mode}, "
        f"origin ({', '.join(f'{value:.5g}' for value in origin)}) Å, "
        f"values {float(data.min()):.4g} to {float(data.max()):.4g}"
    )
    return density_map, record.model_copy(update={"description": description}), tuple(found.items)


def expanded(path: str | Path) -> Path:
    """The path with ~ filled in, where there is such a home folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)  # A file may be called ~name.


def grid_text(size: tuple[int, int, int]) -> str:
    """Voxels along x, y, z as people write them: 256³ or 89 × 81 × 63."""
    return f"{size[0]}³" if len(set(size)) == 1 else " × ".join(map(str, size))


def near_names(path: Path) -> str:
    """A sentence that names files like one that is missing."""
    folder = path.parent
    if not folder.is_dir():
        nearest = next((parent for parent in path.parents if parent.is_dir()), None)
        return f" The folder {folder} does not exist" + (f"; {nearest} does." if nearest else ".")
    try:
        names = [entry.name for entry in islice(os.scandir(folder), 10_000)]
    except OSError:
        return ""  # The folder may be searched but not listed; the main message stands without the hint.
    lower = {name.lower(): name for name in names}
    near = difflib.get_close_matches(path.name.lower(), lower, n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(lower[name] for name in near)}?" if near else ""


# --- opening -------------------------------------------------------------------------------------------------


def _regular_file(path: Path, found: ProblemList) -> int:
    """The size in bytes. Looks before opening: a pipe would wait for ever."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        found.error("IN-22", f"{path} does not exist.", "The path of a map file.", f"Check the path.{near_names(path)}")
    except (OSError, ValueError) as error:
        found.error("IN-22", f"{path} cannot be opened: {error}.", "The path of a map file.", "Check the path.")
    else:
        if stat.S_ISREG(status.st_mode) and status.st_size:
            return status.st_size
        if stat.S_ISDIR(status.st_mode):
            found.error("IN-22", f"{path} is a folder.", "One map file.", "Name the map inside it.")
        elif not stat.S_ISREG(status.st_mode):
            found.error("IN-22", f"{path} is no regular file.", "A map stored on disk.", "Save it to a file.")
        else:
            found.error("IN-22", f"{path.name} is empty (0 bytes).", _FORMATS, "Copy or download it again.")
    raise _Refused


def _opened(path: Path, found: ProblemList) -> ContentStream:
    try:
        return ContentStream(path)
    except PermissionError:
        found.error(
            "IN-22", f"{path.name} may not be read.", "A file that this user may read.", "Change its permissions."
        )
    except OSError as error:
        found.error("IN-22", f"{path.name} cannot be opened: {error}.", "A readable file.", "Check disk and path.")
    raise _Refused


def _header(stream: ContentStream, path: Path, found: ProblemList) -> MapHeader:
    try:
        start = stream.read(MRC_HEADER)
    except DAMAGED as error:
        _damaged(error, stream, path, found)
        raise _Refused from error
    try:
        header = parse_header(start)
    except BadHeader as error:
        refused = str(error).startswith("mode ")
        found.error(
            "IN-02" if refused else "IN-01",
            f"{path.name} is an MRC file that cannot be a map: {error}.",
            "Real numbers: mode 0, 1, 2, 6, 12 or 101." if refused else "A header whose fields make sense.",
            "Send the real-space map." if refused else "Write the file again with the program that made it.",
        )
        raise _Refused from error
    if header is None:
        what = guess_content(start)
        found.error("IN-01", f"{path.name} is not a map: it is {what}.", _FORMATS, "Send the map itself.")
        raise _Refused
    stream.put_back(start[header.offset :])
    if header.repairs:
        found.information(
            "IN-27",
            f"The header of {path.name} departs from the standard: {'; '.join(header.repairs)}.",
            "An MRC2014 header.",
            "Nothing to do if box, pixel size and values are as you know them.",
        )
    return header


# --- what the header says ------------------------------------------------------------------------------------


def _one_volume(header: MapHeader, path: Path, found: ProblemList) -> int:
    """The sections of the one volume to read. Raises _Refused where reading on makes no sense."""
    sections = header.sections
    in_stack = max(header.sampling[2], 1)
    if header.space_group >= 401 and header.axes == (2, 1, 0) and sections % in_stack == 0 and in_stack < sections:
        found.information(
            "IN-24",
            f"{path.name} holds {sections // in_stack} volumes; the first was read.",
            "One volume.",
            "Send another one as a file of its own if that is the one meant.",
        )
        sections = in_stack
    columns, rows = header.columns, header.rows
    image = 1 in (columns, rows, sections)
    # Many programs write stacks of images with the header of a volume; .mrcs is then all that tells them apart.
    stack = (
        header.format == "MRC"
        and not image
        and (
            (header.sampling[2] == 1 and header.sampling != (1, 1, 1) and header.axes == (2, 1, 0))
            or (header.space_group < 401 and ".mrcs" in [suffix.lower() for suffix in path.suffixes])
        )
    )
    if image or stack:
        what = f"a stack of {sections} images of {columns} × {rows}" if stack else f"{columns} × {rows} × {sections}"
        found.error(
            "IN-24",
            f"{path.name} is {what}{'' if stack else ' voxels: an image, not a volume'}.",
            "A map is a volume.",
            "Send the reconstruction, not its particles or classes"
            + ("; if it is a volume, call it .mrc and set MZ to its sections." if stack else "."),
        )
        raise _Refused
    size = header.size if sections == header.sections else (columns, rows, sections)
    if min(size) < SMALLEST_AXIS or max(size) > LARGEST_AXIS:
        found.error(
            "IN-03",
            f"{path.name} is {grid_text(size)} voxels.",
            f"From {SMALLEST_AXIS} to {LARGEST_AXIS} voxels along each axis.",
            "Send the map on a grid of that size."
            + (" The header may be damaged." if max(size) > LARGEST_AXIS else ""),
        )
        if max(size) > LARGEST_AXIS:
            raise _Refused
    elif min(size) < SMALL_AXIS:
        found.warning(
            "IN-03",
            f"{path.name} is {grid_text(size)} voxels.",
            f"At least {SMALL_AXIS} along each axis, else few Fourier coefficients carry each number.",
            "Expect wide intervals and undecided checks; send the full box if this is a cut-out.",
        )
    if any(abs(angle - 90.0) > RIGHT_ANGLE_TOLERANCE or not math.isfinite(angle) for angle in header.angles):
        found.error(
            "IN-25",
            f"The cell of {path.name} has angles of {', '.join(f'{angle:.4g}°' for angle in header.angles)}.",
            "A single-particle map is on a grid with right angles.",
            "Send a single-particle map; if the angles are wrong, set them to 90° in the header.",
        )
    if size != header.sampling and min(header.voxel) > 0:
        found.information(
            "IN-30",
            f"{path.name} is {grid_text(size)} voxels, the sampling in its header is {grid_text(header.sampling)}.",
            "The whole box of the reconstruction.",
            f"The voxel size is the cell divided by the sampling, {_voxel_text(header.voxel)}; check it, since "
            "programs that cut maps often leave one of the two behind.",
        )
    if 1 < header.space_group < 401:
        found.information(
            "IN-25",
            f"{path.name} names space group {header.space_group}: it is a crystal's map.",
            "One isolated particle in solvent (space group 0 or 1).",
            "Read mask, background and mass with care: they assume an isolated particle.",
        )
    return sections


def _voxel_size(
    header: MapHeader, given: float | None, path: Path, found: ProblemList
) -> tuple[float, float, float] | None:
    """Voxel size along x, y, z, the user's before the header's."""
    stored = header.voxel
    if given is not None:
        far = [size for size in stored if size > 0 and abs(given - size) > SAME_SIZE * size]
        if far:
            found.warning(
                "IN-07",
                f"A pixel size of {given:.6g} Å was given; the header of {path.name} says {_voxel_text(stored)}.",
                "The same value within 0.1 %.",
                f"{given:.6g} Å is used along every axis; correct the header or the value given.",
            )
        voxel = (given, given, given)
    elif min(stored) <= 0:
        says = "carries no pixel size" if header.format == "EM" else f"has no usable voxel size (cell {header.cell} Å)"
        found.error(
            "IN-03",
            f"The header of {path.name} {says}.",
            "A voxel size in Å.",
            "Give it: --pixel-size on the command line, pixel_size in Python or in a description file.",
        )
        return None
    else:
        voxel = stored
    unset = given is None and all(size == 1.0 for size in voxel)
    if unset or min(voxel) < 0.2 or max(voxel) > 30:
        found.warning(
            "IN-26",
            f"The pixel size of {path.name} is {_voxel_text(voxel)}"
            + (", the value that programs write when it is unknown." if unset else "."),
            "A measured pixel size between 0.2 and 30 Å.",
            "Give the right one with --pixel-size if this is not it: every length and the resolution scale with it.",
        )
    return voxel


def _origin(
    header: MapHeader,
    voxel: tuple[float, float, float] | None,
    pixel_size_given: bool,
    path: Path,
    found: ProblemList,
) -> tuple[float, float, float]:
    """x, y, z in Å of voxel (0, 0, 0): ORIGIN where it is not zero, else NSTART times the voxel size."""
    start, origin = header.start, header.origin
    fields = []
    if not all(math.isfinite(value) and abs(value) < FARTHEST_BELIEVABLE for value in origin):
        fields.append(f"ORIGIN is ({', '.join(f'{value:.4g}' for value in origin)}) Å")
        origin = (0.0, 0.0, 0.0)
    if max(map(abs, start)) >= FARTHEST_BELIEVABLE:
        fields.append(f"NSTART is {start} voxels")
        start = (0, 0, 0)
    if fields:
        found.warning(
            "IN-06",
            f"In the header of {path.name}, {' and '.join(fields)}.",
            "A place near the particle.",
            "It was ignored; correct the header before an atomic model is compared.",
        )
    # Whether the header agrees with itself is asked in the header's own voxels.
    own = header.voxel if min(header.voxel) > 0 else voxel
    if any(origin) and any(start) and own is not None:
        placed = tuple(index * size for index, size in zip(start, own, strict=True))
        if any(abs(a - b) > 0.1 * size for a, b, size in zip(placed, origin, own, strict=True)):
            found.warning(
                "IN-06",
                f"{path.name} has ORIGIN ({', '.join(f'{value:.4g}' for value in origin)}) Å and NSTART {start} "
                f"voxels, which is ({', '.join(f'{value:.4g}' for value in placed)}) Å.",
                "One place for the map.",
                "ORIGIN is used; set the other to zero or to the same place.",
            )
    if any(origin) or voxel is None:
        return origin
    scale = voxel if pixel_size_given or min(header.voxel) <= 0 else header.voxel
    return (start[0] * scale[0], start[1] * scale[1], start[2] * scale[2])


def _voxel_text(voxel: tuple[float, float, float]) -> str:
    low, high = min(voxel), max(voxel)
    if high - low <= SAME_SIZE * low:
        return f"{voxel[0]:.6g} Å"
    return f"{' × '.join(f'{size:.5g}' for size in voxel)} Å"


# --- the voxels ----------------------------------------------------------------------------------------------


def _read_content(stream: ContentStream, header: MapHeader, sections: int, path: Path, found: ProblemList) -> _Content:
    """All voxels as float32 in the file's order, and their range, in one pass that also feeds the checksums."""
    wanted = header.offset + header.data_bytes
    if stream.most_content is not None and wanted > stream.most_content:
        _short(stream, wanted, header, path, found)
    grid = (sections, header.rows, header.columns)
    try:
        data = np.empty(grid, np.float32)
    except MemoryError:
        need = 4 * math.prod(grid) / 2**30
        found.error(
            "IN-22",
            f"{path.name} needs {need:.1f} GiB of memory, more than there is.",
            "A map that fits into memory.",
            "Use a machine with more memory, or send the map on a coarser grid.",
        )
        raise _Refused from None
    low, high, nan, infinite = math.inf, -math.inf, 0, 0
    try:
        gap = header.offset - stream.position
        if stream.skip(gap) < gap:
            _short(stream, wanted, header, path, found)
        # Whole rows at a time, so that rows of 4-bit numbers, which end on a byte, stay whole.
        flat = data.reshape(sections * header.rows, header.columns)
        row_bytes = header.section_bytes // header.rows
        rows_at_once = max(1, CHUNK // row_bytes)
        buffer = memoryview(bytearray(min(rows_at_once, len(flat)) * row_bytes))
        for first in range(0, len(flat), rows_at_once):
            target = flat[first : first + rows_at_once]
            part = buffer[: len(target) * row_bytes]
            if stream.fill(part) < len(part):
                _short(stream, wanted, header, path, found)
            _decode(part, header, target)
            bottom, top = float(target.min()), float(target.max())
            if not (math.isfinite(bottom) and math.isfinite(top)):
                here = int(np.isnan(target).sum())
                nan += here
                infinite += int((~np.isfinite(target)).sum()) - here
            low, high = min(low, bottom), max(high, top)
        _finish(stream, header, sections, path, found)
    except DAMAGED as error:
        _damaged(error, stream, path, found)
        raise _Refused from error
    return _Content(data, low, high, nan, infinite)


def _decode(part: memoryview, header: MapHeader, target: NDArray[np.float32]) -> None:
    """Stored numbers to float32, in place."""
    stored = np.frombuffer(part, header.dtype).reshape(len(target), -1)
    # What is no number, or too large for 32 bits, is counted afterwards.
    with np.errstate(invalid="ignore", over="ignore"):
        if header.four_bit:
            target[:, 0::2] = stored & 15
            target[:, 1::2] = (stored >> 4)[:, : target.shape[1] // 2]
        else:
            target[:] = stored


def _finish(stream: ContentStream, header: MapHeader, sections: int, path: Path, found: ProblemList) -> None:
    """Read to the end, for the checksums and to see that the file ends where its header says."""
    rest = header.section_bytes * (header.sections - sections)
    if stream.skip(rest) < rest:
        _short(stream, header.offset + header.data_bytes, header, path, found)
    trailing = stream.skip(MOST_TRAILING + 1 if stream.compression else None)
    if stream.compression and trailing > MOST_TRAILING:
        found.error(
            "IN-23",
            f"{path.name} unpacks to far more than the {grid_text(header.size)} voxels of its header.",
            "As many bytes as the header describes.",
            "Pack the map again, alone.",
        )
        raise _Refused
    if trailing:
        found.warning(
            "IN-23",
            f"{path.name} has {trailing} bytes after the last voxel that its header describes.",
            f"{header.offset + header.data_bytes} bytes in all.",
            "Check the box size in the header: the file may hold more than was read.",
        )


def _short(stream: ContentStream, wanted: int, header: MapHeader, path: Path, found: ProblemList) -> None:
    """Say that the content ends early, and refuse."""
    # Compressed and refused before reading: only the limit is known.
    there = stream.size if not stream.compression else stream.position
    amount = f"{there} bytes" if there > MRC_HEADER or not stream.compression else f"{stream.size} bytes packed"
    found.error(
        "IN-23",
        f"{path.name} is cut short: {amount} are there.",
        f"{wanted} bytes for {grid_text(header.size)} voxels, {header.mode}, and the header.",
        "Copy or download it again and compare the file sizes.",
    )
    raise _Refused


def _damaged(error: BaseException, stream: ContentStream, path: Path, found: ProblemList) -> None:
    what = f"the {stream.compression} data are damaged or cut short" if stream.compression else "it cannot be read"
    found.error(
        "IN-23",
        f"{path.name} stops after {stream.position} bytes of content: {what} ({error or type(error).__name__}).",
        "A file that unpacks to its end without an error.",
        "Copy or download it again.",
    )


def _check_values(content: _Content, path: Path, found: ProblemList) -> None:
    if content.nan or content.infinite:
        found.error(
            "IN-02",
            f"{path.name} holds {content.nan} NaN and {content.infinite} infinite voxels of {content.data.size}.",
            "A number in every voxel.",
            "Find the step that made them (a division by zero in a mask or a filter) and send the map before it.",
        )
    elif content.minimum == content.maximum:
        found.error(
            "IN-02",
            f"Every voxel of {path.name} is {content.minimum:.6g}.",
            "A density that varies.",
            "Check that this is the map and not an empty volume.",
        )


def _to_zyx(data: NDArray[np.float32], header: MapHeader, path: Path, found: ProblemList) -> NDArray[np.float32]:
    if header.axes == (2, 1, 0):
        return data
    letters = "xyz"
    order = ", ".join(letters[axis] for axis in reversed(header.axes))
    found.information(
        "IN-05",
        f"Columns, rows and sections of {path.name} run along {order}.",
        "x, y, z.",
        "The map was transposed on reading; nothing to do.",
    )
    return np.ascontiguousarray(data.transpose([header.axes.index(axis) for axis in (2, 1, 0)]))


def _to_cubes(
    data: NDArray[np.float32], voxel: tuple[float, float, float], path: Path, found: ProblemList
) -> tuple[NDArray[np.float32], float]:
    """The map on an isotropic grid, and its pixel size. voxel: x, y, z in Å."""
    finest, coarsest = min(voxel), max(voxel)
    if coarsest - finest <= SAME_SIZE * finest:
        # Rounding of the cell edges: the mean is the best estimate of the one size meant.
        return data, voxel[0] if len(set(voxel)) == 1 else math.fsum(voxel) / 3
    sizes = tuple(resampled_size(count, size, finest) for count, size in zip(data.shape, reversed(voxel), strict=True))
    too_large = max(sizes) > LARGEST_AXIS
    if coarsest > MOST_ANISOTROPIC * finest or too_large:
        found.error(
            "IN-04",
            f"The voxels of {path.name} are {_voxel_text(voxel)}"
            + (f"; on cubes the grid would be {grid_text((sizes[2], sizes[1], sizes[0]))}." if too_large else "."),
            "Cubes, or sizes within a factor of two of each other.",
            "Check the cell in the header; resample the map or give the one pixel size with --pixel-size.",
        )
        raise _Refused
    before = data.shape
    resampled = to_isotropic(data, (voxel[2], voxel[1], voxel[0]), finest)
    coarse = ", ".join(name for name, size in zip("xyz", voxel, strict=True) if size > finest * (1 + SAME_SIZE))
    found.warning(
        "IN-04",
        f"The voxels of {path.name} are {_voxel_text(voxel)} on a grid of {grid_text(before[::-1])}.",
        "Cubes: one pixel size along x, y and z.",
        f"It was resampled to {finest:.5g} Å, {grid_text(resampled.shape[::-1])} voxels; along {coarse} there is no "
        "signal near the new Nyquist frequency. Give --pixel-size if the voxels are cubes and the header is wrong.",
    )
    return resampled, finest
