"""The bubblewrap command line: which files a job sees, and as whom it runs.

As an ordinary user everything happens in a user namespace. As root a job in one would still be root to the kernel, so
there is none: setpriv gives the job a user id of its own, one for each slot, and bwrap the capabilities for that only.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from grader.sandbox import seccomp
from grader.sandbox.job import (
    USER_ID_INSIDE,
    Isolation,
    Job,
    environment,
    gpu_devices,
    hidden_folders,
    python_command,
    runtime,
    user_id,
    worker_code,
)

JOB, DATA, CODE, SCRATCH = "/job", "/data", "/code", "/scratch"
# Where scripts from elsewhere write: Colab's home, Google Drive's older place, Kaggle's home, and people's own.
_HOMES = ("/content", "/gdrive", "/kaggle", "/workspace", "/home", "/root", "/Users", "/mnt")


def bubblewrap(isolation: Isolation, job: Job, program: Sequence[str], theirs: dict[str, int]) -> list[str]:
    """The whole command that runs `python -P` with `program` for `job`.

    Args:
        theirs: The job's ends of the pipes, by name; what bwrap is to read is added.
    """
    # getpass, matplotlib and torch's caches ask who the user is.
    uid = str(user_id(job.slot))
    users = f"root:x:0:0:root:/root:/bin/false\nstudent:x:{uid}:{uid}:student:{SCRATCH}:/bin/false\n"
    theirs["passwd"] = _file_in_memory(users.encode())
    if isolation.filtered:
        rules = seccomp.program(hidden_memory=bool(gpu_devices()))
        theirs["filter"] = _file_in_memory(rules)
    as_root = os.geteuid() == 0
    command = [isolation.bwrap, *(_ROOT if as_root else _USER), *_COMMON, "--json-status-fd", str(theirs["status"])]
    command += _tmpfs("/dev/shm", job.limits.shared_memory_mb)
    command += _tmpfs("/tmp", job.limits.scratch_mb)
    command += _tmpfs(SCRATCH, job.limits.scratch_mb)
    mounts = [*_mounts(job, as_root)]
    command += _read_only(mounts)
    for hidden in hidden_folders():
        command += ["--perms", "0755", "--size", "4096", "--tmpfs", str(hidden), "--remount-ro", str(hidden)]
    # The interpreter or a library may lie below one of them.
    taken = {f"/{inside.parts[1]}" for _, inside in mounts}
    for place in _HOMES:
        if place not in taken:
            command += ["--symlink", SCRATCH, place]
    command += ["--perms", "0755", "--dir", "/etc"]
    command += ["--perms", "0444", "--ro-bind-data", str(theirs["passwd"]), "/etc/passwd"]
    for device in gpu_devices():
        command += ["--dev-bind", str(device), str(device)]
    for name, value in environment(job, CODE, SCRATCH, "/tmp").items():
        command += ["--setenv", name, value]
    if "filter" in theirs:
        command += ["--seccomp", str(theirs["filter"])]
    command += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", SCRATCH, "--"]
    if as_root:
        command += ["/usr/bin/setpriv", "--reuid", uid, "--regid", uid, "--clear-groups", "--inh-caps=-all"]
        command += ["--bounding-set=-all", "--no-new-privs"]
    return [*command, *python_command(program, theirs, JOB, DATA if job.training_set is not None else "")]


def _file_in_memory(content: bytes) -> int:
    descriptor = os.memfd_create("given")
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


_COMMON = (
    *("--die-with-parent", "--new-session", "--clearenv", "--hostname", "sandbox"),
    *("--proc", "/proc", "--dev", "/dev"),
)
_USER = (
    *("--unshare-all", "--unshare-user", "--disable-userns", "--cap-drop", "ALL"),
    *("--uid", str(USER_ID_INSIDE), "--gid", str(USER_ID_INSIDE)),
)
_ROOT = (
    *("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"),
    *("--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP"),
)


def _tmpfs(path: str, megabytes: int) -> list[str]:
    return ["--perms", "1777", "--size", str(megabytes << 20), "--tmpfs", path]


def _mounts(job: Job, as_root: bool) -> Iterator[tuple[Path, Path]]:
    """Pairs of a path outside and its place inside, read-only."""
    for path in (*runtime(), *((Path("/usr/bin/setpriv"),) if as_root else ())):
        yield path, path
    for path in worker_code():
        yield path, Path(CODE, "grader", path.name)
    yield job.folder, Path(JOB)
    if job.training_set is not None:
        yield job.training_set, Path(DATA)
    if job.mps_pipe is not None:
        # Read-only, a socket can be connected to and a named pipe written to; no file there can be changed.
        yield job.mps_pipe, job.mps_pipe
    if gpu_devices():
        yield from ((path, path) for path in map(Path, ("/sys", "/usr/local/nvidia")) if path.exists())


def _read_only(mounts: Iterable[tuple[Path, Path]]) -> list[str]:
    """Bind options; bwrap makes missing parents 0700, which another user id could not pass."""
    options: list[str] = []
    made: set[Path] = {Path("/")}
    for outside, inside in mounts:
        for parent in reversed(inside.parents):
            if parent not in made:
                options += ["--perms", "0755", "--dir", str(parent)]
                made.add(parent)
        options += ["--ro-bind", str(outside), str(inside)]
        made.add(inside)
    return options
