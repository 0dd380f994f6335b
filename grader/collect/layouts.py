"""Recognises what SUBMISSIONS= is, a plain folder or what a learning system lets a teacher download, and reads it.

In a plain folder three layouts name the student: `<student>/hw6.py`, `<student>_hw6.py` and `hw6_<student>.py`. What
counts as `hw6.py` in them is the rule of grader/lms/attempts.py; an archive that bears a student's name, as
`<student>_hw6.zip`, is opened by that rule too. Symbolic links are never followed: they could lead out of the folder.
"""

import os
import zipfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Literal

from grader.assignment import Assignment
from grader.errors import UserError
from grader.lms import System, blackboard, canvas, gradescope, moodle
from grader.lms.attempts import SystemAttempt, bears_the_name, named_student, sort_out
from grader.lms.files import (
    NOBODYS,
    Attempt,
    DiskFile,
    Found,
    InnerFile,
    Known,
    NamedFile,
    Stored,
    WithoutFile,
    decoded_name,
    is_archive,
    is_system_file,
    leads_out,
    listed,
    made_by_system,
    normal,
    unpacked,
)
from grader.records import Decision, Status

# How the files lie: in a plain folder, or as a learning system lays them out. These words a teacher may say.
Format = Literal["folder", "blackboard", "canvas", "moodle", "gradescope"]
_FOLDER: Format = "folder"
# A folder in a student's that holds more than this holds data.
_MOST_IN_A_FOLDER = 1_000


@dataclass(frozen=True, slots=True)
class Reading:
    """What was found, and how the times are to be read.

    Attributes:
        system: Who laid it out; None: a plain folder.
        times: Whose word the times are, for people; empty where there are none.
        notices: How it was read, one sentence each, without a full stop.
    """

    system: System | None
    found: list[Found]
    times: str
    notices: tuple[str, ...]


@contextmanager
def reading(
    submissions: Path,
    chosen: Format | None,
    assignment: Assignment,
    own: Collection[Path],
    known: Known,
    zone: tzinfo | None,
) -> Iterator[Reading]:
    """Recognise the layout, unless it was chosen, and sort out every entry; files can be read inside the context.

    Args:
        own: What is the teacher's or the grader's and may lie there too.
        known: Who is on the roster.
        zone: In which times without a zone are read; None: this machine's.

    Raises:
        UserError: There is nothing that can be opened, or its layout is none of those known.
    """
    layout: str | None = chosen
    is_zip = submissions.is_file() and (submissions.suffix.lower() == ".zip" or zipfile.is_zipfile(submissions))
    if layout is None and not is_zip:
        names = _names(submissions)
        layout = _recognised(names) or _recognised_inside(submissions, names) or _FOLDER
    if layout == _FOLDER:
        found = list(scan(submissions, assignment, own, known))
        yield Reading(None, found, "the files' own, which a copy may have changed", ())
        return
    with unpacked(submissions) as files:
        system = System(layout) if layout else _recognised([file.name for file in files if not leads_out(file.name)])
        if system is None:
            raise UserError(_not_recognised(submissions, files, assignment))
        found, handed_in = _set_apart(files, system, _names_there(submissions, own))
        for item in _attempts(system, handed_in, zone, known):
            found += sort_out(item, assignment) if isinstance(item, SystemAttempt) else [item]
        times, notices = _said(system, chosen is None, zone)
        doubts = blackboard.doubts_about_clock(handed_in) if system is System.BLACKBOARD else ()
        yield Reading(system, found, times, (*notices, *doubts))


def _not_recognised(submissions: Path, files: Sequence[NamedFile], assignment: Assignment) -> str:
    return (
        f"SUBMISSIONS={submissions} has no file named as Blackboard, Canvas, Moodle or Gradescope name files: "
        f"set FORMAT=, or unpack it and pass a folder with {layouts_of(assignment.file)}"
        f"{archive_in([file.name for file in files])}"
    )


def archive_in(names: Sequence[str]) -> str:
    """A hint, to follow a sentence: one archive that lies in what was passed may be the one that is meant."""
    archives = [name for name in names if name.lower().endswith(".zip")]
    return f"; if {archives[0]} in it is the system's archive, pass that" if len(archives) == 1 else ""


def _names(folder: Path) -> list[str]:
    """Name what lies in a folder; nothing where it cannot be opened, which is said when it is read."""
    try:
        return [decoded_name(os.fsencode(name)) for name in os.listdir(folder)]
    except OSError:
        return []


def _recognised_inside(folder: Path, names: Sequence[str]) -> System | None:
    """Look into the only folder in a folder, as some programs make it when they unpack."""
    own = [name for name in names if not is_system_file(name)]
    inside = _names(folder / own[0]) if len(own) == 1 else []
    return _recognised(inside) if len(inside) > 1 else None


