"""A run as a teacher sees it: on a real terminal, with the keyboard."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from command import ROOT
from grader.results.ledger import read_ledger
from grader.run.machine import usable_cores
from small_class import hand_in_small, hand_in_text, keep_calibration
from terminal import ENVIRONMENT, Terminal

pytestmark = [pytest.mark.sandbox, pytest.mark.usefixtures("isolation")]
STEP = "        running_loss += loss.item()\n"


@contextmanager
def grading(terminal: Terminal, folder: Path, data: Path, out: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The grade command, with the terminal as its controlling one, so that Ctrl-C is a key."""
    command = [sys.executable, "-m", "grader", "grade", str(folder), "--data", str(data), "--out", str(out)]
    with subprocess.Popen(
        ["setsid", "--ctty", "--wait", *command],
        cwd=ROOT,
        stdin=terminal.descriptor,
        stdout=terminal.descriptor,
        stderr=terminal.descriptor,
        env=os.environ | ENVIRONMENT,
    ) as process:
        yield process


def test_a_long_run_asks_first_and_a_no_begins_nothing(tiny_data: Path, tmp_path: Path) -> None:
    hand_in_small(tmp_path / "class", "kim")
    keep_calibration(tmp_path / "out", 0.01, usable_cores())
    with Terminal() as terminal, grading(terminal, tmp_path / "class", tiny_data, tmp_path / "out") as grader:
        terminal.wait(lambda lines: any("Start? [y/N]" in line for line in lines))
        terminal.type("n\n")
        assert grader.wait(timeout=60) == 130
    assert read_ledger(tmp_path / "out").entries() == ()


def test_the_table_shows_who_is_where_and_ctrl_c_leaves_the_terminal_in_order(tiny_data: Path, tmp_path: Path) -> None:
    # Two seconds of training: the display draws four times a second, and would miss a shorter one.
    for student in ("kim", "lee"):
        slower = f"        import time; time.sleep(0.2)  # {student}\n"
        hand_in_text(tmp_path / "class", student, STEP, slower + STEP)
    with Terminal() as terminal, grading(terminal, tmp_path / "class", tiny_data, tmp_path / "out") as grader:
        terminal.wait(lambda lines: any(line.startswith("kim ") and "training" in line for line in lines))
        terminal.wait(lambda lines: any(line.startswith("kim: graded, ") for line in lines))
        terminal.wait(lambda lines: any(line.startswith("lee ") and "ing" in line for line in lines))
        terminal.type("\x03")
        assert grader.wait(timeout=60) == 130
        said = "\n".join(terminal.lines)
    assert "graded and kept: 1 of 2" in said
    assert terminal.cursor_is_shown


def test_ctrl_c_at_the_question_is_a_no(tiny_data: Path, tmp_path: Path) -> None:
    hand_in_small(tmp_path / "class", "kim")
    keep_calibration(tmp_path / "out", 0.01, usable_cores())
    with Terminal() as terminal, grading(terminal, tmp_path / "class", tiny_data, tmp_path / "out") as grader:
        terminal.wait(lambda lines: any("Start? [y/N]" in line for line in lines))
        terminal.type("\x03")
        assert grader.wait(timeout=60) == 130
    assert read_ledger(tmp_path / "out").entries() == ()
