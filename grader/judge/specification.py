"""The network of the handout's section 3.1 as a sequence of layers, each with its place; what layers are called."""

from collections.abc import Iterable
from dataclasses import dataclass

from grader.protocol import Node

STAGES = (1, 2, 3, 4)
WIDTHS = (64, 128, 256, 512)
HEIGHTS = (32, 16, 8, 4)
HEAD = 5  # what follows stage 4
FIRST, AFTER, POOLING, LINEAR = "first convolution", "after stage 4", "average pooling", "linear layer"
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
    "div": "division",
    "sub": "subtraction",
    "add_other": "another addition",
    "cat": "concatenation",
    "amax": "maximum over the image",
    "clamp": "clamp to two bounds",
    "constant_pad_nd": "padding",
    "reflection_pad2d": "padding by reflection",
    "replication_pad2d": "padding by repetition",
    "circular_pad2d": "padding by the opposite side",
    "select": "index such as [0]",
    "gelu": "GELU",
    "silu": "SiLU",
    "elu": "ELU",
    "_prelu_kernel": "PReLU",
    "hardswish": "hard swish",
    "avg_pool2d": "average pooling",
    "_adaptive_avg_pool2d": "average pooling",
    "write": "write into another tensor",
}
_PLURAL = {"channels of zeros"}
_WITHOUT_ARTICLE = _PLURAL | {
    "dropout or noise",
    "padding",
    "padding by reflection",
    "padding by repetition",
    "padding by the opposite side",
}
_SECTIONS = {FIRST: "3.1.1", POOLING: "3.1.5", LINEAR: "3.1.6"}
_STAGE_SECTIONS = {1: "3.1.2", 2: "3.1.3", 3: "3.1.4", 4: "3.1.4"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the network: a block of a stage, or a part outside of the stages (block 0, `part` named)."""

    stage: int
    block: int = 0
    part: str = ""

    def __str__(self) -> str:
        """In the handout's words."""
        return self.part or f"stage {self.stage}, block {self.block}"

    @property
    def words(self) -> str:
        """As part of a sentence."""
        if self.block:
            return f"block {self.block} of stage {self.stage}"
        return f"the {self.part}" if self.part in _SECTIONS else self.part

    @property
    def section(self) -> str:
        """The number of the handout's section that describes it."""
        return _STAGE_SECTIONS.get(self.stage, "3.1") if self.block else _SECTIONS.get(self.part, "3.1")

    @property
    def halves(self) -> bool:
        """Whether this block halves the image and doubles the channels."""
        return self.block == 1 and self.stage > 1


@dataclass(frozen=True, slots=True)
class Expected:
    """One layer on the way from the images to the scores.

    Attributes:
        op: As in protocol.Node.
        name: Within its place, with an article.
        half: Of its block: 1 or 2; 0 for an addition, and outside of the blocks.
        width: Channels of a convolution's output.
        both: It and the layer of this kind in the block's other half; empty outside of the blocks.
    """

    op: str
    place: Place
    name: str
    half: int = 0
    width: int = 0
    stride: tuple[int, ...] = ()
    both: str = ""


def expected_layers(blocks: tuple[int, ...]) -> tuple[Expected, ...]:
    """Every layer in order; a block ends with its addition.

    Args:
        blocks: Blocks for each of the four stages.
    """
    layers = [Expected("conv", Place(0, part=FIRST), "the first convolution", 0, WIDTHS[0], (1, 1))]
    for stage, count in zip(STAGES, blocks, strict=True):
        for block in range(1, count + 1):
            layers += _block(Place(stage, block))
    layers.append(Expected("avg_pool", Place(HEAD, part=POOLING), "the average pooling"))
    layers.append(Expected("linear", Place(HEAD, part=LINEAR), "the linear layer"))
    return tuple(layers)


def _block(place: Place) -> list[Expected]:
    layers = []
    width = WIDTHS[place.stage - 1]
    for half, word in ((1, "first"), (2, "second")):
        stride = (2, 2) if place.halves and half == 1 else (1, 1)
        layers += [
            Expected("batch_norm", place, f"the {word} batch normalization", half, both="both batch normalizations"),
            Expected("relu", place, f"the {word} ReLU", half, both="both ReLUs"),
            Expected("conv", place, f"the {word} convolution", half, width, stride, "both convolutions"),
        ]
    return [*layers, Expected("add", place, "the skip connection's addition")]


def listed(words: list[str]) -> str:
    """Words with commas, and "and" before the last."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def asked_for(place: Place, has: str, wanted: str) -> str:
    """The sentence about what a layer of this place has, and what it should have."""
    where = "{name}" if place.part else "in {places}, {name}"
    return f"{where} {{name has}} {has}; the handout asks for {wanted} ({{section}})."


def sized(values: tuple[int, ...]) -> str:
    """A stride or padding in words: one number where all are the same."""
    return str(values[0]) if len(set(values)) == 1 else " x ".join(map(str, values))


def words(node: Node) -> str:
    """An operation as a student would name it."""
    if node.random:
        return "dropout or noise"
    return WORDS.get(node.op, node.op.strip("_"))


def with_article(nodes: Iterable[Node], after: str = "") -> str:
    """Operations in a row: "a batch normalization and another ReLU", where they come after one."""
    found = dict.fromkeys(map(words, nodes))
    return listed([f"another {word}" if word == WORDS.get(after) else with_a(word) for word in found])


def there_is(nodes: list[Node]) -> str:
    """How a sentence about operations in a row begins."""
    return "there are" if words(nodes[0]) in _PLURAL else "there is"


def with_a(word: str) -> str:
    """A word with its article, where it has one."""
    if word in _WITHOUT_ARTICLE or word.startswith("another "):
        return word
    return f"an {word}" if word[:1] in "aeioE" else f"a {word}"
