"""The training curve of a run, put together from what its worker tells each second."""

import operator
from typing import NamedTuple

from grader.protocol import Progress
from grader.records import CurvePoint

# Of a training curve, which a worker tells each second.
POINTS = 60
# Student code shares the worker's process and may say anything. A number beyond these is no measurement, and could not
# even be divided by a training set's size.
MOST_SAMPLES, MOST_LOSS = 10**12, 1e6


class _Stretch(NamedTuple):
    """A part of a curve, made of so many messages; it ends with `samples` images used. Sums are over its images."""

    messages: int
    samples: int
    loss: float
    loss_images: float
    accuracy: float
    accuracy_images: float

    def and_then(self, later: "_Stretch") -> "_Stretch":
        sums = map(operator.add, self[2:], later[2:])
        return _Stretch(self.messages + later.messages, later.samples, *sums)

    def point(self) -> CurvePoint:
        means = ((self.loss, self.loss_images), (self.accuracy, self.accuracy_images))
        return CurvePoint(self.samples, *(round(total / images, 4) if images else None for total, images in means))


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
        loss = _summed(event.loss, -MOST_LOSS, MOST_LOSS, images)
        accuracy = _summed(event.accuracy, 0, 1, images)
        if loss == accuracy == _NOTHING:
            return
        self._append(_Stretch(1, event.samples, *loss, *accuracy))
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
        return tuple(each.point() for each in stretches)

    def _append(self, stretch: _Stretch) -> None:
        if self._stretches and self._stretches[-1].messages < self._messages_each:
            self._stretches[-1] = self._stretches[-1].and_then(stretch)
        else:
            self._stretches.append(stretch)


_NOTHING = (0.0, 0.0)


def _summed(value: float | None, least: float, most: float, images: int) -> tuple[float, float]:
    """A mean over so many images as a sum, and the images; nothing for what cannot be such a mean."""
    return (value * images, images) if value is not None and least <= value <= most else _NOTHING
