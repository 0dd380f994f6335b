"""Canvas' and Moodle's archives: one attempt each, no times, the id that their own grade files have."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from archives import unpack, write_archive
from grader.errors import UserError
from grader.records import Collection, Status
from submission_folders import by_student, collected, decision_on, statuses

DEADLINE = datetime(2020, 1, 1, tzinfo=UTC)


def from_archive(tmp_path: Path, entries: dict[str, bytes], deadline: datetime | None = None) -> Collection:
    return collected(write_archive(tmp_path / "submissions.zip", entries), deadline=deadline)


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
