"""The data sets that submissions are trained and tested on; in which order a test asks, and what it counts."""

import hashlib
import http.client
import urllib.error
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from grader.errors import UserError
from grader.protocol.exported import sample_rows
from grader.records import CLASSES, ROW_BYTES, SCORE_DTYPE

ASSIGNED_DATA = "CIFAR-10"
CACHE = Path("data")
NPZ_KEYS = ("x_train", "y_train", "x_test", "y_test")
IMAGE_SHAPE = (32, 32, 3)
# So few that the demo takes minutes on two cores, and enough for the network to learn them well.
DIGITS_TRAIN, DIGITS_TEST = 200, 300
DIGITS_NOTICE = (
    "These results are for scikit-learn's digits, the demo's data set, not for CIFAR-10: do not grade anybody on them."
)

# Two forwards of one image, in different batches or processes, differ by rounding: at most by this part of the largest
# score. A network that looks scores up or makes them up differs by far more.
_ROUNDING = 1e-2
_TORCHVISION_FOLDER = "cifar-10-batches-py"
_OTHER_SOURCES = "name the folder of an earlier download or an .npz file with DATA= (--data)"


@dataclass(frozen=True, slots=True, eq=False)
class DataSet:
    """Images and labels of both parts, in memory and read-only.

    Attributes:
        name: As shown in tables and in the ledger.
        x_train: uint8, training images x 32 x 32 x 3 (height, width, RGB).
        y_train: int64, one label of 0..9 for each training image.
        x_test: uint8, test images x 32 x 32 x 3.
        y_test: int64, one label of 0..9 for each test image.
        sha256: Of names, dtypes, shapes and bytes of the four arrays, in hexadecimal.
        notice: One sentence that stands in every output; empty for CIFAR-10.
    """

    name: str
    x_train: npt.NDArray[np.uint8]
    y_train: npt.NDArray[np.int64]
    x_test: npt.NDArray[np.uint8]
    y_test: npt.NDArray[np.int64]
    sha256: str
    notice: str


def load_data(spec: str | None, cache: Path = CACHE) -> DataSet:
    """Load the data set that DATA= names.

    Args:
        spec: None or empty for CIFAR-10, `digits`, a torchvision root, or the path of an .npz file.
        cache: Where CIFAR-10 is downloaded to, once.

    Raises:
        UserError: There is no such data set, or anything is wrong with it.
    """
    if not spec:
        return _cifar10(cache, download=True)
    if spec == "digits":
        return _digits()
    path = Path(spec)
    if path.is_dir():
        return _cifar10(path, download=False)
    if not path.exists():
        raise UserError(
            f"there is no data set {spec}: pass a folder with {_TORCHVISION_FOLDER}, an .npz file or `digits`"
        )
    return _npz(path)


def write_training_set(data: DataSet, folder: Path) -> None:
    """Write `x_train.npy` and `y_train.npy`, the only data that a script can read as files.

    Everyone may read them: the sandbox runs as another user.

    Raises:
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    for name, array in (("x_train.npy", data.x_train), ("y_train.npy", data.y_train)):
        np.save(folder / name, array, allow_pickle=False)
        (folder / name).chmod(0o644)


def count_correct(scores: bytes, labels: npt.NDArray[np.int64]) -> int:
    """Count the images whose highest score is the score of their class.

    Args:
        scores: N x 10 little-endian float32, row by row, in the order of `labels`.
        labels: int64 of shape (N,), each 0..9.

    Returns:
        0..N. A row with any value that is not finite counts as wrong; of equal scores the first class wins.

    Raises:
        ValueError: `scores` does not hold exactly N rows: the grader's own fault, since it fixes the length.
    """
    expected = len(labels) * ROW_BYTES
    if len(scores) != expected:
        raise ValueError(f"{len(labels)} images need {expected} bytes of scores, not {len(scores)}")
    rows = np.frombuffer(scores, SCORE_DTYPE).reshape(len(labels), CLASSES)
    right = (rows.argmax(axis=1) == labels) & np.isfinite(rows).all(axis=1)
    return int(right.sum())


@dataclass(frozen=True, slots=True, eq=False)
class ImagesToScore:
    """The test images in a secret order, so that a network that is tested beside its script cannot go by their place.

    Attributes:
        images: uint8 of shape (N, 32, 32, 3).
        order: For each place, its index in the test set.
    """

    images: npt.NDArray[np.uint8]
    order: npt.NDArray[np.int64]

    @property
    def answer_bytes(self) -> int:
        """What must come back: one row of scores for each image."""
        return len(self.images) * ROW_BYTES

    def in_order(self, answer: bytes) -> bytes:
        """The rows of an answer in the order of the test set."""
        rows = np.frombuffer(answer, SCORE_DTYPE).reshape(-1, CLASSES)
        return rows[np.argsort(self.order)].tobytes()


def images_to_score(data: DataSet, random: np.random.Generator) -> ImagesToScore:
    """Shuffle the test images."""
    order = random.permutation(len(data.x_test))
    return ImagesToScore(data.x_test[order], order)


def replayed_images(data: DataSet, sample: int, tested: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """What a replay is asked: `sample` training images, whose scores the network gave itself, then those of a test."""
    return np.concatenate([data.x_train[sample_rows(sample, len(data.x_train))], tested])


def replayed_scores(answer: bytes, own: memoryview) -> tuple[bytes, bytes, int]:
    """Of a replay, the training images' scores, the test's, and of how many of the first the network had others.

    Args:
        answer: The replay's scores for what `replayed_images` asked.
        own: The network's own scores for the training images.
    """
    rows, known = (np.frombuffer(scores, SCORE_DTYPE).reshape(-1, CLASSES) for scores in (answer, own))
    again, tested = rows[: len(known)], rows[len(known) :]
    return again.tobytes(), tested.tobytes(), int((~alike(known, again)).sum())


def alike(scores: npt.NDArray[np.float32], others: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Whether two sets of scores, both of shape (N, 10), are about the same for each image."""
    with np.errstate(over="ignore", invalid="ignore"):  # any 32 bits may come, the largest of both signs too
        scale = np.abs(scores).max(axis=1, keepdims=True)
        close = np.isclose(scores, others, rtol=0, atol=_ROUNDING * scale + 1e-6, equal_nan=True)
    return np.asarray(close.all(axis=1))


