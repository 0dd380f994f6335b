"""What a machine gives each run, how many at once, and how fast it is: a slow or busy one is timed for longer."""

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from grader.assignment import Assignment
from grader.errors import InfrastructureError
from grader.protocol import Stopped
from grader.records import IsolationLevel, Training
from grader.run import machine as machines
from grader.run.machine import Machine, calibrate, default_jobs
from grader.sandbox import Isolation
from grader.schedule import Slot


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
    monkeypatch.setattr(machines, "_reference_run", lambda _, __, seconds: runs[seconds])
    return runs


SLOT: Any = SimpleNamespace(threads=1)


def test_a_machine_that_makes_one_step_in_the_time_is_timed_for_longer(
    asked: dict[int, SimpleNamespace], assignment: Assignment
) -> None:
    asked |= {10: run(64, 64), 60: run(64, 192)}
    assert calibrate(assignment, SLOT, 10).images_per_second == 64


def test_a_machine_that_makes_no_second_step_at_all_is_said_to_be_busy(
    asked: dict[int, SimpleNamespace], assignment: Assignment
) -> None:
    asked |= {10: run(64, 64), 60: run(64, 64)}
    with pytest.raises(InfrastructureError, match="within 60 seconds: stop other programs on this machine"):
        calibrate(assignment, SLOT, 10)


def test_a_run_gets_its_share_of_a_card_and_alone_all_of_it(tmp_path: Path) -> None:
    isolation = Isolation(IsolationLevel.NONE, "")
    machine = Machine("here", isolation, cores=4, jobs=4, cards=("0", "1"), work=tmp_path, training_set=None)
    slots = [Slot(2, alone, "0", "GPU 0", threading.Event(), lambda _: None) for alone in (False, True)]
    assert [machine.equipped(slot).card_share for slot in slots] == [1 / 2, 1]

    crowded = replace(machine, jobs=5)
    slots = [Slot(number, False, card, "", threading.Event(), lambda _: None) for number, card in enumerate("01010")]
    assert [crowded.equipped(slot).card_share for slot in slots] == [1 / 3, 1 / 2, 1 / 3, 1 / 2, 1 / 3]
    assert machine.quiet_slot(threading.Event()).card_share == 1 / 2


@pytest.mark.parametrize(
    ("cores", "cards", "memory_gb", "jobs"),
    [
        (16, {"0": 140_000}, 128, 16),
        (2, {"0": 15_000}, 12, 2),
        (16, {"0": 15_000}, 128, 3),
        (64, {"0": 80_000, "1": 15_000}, 512, 6),
        (16, {"0": 140_000}, 30, 5),
        (1, {"0": 3_000, "1": 3_000}, 4, 2),
    ],
    ids=["cores", "two cores", "the card's memory", "the smaller card's", "the machine's memory", "one for each card"],
)
def test_as_many_run_on_cards_as_their_memory_and_the_machine_allow(
    monkeypatch: pytest.MonkeyPatch, cores: int, cards: dict[str, int], memory_gb: int, jobs: int
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=memory_gb << 30))
    assert default_jobs(cores, cards, fair_limit=False) == jobs


def test_without_a_card_several_run_at_once_only_where_that_costs_none_of_them_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=64 << 30))
    assert default_jobs(4, {}, fair_limit=False) == 1
    assert default_jobs(4, {}, fair_limit=True) == 4


def test_a_process_that_may_use_one_core_has_one() -> None:
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); import grader.run.machine as m; "
    code += "print(m.usable_cores())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "1\n"
