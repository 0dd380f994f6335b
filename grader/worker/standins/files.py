"""Files and folders that are there where a script was written: made here when the script asks for them.

Folders of the student's machine, since saving a checkpoint must not end a training; and the files that
`CIFAR10(download=True)` leaves, for scripts that read them. Those are there by name and size, and take no room until
one is opened; then it is made of the grader's images. As the originals, they are pickles of Python 2: their texts are
bytes or text, as whoever loads them asks.
"""

import contextlib
import functools
import io
import os
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from grader.records import CLASS_NAMES
from grader.worker.channel import note

# By their names of today: the script may put its own functions in their place.
_make, _is_folder, _parent = os.makedirs, os.path.isdir, os.path.dirname
_MADE = "Your script writes to a folder that is only on your own machine. The grader made it, empty:"
_LOST = "Your script writes to a folder that cannot be made here, so what it saved there was lost:"
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT

_FOLDER, _ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"
_TRAINING = tuple(f"data_batch_{number}" for number in range(1, 6))
_TEST, _META = "test_batch", "batches.meta"
_NAMES = (*_TRAINING, _TEST, _META)
_BYTES_EACH = 3073

# Images, uint8 of shape (N, 32, 32, 3), and labels, of the training set if asked for it, else of the test set.
Part = Callable[[bool], tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]
_part: list[Part] = []
_below: list[Path] = []
_empty: set[Path] = set()


def audit(event: str, arguments: tuple[Any, ...]) -> None:
    """Make what is missing right before it is used, as an audit hook."""
    if event == "open":
        path, _, flags = arguments
        if isinstance(flags, int) and flags & _WRITES:
            _make_parent(path)
        else:
            fill(path)
    elif event == "os.mkdir":
        # Path.mkdir(parents=True) comes here too, and makes them itself.
        _make_parent(arguments[0], told=False)
    elif event == "os.rename":
        _make_parent(arguments[1])
    elif event == "os.chdir":
        _make_folder(arguments[0])


def saving(save: Callable[..., None]) -> Callable[..., None]:
    """`torch.save`, which writes without Python's help; where no folder can be made, nothing is kept."""

    @functools.wraps(save)
    def saved(obj: Any, f: Any, *args: Any, **options: Any) -> None:
        if _make_parent(f):
            save(obj, f, *args, **options)

    return saved


def _make_parent(path: Any, *, told: bool = True) -> bool:
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


def serve(part: Part, below: Path | None = None) -> None:
    """Say where the images come from, and below which folder they may be written, if not everywhere."""
    _part[:] = [part]
    _below[:] = [below] if below else []


def lay_out(root: Any, images: int) -> None:
    """Leave the files below `root` by name and size, where that is possible.

    Args:
        images: In the training set.
    """
    with contextlib.suppress(OSError, TypeError, ValueError):
        folder = Path(root, _FOLDER)
        folder.mkdir(parents=True, exist_ok=True)
        for file in (*(folder / name for name in _NAMES), folder.parent / _ARCHIVE):
            if not file.exists():
                _empty.add(file.absolute())
                with file.open("wb") as empty:
                    empty.truncate(images // 5 * _BYTES_EACH)


def fill(path: Any) -> None:
    """Write one of the files that a script opens, unless it has its content already."""
    name = os.path.basename(path) if isinstance(path, str) else ""
    if name != _ARCHIVE and name not in _NAMES:
        return
    file = Path(path).absolute()
    if any(not file.is_relative_to(below) for below in _below):
        return
    if not _part or (name != _ARCHIVE and file.parent.name != _FOLDER) or _has_content(file):
        return
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        # A loader's workers may come at the same time.
        written = file.with_name(f"{name}.{os.getpid()}")
        written.write_bytes(_archive() if name == _ARCHIVE else _content(name))
        written.replace(file)
        _empty.discard(file)


def _has_content(file: Path) -> bool:
    if not file.exists():
        return False
    # Windows does not say how much room a file takes.
    return bool(getattr(file.stat(), "st_blocks", file not in _empty))


def _archive() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz", compresslevel=0) as archive:
        for name in _NAMES:
            data = _content(name)
            member = tarfile.TarInfo(f"{_FOLDER}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return content.getvalue()


def _content(name: str) -> bytes:
    if name == _META:
        sizes = {"num_cases_per_batch": 10_000, "num_vis": 3072}
        return _pickled({**sizes, "label_names": list(CLASS_NAMES)})
    training = name in _TRAINING
    images, labels = _part[0](training)
    number = _TRAINING.index(name) if training else 0
    rows = np.array_split(np.arange(len(labels)), len(_TRAINING) if training else 1)[number]
    return _pickled(
        {
            "batch_label": f"training batch {number + 1} of 5" if training else "testing batch 1 of 1",
            "labels": labels[rows].tolist(),
            "data": np.ascontiguousarray(images[rows].transpose(0, 3, 1, 2)).reshape(len(rows), -1),
            "filenames": [f"image_s_{row:06}.png" for row in rows],
        }
    )


_Pickler: Any = pickle._Pickler  # the one in C cannot be told how to write a text


class _Python2(_Pickler):  # type: ignore[misc]
    """Texts as Python 2 wrote them."""

    dispatch = _Pickler.dispatch.copy()

    def save_text(self, obj: str | bytes) -> None:
        data = obj.encode() if isinstance(obj, str) else obj
        self.write(b"U" + bytes([len(data)]) if len(data) < 256 else b"T" + struct.pack("<i", len(data)))
        self.write(data)
        self.memoize(obj)

    dispatch[str] = dispatch[bytes] = save_text


def _pickled(value: Any) -> bytes:
    content = io.BytesIO()
    _Python2(content, protocol=2).dump(value)
    return content.getvalue()
