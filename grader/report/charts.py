"""Drawings: those of the report as SVG that stands in the page, and a network beside the handout's as a picture.

In the page, text stays text, and colours come from the page. The picture's format follows its name: .svg, .png or .pdf.
"""

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from grader.assignment import Band
from grader.errors import UserError
from grader.records import Finding, Layer
from grader.results.entries import Entry

BIN_PERCENT = 5
# Stand for the page's own colours, which differ by day and by night: `_tidy` puts a class in their place.
_COLOURS = {"#010101": "ink", "#020202": "bar", "#030303": "edge", "#040404": "grid"}
_INK, _BAR, _EDGE, _GRID = _COLOURS
_DROPPED = {"font", "font-family", "font-size", "stroke-miterlimit"}

_RIGHT, _WRONG, _SMALL = "#2e7d32", "#c62828", "#666666"
_ROW_INCHES, _COLUMNS = 0.22, (0.02, 0.2, 0.5)


@dataclass(frozen=True, slots=True)
class Curve:
    """One quantity over a run's epochs, in a box of WIDTH x HEIGHT units.

    Attributes:
        title: What it is of.
        said: The same for those who cannot see it.
        line: The points of an SVG polyline.
        across: Place and label of each tick below, in epochs.
        up: Place and label of each tick at the left.
    """

    title: str
    said: str
    line: str
    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]

    WIDTH = 300
    HEIGHT = 110


def curves(entry: Entry) -> tuple[Curve, ...]:
    """Lay out a run's loss, then its accuracy on training batches; without what is known at fewer than two points."""
    size, curve = entry.evidence.train_size, entry.run.curve
    if size < 1:
        return ()
    ends = max((point.samples for point in curve), default=0) / size
    losses = [(point.samples / size, point.loss) for point in curve if point.loss is not None]
    shares = [(point.samples / size, point.accuracy) for point in curve if point.accuracy is not None]
    drawn = []
    if len(losses) > 1:
        values = [loss for _, loss in losses]
        low, high = min(0.0, *values), max(values)
        drawn.append(_curve("Loss", losses, ends, _ticks(3, low, high), (low, high), "{:.4g}"))
    if len(shares) > 1:
        percents = [(epoch, 100 * share) for epoch, share in shares]
        drawn.append(
            _curve("Accuracy on training batches", percents, ends, (0, 50, 100), (0, 100), "{:.0f}\N{NO-BREAK SPACE}%")
        )
    return tuple(drawn)


def _ticks(most: int, low: float, high: float) -> Sequence[float]:
    return [tick for tick in MaxNLocator(most).tick_values(low, high) if low <= tick <= high]


def _curve(
    title: str,
    points: Sequence[tuple[float, float]],
    ends: float,
    ticks: Sequence[float],
    span: tuple[float, float],
    form: str,
) -> Curve:
    """Lay out points of (epoch, value).

    Args:
        ends: The epoch at the right edge.
        ticks: The values with a line and a label.
        span: The values at the lower and the upper edge.
        form: How a value is written.
    """
    low, high = span

    def x(epoch: float) -> float:
        return round(Curve.WIDTH * epoch / ends, 1) if ends else 0.0

    def y(value: float) -> float:
        return round(Curve.HEIGHT * (1 - (value - low) / ((high - low) or 1)), 1)

    first, last = (form.format(value) for _, value in (points[0], points[-1]))
    return Curve(
        title=title,
        said=f"{title}: from {first} to {last} in {ends:.2f} epochs.",
        line=" ".join(f"{x(epoch):g},{y(value):g}" for epoch, value in points),
        across=tuple((x(tick), f"{tick:g}") for tick in _ticks(5, 0, ends)),
        up=tuple((y(tick), form.format(tick)) for tick in ticks),
    )


