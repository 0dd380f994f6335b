"""The grader works for an ordinary user too: then everything happens in a user namespace."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from command import SUBMISSIONS, read_table
from other_user import UID, as_user, open_python

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.usefixtures("isolation"),
    pytest.mark.skipif(os.geteuid() != 0, reason="every other test runs as an ordinary user already"),
]


@pytest.fixture(scope="module")
def python() -> list[str]:
    return open_python()


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder of the user's own, below folders that let everyone pass."""
    folder = Path("/tmp", f"grader-user-{os.getpid()}")
    folder.mkdir(mode=0o700)
    os.chown(folder, UID, UID)
    yield folder
    shutil.rmtree(folder)


def test_an_ordinary_user_grades_in_a_user_namespace(python: list[str], home: Path, tiny_data: Path) -> None:
    submissions = home / "submissions"
    shutil.copytree(SUBMISSIONS / "habits" / "utf8_bom", submissions / "kim")
    shutil.copy(tiny_data, home / "tiny.npz")
    for path in (home / "tiny.npz", submissions, *submissions.rglob("*")):
        os.chown(path, UID, UID)
    finished = as_user(home, *python, "-m", "grader", "grade", "submissions", "--data", "tiny.npz", "--out", "out")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "strong (bubblewrap, user namespace, " in finished.stdout
    assert read_table(home / "out" / "grades.csv")["kim"]["outcome"] == "graded"
