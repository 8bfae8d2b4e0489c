"""What the first bytes of a map file say. Nothing here opens a file.

MRC2014: Cheng et al., J. Struct. Biol. 192 (2015) 146, doi:10.1016/j.jsb.2015.04.002. CCP4 differs in the meaning of
few fields. Bytes without a sign and mode 101 follow IMOD. EM is the format of the EM and TOM programs:
Hegerl, J. Struct. Biol. 116 (1996) 30, doi:10.1006/jsbi.1996.0006.

The header is parsed here, not by mrcfile or gemmi, so that one pass over the file gives checksums, values and
counts, whatever the compression, and so that nothing is allocated before the sizes are known to be sane. Both
libraries read the same files in the tests.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field

import numpy as np

MRC_HEADER, EM_HEADER = 1024, 512
# No axis of a real file is longer; a header that says so was read with the wrong byte order or is no header.
LONGEST_BELIEVABLE = 100_000
# Beyond this no field that places a map can be meant (Å or voxels).
FARTHEST_BELIEVABLE = 1e6

_IMOD_STAMP = 1146047817

# mode: numpy type code without byte order, and its name.
MRC_MODES = {
    0: ("i1", "8-bit"),
    1: ("i2", "16-bit integer"),
    2: ("f4", "32-bit float"),
    6: ("u2", "16-bit unsigned integer"),
    12: ("f2", "16-bit float"),
    101: ("u1", "4-bit"),
}
MRC_MODES_REFUSED = {3: "complex integers", 4: "complex numbers", 16: "colours"}
EM_TYPES = {1: ("i1", "8-bit"), 2: ("i2", "16-bit integer"), 4: ("i4", "32-bit integer"), 5: ("f4", "32-bit float"),
            9: ("f8", "64-bit float")}  # fmt: skip
# EM names the machine that wrote it: OS-9, VAX, Convex, SGI and Mac, PC.
_EM_BYTE_ORDER = {0: ">", 1: "<", 2: ">", 3: ">", 5: ">", 6: "<"}


class BadHeader(Exception):
    """The header is of a known format and makes no sense; the text says what was found."""


@dataclass(frozen=True)
class MapHeader:
    """A header in one shape for every format.

    format: MRC, EM. mode: how the numbers are stored, for people.
    dtype: of the numbers as stored; four_bit: two numbers to a byte, the low half first, rows padded to bytes.
    sections, rows, columns: the grid in the order of the file, slowest first.
    axes: for sections, rows, columns, the axis that each runs along: 0 is x, 1 is y, 2 is z.
    sampling: grid intervals along x, y, z of the cell. cell: edges along x, y, z in Å. angles: degrees.
    start: grid index of the first voxel along x, y, z. origin: x, y, z in Å, as the header's ORIGIN.
    space_group: 0 and 1 for single particles, 401 and more for stacks of volumes.
    offset: bytes before the first voxel. repairs: what was read against the letter of the header.
    """

    format: str
    mode: str
    dtype: np.dtype
    four_bit: bool
    sections: int
    rows: int
    columns: int
    axes: tuple[int, int, int]
    sampling: tuple[int, int, int]
    cell: tuple[float, float, float]
    angles: tuple[float, float, float]
    start: tuple[int, int, int]
    origin: tuple[float, float, float]
    space_group: int
    offset: int
    repairs: tuple[str, ...] = field(default=())

    @property
    def section_bytes(self) -> int:
        row = (self.columns + 1) // 2 if self.four_bit else self.columns * self.dtype.itemsize
        return row * self.rows

    @property
    def data_bytes(self) -> int:
        """Of everything, all volumes of a stack."""
        return self.section_bytes * self.sections

    @property
    def size(self) -> tuple[int, int, int]:
        """Voxels along x, y, z."""
        along = dict(zip(self.axes, (self.sections, self.rows, self.columns), strict=True))
        return along[0], along[1], along[2]

    @property
    def voxel(self) -> tuple[float, float, float]:
        """Voxel size along x, y, z in Å; not positive where the header gives none that can be meant."""
        sizes = [edge / count for edge, count in zip(self.cell, self.sampling, strict=True)]
        usable = all(math.isfinite(size) and 1e-3 < size < 1e4 for size in sizes)
        return _decimal(sizes[0], sizes[1], sizes[2]) if usable else (0.0, 0.0, 0.0)


def _decimal(x: float, y: float, z: float) -> tuple[float, float, float]:
    """What was meant by 32-bit numbers: their seven significant digits, 5.7 and not 5.69999981."""
    return float(f"{x:.7g}"), float(f"{y:.7g}"), float(f"{z:.7g}")


def parse_header(start: bytes) -> MapHeader | None:
    """Read a header from the first 1024 bytes of the content (fewer where the content is shorter).

    Returns None when they are of no map format. Raises BadHeader when they claim to be and cannot.
    """
    if len(start) >= MRC_HEADER:
        header = _mrc(start)
        if header:
            return header
    return _em(start) if len(start) >= EM_HEADER else None


def _mrc(start: bytes) -> MapHeader | None:
    has_word = start[208:211] == b"MAP"
    fits = [order for order in "<>" if _mrc_believable(start, order, strict=not has_word)]
    if not fits:
        if not has_word:
            return None
        shown = []
        for name, order in (("little", "<"), ("big", ">")):
            columns, rows, sections, mode = struct.unpack_from(order + "4i", start)
            axes = struct.unpack_from(order + "3i", start, 64)
            shown.append(f"{name}-endian: {columns} × {rows} × {sections}, mode {mode}, axes {axes}")
        raise BadHeader("; ".join(shown))
    order = fits[0]
    ints = struct.unpack(order + "256i", start[:MRC_HEADER])
    floats = struct.unpack(order + "256f", start[:MRC_HEADER])
    columns, rows, sections, mode = ints[:4]
    if mode in MRC_MODES_REFUSED:
        raise BadHeader(f"mode {mode} ({MRC_MODES_REFUSED[mode]})")
    repairs = []
    if not has_word:
        repairs.append("the word MAP is missing")
    stamp = {0x44: "<", 0x11: ">"}.get(start[212])
    if stamp and stamp != order:
        repairs.append("the machine stamp names the other byte order")
    axis_words = ints[16:19]
    if axis_words == (0, 0, 0):
        axis_words = (1, 2, 3)
        repairs.append("MAPC, MAPR and MAPS are zero and taken as 1, 2, 3")
    axes = (axis_words[2] - 1, axis_words[1] - 1, axis_words[0] - 1)
    along = dict(zip(axes, (sections, rows, columns), strict=True))
    # NSTART goes with columns, rows, sections; sampling, cell and ORIGIN go with x, y, z.
    started = dict(zip(axes, (ints[6], ints[5], ints[4]), strict=True))
    sampling = [ints[7], ints[8], ints[9]]
    for axis, name in enumerate("XYZ"):
        if sampling[axis] <= 0:
            repairs.append(f"M{name} is {sampling[axis]} and taken as {along[axis]}, the voxels along it")
            sampling[axis] = along[axis]
    angles = floats[13:16]
    if angles == (0.0, 0.0, 0.0):
        angles = (90.0, 90.0, 90.0)
        repairs.append("the cell angles are zero and taken as 90°")
    code, name = MRC_MODES[mode]
    if mode == 0:
        code, name, why = _byte_sign(ints, floats)
        if why:
            repairs.append(why)
    extended = ints[23]
    if extended < 0:
        raise BadHeader(f"an extended header of {extended} bytes")
    return MapHeader(
        format="MRC",
        mode=f"mode {mode} ({name})",
        dtype=np.dtype(order + code),
        four_bit=mode == 101,
        sections=sections,
        rows=rows,
        columns=columns,
        axes=axes,
        sampling=(sampling[0], sampling[1], sampling[2]),
        cell=(floats[10], floats[11], floats[12]),
        angles=angles,
        start=(started[0], started[1], started[2]),
        origin=_decimal(floats[49], floats[50], floats[51]),
        space_group=ints[22],
        offset=MRC_HEADER + extended,
        repairs=tuple(repairs),
    )


def _mrc_believable(start: bytes, order: str, strict: bool) -> bool:
    """Whether the fields make sense in this byte order; `strict` asks for a stated axis order too."""
    columns, rows, sections, mode = struct.unpack_from(order + "4i", start)
    axes = struct.unpack_from(order + "3i", start, 64)
    return (
        all(1 <= count <= LONGEST_BELIEVABLE for count in (columns, rows, sections))
        and (mode in MRC_MODES or mode in MRC_MODES_REFUSED)
        and (sorted(axes) == [1, 2, 3] or (not strict and axes == (0, 0, 0)))
    )


def _byte_sign(ints: tuple[int, ...], floats: tuple[float, ...]) -> tuple[str, str, str]:
    """Whether mode 0 holds signed bytes, as the standard says, or unsigned ones, as many files do."""
    if ints[38] == _IMOD_STAMP:
        # Bit 0 of IMOD's flags says signed.
        if ints[39] & 1:
            return "i1", "8-bit signed", ""
        return "u1", "8-bit unsigned", "IMOD's flags say that the bytes have no sign"
    if floats[19] >= 0 and 127 < floats[20] <= 255:
        return "u1", "8-bit unsigned", "the header's maximum is above 127, so the bytes have no sign"
    return "i1", "8-bit signed", ""


def _em(start: bytes) -> MapHeader | None:
    order = _EM_BYTE_ORDER.get(start[0])
    stored = EM_TYPES.get(start[3])
    if order is None or stored is None:
        return None
    columns, rows, sections = struct.unpack_from(order + "3i", start, 4)
    if not all(1 <= count <= LONGEST_BELIEVABLE for count in (columns, rows, sections)):
        return None
    # The rest of an EM header is free text and numbers whose units differ between programs: no pixel size is
    # taken from it.
    return MapHeader(
        format="EM",
        mode=stored[1],
        dtype=np.dtype(order + stored[0]),
        four_bit=False,
        sections=sections,
        rows=rows,
        columns=columns,
        axes=(2, 1, 0),
        sampling=(columns, rows, sections),
        cell=(0.0, 0.0, 0.0),
        angles=(90.0, 90.0, 90.0),
        start=(0, 0, 0),
        origin=(0.0, 0.0, 0.0),
        space_group=1,
        offset=EM_HEADER,
    )


def guess_content(start: bytes) -> str:
    """What a file that is no map seems to be, for the message."""
    magic = (
        (b"\x89HDF", "an HDF5 file"),
        (b"\x93NUMPY", "a NumPy array"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
        (b"\x89PNG", "a PNG picture"),
        (b"\xff\xd8\xff", "a JPEG picture"),
        (b"II*\x00", "a TIFF picture"),
        (b"MM\x00*", "a TIFF picture"),
        (b"%PDF", "a PDF document"),
    )
    for marker, name in magic:
        if start.startswith(marker):
            return name
    if start[257:262] == b"ustar":
        return "a tar archive"
    try:
        # The cut at a fixed length may fall inside a character; what is left over is not an error.
        text = start[:1000].decode("utf-8", "strict" if len(start) < 1000 else "ignore")
    except UnicodeDecodeError:
        return "binary data of an unknown kind"
    if any(ord(character) < 32 and character not in "\t\r\n\f" for character in text) or not text.strip():
        return "binary data of an unknown kind"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if any(line.startswith(("HEADER ", "CRYST1", "HELIX  ", "SHEET  ", "ATOM  ", "HETATM")) for line in lines):
        return "an atomic model (PDB)"
    if any(line.startswith("data_") for line in lines[:20]):
        cif = "_atom_site" in text or "_entry.id" in text
        return "an atomic model (mmCIF)" if cif else "a STAR or CIF table"
    if lines[0].lower().startswith(("<!doctype html", "<html")):
        return "a web page, perhaps an error page saved in place of the map"
    if lines[0].startswith("<"):
        return "an XML document"
    if "version https://git-lfs" in lines[0]:
        return "a Git LFS pointer, not the file that it points to"
    return "text"
