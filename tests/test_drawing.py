"""A picture of a network beside the handout's shows what differs."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from command import ROOT, SUBMISSIONS

from grader.check.graph import look_at
from grader.check.verdict import judge
from grader.drawing import draw
from grader.errors import Mistake
from grader.sandbox import Isolation

TWO = (2, 2, 2, 2)


def picture(case: str, path: Path) -> str:
    made = runpy.run_path(str(SUBMISSIONS / "networks" / case / "hw6.py"), run_name="network")["IdentityResNet"]
    network = look_at(made(*TWO), "")
    draw(network, judge(network, TWO).findings, TWO, case, path)
    return path.read_text(encoding="utf-8")


def test_what_is_missing_is_red_and_what_is_right_is_not(tmp_path: Path) -> None:
    right, wrong = picture("right_flat", tmp_path / "a.svg"), picture("missing_relu", tmp_path / "b.svg")
    assert "<svg" in right
    assert "#c62828" not in right
    assert "#c62828" in wrong


def test_a_picture_that_cannot_be_written_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="cannot write the picture"):
        picture("missing_relu", tmp_path / "a.nonsense")


@pytest.mark.sandbox
def test_one_student_is_drawn_by_the_command(isolation: Isolation, tmp_path: Path) -> None:
    networks = str(SUBMISSIONS / "networks")
    command = [sys.executable, "-m", "grader.drawing", networks, "wrong_stride", str(tmp_path / "x.png")]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    absent = subprocess.run([*command[:4], "nobody", "x.png"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert absent.returncode == 2
    assert "there is no file of nobody" in absent.stderr
