"""Student code shares the worker's process: the first word of each kind counts, and more than that is a doubt.

A run's curve is bounded, evenly told from beginning to end, and a mean of all that was heard.
"""

import contextlib
import json
import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from grader.errors import InfrastructureError
from grader.protocol import Evaluated, Event, NetworkSeen, Progress, SourceRead, Started, Stopped, to_json
from grader.records import CurvePoint
from grader.run.curve import POINTS, TrainingCurve
from grader.run.worker_client import WorkerRun, _interpret
from grader.sandbox import Ending, Execution, Job, Listener
from grader.sandbox.conversation import Conversation
from submission_folders import ASSIGNMENT

STARTED, SOURCE = Started("CPU", "2.11"), SourceRead(suspicions=("imports zlib (line 1)",))
STOPPED, EVALUATED = Stopped("finished"), Evaluated(notes=("A note.", "Another."), flags=("a doubt",))
HONEST = (STARTED, SOURCE, STOPPED, EVALUATED)


def said(*lines: Event | bytes, dropped: int = 0) -> WorkerRun:
    report = tuple(line if isinstance(line, bytes) else to_json(line).encode() for line in lines)
    return _interpret(Execution(Ending.EXITED, 0, None, report, b"", said=len(report) + dropped), TrainingCurve())


def test_an_honest_report_raises_no_doubt() -> None:
    assert said(*HONEST).doubts == ()


@pytest.mark.parametrize(
    ("second", "name"),
    [
        (replace(STARTED, device="another"), "its start"),
        (SourceRead(), "its source"),
        (replace(STOPPED, reason="error"), "the end of its training"),
        (Evaluated(), "its test"),
    ],
)
def test_the_first_word_counts_and_a_second_one_is_a_doubt(second: Event, name: str) -> None:
    run = said(*HONEST, second)
    assert (run.started, run.source, run.stopped) == (STARTED, SOURCE, STOPPED)
    assert run.evaluated is not None
    assert run.evaluated.flags == ("reported by the script's process: a doubt",)
    assert [doubt.words for doubt in run.doubts] == [
        f"the script's process reported {name} more than once: the first report counts"
    ]


def test_a_second_network_does_not_take_the_first_one_s_place() -> None:
    run = said(STARTED, SOURCE, NetworkSeen(is_module=True), NetworkSeen(is_module=False))
    assert run.network is not None
    assert run.network.is_module
    assert "its network more than once" in run.doubts[0].words


@pytest.mark.parametrize("extra", [{"lines": (b"{}",)}, {"dropped": 1}])
def test_lines_that_no_worker_sends_are_a_doubt(extra: dict[str, Any]) -> None:
    run = said(*HONEST, *extra.get("lines", ()), dropped=extra.get("dropped", 0))
    (doubt,) = run.doubts
    assert doubt.words == "the script's process sent 1 line of report that no worker of the grader sends"


def test_what_a_process_says_of_itself_is_shown_as_its_words_and_bounded() -> None:
    flood = Evaluated(detail="x" * 50_000, notes=("n" * 10,) * 3_000, flags=("All is well.\n" * 500,) * 3_000)
    run = said(STARTED, SOURCE, STOPPED, flood)
    assert run.evaluated is not None
    assert all(flag.startswith("reported by the script's process: ") for flag in run.evaluated.flags)
    assert run.evaluated.notes[0].startswith("Reported by the script's process: ")
    assert len(json.dumps([run.evaluated.flags, run.evaluated.notes, run.evaluated.detail])) < 10_000
    assert run.evaluated.flags[-1].endswith("2992 reasons more")


def test_a_worker_that_never_started_is_a_fault_of_ours() -> None:
    with pytest.raises(InfrastructureError):
        said(SOURCE)


def curve(*events: Progress) -> tuple[CurvePoint, ...]:
    made = TrainingCurve()
    for event in events:
        made.add(event)
    return made.points()


def test_a_short_curve_is_whole() -> None:
    assert curve(Progress(50, 1.0, 2.3, 0.1), Progress(100, 2.0, 1.9, 0.25)) == ((50, 2.3, 0.1), (100, 1.9, 0.25))


