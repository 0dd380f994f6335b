"""Tasks go to slots: a slot that is lost blames no task, losses are counted, and no slot too many is asked."""

import contextlib
import pickle
import threading
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass

import pytest

from grader.errors import Cancelled, SlotLost, UserError
from grader.progress import Event, Notice, Watch
from grader.schedule import MOST_LOSSES, Finished, Local, Slot, run_at

Told = list[Event]


@dataclass(frozen=True)
class At:
    """A slot at a machine, perhaps with a card, and what comes of the tasks that it is given."""

    machine: str
    run: Callable[[int], str]
    card: str = ""


def run_all(
    given: list[At], tasks: int, cancelled: threading.Event, watch: Watch, lost: set[str]
) -> Generator[tuple[int, Finished[str]], None, None]:
    slots = [Slot(number, False, at.card, at.machine, cancelled, watch) for number, at in enumerate(given)]
    return run_at(slots, range(tasks), lambda slot, task: given[slot.number].run(task), lost)


def outcomes(
    given: list[At], tasks: int, told: Told | None = None, lost: set[str] | None = None
) -> dict[int, Finished[str]]:
    """What became of tasks 0, 1, ... by task."""
    watch = (told if told is not None else []).append
    found = list(run_all(given, tasks, threading.Event(), watch, set() if lost is None else lost))
    assert Counter(task for task, _ in found) == Counter(range(tasks)), "each task ends once"
    return dict(found)


def loses(name: str, *, for_good: bool = True) -> Callable[[int], str]:
    def run(task: int) -> str:
        raise SlotLost(name, for_good)

    return run


def test_a_task_whose_slot_is_lost_is_done_elsewhere_and_the_loss_is_recorded() -> None:
    told: Told = []
    broken_asked = threading.Event()

    def broken(task: int) -> str:
        broken_asked.set()
        raise SlotLost("gpu1")

    def working(task: int) -> str:
        assert broken_asked.wait(10)
        return f"did {task}"

    found = outcomes([At("gpu1", broken), At("gpu2", working)], 5, told)
    assert [found[task].result for task in range(5)] == [f"did {task}" for task in range(5)]
    assert [losses for finished in found.values() if (losses := finished.lost)] == [("gpu1",)]
    assert told == [Notice("gpu1 failed and lost a run, so the grader no longer uses it; the grader repeats that run")]


def test_all_slots_of_a_lost_machine_are_taken_out_at_once() -> None:
    asked: Counter[str] = Counter()
    gate = threading.Barrier(2)

    def first(task: int) -> str:
        asked["first"] += 1
        gate.wait(10)
        raise SlotLost("gpu1")

    def beside(task: int) -> str:
        asked["beside"] += 1
        gate.wait(10)
        while "gpu1" not in lost:
            pass
        return "beside"

    def elsewhere(task: int) -> str:
        while "gpu1" not in lost:
            pass
        return "elsewhere"

    lost: set[str] = set()
    given = [
        At("gpu1", first, "0"),
        At("gpu1", beside, "1"),
        At("gpu2", elsewhere),
    ]
    found = outcomes(given, 20, lost=lost)
    assert asked == {"first": 1, "beside": 1}
    assert Counter(finished.result for finished in found.values()) == {"beside": 1, "elsewhere": 19}


def test_what_is_lost_too_often_is_given_up_without_a_result_and_the_rest_goes_on() -> None:
    told: Told = []

    def run(task: int) -> str:
        if task == 1:
            raise SlotLost("gpu1", for_good=False)
        return "done"

    found = outcomes([At("gpu1", run)], 3, told)
    assert found[1] == Finished(None, ("gpu1",) * MOST_LOSSES)
    assert (found[0].result, found[2].result) == ("done", "done")
    assert len(told) == MOST_LOSSES


