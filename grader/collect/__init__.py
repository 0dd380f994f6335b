"""From a folder or an archive and a roster to one submission for each student. No file is passed over in silence."""

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from pathlib import Path

from grader.assignment import Assignment, Limits
from grader.collect.deadline import doubts_about_times, how_late, seconds_late, shown
from grader.collect.layouts import Format, Reading, archive_in, layouts_of, reading
from grader.collect.roster import Roster, RosterLine, read_roster
from grader.errors import UserError
from grader.lms import System
from grader.lms.attempts import add_companions, companions_aside
from grader.lms.files import Attempt, Blame, Fault, Found, MentionedFile, WithoutFile
from grader.lms.gradebook import best_column, examples, too_few
from grader.records import NOT_ON_ROSTER, Collection, Decision, Status, Submission

__all__ = ["Format", "collect"]

_MAX_KEPT = 1_000_000_000  # bytes
_MOST_WORDS = 12  # of a name, in which an id is looked for


def collect(
    submissions: Path,
    roster: Path | None,
    assignment: Assignment,
    deadline: datetime | None = None,
    layout: Format | None = None,
    own: Sequence[Path] = (),
) -> Collection:
    """Find what each student handed in; the last attempt of a student by the deadline counts (handout, section 8).

    Args:
        submissions: A folder with the layouts that `grader.collect.layouts` names, or a learning system's archive, or
            that archive's unpacked folder.
        roster: Whoever is only on it becomes a submission without content.
        assignment: Says what the file is called and how large it may be.
        deadline: Time zone aware; the roster's, where it has one for a student, comes before it. Without any, the
            last attempt counts.
        layout: None: recognised by the names.
        own: What the grader itself writes, and nobody hands in where it lies among the submissions.

    Raises:
        UserError: The roster cannot be used or is another class's, the submissions cannot be opened, or there is
            nobody's work in them.
    """
    listed = Roster() if roster is None else read_roster(roster)
    lines = listed.lines
    zone = _zone(deadline, lines)
    beside = (*own, *([roster] if roster else []))
    with reading(submissions, layout, assignment, beside, listed.known(), zone) as read:
        found, renamed = (read.found, ()) if roster is None else _by_roster(read.found, listed, submissions, roster)
        attempts, without, decisions = _by_student(found)
        around = read.system is None and roster is None and _only_folders(decisions)
        if not attempts and (not without or around):
            raise UserError(_nobody(submissions, read.system, assignment, decisions))
        settled: list[Submission] = []
        kept = 0
        for submission, reasons in _settled(attempts, without, lines, deadline, assignment.limits, zone):
            settled.append(submission)
            decisions += reasons
            kept += _size(submission)
            if kept > _MAX_KEPT:
                raise UserError(
                    f"the files of {submissions} that count are larger than 1 GB together: grade the class in parts"
                )
    if roster is not None:
        settled, decisions = _compare_with_roster(settled, decisions, lines)
    return Collection(
        tuple(sorted(settled, key=lambda submission: submission.student_id)),
        tuple(sorted(decisions, key=lambda decision: decision.file)),
        (*read.notices, *renamed, *_notices(deadline, lines, read), *_doubts(found, zone)),
    )


def _zone(deadline: datetime | None, lines: Mapping[str, RosterLine]) -> tzinfo | None:
    """Times without a zone are the course's: they are read in the class's deadline's, or the first on the roster."""
    deadlines = [deadline, *(line.deadline for line in lines.values())]
    return next((due.tzinfo for due in deadlines if due is not None), None)


def _only_folders(decisions: Sequence[Decision]) -> bool:
    """Whether what would be a student's folder holds folders alone: then it may be a section's, or one around all."""
    held = [decision.file for decision in decisions if decision.student_id]
    return all(file.endswith("/") for file in held) and any(file.count("/") > 1 for file in held)


def _by_student(
    found: Iterable[Found],
) -> tuple[dict[str, list[Attempt]], dict[str, list[WithoutFile]], list[Decision]]:
    attempts: dict[str, list[Attempt]] = defaultdict(list)
    without: dict[str, list[WithoutFile]] = defaultdict(list)
    decisions: list[Decision] = []
    for item in found:
        match item:
            case Attempt():
                attempts[item.student_id].append(item)
            case WithoutFile():
                without[item.student_id].append(item)
            case Decision():
                decisions.append(item)
    return attempts, without, decisions


