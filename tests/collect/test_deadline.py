"""Deadlines: the last file in time counts, a late one harms nobody, and no time zone is guessed."""

import hashlib
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from archives import BLACKBOARD, attempt, write_archive
from command import read_table, run_grader
from grader.assignment import Assignment
from grader.collect.deadline import doubts_about_times, how_late, parse_deadline, seconds_late
from grader.errors import UserError
from grader.records import Outcome, Status
from grader.report.table import checks_table
from grader.results.ledger import open_ledger
from grader.results.score import grade
from record_examples import entry
from submission_folders import by_student, collected, decision_on, hand_in, statuses

DUE = 1_796_087_940
DEADLINE = datetime(2026, 12, 1, 1, 19, tzinfo=UTC)
PAST = 1_760_000_000
HOUR = 3_600


def parsed(text: str) -> datetime:
    deadline = parse_deadline(text, "DEADLINE=")
    assert deadline is not None
    return deadline


def refusal(text: str) -> str:
    with pytest.raises(UserError) as caught:
        parse_deadline(text, "DEADLINE=")
    sentence = str(caught.value)
    assert sentence.startswith(f"DEADLINE={text} ")
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize(
    "text",
    [
        "2026-12-01T23:59+09:00",
        "2026-12-01T23:59:00+0900",
        " 2026-12-01 23:59 +09:00 ",
        "2026-12-01 23:59 Asia/Seoul",
        "2026-12-01T23:59 Asia/Seoul",
        "2026-12-01T14:59Z",
        "2026-12-01 14:59 UTC",
        "2026-12-1 9:59 America/New_York",
        "2026-12-01 11:29 -03:30",
    ],
)
def test_a_zone_is_an_offset_or_a_name(text: str) -> None:
    assert parsed(text).astimezone(UTC) == datetime(2026, 12, 1, 14, 59, tzinfo=UTC)


def test_nothing_given_is_no_deadline() -> None:
    assert parse_deadline("", "DEADLINE=") is None


@pytest.mark.usefixtures("in_korea")
@pytest.mark.parametrize("text", ["2026-12-01T23:59", "2026-12-01 23:59"])
def test_without_a_zone_the_likely_spellings_are_shown_and_each_is_taken(text: str) -> None:
    sentence = refusal(text)
    for spelling in ("2026-12-01T23:59:00+09:00", "2026-12-01T23:59:00Z"):
        assert spelling in sentence
        assert parsed(spelling)
    assert "names no time zone" in sentence


@pytest.mark.usefixtures("in_korea")
def test_a_date_without_a_time_is_refused_and_the_end_of_the_day_is_offered() -> None:
    assert "2026-12-01T23:59:59+09:00 (this machine's zone) or 2026-12-01T23:59:59Z" in refusal("2026-12-01")
    sentence = refusal("2026-12-01 Europe/Berlin")
    assert sentence.endswith("for the end of that day write 2026-12-01 23:59:59 Europe/Berlin")
    assert parsed("2026-12-01 23:59:59 Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tomorrow", "write a date, a time and a zone"),
        ("01.12.2026 23:59 Asia/Seoul", "write a date, a time and a zone"),
        ("2026-12-01 11:59 pm Asia/Seoul", "write a date, a time and a zone"),
        ("2026-02-30T23:59Z", "no such date"),
        ("2026-12-01T24:00Z", "no such date, time"),
        ("0001-01-01T00:00+09:00", "no such date"),
        ("2026-12-01T23:59+25:00", "no such date, time or zone"),
        ("2026-12-01 23:59 KST", "knows no time zone KST"),
        ("2026-12-01 23:59 Asia", "knows no time zone Asia"),
        ("2026-12-01 23:59 Asia/Soul", "knows no time zone Asia/Soul"),
    ],
)
def test_what_is_no_deadline_is_one_sentence_with_examples(text: str, words: str) -> None:
    sentence = refusal(text)
    assert words in sentence
    assert sentence.endswith("2026-12-01T23:59+09:00 or 2026-12-01 23:59 Asia/Seoul")


def test_an_hour_that_comes_twice_means_the_second_time() -> None:
    assert parsed("2026-10-25 02:30 Europe/Berlin").isoformat() == "2026-10-25T02:30:00+01:00"


def test_an_hour_that_the_clocks_skip_ends_after_the_change() -> None:
    assert parsed("2026-03-29 02:30 Europe/Berlin").isoformat() == "2026-03-29T03:30:00+02:00"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (1, "1 second"),
        (61, "1 minute 1 second"),
        (2 * HOUR, "2 hours"),
        (25 * HOUR + 59, "1 day 1 hour"),
        (10**14 * 24 * HOUR + 6 * HOUR, "100,000,000,000,000 days 6 hours"),
    ],
)
def test_lateness_is_said_in_its_two_largest_units(seconds: int, said: str) -> None:
    assert how_late(seconds, DEADLINE) == f"{said} after the deadline, 2026-12-01 01:19:00+00:00"


