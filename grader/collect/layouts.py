"""Recognises what SUBMISSIONS= is: a plain folder, or what a learning system lets a teacher download."""

import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Literal

from grader.assignment import Assignment
from grader.collect.folder import layouts_of, scan
from grader.errors import UserError
from grader.lms import System, blackboard, canvas, gradescope, moodle
from grader.lms.archive import Handed, leads_out, made_by_system, unpacked
from grader.lms.attempts import SystemAttempt, sort_out
from grader.lms.files import NOBODYS, Found, Known, decoded_name, is_system_file
from grader.records import Decision, Status

# How the files lie: in a plain folder, or as a learning system lays them out. These words a teacher may say.
Format = Literal["folder", "blackboard", "canvas", "moodle", "gradescope"]
_FOLDER: Format = "folder"


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
    roster: Path | None,
    known: Known,
    zone: tzinfo | None,
) -> Iterator[Reading]:
    """Recognise the layout, unless it was chosen, and sort out every entry; files can be read inside the context.

    Args:
        known: Who is on the roster.
        zone: In which times without a zone are read; None: this machine's.

    Raises:
        UserError: There is nothing that can be opened, or its layout is none of those known.
    """
    file_name, limit_kb = assignment.file, assignment.limits.file_size_kb
    layout: str | None = chosen
    if layout is None and not _is_archive(submissions):
        names = _names(submissions)
        layout = _recognised(names) or _recognised_inside(submissions, names) or _FOLDER
    if layout == _FOLDER:
        found = list(scan(submissions, file_name, limit_kb, roster))
        yield Reading(None, found, "the files' own, which a copy may have changed", ())
        return
    with unpacked(submissions) as files:
        system = System(layout) if layout else _recognised([file.name for file in files if not leads_out(file.name)])
        if system is None:
            raise UserError(
                f"SUBMISSIONS={submissions} has no names as Blackboard, Canvas, Moodle or Gradescope give them: set "
                f"FORMAT=, or unpack it and pass a folder with {layouts_of(file_name)}"
                f"{archive_in([file.name for file in files])}"
            )
        aside, own = _set_apart(files, system, roster)
        found = list(aside)
        for item in _attempts(system, own, zone, known):
            found += sort_out(item, file_name, limit_kb) if isinstance(item, SystemAttempt) else [item]
        times, notices = _said(system, chosen is None, zone)
        doubts = blackboard.doubts_about_clock(own) if system is System.BLACKBOARD else ()
        yield Reading(system, found, times, (*notices, *doubts))


def archive_in(names: Sequence[str]) -> str:
    """A hint, to follow a sentence: one archive that lies in what was passed may be the one that is meant."""
    archives = [name for name in names if name.lower().endswith(".zip")]
    return f"; if {archives[0]} in it is the system's archive, pass that" if len(archives) == 1 else ""


def _is_archive(path: Path) -> bool:
    return path.is_file() and (path.suffix.lower() == ".zip" or zipfile.is_zipfile(path))


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


def _set_apart(files: Sequence[Handed], system: System, roster: Path | None) -> tuple[list[Decision], list[Handed]]:
    """Take out what no student handed in, and what has a name that may not be followed."""
    aside, own = [], []
    for file in files:
        shown = file.stored.shown
        if leads_out(file.name):
            reason = "not read: its name leads out of the archive or is one that no file can have"
            aside.append(Decision(shown, "", Status.UNRECOGNISED, reason))
        elif made_by_system(file.name) and not _named_by(system, file.name):
            aside.append(Decision(shown, "", Status.BESIDE, NOBODYS))
        elif roster is None or file.name != roster.name:
            own.append(file)
    return aside, own


def _attempts(
    system: System, files: Sequence[Handed], zone: tzinfo | None, known: Known
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
