"""Everything that can be said about an input, in one table: the documentation's page is made from it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from veritem.results import Problem, Severity

ERROR, WARNING, INFORMATION = Severity.ERROR, Severity.WARNING, Severity.INFORMATION


@dataclass(frozen=True)
class ProblemKind:
    """One row of the table.

    severities: those that it may have. explanation: what it means, for the documentation.
    """

    title: str
    severities: tuple[Severity, ...]
    explanation: str


# Codes are stable: one is never reused for another meaning. The gaps belong to inputs of higher levels.
PROBLEMS: dict[str, ProblemKind] = {
    "IN-01": ProblemKind(
        "The format is not known",
        (ERROR,),
        "The content decides, not the name. Maps are read as MRC2014, CCP4 or EM, plain or compressed with gzip, "
        "bzip2 or xz. An MRC header whose fields make no sense is refused here too.",
    ),
    "IN-02": ProblemKind(
        "The values cannot be used",
        (ERROR,),
        "Voxels that are NaN or infinite, a map with one single value, or complex or colour data. "
        "Veritem does not fill in missing voxels, because every statistic would depend on the filling.",
    ),
    "IN-03": ProblemKind(
        "The grid does not fit",
        (ERROR, WARNING),
        "Fewer than 8 or more than 2048 voxels along an axis, or no usable voxel size, are errors. "
        "Fewer than 32 voxels along an axis are a warning: the shells of Fourier space hold too few coefficients "
        "for tight intervals.",
    ),
    "IN-04": ProblemKind(
        "The voxels are not cubes",
        (ERROR, WARNING),
        "Voxel sizes that differ by more than 0.1 % are resampled to the finest of the three. The resampling is "
        "trigonometric, axis by axis: it keeps every Fourier coefficient of the original, while a spline would "
        "dampen the highest frequencies, which the checks measure. It treats the box as periodic, so a map that "
        "is cut through its density rings near the faces. Sizes that differ by more than a factor of two are "
        "refused.",
    ),
    "IN-05": ProblemKind(
        "The axes are stored in another order",
        (INFORMATION,),
        "The header's MAPC, MAPR and MAPS name another order than x, y, z. The map was transposed on reading.",
    ),
    "IN-06": ProblemKind(
        "The header's origin is doubtful",
        (WARNING,),
        "NSTART and ORIGIN both place the map and disagree, or a value is absurd. ORIGIN is used where it is not "
        "zero, else NSTART times the voxel size. Level 0 does not depend on it; a model that lies elsewhere does.",
    ),
    "IN-07": ProblemKind(
        "The pixel size given is not the header's",
        (WARNING,),
        "They differ by more than 0.1 %. The value given is used. An origin in Å stays; an origin in voxels "
        "(NSTART) is scaled.",
    ),
    "IN-08": ProblemKind(
        "The half maps are no pair",
        (ERROR,),
        "One half map without the other says nothing: what is measured is how far two independent ones agree.",
    ),
    "IN-09": ProblemKind(
        "The half maps are on another grid",
        (ERROR, WARNING),
        "The two half maps and the map have the same number of voxels along each axis; anything else is an error. "
        "Headers that give them different pixel sizes or origins are a warning: the map's are used for all three.",
    ),
    "IN-11": ProblemKind(
        "The contour level does not suit the map",
        (ERROR, WARNING),
        "A level outside the range of the map selects nothing or everything: an error. A level that selects less "
        "than 0.1 % or more than 60 % of the box is a warning: it is usually a level of another map, or one in "
        "standard deviations.",
    ),
    "IN-12": ProblemKind(
        "The reported resolution does not suit the map",
        (WARNING,),
        "Finer than twice the pixel size, which the grid cannot hold, or coarser than a quarter of the box.",
    ),
    "IN-22": ProblemKind(
        "The file cannot be opened",
        (ERROR,),
        "It does not exist, is not a regular file, is empty, may not be read, or needs more memory than there is.",
    ),
    "IN-23": ProblemKind(
        "The file's length is not the header's",
        (ERROR, WARNING),
        "A file that ends early, or a compressed file that is damaged, is an error: usually a transfer that "
        "stopped. Bytes after the last voxel are a warning.",
    ),
    "IN-24": ProblemKind(
        "The file is not one volume",
        (ERROR, INFORMATION),
        "An image or a stack of images is refused. From a stack of volumes (space group 401) the first is taken.",
    ),
    "IN-25": ProblemKind(
        "The map is of a crystal",
        (ERROR, INFORMATION),
        "A cell with angles other than 90° is refused. A space group other than P1 is an information: the checks "
        "assume one isolated particle in solvent, which a crystal is not.",
    ),
    "IN-26": ProblemKind(
        "The pixel size looks unset",
        (WARNING,),
        "Exactly 1 Å in the header, below 0.2 Å or above 30 Å. Every length in the report scales with it.",
    ),
    "IN-27": ProblemKind(
        "The header departs from the standard",
        (INFORMATION,),
        "No MAP word, a machine stamp that contradicts the bytes, cell angles of zero, a sampling of zero, or "
        "bytes without a sign. The map was read in the only way that makes sense, and how is said.",
    ),
    "IN-28": ProblemKind(
        "The description is not understood",
        (ERROR,),
        "An unknown key, a missing map, a value of the wrong kind or outside its range, a description file that "
        "is not TOML.",
    ),
    "IN-29": ProblemKind(
        "The molecular weight does not suit the map",
        (WARNING,),
        "The particle would not fit into the box at the density of protein, or weighs less than 1 kDa. Weights "
        "are in kDa.",
    ),
    "IN-30": ProblemKind(
        "The map is part of a larger grid",
        (INFORMATION,),
        "The header's sampling (MX, MY, MZ) is not the number of voxels. The voxel size is the cell divided by the "
        "sampling, as the standard says; a cut-out whose header was updated by half gets a wrong one.",
    ),
    "IN-31": ProblemKind(
        "The run may not fit into memory",
        (WARNING,),
        "What the checks need is predicted from the number of voxels and compared with the memory that is free. "
        "The run is tried all the same.",
    ),
    "IN-32": ProblemKind(
        "The map could not be drawn",
        (WARNING,),
        "The pictures of the input need a contour level and the part of the map above it. The checks go on without.",
    ),
    "IN-33": ProblemKind(
        "The map looks like a mask",
        (WARNING,),
        "Of the voxels above the lowest twentieth of the range of values, more than a fifth lie in the highest "
        "twentieth, as in a mask. A density has few voxels near its maximum. The checks run, and mean nothing.",
    ),
}


def printable(text: str) -> str:
    """The text with what no encoding can hold spelled out: file names may be any bytes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@dataclass
