"""Where a network differs from the handout, in sentences."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from grader.judge.alignment import Path, Skip, Step, matched
from grader.judge.specification import (
    AFTER,
    FIRST,
    HEAD,
    POOLING,
    STAGES,
    WORDS,
    Expected,
    Place,
    asked_for,
    listed,
    sized,
    there_is,
    with_a,
    with_article,
    words,
)
from grader.protocol import Node
from grader.records import Deviation

_LIGHT = {"batch_norm", "relu"}
_MISSING = {
    "batch_norm": Deviation.MISSING_BATCH_NORM,
    "relu": Deviation.MISSING_RELU,
    "add": Deviation.SKIP_MISSING,
}

_OWN_PADDINGS = {"reflection_pad2d", "replication_pad2d", "circular_pad2d"}
_REDUCTIONS = {"mean", "sum", "select", "slice", "amax", "max", "div"}
_LAYERS_OF_A_HALF = 3
_LEFT_OF_NO_BLOCK = 2  # of seven
_NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four"}


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference, before it becomes a finding.

    Attributes:
        sentence: Where it may be true of many places it says "{places}" and "{section}"; "{is}" agrees with these. Of
            several layers of a place it says "{name}", with which "{name is}" and "{name has}" agree.
        small: Defensible: it makes a variant, not a deviation.
        op: The layer's operation, where it is about a convolution, or about a layer that is missing or added.
        ops: The operations of all layers, where it is about several that are added in a row.
        random: About operations in which chance had a part.
        name: What "{name}" stands for.
        both: What "{name}" stands for where it is two that have this in common; empty: both names.
        blocks: So many whole blocks too many; negative for one that is missing.
        width: Channels that a convolution has, where they are not as many as it should have.
        has: What a convolution has, where the sentence says no more than that and what it should have.
        asked: What it should have, in the words of a sentence that names several of its faults.
    """

    code: Deviation
    place: Place
    sentence: str
    small: bool = False
    op: str = ""
    ops: tuple[str, ...] = ()
    random: bool = False
    name: str = ""
    both: str = ""
    blocks: int = 0
    width: int = 0
    has: str = ""
    asked: str = ""

    def said(self, sentence: str) -> "Difference":
        """The same in another sentence."""
        return replace(self, sentence=sentence, has="", asked="")


@dataclass
class Block:
    """The steps of one place, from the first layer to the addition, and what was added on the way."""

    place: Place
    steps: list[Step] = field(default_factory=list)


