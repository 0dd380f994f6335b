"""Count the training images that IdentityResNet uses, and stop the script when the budget is spent."""

import functools
import itertools
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any, NoReturn

import torch
from torch import nn
from torch.fx import Proxy
from torch.utils._python_dispatch import _disable_current_modes

from grader.protocol import Progress
from grader.records import StopReason
from grader.worker.batch_means import BatchMeans
from grader.worker.channel import Channel, shared_counts
from grader.worker.preprocessing import Statistics
from grader.worker.speed.acceleration import Acceleration
from grader.worker.tensors import as_plain, is_symbolic

# The timer leaves the next forward so long to come and stop the script between two steps, before it steps in itself.
_PATIENCE_SECONDS = 30.0
_PROGRESS_SECONDS = 1.0
_SAMPLES, _BATCHES, _TARGETS = range(3)
# Kept here before a script runs: one that puts its own functions into torch or time is counted all the same.
_is_grad_enabled, _register_hook = torch.is_grad_enabled, torch.Tensor.register_hook
_Tensor, _size, _dimensions = torch.Tensor, torch.Tensor.size, torch.Tensor.dim
_requires_grad: Any = torch.Tensor.requires_grad.__get__  # type: ignore[attr-defined]
# Of what goes into a forward and comes out: so deep, and so many values.
_DEPTH, _MOST_VALUES = 4, 1_000
_WITHOUT_PARTS = (torch.Tensor, nn.Parameter, int, float, bool, str, bytes, type(None))
_now, _pid = time.monotonic, os.getpid
# It imports something when it first runs, and then a script may have left it no file to open.
with _disable_current_modes():
    pass
_functorch: Any = torch._C._functorch
_set_tracing_state = torch._C._set_tracing_state  # type: ignore[attr-defined]


class _Targets:
    """Counts the targets at losses, and rows that had a target and went into no forward as rows: packed in channels.

    A gradient flows through the losses of a batch, then into its forwards. The batch is over where the next one begins.
    """

    def __init__(self, counts: memoryview) -> None:
        self._counts = counts
        self._at_losses = self._in_forwards = 0
        self._last: Any = None

    def on_loss(self, loss: Any, target: Any) -> None:
        """Note the rows of a loss's target once a gradient flows into the loss."""

        def flows(_: torch.Tensor) -> None:
            if self._in_forwards:
                self.settle()
            # Several losses of one batch may share its labels.
            if target is not self._last:
                self._counts[_TARGETS] += rows
            self._last = target
            self._at_losses = max(self._at_losses, rows)

        if isinstance(loss, _Tensor) and isinstance(target, _Tensor):
            rows = _rows(target)
            _hook(loss, flows)

    def learned(self, rows: int) -> None:
        """Note rows of a forward into which the gradient went on."""
        self._in_forwards += rows

    def settle(self) -> None:
        """Count what is left of a batch that is over."""
        if 0 < self._in_forwards < self._at_losses:
            self._counts[_SAMPLES] += self._at_losses - self._in_forwards
        self._at_losses = self._in_forwards = 0
        self._last = None


