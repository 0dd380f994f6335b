"""One node of a cluster, seen from itself: set up once, then it works on tasks and remembers what to tell."""

import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from typing import Generic

from grader.progress import Event, Printed, StageBegun
from grader.schedule.dispatch import M, R, S, Seat, T

# Of what scripts print, so much waits for the driver to ask; more is left out, as on a terminal that is too slow.
_MOST_EVENTS = 200


@dataclass(frozen=True, slots=True)
class Here:
    """What a node is told about itself.

    Attributes:
        cores: Processor cores that it may use.
        cancelled: Set when everything is to stop.
    """

    name: str
    cores: int
    cancelled: threading.Event


# Called on the node with what is shared by all; what it gives is kept until the node closes.
Setup = Callable[[S, Here], AbstractContextManager[M]]


class Node(Generic[S, M]):
    """An actor: one process on the node, with a thread for each task and some for what is asked meanwhile.

    Whatever is called with `fetch` sets the node up if that has not happened yet, also after its process had to be
    started again; `fetch` gives what is shared by all tasks, and is called once.

    Args:
        cores: Processor cores that it may use.
    """

    def __init__(self, setup: Setup[S, M], name: str, cores: int) -> None:
        self._setup = setup
        self._here = Here(name, cores, threading.Event())
        self._opening = threading.Lock()
        self._open = ExitStack()
        self._opened: tuple[S, M] | None = None
        self._events: deque[Event] = deque()

    def machine(self, fetch: Callable[[], S]) -> M:
        """What was set up here."""
        return self._set_up(fetch)[1]

    def work(
        self,
        fetch: Callable[[], S],
        work: Callable[[T, S, M, Seat], R],
        task: T,
        number: int,
        alone: bool,
        card: str,
    ) -> R:
        """Work on one task; whatever it raises is raised at the driver."""
        shared, machine = self._set_up(fetch)
        return work(
            task, shared, machine, Seat(number, alone, card, self._here.name, self._here.cancelled, self._watch)
        )

    def heard(self) -> list[Event]:
        """What happened since the last call."""
        return [self._events.popleft() for _ in range(len(self._events))]

    def stop(self) -> None:
        """End what runs."""
        self._here.cancelled.set()

    def close(self) -> None:
        """Undo the setup."""
        with self._opening:
            self._open.close()

    def _set_up(self, fetch: Callable[[], S]) -> tuple[S, M]:
        with self._opening:
            if self._opened is None:
                shared = fetch()
                self._opened = shared, self._open.enter_context(self._setup(shared, self._here))
            return self._opened

    def _watch(self, event: Event) -> None:
        if isinstance(event, StageBegun):
            event = replace(event, node=self._here.name)
        if not isinstance(event, Printed) or len(self._events) < _MOST_EVENTS:
            self._events.append(event)
