"""Folders that are there where a script was written, and files that a download of CIFAR-10 leaves: made when asked for.

Saving a checkpoint must not end a training that runs at its student's home.
"""

import contextlib
import functools
import os
from collections.abc import Callable
from typing import Any

from grader.worker.channel import note
from grader.worker.standins import batch_files

# By their names of today: the script may put its own functions in their place.
_make, _is_folder, _parent = os.makedirs, os.path.isdir, os.path.dirname
_MADE = "Your script writes to a folder that is only on your own machine. The grader made it, empty:"
_LOST = "Your script writes to a folder that cannot be made here, so what it saved there was lost:"
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def audit(event: str, arguments: tuple[Any, ...]) -> None:
    """Make what is missing right before it is used, as an audit hook."""
    if event == "open":
        path, _, flags = arguments
        if isinstance(flags, int) and flags & _WRITES:
            make_parent(path)
        else:
            batch_files.fill(path)
    elif event == "os.mkdir":
        # Path.mkdir(parents=True) comes here too, and makes them itself.
        make_parent(arguments[0], told=False)
    elif event == "os.rename":
        make_parent(arguments[1])
    elif event == "os.chdir":
        _make_folder(arguments[0])


def saving(save: Callable[..., None]) -> Callable[..., None]:
    """`torch.save`, which writes without Python's help; where no folder can be made, nothing is kept."""

    @functools.wraps(save)
    def saved(obj: Any, f: Any, *args: Any, **options: Any) -> None:
        if make_parent(f):
            save(obj, f, *args, **options)

    return saved


def make_parent(path: Any, *, told: bool = True) -> bool:
    """Make the folder of a file that is to be written, if it is missing; whether it is there.

    A path that is no text, such as an open file, needs none. The script's student is `told`.
    """
    with contextlib.suppress(TypeError):
        return _make_folder(_parent(os.fspath(path)), told=told)
    return True


def _make_folder(folder: Any, *, told: bool = True) -> bool:
    if not isinstance(folder, str | bytes) or not folder or _is_folder(folder):
        return True
    try:
        _make(folder)
        made = True
    except (OSError, ValueError):
        made = False
    if told:
        note(_MADE if made else _LOST, _text(folder))
    return made


def _text(folder: str | bytes) -> str:
    return folder if isinstance(folder, str) else folder.decode(errors="replace")
