"""The ladder of isolation levels: each is attacked, and the strongest that holds is taken.

The attacks are harmless and run before anything else. One that succeeds is a hole.
"""

import os
import shutil
import socket
import tempfile
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from grader.assignment import Limits
from grader.errors import InfrastructureError, UserError
from grader.records import IsolationLevel
from grader.sandbox import fallback, seccomp
from grader.sandbox.cgroup import Refused, find_cgroup
from grader.sandbox.execute import execute
from grader.sandbox.job import Ending, Isolation, Job, runtime

_PROBE_SECONDS = 20.0
PATH_SOCKET, HIDDEN_MEMORY = "opens a path socket", "holds memory that nothing maps"
# Each line tries one thing that should fail; `libc` calls give 0 where they succeed, and then nothing is divided by it.
PROBES = {
    "reads a file of the grader's user": "open({witness!r}).read()",
    "changes a file of the grader's user": "open({witness!r}, 'a')",
    "writes beside the scratch": "open(code + '/witness', 'w')",
    "writes into the file system's root": "open('/witness', 'w')",
    "changes the submission": "open(job + '/submission', 'w')",
    "sees other processes": "os.kill({pid}, 0)",
    "reads the grader's variables": "open('/proc/{pid}/environ').read()",
    "traces the grader": "libc.ptrace(0x4206, {pid}, None, None) and 1 / 0",
    "reaches the network": "socket.create_connection(('127.0.0.1', {port}), timeout=2)",
    # That nobody is there comes back later: on a busy machine once not within 0.1 s, which looked like a leak.
    "sends a datagram": "udp.connect(('127.0.0.1', {udp})), [(udp.send(b'x'), time.sleep(0.1)) for _ in range(20)]",
    PATH_SOCKET: "socket.socket(socket.AF_UNIX).connect({socket!r})",
    "opens an abstract socket": "socket.socket(socket.AF_UNIX).connect({abstract!r})",
    "becomes root": "os.getuid() and os.setuid(0)",
    "sets the core pattern": "open('/proc/sys/kernel/core_pattern', 'w')",
    "mounts a file system": "libc.mount(b'x', os.getcwd().encode(), b'tmpfs', 0, None) and 1 / 0",
    "makes a user namespace": "libc.unshare(0x10000000) and 1 / 0",
    HIDDEN_MEMORY: "os.memfd_create('hidden')",
}
_BEFORE = """import ctypes, os, socket, sys, time
job, code = sys.argv[-2], os.environ['PYTHONPATH'].split(os.pathsep)[0]
libc = ctypes.CDLL(None, use_errno=True)
udp = None
try:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
except OSError:
    pass
"""
# Holds memory in the one way that no look at the processes shows.
_HOG = """import os
hidden = os.memfd_create('hidden')
for _ in range(256):
    os.write(hidden, bytes(1 << 20))
print('held')
"""

