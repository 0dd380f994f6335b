"""The bubblewrap command line: which files a job sees, and as whom it runs.

As an ordinary user everything happens in a user namespace. As root there is none: the child would still be root to
the kernel, so it gets a user id of its own (one for each slot) through setpriv, and the capabilities for that only.
"""

import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import grader
from grader.sandbox.job import Job

JOB, DATA, CODE, SCRATCH = "/job", "/data", "/code", "/scratch"
_PACKAGE = Path(grader.__file__).parent
_WORKER_CODE = ("__init__.py", "records.py", "telemetry.py", "check", "worker")
_FIRST_SLOT_UID = 64000
_USER_ID_INSIDE = 65534
_LIBRARIES = (
    *("torch", "torchvision", "numpy", "PIL", "matplotlib", "sklearn", "pandas", "tqdm"),
    *("scipy", "seaborn", "torchinfo", "torchsummary"),
)
# Colab's home, and where Google Drive was mounted before it was mounted there: scripts write below both.
_COLAB_PLACES = ("/content", "/gdrive")
# Packages that carry labels of a data set that can be graded on (DESIGN, rule 2).
_LABELS = ("sklearn/datasets/data",)


def gpu_devices() -> tuple[Path, ...]:
    """The device files of NVIDIA's driver; empty where there is no card."""
    if not list(Path("/dev").glob("nvidia[0-9]*")):
        return ()
    return tuple(sorted(path for path in Path("/dev").glob("nvidia*") if not path.is_dir()))


def user_id(slot: int) -> int:
    """The user id that a job has inside: as root one for each slot, so that jobs cannot signal each other."""
    return _FIRST_SLOT_UID + slot if os.geteuid() == 0 else _USER_ID_INSIDE


def passwd(slot: int) -> bytes:
    """An /etc/passwd of two lines: getpass, matplotlib and torch's caches ask who the user is."""
    uid = user_id(slot)
    return f"root:x:0:0:root:/root:/bin/false\nstudent:x:{uid}:{uid}:student:{SCRATCH}:/bin/false\n".encode()


def command_line(bwrap: str, job: Job, arguments: Iterable[str], *, status_fd: int, passwd_fd: int) -> list[str]:
    """The whole command that runs `python -P` with `arguments` for `job`.

    Args:
        arguments: Of the interpreter, after its own flags.
        status_fd: Where bwrap writes the pid of the sandbox's first process, as JSON.
        passwd_fd: Where bwrap reads the sandbox's /etc/passwd.
    """
    as_root = os.geteuid() == 0
    command = [bwrap, *(_ROOT if as_root else _USER), *_COMMON, "--json-status-fd", str(status_fd)]
    command += _tmpfs("/dev/shm", job.limits.shared_memory_mb)
    command += _tmpfs("/tmp", job.limits.scratch_mb)
    command += _tmpfs(SCRATCH, job.limits.scratch_mb)
    command += _read_only(_mounts(job, as_root))
    for hidden in _label_folders():
        command += ["--perms", "0755", "--size", "4096", "--tmpfs", str(hidden), "--remount-ro", str(hidden)]
    for place in _COLAB_PLACES:
        command += ["--symlink", SCRATCH, place]
    command += ["--perms", "0755", "--dir", "/etc", "--perms", "0444", "--ro-bind-data", str(passwd_fd), "/etc/passwd"]
    for device in gpu_devices():
        command += ["--dev-bind", str(device), str(device)]
    command += _environment(job)
    command += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", SCRATCH, "--"]
    if as_root:
        uid = str(user_id(job.slot))
        command += ["/usr/bin/setpriv", "--reuid", uid, "--regid", uid, "--clear-groups", "--inh-caps=-all"]
        command += ["--bounding-set=-all", "--no-new-privs"]
    return [*command, _interpreter(), "-P", "-B", *arguments]


_COMMON = (
    *("--die-with-parent", "--new-session", "--clearenv", "--hostname", "sandbox"),
    *("--proc", "/proc", "--dev", "/dev"),
)
_USER = (
    *("--unshare-all", "--unshare-user", "--disable-userns", "--cap-drop", "ALL"),
    *("--uid", str(_USER_ID_INSIDE), "--gid", str(_USER_ID_INSIDE)),
)
_ROOT = (
    *("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"),
    *("--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP"),
)


def _tmpfs(path: str, megabytes: int) -> list[str]:
    return ["--perms", "1777", "--size", str(megabytes << 20), "--tmpfs", path]


def _interpreter() -> str:
    return os.path.realpath(sys.executable)


def _mounts(job: Job, as_root: bool) -> Iterator[tuple[Path, Path]]:
    """Pairs of a path outside and its place inside, read-only."""
    for path in _runtime(as_root):
        yield path, path
    for name in _WORKER_CODE:
        yield _PACKAGE / name, Path(CODE, "grader", name)
    yield job.folder, Path(JOB)
    if job.training_set is not None:
        yield job.training_set, Path(DATA)
    if gpu_devices():
        yield from ((path, path) for path in map(Path, ("/sys", "/usr/local/nvidia")) if path.exists())


@cache
def _runtime(as_root: bool) -> tuple[Path, ...]:
    """The interpreter, its standard library, the system's shared libraries and the installed packages."""
    variables = sysconfig.get_config_vars()
    machine = variables.get("MULTIARCH") or ""
    paths = [Path(_interpreter()), Path(sysconfig.get_path("stdlib")), *_package_folders()]
    paths += [Path(root, machine) for root in ("/lib", "/usr/lib") if machine]
    paths += [Path("/lib64"), Path("/usr/lib64")]
    if variables.get("Py_ENABLE_SHARED"):
        paths.append(Path(variables["LIBDIR"], variables["INSTSONAME"]))
    if as_root:
        paths.append(Path("/usr/bin/setpriv"))
    return tuple(dict.fromkeys(path for path in paths if path.exists()))


@cache
def _package_folders() -> tuple[Path, ...]:
    """Where the installed libraries lie; found without importing them."""
    specs = (importlib.util.find_spec(name) for name in _LIBRARIES)
    return tuple(dict.fromkeys(Path(spec.origin).parents[1] for spec in specs if spec and spec.origin))


def _label_folders() -> tuple[Path, ...]:
    folders = (site / labels for site in _package_folders() for labels in _LABELS)
    return tuple(folder for folder in folders if folder.is_dir())


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


def _environment(job: Job) -> list[str]:
    variables = {
        "PATH": "/usr/bin",
        "HOME": SCRATCH,
        "USER": "student",
        "LANG": "C.UTF-8",
        "TMPDIR": "/tmp",
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": "/tmp/matplotlib",
        "OMP_NUM_THREADS": str(job.threads),
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": os.pathsep.join([CODE, *map(str, _package_folders())]),
    }
    if gpu_devices() and "LD_LIBRARY_PATH" in os.environ:
        variables["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    return [word for name, value in variables.items() for word in ("--setenv", name, value)]
