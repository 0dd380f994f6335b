"""The process tree of one job: what it uses, and its end."""

import contextlib
import json
import math
import os
import re
import select
import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import psutil

from grader.errors import InfrastructureError
from grader.sandbox.cgroup import Group

# A sandbox is a pid namespace: it is gone 2 ms after its first process is killed (measured on Linux 6.18).
_END_SECONDS = 30
_START_SECONDS = 30
# An empty file costs an inode: so a million of them meet a limit too.
_SPACE_OF_A_NAME = 512
# In /proc/PID/stat, counted after the name. Where a process's arguments begin in its memory tells programs from forks:
# each start of a program draws it anew, a fork keeps it, and a process without privileges cannot move it.
_PARENT, _VIRTUAL_SIZE, _ARGUMENTS_BEGIN = 1, 20, 45
# `python -P -B`, then the program.
_OPTIONS = 3
_LONGEST_COMMAND = 200
_MOST_PROGRAMS = 100


class _Family:
    """Which process began which, on the whole machine: read once for all jobs that look at about the same time.

    When sixteen jobs read it for themselves, among 400 processes, that alone kept a core busy: the networks that they
    offered at the same time came in 41 s, and since then in 2.5 s (two cores, 2026-11-27).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read_at = -math.inf
        self._children: dict[int, list[int]] = {}

    def below(self, root: int, age: float) -> list[psutil.Process]:
        """Every process that descends from one, as it was at most so many seconds ago."""
        asked = time.monotonic()
        with self._lock:
            if asked - self._read_at > age:
                self._read_at = time.monotonic()
                self._children = _children()
            children = self._children
        found, ahead, seen = [], [root], {root}
        while ahead:
            # A number that is given anew while they are read can make a process its own ancestor.
            new = [child for child in children.get(ahead.pop(), ()) if child not in seen]
            ahead += new
            seen.update(new)
            for child in new:
                with contextlib.suppress(psutil.Error):
                    found.append(psutil.Process(child))
        return found


_FAMILY = _Family()


class _Programs:
    """What a job starts besides its own process and that one's forks.

    Args:
        own: Words of the command of the process that the job is for.

    Attributes:
        found: Of each program its command, and the processor seconds that were seen.
    """

    def __init__(self, own: Sequence[str]) -> None:
        self._own, self._own_since, self._own_image = list(own), 0.0, 0
        self._above: list[psutil.Process] = []
        self.found: dict[psutil.Process, tuple[str, float]] = {}

    def look_at(self, process: psutil.Process, used: float) -> None:
        """Recognise the job's own process before a line of the script runs; from then on, note every other program."""
        image = _image(process.pid)
        if image is None:
            return
        if not self._own_image:
            # Bubblewrap's own command has these words further back.
            if process.cmdline()[_OPTIONS:][: len(self._own)] == self._own:
                self._own_since, self._own_image = process.create_time(), image
                self._above = process.parents()  # bubblewrap may have begun within the same hundredth of a second
            return
        another = image != self._own_image and process.create_time() >= self._own_since and process not in self._above
        if another and (process in self.found or len(self.found) < _MOST_PROGRAMS):
            self.found[process] = " ".join(process.cmdline())[:_LONGEST_COMMAND], used


class ProcessTree(ABC):
    """The processes of one job; none of them is left when the context is.

    Args:
        process: The job's first process on our side: bwrap, or the supervisor.
        program: Words of the command of the process that the job is for.
        group: The job's cgroup, if it has one.
        disk: Folders on the disk that only the job writes to.

    Raises:
        InfrastructureError: The tree does not end.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        program: Sequence[str],
        group: Group | None,
        disk: tuple[Path, ...] = (),
    ) -> None:
        self._process, self._group, self._disk = process, group, disk
        self._programs = _Programs(program)
        self._kills_before = _kills_for_memory()
        self.exit_descriptor = os.pidfd_open(process.pid)
        self._used: dict[psutil.Process, float] = {}
        self.memory = self.written = 0
        self.processor_seconds = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.kill()
        finally:
            self.close()

    @property
    def out_of_memory(self) -> bool:
        """Whether the kernel ended the job at the memory limit of its cgroup."""
        return self._group is not None and self._group.out_of_memory()

    @property
    def killed_for_memory(self) -> bool:
        """Whether the kernel ended a process for want of memory: in the job's group, else anywhere on the machine."""
        in_group = self._group.killed_for_memory() if self._group is not None else None
        return _kills_for_memory() > self._kills_before if in_group is None else in_group

    @property
    def programs(self) -> tuple[tuple[str, float], ...]:
        """As `Execution.programs`; each with the processor seconds that were seen."""
        return tuple(self._programs.found.values())

    def exit_code(self) -> int:
        """As a shell counts; the tree must have ended."""
        code = self._process.wait()
        # bwrap itself says 128 + n of what it ran, unless the kernel ended it with its whole group.
        return code if code >= 0 else 128 - code

    def close(self) -> None:
        """Let go of what names the processes."""
        os.close(self.exit_descriptor)

    @abstractmethod
    def kill(self) -> None:
        """End the tree and wait for its end; may be called again."""

    def look(self, age: float = 0) -> None:
        """Measure the whole tree: resident bytes, where shared pages count once for each process; processor seconds.

        A process that began in the last `age` seconds may be left out.

        What has ended counts in two ways: as the kernel tells it of children that a parent waited for, and as we saw it
        before. A script can dodge either, so the larger one counts.
        """
        memory, with_children = 0, 0.0
        for process in _FAMILY.below(self._process.pid, age):
            with contextlib.suppress(psutil.Error), process.oneshot():
                memory += process.memory_info().rss
                times = process.cpu_times()
                self._used[process] = times.user + times.system
                with_children += times.user + times.system + times.children_user + times.children_system
                self._programs.look_at(process, self._used[process])
        if self._group is not None:
            with_children = max(with_children, self._group.processor_seconds())
        self.memory = memory
        self.processor_seconds = max(self.processor_seconds, with_children, sum(self._used.values()))
        self.look_at_disk()

    def look_at_disk(self) -> None:
        """Measure the folders on the disk."""
        self.written = max((_bytes_in(folder) for folder in self._disk), default=0)


