"""A trained network as data: what leaves the worker, and what is replayed where no student's code runs.

A network is a list of calls of torch's own operations (ATen), whose arguments are plain numbers, weights and earlier
results. What a test image goes through before the network is a list of steps: a table of what each value of a channel
becomes, a known transform of torchvision by its name and numbers, or again such a list of calls.

Standard library only: the worker writes it, the grader validates it, the replay reads it. It is one line of JSON with
its length before it, then the weights' bytes, one after the other. Nothing in it is code, and no pickle.
"""

import json
import math
import random
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from grader.protocol import LENGTH_BYTES
from grader.records import ROW_BYTES

# Little-endian, as they lie in memory.
ITEM_BYTES = {
    **{"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2},
    **{"int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1},
}
MEMORY_FORMATS = ("contiguous_format", "preserve_format", "channels_last")
# The words that an argument of a kind may be.
_WORDS_OF = {
    "dtype": tuple(ITEM_BYTES),
    "device": ("cpu", "network"),
    "layout": ("strided",),
    "memory_format": MEMORY_FORMATS,
    "number": ("inf", "-inf", "nan"),
}
# The specified network has 45 MB; one of twice the width 179.
MOST_BYTES = 256 << 20
_MOST_HEADER_BYTES = 4 << 20
# Of a whole network, its header and scores with it.
MOST_NETWORK_BYTES = MOST_BYTES + 2 * _MOST_HEADER_BYTES
MOST_CALLS, _MOST_ARGUMENTS, _MOST_DEPTH, _MOST_DIMENSIONS = 3000, 4096, 4, 8
_MOST_BATCH, _MOST_SAMPLE, MOST_RESULTS = 4096, 8192, 256
# Of a whole number in an argument: beyond, sums of sizes overflow in torch's kernels. The largest of all is the end of
# a slice that has none.
_MOST_NUMBER, _END = MOST_BYTES, 2**63 - 1

# Names of torch.ops.aten; their forms in place end with a `_`. Pure functions of their arguments: none reads a file or
# names a device but by its arguments. What more each must keep to, replay/graph.py looks at first. A `*` marks
# those that a step before the network may use on an image without a word: no image is found again with them.
_OPERATIONS = """
    abs* add* addcdiv addcmul bitwise_and bitwise_not bitwise_or celu ceil clamp* clamp_max* clamp_min* clip cos
    div* elu eq erf exp* expm1 fill* floor floor_divide ge gelu gt hardsigmoid hardswish hardtanh le leaky_relu lerp
    log* log1p* log2 log_sigmoid_forward logical_and logical_not logical_or logit lt masked_fill maximum minimum
    mish mul* ne neg* pow* prelu _prelu_kernel reciprocal* relu relu6 remainder round rrelu_with_noise_functional
    rsqrt* rsub* selu sigmoid sign silu sin softplus sqrt* square* sub* tanh threshold true_divide* where xlogy
    zero*

    convolution _convolution native_batch_norm cudnn_batch_norm _native_batch_norm_legit
    _native_batch_norm_legit_no_training _batch_norm_no_update native_layer_norm native_group_norm linear addmm
    _addmm_activation mm bmm baddbmm addbmm matmul mv addmv dot vdot ger outer _weight_norm_interface _softmax
    _log_softmax softmax log_softmax

    max_pool2d max_pool2d_with_indices avg_pool2d adaptive_avg_pool2d _adaptive_avg_pool2d adaptive_max_pool2d mean*
    sum amax* amin* max* min* var* var_mean* std* std_mean* linalg_vector_norm norm prod cumsum logsumexp argmax
    argmin all any

    view* _unsafe_view* reshape* permute* transpose* t squeeze* unsqueeze* expand* slice* select* index*
    index_select _unsafe_index narrow split* split_with_sizes chunk* unbind* cat* stack* flatten unflatten
    constant_pad_nd* reflection_pad2d replication_pad2d pixel_shuffle pixel_unshuffle channel_shuffle roll flip*
    repeat as_strided im2col col2im unfold upsample_nearest2d upsample_bilinear2d upsample_bicubic2d
    _upsample_bilinear2d_aa clone* contiguous* detach* alias* lift_fresh* lift_fresh_copy lift _to_copy* copy*
    gather scatter scatter_add index_put index_copy index_fill index_add slice_scatter select_scatter diagonal tril
    triu movedim diag_embed

    zeros zeros_like* new_zeros ones ones_like* new_ones full full_like* new_full empty empty_like* new_empty arange
    eye linspace scalar_tensor
"""
ALLOWED = frozenset(name.removesuffix("*") for name in _OPERATIONS.split())
ARITHMETIC = frozenset(name.removesuffix("*") for name in _OPERATIONS.split() if name.endswith("*"))
_OPERATION = re.compile(r"([a-z0-9_]+?)_?\.[A-Za-z0-9_]{1,40}")
_WORDS = re.compile(r"[a-z0-9_]{1,32}")

# Transforms of torchvision and their settings, by which one is made again.
KNOWN_STEPS: dict[str, tuple[str, ...]] = {
    "ToTensor": (),
    "PILToTensor": (),
    "ToImage": (),
    "ConvertImageDtype": ("dtype",),
    "ToDtype": ("dtype", "scale"),
    "Normalize": ("mean", "std"),
    "Resize": ("size", "interpolation", "max_size", "antialias"),
    "CenterCrop": ("size",),
    "Pad": ("padding", "fill", "padding_mode"),
    "Grayscale": ("num_output_channels",),
    "RandomHorizontalFlip": ("p",),
    "RandomVerticalFlip": ("p",),
    "RandomGrayscale": ("p",),
    "RandomCrop": ("size", "padding", "pad_if_needed", "fill", "padding_mode"),
    "RandomResizedCrop": ("size", "scale", "ratio", "interpolation", "antialias"),
    "RandomRotation": ("degrees", "interpolation", "expand", "center", "fill"),
    "ColorJitter": ("brightness", "contrast", "saturation", "hue"),
    "RandomErasing": ("p", "scale", "ratio", "value", "inplace"),
}
# The largest number from which the random numbers of one image follow.
MOST_CHANCE = 2**32 - 1


def allowed(operation: str) -> bool:
    """Whether a call of this operation, "name.overload", may be replayed."""
    matched = _OPERATION.fullmatch(operation)
    return matched is not None and matched[1] in ALLOWED


class NoNetwork(ValueError):
    """Bytes that are no network, or one that may not be replayed."""


@dataclass(frozen=True, slots=True)
class Weight:
    """A tensor that the network brings along.

    Attributes:
        name: Of the parameter or buffer; empty for any other.
        dtype: One of `ITEM_BYTES`.
        learns: It is a parameter with gradients.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    learns: bool = False

    @property
    def size(self) -> int:
        """In bytes."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]


@dataclass(frozen=True, slots=True)
class Call:
    """One operation.

    Attributes:
        operation: "name.overload", as torch.ops.aten has it.
        args: Numbers, booleans, None, short words, lists of them, or one of these with one key: `{"value": i}` an
            earlier result, `{"weight": i}`, `{"dtype": "float32"}`, `{"device": "cpu" or "network"}`,
            `{"memory_format": name}`, `{"layout": "strided"}`, `{"number": "inf", "-inf" or "nan"}`.
        kwargs: As `args`, by name.
        results: How many tensors come out; they are the next values.
    """

    operation: str
    args: list[Any]
    kwargs: dict[str, Any]
    results: int


@dataclass(frozen=True, slots=True)
class Graph:
    """Calls one after the other.

    Attributes:
        output: The value that comes out; value 0 is what goes in.
    """

    calls: tuple[Call, ...]
    output: int


@dataclass(frozen=True, slots=True)
class Step:
    """What happens to an image before the network; one of three.

    Attributes:
        table: A weight of shape (3, 256): what each value of each channel becomes. Only as the first step and alone.
        known: A name of `KNOWN_STEPS`, with `version` 1 or 2 of torchvision's interface and its settings.
        graph: Calls on the image as a tensor.
    """

    table: int | None = None
    known: str = ""
    version: int = 1
    settings: dict[str, Any] = field(default_factory=dict)
    graph: Graph | None = None


@dataclass(frozen=True, slots=True)
class ExportedNetwork:
    """A network, what an image goes through on its way to it, and what it made of some training images.

    Attributes:
        batch: The images of every batch: a recorded `view(250, 512)` fits no other size.
        dtype: To which images are cast.
        device: "cpu" or "cuda".
        chance: What decides, with the image, which random numbers its steps draw; None: they draw none.
        sample: So many training images, as `sample_rows` chooses them, were scored by the network itself.
    """

    weights: tuple[Weight, ...]
    graph: Graph
    steps: tuple[Step, ...]
    batch: int
    dtype: str
    device: str
    chance: int | None
    sample: int

    @property
    def weight_bytes(self) -> int:
        """Of all weights together."""
        return sum(weight.size for weight in self.weights)


def values_in(argument: Any) -> list[int]:
    """The numbers of the values in an argument."""
    if isinstance(argument, list):
        return [value for each in argument for value in values_in(each)]
    return [argument["value"]] if isinstance(argument, dict) and "value" in argument else []


def weights_in(graph: Graph) -> set[int]:
    """The numbers of the weights that a graph uses."""

    def found(argument: Any) -> list[int]:
        if isinstance(argument, list):
            return [weight for each in argument for weight in found(each)]
        return [argument["weight"]] if isinstance(argument, dict) and "weight" in argument else []

    return {weight for call in graph.calls for weight in found([call.args, list(call.kwargs.values())])}


def sample_rows(count: int, size: int) -> list[int]:
    """Indices of `count` training images of `size`, in order; the worker and the grader choose the same.

    By chance: evenly spread ones are all of one class where a data set's classes take turns.
    """
    return sorted(random.Random(0).choices(range(size), k=count))


def to_bytes(network: ExportedNetwork, weights: bytes, scores: bytes) -> bytes:
    """What `from_bytes` reads.

    Args:
        weights: The weights' bytes, one after the other.
        scores: `network.sample` x 10 little-endian float32.
    """
    header = json.dumps(asdict(network), allow_nan=False).encode()
    return b"".join((len(header).to_bytes(LENGTH_BYTES, "little"), header, weights, scores))


def question(network: bytes, images: bytes) -> bytes:
    """What a replay is asked: two lengths of eight bytes, then the network and the images, uint8 (N, 32, 32, 3)."""
    lengths = (len(part).to_bytes(LENGTH_BYTES, "little") for part in (network, images))
    return b"".join((*lengths, network, images))


def from_bytes(data: bytes) -> tuple[ExportedNetwork, memoryview, memoryview]:
    """Read and validate a network: it, its weights' bytes, and its scores of the sample.

    Raises:
        NoNetwork: It is not well formed, or has something that may not be replayed.
    """
    view = memoryview(data)
    length = int.from_bytes(view[:LENGTH_BYTES], "little")
    if not 0 < length <= min(_MOST_HEADER_BYTES, len(view) - LENGTH_BYTES):
        raise NoNetwork("no header")
    body = view[LENGTH_BYTES:]
    try:
        network = _network(json.loads(bytes(body[:length])))
    except NoNetwork:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        raise NoNetwork(type(error).__name__) from None
    weights = body[length : length + network.weight_bytes]
    scores = body[length + network.weight_bytes :]
    if len(weights) != network.weight_bytes or len(scores) != network.sample * ROW_BYTES:
        raise NoNetwork("weights or scores of another length")
    return network, weights, scores


def _network(said: dict[str, Any]) -> ExportedNetwork:
    weights = tuple(_weight(each) for each in said["weights"])
    network = ExportedNetwork(
        weights=weights,
        graph=_graph(said["graph"], len(weights)),
        steps=tuple(_step(each, index, len(said["steps"]), weights) for index, each in enumerate(said["steps"])),
        batch=_number(said["batch"], 1, _MOST_BATCH),
        dtype=_known(said["dtype"], ITEM_BYTES),
        device=_known(said["device"], ("cpu", "cuda")),
        chance=None if said["chance"] is None else _number(said["chance"], 0, MOST_CHANCE),
        sample=_number(said["sample"], 1, _MOST_SAMPLE),
    )
    if network.weight_bytes > MOST_BYTES:
        raise NoNetwork("too many weights")
    return network


def _weight(said: dict[str, Any]) -> Weight:
    shape = said["shape"]
    if not isinstance(shape, list) or len(shape) > _MOST_DIMENSIONS:
        raise NoNetwork("no shape")
    name = said["name"]
    if not isinstance(name, str) or len(name) > 100:
        raise NoNetwork("no name")
    sides = tuple(_number(each, 0, MOST_BYTES) for each in shape)
    return Weight(name, _known(said["dtype"], ITEM_BYTES), sides, bool(said["learns"]))


def _graph(said: dict[str, Any], weights: int) -> Graph:
    calls: list[Call] = []
    values = 1
    if len(said["calls"]) > MOST_CALLS:
        raise NoNetwork("too many calls")
    for each in said["calls"]:
        call = Call(each["operation"], each["args"], each["kwargs"], _number(each["results"], 1, MOST_RESULTS))
        if not isinstance(call.operation, str) or not allowed(call.operation):
            raise NoNetwork("an operation that may not be replayed")
        if not isinstance(call.args, list) or not all(_WORDS.fullmatch(name) for name in call.kwargs):
            raise NoNetwork("no arguments")
        slices = call.operation.startswith("slice")
        arguments = [each for each in (*call.args, *call.kwargs.values()) if not (slices and each == _END)]
        if sum(1 for argument in arguments for _ in _checked(argument, values, weights)) > _MOST_ARGUMENTS:
            raise NoNetwork("too many arguments")
        calls.append(call)
        values += call.results
    return Graph(tuple(calls), _number(said["output"], 0, values - 1))


def _checked(argument: Any, values: int, weights: int, depth: int = 0) -> Iterator[None]:
    """One None for each plain part of an argument.

    Raises:
        NoNetwork: It is no argument.
    """
    if depth > _MOST_DEPTH:
        raise NoNetwork("too deep an argument")
    if isinstance(argument, list):
        for each in argument:
            yield from _checked(each, values, weights, depth + 1)
        return
    yield None
    if argument is None or isinstance(argument, bool | float):
        return
    if isinstance(argument, int):
        _number(argument, -_MOST_NUMBER, _MOST_NUMBER)
        return
    if isinstance(argument, str):
        if not _WORDS.fullmatch(argument):
            raise NoNetwork("no word")
        return
    [(kind, what)] = argument.items()
    if kind in ("value", "weight"):
        _number(what, 0, (values if kind == "value" else weights) - 1)
    else:
        _known(what, _WORDS_OF[kind])


def _step(said: dict[str, Any], index: int, steps: int, weights: tuple[Weight, ...]) -> Step:
    if said["table"] is not None:
        table = _number(said["table"], 0, len(weights) - 1)
        if index or steps > 2 or weights[table].shape != (3, 256):
            raise NoNetwork("no table")
        return Step(table=table)
    if said["graph"] is not None:
        return Step(graph=_graph(said["graph"], len(weights)))
    settings = said["settings"]
    if settings.keys() != set(KNOWN_STEPS[said["known"]]):
        raise NoNetwork("other settings")
    for each in settings.values():
        if sum(1 for _ in _checked(each, 0, 0)) > 16:
            raise NoNetwork("no settings")
    return Step(known=said["known"], version=_number(said["version"], 1, 2), settings=settings)


def _number(value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise NoNetwork("a number out of bounds")
    return value


def _known(value: Any, names: Any) -> str:
    if not isinstance(value, str) or value not in names:
        raise NoNetwork("an unknown name")
    return value
