"""Which file of an attempt is graded: by one written rule, and no file is passed over in silence."""

import itertools
from datetime import UTC, datetime
from pathlib import Path

import pytest

from archives import attempt, packed, write_archive
from grader.collect import collect
from grader.records import Collection, Outcome, Status
from grader.results.score import grade
from submission_folders import ASSIGNMENT, SMALL_FILES, by_student, collected, decision_on, statuses


def moodle(tmp_path: Path, **files: bytes) -> Collection:
    return handed_in(tmp_path, {name.replace("__", "."): content for name, content in files.items()})


def handed_in(tmp_path: Path, files: dict[str, bytes]) -> Collection:
    return collected(write_archive(tmp_path / "a.zip", {shown(name): content for name, content in files.items()}))


def folder_in(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    return folder


def shown(name: str) -> str:
    return f"Kim_1_assignsubmission_file_/{name}"


# From the first that counts to the last.
ORDER = ("hw6.py", "hw6 (2).py", "hw6.py.txt", "hw6.ipynb")


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(ORDER, 2)))
def test_of_two_files_the_name_decides_and_the_other_is_listed(tmp_path: Path, first: str, second: str) -> None:
    collection = handed_in(tmp_path, {second: b"no", first: b"yes"})
    kim = by_student(collection)["1"]
    assert (kim.content, kim.file, kim.companions) == (b"yes", shown(first), ())
    assert statuses(collection) == {shown(first): Status.TAKEN, shown(second): Status.SUPERSEDED}
    assert second in kim.remarks[0]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("hw6 (1).py", "the name is that of a copy"),
        ("hw6(1).py", "the name is that of a copy"),
        ("hw6-1.py", "the name is that of a copy"),
        ("hw6_1.py", "the name is that of a copy"),
        ("hw6 - Copy (2).py", "the name is that of a copy"),
        ("hw6 - 복사본.py", "the name is that of a copy"),
        ("HW6.PY", "the name is that of a copy"),
        ("hw6.py.txt", "only .txt was added"),
        ("Hw6 (1).py.txt", "only .txt was added"),
        ("hw6.ipynb", "a notebook, whose code cells run"),
        ("HW6 (3).ipynb", "a notebook, whose code cells run"),
    ],
)
def test_another_name_for_the_same_file_is_taken_and_said(tmp_path: Path, name: str, why: str) -> None:
    collection = handed_in(tmp_path, {name: b"x", "report.pdf": b"%PDF"})
    kim = by_student(collection)["1"]
    assert (kim.content, kim.remarks) == (b"x", ())
    assert f"counts as hw6.py: {why}" in decision_on(collection, shown(name)).reason
    assert decision_on(collection, shown("report.pdf")).status is Status.BESIDE


@pytest.mark.parametrize("name", ["final.py", "hw6_20231234.py", "hw61.py", "hw6_old_new.py"])
def test_the_only_python_file_is_taken_and_a_person_must_look(tmp_path: Path, name: str) -> None:
    kim = by_student(handed_in(tmp_path, {name: b"x", "notes.txt": b"n"}))["1"]
    assert kim.content == b"x"
    assert kim.remarks == (f"{shown(name)} counts as hw6.py: the only Python file of the attempt",)


@pytest.mark.parametrize("names", [["a.py", "b.py"], ["hw6.pdf", "hw6.docx"], ["hw6.txt"]])
def test_nothing_is_guessed_where_no_rule_decides(tmp_path: Path, names: list[str]) -> None:
    collection = handed_in(tmp_path, dict.fromkeys(names, b"x"))
    kim = by_student(collection)["1"]
    assert (kim.content, kim.unreadable) == (None, "")
    assert kim.remarks == (f"the attempt has no hw6.py, only {', '.join(sorted(names))}",)
    assert set(statuses(collection).values()) == {Status.UNRECOGNISED}


def test_the_only_notebook_is_taken_where_there_is_no_python_file(tmp_path: Path) -> None:
    notebook = b'{"cells": []}'
    kim = by_student(handed_in(folder_in(tmp_path, "a"), {"Untitled0.ipynb": notebook, "report.pdf": b"%PDF"}))["1"]
    assert kim.content == notebook
    assert "the only notebook of the attempt" in kim.remarks[0]
    script = by_student(handed_in(folder_in(tmp_path, "b"), {"Untitled0.ipynb": notebook, "final.py": b"x = 1"}))["1"]
    assert script.content == b"x = 1"
    none = by_student(handed_in(folder_in(tmp_path, "c"), {"a.ipynb": notebook, "b.ipynb": notebook}))["1"]
    assert none.content is None


def test_of_copies_the_highest_number_counts(tmp_path: Path) -> None:
    collection = handed_in(tmp_path, {"hw6 (10).py": b"ten", "hw6 (9).py": b"nine", "HW6.py": b"upper"})
    assert by_student(collection)["1"].content == b"ten"


