"""What a sandbox is asked to run, under which isolation, and what it says afterwards."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import psutil

from grader.assignment import Limits
from grader.records import IsolationLevel
from grader.sandbox.cgroup import Cgroup


@dataclass(frozen=True, slots=True)
class Isolation:
    """A level of the ladder, as it was found to hold here.

    Attributes:
        description: One line for people and for the ledger.
        bwrap: The bubblewrap program; empty on the two levels without it.
        filtered: System calls are filtered.
        cgroup: Where groups with limits can be made; None where they cannot.
    """

    level: IsolationLevel
    description: str
    bwrap: str = ""
    filtered: bool = False
    cgroup: Cgroup | None = None

    def processes(self, limits: Limits) -> int:
        """The kernel's limit on processes for a job; without a user id of its own, this user's others come on top."""
        if self.bwrap or os.geteuid() == 0:
            return limits.processes
        return limits.processes + _threads_of_this_user()


@dataclass(frozen=True, slots=True)
class Job:
    """One run of the worker.

    Attributes:
        folder: Holds the submission, its companions and task.json; read-only inside, at /job.
        training_set: Holds x_train.npy and y_train.npy; read-only inside, at /data. None: no data.
        images: Bytes that are sent once the job is ready; empty: nothing is asked.
        answer_bytes: How many bytes must come back for `images`, neither more nor fewer.
        network_bytes: The most bytes of a network that the job offers; 0: it may offer none.
        ready_seconds: Wall time from its start until its main part is over, or it is ready, or it ends.
        answer_seconds: Wall time from then on until it is ready or offers a network, and again until it has answered.
        threads: Processor threads that torch may use.
        slot: Number of the slot, from 0; a check and the training that waits for it share one.
        card: The GPU, as CUDA_VISIBLE_DEVICES names it; empty: whatever there is.
        mps_pipe: The folder with the sockets of an MPS server, to which it may connect; None: it sees none.
        news: A line of the report with these bytes in it is passed on and not kept; empty: all lines are kept.
    """

    folder: Path
    limits: Limits
    ready_seconds: float
    answer_seconds: float = 0.0
    training_set: Path | None = None
    images: memoryview = field(default=memoryview(b""), repr=False)
    answer_bytes: int = 0
    network_bytes: int = 0
    threads: int = 1
    slot: int = 0
    card: str = ""
    mps_pipe: Path | None = None
    news: bytes = b""

    @property
    def processor_seconds(self) -> float:
        """Processor time that all processes of the job may use together."""
        return self.limits.processor_share * self.threads * (self.ready_seconds + self.answer_seconds)


@dataclass(frozen=True, slots=True)
class Listener:
    """Hears a job while it runs, in the thread that runs it, so both must be quick.

    Attributes:
        report: Gets the last complete lines of each piece that the worker sent, unvalidated.
        log: Gets each piece of what the script prints.
    """

    report: Callable[[bytes], None]
    log: Callable[[bytes], None]


class Ending(StrEnum):
    """How a job ended, or that it waits. Only EXITED means that it ended by itself."""

    WAITS = "waits"
    EXITED = "exited"
    WALL_LIMIT = "wall_limit"
    MEMORY_LIMIT = "memory_limit"
    OUTPUT_LIMIT = "output_limit"
    PROCESSOR_LIMIT = "processor_limit"
    DISK_LIMIT = "disk_limit"
    PROTOCOL = "protocol"


@dataclass(frozen=True, slots=True)
class Execution:
    """What is known of a job after its whole process tree is gone, or while it waits.

    Attributes:
        exit_code: As a shell counts: 128 + n where signal n ended it.
        answer: `Job.answer_bytes` bytes, or None if they did not all come.
        network: What the job offered, unvalidated; None where it does not wait for what the grader makes of it.
        report: Lines that the worker sent, less the news; unvalidated, since the student's code shares its process.
        said: How many such lines there were; where there were too many, `report` lacks those in the middle.
        log: What the script printed, shortened in the middle to the log limit.
        killed_for_memory: The kernel ended a process for want of memory meanwhile, by its own count: in the job's
            group, or on the whole machine where it has none.
        seconds: Wall time from its start until its main part was over, or until it ended.
        processor_seconds: Of all processes of the job, in that time.
        programs: The command of each other program that the job started, and its processor seconds; a fork of the job
            itself is none. Empty where the kernel does not tell.
    """

    ending: Ending
    exit_code: int
    answer: bytes | None = field(repr=False)
    report: tuple[bytes, ...] = field(repr=False)
    log: bytes = field(repr=False)
    network: bytes | None = field(default=None, repr=False)
    said: int = 0
    killed_for_memory: bool = False
    seconds: float = 0.0
    processor_seconds: float = 0.0
    programs: tuple[tuple[str, float], ...] = ()


def _threads_of_this_user() -> int:
    own = os.getuid()
    counted = 0
    for process in psutil.process_iter(["uids", "num_threads"]):
        uids = process.info["uids"]
        counted += process.info["num_threads"] or 0 if uids is not None and uids.real == own else 0
    return counted
