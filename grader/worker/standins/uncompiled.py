"""What `torch.compile`, `torch.jit.script` and `torch.jit.trace` return: a network computes as it did, and looks alike.

The sandbox has no compiler, and a compiled network would run past the forward that counts.
"""

import functools
import inspect
import sys
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from grader.worker.channel import note
from grader.worker.standins import compiler, folders

_UNCOMPILED = "The network ran uncompiled: the grader skips torch.compile, torch.jit.script and torch.jit.trace."
_script, _save = torch.jit.script, folders.saving(torch.jit.save)
_trace: Any = torch.jit.trace
# What torch made of a network that the script had traced: both have the same weights.
_traces: weakref.WeakKeyDictionary[nn.Module, Any] = weakref.WeakKeyDictionary()


def not_compiled(model: Any = None, **_: Any) -> Any:
    """`torch.compile` without a compiler: torch's own wrapper around a network, which calls that as it is."""
    if model is None:
        return not_compiled
    note(_UNCOMPILED)
    return compiler.real().disable(model) if isinstance(model, nn.Module) else model


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