def test_names_that_differ_in_case_stay_two_files(tmp_path: Path) -> None:
    collection = handed_in(tmp_path, {"HW6.py": b"U", "hw6.py": b"l", "Net.py": b"N", "net.py": b"n"})
    kim = by_student(collection)["1"]
    assert kim.content == b"l"
    assert [(one.name, one.content) for one in kim.companions] == [("Net.py", b"N"), ("net.py", b"n")]


@pytest.mark.parametrize("folder", ["", "hw6/", "kim/src/"])
def test_a_zip_inside_is_opened_where_no_file_bears_the_name(tmp_path: Path, folder: str) -> None:
    inside = {f"{folder}hw6.py": b"in zip", f"{folder}resnet.py": b"x = 1", f"__MACOSX/{folder}._hw6.py": b"m"}
    collection = moodle(tmp_path, work__zip=packed(inside), report__pdf=b"%PDF")
    kim = by_student(collection)["1"]
    assert (kim.content, kim.file) == (b"in zip", shown(f"work.zip/{folder}hw6.py"))
    assert [one.name for one in kim.companions] == ["resnet.py"]
    opened = decision_on(collection, shown("work.zip")).reason
    assert opened.startswith("opened: it holds ")
    assert opened.endswith("hw6.py and 1 other file")
    assert f"taken from {shown('work.zip')}" in decision_on(collection, kim.file).reason


def test_a_file_of_the_name_comes_before_a_zip_and_a_zip_before_another_name(tmp_path: Path) -> None:
    inside = packed({"hw6.py": b"zip"})
    assert by_student(moodle(tmp_path, hw6__py=b"file", w__zip=inside))["1"].content == b"file"
    assert by_student(moodle(tmp_path, final__py=b"other", w__zip=inside))["1"].content == b"zip"
    assert by_student(moodle(tmp_path, final__py=b"other", w__zip=packed({"a": b""})))["1"].content == b"other"


def test_of_two_zips_with_the_file_the_last_name_counts_and_the_other_is_remarked(tmp_path: Path) -> None:
    old, new = packed({"hw6.py": b"old"}), packed({"hw6.py": b"new"})
    collection = handed_in(tmp_path, {"v10.zip": new, "v9.zip": old, "report.zip": packed({"a.pdf": b""})})
    kim = by_student(collection)["1"]
    assert kim.content == b"new"
    assert decision_on(collection, shown("v9.zip")).status is Status.SUPERSEDED
    assert shown("v9.zip") in kim.remarks[0]
    assert "holds no hw6.py" in decision_on(collection, shown("report.zip")).reason


def test_a_zip_in_a_zip_is_not_opened_and_is_no_0(tmp_path: Path) -> None:
    collection = moodle(tmp_path, work__zip=packed({"inner.zip": packed({"hw6.py": b"x"})}))
    kim = by_student(collection)["1"]
    assert (kim.content, grade(kim, None, ASSIGNMENT).points) == (None, None)
    assert "holds another archive, which is not opened" in kim.unreadable
    assert "holds no hw6.py, but holds another" in decision_on(collection, shown("work.zip")).reason
    data = packed({"hw6.py": b"x = 1", "data/cifar-10-python.tar.gz": b"\x1f\x8b"})
    assert by_student(moodle(tmp_path, work__zip=data))["1"].content == b"x = 1"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no zip", "is not a zip archive"),
        (packed({"hw6.py": bytes(9_000_000)}), "more than 200 times"),
        (packed({"../hw6.py": b"x", "/hw6.py": b"y", "C:\\hw6.py": b"z"}), "holds no hw6.py"),
    ],
)
def test_a_student_s_hostile_zip_costs_nobody_else_anything(tmp_path: Path, content: bytes, words: str) -> None:
    entries = {shown("work.zip"): content, "Lee_2_assignsubmission_file_/hw6.py": b"fine"}
    collection = collected(write_archive(tmp_path / "a.zip", entries))
    assert by_student(collection)["1"].content is None
    assert by_student(collection)["2"].content == b"fine"
    assert words in decision_on(collection, shown("work.zip")).reason


def test_a_zip_is_bounded_like_a_file(tmp_path: Path) -> None:
    noise = b"".join(number.to_bytes(4, "big") for number in range(900))
    archive = write_archive(tmp_path / "a.zip", {shown("work.zip"): packed({"hw6.py": noise})})
    collection = collect(archive, None, SMALL_FILES)
    assert "is larger than 1 KB" in decision_on(collection, shown("work.zip")).reason


def bent(content: bytes, offset: int, value: bytes) -> bytes:
    """A zip of one entry with a field of its central directory changed."""
    at = content.index(b"PK\x01\x02") + offset
    return content[:at] + value + content[at + len(value) :]


