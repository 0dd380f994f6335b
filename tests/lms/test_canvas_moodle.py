"""Canvas' and Moodle's archives: one attempt each, no times, the id that their own grade files have."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gradebooks
from archives import canvas_entry, moodle_entry, packed, unpack, write_archive
from grader.assignment import load_assignment
from grader.errors import UserError
from grader.lms.attempts import SystemAttempt
from grader.lms.canvas import attempts
from grader.lms.files import DiskFile, NamedFile, WithoutFile
from grader.records import Collection, Decision, Status
from grader.results.score import grade
from submission_folders import by_student, collected, decision_on, statuses

DEADLINE = datetime(2020, 1, 1, tzinfo=UTC)


def from_archive(
    tmp_path: Path, entries: dict[str, bytes], deadline: datetime | None = None, gradebook: bytes = b""
) -> Collection:
    roster = tmp_path / "gradebook.csv"
    roster.write_bytes(gradebook)
    archive = write_archive(tmp_path / "submissions.zip", entries)
    return collected(archive, roster if gradebook else None, deadline)


def test_canvas_names_the_user_whatever_the_name_holds(tmp_path: Path) -> None:
    collection = from_archive(
        tmp_path,
        {
            "kimminsu_101_9001_hw6.py": b"a",
            "lee_s_102_9002_hw6.py": b"b",
            "김철수_103_9003_hw6.py": b"c",
            "anon_aB3x9_9004_hw6.py": b"d",
        },
    )
    assert {one.student_id: one.content for one in collection.submissions} == {
        "101": b"a",
        "102": b"b",
        "103": b"c",
        "anon_aB3x9": b"d",
    }
    assert collection.notices[0] == "layout: Canvas's, recognised by its names; FORMAT= says otherwise"


def test_canvas_gives_a_companion_its_own_name_back(tmp_path: Path) -> None:
    collection = from_archive(tmp_path, {"kim_1_11_hw6-2.py": b"import resnet", "kim_1_12_resnet-1.py": b"x = 1"})
    kim = by_student(collection)["1"]
    assert kim.content == b"import resnet"
    assert [one.name for one in kim.companions] == ["resnet.py"]


def test_what_canvas_marks_late_is_graded_and_a_person_must_look(tmp_path: Path) -> None:
    collection = from_archive(tmp_path, {"kim_LATE_1_11_hw6.py": b"x"}, DEADLINE)
    kim = by_student(collection)["1"]
    assert (kim.content, kim.submitted_at, kim.late) == (b"x", None, "")
    assert "marks it as late" in kim.remarks[0]
    assert any("whatever DEADLINE= says" in notice for notice in collection.notices)
    assert not any(notice.startswith("deadline:") for notice in collection.notices)


@pytest.mark.parametrize("user", ["aB3x9", "12345"])
def test_an_anonymous_attempt_is_late_too(tmp_path: Path, user: str) -> None:
    entry = canvas_entry("", f"anon_{user}", 9001, late=True)
    kim = by_student(from_archive(tmp_path, {entry: b"x"}, gradebook=anonymous(user)))[f"anon_{user}"]
    assert (kim.content, "marks it as late" in kim.remarks[0]) == (b"x", True)


def anonymous(user: str) -> bytes:
    return f"student_id,name\nanon_{user},\n".encode()


# What stands in a name, and what students call their files: each has more than one reading.
SEVERAL = [
    ("team_3", "101", "hw6.py"),
    ("kim_9", "101", "hw6.py"),
    ("kim", "101", "20261001_hw6.py"),
    ("kim", "101", "3_4_hw6.py"),
    ("kim", "101", "3_text.html"),
    ("anon_5", "101", "hw6.py"),
    ("", "101", "7_hw6.py"),
]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(("name", "user", "file"), SEVERAL)
def test_of_several_readings_the_roster_s_is_taken(tmp_path: Path, name: str, user: str, file: str, late: bool) -> None:
    entry = canvas_entry(name, user, 9001, file, late)
    collection = from_archive(tmp_path, {entry: b"x"}, gradebook=gradebooks.canvas((("101", "", ""), ("102", "", ""))))
    student = by_student(collection)["101"]
    assert ("late" in " ".join(student.remarks)) is (late and file.endswith(".py"))
    assert decision_on(collection, entry).student_id == "101"
    assert (student.content == b"x") is file.endswith(".py")
    assert by_student(collection)["102"].content is None


def test_of_several_readings_on_the_roster_the_one_of_the_student_s_name_is_taken(tmp_path: Path) -> None:
    book = gradebooks.canvas((("3", "Team", ""), ("101", "Park_3", "")))
    students = by_student(from_archive(tmp_path, {canvas_entry("park_3", "101", 9001): b"x"}, gradebook=book))
    assert (students["101"].content, students["3"].content) == (b"x", None)


def test_a_reading_that_the_user_s_other_files_contradict_is_none(tmp_path: Path) -> None:
    book = gradebooks.canvas((("3", "A", ""), ("101", "B", "")))
    entries = {canvas_entry("lee", "3", 4): b"3's", canvas_entry("team_3", "101", 9001): b"x"}
    for gradebook in (book, b""):
        students = by_student(from_archive(tmp_path, entries, gradebook=gradebook))
        assert (students["101"].content, students["3"].content) == (b"x", b"3's")


def test_nobody_gets_another_s_file_by_a_name_that_ends_in_the_other_s_number(tmp_path: Path) -> None:
    book = gradebooks.canvas((("101", "Kim", ""), ("500", "kim_101", "")))
    entries = {canvas_entry("kim", "101", 9001): b"kim's", canvas_entry("kim_101", "500", 9009): b"other's"}
    students = by_student(from_archive(tmp_path, entries, gradebook=book))
    assert (students["101"].content, students["500"].content) == (b"kim's", None)
    assert "user 500's hw6.py" in students["500"].unreadable
    assert list(by_student(from_archive(tmp_path, entries))) == ["101"]


def test_where_the_roster_cannot_decide_both_are_asked_for_by_name_and_neither_gets_0(tmp_path: Path) -> None:
    book = gradebooks.canvas((("3", "Lee", ""), ("101", "Kim", ""), ("102", "Park", "")))
    entry = canvas_entry("team_3", "101", 9001)
    collection = from_archive(tmp_path, {entry: b"x", canvas_entry("park", "102", 9002): b"p"}, gradebook=book)
    students = by_student(collection)
    for user in ("3", "101"):
        submission = students[user]
        assert submission.content is None
        assert grade(submission, None, load_assignment()).points is None
        assert "user 3's 9001_hw6.py or user 101's hw6.py" in submission.unreadable
    assert "rename the file" in decision_on(collection, entry).reason
    assert students["102"].content == b"p"


def test_without_a_roster_nobody_is_guessed_and_the_gradebook_is_asked_for(tmp_path: Path) -> None:
    entry = canvas_entry("kim", "101", 9001, "20261001_hw6.py")
    with pytest.raises(UserError, match=r"user 101's 20261001_hw6\.py or user 9001's hw6\.py: name ROSTER="):
        from_archive(tmp_path, {entry: b"x"})
    collection = from_archive(tmp_path, {entry: b"x", canvas_entry("lee", "102", 9002): b"l"})
    assert list(by_student(collection)) == ["102"]


def test_a_group_s_attempt_counts_for_the_member_whose_id_it_bears_and_a_person_is_told(tmp_path: Path) -> None:
    book = gradebooks.canvas((("101", "Kim, Min", ""), ("102", "Lee, Sam", "")))
    students = by_student(from_archive(tmp_path, {canvas_entry("Team 3", "101", 9001): b"x"}, gradebook=book))
    assert students["101"].content == b"x"
    assert "if it is a group's attempt, the group's other members have no file" in students["101"].remarks[0]
    alone = from_archive(tmp_path, {canvas_entry("Kim, Min", "101", 9001): b"x"}, gradebook=book)
    assert by_student(alone)["101"].remarks == ()


def test_a_list_beside_the_unpacked_files_hides_no_canvas(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name in ("kim_101_9001_hw6.py", "lee_102_9002_hw6.py", "notes.docx"):
        (folder / name).write_bytes(b"x")
    collection = collected(folder)
    assert list(by_student(collection)) == ["101", "102"]
    assert decision_on(collection, "notes.docx").reason == "its name is not one that Canvas gives"


def test_moodle_s_group_is_no_participant(tmp_path: Path) -> None:
    book = gradebooks.moodle((("37", "김 민수", ""), ("38", "Lee Sam", "")))
    entries = {moodle_entry("김 민수", "37"): b"x", moodle_entry("Team A", "38"): b"y"}
    students = by_student(from_archive(tmp_path, entries, gradebook=book))
    assert students["37"].remarks == ()
    assert "a group's attempt bears the group's number" in students["38"].remarks[0]
    blind = {moodle_entry("Participant", "37"): b"x", moodle_entry("Participant", "38"): b"y"}
    assert {one.remarks for one in from_archive(tmp_path, blind, gradebook=book).submissions} == {()}


def test_an_older_moodle_s_attempt_of_a_group_is_each_member_s_and_nothing_to_look_at(tmp_path: Path) -> None:
    book = gradebooks.moodle((("37", "김 민수", ""), ("38", "Ann-Marie O'Neil", "")))
    entries = {moodle_entry("Team 1-A-김 민수", "37"): b"x", moodle_entry("Team 1-A-Ann-Marie ONeil", "38"): b"x"}
    students = by_student(from_archive(tmp_path, entries, gradebook=book))
    assert [(one.content, one.remarks) for one in students.values()] == [(b"x", ())] * 2


def test_of_equal_names_canvas_last_attachment_counts(tmp_path: Path) -> None:
    entries = {canvas_entry("kim", "101", 9): b"first", canvas_entry("kim", "101", 10): b"second"}
    assert by_student(from_archive(tmp_path, entries))["101"].content == b"second"


@pytest.mark.parametrize("name", [".Kim", "", "_", "..", "__MACOSX", "1_2_3"])
def test_no_name_of_a_student_hides_an_attempt(tmp_path: Path, name: str) -> None:
    entries = {moodle_entry(name, "37"): b"x", f"._{moodle_entry(name, '37')}": b"m"}
    assert by_student(from_archive(tmp_path, entries))["37"].content == b"x"
    assert by_student(from_archive(tmp_path, {canvas_entry(name, "101", 9001): b"x"}, gradebook=CANVAS))


CANVAS = gradebooks.canvas((("101", "", ""),))


def test_what_was_typed_into_canvas_is_no_file_but_is_listed(tmp_path: Path) -> None:
    collection = from_archive(tmp_path, {"kim_1_text.html": b"<p>", "lee_2_22_hw6.py": b"x", "lee_2_link.html": b"<a>"})
    assert by_student(collection)["1"].remarks == ("the attempt has no file",)
    assert statuses(collection) == {
        "kim_1_text.html": Status.UNRECOGNISED,
        "lee_2_22_hw6.py": Status.TAKEN,
        "lee_2_link.html": Status.BESIDE,
    }


def test_a_plain_folder_with_numbers_in_its_names_is_not_canvas_s(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name in ("kim_2026_1_hw6.py", "lee_hw6.py"):
        (folder / name).write_bytes(b"x")
    assert list(by_student(collected(folder))) == ["kim_2026_1", "lee"]


@pytest.mark.parametrize("separator", ["_/", "/", "_"])
def test_moodle_s_id_is_that_of_its_worksheet(tmp_path: Path, separator: str) -> None:
    collection = from_archive(
        tmp_path,
        {
            f"김 민수_37_assignsubmission_file{separator}hw6.py": b"a",
            f"김 민수_37_assignsubmission_file{separator}resnet.py": b"x = 1",
            f"Participant_38_assignsubmission_file{separator}hw6.py": b"b",
        },
    )
    students = by_student(collection)
    assert {one.student_id: one.content for one in students.values()} == {"37": b"a", "38": b"b"}
    assert [one.name for one in students["37"].companions] == ["resnet.py"]
    assert "Moodle" in collection.notices[0]


def test_moodle_s_unpacked_folder_is_recognised_and_online_text_is_no_file(tmp_path: Path) -> None:
    archive = write_archive(
        tmp_path / "course.zip",
        {
            "Kim_1_assignsubmission_file_/hw6/hw6.py": b"in a folder",
            "Lee_2_assignsubmission_onlinetext_/onlinetext.html": b"<p>",
        },
    )
    for path in (archive, unpack(archive, tmp_path / "unpacked")):
        collection = collected(path)
        assert by_student(collection)["1"].content == b"in a folder"
        assert by_student(collection)["2"].content is None
        assert (
            "wrote into Moodle" in decision_on(collection, "Lee_2_assignsubmission_onlinetext_/onlinetext.html").reason
        )


def test_one_moodle_student_s_folder_is_not_taken_for_a_wrapper(tmp_path: Path) -> None:
    assert list(by_student(from_archive(tmp_path, {"Kim_1_assignsubmission_file_/hw6.py": b"x"}))) == ["1"]


def test_a_mac_s_folder_around_everything_is_passed_over(tmp_path: Path) -> None:
    entries = {"submissions/kim_1_11_hw6.py": b"x", "__MACOSX/submissions/._kim_1_11_hw6.py": b"m"}
    collection = from_archive(tmp_path, entries)
    assert by_student(collection)["1"].content == b"x"
    assert statuses(collection)["__MACOSX/submissions/._kim_1_11_hw6.py"] is Status.BESIDE


def test_an_archive_of_no_known_layout_names_the_ways_out(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"set FORMAT=, or unpack it and pass a folder with <student>/hw6\.py"):
        from_archive(tmp_path, {"kim/hw6.py": b"x", "lee/hw6.py": b"y"})


def test_an_archive_that_was_packed_again_or_lies_in_the_folder_is_named(tmp_path: Path) -> None:
    downloaded = packed({"Kim_1_assignsubmission_file_/hw6.py": b"x"})
    again = write_archive(tmp_path / "again.zip", {"ML-HW6-11.zip": downloaded, "readme.txt": b""})
    for path in (again, unpack(again, tmp_path / "downloads")):
        with pytest.raises(UserError, match=r"; if ML-HW6-11\.zip in it is the system's archive, pass that$"):
            collected(path)


# The same examples everywhere: a test that fails, fails for everyone.
few = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
PARTS = st.lists(st.sampled_from(("team", "LATE", "anon", "_", "_", "3", "4", "101", "text.html", "")), max_size=6).map(
    "".join
)


@few
@given(st.lists(st.tuples(st.sampled_from(("3", "4", "101")), PARTS, PARTS, st.booleans()), max_size=3), st.booleans())
def test_whatever_names_canvas_makes_nobody_is_graded_on_another_s_file_or_lost(
    handed_in: list[tuple[str, str, str, bool]], listed: bool
) -> None:
    came: dict[str, str] = {}
    for number, (user, name, file, late) in enumerate(handed_in):
        came.setdefault(user, canvas_entry(name, user, 9_001 + number, f"{file}hw6.py", late))
    files = [NamedFile(entry, DiskFile(entry, Path(entry))) for entry in sorted(came.values())]
    known = [dict.fromkeys(("3", "4", "101"), "")] if listed else []
    found = list(attempts(files, known))
    asked = {one.archive for one in found if isinstance(one, WithoutFile)}
    aside = {one.file for one in found if isinstance(one, Decision)}
    taken = {file.stored.shown: one.student_id for one in found if isinstance(one, SystemAttempt) for file in one.files}
    assert taken.keys() | aside == set(came.values())
    assert asked == (aside if listed else set())
    assert taken.items() <= {entry: user for user, entry in came.items()}.items()
