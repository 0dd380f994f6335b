"""CUDA graphs around a network's training forward and backward: the same kernels, in the same order, launched at once.

At small batches a GPU waits for Python to launch one kernel after the other; a graph is launched as a whole. It holds
for one network, one shape and one way through the code: every call that differs takes the network's own forward.
Written without a GPU at hand: what surrounds the capture is tested, the capture itself was never seen to work.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from grader.worker.channel import note

# After the layout was chosen. Capture and trial cost about a dozen steps: shorter runs would not win them back.
_SEEN_BATCHES, _LEFT_BATCHES = 10, 200
# Of the largest value: the same kernels may add in another order, no more.
_TOLERANCE = 1e-3
_DEVICE = "cuda"

Forward = Callable[..., Any]
Replay = Callable[[torch.Tensor], torch.Tensor]


class Graphs:
    """Decides once in a run, before one of its training forwards, whether they are replayed from then on."""

    def __init__(self, *, enabled: bool) -> None:
        self._open = enabled
        self._graphed: _Graphed | None = None

    def applied(
        self, network: nn.Module, forward: Forward, images: torch.Tensor | None, batch: int, left: int
    ) -> Forward:
        """What to call in the place of `forward`.

        Args:
            images: The batch that comes next; None: what comes next is no batch.
            batch: How many batches were used before.
            left: Images that the budget still allows.
        """
        if self._open and batch >= _SEEN_BATCHES and images is not None and _can_be_captured(images):
            self._open = False
            if left >= _LEFT_BATCHES * len(images):
                self._graphed = _graphed(network, forward, images)
        return forward if self._graphed is None else self._graphed.instead_of(forward)

    def share(self, batches: int) -> float:
        """The share of a run's batches; replays from which nothing was learned may make up for others."""
        return min(1.0, self._graphed.replays / batches) if self._graphed and batches else 0.0


def _graphed(network: nn.Module, forward: Forward, images: torch.Tensor) -> "_Graphed | None":
    """Capture, then try on two batches; a network that cannot be captured, or not alike, keeps its own forward."""
    try:
        with _put_back(network, images):
            graphed = _Graphed(network, forward, images)
        if _agree(network, forward, graphed.instead_of(forward), images):
            graphed.replays = 0
            return graphed
        reason = "replayed steps gave other numbers"
    except Exception as error:  # what a script's network does while it is captured is no fault of it
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
    note(f"The grader could not train your network by CUDA graphs ({reason}): it was trained as it is.")
    return None


class _Graphed:
    """One network's captured forward and backward.

    A replay's inputs, activations and gradients lie in buffers that the next replay overwrites. So outputs are copied,
    gradients that a script keeps are separated from the buffers first, and a forward that comes before the backward
    pass of the last one is not replayed.
    """

    def __init__(self, network: nn.Module, forward: Forward, images: torch.Tensor) -> None:
        if _hooks(network):
            raise ValueError("its modules have hooks")
        self._network = network
        self._like = (images.shape, images.dtype, images.device)
        self._state = _state(network)
        self._replay = capture(_Shim(network, forward), images.clone())
        self._separate: dict[nn.Parameter, int] = {}
        self._before: weakref.ref[_Pass] | None = None
        self.replays = 0

    def instead_of(self, forward: Forward) -> Forward:
        """Replay where the graph fits a call, else call `forward`."""

        def replayed(network: nn.Module, *args: Any, **options: Any) -> Any:
            if not self._fits(network, args, options):
                return forward(network, *args, **options)
            self._separate_gradients()
            passed = _Pass()
            self._before = weakref.ref(passed)
            self.replays += 1
            return _Watched.apply(self._replay(args[0]), passed)

        return replayed

    def _fits(self, network: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> bool:
        if network is not self._network or options or len(args) != 1 or not isinstance(args[0], torch.Tensor):
            return False
        images = args[0]
        before = self._before() if self._before else None
        return (
            (images.shape, images.dtype, images.device) == self._like
            and _can_be_captured(images)
            and (before is None or before.went_back)
            and _state(network) == self._state
        )

    def _separate_gradients(self) -> None:
        """Let no gradient that a script has not reset lie in a buffer: the replay would overwrite what it adds to."""
        for weight in self._network.parameters():
            if weight.grad is not None and weight.grad.data_ptr() != self._separate.get(weight):
                weight.grad = weight.grad.clone()
                self._separate[weight] = weight.grad.data_ptr()


class _Pass:
    """One replayed forward, as long as autograd or the script may still go back through it."""

    went_back = False


class _Watched(torch.autograd.Function):
    """Copies a replay's output, and notes when a gradient flows back."""

    @staticmethod
    def forward(ctx: Any, output: torch.Tensor, passed: _Pass) -> torch.Tensor:
        ctx.passed = passed
        return output.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        ctx.passed.went_back = True
        return gradient, None


class _Shim(nn.Module):
    """A module around a network, for what captures modules: the network's own forward is not replaced."""

    def __init__(self, network: nn.Module, forward: Forward) -> None:
        super().__init__()
        self.network = network
        self._own = forward
        self.training = network.training

    def forward(self, images: torch.Tensor) -> Any:
        return self._own(self.network, images)


def capture(shim: nn.Module, images: torch.Tensor) -> Replay:
    """A callable that copies its input into `images` and replays; runs the module a few times.

    Raises:
        Exception: Whatever the module or CUDA raises.
    """
    replay: Any = torch.cuda.make_graphed_callables(shim, (images,), allow_unused_input=True)
    return replay  # type: ignore[no-any-return]


def _can_be_captured(images: torch.Tensor) -> bool:
    return images.device.type == _DEVICE and not images.requires_grad


def _hooks(network: nn.Module) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in network.modules() for kind in kinds)


def _state(network: nn.Module) -> tuple[Any, ...]:
    """What a captured graph takes for granted."""
    return (
        tuple((weight.data_ptr(), weight.requires_grad) for weight in network.parameters()),
        tuple(buffer.data_ptr() for buffer in network.buffers()),
        tuple(module.training for module in network.modules()),
        _hooks(network),
        torch.is_autocast_enabled(_DEVICE) and torch.get_autocast_dtype(_DEVICE),
    )


@contextmanager
def _put_back(network: nn.Module, images: torch.Tensor) -> Iterator[None]:
    """Leave buffers, gradients and random numbers as they were."""
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    gradients = [(weight, weight.grad) for weight in network.parameters()]
    try:
        with torch.random.fork_rng([images.device] if images.is_cuda else []):
            yield
    finally:
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        for weight, gradient in gradients:
            weight.grad = gradient


def _agree(network: nn.Module, forward: Forward, replayed: Forward, images: torch.Tensor) -> bool:
    expected, found = (_two_steps(network, each, images) for each in (forward, replayed))
    return all(
        torch.allclose(value, right, rtol=_TOLERANCE, atol=_TOLERANCE * float(right.abs().max()))
        for value, right in zip(found, expected, strict=True)
    )


def _two_steps(network: nn.Module, forward: Forward, images: torch.Tensor) -> list[torch.Tensor]:
    """Outputs, gradients and buffers of two batches whose gradients add up, as without `zero_grad`."""
    with _put_back(network, images):
        for weight in network.parameters():
            weight.grad = None
        outputs = []
        for batch in (images, images.flip(0)):
            outputs.append(forward(network, batch))
            outputs[-1].float().square().mean().backward()
        gradients = [weight.grad.clone() for weight in network.parameters() if weight.grad is not None]
        buffers = [buffer.float() for buffer in network.buffers()]
        return [output.detach().float() for output in outputs] + gradients + [buffer.clone() for buffer in buffers]
