"""What a sandbox is asked to run, what a job finds of this machine at whatever level, and how it ended."""

import compileall
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path

import psutil

import grader
from grader.assignment import Limits
from grader.records import IsolationLevel
from grader.sandbox.cgroup import Cgroup


@dataclass(frozen=True, slots=True)
class Isolation:
    """A level of the ladder, as it was found to hold here.

    Attributes:
        description: One line for people and for the ledger.
        bwrap: The bubblewrap program; empty on the two levels without it.
        filtered: System calls are filtered.
        cgroup: Where groups with limits can be made; None where they cannot.
    """

    level: IsolationLevel
    description: str
    bwrap: str = ""
    filtered: bool = False
    cgroup: Cgroup | None = None

    def processes(self, limits: Limits) -> int:
        """The kernel's limit on processes for a job; without a user id of its own, this user's others come on top."""
        if self.bwrap or os.geteuid() == 0:
            return limits.processes
        return limits.processes + _threads_of_this_user()


@dataclass(frozen=True, slots=True)
class Job:
    """One run of the worker.

    Attributes:
        folder: Holds the submission, its companions and task.json; read-only inside, at /job.
        training_set: Holds x_train.npy and y_train.npy; read-only inside, at /data. None: no data.
        images: Bytes that are sent once the job is ready; empty: nothing is asked.
        answer_bytes: How many bytes must come back for `images`, neither more nor fewer.
        network_bytes: The most bytes of a network that the job offers; 0: it may offer none.
        ready_seconds: Wall time from its start until its main part is over, or it is ready, or it ends.
        answer_seconds: Wall time from then on until it is ready or offers a network, and again until it has answered.
        threads: Processor threads that torch may use.
        slot: Number of the slot, from 0; a check and the training that waits for it share one.
        card: The GPU, as CUDA_VISIBLE_DEVICES names it; empty: whatever there is.
        mps_pipe: The folder with the sockets of an MPS server, to which it may connect; None: it sees none.
        news: A line of the report with these bytes in it is passed on and not kept; empty: all lines are kept.
    """

    folder: Path
    limits: Limits
    ready_seconds: float
    answer_seconds: float = 0.0
    training_set: Path | None = None
    images: memoryview = field(default=memoryview(b""), repr=False)
    answer_bytes: int = 0
    network_bytes: int = 0
    threads: int = 1
    slot: int = 0
    card: str = ""
    mps_pipe: Path | None = None
    news: bytes = b""

    @property
    def processor_seconds(self) -> float:
        """Processor time that all processes of the job may use together."""
        return self.limits.processor_share * self.threads * (self.ready_seconds + self.answer_seconds)


@dataclass(frozen=True, slots=True)
class Listener:
    """Hears a job while it runs, in the thread that runs it, so both must be quick.

    Attributes:
        report: Gets the last complete lines of each piece that the worker sent, unvalidated.
        log: Gets each piece of what the script prints.
    """

    report: Callable[[bytes], None] = lambda _: None
    log: Callable[[bytes], None] = lambda _: None


class Ending(StrEnum):
    """How a job ended, or that it waits. Only EXITED means that it ended by itself."""

    WAITS = "waits"
    EXITED = "exited"
    WALL_LIMIT = "wall_limit"
    MEMORY_LIMIT = "memory_limit"
    OUTPUT_LIMIT = "output_limit"
    PROCESSOR_LIMIT = "processor_limit"
    DISK_LIMIT = "disk_limit"
    PROTOCOL = "protocol"


@dataclass(frozen=True, slots=True)
class Execution:
    """What is known of a job after its whole process tree is gone, or while it waits.

    Attributes:
        exit_code: As a shell counts: 128 + n where signal n ended it.
        answer: `Job.answer_bytes` bytes, or None if they did not all come.
        network: What the job offered, unvalidated; None where it does not wait for what the grader makes of it.
        report: Lines that the worker sent, less the news; unvalidated, since the student's code shares its process.
        said: How many such lines there were; where there were too many, `report` lacks those in the middle.
        log: What the script printed, shortened in the middle to the log limit.
        killed_for_memory: The kernel ended a process for want of memory meanwhile, by its own count: in the job's
            group, or on the whole machine where it has none.
        seconds: Wall time from its start until its main part was over, or until it ended.
        processor_seconds: Of all processes of the job, in that time.
        programs: The command of each other program that the job started, and its processor seconds; a fork of the job
            itself is none. Empty where the kernel does not tell.
    """

    ending: Ending
    exit_code: int
    answer: bytes | None = field(repr=False)
    report: tuple[bytes, ...] = field(repr=False)
    log: bytes = field(repr=False)
    network: bytes | None = field(default=None, repr=False)
    said: int = 0
    killed_for_memory: bool = False
    seconds: float = 0.0
    processor_seconds: float = 0.0
    programs: tuple[tuple[str, float], ...] = ()


