"""Which file of an attempt is the student's: a written rule, since systems and browsers rename what is handed in.

In this order: a file of the assignment's name; its copy (`hw6 (1).py`, `hw6-1.py`, `HW6.PY`); `hw6.py.txt`; the
notebook `hw6.ipynb`; the same in a zip of the attempt, one level deep; the attempt's only Python file, else its only
notebook; that of a zip.
Of several of one kind, the one in the fewest folders, and then the one whose name sorts last, numbers by their value.

The Python files beside it go with it: a script may keep its network in a second file and import it.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import NamedTuple

from grader.assignment import Assignment, Limits
from grader.lms.files import (
    NOBODYS,
    Attempt,
    Blame,
    Fault,
    Found,
    NamedFile,
    Stored,
    WithoutFile,
    can_be_imported,
    is_archive,
    listed,
    made_by_system,
    normal,
    opened_inside,
    without_common_folder,
)
from grader.records import Companion, Decision, Status, Submission
from grader.text import counted

# What browsers, systems and people add to the name of a copy; the second, a bare number, may belong to an id as well.
_MARK = r"[ _-]*(?:\(\d+\)|copy|복사본)"
_COPY = rf"(?:{_MARK}|[ _-]\d{{1,3}})*"
_EXACT = 0
_HOW = (
    "",
    "counts as {file}: the name is that of a copy",
    "counts as {file}: only .txt was added to the name",
    "counts as {file}: a notebook, whose code cells run as one script",
)
_ONLY = {
    ".py": "counts as {file}: the only Python file of the attempt",
    ".ipynb": "counts as {file}: the only notebook of the attempt, whose code cells run as one script",
}
_DEEPER = Fault("holds another archive, which is not opened: unpack it by hand", Blame.LAYOUT)
_ONE_TOO_MANY = Fault("is one file more than the grader takes", Blame.STUDENT)
_Key = tuple[int, int, list[tuple[str, int]]]


@dataclass(frozen=True, slots=True)
class SystemAttempt:
    """What one student handed in at one time through a learning system.

    Attributes:
        label: Names the attempt, for people.
        files: With the names that the student gave them.
        moment: As in `Attempt`, and so is `timed`.
        written: What the system put beside the files: its path as shown, and what it is.
        remarks: What a teacher should look at if this attempt counts.
    """

    student_id: str
    label: str
    files: tuple[NamedFile, ...]
    moment: int | None
    timed: bool
    written: tuple[tuple[str, str], ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Choice:
    """The file that counts.

    Attributes:
        how: By which rule, where its name is another; empty otherwise.
        place: All files of the attempt, or of the zip in which it is.
        rivals: What could have counted by its name, too.
        zipped: The zip in which it is.
        certain: False where it is only the one script of the attempt, whatever its name.
    """

    main: NamedFile
    how: str
    place: tuple[NamedFile, ...]
    rivals: tuple[NamedFile, ...]
    zipped: NamedFile | None
    certain: bool


class _Archive(NamedTuple):
    """A zip that has no file of the name: what is said of it, and why it cannot be opened, if it cannot."""

    said: str
    fault: Fault | None = None


def sort_out(attempt: SystemAttempt, rules: Assignment) -> Iterator[Found]:
    """Decide which file of the attempt is the student's, and say of every other one what became of it."""
    files = [file for file in attempt.files if not made_by_system(file.name)]
    for file in attempt.files:
        if made_by_system(file.name):
            yield Decision(file.stored.shown, attempt.student_id, Status.BESIDE, NOBODYS)
    for shown, what in attempt.written if files else ():
        yield Decision(shown, attempt.student_id, Status.BESIDE, f"not graded: {what}")
    archives: dict[str, _Archive] = {}
    choice = _choose(without_common_folder(files), rules, archives)
    if choice is None:
        yield from _without_file(attempt, files, rules.file, archives)
        return
    main, companions = choice.main, _companions(choice, rules.file)
    why = [f"{file.stored.shown} was handed in too and is not used: {_beaten(main)}" for file in choice.rivals]
    doubt = [] if choice.certain else [f"{main.stored.shown} {choice.how}"]
    yield Attempt(
        attempt.student_id,
        main.stored,
        attempt.moment,
        companions,
        attempt.timed,
        by_system=True,
        original=main.name if main.name != main.stored.shown else "",
        how=choice.how,
        remarks=(*attempt.remarks, *doubt, *why),
    )
    for file in choice.rivals:
        yield Decision(file.stored.shown, attempt.student_id, Status.SUPERSEDED, _beaten(main))
    settled = {stored.shown for stored in (main.stored, *companions.values(), *(each.stored for each in choice.rivals))}
    for file in files:
        shown = file.stored.shown
        if shown in settled:
            continue
        if choice.zipped is not None and file.stored is choice.zipped.stored:
            more = len(choice.place) - 1
            reason = f"opened: it holds {main.name}" + (f" and {counted(more, 'other file')}" if more else "")
        elif shown in archives:
            reason = archives[shown].said
        else:
            reason = f"not graded: it was handed in with {main.stored.shown}"
        yield Decision(shown, attempt.student_id, Status.BESIDE, reason)


