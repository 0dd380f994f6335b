"""What was handed in: where a file lies and how it is read, and what a layout finds in it.

A file lies on the disk, in a zip archive, or in an archive inside one. Archives are read without unpacking them:
nothing is written anywhere, and every name and size is hostile. A layout finds somebody's attempt, somebody without a
file, or an entry that was set aside.
"""

import io
import lzma
import os
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from operator import attrgetter
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from grader.errors import UserError
from grader.records import Decision
from grader.text import codec_of

_SYSTEM_FILES = frozenset({"__MACOSX", "__pycache__", "Thumbs.db", "desktop.ini"})
NOBODYS = "hidden, or made by the system: the student did not hand it in"

# Bytes; no file system takes a longer one.
_LONGEST_NAME = 255
_NAMES_SHOWN = 5

# 10,000 students with three attempts of two entries each fit in.
MAX_ENTRIES, MAX_ENTRIES_INSIDE = 65_535, 10_000
# Sources shrink to a quarter or a tenth; deflate's bound is 1,032.
MAX_RATIO = 200
_SMALL = 1_000_000  # bytes: below, no ratio hurts
_LONGEST_PATH = 500  # characters: no file system takes longer ones, and patterns are slow on them
_UTF8 = 0x800
_ENCRYPTED = 0x1
_UNSAFE = re.compile(r"[\x00-\x1f\x7f]|\A/|\A[A-Za-z]:/|(?:\A|/)\.\.(?:/|\Z)")
# Archives of other kinds, by how they begin and how they are called.
_OTHERS = (b"Rar!", b"7z\xbc\xaf\x27\x1c", b"\x1f\x8b", b"BZh", b"\xfd7zXZ")
_TAR, _TAR_AT = b"ustar", 257
_ARCHIVES = (".zip", ".rar", ".7z", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".alz", ".egg")
# What zipfile and its decompressors raise on a damaged archive.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
)


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
class MentionedFile:
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
    archive: str
    fault: Fault | None
    moment: int | None = None


Found = Attempt | WithoutFile | Decision
# The roster's students and their names: by id, and then by whatever else a system may call them.
Known = Sequence[Mapping[str, str]]


def name_of(student_id: str, known: Known) -> str:
    """The name that the roster has for an id; empty where it has none."""
    return next((names[student_id] for names in known if student_id in names), "")


def listed(names: Sequence[str]) -> str:
    """Name some of many."""
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file and the name under which a system or a student put it; folders in it are separated by slashes."""

    name: str
    stored: Stored


_BY_NAME = attrgetter("name")


@dataclass(frozen=True, slots=True)
class PackedFile:
    """A file in an open archive."""

    shown: str
    archive: zipfile.ZipFile
    info: zipfile.ZipInfo

    def read(self, limit_kb: int) -> bytes | Fault:
        """Unpack it into memory; one byte over the limit ends it."""
        if fault := _fault(self.info):
            return fault
        try:
            with self.archive.open(self.info) as file:
                content = file.read(limit_kb * 1024 + 1)
        except _DAMAGED as error:
            return Fault(f"cannot be read: {error}", Blame.MACHINE)
        return within(content, limit_kb)


@dataclass(frozen=True, slots=True)
class InnerFile:
    """A file in an archive that was handed in; the archive is opened anew for each reading, so that none is kept."""

    shown: str
    outer: Stored
    place: int

    def read(self, limit_kb: int) -> bytes | Fault:
        """Unpack it into memory. Whatever is wrong with it is how it was handed in, not the machine's doing."""
        outer = self.outer.read(limit_kb)
        if isinstance(outer, Fault):
            return outer
        with zipfile.ZipFile(io.BytesIO(outer)) as archive:
            content = PackedFile(self.shown, archive, archive.infolist()[self.place]).read(limit_kb)
        return replace(content, blame=Blame.STUDENT) if isinstance(content, Fault) else content


@contextmanager
def unpacked(path: Path) -> Iterator[list[NamedFile]]:
    """List the files of a zip archive or of a folder, in the order of their names; of equal ones, the later comes last.

    They can be read as long as the context is open.

    Raises:
        UserError: There is no such archive or folder, or it is one that should not be opened.
    """
    if path.is_dir():
        yield without_common_folder(sorted(_walk(path), key=_BY_NAME))
        return
    with ExitStack() as stack:
        # Only what goes wrong here is the archive's: the reader's errors are not to be taken for it.
        try:
            file = stack.enter_context(open(path, "rb"))
            archive = stack.enter_context(_opened(file, path.stat().st_size, MAX_ENTRIES))
        except ValueError as error:
            raise UserError(
                f"SUBMISSIONS={path} {error}: download it again, or unpack it and pass the folder"
            ) from None
        except OSError as error:
            raise UserError(
                f"cannot open SUBMISSIONS={path} ({error.strerror}): pass the archive or its folder"
            ) from None
        names = ((_name(info), info) for info in archive.infolist())
        files = [NamedFile(name, PackedFile(name, archive, info)) for name, info in names if name[-1:] != "/"]
        yield without_common_folder(sorted(files, key=_BY_NAME))


