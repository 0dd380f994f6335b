"""An operation of torch that a recorded graph calls, and what its arguments must keep to before it runs.

Torch's kernels look at most of what they are given. What they take on trust, since in torch itself a module has looked
at it, is looked at here; `tests/replay/test_odd_arguments.py` tries odd arguments on all of them.
"""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, ops

from grader.protocol.exported import MOST_RESULTS, Call

CHANGES_WEIGHTS = "it changes its own weights"
# Four times what the specified network unfolds of 4,096 images for one convolution.
_MOST_ELEMENTS = 1 << 32
# Those that take sides of windows, borders or images, and the largest: each may make the image so much larger.
_OF_SIDES, _MOST_SIDE = ("conv", "pool", "pad", "upsample", "im2col", "col2im", "pixel"), 1 << 12
# Torch takes these as plain numbers too, and reads memory by them.
_NAMED = {"ScalarType": "dtype", "Layout": "layout", "MemoryFormat": "memory_format", "Device": "device"}
_TENSORS = ("Tensor", "List[Tensor]")
# They leave what the memory held before.
_UNFILLED = ("empty", "new_empty")


class Operation:
    """One operation.

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
        _look(self._function._schema.name.removeprefix("aten::"), self._named(arguments, options))
        made = _flat(self._function(*arguments, **options))
        if len(made) != self._call.results:
            raise ValueError(f"{self._call.operation} gave {len(made)} tensors, not {self._call.results}")
        if any(each.numel() > _MOST_ELEMENTS for each in made):
            raise ValueError(f"{self._call.operation} makes something too large")
        # Memory as it was found may hold what another network left there.
        return [each.zero_() for each in made] if self._call.operation.startswith(_UNFILLED) else made

    def _named(self, arguments: list[Any], options: dict[str, Any]) -> dict[str, Any]:
        return dict(zip(self._names, arguments, strict=False)) | options


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
            raise ValueError(CHANGES_WEIGHTS)
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
