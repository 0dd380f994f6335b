"""One difference between a network and the handout, and how the parts of it are said."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from grader.findings import Deviation
from grader.judge.alignment import Step
from grader.judge.specification import Place
from grader.protocol import Node

SMALL = {"batch_norm", "relu"}
WORDS = {
    "conv": "convolution",
    "batch_norm": "batch normalization",
    "relu": "ReLU",
    "add": "addition",
    "max_pool": "max pooling",
    "avg_pool": "average pooling",
    "linear": "linear layer",
    "_softmax": "softmax",
    "_log_softmax": "log-softmax",
    "instance_norm": "instance normalization",
    "native_group_norm": "group normalization",
    "native_layer_norm": "layer normalization",
    "hardtanh": "ReLU6",
    "leaky_relu": "leaky ReLU",
    "zero_channels": "channels of zeros",
    "mul": "multiplication",
    "add_other": "another addition",
    "cat": "concatenation",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference, before it becomes a finding.

    Attributes:
        small: Defensible: it makes a variant, not a deviation.
        op: The layer's operation, where it is about one that is missing or added.
        random: About operations in which chance had a part.
    """

    code: Deviation
    place: Place
    sentence: str
    small: bool = False
    op: str = ""
    random: bool = False


@dataclass
class Block:
    """The steps of one place, from the first layer to the addition, and what was added on the way."""

    place: Place
    steps: list[Step] = field(default_factory=list)


def words(node: Node) -> str:
    """An operation as a student would name it."""
    if node.random:
        return "dropout or noise"
    return WORDS.get(node.op, node.op.strip("_"))


def convolution_differences(
    node: Node, place: Place, name: str, width: int, kernel: tuple[int, ...], stride: tuple[int, ...]
) -> Iterator[Difference]:
    """What is wrong with one convolution."""
    where = name if place.part else f"{name} of {place}"
    padding = tuple(each // 2 for each in kernel)
    channels = node.shape[1] if len(node.shape) > 1 else 0
    if channels != width:
        sentence = f"In {place}, {name} has {channels} output channels, not {width}."
        yield Difference(Deviation.WRONG_WIDTH, place, sentence)
    if node.stride != stride:
        sentence = f"The stride of {where} is {_number(node.stride)}, not {_number(stride)}."
        yield Difference(Deviation.WRONG_STRIDE, place, sentence)
    if node.kernel != kernel or node.padding != padding or not node.plain:
        found = f"{' x '.join(map(str, node.kernel))} with padding {_number(node.padding)}"
        more = "" if node.plain else ", groups or dilation"
        wanted = f"{' x '.join(map(str, kernel))} with padding {padding[0]}"
        sentence = f"The filter of {where} is {found}{more}, not {wanted}."
        yield Difference(Deviation.WRONG_KERNEL, place, sentence)


def _number(values: tuple[int, ...]) -> str:
    return str(values[0]) if len(set(values)) == 1 else " x ".join(map(str, values))
