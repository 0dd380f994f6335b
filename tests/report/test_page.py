"""The teacher's page says everything, needs nothing from outside, and takes student text as text."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from grader.records import Companion, CurvePoint, Decision, Outcome, Reason, Status, Verdict
from grader.report import charts
from grader.report import page as page_module
from grader.report.charts import curves, histogram
from grader.report.page import Student, log_end, source_files, summarize
from grader.report.since import Difference, Since
from grader.results.entries import Result
from grader.text import printable
from html_elements import Parsed
from page_examples import ASSIGNMENT, HOSTILE, LAYERS, WRONG_QUESTIONS, class_of, hostile, page, result
from record_examples import ABSENT, check, entry, submission


def hashed(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_hostile_text_makes_no_element_and_no_attribute(tmp_path: Path) -> None:
    (tmp_path / "any.log").write_text(HOSTILE, encoding="utf-8", errors="replace")
    innocent = Parsed(page([*class_of(12), hostile("calm")], tmp_path))
    attacked = Parsed(page([*class_of(12), hostile()], tmp_path))
    assert len(attacked.all_of("script")) == 1
    assert {tag for tag, _ in attacked.elements} == {tag for tag, _ in innocent.elements}
    names = {name for _, attributes in attacked.elements for name in attributes}
    assert names == {name for _, attributes in innocent.elements for name in attributes}
    assert not attacked.open


def test_hostile_text_is_shown_as_it_is_without_control_characters(tmp_path: Path) -> None:
    nobodys = Decision(HOSTILE, "", Status.UNRECOGNISED, HOSTILE)
    since = Since(datetime(2026, 11, 26, tzinfo=UTC), (Difference(HOSTILE, HOSTILE, False),))
    texts = [text for _, text in Parsed(page([hostile()], tmp_path, (nobodys,), since)).texts]
    shown = printable(HOSTILE)
    assert sum(shown in text for text in texts) >= 10
    assert not any({"\x1b", "\u202e", "\ud800"} & set(text) for text in texts)


def test_the_policy_allows_the_page_s_own_style_and_script_and_nothing_else(tmp_path: Path) -> None:
    parsed = Parsed(page([*class_of(3), hostile()], tmp_path))
    (script,) = [text for tag, text in parsed.texts if tag == "script"]
    (style,) = [text for tag, text in parsed.texts if tag == "style"]
    (rules,) = [meta["content"] for meta in parsed.all_of("meta") if "http-equiv" in meta]
    assert set(rules.split("; ")) == {
        "default-src 'none'",
        f"script-src 'sha256-{hashed(script)}'",
        f"style-src 'sha256-{hashed(style)}'",
        "base-uri 'none'",
        "form-action 'none'",
    }


def test_nothing_in_the_page_is_loaded_or_has_a_style_of_its_own(tmp_path: Path) -> None:
    parsed = Parsed(page(class_of(40), tmp_path))
    for _, attributes in parsed.elements:
        assert not {"src", "srcset", "style", "action"} & attributes.keys()
        assert attributes.get("href", "#").startswith("#")


def test_every_link_leads_to_a_section_and_every_id_is_there_once(tmp_path: Path) -> None:
    parsed = Parsed(page([*class_of(40), hostile(), result(submission(student_id="김 1"))], tmp_path))
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"].removeprefix("#") for link in parsed.all_of("a")} <= set(ids)
    assert sum(name.startswith("s-") for name in ids) == 42


def test_the_top_counts_students_points_and_reasons(tmp_path: Path) -> None:
    odd = Reason.of("inputs differ", "3")
    rows = [
        result(submission(student_id="a"), entry(student_id="a", correct=7_001)),
        result(submission(student_id="b"), entry(student_id="b", correct=7_000, flags=(odd,))),
        result(ABSENT),
        result(submission(student_id="c")),
    ]
    made = [Student(row) for row in rows]
    summary = summarize(made)
    assert (summary.students, summary.graded, summary.runs) == (4, 2, 2)
    assert [(band.label, len(band.students)) for band in summary.bands] == [
        ("20 points", 1),
        ("6 points", 1),
        ("0 points", 1),
        ("no points yet", 1),
    ]
    assert {kind.label for kind in summary.kinds} == {"inputs differ", "not graded yet"}
    assert summary.train_seconds == pytest.approx(2 * 812.34)


def test_a_run_that_counts_for_several_is_counted_once() -> None:
    known = [entry(student_id="a"), entry(student_id="b", run_of="a"), entry(student_id="c", run_of="a")]
    summary = summarize([Student(result(submission(), one)) for one in known])
    assert (summary.graded, summary.runs, summary.train_seconds) == (3, 1, 812.34)


def test_one_script_cannot_fill_the_top_with_made_up_devices() -> None:
    known = [entry(student_id=str(number), device=f"{number}" * 900) for number in range(9)]
    made = [Student(result(submission(), one)) for one in known]
    devices = dict(summarize(made).conditions)["Machine"]
    assert len(devices) == 4
    assert all(len(device) < 200 for device in devices)


def test_of_a_file_that_never_ran_nothing_is_said_of_where_it_ran(tmp_path: Path) -> None:
    evidence = replace(entry().evidence, jobs=2)
    nowhere = entry(device="", torch_version="", evidence=evidence)
    invalid = entry(nowhere, outcome=Outcome.INVALID, correct=None, total=None, samples=0)
    text = page([result(submission(), invalid)], tmp_path)
    assert "torch unknown" not in text
    assert "unknown;" not in text
    assert "at a time" not in text
    assert "nothing has run" in text
    ran = entry(student_id="lee")
    both = page([result(submission(), invalid), result(submission(student_id="lee"), ran)], tmp_path)
    assert "torch unknown" not in both
    assert both.count("torch 2.15.0, grader 0.1.0") == 1


def test_another_data_set_than_the_assigned_one_is_named_at_the_top(tmp_path: Path) -> None:
    known = entry(evidence=replace(entry().evidence, data_name="digits"))
    assert "these results are for digits, not for CIFAR-10" in page([result(submission(), known)], tmp_path)
    assert "Please note" not in page([result(submission(), entry())], tmp_path)


def test_a_class_of_nobody_has_a_page(tmp_path: Path) -> None:
    assert "Nobody yet." in page([], tmp_path)


def test_runs_sources_and_logs_are_left_out_where_a_browser_could_not_open_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "any.log").write_text("the end", encoding="utf-8")
    finding = "In stage 2 a convolution has 64 channels, not 128."
    whole = page(class_of(4), tmp_path)
    assert "class Block" in whole
    monkeypatch.setattr(page_module, "MOST_WHOLE", 2)
    left = page(class_of(4), tmp_path)
    assert whole.count(finding) == left.count(finding) == 1
    assert "class Block" not in left
    assert "the end" not in left
    assert "logs/ and feedback/s20260001.html" in left


def test_the_page_holds_the_end_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "any.log"
    log.write_bytes(b"first\n" + b"line\n" * 100 + b"\x1b[31mlast \xff\n")
    text = page([result(submission(), entry())], tmp_path)
    assert "last \N{REPLACEMENT CHARACTER}" in text
    assert "first" not in log_end(log)


def test_a_log_that_is_gone_is_no_reason_to_fail(tmp_path: Path) -> None:
    assert log_end(tmp_path / "none.log") == ""


def test_changes_runs_and_attempts_are_told(tmp_path: Path) -> None:
    (row,) = [row for row in class_of(3) if row.changes]
    text = re.sub(r"\s+", " ", page([row], tmp_path))
    assert "2 runs" in text
    assert "regrade, 2 → 20 points (the course&#39;s server was down)" in text
    assert "superseded" in text


def test_the_line_that_an_error_names_is_marked_in_the_source() -> None:
    (file,) = source_files(submission(content=b"a\nb\nc\n"), entry(outcome=Outcome.CRASHED, error_line=2))
    assert (file.text, file.gutter) == ("a\nb\nc", "1\n▶ 2\n3")


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ("# 한글\r\nx = 1\r\n".encode("cp949"), "# 한글\nx = 1"),
        ("# coding: latin-1\n# José".encode("latin-1"), "# coding: latin-1\n# José"),
        (b"\xef\xbb\xbfx = 1", "x = 1"),
        (b"\xff\xfe\x00\x81", None),
        (b'{"cells": [{"cell_type": "code", "source": ["x = 1"]}], "nbformat": 4}', "x = 1"),
        (b"[" * 100_000, "[" * 100_000),
        (b"x" * 200_000, "x" * 100_000),
    ],
    ids=["cp949", "latin-1", "bom", "bytes", "notebook", "deep", "long"],
)
def test_any_source_can_be_shown(content: bytes, shown: str | None) -> None:
    (file,) = source_files(submission(content=content), None)
    assert shown is None or file.text.strip() == shown


def test_files_that_lie_beside_the_script_are_shown_too() -> None:
    files = source_files(submission(companions=(Companion("blocks.py", b"y = 2"),)), None)
    assert [(file.name, file.text) for file in files][1:] == [("blocks.py", "y = 2")]
    assert source_files(ABSENT, None) == ()


def curve(*points: tuple[int, float | None, float | None]) -> tuple[CurvePoint, ...]:
    return tuple(CurvePoint(*point) for point in points)


@pytest.mark.parametrize("points", [(), ((100, 2.3, 0.1),), ((100, 2.3, None), (200, None, 0.2))])
def test_a_curve_needs_two_points(points: tuple[tuple[int, float | None, float | None], ...]) -> None:
    assert curves(entry(curve=curve(*points))) == ()


def test_loss_and_accuracy_are_drawn_each_where_they_are_known() -> None:
    points = curve((50_000, 2.3, None), (125_000, None, 0.25), (250_000, 0.5, 1.0))
    loss, accuracy = curves(entry(curve=points))
    assert loss.said == "Loss: from 2.3 to 0.5 in 5.00 epochs."
    assert accuracy.said == "Accuracy on training batches: from 25\xa0% to 100\xa0% in 5.00 epochs."
    assert accuracy.line == f"{accuracy.WIDTH / 2:g},{accuracy.HEIGHT * 3 / 4:g} {accuracy.WIDTH},0"
    assert accuracy.up == ((accuracy.HEIGHT, "0\xa0%"), (accuracy.HEIGHT / 2, "50\xa0%"), (0, "100\xa0%"))
    (only,) = curves(entry(curve=points[::2]))
    assert only.title == "Loss"


def test_curves_stay_in_their_boxes() -> None:
    drawn = curves(entry(curve=curve((1, -3.0, 0.0), (125_000, 1e6, 1.0), (250_000, 0.5, 0.5))))
    assert len(drawn) == 2
    for each in drawn:
        points = [tuple(map(float, point.split(","))) for point in each.line.split()]
        assert all(0 <= x <= each.WIDTH and 0 <= y <= each.HEIGHT for x, y in points)
        assert each.across[-1] == (each.WIDTH, "5")


def test_a_flat_curve_can_be_drawn() -> None:
    assert len(curves(entry(curve=curve((0, 0.0, 0.0), (0, 0.0, 0.0))))) == 2


def test_the_page_says_whose_accuracy_a_curve_shows_and_what_it_went_from_and_to(tmp_path: Path) -> None:
    known = entry(curve=curve((100, 2.3, 0.125), (200, 1.0, 0.5)))
    parsed = Parsed(page([result(submission(), known)], tmp_path))
    labels = [svg["aria-label"] for svg in parsed.all_of("svg") if "to 50" in svg.get("aria-label", "")]
    assert len(labels) == 1
    assert labels[0].startswith("Accuracy on training batches: from 12")
    said = " ".join(text for _, text in parsed.texts)
    assert "as its own process reports them" in said
    assert "Only the test images count." in said


def test_the_histogram_is_text_in_the_page_s_own_colours() -> None:
    accuracies = [row.grade.accuracy for row in class_of(60) if row.grade.accuracy is not None]
    drawn = histogram(accuracies, ASSIGNMENT.bands)
    assert [words[-1] for _, words in drawn.edges] == ["above 70 %", "from 30 %", "2 points"]
    assert "70 to 75 percent: " in drawn.said
    assert sum(map(int, re.findall(r"percent: (\d+)", drawn.said))) == len(accuracies)
    assert len(drawn.bars) == drawn.said.count("percent: ")
    assert all(0 <= top < top + height <= drawn.HEIGHT for _, top, _, height in drawn.bars)
    assert histogram([], ASSIGNMENT.bands).bars == ()


@pytest.mark.parametrize(
    ("most", "low", "high", "ticks"),
    [
        (4, 0, 28, [0, 10, 20]),
        (4, 0, 3, [0, 1, 2, 3]),
        (3, 0, 2.4, [0, 1, 2]),
        (5, 0, 5, [0, 1, 2, 3, 4, 5]),
        (5, 0, 0, [0]),
    ],
)
def test_ticks_are_round_numbers(most: int, low: float, high: float, ticks: list[float]) -> None:
    assert charts._ticks(most, low, high) == ticks


def test_reasons_are_grouped_by_what_they_share() -> None:
    rows = [
        result(submission(student_id=student, remarks=(f"{student}/hw6.py was handed in too",)), entry(flags=(slow,)))
        for student, slow in (("a", Reason("slow", "3.4 times slower")), ("b", Reason("slow", "twice as slow: look")))
    ]
    made = [Student(row) for row in rows]
    kinds = {kind.label: len(kind.students) for kind in summarize(made).kinds}
    assert kinds == {"which file counts, or whose it is": 2, "slow": 2}


@pytest.mark.parametrize("words", ["", "line 1: 2 (3)", "architecture deviates: wrong-width", "x" * 500])
def test_other_words_of_a_reason_or_an_error_change_no_count_and_no_mark(words: str) -> None:
    known = entry(error=words, error_line=2, check=check(message=words, lines=(3,)), flags=(Reason("odd", words),))
    (kind,) = Student(result(submission(), known)).kinds
    (file,) = source_files(submission(content=b"a\nb\nc\nd\n"), known)
    assert (kind, file.gutter) == ("odd", "1\n▶ 2\n▶ 3\n4")


def test_a_semicolon_inside_a_reason_makes_no_second_one(tmp_path: Path) -> None:
    flag = Reason.of("something is odd; look at it", "3 of 4; none is new")
    parsed = Parsed(page([result(submission(), entry(flags=(flag,)))], tmp_path))
    (row,) = [row for row in parsed.all_of("tr") if "data-kinds" in row]
    assert json.loads(row["data-kinds"]) == ["something is odd; look at it"]
    assert sum(text == flag.words for tag, text in parsed.texts if tag == "li") == 1


def test_results_of_two_students_stay_apart(tmp_path: Path) -> None:
    rows: list[Result] = class_of(4)
    text = page(rows, tmp_path)
    assert text.count('<details class="student"') == 4


def test_a_student_s_section_has_the_nine_answers_and_the_layers_that_differ(tmp_path: Path) -> None:
    known = entry(check=check(verdict=Verdict.DEVIATES, questions=WRONG_QUESTIONS, layers=LAYERS))
    parsed = Parsed(page([result(submission(), known)], tmp_path))
    said = " ".join(text for _, text in parsed.texts)
    assert "Right: Q1, Q2, Q3, Q6, Q7, Q8, Q9." in said
    assert "Q5 is wrong: Gradients of the batch before were still there" in said
    assert [row.get("class", "") for row in parsed.all_of("tr")].count("differs") == 2
    assert "convolution 3 x 3, 64 channels, stride 2 c1" in said