def _cifar10(root: Path, *, download: bool) -> DataSet:
    """Read through torchvision, which compares every file's MD5 sum before it opens it."""
    if not download and not (root / _TORCHVISION_FOLDER).is_dir():
        raise UserError(
            f"there is no {_TORCHVISION_FOLDER} in {root}: pass the folder that contains it, or an .npz file"
        )
    from torchvision.datasets import CIFAR10  # here: it takes seconds to import

    try:
        train = CIFAR10(root, train=True, download=download)
        test = CIFAR10(root, train=False)
    except (OSError, http.client.HTTPException, RuntimeError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the connection
        if download:
            raise UserError(
                f"CIFAR-10 could not be downloaded to {root} ({_reason(error)}): check the network, or {_OTHER_SOURCES}"
            ) from None
        raise UserError(
            f"CIFAR-10 in {root} is incomplete or damaged ({_reason(error)}): unpack the archive again, or leave out "
            "DATA= (--data) to download it"
        ) from None
    arrays = {"x_train": train.data, "y_train": train.targets, "x_test": test.data, "y_test": test.targets}
    return _data_set(ASSIGNED_DATA, {key: np.asarray(value) for key, value in arrays.items()}, str(root), notice="")


def _digits() -> DataSet:
    """Give 500 of the 1,797 digits: 8 x 8 values of 0..16, each repeated 4 x 4 times in three equal channels."""
    from sklearn.datasets import load_digits  # here: it takes a second to import
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    grey = np.rint(pixels * 255 / 16).astype(np.uint8).reshape(-1, 8, 8, 1)
    images = grey.repeat(4, axis=1).repeat(4, axis=2).repeat(3, axis=3)
    x_train, x_test, y_train, y_test = train_test_split(
        images, labels, train_size=DIGITS_TRAIN, test_size=DIGITS_TEST, random_state=0, stratify=labels
    )
    arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    return _data_set("digits", arrays, "digits", notice=DIGITS_NOTICE)


def _npz(path: Path) -> DataSet:
    try:
        with path.open("rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as archive:
            missing = [key for key in NPZ_KEYS if key not in archive]
            arrays = {key: archive[key] for key in NPZ_KEYS if not missing}
    except Exception as error:  # a damaged file raises a dozen types, zlib.error and MemoryError too
        raise UserError(
            f"{path} cannot be read ({_reason(error)}): copy it again, or write plain arrays with numpy.savez"
        ) from None
    if missing:
        raise UserError(f"{path} has no {', '.join(missing)}: an .npz file needs {', '.join(NPZ_KEYS)}")
    return _data_set(path.name, arrays, str(path), notice=f"These results are for the data set in {path.name}.")


def _data_set(name: str, arrays: Mapping[str, Any], source: str, notice: str) -> DataSet:
    """Check the arrays and bring them to one dtype and memory order.

    Raises:
        UserError: An array has the wrong dtype, shape, length or range.
    """
    checked: dict[str, npt.NDArray[Any]] = {}
    for part in ("train", "test"):
        x = _checked_images(arrays[f"x_{part}"], f"{source}: x_{part}")
        y = _checked_labels(arrays[f"y_{part}"], f"{source}: y_{part}")
        if len(x) != len(y):
            raise UserError(
                f"{source}: x_{part} has {len(x)} images and y_{part} {len(y)} labels: each image needs one"
            )
        checked |= {f"x_{part}": x, f"y_{part}": y}
    digest = hashlib.sha256()
    for key, array in checked.items():
        array.setflags(write=False)
        digest.update(f"{key} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.data)
    return DataSet(name, **checked, sha256=digest.hexdigest(), notice=notice)


def _checked_images(images: Any, label: str) -> npt.NDArray[np.uint8]:
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        found = images.dtype if isinstance(images, np.ndarray) else "not an array"
        raise UserError(f"{label} is {found}: images must be uint8, 0 to 255")
    if images.ndim != 4 or images.shape[1:] != IMAGE_SHAPE:
        raise UserError(f"{label} has the shape {images.shape}: images must be N x 32 x 32 x 3")
    if not len(images):
        raise UserError(f"{label} is empty: there must be at least one image")
    return np.ascontiguousarray(images)


def _checked_labels(labels: Any, label: str) -> npt.NDArray[np.int64]:
    """Accept N labels; also N x 1, the shape that Keras gives CIFAR-10's labels."""
    if not isinstance(labels, np.ndarray) or not np.issubdtype(labels.dtype, np.integer):
        found = labels.dtype if isinstance(labels, np.ndarray) else "not an array"
        raise UserError(f"{label} is {found}: labels must be integers of 0 to {CLASSES - 1}")
    if labels.ndim != 1 and (labels.ndim != 2 or labels.shape[1] != 1):
        raise UserError(f"{label} has the shape {labels.shape}: labels must be one number for each image")
    outside = labels[(labels < 0) | (labels >= CLASSES)]
    if len(outside):
        raise UserError(f"{label} has the label {outside[0]}: labels must be 0 to {CLASSES - 1}")
    return np.ascontiguousarray(labels.reshape(-1), dtype=np.int64)


def _reason(error: Exception) -> str:
    """Give the first line of an error's text, or its type where it has none."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
