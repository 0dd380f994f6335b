"""Look at a network: make it, trace one forward of it, and try it out.

It is tried with one image, two calls, other block counts, and convolutions set to zero.
"""

import contextlib
import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from grader.protocol import Behaviour, NetworkSeen, Node, nodes_before, to_json
from grader.worker.look.operations import plain_name
from grader.worker.look.trace import LayerNames, Recorder, TooLarge, bounded
from grader.worker.look.watch import short
from grader.worker.modes import switch

# Four as in the handout's examples; some forwards know no other batch size than their script's.
_BATCHES = (4, 32, 64, 128, 16, 8, 100, 1)
_MAX_DIMENSIONS = 8
_MAX_BYTES = 60_000  # the grader drops a line of 65,536 bytes

OTHER_COUNTS = ((1, 1, 1, 1), (3, 1, 2, 4))
_MAX_ADDITIONS = 200
# Single precision, in an order of summation that depends on the batch size.
_TOLERANCE = 1e-3
# Of two bytes, where a forward takes no other numbers.
_COARSE_TOLERANCE = 0.05
_HEIGHTS = (32, 16, 8, 4)
# Kept before a script runs.
_processor_seconds = time.process_time


def build(make: Callable[..., Any], blocks: tuple[int, ...]) -> tuple[object, str]:
    """Make a network: it or None, and why that failed or an empty text."""
    try:
        return make(*blocks), ""
    except (Exception, SystemExit) as error:  # whatever a student's constructor raises is a finding
        return None, short(error)


def look_at(network: object, constructor_error: str, make: Callable[..., Any] | None = None) -> NetworkSeen:
    """Describe what a network computes and how it behaves; the network itself stays as it is.

    Args:
        constructor_error: What `IdentityResNet(2, 2, 2, 2)` raised; empty if it worked.
        make: Makes a network from four block counts; None: other counts are not tried.
    """
    if not isinstance(network, nn.Module):
        failed = network is None and isinstance(make, type) and issubclass(make, nn.Module)
        return NetworkSeen(is_module=failed, constructor_error=constructor_error)
    parameters = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
    made = NetworkSeen(is_module=True, parameters=parameters, constructor_error=constructor_error)
    error = ""
    with _one_thread():
        first, *others = _dtypes(network)
        for dtype, batch in [*((first, batch) for batch in _BATCHES), *((dtype, _BATCHES[0]) for dtype in others)]:
            try:
                images = torch.randn(batch, 3, 32, 32, dtype=dtype, device=_device(network))
                seen = _described(network, images, make, made)
                if len(to_json(seen)) > _MAX_BYTES:
                    raise TooLarge("a graph of more nodes and longer names than can be judged")
                return seen
            except TooLarge as raised:
                error = short(raised)
                break
            except (Exception, SystemExit) as raised:  # whatever a student's forward raises is a finding
                error = error or short(raised)
    return replace(made, forward_error=error)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """One processor thread: where others work as well, two wait for each other (9 s instead of 1.6 s were measured)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _dtypes(network: nn.Module) -> list[torch.dtype]:
    """In which a network is tried: a forward may change its images to the network's own, or to double precision."""
    own = next((weight.dtype for weight in network.parameters() if weight.is_floating_point()), torch.float32)
    return list(dict.fromkeys((torch.float32, own, torch.float64)))


def _device(network: nn.Module) -> torch.device:
    return next((weight.device for weight in network.parameters()), torch.device("cpu"))


def _described(network: nn.Module, images: Tensor, make: Callable[..., Any] | None, made: NetworkSeen) -> NetworkSeen:
    """Trace a copy and try it out; where there can be none, or it uses the original through a closure, the network.

    Args:
        made: What is known before a forward.
    """
    copied = _copied(network)
    with _as_it_was(network):
        probe = _prepared(network if copied is None else copied, images.dtype)
        recorder, output, seconds = _traced(probe, network, images)
        if not recorder.names.copy_is_whole:
            probe = _prepared(network, images.dtype)
            recorder, output, seconds = _traced(probe, network, images)
        node = recorder.node_of(output)
        return replace(
            made,
            nodes=tuple(recorder.nodes),
            output=node,
            unused=recorder.names.unused(recorder.used),
            without_gradient=_without_gradient(probe, output),
            output_shape=tuple(output.shape[:_MAX_DIMENSIONS]) if isinstance(output, Tensor) else None,
            behaviour=_try_out(probe, make, images, recorder.nodes, node),
            image_seconds=seconds / len(images) if images.device.type == "cpu" else None,
        )


def _traced(probe: nn.Module, network: nn.Module, images: Tensor) -> tuple[Recorder, object, float]:
    """What was recorded of a forward, what came out, and its processor time in seconds."""
    recorder = Recorder(images, LayerNames(probe, network))
    began = _processor_seconds()
    with torch.enable_grad(), recorder:
        output = probe(images)
    return recorder, output, _processor_seconds() - began


