"""The process that starts one job on the levels without namespaces, and ends it with all that it leaves behind.

It is outside of what confines the job: Landlock for its files, the filter of system calls, and limits. It adopts every
process that the job leaves, and ends them all when the job ends, when the grader closes its pipe, or when the grader is
gone.
"""

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import psutil

from grader.sandbox import seccomp

_NOT_STARTED = 72
_PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 4, 36, 38
_REAP_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Specification:
    """What a supervisor starts, as JSON on its command line.

    Attributes:
        uid: The job's user and group; None: the supervisor's own.
        control: A descriptor whose other end the grader holds.
        confined: Landlock and the filter of system calls; without it only limits and another user hold.
        hidden_memory: Allow memory that no process maps.
        readable: Files, or folders with all in them, to be read and executed.
        listable: Folders whose names may be listed.
        writable: Folders in which anything but devices may be made.
        devices: Files to be read, written and controlled.
        sockets: Folders whose sockets and named pipes may be used, while no file in them may be changed.
    """

    command: list[str]
    environment: dict[str, str]
    folder: str
    uid: int | None
    control: int
    kept_descriptors: list[int]
    processes: int
    file_bytes: int
    confined: bool
    hidden_memory: bool
    readable: list[str]
    listable: list[str]
    writable: list[str]
    devices: list[str]
    sockets: list[str]


def main() -> NoReturn:
    """Be the supervisor of the one job that the command line specifies."""
    os._exit(_supervise(Specification(**json.loads(sys.argv[1]))))


def _supervise(specification: Specification) -> int:
    """Run the job; return its exit code as a shell counts, once nothing of it is left."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    # Nobody of the same user may read or trace the supervisor.
    _prctl(_PR_SET_DUMPABLE, 0)
    first = os.fork()
    if first == 0:
        _become(specification)
    _let_go(specification)
    status: int | None = None
    ended = os.pidfd_open(first)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(specification.control, select.POLLIN | select.POLLHUP)
    while status is None:
        signalled = bool(poll.poll(_REAP_SECONDS * 1000))
        found = _reap().get(first)
        status = found if found is not None else (-signal.SIGKILL if signalled else None)
    _end_all()
    return 128 - status if status < 0 else status


def _become(specification: Specification) -> NoReturn:
    """In the child: give up whatever the job must not have, then become the job."""
    try:
        os.setsid()
        for kind, value in (
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_NPROC, specification.processes),
            (resource.RLIMIT_FSIZE, specification.file_bytes),
        ):
            resource.setrlimit(kind, (value, value))
        os.chdir(specification.folder)
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        rules = None
        if specification.confined:
            # Made now: loading the library reads files that the job may not.
            rules = seccomp.make_filter(hidden_memory=specification.hidden_memory, own_network=False)
            restrict(specification)
        # After the rules, which name folders that the job's user could not reach by itself.
        if specification.uid is not None:
            os.setgroups([])
            os.setresgid(*(specification.uid,) * 3)
            os.setresuid(*(specification.uid,) * 3)
        if rules is not None:
            rules.load()
        for descriptor in specification.kept_descriptors:
            os.set_inheritable(descriptor, True)
        os.set_inheritable(specification.control, False)
        os.execve(specification.command[0], specification.command, specification.environment)
    except BaseException as error:
        print(f"the job could not be confined: {error!r}", file=sys.stderr, flush=True)
    os._exit(_NOT_STARTED)


def restrict(job: Specification) -> None:
    """Confine this thread, and whatever it starts, to the job's files and its own in /proc, for good."""
    from landlockpy import AccessFS, Ruleset, Scope

    file_read = AccessFS.READ_FILE | AccessFS.EXECUTE
    write = AccessFS.READ_FILE | AccessFS.WRITE_FILE | AccessFS.TRUNCATE
    make = AccessFS.MAKE_REG | AccessFS.MAKE_DIR | AccessFS.MAKE_SYM | AccessFS.MAKE_FIFO | AccessFS.MAKE_SOCK
    remove = AccessFS.REMOVE_FILE | AccessFS.REMOVE_DIR | AccessFS.REFER | AccessFS.RESOLVE_UNIX
    with Ruleset(scoped=Scope.SIGNAL | Scope.ABSTRACT_UNIX_SOCKET) as rules:
        for path in (*job.readable, f"/proc/{os.getpid()}"):
            rules.allow_path(path, file_read | AccessFS.READ_DIR if Path(path).is_dir() else file_read)
        for path in job.listable:
            rules.allow_path(path, AccessFS.READ_DIR)
        for path in job.writable:
            rules.allow_path(path, write | make | remove | AccessFS.READ_DIR)
        for path in job.devices:
            rules.allow_path(path, write | AccessFS.IOCTL_DEV)
        for path in job.sockets:
            rules.allow_path(path, AccessFS.READ_FILE | AccessFS.READ_DIR | AccessFS.RESOLVE_UNIX)
            for pipe in filter(Path.is_fifo, Path(path).iterdir()):
                rules.allow_path(pipe, AccessFS.READ_FILE | AccessFS.WRITE_FILE)
        rules.restrict()


def _let_go(specification: Specification) -> None:
    """Close the job's pipes here, so that the grader sees when the job has closed its own."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (1, 2):
        os.dup2(nothing, descriptor)
    for descriptor in (nothing, *specification.kept_descriptors):
        os.close(descriptor)


def _reap() -> dict[int, int]:
    """Collect whatever has ended: exit codes by pid, negative for a signal."""
    found = {}
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            found[pid] = os.waitstatus_to_exitcode(status)
    return found


def _end_all() -> None:
    """Kill until nothing is left; what is orphaned meanwhile becomes ours to kill.

    It never returns if a process does not end: the grader waits for the supervisor, and says so.
    """
    with contextlib.suppress(ChildProcessError):
        while True:
            for process in _stopped():
                with contextlib.suppress(psutil.Error):
                    process.send_signal(signal.SIGKILL)
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
            time.sleep(0.005)


def _stopped() -> set[psutil.Process]:
    """Every descendant, standing still: while some run, they could fork themselves past a kill."""
    seen: set[psutil.Process] = set()
    while fresh := set(psutil.Process().children(recursive=True)) - seen:
        for process in fresh:
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGSTOP)
        seen |= fresh
    return seen


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
