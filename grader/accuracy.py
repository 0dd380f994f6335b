"""Accuracy from exact counts: never a float, so that no rounding crosses a band's edge."""

from decimal import Decimal
from fractions import Fraction


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
