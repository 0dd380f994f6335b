"""torch's compilers: kept out of the process until a script asks for one, and what it then gets in their place.

torchvision and every optimizer import `torch._dynamo` for functions that do nothing while nothing is compiled. With
all that it brings, the import takes about as long as that of torch itself (2.0 s of 4.1 s, two cores, torch 2.15).

What `torch.compile`, `torch.jit.script` and `torch.jit.trace` return is the network itself, which looks as theirs does:
the sandbox has no compiler, and a compiled network would run past the forward that counts.
"""

import functools
import importlib
import importlib.util
import inspect
import sys
import types
import weakref
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

import torch
from torch import nn

from grader.worker.channel import note
from grader.worker.standins import files

_COMPILER = "torch._dynamo"
_UTILITIES = f"{_COMPILER}.utils"
_UNCOMPILED = "The network ran uncompiled: the grader skips torch.compile, torch.jit.script and torch.jit.trace."
_script, _save = torch.jit.script, files.saving(torch.jit.save)
_trace: Any = torch.jit.trace
# What torch made of a network that the script had traced: both have the same weights.
_traces: weakref.WeakKeyDictionary[nn.Module, Any] = weakref.WeakKeyDictionary()


class _Deferred(types.ModuleType):
    """What is asked for while nothing is compiled; for any other name the real module is imported."""

    def __getattr__(self, name: str) -> Any:
        # Whoever looks through sys.modules asks for such names.
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(_real(self.__name__), name)


class _FindReal(MetaPathFinder, Loader):
    """Brings the real package before one of its modules is imported by name."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        if name.startswith(f"{_COMPILER}.") and isinstance(sys.modules.get(_COMPILER), _Deferred):
            return importlib.util.spec_from_loader(name, self)
        return None

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        return _real(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing: it was executed already."""


def defer() -> None:
    """Put stand-ins in the compiler's place, unless it is there already."""
    if _COMPILER in sys.modules:
        return
    compiler, utilities = _Deferred(_COMPILER), _Deferred(_UTILITIES)
    compiler.__path__ = []
    compiler.__dict__.update(graph_break=_nothing, disable=_as_it_is, utils=utilities)
    utilities.__dict__.update(is_compile_supported=lambda device: _real(_UTILITIES).is_compile_supported(device))
    sys.modules.update({_COMPILER: compiler, _UTILITIES: utilities})
    sys.meta_path.insert(0, _FindReal())


def _real(name: str = _COMPILER) -> types.ModuleType:
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


def not_compiled(model: Any = None, **_: Any) -> Any:
    """`torch.compile` without a compiler: torch's own wrapper around a network, which calls that as it is."""
    if model is None:
        return not_compiled
    note(_UNCOMPILED)
    return _real().disable(model) if isinstance(model, nn.Module) else model


class _Scripted(nn.Module):
    """What a network gains that `torch.jit.script` returned; it computes as it did, so its forward still counts."""

    @property
    def original_name(self) -> str:
        return str(self._own_class.__name__)

    @property
    def _own_class(self) -> Any:
        return next(cls for cls in type(self).__mro__[1:] if not issubclass(cls, _Scripted))

    @property
    def graph(self) -> Any:
        return self._compiled().graph

    @property
    def code(self) -> Any:
        return self._compiled().code

    def save(self, file: Any, **_: Any) -> None:
        """Write what `torch.jit.load` reads; a network that cannot be scripted as it is now, by its weights."""
        try:
            _save(self._compiled(), file)
        except Exception:  # whatever the compiler of TorchScript says of a student's forward
            note("The network could not be scripted as it was, so the grader saved its weights in that place.")
            torch.save(self.state_dict(), file)

    def _compiled(self) -> Any:
        """TorchScript reads the source of forward, and finds that which counts in its place."""
        cls = self._own_class
        counted = cls.forward
        cls.forward = inspect.unwrap(counted)
        self.__class__ = cls
        try:
            return _script(self)
        finally:
            self.__class__, cls.forward = _looking_compiled(cls), counted


class _Traced(_Scripted):
    """The same for `torch.jit.trace`."""

    def _compiled(self) -> Any:
        return _traces[self]


@functools.cache
def _looking_compiled(cls: Any, traced: bool = False) -> Any:
    if traced:
        return type("TopLevelTracedModule", (_Traced, cls), {"__module__": "torch.jit._trace"})
    return type("RecursiveScriptModule", (_Scripted, cls), {"__module__": "torch.jit._script"})


def not_scripted(obj: Any = None, *args: Any, **options: Any) -> Any:
    """`torch.jit.script`: the network itself, with what a scripted one has; anything else as it is.

    Torch scripts too, a function that a network calls or the rules of its forward-mode derivatives, and gets what it
    made.
    """
    if _asked_by_torch() and not isinstance(obj, nn.Module):
        return _script(obj, *args, **options)
    note(_UNCOMPILED)
    if isinstance(obj, nn.Module) and not isinstance(obj, _Scripted):
        cls: Any = type(obj)
        obj.__class__ = _looking_compiled(cls)
    return obj


@functools.wraps(_trace)
def traced(func: Any = None, *args: Any, **options: Any) -> Any:
    """`torch.jit.trace`: the network itself, after torch has run it as it does, with what a traced one has.

    Torch traces too, for TensorBoard's graph, and gets what it made; so does whoever traces anything but a network.
    """
    made = _trace(func, *args, **options)
    if _asked_by_torch() or not isinstance(func, nn.Module) or isinstance(func, _Scripted | torch.jit.ScriptModule):
        return made
    note(_UNCOMPILED)
    cls: Any = type(func)
    func.__class__ = _looking_compiled(cls, traced=True)
    _traces[func] = made
    return func


def _asked_by_torch() -> bool:
    """Whether the caller of the function that asks this is torch."""
    return str(sys._getframe(2).f_globals.get("__name__")).startswith("torch.")


def of_torchscript() -> dict[tuple[Any, str], Any]:
    """By owner and name."""
    unchanged = ("freeze", "optimize_for_inference")
    return {
        (torch.jit, "script"): not_scripted,
        (torch.jit, "trace"): traced,
        (torch.jit, "save"): _saved,
        **{(torch.jit, name): _as_it_is_if_scripted(getattr(torch.jit, name)) for name in unchanged},
    }


def _saved(m: Any, f: Any, *args: Any, **options: Any) -> None:
    """`torch.jit.save`."""
    m.save(f) if isinstance(m, _Scripted) else _save(m, f, *args, **options)


def _as_it_is_if_scripted(function: Callable[..., Any]) -> Callable[..., Any]:
    """What makes a scripted module faster, for one that is none."""

    @functools.wraps(function)
    def unchanged(module: Any, *args: Any, **options: Any) -> Any:
        return module if isinstance(module, _Scripted) else function(module, *args, **options)

    return unchanged