class ProblemList:
    """Collects what is found about one input."""

    field: str
    items: list[Problem] = dataclasses.field(default_factory=list)

    def add(self, code: str, severity: Severity, found: str, expected: str, action: str) -> Problem:
        if severity not in PROBLEMS[code].severities:
            raise ValueError(f"{code} is never of severity '{severity}'; add it to the table of problems.")
        problem = Problem(
            code=code,
            severity=severity,
            field=printable(self.field),
            found=printable(found),
            expected=printable(expected),
            action=printable(action),
        )
        self.items.append(problem)
        return problem

    def error(self, code: str, found: str, expected: str, action: str) -> Problem:
        return self.add(code, ERROR, found, expected, action)

    def warning(self, code: str, found: str, expected: str, action: str) -> Problem:
        return self.add(code, WARNING, found, expected, action)

    def information(self, code: str, found: str, expected: str, action: str) -> Problem:
        return self.add(code, INFORMATION, found, expected, action)

    @property
    def has_errors(self) -> bool:
        return any(problem.severity is ERROR for problem in self.items)


def summary(problems: tuple[Problem, ...]) -> str:
    """Every problem in one readable text, errors first."""
    errors = sum(problem.severity is ERROR for problem in problems)
    others = len(problems) - errors
    head = f"The submission cannot be used: {errors} error{'s' * (errors != 1)}"
    head += f" and {others} more remark{'s' * (others != 1)}." if others else "."
    order = list(Severity)
    lines = [
        f"  {problem.severity} {problem.code} ({problem.field}): {problem}"
        for problem in sorted(problems, key=lambda problem: order.index(problem.severity))
    ]
    return "\n".join([head, *lines])


def problems_page() -> str:
    """The documentation's page, in Markdown."""
    lines = [
        "# Problems with the input",
        "",
        "Veritem reads everything that was handed in, then reports every problem at once: what was found, what "
        "was expected, what to do. An **error** stops the run before anything is computed. A **warning** and an "
        "**information** stand in the report, beside the results that they may weaken.",
        "",
        "Codes are stable; numbers that are missing are reserved for inputs of higher levels.",
        "",
    ]
    for code, kind in PROBLEMS.items():
        lines += [f"## {code}: {kind.title}", "", f"*{', '.join(kind.severities)}*", "", kind.explanation, ""]
    return "\n".join(lines)
