"""What has changed since the report before this one: everyone's standing is kept beside a report, and compared."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter

from grader.results.entries import Result
from grader.text import write_private

STANDINGS_NAME = "report.json"


@dataclass(frozen=True, slots=True)
class Standing:
    """What a report says of one student; points and accuracy as text, None where there are none."""

    outcome: str
    points: str | None
    accuracy: str | None
    sha256: str


@dataclass(frozen=True, slots=True)
class Standings:
    """Everyone's, by student id, and when the report was written."""

    written_at: datetime
    students: Mapping[str, Standing]


_STANDINGS = TypeAdapter(Standings)


@dataclass(frozen=True, slots=True)
class Difference:
    """What is new about one student.

    Attributes:
        listed: Whether the student is in the report of now.
    """

    student_id: str
    said: str
    listed: bool


@dataclass(frozen=True, slots=True)
class Since:
    """Everything that has changed since a report."""

    written_at: datetime
    differences: tuple[Difference, ...]


def standings(results: Iterable[Result]) -> Standings:
    """What a report that is written now says."""
    students = {
        result.submission.student_id: Standing(
            result.grade.outcome.value,
            None if result.grade.points is None else f"{result.grade.points:f}",
            None if result.grade.accuracy is None else f"{result.grade.accuracy:.2f}",
            result.submission.sha256,
        )
        for result in results
    }
    return Standings(datetime.now(UTC), students)


def write_standings(now: Standings, path: Path) -> None:
    """Keep them for the next report.

    Raises:
        UserError: Nothing can be written there.
    """
    # Not pydantic's own JSON: an id may hold a lone surrogate.
    write_private(path, json.dumps(asdict(now), indent=1, default=str).encode())


def read_standings(path: Path) -> Standings | None:
    """The standings of the last report; None where there was none, or where the file is not one of ours."""
    try:
        return _STANDINGS.validate_python(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError):
        return None


def changed_since(before: Standings, now: Standings) -> Since:
    """Compare two reports, student by student."""
    found = []
    for student_id in sorted(before.students.keys() | now.students.keys()):
        old, new = before.students.get(student_id), now.students.get(student_id)
        if said := "; ".join(_said(old, new)):
            found.append(Difference(student_id, said, new is not None))
    return Since(before.written_at, tuple(found))


def _said(old: Standing | None, new: Standing | None) -> Iterator[str]:
    if new is None:
        yield "no longer in the class"
    elif old is None:
        yield f"new in the class, {_points(new.points)}"
    else:
        if old.points != new.points:
            yield f"{old.points or 'none'} → {_points(new.points)}"
        if old.outcome != new.outcome:
            yield f"{_words(old.outcome)} → {_words(new.outcome)}"
        if old.accuracy != new.accuracy and old.accuracy and new.accuracy:
            yield f"accuracy {old.accuracy} % → {new.accuracy} %"
        if old.sha256 != new.sha256:
            yield "another file counts" if old.sha256 and new.sha256 else "a file came" if new.sha256 else "no file now"


def _points(points: str | None) -> str:
    return "no points yet" if points is None else f"{points} points"


def _words(outcome: str) -> str:
    return outcome.replace("_", " ")
