"""The process tree of one job: its memory, its end."""

import contextlib
import json
import os
import select
import signal
import subprocess
from abc import ABC, abstractmethod
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


class ProcessTree(ABC):
    """The processes of one job; none of them is left when the context is.

    Args:
        process: The job's first process on our side: bwrap, or the keeper.
        group: The job's cgroup, if it has one.
        disk: Folders on the disk that only the job writes to.

    Raises:
        InfrastructureError: The tree does not end.
    """

    def __init__(self, process: subprocess.Popen[bytes], group: Group | None, disk: tuple[Path, ...] = ()) -> None:
        self._process, self._group, self._disk = process, group, disk
        self._root = psutil.Process(process.pid)
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

    def exit_code(self) -> int:
        """As a shell counts; the tree must have ended."""
        code = self._process.wait()
        # bwrap says 128 + n of what it ran; where the kernel ended a whole group, bwrap was ended itself.
        return code if code >= 0 else 128 - code

    def close(self) -> None:
        """Let go of what names the processes."""
        os.close(self.exit_descriptor)

    @abstractmethod
    def kill(self) -> None:
        """End the tree and wait for its end; may be called again."""

    def look(self) -> None:
        """Measure the whole tree: resident bytes, where shared pages count once for each process; processor seconds.

        Of the time used by what has ended, the kernel tells what a parent waited for, and we remember what we saw:
        each alone can be dodged, so the larger counts.
        """
        memory, with_children = 0, 0.0
        with contextlib.suppress(psutil.Error):
            for process in self._root.children(recursive=True):
                with contextlib.suppress(psutil.Error), process.oneshot():
                    memory += process.memory_info().rss
                    times = process.cpu_times()
                    self._used[process] = times.user + times.system
                    with_children += times.user + times.system + times.children_user + times.children_system
        if self._group is not None:
            with_children = max(with_children, self._group.processor_seconds())
        self.memory = memory
        self.processor_seconds = max(self.processor_seconds, with_children, sum(self._used.values()))
        self.written = max((_bytes_in(folder) for folder in self._disk), default=0)


class NamespaceTree(ProcessTree):
    """The processes below one bwrap.

    Args:
        status: Our end of the pipe on which bwrap names the sandbox's first process.
    """

    def __init__(self, process: subprocess.Popen[bytes], group: Group | None, status: int) -> None:
        super().__init__(process, group)
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


class KeptTree(ProcessTree):
    """The processes below one keeper.

    Args:
        control: Our end of the pipe that the keeper listens to; closed with the tree.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], group: Group | None, disk: tuple[Path, ...], control: int
    ) -> None:
        super().__init__(process, group, disk)
        self._control: int | None = control

    def kill(self) -> None:
        """Have the keeper end what it keeps, and wait for its own end."""
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