INSTALL_BUBBLEWRAP = "sudo apt-get install bubblewrap"
INSTALL_SECCOMP = "sudo apt-get install libseccomp2"
_APPARMOR = "AppArmor restricts user namespaces: run as root, or allow them to bwrap in an AppArmor profile"
# By words of what bubblewrap says where it does not start; the first of these counts.
_WAYS_OUT = {
    "Unknown option": "install bubblewrap 0.8 or newer, for example from your distribution's next release",
    "uid map": _APPARMOR,
    "RTM_NEWADDR": _APPARMOR,
    "namespace": "user namespaces are switched off: run as root, or `sudo sysctl -w user.max_user_namespaces=10000`",
    "mount proc": "this container masks /proc: run outside it, or start it with an unmasked /proc",
}
_LEVELS = tuple(IsolationLevel)
# What each level may let through; every other probe that succeeds is a leak.
_OPEN = {
    IsolationLevel.STRONG: {HIDDEN_MEMORY},
    IsolationLevel.PARTIAL: {HIDDEN_MEMORY, PATH_SOCKET},
    IsolationLevel.NONE: set(PROBES),
}
_CAVEATS = {HIDDEN_MEMORY: "a shared-memory hog is not bounded", PATH_SOCKET: "path sockets are not isolated"}


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of the probes.

    Attributes:
        succeeded: Names of those that got through.
        failure: The last line that was printed where the sandbox did not start; empty where it did.
    """

    succeeded: tuple[str, ...] = ()
    failure: str = ""


@contextmanager
def probe_program() -> Iterator[str]:
    """A Python program that prints the name of each probe that succeeds, then `done`, while its targets are open."""
    with (
        tempfile.TemporaryDirectory(prefix="grader-probe-") as name,
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        socket.socket(socket.AF_UNIX) as local,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        witness, path, hidden = Path(name, "witness"), Path(name, "socket"), f"\0grader-{uuid.uuid4().hex}"
        witness.write_text("secret")
        datagrams.bind(("127.0.0.1", 0))
        for listener, address in ((local, str(path)), (abstract, hidden)):
            listener.bind(address)
            listener.listen()
        targets = {
            "witness": str(witness),
            "pid": os.getpid(),
            "port": server.getsockname()[1],
            "udp": datagrams.getsockname()[1],
            "socket": str(path),
            "abstract": hidden,
        }
        attempts = (
            f"try:\n    {code.format(**targets)}\n    print({name!r})\nexcept Exception:\n    pass\n"
            for name, code in PROBES.items()
        )
        yield _BEFORE + "".join(attempts) + "print('done')\n"


def probe(isolation: Isolation, limits: Limits) -> Probed:
    """Run every probe under one kind of isolation."""
    with probe_program() as program:
        try:
            ending, lines = _run(isolation, limits, program)
        except InfrastructureError as error:
            return Probed(failure=str(error))
    if ending is not Ending.EXITED or not lines or lines[-1] != "done":
        return Probed(failure=lines[-1] if lines else "it said nothing")
    return Probed(succeeded=tuple(line for line in lines if line in PROBES))


def _hidden_memory_is_bounded(isolation: Isolation, limits: Limits) -> bool:
    """Whether 256 MB that nothing maps are too much for a job that may have 64."""
    small = limits.model_copy(update={"memory_mb": 48, "scratch_mb": 4, "shared_memory_mb": 8})
    return _run(isolation, small, _HOG)[0] is Ending.MEMORY_LIMIT


def _run(isolation: Isolation, limits: Limits, program: str) -> tuple[Ending, list[str]]:
    with tempfile.TemporaryDirectory(prefix="grader-probe-") as name:
        folder = Path(name, "job")
        folder.mkdir(mode=0o755)
        (folder / "submission").write_text("")
        job = Job(folder, limits, ready_seconds=_PROBE_SECONDS)
        execution = execute(isolation, job, threading.Event(), ("-c", program))
    return execution.ending, execution.log.decode(errors="replace").splitlines()


@dataclass(frozen=True, slots=True)
class Rung:
    """One level of the ladder on this machine.

    Attributes:
        isolation: None where the level cannot be had.
        refusal: Why it cannot; empty where it can.
        raise_by: The one command that would change that; empty where none is known.
        succeeded: The probes that got through.
    """

    level: IsolationLevel
    isolation: Isolation | None
    refusal: str = ""
    raise_by: str = ""
    succeeded: tuple[str, ...] = ()


def find_isolation(limits: Limits, least: IsolationLevel = IsolationLevel.STRONG) -> Isolation:
    """Take the strongest level that holds.

    Args:
        least: The weakest that will do; `none` is taken only where this names it.

    Raises:
        UserError: No level from `least` on holds here; nothing may be graded.
    """
    refused: list[Rung] = []
    for rung in rungs(limits):
        if _LEVELS.index(rung.level) > _LEVELS.index(least):
            break
        if rung.isolation is not None:
            return rung.isolation
        refused.append(rung)
    last = refused[-1]
    way_out = f": {last.raise_by}" if last.raise_by else ""
    raise UserError(
        f"{last.refusal}, but the assignment asks for isolation of at least {least}, so nothing was graded{way_out} "
        "(`make doctor` says what this machine offers)"
    )


def rungs(limits: Limits) -> Iterator[Rung]:
    """Every level, strongest first; each is tried only when it is asked for."""
    strong = _strong(limits)
    yield _full(strong, limits)
    yield strong
    yield _partial(limits)
    yield _none(limits)


def _strong(limits: Limits) -> Rung:
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return Rung(IsolationLevel.STRONG, None, "bubblewrap is missing", INSTALL_BUBBLEWRAP)
    bare = Isolation(IsolationLevel.STRONG, "", bwrap=bwrap, filtered=not seccomp.missing())
    return _probed(bare, _parts_of_strong(bare), limits)


def _parts_of_strong(strong: Isolation) -> str:
    user = "separate user for each slot" if os.geteuid() == 0 else "user namespace"
    return f"bubblewrap, {user}, {'system call filter, ' if strong.filtered else ''}watchdog"


def _full(strong: Rung, limits: Limits) -> Rung:
    if strong.isolation is None:
        return Rung(IsolationLevel.FULL, None, strong.refusal, strong.raise_by)
    try:
        cgroup = find_cgroup()
    except Refused as refused:
        return Rung(IsolationLevel.FULL, None, f"there is no cgroup to bound a job: {refused}", refused.raise_by)
    full = replace(strong.isolation, level=IsolationLevel.FULL, cgroup=cgroup)
    # The probes run again inside the group, which shows that a job starts there at all.
    found = probe(full, limits)
    if found.failure or not set(found.succeeded) <= set(strong.succeeded):
        return Rung(IsolationLevel.FULL, None, f"no job runs in a cgroup here ({found.failure or 'a probe got out'})")
    if not strong.isolation.filtered and not _hidden_memory_is_bounded(full, limits):
        return Rung(IsolationLevel.FULL, None, "the cgroup does not bound memory")
    parts = (f"cgroup for {', '.join(sorted(cgroup.controllers))}", _parts_of_strong(full))
    description = _described(full, parts, strong.succeeded)
    return Rung(IsolationLevel.FULL, replace(full, description=description), succeeded=strong.succeeded)


def _partial(limits: Limits) -> Rung:
    if why := fallback.landlock_missing():
        return Rung(IsolationLevel.PARTIAL, None, why)
    if why := seccomp.missing():
        return Rung(IsolationLevel.PARTIAL, None, why, INSTALL_SECCOMP)
    user = "separate user for each slot, " if os.geteuid() == 0 else ""
    bare = Isolation(IsolationLevel.PARTIAL, "", filtered=True)
    return _probed(bare, f"Landlock, system call filter, {user}supervisor, watchdog", limits)


def _none(limits: Limits) -> Rung:
    return _probed(Isolation(IsolationLevel.NONE, ""), "limits only, supervisor, watchdog", limits)


def _probed(bare: Isolation, parts: str, limits: Limits) -> Rung:
    """Attack one level; say what it is made of and what it does not hold."""
    level = bare.level
    if not bare.bwrap and os.geteuid() == 0 and (closed := _closed_folder()):
        why = f"the level {level} runs jobs as another user, who cannot enter {closed}, where Python is"
        return Rung(level, None, why, "make setup PYTHON=/usr/bin/python3")
    found = probe(bare, limits)
    if found.failure:
        what = "bubblewrap" if bare.bwrap else f"the level {level}"
        return Rung(level, None, f"{what} does not start here ({found.failure})", _way_out(found.failure))
    if leaks := [name for name in found.succeeded if name not in _OPEN[level]]:
        refusal = f"this machine's sandbox leaks: a probe {'; a probe '.join(leaks)}"
        return Rung(level, None, refusal, "" if bare.filtered else INSTALL_SECCOMP, found.succeeded)
    described = replace(bare, description=_described(bare, [parts], found.succeeded))
    return Rung(level, described, succeeded=found.succeeded)


def _described(isolation: Isolation, parts: Sequence[str], succeeded: Sequence[str]) -> str:
    """Name a level, what it is made of, how many probes it held, and what it does not hold."""
    # A cgroup bounds hidden memory, which no other level does; `_full` has seen it.
    bounded = {HIDDEN_MEMORY} if isolation.level is IsolationLevel.FULL else set()
    caveats = [_CAVEATS[name] for name in succeeded if name in _CAVEATS and name not in bounded]
    if not isolation.bwrap:
        caveats += ["the disk is watched, not bounded", "files in /dev/shm are not bounded"]
    if isolation.level is IsolationLevel.NONE:
        caveats = [*(name for name in succeeded if name not in _CAVEATS), *caveats, "grades are provisional"]
    held = f"{len(PROBES) - len(succeeded)} of {len(PROBES)} probes held"
    return f"{isolation.level} ({'; '.join([*parts, held, *caveats])})"


def _closed_folder() -> Path | None:
    """A folder above the interpreter or its packages that only its owner may pass."""
    folders = (folder for path in runtime() for folder in reversed(path.parents))
    return next((folder for folder in folders if not folder.stat().st_mode & 0o001), None)


def _way_out(said: str) -> str:
    """What helps where bubblewrap said this."""
    known = (way_out for words, way_out in _WAYS_OUT.items() if words in said)
    return next(known, "run the grader on the machine itself rather than in a container")
