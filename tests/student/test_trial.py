"""What a student sees of a trial: lines while it runs, and the sentences at its end; no script is run here."""

import io
import tomllib
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from grader.assignment import DEFAULT_ASSIGNMENT, load_assignment
from grader.data import DataSet, load_data
from grader.errors import UserError
from grader.progress import Advanced, Plan, Printed, Stage, StageBegun
from grader.protocol import Evaluated, Fault, Progress, SourceRead, Started, Stopped
from grader.records import StopReason, Training
from grader.student import command
from grader.student.command import Display
from grader.student.trial import Trial, _replayed
from terminal import Terminal

FILE = "hw6.py"
PLAN = Plan(due=1, done=0, epoch_samples=200, epochs=5, limit_seconds=7200, jobs=1)
RULES: dict[str, Any] = tomllib.loads(DEFAULT_ASSIGNMENT.read_text(encoding="utf-8"))
TRAINED = Trial(
    started=Started("CPU, 2 threads", "2.15.0"),
    source=SourceRead(),
    first=Progress(40, 2.0),
    stopped=Stopped(StopReason.EPOCH_BUDGET, training=Training(1000, 26.0)),
    evaluated=Evaluated(),
    scores=b"",
    exit_code=0,
)


def told(display: Display) -> None:
    display.watch(StageBegun(FILE, Stage.TRAINING))
    display.watch(Printed(FILE, b"cpu\n10 %\r20 %\r"))
    display.watch(Advanced(FILE, 20, 1.0, 2.5))
    display.watch(Advanced(FILE, 40, 2.0, 2.25))
    display.watch(Printed(FILE, "30 %\nÄ".encode()[:-1]))


def test_on_a_terminal_the_own_line_is_written_anew_and_gone_at_the_end() -> None:
    with Terminal() as terminal, open(terminal.descriptor, "w", encoding="utf-8", closefd=False) as stream:
        display = Display(stream, PLAN)
        told(display)
        # The line of the event before it may be seen first.
        terminal.wait(lambda lines: lines[-1] == "training: epoch 0.2 of 5, 20 images/s, loss 2.250, 48 s left")
        display.watch(Printed(FILE, "Ä".encode()[-1:]))
        display.watch(StageBegun(FILE, Stage.TESTING))
        terminal.wait(lambda lines: lines[-1] == "testing ...")
        display.close()
        terminal.hang_up()
    assert terminal.lines == ["  | cpu", "  | 30 %", "  | Ä"]


def test_a_file_gets_whole_lines_and_no_carriage_return() -> None:
    stream = io.StringIO()
    display = Display(stream, PLAN)
    told(display)
    display.watch(StageBegun(FILE, Stage.TESTING))
    display.close()
    assert stream.getvalue().split("\n")[:4] == ["training ...", "  | cpu", "  | 30 %", "testing ..."]
    assert "\r" not in stream.getvalue()


def test_what_a_terminal_cannot_show_does_not_end_the_trial() -> None:
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding="cp949")
    Display(stream, PLAN).watch(Printed(FILE, "정확도 ✓\n".encode()))
    assert written.getvalue().decode("cp949").splitlines() == ["  | 정확도 ?"]


@pytest.mark.parametrize(
    ("correct", "points"),
    [(211, "20 (more than 70 %)"), (210, "6 (from 30 % on)"), (90, "6 (from 30 % on)"), (89, "2")],
)
def test_points_are_the_handouts_to_the_image(digits: DataSet, correct: int, points: str) -> None:
    lines = list(command.results(TRAINED, RULES, digits, correct, 40.0))
    assert lines[:2] == [f"accuracy  {Decimal(correct * 10000 // 300) / 100:.2f} % ({correct} of 300 test images)",
                         f"points    {points}"]  # fmt: skip
    graded = next(band.points for band in load_assignment().bands if band.takes(Fraction(correct, 3)))
    assert points.split()[0] == str(graded)