class Budget:
    """The budget of one script.

    Rows of a forward count once a gradient flows back into its output, so a test loop without `no_grad` costs nothing.
    Their number is the largest of three: the rows that went in, those of the gradient, and those of the targets at the
    losses from which it comes.
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
        self._counts = shared_counts(3)
        self._targets = _Targets(self._counts)
        self._used: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self._best: Any = None
        self._latest: Any = None
        self._last_progress = 0.0
        self._without_modes: Any = None
        self.means = BatchMeans(self._targets.on_loss)
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
    def targets(self) -> int:
        """Rows of targets at losses from which a gradient flowed back, in forked children too."""
        return self._counts[_TARGETS]

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
                cls.__init__ = budget._made(cls.__init__)  # type: ignore[method-assign]
                cls.forward = budget._counted(cls.forward)

        return classmethod(__init_subclass__)

    def recompiling(self, recompile: Callable[..., Any]) -> Callable[..., Any]:
        """`fx.GraphModule.recompile`; what torch.fx makes of a network has its name, its weights and a new forward."""

        @functools.wraps(recompile)
        def recompiled(module: Any, *args: Any, **options: Any) -> Any:
            code = recompile(module, *args, **options)
            if type(module).__name__ == self._class_name:
                type(module).forward = self._counted(type(module).forward)
            return code

        return recompiled

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
        self._targets.settle()
        # From here on this thread's forwards are the grader's own, also where a network switches gradients on.
        self._inside.forward = True
        # A forward may be traced for TensorBoard's graph; ours must not be, or the process ends there.
        _set_tracing_state(None)
        # A mode that sees every operation is a tracer's or the script's; it would come back if this object ended.
        self._without_modes = _disable_current_modes()
        self._without_modes.__enter__()
        _leave_transformations(self.network)
        self._stop(reason)

    def _made(self, init: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(init)
        def noted_init(network: nn.Module, *args: Any, **options: Any) -> None:
            init(network, *args, **options)
            self._latest = network

        return noted_init

    def _counted(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(forward)
        def counted_forward(network: nn.Module, *args: Any, **options: Any) -> Any:
            if getattr(self._inside, "forward", False):
                return forward(network, *args, **options)
            images = next((value for value in (*args, *options.values()) if _is_batch(value)), None)
            if not (network.training and _is_grad_enabled()):
                self.statistics.test(images)
            if not _is_grad_enabled():
                return forward(network, *args, **options)
            # Without a batch of numbers it fetches its images itself, or is traced: what comes out tells.
            unseen = images is None or is_symbolic(images)
            began = 0.0 if unseen else self._before_forward()
            self._inside.forward = True
            try:
                compute = forward if unseen else self._faster(network, forward, images)
                output = compute(network, *args, **options)
            finally:
                self._inside.forward = False
            if unseen:
                # Inside torch's tracers nothing is learned, and no network can be tested from there.
                if all(map(is_symbolic, _tensors(output))):
                    return output
                began, images = self._before_forward(), None
            self._count_when_used(network, output, images, _rows_of_all((args, options)), began)
            return output

        return counted_forward

    def _faster(self, network: nn.Module, forward: Callable[..., Any], images: Any) -> Callable[..., Any]:
        return self._acceleration.forward(network, forward, images, self.batches, self._limit - self.samples)

    def _before_forward(self) -> float:
        """Stop the script where its budget is spent; else say when this forward began."""
        self._targets.settle()
        if self.samples >= self._limit:
            self.close(StopReason.EPOCH_BUDGET)
        if self.seconds > self._seconds:
            self.close(StopReason.TIME_BUDGET)
        if self._closing.locked():
            self._closing.acquire()
        return _now()

    def _count_when_used(
        self, network: nn.Module, output: Any, images: torch.Tensor | None, rows: int, began: float
    ) -> None:
        """Take a forward for training once a gradient flows back: a summary of the network or a test is none.

        Args:
            rows: Of what went in. A forward may return one loss for all of them; where more rows than these get
                gradients, those count.
        """
        counted, used = 0, False

        def count(gradient: torch.Tensor) -> None:
            nonlocal counted, used, images
            # A mean over the batch has a gradient without rows.
            more = max(rows, _rows(gradient) if _dimensions(gradient) > 1 else 1) - counted
            if used and more <= 0:
                return
            if not used:
                used = True
                if self.started is None:
                    self.started = began
                if images is not None:
                    self.batch_size = self.batch_size or _rows(images)
                    self.statistics.add(images)
                images = None  # the script may keep its output, and so this function
                self._counts[_BATCHES] += 1
            counted += more
            self._targets.learned(more)
            self._add(network, more)

        for tensor in _tensors(output):
            _hook(tensor, count)

    def _add(self, network: nn.Module, rows: int) -> None:
        self._counts[_SAMPLES] += rows
        self.means.learned()
        self._used[network] = self._used.get(network, 0) + rows
        if self._best is None or self._used[network] >= self._used.get(self._best, 0):
            self._best = network
        if _pid() == self._pid and self.seconds - self._last_progress > _PROGRESS_SECONDS:
            self._last_progress = self.seconds
            self._channel.say(Progress(self.samples, self.seconds, *self.means.take()))


def _leave_transformations(network: Any) -> None:
    """Out of `torch.func.grad` and the like, in which a forward may have been stopped; weights are tensors again."""
    while _functorch.peek_interpreter_stack() is not None:
        _functorch.pop_dynamic_layer_stack()
    for module in network.modules() if isinstance(network, nn.Module) else ():
        tables: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        for table in tables:
            for name, tensor in table.items():
                if tensor is None or not _functorch.is_functorch_wrapped_tensor(tensor):
                    continue
                while _functorch.is_functorch_wrapped_tensor(tensor):
                    tensor = _functorch.get_unwrapped(tensor)
                # Such a function's arguments learn, without saying so.
                table[name] = nn.Parameter(tensor.detach()) if table is tables[0] else tensor


def _rows(batch: torch.Tensor) -> int:
    """Not `len` or `shape`, which a script may have put its own in the place of."""
    with as_plain():
        return int(_size(batch, 0)) if _dimensions(batch) else 1


def _hook(tensor: torch.Tensor, function: Callable[[torch.Tensor], None]) -> None:
    with as_plain():
        if _requires_grad(tensor):
            _register_hook(tensor, function)  # type: ignore[no-untyped-call]


def _rows_of_all(values: Any) -> int:
    """The most rows of one tensor, or all images where they come in several: of one row each, say."""
    tensors = list(_tensors(values))
    with as_plain():
        several = sum(int(_size(tensor, 0)) for tensor in tensors if _dimensions(tensor) > 2)
    return max([several, *map(_rows, tensors)])


def _tensors(value: Any, depth: int = _DEPTH) -> Iterator[torch.Tensor]:
    """Each tensor in a value, in lists, tables and objects as well; those that a tensor of another class holds too."""
    if isinstance(value, _Tensor):
        yield value
    if not depth or type(value) in _WITHOUT_PARTS or isinstance(value, nn.Module | type | ModuleType | Proxy):
        return
    if isinstance(value, tuple | list | set):
        parts: Iterable[Any] = value
    else:
        parts = value.values() if isinstance(value, dict) else getattr(value, "__dict__", {}).values()
    for part in itertools.islice(parts, _MOST_VALUES):
        yield from _tensors(part, depth - 1)


def _is_batch(value: Any) -> bool:
    return isinstance(value, _Tensor) and _dimensions(value) > 0
