"""Collecting: what cannot be read, or may not be followed, is listed and never opened."""

import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from grader.collect import collect
from grader.errors import UserError
from grader.records import Status
from submission_folders import ORDINARY_USER, SMALL_FILES, by_student, collected, decision_on, hand_in, statuses


def link_to_file(path: Path) -> None:
    target = path.parent.parent.parent / "outside.py"
    target.write_bytes(b"secret")
    path.symlink_to(target)


def dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def bound_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def too_large(path: Path) -> None:
    path.write_bytes(bytes(1025))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (link_to_file, "symbolic link"),
        (dangling_link, "symbolic link"),
        (link_to_itself, "symbolic link"),
        (Path.mkdir, "a folder"),
        (os.mkfifo, "a pipe"),
        (bound_socket, "a socket"),
        (too_large, "larger than 1 KB"),
    ],
)
def test_what_cannot_be_read_is_listed_and_never_opened(
    folder: Path, monkeypatch: pytest.MonkeyPatch, make: object, words: str
) -> None:
    assert callable(make)
    (folder / "kim").mkdir()
    monkeypatch.chdir(folder / "kim")  # a socket's path has at most 107 bytes
    make(Path("hw6.py") if make is bound_socket else folder / "kim" / "hw6.py")
    collection = collect(folder, None, SMALL_FILES)
    submission = by_student(collection)["kim"]
    assert (submission.content, submission.sha256) == (None, "")
    assert submission.unreadable.startswith("kim/hw6.py is ")
    assert words in submission.unreadable
    assert submission.submitted_at is not None
    assert decision_on(collection, "kim/hw6.py").status is Status.UNREADABLE
    assert words in decision_on(collection, "kim/hw6.py").reason


def test_a_file_of_exactly_the_limit_is_read(folder: Path) -> None:
    hand_in(folder / "kim_hw6.py", bytes(1024))
    assert by_student(collect(folder, None, SMALL_FILES))["kim"].content == bytes(1024)


def test_a_link_in_place_of_a_student_s_folder_is_not_followed(folder: Path) -> None:
    hand_in(folder.parent / "elsewhere" / "hw6.py", b"secret")
    (folder / "kim").symlink_to(folder.parent / "elsewhere")
    collection = collected(folder)
    assert by_student(collection)["kim"].content is None
    assert "symbolic link" in by_student(collection)["kim"].unreadable
    assert statuses(collection) == {"kim": Status.UNREADABLE}


def test_a_link_that_takes_the_file_s_place_meanwhile_is_not_followed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_in(folder.parent / "outside.py", b"secret")
    hand_in(folder / "kim_hw6.py")
    real_open = os.open

    def open_after_the_swap(path: Path, flags: int) -> int:
        path.unlink()
        path.symlink_to(folder.parent / "outside.py")
        return real_open(path, flags)

    monkeypatch.setattr(os, "open", open_after_the_swap)
    submission = by_student(collected(folder))["kim"]
    assert submission.content is None
    assert submission.unreadable


def test_an_unreadable_file_still_counts_if_it_is_the_last(folder: Path) -> None:
    hand_in(folder / "kim_hw6.py", at=1_000_000_000)
    (folder / "kim" / "hw6.py").mkdir(parents=True)
    collection = collected(folder)
    assert by_student(collection)["kim"].content is None
    assert statuses(collection) == {"kim/hw6.py": Status.UNREADABLE, "kim_hw6.py": Status.SUPERSEDED}


@pytest.fixture
def as_ordinary_user() -> Iterator[Path]:
    """Give a folder of an ordinary user, who reads it while the test runs: nothing is forbidden to root."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if os.geteuid():
            yield folder
            return
        os.chown(folder, ORDINARY_USER, -1)
        try:
            os.seteuid(ORDINARY_USER)
        except OSError:
            pytest.skip("this machine's root cannot become another user")
        try:
            yield folder
        finally:
            os.seteuid(0)


@pytest.mark.parametrize(("closed", "mode"), [("kim/hw6.py", 0), ("kim", 0), ("kim", stat.S_IRUSR)])
def test_what_may_not_be_read_is_listed(as_ordinary_user: Path, closed: str, mode: int) -> None:
    hand_in(as_ordinary_user / "kim" / "hw6.py")
    hand_in(as_ordinary_user / "lee" / "hw6.py", b"fine")
    (as_ordinary_user / closed).chmod(mode)
    try:
        collection = collected(as_ordinary_user)
    finally:
        (as_ordinary_user / closed).chmod(0o700)
    students = by_student(collection)
    assert students["kim"].unreadable == "kim/hw6.py cannot be read: Permission denied"
    assert statuses(collection) == {"kim/hw6.py": Status.UNREADABLE, "lee/hw6.py": Status.TAKEN}
    assert students["lee"].content == b"fine"


def test_a_file_whose_time_cannot_be_read_is_never_passed_over(as_ordinary_user: Path) -> None:
    hand_in(as_ordinary_user / "kim" / "hw6.py")
    hand_in(as_ordinary_user / "kim_hw6.py", at=2_000_000_000)
    (as_ordinary_user / "kim").chmod(0)
    try:
        collection = collected(as_ordinary_user)
    finally:
        (as_ordinary_user / "kim").chmod(0o700)
    submission = by_student(collection)["kim"]
    assert (submission.file, submission.content, submission.submitted_at) == ("kim/hw6.py", None, None)
    assert "cannot be read" in decision_on(collection, "kim_hw6.py").reason


def test_a_closed_submissions_folder_is_one_sentence(as_ordinary_user: Path) -> None:
    hand_in(as_ordinary_user / "kim_hw6.py")
    as_ordinary_user.chmod(0)
    try:
        with pytest.raises(UserError, match="Permission denied"):
            collected(as_ordinary_user)
    finally:
        as_ordinary_user.chmod(0o700)
