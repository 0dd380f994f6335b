"""One submission from file to ledger entry, and a class of them over a scheduler."""

import importlib.metadata
import shutil
import threading
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from grader.accuracy import count_correct
from grader.architecture import check_architecture
from grader.assignment import Assignment
from grader.attempts import NextRun, generations, next_run
from grader.calibrate import Calibration
from grader.data import DataSet, write_training_set
from grader.entries import Entry, Evidence, Result, RunReason
from grader.errors import Cancelled, Mistake
from grader.ledger import Ledger, OpenLedger
from grader.progress import Left, Stage, StageBegun, Watch
from grader.records import Check, IsolationLevel, Outcome, Run, StopReason, Submission, Verdict
from grader.report.table import write_private
from grader.sandbox import Isolation
from grader.schedule.local import run_all
from grader.score import result_of
from grader.start_worker import Slot
from grader.train import train

WORK_NAME = "work"
_PROVISIONAL = "provisional: graded without isolation"


@dataclass(frozen=True, slots=True)
class Machine:
    """What is there to work with.

    Attributes:
        cores: Processor cores, shared among the runs.
        jobs: Runs at the same time.
        work: A folder for what the runs are given.
        training_set: The folder with the training arrays; None for a check without data.
        calibration: How fast the reference trains here; None where it was not measured.
        cancelled: Set to stop everything: what is in flight ends at once and is not recorded.
        watch: Told what happens, from many threads.
    """

    isolation: Isolation
    cores: int
    jobs: int
    work: Path
    training_set: Path | None
    calibration: Calibration | None
    cancelled: threading.Event
    watch: Watch

    def slot(self, number: int) -> Slot:
        """One run's place. Its threads follow from `jobs`, however few runs are left: more could change a result."""
        threads = max(1, self.cores // self.jobs)
        return Slot(number, threads, self.isolation, self.training_set, self.work, self.cancelled, self.watch)


@dataclass(frozen=True, slots=True)
class Graded:
    """A run that is in the ledger; `again` is the run that the submission needs next, if any."""

    submission: Submission
    entry: Entry
    again: NextRun | None


def grade_one(
    submission: Submission, run: NextRun, assignment: Assignment, data: DataSet, slot: Slot
) -> tuple[Check, Run]:
    """Check, train and test one submission; a fault of ours becomes a run without scores."""
    check = Check(Verdict.UNREADABLE)
    trained = Run(Outcome.INFRASTRUCTURE, StopReason.KILLED)
    try:
        slot.watch(StageBegun(submission.student_id, Stage.CHECKING, run.why))
        check = check_architecture(submission, assignment, slot)
        if check.outcome is Outcome.INVALID:
            trained = Run(Outcome.INVALID, StopReason.ERROR, error=check.message, log=check.message.encode())
        else:
            slot.watch(StageBegun(submission.student_id, Stage.TRAINING))
            trained = train(submission, assignment, data, slot, run.seed)
    except (Cancelled, Mistake):
        raise
    except Exception as error:  # a bug of ours must not end the class, nor cost one student points
        trained = replace(trained, error=f"{type(error).__name__}: {error}", log=traceback.format_exc().encode())
    finally:
        slot.watch(Left(submission.student_id))
    if slot.isolation.level is IsolationLevel.NONE:
        trained = replace(trained, flags=(*trained.flags, _PROVISIONAL))
    return check, trained


def due(
    submissions: Iterable[Submission], assignment: Assignment, ledger: Ledger, run_key: str
) -> list[tuple[Submission, NextRun]]:
    """Whatever the ledger does not say to the end yet, with the run that it needs next."""
    found = []
    for submission in submissions:
        if submission.content is not None:
            lines = ledger.lines(submission.student_id, submission.sha256)
            run = next_run(generations(lines, run_key)[-1].runs, assignment)
            found += [(submission, run)] if run else []
    return found


def grade_all(
    submissions: Iterable[Submission],
    assignment: Assignment,
    data: DataSet,
    machine: Machine,
    ledger: OpenLedger,
    logs: Path,
) -> Iterator[Graded]:
    """Run whatever is due until nothing is; each log and entry is on the disk before it is yielded.

    In rounds: first what may run side by side, then what must run alone, until no submission needs another run. What
    the grader failed on waits for the next command.

    Raises:
        Cancelled: `machine.cancelled` was set.
        Mistake: The disk is full; what came before is kept.
    """
    run_key = assignment.run_key(data.sha256)
    in_force = _with_time_limit(assignment, machine.calibration)
    waiting = list(submissions)
    while round_ := due(waiting, assignment, ledger, run_key):
        together = [piece for piece in round_ if piece[1].reason is not RunReason.ALONE]
        shared = machine if together else replace(machine, jobs=1)

        def work(piece: tuple[Submission, NextRun], number: int, here: Machine = shared) -> tuple[Entry, bytes]:
            check, run = grade_one(*piece, in_force, data, here.slot(number))
            evidence = _evidence(assignment, in_force, data, here, piece[1], run)
            return _entry(*piece, run_key, data, check, run, evidence), run.log

        for (submission, _), (entry, log) in run_all(together or round_, work, shared.jobs, machine.cancelled):
            _keep(entry, log, ledger, logs)
            again = None
            if entry.outcome is Outcome.INFRASTRUCTURE:
                waiting.remove(submission)
            else:
                again = next((run for _, run in due([submission], assignment, ledger, run_key)), None)
            yield Graded(submission, entry, again)


def check_all(
    submissions: Iterable[Submission], assignment: Assignment, machine: Machine
) -> Iterator[tuple[Submission, Check]]:
    """Check every submission that can be read, without data; nothing is trained and nothing is kept.

    Raises:
        Cancelled: `machine.cancelled` was set.
    """

    def work(submission: Submission, number: int) -> Check:
        return check_architecture(submission, assignment, machine.slot(number))

    readable = [submission for submission in submissions if submission.content is not None]
    yield from run_all(readable, work, machine.jobs, machine.cancelled)


def results(
    submissions: Iterable[Submission], assignment: Assignment, ledger: Ledger, run_key: str
) -> tuple[Result, ...]:
    """Everyone's row: points follow from the ledger and the assignment's bands as they are now."""
    return tuple(
        result_of(submission, ledger.lines(submission.student_id), run_key, assignment) for submission in submissions
    )


def log_of(entry: Entry, ledger: Ledger, logs: Path) -> Path:
    """Where the log of a run that is in the ledger was written."""
    return logs / _log_name(entry.student_id, 1 + _runs(ledger, entry.student_id).index(entry))


@contextmanager
def work_folder(out: Path, data: DataSet) -> Iterator[tuple[Path, Path]]:
    """A folder of this grader alone below `out`, and the training set in it.

    What a killed grader left there is removed first; nothing is there afterwards.

    Raises:
        Mistake: There is no room for it.
    """
    folder = out / WORK_NAME
    try:
        shutil.rmtree(folder, ignore_errors=True)
        try:
            folder.mkdir(mode=0o700)
            write_training_set(data, folder / "training_set")
        except OSError as error:
            raise Mistake(
                f"cannot write to {out} ({error.strerror or error}): make room there or name another folder with OUT="
            ) from None
        yield folder, folder / "training_set"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _keep(entry: Entry, log: bytes, ledger: OpenLedger, logs: Path) -> None:
    """Write the log beside those of earlier runs, then the entry; a log that cannot be written costs no result."""
    runs = _runs(ledger, entry.student_id)
    try:
        write_private(logs / _log_name(entry.student_id, 1 + len(runs)), log)
    finally:
        ledger.append(entry)


def _runs(ledger: Ledger, student_id: str) -> list[Entry]:
    return [line for line in ledger.lines(student_id) if isinstance(line, Entry)]


def _log_name(student_id: str, number: int) -> str:
    return f"{student_id}.log" if number == 1 else f"{student_id}.{number}.log"


def _with_time_limit(assignment: Assignment, calibration: Calibration | None) -> Assignment:
    budget = assignment.budget
    if budget.time_limit == "wall" or calibration is None:
        return assignment
    seconds = round(budget.calibrated_seconds(calibration.images_per_second))
    return assignment.model_copy(update={"budget": budget.model_copy(update={"train_seconds": seconds})})


def _evidence(
    assignment: Assignment,
    in_force: Assignment,
    data: DataSet,
    machine: Machine,
    planned: NextRun,
    run: Run,
) -> Evidence:
    calibration = machine.calibration
    return Evidence(
        grader_version=importlib.metadata.version("identity-resnet-grader"),
        assignment_hash=assignment.hash(),
        data_name=data.name,
        data_hash=data.sha256,
        train_size=len(data.x_train),
        seed=planned.seed,
        isolation=machine.isolation.description,
        device=run.device,
        torch_version=run.torch_version,
        jobs=machine.jobs,
        wall_seconds=assignment.budget.train_seconds,
        calibrated_seconds=assignment.budget.calibrated_seconds(calibration.images_per_second) if calibration else None,
        limit_seconds=in_force.budget.train_seconds,
    )


def _entry(
    submission: Submission,
    planned: NextRun,
    run_key: str,
    data: DataSet,
    check: Check,
    run: Run,
    evidence: Evidence,
) -> Entry:
    return Entry(
        student_id=submission.student_id,
        sha256=submission.sha256,
        run_key=run_key,
        outcome=run.outcome,
        finished_at=datetime.now(UTC),
        evidence=evidence,
        # A network as it should be needs no picture, and six kilobytes for each of thousands.
        check=replace(check, layers=()) if check.verdict is Verdict.CONFORMING else check,
        stop_reason=run.stop_reason,
        correct=count_correct(run.scores, data.y_test) if run.scores is not None else None,
        total=len(data.y_test) if run.scores is not None else None,
        samples=run.samples,
        train_seconds=run.train_seconds,
        error=run.error,
        notes=run.notes,
        flags=run.flags,
        missing_module=run.missing_module,
        reason=planned.reason,
        own_seed=run.own_seed,
        probes=run.probes,
        curve=run.curve,
        batches=run.batches,
        acceleration=run.acceleration,
    )