def _settled(
    attempts: Mapping[str, list[Attempt]],
    without: Mapping[str, list[WithoutFile]],
    lines: Mapping[str, RosterLine],
    deadline: datetime | None,
    limits: Limits,
    zone: tzinfo | None,
) -> Iterator[tuple[Submission, list[Decision]]]:
    """What counts for each student who handed something in, and why the rest does not."""
    for student_id in attempts.keys() | without.keys():
        own, closed = attempts.get(student_id, []), without.get(student_id, [])
        line = lines.get(student_id)
        due = line.deadline if line and line.deadline else deadline
        submission = Submission(student_id, remarks=tuple(each.remark for each in closed))
        decisions: list[Decision] = []
        if own:
            submission, decisions = _settle(submission, own, due, limits, zone)
        if not own or submission.late:
            submission = _with_closed_archive(submission, closed, due, zone)
        yield submission, decisions


def _with_closed_archive(
    submission: Submission, without: Iterable[WithoutFile], deadline: datetime | None, zone: tzinfo | None
) -> Submission:
    """Of a student who has no file in time: the last archive, handed in in time, that cannot be opened."""
    closed = [(each, each.fault) for each in without if each.fault and not seconds_late(each.moment, deadline)]
    if not closed:
        return submission
    last, fault = max(closed, key=lambda pair: pair[0].moment or 0)
    return replace(
        submission,
        file=last.archive,
        submitted_at=None if last.moment is None else _shown_time(last.moment, zone),
        unreadable=f"{last.archive} {fault.said}",
        spoilt=fault.blame is Blame.STUDENT,
        late="",
    )


def _nobody(submissions: Path, system: System | None, assignment: Assignment, decisions: Sequence[Decision]) -> str:
    if system is None:
        deeper = [decision.file.split("/")[0] for decision in decisions if decision.file.count("/") == 2]
        perhaps = "".join(f"; perhaps {submissions / each}" for each in deeper[:1])
        hint = archive_in([decision.file for decision in decisions]) or perhaps
        return (
            f"SUBMISSIONS={submissions} has no student's file: pass a folder with {layouts_of(assignment.file)}{hint}"
        )
    name = system.value.capitalize()
    said = f"SUBMISSIONS={submissions} has no attempt named as {name} names it: name another layout with FORMAT="
    first = next((decision for decision in decisions if decision.status is Status.UNRECOGNISED), None)
    return f"{said}; {first.file}: {first.reason}" if first else said


def _by_roster(
    found: Sequence[Found], listed: Roster, submissions: Path, roster: Path
) -> tuple[Sequence[Found], tuple[str, ...]]:
    """Match the students of the folder with the roster: by its ids, else by the column that names the most of them.

    Returns:
        What was found, under the roster's ids, and a notice if they come from another column.

    Raises:
        UserError: Nobody is on the roster, or fewer than half are: it is another class's, or the folder is.
    """
    with_file = {item.student_id for item in found if isinstance(item, Attempt)}
    students = with_file or {item.student_id for item in found if isinstance(item, WithoutFile)}
    matched = students & listed.lines.keys()
    if not students or not too_few(len(matched), len(students)):
        return _by_address(found, listed), ()
    columns = listed.columns()
    # Of one student's addresses, as kim@uni.kr and kim@mail.uni.kr, what stands before the @ is the same.
    for called in ({each: each for each in students}, {each: each.partition("@")[0] for each in students}):
        if column := best_column(set(called.values()), columns):
            ids = {each: columns[column].get(called[each], each) for each in students}
            by = f"students are matched by the roster's column {column}, since its {listed.key} names too few of them"
            found = [replace(item, student_id=ids.get(item.student_id, item.student_id)) for item in found]
            return _by_address(found, listed), (by,)
    raise UserError(_of_another_class(students, listed, submissions, roster))


def _by_address(found: Sequence[Found], listed: Roster) -> Sequence[Found]:
    """Give whoever is named by an e-mail address the roster's id: no other student has that address."""
    pairs = ((cell.casefold(), whose) for cells in listed.columns().values() for cell, whose in cells.items())
    whose = {cell: student_id for cell, student_id in pairs if "@" in cell}
    strangers = {item.student_id for item in found if "@" in item.student_id} - listed.lines.keys()
    ids = {each: whose[each.casefold()] for each in strangers if each.casefold() in whose}
    return [replace(item, student_id=ids[item.student_id]) if item.student_id in ids else item for item in found]


