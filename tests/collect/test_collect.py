"""Collecting: every file ends up with its student or in the list of what was set aside."""

import hashlib
import os
import tempfile
import unicodedata
from datetime import UTC, datetime
from pathlib import Path

import pytest

from archives import packed
from grader.collect import collect
from grader.errors import UserError
from grader.records import Status, Submission
from submission_folders import ASSIGNMENT, by_student, collected, decision_on, hand_in, statuses, write_roster


@pytest.mark.parametrize("file", ["kim/hw6.py", "kim_hw6.py", "hw6_kim.py"])
def test_each_layout_names_the_student(folder: Path, file: str) -> None:
    hand_in(folder / file, b"import torch\n", at=1_760_000_000)
    collection = collected(folder)
    assert collection.submissions == (
        Submission(
            student_id="kim",
            file=file,
            content=b"import torch\n",
            sha256=hashlib.sha256(b"import torch\n").hexdigest(),
            submitted_at=datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC),
        ),
    )
    assert statuses(collection) == {file: Status.TAKEN}
    assert decision_on(collection, file).student_id == "kim"


def test_the_layouts_follow_the_assignment_s_file_name(folder: Path) -> None:
    hand_in(folder / "kim_lab.cu")
    hand_in(folder / "lab_lee.cu")
    hand_in(folder / "park" / "lab.cu")
    hand_in(folder / "choi_hw6.py")
    collection = collect(folder, None, ASSIGNMENT.model_copy(update={"file": "lab.cu"}))
    assert list(by_student(collection)) == ["kim", "lee", "park"]
    assert statuses(collection)["choi_hw6.py"] is Status.UNRECOGNISED


@pytest.mark.usefixtures("in_korea")
def test_the_time_is_in_the_local_time_zone(folder: Path) -> None:
    hand_in(folder / "kim_hw6.py", at=1_760_000_000)
    submitted_at = by_student(collected(folder))["kim"].submitted_at
    assert submitted_at is not None
    assert submitted_at.isoformat() == "2025-10-09T17:53:20+09:00"


def test_a_time_that_no_calendar_has_stops_nothing() -> None:
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        pytest.skip("no file system here keeps such a time")
    with tempfile.TemporaryDirectory(dir=memory) as name:
        hand_in(Path(name, "kim_hw6.py"), b"read", at=2**45)
        submission = by_student(collected(Path(name)))["kim"]
    assert (submission.content, submission.submitted_at) == (b"read", None)


def test_students_come_sorted_by_id(folder: Path) -> None:
    for student in ("b", "C", "a", "10", "9"):
        hand_in(folder / f"{student}_hw6.py")
    assert list(by_student(collected(folder))) == ["10", "9", "C", "a", "b"]


def test_ids_that_differ_in_case_are_two_students(folder: Path) -> None:
    hand_in(folder / "Kim_hw6.py", b"upper")
    hand_in(folder / "kim" / "hw6.py", b"lower")
    students = by_student(collected(folder))
    assert [students["Kim"].content, students["kim"].content] == [b"upper", b"lower"]
    assert not students["kim"].remarks


def test_underscores_and_blanks_belong_to_the_id(folder: Path) -> None:
    hand_in(folder / "kim_min_su_hw6.py")
    hand_in(folder / "hw6_lee seo yeon.py")
    assert list(by_student(collected(folder))) == ["kim_min_su", "lee seo yeon"]


# A student's own name for the file, and how it counts; an archive's attempts are held to the same in tests/lms.
COPY, TXT, NOTEBOOK = "the name is that of a copy", "only .txt was added", "a notebook, whose code cells run"
NAMES = [
    ("HW6.py", COPY),
    ("hw6 (1).PY", COPY),
    ("hw6 - Copy.py", COPY),
    ("hw6.py.txt", TXT),
    ("HW6 (2).ipynb", NOTEBOOK),
]


@pytest.mark.parametrize(
    ("file", "why"),
    [
        *((f"kim/{name}", why) for name, why in NAMES),
        *((f"kim_{name}", why) for name, why in NAMES),
        *(("HW6_kim.py", COPY), ("hw6_kim (1).py", COPY), ("hw6_kim.py.txt", TXT), ("hw6_kim.ipynb", NOTEBOOK)),
    ],
)
def test_a_copy_s_or_a_notebook_s_name_counts_as_in_an_archive(folder: Path, file: str, why: str) -> None:
    hand_in(folder / file, b"x")
    collection = collected(folder)
    kim = by_student(collection)["kim"]
    assert (kim.file, kim.content, kim.remarks) == (file, b"x", ())
    decision = decision_on(collection, file)
    assert decision.status is Status.TAKEN
    assert f"the last file of this student; counts as hw6.py: {why}" in decision.reason


