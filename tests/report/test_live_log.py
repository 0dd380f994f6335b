"""The display where there is no terminal: plain lines, for a file or a pipe."""

import io
import os
from typing import IO

import pytest
from rich.console import Console

from display_examples import HOSTILE, PLAN, Clock, failed, graded
from grader.progress import Advanced, Notice, Printed, RunEnded, Stage, StageBegun
from grader.report.live import MOST_LINES_WAITING, Display


def plain(stream: IO[str], clock: Clock) -> Console:
    return Console(file=stream, get_time=clock, _environ={})


def test_a_log_has_one_plain_line_for_each_thing_worth_knowing() -> None:
    stream, clock = io.StringIO(), Clock()
    with Display(plain(stream, clock), PLAN) as display:
        display.watch(StageBegun("kim", Stage.CHECKING))
        display.watch(StageBegun("kim", Stage.TRAINING))
        for second in range(101):
            clock.now = second
            display.watch(Advanced("kim", 25 * second, second, 0.7134))
        display.watch(StageBegun("kim", Stage.TESTING))
        display.watch(RunEnded("kim"))
        display.graded(graded("kim", "6", "53.20"))
        display.watch(StageBegun("kim", Stage.CHECKING, "again, alone"))
        display.graded(failed("lee"))
    assert stream.getvalue().splitlines() == [
        "kim: checking",
        "kim: training",
        "kim: epoch 1.0 of 5, 25 images/s, loss 0.713, 2 min 40 s left",
        "kim: epoch 2.0 of 5, 25 images/s, loss 0.713, 2 min left",
        "kim: testing",
        "kim: graded, 53.20 %, 6 points",
        "kim: checking (again, alone)",
        "lee: infrastructure, no points",
    ]


def test_a_log_says_on_which_node_a_run_is_and_what_was_lost() -> None:
    stream, clock = io.StringIO(), Clock()
    with Display(plain(stream, clock), PLAN) as display:
        display.watch(StageBegun("kim", Stage.CHECKING, "again", node="gpu1"))
        display.watch(Notice("gpu1 failed and lost a run"))
        display.watch(StageBegun("kim", Stage.TRAINING, node="gpu2"))
    assert stream.getvalue().splitlines() == [
        "kim: checking on gpu1 (again)",
        "gpu1 failed and lost a run",
        "kim: training on gpu2",
    ]


def test_a_log_has_no_control_characters_and_no_markup_is_read() -> None:
    stream, clock = io.StringIO(), Clock()
    with Display(plain(stream, clock), PLAN, show_output=True) as display:
        display.watch(StageBegun(HOSTILE, Stage.CHECKING, HOSTILE))
        display.watch(Printed(HOSTILE, b"\x1b[2Jhalf a \xed\x95"))
        display.watch(Printed(HOSTILE, b"\x9c line, \xff, " + b"x" * 300))
    name = "[red]x[/red]\\x1b[2J\\x9b31m :smile:\\u202e\ufffd"
    assert stream.getvalue() == f"{name}: checking ({name})\n\\x1b[2Jhalf a 한 line, \ufffd, {'x' * 300}\n"


def test_output_that_comes_faster_than_it_can_be_shown_is_left_out_and_counted() -> None:
    stream, clock = io.StringIO(), Clock()
    display = Display(plain(stream, clock), PLAN, show_output=True)
    display.watch(Printed("kim", b"spam\n" * 5_000))
    with display:
        display.graded(graded("kim"))
    lines = stream.getvalue().splitlines()
    assert lines.count("spam") == MOST_LINES_WAITING
    assert lines[-2:] == ["kim: graded, 71.23 %, 20 points", "(4000 lines of output are not shown)"]


def test_a_log_that_cannot_hold_a_name_gets_question_marks() -> None:
    stream = io.BytesIO()
    with Display(plain(io.TextIOWrapper(stream, encoding="ascii", write_through=True), Clock()), PLAN) as display:
        display.graded(graded("이서연"))
    assert stream.getvalue() == b"???: graded, 71.23 %, 20 points\n"


def test_a_full_disk_under_the_log_does_not_stop_the_grading() -> None:
    full = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w", encoding="utf-8")
    with Display(plain(full, Clock()), PLAN) as display:
        display.graded(graded("kim"))
        display.watch(StageBegun("lee", Stage.CHECKING))
    with pytest.raises(OSError, match="No space left"):
        full.close()


def test_a_terminal_that_cannot_draw_gets_plain_lines() -> None:
    stream = io.StringIO()
    with Display(Console(file=stream, force_terminal=True, _environ={"TERM": "dumb"}), PLAN) as display:
        display.watch(StageBegun("kim", Stage.CHECKING))
    assert stream.getvalue() == "kim: checking\n"
