"""Reads a submissions folder: which entry belongs to which student, and what was set aside.

Three layouts name the student: `<student>/hw6.py`, `<student>_hw6.py` and `hw6_<student>.py`. What counts as `hw6.py`
in them is the rule of grader/lms/attempts.py; an archive that bears a student's name, as `<student>_hw6.zip`, is opened
by that rule too. Symbolic links are never followed: they could lead out of the folder.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from grader.errors import UserError
from grader.lms.archive import Handed, InnerFile, is_archive
from grader.lms.attempts import SystemAttempt, bears_the_name, named_student, sort_out
from grader.lms.files import (
    NOBODYS,
    Attempt,
    DiskFile,
    Found,
    Stored,
    WithoutFile,
    decoded_name,
    is_system_file,
    listed,
    normal,
)
from grader.records import Decision, Status


def layouts_of(file_name: str) -> str:
    """Name the layouts, for people: `<student>/hw6.py, <student>_hw6.py or hw6_<student>.py`."""
    file = Path(file_name)
    return f"<student>/{file_name}, <student>_{file_name} or {file.stem}_<student>{file.suffix}"


def scan(folder: Path, file_name: str, limit_kb: int, roster: Path | None) -> Iterator[Found]:
    """Sort out every entry of the folder, in the order of their names; the roster, if it lies there, is passed over.

    Raises:
        UserError: The folder is missing or cannot be opened.
    """
    try:
        children = _children(folder)
    except OSError as error:
        raise UserError(
            f"cannot open SUBMISSIONS={folder} ({error.strerror}): pass a folder with {layouts_of(file_name)}"
        ) from None
    passed_over = roster.name if roster and folder.samefile(roster.parent) else None
    for child in children:
        if child.name != passed_over:
            yield from _sort_out(child, file_name, limit_kb)


def _children(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: (_shown(entry.name), entry.name))


def _sort_out(child: os.DirEntry[str], file_name: str, limit_kb: int) -> Iterator[Found]:
    name = _shown(child.name)
    student_id, how = named_student(name, file_name)
    is_folder = child.is_dir(follow_symlinks=False)
    shown = f"{name}/" if is_folder else name
    if is_system_file(name):
        yield Decision(shown, "", Status.BESIDE, NOBODYS)
    elif student_id:
        yield _attempt(Path(child.path), student_id, shown, how)
    elif not is_folder and (student_id := _whose_archive(name, file_name)):
        files = [Handed(name, DiskFile(name, Path(child.path)))]
        yield from _sort_out_attempt(student_id, f"the archive {name}", files, [], file_name, limit_kb)
    elif name == file_name or (not is_folder and bears_the_name(name, file_name)):
        yield Decision(shown, "", Status.UNRECOGNISED, f"it names no student, as {layouts_of(file_name)} would")
    elif is_folder:
        yield from _sort_out_folder(child, name, file_name, limit_kb)
    elif child.is_symlink() and os.path.isdir(child.path):
        # It stands where a student's folder belongs: an attempt that turns out unreadable.
        yield _attempt(Path(child.path), normal(name), shown)
    else:
        yield Decision(shown, "", Status.UNRECOGNISED, f"its name is none of {layouts_of(file_name)}")


def _whose_archive(name: str, file_name: str) -> str:
    """The student of `<student>_hw6.zip` or `hw6_<student>.zip`; empty if it is none."""
    stem, dot, _ = name.rpartition(".")
    return named_student(f"{stem}{dot}{file_name.rpartition('.')[2]}", file_name)[0] if is_archive(name) else ""


def _sort_out_folder(folder: os.DirEntry[str], name: str, file_name: str, limit_kb: int) -> Iterator[Found]:
    """Sort out the files of one student's folder as those of an attempt; folders in it are not opened."""
    student_id, label = normal(name), f"the folder {name}/"
    try:
        children = _children(Path(folder.path))
    except OSError:
        yield _attempt(Path(folder.path, file_name), student_id, f"{name}/{file_name}")
        return
    files: list[Handed] = []
    folders: list[str] = []
    for child in children:
        shown = _shown(child.name)
        # A folder where the file belongs is an attempt that turns out unreadable.
        if child.is_dir(follow_symlinks=False) and shown != file_name and not is_system_file(shown):
            folders.append(shown)
        else:
            files.append(Handed(shown, DiskFile(f"{name}/{shown}", Path(child.path))))
    counts = False
    for found in _sort_out_attempt(student_id, label, files, folders, file_name, limit_kb):
        counts = counts or isinstance(found, Attempt)
        yield found
    for other in folders:
        beside = Decision(f"{name}/{other}/", student_id, Status.BESIDE, f"not opened: it lies beside {file_name}")
        yield beside if counts else _unrecognised(f"{name}/{other}/", student_id, label, file_name)
    if not folders and all(is_system_file(file.name) for file in files):
        yield _unrecognised(f"{name}/", student_id, label, file_name)


def _sort_out_attempt(
    student_id: str, label: str, files: list[Handed], folders: list[str], file_name: str, limit_kb: int
) -> Iterator[Found]:
    """Sort out the files that lie together, by the rules of an attempt; the time is that of the file itself."""
    for found in sort_out(SystemAttempt(student_id, label, tuple(files), None, timed=True), file_name, limit_kb):
        if isinstance(found, Attempt):
            # In a zip it has a name of its own.
            original = found.original if isinstance(found.stored, InnerFile) else ""
            found = replace(found, moment=_moment(found.stored), by_system=False, original=original)
        elif isinstance(found, WithoutFile):
            found = _without_file(found, label, files, folders, file_name)
        yield found


def _unrecognised(shown: str, student_id: str, label: str, file_name: str) -> Decision:
    return Decision(shown, student_id, Status.UNRECOGNISED, f"{label} has no {file_name}: look at it by hand")


def _without_file(
    found: WithoutFile, label: str, files: list[Handed], folders: list[str], file_name: str
) -> WithoutFile:
    own = [file for file in files if not is_system_file(file.name)]
    names = sorted([*(file.name for file in own), *(f"{folder}/" for folder in folders)])
    held = f"has no {file_name}, only {listed(names)}" if names else "is empty"
    closed = [_moment(file.stored) for file in own if file.stored.shown == found.archive]
    return replace(found, remark=f"{label} {held}", moment=next(iter(closed), None))


def _attempt(path: Path, student_id: str, shown: str, how: str = "") -> Attempt:
    stored = DiskFile(shown, path)
    return Attempt(student_id, stored, _moment(stored), how=how)


def _moment(stored: Stored) -> int | None:
    """The time of the file, or of the archive that holds it; of a link itself, not of what it points to."""
    while isinstance(stored, InnerFile):
        stored = stored.outer
    try:
        return stored.path.lstat().st_mtime_ns if isinstance(stored, DiskFile) else None
    except OSError:
        return None


def _shown(name: str) -> str:
    return decoded_name(os.fsencode(name))
