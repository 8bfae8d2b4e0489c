"""What a validation found, typed: the contract between the checks, the report and everyone who reads results.json.

Every number that a report shows is in here. Arrays (images, volumes) live beside it in `data/*.npz` and are named by
the figure that shows them.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = "veritem-results/1"


class Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


class Outcome(StrEnum):
    """How a check, or one of its criteria, came out."""

    PASS = "pass"
    WARNING = "warning"
    INCONCLUSIVE = "inconclusive"
    NOT_APPLICABLE = "not applicable"
    FAILED = "failed"


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    INFORMATION = "information"


class Problem(Record):
    """Something about the input: what was found, what was expected, what to do."""

    code: str = Field(description="IN-01 ... ; stable, documented")
    severity: Severity
    field: str = Field(description="the input it is about, as the user named it: map, contour_level, ...")
    found: str
    expected: str
    action: str

    def __str__(self) -> str:
        return f"{self.found} {self.expected} {self.action}"


class InputFile(Record):
    """One file as it was received."""

    role: str
    name: str
    size: int = Field(description="bytes as received")
    sha256: str = Field(description="of the file as received")
    sha256_content: str = Field(description="of the decompressed content; equal to sha256 when not compressed")
    description: str = Field(description="one line: box, pixel size, mode, origin, value range")
    path: str = Field(default="", description="where the file was, relative to the report's folder")


class Reference(Record):
    text: str
    doi: str | None = None

    @property
    def url(self) -> str | None:
        return f"https://doi.org/{self.doi}" if self.doi else None


class Quantity(Record):
    """A measured value with its unit and, where one can be had, its interval."""

    label: str
    value: bool | int | float | str | None
    unit: str = ""
    interval: tuple[float, float] | None = None
    confidence: float | None = Field(default=None, description="of the interval, e.g. 0.95")
    digits: int = Field(default=3, description="significant digits worth showing")
    note: str = ""
    estimates: Literal["", "resolution"] = Field(
        default="", description="what this is one estimate of, among others that are shown beside it"
    )

    def text(self) -> str:
        """The value as a person reads it, e.g. '-92 Å² (95 % interval -101 to -83)'."""
        if self.value is None:
            return "not determinable"
        if isinstance(self.value, bool):
            return "yes" if self.value else "no"
        shown = format_number(self.value, self.digits) if isinstance(self.value, int | float) else str(self.value)
        unit = f" {self.unit}" if self.unit else ""
        if self.interval is None:
            return f"{shown}{unit}"
        low, high = (format_number(bound, self.digits) for bound in self.interval)
        level = f"{100 * self.confidence:g} % " if self.confidence else ""
        return f"{shown}{unit} ({level}interval {low} to {high})"


def format_number(value: float | int, digits: int = 3) -> str:
    """A number for people: thin-spaced thousands, no needless exponent, a true minus sign."""
    if isinstance(value, int) or (float(value).is_integer() and abs(value) >= 10**digits and abs(value) < 1e15):
        text = f"{int(value):,}".replace(",", "\u202f")
    else:
        text = f"{value:#.{digits}g}"
        if "e" in text:
            mantissa, exponent = text.split("e")
            if -3 <= int(exponent) < 9:
                text = f"{float(text):,.0f}".replace(",", "\u202f")
            else:
                text = f"{mantissa.rstrip('.')}×10^{int(exponent)}"
        else:
            text = text.rstrip(".")
    return text.replace("-", "\u2212")


class CriterionResult(Record):
    """One judged criterion: the sentence, the limit, what was observed and how it came out."""

    quantity: str = Field(description="key of the quantity in the check's quantities")
    text: str = Field(description="the criterion in words, e.g. 'Free space is at least 20 Å'")
    observed: str
    limit: str
    outcome: Outcome
    because: str = Field(description="why this limit")
    warning: str = Field(default="", description="the sentence of a warning, with its evidence")
    causes: tuple[str, ...] = Field(default=(), description="most probable causes, the likeliest first")
    advice: str = ""


class Column(Record):
    label: str
    unit: str = ""


class Table(Record):
    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[bool | int | float | str | None, ...], ...]
    caption: str = ""


# --- figures, described as data ------------------------------------------------------------------------------


class Series(Record):
    """One curve. `low`/`high` are the limits of a band around it."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    style: Literal["line", "dashed", "points", "step"] = "line"
    role: Literal["data", "model", "expected", "corrected", "other"] = Field(
        default="data", description="gives the colour, the same in every figure"
    )


