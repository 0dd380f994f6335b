"""From scores to points: exact counts, the handout's bands (section 8), and never a rounded percentage."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from grader import messages
from grader.assignment import Assignment
from grader.records import CLASSES, SCORE_DTYPE, Entry, Grade, Outcome, Submission, Verdict

_SCORE = np.dtype(SCORE_DTYPE)

_NOT_RUNNABLE = frozenset({Outcome.INVALID, Outcome.CRASHED, Outcome.TIMED_OUT, Outcome.OUT_OF_MEMORY})


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


def accuracy_percent(correct: int, total: int) -> Decimal:
    """Return `correct` of `total` in percent, rounded down to two decimals.

    Raises:
        ValueError: There are no test images, or the count does not fit them.
    """
    _require_count(correct, total)
    # Rounded down: 69.999 shows as 69.99, because 70.00 would claim an edge that was not reached.
    return Decimal(correct * 10_000 // total).scaleb(-2)


def points(
    outcome: Outcome, correct: int | None, total: int | None, verdict: Verdict | None, assignment: Assignment
) -> Decimal | None:
    """Return what a submission earns; None where a fault of ours leaves it without points.

    Args:
        correct: Test images classified right; only read where the outcome is `graded`.
        total: Test images; only read where the outcome is `graded`.
        verdict: Of the architecture check. It moves points only where the policy says "require": a network that
            deviates then earns no more than one that could not be run.

    Raises:
        ValueError: The outcome is `graded` and there is no valid count.
    """
    policy = assignment.policy
    if outcome is Outcome.INFRASTRUCTURE:
        return None
    if outcome is Outcome.NO_SUBMISSION:
        return policy.points_if_missing
    if outcome in _NOT_RUNNABLE:
        return policy.points_if_not_runnable
    if correct is None or total is None:
        raise ValueError("a graded submission needs its counts")
    earned = _band_points(correct, total, assignment)
    if policy.architecture == "require" and verdict is Verdict.DEVIATES:
        return min(earned, policy.points_if_not_runnable)
    return earned


def grade(submission: Submission, entry: Entry | None, assignment: Assignment) -> Grade:
    """Work out one student's grade from what the ledger says (None: nothing yet)."""
    outcome = _outcome(submission, entry)
    correct, total, verdict = (entry.correct, entry.total, entry.check.verdict) if entry else (None, None, None)
    accuracy = None
    if outcome is Outcome.GRADED and correct is not None and total is not None:
        accuracy = accuracy_percent(correct, total)
    return Grade(
        outcome=outcome,
        points=points(outcome, correct, total, verdict, assignment),
        accuracy=accuracy,
        message=messages.for_student(entry, submission, assignment),
        review=messages.for_teacher(entry, submission, assignment),
    )


def _outcome(submission: Submission, entry: Entry | None) -> Outcome:
    if entry is not None:
        return entry.outcome
    # Handed in but without an entry: the grader owes this student a result, so it is never `no_submission`.
    owed = submission.content is not None or submission.unreadable
    return Outcome.INFRASTRUCTURE if owed else Outcome.NO_SUBMISSION


def _band_points(correct: int, total: int, assignment: Assignment) -> Decimal:
    _require_count(correct, total)
    percent = Fraction(100 * correct, total)
    for band in assignment.bands:
        above = band.above is None or percent > Fraction(band.above)
        at_least = band.at_least is None or percent >= Fraction(band.at_least)
        if above and at_least:
            return band.points
    raise ValueError("no band fits, although the last one has no edge")


def _require_count(correct: int, total: int) -> None:
    if not 0 <= correct <= total or total == 0:
        raise ValueError(f"{correct} of {total} is not a count of test images")