def _companions(choice: _Choice, file_name: str) -> dict[str, Stored]:
    """What the script could import: the Python files in its folder, by name."""
    main, folder = choice.main, PurePosixPath(choice.main.name).parent
    return {
        name: file.stored
        for file in sorted(choice.place, key=lambda file: file.name)
        if file not in (main, *choice.rivals) and PurePosixPath(file.name).parent == folder
        if can_be_imported(name := normal(PurePosixPath(file.name).name)) and name != file_name
    }


def _choose(files: Sequence[NamedFile], rules: Assignment, archives: dict[str, _Archive]) -> _Choice | None:
    """Apply the rules in their order; zips are opened only where no file bears the name.

    Args:
        archives: Takes up each zip without a file of the name, by its path as shown.
    """
    file_name = rules.file
    if found := _by_name(files, file_name):
        return found
    insides: list[tuple[NamedFile, list[NamedFile]]] = []
    named: list[_Choice] = []
    for file in sorted(files, key=lambda file: _natural(file.name), reverse=True):
        if not is_archive(file.name):
            continue
        inside = opened_inside(file, rules.limits.file_size_kb)
        if isinstance(inside, Fault):
            archives[file.stored.shown] = _Archive(f"not graded: it {inside.said}", inside)
            continue
        insides.append((file, without_common_folder(inside)))
        if found := _by_name(insides[-1][1], file_name, file):
            named.append(found)
        elif any(is_archive(inner.name) for inner in inside):
            archives[file.stored.shown] = _Archive(f"opened: it holds no {file_name}, but {_DEEPER.said}", _DEEPER)
        else:
            archives.setdefault(file.stored.shown, _Archive(f"opened: it holds no {file_name}"))
    if named:
        others = tuple(choice.zipped for choice in named[1:] if choice.zipped)
        return replace(named[0], rivals=(*named[0].rivals, *others))
    only = (_only_script(place, file_name, zipped) for zipped, place in ((None, files), *insides))
    return next((choice for choice in only if choice), None)


def _by_name(files: Sequence[NamedFile], file_name: str, zipped: NamedFile | None = None) -> _Choice | None:
    ranked = [(rank, file) for file in files if (rank := _rank(file.name, file_name)) is not None]
    if not ranked:
        return None
    best = min(rank for rank, _ in ranked)
    depth = min(_depth(file) for rank, file in ranked if rank == best)
    first = [file for rank, file in ranked if rank == best and _depth(file) == depth]
    # Of equal names the one that the system numbered last: Canvas' entries bear the attachment's number.
    main = max(enumerate(first), key=lambda pair: (*map(_natural, (pair[1].name, pair[1].stored.shown)), pair[0]))[1]
    how = _HOW[best].format(file=file_name)
    if zipped is not None:
        how = "; ".join(filter(None, [f"taken from {zipped.stored.shown}", how]))
    return _Choice(main, how, tuple(files), tuple(file for _, file in ranked if file is not main), zipped, True)


def _only_script(files: Sequence[NamedFile], file_name: str, zipped: NamedFile | None) -> _Choice | None:
    for suffix, how in _ONLY.items():
        only = [file for file in files if file.name.lower().endswith(suffix)]
        if len(only) == 1:
            return _Choice(only[0], how.format(file=file_name), tuple(files), (), zipped, certain=False)
        if only:
            return None
    return None


def _without_file(
    attempt: SystemAttempt, files: Sequence[NamedFile], file_name: str, archives: Mapping[str, _Archive]
) -> Iterator[Found]:
    for file in files:
        archive = archives.get(file.stored.shown)
        reason = archive.said if archive else f"{attempt.label} has no {file_name}: look at it by hand"
        yield Decision(file.stored.shown, attempt.student_id, Status.UNRECOGNISED, reason)
    if not files:
        for shown, what in attempt.written:
            reason = f"{attempt.label} has no file, only {what}: look at it by hand"
            yield Decision(shown, attempt.student_id, Status.UNRECOGNISED, reason)
    held = f"has no {file_name}, only {listed([file.name for file in files])}" if files else "has no file"
    closed = ((shown, archive.fault) for shown, archive in archives.items() if archive.fault)
    shown, fault = next(closed, ("", None))
    yield WithoutFile(attempt.student_id, f"{attempt.label} {held}", shown, fault, attempt.moment)


