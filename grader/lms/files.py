"""What was handed in: where a file lies and how it is read, and what a layout finds in it.

A file lies on the disk, in an archive, or in an archive inside one. A layout finds somebody's attempt, somebody without
a file, or an entry that was set aside.
"""

import os
import stat
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Protocol

from grader.records import Decision
from grader.text import codec_of

_SYSTEM_FILES = frozenset({"__MACOSX", "__pycache__", "Thumbs.db", "desktop.ini"})
NOBODYS = "hidden, or made by the system: the student did not hand it in"

# Bytes; no file system takes a longer one.
_LONGEST_NAME = 255
_NAMES_SHOWN = 5


class Blame(Enum):
    """What keeps a file from being read."""

    # The machine, a disk, a download: another try may read it.
    MACHINE = auto()
    # Something lies there that is not read by rule, such as a link: whoever put it there must look.
    LAYOUT = auto()
    # The file itself, as the student handed it in: no other try will read it.
    STUDENT = auto()


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a file is not read; what is said follows "it"."""

    said: str
    blame: Blame


class Stored(Protocol):
    """A file that can be read."""

    @property
    def shown(self) -> str:
        """Its path below the submissions folder or inside the archive, for people."""

    def read(self, limit_kb: int) -> bytes | Fault:
        """Read it once, as a whole."""


@dataclass(frozen=True, slots=True)
class DiskFile:
    """A file on the disk; a symbolic link is not followed: it could lead out of the folder."""

    shown: str
    path: Path

    def read(self, limit_kb: int) -> bytes | Fault:
        """Read a regular file."""
        try:
            kind = self.path.lstat().st_mode
            if not stat.S_ISREG(kind):
                return Fault(f"is {kind_of(kind)} and not a regular file", Blame.LAYOUT)
            # A link or a pipe that is put there meanwhile is neither followed nor waited for.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with open(descriptor, "rb") as file:
                content = file.read(limit_kb * 1024 + 1)
        except OSError as error:
            return Fault(f"cannot be read: {error.strerror}", Blame.MACHINE)
        return within(content, limit_kb)


@dataclass(frozen=True, slots=True)
class Told:
    """A file that a learning system tells of and does not hand out."""

    shown: str
    fault: Fault

    def read(self, limit_kb: int) -> Fault:
        """Say why it cannot be read."""
        return self.fault


def within(content: bytes, limit_kb: int) -> bytes | Fault:
    """Give the content if it is not over the limit."""
    return Fault(f"is larger than {limit_kb} KB", Blame.STUDENT) if len(content) > limit_kb * 1024 else content


def kind_of(mode: int) -> str:
    """Name what is no regular file."""
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe, a socket or a device"


def decoded_name(raw: bytes) -> str:
    r"""Decode a file's name: UTF-8, else cp949, else UTF-8 with each foreign byte as \xNN (two stay two)."""
    try:
        return raw.decode(codec_of(raw))
    except UnicodeDecodeError:
        return raw.decode("utf-8", "backslashreplace")


def normal(name: str) -> str:
    """Compose what macOS decomposes, so that one Korean name is one student."""
    return unicodedata.normalize("NFC", name)


def is_system_file(name: str) -> bool:
    """Whether an operating system made a file of this name."""
    return name.startswith(".") or name in _SYSTEM_FILES


def can_be_imported(name: str) -> bool:
    """Whether a script beside a file of this name can import it."""
    return name.endswith(".py") and name.removesuffix(".py").isidentifier() and len(name.encode()) <= _LONGEST_NAME


@dataclass(frozen=True, slots=True)
class Attempt:
    """A file that stands where a student's file belongs; it may still be unreadable.

    Attributes:
        moment: When it was handed in, in nanoseconds since 1970; None if that cannot be known.
        companions: What the script could import, handed in with it: module's file name to file, by name.
        timed: Whether there should be a moment. Some systems' archives have none at all.
        by_system: A learning system keeps attempts apart, so that an earlier one is nothing to look at.
        original: The student's own name for it, where the system gave it another; empty otherwise.
        how: By which rule it was taken for the student's file, where its name is another; empty otherwise.
        remarks: What a teacher should look at if this attempt counts.
    """

    student_id: str
    stored: Stored
    moment: int | None
    companions: dict[str, Stored] = field(default_factory=dict)
    timed: bool = True
    by_system: bool = False
    original: str = ""
    how: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """Its path, as shown."""
        return self.stored.shown


@dataclass(frozen=True, slots=True)
class WithoutFile:
    """A student's folder or attempt in which the file is missing: a person must look.

    Attributes:
        archive: What the file may have been in and cannot be opened; empty if there is no such thing.
        fault: Why that cannot be opened.
        moment: As in `Attempt`.
    """

    student_id: str
    remark: str
    archive: str = ""
    fault: Fault | None = None
    moment: int | None = None


Found = Attempt | WithoutFile | Decision
# The roster's students and their names: by id, and then by whatever else a system may call them.
Known = Sequence[Mapping[str, str]]


def listed(names: Sequence[str]) -> str:
    """Name some of many."""
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
