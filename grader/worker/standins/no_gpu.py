"""On a machine without a GPU, devices that a script calls cuda mean the processor.

The names are replaced, not intercepted by a torch mode: a mode holds in one thread only and costs every operation. No
function of torch.cuda or torch.accelerator fails, and none has anything to do.

A script that does nothing without a GPU is told that there is one, once it has given up, and only where the script
itself asks. Torch's own questions get the true answer.
"""

import contextlib
import dis
import functools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from torch.utils._device import _device_constructors

from grader.worker.channel import note

_CPU = torch.device("cpu")
# Torch's own list, less what it has no name for; with what it leaves out.
_FACTORIES = sorted(
    {function.__name__ for function in _device_constructors() if hasattr(torch, function.__name__)}
    | {name for name in dir(torch) if name.endswith("_like") and not name.startswith("_")}
    | {"normal"}
)
_NEW = ("new_zeros", "new_ones", "new_empty", "new_full", "new_tensor")

_TYPES = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
_SILENT = (
    *("synchronize", "set_device", "empty_cache", "ipc_collect", "init", "manual_seed", "manual_seed_all"),
    *("reset_peak_memory_stats", "reset_max_memory_allocated", "reset_accumulated_memory_stats"),
    *("set_per_process_memory_fraction", "set_rng_state", "set_rng_state_all"),
    *("set_stream", "set_sync_debug_mode", "reset_max_memory_cached", "seed", "seed_all"),
)
_ZERO = (
    *("memory_allocated", "max_memory_allocated", "memory_reserved", "max_memory_reserved", "memory_cached"),
    *("max_memory_cached", "clock_rate", "device_memory_used", "memory_usage", "power_draw", "temperature"),
    *("utilization", "get_sync_debug_mode"),
)
_SILENT_ACCELERATOR = (
    *("synchronize", "set_device_index", "set_device_idx", "empty_cache", "empty_host_cache", "set_stream"),
    *("reset_peak_memory_stats", "reset_accumulated_memory_stats"),
)

# What `raise` and `assert` compile to; any other error of the script comes from another instruction.
_RAISE = dis.opmap["RAISE_VARARGS"]
_OURS = str(Path(__file__).parents[2])
_refused: list[bool] = []
_granted: list[bool] = []


def replacements() -> dict[tuple[Any, str], Any]:
    """What lets cuda mean the processor, for every thread of this process: by owner and name."""
    return {
        **{(torch, name): _with_cpu(getattr(torch, name)) for name in (*_FACTORIES, "load", "set_default_device")},
        **{(torch.Tensor, name): _with_cpu(getattr(torch.Tensor, name)) for name in ("to", *_NEW)},
        (nn.Module, "to"): _with_cpu(nn.Module.to),
        (torch.Tensor, "cuda"): _moved_to_cuda,
        (torch.Tensor, "pin_memory"): _same,
        (torch.Tensor, "record_stream"): nothing,
        (torch.UntypedStorage, "cuda"): _moved_to_cuda,
        (torch.TypedStorage, "cuda"): _moved_to_cuda,
        (torch.Tensor, "type"): _with_cpu_type(torch.Tensor.type),
        (torch, "set_default_tensor_type"): _with_cpu_type(torch.set_default_tensor_type),
        (torch.autocast, "__init__"): _noted_autocast(torch.autocast.__init__),
        (torch, "device"): _Device,
        (torch, "Generator"): _Generator,
        **{(torch, name): kind for name, kind in (("Stream", _Stream), ("Event", _Event)) if hasattr(torch, name)},
        **{
            (module, name): replacement
            for name, replacement in _of_cuda().items()
            for module in (torch.cuda, torch.cuda.memory, torch.cuda.random)
            if module is torch.cuda or hasattr(module, name)
        },
        **{(torch.cuda.nvtx, name): functools.partial(nothing) for name in ("mark", "range_push", "range_pop")},
        (torch.cuda.nvtx, "range"): _no_range,
        **_of_accelerator(),
    }


