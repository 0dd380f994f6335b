"""Canvas: what its archive and its gradebook hold, after canvas-lms (content_zipper.rb, gradebook_exporter.rb).

Read: submissions.zip, `<name>[_LATE]_<user id>_<attachment id>_<file>`; an anonymous assignment has `anon_<id>` and no
name. It holds each student's last attempt only, and no times: an attempt after the grading takes the place of the one
that was graded, and LATE is Canvas' word, by the student's own due date. A group's attempt is there once, under the
group's name and the id of one member. The names of groups and files may hold numbers between underscores too, so that
a name has several readings; the roster decides.

Read and written: the gradebook, `Student, ID, ...`, or `LastName, FirstName, ID, ...` where names are split. `EX` in
place of a score excuses a student, `N/A` is written where the assignment is not theirs. Its last row may be the test
student's, as whom a teacher looks at the course. Headers are English in every language, and numbers have the teacher's
decimal sign. Canvas takes back the ID, else the SIS ids, else the name (gradebook_importer.rb).
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from grader.lms.attempts import SystemAttempt
from grader.lms.files import Blame, Fault, Known, NamedFile, WithoutFile, name_of
from grader.lms.gradebook import Gradebook, full_name, same_name
from grader.records import Decision, Status

# From the user on. Canvas writes names in small letters, so LATE is none.
_FROM_USER = re.compile(
    r"(?P<late>LATE_)?(?P<user>[0-9]+|anon_[0-9A-Za-z]+)_(?:[0-9]+_(?P<file>.+)|(?P<text>text|link)\.html)",
    re.DOTALL,
)
_RENAMED = re.compile(r"(?P<stem>.+)-\d+(?P<suffix>\.\w+)")
_MARKED_LATE = (
    "Canvas marks it as late; its archive holds last attempts only, so look there whether an earlier one came in time"
)
_WAY_OUT = (
    "name ROSTER=, the gradebook from Canvas, or unpack the archive and rename the file so that one reading is left, "
    "such as x_101_9001_hw6.py for user 101"
)


def _name_of(row: Mapping[str, str]) -> str:
    return row["Student"] if "Student" in row else full_name(row["LastName"], row["FirstName"])


GRADEBOOK = Gradebook(
    "Canvas",
    key="ID",
    shapes=(("Student", "ID"), ("LastName", "FirstName", "ID")),
    needed=frozenset({"Section"}),
    kept=frozenset({"SIS User ID", "SIS Login ID", "Integration ID", "Root Account"}),
    score=re.compile(r".+ \(\d+\)", re.DOTALL),
    name_of=_name_of,
    # As whom a teacher looks at the course.
    is_guest=lambda row: _name_of(row) in ("Student, Test", "Test Student"),
)


@dataclass(frozen=True, slots=True)
class _Reading:
    """One way to read an entry's name; without a file, what the student typed."""

    name: str
    user: str
    late: bool
    file: str


def fits(name: str) -> bool:
    """Whether an entry's name is of this form."""
    return bool(_readings(name))


def attempts(files: Sequence[NamedFile], known: Known) -> Iterator[SystemAttempt | WithoutFile | Decision]:
    """Give everybody's one attempt, and every entry that belongs to none.

    Where several students of the roster could be meant, each of them cannot be graded: nobody gets another's points.
    """
    held: dict[str, list[NamedFile]] = defaultdict(list)
    texts: dict[str, list[tuple[str, str]]] = defaultdict(list)
    remarks: dict[str, dict[str, None]] = defaultdict(dict)
    readings_of = [_readings(file.name) for file in files]
    # All files of a user begin alike.
    names = {readings[0].user: readings[0].name for readings in readings_of if len(readings) == 1}
    for file, possible in zip(files, readings_of, strict=True):
        readings = _likely(possible, names, known)
        shown = file.stored.shown
        if not readings:
            yield Decision(shown, "", Status.UNRECOGNISED, "its name is not one that Canvas gives")
            continue
        if len(readings) > 1:
            yield from _asked(shown, readings, known)
            continue
        (reading,) = readings
        entries = held[reading.user]
        remarks[reading.user] |= dict.fromkeys(_remarks(reading, known))
        if reading.file:
            entries.append(NamedFile(reading.file, file.stored))
        else:
            texts[reading.user].append((shown, "what the student wrote into Canvas"))
    for user, entries in held.items():
        own_names = {file.name for file in entries}
        named = tuple(NamedFile(_as_handed_in(file.name, own_names), file.stored) for file in entries)
        yield SystemAttempt(user, "the attempt", named, None, False, tuple(texts[user]), tuple(remarks[user]))


def _readings(name: str) -> list[_Reading]:
    """Every way to read a name: what stands before the user may end anywhere before an underscore."""
    if "/" in name:
        return []
    starts = [0, *(sign.end() for sign in re.finditer("_", name))]
    found = [(name[: max(start - 1, 0)], match) for start in starts if (match := _FROM_USER.fullmatch(name, start))]
    return [
        _Reading(before, match["user"], bool(match["late"]), match["file"] or "")
        for before, match in found
        # An anonymous attempt has no name before it, and nobody's name ends in LATE.
        if before.rpartition("_")[2] != "LATE" and not (before and match["user"].startswith("anon_"))
    ]


def _likely(readings: Sequence[_Reading], names: Mapping[str, str], known: Known) -> Sequence[_Reading]:
    """The readings that are left: those whose user is on the roster, less those that other files contradict.

    Of several, the one that bears the user's name on the roster.

    Args:
        names: How the other files of a user begin, where that is certain.
    """
    if len(readings) < 2:
        return readings
    left = [reading for reading in readings if names.get(reading.user, reading.name) == reading.name] or readings
    for each in known:
        if listed := [reading for reading in left if reading.user in each]:
            called = [one for one in listed if one.name and same_name(one.name, each[one.user])]
            return called if len(called) == 1 else listed
    return left


def _remarks(reading: _Reading, known: Known) -> Iterator[str]:
    if reading.late:
        yield _MARKED_LATE
    name = name_of(reading.user, known)
    if name and reading.name and not same_name(reading.name, name):
        yield (
            f"Canvas names the file after {reading.name}, and the gradebook calls user {reading.user} {name}: "
            "if it is a group's attempt, the group's other members have no file in the archive"
        )


def _asked(shown: str, readings: Sequence[_Reading], known: Known) -> Iterator[WithoutFile | Decision]:
    meant = " or ".join(f"user {reading.user}'s {reading.file or 'text'}" for reading in readings)
    yield Decision(shown, "", Status.UNRECOGNISED, f"it may be {meant}: {_WAY_OUT}")
    for reading in readings:
        if any(reading.user in names for names in known):
            fault = Fault(f"may be {meant}: {_WAY_OUT}", Blame.LAYOUT)
            yield WithoutFile(reading.user, f"{shown} {fault.said}", shown, fault)


def _as_handed_in(name: str, others: set[str]) -> str:
    """Canvas adds -1, -2, ... to a file's name when it is handed in again; a companion must have its own name back."""
    renamed = _RENAMED.fullmatch(name)
    original = f"{renamed['stem']}{renamed['suffix']}" if renamed else name
    return name if original in others else original
