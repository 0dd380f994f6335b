"""A traced network beside the handout's, layer by layer, in words."""

from grader.judge.alignment import Path, Step, align, main_path
from grader.judge.differences import words
from grader.judge.specification import expected_layers
from grader.protocol import NetworkSeen, Node
from grader.records import Layer

# The assigned network has about sixty; what is hostile may have thousands.
_MOST_LAYERS = 200
_MOST_WORDS = 150


def compare(network: NetworkSeen, blocks: tuple[int, ...]) -> tuple[Layer, ...]:
    """Return one row for each layer of either network, from the images to the scores; the first 200 of them.

    Args:
        network: With an output.
        blocks: How many blocks the handout's network has in each stage.
    """
    route = main_path(network)
    rows, place = [], ""
    for step in align(network, route, expected_layers(blocks))[:_MOST_LAYERS]:
        place = str(step.expected.place) if step.expected else place
        rows.append(Layer(place, _asked(step), _ran(step, network, route), _differs(step, network, route)))
    return tuple(rows)


def _differs(step: Step, network: NetworkSeen, route: Path) -> bool:
    if step.expected is None or step.at is None:
        return True
    node, expected = network.nodes[route.nodes[step.at]], step.expected
    if node.op != expected.op:
        return True
    return node.op == "conv" and (node.shape[1], node.kernel, node.stride) != (expected.width, (3, 3), expected.stride)


def _asked(step: Step) -> str:
    expected = step.expected
    if expected is None:
        return "nothing"
    size = f"  3 x 3, {expected.width} channels, stride {expected.stride[0]}" if expected.width else ""
    return expected.name.removeprefix("the ") + size


def _ran(step: Step, network: NetworkSeen, route: Path) -> str:
    if step.at is None:
        return "missing"
    said = _described(network.nodes[route.nodes[step.at]])
    if skip := route.skips.get(step.at):
        passed = ", ".join(words(network.nodes[each]) for each in skip.nodes)
        begins = network.nodes[route.nodes[skip.source or 0]]
        said += f" with the {words(begins)} above it" + (f", through {passed}" if passed else "")
    return said[:_MOST_WORDS]


def _described(node: Node) -> str:
    kernel = " x ".join(map(str, node.kernel))
    stride = f", stride {node.stride[0]}" if node.stride else ""
    channels = f", {node.shape[1]} channels" if node.op == "conv" and len(node.shape) > 1 else ""
    return " ".join(f"{words(node)} {kernel}{channels}{stride} {node.weight.rpartition('.')[0]}".split())