def _threads_of_this_user() -> int:
    own = os.getuid()
    counted = 0
    for process in psutil.process_iter(["uids", "num_threads"]):
        uids = process.info["uids"]
        counted += process.info["num_threads"] or 0 if uids is not None and uids.real == own else 0
    return counted


PACKAGE = Path(grader.__file__).parent
_WORKER_CODE = ("__init__.py", "errors.py", "records.py", "protocol", "text.py", "worker", "replay")
USER_ID_INSIDE = 65534
_FIRST_SLOT_UID = 64000
_LIBRARIES = (
    *("torch", "torchvision", "numpy", "PIL", "matplotlib", "sklearn", "pandas", "tqdm"),
    *("scipy", "seaborn", "torchinfo", "torchsummary"),
)
# They lie among those libraries: labels of a data set for grading, and an installed grader with its reference.
_HIDDEN = ("sklearn/datasets/data", "grader")


def gpu_devices() -> tuple[Path, ...]:
    """The device files of NVIDIA's driver; empty where there is no card."""
    if not list(Path("/dev").glob("nvidia[0-9]*")):
        return ()
    return tuple(sorted(path for path in Path("/dev").glob("nvidia*") if not path.is_dir()))


def user_id(slot: int) -> int:
    """The user id that a job has inside: as root one for each slot, so that jobs cannot signal each other."""
    return _FIRST_SLOT_UID + slot if os.geteuid() == 0 else USER_ID_INSIDE


def interpreter() -> str:
    """The Python that runs this, without links."""
    return os.path.realpath(sys.executable)


def python_command(program: Sequence[str], theirs: Mapping[str, int], folder: str, data: str) -> list[str]:
    """The command of a job, with its ends of the pipes by number, its folder, and its data or an empty word."""
    numbers = (str(theirs[name]) for name in ("images", "scores", "report"))
    return [interpreter(), "-P", "-B", *program, *numbers, folder, data]


@cache
def runtime() -> tuple[Path, ...]:
    """The interpreter, its standard library, the system's shared libraries and the installed packages."""
    variables = sysconfig.get_config_vars()
    machine = variables.get("MULTIARCH") or ""
    paths = [Path(interpreter()), Path(sysconfig.get_path("stdlib")), *package_folders()]
    paths += [Path(root, machine) for root in ("/lib", "/usr/lib") if machine]
    paths += [Path("/lib64"), Path("/usr/lib64")]
    if variables.get("Py_ENABLE_SHARED"):
        paths.append(Path(variables["LIBDIR"], variables["INSTSONAME"]))
    return tuple(dict.fromkeys(path for path in paths if path.exists()))


@cache
def package_folders() -> tuple[Path, ...]:
    """Where the installed libraries lie; found without importing them."""
    specs = (importlib.util.find_spec(name) for name in _LIBRARIES)
    return tuple(dict.fromkeys(Path(spec.origin).parents[1] for spec in specs if spec and spec.origin))


def hidden_folders() -> tuple[Path, ...]:
    """Folders that no job may read, below those that it may."""
    folders = (site / hidden for site in package_folders() for hidden in _HIDDEN)
    return tuple(folder for folder in folders if folder.is_dir())


@cache
def worker_code() -> tuple[Path, ...]:
    """The worker's files and folders, with their bytecode beside them where this process may write it.

    A job may not write there, so without it each job would compile every module anew.
    """
    paths = tuple(PACKAGE / name for name in _WORKER_CODE)
    for path in paths:
        (compileall.compile_dir if path.is_dir() else compileall.compile_file)(path, quiet=2)
    return paths


def environment(job: Job, code: str, scratch: str, temporary: str) -> dict[str, str]:
    """Every variable that a job finds.

    Args:
        code: The folder with the worker's code.
        scratch: The script's working folder and home.
        temporary: Where else it may write.
    """
    variables = {
        "PATH": "/usr/bin",
        "HOME": scratch,
        "USER": "student",
        "LANG": "C.UTF-8",
        "TMPDIR": temporary,
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": f"{temporary}/matplotlib",
        "OMP_NUM_THREADS": str(job.threads),
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": os.pathsep.join([code, *map(str, package_folders())]),
    }
    if gpu_devices() and "LD_LIBRARY_PATH" in os.environ:
        variables["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    if job.card:
        variables["CUDA_VISIBLE_DEVICES"] = job.card
    if job.mps_pipe is not None:
        variables["CUDA_MPS_PIPE_DIRECTORY"] = str(job.mps_pipe)
    return variables
