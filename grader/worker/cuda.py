"""The names of torch.cuda and torch.accelerator on a machine without a GPU: none fails, and none has anything to do."""

import contextlib
import functools
import os
from types import SimpleNamespace
from typing import Any

import torch

from grader.worker import wanted_gpu
from grader.worker.notes import note

_TYPES = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
_SILENT = (
    *("synchronize", "set_device", "empty_cache", "ipc_collect", "init", "manual_seed", "manual_seed_all"),
    *("reset_peak_memory_stats", "reset_max_memory_allocated", "reset_accumulated_memory_stats"),
    *("set_per_process_memory_fraction", "set_rng_state", "set_rng_state_all"),
)
_ZERO = ("memory_allocated", "max_memory_allocated", "memory_reserved", "max_memory_reserved", "memory_cached")
_SILENT_ACCELERATOR = (
    *("synchronize", "set_device_index", "set_device_idx", "empty_cache", "empty_host_cache", "set_stream"),
    *("reset_peak_memory_stats", "reset_accumulated_memory_stats"),
)


def install() -> None:
    """Replace what would ask a driver that is not there."""
    replacements: dict[str, Any] = {
        # Each its own: torch's compiler makes a table of these functions and fails where two names stand for one.
        **{name: functools.partial(nothing) for name in _SILENT},
        **{name: functools.partial(_no_memory) for name in _ZERO},
        "current_device": lambda: 0,
        "get_device_name": lambda device=None: "CPU",
        "get_device_capability": lambda device=None: (0, 0),
        "get_device_properties": _properties,
        "get_rng_state": lambda device=None: torch.get_rng_state(),
        "get_rng_state_all": lambda: [torch.get_rng_state()],
        "is_bf16_supported": lambda including_emulation=True: False,
        "mem_get_info": lambda device=None: (_memory(), _memory()),
        "memory_stats": lambda device=None: {},
        "memory_summary": lambda device=None, abbreviated=False: "No CUDA memory: this machine has no GPU.",
        "Event": _Event,
        "Stream": _Stream,
        "current_stream": _Stream,
        "default_stream": _Stream,
        "stream": contextlib.nullcontext,
        "device": contextlib.nullcontext,
        "device_of": contextlib.nullcontext,
    }
    replacements |= {f"{kind}Tensor": getattr(torch, f"{kind}Tensor") for kind in _TYPES}
    for name, replacement in replacements.items():
        setattr(torch.cuda, name, replacement)
    wanted_gpu.install()
    if hasattr(torch, "accelerator"):  # since PyTorch 2.6
        _install_accelerator()


def _install_accelerator() -> None:
    """Let the processor stand in where a script asks for the accelerator without asking whether there is one."""
    replacements: dict[str, Any] = {
        **{name: functools.partial(nothing) for name in _SILENT_ACCELERATOR},
        **{name: functools.partial(_no_memory) for name in _ZERO[:4]},
        "is_available": lambda: False,
        "current_accelerator": lambda check_available=False: None if check_available else torch.device("cpu"),
        "current_device_index": lambda: 0,
        "current_device_idx": lambda: 0,
        "get_memory_info": lambda device=None: (_memory(), _memory()),
        "memory_stats": lambda device=None: {},
        "current_stream": lambda device=None: _Stream(),
        "device_index": contextlib.nullcontext,
    }
    for name, replacement in replacements.items():
        if hasattr(torch.accelerator, name):
            setattr(torch.accelerator, name, replacement)


def nothing(*_: Any, **__: Any) -> None:
    """Do nothing, whatever is asked."""


def _no_memory(device: Any = None) -> int:
    return 0


def note_use() -> None:
    """Remember that the script named a GPU."""
    note("The script names cuda; the machine had no GPU, so that meant the processor.")


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _properties(device: Any = None) -> SimpleNamespace:
    cores = torch.get_num_threads()
    return SimpleNamespace(name="CPU", major=0, minor=0, total_memory=_memory(), multi_processor_count=cores)


class _Event:
    """`torch.cuda.Event` on a machine without cuda: time is not measured."""

    def __init__(self, *_: Any, **__: Any) -> None:
        """Take what the real event takes."""

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

    synchronize = wait_event = wait_stream = nothing

    def record_event(self, event: _Event | None = None) -> _Event:
        """Everything before it is done."""
        return event or _Event()

    def query(self) -> bool:
        """All work is done: the processor does not run ahead."""
        return True
