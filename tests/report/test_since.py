"""A report says what has changed since the one before it."""

import re
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from grader.records import Collection
from grader.report import write_results
from grader.report.since import STANDINGS_NAME, changed_since, read_standings, standings, write_standings
from grader.results.entries import Result
from grader.results.ledger import Ledger, read_ledger
from page_examples import ASSIGNMENT, HOSTILE, class_of, hostile, result
from record_examples import ABSENT, entry, submission


def differences(before: list[Result], now: list[Result]) -> dict[str, str]:
    found = changed_since(standings(before), standings(now)).differences
    return {each.student_id: each.said for each in found}


def graded(student_id: str, correct: int, sha256: str = "ab" * 32) -> Result:
    return result(submission(student_id=student_id, sha256=sha256), entry(student_id=student_id, correct=correct))


def test_of_two_equal_reports_nothing_has_changed() -> None:
    assert differences(class_of(80), class_of(80)) == {}


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (graded("kim", 6_900), graded("kim", 7_100), "6 → 20 points; accuracy 69.00 % → 71.00 %"),
        (graded("kim", 7_100), graded("kim", 7_200), "accuracy 71.00 % → 72.00 %"),
        (graded("kim", 7_100), graded("kim", 7_100, "cd" * 32), "another file counts"),
        (result(submission(student_id="kim")), graded("kim", 7_100), "none → 20 points; pending → graded"),
        (
            result(replace(ABSENT, student_id="kim")),
            graded("kim", 2_000),
            "0 → 2 points; no submission → graded; a file came",
        ),
    ],
    ids=["points", "accuracy", "file", "graded", "came"],
)
def test_what_is_new_about_a_student_is_one_line(before: Result, now: Result, said: str) -> None:
    assert differences([before, graded("lee", 1)], [now, graded("lee", 1)]) == {"kim": said}


def test_who_came_and_who_went_is_named() -> None:
    assert differences([graded("kim", 7_100)], [graded("lee", 7_100)]) == {
        "kim": "no longer in the class",
        "lee": "new in the class, 20 points",
    }


def test_standings_come_back_as_they_were_for_any_id_and_are_the_owner_s_alone(tmp_path: Path) -> None:
    path = tmp_path / STANDINGS_NAME
    now = standings([*class_of(40), hostile(HOSTILE)])
    write_standings(now, path)
    assert read_standings(path) == now
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"\xff", b'{"written_at": "yesterday", "students": {}}', b'{"written_at": "2026-11-26T00:00+00:00"}']
    + [b'{"written_at": "2026-11-26T00:00+00:00", "students": %s}' % part for part in (b"[1]", b'{"kim": {"a": 1}}')],
)
def test_a_file_that_is_none_of_ours_is_no_report_before(tmp_path: Path, content: bytes) -> None:
    (tmp_path / STANDINGS_NAME).write_bytes(content)
    assert read_standings(tmp_path / STANDINGS_NAME) is None


def written(rows: list[Result], ledger: Ledger, out: Path) -> str:
    """The page that a command leaves, as a person reads it."""
    write_results(rows, Collection(tuple(row.submission for row in rows), ()), ASSIGNMENT, ledger, out)
    return " ".join(re.sub(r"<[^>]*>", "", (out / "report.html").read_text(encoding="utf-8")).split())


def test_the_first_report_compares_nothing_and_each_later_one_with_the_one_before(tmp_path: Path) -> None:
    ledger = read_ledger(tmp_path)
    first, second = [result(submission())], [result(ABSENT), result(submission())]
    assert "Since the report of" not in written(first, ledger, tmp_path)
    assert "1 student changed" in (page := written(second, ledger, tmp_path))
    assert "20230002: new in the class, 0 points" in page
    assert "nothing changed" in written(second, ledger, tmp_path)
