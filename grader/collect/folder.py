"""Reads a submissions folder: which entry belongs to which student, and what was set aside.

Three layouts name the student: `<student>/hw6.py`, `<student>_hw6.py` and `hw6_<student>.py`. Symbolic links are never
followed: they could lead out of the folder.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from grader.errors import UserError
from grader.lms.files import (
    NOBODYS,
    Attempt,
    DiskFile,
    Found,
    WithoutFile,
    can_be_imported,
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


def scan(folder: Path, file_name: str, roster: Path | None) -> Iterator[Found]:
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
            yield from _sort_out(child, file_name)


def _children(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: (_shown(entry.name), entry.name))


def _sort_out(child: os.DirEntry[str], file_name: str) -> Iterator[Found]:
    name = _shown(child.name)
    student_id = _student_named_by(name, file_name)
    is_folder = child.is_dir(follow_symlinks=False)
    shown = f"{name}/" if is_folder else name
    if is_system_file(name):
        yield Decision(shown, "", Status.BESIDE, NOBODYS)
    elif name == file_name:
        yield Decision(shown, "", Status.UNRECOGNISED, f"it names no student, as {layouts_of(file_name)} would")
    elif student_id:
        yield _attempt(Path(child.path), student_id, shown)
    elif is_folder:
        yield from _sort_out_folder(child, name, file_name)
    elif child.is_symlink() and os.path.isdir(child.path):
        # It stands where a student's folder belongs: an attempt that turns out unreadable.
        yield _attempt(Path(child.path), normal(name), shown)
    else:
        yield Decision(shown, "", Status.UNRECOGNISED, f"its name is none of {layouts_of(file_name)}")


def _sort_out_folder(folder: os.DirEntry[str], name: str, file_name: str) -> Iterator[Found]:
    """Sort out the entries of one student's folder; folders in it are not opened."""
    student_id = normal(name)
    try:
        children = _children(Path(folder.path))
    except OSError:
        yield _attempt(Path(folder.path, file_name), student_id, f"{name}/{file_name}")
        return
    others: list[str] = []
    found = [Path(child.path) for child in children if _shown(child.name) == file_name]
    companions: dict[str, DiskFile] = {}
    for child in children:
        shown = _shown(child.name)
        if shown == file_name:
            continue
        if found and can_be_imported(shown) and not child.is_dir(follow_symlinks=False):
            companions[normal(shown)] = DiskFile(f"{name}/{shown}", Path(child.path))
        elif is_system_file(shown):
            yield Decision(f"{name}/{shown}", student_id, Status.BESIDE, NOBODYS)
        else:
            others.append(f"{shown}/" if child.is_dir(follow_symlinks=False) else shown)
    for path in found:
        yield _attempt(path, student_id, f"{name}/{file_name}", companions)
    if found:
        for other in others:
            yield Decision(f"{name}/{other}", student_id, Status.BESIDE, f"not graded: it lies beside {file_name}")
        return
    for other in others or [""]:
        reason = f"the folder has no {file_name}: look at it by hand"
        yield Decision(f"{name}/{other}", student_id, Status.UNRECOGNISED, reason)
    held = f"has no {file_name}, only {listed(others)}" if others else "is empty"
    yield WithoutFile(student_id, f"the folder {name}/ {held}")


def _student_named_by(name: str, file_name: str) -> str:
    """Give the student of `<student>_hw6.py` or `hw6_<student>.py`; empty if the name is neither."""
    stem, suffix = Path(file_name).stem, Path(file_name).suffix
    if name.endswith(f"_{file_name}"):
        student_id = name.removesuffix(f"_{file_name}")
    elif name.startswith(f"{stem}_") and name.endswith(suffix):
        student_id = name.removeprefix(f"{stem}_").removesuffix(suffix)
    else:
        student_id = ""
    return normal(student_id) if student_id.strip() else ""


def _attempt(path: Path, student_id: str, shown: str, companions: dict[str, DiskFile] | None = None) -> Attempt:
    """Look at the entry itself, not at what a link points to."""
    try:
        moment = path.lstat().st_mtime_ns
    except OSError:
        moment = None
    return Attempt(student_id, DiskFile(shown, path), moment, dict(companions or {}))


def _shown(name: str) -> str:
    return decoded_name(os.fsencode(name))
