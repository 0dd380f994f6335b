"""Channels-last weights, where a network trains faster with them and gives the same scores.

Which layout is faster depends on the machine, the batch and the script, so both are timed on a copy of the network,
in the way in which the network will be trained. On a GPU that is by replayed graphs, where the launching of single
kernels would hide the difference (H100, batch 4: 2.24 and 2.46 ms a step).
"""

import copy
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import Optimizer

# Timed at the ninth batch, so that it is no summary of the network. The timing costs about ten steps: shorter runs
# would not win them back.
_SEEN_BATCHES, _LEFT_BATCHES = 8, 100
_TIMED_STEPS = 3
# So much of the time a step must save.
_WORTH_CHANGING = 0.95
# Of the largest score: reduced precision differs by less, another order of the features by more.
_TOLERANCE = 1e-2

Forward = Callable[..., Any]
StepSeconds = Callable[[nn.Module, Forward, torch.Tensor], float]


class Layout:
    """Decides once in a run, before one of its training forwards.

    Args:
        optimizers: Those that took a step by then.
        step_seconds: Times a training step of a network without its optimizer, for a batch of images.
    """

    def __init__(self, optimizers: Iterable[Optimizer], step_seconds: StepSeconds, *, enabled: bool) -> None:
        self._optimizers, self._step_seconds, self._open = optimizers, step_seconds, enabled
        self._changed_at: int | None = None

    def consider(
        self, network: nn.Module, forward: Forward, images: torch.Tensor | None, batch: int, left: int
    ) -> None:
        """Time a training step in both layouts and take the faster one.

        Args:
            forward: The network's own, uncounted.
            images: The batch that comes next; None: what comes next is no batch.
            batch: How many batches were used before.
            left: Images that the budget still allows.
        """
        if not self._open or batch < _SEEN_BATCHES or images is None:
            return
        self._open = False
        if left < _LEFT_BATCHES * len(images) or not self._is_faster(network, forward, images):
            return
        # The class's own `to` may be the script's.
        nn.Module.to(network, memory_format=torch.channels_last)
        for optimizer in self._optimizers:
            _convert_state(optimizer)
        self._changed_at = batch

    def _is_faster(self, network: nn.Module, forward: Forward, images: torch.Tensor) -> bool:
        """Try both on copies; a network that does not work in the other layout, or not alike, keeps its own."""
        devices = [images.device] if images.is_cuda else []
        try:
            with torch.random.fork_rng(devices):
                as_it_is = copy.deepcopy(network)
                changed = nn.Module.to(copy.deepcopy(network), memory_format=torch.channels_last)
                before, after = (self._step_seconds(each, forward, images) for each in (as_it_is, changed))
                return after < _WORTH_CHANGING * before and _agree(as_it_is, changed, forward, images)
        except Exception:  # what a script's network does on a copy is no fault of it
            return False

    def share(self, batches: int) -> float:
        """The share of a run's batches that came after the change."""
        return (batches - self._changed_at) / batches if self._changed_at is not None and batches else 0.0


def step_seconds(network: nn.Module, forward: Forward, images: torch.Tensor) -> float:
    """The fastest of some training steps without the optimizer; the first one only warms up."""

    def step() -> None:
        network.zero_grad()
        forward(network, images).float().square().mean().backward()

    return fastest(step, images)


def fastest(step: Callable[[], None], images: torch.Tensor) -> float:
    """Seconds of the fastest call of some, on the device of `images`; the first one only warms up."""
    seconds = []
    for _ in range(1 + _TIMED_STEPS):
        _wait(images)
        began = time.monotonic()
        step()
        _wait(images)
        seconds.append(time.monotonic() - began)
    return min(seconds[1:])


def _agree(some: nn.Module, other: nn.Module, forward: Forward, images: torch.Tensor) -> bool:
    """In eval mode, with one and the same running statistics: dropout draws in the order of the memory."""
    other.load_state_dict(some.state_dict())
    with torch.no_grad():
        expected, found = (forward(each.eval(), images).float() for each in (some, other))
    return torch.allclose(found, expected, rtol=_TOLERANCE, atol=_TOLERANCE * float(expected.abs().max()))


def _wait(images: torch.Tensor) -> None:
    if images.is_cuda:
        torch.cuda.synchronize(images.device)


def _convert_state(optimizer: Optimizer) -> None:
    """Bring an optimizer's buffers into its parameters' layout; each step would go through both in turn otherwise."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, torch.Tensor) and value.ndim == 4 and value.shape == parameter.shape:
                state[name] = value.contiguous(memory_format=torch.channels_last)
