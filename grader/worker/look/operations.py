"""What an operation of torch is in the handout's terms, by its name where it has weights, else by what it computes."""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Positions of arguments differ between these families; names differ between versions of torch and between devices.
_CONVOLUTIONS = ("convolution", "convolution_overrideable", "_convolution")
BATCH_NORMS = (
    *("native_batch_norm", "cudnn_batch_norm", "miopen_batch_norm", "batch_norm"),
    *("_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "_native_batch_norm_legit_functional"),
    *("_batch_norm_with_update", "_batch_norm_no_update", "_batch_norm_with_update_functional"),
)
_PRODUCTS = ("addmm", "mm", "linear", "matmul", "_addmm_activation")
# Far beyond the bound of a ReLU that has an upper one.
_LARGE = 1e4
_WIDEST_FILTER = 11


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer with weights, or the canonical form of one without (`weight` None)."""

    op: str
    weight: Tensor | None = None
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    plain: bool = True


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation without weights, as it ran."""

    name: str
    func: Any
    args: Any
    kwargs: Any
    result: Tensor


def plain_name(func: Any) -> str:
    """The name that an operation and its form in place share: "relu" for aten::relu_."""
    name = str(func._schema.name).split("::")[-1]
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


def layer(name: str, args: Any, constant: list[bool], tensors: list[Tensor]) -> Layer | None:
    """The layer that an operation is; None if it has no weights.

    Args:
        constant: For each of `tensors`, whether the images have no part in it.
    """
    if name in _CONVOLUTIONS:
        return _convolution(args)
    if name in BATCH_NORMS:
        weights = [each for each in args[1:5] if isinstance(each, Tensor)]
        return Layer("batch_norm", weights[0] if weights else None)
    if name in _PRODUCTS:
        weights = [each for each, fixed in zip(tensors, constant, strict=True) if fixed and each.ndim == 2]
        return Layer("linear", weights[0]) if weights else None
    return None


def _convolution(args: Any) -> Layer:
    images, weight, _, stride, padding, dilation, transposed, _, groups, *_ = args
    spatial = weight.ndim - 2
    kernel, stride, padding = tuple(weight.shape[2:]), _both(stride, spatial), _both(padding, spatial)
    plain = groups == 1 and all(each == 1 for each in dilation) and not transposed
    if plain and all(each == 1 for each in (*kernel, *images.shape[2:])) and not any(padding):
        return Layer("linear", weight)
    return Layer("conv", weight, kernel, stride, padding, plain)


def _both(value: Any, spatial: int) -> tuple[int, ...]:
    values = tuple(int(each) for each in value) if isinstance(value, list | tuple) else (int(value),)
    return values * spatial if len(values) == 1 else values


def recognised(seen: Operation, value: Tensor, direct: bool) -> Layer | None:
    """The layer without weights that turns `value` into the operation's result.

    Args:
        direct: `value` is the operation's own input, not something further back.
    """
    if direct and _is_relu(seen, value):
        return Layer("relu")
    if value.ndim != 4:
        return None
    height, width = value.shape[2:]
    if seen.result.numel() == value.shape[0] * value.shape[1]:
        mean = value.mean((2, 3)).reshape(-1)
        if torch.allclose(seen.result.reshape(-1), mean, rtol=1e-4, atol=1e-5):
            return Layer("avg_pool", None, (height, width), (height, width))
    if not direct:
        return None
    if _halves(value, seen.result) and torch.equal(F.max_pool2d(value, 2), seen.result):
        return Layer("max_pool", None, (2, 2), (2, 2))
    if seen.name in ("avg_pool2d", "max_pool2d_with_indices", "max_pool2d"):
        kernel = _both(seen.args[1], 2)
        stride = _both(seen.args[2], 2) if len(seen.args) > 2 and seen.args[2] else kernel
        padding = _both(seen.args[3], 2) if len(seen.args) > 3 else (0, 0)
        pool, op = (F.avg_pool2d, "avg_pool") if seen.name == "avg_pool2d" else (F.max_pool2d, "max_pool")
        plain = torch.equal(pool(value, kernel, stride), seen.result)  # no padding, and no divisor of its own
        return Layer(op, None, kernel, stride, padding, plain)
    return _wrapped(value, seen.result) if seen.name == "write" else _padded(seen)


def _is_relu(seen: Operation, value: Tensor) -> bool:
    if value.shape != seen.result.shape or not torch.equal(value.clamp(min=0), seen.result):
        return False
    if seen.name == "relu":
        return True
    # Where no argument is the value any more, the operation changed it in place, or it was of another dtype.
    which = {index for index, each in enumerate(seen.args) if _is_value(each, value)} or {0}
    if seen.func._schema.name.endswith("_"):
        which.add(0)
    try:
        large = value * _LARGE
        given = [large.clone() if index in which else each for index, each in enumerate(seen.args)]
        again = seen.func(*given, **seen.kwargs)
    except Exception:  # whatever is no function of one tensor is no ReLU either
        return False
    return isinstance(again, Tensor) and torch.equal(again, large.clamp(min=0))


def _is_value(given: object, value: Tensor) -> bool:
    if not isinstance(given, Tensor) or given.dtype != value.dtype or given.shape != value.shape:
        return False
    return torch.equal(given, value)


def convolved(value: Tensor, weight: Tensor, result: Tensor) -> tuple[Layer, tuple[int, ...]] | None:
    """The convolution with this weight that turns `value` into `result` less a bias, and the shape of its output.

    Args:
        weight: In whatever shape it lies.
        result: The image may lie in one dimension, as `fold` and `view` take it.
    """
    if value.ndim != 4 or result.ndim < 3 or len(value) != len(result) or 0 in (value.numel(), result.numel()):
        return None
    result = result.flatten(2)
    channels, wide = value.shape[1], result.shape[1]
    side = math.isqrt(weight.numel() // (channels * wide))
    stride = math.isqrt(value.shape[2] * value.shape[3] // result.shape[2])
    if not 0 < side <= _WIDEST_FILTER or not stride or side * side * channels * wide != weight.numel():
        return None
    for filters in (weight, weight.mT):
        again = F.conv2d(value, filters.reshape(wide, channels, side, side), None, stride, side // 2)
        if again.shape[2] * again.shape[3] == result.shape[2]:
            rest = result - again.flatten(2)
            if float((rest - rest.mean((0, 2), keepdim=True)).abs().max()) < 1e-3 * float(result.abs().max()):
                return Layer("conv", weight, (side, side), (stride, stride), (side // 2,) * 2), tuple(again.shape)
    return None


def _halves(value: Tensor, result: Tensor) -> bool:
    batch, channels, height, width = value.shape
    return tuple(result.shape) == (batch, channels, height // 2, width // 2) and height > 1 and width > 1


def _wrapped(value: Tensor, result: Tensor) -> Layer | None:
    """What torch's circular padding writes into a larger tensor, piece by piece."""
    wide = (result.shape[-1] - value.shape[-1]) // 2
    if result.ndim != 4 or not 0 < wide <= min(value.shape[2:]) or result.shape[:2] != value.shape[:2]:
        return None
    wrapped = F.pad(value, (wide,) * 4, mode="circular")
    return Layer("circular_pad2d") if wrapped.shape == result.shape and torch.equal(wrapped, result) else None


def _padded(seen: Operation) -> Layer | None:
    """Zeros around the image, as a convolution's own padding would put them."""
    if seen.name != "constant_pad_nd" or len(seen.args[1]) != 4 or any(seen.args[2:]):
        return None
    left, right, top, bottom = seen.args[1]
    return Layer("pad", None, padding=(top, left)) if left == right and top == bottom and min(left, top) > 0 else None


def zero_channels(value: Tensor, result: Tensor) -> tuple[int, ...]:
    """The shape of `result` where it is `value` with channels of zeros before, behind or between its own; else empty.

    Its channels may still lie in several dimensions, as `torch.stack` leaves them, in the order that they will have in
    one: the shape has four dimensions all the same.
    """
    if value.ndim != 4 or result.ndim < 4 or result.numel() <= value.numel():
        return ()
    if result.shape[0] != value.shape[0] or result.shape[-2:] != value.shape[-2:]:
        return ()
    wide = result.flatten(1, -3)
    # In eval mode a channel behind a ReLU may be zero for every image.
    filled, alive = (each.abs().amax((0, 2, 3)) > 0 for each in (wide, value))
    if not alive.any() or int(filled.sum()) != int(alive.sum()) or not torch.equal(wide[:, filled], value[:, alive]):
        return ()
    return tuple(wide.shape)
