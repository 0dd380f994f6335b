"""On a machine without a GPU, devices that a script calls cuda mean the processor (DESIGN, rule 3).

The names are replaced, not intercepted by a torch mode: a mode holds in one thread only and costs every operation.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from grader.worker.notes import note
from grader.worker.standins import cuda

_CPU = torch.device("cpu")
_FACTORIES = (
    *("tensor", "as_tensor", "zeros", "ones", "empty", "full", "rand", "randn", "randint", "randperm", "arange"),
    *("asarray", "normal", "randint_like"),
    *("tril_indices", "triu_indices", "scalar_tensor", "empty_strided", "hann_window"),
    *("eye", "linspace", "logspace", "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like"),
)
_NEW = ("new_zeros", "new_ones", "new_empty", "new_full", "new_tensor")


def install() -> None:
    """Let cuda mean the processor, for every thread of this process."""
    for name in _FACTORIES:
        setattr(torch, name, _with_cpu(getattr(torch, name)))
    for name in ("to", *_NEW):
        setattr(torch.Tensor, name, _with_cpu(getattr(torch.Tensor, name)))
    nn.Module.to = _with_cpu(nn.Module.to)  # type: ignore[method-assign]
    torch.load = _with_cpu(torch.load)
    torch.set_default_device = _with_cpu(torch.set_default_device)
    torch.Tensor.cuda = _moved_to_cuda  # type: ignore[method-assign,assignment]
    torch.Tensor.pin_memory = _same  # type: ignore[method-assign,assignment]
    torch.Tensor.type = _with_cpu_type(torch.Tensor.type)  # type: ignore[method-assign]
    torch.set_default_tensor_type = _with_cpu_type(torch.set_default_tensor_type)
    torch.autocast.__init__ = _noted_autocast(torch.autocast.__init__)  # type: ignore[method-assign]
    torch.device = _Device  # type: ignore[misc]
    torch.Generator = _Generator  # type: ignore[misc]
    cuda.install()


def _mapped(value: Any) -> Any:
    """The processor for whatever names a cuda device; anything else as it is."""
    named = isinstance(value, str) and value.split(":")[0] == "cuda"
    if named or (isinstance(value, _RealDevice) and value.type == "cuda"):
        cuda.note_use()
        return _CPU
    return value


def _with_cpu(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def on_cpu(*args: Any, **options: Any) -> Any:
        # A bare number names a cuda device in `.to(0)` and `device=0` only; elsewhere it is a size or a value.
        if function.__name__ == "to" and len(args) > 1 and type(args[1]) is int:
            args = (args[0], _CPU, *args[2:])
        if type(options.get("device")) is int:
            options["device"] = _CPU
        return function(*map(_mapped, args), **{name: _mapped(value) for name, value in options.items()})

    return on_cpu


def _same(this: Any, *_: Any, **__: Any) -> Any:
    return this


def _moved_to_cuda(this: Any, *_: Any, **__: Any) -> Any:
    cuda.note_use()
    return this


def _with_cpu_type(function: Callable[..., Any]) -> Callable[..., Any]:
    """`torch.cuda.FloatTensor`, written as text, is the processor's `torch.FloatTensor`."""

    @functools.wraps(function)
    def on_cpu(*args: Any, **options: Any) -> Any:
        return function(*map(_mapped_type, args), **{name: _mapped_type(value) for name, value in options.items()})

    return on_cpu


def _mapped_type(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("torch.cuda."):
        cuda.note_use()
        return value.replace("cuda.", "", 1)
    return value


def _noted_autocast(init: Callable[..., None]) -> Callable[..., None]:
    """PyTorch switches cuda's autocast off where there is no cuda; the student should know."""

    @functools.wraps(init)
    def noted(context: Any, device_type: str, *args: Any, **options: Any) -> None:
        if device_type == "cuda" and options.get("enabled", True):
            note("Mixed precision (autocast on cuda) was off: the machine had no GPU.")
        init(context, device_type, *args, **options)

    return noted


_RealDevice = torch.device
_RealGenerator = torch.Generator


class _IsADevice(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _RealDevice)


class _Device(metaclass=_IsADevice):
    """`torch.device`, which cannot be subclassed; makes real devices, of the processor where cuda was named."""

    def __new__(cls, *args: Any, **options: Any) -> Any:
        name = args[0] if args else options.get("type", options.get("device"))
        if type(name) is int or _mapped(name) is _CPU:
            return _CPU
        return _RealDevice(*args, **options)


class _IsAGenerator(type(torch.Generator)):  # type: ignore[misc]
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _RealGenerator)


class _Generator(metaclass=_IsAGenerator):
    def __new__(cls, device: Any = "cpu") -> Any:
        return _RealGenerator(_mapped(device))
