"""The limits that hold inside a script's own process, its time among them; how its errors show which one it met."""

import errno
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

# By their names, which a script cannot change here.
from time import monotonic, process_time, sleep

import torch

from grader.protocol import Fault, Task
from grader.worker.channel import message_of

if sys.platform != "win32":
    import resource

# Files that the worker can open when the script can open no more.
_RESERVED_FILES = 64
_BY_NUMBER = {
    errno.ENOSPC: Fault.DISK,
    errno.EFBIG: Fault.DISK,
    errno.EDQUOT: Fault.DISK,
    errno.EMFILE: Fault.DESCRIPTORS,
    errno.ENOMEM: Fault.MEMORY,
}
# A DataLoader's worker hands its error on as text; torch and the interpreter have words of their own.
_BY_TEXT = {
    "No space left on device": Fault.DISK,
    "File too large": Fault.DISK,
    "Too many open files": Fault.DESCRIPTORS,
    "can't start new thread": Fault.PROCESSES,
    "can't allocate memory": Fault.MEMORY,
}

# Of a GPU's memory. The rest is for what the driver keeps for each process, which torch does not count; chosen, not
# measured on a GPU.
_FOR_TORCH = 0.9
# Looks at the clock until a script is overdue.
_LOOKS = 60
# A loop that sleeps wants less than this share of a processor; a script that others crowd out wants or gets more.
_IDLE_SHARE = 0.05
# A script that works a little and sleeps a little ends after so many times its seconds by the clock on the wall.
_WALL = 20


def limit_resources(task: Task) -> None:
    """Set hard limits that a script without privileges cannot raise; none on Windows, where nobody is graded.

    RLIMIT_DATA bounds memory on the processor; with a GPU the driver maps more than it uses, and the watchdog remains.
    """
    if sys.platform == "win32":
        return
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NPROC: task.processes,
        resource.RLIMIT_FSIZE: task.scratch_bytes,
    }
    if not torch.cuda.is_available():
        limits[resource.RLIMIT_DATA] = task.memory_bytes
    for kind, value in limits.items():
        # Without a user of its own, a job's supervisor counts the user's other threads too, a moment earlier or later.
        _, most = resource.getrlimit(kind)
        bound = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(kind, (bound, bound))
    resource.setrlimit(resource.RLIMIT_NOFILE, (task.open_files, task.open_files + _RESERVED_FILES))


def limit_cards(share: float) -> None:
    """Bound what torch takes of the memory of each GPU that this process sees; none is there, none is bound.

    It sits in the script's own process: a script can lift it, and a process that it starts anew is not bound.

    Args:
        share: The part of a card that one run may have; an allocation beyond it raises torch.OutOfMemoryError.
    """
    for number in range(torch.cuda.device_count()):
        torch.cuda.set_per_process_memory_fraction(_FOR_TORCH * share, number)


def card_out_of_reach() -> str:
    """Why a script is not to begin: it shares a GPU through MPS, and none answers; a processor would take hours.

    The words are those of an error of the card, since another script may be the reason.
    """
    shared = "CUDA_MPS_PIPE_DIRECTORY" in os.environ
    return "CUDA error: no GPU answers through MPS" if shared and not torch.cuda.is_available() else ""


def take_reserve() -> None:
    """Let the worker open files where a script has used up its own: a traceback needs some."""
    if sys.platform == "win32":
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def limit_met(error: BaseException) -> Fault | None:
    """Tell which limit an error comes from; None if from none."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return Fault.MEMORY
    if isinstance(error, BlockingIOError):
        return Fault.PROCESSES
    if isinstance(error, OSError) and error.errno in _BY_NUMBER:
        return _BY_NUMBER[error.errno]
    return next((fault for text, fault in _BY_TEXT.items() if text in message_of(error)), None)


def when_overdue(
    seconds: float, act: Callable[[], object], alive: Callable[[], object] = lambda: None, at_most: float = _WALL
) -> None:
    """Do something, in another thread, once this process has worked or slept for so many seconds from now on.

    Work is counted in the process's own time, so a busy machine ends nothing early. A second on several processors is
    one second of work.

    Args:
        alive: Called at each look at the clock; it is not called while the script keeps every other thread waiting.
        at_most: Times `seconds` by the clock on the wall, whatever came of it.
    """

    def count() -> None:
        worked = slept = 0.0
        begun = wall = monotonic()
        processor, queued = process_time(), _queued()
        while worked < seconds and slept < seconds and wall - begun < at_most * seconds:
            alive()
            sleep(seconds / _LOOKS)
            passed, used, waited = monotonic() - wall, process_time() - processor, _queued() - queued
            wall, processor, queued = wall + passed, processor + used, queued + waited
            if used + max(waited, 0) < _IDLE_SHARE * passed:
                slept += passed
            else:
                worked += min(used, passed)
        act()

    threading.Thread(target=count, daemon=True, name="patience").start()


def _queued() -> float:
    """For how many seconds this process's threads have waited for a processor; 0 where the system does not say."""
    nanoseconds = 0
    for thread in Path("/proc/self/task").glob("*/schedstat"):
        try:
            nanoseconds += int(thread.read_text().split()[1])
        except (OSError, ValueError, IndexError):  # the thread has ended
            continue
    return nanoseconds / 1e9