def test_what_only_ran_beside_a_task_that_ends_its_machine_is_not_given_up() -> None:
    """Two slots of one machine: task 1 is lost with task 0 whenever they meet there."""
    asked: Counter[int] = Counter()
    meetings = {attempt: threading.Barrier(2) for attempt in range(1, MOST_LOSSES + 1)}

    def run(task: int) -> str:
        asked[task] += 1
        attempt = asked[task]
        try:
            meetings[attempt].wait(10 if attempt < MOST_LOSSES else 0.5)
        except threading.BrokenBarrierError:  # nobody else came
            if task == 1:
                return "done"
        raise SlotLost("gpu1", for_good=False)

    found = outcomes([At("gpu1", run), At("gpu1", run)], 2)
    assert found[0] == Finished(None, ("gpu1",) * MOST_LOSSES)
    assert found[1].result == "done"
    assert len(found[1].lost) == MOST_LOSSES - 1


def test_without_a_slot_left_the_teacher_is_told_what_was_lost() -> None:
    with pytest.raises(UserError, match="lost: GPU 0, GPU 1"):
        outcomes([At("GPU 0", loses("GPU 0")), At("GPU 1", loses("GPU 1"))], 9)


def test_an_error_of_ours_is_raised_and_everything_is_cancelled() -> None:
    cancelled = threading.Event()

    def waits(task: int) -> str:
        assert cancelled.wait(10)
        raise Cancelled

    def fails(task: int) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(run_all([At("a", waits), At("b", fails)], 9, cancelled, lambda _: None, set()))
    assert cancelled.is_set()


def test_whoever_stops_asking_ends_the_work() -> None:
    cancelled = threading.Event()
    given: list[At] = [At("a", str)]
    with contextlib.closing(run_all(given, 9, cancelled, lambda _: None, set())) as running:
        next(running)
    assert cancelled.is_set()


def test_a_loss_arrives_whole_from_another_machine() -> None:
    loss = pickle.loads(pickle.dumps(SlotLost("GPU 1 of gpu7", for_good=False)))
    assert (loss.name, loss.for_good) == ("GPU 1 of gpu7", False)


@dataclass(frozen=True)
class Bench:
    """A machine, as far as a scheduler knows it."""

    jobs: int
    cards: tuple[str, ...] = ()


def local(jobs: int, *cards: str) -> Local[None, Bench]:
    return Local(Bench(jobs, cards), None, threading.Event())


def slots(local: Local[None, Bench], *, alone: bool = False) -> set[tuple[int, str]]:
    """Number and card of the slots at which four tasks were worked on."""

    def work(task: int, _: None, machine: Bench, slot: Slot) -> tuple[int, str]:
        return slot.number, slot.card

    return {done.result for _, done in local.run_all(range(4), work, lambda _: None, alone=alone) if done.result}


def test_a_lost_card_stays_out_in_the_rounds_that_follow() -> None:
    two_cards = local(2, "0", "1")
    both_asked = threading.Barrier(2)
    asked: set[str] = set()

    def work(task: int, _: None, machine: Bench, slot: Slot) -> str:
        if slot.card not in asked:
            asked.add(slot.card)
            both_asked.wait(10)
        if slot.card == "0":
            raise SlotLost(slot.name)
        return slot.card

    assert {done.result for _, done in two_cards.run_all(range(4), work, lambda _: None)} == {"1"}
    assert slots(two_cards) == {(1, "1")}
    assert slots(two_cards, alone=True) == {(1, "1")}


@pytest.mark.parametrize("cards", [[], ["0", "1"]], ids=["no cards", "two cards"])
def test_alone_nothing_runs_beside_a_task(cards: list[str]) -> None:
    three_slots = local(3, *cards)
    busy = threading.Lock()

    def work(task: int, _: None, machine: Bench, slot: Slot) -> bool:
        if not busy.acquire(blocking=False):
            return False
        slot.cancelled.wait(0.05)
        busy.release()
        return True

    assert [done.result for _, done in three_slots.run_all(range(4), work, lambda _: None, alone=True)] == [True] * 4


def test_a_card_that_is_lost_alone_leaves_the_task_to_the_others() -> None:
    two_cards = local(2, "0", "1")

    def work(task: int, _: None, machine: Bench, slot: Slot) -> str:
        if slot.card == "0":
            raise SlotLost(slot.name)
        return slot.card

    done = [done for _, done in two_cards.run_all(range(3), work, lambda _: None, alone=True)]
    assert [each.result for each in done] == ["1"] * 3