def _recognised(names: Sequence[str]) -> System | None:
    if gradescope.METADATA in names:
        return System.GRADESCOPE
    for system in (System.BLACKBOARD, System.MOODLE):
        if any(_named_by(system, name) for name in names):
            return system
    own = [name for name in names if not made_by_system(name)]
    # Somebody may have put a list or notes beside what was unpacked.
    return System.CANVAS if 2 * sum(map(canvas.fits, own)) > len(own) else None


def _named_by(system: System, name: str) -> bool:
    """Whether a system gave a file this name, also where a title or a student's name begins with a dot."""
    pattern = {System.BLACKBOARD: blackboard.NAME, System.MOODLE: moodle.NAME}.get(system)
    return pattern is not None and not name.startswith("._") and pattern.fullmatch(name) is not None


def _names_there(folder: Path, own: Collection[Path]) -> set[str]:
    """The names of those that lie in the folder; OUT may, where a teacher gives the command there."""
    return {path.name for path in own if path.absolute().parent.resolve() == folder.resolve()}


def _set_apart(
    files: Sequence[NamedFile], system: System, passed_over: Collection[str]
) -> tuple[list[Found], list[NamedFile]]:
    """Take out what no student handed in, and what has a name that may not be followed."""
    aside: list[Found] = []
    own = []
    for file in files:
        shown = file.stored.shown
        if leads_out(file.name):
            reason = "not read: its name leads out of the archive or is one that no file can have"
            aside.append(Decision(shown, "", Status.UNRECOGNISED, reason))
        elif made_by_system(file.name) and not _named_by(system, file.name):
            aside.append(Decision(shown, "", Status.BESIDE, NOBODYS))
        elif file.name.partition("/")[0] not in passed_over:
            own.append(file)
    return aside, own


def _attempts(
    system: System, files: Sequence[NamedFile], zone: tzinfo | None, known: Known
) -> Iterator[SystemAttempt | Found]:
    match system:
        case System.BLACKBOARD:
            return blackboard.attempts(files, zone, known)
        case System.CANVAS:
            return canvas.attempts(files, known)
        case System.MOODLE:
            return moodle.attempts(files, known)
        case System.GRADESCOPE:
            return gradescope.attempts(files, known)


def _said(system: System, recognised: bool, zone: tzinfo | None) -> tuple[str, tuple[str, ...]]:
    """Say whose word the times are, and how the layout and the times were read."""
    name = system.value.capitalize()
    layout = f"layout: {name}'s" + (", recognised by its names; FORMAT= says otherwise" if recognised else "")
    if system is System.GRADESCOPE:
        return f"{name}'s", (layout,)
    if system is not System.BLACKBOARD:
        return "", (
            layout,
            f"{name}'s archive has no times: each student's one attempt counts, whatever DEADLINE= says",
        )
    which = f"DEADLINE's zone, {zone}" if zone else f"this machine's, {datetime.now().astimezone():%z}"
    return f"{name}'s", (layout, f"{name}'s times carry no zone: they are read in {which}")


def layouts_of(file_name: str) -> str:
    """Name the layouts, for people: `<student>/hw6.py, <student>_hw6.py or hw6_<student>.py`."""
    file = Path(file_name)
    return f"<student>/{file_name}, <student>_{file_name} or {file.stem}_<student>{file.suffix}"


def scan(folder: Path, rules: Assignment, own: Collection[Path], known: Known) -> Iterator[Found]:
    """Sort out every entry of the folder, in the order of their names; those of `own` that lie there are passed over.

    Raises:
        UserError: The folder is missing or cannot be opened.
    """
    try:
        children = _children(folder)
    except OSError as error:
        raise UserError(
            f"cannot open SUBMISSIONS={folder} ({error.strerror}): pass a folder with {layouts_of(rules.file)}"
        ) from None
    passed_over = _names_there(folder, own)
    sorted_out = [(child, list(_sort_out(child, rules))) for child in children if child.name not in passed_over]
    # `sec1/kim/hw6.py` is kim's, and `kim/src/hw6.py` too: the roster tells them apart, or where others' files lie.
    among_students = any(isinstance(each, Attempt) for _, found in sorted_out for each in found)
    for child, found in sorted_out:
        name = normal(_shown(child.name))
        a_students = among_students or any(name in names for names in known)
        if a_students and any(isinstance(each, WithoutFile) for each in found) and child.is_dir(follow_symlinks=False):
            found = list(_sort_out_folder(child, _shown(child.name), rules, whole=True))
        yield from found


def _children(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: (_shown(entry.name), entry.name))