def histogram(accuracies: Sequence[Decimal], bands: Sequence[Band]) -> Markup:
    """Draw how many reached which accuracy, in percent, with the bands' edges."""
    with _in_the_page_s_colours():
        figure = Figure(figsize=(6.2, 2.7), layout="constrained")
        axes = figure.add_subplot()
        counts, _, _ = axes.hist(
            [float(value) for value in accuracies], bins=range(0, 101, BIN_PERCENT), color=_BAR, rwidth=0.88
        )
        top = max(1.0, *(float(value) for value in counts)) if accuracies else 1.0
        axes.set(xlim=(0, 100), ylim=(0, top * 1.22), xlabel="accuracy, percent of the test images", ylabel="students")
        axes.set_xticks(range(0, 101, 10))
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.tick_params(length=0)
        for band in bands:
            _draw_edge(axes, band)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None})
    return _tidy(drawn.getvalue(), "How many students reached which accuracy. " + _in_words(accuracies))


def _in_the_page_s_colours() -> AbstractContextManager[None]:
    return mpl.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "report",
            "font.size": 11,
            "text.color": _INK,
            "axes.edgecolor": _GRID,
            "axes.labelcolor": _INK,
            "xtick.color": _INK,
            "ytick.color": _INK,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )


def _draw_edge(axes: mpl.axes.Axes, band: Band) -> None:
    if band.edge is None:
        axes.annotate(f"{band.points:f} points", (0, 1), (4, -4), "axes fraction", "offset points", va="top")
        return
    where = float(band.edge)
    axes.axvline(where, color=_EDGE, linestyle="--", linewidth=1.4)
    said = f"{band.points:f} points\n{'above' if band.above is not None else 'from'} {where:g} %"
    axes.annotate(said, (where, 1), (4, -4), ("data", "axes fraction"), "offset points", va="top")


def _in_words(accuracies: Sequence[Decimal]) -> str:
    lowest = [min(int(value) // BIN_PERCENT * BIN_PERCENT, 100 - BIN_PERCENT) for value in accuracies]
    said = [f"{low} to {low + BIN_PERCENT} percent: {lowest.count(low)}" for low in sorted(set(lowest))]
    return "; ".join(said) or "No student has an accuracy yet."


def _tidy(svg: str, title: str) -> Markup:
    """Turn matplotlib's file into an element of the page, without styles of its own: the page's policy forbids them."""
    root = ElementTree.fromstring(svg)
    for parent in root.iter():
        for child in list(parent):
            if child.tag.endswith(("}style", "}metadata")):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        for name in [name for name in element.attrib if name.startswith("{")]:
            element.set(name.rpartition("}")[2], element.attrib.pop(name))
        _style_to_attributes(element)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.attrib |= {"class": "histogram", "role": "img", "aria-label": title}
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _style_to_attributes(element: ElementTree.Element) -> None:
    classes = []
    for declaration in filter(str.strip, element.attrib.pop("style", "").split(";")):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if value in _COLOURS:
            classes.append(f"{name}-{_COLOURS[value]}")
        elif name not in _DROPPED:
            element.set(name, value)
    if element.tag == "text" and not any(name.startswith("fill") for name in classes):
        classes.append("fill-ink")
    if classes:
        element.set("class", " ".join(classes))


def draw_network(layers: Sequence[Layer], findings: tuple[Finding, ...], title: str, path: Path) -> None:
    """Write the picture: one row for each layer, what the handout asks for beside what ran; differences are red.

    Raises:
        UserError: The picture cannot be written there.
    """
    rows = len(layers) + len(findings) + 5
    figure = Figure(figsize=(12, rows * _ROW_INCHES))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(rows, 0)
    axes.text(_COLUMNS[0], 1, title, fontsize=11, weight="bold", parse_math=False)
    for column, head in zip(_COLUMNS, ("where", "section 3.1", "what ran"), strict=True):
        axes.text(column, 2.3, head, fontsize=9, weight="bold")
    marked = {place for finding in findings for place in (finding.where, *finding.also)}
    for row, layer in enumerate(layers, start=3):
        colours = (_WRONG if layer.place in marked else _SMALL, _SMALL, _WRONG if layer.differs else _RIGHT)
        said = (layer.place, layer.asked, layer.ran)
        for column, text, colour in zip(_COLUMNS, said, colours, strict=True):
            axes.text(column, row + 0.3, text, fontsize=8, color=colour, parse_math=False)
    for row, finding in enumerate(findings, start=len(layers) + 4):
        line = f"{finding.code}: {finding.sentence}"[:200]
        axes.text(_COLUMNS[0], row + 0.3, line, fontsize=8, color=_WRONG, parse_math=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write the picture {path}: {error}") from None
