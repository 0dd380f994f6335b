"""Make submissions folders, and read what was collected from them."""

import os
from datetime import datetime
from pathlib import Path

from grader.assignment import load_assignment
from grader.collect import collect
from grader.records import Collection, Decision, Status, Submission

ASSIGNMENT = load_assignment()
SMALL_FILES = ASSIGNMENT.model_copy(update={"limits": ASSIGNMENT.limits.model_copy(update={"file_size_kb": 1})})
ORDINARY_USER = 65534


def hand_in(path: Path | bytes, content: bytes = b"print(1)\n", at: int = 1_760_000_000) -> None:
    """Write a file, with its folder, as of a time in seconds since 1970."""
    file = os.fsencode(path)
    os.makedirs(os.path.dirname(file), exist_ok=True)
    with open(file, "wb") as writer:
        writer.write(content)
    os.utime(file, (at, at))


def collected(folder: Path, roster: Path | None = None, deadline: datetime | None = None) -> Collection:
    return collect(folder, roster, ASSIGNMENT, deadline)


def by_student(collection: Collection) -> dict[str, Submission]:
    students = [submission.student_id for submission in collection.submissions]
    assert students == sorted(set(students))
    return {submission.student_id: submission for submission in collection.submissions}


def statuses(collection: Collection) -> dict[str, Status]:
    return {decision.file: decision.status for decision in collection.decisions}


def decision_on(collection: Collection, file: str) -> Decision:
    (decision,) = [decision for decision in collection.decisions if decision.file == file]
    return decision


def write_roster(path: Path, *lines: str, header: str = "student_id,name", encoding: str = "utf-8") -> Path:
    path.write_bytes("\n".join((header, *lines, "")).encode(encoding))
    return path
