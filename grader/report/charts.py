"""What the report's drawings show and where it stands: its templates draw it as SVG in the page's own colours."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from grader.assignment import Band
from grader.results.entries import Entry

BIN_PERCENT = 5
_BINS = 100 // BIN_PERCENT
# Room above the tallest bar for the words at the bands' edges.
_HEADROOM = 1.3


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
    shares = [(point.samples / size, 100 * point.accuracy) for point in curve if point.accuracy is not None]
    drawn = []
    if len(losses) > 1:
        span = min(0.0, *(loss for _, loss in losses)), max(loss for _, loss in losses)
        drawn.append(_curve("Loss", losses, ends, span, _ticks(3, *span), "{:.4g}"))
    if len(shares) > 1:
        title, form = "Accuracy on training batches", "{:.0f}\N{NO-BREAK SPACE}%"
        drawn.append(_curve(title, shares, ends, (0, 100), (0, 50, 100), form))
    return tuple(drawn)


def _curve(
    title: str,
    points: Sequence[tuple[float, float]],
    ends: float,
    span: tuple[float, float],
    ticks: Sequence[float],
    form: str,
) -> Curve:
    """Lay out points of (epoch, value) in a box that ends at an epoch and spans two values, which `form` writes."""
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


def _ticks(most: int, low: float, high: float, least: float = 0.0) -> Sequence[float]:
    """Round values between two others, in at most `most` steps of 1, 2 or 5 times a power of ten, at least `least`."""
    if high <= low:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = max(least, next(power * each for each in (1, 2, 5, 10) if power * each * most >= high - low))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(step * number, 10) for number in range(first, last + 1)]


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many students reached which accuracy, in a box of WIDTH x HEIGHT units.

    Attributes:
        said: The same for those who cannot see it.
        bars: Left edge, top, width and height of each bar.
        edges: Place of each band's edge, and the words beside it; at 0 no line is drawn.
        across: Place and label of each tick below, in percent.
        up: Place and label of each tick at the left, in students.
    """

    said: str
    bars: tuple[tuple[float, float, float, float], ...]
    edges: tuple[tuple[float, tuple[str, ...]], ...]
    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]

    WIDTH = 500
    HEIGHT = 150


def histogram(accuracies: Sequence[Decimal], bands: Sequence[Band]) -> Histogram:
    """Lay out how many reached which accuracy, in percent, with the bands' edges."""
    counts = Counter(min(int(value) // BIN_PERCENT, _BINS - 1) for value in accuracies)
    top = _HEADROOM * max(counts.values(), default=1)
    width = Histogram.WIDTH / _BINS

    def y(students: float) -> float:
        return round(Histogram.HEIGHT * (1 - students / top), 1)

    said = [f"{BIN_PERCENT * bin_} to {BIN_PERCENT * (bin_ + 1)} percent: {counts[bin_]}" for bin_ in sorted(counts)]
    return Histogram(
        said="How many students reached which accuracy. " + ("; ".join(said) or "No student has an accuracy yet."),
        bars=tuple(
            (round((bin_ + 0.06) * width, 1), y(count), round(0.88 * width, 1), round(Histogram.HEIGHT - y(count), 1))
            for bin_, count in sorted(counts.items())
        ),
        edges=tuple((Histogram.WIDTH * float(band.edge or 0) / 100, _of_band(band)) for band in bands),
        across=tuple((Histogram.WIDTH * percent / 100, str(percent)) for percent in range(0, 101, 10)),
        up=tuple((y(tick), f"{tick:g}") for tick in _ticks(4, 0, top / _HEADROOM, least=1)),
    )


def _of_band(band: Band) -> tuple[str, ...]:
    side = "above" if band.above is not None else "from"
    return f"{band.points:f} points", *(() if band.edge is None else (f"{side} {float(band.edge):g} %",))
