"""A picture of a network beside the handout's shows what differs."""

import runpy
from pathlib import Path

import pytest

from command import SUBMISSIONS, run_grader
from grader.errors import UserError
from grader.judge.differences import compare
from grader.judge.verdict import judge
from grader.report.charts import draw_network
from grader.sandbox import Isolation
from grader.worker.look.network import look_at

TWO = (2, 2, 2, 2)


def picture(case: str, path: Path) -> str:
    made = runpy.run_path(str(SUBMISSIONS / "networks" / case / "hw6.py"), run_name="network")["IdentityResNet"]
    network = look_at(made(*TWO), "")
    draw_network(compare(network, TWO), judge(network, TWO).findings, case, path)
    return path.read_text(encoding="utf-8")


def test_what_is_missing_is_red_and_what_is_right_is_not(tmp_path: Path) -> None:
    right, wrong = picture("right_flat", tmp_path / "a.svg"), picture("missing_relu", tmp_path / "b.svg")
    assert "<svg" in right
    assert "#c62828" not in right
    assert "#c62828" in wrong


def test_a_picture_that_cannot_be_written_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot write the picture"):
        picture("missing_relu", tmp_path / "a.nonsense")


@pytest.mark.sandbox
def test_one_student_is_drawn_by_the_command(isolation: Isolation, tmp_path: Path) -> None:
    arguments = ("check", SUBMISSIONS / "networks", "--out", tmp_path / "out", "--draw", "--student")
    finished = run_grader(*arguments, "wrong_stride")
    assert finished.returncode == 0, finished.stderr
    assert "#c62828" in (tmp_path / "out" / "wrong_stride.svg").read_text(encoding="utf-8")
    absent = run_grader(*arguments, "wrong_strides")
    assert absent.returncode == 2
    assert "did you mean wrong_stride?" in absent.stderr
