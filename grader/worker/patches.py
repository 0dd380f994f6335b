"""All that the grader replaces in torch, torchvision and the interpreter, each with its reason.

Two tables: what surrounds a script, so that it runs as it was submitted, and what watches it. The rest of the worker
defines replacements; only `install` puts them in place. Three things are not here:

- `grader/worker/__init__.py` defers torch's compiler, which has to come before the first import.
- `main.py` gives the script its `__main__`, `sys.argv` and `sys.path`, as `python hw6.py` does.
- `look/watch.py` puts stand-ins in while it asks the questions, after training, and takes them out again.
"""

import builtins
import functools
import multiprocessing
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.fx import GraphModule
from torch.nn import functional
from torch.optim import sgd
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _DatasetKind
from torchvision import datasets

from grader.protocol import Started
from grader.text import counted
from grader.worker import preprocessing
from grader.worker.budget import Budget
from grader.worker.dataset import GraderCIFAR10
from grader.worker.leaving import Exits
from grader.worker.speed import loading
from grader.worker.speed.acceleration import Acceleration
from grader.worker.standins import colab, compiler, files, no_gpu, older_versions, programs
from grader.worker.uncounted import Uncounted

_ALSO_HERE = "The same thing has a second name."


@dataclass(frozen=True, slots=True)
class Patch:
    """`owner.name = replacement`, and why."""

    owner: Any
    name: str
    replacement: Any
    why: str