def test_the_end_of_training_and_what_was_supplied_are_said(digits: DataSet) -> None:
    trial = replace(
        TRAINED,
        source=SourceRead(blanks=("Q9",), notes=("A line was set aside.",)),
        stopped=Stopped(StopReason.ERROR, "NameError: x", Training(500, 61.0)),
        evaluated=Evaluated(notes=("input() was empty.",)),
    )
    lines = list(command.results(trial, RULES, digits, 211, 75.0))
    assert lines[2:] == [
        "trained   2.50 epochs in 1 min 1 s; then the script failed: NameError: x",
        "in total  1 min 15 s on CPU, 2 threads, torch 2.15.0",
        "",
        "A line was set aside.",
        "These blanks still have their dots: Q9.",
        "input() was empty.",
        digits.notice,
        command.OF_CHANCE,
    ]


def test_an_estimate_leaves_out_the_first_steps_and_adds_the_test(digits: DataSet) -> None:
    # 960 images in 24 seconds; 1,000 to train, and 300 to test at a third of a step's cost each.
    assert list(command.estimate(TRAINED, RULES, digits)) == [
        "your script trains 40 images a second here",
        "estimate  28 s for training and test",
    ]


def test_an_estimate_says_where_two_hours_are_not_enough(digits: DataSet) -> None:
    slow = replace(TRAINED, first=None, stopped=Stopped(StopReason.TIME_BUDGET, training=Training(2, 20.0)))
    lines = list(command.estimate(slow, RULES, digits))
    assert lines[-1] == "training would stop here after 2 h and 3.6 of 5 epochs: use a GPU"


def test_an_estimate_of_a_script_that_trains_less_goes_by_the_script(digits: DataSet) -> None:
    short = replace(TRAINED, first=None, stopped=Stopped(StopReason.FINISHED, training=Training(200, 20.0)))
    assert "estimate  30 s for training and test" in command.estimate(short, RULES, digits)


def test_an_estimate_needs_a_script_that_trains(digits: DataSet) -> None:
    with pytest.raises(UserError, match="the script did not train"):
        list(command.estimate(replace(TRAINED, stopped=Stopped(StopReason.FINISHED)), RULES, digits))
    failed = replace(
        TRAINED,
        stopped=Stopped(StopReason.ERROR, error="NameError: x"),
        evaluated=Evaluated(Fault.SCRIPT),
        source=SourceRead(blanks=("Q1", "Q2")),
    )
    with pytest.raises(UserError, match="test its network: NameError: x; these blanks still have their dots: Q1, Q2"):
        list(command.estimate(failed, RULES, digits))


ENDS = {
    "the script could not be started (exit code 1)": replace(TRAINED, started=None, exit_code=1),
    "the script ended the interpreter (exit code -9)": replace(TRAINED, evaluated=None, exit_code=-9),
    "the script did not begin to train within 10 min": replace(
        TRAINED, stopped=Stopped(StopReason.TIME_BUDGET), evaluated=Evaluated(Fault.NO_NETWORK)
    ),
    "the script made no network of the class IdentityResNet": replace(TRAINED, evaluated=Evaluated(Fault.NO_NETWORK)),
    # It trained another, and took its time over it.
    "the script made no network": replace(
        TRAINED,
        stopped=Stopped(StopReason.TIME_BUDGET, training=Training(targets=640)),
        evaluated=Evaluated(Fault.NO_NETWORK),
    ),
    "Python cannot read the file": replace(TRAINED, evaluated=Evaluated(Fault.SOURCE, "Python cannot read the file")),
    "the script failed before the grader could test its network: For 4": replace(
        TRAINED, evaluated=Evaluated(Fault.NOT_SCORES, "For 4 images the output is ...")
    ),
}


@pytest.mark.parametrize("sentence", ENDS)
def test_why_there_is_no_accuracy_is_one_sentence(sentence: str) -> None:
    assert command.why_not(ENDS[sentence], RULES).startswith(sentence)


def test_what_may_not_be_replayed_is_tested_beside_its_script(tmp_path: Path) -> None:
    assert _replayed(tmp_path / "replay", b"no network", load_data("digits")) is None
