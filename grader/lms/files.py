"""Where a file that was handed in lies, and how it is read: on the disk, in an archive, or in an archive inside one."""

import os
import stat
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_SYSTEM_FILES = frozenset({"__MACOSX", "__pycache__", "Thumbs.db", "desktop.ini"})
NOBODYS = "hidden, or made by the system: nobody handed it in"


class Stored(Protocol):
    """A file that can be read."""

    @property
    def shown(self) -> str:
        """Its path below the submissions folder or inside the archive, for people."""

    def read(self, limit_kb: int) -> tuple[bytes | None, str]:
        """Read it once, as a whole.

        Returns:
            The content and "", or None and the reason, to follow "it".
        """


@dataclass(frozen=True, slots=True)
class DiskFile:
    """A file on the disk; a symbolic link is not followed: it could lead out of the folder."""

    shown: str
    path: Path

    def read(self, limit_kb: int) -> tuple[bytes | None, str]:
        """Read a regular file."""
        try:
            kind = self.path.lstat().st_mode
            if not stat.S_ISREG(kind):
                return None, f"is {kind_of(kind)} and not a regular file"
            # A link or a pipe that is put there meanwhile is neither followed nor waited for.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with open(descriptor, "rb") as file:
                content = file.read(limit_kb * 1024 + 1)
        except OSError as error:
            return None, f"cannot be read: {error.strerror}"
        return too_large(content, limit_kb)


def too_large(content: bytes, limit_kb: int) -> tuple[bytes | None, str]:
    """Give the content, or the reason if it is over the limit."""
    return (None, f"is larger than {limit_kb} KB") if len(content) > limit_kb * 1024 else (content, "")


def kind_of(mode: int) -> str:
    """Name what is no regular file."""
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe, a socket or a device"


def decoded_name(raw: bytes) -> str:
    r"""Decode a file's name: UTF-8, else cp949, else UTF-8 with each foreign byte as \xNN (two stay two)."""
    for encoding in ("utf-8", "cp949"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode("utf-8", "backslashreplace")


def normal(name: str) -> str:
    """Compose what macOS decomposes, so that one Korean name is one student."""
    return unicodedata.normalize("NFC", name)


def is_system_file(name: str) -> bool:
    """Whether an operating system made a file of this name."""
    return name.startswith(".") or name in _SYSTEM_FILES


def can_be_imported(name: str) -> bool:
    """Whether a script beside a file of this name can import it."""
    return name.endswith(".py") and name.removesuffix(".py").isidentifier()
