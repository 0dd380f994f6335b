"""One submission from file to ledger entry, and a class of them over a scheduler."""

import importlib.metadata
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from grader.architecture import check_architecture
from grader.assignment import Assignment
from grader.data import DataSet, write_training_set
from grader.errors import Cancelled, Mistake
from grader.ledger import Ledger, OpenLedger
from grader.records import Check, Entry, Evidence, Outcome, Result, Run, StopReason, Submission, Verdict
from grader.report.table import write_private
from grader.sandbox import Isolation
from grader.schedule.local import run_all
from grader.score import count_correct, grade
from grader.start_worker import Slot
from grader.train import train

Announce = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Machine:
    """What is there to work with.

    Attributes:
        jobs: Submissions that run at the same time.
        threads: Processor threads for each.
        cancelled: Set to stop everything: what is in flight ends at once and is not recorded.
    """

    isolation: Isolation
    jobs: int
    threads: int
    cancelled: threading.Event


def grade_one(
    submission: Submission, assignment: Assignment, data: DataSet, slot: Slot, announce: Announce
) -> tuple[Entry, bytes]:
    """Check, train and score one submission: its ledger entry, and its log.

    A fault of ours becomes an entry without points, which the next command tries again.
    """
    check = Check(Verdict.UNREADABLE)
    run = Run(Outcome.INFRASTRUCTURE, StopReason.KILLED)
    try:
        announce(submission.student_id, "checking")
        check = check_architecture(submission, assignment, slot)
        if check.outcome is Outcome.INVALID:
            run = Run(Outcome.INVALID, StopReason.ERROR, error=check.message, log=check.message.encode())
        else:
            announce(submission.student_id, "training")
            run = train(submission, assignment, data, slot)
    except (Cancelled, Mistake):
        raise
    except Exception as error:  # a bug of ours must not end the class, nor cost one student points
        run = replace(run, error=f"{type(error).__name__}: {error}", log=traceback.format_exc().encode())
    return _entry(submission, assignment, data, slot, check, run), run.log


def grade_all(
    submissions: Iterable[Submission],
    assignment: Assignment,
    data: DataSet,
    machine: Machine,
    ledger: OpenLedger,
    logs: Path,
    announce: Announce,
) -> Iterator[tuple[Submission, Entry]]:
    """Grade whatever the ledger does not hold yet; each log and entry is on the disk before the entry is yielded.

    Raises:
        Cancelled: `machine.cancelled` was set.
    """
    run_key = assignment.run_key(data.sha256)
    due = [
        submission
        for submission in submissions
        if submission.content is not None and ledger.done(submission.student_id, submission.sha256, run_key) is None
    ]
    with tempfile.TemporaryDirectory(prefix="grader-data-") as folder:
        training_set = Path(folder, "training_set")
        write_training_set(data, training_set)

        def work(submission: Submission, number: int) -> tuple[Entry, bytes]:
            slot = Slot(number, machine.threads, machine.isolation, training_set, machine.cancelled)
            return grade_one(submission, assignment, data, slot, announce)

        for submission, (entry, log) in run_all(due, work, machine.jobs, machine.cancelled):
            write_private(logs / f"{submission.student_id}.log", log)
            ledger.append(entry)
            yield submission, entry


def check_all(
    submissions: Iterable[Submission], assignment: Assignment, machine: Machine
) -> Iterator[tuple[Submission, Check]]:
    """Check every submission that can be read, without data; nothing is trained and nothing is kept.

    Raises:
        Cancelled: `machine.cancelled` was set.
    """

    def work(submission: Submission, number: int) -> Check:
        slot = Slot(number, machine.threads, machine.isolation, None, machine.cancelled)
        return check_architecture(submission, assignment, slot)

    readable = [submission for submission in submissions if submission.content is not None]
    yield from run_all(readable, work, machine.jobs, machine.cancelled)


def results(
    submissions: Iterable[Submission], assignment: Assignment, ledger: Ledger, run_key: str
) -> tuple[Result, ...]:
    """Everyone's row: points follow from the ledger's counts and the assignment's bands as they are now."""
    rows = []
    for submission in submissions:
        entry = (
            ledger.latest(submission.student_id, submission.sha256, run_key) if submission.content is not None else None
        )
        rows.append(Result(submission, entry, grade(submission, entry, assignment)))
    return tuple(rows)


def _entry(submission: Submission, assignment: Assignment, data: DataSet, slot: Slot, check: Check, run: Run) -> Entry:
    evidence = Evidence(
        grader_version=importlib.metadata.version("identity-resnet-grader"),
        assignment_hash=assignment.hash(),
        data_name=data.name,
        data_hash=data.sha256,
        train_size=len(data.x_train),
        seed=assignment.seed,
        isolation=slot.isolation.description,
        device=run.device,
        torch_version=run.torch_version,
    )
    return Entry(
        student_id=submission.student_id,
        sha256=submission.sha256,
        run_key=assignment.run_key(data.sha256),
        outcome=run.outcome,
        finished_at=datetime.now(UTC),
        evidence=evidence,
        check=check,
        stop_reason=run.stop_reason,
        correct=count_correct(run.scores, data.y_test) if run.scores is not None else None,
        total=len(data.y_test) if run.scores is not None else None,
        samples=run.samples,
        train_seconds=run.train_seconds,
        error=run.error,
        notes=run.notes,
        flags=run.flags,
        missing_module=run.missing_module,
    )
