"""Hand tasks to slots: a task whose slot is lost goes to another one, at most `MOST_LOSSES` times.

`Local` has the slots of this machine, ray.py those of a cluster; whoever asks knows a `Scheduler` and no more. Both
hand their slots to `run_at`, which starts a thread for each; the thread calls the caller's `work` with one task after
the other.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from grader.errors import SlotLost, UserError
from grader.progress import Notice, Watch
from grader.schedule.gpus import card_name, spread

T = TypeVar("T")
R = TypeVar("R")
S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)
M_co = TypeVar("M_co", covariant=True)

# A task that was lost three times may itself be the reason: it ends as a fault of ours, and the next command tries it
# again. The third time nothing runs beside it, so that no other task is lost with it that often.
MOST_LOSSES = 3


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """Where one task at a time is worked on. `Machine.equipped` gives it what a run may use there.

    Attributes:
        number: Among the slots of its machine, from 0.
        alone: Nothing runs beside it on its machine.
        card: The GPU, as CUDA_VISIBLE_DEVICES names it; empty where there is none.
        machine: Empty: this one.
        cancelled: Set when everything is to stop.
        watch: Told what happens.
    """

    number: int
    alone: bool
    card: str
    machine: str
    cancelled: threading.Event
    watch: Watch

    @property
    def name(self) -> str:
        """Of its card, or of its machine where it has none: what a `SlotLost` says has failed."""
        return card_name(self.card, self.machine)

    @property
    def names(self) -> tuple[str, str]:
        """Of its machine and its card: with either of them it is lost."""
        return card_name("", self.machine), self.name


class Divided(Protocol):
    """What a scheduler must know of a machine that was set up."""

    @property
    def jobs(self) -> int:
        """Tasks at the same time."""

    @property
    def cards(self) -> tuple[str, ...]:
        """GPUs, as CUDA_VISIBLE_DEVICES names them there."""


M = TypeVar("M", bound=Divided)


@dataclass(frozen=True, slots=True)
class Here:
    """What a node of a cluster is told about itself.

    Attributes:
        cores: Processor cores that it may use.
        cancelled: Set when everything is to stop.
    """

    name: str
    cores: int
    cancelled: threading.Event


@dataclass(frozen=True, slots=True)
class Finished(Generic[R]):
    """What became of one task.

    Attributes:
        result: None: it was given up, after `MOST_LOSSES` losses.
        lost: The machines and cards that failed while they worked on it, in that order.
    """

    result: R | None
    lost: tuple[str, ...]


class Scheduler(Protocol[S_co, M_co]):
    """The slots of one machine or of many, and what was set up once on each machine."""

    @property
    def machines(self) -> Sequence[M_co]:
        """What was set up, one for each machine."""

    def run_all(
        self, tasks: Sequence[T], work: Callable[[T, S_co, M_co, Slot], R], watch: Watch, *, alone: bool = False
    ) -> Iterator[tuple[T, Finished[R]]]:
        """Yield each task with what became of it as soon as that is known, in any order.

        Args:
            work: Called with a task, what all tasks share, what was set up on the machine, and the slot. For a cluster
                it must be picklable.
            alone: One task at a time on each machine.

        Raises:
            Cancelled: Everything was to stop.
            UserError: No slot is left.
        """


def slots_of(machine: Divided, name: str, alone: bool, cancelled: threading.Event, watch: Watch) -> list[Slot]:
    """The slots into which a machine of this name is divided, its cards spread among them."""
    cards = spread(machine.jobs, machine.cards)
    return [Slot(number, alone, card, name, cancelled, watch) for number, card in enumerate(cards)]


def run_at(
    slots: Sequence[Slot],
    tasks: Iterable[T],
    run: Callable[[Slot, T], R],
    lost: set[str],
) -> Generator[tuple[T, Finished[R]], None, None]:
    """Work on tasks in all slots at once, as `Scheduler.run_all` says.

    One thread serves each slot until the end, because a sandbox dies with the thread that started it. A task in a slot
    that is `alone` begins only when nothing else runs on its machine. Where a task raises or the caller stops asking,
    all slots are cancelled here: work in flight should then end soon.

    Args:
        run: Works on a task; raises SlotLost where it could not be finished for a reason that is not the task's.
        lost: The names of machines and cards that are lost for good. More are added here.
    """
    desk = _Desk(slots, tasks, run, lost)
    threads = [threading.Thread(target=desk.serve, args=(slot,), name=slot.name) for slot in slots]
    for thread in threads:
        thread.start()
    try:
        for _ in range(desk.unfinished):
            yield desk.next_finished()
    except BaseException:
        for slot in slots:
            slot.cancelled.set()
        raise
    finally:
        desk.close()
        for thread in threads:
            thread.join()


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting(Generic[T]):
    """A task, whether nothing may run beside it, and what was lost with it before."""

    task: T
    alone: bool
    losses: tuple[str, ...] = ()

    def after(self, loss: str) -> "_Waiting[T]":
        """The task once more; the last time alone, so that another loss is its own."""
        losses = (*self.losses, loss)
        return _Waiting(self.task, self.alone or len(losses) == MOST_LOSSES - 1, losses)


class _Desk(Generic[T, R]):
    """The tasks that wait and the results that nobody has fetched, shared by the slots' threads."""

    def __init__(self, slots: Sequence[Slot], tasks: Iterable[T], run: Callable[[Slot, T], R], lost: set[str]) -> None:
        self._slots, self._run, self._lost = slots, run, lost
        alone = any(slot.alone for slot in slots)
        self._waiting = deque(_Waiting(task, alone) for task in tasks)
        self._in_flight: dict[Slot, _Waiting[T]] = {}
        self.unfinished = len(self._waiting)
        self._changed = threading.Condition()
        self._closed = False
        self._ended: queue.SimpleQueue[tuple[T, Finished[R]] | BaseException] = queue.SimpleQueue()
        self._fail_without_slots()

    def next_finished(self) -> tuple[T, Finished[R]]:
        """Wait for the next task that ends; raise what ended the work on one."""
        ended = self._ended.get()
        if isinstance(ended, BaseException):
            raise ended
        return ended

    def close(self) -> None:
        """Give out nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def serve(self, slot: Slot) -> None:
        """Give tasks to one slot until there are none, or the slot is lost."""
        while (taken := self._take(slot)) is not None:
            try:
                self._ended.put((taken.task, Finished(self._run(slot, taken.task), taken.losses)))
            except SlotLost as loss:
                self._lose(slot, taken, loss)
            except BaseException as error:  # the caller's thread raises it
                self._ended.put(error)
            with self._changed:
                del self._in_flight[slot]
                self._changed.notify_all()

    def _take(self, slot: Slot) -> _Waiting[T] | None:
        with self._changed:
            while not self._closed and self._lost.isdisjoint(slot.names):
                taken = next((each for each in self._waiting if self._may_begin(each, slot)), None)
                if taken is not None:
                    self._waiting.remove(taken)
                    self._in_flight[slot] = taken
                    return taken
                # A task in flight may be lost and come back, or end and leave its machine to one that must be alone.
                self._changed.wait()
        return None

    def _may_begin(self, waiting: _Waiting[T], slot: Slot) -> bool:
        beside = [other for at, other in self._in_flight.items() if not set(at.names).isdisjoint(slot.names)]
        return not beside if waiting.alone else not any(other.alone for other in beside)

    def _lose(self, slot: Slot, taken: _Waiting[T], loss: SlotLost) -> None:
        lost = taken.after(loss.name)
        given_up = len(lost.losses) >= MOST_LOSSES
        then = "the grader gives that run up for now" if given_up else "the grader repeats that run"
        out = ", so the grader no longer uses it" if loss.for_good else ""
        with self._changed:
            slot.watch(Notice(f"{loss.name} failed and lost a run{out}; {then}"))
            if loss.for_good:
                self._lost.add(loss.name)
            if given_up:
                self._ended.put((lost.task, Finished(None, lost.losses)))
            elif lost.alone:
                self._waiting.append(lost)
            else:
                self._waiting.appendleft(lost)
            self._changed.notify_all()
            self._fail_without_slots()

    def _fail_without_slots(self) -> None:
        if all(not self._lost.isdisjoint(slot.names) for slot in self._slots):
            what = ", ".join(sorted(self._lost))
            self._ended.put(
                UserError(
                    f"no worker is left to grade on (lost: {what}); finished results are kept: "
                    "run the same command again"
                )
            )


class Local(Generic[S, M]):
    """The slots of this machine, as a `Scheduler`.

    Args:
        machine: What was set up here.
        shared: What all tasks share.
        cancelled: Set from outside, or by `run_at`; `work` should then end soon.
    """

    def __init__(self, machine: M, shared: S, cancelled: threading.Event) -> None:
        self.machines: Sequence[M] = (machine,)
        self._shared, self._cancelled = shared, cancelled
        self._lost: set[str] = set()

    def run_all(
        self, tasks: Sequence[T], work: Callable[[T, S, M, Slot], R], watch: Watch, *, alone: bool = False
    ) -> Iterator[tuple[T, Finished[R]]]:
        """As `Scheduler.run_all`."""
        (machine,) = self.machines
        slots = slots_of(machine, "", alone, self._cancelled, watch)
        yield from run_at(slots, tasks, lambda slot, task: work(task, self._shared, machine, slot), self._lost)
