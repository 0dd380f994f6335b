"""Count the training images that IdentityResNet uses, and stop the script when the budget is spent."""

import functools
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import nn

from grader.protocol import Progress
from grader.records import StopReason
from grader.worker.batch_means import BatchMeans
from grader.worker.channel import Channel, shared_counts
from grader.worker.speed.acceleration import Acceleration

# The timer leaves the next forward so long to come and stop the script between two steps, before it steps in itself.
_PATIENCE_SECONDS = 30.0
_PROGRESS_SECONDS = 1.0
_FORWARDS_MEASURED = 64
_SAMPLES, _BATCHES = range(2)
# Kept here before a script runs: one that puts its own functions into torch or time is counted all the same.
_is_grad_enabled, _register_hook = torch.is_grad_enabled, torch.Tensor.register_hook
_now, _pid = time.monotonic, os.getpid
_set_tracing_state = torch._C._set_tracing_state  # type: ignore[attr-defined]


class Statistics:
    """Shape, dtype, mean and spread of what the first training forwards saw."""

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self.dtype: torch.dtype | None = None
        self.means: list[float] = []
        self.spreads: list[float] = []
        # For each forward: the mean of each channel, and the mean of its squares.
        self.channels: list[list[list[float]]] = []

    def add(self, images: torch.Tensor) -> None:
        """Look at one batch; the first few are enough, since each look waits for the device."""
        if len(self.means) < _FORWARDS_MEASURED:
            seen = images.detach().float()
            self.shape, self.dtype = tuple(images.shape[1:]), images.dtype
            self.means.append(seen.mean().item())
            self.spreads.append(seen.std(correction=0).item())
            if seen.ndim == 4:
                self.channels.append([seen.mean(dim=(0, 2, 3)).tolist(), seen.square().mean(dim=(0, 2, 3)).tolist()])


