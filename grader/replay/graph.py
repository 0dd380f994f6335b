"""Run an exported network on images.

Torch's kernels look at most of what a recorded call gives them. What they take on trust, since in torch itself a module
has looked at it, is looked at here; `tests/replay/test_odd_arguments.py` tries odd arguments on all of them.
"""

from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, ops
from torchvision import transforms
from torchvision.transforms import InterpolationMode, v2

from grader.protocol.exported import MOST_RESULTS, Call, ExportedNetwork, Graph, Step
from grader.records import CLASSES, SCORE_DTYPE
from grader.worker.draws import seed_by

_CHANGES_WEIGHTS = "it changes its own weights"
# Four times what the specified network unfolds of 4,096 images for one convolution.
_MOST_ELEMENTS = 1 << 32
# Those that take sides of windows, borders or images, and the largest: each may make the image so much larger.
_OF_SIDES, _MOST_SIDE = ("conv", "pool", "pad", "upsample", "im2col", "col2im", "pixel"), 1 << 12
# Torch takes these as plain numbers too, and reads memory by them.
_NAMED = {"ScalarType": "dtype", "Layout": "layout", "MemoryFormat": "memory_format", "Device": "device"}
_TENSORS = ("Tensor", "List[Tensor]")
# They leave what the memory held before.
_UNFILLED = ("empty", "new_empty")

# Of calls by their place: which of the values that go in comes out as it was; None where all zeros come out.
Idle = dict[int, int | None]


