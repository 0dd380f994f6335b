"""A folder that is only on a student's machine, a file that a download leaves, a program of Colab: asked for, found."""

import pickle
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest

from grader.worker.dataset import Arrays, _stand_in
from grader.worker.standins import files
from in_worker import run_in_worker

PARTS = """
import io, os, pickle, shutil, subprocess, sys, traceback
import numpy as np, torch, torchvision


def reads_what_a_download_leaves():
    test = torchvision.datasets.CIFAR10(root="./data", train=False, download=True)
    folder = "./data/cifar-10-batches-py"
    assert sorted(os.listdir(folder))[0] == "batches.meta" and os.stat(folder + "/data_batch_1").st_blocks == 0
    with open(os.path.join(folder, "data_batch_2"), "rb") as file:
        batch = pickle.load(file, encoding="bytes")
    assert batch[b"data"].shape == (10_000, 3072) and len(batch[b"labels"]) == 10_000
    assert pickle.load(open(folder + "/batches.meta", "rb"), encoding="latin1")["label_names"][3] == "cat"
    tested = pickle.load(open("elsewhere/cifar-10-batches-py/test_batch", "rb"), encoding="latin1")
    assert tested["labels"] == test.targets


def starts_programs_of_colab():
    os.environ["PATH"] = "/nowhere"
    assert b"CPU" in subprocess.check_output(["nvidia-smi"])
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    name, total = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split(", ")
    assert name == "CPU" and int(total) > 0
    assert subprocess.getoutput("nvidia-smi -L") == "GPU 0: CPU"
    assert "CPU" in os.popen("nvidia-smi").read()
    subprocess.check_call(["wget", "-q", "https://example.org"])
    installed = b"Requirement already satisfied: no-such-package\\n"
    for program in (["apt-get"], [sys.executable, "-m", "pip"]):
        assert subprocess.check_output([*program, "install", "no-such-package"]) == installed
    assert subprocess.check_output("pip3 install -q no-such-package", shell=True) == installed
    try:
        subprocess.run(["python9"])
        raise AssertionError
    except FileNotFoundError:
        pass
    assert subprocess.check_output([sys.executable, "-c", "print(3)"]) == b"3\\n"


def saves_into_missing_folders():
    torch.save({"a": torch.ones(1)}, "checkpoint/deep/net.pth")
    assert torch.load("./checkpoint/deep/net.pth")["a"] == 1
    open("logs/log.txt", "w").close()
    os.mkdir("runs/first")
    np.save("arrays/x.npy", np.ones(1))
    shutil.copy("logs/log.txt", "copies/log.txt")
    os.rename("copies/log.txt", "moved/log.txt")
    torch.save(1, "/proc/no/such/net.pth")
    torch.save(1, io.BytesIO())
    for missing in ("absent/file", "absent"):
        try:
            open(missing)
            raise AssertionError
        except FileNotFoundError:
            assert not os.path.exists("absent")
    os.chdir("project")


for part in (reads_what_a_download_leaves, starts_programs_of_colab, saves_into_missing_folders):
    try:
        part()
        print(part.__name__)
    except Exception:
        traceback.print_exc(file=sys.stdout)
"""


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the script prints: the names of the parts that ended well."""
    return run_in_worker(PARTS, tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize("part", re.findall(r"^def (\w+)", PARTS, re.MULTILINE))
def test_a_script_in_the_worker(part: str, printed: str) -> None:
    assert part in printed.splitlines(), printed


@pytest.fixture
def arrays(monkeypatch: pytest.MonkeyPatch) -> Arrays:
    images = np.random.default_rng(0).integers(0, 256, (103, 32, 32, 3), dtype=np.uint8)
    made = images, np.arange(103) % 10
    monkeypatch.setattr(files, "_part", [lambda training: made if training else _stand_in(made)])
    return made


def test_the_batches_are_the_training_images_in_python_2_s_pickles(arrays: Arrays, tmp_path: Path) -> None:
    files.lay_out(tmp_path, 103)
    images, labels = [], []
    for number in range(1, 6):
        path = str(tmp_path / "cifar-10-batches-py" / f"data_batch_{number}")
        files.fill(path)
        for encoding, key in (("bytes", b"data"), ("latin1", "data")):
            with open(path, "rb") as file:
                batch = pickle.load(file, encoding=encoding)
            assert batch[key].dtype == np.uint8
        images.append(batch["data"])
        labels += batch["labels"]
        with open(path, "rb") as file, pytest.raises(UnicodeDecodeError):
            pickle.load(file)
    again = np.concatenate(images).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    assert np.array_equal(again, arrays[0])
    assert labels == arrays[1].tolist()


def test_the_archive_holds_the_same_files(arrays: Arrays, tmp_path: Path) -> None:
    files.lay_out(tmp_path, 103)
    files.fill(str(tmp_path / "cifar-10-python.tar.gz"))
    files.fill(str(tmp_path / "cifar-10-batches-py" / "test_batch"))
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz") as archive:
        member = archive.extractfile("cifar-10-batches-py/test_batch")
        assert member is not None
        assert member.read() == (tmp_path / "cifar-10-batches-py" / "test_batch").read_bytes()


def test_a_check_at_home_writes_no_image_of_noise_outside_its_folder(
    arrays: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_below", [])
    files.serve(files._part[0], tmp_path / "work")
    for folder in ("work", "downloads"):
        files.fill(str(tmp_path / folder / "cifar-10-batches-py" / "data_batch_1"))
    assert [path.name for path in tmp_path.iterdir()] == ["work"]


def test_a_file_that_a_script_wrote_itself_is_left_as_it_is(arrays: Arrays, tmp_path: Path) -> None:
    own = tmp_path / "cifar-10-batches-py" / "data_batch_1"
    own.parent.mkdir()
    own.write_bytes(b"own")
    files.lay_out(tmp_path, 103)
    files.fill(str(own))
    assert own.read_bytes() == b"own"
