"""From a folder of files and a roster to one submission for each student. No file is passed over in silence."""

import hashlib
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from grader.assignment import Assignment, Limits
from grader.collect.companions import add_companions
from grader.collect.folder import Attempt, FolderWithoutFile, layouts, read, scan
from grader.collect.roster import read_roster
from grader.errors import Mistake
from grader.records import Collection, Decision, Status, Submission

__all__ = ["collect"]

_STRANGER = "not on the roster"


def collect(folder: Path, roster: Path | None, assignment: Assignment) -> Collection:
    """Find what each student handed in; the last file of a student counts (handout, section 8).

    Args:
        folder: With the layouts that `grader.collect.folder` names.
        roster: Whoever is only on it becomes a submission without content.
        assignment: Says what the file is called and how large it may be.

    Raises:
        Mistake: The roster cannot be used, or the folder has nobody's work in it.
    """
    names = None if roster is None else read_roster(roster)
    attempts: dict[str, list[Attempt]] = defaultdict(list)
    remarks: dict[str, list[str]] = defaultdict(list)
    decisions: list[Decision] = []
    for found in scan(folder, assignment.file, roster):
        match found:
            case Attempt():
                attempts[found.student_id].append(found)
            case FolderWithoutFile():
                remarks[found.student_id].append(found.remark)
            case Decision():
                decisions.append(found)
    handed_in = attempts.keys() | remarks.keys()
    if not handed_in:
        raise Mistake(f"SUBMISSIONS={folder} has no student's file: pass a folder with {layouts(assignment.file)}")
    submissions: list[Submission] = []
    for student_id in handed_in:
        submission = Submission(student_id, remarks=tuple(remarks[student_id]))
        if attempts[student_id]:
            submission, settled = _settle(submission, attempts[student_id], assignment.limits)
            decisions += settled
        submissions.append(submission)
    if names is not None:
        submissions, decisions = _compare_with_roster(submissions, decisions, names)
    return Collection(
        tuple(sorted(submissions, key=lambda submission: submission.student_id)),
        tuple(sorted(decisions, key=lambda decision: decision.file)),
    )


def _settle(submission: Submission, attempts: list[Attempt], limits: Limits) -> tuple[Submission, list[Decision]]:
    """Read the last attempt; set the others aside.

    An attempt whose time cannot be read counts as the last: nobody is graded on what may be the wrong file.
    """
    # Of equal times the name that sorts last stays last: scan() gives them in the order of their names.
    *earlier, last = sorted(attempts, key=lambda attempt: (attempt.modified is None, attempt.modified or 0))
    content, fault = read(last.path, limits.file_size_kb)
    set_aside = [(other.file, _why_earlier(other, last)) for other in earlier]
    submission = replace(
        submission,
        file=last.file,
        content=content,
        sha256="" if content is None else hashlib.sha256(content).hexdigest(),
        submitted_at=None if last.modified is None else _local_time(last.modified),
        unreadable=f"{last.file} {fault}" if fault else "",
        remarks=(*submission.remarks, *(f"{file} was handed in too and is not used: {why}" for file, why in set_aside)),
    )
    status, reason = (Status.UNREADABLE, f"it {fault}") if fault else (Status.TAKEN, "the last file of this student")
    decisions = [Decision(file, submission.student_id, Status.SUPERSEDED, why) for file, why in set_aside]
    submission, beside = add_companions(submission, [*earlier, last], limits)
    return submission, [*decisions, Decision(last.file, submission.student_id, status, reason), *beside]


def _why_earlier(earlier: Attempt, last: Attempt) -> str:
    if last.modified is None:
        return f"the time of {last.file} cannot be read, so that one counts as the last"
    if earlier.modified == last.modified:
        return f"{last.file} has the same time and a name that sorts later"
    return f"{last.file} is newer"


def _local_time(nanoseconds: int) -> datetime | None:
    """Give a file's time in the local time zone; None for a year that no calendar has."""
    try:
        return datetime.fromtimestamp(nanoseconds / 1e9, UTC).astimezone()
    except (OverflowError, ValueError, OSError):
        return None


def _compare_with_roster(
    submissions: list[Submission], decisions: list[Decision], names: dict[str, str]
) -> tuple[list[Submission], list[Decision]]:
    """Add names, remarks about strangers, and everyone who handed in nothing."""
    known = [
        replace(submission, name=names[submission.student_id])
        if submission.student_id in names
        else replace(submission, remarks=(*submission.remarks, _STRANGER))
        for submission in submissions
    ]
    absent = names.keys() - {submission.student_id for submission in submissions}
    marked = [
        replace(decision, reason=f"{decision.reason}; {_STRANGER}")
        if decision.student_id and decision.student_id not in names
        else decision
        for decision in decisions
    ]
    return known + [Submission(student_id, names[student_id]) for student_id in absent], marked
