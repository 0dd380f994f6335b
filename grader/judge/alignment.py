"""The way from the images to the scores in a traced graph, its skip connections, and its alignment with the handout."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from operator import ne

from grader.judge.specification import HEIGHTS, STAGES, WIDTHS, Expected, expected_layers, words
from grader.protocol import NetworkSeen, Node
from grader.records import Layer

_NORMS = {"instance_norm", "native_group_norm", "native_layer_norm", "group_norm", "layer_norm"}
_ACTIVATIONS = {
    *("leaky_relu", "gelu", "elu", "celu", "selu", "sigmoid", "tanh", "silu", "mish", "hardtanh", "prelu"),
    *("_prelu_kernel", "hardswish", "softplus", "rrelu_with_noise", "clamp", "hardsigmoid", "log_sigmoid_forward"),
}
_POOLINGS = {"max_pool", "_adaptive_avg_pool2d", "adaptive_max_pool2d", "amax"}
_MERGERS = {"sub", "mul", "maximum", "minimum", "div"}
_REPLACED = {"batch_norm": _NORMS, "relu": _ACTIVATIONS, "avg_pool": _POOLINGS, "add": _MERGERS}
_IMPOSSIBLE = 1e9
# A batch norm or ReLU is sooner left out or put in than a layer that the others are arranged around.
_LIGHT, _HEAVY = 1.0, 2.5
# A stage with another number of blocks: sooner than two layers that are wrong in one of them.
_OTHER_COUNT = 0.25
_MOST_BLOCKS = 60
# The assigned network has about sixty layers; what is hostile may have thousands.
_MOST_LAYERS, _MOST_WORDS = 200, 150

WEIGHTED = {"conv", "batch_norm", "linear"}
# Of these a node says all that they depend on.
_FUNCTIONS = WEIGHTED | {"relu", "add", "max_pool", "avg_pool"}


def computed_once(network: NetworkSeen) -> tuple[NetworkSeen, tuple[Node, ...]]:
    """A network in which a value that is computed twice stands once; and the nodes that computed one again.

    Nodes with the same operation, weights and inputs are one.
    """
    new: list[int] = []  # by the old index
    nodes: list[Node] = []
    known: dict[Node, int] = {}
    again = []
    for node in network.nodes:
        inputs = tuple(new[each] for each in node.inputs)
        node = replace(node, inputs=inputs)
        value = replace(node, inputs=tuple(sorted(inputs))) if node.op == "add" else node
        if value in known:
            new.append(known[value])
            again.append(node)
            continue
        new.append(len(nodes))
        nodes.append(node)
        if node.op in _FUNCTIONS and not node.random and bool(node.weight) is (node.op in WEIGHTED):
            known[value] = new[-1]
    output = None if network.output is None else new[network.output]
    return replace(network, nodes=tuple(nodes), output=output), tuple(again)


@dataclass(frozen=True, slots=True)
class Skip:
    """What an addition adds to the main path.

    Attributes:
        source: Index on the main path at which it begins; None if it never meets the main path.
        nodes: Its own operations, from its beginning to the addition.
    """

    source: int | None
    nodes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Path:
    """The main path: at every addition, the side with more convolutions.

    Attributes:
        graph: All nodes of the network.
        nodes: Indices of those on the path, from the input to the output.
        skips: The skip of each addition, by the addition's index on the path.
    """

    graph: tuple[Node, ...]
    nodes: tuple[int, ...]
    skips: dict[int, Skip]

    def node(self, at: int) -> Node:
        """The node at an index on the path."""
        return self.graph[self.nodes[at]]


def main_path(network: NetworkSeen) -> Path:
    """Walk from the output back to the input."""
    nodes, depths = network.nodes, _depths(network.nodes)
    at = network.output or 0
    backwards, others = [at], []
    while nodes[at].inputs:
        inputs = nodes[at].inputs
        chosen = max(range(len(inputs)), key=lambda index: depths[inputs[index]])
        rest = [each for index, each in enumerate(inputs) if index != chosen]
        if nodes[at].op == "add" and rest:
            others.append((at, rest[0]))
        at = inputs[chosen]
        backwards.append(at)
    path = tuple(reversed(backwards))
    index_of = {node: index for index, node in enumerate(path)}
    return Path(nodes, path, {index_of[add]: _skip(nodes, depths, other, index_of) for add, other in others})


def _depths(nodes: tuple[Node, ...]) -> list[tuple[int, int]]:
    """For each node, the convolutions (less those of 1 x 1) and the operations on the longest way from the input."""
    depths: list[tuple[int, int]] = []
    for node in nodes:
        convolutions, steps = max((depths[each] for each in node.inputs), default=(0, 0))
        depths.append((convolutions + (node.op == "conv" and node.kernel != (1, 1)), steps + 1))
    return depths


def _skip(nodes: tuple[Node, ...], depths: list[tuple[int, int]], at: int, index_of: dict[int, int]) -> Skip:
    own: list[int] = []
    while at not in index_of:
        own.append(at)
        at = max(nodes[at].inputs, key=lambda each: depths[each])
    return Skip(index_of[at], tuple(reversed(own)))


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an alignment: a layer of the handout, a node on the main path, or both where they correspond.

    Attributes:
        at: Index on the main path; None for a layer that is missing.
    """

    expected: Expected | None
    at: int | None


