"""What keeps submissions apart from everything else on this machine."""

import os
from dataclasses import dataclass

import psutil

from grader.assignment import Limits
from grader.records import IsolationLevel
from grader.sandbox.cgroup import Cgroup


@dataclass(frozen=True, slots=True)
class Isolation:
    """One rung of the ladder, as it was found to hold here.

    Attributes:
        description: One line for people and for every result.
        bwrap: The bubblewrap program; empty on the two rungs without it.
        filtered: System calls are filtered.
        cgroup: Where groups with limits can be made; None where they cannot.
    """

    level: IsolationLevel
    description: str
    bwrap: str = ""
    filtered: bool = False
    cgroup: Cgroup | None = None

    def processes(self, limits: Limits) -> int:
        """The kernel's limit on processes that leaves a job its own: without a user of its own, others count too."""
        if self.bwrap or os.geteuid() == 0:
            return limits.processes
        return limits.processes + _threads_of_this_user()


def _threads_of_this_user() -> int:
    own = os.getuid()
    counted = 0
    for process in psutil.process_iter(["uids", "num_threads"]):
        uids = process.info["uids"]
        counted += process.info["num_threads"] or 0 if uids is not None and uids.real == own else 0
    return counted
