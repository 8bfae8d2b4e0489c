"""What the report says, before it is laid out: the same words for HTML, PDF and terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from veritem.results import (
    CheckResult,
    CriterionResult,
    Outcome,
    Problem,
    Quantity,
    Severity,
    ValidationResult,
    format_number,
)


@dataclass(frozen=True)
class OutcomeStyle:
    """How an outcome is shown. A symbol stands beside every colour, so that no meaning hangs on colour alone.

    label: in the badge. meaning: for the key. light, dark: colours of text on a white and on a dark page, chosen
    so that each has a contrast of at least 4.5 and that they differ in lightness or hue for the colour-blind.
    """

    key: str
    symbol: str
    label: str
    meaning: str
    light: str
    dark: str
    terminal: str


STYLES: dict[Outcome, OutcomeStyle] = {
    Outcome.PASS: OutcomeStyle("pass", "✓", "Pass", "every criterion is met", "#00695f", "#5cc8b8", "green"),
    Outcome.WARNING: OutcomeStyle(
        "warning", "!", "Warning", "at least one criterion is not met", "#a83a00", "#ff9d66", "bold yellow"
    ),
    Outcome.INCONCLUSIVE: OutcomeStyle(
        "inconclusive",
        "?",
        "Inconclusive",
        "the data cannot tell; neither a pass nor a warning would be honest",
        "#5b3fa0",
        "#b9a3f5",
        "magenta",
    ),
    Outcome.FAILED: OutcomeStyle(
        "failed",
        "×",
        "Failed to run",
        "the check itself broke; this says nothing about the map",
        "#8c0d3c",
        "#ff8fb1",
        "bold red",
    ),
    Outcome.NOT_APPLICABLE: OutcomeStyle(
        "not-applicable",
        "–",
        "Not applicable",
        "the submission gives no ground for it",
        "#525d69",
        "#a5b0bc",
        "dim",
    ),
}


@dataclass(frozen=True)
class Sentence:
    """A sentence of the verdict; anchor: the section where its evidence stands."""

    text: str
    anchor: str = ""
    link_text: str = ""


@dataclass(frozen=True)
class Warning:
    """One criterion that is not met, with the check it belongs to."""

    check: CheckResult
    criterion: CriterionResult


@dataclass(frozen=True)
class Parameter:
    name: str
    value: str
    source: str = ""


def anchor(check: CheckResult) -> str:
    return "check-" + re.sub(r"[^A-Za-z0-9]+", "-", check.code).strip("-").lower()


# What is wrong with the half maps undoes what they show, and that outweighs what one map shows.
_WEIGHT = {"F": 0, "1": 1}


def warnings(result: ValidationResult) -> tuple[Warning, ...]:
    """Every warning, the gravest first: of what was deposited, of the half maps, then in the order of the checks."""
    checks = sorted(result.checks, key=lambda check: _WEIGHT.get(check.level, len(_WEIGHT)))
    return tuple(Warning(check, criterion) for check in checks for criterion in check.warnings)


def input_warnings(result: ValidationResult) -> tuple[Problem, ...]:
    """What the input itself gives reason to doubt."""
    return tuple(p for p in result.problems if p.severity is not Severity.INFORMATION)


def remarks(result: ValidationResult) -> tuple[Problem, ...]:
    """What was noticed about the input and changes nothing."""
    return tuple(p for p in result.problems if p.severity is Severity.INFORMATION)


def with_outcome(result: ValidationResult, outcome: Outcome) -> tuple[CheckResult, ...]:
    return tuple(check for check in result.checks if check.outcome is outcome)


def evaluated(result: ValidationResult) -> tuple[CheckResult, ...]:
    """The checks that get a section: all but those that do not apply."""
    return tuple(check for check in result.checks if check.outcome is not Outcome.NOT_APPLICABLE)


def counted(n: int, singular: str, plural: str = "") -> str:
    words = (
        "no",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
    )
    number = words[n] if n < len(words) else str(n)
    return f"{number} {singular if n == 1 else plural or singular + 's'}"


def _sentence(text: str) -> str:
    """The first sentence of a text, with its full stop."""
    first = re.split(r"(?<=[.!?])\s+(?=[A-Z“(])", text.strip(), maxsplit=1)[0]
    return first if first.endswith((".", "!", "?")) else first + "."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _small(text: str) -> str:
    return text[:1].lower() + text[1:]


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def verdict(result: ValidationResult) -> tuple[Sentence, ...]:
    """The answer in at most six plain sentences; each says no more than the criterion behind it."""
    score = result.score
    if score.evaluable == 0:
        opening = "None of the checks could be evaluated on this submission, so nothing can be said of the map."
        return (_opening(result, opening), *_missing_levels(result))
    parts = []
    if score.passed:
        parts.append(f"{counted(score.passed, 'passes', 'pass')}")
    if score.warned:
        parts.append(f"{counted(score.warned, 'warns', 'warn')}")
    if score.inconclusive:
        parts.append(f"{counted(score.inconclusive, 'is', 'are')} inconclusive")
    if score.failed:
        parts.append(f"{counted(score.failed, 'failed', 'failed')} to run")
    opening = f"Of {counted(score.evaluable, 'check')} that could be evaluated, {_listed(parts)}."
    if score.passed == score.evaluable:
        many = f"All {counted(score.evaluable, 'check')} that could be evaluated pass."
        opening = many if score.evaluable > 1 else "The one check that could be evaluated passes."
    sentences = [_opening(result, opening)]
    found = warnings(result)
    shown = found[:3] if len(found) <= 3 else found[:2]
    for warning in shown:
        text = warning.criterion.warning or f"{warning.criterion.text}: {warning.criterion.observed}."
        sentences.append(Sentence(_sentence(text), anchor(warning.check), warning.check.code))
    if len(found) > len(shown):
        rest = len(found) - len(shown)
        sentences.append(
            Sentence(
                _capital(f"{counted(rest, 'further warning')} follow{'s' if rest == 1 else ''} below."),
                "warnings",
                "all warnings",
            )
        )
    if not found:
        sentences.append(
            Sentence(
                "No check warns; what they do not look for they cannot exclude."
                if score.failed or score.inconclusive
                else "Nothing that these checks look for was found; what they do not look for they cannot exclude."
            )
        )
    if score.failed:
        names = _listed([f"{c.code} ({c.title})" for c in with_outcome(result, Outcome.FAILED)])
        sentences.append(
            Sentence(f"{names} broke while running, which says nothing about the map and counts as not passed.")
        )
    elif score.inconclusive:
        names = _listed([f"{c.code} ({c.title})" for c in with_outcome(result, Outcome.INCONCLUSIVE)])
        sentences.append(Sentence(f"{names}: the data cannot tell."))
    return (*sentences, *_missing_levels(result))[:6]


def _opening(result: ValidationResult, text: str) -> Sentence:
    """The first sentence, which also says when the input itself is in doubt."""
    n = len(input_warnings(result))
    if not n:
        return Sentence(text)
    return Sentence(f"{text[:-1]}; the input itself raises {counted(n, 'warning')}.", "warnings", "warnings")


def _missing_levels(result: ValidationResult) -> tuple[Sentence, ...]:
    missing = [level for level in result.levels if not level.reached and level.missing]
    if not missing:
        return ()
    first = missing[0]
    return (
        Sentence(
            f"Not asked at all, for want of {_listed(list(first.missing))}: {_small(first.title)}.",
            "levels",
            "levels",
        ),
    )


def outcome_counts(result: ValidationResult, level: str | None = None) -> tuple[tuple[Outcome, int], ...]:
    """How often each outcome came, the outcomes that did not come left out; of one level when it is named."""
    checks = [c for c in result.checks if level is None or c.level == level]
    counts = ((outcome, sum(c.outcome is outcome for c in checks)) for outcome in STYLES)
    return tuple((outcome, n) for outcome, n in counts if n)


def key_facts(result: ValidationResult) -> tuple[Quantity, ...]:
    """The handful of numbers for the front page."""
    wanted = ("box", "pixel_size", "contour_level", "enclosed_mass")
    facts = [result.facts[name] for name in wanted if name in result.facts]
    resolution = result.parameters.get("reported_resolution")
    if isinstance(resolution, int | float):
        facts.append(Quantity(label="Reported resolution", value=resolution, unit="Å"))
    return tuple(facts)


def answer(check: CheckResult) -> str:
    """The answer in a few words: the summary, or why there is none."""
    if check.outcome is Outcome.FAILED:
        return "The check itself failed; this says nothing about the map."
    return check.summary or _capital(check.reason)


def short_answer(check: CheckResult) -> str:
    """The first sentence of the answer."""
    full = answer(check)
    return _sentence(full) if full else ""


def score_explanation(result: ValidationResult) -> str:
    """What the score counts and what it does not."""
    score = result.score
    text = (
        f"The score is the number of checks passed over the number that should have given an answer "
        f"({score.passed} passed, {score.warned} warned, {score.inconclusive} inconclusive, {score.failed} failed "
        f"to run)."
    )
    if score.not_applicable:
        text += (
            f" {_capital(counted(score.not_applicable, 'check'))} that this submission gives no ground for "
            f"{'is' if score.not_applicable == 1 else 'are'} not counted."
        )
    return text + " It counts checks; it does not weigh them, and it is no mark for the map."


def false_alarms(result: ValidationResult) -> str:
    """How many warnings a sound map would be expected to raise, as far as that has been measured."""
    judged = [c for c in result.checks if c.outcome in (Outcome.PASS, Outcome.WARNING, Outcome.INCONCLUSIVE)]
    known = [c.false_alarm_rate for c in judged if c.false_alarm_rate is not None]
    if not judged:
        return ""
    if not known:
        return (
            "How often these checks warn on a sound map has not been measured for this version, so a single warning "
            "should be read with its evidence."
        )
    expected = format_number(sum(known), 2)
    coverage = (
        "these checks" if len(known) == len(judged) else f"the {len(known)} of {len(judged)} checks measured so far"
    )
    return f"On a sound map {coverage} raise {expected} false warnings on average."


def parameters(result: ValidationResult) -> tuple[Parameter, ...]:
    """What the user said or Veritem estimated, with its source."""
    rows = []
    for name, value in result.parameters.items():
        source = ""
        if isinstance(value, dict) and "value" in value:
            source = _source(str(value.get("source") or ""), str(value.get("method") or ""))
            value = value["value"]
        text = plain(value)
        if name == "reported_resolution" and value is not None:
            text += " Å"
        if name == "symmetry" and value == "C1":
            # The default and a C1 that was given are stored alike.
            text += " (assumed unless given)"
        rows.append(Parameter(readable(name), text, source))
    return tuple(rows)


def _source(source: str, method: str) -> str:
    """Where a value comes from, and how: 'given', 'estimated from the noise', 'none: the map is constant'."""
    if source == "given" or not method:
        return source
    return method if method.startswith(source) else f"{source}: {method}"


def readable(name: str) -> str:
    """A parameter's name for people: 'molecular_weight_kda' becomes 'Molecular weight (kDa)'."""
    for suffix, unit in (("_kda", "kDa"), ("_mm", "mm"), ("_kv", "kV"), ("_mb", "MB")):
        if name.endswith(suffix):
            return f"{_capital(name[: -len(suffix)].replace('_', ' '))} ({unit})"
    return _capital(name.replace("_", " "))


