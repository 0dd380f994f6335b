"""Blackboard's archive: the last attempt in time counts with all of its files, and the .txt is believed."""

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from archives import BLACKBOARD, account, attempt, bb, unpack, write_archive
from grader.collect import collect
from grader.errors import UserError
from grader.records import Collection, Status
from grader.results.score import grade
from submission_folders import ASSIGNMENT, by_student, collected, decision_on, statuses, write_roster

T1, T2, T3 = "2026-11-20-23-58-03", "2026-11-21-10-00-00", "2026-11-22-00-00-01"
SEOUL = datetime(2026, 11, 21, 23, 59, tzinfo=ZoneInfo("Asia/Seoul"))


def blackboard(tmp_path: Path, *parts: dict[str, bytes], deadline: datetime | None = SEOUL) -> Collection:
    entries = {name: content for part in parts for name, content in part.items()}
    return collected(write_archive(tmp_path / BLACKBOARD, entries), deadline=deadline)


def test_the_last_attempt_by_the_deadline_counts_with_all_of_its_files(tmp_path: Path) -> None:
    collection = blackboard(
        tmp_path,
        attempt("kim", T1, hw6__py=b"first", old__py=b"o = 1"),
        attempt("kim", T2, hw6__py=b"second", resnet__py=b"x = 1"),
        attempt("kim", T3, hw6__py=b"late", late__py=b"l = 1"),
    )
    kim = by_student(collection)["kim"]
    assert (kim.content, kim.file) == (b"second", bb("kim", T2, "hw6.py"))
    assert [(one.name, one.content) for one in kim.companions] == [("resnet.py", b"x = 1")]
    assert kim.submitted_at == datetime(2026, 11, 21, 1, 0, tzinfo=UTC)
    assert decision_on(collection, bb("kim", T1, "hw6.py")).status is Status.SUPERSEDED
    late = decision_on(collection, bb("kim", T3, "hw6.py"))
    assert (late.status, "1 minute 1 second after" in late.reason) == (Status.LATE, True)
    for time, file in ((T1, "old.py"), (T3, "late.py")):
        assert "does not count" in decision_on(collection, bb("kim", time, file)).reason
    assert len(collection.decisions) == 9
    (remark,) = kim.remarks
    assert "is late and is not used" in remark, "an earlier attempt is nothing that a person must look at"


def test_times_that_blackboard_wrote_into_names_are_never_said_to_be_a_copy_s(tmp_path: Path) -> None:
    collection = blackboard(tmp_path, *(attempt(user, T1, hw6__py=b"x") for user in ("kim", "lee", "park")))
    assert not any("same minute" in notice for notice in collection.notices)


def test_without_a_deadline_the_last_attempt_counts(tmp_path: Path) -> None:
    parts = [attempt("kim", time, hw6__py=time.encode()) for time in (T3, T1, T2)]
    assert by_student(blackboard(tmp_path, *parts, deadline=None))["kim"].content == T3.encode()


def test_who_sent_only_late_attempts_has_nothing_and_every_file_is_listed(tmp_path: Path) -> None:
    collection = blackboard(tmp_path, attempt("kim", T3, hw6__py=b"late", resnet__py=b"x"))
    kim = by_student(collection)["kim"]
    assert kim.content is None
    assert "after the deadline" in kim.late
    assert statuses(collection)[bb("kim", T3, "resnet.py")] is Status.BESIDE


@pytest.mark.parametrize(("zone", "late"), [("Asia/Seoul", False), ("UTC", True)])
def test_times_without_a_zone_are_read_in_the_deadline_s(tmp_path: Path, zone: str, late: bool) -> None:
    deadline = datetime(2026, 11, 21, 23, 0, tzinfo=UTC).astimezone(ZoneInfo(zone))
    collection = blackboard(tmp_path, attempt("kim", "2026-11-22-00-30-00", hw6__py=b"x"), deadline=deadline)
    assert bool(by_student(collection)["kim"].late) is late
    assert any(f"they are read in DEADLINE's zone, {zone}" in notice for notice in collection.notices)


def test_the_layout_is_recognised_and_said_for_the_archive_and_its_folder(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / BLACKBOARD, attempt("kim", T1, hw6__py=b"same"))
    for path in (archive, unpack(archive, tmp_path / "unpacked")):
        collection = collected(path)
        assert by_student(collection)["kim"].content == b"same"
        assert collection.notices[0] == "layout: Blackboard's, recognised by its names; FORMAT= says otherwise"