def _mapped(value: Any) -> Any:
    """The processor for whatever names a cuda device; anything else as it is."""
    named = isinstance(value, str) and value.split(":")[0] == "cuda"
    if named or (isinstance(value, _RealDevice) and value.type == "cuda"):
        _note_use()
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
        if options.get("pin_memory"):
            options["pin_memory"] = False
        return function(*map(_mapped, args), **{name: _mapped(value) for name, value in options.items()})

    return on_cpu


def _same(this: Any, *_: Any, **__: Any) -> Any:
    return this


def _moved_to_cuda(this: Any, *_: Any, **__: Any) -> Any:
    _note_use()
    return this


def _with_cpu_type(function: Callable[..., Any]) -> Callable[..., Any]:
    """`torch.cuda.FloatTensor`, written as text, is the processor's `torch.FloatTensor`."""

    @functools.wraps(function)
    def on_cpu(*args: Any, **options: Any) -> Any:
        return function(*map(_mapped_type, args), **{name: _mapped_type(value) for name, value in options.items()})

    return on_cpu


def _mapped_type(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("torch.cuda."):
        _note_use()
        return value.replace("cuda.", "", 1)
    return value


def _noted_autocast(init: Callable[..., None]) -> Callable[..., None]:
    """PyTorch switches cuda's autocast off where there is no cuda; the student should know."""

    @functools.wraps(init)
    def noted(context: Any, device_type: str, *args: Any, **options: Any) -> None:
        if device_type == "cuda" and options.get("enabled", True):
            note("Mixed precision (autocast on cuda) was off because the machine had no GPU.")
        init(context, device_type, *args, **options)

    return noted


_RealDevice = torch.device
_RealGenerator = torch.Generator


class _PassesForReal(type(torch.Generator)):  # type: ignore[misc]
    """Of a class that passes for the one of torch that it stands for, which cannot be subclassed."""

    _real: type

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls._real)

    # Torch itself compares: its code for an exported network knows the class of a device by that.
    def __eq__(cls, other: object) -> bool:
        return other is cls or other is cls._real

    def __hash__(cls) -> int:
        return hash(cls._real)


class _Device(metaclass=_PassesForReal):
    """`torch.device`: makes real devices, of the processor where cuda was named."""

    _real = _RealDevice

    def __new__(cls, *args: Any, **options: Any) -> Any:
        name = args[0] if args else options.get("type", options.get("device"))
        if type(name) is int or _mapped(name) is _CPU:
            return _CPU
        return _RealDevice(*args, **options)


class _Generator(metaclass=_PassesForReal):
    _real = _RealGenerator

    def __new__(cls, device: Any = "cpu") -> Any:
        return _RealGenerator(_mapped(device))


def _of_cuda() -> dict[str, Any]:
    """What would ask a driver that is not there."""
    return {
        # Each its own: torch's compiler makes a table of these functions and fails where two names stand for one.
        **{name: functools.partial(nothing) for name in _SILENT},
        **{name: functools.partial(_no_memory) for name in _ZERO},
        "current_device": lambda: 0,
        "get_device_name": lambda device=None: "CPU",
        "get_device_capability": lambda device=None: (0, 0),
        "get_device_properties": _properties,
        "get_rng_state": lambda device=None: torch.get_rng_state(),
        "get_rng_state_all": lambda: [torch.get_rng_state()],
        "default_generators": (torch.default_generator,),
        "initial_seed": lambda: torch.initial_seed(),
        "is_current_stream_capturing": lambda: False,
        "can_device_access_peer": lambda device, peer_device: False,
        "get_per_process_memory_fraction": lambda device=None: 1.0,
        "make_graphed_callables": lambda callables, *_, **__: callables,
        "is_bf16_supported": lambda including_emulation=True: False,
        "mem_get_info": lambda device=None: (_memory(), _memory()),
        "memory_stats": lambda device=None: {},
        "memory_summary": lambda device=None, abbreviated=False: "No CUDA memory: this machine has no GPU.",
        "Event": _Event,
        "Stream": _Stream,
        "ExternalStream": _Stream,
        "current_stream": _Stream,
        "default_stream": _Stream,
        "StreamContext": contextlib.nullcontext,
        "stream": contextlib.nullcontext,
        "device": contextlib.nullcontext,
        "device_of": contextlib.nullcontext,
        **{f"{kind}Tensor": getattr(torch, f"{kind}Tensor") for kind in _TYPES},
        # A script's question for a GPU: no, until `grant`.
        "is_available": lambda: bool(_answer()),
        "device_count": _answer,
    }


