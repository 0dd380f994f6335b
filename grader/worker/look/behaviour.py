"""Try a network out: one image, two calls, other block counts, convolutions set to zero."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from grader.protocol import Behaviour, Node
from grader.worker.look.operations import plain_name

OTHER_COUNTS = ((1, 1, 1, 1), (3, 1, 2, 4))
_MAX_ADDITIONS = 200
# Single precision, in an order of summation that depends on the batch size.
_TOLERANCE = 1e-3
_HEIGHTS = (32, 16, 8, 4)


def short(error: BaseException) -> str:
    """An exception in one bounded line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"


def try_out(
    network: nn.Module, make: Callable[..., Any] | None, images: Tensor, nodes: list[Node], output: int | None
) -> Behaviour:
    """Try a network that has just been traced; it is changed by that.

    Args:
        make: Makes a network from four block counts; None: other block counts are not tried.
        images: The batch that it was traced with.
    """
    counts = tuple((asked, _counted(make, asked)) for asked in OTHER_COUNTS) if make else ()
    network.eval()
    seen = _in_eval_mode(network, images, nodes, output)
    return replace(seen, identities=_identities(network, images[:1]), counts=counts)


def _in_eval_mode(network: nn.Module, images: Tensor, nodes: list[Node], output: int | None) -> Behaviour:
    with torch.no_grad():
        try:
            scores = network(images)
        except Exception:
            return Behaviour()
        replayed = None
        with contextlib.suppress(Exception):  # a graph of wrong shapes
            replayed = _replayed(network, images, nodes, output)
        trace_differs = _differ(replayed, scores)
        rows = isinstance(scores, Tensor) and scores.ndim > 0 and len(scores) == len(images)
        try:
            alone = network(images[:1])
            again = network(images[:1])
            other = network(-images[:1])
        except Exception as error:
            return Behaviour(single_image=short(error), trace_differs=trace_differs)
        return Behaviour(
            images_matter=_differ(alone, other),
            single_image=tuple(alone.shape[:8]) if isinstance(alone, Tensor) else None,
            batch_dependent=_differ(alone, scores[:1]) if rows else None,
            nondeterministic=_differ(alone, again),
            trace_differs=trace_differs,
        )


def _differ(first: object, second: object) -> bool | None:
    """Whether two tensors differ by more than rounding; None where they cannot be compared."""
    if not isinstance(first, Tensor) or not isinstance(second, Tensor) or first.shape != second.shape:
        return None
    scale = float(second.abs().max()) if second.numel() else 0.0
    return not torch.allclose(first, second, rtol=_TOLERANCE, atol=_TOLERANCE * max(scale, 1e-6))


def _replayed(network: nn.Module, images: Tensor, nodes: list[Node], output: int | None) -> Tensor | None:
    """The scores that the traced graph gives in eval mode; None if an operation in it is not one of the handout's."""
    layers = dict(network.named_modules())
    values: list[Tensor] = []
    needed = _ancestors(nodes, output)
    for index, node in enumerate(nodes):
        if index not in needed:
            values.append(images[:0])
            continue
        computed = images if index == 0 else _computed(node, [values[each] for each in node.inputs], layers)
        if computed is None:
            return None
        values.append(computed)
    return values[output] if output is not None else None


def _ancestors(nodes: list[Node], output: int | None) -> set[int]:
    needed: set[int] = set()
    ahead = [] if output is None else [output]
    while ahead:
        node = ahead.pop()
        if node not in needed:
            needed.add(node)
            ahead.extend(nodes[node].inputs)
    return needed


def _computed(node: Node, values: list[Tensor], layers: dict[str, nn.Module]) -> Tensor | None:
    x = values[0]
    layer = layers.get(node.weight.rpartition(".")[0])
    match node.op:
        case "relu":
            return F.relu(x)
        case "add":
            return values[0] + values[1]
        case "max_pool":
            return F.max_pool2d(x, node.kernel, node.stride)
        case "avg_pool":
            return F.avg_pool2d(x, node.kernel, node.stride).flatten(1)
        case "linear" if isinstance(layer, nn.Linear):
            return F.linear(x.flatten(1), layer.weight, layer.bias)
        case "batch_norm" if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None:
            return F.batch_norm(x, layer.running_mean, layer.running_var, layer.weight, layer.bias, eps=layer.eps)
        case "conv" if isinstance(layer, nn.Conv2d) and node.plain:
            return F.conv2d(x, layer.weight, layer.bias, node.stride, node.padding)
    return None


class _Additions(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """For each addition of two images' features: where it happened, and whether it returned one of the two."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.unchanged: list[bool] = []
        self.heights: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = _added(plain_name(func), args)
        output = func(*args, **(kwargs or {}))
        if before is not None and before[0].shape == before[1].shape and len(self.heights) < _MAX_ADDITIONS:
            self.heights.append(int(output.shape[2]))
            self.unchanged.append(any(torch.equal(output, each) for each in before))
        return output


def _added(name: str, args: Any) -> Sequence[Tensor] | None:
    """The two images' features that an operation adds, also as the sum over a stack of two; else None."""
    if name == "add" and len(args) > 1 and _features(args[0]) and _features(args[1]):
        return args[0].clone(), args[1]
    if name == "sum" and len(args) > 1 and _features(args[0], 5) and len(args[1]) == 1:
        parts = args[0].unbind(args[1][0])
        return parts if len(parts) == 2 else None
    return None


def _features(value: object, dimensions: int = 4) -> bool:
    return isinstance(value, Tensor) and value.ndim == dimensions


def _identities(network: nn.Module, image: Tensor) -> tuple[bool, ...] | None:
    """Set every 3 x 3 convolution to zero and run one image: which additions return what they were given."""
    additions = _Additions()
    with torch.no_grad():
        for layer in network.modules():
            own = list(layer.parameters(recurse=False))
            if any(parameter.ndim == 4 and parameter.shape[2:] == (3, 3) for parameter in own):
                for parameter in own:
                    parameter.zero_()
        try:
            with additions:
                network(image)
        except Exception:
            return None
    return tuple(additions.unchanged)


def _counted(make: Callable[..., Any], asked: tuple[int, ...]) -> tuple[int, ...] | str:
    """How many blocks each stage of a network has that was made for these counts, or why it could not be made."""
    additions = _Additions()
    try:
        network = make(*asked).eval()
        device = next((parameter.device for parameter in network.parameters()), None)
        with torch.no_grad(), additions:
            network(torch.zeros(1, 3, 32, 32, device=device))
    except (Exception, SystemExit) as error:
        return short(error)
    return tuple(additions.heights.count(height) for height in _HEIGHTS)
