"""Blackboard: what its archive and its gradebook hold, after files that were seen; there is no vendor's specification.

Read: the "Assignment File Download", `<Assignment>_<username>_attempt_<time>_<file>`, and a `.txt` each attempt. All
attempts are there with their times, so the deadline decides, a student's own where the roster has one; an attempt after
the grading is one more. Both the assignment's name and the username may hold underscores, so the `.txt` is believed
before the entry's name; it tells the time as Blackboard shows it, and the name as the server has it. A group's attempt
bears whatever name Blackboard gives it there, and counts for that one.

Read and written: the Grade Center's file, `Last Name, First Name, Username` and a column for each grade. In another
language these three are told by their places, as are the files' names in a `.txt`: no such file was seen. The student
as whom a teacher looks at the course is `<teacher>_previewuser`.
"""

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from grader.lms.attempts import SystemAttempt
from grader.lms.files import Blame, Fault, Known, NamedFile, Stored, WithoutFile, normal
from grader.lms.gradebook import Gradebook, full_name
from grader.records import Decision, Status
from grader.text import decoded

# The first mark counts: what comes after it, a student may have named.
NAME = re.compile(
    r"(?P<head>[^/]+?)_attempt_(?P<time>\d{4}(?:-\d\d){5})(?:_(?P<file>.*)|(?P<account>\.txt))", re.DOTALL
)
_SCORE = re.compile(r".*\[[^\]]*?(?P<most>\d[\d.,]*)?(?P<shown> [^\]\d]+)?\] *\|\s*\w+", re.DOTALL)
_NAMES = ("Last Name", "First Name", "Username")


def _in_english(columns: Sequence[str], _: Sequence[Sequence[str]]) -> list[str]:
    """The columns that name a student come first, whatever they are called, and those of scores end in a number."""
    translated = "Username" not in columns and any(_SCORE.fullmatch(column) for column in columns[len(_NAMES) :])
    return [*_NAMES, *columns[len(_NAMES) :]] if translated else list(columns)


def _doubts(_: Mapping[str, int], header: str, __: Mapping[str, Sequence[str]]) -> Iterator[str]:
    found = _SCORE.fullmatch(header)
    shown = (found["shown"] or "").strip() if found else ""
    if shown in ("Percentage", "Letter", "Text", "Complete/Incomplete"):
        yield (
            f"Blackboard shows this column as {shown} and may read points so: set its primary display to Score, "
            "download the gradebook again and export anew"
        )


GRADEBOOK = Gradebook(
    "Blackboard",
    key="Username",
    shapes=(_NAMES,),
    score=_SCORE,
    name_of=lambda row: full_name(row["Last Name"], row["First Name"]),
    # After a new attempt the old score may follow in parentheses.
    waiting=re.compile(r"(?:Needs Grading|In Progress)(?: ?\(.*\))?", re.IGNORECASE),
    is_guest=lambda row: row["Username"].lower().endswith("_previewuser"),
    english=_in_english,
    doubts=_doubts,
)
_USERNAME = re.compile(r"\(([^()]+)\)\s*$")
_ACCOUNT_KB = 1024
_CLOCK = re.compile(
    r"(?:(?P<before>오전|오후|[AP]M)\s*)?\b(?P<hour>\d{1,2})(?::|시\s*)(?P<minute>\d\d)(?::|분\s*)(?P<second>\d\d)"
    r"(?:초?\s*(?P<after>[AP]M))?",
    re.IGNORECASE,
)
_NOBODYS_NAME = (
    "the grader cannot tell whose file it is: keep Blackboard's .txt files beside the attempts, "
    "or name ROSTER= with the usernames"
)


@dataclass(frozen=True, slots=True)
class _Account:
    """What the `.txt` of an attempt says: the username, and by the entry's name the file's name as it was."""

    stored: Stored
    username: str
    originals: Mapping[str, str]


def attempts(
    files: Sequence[NamedFile], zone: tzinfo | None, known: Known
) -> Iterator[SystemAttempt | WithoutFile | Decision]:
    """Give every attempt, and every entry that belongs to none.

    Args:
        zone: In which the names' times are read; None: this machine's. Of an hour that comes twice or never, it is
            the earlier moment.
        known: They help where the `.txt` is missing.
    """
    held: dict[tuple[str, str], list[tuple[str, NamedFile]]] = defaultdict(list)
    accounts: dict[tuple[str, str], _Account] = {}
    for file in files:
        name = NAME.fullmatch(file.name)
        if name is None:
            yield Decision(file.stored.shown, "", Status.UNRECOGNISED, "its name is not one that Blackboard gives")
            continue
        key = name["head"], name["time"]
        entries = held[key]
        if name["account"]:
            accounts[key] = _read_account(file.stored)
        else:
            entries.append((name["file"], file))
    ends = {(head, f"_{account.username}") for (head, _), account in accounts.items() if account.username}
    titles = {head.removesuffix(end) for head, end in ends if head.endswith(end)}
    for (head, time), entries in held.items():
        account = accounts.get((head, time))
        told = account.username if account else ""
        readings = {told} if told else _readings(head, titles, known)
        if len(readings) == 1:
            yield _attempt(readings.pop(), head, time, entries, account, zone)
            continue
        stored = [file.stored for _, file in entries] + ([account.stored] if account else [])
        yield from (Decision(one.shown, "", Status.UNRECOGNISED, _NOBODYS_NAME) for one in stored)
        # Each of those who could be meant cannot be graded, so that nobody's work is passed over for 0.
        fault = Fault(f"may be that of {' or '.join(sorted(readings))}: {_NOBODYS_NAME}", Blame.LAYOUT)
        for student_id in sorted(one for one in readings if any(one in names for names in known)):
            yield WithoutFile(
                student_id, f"{stored[0].shown} {fault.said}", stored[0].shown, fault, _moment(time, zone)
            )


