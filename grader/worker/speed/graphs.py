"""CUDA graphs around a network's training forward and backward: the same kernels, in the same order, launched at once.

At small batches a GPU waits for Python to launch one kernel after the other; a graph is launched as a whole. It holds
for one network, one shape and one way through the code: every call that differs takes the network's own forward.

The forward is captured with fresh leaves that share the weights' storage. So the autograd nodes of the script's last
loss, which may still be alive and belong to another stream, are not in the graph (pytorch#180090). Gradients leave the
graph's buffers as copies, so that nothing a script keeps is overwritten (pytorch#181723).
"""

import random
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.autograd.function import once_differentiable

from grader.worker.channel import note
from grader.worker.draws import RandomStates, random_states
from grader.worker.speed.cuda_graph import CudaGraph, Flat

# After the layout is chosen, at batch 8. A capture costs about a dozen steps, so it needs many batches to pay off.
_SEEN_BATCHES, _LEFT_BATCHES = 10, 200
# A script that trains network after network, or changes one again and again, is captured at most this often.
_MOST_CAPTURES = 8
# Two ways to add the same products differ by less, also in TF32; a wrong capture differs by far more. A gradient below
# the second number times all gradients is rounding noise, as that of a bias before batch normalization.
_TOLERANCE, _NOISE = 1e-2, 1e-3
_DEVICE = "cuda"
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_PLAIN = (bool, int, float, str, tuple, type(None))

Forward = Callable[..., Any]


class Graphs:
    """Captures a network's training forward once it has come often enough in one form, and replays it from then on."""

    def __init__(self, *, enabled: bool) -> None:
        self._open = enabled
        self._graphed: _Graphed | None = None
        self._captures = self._unlike = self._replays = 0

    def applied(self, network: nn.Module, forward: Forward, images: torch.Tensor, batches: int, left: int) -> Forward:
        """What to call in place of `forward`; arguments as for `Acceleration.forward`."""
        if not _can_be_captured(images):
            return forward
        waited = batches >= _SEEN_BATCHES and (self._graphed is None or self._unlike >= _SEEN_BATCHES)
        if self._open and waited and left >= _LEFT_BATCHES * len(images):
            self._captures += 1
            self._unlike = 0
            self._graphed = _captured(network, forward, images)
            self._open = self._graphed is not None and self._captures < _MOST_CAPTURES
        return forward if self._graphed is None else partial(self._called, forward, self._graphed)

    @property
    def in_sight(self) -> bool:
        """Whether steps are replayed, or still may be."""
        return self._open or self._graphed is not None

    def share(self, batches: int) -> float:
        """The share of a run's batches that were replayed. At most: replays without a backward pass count, too."""
        return min(1.0, self._replays / batches) if batches else 0.0

    def _called(self, forward: Forward, graphed: "_Graphed", network: nn.Module, *args: Any, **options: Any) -> Any:
        """Replay where the graph fits a call, else call `forward`."""
        if len(args) == 1 and not options and graphed.fits(network, args[0]):
            self._unlike = 0
            self._replays += 1
            return graphed.replay(args[0])
        self._unlike += 1
        return forward(network, *args, **options)


def _captured(network: nn.Module, forward: Forward, images: torch.Tensor) -> "_Graphed | None":
    """Capture, then try on two batches; a network that cannot be captured, or not alike, keeps its own forward."""
    try:
        with _put_back(network, images):
            graphed = _Graphed(network, forward, images)
        off = _differs(network, forward, lambda _, batch: graphed.replay(batch), images)
        if off is None:
            return graphed
        reason = f"replayed steps gave other numbers: {off}"
    except Exception as error:  # what a script's network does while it is captured is no fault of it
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
    note(f"The grader could not train your network with CUDA graphs ({reason}), so it trained it without them.")
    return None


