"""What a script written for an older PyTorch, torchvision or NumPy takes for granted, where ours no longer has it.

Students follow tutorials of another year, and Colab's versions are not this machine's: a script that ran there should
not end here because a method was renamed since. What a library still has is left as it is.
"""

import functools
import importlib.util
import inspect
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torchvision
from torch.optim import lr_scheduler
from torch.utils.data import dataloader
from torchvision import transforms

from grader.worker.channel import note

# NumPy had the first five until 1.24, the others until 2.0; `trapz` and `in1d` a little longer.
_NUMPY: Mapping[str, Any] = {
    **{"float": float, "int": int, "bool": bool, "object": object, "complex": complex},
    **{"float_": np.float64, "complex_": np.complex128, "Inf": np.inf, "infty": np.inf, "NaN": np.nan},
    **{"product": np.prod, "cumproduct": np.cumprod, "alltrue": np.all, "sometrue": np.any, "round_": np.round},
    **{"in1d": lambda first, second, **options: np.isin(np.ravel(first), second, **options)},
    **{"trapz": getattr(np, "trapezoid", None), "row_stack": np.vstack},
}
_OTHERS: Mapping[ModuleType, Mapping[str, Any]] = {
    torch: {"set_deterministic": torch.use_deterministic_algorithms},
    transforms: {"Scale": transforms.Resize, "RandomSizedCrop": transforms.RandomResizedCrop},
}
_SCHEDULERS = [
    kind
    for kind in vars(lr_scheduler).values()
    if isinstance(kind, type) and issubclass(kind, lr_scheduler.LRScheduler)
]
# What arguments are called now; None: they did nothing but print, and are left out.
_ARGUMENTS: Mapping[tuple[Any, str], Mapping[str, str | None]] = {
    **{(scheduler, "__init__"): {"verbose": None} for scheduler in _SCHEDULERS},
    (transforms.RandomRotation, "__init__"): {"resample": "interpolation"},
    (transforms.RandomAffine, "__init__"): {"resample": "interpolation", "fillcolor": "fill"},
    (torchvision.utils, "make_grid"): {"range": "value_range"},
    (torchvision.utils, "save_image"): {"range": "value_range"},
}
_MODULES = {"torchvision.models.utils": {"load_state_dict_from_url": torch.hub.load_state_dict_from_url}}
# Since PyTorch 2.6 `torch.load` refuses a whole network, which a script saved itself a few lines before.
ENVIRONMENT = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}


def replacements() -> dict[tuple[Any, str], Any]:
    """Supply what is missing, by owner and name; each use is noted for the script's student."""
    found: dict[tuple[Any, str], Any] = {
        (module, "__getattr__"): _answering(module, names) for module, names in {np: _NUMPY, **_OTHERS}.items()
    }
    if not hasattr(dataloader._BaseDataLoaderIter, "next"):
        found[dataloader._BaseDataLoaderIter, "next"] = _next
    for (owner, name), renamed in _ARGUMENTS.items():
        original = getattr(owner, name)
        gone = {old: new for old, new in renamed.items() if old not in inspect.signature(original).parameters}
        if gone:
            found[owner, name] = _with_older_arguments(original, gone)
    return found


def modules() -> dict[str, ModuleType]:
    """The modules that are missing, by name."""
    missing = {name: ModuleType(name) for name in _MODULES if importlib.util.find_spec(name) is None}
    for name, module in missing.items():
        vars(module).update(_MODULES[name])
    return missing


def _next(iterator: Any) -> Any:
    _note("next() of a DataLoader's iterator")
    return next(iterator)


def _answering(module: ModuleType, names: Mapping[str, Any]) -> Callable[[str], Any]:
    """A `__getattr__` that lets a module have these names where it has none of its own."""
    own = vars(module).get("__getattr__")

    def answer(name: str) -> Any:
        if name in names:
            _note(f"{module.__name__}.{name}")
            return names[name]
        if own is not None:
            return own(name)
        raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

    return answer


def _with_older_arguments(original: Callable[..., Any], renamed: Mapping[str, str | None]) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(*args: Any, **options: Any) -> Any:
        for old, new in renamed.items():
            if old in options:
                _note(f"the argument {old}")
                value = options.pop(old)
                if new is not None:
                    options[new] = value
        return original(*args, **options)

    return call


def _note(what: str) -> None:
    note("Your script is older than the libraries here. The grader supplied what they no longer have:", what)
