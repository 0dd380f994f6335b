"""The tables are complete, safe to open in a spreadsheet, private, and written in one step."""

import csv
import io
import os
import stat
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from rich.cells import cell_len
from rich.console import Console

from grader.assignment import load_assignment
from grader.errors import UserError
from grader.records import Deviation, Finding, Outcome, Reason, StopReason, Submission, Verdict
from grader.report.table import CHECKS_COLUMNS, GRADES_COLUMNS, checks_table, grades_table, print_summary, write_csv
from grader.results.entries import Entry, Grade, Result
from grader.results.score import grade
from record_examples import ABSENT, SUBMISSION, check, entry, submission

ASSIGNMENT = load_assignment()


def result(of: Submission = SUBMISSION, known: Entry | None = None) -> Result:
    return Result(of, known, grade(of, known, ASSIGNMENT))


def read_back(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def written(path: Path, *results: Result) -> pd.DataFrame:
    write_csv(grades_table(results), path)
    return read_back(path)


def cell(path: Path, text: str) -> str:
    """Write `text` as a student's name and return what the file holds."""
    write_csv(grades_table([result(submission(name=text))]), path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        return next(csv.DictReader(file))["name"]


def summary(*results: Result, notice: str = "", width: int = 80, terminal: bool = True) -> str:
    stream = io.StringIO()
    print_summary(
        Console(file=stream, width=width, force_terminal=terminal, color_system=None, legacy_windows=False),
        results,
        notice,
    )
    return stream.getvalue()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_graded_row_is_complete(tmp_path: Path) -> None:
    known = entry(samples=125_000, stop_reason=StopReason.TIME_BUDGET, on_card=True)
    (row,) = written(tmp_path / "grades.csv", result(known=known)).to_dict("records")
    message = row.pop("message")
    assert row == {
        "student_id": "20230001",
        "name": "김민수",
        "submitted_at": "2026-11-20 23:58:03+09:00",
        "file": "20230001/hw6.py",
        "sha256": "ab" * 32,
        "outcome": "graded",
        "architecture": "conforming",
        "accuracy": "71.20",
        "points": "20",
        "epochs": "2.50",
        "train_seconds": "812.3",
        "stop_reason": "time_budget",
        "runs": "",
        "changes": "",
        "review": "",
    }
    assert "7120 of 10000" in message


def test_cells_are_blank_where_there_is_nothing() -> None:
    (row,) = grades_table([result(ABSENT)]).to_dict("records")
    assert {column for column, value in row.items() if value} == {"student_id", "name", "outcome", "points", "message"}
    assert (row["outcome"], row["points"]) == ("no_submission", "0")


def test_a_fault_of_ours_has_a_row_without_points() -> None:
    known = entry(outcome=Outcome.INFRASTRUCTURE, stop_reason=StopReason.KILLED, samples=0, seconds=0.0, correct=None)
    (row,) = grades_table([result(known=known)]).to_dict("records")
    assert (row["outcome"], row["points"], row["accuracy"], row["epochs"], row["train_seconds"]) == (
        "infrastructure",
        "",
        "",
        "0.00",
        "0.0",
    )
    assert row["review"]


@pytest.mark.parametrize(("points", "shown"), [("20", "20"), ("2E+1", "20"), ("0.0", "0.0"), ("2.50", "2.50")])
def test_points_are_shown_as_plain_numbers(points: str, shown: str) -> None:
    given = Result(SUBMISSION, None, Grade(Outcome.CRASHED, Decimal(points), None, "", ()))
    assert grades_table([given])["points"].to_list() == [shown]


def test_everyone_has_a_row_ordered_by_student_id() -> None:
    table = grades_table([result(submission(student_id=name)) for name in ("s3", "s1", "이", "s2")] + [result(ABSENT)])
    assert table["student_id"].to_list() == ["20230002", "s1", "s2", "s3", "이"]


def test_a_class_of_nobody_still_has_its_columns(tmp_path: Path) -> None:
    assert tuple(written(tmp_path / "grades.csv").columns) == GRADES_COLUMNS
    write_csv(checks_table([]), tmp_path / "checks.csv")
    assert tuple(read_back(tmp_path / "checks.csv").columns) == CHECKS_COLUMNS


def test_a_check_row_is_complete() -> None:
    findings = (
        Finding(Deviation.WRONG_WIDTH, "stage 2", "It has 64 channels."),
        Finding(Deviation.EXTRA_LAYER, "stage 3", "Dropout."),
    )
    checked = check(
        verdict=Verdict.DEVIATES, findings=findings, notes=("option A",), blanks_left=("Q4", "Q5"), message="Look."
    )
    (row,) = checks_table([(submission(remarks=("not on the roster",)), checked)]).to_dict("records")
    assert row == {
        "student_id": "20230001",
        "file": "20230001/hw6.py",
        "verdict": "deviates",
        "deviations": "wrong-width: stage 2; extra-layer: stage 3",
        "notes": "option A; not on the roster",
        "parameters": "11173962",
        "output_shape": "4 x 10",
        "blanks_left": "Q4, Q5",
        "message": "Look.",
    }


@pytest.mark.parametrize(
    ("handed_in", "message"),
    [
        (ABSENT, "The student handed in nothing."),
        (submission(content=None, unreadable="permission denied"), "permission denied"),
    ],
    ids=["absent", "unreadable"],
)
def test_a_student_without_a_check_still_has_a_row(handed_in: Submission, message: str) -> None:
    (row,) = checks_table([(handed_in, None)]).to_dict("records")
    assert (row["student_id"], row["verdict"], row["message"]) == (handed_in.student_id, "", message)


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+82 10",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\ttext",
        "\ntext",
        "  =1",
        "\u00a0=1",
        "\u3000-1",
        "\u200b@x",
        "\ufeff=1",
        "\uff1d1",
        "\uff0b1",
        "\uff0d1",
        " \uff20x",
    ],
    ids=ascii,
)
def test_no_cell_can_run_as_a_formula(tmp_path: Path, text: str) -> None:
    assert cell(tmp_path / "grades.csv", text) == "'" + text