class _Graphed:
    """One network's captured training step, and what a call must be like to be replayed."""

    def __init__(self, network: nn.Module, forward: Forward, images: torch.Tensor) -> None:
        self._network = network
        self._granted = _Granted(network)
        self._like = (images.shape, images.dtype, images.device)
        self._stream = torch.cuda.current_stream(images.device) if images.is_cuda else None
        named = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
        self._weights = list(named.values())
        leaves = {f"network.{name}": weight.detach().requires_grad_() for name, weight in named.items()}
        self._gradients = Flat(self._weights)
        function = partial(torch.func.functional_call, _Shim(network, forward), leaves)
        self.graph = CudaGraph(function, images, list(leaves.values()), self._gradients)
        self._last: weakref.ref[_Pass] | None = None

    def fits(self, network: nn.Module, images: Any) -> bool:
        """Whether a call is what was captured, and would overwrite nothing that a backward pass still needs."""
        last = self._last() if self._last else None
        return (
            network is self._network
            and type(images) is torch.Tensor
            and (images.shape, images.dtype, images.device) == self._like
            and _can_be_captured(images)
            and (last is None or last.went_back)
            and (self._stream is None or torch.cuda.current_stream(images.device) == self._stream)
            # Under a mode that counts operations, say, a replay would be invisible.
            and not torch._C._len_torch_dispatch_stack()
            and self._granted.hold()
        )

    def replay(self, images: torch.Tensor) -> Any:
        """The network's output for `images`, whose backward pass is replayed, too."""
        passed = _Pass()
        self._last = weakref.ref(passed)
        return _Replayed.apply(self, passed, images, *self._weights)

    def output(self, images: torch.Tensor) -> torch.Tensor:
        return self.graph.forward(images).clone()

    def gradients(self, passed: "_Pass", gradient: torch.Tensor) -> list[torch.Tensor | None]:
        """The gradients of the weights, as parts of one copy.

        Raises:
            RuntimeError: Another forward was replayed since; what this one kept for its backward pass is gone.
        """
        if self._last is None or self._last() is not passed:
            raise RuntimeError("the grader's CUDA graph was replayed again before this backward pass")
        passed.went_back = True
        return self._gradients.parts(self.graph.backward(gradient).clone())


class _Pass:
    """One replayed forward, as long as autograd or the script may still go back through it."""

    went_back = False


