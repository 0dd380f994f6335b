"""When a script has had its time: counted in its own processor time, so that a busy machine ends nothing early."""

import threading
from collections.abc import Callable
from pathlib import Path

# By their names, which a script cannot change here.
from time import monotonic, process_time, sleep

_TICKS = 60
# A loop that sleeps wants less than this share of a processor; a script that others crowd out wants or gets more.
_IDLE_SHARE = 0.05
# Whoever works a little and sleeps a little comes to an end too.
_WALL = 20


def when_overdue(
    seconds: float, act: Callable[[], object], alive: Callable[[], object] = lambda: None, at_most: float = _WALL
) -> None:
    """Do something, in another thread, once this process has worked or slept for so many seconds from now on.

    A second on several processors is one second of work.

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
            sleep(seconds / _TICKS)
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
