"""From a folder of files and a roster to one submission for each student. No file is passed over in silence."""

import hashlib
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from grader.assignment import Assignment, Limits
from grader.collect.companions import add_companions
from grader.collect.deadline import how_late, seconds_late, shown
from grader.collect.folder import Attempt, FolderWithoutFile, layouts, read, scan
from grader.collect.roster import RosterLine, read_roster
from grader.errors import Mistake
from grader.records import Collection, Decision, Status, Submission

__all__ = ["collect"]

_STRANGER = "not on the roster"


def collect(folder: Path, roster: Path | None, assignment: Assignment, deadline: datetime | None = None) -> Collection:
    """Find what each student handed in; the last file of a student by the deadline counts (handout, section 8).

    Args:
        folder: With the layouts that `grader.collect.folder` names.
        roster: Whoever is only on it becomes a submission without content.
        assignment: Says what the file is called and how large it may be.
        deadline: Time zone aware; the roster's, where it has one for a student, comes before it. Without any, the
            last file counts.

    Raises:
        Mistake: The roster cannot be used, or the folder has nobody's work in it.
    """
    lines = {} if roster is None else read_roster(roster)
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
            line = lines.get(student_id)
            due = line.deadline if line and line.deadline else deadline
            submission, settled = _settle(submission, attempts[student_id], due, assignment.limits)
            decisions += settled
        submissions.append(submission)
    if roster is not None:
        submissions, decisions = _compare_with_roster(submissions, decisions, lines)
    return Collection(
        tuple(sorted(submissions, key=lambda submission: submission.student_id)),
        tuple(sorted(decisions, key=lambda decision: decision.file)),
        _notices(deadline, lines),
    )


def _settle(
    submission: Submission, attempts: list[Attempt], deadline: datetime | None, limits: Limits
) -> tuple[Submission, list[Decision]]:
    """Read the last attempt by the deadline; set the others aside.

    An attempt whose time cannot be read counts as the last, and is not graded: nobody is graded on what may be the
    wrong file.
    """
    # Of equal times the name that sorts last stays last: scan() gives them in the order of their names.
    ordered = sorted(attempts, key=lambda attempt: (attempt.modified is None, attempt.modified or 0))
    submission, late = _set_late_aside(submission, ordered, deadline)
    if submission.late:
        return submission, late
    *earlier, last = [attempt for attempt in ordered if not seconds_late(attempt.modified, deadline)]
    content, fault = read(last.path, limits.file_size_kb)
    if last.modified is None and not fault:
        content, fault = None, "has no time that can be read"
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
    status, reason = (Status.UNREADABLE, f"it {fault}") if fault else (Status.TAKEN, _why_taken(deadline))
    decisions = [Decision(file, submission.student_id, Status.SUPERSEDED, why) for file, why in set_aside]
    others = [attempt for attempt in ordered if attempt is not last]
    submission, beside = add_companions(submission, [*others, last], limits)
    return submission, [*late, *decisions, Decision(last.file, submission.student_id, status, reason), *beside]


def _set_late_aside(
    submission: Submission, attempts: list[Attempt], deadline: datetime | None
) -> tuple[Submission, list[Decision]]:
    """Remark on the attempts after the deadline; where all of them are, the first one's lateness is kept."""
    if deadline is None:
        return submission, []
    late = [
        (attempt.file, f"came {how_late(seconds, deadline)}")
        for attempt in attempts
        if (seconds := seconds_late(attempt.modified, deadline))
    ]
    submission = replace(
        submission,
        late=" ".join(late[0]) if len(late) == len(attempts) else "",
        remarks=(*submission.remarks, *(f"{file} is late and is not used: it {why}" for file, why in late)),
    )
    return submission, [Decision(file, submission.student_id, Status.LATE, f"it {why}") for file, why in late]


def _why_taken(deadline: datetime | None) -> str:
    return "the last file of this student" + (f" by the deadline, {shown(deadline)}" if deadline else "")


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
    submissions: list[Submission], decisions: list[Decision], lines: dict[str, RosterLine]
) -> tuple[list[Submission], list[Decision]]:
    """Add names, remarks about strangers, and everyone who handed in nothing."""
    known = [
        replace(submission, name=lines[submission.student_id].name)
        if submission.student_id in lines
        else replace(submission, remarks=(*submission.remarks, _STRANGER))
        for submission in submissions
    ]
    absent = lines.keys() - {submission.student_id for submission in submissions}
    marked = [
        replace(decision, reason=f"{decision.reason}; {_STRANGER}")
        if decision.student_id and decision.student_id not in lines
        else decision
        for decision in decisions
    ]
    return known + [Submission(student_id, lines[student_id].name) for student_id in absent], marked


def _notices(deadline: datetime | None, lines: dict[str, RosterLine]) -> tuple[str, ...]:
    """Say which deadline holds, and whose word a file's time is."""
    own = sum(line.deadline is not None for line in lines.values())
    if deadline is None and not own:
        return ()
    of_class = shown(deadline) if deadline else "none for the class"
    on_roster = f", and {own} on the roster with a deadline of their own" if own else ""
    return (f"deadline: {of_class}{on_roster}; times are the files' own, which a copy may have changed",)