def _of_another_class(students: Set[str], listed: Roster, submissions: Path, roster: Path) -> str:
    strangers, absent = students - listed.lines.keys(), listed.lines.keys() - students
    matched = len(students) - len(strangers)
    alike = {_loosely(student_id) for student_id in listed.lines}
    nearly = any(_loosely(student_id) in alike for student_id in strangers)
    hint = "; some ids differ only in capitals, blanks or zeros in front" if nearly else ""
    some = f"only {matched}" if matched else "none"
    only_there = f", and only on it {examples(absent)}" if absent else ""
    return (
        f"{some} of the {len(students)} students in SUBMISSIONS={submissions} are on the roster {roster}: "
        f"not on it are {examples(strangers)}{only_there}{hint}; pass the folder that holds the "
        "students' folders, or a roster with a column of these ids, logins or e-mail addresses"
    )


def _settle(
    submission: Submission, attempts: list[Attempt], deadline: datetime | None, limits: Limits, zone: tzinfo | None
) -> tuple[Submission, list[Decision]]:
    """Read the last attempt by the deadline; set the others aside.

    An attempt whose time cannot be read counts as the last, and is not graded: nobody is graded on what may be the
    wrong file.
    """
    # Of equal times the name that sorts last stays last: they come in the order of their names.
    ordered = sorted(_there(attempts, deadline), key=lambda attempt: (attempt.moment is None, attempt.moment or 0))
    submission, late = _set_late_aside(submission, ordered, deadline)
    if submission.late:
        return submission, [*late, *companions_aside(ordered)]
    *earlier, last = [attempt for attempt in ordered if not seconds_late(attempt.moment, deadline)]
    read = last.stored.read(limits.file_size_kb)
    if last.moment is None and last.timed and not isinstance(read, Fault):
        read = Fault("has no time that can be read", Blame.LAYOUT)
    content, fault = (None, read) if isinstance(read, Fault) else (read, None)
    set_aside = [(other.file, _why_earlier(other, last)) for other in earlier]
    submission = replace(
        submission,
        file=last.file,
        original=last.original,
        content=content,
        sha256="" if content is None else hashlib.sha256(content).hexdigest(),
        submitted_at=None if last.moment is None else _shown_time(last.moment, zone),
        unreadable=f"{last.file} {fault.said}" if fault else "",
        spoilt=fault is not None and fault.blame is Blame.STUDENT,
        remarks=(
            *submission.remarks,
            *last.remarks,
            *(f"{file} was handed in too and is not used: {why}" for file, why in set_aside if not last.by_system),
        ),
    )
    status, reason = (Status.UNREADABLE, f"it {fault.said}") if fault else (Status.TAKEN, _why_taken(last, deadline))
    decisions = [Decision(file, submission.student_id, Status.SUPERSEDED, why) for file, why in set_aside]
    others = [attempt for attempt in ordered if attempt is not last]
    submission, beside = add_companions(submission, [*others, last], limits)
    return submission, [*late, *decisions, Decision(last.file, submission.student_id, status, reason), *beside]


def _there(attempts: list[Attempt], deadline: datetime | None) -> list[Attempt]:
    """Those that can count: what a system only tells of does where nothing that it hands out came in time."""
    there = [attempt for attempt in attempts if not isinstance(attempt.stored, MentionedFile)]
    in_time = [attempt for attempt in attempts if not seconds_late(attempt.moment, deadline)]
    if any(attempt in in_time for attempt in there):
        return there
    told = [attempt for attempt in in_time if isinstance(attempt.stored, MentionedFile)]
    return [*there, *sorted(told, key=lambda attempt: attempt.moment or 0)[-1:]] or attempts


def _set_late_aside(
    submission: Submission, attempts: list[Attempt], deadline: datetime | None
) -> tuple[Submission, list[Decision]]:
    """Remark on the attempts after the deadline; where all of them are, the first one's lateness is kept."""
    if deadline is None:
        return submission, []
    late = [
        (attempt.file, f"came {how_late(seconds, deadline)}")
        for attempt in attempts
        if (seconds := seconds_late(attempt.moment, deadline))
    ]
    submission = replace(
        submission,
        late=" ".join(late[0]) if len(late) == len(attempts) else "",
        remarks=(*submission.remarks, *(f"{file} is late and is not used: it {why}" for file, why in late)),
    )
    return submission, [Decision(file, submission.student_id, Status.LATE, f"it {why}") for file, why in late]


def _why_taken(taken: Attempt, deadline: datetime | None) -> str:
    if taken.timed:
        reason = "the last file of this student" + (f" by the deadline, {shown(deadline)}" if deadline else "")
    else:
        reason = "the one attempt of this student in the archive"
    return f"{reason}; {taken.how}" if taken.how else reason


def _why_earlier(earlier: Attempt, last: Attempt) -> str:
    if last.moment is None:
        return f"the time of {last.file} cannot be read, so it counts as the last"
    if earlier.moment == last.moment:
        return f"{last.file} has the same time and a name that sorts later"
    return f"{last.file} is newer"


