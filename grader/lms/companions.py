"""The Python files beside a student's file: a script may keep its network in a second file and import it."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

from grader.assignment import Limits
from grader.lms.files import Stored
from grader.lms.found import Attempt
from grader.records import Companion, Decision, Status, Submission


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
        content, fault = stored.read(left_kb) if number < limits.companions else (None, "is one file too many")
        if content is None:
            decisions.append(_beside(last, stored, f"not used: it {fault}"))
            submission = _without(submission, name, fault)
            continue
        left_kb -= _kilobytes(content)
        used.append(Companion(name, content))
        decisions.append(_beside(last, stored, f"the script may import it: it lies beside {last.file}"))
    if submission.content is not None and used:
        submission = replace(submission, companions=tuple(used), sha256=_hash_of_all(submission.sha256, used))
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


def _without(submission: Submission, name: str, fault: str) -> Submission:
    """A file that is there and cannot be read is a fault of the machine: the student must not pay for it."""
    if fault.startswith("cannot be read"):
        return replace(submission, content=None, sha256="", unreadable=f"{name} beside {submission.file} {fault}")
    return replace(
        submission, remarks=(*submission.remarks, f"{name} beside {submission.file} is not used: it {fault}")
    )


def _hash_of_all(sha256: str, companions: Sequence[Companion]) -> str:
    files = [(companion.name, hashlib.sha256(companion.content).hexdigest()) for companion in companions]
    return hashlib.sha256(json.dumps([sha256, *files]).encode()).hexdigest()
