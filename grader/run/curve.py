"""The training curve of one run: what its worker tells each second, in a bounded number of points."""

from dataclasses import dataclass

from grader.protocol import Progress
from grader.records import CurvePoint

POINTS = 60
# Student code shares the worker's process and may say anything. A number beyond these is no measurement, and could not
# even be divided by a training set's size.
MOST_SAMPLES, MOST_LOSS = 10**12, 1e6


@dataclass(frozen=True, slots=True)
class _Mean:
    """A mean over images, as a sum that others can be added to."""

    total: float = 0.0
    images: int = 0

    def with_more(self, other: "_Mean") -> "_Mean":
        return _Mean(self.total + other.total, self.images + other.images)

    def value(self) -> float | None:
        return round(self.total / self.images, 4) if self.images else None


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A part of a curve, made of so many messages; it ends with `samples` images used."""

    messages: int
    samples: int
    loss: _Mean
    accuracy: _Mean

    def and_then(self, later: "_Stretch") -> "_Stretch":
        return _Stretch(
            self.messages + later.messages,
            later.samples,
            self.loss.with_more(later.loss),
            self.accuracy.with_more(later.accuracy),
        )


class TrainingCurve:
    """Takes progress in as it is told, and keeps at most `POINTS` points of it, each a mean over its images.

    What cannot be a training curve is left out: a number of images that does not grow, an infinite loss, an accuracy
    below 0 or above 1.

    Attributes:
        first: The first progress, as it was told.
    """

    def __init__(self) -> None:
        self.first: Progress | None = None
        self._stretches: list[_Stretch] = []
        self._messages_each = 1

    def add(self, event: Progress) -> None:
        """Take in what was told; where there are too many stretches, they are joined in pairs."""
        self.first = self.first or event
        before = self._stretches[-1].samples if self._stretches else 0
        if not before < event.samples <= MOST_SAMPLES:
            return
        images = event.samples - before
        loss = _mean(event.loss, -MOST_LOSS, MOST_LOSS, images)
        accuracy = _mean(event.accuracy, 0, 1, images)
        if not (loss.images or accuracy.images):
            return
        self._append(_Stretch(1, event.samples, loss, accuracy))
        if len(self._stretches) > POINTS:
            self._messages_each *= 2
            stretches, self._stretches = self._stretches, []
            for stretch in stretches:
                self._append(stretch)

    def points(self) -> tuple[CurvePoint, ...]:
        """The curve so far, at most `POINTS` points, images increasing."""
        stretches = self._stretches
        # A last stretch of only a few messages would be a jump at the end.
        if len(stretches) > 1 and 2 * stretches[-1].messages < self._messages_each:
            stretches = [*stretches[:-2], stretches[-2].and_then(stretches[-1])]
        return tuple(CurvePoint(each.samples, each.loss.value(), each.accuracy.value()) for each in stretches)

    def _append(self, stretch: _Stretch) -> None:
        if self._stretches and self._stretches[-1].messages < self._messages_each:
            self._stretches[-1] = self._stretches[-1].and_then(stretch)
        else:
            self._stretches.append(stretch)


def _mean(value: float | None, least: float, most: float, images: int) -> _Mean:
    return _Mean(value * images, images) if value is not None and least <= value <= most else _Mean()