def test_of_several_names_in_a_folder_the_rule_decides_and_the_others_are_listed(folder: Path) -> None:
    for at, name in enumerate(["hw6.py", "hw6 (1).py", "hw6.ipynb"]):
        hand_in(folder / "kim" / name, name.encode(), at=1_760_000_000 + at)
    collection = collected(folder)
    assert by_student(collection)["kim"].content == b"hw6.py"
    assert statuses(collection) == {
        "kim/hw6.py": Status.TAKEN,
        "kim/hw6 (1).py": Status.SUPERSEDED,
        "kim/hw6.ipynb": Status.SUPERSEDED,
    }
    assert len(by_student(collection)["kim"].remarks) == 2


def test_a_folder_s_only_script_and_a_zip_count_as_in_an_archive(folder: Path) -> None:
    hand_in(folder / "kim" / "final.py", b"x", at=1_760_000_000)
    hand_in(folder / "lee" / "work.zip", packed({"src/hw6.py": b"zipped"}), at=1_760_000_007)
    students = by_student(collected(folder))
    assert students["kim"].remarks == ("kim/final.py counts as hw6.py: the only Python file of the attempt",)
    assert (students["lee"].content, students["lee"].file) == (b"zipped", "lee/work.zip/src/hw6.py")
    assert students["lee"].submitted_at == datetime.fromtimestamp(1_760_000_007, UTC)


@pytest.mark.parametrize("on_roster", [True, False])
@pytest.mark.parametrize(
    ("beside", "file"),
    [("", "hw6/hw6.py"), ("report.pdf", "src/hw6.py"), (".DS_Store", "Assignment 6/hw 6/HW6 (1).py")],
)
def test_the_only_folder_in_a_student_s_is_opened(folder: Path, beside: str, file: str, on_roster: bool) -> None:
    for each in filter(None, (beside, file, f"{file.rpartition('/')[0]}/utils.py")):
        hand_in(folder / "kim" / each, each.encode(), at=1_760_000_007)
    if on_roster:
        roster = write_roster(folder.parent / "roster.csv", "kim,Kim")
    else:
        hand_in(folder / "lee" / "hw6.py")
    kim = by_student(collected(folder, roster if on_roster else None))["kim"]
    assert (kim.file, kim.content) == (f"kim/{file}", file.encode())
    assert [each.name for each in kim.companions] == ["utils.py"]
    assert kim.submitted_at == datetime.fromtimestamp(1_760_000_007, UTC)


def test_of_several_folders_in_a_student_s_and_of_one_full_of_data_none_is_opened(folder: Path) -> None:
    for file in ("kim/a/hw6.py", "kim/b/hw6.py", "choi_hw6.py"):
        hand_in(folder / file)
    for number in range(1_001):
        hand_in(folder / "lee" / "data" / f"{number}.png")
    collection = collected(folder)
    students = by_student(collection)
    assert [students[each].content for each in ("kim", "lee")] == [None, None]
    assert [decision.file for decision in collection.decisions] == ["choi_hw6.py", "kim/a/", "kim/b/", "lee/data/"]


def test_a_zip_in_a_folder_that_cannot_be_opened_is_the_student_s(folder: Path) -> None:
    hand_in(folder / "kim" / "hw6.zip", b"no zip", at=1_760_000_000)
    kim = by_student(collected(folder))["kim"]
    assert kim.unreadable == "kim/hw6.zip is not a zip archive that can be read"
    late = by_student(collected(folder, deadline=datetime(2025, 1, 1, tzinfo=UTC)))["kim"]
    assert late.unreadable == ""


def test_the_number_of_a_copy_belongs_to_the_id_where_that_comes_last(folder: Path) -> None:
    for file in ("hw6_2023_1.py", "hw6_2023-2.py", "2023_3_hw6_1.py"):
        hand_in(folder / file)
    assert list(by_student(collected(folder))) == ["2023-2", "2023_1", "2023_3"]


@pytest.mark.parametrize(
    "file", ["hw6.py", "HW6.PY", "hw6 (1).py", "hw6.ipynb", "_hw6.py", "hw6_.py", " _hw6.py", "notes.txt", "kim_hw7.py"]
)
def test_a_file_that_names_no_student_is_listed(folder: Path, file: str) -> None:
    hand_in(folder / file)
    hand_in(folder / "kim_hw6.py")
    collection = collected(folder)
    assert list(by_student(collection)) == ["kim"]
    assert decision_on(collection, file).status is Status.UNRECOGNISED
    assert "<student>/hw6.py" in decision_on(collection, file).reason