def _without_gradient(network: nn.Module, output: object) -> tuple[str, ...]:
    """Names of the parameters that autograd does not reach from the output; computes no gradient."""
    reached: set[tuple[int, tuple[int, ...]]] = set()
    seen: set[Any] = set()
    ahead = [output.grad_fn] if isinstance(output, Tensor) and output.grad_fn is not None else []
    while ahead:
        step: Any = ahead.pop()
        if step in seen:
            continue
        seen.add(step)
        if hasattr(step, "variable"):
            reached.add(_where(step.variable))
        ahead.extend(following for following, _ in step.next_functions if following is not None)
    return bounded(name for name, parameter in network.named_parameters() if _where(parameter) not in reached)


def _where(parameter: Tensor) -> tuple[int, tuple[int, ...]]:
    """What tells parameters apart: a compiled module makes a new object of each whenever it is asked."""
    return parameter.data_ptr(), tuple(parameter.shape)


def _copied(network: nn.Module) -> nn.Module | None:
    """A copy; None where there can be none: the network holds a lock, a file, or a tensor of an earlier forward.

    Of a compiled module torch copies the weights without what leads a gradient back to them.
    """
    if any(map(_compiled, network.modules())):
        return None
    try:
        return copy.deepcopy(network)
    except Exception:
        return None


def _compiled(module: nn.Module) -> bool:
    return isinstance(module, torch.jit.ScriptModule)


@contextlib.contextmanager
def _as_it_was(network: nn.Module) -> Iterator[None]:
    """Give a network back its modules' attributes, its weights and buffers as they are now."""
    # A compiled module keeps its attributes outside of Python, and knows no new ones.
    modules = [module for module in network.modules() if not _compiled(module)]
    attributes = [(vars(module), dict(vars(module)), dict(module._buffers)) for module in modules]
    kept = [(weight, weight.data, weight.data.clone(), weight.grad) for weight in network.parameters()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in network.buffers()]
    try:
        yield
    finally:
        for module, (own, before, own_buffers) in zip(modules, attributes, strict=True):
            own.clear()
            own.update(before)
            module._buffers.clear()
            module._buffers.update(own_buffers)
        with torch.no_grad():
            for weight, data, values, gradient in kept:
                weight.data, weight.grad = data, gradient
                data.copy_(values)
            for buffer, values in buffers:
                buffer.copy_(values)


def _prepared(probe: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The network in train mode, with weights that tell layers apart: none is all zeros or all ones."""
    probe = probe.to(dtype)
    switch(probe, training=True)
    with torch.no_grad():
        for weight in probe.parameters():
            if weight.requires_grad and weight.numel() and bool((weight == weight.reshape(-1)[0]).all()):
                weight.uniform_(0.5, 1.5) if weight.ndim < 2 else weight.normal_(0, 0.05)
    return probe


def _try_out(
    network: nn.Module, make: Callable[..., Any] | None, images: Tensor, nodes: list[Node], output: int | None
) -> Behaviour:
    """Try a network that has just been traced; it is changed by that.

    Args:
        make: Makes a network from four block counts; None: other block counts are not tried.
        images: The batch that it was traced with.
    """
    counts = tuple((asked, _counted(make, asked, images.dtype)) for asked in OTHER_COUNTS) if make else ()
    switch(network, training=False)
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
    tolerance = _TOLERANCE if second.element_size() > 2 else _COARSE_TOLERANCE
    return not torch.allclose(first, second, rtol=tolerance, atol=tolerance * max(scale, 1e-6))


def _replayed(network: nn.Module, images: Tensor, nodes: list[Node], output: int | None) -> Tensor | None:
    """The scores that the traced graph gives in eval mode; None if an operation in it is not one of the handout's."""
    layers = dict(network.named_modules())
    values: list[Tensor] = []
    needed = nodes_before(nodes, output)
    for index, node in enumerate(nodes):
        if index not in needed:
            values.append(images[:0])
            continue
        computed = images if index == 0 else _computed(node, [values[each] for each in node.inputs], layers)
        if computed is None:
            return None
        values.append(computed)
    return values[output] if output is not None else None


def _computed(node: Node, values: list[Tensor], layers: dict[str, nn.Module]) -> Tensor | None:
    x = values[0]
    layer = layers.get(node.weight.rpartition(".")[0])
    match node.op:
        case "relu":
            return F.relu(x)
        case "add":
            return values[0] + values[1]
        case "max_pool":
            return F.max_pool2d(x, node.kernel, node.stride, node.padding or 0)
        case "avg_pool" if node.plain:
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


def _counted(make: Callable[..., Any], asked: tuple[int, ...], dtype: torch.dtype) -> tuple[int, ...] | str:
    """How many blocks each stage of a network has that was made for these counts, or why it could not be made."""
    additions = _Additions()
    try:
        network = make(*asked).to(dtype)
        switch(network, training=False)
        with torch.no_grad(), additions:
            network(torch.zeros(1, 3, 32, 32, dtype=dtype, device=_device(network)))
    except (Exception, SystemExit) as error:
        return short(error)
    return tuple(additions.heights.count(height) for height in _HEIGHTS)