def plain(value: Any) -> str:
    """A parameter or a table cell as text."""
    if value is None:
        return "not given"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return format_number(value)
    if isinstance(value, float):
        return f"{value:.5g}".replace("-", "\u2212")
    if isinstance(value, list | tuple):
        return ", ".join(plain(item) for item in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(item)}" for key, item in value.items()) or "none"
    return str(value)


def cell(value: Any) -> str:
    """A table cell; an en dash where there is nothing."""
    if value is None:
        return "–"
    if not isinstance(value, float):
        return plain(value)
    text = format_number(value, 4)
    # Zeros at the end would claim digits that nobody counted.
    return text.rstrip("0").rstrip(".") if "." in text and "×" not in text else text


_RAISED = str.maketrans("0123456789\u2212-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁻")


def raised(text: str) -> str:
    """Powers of ten with raised exponents: '2.8×10^−6' becomes '2.8×10⁻⁶'."""
    return re.sub(r"(?<=×10)\^([\u2212-]?\d+)", lambda m: m[1].translate(_RAISED), text)


def tied(text: str) -> str:
    """A number and its unit, with a space between them at which no line ends."""
    return re.sub(r"(?<=[\d⁰¹²³⁴⁵⁶⁷⁸⁹]) (?=(?:Å|%|σ|µm|kDa|GB|MB|kB|s|min|1/Å)(?:[^\w]|$|[²³]))", "\u00a0", text)


