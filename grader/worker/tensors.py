"""What tells tensors apart: their names, the memory in which they lie, and whether they hold numbers at all."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.functional_tensor import FunctionalTensor

# Kept here before a script runs; the second keeps a subclass of a tensor from having a say.
_memory, as_plain = Tensor.untyped_storage, torch._C.DisableTorchFunctionSubclass
_named_parameters, named_buffers = nn.Module.named_parameters, nn.Module.named_buffers


def named_tensors(network: nn.Module) -> dict[str, Tensor]:
    """A network's weights and buffers."""
    return dict((*named_buffers(network), *_named_parameters(network)))


def storage_of(tensor: Tensor) -> int:
    """Where a tensor's values lie; views of one another have it in common."""
    return tensor.untyped_storage().data_ptr()


def view_of(tensor: Tensor) -> tuple[Any, ...]:
    """Where a tensor's values lie and in which order. What has this and the dtype in common has equal values."""
    return storage_of(tensor), int(tensor.storage_offset()), tuple(tensor.shape), tuple(tensor.stride())


def is_symbolic(tensor: Tensor) -> bool:
    """Whether it stands for numbers and holds none, as in what torch's tracers and exporters hand to a forward."""
    with as_plain(), contextlib.suppress(RuntimeError):  # a tensor that has no memory of its own
        return type(tensor) is FunctionalTensor or _memory(tensor).device.type == "meta"
    return False


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Each tensor in an operation's arguments or results."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from tensors_in(each)
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))
