"""The name that a student gave the file stays known, whatever a learning system made of it."""

from pathlib import Path

import pytest

from archives import BLACKBOARD, account, bb, packed, write_archive
from grader.records import Submission
from submission_folders import by_student, collected, hand_in, write_roster

TIME = "2026-11-20-23-58-03"
ENTRY = bb("kim", TIME, "hw6__1_.py")


@pytest.mark.parametrize(
    ("archive", "entries", "file", "original"),
    [
        (BLACKBOARD, {ENTRY: b"x", bb("kim", TIME): account("kim", ("hw6 (1).py", ENTRY))}, ENTRY, "hw6 (1).py"),
        ("submissions.zip", {"kim_LATE_101_9001_hw6-1.py": b"x"}, "kim_LATE_101_9001_hw6-1.py", "hw6.py"),
        ("HW6.zip", {"Kim_7_assignsubmission_file_/hw6.py": b"x"}, "Kim_7_assignsubmission_file_/hw6.py", "hw6.py"),
        (
            "HW6.zip",
            {"Kim_7_assignsubmission_file_/all.zip": packed({"a/hw6.py": b"x"})},
            "Kim_7_assignsubmission_file_/all.zip/a/hw6.py",
            "hw6.py",
        ),
    ],
    ids=["Blackboard's .txt", "Canvas' number", "Moodle's folder", "in a zip"],
)
def test_an_archive_s_entry_and_the_student_s_own_name_are_both_kept(
    tmp_path: Path, archive: str, entries: dict[str, bytes], file: str, original: str
) -> None:
    (submission,) = collected(write_archive(tmp_path / archive, entries)).submissions
    assert (submission.file, submission.original) == (file, original)


def test_in_a_plain_folder_the_file_has_its_own_name(folder: Path) -> None:
    hand_in(folder / "kim" / "hw6.py")
    (submission,) = collected(folder).submissions
    assert (submission.file, submission.original) == ("kim/hw6.py", "")


def test_who_is_not_on_the_roster_is_marked_and_nobody_is_without_one(folder: Path, tmp_path: Path) -> None:
    hand_in(folder / "kim" / "hw6.py")
    hand_in(folder / "guest" / "hw6.py")
    roster = write_roster(tmp_path / "roster.csv", "kim,Kim", "lee,Lee")
    marked: dict[str, Submission] = by_student(collected(folder, roster))
    assert {student: one.on_roster for student, one in marked.items()} == {"guest": False, "kim": True, "lee": True}
    assert all(one.on_roster for one in collected(folder).submissions)
