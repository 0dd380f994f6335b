"""A step captured as CUDA graphs: the buffers, the capture, and what to undo where it fails."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch

_WARM_UPS = 3
# The gradients in their common buffer start at multiples of so many elements, so that kernels can read several at once.
_ALIGNED = 64

Function = Callable[[torch.Tensor], Any]
Tensors = Sequence[torch.Tensor]


class Flat:
    """Where the gradients of several weights lie in one buffer, each in the layout of its weight.

    Raises:
        ValueError: The weights are not all of one dtype, or one of them has gaps.
    """

    def __init__(self, weights: Tensors) -> None:
        if len({(weight.dtype, weight.device) for weight in weights}) != 1:
            raise ValueError("its weights are not all of one dtype on one device")
        self._places: list[tuple[torch.Size, tuple[int, ...], int]] = []
        end = 0
        for weight in weights:
            if not _is_dense(weight):
                raise ValueError("a weight is laid out in memory in an unusual way")
            self._places.append((weight.shape, weight.stride(), end))
            end += -(-weight.numel() // _ALIGNED) * _ALIGNED
        self._used = [True] * len(self._places)
        self.buffer = torch.zeros(end, dtype=weights[0].dtype, device=weights[0].device)

    def fill(self, gradients: Sequence[torch.Tensor | None]) -> None:
        """Put gradients into the buffer, in the order of the weights; None for a weight that has none."""
        self._used = [gradient is not None for gradient in gradients]
        places = [part for part in self.parts(self.buffer) if part is not None]
        torch._foreach_copy_(places, [gradient for gradient in gradients if gradient is not None])

    def parts(self, flat: torch.Tensor) -> list[torch.Tensor | None]:
        """The gradients that lie in a copy of the buffer."""
        return [flat.as_strided(*place) if used else None for place, used in zip(self._places, self._used, strict=True)]


def _is_dense(weight: torch.Tensor) -> bool:
    return weight.is_contiguous() or (weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last))


class CudaGraph:
    """What `function` does with images like these, and its backward pass, each captured as a graph.

    They share the memory in which activations stay in between. Each gives a buffer that the next replay overwrites.

    Raises:
        Exception: Whatever the network or CUDA raises.
    """

    def __init__(self, function: Function, images: torch.Tensor, leaves: Tensors, gradients: Flat) -> None:
        self._images, self._flat = images.clone(), gradients.buffer
        self._forward, self._backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        stream: Any = torch.cuda.Stream(images.device)  # type: ignore[no-untyped-call]
        here = torch.cuda.current_stream(images.device)
        with torch.cuda.device(images.device), _recovering(images.device) as pool:
            stream.wait_stream(here)
            with torch.cuda.stream(stream):
                for _ in range(_WARM_UPS):
                    warm = step(function, self._images, leaves)
                self._gradient = torch.zeros_like(warm)
                with _capturing(self._forward, pool):
                    output = function(self._images)
                with _capturing(self._backward, pool):
                    gradients.fill(torch.autograd.grad(output, leaves, self._gradient, allow_unused=True))
            self._output: torch.Tensor = output.detach()
            here.wait_stream(stream)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The output for `images`, which have the shape and dtype of those that were captured."""
        self._images.copy_(images, non_blocking=True)
        self._forward.replay()
        return self._output

    def backward(self, gradient: torch.Tensor) -> torch.Tensor:
        """The gradients of all weights, flat, for the last forward's output and its `gradient`."""
        self._gradient.copy_(gradient)
        self._backward.replay()
        return self._flat


def step(function: Function, images: torch.Tensor, leaves: Tensors) -> torch.Tensor:
    """Run one forward and one backward pass; return the output.

    Raises:
        ValueError: What comes out cannot be replayed.
    """
    output = function(images)
    if type(output) is not torch.Tensor or not output.requires_grad:
        raise ValueError("its output is not one tensor with a gradient")
    if _foreign_leaves(output, leaves):
        raise ValueError("it uses a weight that is none of its parameters")
    torch.autograd.grad(output, leaves, torch.zeros_like(output), allow_unused=True)
    return output.detach()


def _foreign_leaves(output: torch.Tensor, leaves: Tensors) -> bool:
    """Whether a gradient flows to a tensor that is none of `leaves`; replays would not bring it there."""
    known = {id(leaf) for leaf in leaves}
    waiting, seen = [output.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable") and id(node.variable) not in known:
            return True
        waiting += [before for before, _ in node.next_functions]
    return False


@contextmanager
def _capturing(graph: Any, pool: Any) -> Iterator[None]:
    """Record instead of run; other threads of the script, such as a loader's, may go on calling CUDA."""
    torch.cuda.synchronize()
    graph.capture_begin(pool=pool, capture_error_mode="thread_local")
    try:
        yield
    except BaseException:
        with suppress(RuntimeError):  # it would only say once more that the capture failed
            graph.capture_end()
        raise
    graph.capture_end()


@contextmanager
def _recovering(device: torch.device) -> Iterator[Any]:
    """Yield a memory pool for captures; if one fails, clean up its half-finished state.

    torch's allocator would go on serving the pool, and its generator would refuse to draw outside a capture.
    """
    number = device.index if device.index is not None else torch.cuda.current_device()
    generator, pool = torch.cuda.default_generators[number], torch.cuda.graph_pool_handle()
    before = generator.clone_state()
    gc.collect()
    collecting = gc.isenabled()
    gc.disable()  # what is freed in the middle of a capture may call CUDA
    try:
        yield pool
    except BaseException:
        generator.graphsafe_set_state(before)
        with suppress(RuntimeError):
            torch._C._cuda_endAllocateToPool(number, pool)
        raise
    finally:
        if collecting:
            gc.enable()