@dataclass(frozen=True, slots=True)
class Call:
    """`function(*arguments)`, which changes what is no attribute, and why."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    why: str


def surrounding() -> list[Patch | Call]:
    """What a script finds from its first line on."""
    seed = _noted_seed(torch.manual_seed)
    changes: list[Patch | Call] = [
        Patch(datasets, "CIFAR10", GraderCIFAR10, "The data is the grader's, and nothing is downloaded."),
        Patch(datasets.cifar, "CIFAR10", GraderCIFAR10, _ALSO_HERE),
        Patch(torch, "manual_seed", seed, "A script that sets its own seed gets no rerun with another one."),
        Patch(torch.random, "manual_seed", seed, _ALSO_HERE),
        Patch(torch, "compile", compiler.not_compiled, "The sandbox has no compiler."),
        Patch(nn.Module, "compile", no_gpu.nothing, "The sandbox has no compiler."),
        *_each(compiler.of_torchscript(), "A compiled network would run past the forward that counts."),
        Patch(builtins, "input", colab.Keyboard().input, "Nobody sits at the keyboard."),
        Call(sys.addaudithook, (colab.INTERNET.audit,), "A script that downloads hears why it cannot."),
        Patch(torch, "save", files.saving(torch.save), "A folder of the student's machine is missing here."),
        Call(sys.addaudithook, (files.audit,), "A folder of the student's machine is missing here."),
        Patch(subprocess.Popen, "__init__", programs.start_of(subprocess.Popen.__init__), "Colab has more programs."),
        Call(sys.meta_path.append, (colab.MODULES,), "Colab's modules and IPython are missing here."),
        Call(sys.meta_path.insert, (0, colab.PLOTS), "A matplotlib backend that opens windows fails here."),
        Call(sys.meta_path.insert, (0, colab.BARS), "tqdm's bar for notebooks fails without a browser's widgets."),
        *_each(older_versions.replacements(), "Scripts use names and arguments that the libraries no longer have."),
        Call(sys.modules.update, (older_versions.modules(),), "Scripts import modules that the libraries renamed."),
        Call(os.environ.update, (older_versions.ENVIRONMENT,), "torch.load would refuse whole networks."),
    ]
    if sys.platform == "linux":
        why = "Spawned workers would import the script again, outside the grader's world."
        fork: Any = loading.still_fork
        changes += [
            Call(multiprocessing.set_start_method, ("fork", True), why),
            Patch(multiprocessing, "set_start_method", fork, why),
            Patch(torch.multiprocessing, "set_start_method", fork, _ALSO_HERE),
            Patch(multiprocessing, "get_context", loading.forking, why),
            Patch(torch.multiprocessing, "get_context", loading.forking, _ALSO_HERE),
        ]
    init: Any = DataLoader.__init__ if sys.platform == "linux" else loading.in_own_process(DataLoader.__init__)
    why = "A test image goes through the data set that the script made; off Linux, nothing forks loader workers."
    changes.append(Patch(DataLoader, "__init__", preprocessing.remembering(init), why))
    if not torch.cuda.is_available():
        changes += _each(no_gpu.replacements(), "Without a GPU, a device that a script calls cuda is the processor.")
    return changes


def watching(budget: Budget, uncounted: Uncounted, faster: Acceleration, exits: Exits) -> list[Patch | Call]:
    """What counts a script's training and makes it faster, and what ends it where the script ends its own process."""
    graph: Any = torch.autograd.graph
    cross_entropy, nll_loss = map(budget.means.watched, (functional.cross_entropy, functional.nll_loss))
    changes: list[Patch | Call] = [
        Patch(nn.Module, "__init_subclass__", budget.subclassing(), "Each forward of the network's class is counted."),
        Patch(
            GraphModule,
            "recompile",
            budget.recompiling(GraphModule.recompile),
            "So is the network that fx makes of it.",
        ),
        Patch(functional, "cross_entropy", cross_entropy, "The display shows the script's own loss."),
        Patch(functional, "nll_loss", nll_loss, "The display shows the script's own loss."),
        Patch(graph, "_engine_run_backward", uncounted.backward, "A backward pass may train what nobody counted."),
        Patch(torch.autograd, "_engine_run_backward", uncounted.backward, _ALSO_HERE),
        Call(register_optimizer_step_post_hook, (uncounted.step,), "A step may train what nobody counted."),
        Call(sys.addaudithook, (uncounted.audit,), "Another Python may train what nobody counted."),
    ]
    fetcher = staticmethod(loading.fetcher_of(_DatasetKind.create_fetcher))
    changes.append(Patch(_DatasetKind, "create_fetcher", fetcher, "Our own data set gives whole batches faster."))
    on_card, own = torch.cuda.is_available(), faster.loading
    if own.enabled:
        make = own.iterator_of(DataLoader._get_iterator)
        changes.append(Patch(DataLoader, "_get_iterator", make, "Worker processes hand batches over slower."))
        if on_card:
            why = "The next batch is made while the GPU works on a step."
            changes.append(Call(register_optimizer_step_post_hook, (own.prepare,), why))
    if on_card and faster.steps.enabled:
        fused = faster.steps.instead_of(sgd._multi_tensor_sgd)
        changes.append(Patch(sgd, "_multi_tensor_sgd", fused, "A fused step passes over the weights once."))
    return [*changes, *_each(exits.replacements(), "The trained network is tested, whichever way the script ends.")]


def install(changes: Iterable[Patch | Call]) -> None:
    """Make all changes, in their order."""
    for change in changes:
        if isinstance(change, Patch):
            setattr(change.owner, change.name, change.replacement)
        else:
            change.function(*change.arguments)


def surround(seed: int) -> Started:
    """Prepare this process for a script; return what the record says of it."""
    # Every student's run starts from the same recorded random state.
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    on_card = torch.cuda.is_available()
    device = torch.cuda.get_device_name(0) if on_card else f"CPU, {counted(torch.get_num_threads(), 'thread')}"
    install(surrounding())
    return Started(device, torch.__version__, on_card)


_own_seeds: list[Any] = []


def own_seed() -> bool:
    """Whether the script set torch's random state itself; a run with another seed of ours would then be the same."""
    return bool(_own_seeds)


def _noted_seed(seed: Callable[[Any], torch.Generator]) -> Callable[[Any], torch.Generator]:
    @functools.wraps(seed)
    def noted(value: Any) -> torch.Generator:
        _own_seeds.append(value)
        return seed(value)

    return noted


def _each(replacements: Mapping[tuple[Any, str], Any], why: str) -> list[Patch]:
    return [Patch(owner, name, replacement, why) for (owner, name), replacement in replacements.items()]
