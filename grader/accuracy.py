"""Accuracy from exact counts: never a float, so that no rounding crosses a band's edge."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from grader.records import CLASSES, SCORE_DTYPE

_SCORE = np.dtype(SCORE_DTYPE)


def count_correct(scores: bytes, labels: npt.NDArray[np.int64]) -> int:
    """Count the images whose highest score is the score of their class.

    Args:
        scores: N x 10 little-endian float32, row by row, in the order of `labels`.
        labels: int64 of shape (N,), each 0..9.

    Returns:
        0..N. A row with any value that is not finite counts as wrong; of equal scores the first class wins.

    Raises:
        ValueError: `scores` does not hold exactly N rows. The grader fixes the length before it reads, so this is
            the grader's own fault.
    """
    expected = len(labels) * CLASSES * _SCORE.itemsize
    if len(scores) != expected:
        raise ValueError(f"{len(labels)} images need {expected} bytes of scores, not {len(scores)}")
    rows = np.frombuffer(scores, dtype=_SCORE).reshape(len(labels), CLASSES)
    right = (rows.argmax(axis=1) == labels) & np.isfinite(rows).all(axis=1)
    return int(right.sum())


def exact_percent(correct: int, total: int) -> Fraction:
    """Return `correct` of `total` in percent, exactly.

    Raises:
        ValueError: There are no test images, or the count does not fit them.
    """
    if not 0 <= correct <= total or total == 0:
        raise ValueError(f"{correct} of {total} is not a count of test images")
    return Fraction(100 * correct, total)


def accuracy_percent(correct: int, total: int) -> Decimal:
    """Return `correct` of `total` in percent, rounded down to two decimals.

    Raises:
        ValueError: As `exact_percent`.
    """
    # Rounded down: 69.999 shows as 69.99, because 70.00 would claim an edge that was not reached.
    return Decimal(int(exact_percent(correct, total) * 100)).scaleb(-2)


def in_band(percent: Fraction, above: Decimal | None, at_least: Decimal | None) -> bool:
    """Whether an exact accuracy, in percent, is on a band's side of its edge: `above` leaves the edge out."""
    return (above is None or percent > Fraction(above)) and (at_least is None or percent >= Fraction(at_least))
