"""The data sets: what is accepted, and one clear sentence for everything else."""

import hashlib
import io
import os
import pickle
import socket
import stat
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from grader.data import DIGITS_NOTICE, load_data, write_training_set
from grader.errors import UserError

Arrays = dict[str, npt.NDArray[Any]]


def small_arrays(train: int = 20, test: int = 10) -> Arrays:
    random = np.random.default_rng(0)
    arrays: Arrays = {}
    for part, count in (("train", train), ("test", test)):
        arrays[f"x_{part}"] = random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        arrays[f"y_{part}"] = np.arange(count) % 10
    return arrays


def save(path: Path, arrays: Arrays) -> Path:
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    return path


def complaint(spec: str | Path | None, cache: Path = Path("unused")) -> str:
    """Load what cannot be loaded, and give the sentence."""
    with pytest.raises(UserError) as caught:
        load_data(None if spec is None else str(spec), cache)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_npz_is_loaded_as_it_was_saved(tmp_path: Path) -> None:
    arrays = small_arrays()
    data = load_data(str(save(tmp_path / "cifar10.npz", arrays)))
    assert data.name == "cifar10.npz"
    assert "cifar10.npz" in data.notice
    for key, array in arrays.items():
        np.testing.assert_array_equal(getattr(data, key), array)
    assert (data.x_train.dtype, data.y_train.dtype) == (np.dtype("uint8"), np.dtype("int64"))
    assert not data.x_test.flags.writeable


@pytest.mark.parametrize("dtype", ["uint8", "int32", ">i4", "uint64"])
def test_labels_of_any_integer_dtype_become_int64(tmp_path: Path, dtype: str) -> None:
    arrays = small_arrays()
    arrays["y_train"] = arrays["y_train"].astype(dtype)
    data = load_data(str(save(tmp_path / "set.npz", arrays)))
    assert data.y_train.dtype == np.int64
    assert data.y_train.tolist() == small_arrays()["y_train"].tolist()


def test_a_column_of_labels_is_flattened(tmp_path: Path) -> None:
    arrays = small_arrays()
    arrays["y_test"] = arrays["y_test"].reshape(-1, 1)
    assert load_data(str(save(tmp_path / "set.npz", arrays))).y_test.shape == (10,)


def test_the_hash_depends_on_content_and_not_on_file_or_memory_layout(tmp_path: Path) -> None:
    arrays = small_arrays()
    first = load_data(str(save(tmp_path / "first.npz", arrays)))
    same = {key: np.asfortranarray(array) for key, array in arrays.items()}
    assert load_data(str(save(tmp_path / "second.npz", same))).sha256 == first.sha256
    for key in arrays:
        changed = dict(arrays, **{key: arrays[key].copy()})
        changed[key].flat[3] ^= 1
        assert load_data(str(save(tmp_path / "changed.npz", changed))).sha256 != first.sha256


def without(key: str) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        del arrays[key]

    return change


def with_array(key: str, array: npt.NDArray[Any]) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        arrays[key] = array

    return change


def labels_with(value: int) -> npt.NDArray[Any]:
    labels = np.arange(20) % 10
    labels[7] = value
    return labels


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("x_train"), "has no x_train"),
        (without("y_test"), "has no y_test"),
        (with_array("x_train", np.zeros((20, 32, 32, 3), np.float32)), "x_train is float32"),
        (with_array("x_train", np.zeros((20, 3, 32, 32), np.uint8)), "x_train has the shape (20, 3, 32, 32)"),
        (with_array("x_test", np.zeros((10, 32, 32), np.uint8)), "x_test has the shape (10, 32, 32)"),
        (with_array("x_test", np.zeros((0, 32, 32, 3), np.uint8)), "x_test is empty"),
        (with_array("x_train", np.uint8(3)), "x_train has the shape ()"),  # type: ignore[arg-type]
        (with_array("y_train", np.zeros(20, np.float64)), "y_train is float64"),
        (with_array("y_train", np.zeros(20, bool)), "y_train is bool"),
        (with_array("y_train", np.eye(20, 10, dtype=np.int64)), "y_train has the shape (20, 10)"),
        (with_array("y_train", np.int64(3)), "y_train has the shape ()"),  # type: ignore[arg-type]
        (with_array("y_train", labels_with(10)), "y_train has the label 10"),
        (with_array("y_train", labels_with(-1)), "y_train has the label -1"),
        (with_array("y_train", np.zeros(19, np.int64)), "20 images and y_train 19 labels"),
        (with_array("y_test", np.zeros(0, np.int64)), "10 images and y_test 0 labels"),
        (with_array("y_test", np.array([object()] * 10)), "Object arrays cannot be loaded"),
    ],
)
def test_wrong_array_is_one_sentence(tmp_path: Path, change: Callable[[Arrays], None], words: str) -> None:
    arrays = small_arrays()
    change(arrays)
    path = save(tmp_path / "wrong.npz", arrays)
    sentence = complaint(path)
    assert words in sentence
    assert str(path) in sentence


