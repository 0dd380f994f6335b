"""Write a trained network down as data, so that it can be tested in a process where no student's code runs.

A real forward is recorded, below autograd: every operation of torch with its arguments, as protocol/exported.py says.
What the recording does not see (a value read into Python, memory changed by NumPy) becomes a constant: where that makes
a difference, the scores of the training images that go along show it.
"""

import math
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision import transforms
from torchvision.transforms import InterpolationMode, v2

from grader.protocol.exported import (
    ITEM_BYTES,
    KNOWN_STEPS,
    MEMORY_FORMATS,
    MOST_BYTES,
    MOST_CALLS,
    Call,
    ExportedNetwork,
    Graph,
    Step,
    Weight,
    allowed,
    to_bytes,
)
from grader.worker.evaluate import Prepared, without_autocast
from grader.worker.measured import CHANNELS, SIDE, VALUES, pixel_values
from grader.worker.preprocessing import tensor_of
from grader.worker.tensors import named_buffers, named_tensors, tensors_in, view_of

_DTYPES = {getattr(torch, name): name for name in ITEM_BYTES}
_MEMORY_FORMATS = {getattr(torch, name): name for name in MEMORY_FORMATS}
# Training images on which a table of a transform is tried; noise has no two neighbours alike, and they are photographs.
_TRIED = 16
_MOST_NAME = 100


class NotExportable(Exception):
    """Why a network cannot be written down, for a person: a clause without a full stop."""


def export(prepared: Prepared) -> bytes:
    """Write a network down, with what an image goes through before it, as protocol/exported.py has it.

    Raises:
        NotExportable: It draws random numbers, does what the replay does not know, or has learned since.
    """
    weights = _Weights(prepared.network, prepared.trained)
    way, image, first = prepared.preparation, prepared.sample[0], prepared.batch
    with without_autocast():
        table = _table(way.transform, prepared.sample[:_TRIED]) if way.chance is None else None
        steps = [*_steps(way.transform, image, weights)] if table is None else [Step(table=weights.add(table))]
        if way.after is not None:
            steps.append(Step(graph=_traced(way.after, tensor_of(way.transform(Image.fromarray(image))), weights)))
        graph = _traced(prepared.network, first, weights)
    exported = ExportedNetwork(
        weights=weights.described(),
        graph=graph,
        steps=tuple(steps),
        batch=len(first),
        dtype=_DTYPES[first.dtype] if first.is_floating_point() else "float32",
        device=first.device.type,
        chance=way.chance,
        sample=len(prepared.sample),
    )
    return to_bytes(exported, weights.content(), prepared.scores)


class _Weights:
    """The tensors that recorded operations use and none of them made."""

    def __init__(self, network: nn.Module, trained: dict[str, Tensor]) -> None:
        self._names = {_key(tensor): name for name, tensor in named_tensors(network).items()}
        self._buffers = {name for name, _ in named_buffers(network)}
        self._trained = trained
        self._indices: dict[Any, int] = {}
        self._tensors: list[Tensor] = []
        self._copies: list[Tensor] = []
        self._bytes = 0

    def index(self, tensor: Tensor) -> int:
        """The number of a tensor, which is copied as it is now when it is first met."""
        key = _key(tensor)
        if key not in self._indices:
            if tensor.dtype not in _DTYPES or tensor.layout is not torch.strided or tensor.is_quantized:
                raise NotExportable(f"it uses a tensor of the kind {tensor.dtype}")
            self._bytes += tensor.numel() * tensor.element_size()
            if self._bytes > MOST_BYTES:
                raise NotExportable(f"it has more than {MOST_BYTES >> 20} MB of weights")
            name = self._names.get(key, "")
            before = self._trained.get(name, tensor)
            if before.shape != tensor.shape or not torch.equal(before.nan_to_num(), tensor.nan_to_num()):
                what = f"its buffer {name[:_MOST_NAME]}" if name in self._buffers else "its weights"
                raise NotExportable(f"{what} changed after the training was over")
            self._indices[key] = self.add(tensor)
        return self._indices[key]

    def add(self, tensor: Tensor) -> int:
        """A number for a tensor that no operation used so far."""
        self._tensors.append(tensor)  # its memory stays its own
        self._copies.append(tensor.detach().cpu().contiguous().clone())
        return len(self._tensors) - 1

    def described(self) -> tuple[Weight, ...]:
        """Name, dtype and shape of each."""
        return tuple(
            Weight(
                self._names.get(_key(tensor), "")[:_MOST_NAME],
                _DTYPES[tensor.dtype],
                tuple(tensor.shape),
                learns=tensor.requires_grad,
            )
            for tensor in self._tensors
        )

    def content(self) -> bytes:
        """The bytes of all, one after the other."""
        return b"".join(copy.reshape(-1).view(torch.uint8).numpy().tobytes() for copy in self._copies)