def test_a_forced_layout_is_kept_and_said(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / BLACKBOARD, attempt("kim", T1, hw6__py=b"x"))
    assert collect(archive, None, ASSIGNMENT, None, "blackboard").notices[0] == "layout: Blackboard's"
    with pytest.raises(UserError, match="as Moodle names it: name another layout with FORMAT="):
        collect(archive, None, ASSIGNMENT, None, "moodle")
    folder = unpack(archive, tmp_path / "unpacked")
    assert list(by_student(collect(folder, None, ASSIGNMENT, None, "folder"))) == [
        f"Project_6_kim_attempt_{T1}",
    ]


def test_the_txt_is_believed_before_the_mangled_name(tmp_path: Path) -> None:
    entry = bb("kim_m.s-1", T1, "hw6_py.txt")
    collection = blackboard(
        tmp_path,
        {bb("kim_m.s-1", T1): account("kim_m.s-1", ("hw6.py", entry), name="김 (민수)"), entry: b"x = 1"},
    )
    student = by_student(collection)["kim_m.s-1"]
    assert (student.file, student.content, student.remarks) == (entry, b"x = 1", ())
    assert "copy" not in decision_on(collection, entry).reason


def test_what_a_student_wrote_into_the_txt_moves_nothing(tmp_path: Path) -> None:
    hw6, notes = bb("kim", T1, "hw6.py"), bb("kim", T1, "notes.py")
    forged = f"Name: Lee (lee)\r\nFiles:\r\n\tOriginal filename: hw6.py\r\n\tFilename: {notes}\r\n"
    told = account("kim", ("hw6.py", hw6), ("notes.py", notes), comments=forged)
    collection = blackboard(tmp_path, {bb("kim", T1): told, hw6: b"mine", notes: b"n = 1"})
    assert list(by_student(collection)) == ["kim"]
    assert by_student(collection)["kim"].content == b"mine"


def test_a_file_named_like_an_attempt_of_another_student_stays_its_own(tmp_path: Path) -> None:
    evil = "x_lee_attempt_2026-11-21-00-00-00.txt"
    parts = attempt("kim", T1, hw6__py=b"k") | {bb("kim", T1, evil): account("lee", ("hw6.py", "hw6.py"))}
    collection = blackboard(tmp_path, parts, attempt("lee", T1, hw6__py=b"l"))
    assert {one.student_id: one.content for one in collection.submissions} == {"kim": b"k", "lee": b"l"}


def test_a_txt_that_contradicts_the_name_is_believed_and_remarked(tmp_path: Path) -> None:
    collection = blackboard(tmp_path, {bb("ki", T1): account("kim"), bb("ki", T1, "hw6.py"): b"x"})
    assert "says kim" in by_student(collection)["kim"].remarks[0]


def test_without_a_txt_the_username_follows_from_the_others_or_the_roster(tmp_path: Path) -> None:
    orphan = {bb("lee_s", T1, "hw6.py"): b"orphan"}
    collection = blackboard(tmp_path, attempt("kim", T1, hw6__py=b"k"), orphan)
    assert by_student(collection)["lee_s"].content == b"orphan"
    archive = write_archive(tmp_path / "alone.zip", orphan)
    roster = write_roster(tmp_path / "roster.csv", "lee_s,Lee", "kim,Kim")
    assert by_student(collected(archive, roster))["lee_s"].content == b"orphan"


def test_nobody_is_guessed_where_the_name_has_two_readings(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "alone.zip", {bb("lee_s", T1, "hw6.py"): b"orphan"})
    with pytest.raises(UserError, match="no attempt named as"):
        collected(archive)
    parts = attempt("kim", T1, "A", hw6__py=b"k") | attempt("x", T1, "A_b", hw6__py=b"x")
    collection = blackboard(tmp_path, parts, {bb("b_x", T2, "hw6.py", "A"): b"whose"})
    assert set(by_student(collection)) == {"kim", "x"}
    assert "the grader cannot tell whose file it is" in decision_on(collection, bb("b_x", T2, "hw6.py", "A")).reason


def test_of_two_readings_the_roster_s_is_taken_and_where_both_are_on_it_neither_gets_0(tmp_path: Path) -> None:
    orphan = bb("lee_s", T1, "hw6.py")
    archive = write_archive(tmp_path / BLACKBOARD, {orphan: b"x"} | {bb("kim", T1, "hw6.py"): b"k"})
    roster = write_roster(tmp_path / "r.csv", "lee_s,Lee", "s_,S", "kim,Kim")
    assert by_student(collected(archive, roster))["lee_s"].content == b"x"
    roster = write_roster(tmp_path / "r.csv", "lee_s,Lee", "s,S", "kim,Kim")
    students = by_student(collected(archive, roster))
    for student in ("lee_s", "s"):
        assert students[student].content is None
        assert f"{orphan} may be that of lee_s or s: the grader cannot tell" in students[student].unreadable
        assert grade(students[student], None, ASSIGNMENT).points is None
    assert students["kim"].content == b"k"


