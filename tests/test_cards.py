"""GPUs, made up: which are used, which place gets which, and when one is doubted."""

from dataclasses import replace
from pathlib import Path

import pytest

from grader.assignment import Assignment
from grader.records import Outcome, Run, StopReason
from grader.sandbox import Job
from grader.sandbox.runtime import environment
from grader.schedule.cards import card_name, in_doubt, spread, visible_cards

RUN = Run(Outcome.CRASHED, StopReason.ERROR, device="NVIDIA A100", error="ValueError: no")


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


def test_a_card_is_named_with_its_machine_where_there_are_several() -> None:
    assert card_name("1") == "GPU 1"
    assert card_name("1", "gpu7") == "GPU 1 of gpu7"
    assert card_name("", "gpu7") == "gpu7"
    assert card_name("") == "this machine"


def test_a_card_is_doubted_where_a_run_failed_with_its_words_or_met_none() -> None:
    assert in_doubt(replace(RUN, error="RuntimeError: CUDA error: unspecified launch failure"))
    assert in_doubt(replace(RUN, log=b"torch.AcceleratorError: CUDA error: an illegal memory access\n"))
    assert in_doubt(replace(RUN, device="CPU"))
    assert not in_doubt(RUN)
    assert not in_doubt(replace(RUN, outcome=Outcome.GRADED, error="CUDA error: device-side assert triggered"))


def test_a_job_sees_the_card_of_its_place_only(assignment: Assignment) -> None:
    job = Job(Path("job"), assignment.limits, ready_seconds=1, card="3")
    assert environment(job, "code", "scratch", "tmp")["CUDA_VISIBLE_DEVICES"] == "3"
    assert "CUDA_VISIBLE_DEVICES" not in environment(replace(job, card=""), "code", "scratch", "tmp")
