"""Training that the budget did not count, as far as it can be noticed: steps, backward passes, other programs.

Whoever looks for this object finds it, since a script shares its process: this is for a person's eyes and moves no
points.
"""

import re
import threading
import weakref
from typing import Any

import torch
from torch.optim.optimizer import Optimizer

from grader.worker.channel import shared_counts

# Two optimizers for one network are no reason to doubt.
_A_BATCH = 2
_ALLOWANCE = 50
_STEPS, _PASSES, _PROGRAMS = range(3)
_PYTHON = re.compile(r"(?:^|[/\s])(?:python[\d.]*(?=\s|$)|proc/\w+/exe)")
# What a notebook often does, and all that such a command does.
_PIP = re.compile(r"(?:/bin/sh -c )?\S*python[\d.]*\s+-m\s+pip\s[^;&|\n]*")


class Uncounted:
    """Counts, in forked children too, what training needs.

    Every step of every optimizer of torch; every backward pass, `autograd.grad` among them; every start of another
    Python. Torch and Python call its `step`, `backward` and `audit`, as patches.py arranges.

    Attributes:
        optimizers: Those that took a step.
    """

    def __init__(self) -> None:
        self._counts = shared_counts(3)
        self._inside = threading.local()
        self._closed = False
        self.optimizers: weakref.WeakSet[Optimizer] = weakref.WeakSet()
        self._run_backward = torch.autograd.graph._engine_run_backward

    def end_training(self) -> None:
        """From now on no gradient is computed: the test images are there.

        A backward pass raises RuntimeError in the script's code.
        """
        self._closed = True

    def doubts(self, batches: int) -> tuple[str, ...]:
        """Say so where there was far more than `batches`, those from which a counted network learned, explain."""
        explained = _A_BATCH * batches + _ALLOWANCE
        found = [
            f"{self._counts[which]} {what}, but IdentityResNet learned from {batches} batches: "
            "something else may have been trained"
            for which, what in ((_STEPS, "optimizer steps"), (_PASSES, "backward passes"))
            if self._counts[which] > explained
        ]
        if self._counts[_PROGRAMS]:
            found.append("the script started another Python program: the grader did not count what that trained")
        return tuple(found)

    def step(self, optimizer: Optimizer, _arguments: Any, _options: Any) -> None:
        """Count a step, after it, as a hook of all optimizers."""
        self._counts[_STEPS] += 1
        self.optimizers.add(optimizer)

    def backward(self, *arguments: Any, **options: Any) -> Any:
        """Count a pass and run it, in the place of torch's own function."""
        if self._closed:
            raise RuntimeError("training is over: no gradients are computed while the network is tested")
        if getattr(self._inside, "backward", False):  # a pass inside a pass, as checkpointing makes them
            return self._run_backward(*arguments, **options)
        self._counts[_PASSES] += 1
        self._inside.backward = True
        try:
            return self._run_backward(*arguments, **options)
        finally:
            self._inside.backward = False

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Count the start of a program, as an audit hook."""
        if event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"):
            self._counts[_PROGRAMS] += starts_python(*arguments[:2])


def starts_python(program: Any, words: Any = ()) -> bool:
    """Whether a command starts a Python other than pip.

    Args:
        program: What is started, or the whole command of a shell.
        words: The command's words, the first of which may be the program once more, or any other name for it.
    """
    listed = words if words and isinstance(words, list | tuple) else [words or program]
    name, *others = (_text(word) for word in (program, *listed))
    command = " ".join(others)
    return bool(_PYTHON.search(name) or _PYTHON.search(command)) and not _PIP.fullmatch(command)


def _text(word: Any) -> str:
    return word.decode(errors="replace") if isinstance(word, bytes) else str(word)
