"""Loading results and writing the files."""

from __future__ import annotations

import json

import pytest

from tests.report import example
from veritem.errors import InputError
from veritem.report import content
from veritem.report.render import load, render
from veritem.results import LevelSummary, Outcome, Quantity


def test_results_come_back_as_they_were_written(rendered):
    result, folder = rendered
    assert load(folder) == load(folder / "results.json") == result


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "There is no readable results file"),
        ("not json", "it is not JSON"),
        ("[1, 2]", "names no schema version"),
        ('{"schema_version": "other/1"}', "names no schema version"),
        ('{"schema_version": "veritem-results/9"}', "written in the format veritem-results/9"),
        ('{"schema_version": "veritem-results/1"}', "damaged or was edited: title"),
        ('{"schema_version": "veritem-results/1", "title": 3}', "damaged or was edited"),
    ],
)
def test_what_is_no_results_file_is_named(tmp_path, text, complaint):
    path = tmp_path / "results.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=complaint):
        load(tmp_path)


def test_numbers_that_are_none_survive_the_file(tmp_path):
    """NaN and infinities are written as JSON's usual extension and read back."""
    result = example.example_result(tmp_path)
    check = result.checks[0].model_copy(
        update={"quantities": {"x": Quantity(label="x", value=float("inf"), interval=(float("-inf"), 1.0))}}
    )
    result = result.model_copy(update={"checks": (check, *result.checks[1:])})
    (tmp_path / "results.json").write_text(json.dumps(result.model_dump(mode="json")))
    again = load(tmp_path)
    assert again.checks[0].quantities["x"].value == float("inf")
    render(again, tmp_path, ("html",))
    assert (tmp_path / "report.html").is_file()


def test_only_what_is_asked_for_is_written_and_nothing_half_done_is_left(tmp_path):
    result = example.example_result(tmp_path)
    written = render(result, tmp_path, ("chimerax",))
    assert {p.suffix for p in written} == {".cxc"} and all(p.is_file() for p in written)
    assert not (tmp_path / "report.html").exists()
    assert not list(tmp_path.rglob("*.part"))
    with pytest.raises(InputError, match="no report format docx"):
        render(result, tmp_path, ("docx",))


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    result = example.example_result(tmp_path)
    (tmp_path / "chimerax").write_text("a file where a folder must be")
    with pytest.raises(InputError, match=r"cannot be written to .*veritem report"):
        render(result, tmp_path, ("chimerax",))


# --- what the report says -----------------------------------------------------------------------------------


def outcomes(result, *wanted):
    """The example with the given outcomes, warnings' criteria included, and nothing else."""
    by_outcome = {check.outcome: check for check in result.checks}
    checks = tuple(by_outcome[outcome].model_copy(update={"code": f"9.{i}"}) for i, outcome in enumerate(wanted))
    return result.model_copy(update={"checks": checks})


def said(result) -> str:
    return " ".join(s.text for s in content.verdict(result))


def test_a_clean_result_claims_no_more_than_was_looked_for(tmp_path):
    result = outcomes(example.example_result(tmp_path), Outcome.PASS, Outcome.PASS)
    assert said(result).startswith("All two checks that could be evaluated pass; the input itself raises one warning.")
    assert "they cannot exclude" in said(result) and "correct" not in said(result).lower()


def test_nothing_evaluated_is_said_so(tmp_path):
    result = outcomes(example.example_result(tmp_path), Outcome.NOT_APPLICABLE)
    assert "nothing can be said of the map" in said(result)
    assert result.score.evaluable == 0


def test_a_failed_check_is_never_hidden(tmp_path):
    result = outcomes(example.example_result(tmp_path), Outcome.PASS, Outcome.FAILED)
    assert "one failed to run" in said(result) and "counts as not passed" in said(result)
    assert "1 passed, 0 warned, 0 inconclusive, 1 failed" in content.score_explanation(result)


def test_many_warnings_still_fit_six_sentences(tmp_path):
    result = outcomes(example.example_result(tmp_path), *[Outcome.WARNING] * 6, Outcome.FAILED)
    sentences = content.verdict(result)
    assert len(sentences) <= 6
    assert "further warnings follow below" in said(result)


def test_a_level_that_was_not_reached_is_said_to_be_unasked(tmp_path):
    result = example.example_result(tmp_path).model_copy(
        update={"levels": (LevelSummary(level="1", title="Resolution", reached=False, missing=("half maps",)),)}
    )
    assert "Not asked at all, for want of half maps: resolution." in said(result)


def test_expected_false_alarms_are_the_sum_of_measured_rates(tmp_path):
    result = example.example_result(tmp_path)
    known = [c.false_alarm_rate for c in result.checks if c.false_alarm_rate is not None]
    assert sum(known) == pytest.approx(0.075)
    assert f"the {len(known)} of 7 checks measured so far raise 0.075 false warnings" in content.false_alarms(result)
    unmeasured = result.model_copy(
        update={"checks": tuple(c.model_copy(update={"false_alarm_rate": None}) for c in result.checks)}
    )
    assert "has not been measured" in content.false_alarms(unmeasured)


def test_warnings_of_the_input_are_counted_and_remarks_are_not(tmp_path):
    result = example.example_result(tmp_path)
    assert [p.code for p in content.input_warnings(result)] == ["IN-07"]
    assert "the input itself raises one warning" in said(result)
    assert "the input itself" not in said(result.model_copy(update={"problems": content.remarks(result)}))


def test_parameters_say_once_where_they_come_from(tmp_path):
    given = {
        "reported_resolution": 2.9,
        "symmetry": "C1",
        "molecular_weight_kda": None,
        "contour_level": {"value": 0.31, "source": "given", "method": "given with the map"},
    }
    result = example.example_result(tmp_path).model_copy(update={"parameters": given})
    rows = {p.name: (p.value, p.source) for p in content.parameters(result)}
    assert rows["Reported resolution"] == ("2.9 Å", "")
    assert rows["Symmetry"] == ("C1 (assumed unless given)", "")
    assert rows["Molecular weight (kDa)"] == ("not given", "")
    assert rows["Contour level"] == ("0.31", "given")
    level = {"value": 0.31, "source": "estimated", "method": "estimated from the noise"}
    result = result.model_copy(update={"parameters": {"reported_resolution": None, "contour_level": level}})
    assert [p.value for p in content.parameters(result)] == ["not given", "0.31"]
    assert content.parameters(result)[1].source == "estimated from the noise"


def test_the_glossary_has_the_sign_of_b_that_the_checks_have():
    words = dict(content.GLOSSARY)["B-factor"]
    assert "exp(B f²/4)" in words and "negative for a map whose amplitudes decay" in words
