"""What the grader supplies around a script, so that it can run as it was submitted (DESIGN, rule 3)."""

import functools
import multiprocessing
import random
import sys
from typing import Any

import numpy as np
import torch

from grader.protocol import Task
from grader.worker.channel import note
from grader.worker.speed import loading
from grader.worker.standins import colab, no_gpu, older_versions


def install(task: Task) -> str:
    """Prepare torch and the interpreter for one script; return the device's name for the record."""
    colab.install()
    older_versions.install()
    seed_everything(task.seed)
    _notice_own_seed()
    # Workers that are spawned would import the script again, outside the grader's world.
    if sys.platform == "linux":
        multiprocessing.set_start_method("fork", force=True)
        multiprocessing.set_start_method = torch.multiprocessing.set_start_method = _still_fork
    else:
        loading.without_workers()
    torch.compile = _not_compiled
    torch.jit.script = _not_compiled  # type: ignore[assignment]
    torch.nn.Module.compile = lambda *_, **__: None  # type: ignore[method-assign]
    if torch.cuda.is_available():
        return torch.cuda.get_device_name(0)
    no_gpu.install()
    return f"CPU, {torch.get_num_threads()} threads"


def seed_everything(seed: int) -> None:
    """Make every student's run start from the same recorded random state."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


_own_seeds: list[Any] = []


def own_seed() -> bool:
    """Whether the script set torch's random state itself; a run with another seed of ours would then be the same."""
    return bool(_own_seeds)


def _notice_own_seed() -> None:
    seed = torch.manual_seed

    @functools.wraps(seed)
    def noticed(value: Any) -> torch.Generator:
        _own_seeds.append(value)
        return seed(value)

    setattr(torch, "manual_seed", noticed)  # noqa: B010 (mypy knows its exact type)
    setattr(torch.random, "manual_seed", noticed)  # noqa: B010


def _still_fork(*_: Any, **__: Any) -> None:
    """`set_start_method` where the choice is made: it would raise, or spawn workers that know no CIFAR-10."""
    note("Worker processes were started by fork, whatever the script asked for.")


def _not_compiled(model: Any = None, **_: Any) -> Any:
    """`torch.compile` and `torch.jit.script` without a compiler: the model itself, or a decorator that returns it."""
    note("The network ran uncompiled: torch.compile and torch.jit.script were passed over.")
    return model if model is not None else lambda decorated: decorated