@pytest.mark.parametrize("text", ["\r=1", "\x00=1", "\x1b=1", "\x7f=1", "\x85=1", "\u202e=1"], ids=ascii)
def test_a_formula_cannot_hide_behind_a_control_character(tmp_path: Path, text: str) -> None:
    number = f"u{ord(text[0]):04x}" if ord(text[0]) > 255 else f"x{ord(text[0]):02x}"
    assert cell(tmp_path / "grades.csv", text) == f"\\{number}=1"


@pytest.mark.parametrize("text", ["김민수", "O'Neil", "a=b", "x-1", "a, b", 'the "one"', "two\nlines", "a;=b", "é😀"])
def test_any_other_text_is_left_as_it_is(tmp_path: Path, text: str) -> None:
    assert cell(tmp_path / "grades.csv", text) == text


@pytest.mark.parametrize("column", ["student_id", "name", "file"])
def test_every_column_that_a_student_can_write_is_made_safe(tmp_path: Path, column: str) -> None:
    table = written(tmp_path / "grades.csv", result(submission(**{column: "=cmd|'/c calc'!A0"})))
    assert table[column].to_list() == ["'=cmd|'/c calc'!A0"]


def test_cells_of_the_check_table_are_made_safe(tmp_path: Path) -> None:
    write_csv(checks_table([(SUBMISSION, check(message="=1+1", notes=("@x",)))]), tmp_path / "checks.csv")
    (row,) = read_back(tmp_path / "checks.csv").to_dict("records")
    assert (row["message"], row["notes"]) == ("'=1+1", "'@x")


def test_a_semicolon_cannot_begin_a_cell_within_a_cell(tmp_path: Path) -> None:
    cell(tmp_path / "grades.csv", "a;=1+1")
    assert '"a;=1+1"' in (tmp_path / "grades.csv").read_text(encoding="utf-8-sig")


def test_control_characters_do_not_reach_the_file(tmp_path: Path) -> None:
    assert (
        cell(tmp_path / "grades.csv", "a\x1b[31mb\x00c\x9bd\u202ee\tf\ng") == r"a\x1b[31mb\x00c\x9bd\u202ee" + "\tf\ng"
    )


