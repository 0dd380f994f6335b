"""Records as the stages hand them on, each complete and plain, for a test to change in one place."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from grader.records import Check, Outcome, StopReason, Submission, Verdict
from grader.results.entries import Entry, Evidence

KOREA = timezone(timedelta(hours=9))

CHECK = Check(Verdict.CONFORMING, parameters=11_173_962, output_shape=(4, 10))
ENTRY = Entry(
    student_id="20230001",
    sha256="ab" * 32,
    run_key="0123456789abcdef",
    outcome=Outcome.GRADED,
    finished_at=datetime(2026, 11, 21, 3, 4, 5, tzinfo=UTC),
    evidence=Evidence("0.1.0", "1" * 16, "CIFAR-10", "2" * 16, 50_000, 1, "full", "cpu", "2.15.0", 1, 7200, None, 7200),
    check=CHECK,
    stop_reason=StopReason.FINISHED,
    correct=7_120,
    total=10_000,
    samples=250_000,
    train_seconds=812.34,
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


def entry(**changes: Any) -> Entry:
    return replace(ENTRY, **changes)


def check(**changes: Any) -> Check:
    return replace(CHECK, **changes)


def submission(**changes: Any) -> Submission:
    return replace(SUBMISSION, **changes)