WHOLE = packed({"hw6.py": b"x = 1\n" * 50})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (bent(WHOLE, 16, b"\0\0\0\0"), "cannot be read: Bad CRC-32"),
        (bent(WHOLE, 8, b"\x01\x00"), "is encrypted"),
        (bent(WHOLE, 10, b"\x0e\x00"), "other than deflate"),
        (WHOLE[:-30], "is not a zip archive that can be read"),
        (WHOLE[: len(WHOLE) // 2], "is not a zip archive that can be read"),
        (b"", "is not a zip archive that can be read"),
    ],
    ids=["damaged", "encrypted", "another method", "cut short", "cut in half", "empty"],
)
def test_a_zip_that_cannot_be_read_is_the_student_s_and_both_are_told(
    tmp_path: Path, content: bytes, words: str
) -> None:
    kim = by_student(moodle(tmp_path, hw6__zip=content))["1"]
    assert kim.content is None
    assert kim.unreadable.startswith(shown("hw6.zip"))
    assert words in kim.unreadable
    graded = grade(kim, None, ASSIGNMENT)
    assert (graded.outcome, graded.points) == (Outcome.INVALID, ASSIGNMENT.policy.points_if_not_runnable)
    assert words in graded.message
    assert "tried again" not in graded.message
    assert any("the student's file cannot be read" in reason and words in reason for reason in graded.review)


def test_a_file_that_no_second_try_will_read_is_not_tried_again(tmp_path: Path) -> None:
    noise = b"".join(number.to_bytes(4, "big") for number in range(100_000))
    bomb = by_student(handed_in(tmp_path, {"hw6.py": bytes(30_000_000), "noise.bin": noise}))["1"]
    large = by_student(collect(write_archive(tmp_path / "b.zip", {shown("hw6.py"): noise}), None, SMALL_FILES))["1"]
    assert [grade(each, None, ASSIGNMENT).outcome for each in (bomb, large)] == [Outcome.INVALID] * 2


def test_a_zip_that_cannot_be_opened_takes_nothing_from_an_attempt_that_can(tmp_path: Path) -> None:
    early, late = "2026-11-20-10-00-00", "2026-11-21-10-00-00"
    entries = attempt("kim", early, hw6__py=b"x = 1\n") | attempt("kim", late, hw6__zip=WHOLE[:-30])
    kim = by_student(collected(write_archive(tmp_path / "a.zip", entries)))["kim"]
    assert (kim.content, kim.unreadable) == (b"x = 1\n", "")
    assert "has no hw6.py, only hw6.zip" in kim.remarks[0]


def test_a_zip_that_came_too_late_is_nothing_handed_in(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "a.zip", attempt("kim", "2026-11-21-10-00-00", hw6__zip=WHOLE[:-30]))
    deadline = datetime(2026, 11, 20, tzinfo=UTC)
    kim = by_student(collect(archive, None, ASSIGNMENT, deadline))["kim"]
    assert grade(kim, None, ASSIGNMENT).outcome is Outcome.NO_SUBMISSION


RAR, SEVEN = b"Rar!\x1a\x07\x01\x00", b"7z\xbc\xaf\x27\x1c\x00\x04"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("hw6.rar", RAR),
        ("HW6.7Z", SEVEN),
        ("hw6.zip", RAR),
        ("hw6.zip", SEVEN),
        ("hw6.tar.gz", b"\x1f\x8b\x08"),
        ("hw6.tar", b"hw6.py" + bytes(600)),
        ("hw6.zip", b"hw6.py" + bytes(251) + b"ustar" + bytes(600)),
        ("hw6.egg", b"EGGA"),
    ],
)
def test_an_archive_of_another_kind_waits_for_a_person_and_is_no_0(tmp_path: Path, name: str, content: bytes) -> None:
    kim = by_student(handed_in(tmp_path, {name: content}))["1"]
    assert "that is no zip, so it is not opened: unpack it by hand" in kim.unreadable
    assert grade(kim, None, ASSIGNMENT).points is None
    assert "not opened" in decision_on(handed_in(tmp_path, {name: content}), shown(name)).reason


def test_a_zip_under_another_name_is_opened_and_an_archive_beside_the_file_is_none_of_our_business(
    tmp_path: Path,
) -> None:
    assert by_student(handed_in(tmp_path, {"hw6.7z": WHOLE}))["1"].content == b"x = 1\n" * 50
    assert by_student(handed_in(tmp_path, {"hw6.py": b"x", "all.rar": RAR}))["1"].unreadable == ""


def test_an_archive_in_time_that_cannot_be_opened_comes_before_a_file_that_is_late(tmp_path: Path) -> None:
    early, late = "2026-11-20-10-00-00", "2026-11-22-10-00-00"
    deadline = datetime(2026, 11, 21, tzinfo=UTC)
    for number, (name, points) in enumerate(
        (("hw6__zip", ASSIGNMENT.policy.points_if_not_runnable), ("hw6__rar", None))
    ):
        entries = attempt("kim", early, "HW6", **{name: WHOLE[:-30]}) | attempt("kim", late, hw6__py=b"late")
        collection = collected(write_archive(tmp_path / f"{number}.zip", entries), deadline=deadline)
        kim = by_student(collection)["kim"]
        assert (kim.content, kim.late, grade(kim, None, ASSIGNMENT).points) == (None, "", points)
        assert Status.LATE in statuses(collection).values()
