"""The levels without namespaces: a folder for one job, Landlock for its files, and a supervisor to end it.

The supervisor is a process of its own, outside of what confines the job. It starts the job, adopts every process that
the job leaves behind, and ends them all when the job ends, when the grader closes its pipe, or when the grader is gone.
"""

import contextlib
import ctypes
import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import NoReturn

import psutil

from grader.records import IsolationLevel
from grader.sandbox import seccomp
from grader.sandbox.folders import own_folder
from grader.sandbox.job import (
    Isolation,
    Job,
    environment,
    gpu_devices,
    hidden_folders,
    package_folders,
    python_command,
    runtime,
    user_id,
    worker_code,
)

# What torch asks about the machine; none of it says anything about other processes.
_MACHINE = (
    *("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/sys/vm/overcommit_memory", "/proc/driver"),
    *("/sys/devices/system", "/etc/ld.so.cache", "/etc/localtime", "/usr/share/zoneinfo"),
)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_SHARED_MEMORY = "/dev/shm"
_SUPERVISOR = "from grader.sandbox.fallback import main; main()"

# From this version of Landlock on, signals and abstract sockets end at the sandbox's edge (Linux 6.12).
_NEEDED_ABI = 6

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


@contextmanager
def job_folder(job: Job) -> Iterator[Path]:
    """A folder that the job's user can reach: `job` and `code` to read, `scratch` and `tmp` to write."""
    try:
        with own_folder(Path(tempfile.gettempdir()), "grader-job-", _remove) as base:
            base.chmod(0o711)
            shutil.copytree(job.folder, base / "job")
            _lay_out_code(base / "code" / "grader")
            for name in ("scratch", "tmp"):
                (base / name).mkdir(mode=0o700)
                if os.geteuid() == 0:
                    os.chown(base / name, user_id(job.slot), user_id(job.slot))
            yield base
    finally:
        if os.geteuid() == 0:
            _remove_shared_memory(user_id(job.slot))


def _lay_out_code(folder: Path) -> None:
    folder.mkdir(parents=True)
    for source in worker_code():
        if source.is_dir():
            # Another grader may be writing bytecode there: such a file is gone a moment later.
            shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("*.pyc.*"))
        else:
            shutil.copyfile(source, folder / source.name)


def supervisor_command(
    isolation: Isolation, job: Job, program: Sequence[str], theirs: dict[str, int], base: Path
) -> list[str]:
    """The command that runs `python -P` with `program` for `job`, without namespaces.

    Args:
        theirs: The job's ends of the pipes, by name, with the supervisor's `control`; the training set's folder is
            added.
        base: From `job_folder`.
    """
    data = ""
    if job.training_set is not None:
        # Through a descriptor: as root, the job's user could not pass the folders above it.
        theirs["data"] = os.open(job.training_set, os.O_PATH)
        data = f"/proc/self/fd/{theirs['data']}"
    scratch, temporary = str(base / "scratch"), str(base / "tmp")
    as_root = os.geteuid() == 0
    specification = Specification(
        command=python_command(program, theirs, str(base / "job"), data),
        environment=environment(job, str(base / "code"), scratch, temporary),
        folder=scratch,
        uid=user_id(job.slot) if as_root else None,
        control=theirs["control"],
        kept_descriptors=[theirs[name] for name in ("images", "scores", "report", "data") if name in theirs],
        processes=isolation.processes(job.limits),
        file_bytes=job.limits.scratch_mb << 20,
        confined=isolation.level is not IsolationLevel.NONE,
        hidden_memory=bool(gpu_devices()),
        readable=_readable(job, base),
        listable=[str(folder) for folder in package_folders()],
        writable=[scratch, temporary, _SHARED_MEMORY],
        devices=[*_DEVICES, *map(str, gpu_devices())],
        sockets=[str(job.mps_pipe)] if job.mps_pipe is not None else [],
    )
    return [sys.executable, "-P", "-c", _SUPERVISOR, json.dumps(asdict(specification))]


def _readable(job: Job, base: Path) -> list[str]:
    paths = [part for path in runtime() for part in _without(path, hidden_folders())]
    paths += [base / "job", base / "code", *map(Path, _MACHINE)]
    paths += [job.training_set] if job.training_set is not None else []
    paths += [Path("/sys"), Path("/usr/local/nvidia")] if gpu_devices() else []
    return [str(path.absolute()) for path in paths if path.exists()]


def _remove_shared_memory(uid: int) -> None:
    """Remove what a job's user left in /dev/shm. Only as root: a job of an ordinary user has no user id of its own."""
    for path in Path(_SHARED_MEMORY).iterdir():
        with contextlib.suppress(OSError):
            if path.lstat().st_uid == uid:
                subprocess.run(["rm", "-rf", "--one-file-system", "--", str(path)], check=False)


def _remove(base: Path) -> None:
    """Remove what a job left, however deep it is and whatever rights it set; links are not followed."""
    if os.geteuid() != 0:
        subprocess.run(["chmod", "-R", "u+rwX", "--", str(base)], check=False, stderr=subprocess.DEVNULL)
    subprocess.run(["rm", "-rf", "--one-file-system", "--", str(base)], check=False, stderr=subprocess.DEVNULL)


@cache
def landlock_missing() -> str:
    """Why there is no Landlock here that is strong enough; empty if there is."""
    import landlockpy

    abi = landlockpy.abi_version()
    return "" if abi >= _NEEDED_ABI else f"Landlock's version here is {abi}, and {_NEEDED_ABI} is needed (Linux 6.12)"


def _restrict(job: Specification) -> None:
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


def _without(folder: Path, hidden: Iterable[Path]) -> Iterator[Path]:
    """A folder without the hidden ones in it, as few paths as can be: Landlock's rules cannot exclude."""
    inside = [path for path in hidden if path == folder or folder in path.parents]
    if not inside:
        yield folder
    elif folder not in inside:
        for entry in sorted(folder.iterdir()):
            yield from _without(entry, inside)


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
            _restrict(specification)
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