@pytest.mark.parametrize("text", ["a\udc80b", "\ud800"], ids=ascii)
def test_a_lone_surrogate_becomes_a_replacement_character(tmp_path: Path, text: str) -> None:
    assert "\N{REPLACEMENT CHARACTER}" in cell(tmp_path / "grades.csv", text)


def test_review_and_message_stay_on_one_line() -> None:
    given = Result(SUBMISSION, None, Grade(Outcome.CRASHED, Decimal(2), None, "a\r\nb\n c", (Reason.of("d\ne"),)))
    (row,) = grades_table([given]).to_dict("records")
    assert (row["message"], row["review"]) == ("a b c", "d e")


def test_excel_sees_utf8_and_korean_survives(tmp_path: Path) -> None:
    table = written(tmp_path / "grades.csv", result(submission(student_id="홍길동", file="홍길동/hw6.py")))
    assert (tmp_path / "grades.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    assert (table["student_id"][0], table["name"][0], table["file"][0]) == ("홍길동", "김민수", "홍길동/hw6.py")


def test_the_file_and_a_folder_made_for_it_are_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "results" / "grades.csv"
    before = os.umask(0)
    try:
        write_csv(grades_table([]), path)
    finally:
        os.umask(before)
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)


def test_an_older_file_becomes_private_when_it_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "grades.csv"
    path.touch(mode=0o644)
    write_csv(grades_table([]), path)
    assert mode(path) == 0o600


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "grades.csv"
    write_csv(grades_table([result()]), path)
    old = path.read_bytes()
    monkeypatch.setattr(os, step, full)
    with pytest.raises(UserError, match=r"cannot write .*grades\.csv: No space left on device"):
        write_csv(grades_table([]), path)
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["grades.csv"]


def test_the_summary_shows_every_student_at_80_columns() -> None:
    long_id = "a_very_long_identifier_of_a_student"
    known = entry(outcome=Outcome.OUT_OF_MEMORY, check=check(verdict=Verdict.CONFORMING))
    text = summary(result(known=entry()), result(submission(student_id=long_id, name="A Long Name " * 5), known))
    assert max(cell_len(line) for line in text.splitlines()) <= 80
    assert {"20230001", "김민수", "graded", "71.20", "20", "conforming", "out_of_memory"} <= set(text.split())
    first_column = "".join(line[: text.index("name")].strip() for line in text.splitlines())
    assert long_id in first_column


def test_a_pipe_gets_one_whole_line_for_each_student() -> None:
    long_id, long_name = "i" * 90, "n" * 90
    text = summary(result(submission(student_id=long_id, name=long_name), entry()), terminal=False)
    (line,) = [line for line in text.splitlines() if long_id in line]
    assert long_name in line
    assert "conforming" in line


def test_the_summary_counts_students_by_points() -> None:
    text = summary(
        result(known=entry()),
        result(submission(student_id="s2"), entry(correct=7_001)),
        result(submission(student_id="s3"), entry(correct=10)),
        result(ABSENT),
        result(submission(student_id="s5")),
    )
    assert "Students: 5. 20 points: 2, 2 points: 1, 0 points: 1, no points yet: 1" in text


def test_the_summary_names_who_needs_a_look_and_why() -> None:
    text = summary(
        result(known=entry(flags=(Reason.of("inputs differ"),))), result(submission(student_id="s2"), entry())
    )
    assert "Students to look at: 1\n20230001: inputs differ\n" in text
    assert "look at" not in summary(result(known=entry()))


def test_the_notice_is_printed_as_it_is() -> None:
    assert "Data: [digits], not for grades." in summary(notice="Data: [digits], not for grades.", width=20)


@pytest.mark.parametrize("terminal", [True, False])
def test_student_text_cannot_style_or_steer_the_terminal(terminal: bool) -> None:
    hostile = "[red]Bob[/red]\x1b[2J\x9b31m\r:smile:\n\udc80"
    known = entry(flags=(Reason.of(hostile),))
    text = summary(result(submission(name=hostile, student_id="[b]" + hostile), known), width=200, terminal=terminal)
    assert r"[b][red]Bob[/red]\x1b[2J\x9b31m :smile:" in text
    assert not {"\x1b", "\x9b", "\r", "\udc80"} & set(text)
    assert len(text.splitlines()) == 6