class Budget:
    """The budget of one script.

    Rows of a forward count once a gradient flows back into its output, so a test loop without `no_grad` costs nothing.
    The class's own `forward` is wrapped, since scripts also call `net.forward(x)`, which skips module hooks. What a
    forked child uses counts too; past the budget the child ends, and the script goes on without it.

    Args:
        samples: Training images that may be used; 0 stops before the first training forward.
        stop: Called once, in the thread that met the limit; must not return.
        acceleration: May change how a training forward is computed, between two steps.
    """

    def __init__(
        self,
        class_name: str,
        samples: int,
        seconds: float,
        channel: Channel,
        stop: Callable[[StopReason], NoReturn],
        acceleration: Acceleration,
    ) -> None:
        self._class_name, self._limit, self._seconds = class_name, samples, seconds
        self._channel, self._stop, self._acceleration = channel, stop, acceleration
        self._closing = threading.Lock()
        self._inside = threading.local()
        self._pid = _pid()
        self._counts = shared_counts(2)
        self._used: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self._best: Any = None
        self._latest: Any = None
        self._last_progress = 0.0
        self.means = BatchMeans()
        self.defined: type[nn.Module] | None = None
        self.started: float | None = None
        self.batch_size = 0
        self.statistics = Statistics()

    @property
    def network(self) -> Any:
        """The instance that used the most training images; before any did, the one that was made last."""
        return self._best if self._best is not None else self._latest

    @property
    def samples(self) -> int:
        """Training images used, by forked children too."""
        return self._counts[_SAMPLES]

    @property
    def batches(self) -> int:
        """Forwards that were learned from, by forked children too."""
        return self._counts[_BATCHES]

    @property
    def seconds(self) -> float:
        """Since the first training forward; 0 before it."""
        return _now() - self.started if self.started is not None else 0.0

    def subclassing(self) -> Any:
        """`nn.Module.__init_subclass__`; it wraps every class of the expected name as soon as a script defines it."""
        budget = self

        def __init_subclass__(  # noqa: N807 (it becomes a method)
            cls: type[nn.Module], /, **options: Any
        ) -> None:
            super(nn.Module, cls).__init_subclass__(**options)
            if cls.__name__ == budget._class_name:
                budget.defined = cls
                budget._wrap(cls)

        return classmethod(__init_subclass__)

    def start_timer(self, setup_seconds: float) -> None:
        """Stop the script at the end of its time, also where no forward comes: a hang, a sleep, a loop beside it."""
        begun = _now()

        def watch() -> None:
            while True:
                time.sleep(0.5)
                if self.started is None:
                    overdue = _now() - begun - setup_seconds
                else:
                    overdue = self.seconds - self._seconds - _PATIENCE_SECONDS
                if overdue > 0:
                    self.close(StopReason.TIME_BUDGET)

        threading.Thread(target=watch, daemon=True, name="budget").start()

    def close(self, reason: StopReason) -> NoReturn:
        """End the script's turn: evaluate in this thread; any other thread that comes here waits for the end."""
        if _pid() != self._pid:
            os._exit(0)
        self._closing.acquire()
        # From here on this thread's forwards are the grader's own, also where a network switches gradients on.
        self._inside.forward = True
        # A forward may be traced for TensorBoard's graph; ours must not be, or the process ends there.
        _set_tracing_state(None)
        self._stop(reason)

    def _wrap(self, cls: type[nn.Module]) -> None:
        init, forward = cls.__init__, cls.forward

        @functools.wraps(init)
        def counted_init(network: nn.Module, *args: Any, **options: Any) -> None:
            init(network, *args, **options)
            self._latest = network

        @functools.wraps(forward)
        def counted_forward(network: nn.Module, *args: Any, **options: Any) -> Any:
            if not _is_grad_enabled() or getattr(self._inside, "forward", False):
                return forward(network, *args, **options)
            images = next((value for value in (*args, *options.values()) if _is_batch(value)), None)
            began = self._before_forward()
            self._inside.forward = True
            try:
                left = self._limit - self.samples
                faster = self._acceleration.forward(network, forward, images, self.batches, left)
                output = faster(network, *args, **options)
            finally:
                self._inside.forward = False
            self._count_when_used(network, output, images, began)
            return output

        cls.__init__ = counted_init  # type: ignore[method-assign,assignment]
        cls.forward = counted_forward

    def _before_forward(self) -> float:
        """Stop the script where its budget is spent; else say when this forward began."""
        if self.samples >= self._limit:
            self.close(StopReason.EPOCH_BUDGET)
        if self.seconds > self._seconds:
            self.close(StopReason.TIME_BUDGET)
        if self._closing.locked():
            self._closing.acquire()
        return _now()

    def _count_when_used(self, network: nn.Module, output: Any, images: torch.Tensor | None, began: float) -> None:
        """Take a forward for training once a gradient flows back: a summary of the network or a test is none.

        What went in is counted, since a forward may return one loss for all; without such a tensor, what came out.
        """
        tensors = [output] if isinstance(output, torch.Tensor) else output if isinstance(output, tuple | list) else []
        unused = [images]

        def count(gradient: torch.Tensor) -> None:
            if not unused:
                return
            images = unused.pop()
            if self.started is None:
                self.started = began
            if images is not None:
                self.batch_size = self.batch_size or _rows(images)
                self.statistics.add(images)
            self._add(network, _rows(images if images is not None else gradient))

        for tensor in tensors:
            if isinstance(tensor, torch.Tensor) and tensor.requires_grad:
                _register_hook(tensor, count)  # type: ignore[no-untyped-call]

    def _add(self, network: nn.Module, rows: int) -> None:
        self._counts[_SAMPLES] += rows
        self._counts[_BATCHES] += 1
        self.means.learned()
        self._used[network] = self._used.get(network, 0) + rows
        if self._best is None or self._used[network] >= self._used.get(self._best, 0):
            self._best = network
        if _pid() == self._pid and self.seconds - self._last_progress > _PROGRESS_SECONDS:
            self._last_progress = self.seconds
            self._channel.say(Progress(self.samples, self.seconds, *self.means.take()))


def _rows(batch: torch.Tensor) -> int:
    """Not `len`, which a script may have put its own in the place of."""
    return batch.shape[0] if batch.ndim else 1


def _is_batch(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.ndim > 0