class Marker(Record):
    """A vertical or horizontal line with a name, or a shaded span when `end` is given."""

    axis: Literal["x", "y"]
    value: float
    end: float | None = None
    label: str = ""
    role: Literal["limit", "reported", "note"] = "note"


class _Figure(Record):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, ser_json_inf_nan="constants")

    key: str = Field(description="unique within the check")
    title: str
    caption: str = Field(description="what is seen and how to read it, without a manual")
    alt_text: str
    arrays: dict[str, Any] = Field(default_factory=dict, exclude=True, repr=False, description="in memory only")
    data_file: str | None = Field(default=None, description="npz in the report folder; arrays as 'figure key/name'")


class CurveFigure(_Figure):
    kind: Literal["curves"] = "curves"
    series: tuple[Series, ...]
    x_label: str
    y_label: str
    x_scale: Literal["linear", "log", "inverse", "inverse_square"] = Field(
        default="linear",
        description="inverse: x is 1/Å and ticks also show Å; inverse_square: x is 1/Å² and ticks also show Å",
    )
    y_scale: Literal["linear", "log", "symlog"] = "linear"
    markers: tuple[Marker, ...] = ()


class HistogramFigure(_Figure):
    kind: Literal["histogram"] = "histogram"
    edges: tuple[float, ...]
    counts: tuple[float, ...]
    expected: tuple[Series, ...] = Field(default=(), description="in the units of counts")
    x_label: str
    y_label: str = "voxels"
    y_scale: Literal["linear", "log"] = "linear"
    markers: tuple[Marker, ...] = ()


class Panel(Record):
    """One image. `image`, `outline` and `overlay` name arrays of the figure (2-D).

    Rows are drawn upwards: row 0 lies at the bottom, as y does in the pictures of surfaces.
    """

    label: str
    image: str
    outline: str | None = Field(default=None, description="boolean mask drawn as a contour line")
    palette: str = Field(default="gray", description="a matplotlib palette")
    limits: tuple[float, float] | None = Field(default=None, description="of the palette; else 1-99 % of the image")
    show_key: bool = False


class ImageFigure(_Figure):
    kind: Literal["images"] = "images"
    panels: tuple[Panel, ...]
    pixel_size: float = Field(description="Å per pixel of every panel; gives the scale bar")
    length_unit: str = Field(default="Å", description="of pixel_size, where it is another; empty: no scale bar")
    value_label: str = ""
    columns: int = 3


class SurfaceFigure(_Figure):
    """Still 3-D views of an iso-surface, coloured by a second volume when there is one.

    arrays: `volume` (z, y, x) float; optional `colour` on the same grid, NaN where not determinable (drawn grey).
    """

    kind: Literal["surface"] = "surface"
    level: float
    pixel_size: float
    length_unit: str = Field(default="Å", description="of pixel_size, where it is another; empty: no scale bar")
    colour_label: str = ""
    colour_limits: tuple[float, float] | None = None
    palette: str = "viridis"


