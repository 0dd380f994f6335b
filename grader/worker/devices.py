"""On a machine without a GPU, devices that a script calls cuda mean the processor (DESIGN, rule 3).

The names are replaced, not intercepted by a torch mode: a mode holds in one thread only and costs every operation.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch

# An optimizer loads it; it makes a table of torch's functions, and fails where two names stand for one replacement.
import torch._dynamo
from torch import nn

_CPU = torch.device("cpu")
_FACTORIES = (
    *("tensor", "as_tensor", "zeros", "ones", "empty", "full", "rand", "randn", "randint", "randperm", "arange"),
    *("asarray", "normal", "randint_like"),
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
    torch.Tensor.cuda = _same  # type: ignore[method-assign,assignment]
    torch.device = _Device  # type: ignore[misc]
    torch.Generator = _Generator  # type: ignore[misc]
    _install_cuda_module()


def _install_cuda_module() -> None:
    replacements: dict[str, Any] = {
        "synchronize": _nothing,
        "set_device": _nothing,
        "empty_cache": _nothing,
        "get_device_name": lambda device=None: "CPU",
        "get_device_capability": lambda device=None: (0, 0),
        "current_device": lambda: 0,
        "Event": _Event,
        "manual_seed": _nothing,
        "manual_seed_all": _nothing,
        "reset_peak_memory_stats": _nothing,
        "memory_allocated": lambda device=None: 0,
        "max_memory_allocated": lambda device=None: 0,
        "memory_reserved": lambda device=None: 0,
    }
    for name, replacement in replacements.items():
        setattr(torch.cuda, name, replacement)


def _mapped(value: Any) -> Any:
    """The processor for whatever names a cuda device; anything else as it is."""
    if isinstance(value, str) and value.split(":")[0] == "cuda":
        return _CPU
    if isinstance(value, _RealDevice) and value.type == "cuda":
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


def _nothing(*_: Any, **__: Any) -> None:
    return None


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


class _Event:
    """`torch.cuda.Event` on a machine without cuda: time is not measured."""

    def __init__(self, *_: Any, **__: Any) -> None:
        """Take what the real event takes."""

    record = synchronize = wait = _nothing

    def query(self) -> bool:
        """All work is done: the processor does not run ahead."""
        return True

    def elapsed_time(self, end: "_Event") -> float:
        """Milliseconds; not measured here."""
        return 0.0
