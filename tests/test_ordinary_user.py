"""The grader works for an ordinary user too: then everything happens in a user namespace."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import ROOT, SUBMISSIONS, read_table

# An account is not needed, only a number that nobody has.
UID = 54321

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.usefixtures("isolation"),
    pytest.mark.skipif(os.geteuid() != 0, reason="every other test runs as an ordinary user already"),
]


def open_to_all(path: Path) -> bool:
    """Whether an ordinary user can reach a file: no folder above it is closed."""
    return all(folder.stat().st_mode & 0o005 == 0o005 for folder in path.parents)


@pytest.fixture(scope="module")
def python() -> list[str]:
    """An interpreter that everyone can start, with this environment's packages."""
    own = Path(os.path.realpath(sys.executable))
    system = Path(f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}")
    interpreter = own if open_to_all(own) else system
    if not (interpreter.exists() and open_to_all(ROOT / "grader" / "cli.py")):
        if os.environ.get("REQUIRE_SANDBOX"):
            pytest.fail("no interpreter, or no checkout, that an ordinary user can reach")
        pytest.skip("no interpreter, or no checkout, that an ordinary user can reach")
    packages = [entry for entry in sys.path if entry.endswith("site-packages")]
    return ["/usr/bin/env", f"PYTHONPATH={os.pathsep.join([*packages, str(ROOT)])}", str(interpreter)]


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder of the user's own, below folders that let everyone pass."""
    folder = Path("/tmp", f"grader-user-{os.getpid()}")
    folder.mkdir(mode=0o700)
    os.chown(folder, UID, UID)
    yield folder
    shutil.rmtree(folder)


def as_user(home: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "TMPDIR": str(home)}
    return subprocess.run(
        command, user=UID, group=UID, extra_groups=[], env=environment, cwd=home, capture_output=True, text=True
    )


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
