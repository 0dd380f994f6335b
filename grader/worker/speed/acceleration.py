"""What makes a script's training faster, each optimization by its name, and how much of the run each was in use.

Two of them are here, the others in the modules beside this one: bfloat16, where the teacher asks for it and the script
has no precision of its own; and channels-last weights, where a network trains faster with them and gives the same
scores.
"""

import copy
import time
from collections.abc import Callable, Collection, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import Optimizer

from grader.records import (
    BATCHED_DRAWS,
    BATCHED_TRANSFORMS,
    BFLOAT16,
    CHANNELS_LAST,
    CUDA_GRAPHS,
    FUSED_STEPS,
    OWN_LOADING,
)
from grader.worker import dataset
from grader.worker.channel import note
from grader.worker.modes import switch
from grader.worker.speed.graphs import Graphs
from grader.worker.speed.loading import OwnLoading
from grader.worker.speed.steps import FusedSteps

# The layout is chosen at the ninth batch: before, a forward may only be a summary of the network. The timing costs
# about ten steps, which a shorter run would not win back.
_SEEN_BATCHES, _LEFT_BATCHES = 8, 100
_TIMED_STEPS = 3
# So much of the time a step must save.
_WORTH_CHANGING = 0.95
# Volta's. On an H100 channels-last brings a step from 2.46 to 2.24 ms at batch 4, and from 3.85 to 3.22 at batch 32.
# Beside others no timing shows so little for sure: of 16 runs at once some kept the slower layout.
_FIRST_TENSOR_CORES = (7, 0)
# Of the largest score: reduced precision differs by less, another order of the features by more.
_TOLERANCE = 1e-2

Forward = Callable[..., Any]


class Acceleration:
    """The optimizations of one run.

    Args:
        allowed: Those of `records.OPTIMIZATIONS` that may be used.
        precision: "script", or "bfloat16" for training forwards.
        optimizers: Those that took a step by the time of a forward.
    """

    def __init__(self, allowed: Collection[str], precision: str, optimizers: Iterable[Optimizer]) -> None:
        self._draws = BATCHED_DRAWS in allowed
        self.loading = OwnLoading(enabled=OWN_LOADING in allowed, random=self._draws_are_worth_it)
        self.steps = FusedSteps(enabled=FUSED_STEPS in allowed)
        self._graphs = Graphs(enabled=CUDA_GRAPHS in allowed)
        self._layout = Layout(optimizers, enabled=CHANNELS_LAST in allowed)
        self._precision = Precision(enabled=precision == BFLOAT16)

    def forward(self, network: nn.Module, forward: Forward, images: torch.Tensor, batches: int, left: int) -> Forward:
        """What to call in place of the next training forward.

        Args:
            forward: The network's own, uncounted.
            images: The batch that it gets.
            batches: How many were used before.
            left: Images that the budget still allows.
        """
        faster = self._precision.applied(network, forward)
        self._layout.consider(network, faster, images, batches, left)
        return self._graphs.applied(network, faster, images, batches, left)

    def _draws_are_worth_it(self) -> bool:
        """On a GPU only where replayed graphs leave the processor idle.

        Without them it launches kernels all the time: the reference took 17.9 ms a step so, and 13.2 bare (H200,
        2026-11-27).
        """
        return self._draws and (self._graphs.in_sight or not torch.cuda.is_available())

    def in_use(self, batches: int) -> tuple[tuple[str, float], ...]:
        """Each optimization, and for which share of the batches, images or passes over the data it was in use."""
        return (
            (BATCHED_TRANSFORMS, dataset.served.share),
            (OWN_LOADING, self.loading.share),
            (BATCHED_DRAWS, self.loading.random_share),
            (CHANNELS_LAST, self._layout.share(batches)),
            (CUDA_GRAPHS, self._graphs.share(batches)),
            (FUSED_STEPS, self.steps.share(batches)),
            (BFLOAT16, self._precision.share(batches)),
        )


