"""Whether a card computes: the driver is asked first, and only what it is sure of is taken from it."""

import ctypes
from typing import Any

import pytest

from grader.assignment import Assignment
from grader.cli import grade as machines
from grader.schedule import card_trial, gpus

H100 = (9, 0)


class Driver:
    """A made-up libcuda with one card."""

    def __init__(self, capability: tuple[int, int] = H100, version: int = 13_000, off_by: int = 0) -> None:
        self._capability = dict(zip((75, 76), capability, strict=True))
        self._version, self._off_by = version, off_by
        self.fails = ""

    def __getattr__(self, name: str) -> Any:
        if name == self.fails:
            return lambda *_: 100
        does = vars(type(self)).get(f"_{name}")
        return lambda *arguments: does(self, *arguments) if does else 0

    def _cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802 (the driver's own name)
        version._obj.value = self._version
        return 0

    def _cuDeviceGetAttribute(self, value: Any, which: int, _: Any) -> int:  # noqa: N802
        value._obj.value = self._capability[which]
        return 0

    def _cuDeviceTotalMem_v2(self, memory: Any, _: Any) -> int:  # noqa: N802
        memory._obj.value = 80 << 30
        return 0

    def _cuMemcpyDtoH_v2(self, here: Any, there: Any, size: ctypes.c_size_t) -> int:  # noqa: N802
        assert size.value == 4 * len(here)
        here[:] = [(number * number + self._off_by) % 2**32 for number in range(len(here))]
        return 0


def test_a_card_that_computes_says_its_memory() -> None:
    assert card_trial.tried(Driver(), "13.0") == 81_920


@pytest.mark.parametrize("name", ["cuInit", "cuDeviceGet", "cuModuleLoadData", "cuLaunchKernel", "cuMemcpyDtoH_v2"])
def test_a_driver_that_fails_is_not_sure(name: str) -> None:
    driver = Driver()
    driver.fails = name
    with pytest.raises(card_trial.Unsure, match=f"{name} gave 100"):
        card_trial.tried(driver, "13.0")


@pytest.mark.parametrize(
    ("driver", "torch_cuda", "why"),
    [
        (Driver(off_by=1), "13.0", "computes wrongly"),
        (Driver(version=12_040), "13.0", "a driver for CUDA 12, and torch for 13.0"),
        (Driver(), "", "torch for none"),
        (Driver(capability=(7, 0)), "12.6", "compute capability 7.0"),
        (Driver(capability=(12, 0)), "13.0", "compute capability 12.0"),
    ],
    ids=["wrong numbers", "old driver", "torch without CUDA", "old card", "new card"],
)
def test_torch_must_be_asked_where_the_driver_cannot_speak_for_it(driver: Driver, torch_cuda: str, why: str) -> None:
    with pytest.raises(card_trial.Unsure, match=why):
        card_trial.tried(driver, torch_cuda)


def test_the_version_that_torch_was_built_for_is_read_without_it() -> None:
    import torch

    assert card_trial.torch_cuda() == (torch.version.cuda or "")


@pytest.mark.parametrize(("by_driver", "asked"), [(81_559, 1), (0, 2)])
def test_torch_is_asked_only_where_the_driver_is_not_sure(
    monkeypatch: pytest.MonkeyPatch, by_driver: int, asked: int
) -> None:
    trials: list[str] = []

    def said(trial: tuple[str, ...], card: str, _: int) -> int:
        trials.append(card)
        return by_driver if trial[0].endswith("card_trial.py") else 81_000

    monkeypatch.setattr(gpus, "_memory_said", said)
    assert gpus.memory_mb("0") == (by_driver or 81_000)
    assert trials == ["0"] * asked


def test_a_card_in_doubt_is_tried_by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "_memory_said", lambda trial, card, seconds: 0 if trial[0] == "-c" else 81_000)
    assert not gpus.works("0")


def test_several_cards_are_tried_and_the_broken_one_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "_numbers", lambda: [0, 1, 2])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpus, "memory_mb", {"0": 80_000, "1": 0, "2": 40_000}.__getitem__)
    assert gpus.cards_here() == {"0": 80_000, "2": 40_000}


@pytest.mark.skipif(gpus.machine_has_cards(), reason="this machine has a GPU")
def test_where_there_is_no_driver_no_card_works() -> None:
    assert gpus.memory_mb("0") == 0


@pytest.mark.parametrize(
    ("time_limit", "images", "cards", "timed"),
    [
        ("wall", 20_000, False, True),
        ("wall", 19_999, False, False),
        ("wall", 500_000, True, False),
        ("wall", 750_000, True, True),
        ("calibrated", 1, True, True),
        ("calibrated", 0, False, False),
    ],
    ids=["worth it", "small", "two whole runs on a card", "three", "it sets the limit", "nothing is due"],
)
def test_the_reference_is_timed_where_that_sets_the_limit_or_is_worth_the_wait(
    assignment: Assignment, time_limit: str, images: int, cards: bool, timed: bool
) -> None:
    budget = assignment.budget.model_copy(update={"time_limit": time_limit})
    rules = assignment.model_copy(update={"budget": budget})
    assert machines.worth_timing(rules, images, cards=cards) is timed
