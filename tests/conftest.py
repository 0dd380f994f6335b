"""What tests share: a sandbox that must be there, and a data set that trains in a second."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from grader.assignment import Assignment, load_assignment
from grader.data import DataSet, load_data
from grader.errors import UserError
from grader.sandbox import Isolation, Job, find_isolation
from grader.sandbox.cgroup import Cgroup, Refused, find_cgroup

SUBMISSIONS = Path(__file__).parent / "submissions"

# Read when torch is imported. Two threads beside other tests wait for each other: they used twice the processor time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell without job control starts what it puts in the background with Ctrl-C ignored, and every child inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def assignment() -> Assignment:
    return load_assignment()


@pytest.fixture(scope="session")
def isolation(assignment: Assignment) -> Isolation:
    """The machine's own isolation; without one the test is skipped, or fails where that must not happen."""
    try:
        return find_isolation(assignment.limits)
    except UserError as reason:
        if os.environ.get("REQUIRE_SANDBOX"):
            raise
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def bounding() -> Cgroup:
    """A tree whose groups have limits."""
    try:
        return find_cgroup()
    except Refused as refused:
        pytest.skip(str(refused))


@pytest.fixture
def job(tmp_path: Path, assignment: Assignment) -> Job:
    """A job with a folder of its own, for a program in the worker's place."""
    folder = tmp_path / "job"
    folder.mkdir(mode=0o755)
    (folder / "submission").write_text("print('hello')\n")
    return Job(folder, assignment.limits, ready_seconds=30, answer_seconds=30)


@pytest.fixture(scope="session")
def digits() -> DataSet:
    return load_data("digits")


@pytest.fixture(scope="session")
def tiny_data(digits: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An .npz of 80 training and 50 test digits: five epochs of the whole network take seconds."""
    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    np.savez(
        path,
        x_train=digits.x_train[:80],
        y_train=digits.y_train[:80],
        x_test=digits.x_test[:50],
        y_test=digits.y_test[:50],
    )
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for what is handed in."""
    path = tmp_path / "handed-in"
    path.mkdir()
    return path


@pytest.fixture
def in_korea(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Seoul")
        time.tzset()
        yield
    time.tzset()
