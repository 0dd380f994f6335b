"""A hostile archive is refused in one sentence or loses one entry; nothing is written, and nobody else pays."""

import io
import os
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from archives import attempt, bb, linked, packed, write_archive
from grader.errors import UserError
from grader.records import Collection, Status
from submission_folders import by_student, collected, decision_on

T = "2026-11-20-10-00-00"
MOODLE = "Kim_1_assignsubmission_file_/"
LEE = {"Lee_2_assignsubmission_file_/hw6.py": b"fine"}


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        collected(path)
    sentence = str(caught.value)
    assert str(path) in sentence
    assert "\n" not in sentence
    return sentence


def patched(content: bytes, offset: int, value: bytes) -> bytes:
    """An archive of one entry with a field of its central directory changed."""
    at = content.index(b"PK\x01\x02") + offset
    return content[:at] + value + content[at + len(value) :]


def lee_is_fine(collection: Collection) -> bool:
    return by_student(collection)["2"].content == b"fine"


@pytest.mark.parametrize(
    "name",
    [
        f"{MOODLE}../../../hw6.py",
        f"../{MOODLE}hw6.py",
        f"/{MOODLE}hw6.py",
        f"C:\\{MOODLE}hw6.py",
        f"{MOODLE}..\\hw6.py",
        f"{MOODLE}{'x' * 500}/hw6.py",
        f"{MOODLE}\rhw6.py",
    ],
)
def test_a_name_that_leads_out_is_listed_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    inside = tmp_path / "deep" / "er"
    inside.mkdir(parents=True)
    archive = write_archive(inside / "a.zip", {name: b"evil", **LEE})
    before = sorted(tmp_path.rglob("*"))
    collection = collected(archive)
    assert sorted(tmp_path.rglob("*")) == before
    assert list(by_student(collection)) == ["2"]
    assert lee_is_fine(collection)
    (decision,) = [one for one in collection.decisions if not one.student_id]
    assert (decision.status, "leads out of the archive" in decision.reason) == (Status.UNRECOGNISED, True)


def test_a_link_in_an_archive_is_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(linked(f"{MOODLE}hw6.py", b"/etc/passwd"), b"/etc/passwd")
        archive.writestr("Lee_2_assignsubmission_file_/hw6.py", b"fine")
    collection = collected(path)
    assert by_student(collection)["1"].unreadable == f"{MOODLE}hw6.py is a symbolic link and not a regular file"
    assert lee_is_fine(collection)


def test_a_link_in_an_unpacked_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.py").write_bytes(b"secret")
    folder = tmp_path / "unpacked" / MOODLE
    folder.mkdir(parents=True)
    (folder / "hw6.py").symlink_to(tmp_path / "secret.py")
    (tmp_path / "unpacked" / "Lee_2_assignsubmission_file_").symlink_to(tmp_path)
    collection = collected(tmp_path / "unpacked")
    assert all(one.content is None for one in collection.submissions)
    assert "symbolic link" in by_student(collection)["1"].unreadable


def test_a_bomb_among_the_files_is_not_unpacked(tmp_path: Path) -> None:
    noise = os.urandom(200_000)
    collection = collected(
        write_archive(tmp_path / "a.zip", {f"{MOODLE}hw6.py": bytes(30_000_000), f"{MOODLE}data.bin": noise, **LEE})
    )
    assert "more than 200 times its packed size" in by_student(collection)["1"].unreadable
    assert lee_is_fine(collection)


def test_an_archive_that_is_a_bomb_as_a_whole_is_refused(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "a.zip", {f"K_{n}_assignsubmission_file_/hw6.py": bytes(900_000) for n in range(9)})
    assert "would unpack to 8 MB, more than 200 times its own size" in refusal(path)


def test_a_size_that_lies_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    content = patched(packed({f"{MOODLE}hw6.py": bytes(5_000_000)}), 24, struct.pack("<L", 900))
    path.write_bytes(content)
    submission = by_student(collected(path))["1"]
    assert submission.content is None
    assert submission.unreadable


def test_a_hundred_thousand_entries_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(100_000):
            archive.writestr(zipfile.ZipInfo(f"K_{number}_assignsubmission_file_/hw6.py"), b"")
    assert "has 100000 entries, and the grader reads at most 65535" in refusal(path)


def test_of_a_name_that_comes_twice_the_later_entry_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    twice = packed({f"{MOODLE}hw6.py": b"first", f"{MOODLE}hw6.PY": b"second"})
    path.write_bytes(twice.replace(b"hw6.PY", b"hw6.py"))
    collection = collected(path)
    assert by_student(collection)["1"].content == b"second"
    assert [one.status for one in collection.decisions] == [Status.SUPERSEDED, Status.TAKEN]


def test_names_in_cp949_are_korean(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    raw = "과제_김민수_attempt_2026-11-20-10-00-00_hw6.py".encode("cp949")
    ascii_name = b"x" * len(raw)
    path.write_bytes(packed({ascii_name.decode(): b"read"}).replace(ascii_name, raw))
    collection = collected(path)
    assert by_student(collection)["김민수"].content == b"read"
    assert decision_on(collection, raw.decode("cp949")).status is Status.TAKEN


@pytest.mark.parametrize(
    ("offset", "value", "words"),
    [(8, b"\x01\x00", "is encrypted"), (10, b"\x0e\x00", "other than deflate"), (16, b"\0\0\0\0", "cannot be read")],
)
def test_an_entry_that_cannot_be_unpacked_is_the_machine_s_fault(
    tmp_path: Path, offset: int, value: bytes, words: str
) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(patched(packed({f"{MOODLE}hw6.py": b"x = 1\n" * 50}), offset, value))
    submission = by_student(collected(path))["1"]
    assert (submission.content, submission.sha256) == (None, "")
    assert words in submission.unreadable


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", packed(dict(attempt("kim", T, hw6__py=b"x")))[:-30]])
def test_a_damaged_archive_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "gradebook.zip"
    path.write_bytes(content)
    assert "download it again, or unpack it and pass the folder" in refusal(path)


def test_a_name_that_is_not_utf8_although_it_says_so_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(packed({"김_1_2_hw6.py": b"x"}).replace("김".encode(), b"\xff\xff\xff"))
    assert "not a zip archive that can be read" in refusal(path)


def test_an_empty_archive_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    stream = io.BytesIO()
    zipfile.ZipFile(stream, "w").close()
    path.write_bytes(stream.getvalue())
    assert "FORMAT=" in refusal(path)


def test_the_archive_stays_as_it_was(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "a.zip", {bb("kim", T, "hw6.py", "HW"): b"x"})
    path.chmod(stat.S_IRUSR)
    before = path.read_bytes()
    assert by_student(collected(path))["kim"].content == b"x"
    assert path.read_bytes() == before
