"""A folder for this process alone, on a disk that others use, too. The next process removes what a killed one left."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path


@contextmanager
def own_folder(parent: Path, prefix: str, undo: Callable[[Path], None] = lambda _: None) -> Iterator[Path]:
    """Make a folder, hold a lock on it while it is in use, and remove it in the end.

    Folders of the same prefix that nobody holds a lock on were left by killed processes. They are removed first.

    Args:
        undo: Called with a folder before it is removed, this one or one that was left.
    """
    for left in parent.glob(f"{prefix}*"):
        _remove_if_left(left, undo)
    made = Path(tempfile.mkdtemp(prefix=f".{prefix}", dir=parent))
    descriptor = os.open(made, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Only now has it the name by which others look for what is left.
        folder = made.rename(made.with_name(made.name.removeprefix(".")))
        try:
            yield folder
        finally:
            _remove(folder, undo)
    finally:
        os.close(descriptor)


def _remove_if_left(folder: Path, undo: Callable[[Path], None]) -> None:
    with suppress(OSError), ExitStack() as stack:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        stack.callback(os.close, descriptor)
        if os.fstat(descriptor).st_uid == os.geteuid():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(folder, undo)


def _remove(folder: Path, undo: Callable[[Path], None]) -> None:
    try:
        undo(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
