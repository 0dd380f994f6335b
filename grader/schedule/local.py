"""Run work on this machine, a few pieces at a time, on the cards that it has."""

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Generic

from grader.progress import Watch
from grader.schedule.dispatch import Finished, M, Place, R, S, Seat, T, run_at
from grader.schedule.gpus import card_name, spread


class Local(Generic[S, M]):
    """The places of this machine, as a `Scheduler`.

    Args:
        machine: What was set up here.
        shared: What each piece of work is given besides.
        jobs: Pieces at the same time.
        cards: GPUs, as CUDA_VISIBLE_DEVICES names them; may be none.
        cancelled: Set from outside, or here when a piece raises; `work` should then end soon.
    """

    def __init__(self, machine: M, shared: S, jobs: int, cards: Sequence[str], cancelled: threading.Event) -> None:
        self.machines: Sequence[M] = (machine,)
        self._shared = shared
        self._cards = spread(jobs, cards)
        self._cancelled = cancelled
        self._lost: set[str] = set()

    def run_all(
        self, pieces: Sequence[T], work: Callable[[T, S, M, Seat], R], watch: Watch, *, alone: bool = False
    ) -> Iterator[tuple[T, Finished[R]]]:
        """As `Scheduler.run_all`."""
        seats = [
            Seat(number, alone, card, card_name(card), self._cancelled, watch)
            for number, card in enumerate(self._cards)
        ]
        places = [Place((card_name(""), seat.place), partial(self._run, work, seat)) for seat in seats]
        yield from run_at(places, pieces, self._cancelled, watch, self._lost, alone=alone)

    def _run(self, work: Callable[[T, S, M, Seat], R], seat: Seat, piece: T) -> R:
        return work(piece, self._shared, self.machines[0], seat)