def _rank(name: str, file_name: str) -> int | None:
    """Give the place of a name in the rules; None if it is not the assignment's."""
    base = PurePosixPath(name).name
    if base == file_name:
        return _EXACT
    stem = re.escape(PurePosixPath(file_name).stem) + _COPY
    for rank, end in enumerate(_ends(file_name), start=1):
        if re.fullmatch(stem + end, base, re.IGNORECASE):
            return rank
    return None


def _ends(file_name: str) -> list[str]:
    """How the names of copies end, as patterns in the order of the rules."""
    suffix = re.escape(PurePosixPath(file_name).suffix)
    return [suffix, rf"{suffix}{_COPY}\.txt", *([r"\.ipynb"] if suffix == r"\.py" else [])]


def named_student(name: str, file_name: str) -> tuple[str, str]:
    """The student of `<student>_hw6.py` or `hw6_<student>.py` and how its name counts; "" twice if it is neither.

    What stands for `hw6.py` in it is found by the same rule as in an attempt: `kim_HW6 (1).py`, `hw6_kim.ipynb`.
    """
    for at in reversed([index for index, sign in enumerate(name) if sign == "_"]):
        rank = _rank(name[at + 1 :], file_name)
        if rank is not None and name[:at].strip():
            return normal(name[:at]), _HOW[rank].format(file=file_name)
    stem = PurePosixPath(file_name).stem
    for rank, end in enumerate(_ends(file_name), start=1):
        found = re.fullmatch(rf"({re.escape(stem)})_(.+?)((?:{_MARK})*)({end})", name, re.IGNORECASE)
        if found and found[2].strip():
            exact = rank == 1 and not found[3] and found[1] == stem and found[4] == PurePosixPath(file_name).suffix
            return normal(found[2]), _HOW[_EXACT if exact else rank].format(file=file_name)
    return "", ""


def bears_the_name(name: str, file_name: str) -> bool:
    """Whether it is the assignment's file by its name, or a copy of that."""
    return _rank(name, file_name) is not None


def _beaten(main: NamedFile) -> str:
    return f"{main.stored.shown} comes first by its name"


def _natural(name: str) -> list[tuple[str, int]]:
    """Order numbers in names by their value: (10) comes after (2)."""
    return [(text, int(digits or 0)) for text, digits in re.findall(r"([^0-9]*)([0-9]{0,9})", name)]


def _depth(file: NamedFile) -> int:
    return file.name.count("/")


def add_companions(
    submission: Submission, attempts: Sequence[Attempt], limits: Limits
) -> tuple[Submission, list[Decision]]:
    """Read what may be imported beside the attempt that counts, and say of each file what became of it.

    Args:
        submission: Made from the last of `attempts`.
        attempts: Every file of this student, the one that counts last.
        limits: Bounds the number of companions, and the size of all files together: weights do not fit in.
    """
    *earlier, last = attempts
    decisions = companions_aside(earlier)
    used: list[Companion] = []
    left_kb = limits.file_size_kb - _kilobytes(submission.content or b"")
    for number, (name, stored) in enumerate(last.companions.items()):
        content = stored.read(left_kb) if number < limits.companions else _ONE_TOO_MANY
        if isinstance(content, Fault):
            decisions.append(_beside(last, stored, f"not used: it {content.said}"))
            submission = _without(submission, name, content)
            continue
        left_kb -= _kilobytes(content)
        used.append(Companion(name, content))
        decisions.append(_beside(last, stored, f"used: the script may import it from beside {last.file}"))
    if submission.content is not None and used:
        hashes = [(each.name, hashlib.sha256(each.content).hexdigest()) for each in used]
        of_all = hashlib.sha256(json.dumps([submission.sha256, *hashes]).encode()).hexdigest()
        submission = replace(submission, companions=tuple(used), sha256=of_all)
    return submission, decisions


def companions_aside(attempts: Sequence[Attempt]) -> list[Decision]:
    """Say of what came with attempts that do not count that it does not either."""
    return [
        _beside(other, stored, f"not used: it lies beside {other.file}, which does not count")
        for other in attempts
        for stored in other.companions.values()
    ]


def _kilobytes(content: bytes) -> int:
    return -(-len(content) // 1024)


def _beside(attempt: Attempt, stored: Stored, reason: str) -> Decision:
    return Decision(stored.shown, attempt.student_id, Status.BESIDE, reason)


def _without(submission: Submission, name: str, fault: Fault) -> Submission:
    """Leave a companion out; where the machine is to blame, the student must not pay for it."""
    if fault.blame is Blame.MACHINE:
        said = f"{name} beside {submission.file} {fault.said}"
        return replace(submission, content=None, sha256="", unreadable=said, spoilt=False)
    said = f"{name} beside {submission.file} is not used: it {fault.said}"
    return replace(submission, remarks=(*submission.remarks, said))