def severity_symbol(severity: Severity) -> str:
    return {Severity.ERROR: "×", Severity.WARNING: "!", Severity.INFORMATION: "i"}[severity]


def size_text(size: int) -> str:
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"


def memory(megabytes: float) -> str:
    return f"{megabytes / 1024:.1f} GB" if megabytes >= 1024 else f"{megabytes:.0f} MB"


def threads(n: int) -> str:
    return f"{n} thread" if n == 1 else f"{n} threads"


def percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def date_text(moment: datetime) -> str:
    """Day, month in letters, year and time, in words that no locale changes."""
    months = (
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    )
    zone = "UTC" if moment.utcoffset() == timedelta(0) else moment.strftime("%Z")
    return f"{moment.day} {months[moment.month - 1]} {moment.year}, {moment:%H:%M} {zone}".strip()


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def paragraphs(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split("\n\n") if part.strip())


def figures_of(result: ValidationResult) -> Iterator[tuple[str, Any]]:
    """Every figure with the anchor it is shown under."""
    for figure in result.overview:
        yield f"input-{figure.key}", figure
    for comparison in result.comparisons:
        for figure in comparison.figures:
            yield f"compared-{comparison.key}-{figure.key}", figure
    for check in result.checks:
        for figure in check.figures:
            yield f"{anchor(check)}-{figure.key}", figure