class Precision:
    """Mixed precision as torch.autocast gives it: weights, their gradients and what comes out stay float32.

    Args:
        enabled: False: forwards are what the script made them.
    """

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled
        self._reduced = 0

    def applied(self, network: nn.Module, forward: Forward) -> Forward:
        """The same forward, in bfloat16 unless the script's own autocast is on around it."""
        device = next((weight.device.type for weight in network.parameters()), "cpu")
        if not self._enabled or torch.is_autocast_enabled(device):
            return forward
        self._reduced += 1
        note("Training forward passes ran in mixed precision (bfloat16), as your course chose.")

        def reduced(network: nn.Module, *args: Any, **options: Any) -> Any:
            # With autocast's cache a forward could not be captured. It only helps where a weight is used twice.
            with torch.autocast(device, dtype=torch.bfloat16, cache_enabled=False):
                output = forward(network, *args, **options)
            return _in_float32(output)

        return reduced

    def share(self, batches: int) -> float:
        """The share of a run's batches. At most: forwards from which nothing was learned count, too."""
        return min(1.0, self._reduced / batches) if batches else 0.0


def _in_float32(output: Any) -> Any:
    if isinstance(output, tuple | list):
        return type(output)(_in_float32(each) for each in output)
    reduced = isinstance(output, torch.Tensor) and output.dtype == torch.bfloat16
    return output.float() if reduced else output


class Layout:
    """Decides once in a run, before one of its training forwards, whether weights lie channels-last.

    Tensor cores compute in it: in the other layout cuDNN converts around each convolution. Elsewhere it depends on the
    machine, the batch and the script, so both are timed on a copy of the network.

    Args:
        optimizers: Those that took a step by then.
    """

    def __init__(self, optimizers: Iterable[Optimizer], *, enabled: bool) -> None:
        self._optimizers, self._open = optimizers, enabled
        self._changed_at: int | None = None

    def consider(self, network: nn.Module, forward: Forward, images: torch.Tensor, batches: int, left: int) -> None:
        """Take the faster layout; arguments as for `Acceleration.forward`."""
        if not self._open or batches < _SEEN_BATCHES:
            return
        self._open = False
        if left < _LEFT_BATCHES * len(images) or not self._is_faster(network, forward, images):
            return
        # The class's own `to` may be the script's.
        nn.Module.to(network, memory_format=torch.channels_last)
        for optimizer in self._optimizers:
            _convert_state(optimizer)
        self._changed_at = batches

    def _is_faster(self, network: nn.Module, forward: Forward, images: torch.Tensor) -> bool:
        """Try both on copies; a network that does not train in the other layout, or not alike, keeps its own."""
        devices = [images.device] if images.is_cuda else []
        try:
            with torch.random.fork_rng(devices):
                as_it_is = copy.deepcopy(network)
                changed = nn.Module.to(copy.deepcopy(network), memory_format=torch.channels_last)
                before, after = (step_seconds(each, forward, images) for each in (as_it_is, changed))
                faster = _has_tensor_cores(images.device) or after < _WORTH_CHANGING * before
                return faster and _agree(as_it_is, changed, forward, images)
        except Exception:  # what a script's network does on a copy is no fault of it
            return False

    def share(self, batches: int) -> float:
        """The share of a run's batches that came after the change."""
        return (batches - self._changed_at) / batches if self._changed_at is not None and batches else 0.0


def _has_tensor_cores(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= _FIRST_TENSOR_CORES


def step_seconds(network: nn.Module, forward: Forward, images: torch.Tensor) -> float:
    """The fastest of some training steps without the optimizer; the first one only warms up."""
    seconds = []
    for _ in range(1 + _TIMED_STEPS):
        began = time.monotonic()
        network.zero_grad()
        forward(network, images).float().square().mean().backward()
        if images.is_cuda:
            torch.cuda.synchronize(images.device)
        seconds.append(time.monotonic() - began)
    return min(seconds[1:])


def _agree(some: nn.Module, other: nn.Module, forward: Forward, images: torch.Tensor) -> bool:
    """In eval mode and with the same running statistics, since dropout draws in the order of the memory."""
    other.load_state_dict(some.state_dict())
    with torch.no_grad():
        for each in (some, other):
            switch(each, training=False)
        expected, found = (forward(each, images).float() for each in (some, other))
    return torch.allclose(found, expected, rtol=_TOLERANCE, atol=_TOLERANCE * float(expected.abs().max()))


def _convert_state(optimizer: Optimizer) -> None:
    """Bring an optimizer's buffers into its parameters' layout, so that a step reads both in the same order."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, torch.Tensor) and value.ndim == 4 and value.shape == parameter.shape:
                state[name] = value.contiguous(memory_format=torch.channels_last)
