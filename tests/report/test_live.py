"""The display on a real pseudo-terminal, as an emulator shows it."""

import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from display_examples import HOSTILE, PLAN, RESUMED, Clock, failed, graded
from grader.progress import Advanced, Plan, Printed, RunEnded, Stage, StageBegun
from grader.report.live import Display
from terminal import ENVIRONMENT, Terminal

ROOT = Path(__file__).parents[2]


@contextmanager
def shown(
    columns: int = 80, lines: int = 24, plan: Plan = PLAN, show_output: bool = False
) -> Iterator[tuple[Display, Terminal, Clock]]:
    """A display on a terminal; when the context ends, the display has ended and all of it is on the screen."""
    clock = Clock()
    with Terminal(columns, lines) as terminal:
        with open(os.dup(terminal.descriptor), "w", encoding="utf-8") as file:
            console = Console(file=file, width=columns, height=lines, get_time=clock, _environ=ENVIRONMENT)
            with Display(console, plan, show_output) as display:
                yield display, terminal, clock
        terminal.hang_up()


def train(display: Display, clock: Clock, student: str, samples: int, seconds: float = 10.0) -> None:
    """Let a student train, at a steady rate."""
    display.watch(StageBegun(student, Stage.CHECKING))
    display.watch(StageBegun(student, Stage.TRAINING))
    display.watch(Advanced(student, 0, 0.0))
    clock.now += seconds
    display.watch(Advanced(student, samples, seconds, 0.7134))


def words(line: str) -> str:
    return " ".join(line.split())


def row_of(lines: list[str], student: str) -> str:
    return next((words(line) for line in lines if line.startswith(student)), "")


def test_the_table_says_how_each_run_goes() -> None:
    with shown() as (display, terminal, clock):
        train(display, clock, "kim", 2_390)
        display.watch(StageBegun("이서연", Stage.CHECKING, "again, alone"))
        lines = terminal.wait(lambda lines: bool(row_of(lines, "이서연")))
        assert words(lines[0]) == "student stage epoch images/s loss time left"
        assert row_of(lines, "kim") == "kim training 2.3 of 5 239 0.713 11 s"
        assert row_of(lines, "이서연") == "이서연 checking (again, alone) - - - -"
        display.watch(StageBegun("kim", Stage.TESTING))
        terminal.wait(lambda lines: row_of(lines, "kim") == "kim testing 2.3 of 5 - 0.713 -")
        display.watch(RunEnded("kim"))
        terminal.wait(lambda lines: not row_of(lines, "kim"))


def test_below_it_stands_how_far_the_class_is() -> None:
    with shown() as (display, terminal, clock):
        terminal.wait(lambda lines: lines[0].startswith("0 of 10 graded · time left - · elapsed 0 s"))
        clock.now = 4_000.0
        for number, points in enumerate(["20", "20", "6", "2", None]):
            display.graded(failed(f"s{number}") if points is None else graded(f"s{number}", points))
        counts = "20 points: 2 · 6 points: 1 · 2 points: 1 · no points yet: 1"
        lines = terminal.wait(lambda lines: lines[-1] == counts)
        assert lines[-2].startswith("5 of 10 graded · time left - · elapsed 1 h 7 min")


def test_who_was_graded_before_is_done_but_not_counted_by_points() -> None:
    with shown(plan=RESUMED) as (display, terminal, _):
        display.graded(graded("kim", "6"))
        lines = terminal.wait(lambda lines: lines[-1] == "graded now: 6 points: 1")
        assert lines[-2].startswith("16 of 25 graded (15 before) · time left 4 min 30 s · elapsed 0 s")


def test_sixteen_runs_and_their_results_fit_24_lines() -> None:
    with shown() as (display, terminal, clock):
        for number in range(16):
            train(display, clock, f"s{number:02}", 100)
        for number in range(30):
            display.graded(graded(f"r{number:02}"))
        lines = terminal.wait(lambda lines: "20 points: 30" in lines)
        assert len(lines) == 24
        assert [line[:3] for line in lines if re.match(r"s\d", line)] == [f"s{number:02}" for number in range(12)]
        assert "and 4 more" in lines
        assert "r29: graded, 71.23 %, 20 points" in lines


def test_no_line_is_spent_on_saying_that_there_is_one_more() -> None:
    with shown() as (display, terminal, _):
        for number in range(13):
            display.watch(StageBegun(f"s{number:02}", Stage.CHECKING))
        assert not any("more" in line for line in terminal.wait(lambda lines: bool(row_of(lines, "s12"))))


@pytest.mark.parametrize("lines", [4, 6, 9])
def test_a_small_terminal_still_says_how_far_the_class_is(lines: int) -> None:
    with shown(lines=lines) as (display, terminal, clock):
        for number in range(16):
            train(display, clock, f"s{number:02}", 100)
        display.graded(graded("kim"))
        seen = terminal.wait(lambda seen: seen[-1] == "20 points: 1")
        assert seen[-2].startswith("1 of 10 graded")
    assert terminal.lines == ["kim: graded, 71.23 %, 20 points"]