def _shown_time(nanoseconds: int, zone: tzinfo | None) -> datetime | None:
    """Give a time in this zone, or in the local one; None for a year that no calendar has."""
    try:
        return datetime.fromtimestamp(nanoseconds / 1e9, UTC).astimezone(zone)
    except (OverflowError, ValueError, OSError):
        return None


def _size(submission: Submission) -> int:
    return sum(map(len, (submission.content or b"", *(companion.content for companion in submission.companions))))


def _compare_with_roster(
    submissions: list[Submission], decisions: list[Decision], lines: Mapping[str, RosterLine]
) -> tuple[list[Submission], list[Decision]]:
    """Add names, remarks about strangers, and everyone who handed in nothing."""
    expected = {student_id for student_id, line in lines.items() if not line.guest}
    absent = expected - {submission.student_id for submission in submissions}
    alike = {_loosely(student_id): student_id for student_id in absent}
    known = [
        replace(submission, name=lines[submission.student_id].name)
        if submission.student_id in lines
        else _stranger(submission, alike)
        for submission in submissions
    ]
    marked = [
        replace(decision, reason=f"{decision.reason}; {NOT_ON_ROSTER}")
        if decision.student_id and decision.student_id not in lines
        else decision
        for decision in decisions
    ]
    strangers = [each.student_id for each in known if each.student_id not in lines]
    by_id = {part: stranger for stranger in strangers for part in _parts(stranger)}
    by_id |= {_loosely(stranger): stranger for stranger in strangers}
    nobodys = [each.file for each in decisions if each.status is Status.UNRECOGNISED and not each.student_id]
    by_file = {part: file for file in nobodys for part in _parts(file)}
    nothing = [
        Submission(
            student_id,
            lines[student_id].name,
            remarks=(*_perhaps(student_id, by_id), *_perhaps_handed_in(student_id, by_file)),
        )
        for student_id in absent
    ]
    return known + nothing, marked


def _stranger(submission: Submission, absent: Mapping[str, str]) -> Submission:
    own = submission.student_id
    meant = next((part for part in (_loosely(own), *_parts(own)) if part in absent), own)
    remarks = (*submission.remarks, NOT_ON_ROSTER, *_perhaps(meant, absent))
    return replace(submission, on_roster=False, remarks=remarks)


def _loosely(student_id: str) -> str:
    """What is left of an id that a spreadsheet or a student may have changed.

    Without capitals, zeros or an apostrophe in front, blanks, and signs that nobody sees, such as a zero-width space
    from a web page.
    """
    seen = (sign for sign in student_id if not sign.isspace() and unicodedata.category(sign) != "Cf")
    return "".join(seen).casefold().lstrip("'0")


def _perhaps(student_id: str, alike: Mapping[str, str]) -> tuple[str, ...]:
    other = alike.get(_loosely(student_id))
    return (f"perhaps the same student as {other}: make the ids equal in the roster",) if other else ()


def _perhaps_handed_in(student_id: str, by_file: Mapping[str, str]) -> tuple[str, ...]:
    file = by_file.get(_loosely(student_id))
    return (f"perhaps {file} is theirs: it names no student by the rules, so nothing counts",) if file else ()


def _parts(name: str) -> Iterator[str]:
    """Whatever in a name may be an id: what stands between two of its signs that are no letters or digits."""
    words = list(re.finditer(r"[^\W_]+", name))[:_MOST_WORDS]
    for place, first in enumerate(words):
        yield from (_loosely(name[first.start() : last.end()]) for last in words[place:])


def _notices(deadline: datetime | None, lines: Mapping[str, RosterLine], read: Reading) -> tuple[str, ...]:
    """Say which deadline holds, and whose word a file's time is."""
    own = sum(line.deadline is not None for line in lines.values())
    if not read.times or (deadline is None and not own):
        return ()
    of_class = shown(deadline) if deadline else "none for the class"
    on_roster = f", and {own} on the roster with their own deadline" if own else ""
    return (f"deadline: {of_class}{on_roster}; times are {read.times}",)


def _doubts(found: Iterable[Found], zone: tzinfo | None) -> tuple[str, ...]:
    """Say so where times look as if a copy or an unpacking had made them."""
    # A system's archive has the times in its names, which no copy changes.
    attempts = [item for item in found if isinstance(item, Attempt) and not item.by_system]
    times = [time for item in attempts if item.moment is not None and (time := _shown_time(item.moment, zone))]
    return tuple(doubts_about_times(times, datetime.now(zone).date()))