@pytest.mark.parametrize(
    ("deadline", "at", "late"),
    [
        # 02:30 comes twice: the deadline means the second, an attempt's name the first. The doubt is the student's.
        ("2026-10-25 02:30 Europe/Berlin", "2026-10-25-02-30-00", False),
        ("2026-10-25 02:30 Europe/Berlin", "2026-10-25-02-59-59", False),
        ("2026-10-25 02:30 Europe/Berlin", "2026-10-25-03-00-00", True),
        ("2026-10-25 01:59 Europe/Berlin", "2026-10-25-02-00-00", True),
        # 02:30 never comes.
        ("2026-03-29 02:30 Europe/Berlin", "2026-03-29-03-30-00", False),
        ("2026-03-29 02:30 Europe/Berlin", "2026-03-29-03-30-01", True),
        ("2026-03-29 01:59 Europe/Berlin", "2026-03-29-03-00-00", True),
        ("2026-03-29 03:00 Europe/Berlin", "2026-03-29-03-00-00", False),
    ],
)
def test_around_a_change_of_the_clocks_no_attempt_is_late_that_may_be_in_time(
    tmp_path: Path, deadline: str, at: str, late: bool
) -> None:
    archive = write_archive(tmp_path / BLACKBOARD, attempt("kim", at, hw6__py=b"x"))
    (kim,) = collected(archive, deadline=parsed(deadline)).submissions
    assert bool(kim.late) is late


def test_lateness_is_counted_across_a_change_of_the_clocks() -> None:
    deadline = parsed("2026-10-25 00:00 Europe/Berlin")
    six_hours_on_the_clock = datetime(2026, 10, 25, 5, tzinfo=UTC)
    assert seconds_late(int(six_hours_on_the_clock.timestamp()) * 10**9, deadline) == 7 * HOUR


def test_the_last_file_by_the_deadline_counts_and_later_ones_are_late(folder: Path) -> None:
    hand_in(folder / "hw6_kim.py", b"first", at=DUE - 2 * HOUR)
    hand_in(folder / "kim_hw6.py", b"counts", at=DUE - HOUR)
    hand_in(folder / "kim" / "hw6.py", b"late", at=DUE + 2 * HOUR)
    collection = collected(folder, deadline=DEADLINE)
    submission = by_student(collection)["kim"]
    assert (submission.file, submission.content, submission.late) == ("kim_hw6.py", b"counts", "")
    assert statuses(collection) == {
        "hw6_kim.py": Status.SUPERSEDED,
        "kim/hw6.py": Status.LATE,
        "kim_hw6.py": Status.TAKEN,
    }
    late = "came 2 hours after the deadline, 2026-12-01 01:19:00+00:00"
    assert decision_on(collection, "kim/hw6.py").reason == f"it {late}"
    assert f"kim/hw6.py is late and is not used: it {late}" in submission.remarks
    assert "by the deadline, 2026-12-01 01:19" in decision_on(collection, "kim_hw6.py").reason


@pytest.mark.parametrize(("nanoseconds", "late"), [(0, False), (999_999_999, False), (10**9, True)])
def test_a_file_exactly_at_the_deadline_is_in_time(folder: Path, nanoseconds: int, late: bool) -> None:
    hand_in(folder / "kim_hw6.py")
    os.utime(folder / "kim_hw6.py", ns=(DUE * 10**9, DUE * 10**9 + nanoseconds))
    collection = collected(folder, deadline=DEADLINE)
    assert statuses(collection) == {"kim_hw6.py": Status.LATE if late else Status.TAKEN}
    assert bool(by_student(collection)["kim"].late) is late


def test_who_handed_in_late_only_has_handed_in_nothing_and_reads_why(folder: Path, assignment: Assignment) -> None:
    hand_in(folder / "kim_hw6.py", at=DUE + 2 * HOUR)
    hand_in(folder / "kim" / "hw6.py", at=DUE + 90)
    (submission,) = collected(folder, deadline=DEADLINE).submissions
    assert (submission.content, submission.file, submission.unreadable) == (None, "", "")
    given = grade(submission, None, assignment)
    assert (given.outcome, given.points) == (Outcome.NO_SUBMISSION, assignment.policy.points_if_missing)
    assert given.message.startswith("You did not hand in hw6.py by the deadline: ")
    assert "kim/hw6.py came 1 minute 30 seconds after the deadline, 2026-12-01 01:19:00+00:00." in given.message
    assert "kim/hw6.py is late and is not used: it came 1 minute 30 seconds after" in " ".join(given.review)
    assert "kim_hw6.py is late and is not used: it came 2 hours after" in " ".join(given.review)
    assert "1 minute 30 seconds" in checks_table([(submission, None)])["message"].iloc[0]


def test_a_late_file_is_not_even_opened(folder: Path) -> None:
    hand_in(folder / "kim_hw6.py", b"counts", at=DUE)
    (folder / "kim").mkdir()
    (folder / "kim" / "hw6.py").symlink_to("/nowhere")
    os.utime(folder / "kim" / "hw6.py", (DUE + 1, DUE + 1), follow_symlinks=False)
    submission = by_student(collected(folder, deadline=DEADLINE))["kim"]
    assert (submission.content, submission.unreadable) == (b"counts", "")


