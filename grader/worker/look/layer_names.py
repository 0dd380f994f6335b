"""The parameters of a network by the memory that they lie in, and those that it uses without owning them."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.functional_tensor import FunctionalTensor

_Where = tuple[int, tuple[int, ...]]

# Kept here before a script runs; the second keeps a subclass of a tensor from having a say.
_memory, _as_plain = Tensor.untyped_storage, torch._C.DisableTorchFunctionSubclass
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
        self._original = (
            {} if original is network else {storage_of(each): name for name, each in original.named_parameters()}
        )
        self._network = network
        self._names: dict[int, str] = {}
        self._kept: list[Tensor] = []
        self._hidden: dict[int, str] | None = None
        for name, tensor in (*network.named_buffers(), *network.named_parameters()):
            self._add(tensor, name)

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

    def _add(self, tensor: Tensor, name: str) -> None:
        self._names[storage_of(tensor)] = name[:_MAX_NAME]
        self._kept.append(tensor)


def without_gradient(network: nn.Module, output: object) -> tuple[str, ...]:
    """Names of the parameters that autograd does not reach from the output; computes no gradient."""
    reached: set[_Where] = set()
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


def _where(parameter: Tensor) -> _Where:
    """What tells parameters apart: a compiled module makes a new object of each whenever it is asked."""
    return parameter.data_ptr(), tuple(parameter.shape)


def bounded(names: Iterable[str]) -> tuple[str, ...]:
    """So much of a list of names as may leave the sandbox."""
    return tuple(name[:_MAX_NAME] for name in _first(names, _MAX_NAMES))


def _first(names: Iterable[str], count: int) -> Iterator[str]:
    return (name for _, name in zip(range(count), names, strict=False))


def _weights_of_used_layers(idle: set[str], used: set[str]) -> set[str]:
    """Idle biases beside weights that are used: someone computes a layer by hand and leaves its bias out."""
    layers = {name.rpartition(".")[0] for name in used}
    return {name for name in idle if "." in name and name.rpartition(".")[0] in layers}


def is_symbolic(tensor: Tensor) -> bool:
    """Whether it stands for numbers and holds none, as in what torch's tracers and exporters hand to a forward."""
    with _as_plain(), contextlib.suppress(RuntimeError):  # a tensor that has no memory of its own
        return type(tensor) is FunctionalTensor or _memory(tensor).device.type == "meta"
    return False


def storage_of(tensor: Tensor) -> int:
    """Where a tensor's values lie; views of one another have it in common."""
    return tensor.untyped_storage().data_ptr()