class _Replayed(torch.autograd.Function):
    """A replay as autograd sees it: from the weights to the output."""

    @staticmethod
    def forward(ctx: Any, graphed: _Graphed, passed: _Pass, images: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        ctx.graphed, ctx.passed = graphed, passed
        return graphed.output(images)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        return (None, None, None, *ctx.graphed.gradients(ctx.passed, gradient))


class _Shim(nn.Module):
    """Calls the network's original forward, not the counting one of its class."""

    def __init__(self, network: nn.Module, forward: Forward) -> None:
        super().__init__()
        self.network = network
        self._own = forward
        self.training = network.training

    def forward(self, images: torch.Tensor) -> Any:
        # Replays would go on reading a weight that autocast keeps in a smaller dtype, also after it has changed.
        kept, torch_dtype = torch.is_autocast_enabled(_DEVICE), torch.get_autocast_dtype(_DEVICE)
        with torch.autocast(_DEVICE, dtype=torch_dtype, enabled=kept, cache_enabled=False):
            return self._own(self.network, images)


def _can_be_captured(images: torch.Tensor) -> bool:
    return images.device.type == _DEVICE and not images.requires_grad


class _Granted:
    """What must stay the same about a network for a replay to be valid; checked before each, so it has to be fast.

    The weights and buffers at their addresses, the tree of modules, no hooks, and every plain value that a module has:
    `training`, a dropout's `p`, a batch normalization's `momentum`, a switch of the student's own.

    Raises:
        ValueError: The network has hooks, which a replay would not call.
    """

    def __init__(self, network: nn.Module) -> None:
        modules = list(network.modules())
        self._hooks = [vars(module)[kind] for module in modules for kind in _HOOKS]
        self._hooks += [vars(nn.modules.module)[f"_global{kind}"] for kind in _HOOKS]
        if any(self._hooks):
            raise ValueError("its modules have hooks")
        self._trees = [(module._modules, tuple(module._modules.values())) for module in modules]
        self._tensors = [
            (held, name, value, value.data_ptr(), value.requires_grad)
            for module in modules
            for held in (module._parameters, module._buffers)
            for name, value in held.items()
            if value is not None
        ]
        self._plain = [
            (vars(module), itemgetter(*names), itemgetter(*names)(vars(module)))
            for module in modules
            if (names := [name for name, value in vars(module).items() if isinstance(value, _PLAIN)])
        ]
        self._autocast = _autocast()

    def hold(self) -> bool:
        """Whether all of it is as it was."""
        try:
            return (
                not any(self._hooks)
                and all(values(held) == before for held, values, before in self._plain)
                and all(tuple(tree.values()) == before for tree, before in self._trees)
                and all(
                    held[name] is value and value.data_ptr() == address and value.requires_grad is learns
                    for held, name, value, address, learns in self._tensors
                )
                and _autocast() == self._autocast
            )
        except KeyError:  # something was taken away
            return False


def _autocast() -> Any:
    return torch.is_autocast_enabled(_DEVICE) and torch.get_autocast_dtype(_DEVICE)


@contextmanager
def _put_back(network: nn.Module, images: torch.Tensor) -> Iterator[None]:
    """Leave buffers, gradients, random numbers and the modules' own attributes as they were.

    Raises:
        ValueError: A forward changed such an attribute, or drew from a source that a graph does not replay.
    """
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    gradients = [(weight, weight.grad) for weight in network.parameters()]
    attributes = [(vars(module), _attributes(module)) for module in network.modules()]
    chance = _drawn(images.device)
    changed = ""
    try:
        with torch.random.fork_rng([images.device] if images.is_cuda else []):
            yield
            if _drawn(images.device) != chance:
                changed = "its forward draws random numbers on the processor"
    finally:
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        for weight, gradient in gradients:
            weight.grad = gradient
        for now, kept in attributes:
            if _unlike(now, kept):
                changed = "its forward changes an attribute"
                _set_back(now, kept)
        random.setstate(chance.python)
        np.random.set_state(chance.numpy)
    if changed:
        raise ValueError(changed)


class _Attribute(NamedTuple):
    """An attribute of a module as it was, with a copy where it can grow."""

    value: Any
    copied: Any

    @property
    def grown(self) -> bool:
        return self.copied is not None and len(self.value) != len(self.copied)


def _attributes(module: nn.Module) -> dict[str, _Attribute]:
    return {
        name: _Attribute(value, value.copy() if type(value) in (list, dict, set) else None)
        for name, value in vars(module).items()
    }


def _unlike(now: dict[str, Any], before: dict[str, _Attribute]) -> bool:
    if now.keys() != before.keys() or any(attribute.grown for attribute in before.values()):
        return True
    return any(
        value is not before[name].value and not (type(value) in _PLAIN and value == before[name].value)
        for name, value in now.items()
    )


def _set_back(now: dict[str, Any], before: dict[str, _Attribute]) -> None:
    now.clear()
    for name, attribute in before.items():
        now[name] = value = attribute.value
        if attribute.grown:
            value.clear()
            (value.extend if isinstance(value, list) else value.update)(attribute.copied)


def _drawn(device: torch.device) -> RandomStates:
    """The states of the sources of random numbers that a graph on this device does not replay."""
    states = random_states()
    return states if device.type != "cpu" else states._replace(torch=[])


def _differs(network: nn.Module, forward: Forward, replayed: Forward, images: torch.Tensor) -> str | None:
    """How two replayed steps differ from the network's own, in words; None where they agree."""
    expected, found = (_two_steps(network, each, images) for each in (forward, replayed))
    total = float(torch.stack([right.double().norm() for right in expected["gradients"]]).norm())
    for kind, values in expected.items():
        for number, (right, value) in enumerate(zip(values, found[kind], strict=True)):
            least = _NOISE * total if kind == "gradients" else 1e-6
            off = float((value.double() - right.double()).norm())
            if not off <= _TOLERANCE * (float(right.double().norm()) + least):
                return f"{kind} {number} by {off:.2g}"
    return None


def _two_steps(network: nn.Module, forward: Forward, images: torch.Tensor) -> dict[str, list[torch.Tensor]]:
    """Outputs, gradients and buffers of two batches whose gradients add up, as without `zero_grad`."""
    with _put_back(network, images):
        for weight in network.parameters():
            weight.grad = None
        outputs = []
        for batch in (images, images.flip(0)):
            outputs.append(forward(network, batch))
            outputs[-1].float().square().mean().backward()
        return {
            "outputs": [output.detach().float() for output in outputs],
            "gradients": [weight.grad.clone() for weight in network.parameters() if weight.grad is not None],
            "buffers": [buffer.float().clone() for buffer in network.buffers()],
        }