def test_an_attempt_without_a_file_hides_no_earlier_one(tmp_path: Path) -> None:
    collection = blackboard(tmp_path, attempt("kim", T1, hw6__py=b"counts"), attempt("kim", T2), attempt("lee", T1))
    students = by_student(collection)
    assert students["kim"].content == b"counts"
    assert students["kim"].remarks == ("the attempt of 2026-11-21 10:00:00 has no file",)
    assert (students["lee"].content, students["lee"].unreadable) == (None, "")
    assert "has no file" in decision_on(collection, bb("lee", T1)).reason


def test_a_time_that_no_calendar_has_is_never_graded_as_the_wrong_file(tmp_path: Path) -> None:
    collection = blackboard(
        tmp_path, attempt("kim", T1, hw6__py=b"a"), attempt("kim", "2026-02-30-00-00-00", hw6__py=b"b")
    )
    assert by_student(collection)["kim"].unreadable.endswith("has no time that can be read")


@pytest.mark.parametrize(
    ("wall", "zone"), [("2026-03-08-02-30-00", "America/New_York"), ("2026-11-01-01-30-00", "America/New_York")]
)
def test_a_time_that_clocks_skip_or_repeat_is_the_earlier_moment(tmp_path: Path, wall: str, zone: str) -> None:
    hour = int(wall[11:13])
    due = datetime(2026, int(wall[5:7]), int(wall[8:10]), hour, 30, tzinfo=ZoneInfo(zone))
    moments = [due.replace(fold=fold).astimezone(UTC) for fold in (0, 1)]
    kim = by_student(blackboard(tmp_path, attempt("kim", wall, hw6__py=b"x"), deadline=due))["kim"]
    assert kim.submitted_at
    assert (kim.submitted_at.astimezone(UTC), kim.content) == (min(moments), b"x")


@pytest.mark.parametrize("encoding", ["utf-8", "cp949", "utf-16"])
def test_a_txt_in_another_language_names_the_files_all_the_same(tmp_path: Path, encoding: str) -> None:
    entry, other = bb("kim", T1, "abc"), bb("kim", T1, "notes.py")
    told = (
        "이름: 김민수 (kim)\r\n과제: Project 6\r\n제출 날짜: 2026년 11월 20일 금요일 오후 11시 58분 03초 KST\r\n"
        f"현재 성적: 채점 필요\r\n\r\n설명:\r\n\t원래 파일 이름: hw6.py\r\n\t파일 이름: {other}\r\n\r\n파일:\r\n"
        f"\t원래 파일 이름: C:\\Users\\kim\\hw6.py\r\n\t파일 이름: {entry}\r\n\r\n"
        f"\t원래 파일 이름: notes.py\r\n\t파일 이름: {other}\r\n"
    )
    collection = blackboard(tmp_path, {bb("kim", T1): told.encode(encoding), entry: b"mine", other: b"n = 1"})
    kim = by_student(collection)["kim"]
    assert (kim.content, kim.original, [one.name for one in kim.companions]) == (b"mine", "hw6.py", ["notes.py"])


@pytest.mark.parametrize(
    ("clock", "apart"),
    [
        ("Friday, November 20, 2026 11:58:03 PM KST", None),
        ("2026년 11월 20일 금요일 오후 11시 58분 03초 KST", None),
        ("2026-11-20 오후 11:58:03", None),
        ("20.11.2026 23:58:03", None),
        ("Saturday, November 21, 2026 8:58:03 AM KST", "9"),
        ("2026년 11월 21일 오전 8:58:03", "9"),
        ("Friday, November 20, 2026 2:58:03 PM UTC", "9"),
        ("Saturday, November 21, 2026 5:28:03 AM IST", "5.5"),
        ("Friday, November 20, 2026 11:57:59 PM KST", None),
        ("", None),
    ],
)
def test_names_in_another_zone_than_blackboard_shows_are_said(tmp_path: Path, clock: str, apart: str | None) -> None:
    entries: dict[str, bytes] = {}
    for user in ("kim", "lee", "park"):
        told = account(user, ("hw6.py", bb(user, T1, "hw6.py")), comments="\r\n\r\nDate Submitted: 1:00:00 AM")
        said = told.replace(b"Date Submitted: 2026-11-20 23:58:03", f"Date Submitted: {clock}".encode())
        entries |= {bb(user, T1): said if user != "park" else told, bb(user, T1, "hw6.py"): b"x"}
    notices = [notice for notice in blackboard(tmp_path, entries).notices if "hours apart" in notice]
    assert [f"are {apart} hours apart" in notice for notice in notices] == [True] * (apart is not None)
