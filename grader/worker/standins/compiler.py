"""torch's compiler, kept out of a process until something asks for it.

torchvision and every optimizer import `torch._dynamo` for functions that do nothing while nothing is compiled. With
all that it brings, the import takes about as long as that of torch itself (2.0 s of 4.1 s, two cores, torch 2.15).
"""

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

_COMPILER = "torch._dynamo"
_UTILITIES = f"{_COMPILER}.utils"


class _Deferred(types.ModuleType):
    """What is asked for while nothing is compiled; for any other name the real module is imported."""

    def __getattr__(self, name: str) -> Any:
        # Whoever looks through sys.modules asks for such names.
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(real(self.__name__), name)


class _FindReal(MetaPathFinder, Loader):
    """Brings the real package before one of its modules is imported by name."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        if name.startswith(f"{_COMPILER}.") and isinstance(sys.modules.get(_COMPILER), _Deferred):
            return importlib.util.spec_from_loader(name, self)
        return None

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        return real(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing: it was executed already."""


def defer() -> None:
    """Put stand-ins in the compiler's place, unless it is there already."""
    if _COMPILER in sys.modules:
        return
    compiler, utilities = _Deferred(_COMPILER), _Deferred(_UTILITIES)
    compiler.__path__ = []
    compiler.__dict__.update(graph_break=_nothing, disable=_as_it_is, utils=utilities)
    utilities.__dict__.update(is_compile_supported=_is_compile_supported)
    sys.modules.update({_COMPILER: compiler, _UTILITIES: utilities})
    sys.meta_path.insert(0, _FindReal())


def real(name: str = _COMPILER) -> types.ModuleType:
    """Torch's own module, imported if it was not yet."""
    for deferred in (_COMPILER, _UTILITIES):
        if isinstance(sys.modules.get(deferred), _Deferred):
            del sys.modules[deferred]
    return importlib.import_module(name)


def _nothing(*_: Any, **__: Any) -> None:
    """A graph that is not made is not broken either."""


def _as_it_is(function: Callable[..., Any], *_: Any, **__: Any) -> Callable[..., Any]:
    """What is not compiled need not be kept from it."""
    return function


def _is_compile_supported(device_type: Any) -> Any:
    return real(_UTILITIES).is_compile_supported(device_type)
