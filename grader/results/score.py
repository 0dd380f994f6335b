"""From exact counts to points: the handout's bands (section 8), and never a rounded percentage."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal

from grader.assignment import Assignment
from grader.records import Outcome, Score, Submission, Verdict, accuracy_percent, exact_percent
from grader.results import messages
from grader.results.entries import Change, Entry, Grade, Line, Override, Result
from grader.results.reruns import (
    counting_run,
    ends_without_result,
    generations,
    is_done,
    standing_override,
    standing_runs,
    tries_are_spent,
)

_NOT_RUNNABLE = frozenset(
    {
        *(Outcome.INVALID, Outcome.CRASHED, Outcome.TIMED_OUT, Outcome.OUT_OF_MEMORY, Outcome.OUT_OF_PROCESSOR_TIME),
        *(Outcome.OUT_OF_PROCESSES, Outcome.OUT_OF_DISK, Outcome.OUT_OF_DESCRIPTORS, Outcome.TOO_MUCH_OUTPUT),
    }
)


def points(outcome: Outcome, score: Score | None, verdict: Verdict | None, assignment: Assignment) -> Decimal | None:
    """Return what a submission earns; None where a fault of ours leaves it without points.

    Args:
        score: Only read where the outcome is `graded`.
        verdict: Of the architecture check. It moves points only where the policy says "require": a network that
            deviates then earns no more than one that could not be run.

    Raises:
        ValueError: The outcome is `graded` and there is no score, or no valid count.
    """
    policy = assignment.policy
    if outcome in (Outcome.INFRASTRUCTURE, Outcome.PENDING):
        return None
    if outcome is Outcome.NO_SUBMISSION:
        return policy.points_if_missing
    if outcome in _NOT_RUNNABLE:
        return policy.points_if_not_runnable
    if score is None:
        raise ValueError("a graded submission needs its counts")
    earned = _band_points(score, assignment)
    if policy.architecture == "require" and verdict is Verdict.DEVIATES:
        return min(earned, policy.points_if_not_runnable)
    return earned


def grade(submission: Submission, entry: Entry | None, assignment: Assignment, *, spent: bool = False) -> Grade:
    """Work out one student's grade from what the ledger says (None: nothing yet).

    Args:
        spent: Whether no run follows before a person asks for it.
    """
    outcome = _outcome(submission, entry)
    score, verdict = (entry.score, entry.check.verdict) if entry else (None, None)
    accuracy = None
    if outcome is Outcome.GRADED and score is not None:
        accuracy = accuracy_percent(score.correct, score.total)
    return Grade(
        outcome=outcome,
        points=points(outcome, score, verdict, assignment),
        accuracy=accuracy,
        happened=messages.for_student(entry, submission, assignment, spent=spent),
        reasons=messages.for_teacher(entry, submission, assignment, spent=spent),
        details=messages.details(entry) if entry else (),
    )


def result_of(
    submission: Submission, lines: Sequence[Line], run_key: str, assignment: Assignment, others: Sequence[str] = ()
) -> Result:
    """Work out one student's row from the ledger: the run that counts, the points, and what persons changed.

    Args:
        lines: Everything that the ledger says of the student, oldest first; lines about other files than the one that
            counts now move no points.
        others: Whoever had the same files graded; a word for the teacher, and no points.
    """
    own = [line for line in lines if line.sha256 == submission.sha256]
    runs = standing_runs(own, run_key, assignment)
    entry = counting_run(runs, assignment)
    last = generations(own, run_key)[-1]
    spent = tries_are_spent(last.runs)
    graded = grade(submission, entry, assignment, spent=spent)
    override = standing_override(own, assignment)
    due = submission.content is not None and not is_done(last.runs, assignment)
    tries = [end for end in ends_without_result(last.runs) if end is not entry]
    reasons = (
        *graded.reasons,
        *messages.of_history(entry, tries, override, last.regrade if due else None, due=due),
        *messages.of_other_files(entry, others, None if override else _outdated(lines, submission)),
    )
    graded = replace(graded, reasons=reasons)
    if override is not None:
        happened = f"{graded.happened} {messages.for_student_of(override)}"
        graded = replace(graded, points=override.points, happened=happened)
    changes = tuple(_changes(submission, own, run_key, assignment))
    return Result(submission, entry, graded, runs, changes, overridden=override is not None, due=due)


def _outdated(lines: Sequence[Line], submission: Submission) -> Override | None:
    """An override of another file than the one that counts now."""
    other = (line for line in reversed(lines) if isinstance(line, Override) and line.sha256 != submission.sha256)
    return next(other, None)


def _changes(submission: Submission, lines: Sequence[Line], run_key: str, assignment: Assignment) -> Iterator[Change]:
    places = [place for place, line in enumerate(lines) if not isinstance(line, Entry)]
    for place, following in itertools.pairwise([*places, len(lines)]):
        line = lines[place]
        if isinstance(line, Entry):
            continue
        before = _points_by(submission, lines[:place], run_key, assignment)
        after = _points_by(submission, lines[:following], run_key, assignment)
        yield Change(line.kind, line.why, line.who, line.at, before, after)


def _points_by(submission: Submission, lines: Sequence[Line], run_key: str, assignment: Assignment) -> Decimal | None:
    override = standing_override(lines, assignment)
    if override is not None:
        return override.points
    return grade(submission, counting_run(standing_runs(lines, run_key, assignment), assignment), assignment).points


def _outcome(submission: Submission, entry: Entry | None) -> Outcome:
    if entry is not None:
        return entry.outcome
    if submission.unreadable:
        return Outcome.INVALID if submission.spoilt else Outcome.INFRASTRUCTURE
    return Outcome.NO_SUBMISSION if submission.content is None else Outcome.PENDING


def _band_points(score: Score, assignment: Assignment) -> Decimal:
    percent = exact_percent(score.correct, score.total)
    return next(band.points for band in assignment.bands if band.takes(percent))