def _sort_out(child: os.DirEntry[str], rules: Assignment) -> Iterator[Found]:
    name, file_name = _shown(child.name), rules.file
    student_id, how = named_student(name, file_name)
    is_folder = child.is_dir(follow_symlinks=False)
    shown = f"{name}/" if is_folder else name
    if is_system_file(name):
        yield Decision(shown, "", Status.BESIDE, NOBODYS)
    elif student_id:
        yield _attempt(Path(child.path), student_id, shown, how)
    elif not is_folder and (student_id := _whose_archive(name, file_name)):
        files = [NamedFile(name, DiskFile(name, Path(child.path)))]
        yield from _sort_out_attempt(student_id, f"the archive {name}", files, [], rules)
    elif name == file_name or (not is_folder and bears_the_name(name, file_name)):
        yield Decision(shown, "", Status.UNRECOGNISED, f"it names no student, as {layouts_of(file_name)} would")
    elif is_folder:
        yield from _sort_out_folder(child, name, rules)
    elif child.is_symlink() and os.path.isdir(child.path):
        # It stands where a student's folder belongs: an attempt that turns out unreadable.
        yield _attempt(Path(child.path), normal(name), shown)
    else:
        yield Decision(shown, "", Status.UNRECOGNISED, f"its name is none of {layouts_of(file_name)}")


def _whose_archive(name: str, file_name: str) -> str:
    """The student of `<student>_hw6.zip` or `hw6_<student>.zip`; empty if it is none."""
    stem, dot, _ = name.rpartition(".")
    return named_student(f"{stem}{dot}{file_name.rpartition('.')[2]}", file_name)[0] if is_archive(name) else ""


def _sort_out_folder(folder: os.DirEntry[str], name: str, rules: Assignment, *, whole: bool = False) -> Iterator[Found]:
    """Sort out the files of one student's folder as those of an attempt.

    Args:
        whole: With those in the only folder in it, as it is there where somebody unpacked one; of several, none is
            opened. Elsewhere the folder may be a section's, and the one in it a student's.
    """
    student_id, label, file_name = normal(name), f"the folder {name}/", rules.file
    try:
        files, folders = _within(Path(folder.path), name, "", file_name)
    except OSError:
        yield _attempt(Path(folder.path, file_name), student_id, f"{name}/{file_name}")
        return
    while whole and len(folders) == 1:
        ((shown, path),) = folders.items()
        try:
            deeper = _within(path, name, f"{shown}/", file_name)
        except OSError:
            break
        if not 0 < sum(map(len, deeper)) <= _MOST_IN_A_FOLDER:
            break
        files, folders = [*files, *deeper[0]], deeper[1]
    counts = False
    for found in _sort_out_attempt(student_id, label, files, list(folders), rules):
        counts = counts or isinstance(found, Attempt)
        yield found
    for other in folders:
        beside = Decision(f"{name}/{other}/", student_id, Status.BESIDE, f"not opened: it lies beside {file_name}")
        yield beside if counts else _unrecognised(f"{name}/{other}/", student_id, label, file_name)
    if not folders and all(is_system_file(file.name) for file in files):
        yield _unrecognised(f"{name}/", student_id, label, file_name)


def _within(path: Path, student: str, below: str, file_name: str) -> tuple[list[NamedFile], dict[str, Path]]:
    """The files and the folders that lie in a folder of a student's, by their paths below the student's own.

    Raises:
        OSError: It cannot be opened.
    """
    files: list[NamedFile] = []
    folders: dict[str, Path] = {}
    for child in _children(path):
        shown = _shown(child.name)
        # A folder where the file belongs is an attempt that turns out unreadable.
        if child.is_dir(follow_symlinks=False) and shown != file_name and not is_system_file(shown):
            folders[below + shown] = Path(child.path)
        else:
            files.append(NamedFile(below + shown, DiskFile(f"{student}/{below}{shown}", Path(child.path))))
    return files, folders


def _sort_out_attempt(
    student_id: str, label: str, files: list[NamedFile], folders: list[str], rules: Assignment
) -> Iterator[Found]:
    """Sort out the files that lie together, by the rules of an attempt; the time is that of the file itself."""
    for found in sort_out(SystemAttempt(student_id, label, tuple(files), None, timed=True), rules):
        if isinstance(found, Attempt):
            # In a zip it has a name of its own.
            original = found.original if isinstance(found.stored, InnerFile) else ""
            found = replace(found, moment=_moment(found.stored), by_system=False, original=original)
        elif isinstance(found, WithoutFile):
            found = _without_file(found, label, files, folders, rules.file)
        yield found


def _unrecognised(shown: str, student_id: str, label: str, file_name: str) -> Decision:
    return Decision(shown, student_id, Status.UNRECOGNISED, f"{label} has no {file_name}: look at it by hand")


def _without_file(
    found: WithoutFile, label: str, files: list[NamedFile], folders: list[str], file_name: str
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