def _convolution_differences(node: Node, asked: Expected, kernel: tuple[int, ...]) -> Iterator[Difference]:
    """What is wrong with one convolution."""
    place, width, stride = asked.place, asked.width, asked.stride
    padding = tuple(each // 2 for each in kernel)
    difference = Difference(Deviation.WRONG_WIDTH, place, "", op="conv", name=asked.name, both=asked.both)
    channels = node.shape[1] if len(node.shape) > 1 else 0
    wrong: list[tuple[Deviation, str, str, str]] = []
    if channels != width:
        wrong.append((Deviation.WRONG_WIDTH, f"{channels} output channels", str(width), f"{width} channels"))
    if node.stride != stride:
        wanted = sized(stride)
        wrong.append((Deviation.WRONG_STRIDE, f"stride {sized(node.stride)}", wanted, f"stride {wanted}"))
    if node.kernel == kernel and not node.plain:
        where = "{name}" if place.part else "in {places}, {name}"
        sentence = f"{where} {{name has}} groups or dilation, which the handout does not ask for ({{section}})."
        yield replace(difference, code=Deviation.WRONG_KERNEL, sentence=sentence)
    elif node.kernel != kernel or node.padding != padding:
        has = f"a filter of {' x '.join(map(str, node.kernel))} with padding {sized(node.padding)}"
        wanted = f"{' x '.join(map(str, kernel))} with padding {padding[0]}"
        wrong.append((Deviation.WRONG_KERNEL, has, wanted, wanted))
    for code, has, wanted, asks in wrong:
        sentence, found = asked_for(place, has, wanted), channels if code is Deviation.WRONG_WIDTH else 0
        yield replace(difference, code=code, sentence=sentence, width=found, has=has, asked=asks)


def differences(path: Path, steps: list[Step]) -> list[Difference]:
    """Every difference along the main path and in its skip connections, in the network's order."""
    found: list[Difference] = []
    for block in _by_place(path, steps):
        if _is_missing(block):
            sentence = "{places} {is} missing ({section})."
            found.append(Difference(Deviation.MISSING_LAYER, block.place, sentence, blocks=-bool(block.place.block)))
            continue
        found += _added(path, block)
        found += _missing(block, path)
        found += _attributes(path, block)
        found += _skip_differences(path, block, steps)
    return _paired(found)


def _is_missing(block: Block) -> bool:
    """Whether nothing of a place is there, or no more of a block than layers that happen to fit."""
    there = [expected.op for expected, _ in matched(block.steps)]
    if block.place.block and "add" not in there:
        bare = there.count("conv") < 2 and "batch_norm" not in there
        return bare or len(there) <= _LEFT_OF_NO_BLOCK
    return len(block.steps) > 1 and all(step.at is None for step in block.steps)


def _by_place(path: Path, steps: list[Step]) -> list[Block]:
    """The steps by place; what was added counts with the block whose skip spans it, else with the layer before it."""
    spans = _spans(path, steps)
    blocks: list[Block] = [Block(Place(0, part=FIRST))]
    for step in steps:
        place = step.expected.place if step.expected else spans.get(step.at or 0, blocks[-1].place)
        if place != blocks[-1].place:
            blocks.append(Block(place))
        blocks[-1].steps.append(step)
    return blocks


def _spans(path: Path, steps: list[Step]) -> dict[int, Place]:
    """For what lies between the beginning of a block's skip and its addition, by index on the path, that block."""
    spans: dict[int, Place] = {}
    for expected, at in matched(steps):
        skip = path.skips.get(at)
        if skip is not None and skip.source is not None:
            spans |= dict.fromkeys(range(skip.source + 1, at), expected.place)
    return spans


def _stage(place: Place) -> str:
    return f"stage {place.stage}" if place.stage in STAGES else "the network"


def _runs(block: Block) -> Iterator[tuple[Step | None, list[int]]]:
    """Each run of added operations, with the step before it."""
    before: Step | None = None
    run: list[int] = []
    for step in block.steps:
        if step.expected is None and step.at is not None:
            run.append(step.at)
            continue
        if run:
            yield before, run
        run, before = [], step
    if run:
        yield before, run


def _added(path: Path, block: Block) -> Iterator[Difference]:
    for before, run in _runs(block):
        nodes = [path.node(at) for at in run]
        if block.place.part == POOLING and _instead_of_pooling(block, path):
            continue
        operations = {node.op for node in nodes}
        after_addition = before is not None and before.expected is not None and before.expected.op == "add"
        last = after_addition and _next_is_head(block, path, run[-1])
        named = with_article(nodes, before.expected.op if before and before.expected else "")
        place, op = block.place, nodes[0].op
        random = any(node.random for node in nodes)
        if after_addition and operations == {"relu"}:
            sentence = "in {places}, a ReLU follows the addition; in Figure 1 nothing follows it."
            yield Difference(Deviation.RELU_AFTER_ADD, place, sentence, op=op)
        elif last and operations <= _LIGHT:
            place = Place(HEAD, part=AFTER)
            sentence = f"Stage 4 is followed by {named}; in the handout the average pooling follows (section 3.1.5)."
            yield Difference(Deviation.EXTRA_LAYER, place, sentence, small=True, op=op)
        elif before is not None and place.part == FIRST and "batch_norm" in operations <= _LIGHT:
            sentence = f"The first convolution is followed by {named}; in the handout stage 1 follows (section 3.1.1)."
            yield Difference(Deviation.EXTRA_LAYER, place, sentence, small=True, op=op)
        elif operations == {"add"}:
            sentence = (
                "in {places}, something is added more than once; the handout adds the block's input once, at its end "
                "(section 3.1)."
            )
            yield Difference(Deviation.SKIP_EXTRA_LAYER, place, sentence, op=op)
        elif (blocks := sum(node.op == "add" for node in nodes)) and len(nodes) > 3:
            yield _blocks_too_many(place, nodes, blocks)
        elif place.block and not after_addition and "conv" in operations <= _LIGHT | {"conv"}:
            yield _convolutions_too_many(place, nodes)
        else:
            inside = place.block and not after_addition
            where = "in {places}," if inside else "after {places}" if before else "before {places}"
            sentence = f"{where} {there_is(nodes)} {named} that the handout does not ask for ({{section}})."
            ops = tuple(operations)
            yield Difference(Deviation.EXTRA_LAYER, place, sentence, op=op, ops=ops, random=random, name=named)


def _blocks_too_many(place: Place, nodes: list[Node], blocks: int) -> Difference:
    if place.stage == STAGES[-1] and (2, 2) in [node.stride for node in nodes]:
        several = f"{blocks} blocks" if blocks > 1 else "one block"
        sentence = f"After stage 4 there is another stage, of {several}; the handout has four stages ({{section}})."
        return Difference(Deviation.EXTRA_LAYER, place, sentence)
    said = f"{_stage(place)} has a block too many ({{section}})."
    return Difference(Deviation.EXTRA_LAYER, place, said, blocks=blocks if place.stage in STAGES else 0)


def _convolutions_too_many(place: Place, nodes: list[Node]) -> Difference:
    count = sum(node.op == "conv" for node in nodes)
    number = _NUMBERS.get(count, str(count))
    small = listed([word for op, word in (("batch_norm", "BN"), ("relu", "ReLU")) if any(n.op == op for n in nodes)])
    its = f", with {'its' if count == 1 else 'their'} {small}" if small else ""
    too_many = f"there {'is' if count == 1 else 'are'} {number} convolution{'s' if count > 1 else ''} too many"
    sentence = f"in {{places}}, {too_many}{its}; in Figure 1 a block has two."
    return Difference(Deviation.EXTRA_LAYER, place, sentence, op="conv")


def _next_is_head(block: Block, path: Path, at: int) -> bool:
    following = path.node(at + 1).op if at + 1 < len(path.nodes) else ""
    return block.place.stage == 4 and following in ("avg_pool", "linear", "max_pool")


def _instead_of_pooling(block: Block, path: Path) -> list[Node]:
    """The operations that make one number of each channel in the place of an average pooling that is missing."""
    added = [path.node(step.at) for step in block.steps if step.at is not None]
    missing = any(step.at is None for step in block.steps)
    return added if missing and {node.op for node in added} <= _REDUCTIONS else []


def _missing(block: Block, path: Path) -> Iterator[Difference]:
    absent = [step.expected for step in block.steps if step.expected and step.at is None]
    halves = Counter(each.half for each in absent)
    without_convolution = {each.half for each in absent if each.op == "conv"}
    for expected in absent:
        if expected.op in _LIGHT and expected.half in without_convolution:
            continue  # the whole half of the block is missing: its convolution stands for it
        code = _MISSING.get(expected.op, Deviation.MISSING_LAYER)
        if expected.op == "avg_pool":
            if _is_one_pixel(path):
                continue  # an average over one pixel is no operation: the strides before it are the cause
            instead = _instead_of_pooling(block, path)
            stands = "stand" if len(instead) > 1 else "stands"
            sentence = "{name} is missing ({section})."
            if instead:
                sentence = f"{with_article(instead)} {stands} in the place of {{name}} ({{section}})."
        elif expected.op == "conv" and expected.half and halves[expected.half] == _LAYERS_OF_A_HALF:
            sentence = "in {places}, one of the two convolutions is missing, with its BN and ReLU (Figure 1)."
        elif expected.op == "add":
            sentence = (
                "in {places}, the block's input is not added to its output: the skip connection is missing (Figure 1)."
            )
        elif expected.place.block:
            sentence = "in {places}, {name} {name is} missing; the order in Figure 1 is BN, ReLU, convolution."
        else:
            sentence = "{name} is missing ({section})."
        yield Difference(code, expected.place, sentence, op=expected.op, name=expected.name, both=expected.both)


def _is_one_pixel(path: Path) -> bool:
    """Whether the image is one pixel behind its last addition."""
    return any(path.node(at).shape[2:] == (1, 1) for at in path.skips)


def _attributes(path: Path, block: Block) -> Iterator[Difference]:
    late = _strides_late(path, block)
    if late:
        sentence = "in {places}, the second convolution has stride 2; it belongs to the first one ({section})."
        yield Difference(Deviation.WRONG_STRIDE, block.place, sentence)
    for expected, at in matched(block.steps):
        node = path.node(at)
        if late and node.op == expected.op == "conv":
            node = replace(node, stride=expected.stride)
        if path.graph[node.inputs[0]].op in _OWN_PADDINGS:  # it is named as an operation that is added
            node = replace(node, padding=tuple(each // 2 for each in node.kernel))
        if node.op != expected.op:
            where = "in {places}, " if expected.place.block else ""
            sentence = f"{where}{with_a(words(node))} stands in the place of {{name}} ({{section}})."
            code = _MISSING.get(expected.op, Deviation.MISSING_LAYER)
            yield Difference(code, expected.place, sentence, name=expected.name, both=expected.both)
        elif node.op == "conv":
            yield from _convolution_differences(node, expected, (3, 3))
        elif node.op == "avg_pool" and not (
            node.plain and node.kernel in ((4, 4), path.graph[node.inputs[0]].shape[2:])
        ):
            size = " x ".join(map(str, node.kernel))
            padded = f" with padding {sized(node.padding)}" if any(node.padding) else ""
            wanted = " without padding" if padded else ""
            sentence = (
                f"The average pooling has a filter of {size}{padded}; the handout asks for 4 x 4{wanted} ({{section}})."
            )
            if node.kernel == (4, 4) and not padded:
                sentence = "The average pooling is not the mean over its 4 x 4 filter ({section})."
            yield Difference(Deviation.WRONG_KERNEL, expected.place, sentence)


def _strides_late(path: Path, block: Block) -> bool:
    """Whether a block halves the image with its second convolution in place of its first."""
    strides = [path.node(at).stride for expected, at in matched(block.steps) if expected.op == "conv"]
    return block.place.halves and strides == [(1, 1), (2, 2)]


def _paired(found: list[Difference]) -> list[Difference]:
    """One difference, not two, where a batch norm or ReLU is there, but at another place of its block."""
    lacking = {(each.place, each.op) for each in found if each.code in _MISSING.values() and each.op in _LIGHT}
    extra = {(each.place, op) for each in found if each.code is Deviation.EXTRA_LAYER for op in each.ops or (each.op,)}
    moved = extra & lacking
    several = Counter(place for place, _ in moved)
    return [
        _elsewhere(each, several[each.place]) if (each.place, each.op) in moved else each
        for each in found
        if each.code is not Deviation.EXTRA_LAYER or not {(each.place, op) for op in each.ops or (each.op,)} <= moved
    ]


def _elsewhere(missing: Difference, several: int) -> Difference:
    stands = f"a {WORDS[missing.op]} is not in its place" if several == 1 else "the layers are not in their places"
    return missing.said(f"in {{places}}, {stands}; the order in Figure 1 is BN, ReLU, convolution.")


def _skip_differences(path: Path, block: Block, steps: list[Step]) -> Iterator[Difference]:
    """Every difference in the skip connection of one block."""
    there = list(matched(block.steps))
    for expected, at in there:
        skip = path.skips.get(at) if expected.op == "add" else None
        if skip is not None and skip.source is not None:
            _, first = there[0]
            yield from _source(block, skip, first, _end_before(steps, block.place))
            yield from _skip_layers(block.place, [path.graph[node] for node in skip.nodes])


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
    of_first_half = {step.expected.op: step.at for step in block.steps if step.expected and step.expected.half == 1}
    relu, norm = of_first_half.get("relu"), of_first_half.get("batch_norm")
    if earliest <= source < first or (place.halves and source == relu):
        return
    if source in (relu, norm):
        sentence = (
            "in {places}, the skip connection begins after the first BN or ReLU; "
            "in Figure 1 it begins at the block's input."
        )
        yield Difference(Deviation.SKIP_EXTRA_LAYER, place, sentence, small=place.halves)
    else:
        sentence = (
            "in {places}, what is added at the end is not the block's input: the skip connection is missing (Figure 1)."
        )
        yield Difference(Deviation.SKIP_MISSING, place, sentence)


def _skip_layers(place: Place, nodes: list[Node]) -> Iterator[Difference]:
    if not place.halves:
        if nodes:
            sentence = (
                f"in {{places}}, the skip connection passes through {with_article(nodes)}; "
                "in Figure 1 it adds the block's input as it is."
            )
            op = next((node.op for node in nodes if node.op not in _LIGHT), nodes[0].op)
            yield Difference(Deviation.SKIP_EXTRA_LAYER, place, sentence, op=op)
        return
    convolutions = [node for node in nodes if node.op == "conv"]
    pooled = any(node.op == "max_pool" and node.kernel == node.stride == (2, 2) for node in nodes)
    zeros = any(node.op == "zero_channels" for node in nodes)
    extra = [node for node in nodes if node.op not in ("conv", "max_pool", "zero_channels")]
    if convolutions:
        width = 64 << (place.stage - 1)
        halved = any(node.stride == (2, 2) for node in nodes if node.op in ("max_pool", "avg_pool"))
        stride = (1, 1) if halved else (2, 2)
        asked = Expected("conv", place, "option B's convolution", 0, width, stride)
        yield from _convolution_differences(convolutions[0], asked, (1, 1))
        extra += convolutions[1:] + [node for node in nodes if node.op in ("max_pool", "zero_channels")]
    else:
        instead = [node for node in extra if node.op not in _LIGHT]
        other = next((node for node in nodes if node.op == "max_pool" and not pooled), None)
        yield from _option_a(place, pooled, other, zeros, instead)
        extra = [node for node in extra if (pooled and zeros) or node.op in _LIGHT]
    if extra:
        sentence = (
            f"in {{places}}, the skip connection has more than option A or B: {with_article(extra)} ({{section}})."
        )
        small = all(node.op in _LIGHT for node in extra)
        op = next((node.op for node in extra if node.op not in _LIGHT), extra[0].op)
        yield Difference(Deviation.SKIP_EXTRA_LAYER, place, sentence, small=small, op=op)


def _option_a(place: Place, pooled: bool, other: Node | None, zeros: bool, instead: list[Node]) -> Iterator[Difference]:
    if other is not None:
        size = f"{' x '.join(map(str, other.kernel))} with stride {sized(other.stride)}"
        padded = f" and padding {sized(other.padding)}" if any(other.padding) else ""
        sentence = (
            f"in {{places}}, option A's max pooling has a filter of {size}{padded}; the handout asks for 2 x 2 with "
            "stride 2 ({section})."
        )
        yield Difference(Deviation.WRONG_KERNEL, place, sentence)
    elif not pooled:
        sentence = (
            "in {places}, the skip connection has neither option A's 2 x 2 max pooling nor option B's convolution "
            "({section})."
        )
        yield Difference(Deviation.MISSING_LAYER, place, sentence)
    if (pooled or other is not None) and not zeros:
        found = f", but has {with_article(instead)}" if instead else ""
        sentence = f"in {{places}}, the skip connection does not add option A's channels of zeros{found} ({{section}})."
        yield Difference(Deviation.MISSING_LAYER, place, sentence)
