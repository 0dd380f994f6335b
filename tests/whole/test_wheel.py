"""The wheel, installed where there is no checkout: the command runs, and finds what comes with the grader."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
import tqdm

from command import ROOT, SUBMISSIONS, read_table
from grader.student.handout import write_autograder, write_handout

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
# What a submission prints that looks for the reference beside the libraries that it may import.
LOOKS_FOR_THE_REFERENCE = """
import sys
from pathlib import Path
print("references:", [path for path in sys.path if list(Path(path).glob("grader/reference/*"))])
"""

pytestmark = pytest.mark.slow


def finished(*command: str | Path, cwd: Path, environment: dict[str, str]) -> str:
    """What a command prints, which must succeed."""
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose virtual environment, `.venv`, has the wheel; torch and the like are those of this environment."""
    folder = tmp_path_factory.mktemp("elsewhere")
    build = ("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT)
    finished(*PIP, *build, cwd=folder, environment=dict(os.environ))
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / ".venv", symlinks=True)
    python = folder / ".venv" / "bin" / "python"
    finished(*PIP, "--python", python, "install", "--no-deps", wheel, cwd=folder, environment=dict(os.environ))
    (site,) = folder.glob(".venv/lib/python*/site-packages")
    # Python reads the .pth files of its own site-packages only: an editable grader beside torch is not found.
    others = [path for path in sys.path if Path(path).name == "site-packages"]
    (site / "others.pth").write_text("\n".join(others), encoding="utf-8")
    # So that a submission may read this site-packages too, as where everything is installed in one.
    shutil.copytree(Path(tqdm.__file__).parent, site / "tqdm")
    return folder


def grader(elsewhere: Path, *arguments: str | Path) -> str:
    command = elsewhere / ".venv" / "bin" / "identity-resnet-grader"
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return finished(command, *arguments, cwd=elsewhere, environment=environment)


def test_the_command_says_what_it_can_do(elsewhere: Path) -> None:
    said = grader(elsewhere, "--help")
    assert "identity-resnet-grader" in said
    assert all(name in said for name in ("grade", "export", "handout"))


def test_what_comes_with_the_grader_lies_in_the_installed_package(elsewhere: Path) -> None:
    site = sysconfig.get_path("purelib", vars={"base": str(elsewhere / ".venv")})
    paths = [Path(line.split(": ", 1)[1]) for line in grader(elsewhere, "files").splitlines()]
    assert len(paths) == 5
    for path in paths:
        assert path.exists()
        assert Path(site, "grader") in path.parents


def test_the_handout_of_an_installed_grader_is_that_of_the_checkout(elsewhere: Path, tmp_path: Path) -> None:
    write_handout(tmp_path / "here.zip")
    assert grader(elsewhere, "handout").strip() == "dist/hw6-handout.zip"
    assert (elsewhere / "dist" / "hw6-handout.zip").read_bytes() == (tmp_path / "here.zip").read_bytes()


def test_the_check_at_upload_of_an_installed_grader_is_that_of_the_checkout(elsewhere: Path, tmp_path: Path) -> None:
    write_autograder(tmp_path / "here.zip")
    grader(elsewhere, "prevalidate")
    assert (elsewhere / "dist" / "autograder.zip").read_bytes() == (tmp_path / "here.zip").read_bytes()


@pytest.mark.sandbox
@pytest.mark.usefixtures("isolation")
def test_an_installed_grader_grades_and_hides_its_reference(elsewhere: Path, tiny_data: Path) -> None:
    script = (SUBMISSIONS / "demo" / "s20261005" / "hw6.py").read_text(encoding="utf-8")
    (elsewhere / "class" / "kim").mkdir(parents=True)
    (elsewhere / "class" / "kim" / "hw6.py").write_text(LOOKS_FOR_THE_REFERENCE + script, encoding="utf-8")
    said = grader(elsewhere, "grade", "class", "--data", tiny_data, "--out", "out")
    assert "page: out/report.html" in said
    row = read_table(elsewhere / "out" / "grades.csv")["kim"]
    assert (row["outcome"], row["architecture"]) == ("graded", "conforming")
    log = (elsewhere / "out" / "logs" / "kim.log").read_text(encoding="utf-8")
    assert "references: []" in log
    assert "side by side" in grader(elsewhere, "similar", "--out", "out")
