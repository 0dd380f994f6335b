"""Make archives as the learning systems do, after the facts that are known of them, and hostile ones."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

from grader.lms.rehearsal import (
    blackboard_account,
    blackboard_attempt,
    blackboard_entry,
    canvas_entry,
    moodle_entry,
    packed,
)

__all__ = ["account", "attempt", "bb", "canvas_entry", "linked", "moodle_entry", "packed", "unpack", "write_archive"]

BLACKBOARD = "gradebook_2026-ML-01_Project_6_2026-11-27-09-30-00.zip"
TITLE = "Project_6"
NAME = "김민수"


def bb(student: str, time: str, file: str | None = None, title: str = TITLE) -> str:
    """The name of a Blackboard entry; without a file, of the attempt's .txt."""
    return blackboard_entry(title, student, time, file)


def account(student: str, *pairs: tuple[str, str], name: str = NAME, comments: str = "") -> bytes:
    """Blackboard's .txt of an attempt; a pair is a file's name as it was, and the entry's."""
    return blackboard_account(TITLE, student, name, "2026-11-20-23-58-03", pairs, comments)


def attempt(student: str, time: str, title: str = TITLE, **files: bytes) -> dict[str, bytes]:
    """One attempt's entries, with its .txt; a file's keyword has two underscores for its dot."""
    named = {name.replace("__", "."): content for name, content in files.items()}
    return blackboard_attempt(title, student, NAME, time, named)


def write_archive(path: Path, entries: Mapping[str, bytes]) -> Path:
    path.write_bytes(packed(entries))
    return path


def unpack(path: Path, folder: Path) -> Path:
    """The archive's folder, as a teacher's file manager would make it."""
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    return folder


def linked(name: str, target: bytes) -> zipfile.ZipInfo:
    """The entry of a symbolic link."""
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = 0o120777 << 16
    return info
