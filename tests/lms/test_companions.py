"""A Python file beside a student's file travels with it, is part of what was handed in, and is never passed over."""

import hashlib
from pathlib import Path

import pytest

from archives import write_archive
from grader.assignment import Assignment
from grader.collect import collect
from grader.lms.files import Blame, DiskFile, Fault
from grader.records import Companion, Status, Submission
from submission_folders import ASSIGNMENT, by_student, collected, decision_on, hand_in

MODEL = b"class IdentityResNet: pass\n"


def kim(folder: Path) -> Submission:
    return by_student(collected(folder))["kim"]


def with_limit(**limits: int) -> Assignment:
    return ASSIGNMENT.model_copy(update={"limits": ASSIGNMENT.limits.model_copy(update=limits)})


def test_python_files_beside_the_student_s_own_travel_with_it(folder: Path) -> None:
    hand_in(folder / "kim" / "hw6.py", b"import resnet\n")
    hand_in(folder / "kim" / "resnet.py", MODEL)
    hand_in(folder / "kim" / "block.py", b"x = 1\n")
    assert kim(folder).companions == (Companion("block.py", b"x = 1\n"), Companion("resnet.py", MODEL))
    assert not kim(folder).remarks
    decision = decision_on(collected(folder), "kim/resnet.py")
    assert (decision.status, decision.student_id) == (Status.BESIDE, "kim")
    assert "may import it" in decision.reason


@pytest.mark.parametrize("other", ["notes.txt", "hw6 (1).py", "hw6-old.py", ".hidden.py", "models/resnet.py", "x.py/y"])
def test_what_cannot_be_imported_stays_where_it_is(folder: Path, other: str) -> None:
    hand_in(folder / "kim" / "hw6.py", b"x = 1\n")
    hand_in(folder / "kim" / other, MODEL)
    assert kim(folder).companions == ()
    assert kim(folder).sha256 == hashlib.sha256(b"x = 1\n").hexdigest()


def test_a_file_of_another_layout_has_no_companions(folder: Path) -> None:
    hand_in(folder / "kim_hw6.py")
    hand_in(folder / "resnet.py")
    assert kim(folder).companions == ()
    assert decision_on(collected(folder), "resnet.py").status is Status.UNRECOGNISED


def test_a_change_of_a_companion_is_a_new_submission(folder: Path) -> None:
    hand_in(folder / "kim" / "hw6.py", b"import resnet\n")
    seen = {kim(folder).sha256}
    for name, content in (("resnet.py", b"x = 1"), ("resnet.py", b"x = 2"), ("block.py", b"x = 2")):
        hand_in(folder / "kim" / name, content)
        seen.add(kim(folder).sha256)
    (folder / "kim" / "resnet.py").unlink()
    seen.add(kim(folder).sha256)
    assert len(seen) == 5


def test_only_what_lies_beside_the_last_attempt_is_used(folder: Path) -> None:
    hand_in(folder / "kim" / "hw6.py", at=1_760_000_000)
    hand_in(folder / "kim" / "resnet.py", MODEL)
    hand_in(folder / "kim_hw6.py", b"newer", at=1_760_000_001)
    submission = kim(folder)
    assert (submission.content, submission.companions) == (b"newer", ())
    assert "does not count" in decision_on(collected(folder), "kim/resnet.py").reason


def test_one_file_too_many_is_left_out_and_said(folder: Path) -> None:
    for name in ("hw6", "a", "b", "c"):
        hand_in(folder / "kim" / f"{name}.py")
    collection = collect(folder, None, with_limit(companions=2))
    submission = by_student(collection)["kim"]
    assert [companion.name for companion in submission.companions] == ["a.py", "b.py"]
    assert submission.remarks == ("c.py beside kim/hw6.py is not used: it is one file more than the grader takes",)
    assert decision_on(collection, "kim/c.py").reason == "not used: it is one file more than the grader takes"


def test_all_files_are_bounded_together(folder: Path) -> None:
    for name in ("hw6", "a", "b"):
        hand_in(folder / "kim" / f"{name}.py", b"#" * 1000)
    submission = by_student(collect(folder, None, with_limit(file_size_kb=2)))["kim"]
    assert [companion.name for companion in submission.companions] == ["a.py"]
    assert "b.py beside kim/hw6.py is not used" in submission.remarks[0]


def test_a_link_beside_is_not_followed(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.py"
    secret.write_bytes(b"labels = 1\n")
    hand_in(folder / "kim" / "hw6.py")
    (folder / "kim" / "resnet.py").symlink_to(secret)
    submission = kim(folder)
    assert submission.companions == ()
    assert "symbolic link" in submission.remarks[0]


def test_a_companion_that_the_machine_cannot_read_is_our_fault(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hand_in(folder / "kim" / "hw6.py")
    hand_in(folder / "kim" / "resnet.py", MODEL)

    whole_disk = DiskFile.read

    def broken_disk(file: DiskFile, limit_kb: int) -> bytes | Fault:
        if file.path.name == "resnet.py":
            return Fault("cannot be read: Input/output error", Blame.MACHINE)
        return whole_disk(file, limit_kb)

    # A disk that fails cannot be had on demand.
    monkeypatch.setattr(DiskFile, "read", broken_disk)
    submission = kim(folder)
    assert (submission.content, submission.sha256, submission.companions) == (None, "", ())
    assert submission.unreadable == "resnet.py beside kim/hw6.py cannot be read: Input/output error"


def test_a_name_that_no_file_can_have_fails_nobody_s_run(tmp_path: Path) -> None:
    folder = "Kim_1_assignsubmission_file_/"
    entries = {f"{folder}hw6.py": b"x = 1\n", f"{folder}{'가' * 90}.py": MODEL, f"{folder}{'가' * 80}.py": MODEL}
    submission = by_student(collected(write_archive(tmp_path / "a.zip", entries)))["1"]
    assert [companion.name for companion in submission.companions] == [f"{'가' * 80}.py"]
