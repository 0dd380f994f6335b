"""Where a block's skip connection differs from the handout's: where it begins, and what it passes through."""

from collections.abc import Iterator

from grader.findings import Deviation
from grader.judge.alignment import Path, Skip, Step
from grader.judge.difference import SMALL, Block, Difference, convolution_differences, words
from grader.judge.specification import Place
from grader.protocol import NetworkSeen, Node


def skip_differences(network: NetworkSeen, path: Path, block: Block, steps: list[Step]) -> Iterator[Difference]:
    """Every difference in the skip connection of one block."""
    for step in block.steps:
        if step.expected is None or step.at is None or step.expected.op != "add":
            continue
        skip = path.skips.get(step.at)
        begins = [each for each in block.steps if each.expected is not None and each.at is not None]
        first = begins[0].at or 0
        if skip is None or skip.source is None:
            continue
        yield from _source(block, skip, first, _end_before(steps, block.place))
        nodes = [network.nodes[node] for node in skip.nodes]
        stood = {each.expected.name: each.at for each in begins if each.expected is not None}
        yield from _skip_layers(block.place, nodes, skip, first, stood)


def _end_before(steps: list[Step], place: Place) -> int:
    """Index on the path of the last layer of the handout before a place: there the block's input comes from."""
    end = 0
    for step in steps:
        if step.expected is not None and step.expected.place == place:
            break
        if step.expected is not None and step.at is not None:
            end = step.at
    return end


def _source(block: Block, skip: Skip, first: int, earliest: int) -> Iterator[Difference]:
    """Whether a skip begins at the block's input, or, where the image is halved, behind the first BN-ReLU."""
    source, place = skip.source or 0, block.place
    named = {step.expected.name: step.at for step in block.steps if step.expected is not None}
    relu, norm = named.get("the first ReLU"), named.get("the first batch normalization")
    if earliest <= source < first or (place.halves and source == relu):
        return
    if source in (relu, norm):
        sentence = f"In {place} the skip connection begins behind the first BN or ReLU, not at the block's input."
        yield Difference(Deviation.SKIP_EXTRA_LAYER, place, sentence, small=place.halves)
    else:
        sentence = f"In {place} what is added at the end is not the block's input: the skip connection is missing."
        yield Difference(Deviation.SKIP_MISSING, place, sentence)


def _skip_layers(
    place: Place, nodes: list[Node], skip: Skip, first: int, stood: dict[str, int | None]
) -> Iterator[Difference]:
    if not place.halves:
        if nodes:
            named = ", ".join(dict.fromkeys(words(node) for node in nodes))
            sentence = f"In {place} the skip connection passes through {named}; it adds the block's input as it is."
            yield Difference(Deviation.SKIP_EXTRA_LAYER, place, sentence)
        return
    convolutions = [node for node in nodes if node.op == "conv"]
    pooled = any(node.op == "max_pool" and node.kernel == node.stride == (2, 2) for node in nodes)
    zeros = any(node.op == "zero_channels" for node in nodes)
    extra = [node for node in nodes if node.op not in ("conv", "max_pool", "zero_channels")]
    if convolutions:
        width = 64 << (place.stage - 1)
        stride = (1, 1) if pooled else (2, 2)
        yield from convolution_differences(convolutions[0], place, "option B's convolution", width, (1, 1), stride)
        extra += convolutions[1:] + [node for node in nodes if node.op in ("max_pool", "zero_channels")]
    else:
        yield from _option_a(place, pooled, zeros)
        extra = [node for node in extra if pooled or node.op in SMALL]
    if extra:
        named = ", ".join(dict.fromkeys(words(node) for node in extra))
        sentence = f"In {place} the skip connection has more than option A or B: {named}."
        small = all(node.op in SMALL for node in extra)
        yield Difference(Deviation.SKIP_EXTRA_LAYER, place, sentence, small=small)


def _option_a(place: Place, pooled: bool, zeros: bool) -> Iterator[Difference]:
    if not pooled:
        sentence = (
            f"In {place} the skip connection has neither option A's 2 x 2 max pooling nor option B's convolution."
        )
        yield Difference(Deviation.MISSING_LAYER, place, sentence)
    elif not zeros:
        sentence = f"In {place} the skip connection does not fill up the channels with zeros, as option A does."
        yield Difference(Deviation.MISSING_LAYER, place, sentence)
