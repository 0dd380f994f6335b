"""Where a network's graph differs from the handout's: layers on the main path, and skip connections."""

from collections.abc import Iterator
from dataclasses import replace

from grader.findings import Deviation
from grader.judge.alignment import Path, Step
from grader.judge.difference import SMALL, WORDS, Block, Difference, convolution_differences, words
from grader.judge.skips import skip_differences
from grader.judge.specification import AFTER, FIRST, HEAD, Place
from grader.protocol import NetworkSeen, Node

_MISSING = {
    "batch_norm": Deviation.MISSING_BATCH_NORM,
    "relu": Deviation.MISSING_RELU,
    "add": Deviation.SKIP_MISSING,
}


def differences(network: NetworkSeen, path: Path, steps: list[Step]) -> list[Difference]:
    """Every difference along the main path and in its skip connections, in the network's order."""
    found: list[Difference] = []
    for block in _by_place(steps):
        whole = len(block.steps) > 1 and all(step.at is None for step in block.steps)
        if whole:
            sentence = f"Block {block.place.block} of {_stage(block.place)} is missing."
            found.append(Difference(Deviation.MISSING_LAYER, block.place, sentence))
            continue
        found += _added(network, path, block)
        found += _missing(block)
        found += _attributes(network, path, block)
        found += skip_differences(network, path, block, steps)
    return _paired(found)


def _by_place(steps: list[Step]) -> list[Block]:
    """The steps by place; what was added counts with the layer before it."""
    blocks: list[Block] = [Block(Place(0, part=FIRST))]
    for step in steps:
        place = step.expected.place if step.expected else blocks[-1].place
        if place != blocks[-1].place:
            blocks.append(Block(place))
        blocks[-1].steps.append(step)
    return blocks


def _stage(place: Place) -> str:
    return f"stage {place.stage}"


def _node(network: NetworkSeen, path: Path, at: int) -> Node:
    return network.nodes[path.nodes[at]]


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


def _added(network: NetworkSeen, path: Path, block: Block) -> Iterator[Difference]:
    for before, run in _runs(block):
        nodes = [_node(network, path, at) for at in run]
        operations = {node.op for node in nodes}
        after_addition = before is not None and before.expected is not None and before.expected.op == "add"
        last = after_addition and _next_is_head(block, network, path, run[-1])
        named = ", ".join(dict.fromkeys(words(node) for node in nodes))
        place, op = block.place, nodes[0].op
        random = any(node.random for node in nodes)
        if after_addition and operations == {"relu"}:
            sentence = f"In {place} a ReLU follows the addition; nothing stands after it in Figure 1."
            yield Difference(Deviation.RELU_AFTER_ADD, place, sentence, op=op)
        elif last and operations <= SMALL:
            place = Place(HEAD, part=AFTER)
            sentence = f"Between stage 4 and the average pooling there is a {named}; the handout has nothing there."
            yield Difference(Deviation.EXTRA_LAYER, place, sentence, small=True, op=op)
        elif operations == {"add"}:
            sentence = f"In {place} something is added more than once; the block's input is added once, at its end."
            yield Difference(Deviation.SKIP_EXTRA_LAYER, place, sentence, op=op)
        elif len([node for node in nodes if node.op == "add"]) and len(nodes) > 3:
            sentence = f"In {_stage(place)} there is a block too many."
            yield Difference(Deviation.EXTRA_LAYER, place, sentence)
        else:
            sentence = f"In the part '{place}' there is more than the handout asks for: {named}."
            yield Difference(Deviation.EXTRA_LAYER, place, sentence, op=op, random=random)


def _next_is_head(block: Block, network: NetworkSeen, path: Path, at: int) -> bool:
    following = _node(network, path, at + 1).op if at + 1 < len(path.nodes) else ""
    return block.place.stage == 4 and following in ("avg_pool", "linear", "max_pool")


def _missing(block: Block) -> Iterator[Difference]:
    absent = {step.expected.name: step.expected for step in block.steps if step.expected and step.at is None}
    for name, expected in absent.items():
        half = name.split()[1]
        if expected.op in SMALL and f"the {half} convolution" in absent:
            continue  # the whole half of the block is missing: its convolution stands for it
        code = _MISSING.get(expected.op, Deviation.MISSING_LAYER)
        if expected.op == "add":
            sentence = (
                f"In {expected.place} the block's input is not added to its output: the skip connection is missing."
            )
        elif expected.place.block:
            sentence = f"In {expected.place} {name} is missing; see Figure 1 and its order BN, ReLU, convolution."
        else:
            sentence = f"There is no {name.removeprefix('the ')}; see section 3.1."
        yield Difference(code, expected.place, sentence, op=expected.op)


def _attributes(network: NetworkSeen, path: Path, block: Block) -> Iterator[Difference]:
    for step in block.steps:
        if step.expected is None or step.at is None:
            continue
        node, expected = _node(network, path, step.at), step.expected
        if node.op != expected.op:
            sentence = f"In the part '{expected.place}' {words(node)} stands in the place of {expected.name}."
            code = _MISSING.get(expected.op, Deviation.MISSING_LAYER)
            yield Difference(code, expected.place, sentence)
        elif node.op == "conv":
            yield from convolution_differences(
                node, expected.place, expected.name, expected.width, (3, 3), expected.stride
            )
        elif node.op == "avg_pool" and node.kernel != (4, 4) and node.shape[2:] not in ((), (1, 1)):
            size = " x ".join(map(str, node.kernel))
            sentence = f"The average pooling has a filter of {size}, not 4 x 4; see section 3.1.5."
            yield Difference(Deviation.WRONG_KERNEL, expected.place, sentence)


def _paired(found: list[Difference]) -> list[Difference]:
    """One difference, not two, where a batch norm or ReLU is there, but at another place of its block."""
    lacking = {(each.place, each.op) for each in found if each.code in _MISSING.values() and each.op in SMALL}
    moved = {(each.place, each.op) for each in found if each.code is Deviation.EXTRA_LAYER} & lacking
    kept = [each for each in found if each.code is not Deviation.EXTRA_LAYER or (each.place, each.op) not in moved]
    return [_elsewhere(each) if (each.place, each.op) in moved else each for each in kept]


def _elsewhere(missing: Difference) -> Difference:
    sentence = f"In {missing.place} a {WORDS[missing.op]} is not in its place; see Figure 1: BN, ReLU, convolution."
    return replace(missing, sentence=sentence)
