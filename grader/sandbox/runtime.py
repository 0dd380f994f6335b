"""What a job needs of this machine, at whatever level: interpreter, libraries, code, devices, variables."""

import compileall
import importlib.util
import os
import sys
import sysconfig
from functools import cache
from pathlib import Path

import grader
from grader.sandbox.job import Job

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