def test_a_pickled_member_is_never_unpickled(tmp_path: Path) -> None:
    class Planted:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    path = save(tmp_path / "planted.npz", small_arrays() | {"y_test": np.array([Planted()])})
    complaint(path)
    path.write_bytes(pickle.dumps(Planted()))
    complaint(path)
    assert not (tmp_path / "ran").exists()


def npy_that_claims(shape: tuple[int, ...]) -> bytes:
    """Give an .npy file whose header promises more than the 100 bytes that follow."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return buffer.getvalue() + bytes(100)


@pytest.mark.parametrize(
    "member",
    [
        npy_that_claims((2**40, 32, 32, 3)),
        npy_that_claims((2**70, 32, 32, 3)),
        npy_that_claims((20, 32, 32, 3)),
        npy_that_claims((20, 32, 32, 3))[:40],
        b"\x93NUMPY\x01\x00\x08\x00((((((((",
        b"\x93NUMPY",
        b"",
        b"no array at all",
    ],
)
def test_a_member_that_lies_or_is_no_array_is_one_sentence(tmp_path: Path, member: bytes) -> None:
    path = tmp_path / "lies.npz"
    with zipfile.ZipFile(save(path, {k: v for k, v in small_arrays().items() if k != "x_train"}), "a") as archive:
        archive.writestr("x_train.npy", member)
    assert str(path) in complaint(path)


@pytest.mark.parametrize("kept", [0, 3, 100, 5_000, -1])
def test_a_truncated_file_is_one_sentence(tmp_path: Path, kept: int) -> None:
    path = save(tmp_path / "set.npz", small_arrays())
    path.write_bytes(path.read_bytes()[:kept])
    assert "cannot be read" in complaint(path)


def test_damaged_bytes_inside_are_one_sentence(tmp_path: Path) -> None:
    path = save(tmp_path / "set.npz", small_arrays())
    content = bytearray(path.read_bytes())
    content[1_000:1_100] = bytes(100)
    path.write_bytes(content)
    assert "cannot be read" in complaint(path)


def test_a_single_array_is_no_npz(tmp_path: Path) -> None:
    path = tmp_path / "x_train.npy"
    np.save(path, small_arrays()["x_train"])
    assert "cannot be read" in complaint(path)


def test_a_path_that_does_not_exist_is_one_sentence(tmp_path: Path) -> None:
    assert "there is no data set" in complaint(tmp_path / "nowhere.npz")


def test_digits_are_real_fixed_and_say_so() -> None:
    data = load_data("digits")
    assert data.notice == DIGITS_NOTICE
    assert "not for CIFAR-10" in DIGITS_NOTICE
    assert (data.x_train.shape, data.x_test.shape) == ((200, 32, 32, 3), (300, 32, 32, 3))
    assert (data.x_train.min(), data.x_train.max()) == (0, 255)
    assert data.sha256 == load_data("digits").sha256
    assert data.sha256 == "29b30ad2ce90f57901e62128f4f4eacc82edf59b6ebafc2705d5f646809dfa54"


def test_digits_parts_are_balanced_and_share_no_image() -> None:
    data = load_data("digits")
    for labels in (data.y_train, data.y_test):
        assert np.bincount(labels, minlength=10).min() >= 0.95 * len(labels) / 10
    train = {image.tobytes() for image in data.x_train}
    assert not train & {image.tobytes() for image in data.x_test}


def write_batch(path: Path, images: npt.NDArray[Any], labels: npt.NDArray[Any]) -> str:
    """Write one file of CIFAR-10's own format, and give its MD5 sum."""
    rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    path.write_bytes(pickle.dumps({"data": rows, "labels": labels.tolist()}))
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