def test_without_a_deadline_the_last_file_counts_and_nothing_is_late(folder: Path) -> None:
    hand_in(folder / "kim_hw6.py", b"first", at=PAST)
    hand_in(folder / "kim" / "hw6.py", b"last", at=PAST + HOUR)
    collection = collected(folder)
    assert by_student(collection)["kim"].content == b"last"
    assert Status.LATE not in statuses(collection).values()
    assert collection.notices == ()


def without_a_time(monkeypatch: pytest.MonkeyPatch, hidden: Path) -> None:
    """Let the first look at a file fail, as a network disk may; the file itself can be read."""
    real, looks = Path.lstat, iter([OSError("gone for a moment")])

    def lstat(path: Path) -> os.stat_result:
        for error in looks if path == hidden else ():
            raise error
        return real(path)

    monkeypatch.setattr(Path, "lstat", lstat)


@pytest.mark.parametrize("deadline", [None, DEADLINE])
@pytest.mark.parametrize("other", [DUE - HOUR, DUE + HOUR])
def test_nobody_is_graded_where_a_file_has_no_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch, assignment: Assignment, deadline: datetime | None, other: int
) -> None:
    hand_in(folder / "kim_hw6.py")
    hand_in(folder / "kim" / "hw6.py", at=other)
    without_a_time(monkeypatch, folder / "kim_hw6.py")
    collection = collected(folder, deadline=deadline)
    submission = by_student(collection)["kim"]
    assert (submission.content, submission.late) == (None, "")
    assert submission.unreadable == "kim_hw6.py has no time that can be read"
    assert decision_on(collection, "kim_hw6.py").status is Status.UNREADABLE
    assert grade(submission, None, assignment).points is None


def test_a_report_with_a_deadline_grades_by_the_file_in_time(tmp_path: Path) -> None:
    hand_in(tmp_path / "in" / "kim_hw6.py", b"in time", at=DUE)
    hand_in(tmp_path / "in" / "lee_hw6.py", b"late", at=DUE + HOUR)
    hand_in(tmp_path / "in" / "kim" / "hw6.py", b"late", at=DUE + 2 * HOUR)
    with open_ledger(tmp_path / "out") as ledger:
        for student, content in (("kim", b"in time"), ("lee", b"late")):
            ledger.append(entry(student_id=student, sha256=hashlib.sha256(content).hexdigest()))
    report = ("report", tmp_path / "in", "--out", tmp_path / "out", "--deadline")
    finished = run_grader(*report, "2026-12-01 10:19 Asia/Seoul")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "deadline: 2026-12-01 10:19:00+09:00; times are the files' own" in finished.stdout
    assert "  lee: lee_hw6.py is late and is not used: it came 1 hour after the deadline" in finished.stdout
    assert finished.stdout.partition("student_id")[0].count("lee_hw6.py") == 1
    table = read_table(tmp_path / "out" / "grades.csv")
    assert [(row["file"], row["outcome"], row["points"]) for row in table.values()] == [
        ("kim_hw6.py", "graded", "20"),
        ("", "no_submission", "0"),
    ]
    assert "kim/hw6.py is late and is not used: it came 2 hours after" in table["kim"]["review"]
    collection = (tmp_path / "out" / "collection.csv").read_text(encoding="utf-8-sig")
    assert '"kim/hw6.py","kim","late","it came 2 hours after the deadline, 2026-12-01 10:19:00+09:00"' in collection

    refused = run_grader(*report, "2026-12-01T10:19")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: DEADLINE=2026-12-01T10:19 names no time zone")
    assert len(refused.stderr.splitlines()) == 1


def said_of_times(folder: Path, *times: int) -> str:
    for number, at in enumerate(times):
        hand_in(folder / f"s{number}_hw6.py", at=at)
    return "; ".join(notice for notice in collected(folder).notices if "files have" in notice)


def test_a_class_whose_files_have_one_minute_is_said_to_be_copied(folder: Path) -> None:
    start = PAST // 60 * 60
    said = said_of_times(folder, start, start + 59, start + 30, start + HOUR, start - HOUR)
    assert said.startswith("3 of 5 files have the same minute, 2025-10-09 ")
    assert "after today" not in said


def test_half_of_the_files_in_one_minute_are_nothing_to_say(folder: Path) -> None:
    assert said_of_times(folder, PAST, PAST, PAST + HOUR, PAST - HOUR) == ""


def test_one_file_alone_is_nothing_to_say(folder: Path) -> None:
    assert said_of_times(folder, PAST) == ""


def test_files_from_after_today_are_said(folder: Path) -> None:
    tomorrow = int(time.time()) + 25 * HOUR
    assert said_of_times(folder, PAST, tomorrow, tomorrow + HOUR, PAST + HOUR).startswith(
        "2 of 4 files have a time after"
    )


def test_today_is_that_of_the_deadline_s_zone() -> None:
    late_evening = parsed("2026-12-01 23:30 Asia/Seoul")
    assert not list(doubts_about_times([late_evening], late_evening.date()))
    assert list(doubts_about_times([late_evening], late_evening.astimezone(UTC).date() - timedelta(days=1)))
