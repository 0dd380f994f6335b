"""Record the data-flow graph of one forward, below autograd, in a form that does not depend on how it was written.

A real forward is recorded, not a symbolic one: a forward that reads values needs nothing special, and values tell what
an operation does whatever it is called (option A has a dozen spellings). It costs four images' forward.

`LayerNames` knows the network's parameters by the memory in which they lie: it tells which of them an operation used,
and which no operation used.
"""

import itertools
import operator
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from grader.protocol import Node
from grader.worker.look import operations
from grader.worker.tensors import storage_of, tensors_in, view_of

# The reference has about seventy; a hostile network may run thousands.
MAX_OPERATIONS = 3000
MAX_NODES = 300
_DIMENSIONS = 6
_STEPS_OF_A_CONVOLUTION = 8
_RANDOM = ("rand", "bernoulli", "normal", "uniform", "dropout", "multinomial", "poisson")
_COMPARISONS = ("gt", "ge", "lt", "le")
# Parts of a tensor, and what is written into one: a forward may fill zeros channel by channel.
_PARTS = ("write", "select", "slice", "unsqueeze")
_FACTORIES = ("zeros", "ones", "empty", "full", "rand", "randn", "randint")

_MAX_DEPTH, _MAX_ITEMS, _MAX_NAME, _MAX_NAMES = 3, 1000, 100, 50


class LayerNames:
    """Qualified names of a network's parameters and buffers.

    Args:
        original: The network that `network` is a copy of, or that network itself.

    Attributes:
        copy_is_whole: False once the copy used a parameter of the original: a closure still holds that.
    """

    def __init__(self, network: nn.Module, original: nn.Module) -> None:
        self.copy_is_whole = True
        self._original = set() if original is network else {storage_of(each) for each in original.parameters()}
        self._network = network
        self._names: dict[int, str] = {}
        self._kept: list[Tensor] = []
        self._hidden: dict[int, str] | None = None
        for name, tensor in (*network.named_buffers(), *network.named_parameters()):
            self._names[storage_of(tensor)] = name[:_MAX_NAME]
            self._kept.append(tensor)

    def name(self, tensor: Tensor) -> str:
        """The parameter's or buffer's name; empty for any other tensor."""
        return self._names.get(storage_of(tensor), "")

    def add_copy(self, copy: Tensor, original: Tensor) -> None:
        """Let a copy (another dtype, transposed, standardised) stand for the parameter that it was made from."""
        self._names.setdefault(storage_of(copy), self.name(original))
        self._kept.append(copy)

    def unregistered(self, weight: Tensor) -> str:
        """Where a weight that is no parameter of the network is held; empty if that cannot be found."""
        self.copy_is_whole &= storage_of(weight) not in self._original
        if self._hidden is None:
            self._hidden = {}
            for prefix, module in self._network.named_modules():
                for attribute, value in list(vars(module).items())[:_MAX_ITEMS]:
                    if not attribute.startswith("_"):
                        self._search(value, f"{prefix}.{attribute}".lstrip("."), _MAX_DEPTH)
        return self._hidden.get(storage_of(weight), "")

    def unused(self, used: set[str]) -> tuple[str, ...]:
        """The outermost modules that have parameters of which none was used, and bare parameters likewise."""
        idle = {name for name, _ in self._network.named_parameters()} - used
        found: list[str] = []
        for prefix, module in self._network.named_modules():
            own = {f"{prefix}.{name}".lstrip(".") for name, _ in module.named_parameters()}
            if prefix and own and own <= idle:
                idle -= own
                found.append(prefix)
        return bounded([*found, *sorted(idle - _weights_of_used_layers(idle, used))])

    def _search(self, value: Any, name: str, depth: int) -> None:
        assert self._hidden is not None
        if isinstance(value, Tensor):
            self._hidden.setdefault(storage_of(value), name)
        elif isinstance(value, nn.Module):
            for inner, parameter in value.named_parameters():
                self._hidden.setdefault(storage_of(parameter), f"{name}.{inner}")
        elif depth and isinstance(value, list | tuple):
            for index, each in enumerate(value[:_MAX_ITEMS]):
                self._search(each, f"{name}[{index}]", depth - 1)
        elif depth and isinstance(value, dict):
            for key, each in list(value.items())[:_MAX_ITEMS]:
                self._search(each, f"{name}[{str(key)[:20]!r}]", depth - 1)


