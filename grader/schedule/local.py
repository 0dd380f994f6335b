"""Run work on this machine, a few pieces at a time."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def run_all(
    pieces: Iterable[T], work: Callable[[T, int], R], jobs: int, cancelled: threading.Event
) -> Iterator[tuple[T, R]]:
    """Yield each piece with its result as soon as it is there, in any order.

    The threads live until the end, because a sandbox dies with the thread that started it.

    Args:
        work: Called with a piece and the number of a slot, 0 to `jobs` - 1, that no other call has at that time.
        cancelled: Set here when one piece raises or the caller stops asking: pieces that have not begun are dropped,
            and `work` should end soon.
    """
    slots: queue.SimpleQueue[int] = queue.SimpleQueue()
    for slot in range(jobs):
        slots.put(slot)

    def in_a_slot(piece: T) -> R:
        slot = slots.get()
        try:
            return work(piece, slot)
        finally:
            slots.put(slot)

    with ThreadPoolExecutor(jobs, thread_name_prefix="slot") as pool:
        futures = {pool.submit(in_a_slot, piece): piece for piece in pieces}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            cancelled.set()
            pool.shutdown(cancel_futures=True)
            raise