def test_a_folder_called_like_the_file_names_no_student(folder: Path) -> None:
    hand_in(folder / "hw6.py" / "hw6.py")
    hand_in(folder / "kim_hw6.py")
    collection = collected(folder)
    assert list(by_student(collection)) == ["kim"]
    assert decision_on(collection, "hw6.py/").status is Status.UNRECOGNISED


def test_what_the_system_made_is_set_aside(folder: Path) -> None:
    hand_in(folder / "kim" / "hw6.py")
    system = [".DS_Store", "._kim_hw6.py", "Thumbs.db", "__MACOSX/kim/._hw6.py", "__pycache__/hw6.pyc", ".git/HEAD"]
    for file in [*system, "kim/.DS_Store", "kim/__pycache__/hw6.pyc"]:
        hand_in(folder / file)
    collection = collected(folder)
    assert list(by_student(collection)) == ["kim"]
    assert not by_student(collection)["kim"].remarks
    listed = statuses(collection)
    assert listed.pop("kim/hw6.py") is Status.TAKEN
    assert set(listed.values()) == {Status.BESIDE}
    assert {"__MACOSX/", ".git/", "._kim_hw6.py", "kim/.DS_Store", "kim/__pycache__"} <= listed.keys()


def test_another_file_beside_the_student_s_own_is_harmless(folder: Path) -> None:
    for file in ("hw6.py", "report.pdf", "old/hw6.py"):
        hand_in(folder / "kim" / file)
    collection = collected(folder)
    assert statuses(collection) == {
        "kim/hw6.py": Status.TAKEN,
        "kim/old/": Status.BESIDE,
        "kim/report.pdf": Status.BESIDE,
    }
    assert not by_student(collection)["kim"].remarks


@pytest.mark.parametrize("newest", ["hw6_kim.py", "kim/hw6.py", "kim_hw6.py"])
def test_the_last_of_several_files_counts(folder: Path, newest: str) -> None:
    files = ["hw6_kim.py", "kim/hw6.py", "kim_hw6.py"]
    for file in files:
        hand_in(folder / file, file.encode(), at=1_760_000_000 + (file == newest))
    collection = collected(folder)
    submission = by_student(collection)["kim"]
    assert (submission.file, submission.content) == (newest, newest.encode())
    for file in files:
        decision = decision_on(collection, file)
        assert decision.student_id == "kim"
        assert decision.status is (Status.TAKEN if file == newest else Status.SUPERSEDED)
        assert file == newest or f"{newest} is newer" in decision.reason
        assert file == newest or any(file in remark for remark in submission.remarks)


def test_of_two_files_of_one_time_the_name_that_sorts_last_counts(folder: Path) -> None:
    hand_in(folder / "kim_hw6.py", b"last")
    hand_in(folder / "kim" / "hw6.py", b"first")
    collection = collected(folder)
    assert by_student(collection)["kim"].content == b"last"
    assert "same time" in decision_on(collection, "kim/hw6.py").reason
    assert "same time" in by_student(collection)["kim"].remarks[0]


@pytest.mark.parametrize("file", ["hw6.pdf", "hw61.txt"])
def test_a_student_s_folder_without_the_file_is_not_lost(folder: Path, file: str) -> None:
    hand_in(folder / "kim" / file)
    collection = collected(folder, write_roster(folder.parent / "roster.csv", "kim,Kim"))
    submission = by_student(collection)["kim"]
    assert (submission.content, submission.file, submission.unreadable) == (None, "", "")
    assert submission.remarks == (f"the folder kim/ has no hw6.py, only {file}",)
    assert decision_on(collection, f"kim/{file}").status is Status.UNRECOGNISED


def test_a_folder_without_the_file_names_some_of_many_files(folder: Path) -> None:
    for number in range(8):
        hand_in(folder / "kim" / f"part{number}.py")
    collection = collected(folder)
    (remark,) = by_student(collection)["kim"].remarks
    assert remark.endswith("part4.py and 3 more")
    assert len(collection.decisions) == 8


@pytest.mark.parametrize("hidden", [[], [".DS_Store"]])
def test_an_empty_student_s_folder_is_not_lost(folder: Path, hidden: list[str]) -> None:
    (folder / "kim").mkdir()
    for file in hidden:
        hand_in(folder / "kim" / file)
    collection = collected(folder)
    assert by_student(collection)["kim"].remarks == ("the folder kim/ is empty",)
    assert decision_on(collection, "kim/").status is Status.UNRECOGNISED


