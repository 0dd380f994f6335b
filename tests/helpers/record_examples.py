"""Records as the stages hand them on, each complete and plain, for a test to change in one place."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from grader.records import Check, Outcome, Run, Score, StopReason, Submission, Training, Verdict
from grader.results.entries import Entry, Evidence, RunReason

KOREA = timezone(timedelta(hours=9))

CHECK = Check(Verdict.CONFORMING, parameters=11_173_962, output_shape=(4, 10))
ENTRY = Entry(
    student_id="20230001",
    sha256="ab" * 32,
    run_key="0123456789abcdef",
    reason=RunReason.FIRST,
    finished_at=datetime(2026, 11, 21, 3, 4, 5, tzinfo=UTC),
    evidence=Evidence("0.1.0", "1" * 16, "CIFAR-10", "2" * 16, 50_000, 1, "full", 1, 7200, None, 7200),
    check=CHECK,
    run=Run(
        Outcome.GRADED,
        StopReason.FINISHED,
        Training(samples=250_000, seconds=812.34),
        device="cpu",
        torch_version="2.15.0",
    ),
    score=Score(7_120, 10_000),
)
SUBMISSION = Submission(
    student_id="20230001",
    name="김민수",
    file="20230001/hw6.py",
    content=b"print('hello')\n",
    sha256="ab" * 32,
    submitted_at=datetime(2026, 11, 20, 23, 58, 3, tzinfo=KOREA),
)
ABSENT = Submission(student_id="20230002", name="이서연")


def entry(of: Entry = ENTRY, **changes: Any) -> Entry:
    """A run with these changes, wherever in an entry they belong; `correct=None`: nothing was scored."""
    for part, record in (("training", of.run.training), ("run", of.run), ("score", of.score or Score(0, 10_000))):
        own = {name: changes.pop(name) for name in [field.name for field in fields(record)] if name in changes}
        if part == "training" and own:
            changes["training"] = replace(record, **own)
        elif own:
            changes[part] = None if own.get("correct", 0) is None else replace(record, **own)
    return replace(of, **changes)


def check(**changes: Any) -> Check:
    return replace(CHECK, **changes)


def submission(**changes: Any) -> Submission:
    return replace(SUBMISSION, **changes)