GLOSSARY: tuple[tuple[str, str], ...] = (
    (
        "B-factor",
        "How amplitudes change with frequency f, beside those of protein at rest: they follow exp(B f²/4), in Å². "
        "B is negative for a map whose amplitudes decay (−100 Å² is a blurred map), about 0 for one as sharp as "
        "protein at rest, and positive for one sharpened beyond that.",
    ),
    ("Box", "The cube or block of voxels that the map fills."),
    (
        "Contour level",
        "The grey value at which the map's surface is drawn; what lies above it is taken for the particle.",
    ),
    ("Derived map", "A volume that a check wrote beside the report, for ChimeraX."),
    (
        "Evaluable",
        "A check that should have given an answer for this submission: it passed, warned, was inconclusive or "
        "failed to run.",
    ),
    ("Frequency", "One over a distance, in 1/Å: 0.25 1/Å is detail of 4 Å."),
    (
        "Half maps",
        "Two maps made from the two halves of the particles, refined apart; their agreement tells the resolution.",
    ),
    (
        "Inconclusive",
        "The data could not have shown the defect, so neither a pass nor a warning would be honest.",
    ),
    (
        "Interval",
        "The range within which the true value lies with the confidence named, given the noise in the data.",
    ),
    ("Local resolution", "The resolution around each voxel, which differs from place to place."),
    ("Mask", "The region taken for the particle: 1 inside, 0 outside, soft in between."),
    ("Nyquist", "The finest detail that the pixel size can hold: twice the pixel size."),
    (
        "Occupancy",
        "The share of the full density that is seen at a place; below 1 where a part is missing in some particles.",
    ),
    ("Pixel size", "The edge of a voxel, in Å; also called sampling rate."),
    ("Voxel", "One element of the map's grid."),
)