@pytest.fixture
def small_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a torchvision root of 30 images whose MD5 sums torchvision takes for the right ones.

    `archive.tar.gz` beside it is what its download would be.
    """
    from torchvision.datasets import CIFAR10

    root = tmp_path / "root"
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    arrays = small_arrays()
    train = write_batch(folder / "data_batch_1", arrays["x_train"], arrays["y_train"])
    test = write_batch(folder / "test_batch", arrays["x_test"], arrays["y_test"])
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    meta = hashlib.md5((folder / "batches.meta").read_bytes(), usedforsecurity=False).hexdigest()
    monkeypatch.setattr(CIFAR10, "train_list", [["data_batch_1", train]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", test]])
    monkeypatch.setattr(CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": meta})
    archive = tmp_path / "archive.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, "cifar-10-batches-py")
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest())
    return root


@pytest.fixture
def closed_port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Hold a local port on which nobody listens."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


class Site(BaseHTTPRequestHandler):
    """Serves the archive, a log-in page, and an answer that is not HTTP."""

    def __init__(self, archive: Path, *args: Any) -> None:
        self.archive = archive
        super().__init__(*args)

    def do_GET(self) -> None:
        if self.path == "/not-http":
            self.wfile.write(b"rubbish\r\n\r\n")
        elif self.path == "/log-in":
            self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n<html>please log in</html>")
        elif self.path == "/archive.tar.gz":
            # In one piece: the client's first request hangs up when it has seen the headers.
            self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n" + self.archive.read_bytes())
        else:
            self.wfile.write(b"HTTP/1.0 404 Not Found\r\n\r\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve `archive.tar.gz` of tmp_path on a local port, and give the address."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Site, tmp_path / "archive.tar.gz")) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_torchvision_root_is_read(small_cifar10: Path) -> None:
    data = load_data(str(small_cifar10))
    assert (data.name, data.notice) == ("CIFAR-10", "")
    for key, array in small_arrays().items():
        np.testing.assert_array_equal(getattr(data, key), array)


def test_a_root_and_an_npz_of_the_same_images_have_one_hash(small_cifar10: Path, tmp_path: Path) -> None:
    assert load_data(str(small_cifar10)).sha256 == load_data(str(save(tmp_path / "a.npz", small_arrays()))).sha256


def test_a_damaged_root_is_one_sentence_and_is_not_unpickled(small_cifar10: Path) -> None:
    batch = small_cifar10 / "cifar-10-batches-py" / "test_batch"
    batch.write_bytes(batch.read_bytes()[:-1])
    assert "incomplete or damaged" in complaint(small_cifar10)


def test_a_root_without_one_batch_is_one_sentence(small_cifar10: Path) -> None:
    (small_cifar10 / "cifar-10-batches-py" / "data_batch_1").unlink()
    assert "incomplete or damaged" in complaint(small_cifar10)


def test_a_folder_that_is_no_root_is_one_sentence(small_cifar10: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "there is no cifar-10-batches-py" in complaint(tmp_path / "empty")
    assert "pass the folder that contains it" in complaint(small_cifar10 / "cifar-10-batches-py")


@pytest.mark.parametrize("spec", [None, ""])
def test_cifar10_is_downloaded_once(
    small_cifar10: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    site: str,
    closed_port: int,
    spec: str | None,
) -> None:
    from torchvision.datasets import CIFAR10

    cache = tmp_path / "cache"
    monkeypatch.setattr(CIFAR10, "url", f"{site}/archive.tar.gz")
    first = load_data(spec, cache)
    assert first.sha256 == load_data(str(small_cifar10)).sha256
    monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{closed_port}/archive.tar.gz")
    assert load_data(spec, cache).sha256 == first.sha256


def test_a_failed_download_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    from torchvision.datasets import CIFAR10

    monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{closed_port}/archive.tar.gz")
    sentence = complaint(None, tmp_path / "cache")
    assert "could not be downloaded" in sentence
    assert "Connection refused" in sentence
    assert "DATA=" in sentence


@pytest.mark.parametrize("page", ["log-in", "not-http", "not-there"])
def test_a_wrong_answer_to_the_download_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: str, page: str
) -> None:
    from torchvision.datasets import CIFAR10

    monkeypatch.setattr(CIFAR10, "url", f"{site}/{page}")
    assert "could not be downloaded" in complaint(None, tmp_path / "cache")


def test_a_download_that_stopped_half_way_is_fetched_again(
    small_cifar10: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: str
) -> None:
    from torchvision.datasets import CIFAR10

    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / CIFAR10.filename).write_bytes((tmp_path / "archive.tar.gz").read_bytes()[:100])
    monkeypatch.setattr(CIFAR10, "url", f"{site}/archive.tar.gz")
    assert load_data(None, cache).sha256 == load_data(str(small_cifar10)).sha256


def test_a_cache_that_cannot_be_written_is_one_sentence(small_cifar10: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    assert "could not be downloaded" in complaint(None, tmp_path / "cache")


def test_only_the_training_part_is_written_and_everyone_may_read_it(tmp_path: Path) -> None:
    data = load_data(str(save(tmp_path / "set.npz", small_arrays())))
    folder = tmp_path / "run" / "data"
    before = os.umask(0o077)
    try:
        write_training_set(data, folder)
    finally:
        os.umask(before)
    assert sorted(file.name for file in folder.iterdir()) == ["x_train.npy", "y_train.npy"]
    np.testing.assert_array_equal(np.load(folder / "x_train.npy"), data.x_train)
    np.testing.assert_array_equal(np.load(folder / "y_train.npy"), data.y_train)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o644}


def test_importing_the_module_imports_no_large_library() -> None:
    code = "import sys, grader.data; print(*{'torch', 'torchvision', 'sklearn', 'scipy'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