def opened_inside(outer: NamedFile, limit_kb: int) -> list[NamedFile] | Fault:
    """List the files of an archive that a student handed in; one that cannot be unpacked is a file all the same."""
    content = outer.stored.read(limit_kb)
    if isinstance(content, Fault):
        return content
    if _of_another_kind(outer.name, content):
        return Fault("is an archive that is no zip, so it is not opened: unpack it by hand", Blame.LAYOUT)
    try:
        with _opened(io.BytesIO(content), len(content), MAX_ENTRIES_INSIDE) as archive:
            return [
                NamedFile(_name(info), InnerFile(f"{outer.stored.shown}/{_name(info)}", outer.stored, place))
                for place, info in enumerate(archive.infolist())
                if _is_file(info) and not leads_out(_name(info)) and not made_by_system(_name(info))
            ]
    except ValueError as error:
        return Fault(str(error), Blame.STUDENT)


def _of_another_kind(name: str, content: bytes) -> bool:
    if content.startswith(_OTHERS) or content[_TAR_AT:].startswith(_TAR):
        return True
    return not name.lower().endswith(".zip") and not zipfile.is_zipfile(io.BytesIO(content))


def is_archive(name: str) -> bool:
    """Whether a file is an archive by its name."""
    return name.lower().endswith(_ARCHIVES)


def without_common_folder(files: Sequence[NamedFile]) -> list[NamedFile]:
    """Leave out the folder in which all files lie, as it is where somebody packed a folder; what a Mac adds is not one.

    A folder of a system's own, which names a student, is no such folder.
    """
    own = [file for file in files if not made_by_system(file.name)]
    tops = {file.name.partition("/")[0] for file in own if "/" in file.name}
    if len(tops) != 1 or any("/" not in file.name for file in own) or "_assignsubmission_" in next(iter(tops)):
        return list(files)
    prefix = f"{tops.pop()}/"
    return [NamedFile(file.name.removeprefix(prefix), file.stored) for file in files]


@contextmanager
def _opened(file: BinaryIO, size: int, most: int) -> Iterator[zipfile.ZipFile]:
    """Open an archive that keeps the limits.

    Raises:
        ValueError: Why it does not, to follow "it".
    """
    try:
        archive = zipfile.ZipFile(file)
    except _DAMAGED:
        raise ValueError("is not a zip archive that can be read") from None
    with archive:
        entries = archive.infolist()
        if len(entries) > most:
            raise ValueError(f"has {len(entries)} entries, and the grader reads at most {most}")
        total = sum(info.file_size for info in entries)
        if total > max(_SMALL, MAX_RATIO * size):
            raise ValueError(f"would unpack to {total // 1_000_000} MB, more than {MAX_RATIO} times its own size")
        yield archive


def _name(info: zipfile.ZipInfo) -> str:
    """Decode an entry's name: without the mark for UTF-8, zipfile reads cp437, which loses nothing of cp949."""
    name = info.orig_filename
    if not info.flag_bits & _UTF8:
        name = decoded_name(name.encode("cp437"))
    return normal(name.replace("\\", "/"))


def _is_file(info: zipfile.ZipInfo) -> bool:
    mode = info.external_attr >> 16
    return not _name(info).endswith("/") and (not stat.S_IFMT(mode) or stat.S_ISREG(mode))


def _fault(info: zipfile.ZipInfo) -> Fault | None:
    """Why an entry is not to be read, if it is not."""
    if leads_out(_name(info)):
        return Fault("has a name that leads out of the archive or that no file can have", Blame.LAYOUT)
    if not _is_file(info):
        return Fault(f"is {kind_of(info.external_attr >> 16)} and not a regular file", Blame.LAYOUT)
    if info.flag_bits & _ENCRYPTED:
        return Fault("is encrypted", Blame.LAYOUT)
    # Others can ask for gigabytes of memory before the first byte.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return Fault("is packed by a method other than deflate", Blame.LAYOUT)
    if info.file_size > max(_SMALL, MAX_RATIO * info.compress_size):
        return Fault(f"would unpack to more than {MAX_RATIO} times its packed size", Blame.STUDENT)
    return None


def leads_out(name: str) -> bool:
    """Whether an entry's name would leave the folder into which it were unpacked, or is one that no file can have."""
    return len(name) > _LONGEST_PATH or _UNSAFE.search(name) is not None


def made_by_system(name: str) -> bool:
    """Whether an operating system, and no student, put an entry there."""
    return any(is_system_file(part) for part in PurePosixPath(name).parts)


def _walk(folder: Path) -> Iterator[NamedFile]:
    """List a folder's files; links are listed and not followed.

    Raises:
        UserError: A folder cannot be opened.
    """

    def stop(error: OSError) -> None:
        raise UserError(f"cannot open {error.filename} below SUBMISSIONS= ({error.strerror}): make it readable")

    for parent, folders, names in os.walk(folder, onerror=stop):
        linked = [name for name in folders if Path(parent, name).is_symlink()]
        for path in (Path(parent, name) for name in [*names, *linked]):
            shown = normal(decoded_name(os.fsencode(path.relative_to(folder))))
            yield NamedFile(shown, DiskFile(shown, path))
