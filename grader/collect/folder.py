"""Reads a submissions folder: which entry belongs to which student, and what was set aside.

Three layouts name the student: `<student>/hw6.py`, `<student>_hw6.py` and `hw6_<student>.py`. Symbolic links are never
followed: they could lead out of the folder.
"""

import os
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from grader.errors import Mistake
from grader.records import Decision, Status

_SYSTEM_FILES = frozenset({"__MACOSX", "__pycache__", "Thumbs.db", "desktop.ini"})
_NAMES_SHOWN = 5
_NOBODYS = "hidden, or made by the system: nobody handed it in"


@dataclass(frozen=True, slots=True)
class Attempt:
    """An entry that stands where a student's file belongs; it may still be unreadable.

    Attributes:
        file: The path below the submissions folder, as shown.
        modified: Nanoseconds since 1970, of the entry itself; None if even that cannot be read.
        companions: What the script could import, beside it in the student's own folder: name to path, by name.
    """

    student_id: str
    file: str
    path: Path
    modified: int | None
    companions: dict[str, Path] = field(default_factory=dict)

    @classmethod
    def at(cls, path: Path, student_id: str, file: str, companions: dict[str, Path] | None = None) -> Self:
        """Look at the entry, not at what a link points to."""
        try:
            modified = path.lstat().st_mtime_ns
        except OSError:
            modified = None
        return cls(student_id, file, path, modified, companions or {})


@dataclass(frozen=True, slots=True)
class FolderWithoutFile:
    """A student's folder in which the file is missing: a person must look."""

    student_id: str
    remark: str


Found = Attempt | FolderWithoutFile | Decision


def layouts(file_name: str) -> str:
    """Name the layouts, for people: `<student>/hw6.py, <student>_hw6.py or hw6_<student>.py`."""
    file = Path(file_name)
    return f"<student>/{file_name}, <student>_{file_name} or {file.stem}_<student>{file.suffix}"


def scan(folder: Path, file_name: str, roster: Path | None) -> Iterator[Found]:
    """Sort out every entry of the folder, in the order of their names; the roster, if it lies there, is passed over.

    Raises:
        Mistake: The folder is missing or cannot be opened.
    """
    try:
        children = _children(folder)
    except OSError as error:
        raise Mistake(
            f"cannot open SUBMISSIONS={folder} ({error.strerror}): pass a folder with {layouts(file_name)}"
        ) from None
    passed_over = roster.name if roster and folder.samefile(roster.parent) else None
    for child in children:
        if child.name != passed_over:
            yield from _sort_out(child, file_name)


def read(path: Path, limit_kb: int) -> tuple[bytes | None, str]:
    """Read a regular file once.

    Returns:
        The content and "", or None and the reason, to follow "it".
    """
    try:
        kind = path.lstat().st_mode
        if not stat.S_ISREG(kind):
            return None, f"is {_kind(kind)} and not a regular file"
        # A link or a pipe that is put there meanwhile is neither followed nor waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            content = file.read(limit_kb * 1024 + 1)
    except OSError as error:
        return None, f"cannot be read: {error.strerror}"
    if len(content) > limit_kb * 1024:
        return None, f"is larger than {limit_kb} KB"
    return content, ""


def _children(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: (_shown(entry.name), entry.name))


def _sort_out(child: os.DirEntry[str], file_name: str) -> Iterator[Found]:
    name = _shown(child.name)
    student_id = _student_named_by(name, file_name)
    is_folder = child.is_dir(follow_symlinks=False)
    shown = f"{name}/" if is_folder else name
    if _is_system_file(name):
        yield Decision(shown, "", Status.BESIDE, _NOBODYS)
    elif name == file_name:
        yield Decision(shown, "", Status.UNRECOGNISED, f"it names no student, as {layouts(file_name)} would")
    elif student_id:
        yield Attempt.at(Path(child.path), student_id, shown)
    elif is_folder:
        yield from _sort_out_folder(child, name, file_name)
    elif child.is_symlink() and os.path.isdir(child.path):
        # It stands where a student's folder belongs: an attempt that turns out unreadable.
        yield Attempt.at(Path(child.path), _normal(name), shown)
    else:
        yield Decision(shown, "", Status.UNRECOGNISED, f"its name is none of {layouts(file_name)}")


def _sort_out_folder(folder: os.DirEntry[str], name: str, file_name: str) -> Iterator[Found]:
    """Sort out the entries of one student's folder; folders in it are not opened."""
    student_id = _normal(name)
    try:
        children = _children(Path(folder.path))
    except OSError:
        yield Attempt.at(Path(folder.path, file_name), student_id, f"{name}/{file_name}")
        return
    others: list[str] = []
    found = [Path(child.path) for child in children if _shown(child.name) == file_name]
    companions: dict[str, Path] = {}
    for child in children:
        shown = _shown(child.name)
        if shown == file_name:
            continue
        if found and _can_be_imported(shown) and not child.is_dir(follow_symlinks=False):
            companions[_normal(shown)] = Path(child.path)
        elif _is_system_file(shown):
            yield Decision(f"{name}/{shown}", student_id, Status.BESIDE, _NOBODYS)
        else:
            others.append(f"{shown}/" if child.is_dir(follow_symlinks=False) else shown)
    for path in found:
        yield Attempt.at(path, student_id, f"{name}/{file_name}", companions)
    if found:
        for other in others:
            yield Decision(f"{name}/{other}", student_id, Status.BESIDE, f"not graded: it lies beside {file_name}")
        return
    for other in others or [""]:
        reason = f"the folder has no {file_name}: a person must look"
        yield Decision(f"{name}/{other}", student_id, Status.UNRECOGNISED, reason)
    held = f"has no {file_name}, only {_listed(others)}" if others else "is empty"
    yield FolderWithoutFile(student_id, f"the folder {name}/ {held}")


def _can_be_imported(name: str) -> bool:
    return name.endswith(".py") and name.removesuffix(".py").isidentifier()


def _student_named_by(name: str, file_name: str) -> str:
    """Give the student of `<student>_hw6.py` or `hw6_<student>.py`; empty if the name is neither."""
    stem, suffix = Path(file_name).stem, Path(file_name).suffix
    if name.endswith(f"_{file_name}"):
        student_id = name.removesuffix(f"_{file_name}")
    elif name.startswith(f"{stem}_") and name.endswith(suffix):
        student_id = name.removeprefix(f"{stem}_").removesuffix(suffix)
    else:
        student_id = ""
    return _normal(student_id) if student_id.strip() else ""


def _shown(name: str) -> str:
    r"""Decode a name from the disk: UTF-8, else cp949, else UTF-8 with each foreign byte as \xNN (two stay two)."""
    raw = os.fsencode(name)
    for encoding in ("utf-8", "cp949"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode("utf-8", "backslashreplace")


def _normal(name: str) -> str:
    """Compose what macOS decomposes, so that one Korean name is one student."""
    return unicodedata.normalize("NFC", name)


def _is_system_file(name: str) -> bool:
    return name.startswith(".") or name in _SYSTEM_FILES


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe, a socket or a device"


def _listed(names: list[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
