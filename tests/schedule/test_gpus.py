"""GPUs, made up: which are used, which place gets which, and when one is doubted."""

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from grader.assignment import Assignment
from grader.protocol import Fault
from grader.records import IsolationLevel, Outcome, Run, StopReason
from grader.run.machine import Machine, default_jobs
from grader.sandbox import Isolation, Job
from grader.sandbox.runtime import environment
from grader.schedule.dispatch import Seat
from grader.schedule.gpus import card_name, in_doubt, memory_share, spread, visible_cards
from grader.worker.limits import limit_cards, limit_met

RUN = Run(Outcome.CRASHED, StopReason.ERROR, device="NVIDIA A100", on_card=True, error="ValueError: no")


@pytest.mark.parametrize(
    ("numbers", "chosen", "cards"),
    [
        ([1, 0, 2], None, ("0", "1", "2")),
        ([0, 1, 2, 3], "3,1", ("3", "1")),
        ([0], "MIG-0a, MIG-0b", ("MIG-0a", "MIG-0b")),
        ([0, 1], "", ()),
        ([0, 1], "-1", ()),
        ([], "0", ()),
        ([], None, ()),
    ],
)
def test_a_batch_system_s_choice_of_cards_is_kept(numbers: list[int], chosen: str | None, cards: tuple[str]) -> None:
    assert visible_cards(numbers, chosen) == cards


def test_places_are_spread_evenly_over_the_cards() -> None:
    assert spread(5, ["0", "1"]) == ("0", "1", "0", "1", "0")
    assert spread(1, ["0", "1"]) == ("0",)
    assert spread(2, []) == ("", "")


def test_places_of_one_card_share_its_memory() -> None:
    places = spread(5, ["0", "1"])
    assert [memory_share(card, places) for card in places] == [1 / 3, 1 / 2, 1 / 3, 1 / 2, 1 / 3]
    assert memory_share("0", spread(1, ["0", "1"])) == 1
    assert memory_share("1", spread(1, ["0", "1"])) == 1


def test_a_run_gets_its_share_of_a_card_and_alone_all_of_it(tmp_path: Path) -> None:
    isolation = Isolation(IsolationLevel.NONE, "")
    machine = Machine("here", isolation, cores=4, jobs=4, cards=("0", "1"), work=tmp_path, training_set=None)
    seats = [Seat(2, alone, "0", "GPU 0", threading.Event(), lambda _: None) for alone in (False, True)]
    assert [machine.slot(seat).card_share for seat in seats] == [1 / 2, 1]


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


def test_torch_is_told_the_share_of_every_card_that_a_run_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[int, float] = {}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda part, device: told.update({device: part}))
    limit_cards(0.5)
    assert told == {0: 0.45, 1: 0.45}


def test_what_torch_says_of_a_full_card_is_a_limit_on_memory() -> None:
    assert limit_met(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")) is Fault.MEMORY


def test_a_card_is_named_with_its_machine_where_there_are_several() -> None:
    assert card_name("1") == "GPU 1"
    assert card_name("1", "gpu7") == "GPU 1 of gpu7"
    assert card_name("", "gpu7") == "gpu7"
    assert card_name("") == "this machine"


def test_a_card_is_doubted_where_a_run_failed_with_its_words_or_met_none() -> None:
    assert in_doubt(replace(RUN, error="RuntimeError: CUDA error: unspecified launch failure"), b"")
    assert in_doubt(RUN, b"torch.AcceleratorError: CUDA error: an illegal memory access\n")
    assert in_doubt(replace(RUN, device="CPU", on_card=False), b"")
    assert not in_doubt(RUN, b"")
    assert not in_doubt(replace(RUN, outcome=Outcome.GRADED, error="CUDA error: device-side assert triggered"), b"")


def test_a_job_sees_the_card_of_its_place_only(assignment: Assignment) -> None:
    job = Job(Path("job"), assignment.limits, ready_seconds=1, card="3")
    assert environment(job, "code", "scratch", "tmp")["CUDA_VISIBLE_DEVICES"] == "3"
    assert "CUDA_VISIBLE_DEVICES" not in environment(replace(job, card=""), "code", "scratch", "tmp")