class Replayed:
    """An exported network, made ready on its device.

    Args:
        weights: Their bytes, one after the other.

    Attributes:
        weights: As tensors, in order.
        run: The network itself.
        idle: As `RunnableGraph.idle` found it on the images with which the graph was judged.
    """

    def __init__(self, network: ExportedNetwork, weights: memoryview) -> None:
        self._network, self._device = network, torch.device(network.device)
        self.weights = _tensors(network, weights, self._device)
        self.run = RunnableGraph(network.graph, self.weights, self._device)
        self.idle: Idle = {}
        on_processor = [weight.cpu() for weight in self.weights] if network.steps else []
        self._table = next((on_processor[step.table] for step in network.steps if step.table is not None), None)
        self._steps = [_changed(step, on_processor) for step in network.steps if step.table is None]

    def scores(self, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Scores of shape (N, 10) and SCORE_DTYPE for uint8 images of shape (N, 32, 32, 3).

        Raises:
            ValueError: The network gives something else.
        """
        size = self._network.batch
        rows = []
        with torch.no_grad():
            for start in range(0, len(images), size):
                some = images[start:][:size]
                output = self.run(self.batch(np.concatenate([some, some[-1:].repeat(size - len(some), 0)])), self.idle)
                if tuple(output.shape) != (size, CLASSES):
                    raise ValueError(f"an output of shape {tuple(output.shape)}")
                rows.append(output[: len(some)].float().cpu().numpy().astype(SCORE_DTYPE))
        return np.concatenate(rows)

    def batch(self, images: np.ndarray[Any, Any]) -> Tensor:
        """What the network gets for uint8 images of shape (batch, 32, 32, 3)."""
        if self._table is None:
            shown = torch.stack([self._image(Image.fromarray(image)) for image in images])
        else:
            values = torch.from_numpy(images).long()
            shown = torch.stack([self._table[channel][values[..., channel]] for channel in range(3)], dim=1)
            if self._steps:
                shown = torch.stack([self._through(image) for image in shown])
        if shown.is_floating_point():
            shown = shown.to(getattr(torch, self._network.dtype))
        return shown.to(self._device)

    def _image(self, image: Image.Image) -> Tensor:
        if self._network.chance is not None:
            seed_by(self._network.chance, image)
        return self._through(image)

    def _through(self, image: Any) -> Tensor:
        for step in self._steps:
            image = step(image)
        return image if isinstance(image, Tensor) else transforms.ToTensor()(np.array(image))


class RunnableGraph:
    """A graph whose operations are looked up, and which knows after which call each value is no longer needed."""

    def __init__(self, graph: Graph, weights: Sequence[Tensor], device: torch.device) -> None:
        self._weights, self._device, self._output = weights, device, graph.output
        self._calls = [(Operation(call), call, list(dict.fromkeys(call.values))) for call in graph.calls]
        self._last = {graph.output: len(graph.calls)}
        for index in range(len(graph.calls) - 1, -1, -1):
            for value in self._calls[index][2]:
                self._last.setdefault(value, index)

    def __call__(self, given: Tensor, idle: Idle | None = None) -> Tensor:
        """What comes out for what goes in.

        Raises:
            ValueError: A call of `idle` does something here, or a weight was written into: what was judged is not
                what is tested.
        """
        expected = idle or {}
        return self._through(given, lambda index, before, made: _still(expected[index], before, made), expected.keys())

    def idle(self, given: Tensor) -> Idle:
        """The calls that do nothing to these images: a judge of the graph does not see them."""
        found: Idle = {}

        def look(index: int, before: Sequence[Tensor], made: Tensor) -> None:
            ways = (None, *range(len(before))) if len(before) > 1 else (None,)
            found.update((index, way) for way in ways if index not in found and _idle(way, before, made))

        self._through(given, look, range(len(self._calls)))
        return found

    def _through(
        self, given: Tensor, look: Callable[[int, Sequence[Tensor], Tensor], None], at: Container[int]
    ) -> Tensor:
        values: dict[int, Tensor] = {0: given}
        versions = [weight._version for weight in self._weights]
        count = 1
        for index, (operation, call, used) in enumerate(self._calls):
            # An operation in place changes what it was given.
            before = [values[each].clone() for each in used] if index in at else []
            results = operation(
                [self._argument(each, values) for each in call.args],
                {name: self._argument(each, values) for name, each in call.kwargs.items()},
            )
            if index in at:
                look(index, before, results[0])
            values.update(enumerate(results, count))
            count += len(results)
            for value in [value for value in values if self._last.get(value, -1) <= index]:
                del values[value]
        if versions != [weight._version for weight in self._weights]:
            raise ValueError(_CHANGES_WEIGHTS)
        return values[self._output]

    def _argument(self, said: Any, values: dict[int, Tensor]) -> Any:
        if isinstance(said, list):
            return [self._argument(each, values) for each in said]
        if not isinstance(said, dict):
            return said
        [(kind, what)] = said.items()
        match kind:
            case "value":
                return values[what]
            case "weight":
                return self._weights[what]
            case "device":
                return torch.device("cpu") if what == "cpu" else self._device
            case "number":
                return float(what)
        return getattr(torch, what)  # a dtype, a memory format or a layout


def _idle(way: int | None, before: Sequence[Tensor], made: Tensor) -> bool:
    """Whether that one of the values that went in came out; None: whether all zeros did."""
    if way is None:
        return not bool(made.any())
    return made.numel() == before[way].numel() and torch.equal(made.reshape(-1), before[way].reshape(-1).to(made.dtype))


def _still(way: int | None, before: Sequence[Tensor], made: Tensor) -> None:
    if not _idle(way, before, made):
        raise ValueError("a part of it does nothing to the images with which it was judged, and something to others")


def _tensors(network: ExportedNetwork, data: memoryview, device: torch.device) -> list[Tensor]:
    """Every weight as a tensor of its own memory."""
    tensors, start = [], 0
    for weight in network.weights:
        dtype = getattr(torch, weight.dtype)
        own = bytearray(data[start : start + weight.size])
        flat = torch.frombuffer(own, dtype=dtype) if own else torch.empty(0, dtype=dtype)
        tensors.append(flat.reshape(weight.shape).to(device))
        start += weight.size
    return tensors


def _changed(step: Step, weights: Sequence[Tensor]) -> Callable[[Any], Any]:
    """What a step does to one image, on the processor."""
    if step.graph is not None:
        return RunnableGraph(step.graph, weights, torch.device("cpu"))
    settings = dict(step.settings)
    if "dtype" in settings:
        settings["dtype"] = getattr(torch, settings["dtype"]["dtype"])
    if step.known == "ColorJitter":  # keeps None for what it does not change, and takes 0
        settings = {name: value or 0 for name, value in settings.items()}
    if "interpolation" in settings:
        settings["interpolation"] = InterpolationMode(settings["interpolation"])
    transform: Callable[[Any], Any] = getattr(v2 if step.version == 2 else transforms, step.known)(**settings)
    return transform


class Operation:
    """An operation of torch that a graph calls; what its arguments must keep to is looked at before it runs.

    Args:
        call: Of an operation that is allowed by its name.

    Raises:
        ValueError: It is none of those that make tensors of their arguments alone.
    """

    def __init__(self, call: Call) -> None:
        packet, overload = call.operation.split(".")
        self._call, self._function = call, getattr(getattr(ops.aten, packet), overload)
        schema = self._function._schema
        self._names = [each.name for each in schema.arguments]
        makes_tensors = all(str(each.type) in _TENSORS for each in schema.returns)
        if not makes_tensors or any(each.is_out for each in schema.arguments):
            raise ValueError(f"{call.operation} gives more than new tensors")
        said = dict(zip(self._names, call.args, strict=False)) | call.kwargs
        for each in schema.arguments:
            kind = _NAMED.get(str(each.real_type).removeprefix("Optional[").removesuffix("]"))
            given = said.get(each.name)
            if kind and given is not None and not (isinstance(given, dict) and kind in given):
                raise ValueError(f"{call.operation} has no {kind} but {given}")

    def __call__(self, arguments: list[Any], options: dict[str, Any]) -> list[Tensor]:
        """The tensors that come out.

        Raises:
            ValueError: It would read or write past a tensor's end, write into a weight and not say so, draw random
                numbers, or make something too large.
        """
        given = dict(zip(self._names, arguments, strict=False)) | options
        _look(self._function._schema.name.removeprefix("aten::"), given)
        made = _flat(self._function(*arguments, **options))
        if len(made) != self._call.results:
            raise ValueError(f"{self._call.operation} gave {len(made)} tensors, not {self._call.results}")
        if any(each.numel() > _MOST_ELEMENTS for each in made):
            raise ValueError(f"{self._call.operation} makes something too large")
        # Memory as it was found may hold what another network left there.
        return [each.zero_() for each in made] if self._call.operation.startswith(_UNFILLED) else made


def _look(name: str, given: dict[str, Any]) -> None:
    """Look at what torch's own kernels take on trust."""
    if any(each in name for each in _OF_SIDES) and max(_whole_numbers(list(given.values())), default=0) > _MOST_SIDE:
        raise ValueError(f"{name} has a side of more than {_MOST_SIDE}")
    training = given.get("training", given.get("train"))
    if "batch_norm" in name:
        of_channels = [given.get(key) for key in ("weight", "bias", "running_mean", "running_var")]
        channels = given["input"].shape[1]
        _refuse_unless(all(each is None or each.numel() == channels for each in of_channels), name)
        statistics = [given.get("running_mean"), given.get("running_var")]
        if training and any(each is not None for each in statistics):
            raise ValueError(_CHANGES_WEIGHTS)
        if not training and any(each is None for each in statistics):  # torch 2.11 reads those that are not there
            raise ValueError(f"{name} has no statistics")
    elif "weight_norm" in name:
        _refuse_unless(given["g"].numel() == given["v"].shape[given.get("dim", 0)], name)
    elif name.startswith("rrelu") and training:
        raise ValueError("it draws random numbers")
    elif "upsample" in name:
        scales = given.get("scale_factors") or [given.get("scales_h"), given.get("scales_w")]
        images = given["self"] if "self" in given else given["input"]
        before, after = images.shape[2:], given.get("output_size") or (None, None)
        for scale, old, new in zip(scales, before, after, strict=True):
            # Sides that do not fit are read past the image's end.
            if scale is not None and not (0 < scale <= _MOST_SIDE and (new is None or abs(old * scale - new) <= 1)):
                raise ValueError(f"{name} has a scale that does not fit")
    elif name in ("unbind", "split", "chunk") and _pieces(name, given) > MOST_RESULTS:
        raise ValueError(f"{name} makes too many pieces")


def _whole_numbers(values: list[Any]) -> Iterator[int]:
    for each in values:
        if isinstance(each, list):
            yield from _whole_numbers(each)
        elif isinstance(each, int):
            yield each


def _refuse_unless(fits: bool, name: str) -> None:
    if not fits:
        raise ValueError(f"{name} has weights of another size")


def _pieces(name: str, given: dict[str, Any]) -> int:
    if name == "chunk":
        return int(given["chunks"])
    size = int(given["self"].shape[given.get("dim", 0)])
    each = given.get("split_size", 1) if name == "split" else 1
    return len(each) if isinstance(each, list) else size // max(each, 1)


def _flat(results: Any) -> list[Tensor]:
    if isinstance(results, Tensor):
        return [results]
    return [tensor for each in results for tensor in _flat(each)] if isinstance(results, list | tuple) else []
