"""The levels without namespaces: a folder for one job, and what its supervisor (supervisor.py) is to start."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path

from grader.records import IsolationLevel
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
from grader.sandbox.supervisor import Specification

# What torch asks about the machine; none of it says anything about other processes.
_MACHINE = (
    *("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/sys/vm/overcommit_memory", "/proc/driver"),
    *("/sys/devices/system", "/etc/ld.so.cache", "/etc/localtime", "/usr/share/zoneinfo"),
)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_SHARED_MEMORY = "/dev/shm"
_SUPERVISOR = "from grader.sandbox.supervisor import main; main()"

# From this version of Landlock on, signals and abstract sockets end at the sandbox's edge (Linux 6.12).
_NEEDED_ABI = 6


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


def _without(folder: Path, hidden: Iterable[Path]) -> Iterator[Path]:
    """A folder without the hidden ones in it, as few paths as can be: Landlock's rules cannot exclude."""
    inside = [path for path in hidden if path == folder or folder in path.parents]
    if not inside:
        yield folder
    elif folder not in inside:
        for entry in sorted(folder.iterdir()):
            yield from _without(entry, inside)
