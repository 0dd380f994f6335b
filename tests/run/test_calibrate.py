"""How fast the reference trains: a slow or busy machine is timed for longer."""

from types import SimpleNamespace
from typing import Any

import pytest

from grader.assignment import Assignment
from grader.errors import InfrastructureError
from grader.protocol import Stopped
from grader.records import Training
from grader.run import calibrate


def run(first: int, last: int) -> SimpleNamespace:
    """A run that told of `first` images after one second, and had used `last` of them after three."""
    return SimpleNamespace(
        first=SimpleNamespace(samples=first, seconds=1.0),
        stopped=Stopped("time_budget", training=Training(last, 3.0)),
        started=SimpleNamespace(device="CPU"),
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[int, SimpleNamespace]:
    """Stands for the machine: seconds of training to the run that they give."""
    runs: dict[int, SimpleNamespace] = {}
    monkeypatch.setattr(calibrate, "_trained", lambda _, __, seconds: runs[seconds])
    return runs


SLOT: Any = SimpleNamespace(threads=1)


def test_a_machine_that_makes_one_step_in_the_time_is_timed_for_longer(
    asked: dict[int, SimpleNamespace], assignment: Assignment
) -> None:
    asked |= {10: run(64, 64), 60: run(64, 192)}
    assert calibrate.calibrate(assignment, SLOT, 10).images_per_second == 64


def test_a_machine_that_makes_no_second_step_at_all_is_said_to_be_busy(
    asked: dict[int, SimpleNamespace], assignment: Assignment
) -> None:
    asked |= {10: run(64, 64), 60: run(64, 64)}
    with pytest.raises(InfrastructureError, match="within 60 seconds: stop other programs on this machine"):
        calibrate.calibrate(assignment, SLOT, 10)