def matched(steps: Iterable[Step]) -> Iterator[tuple[Expected, int]]:
    """The layers of the handout that are there, each with its index on the main path."""
    for step in steps:
        if step.expected is not None and step.at is not None:
            yield step.expected, step.at


def align(path: Path, blocks: tuple[int, ...]) -> list[Step]:
    """Align the main path, less the input, with the handout's network, with the least number of differences.

    That network has as many blocks in each stage as the main path seems to have, where that fits better.

    Args:
        blocks: How many the handout asks for.
    """
    found = [path.graph[node] for node in path.nodes[1:]]
    counts = [each for each in _counted(path, blocks) if 0 < sum(each) <= _MOST_BLOCKS]
    tried = {each: _costs(found, expected_layers(each)) for each in dict.fromkeys([blocks, *counts])}
    best = min(tried, key=lambda each: tried[each][0][0] + _OTHER_COUNT * sum(map(ne, each, blocks)))
    steps = list(_steps(found, expected_layers(best), tried[best]))
    return _at_boundaries(steps, found)


def _counted(path: Path, blocks: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """How many blocks each stage may have: a block ends with an addition, and a stage's images have one size.

    Where the sizes say what the handout asks for, other channels are a wrong width, and no other number of blocks.
    """
    shapes = [path.node(at).shape for at in sorted(path.skips)]
    for dimension, sizes in ((2, HEIGHTS), (1, WIDTHS)):
        own = [shape[dimension] for shape in shapes if len(shape) == 4]
        counted = tuple(own.count(size) for size in sizes)
        yield counted
        if dimension == 2 and counted == blocks:
            return
        runs = [len(list(run)) for _, run in groupby(own)]
        yield tuple([*runs, *[0] * len(STAGES)][: len(STAGES)])


def as_asked(steps: list[Step], blocks: tuple[int, ...]) -> list[Step]:
    """An alignment with the handout's own number of blocks: a block too many is added, one too few missing.

    Args:
        blocks: How many the handout asks for.
    """
    there = {step.expected.place for step in steps if step.expected}
    absent = [each for each in expected_layers(blocks) if each.place not in there]
    asked: list[Step] = []
    for step in steps:
        place = step.expected.place if step.expected else None
        while place and absent and absent[0].place.stage < place.stage:
            asked.append(Step(absent.pop(0), None))
        if place and place.block and place.block > blocks[place.stage - 1]:
            asked += [Step(None, step.at)] if step.at is not None else []
        else:
            asked.append(step)
    return asked


def _costs(found: list[Node], expected: tuple[Expected, ...]) -> list[list[float]]:
    """costs[i][j]: the least cost of aligning what is left from the i-th expected and the j-th found layer on."""
    costs = [[0.0] * (len(found) + 1) for _ in range(len(expected) + 1)]
    for i in range(len(expected), -1, -1):
        for j in range(len(found), -1, -1):
            ways = []
            if i < len(expected):
                ways.append(costs[i + 1][j] + _weight(expected[i].op))
            if j < len(found):
                ways.append(costs[i][j + 1] + _weight(found[j].op))
            if len(ways) == 2:
                ways.append(costs[i + 1][j + 1] + _difference(expected[i], found[j]))
            costs[i][j] = min(ways, default=0.0)
    return costs


def _steps(found: list[Node], expected: tuple[Expected, ...], costs: list[list[float]]) -> Iterator[Step]:
    """Of several equally good alignments, the one that matches first and then misses first."""
    i = j = 0
    while i < len(expected) or j < len(found):
        here = costs[i][j]
        both = i < len(expected) and j < len(found)
        if both and abs(here - costs[i + 1][j + 1] - _difference(expected[i], found[j])) < 1e-6:
            yield Step(expected[i], j + 1)
            i, j = i + 1, j + 1
        elif i < len(expected) and abs(here - costs[i + 1][j] - _weight(expected[i].op)) < 1e-6:
            yield Step(expected[i], None)
            i += 1
        else:
            yield Step(None, j + 1)
            j += 1


def _weight(op: str) -> float:
    return _LIGHT if op in ("batch_norm", "relu") else _HEAVY


def _at_boundaries(steps: list[Step], found: list[Node]) -> list[Step]:
    """Move each run of missing or added layers back to the end of a block, where that is equally good.

    A missing block may otherwise be the second half of one and the first half of the next.
    """
    begin = 0
    while begin < len(steps):
        end = begin
        while end < len(steps) and _gap(steps[end]) and _gap(steps[end]) == _gap(steps[begin]):
            end += 1
        if end - begin > 1 or _gap(steps[begin]) == "added":
            steps = _moved(steps, begin, end, found) or steps
        begin = max(end, begin + 1)
    return steps


def _gap(step: Step) -> str:
    if step.at is None:
        return "missing"
    return "added" if step.expected is None else ""


def _moved(steps: list[Step], begin: int, end: int, found: list[Node]) -> list[Step] | None:
    """The steps with the run [begin, end) moved; None if it cannot come to a boundary."""
    moved = list(steps)
    while begin > 0 and not _ends_a_place(moved, begin - 1):
        before, last = moved[begin - 1], moved[end - 1]
        if _gap(before) and _gap(before) == _gap(last):
            begin -= 1
            continue
        if before.expected is None or before.at is None:
            return None
        if last.at is None and last.expected is not None:
            swapped = Step(before.expected, None), Step(last.expected, before.at)
        else:
            swapped = Step(None, before.at), Step(before.expected, last.at)
        _, new = swapped
        if new.expected is None or new.at is None:
            return None
        if _difference(new.expected, found[new.at - 1]) > _difference(before.expected, found[before.at - 1]):
            return None
        moved[begin - 1], moved[end - 1] = swapped
        begin, end = begin - 1, end - 1
    return moved if begin > 0 else None


def _ends_a_place(steps: list[Step], index: int) -> bool:
    own = steps[index].expected
    if own is None:
        return False
    following = next((step.expected for step in steps[index + 1 :] if step.expected is not None), None)
    return following is None or following.place != own.place


def _difference(expected: Expected, found: Node) -> float:
    if expected.op != found.op:
        two = expected.op != "add" or len(found.inputs) > 1
        return 1.1 if two and found.op in _REPLACED.get(expected.op, ()) else _IMPOSSIBLE
    if expected.op != "conv":
        return 0.0
    width = found.shape[1] if len(found.shape) > 1 else 0
    return 0.3 * (found.kernel != (3, 3)) + 0.3 * (found.stride != expected.stride) + 0.3 * (width != expected.width)


def compare(network: NetworkSeen, blocks: tuple[int, ...]) -> tuple[Layer, ...]:
    """Return one row for each layer of either network, from the images to the scores; the first 200 of them.

    Args:
        network: With an output.
        blocks: How many blocks the handout's network has in each stage.
    """
    network, _ = computed_once(network)
    path = main_path(network)
    rows, place = [], ""
    for step in as_asked(align(path, blocks), blocks)[:_MOST_LAYERS]:
        place = str(step.expected.place) if step.expected else place
        rows.append(Layer(place, _asked(step), _ran(step, path), _differs(step, path)))
    return tuple(rows)


def _differs(step: Step, path: Path) -> bool:
    if step.expected is None or step.at is None:
        return True
    node, expected = path.node(step.at), step.expected
    if node.op != expected.op:
        return True
    return node.op == "conv" and (node.shape[1], node.kernel, node.stride) != (expected.width, (3, 3), expected.stride)


def _asked(step: Step) -> str:
    expected = step.expected
    if expected is None:
        return "nothing"
    size = f"  3 x 3, {expected.width} channels, stride {expected.stride[0]}" if expected.width else ""
    return expected.name.removeprefix("the ") + size


def _ran(step: Step, path: Path) -> str:
    if step.at is None:
        return "missing"
    said = _described(path.node(step.at))
    if skip := path.skips.get(step.at):
        passed = ", ".join(words(path.graph[each]) for each in skip.nodes)
        said += f" with the {words(path.node(skip.source or 0))} above it" + (f", through {passed}" if passed else "")
    return said[:_MOST_WORDS]


def _described(node: Node) -> str:
    kernel = " x ".join(map(str, node.kernel))
    stride = f", stride {node.stride[0]}" if node.stride else ""
    channels = f", {node.shape[1]} channels" if node.op == "conv" and len(node.shape) > 1 else ""
    return " ".join(f"{words(node)} {kernel}{channels}{stride} {node.weight.rpartition('.')[0]}".split())
