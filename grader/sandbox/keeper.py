"""Keeps one job without a pid namespace: `python -m grader.sandbox.keeper SPECIFICATION`, a process of its own.

It starts the job, adopts every process that the job leaves behind, and ends them all when the job ends, when the
grader closes its pipe, or when the grader is gone. It stays outside of what confines the job.
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
from typing import NoReturn

import psutil

from grader.sandbox import landlock, seccomp
from grader.sandbox.specification import Specification

_NOT_STARTED = 72
_PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 4, 36, 38
_REAP_SECONDS = 0.2


def keep(specification: Specification) -> int:
    """Run the job; return its exit code as a shell counts, once nothing of it is left."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    # Nobody of the same user may read or trace the keeper.
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
    """In the child: give up whatever the job must not have, then become it."""
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
            landlock.restrict(
                (*specification.readable, f"/proc/{os.getpid()}"),
                specification.listable,
                specification.writable,
                specification.devices,
            )
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

    Does not come back from a process that will not die: the grader waits for us, and says so.
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


if __name__ == "__main__":
    os._exit(keep(Specification(**json.loads(sys.argv[1]))))