@pytest.mark.parametrize("columns", [80, 120])
def test_long_or_hostile_names_do_not_break_the_table(columns: int) -> None:
    with shown(columns) as (display, terminal, clock):
        train(display, clock, "남궁민수_컴퓨터공학과_재수강_" * 4, 2_390)
        train(display, clock, HOSTILE, 2_390)
        display.watch(StageBegun("lee", Stage.CHECKING, HOSTILE + "재시험" * 40))
        lines = terminal.wait(lambda lines: bool(row_of(lines, "lee")))
        assert max(map(cell_len, lines)) <= columns
        long, hostile, lee = lines[2:5]
        assert re.fullmatch(r"남궁민수_.*… +training +2\.3 of 5 +239 +0\.713 +\d+ s", long)
        assert re.fullmatch(r"\[red\]x.* +training +2\.3 of 5 +239 +0\.713 +\d+ s", hostile)
        assert re.fullmatch(r"lee +checking \(\[red\].*… +- +- +- +-", lee)


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt], ids=["end", "exception", "Ctrl-C"])
def test_at_the_end_only_the_results_are_left_and_the_cursor_is_back(error: type[BaseException] | None) -> None:
    with suppress(RuntimeError, KeyboardInterrupt), shown() as (display, terminal, clock):
        train(display, clock, "kim", 2_390)
        terminal.wait(lambda lines: bool(row_of(lines, "kim")))
        assert not terminal.cursor_is_shown
        display.graded(graded("lee"))
        if error is not None:
            raise error
    assert terminal.lines == ["lee: graded, 71.23 %, 20 points"]
    assert terminal.cursor_is_shown


def test_a_process_that_is_interrupted_leaves_a_clean_terminal() -> None:
    script = """if True:
        import time
        from rich.console import Console
        from grader.progress import Plan, Printed, Stage, StageBegun
        from grader.report.live import Display
        try:
            with Display(Console(), Plan(9, 0, 1000, 5, 7200.0, 2), show_output=True) as display:
                display.watch(Printed("kim", "첫째\\n둘째".encode()))
                display.watch(StageBegun("lee", Stage.CHECKING))
                time.sleep(60)
        except KeyboardInterrupt:
            print("stopped")
        """
    with Terminal() as terminal:
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PYTHONUTF8": "1"} | ENVIRONMENT,
            stdin=terminal.descriptor,
            stdout=terminal.descriptor,
            stderr=terminal.descriptor,
        )
        lines = terminal.wait(lambda lines: any(line.startswith("0 of 9 graded") for line in lines))
        assert (lines[0], lines[1], row_of(lines, "lee")) == ("첫째", "둘째", "lee checking - - - -")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
        terminal.hang_up()
        assert terminal.lines == ["첫째", "둘째", "stopped"]
        assert terminal.cursor_is_shown


def test_a_terminal_that_goes_away_does_not_stop_the_grading() -> None:
    master, terminal = pty.openpty()
    file = os.fdopen(terminal, "w", encoding="utf-8")
    with Display(Console(file=file, width=80, height=24, _environ=ENVIRONMENT), PLAN) as display:
        os.close(master)
        display.watch(StageBegun("kim", Stage.CHECKING))
        display.graded(graded("kim"))
    with pytest.raises(OSError, match="Input/output error"):
        file.close()


def test_many_threads_can_tell_events_at_once() -> None:
    with shown(lines=400) as (display, terminal, clock):

        def tell(thread: int) -> None:
            for number in range(20):
                student = f"t{thread}-{number}"
                train(display, clock, student, 500)
                display.watch(Printed(student, HOSTILE.encode(errors="replace")))
                display.watch(RunEnded(student))

        threads = [threading.Thread(target=tell, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for number in range(160):
            display.graded(graded(f"r{number:03}"))
        for thread in threads:
            thread.join()
    assert terminal.lines == [f"r{number:03}: graded, 71.23 %, 20 points" for number in range(160)]


def test_output_is_shown_above_the_table_and_the_unfinished_line_too() -> None:
    with shown(show_output=True) as (display, terminal, clock):
        train(display, clock, "kim", 2_390)
        printed = "\x1b[31m정확도\x1b[0m 53 %\r\n\r 10%|#\r 20%|##".encode()
        for place in range(0, len(printed), 3):
            display.watch(Printed("kim", printed[place : place + 3]))
        lines = terminal.wait(lambda lines: " 20%|##" in lines)
        assert lines[:2] == ["정확도 53 %", " 20%|##"]
        assert row_of(lines, "kim")
        display.watch(RunEnded("kim"))
    assert terminal.lines == ["정확도 53 %", " 20%|##"]


def test_output_is_not_shown_unless_asked_for() -> None:
    with shown() as (display, terminal, _):
        display.watch(Printed("kim", b"hello\nworld"))
    assert terminal.lines == [""]