class NamespaceTree(ProcessTree):
    """The processes below one bwrap.

    Args:
        status: Our end of the pipe on which bwrap names the sandbox's first process.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], program: Sequence[str], group: Group | None, status: int
    ) -> None:
        super().__init__(process, program, group)
        self._first = first_process(status)

    def close(self) -> None:
        """Let go of what names the processes."""
        super().close()
        if self._first is not None:
            os.close(self._first)

    def kill(self) -> None:
        """End the tree and wait for its end.

        The kernel ends a pid namespace with its first process, and that process counts as ended only after all others.
        bwrap itself may end before: it does not wait for what the script left running.
        """
        if self._first is None:
            self._process.kill()
        else:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._first, signal.SIGKILL)
            if not _readable(self._first, _END_SECONDS):
                raise InfrastructureError("a process of the sandbox does not end; it may be stuck in a driver")
        self._process.wait(_END_SECONDS)


class SupervisedTree(ProcessTree):
    """The processes below one supervisor.

    Args:
        control: Our end of the pipe that the supervisor listens to; closed with the tree.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        program: Sequence[str],
        group: Group | None,
        disk: tuple[Path, ...],
        control: int,
    ) -> None:
        super().__init__(process, program, group, disk)
        self._control: int | None = control

    def kill(self) -> None:
        """Have the supervisor end the job, and wait for its own end."""
        if self._control is not None:
            os.close(self._control)
            self._control = None
        if not _readable(self.exit_descriptor, _END_SECONDS):
            self._process.kill()
            raise InfrastructureError("a process of the sandbox does not end; it may be stuck in a driver")
        self._process.wait(_END_SECONDS)


def first_process(status: int) -> int | None:
    """A pidfd of the sandbox's first process; None if bwrap ended before there was one.

    Args:
        status: Our non-blocking end of bwrap's status pipe. Its first line is JSON and comes in several pieces.
    """
    line = b""
    while b"\n" not in line:
        if not _readable(status, _START_SECONDS):
            return None
        piece = os.read(status, 4096)
        if not piece:
            return None
        line += piece
    with contextlib.suppress(ValueError, KeyError, ProcessLookupError):
        return os.pidfd_open(json.loads(line.split(b"\n")[0])["child-pid"])
    return None


def _children() -> dict[int, list[int]]:
    """The processes that each process of this machine began and that did not end."""
    children: dict[int, list[int]] = {}
    for pid in psutil.pids():
        if fields := _status(pid):
            children.setdefault(int(fields[_PARENT]), []).append(pid)
    return children


def _image(pid: int) -> int | None:
    """A number that a process shares with its forks alone; None for one that has ended, 0 where it is hidden."""
    fields = _status(pid)
    return int(fields[_ARGUMENTS_BEGIN]) if fields and int(fields[_VIRTUAL_SIZE]) else None


def _status(pid: int) -> list[bytes]:
    """What the kernel says of a process, from behind its name on; empty where there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return []


def _kills_for_memory() -> int:
    """How often the kernel ended a process of this machine for want of memory; 0 where it does not tell."""
    with contextlib.suppress(OSError):
        if found := re.search(r"^oom_kill (\d+)$", Path("/proc/vmstat").read_text(), re.MULTILINE):
            return int(found[1])
    return 0


def _readable(descriptor: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _bytes_in(folder: Path) -> int:
    """Disk space of all files below a folder, the space of each file's name included; links are not followed."""
    total, folders = 0, [str(folder)]
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    total += _SPACE_OF_A_NAME + entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
    return total