def _attempt(
    student_id: str,
    head: str,
    time: str,
    entries: Sequence[tuple[str, NamedFile]],
    account: _Account | None,
    zone: tzinfo | None,
) -> SystemAttempt:
    originals = account.originals if account else {}
    files = tuple(NamedFile(originals.get(file.name, name), file.stored) for name, file in entries)
    day, clock = time[:10], time[11:].replace("-", ":")
    doubt = f"the .txt of its attempt says {student_id}, and the files' names begin with {head}"
    return SystemAttempt(
        student_id,
        f"the attempt of {day} {clock}",
        files,
        _moment(time, zone),
        timed=True,
        written=((account.stored.shown, "Blackboard's account of the attempt"),) if account else (),
        remarks=() if head.endswith(f"_{student_id}") else (doubt,),
    )


def _moment(time: str, zone: tzinfo | None) -> int | None:
    """Give nanoseconds since 1970; None for a time that no calendar has."""
    try:
        wall = datetime.strptime(time, "%Y-%m-%d-%H-%M-%S").replace(tzinfo=zone)
        return int(min(wall.replace(fold=fold).timestamp() for fold in (0, 1))) * 1_000_000_000
    except (ValueError, OverflowError, OSError):
        return None


def doubts_about_clock(files: Sequence[NamedFile]) -> Iterator[str]:
    """Say so where most of the `.txt` files give another hour than their names: then the names are in another zone."""
    apart = Counter(_hours_apart(file) for file in files)
    del apart[None]
    hours, count = next(iter(apart.most_common(1)), (None, 0))
    if hours and 2 * count > apart.total():
        yield (
            f"Blackboard's .txt files and the names of its files are {hours:g} hours apart, so the names are in "
            "another zone than Blackboard shows: give DEADLINE= as the same moment in the names' zone"
        )


def _hours_apart(file: NamedFile) -> float | None:
    """Between the clock in a `.txt` and the one in its name; None where it is no such file, or no zone explains it."""
    name = NAME.fullmatch(file.name)
    content = file.stored.read(_ACCOUNT_KB) if name and name["account"] else b""
    # Below the first blank line a student may have written.
    head = "" if isinstance(content, Fault) else re.split(r"\n\s*\n", decoded(content))[0]
    clock = _CLOCK.search(head)
    if not name or not clock:
        return None
    half = (clock["before"] or clock["after"] or "").lower()
    hour = int(clock["hour"]) % 12 + 12 * (half in ("pm", "오후")) if half else int(clock["hour"])
    said = hour * 3600 + int(clock["minute"]) * 60 + int(clock["second"])
    named = [int(part) for part in name["time"].split("-")[3:]]
    hours = (said - named[0] * 3600 - named[1] * 60 - named[2]) % 86_400 / 3600
    # Zones are quarters of an hour apart.
    return min(hours, 24 - hours) if hours % 0.25 == 0 else None


def _readings(head: str, titles: Collection[str], known: Known) -> set[str]:
    """Find whose username may be at the end of `<Assignment>_<username>`; those on the roster come first."""
    by_title = {head.removeprefix(f"{title}_") for title in titles if head.startswith(f"{title}_")}
    for names in known:
        if listed := {one for one in names if (one in by_title if by_title else head.endswith(f"_{one}"))}:
            return listed
    return by_title or ({head.partition("_")[2]} if head.count("_") == 1 else set())


def _read_account(stored: Stored) -> _Account:
    content = stored.read(_ACCOUNT_KB)
    text = "" if isinstance(content, Fault) else decoded(content).strip()
    found = _USERNAME.search(text.partition("\n")[0])
    # In whatever language: a line that ends in an entry's name comes below one that ends in the file's own name. A
    # student may have written such lines too, into the comments, which stand above the list: of two, the last counts.
    lines = [line.partition(":")[2].strip() for line in text.splitlines() if ":" in line]
    originals = {
        # Some browsers send the whole path.
        normal(entry): normal(original).replace("\\", "/").rpartition("/")[2]
        for original, entry in itertools.pairwise(lines)
    }
    return _Account(stored, normal(found[1].strip()) if found else "", originals)
