"""Work for the nodes of a test's cluster, which import it by name: it touches files, waits and fails as it is told."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from grader.errors import Cancelled, UserError
from grader.progress import RunEnded, Stage, StageBegun
from grader.schedule import Here, Slot


@dataclass(frozen=True)
class Bench:
    """What is set up on a node: two slots, no cards."""

    name: str
    pid: int
    jobs: int = 2
    cards: tuple[str, ...] = ()


@contextmanager
def set_up(shared: Path, here: Here) -> Iterator[Bench]:
    """Leave a file for each setup, as long as the node is open; refuse where a file `refused` lies."""
    try:
        (shared / "refused").unlink()
    except FileNotFoundError:
        pass
    else:
        raise UserError("the sandbox leaks here")
    made = shared / f"set-up-{os.getpid()}"
    made.touch()
    yield Bench(here.name, os.getpid())
    made.unlink()


def answer(task: int, shared: Path, bench: Bench, slot: Slot) -> tuple[int, str, int]:
    """Say at once who worked on it."""
    return task, bench.name, slot.number


def nobody_beside(task: int, shared: Path, bench: Bench, slot: Slot) -> bool:
    """Say whether nothing else is worked on at this node for a moment."""
    busy = shared / f"busy-{bench.name}"
    try:
        busy.touch(exist_ok=False)
    except FileExistsError:
        return False
    slot.cancelled.wait(0.05)
    busy.unlink()
    return True


def wait_for_go(task: int, shared: Path, bench: Bench, slot: Slot) -> tuple[int, str, int]:
    """Say that it began, and go on once there is a file `go`."""
    slot.watch(StageBegun(str(task), Stage.TRAINING))
    (shared / f"begun-{task}-{bench.name}").touch()
    while not (shared / "go").exists():
        if slot.cancelled.is_set():
            raise Cancelled
        time.sleep(0.05)
    slot.watch(RunEnded(str(task)))
    return answer(task, shared, bench, slot)


def kill_the_process(task: int, shared: Path, bench: Bench, slot: Slot) -> tuple[int, str, int]:
    """End the node's process as the kernel does where memory is short, for task 0 each time."""
    if task == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer(task, shared, bench, slot)