def test_a_folder_without_the_file_does_not_hide_the_student_s_other_file(folder: Path) -> None:
    hand_in(folder / "kim" / "final.rar")
    hand_in(folder / "kim_hw6.py", b"counts")
    submission = by_student(collected(folder))["kim"]
    assert submission.content == b"counts"
    assert submission.remarks == ("the folder kim/ has no hw6.py, only final.rar",)


def test_a_composed_and_a_decomposed_korean_name_are_one_student(folder: Path) -> None:
    hand_in(folder / unicodedata.normalize("NFD", "김철수_hw6.py"), b"old", at=1_000)
    hand_in(folder / "김철수" / "hw6.py", b"new", at=2_000)
    collection = collected(folder)
    assert by_student(collection)["김철수"].content == b"new"
    assert sorted(statuses(collection).values()) == [Status.SUPERSEDED, Status.TAKEN]


@pytest.mark.parametrize("file", ["이서연_hw6.py", "hw6_이서연.py", "이서연/hw6.py"])
def test_a_name_in_cp949_is_decoded(folder: Path, file: str) -> None:
    hand_in(os.fsencode(folder) + b"/" + file.encode("cp949"), b"read")
    collection = collected(folder)
    assert by_student(collection)["이서연"].content == b"read"
    assert statuses(collection) == {file: Status.TAKEN}


def test_names_in_no_known_encoding_stay_two_students(folder: Path) -> None:
    for name in (b"\xff1_hw6.py", b"\xfe1_hw6.py"):
        hand_in(os.fsencode(folder) + b"/" + name, name)
    students = by_student(collected(folder))
    assert [submission.content for submission in students.values()] == [b"\xfe1_hw6.py", b"\xff1_hw6.py"]
    for student_id, submission in students.items():
        (student_id + submission.file).encode("utf-8")


@pytest.mark.parametrize("make", ["nothing", "folder", "file", "hidden"])
def test_a_folder_with_nobody_s_file_is_one_sentence_with_the_layouts(tmp_path: Path, make: str) -> None:
    path = tmp_path / "handed-in"
    if make == "folder":
        path.mkdir()
    elif make == "file":
        path.write_text("")
    elif make == "hidden":
        hand_in(path / ".DS_Store")
    roster = write_roster(tmp_path / "roster.csv", "1,Kim")
    for given in (None, roster):
        with pytest.raises(UserError) as caught:
            collected(path, given)
        assert "<student>/hw6.py, <student>_hw6.py or hw6_<student>.py" in str(caught.value)
        assert str(path) in str(caught.value)


def test_one_student_s_own_folder_is_not_taken_for_a_class_that_handed_in_nothing(folder: Path) -> None:
    hand_in(folder / "hw6.py")
    with pytest.raises(UserError, match="has no student's file"):
        collected(folder, write_roster(folder.parent / "roster.csv", "1,Kim"))


@pytest.mark.parametrize("beside", [[], ["sec2/lee/hw6.py", "notes.txt", "__MACOSX/._sec1"]])
def test_a_folder_around_the_students_is_no_student_and_the_one_that_is_meant_is_named(
    folder: Path, beside: list[str]
) -> None:
    for file in ("sec1/kim/hw6.py", *beside):
        hand_in(folder / file)
    with pytest.raises(UserError, match=f"has no student's file: .*; perhaps {folder}/sec1$"):
        collected(folder)


@pytest.mark.parametrize("name", ["kim_hw6.zip", "hw6_kim.zip", "kim_HW6 (1).zip"])
def test_an_archive_that_names_the_student_is_opened_with_what_lies_in_it(folder: Path, name: str) -> None:
    hand_in(folder / name, packed({"work/hw6.py": b"import net", "work/net.py": b"x = 1"}), at=1_760_000_100)
    hand_in(folder / "lee_hw6.py")
    collection = collected(folder)
    kim = by_student(collection)["kim"]
    assert (kim.content, [one.name for one in kim.companions]) == (b"import net", ["net.py"])
    assert kim.submitted_at == datetime.fromtimestamp(1_760_000_100, UTC)
    assert (kim.original, decision_on(collection, name).status) == ("hw6.py", Status.BESIDE)


@pytest.mark.parametrize(
    ("name", "content"),
    [("kim_hw6.zip", b"PK"), ("kim_hw6.7z", b"7z\xbc\xaf\x27\x1c"), ("kim_hw6.zip", packed({"a.txt": b""}))],
)
def test_an_archive_that_cannot_be_used_is_still_that_student_s(folder: Path, name: str, content: bytes) -> None:
    hand_in(folder / name, content)
    hand_in(folder / "lee_hw6.py")
    kim = by_student(collected(folder))["kim"]
    assert kim.unreadable or kim.remarks
    assert statuses(collected(folder))[name] is Status.UNRECOGNISED
