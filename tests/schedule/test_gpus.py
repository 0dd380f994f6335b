"""GPUs, made up: which are used, which slot gets which, and when one is doubted."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from grader.assignment import Assignment
from grader.protocol import Fault
from grader.records import Outcome, Run, StopReason
from grader.sandbox import Job
from grader.sandbox.job import environment
from grader.schedule import gpus
from grader.schedule.gpus import card_name, in_doubt, spread, visible_cards
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


def test_slots_are_spread_evenly_over_the_cards() -> None:
    assert spread(5, ["0", "1"]) == ("0", "1", "0", "1", "0")
    assert spread(1, ["0", "1"]) == ("0",)
    assert spread(2, []) == ("", "")


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


def test_a_job_sees_the_card_of_its_slot_only(assignment: Assignment) -> None:
    job = Job(Path("job"), assignment.limits, ready_seconds=1, card="3")
    assert environment(job, "code", "scratch", "tmp")["CUDA_VISIBLE_DEVICES"] == "3"
    assert "CUDA_VISIBLE_DEVICES" not in environment(replace(job, card=""), "code", "scratch", "tmp")


def test_several_cards_are_tried_and_the_broken_one_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "_numbers", lambda: [0, 1, 2])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpus, "memory_mb", {"0": 80_000, "1": 0, "2": 40_000}.__getitem__)
    assert gpus.cards_here() == {"0": 80_000, "2": 40_000}


@pytest.mark.skipif(gpus.machine_has_cards(), reason="this machine has a GPU")
def test_where_there_is_no_driver_no_card_works() -> None:
    assert gpus.memory_mb("0") == 0
