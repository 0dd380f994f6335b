"""Run scripts one after the other, and keep what each did: `python observe.py WORLD SEED SCRIPT=FOLDER...`.

WORLD is "bare", which is `python hw6.py` over files that torchvision itself reads; "home", the check that a student
runs; "try", a student's trial; or anything else: the worker, with the task that lies in FOLDER. Each script runs in a
fork of this process, which has imported torch: that import would be most of the time. Below FOLDER come:

- `printed`: the script's output, and `errors`;
- `steps`: a line for each step of an optimizer, a digest of all its weights;
- `trial`: of "try" only, what it found, as a pickle;
- `shown`: bare only, what IdentityResNet gave for each image in eval mode without gradients, ten float32 each;
- `ended`: how the process ended.
"""

# ruff: noqa: E402 (what is imported first differs)

import atexit
import contextlib
import hashlib
import multiprocessing.process
import os
import pickle
import random
import runpy
import signal
import subprocess
import sys
import threading
import time
import tomllib
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

world, seed, *runs = sys.argv[1:]
if world != "bare":
    import grader.worker  # noqa: F401 (it defers torch's compiler, before torch is imported)
import numpy as np
import torch
import torchvision
from torch.nn.modules.module import register_module_forward_hook
from torch.optim.optimizer import register_optimizer_step_post_hook

_SECONDS = 150
# What a trial knows of `subprocess`.
_NAMES = ("DEVNULL", "STDOUT", "TimeoutExpired")
_ASSIGNMENT = Path(__file__).parents[2] / "grader" / "assignment.toml"


def keep(name: str) -> int:
    return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def observe(folder: Path) -> None:
    """Keep each step; the description is open from here on, whatever folder the script goes to."""
    steps, shown = keep(str(folder / "steps")), keep(str(folder / "shown"))

    def step(optimizer: Any, *_: Any) -> None:
        digest = hashlib.sha256()
        for group in optimizer.param_groups:
            for weight in group["params"]:
                digest.update(weight.detach().double().numpy().tobytes())
        os.write(steps, digest.hexdigest()[:12].encode() + b"\n")

    def show(module: Any, _: Any, output: Any) -> None:
        name = getattr(module, "original_name", type(module).__name__)
        if name == "IdentityResNet" and not (module.training or torch.is_grad_enabled() or torch._C._is_tracing()):
            os.write(shown, output.float().numpy().astype("<f4").tobytes())

    register_optimizer_step_post_hook(step)
    if world == "bare":
        register_module_forward_hook(show)


def run_bare() -> None:
    for start in (random.seed, np.random.seed, torch.manual_seed):
        start(int(seed))
    torchvision.datasets.cifar.check_integrity = lambda *_: True
    process: Any = multiprocessing.process
    process.ORIGINAL_DIR = os.getcwd()  # where a spawned worker looks for the script
    sys.argv = ["hw6.py"]
    sys.path[0] = os.getcwd()
    runpy.run_path("hw6.py", run_name="__main__")


def run_in_worker(folder: Path) -> None:
    files = [str(folder / name) for name in ("images", "scores", "report", "job", "data")]
    sys.argv = ["main.py", *files]
    runpy.run_module("grader.worker.main", run_name="__main__", alter_sys=True)


def check_at_home(folder: Path) -> None:
    sys.argv = ["self_check.py", "hw6.py", str(folder / "report"), str(folder / "late"), str(_SECONDS)]
    runpy.run_module("grader.student.self_check", run_name="__main__", alter_sys=True)


class Forked:
    """A process that `try` starts, without the seconds in which a new Python imports torch."""

    def __init__(self, command: list[str], *, cwd: Path, env: dict[str, str], stdout: Any, **_: Any) -> None:
        self.returncode: int | None = None
        self._pid = os.fork()
        if self._pid:
            return
        try:
            os.dup2(stdout.fileno(), 1)
            os.dup2(1, 2)
            os.chdir(cwd)
            os.environ.clear()
            os.environ.update(env)
            program = command[2]
            sys.argv = ["main.py", *command[3:]]
            runpy.run_module(program, run_name="__main__", alter_sys=True)
        except BaseException:
            traceback.print_exc()
        finally:
            # Nothing of the process from which it came runs a second time.
            sys.stdout.flush()
            os._exit(1)

    def __enter__(self) -> "Forked":
        return self

    def __exit__(self, *_: object) -> None:
        self._end(0)

    def poll(self) -> int | None:
        return self._end(os.WNOHANG)

    def wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("python", seconds)
            time.sleep(0.02)

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self._pid, signal.SIGKILL)

    def _end(self, how: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self._pid, how)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode


def try_it(folder: Path) -> None:
    from grader.data import DataSet
    from grader.student import trial

    vars(trial)["subprocess"] = SimpleNamespace(Popen=Forked, **{name: getattr(subprocess, name) for name in _NAMES})
    x_train, y_train, x_test = (np.load(folder / "data" / f"{name}.npy") for name in ("x_train", "y_train", "x_test"))
    data = DataSet("", x_train, y_train, x_test, np.zeros(len(x_test), np.int64), sha256="", notice="")
    rules = tomllib.loads(_ASSIGNMENT.read_text(encoding="utf-8"))
    tried = trial.try_file(Path("hw6.py"), rules, data, _SECONDS, test=True, watch=lambda _: None)
    (folder / "trial").write_bytes(pickle.dumps(tried))


def look_at_fewer_images() -> None:
    """Of noise, all alike: some scripts read the 50,000 into memory before they train."""
    import grader.worker.look.watch

    grader.worker.look.watch._IMAGES = 2_000


def child(folder: Path) -> None:
    """The whole life of one run."""
    os.setsid()
    for name, number in (("printed", 1), ("errors", 2)):
        os.dup2(keep(str(folder / name)), number)
    os.chdir(folder / "scratch")
    os.environ["HOME"] = os.getcwd()
    observe(folder)
    if world in ("check", "home"):
        look_at_fewer_images()
    if world == "bare":
        run_bare()
    elif world == "home":
        check_at_home(folder)
    elif world == "try":
        try_it(folder)
    else:
        run_in_worker(folder)


def leave() -> NoReturn:
    """End as Python does, but for what takes a second: it would take every object of torch apart."""
    for step in (threading._shutdown, atexit._run_exitfuncs, sys.stdout.flush, sys.__stdout__.flush):  # type: ignore
        with contextlib.suppress(BaseException):
            step()
    os._exit(0)


def run(folder: Path) -> str:
    """How the run ended: its exit code, or "late"."""
    pid = os.fork()
    if not pid:
        try:
            child(folder)
        except BaseException:
            traceback.print_exc()
        finally:
            leave()
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return "ended"
        time.sleep(0.02)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "late"


for folder in map(Path, runs):
    (folder / "ended").write_text(run(folder))
