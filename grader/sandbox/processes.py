"""The process tree of one job: its memory, its end."""

import contextlib
import json
import os
import select
import signal
import subprocess
from typing import Self

import psutil

from grader.errors import InfrastructureError

# A sandbox is a pid namespace: it is gone 2 ms after its first process is killed (measured on Linux 6.18).
_END_SECONDS = 30
_START_SECONDS = 30


class ProcessTree:
    """The processes below one bwrap; none of them is left when the context is.

    Args:
        process: bwrap itself.
        status: Our end of the pipe on which bwrap names the sandbox's first process.

    Raises:
        InfrastructureError: The tree does not end.
    """

    def __init__(self, process: subprocess.Popen[bytes], status: int) -> None:
        self._process = process
        self._root = psutil.Process(process.pid)
        self.exit_descriptor = os.pidfd_open(process.pid)
        self._first = first_process(status)
        self.peak_memory = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.kill()
        finally:
            os.close(self.exit_descriptor)
            if self._first is not None:
                os.close(self._first)

    def memory(self) -> int:
        """Resident bytes of the whole tree; pages that processes share count once for each."""
        total = 0
        with contextlib.suppress(psutil.Error):
            for process in self._root.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    total += process.memory_info().rss
        self.peak_memory = max(self.peak_memory, total)
        return total

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
