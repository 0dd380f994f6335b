"""A student's traced network beside the handout's, as a picture. Its format follows its name: .svg, .png or .pdf."""

from pathlib import Path

from matplotlib.figure import Figure

from grader.check.difference import words
from grader.check.path import Path as MainPath
from grader.check.path import Step, align, main_path
from grader.check.specification import expected_layers
from grader.errors import Mistake
from grader.records import Finding
from grader.telemetry import NetworkSeen, Node

_RIGHT, _WRONG, _SMALL = "#2e7d32", "#c62828", "#666666"
_ROW_INCHES, _COLUMNS = 0.22, (0.02, 0.2, 0.5)
_MAX_ROWS = 300


def draw(network: NetworkSeen, findings: tuple[Finding, ...], blocks: tuple[int, ...], title: str, path: Path) -> None:
    """Write the picture: one row for each layer, what the handout asks for beside what ran; differences are red.

    Raises:
        Mistake: The picture cannot be written there.
    """
    route = main_path(network)
    steps = align(network, route, expected_layers(blocks))[:_MAX_ROWS]
    rows = len(steps) + len(findings) + 5
    figure = Figure(figsize=(12, rows * _ROW_INCHES))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(rows, 0)
    axes.text(_COLUMNS[0], 1, title, fontsize=11, weight="bold", parse_math=False)
    for column, head in zip(_COLUMNS, ("where", "section 3.1", "what ran"), strict=True):
        axes.text(column, 2.3, head, fontsize=9, weight="bold")
    marked = {finding.where for finding in findings}
    place = ""
    for row, step in enumerate(steps, start=3):
        place = str(step.expected.place) if step.expected else place
        colour = _WRONG if _differs(step, network, route) else _RIGHT
        axes.text(_COLUMNS[0], row + 0.3, place, fontsize=8, color=_WRONG if place in marked else _SMALL)
        axes.text(_COLUMNS[1], row + 0.3, _asked(step), fontsize=8, color=_SMALL)
        axes.text(_COLUMNS[2], row + 0.3, _ran(step, network, route), fontsize=8, color=colour, parse_math=False)
    for row, finding in enumerate(findings, start=len(steps) + 4):
        said = f"{finding.code}: {finding.sentence}"[:200]
        axes.text(_COLUMNS[0], row + 0.3, said, fontsize=8, color=_WRONG, parse_math=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise Mistake(f"cannot write the picture {path}: {error}") from None


def _differs(step: Step, network: NetworkSeen, route: MainPath) -> bool:
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


def _ran(step: Step, network: NetworkSeen, route: MainPath) -> str:
    if step.at is None:
        return "missing"
    node = network.nodes[route.nodes[step.at]]
    said = _described(node)
    if skip := route.skips.get(step.at):
        passed = ", ".join(words(network.nodes[each]) for each in skip.nodes)
        begins = network.nodes[route.nodes[skip.source or 0]]
        said += f" with the {words(begins)} above it" + (f", through {passed}" if passed else "")
    return said[:150]


def _described(node: Node) -> str:
    kernel = " x ".join(map(str, node.kernel))
    stride = f", stride {node.stride[0]}" if node.stride else ""
    channels = f", {node.shape[1]} channels" if node.op == "conv" and len(node.shape) > 1 else ""
    return " ".join(f"{words(node)} {kernel}{channels}{stride} {node.weight.rpartition('.')[0]}".split())