class IntervalRow(Record):
    """One estimate among several of the same thing."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    role: Literal["data", "model", "expected", "corrected", "other"] = "data"


class IntervalFigure(_Figure):
    """Estimates of one thing below each other, each with its interval."""

    kind: Literal["intervals"] = "intervals"
    rows: tuple[IntervalRow, ...]
    x_label: str
    markers: tuple[Marker, ...] = Field(default=(), description="on x")


Figure = Annotated[
    CurveFigure | HistogramFigure | ImageFigure | SurfaceFigure | IntervalFigure, Field(discriminator="kind")
]


class DerivedMap(Record):
    """A volume that a check wrote as MRC beside the report, ready to open in ChimeraX."""

    key: str
    label: str
    file: str
    unit: str = ""
    description: str
    colours_map: bool = Field(default=False, description="true: meant to colour the submitted map's surface")
    colour_limits: tuple[float, float] | None = None
    palette: str = "viridis"


# --- one check, and all of them ------------------------------------------------------------------------------


class CheckResult(Record):
    code: str
    title: str
    level: str
    question: str
    outcome: Outcome
    reason: str = Field(default="", description="why not applicable, inconclusive or failed")
    summary: str = Field(default="", description="the answer in one or two plain sentences")
    quantities: dict[str, Quantity] = {}
    criteria: tuple[CriterionResult, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    maps: tuple[DerivedMap, ...] = ()
    method: str = Field(default="", description="how it is measured, one paragraph")
    misleads: str = Field(default="", description="when not to trust the answer")
    references: tuple[Reference, ...] = ()
    caveats: tuple[str, ...] = Field(default=(), description="what weakens this particular answer")
    error: str = Field(default="", description="type and text of the error of a failed check")
    parameters: dict[str, Any] = {}
    seed: int | None = None
    seconds: float = 0.0
    peak_memory_mb: float = 0.0
    started: datetime | None = None
    fingerprint: str = Field(default="", description="hash of inputs, parameters and code: same hash, same result")
    false_alarm_rate: float | None = Field(
        default=None, description="measured share of sound maps on which this check warns; None where not measured"
    )

    @property
    def warnings(self) -> tuple[CriterionResult, ...]:
        return tuple(c for c in self.criteria if c.outcome is Outcome.WARNING)


class Score(Record):
    """passed / evaluable, beside what could not be evaluated. A failure stays in the denominator."""

    passed: int
    warned: int
    inconclusive: int
    failed: int
    not_applicable: int

    @property
    def evaluable(self) -> int:
        """The checks that should have given an answer: passed, warned, inconclusive or failed."""
        return self.passed + self.warned + self.inconclusive + self.failed

    @property
    def applicable_text(self) -> str:
        return f"{self.passed} of {self.evaluable}"


def score(checks: tuple[CheckResult, ...]) -> Score:
    """Count outcomes. A crash counts as evaluable and not passed, so it can never improve a score."""
    count = {outcome: sum(c.outcome is outcome for c in checks) for outcome in Outcome}
    return Score(
        passed=count[Outcome.PASS],
        warned=count[Outcome.WARNING],
        inconclusive=count[Outcome.INCONCLUSIVE],
        failed=count[Outcome.FAILED],
        not_applicable=count[Outcome.NOT_APPLICABLE],
    )


class LevelSummary(Record):
    level: str
    title: str
    reached: bool
    missing: tuple[str, ...] = Field(default=(), description="inputs that would reach it")


class Scene(Record):
    """The small volumes behind the interactive view: the map, and what can colour it, on one grid (<= 128 an axis).

    data_file: npz with `map` and one array per key of `colourings`, (z, y, x) float32, NaN where not determinable.
    """

    data_file: str
    pixel_size: float
    origin: tuple[float, float, float] = Field(description="x, y, z in Å of voxel (0, 0, 0)")
    level: float
    colourings: tuple[DerivedMap, ...] = ()


class Provenance(Record):
    """Everything needed to run it again."""

    veritem_version: str
    code_sha256: str
    python: str
    platform: str
    packages: dict[str, str]
    device: str
    threads: int
    command: str
    seed: int
    started: datetime
    seconds: float
    peak_memory_mb: float


class Comparison(Record):
    """Estimates of one thing by several checks, beside each other and never averaged."""

    key: str
    title: str
    text: str
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()


class ValidationResult(Record):
    """The whole answer: results.json is this, and the report shows nothing else."""

    schema_version: str = SCHEMA_VERSION
    title: str
    inputs: tuple[InputFile, ...]
    parameters: dict[str, Any] = Field(description="what the user said or Veritem estimated, with its source")
    problems: tuple[Problem, ...] = ()
    levels: tuple[LevelSummary, ...]
    overview: tuple[Figure, ...] = Field(default=(), description="the input, seen: slices, projections, surface")
    facts: dict[str, Quantity] = Field(default={}, description="the input in numbers: box, pixel size, levels, mass")
    checks: tuple[CheckResult, ...]
    comparisons: tuple[Comparison, ...] = ()
    scene: Scene | None = None
    provenance: Provenance

    @property
    def score(self) -> Score:
        return score(self.checks)

    @property
    def grade(self) -> str:
        """The levels that were reached, e.g. '0' or '1 A'."""
        return " ".join(level.level for level in self.levels if level.reached)

    def check(self, code: str) -> CheckResult:
        """One check's result by its code. Raises KeyError when it was not part of the run."""
        for result in self.checks:
            if result.code == code:
                return result
        raise KeyError(code)
