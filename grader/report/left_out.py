"""Who was left out, and why: what a teacher is asked first by a student who has no points."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from grader.records import Decision, Status
from grader.report.view import Student


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Everyone who was left out for the same reason.

    Attributes:
        each: A student, and what is to be said of that one; empty where the label says it all.
    """

    label: str
    each: tuple[tuple[Student, str], ...]


def left_out(students: Sequence[Student]) -> tuple[LeftOut, ...]:
    """Group everyone whose work was not graded, and whoever is graded without being on the roster."""
    groups = (
        ("every file came after the deadline", _late),
        ("the file cannot be read", _unreadable),
        ("handed in, but without a file that can be graded", _without_file),
        ("handed in nothing", _nothing),
        ("not on the roster", _stranger),
    )
    found = (
        LeftOut(label, tuple((student, said) for student in students if (said := of(student)) is not None))
        for label, of in groups
    )
    return tuple(group for group in found if group.each)


def nobodys(decisions: Iterable[Decision]) -> tuple[Decision, ...]:
    """The files that name no student, and that no system put there."""
    return tuple(each for each in decisions if not each.student_id and each.status is Status.UNRECOGNISED)


def _late(student: Student) -> str | None:
    return student.result.submission.late or None


def _unreadable(student: Student) -> str | None:
    return student.result.submission.unreadable or None


def _without_file(student: Student) -> str | None:
    submission = student.result.submission
    if not _came_to_nothing(student) or not student.attempts:
        return None
    return "; ".join(submission.remarks)


def _nothing(student: Student) -> str | None:
    return "" if _came_to_nothing(student) and not student.attempts else None


def _stranger(student: Student) -> str | None:
    submission = student.result.submission
    return None if submission.on_roster else submission.file


def _came_to_nothing(student: Student) -> bool:
    submission = student.result.submission
    return submission.content is None and not submission.late and not submission.unreadable