@pytest.mark.parametrize("seconds", [61, 100, 121, 601, 7_200, 7_213])
def test_a_long_curve_is_told_evenly_in_means_over_images(seconds: int) -> None:
    points = curve(*(Progress(second + 1, second, float(second), second / seconds) for second in range(seconds)))
    assert POINTS / 2 <= len(points) <= POINTS
    assert points[-1].samples == seconds
    ends = [0, *(point.samples for point in points)]
    lengths = [after - before for before, after in pairwise(ends)]
    assert len(set(lengths[:-1])) == 1
    assert lengths[0] / 2 <= lengths[-1] < lengths[0] * 3 / 2
    for begin, end, point in zip(ends, ends[1:], points, strict=False):
        mean = (begin + end - 1) / 2
        assert point.loss == pytest.approx(mean)
        assert point.accuracy == pytest.approx(mean / seconds, abs=1e-4)


def test_a_mean_of_several_seconds_goes_by_their_images() -> None:
    slow_then_fast = [Progress(100 * second + 1 + 99 * half, second, 4.0 - 4 * half, half)
                      for second in range(POINTS) for half in (0, 1)]  # fmt: skip
    points = curve(*slow_then_fast)
    assert len(points) == POINTS
    assert points[5] == (600, 0.04, 0.99)


def test_what_is_not_known_is_no_part_of_a_mean() -> None:
    events = [Progress(second + 1, second, *known)
              for second, known in enumerate([(1.0, None), (3.0, 0.5)] * POINTS)]  # fmt: skip
    assert {point[1:] for point in curve(*events)} == {(2.0, 0.5)}


@pytest.mark.parametrize(
    "forged",
    [
        Progress(100, 1.0, float("inf")),
        Progress(100, 1.0, float("nan")),
        Progress(100, 1.0, -1e300),
        Progress(100, 1.0, None),
        Progress(100, 1.0, None, float("nan")),
        Progress(100, 1.0, None, float("inf")),
        Progress(100, 1.0, None, 1.01),
        Progress(100, 1.0, None, -0.01),
        Progress(10**400, 1.0, 2.0, 0.5),
        Progress(-5, 1.0, 2.0, 0.5),
        Progress(50, 1.0, 2.0, 0.5),
    ],
    ids=repr,
)
def test_what_cannot_be_a_curve_is_left_out(forged: Progress) -> None:
    first, last = Progress(50, 0.5, 2.3, 0.1), Progress(200, 2.0, 1.9, 0.4)
    assert curve(first, forged, last) == ((50, 2.3, 0.1), (200, 1.9, 0.4))


@pytest.mark.parametrize("forged", [Progress(100, 1.0, 2.0, 7.0), Progress(100, 1.0, float("nan"), 0.2)], ids=repr)
def test_one_forged_figure_does_not_take_the_other_along(forged: Progress) -> None:
    (point,) = curve(forged)
    assert point in ((100, 2.0, None), (100, None, 0.2))


def test_the_middle_of_two_hours_is_heard(tmp_path: Path) -> None:
    """Of the report's lines only the first and the last are kept; a curve of them would jump from one to the other."""
    heard = TrainingCurve()
    pipes = {name: os.pipe() for name in ("log", "report", "scores")}
    ours = {name: ends[0] for name, ends in pipes.items()}
    listener = Listener(lambda line: heard.add(Progress(int(line), 0.0, 1.0, 0.5)), lambda _: None)
    with contextlib.closing(Conversation(Job(tmp_path, ASSIGNMENT.limits, 1), ours, listener)) as conversation:
        for name in ours:
            os.set_blocking(ours[name], False)
        for second in range(1, 7_201):
            # Now and then the grader is late, and finds three lines at once.
            os.write(pipes["report"][1], b"%d\n" % second)
            if second % 3 == 0:
                conversation.drain()
        kept = conversation.report.lines()
    for ends in pipes.values():
        for descriptor in ends:
            os.close(descriptor)
    assert len(kept) <= 80
    points = heard.points()
    assert [after.samples - before.samples for before, after in pairwise(points)][:-1] == [points[0].samples] * (
        len(points) - 2
    )
    assert points[-1].samples == 7_200