class _Recorded(NamedTuple):
    """A call, the numbers of the values that it made, and whether it writes into a tensor."""

    call: Call
    made: range
    writes: bool


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The operations that run while it is active, in order."""

    def __init__(self, given: Tensor, weights: _Weights) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[_Recorded] = []
        self._weights = weights
        self._device = given.device
        self._count = 0
        # By where a tensor lies: in the worker a memory address means one tensor only as long as that is alive. Two
        # equal views of one tensor lie in the same place, and either may end first.
        self._values: dict[Any, list[tuple[Any, int]]] = {}
        self._number(given)

    def value(self, tensor: Tensor) -> int | None:
        """The number of the value that a tensor is; None where no recorded operation made it."""
        return next((number for alive, number in self._values.get(_key(tensor), []) if alive() is not None), None)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func._can_decompose():
            with self:
                decomposed = func.decompose(*args, **kwargs)
            if decomposed is not NotImplemented:
                return decomposed
        arguments = [self._argument(each) for each in args]
        options = {name: self._argument(each) for name, each in kwargs.items()}
        output = func(*args, **kwargs)
        results = list(tensors_in(output))
        if results:
            operation = f"{func._schema.name.removeprefix('aten::')}.{func._schema.overload_name or 'default'}"
            if len(self.calls) >= MOST_CALLS:
                raise NotExportable(f"a forward runs more than {MOST_CALLS} operations")
            call = Call(operation, arguments, options, len(results))
            made = range(self._count, self._count + len(results))
            self.calls.append(_Recorded(call, made, func._schema.is_mutable))
            for tensor in results:
                self._number(tensor)
        return output

    def _number(self, tensor: Tensor) -> None:
        key = _key(tensor)
        lying_there = [each for each in self._values.get(key, []) if each[0]() is not None]
        self._values[key] = [(weakref.ref(tensor), self._count), *lying_there]
        self._count += 1

    def _argument(self, value: Any) -> Any:
        match value:
            case Tensor():
                known = self.value(value)
                return {"weight": self._weights.index(value)} if known is None else {"value": known}
            case list() | tuple():
                return [self._argument(each) for each in value]
            case None | bool() | int() | str():
                return value
            case float():
                return value if math.isfinite(value) else {"number": str(value)}
            case torch.dtype() if value in _DTYPES:
                return {"dtype": _DTYPES[value]}
            case torch.device():
                return {"device": "network" if value.type == self._device.type else "cpu"}
            case torch.memory_format() if value in _MEMORY_FORMATS:
                return {"memory_format": _MEMORY_FORMATS[value]}
            case torch.layout() if value is torch.strided:
                return {"layout": "strided"}
        raise NotExportable(f"an operation has an argument of the kind {type(value).__name__}")


def _traced(function: Callable[[Tensor], Any], given: Tensor, weights: _Weights) -> Graph:
    recorder = _Recorder(given, weights)
    with torch.no_grad(), recorder:
        output = function(given)
    value = recorder.value(output) if isinstance(output, Tensor) else None
    if value is None:
        raise NotExportable("its scores do not come from operations of torch")
    return _needed(recorder.calls, value)


def _needed(calls: list[_Recorded], output: int) -> Graph:
    """The calls that have a part in the output: what is only printed, or only looked at, may be anything.

    Raises:
        NotExportable: One of them may not be replayed.
    """
    needed, kept = {output}, []
    for recorded in reversed(calls):
        if recorded.writes or not needed.isdisjoint(recorded.made):
            call = recorded.call
            if not allowed(call.operation):
                raise NotExportable(f"it uses the operation {call.name}")
            needed.update(call.values)
            kept.append(recorded)
    kept.reverse()
    left = [0, *(number for recorded in kept for number in recorded.made)]
    numbers = {old: new for new, old in enumerate(left)}
    return Graph(tuple(_renumbered(recorded.call, numbers) for recorded in kept), numbers[output])


def _renumbered(call: Call, numbers: dict[int, int]) -> Call:
    def renumbered(argument: Any) -> Any:
        if isinstance(argument, list):
            return [renumbered(each) for each in argument]
        return {"value": numbers[argument["value"]]} if isinstance(argument, dict) and "value" in argument else argument

    kwargs = {name: renumbered(each) for name, each in call.kwargs.items()}
    return Call(call.operation, renumbered(call.args), kwargs, call.results)


def _steps(transform: Any, image: np.ndarray[Any, Any], weights: _Weights) -> Iterator[Step]:
    """The steps of a transform, as data.

    Raises:
        NotExportable: It has another.
    """
    shown: Any = Image.fromarray(image)
    for each in _flat(transform):
        name, version = type(each).__name__, 2 if type(each) is getattr(v2, type(each).__name__, None) else 1
        known = name in KNOWN_STEPS and (version == 2 or type(each) is getattr(transforms, name, None))
        if known:
            yield Step(known=name, version=version, settings={key: _setting(each, key) for key in KNOWN_STEPS[name]})
        elif isinstance(shown, Tensor):
            yield Step(graph=_traced(each, shown, weights))
        else:
            raise NotExportable(f"its test transform has a step that the grader does not know ({name})")
        shown = each(shown)


def _flat(transform: Any) -> Iterable[Any]:
    if type(transform) in (transforms.Compose, v2.Compose):
        return [step for each in transform.transforms for step in _flat(each)]
    return [transform]


def _setting(step: Any, name: str) -> Any:
    """A setting of one of torchvision's transforms: a number, a word, a list of them or a dtype."""
    value = getattr(step, name, None)
    if isinstance(value, torch.dtype) and value in _DTYPES:
        return {"dtype": _DTYPES[value]}
    if isinstance(value, InterpolationMode):
        return value.value
    if isinstance(value, list | tuple) and all(type(each) in (int, float) for each in value):
        return list(value)
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise NotExportable(f"a step of its test transform has a setting that the grader does not know ({name})")


def _table(transform: Callable[[Any], Any], images: np.ndarray[Any, Any]) -> Tensor | None:
    """What each value of each channel becomes, of shape (3, 256); None where a transform does anything else."""
    values = np.random.default_rng(0).permuted(np.tile(np.arange(VALUES, dtype=np.uint8), (CHANNELS, 4)), axis=1)
    noise = values.T.reshape(SIDE, SIDE, CHANNELS)
    table: Tensor | None = None
    for image in (noise, *images):
        made = transform(Image.fromarray(image))
        if not isinstance(made, Tensor) or made.shape != (CHANNELS, SIDE, SIDE) or made.dtype not in _DTYPES:
            return None
        where = pixel_values(image)
        if table is None:
            table = torch.zeros((CHANNELS, VALUES), dtype=made.dtype).scatter(1, where, made.flatten(1))
        if not torch.equal(table.gather(1, where), made.flatten(1)):
            return None
    return table


def _key(tensor: Tensor) -> Any:
    return view_of(tensor), tensor.dtype