def bounded(names: Iterable[str]) -> tuple[str, ...]:
    """So much of a list of names as may leave the sandbox."""
    return tuple(name[:_MAX_NAME] for name in itertools.islice(names, _MAX_NAMES))


def _weights_of_used_layers(idle: set[str], used: set[str]) -> set[str]:
    """Idle biases beside weights that are used: someone computes a layer by hand and leaves its bias out."""
    layers = {name.rpartition(".")[0] for name in used}
    return {name for name in idle if "." in name and name.rpartition(".")[0] in layers}


class TooLarge(Exception):
    """The forward runs more operations than any right network."""


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The graph of what runs while it is active.

    Args:
        images: The network's input.

    Attributes:
        names: The network's parameters.
        nodes: So far, in order; the first is the input.
        used: Names of all parameters and buffers that an operation read.
    """

    def __init__(self, images: Tensor, names: LayerNames) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.nodes: list[Node] = [Node("input", (), tuple(images.shape))]
        self.used: set[str] = set()
        self.names = names
        self._operations = 0
        self._values: list[Tensor] = [images]
        # A memory address means one tensor only as long as that is alive.
        self._alive: list[Any] = [images]
        self._views: dict[Any, int] = {view_of(images): 0}
        self._storages: dict[int, int] = {storage_of(images): 0}
        self._bases: dict[int, Tensor] = {storage_of(images): images}
        self._random: set[int] = set()
        # What a node's operation read of the network, where a convolution may be computed from it in several steps.
        self._factors: list[list[Tensor]] = [[]]
        # Nodes before which weights stand that are trained.
        self._learning: set[int] = set()
        self._grad_enabled = True

    def node_of(self, value: object) -> int | None:
        """The node that a tensor comes from; None for what does not depend on the images."""
        if not isinstance(value, Tensor):
            return None
        known = self._views.get(view_of(value))
        return known if known is not None else self._storages.get(storage_of(value))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func._can_decompose():
            with self:
                decomposed = func.decompose(*args, **kwargs)
            if decomposed is not NotImplemented:
                return decomposed
        self._operations += 1
        if self._operations > MAX_OPERATIONS or len(self.nodes) > MAX_NODES:
            raise TooLarge(f"a forward of more than {min(self._operations, MAX_OPERATIONS)} operations")
        tensors = list(tensors_in((args, kwargs)))
        written = _written(func, args, kwargs)
        for tensor in written:
            self._keep(tensor)
        output = func(*args, **kwargs)
        self._grad_enabled = torch.is_grad_enabled()
        with torch.no_grad():
            self._record(func, args, kwargs, tensors, written, output)
        return output

    def _keep(self, tensor: Tensor) -> None:
        """Save a node's value from the operation in place that is about to change it."""
        for node, value in enumerate(self._values):
            if storage_of(value) == storage_of(tensor):
                self._values[node] = value.clone()

    def _record(
        self, func: Any, args: Any, kwargs: Any, tensors: list[Tensor], written: list[Tensor], output: Any
    ) -> None:
        name = operations.plain_name(func)
        results = [written[0]] if written else list(tensors_in(output))
        self._alive.append((tensors, results))
        self.used.update(name for name in map(self.names.name, tensors) if name)
        if not results:
            return
        result = results[0]
        sources = [] if name.removesuffix("_like").removeprefix("new_") in _FACTORIES else tensors
        if name in ("copy", "fill", "zero") and written:
            sources = tensors[1:]
        inputs = [node for node in map(self.node_of, sources) if node is not None]
        random = any(word in name for word in _RANDOM) or any(storage_of(each) in self._random for each in tensors)
        base = self._bases.get(storage_of(result)) if written else None
        if base is not None and base.numel() != result.numel():
            name, result = "write", base
            before = self.node_of(base)
            inputs = inputs if before is None else self._rewritten(before, inputs)
        if not inputs:
            self._constant(tensors, result, random)
            return
        node = self._node(name, func, args, kwargs, tensors, inputs, result, random)
        self._register(result, node)
        for other in written[1:] or results[1:]:  # where the largest value lies, say: it comes from the images too
            if other.numel() and self.node_of(other) is None:
                self._storages[storage_of(other)] = inputs[0] if node is None else node

    def _rewritten(self, before: int, inputs: list[int]) -> list[int]:
        """The inputs of one more write into a part: it takes the place of the write before, if nothing used that."""
        if self.nodes[before].op != "write" or any(node.op not in _PARTS for node in self.nodes[before:]):
            return [before, *inputs]
        whole = [root for node in (before, *inputs) for root in self._whole(node)]
        if any(node >= before for node in whole):
            return [before, *inputs]
        del self.nodes[before:], self._values[before:], self._factors[before:]
        self._views = {key: node for key, node in self._views.items() if node < before}
        self._storages = {key: node for key, node in self._storages.items() if node < before}
        return list(dict.fromkeys(whole))

    def _whole(self, node: int) -> tuple[int, ...]:
        """What the values come from that were written, or of which this is a part."""
        made = self.nodes[node]
        return tuple(root for each in made.inputs for root in self._whole(each)) if made.op in _PARTS else (node,)

    def _constant(self, tensors: list[Tensor], result: Tensor, random: bool) -> None:
        """A result that no image has a part in: a weight's copy, zeros, noise."""
        self._forget(result)
        self._bases.setdefault(storage_of(result), result)
        if random:
            self._random.add(storage_of(result))
        for tensor in tensors:
            if self.names.name(tensor):
                self.names.add_copy(result, tensor)
                break

    def _register(self, result: Tensor, node: int | None) -> None:
        base = self._bases.get(storage_of(result), result)
        if node is None and base.numel() > result.numel():
            return  # a part that nothing was written into yet
        if node is None:
            self._forget(result)
            self._bases.setdefault(storage_of(result), result)
            return
        base = self._bases.setdefault(storage_of(result), result)
        if base.numel() == result.numel():
            for key in [key for key in self._views if key[0] == storage_of(result)]:
                del self._views[key]
            self._storages[storage_of(result)] = node
        self._views[view_of(result)] = node

    def _forget(self, result: Tensor) -> None:
        self._storages.pop(storage_of(result), None)
        for key in [key for key in self._views if key[0] == storage_of(result)]:
            del self._views[key]

    def _node(
        self,
        name: str,
        func: Any,
        args: Any,
        kwargs: Any,
        tensors: list[Tensor],
        inputs: list[int],
        result: Tensor,
        random: bool,
    ) -> int | None:
        """The node of a result: a new one, an input's where nothing changed, or none where it is all zeros."""
        layer = operations.layer(name, args, [self.node_of(each) is None for each in tensors], tensors)
        if layer is not None:
            weight, registered = self._weight(layer.weight)
            # torch computes an instance norm as the batch norm of one image with more channels.
            alone = layer.op == "batch_norm" and len(result) == 1 < self.nodes[0].shape[0]
            op = "instance_norm" if alone else layer.op
            source, padding = inputs[0], layer.padding
            if op == "conv" and self.nodes[source].op == "pad":
                padding = tuple(map(operator.add, padding, self.nodes[source].padding))
                source = self.nodes[source].inputs[0]
            shape = tuple(result.shape[:_DIMENSIONS])
            window = (layer.kernel, layer.stride, padding, layer.plain)
            return self._append(Node(op, (source,), shape, weight, registered, *window), result, tensors)
        if name == "_to_copy":
            return inputs[0]  # another dtype or device
        values = [self._values[node] for node in inputs]
        for index, value in zip(inputs, values, strict=True):
            if _same(value, result):
                return index
        if name == "add" and len(inputs) == 1 and self._is_bias(inputs[0], tensors):
            self._values[inputs[0]] = result
            return inputs[0]
        if not result.any():
            return None
        seen = operations.Operation(name, func, args, kwargs, result)
        node = self._convolved(inputs, tensors, result) or self._described(seen, inputs, random)
        return self._append(node, result, tensors)

    def _is_bias(self, node: int, tensors: list[Tensor]) -> bool:
        """Whether an addition to a layer's result adds its bias by hand."""
        return self.nodes[node].op in ("linear", "conv") and any(self.names.name(each) for each in tensors)

    def _convolved(self, inputs: list[int], tensors: list[Tensor], result: Tensor) -> Node | None:
        """A convolution that took several operations: the image's parts side by side, and a product with a weight."""
        node, factors = inputs[0], self._of_network(tensors)
        if len(inputs) > 1:
            return None
        for _ in range(_STEPS_OF_A_CONVOLUTION):
            for factor in factors:
                if found := operations.convolved(self._values[node], factor, result):
                    layer, shape = found
                    weight, registered = self._weight(factor)
                    return Node("conv", (node,), shape, weight, registered, layer.kernel, layer.stride, layer.padding)
            made = self.nodes[node]
            if len(made.inputs) != 1 or (made.weight and made.op != "linear"):
                return None
            factors = factors + self._factors[node]
            node = made.inputs[0]
        return None

    def _of_network(self, tensors: list[Tensor]) -> list[Tensor]:
        return [each for each in tensors if each.ndim > 1 and self.names.name(each)]

    def _described(self, seen: operations.Operation, inputs: list[int], random: bool) -> Node:
        shape = tuple(seen.result.shape[:_DIMENSIONS])
        inputs = self._without_comparisons(inputs)
        layers = [
            Node(known.op, (ancestor,), shape, "", True, known.kernel, known.stride, known.padding, known.plain)
            for ancestor in self._unary_ancestors(inputs)
            if (known := operations.recognised(seen, self._values[ancestor], ancestor == inputs[0]))
        ]
        if layers:
            return layers[-1]  # a mean of means is one of what came first
        for node in inputs:
            if wide := operations.zero_channels(self._values[node], seen.result):
                return Node("zero_channels", (node,), wide)
        same_shapes = all(self.nodes[node].shape == shape for node in inputs)
        if seen.name == "add" and len(inputs) == 2 and same_shapes and seen.kwargs.get("alpha", 1) == 1:
            return Node("add", tuple(inputs), shape)
        if together := self._summed(inputs, seen.result):
            return Node("add", together, shape)
        name = "add_other" if seen.name == "add" else seen.name[:40]
        return Node(name, tuple(dict.fromkeys(inputs))[:8], shape, random=random)

    def _without_comparisons(self, inputs: list[int]) -> list[int]:
        """What an operation computes with, where it is told by a comparison which values it takes."""
        compared = [self.nodes[node].inputs[0] if self.nodes[node].op in _COMPARISONS else node for node in inputs]
        return inputs if compared == inputs or len(set(compared)) > 1 else compared[:1]

    def _summed(self, inputs: list[int], result: Tensor) -> tuple[int, ...]:
        """The two nodes whose sum a result is, where they were stacked or concatenated before; else empty."""
        pair = self.nodes[inputs[0]].inputs if len(inputs) == 1 else ()
        if len(pair) != 2 or any(self.nodes[node].shape != tuple(result.shape) for node in pair):
            return ()
        one, other = (self._values[node] for node in pair)
        return pair if torch.equal(one + other, result) else ()

    def _unary_ancestors(self, inputs: list[int]) -> Iterator[int]:
        """The one input, and what it was made from: an average over the image may take two operations."""
        node = inputs[0]
        if len(inputs) > 1:
            return
        for _ in range(4):
            yield node
            made = self.nodes[node]
            if len(made.inputs) != 1 or made.weight or made.op in ("relu", "max_pool", "zero_channels"):
                return
            node = made.inputs[0]

    def _weight(self, weight: Tensor | None) -> tuple[str, bool]:
        if weight is None:
            return "", True
        name = self.names.name(weight)
        return (name, True) if name else (self.names.unregistered(weight), False)

    def _append(self, node: Node, result: Tensor, tensors: list[Tensor]) -> int:
        learning = [each for each in tensors if each.is_floating_point() and self.node_of(each) in self._learning]
        trained = [each for each in tensors if each.requires_grad]
        cut = self._grad_enabled and trained and not all(each.requires_grad for each in learning)
        self.nodes.append(replace(node, gradient=not cut))
        self._values.append(result)
        self._factors.append(self._of_network(tensors))
        if learning or trained:
            self._learning.add(len(self.nodes) - 1)
        return len(self.nodes) - 1


def _same(value: Tensor, result: Tensor) -> bool:
    if value.dtype == torch.bool or value.numel() != result.numel():
        return False
    return torch.equal(value.reshape(-1), result.reshape(-1).to(value.dtype))


def _written(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """The tensors that an operation changes in place (not the running statistics of a batch norm)."""
    schema = func._schema
    if not (schema.name.endswith("_") or schema.overload_name == "out" or "out" in kwargs):
        return []
    given = {argument.name: value for argument, value in zip(schema.arguments, args, strict=False)} | kwargs
    return [
        given[argument.name]
        for argument in schema.arguments
        if argument.alias_info is not None
        and argument.alias_info.is_write
        and isinstance(given.get(argument.name), Tensor)
    ]