def _of_accelerator() -> dict[tuple[Any, str], Any]:
    """The processor, where a script asks for the accelerator without asking whether there is one."""
    accelerator = getattr(torch, "accelerator", None)  # since PyTorch 2.6
    replacements: dict[str, Any] = {
        **{name: functools.partial(nothing) for name in _SILENT_ACCELERATOR},
        **{name: functools.partial(_no_memory) for name in _ZERO[:4]},
        "is_available": lambda: False,
        "current_accelerator": lambda check_available=False: None if check_available else torch.device("cpu"),
        "current_device_index": lambda: 0,
        "current_device_idx": lambda: 0,
        "get_device_capability": lambda device=None: {},
        "get_memory_info": lambda device=None: (_memory(), _memory()),
        "memory_stats": lambda device=None: {},
        "current_stream": lambda device=None: _Stream(),
        "device_index": contextlib.nullcontext,
    }
    return {(accelerator, name): value for name, value in replacements.items() if hasattr(accelerator, name)}


def nothing(*_: Any, **__: Any) -> None:
    """Do nothing, whatever is asked."""


@contextlib.contextmanager
def _no_range(*_: Any, **__: Any) -> Iterator[None]:
    yield


def _no_memory(device: Any = None) -> int:
    return 0


def _note_use() -> None:
    """Remember that the script named a GPU."""
    note("Your script names cuda, but the machine had no GPU, so it ran on the processor.")


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _properties(device: Any = None) -> SimpleNamespace:
    cores = torch.get_num_threads()
    return SimpleNamespace(name="CPU", major=0, minor=0, total_memory=_memory(), multi_processor_count=cores)


class _Event:
    """`torch.cuda.Event` on a machine without cuda: time is not measured."""

    def __init__(self, *_: Any, **__: Any) -> None:
        """Take what the real event takes."""

    device, cuda_event, event_id = _CPU, 0, 0
    record = synchronize = wait = nothing

    def query(self) -> bool:
        """All work is done: the processor does not run ahead."""
        return True

    def elapsed_time(self, end: "_Event") -> float:
        """Milliseconds; not measured here."""
        return 0.0


class _Stream(contextlib.nullcontext[None]):
    """`torch.cuda.Stream` on a machine without cuda: everything happens in order."""

    def __init__(self, *_: Any, **__: Any) -> None:
        """Take what the real stream takes."""
        super().__init__()

    device, device_index, device_type, stream_id, cuda_stream, priority = _CPU, 0, 0, 0, 0, 0
    synchronize = wait_event = wait_stream = nothing

    def __enter__(self) -> Any:
        return self

    def record_event(self, event: _Event | None = None) -> _Event:
        """Everything before it is done."""
        return event or _Event()

    def query(self) -> bool:
        """All work is done: the processor does not run ahead."""
        return True


def gave_up(error: BaseException | None, *, made_network: bool) -> bool:
    """Whether a script that ended before it trained had asked for a GPU in vain, and ended by its own will.

    Args:
        error: What ended it, perhaps a SystemExit; None: it came to its end.
    """
    if not _refused or _granted:
        return False
    if error is None or isinstance(error, SystemExit):
        return not made_network
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return False
    code = trace.tb_frame.f_code
    return _of_the_script(code.co_filename) and code.co_code[trace.tb_lasti] == _RAISE


def grant() -> None:
    """Say from now on that there is a GPU; no_gpu.py lets it be the processor."""
    _granted.append(True)
    note(
        "Your script does nothing without a GPU. The machine had none, so the grader told the script that there is one."
    )


def _answer() -> int:
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
        frame = frame.f_back
    if not _of_the_script(frame.f_code.co_filename):
        return 0
    if not _granted:
        _refused.append(True)
    return len(_granted)


def _of_the_script(file: str) -> bool:
    """Whether a file is the script, or lies beside it; the interpreter's own code, which starts the worker, is not."""
    return os.path.dirname(file) in ("", os.getcwd()) and not file.startswith("<frozen ")
