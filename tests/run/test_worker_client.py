"""Student code shares the worker's process: the first word of each kind counts, and more than that is a doubt."""

import json
from dataclasses import replace
from typing import Any

import pytest

from grader.errors import InfrastructureError
from grader.protocol import Evaluated, Event, NetworkSeen, SourceRead, Started, Stopped, to_json
from grader.run.curve import TrainingCurve
from grader.run.worker_client import WorkerRun, _interpret
from grader.sandbox import Ending, Execution

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
