"""One submission from file to ledger entry, and a class of them over a scheduler."""

import importlib.metadata
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from grader.assignment import Assignment
from grader.data import DataSet, count_correct
from grader.errors import Cancelled, PlaceLost, UserError
from grader.progress import Left, Stage, StageBegun, Watch
from grader.records import Check, IsolationLevel, Outcome, Run, Score, StopReason, Submission, Verdict
from grader.results.entries import Entry, Evidence, Result, RunReason
from grader.results.ledger import Ledger, OpenLedger, keep, keep_copy
from grader.results.reruns import NextRun, generations, next_run
from grader.results.score import result_of
from grader.run.check import check_architecture
from grader.run.machine import Machine
from grader.run.train import Trained, waiting_training
from grader.run.worker_client import Slot
from grader.schedule.dispatch import Finished, Scheduler, Seat
from grader.schedule.gpus import in_doubt, works

_PROVISIONAL = "provisional: graded without isolation"


Piece = tuple[Submission, NextRun]


@dataclass(frozen=True, slots=True)
class Graded:
    """A run that is in the ledger, its own or copied; `again` is the run that the submission needs next, if any."""

    submission: Submission
    entry: Entry
    again: NextRun | None


def grade_one(
    submission: Submission, run: NextRun, assignment: Assignment, data: DataSet, slot: Slot
) -> tuple[Check, Trained]:
    """Check, train and test one submission; a fault of ours becomes a run without a score."""
    check = Check(Verdict.UNREADABLE)
    trained = _failed("")
    try:
        slot.watch(StageBegun(submission.student_id, Stage.CHECKING, run.why))
        # What is to train is set up while the check goes on: both import torch, which takes longer than the check.
        with waiting_training(submission, assignment, data, slot, run.seed) as train:
            check = check_architecture(submission, assignment, slot)
            if check.outcome is Outcome.INVALID:
                trained = Trained(
                    Run(Outcome.INVALID, StopReason.ERROR, error=check.message), log=check.message.encode()
                )
            else:
                slot.watch(StageBegun(submission.student_id, Stage.TRAINING))
                trained = train()
    except (Cancelled, UserError):
        raise
    except Exception as error:  # a bug of ours must not end the class, nor cost one student points
        trained = replace(_failed(f"{type(error).__name__}: {error}"), log=traceback.format_exc().encode())
    finally:
        slot.watch(Left(submission.student_id))
    if slot.isolation.level is IsolationLevel.NONE:
        trained = replace(trained, run=replace(trained.run, flags=(*trained.run.flags, _PROVISIONAL)))
    return check, trained


def _failed(error: str) -> Trained:
    """A fault of ours."""
    return Trained(Run(Outcome.INFRASTRUCTURE, StopReason.KILLED, error=error), log=error.encode())


def due(submissions: Iterable[Submission], assignment: Assignment, ledger: Ledger, run_key: str) -> list[Piece]:
    """Whatever the ledger does not say to the end yet, with the run that it needs next."""
    found = []
    for submission in submissions:
        if submission.content is not None:
            run = _needed(submission, assignment, ledger, run_key)
            found += [(submission, run)] if run else []
    return found


def grade_all(
    submissions: Iterable[Submission],
    assignment: Assignment,
    data: DataSet,
    scheduler: Scheduler[DataSet, Machine],
    ledger: OpenLedger,
    logs: Path,
    watch: Watch,
) -> Iterator[Graded]:
    """Run whatever is due until nothing is; each log and entry is on the disk before it is yielded.

    In rounds: first what may run side by side, then what must run alone, until no submission needs another run. What
    the grader failed on waits for the next command. Of several students with the same files one is run, and the others
    get copies of that; a fault of ours is not copied.

    Raises:
        Cancelled: Everything was to stop.
        UserError: The disk is full, or every machine or card is lost; what came before is kept.
    """
    run_key = assignment.run_key(data.sha256)
    work = partial(_work, assignment, run_key)
    waiting = list(submissions)
    yield from _copied(waiting, assignment, ledger, logs, run_key)
    while round_ := due(waiting, assignment, ledger, run_key):
        together = [piece for piece in round_ if piece[1].reason is not RunReason.ALONE]
        for piece, finished in scheduler.run_all(_each_once(together or round_), work, watch, alone=not together):
            submission = piece[0]
            entry, log = _recorded(piece, finished, assignment, run_key, data)
            keep(entry, log, ledger, logs)
            again = None
            if entry.outcome is Outcome.INFRASTRUCTURE:
                waiting.remove(submission)
            else:
                again = _needed(submission, assignment, ledger, run_key)
            yield Graded(submission, entry, again)
            same = [other for other in waiting if other.sha256 == submission.sha256]
            yield from _copied(same, assignment, ledger, logs, run_key)


def check_all(
    submissions: Iterable[Submission], assignment: Assignment, scheduler: Scheduler[None, Machine]
) -> Iterator[tuple[Submission, Check]]:
    """Check every submission that can be read, without data; nothing is trained and nothing is kept.

    A fault of ours is the check of one submission, with the outcome `infrastructure`.

    Raises:
        Cancelled: Everything was to stop.
    """

    def work(submission: Submission, _: None, machine: Machine, seat: Seat) -> Check:
        try:
            return check_architecture(submission, assignment, machine.slot(seat))
        except (Cancelled, UserError):
            raise
        except Exception as error:  # as in grade_one: the others are checked all the same
            said = f"The grader failed ({type(error).__name__}: {error})."
            return Check(Verdict.UNREADABLE, outcome=Outcome.INFRASTRUCTURE, message=said)

    readable = [submission for submission in submissions if submission.content is not None]
    for submission, finished in scheduler.run_all(readable, work, lambda _: None):
        if finished.result is not None:
            yield submission, finished.result


def results(
    submissions: Iterable[Submission], assignment: Assignment, ledger: Ledger, run_key: str
) -> tuple[Result, ...]:
    """Everyone's row: points follow from the ledger and the assignment's bands as they are now."""
    return tuple(
        result_of(
            submission, ledger.lines(submission.student_id), run_key, assignment, _others_graded(submission, ledger)
        )
        for submission in submissions
    )


def _needed(submission: Submission, assignment: Assignment, ledger: Ledger, run_key: str) -> NextRun | None:
    lines = ledger.lines(submission.student_id, submission.sha256)
    return next_run(generations(lines, run_key)[-1].runs, assignment)


def _each_once(pieces: Iterable[Piece]) -> list[Piece]:
    """Of those that would be the same run of the same files, the first."""
    once: dict[tuple[str, RunReason, int], Piece] = {}
    for submission, run in pieces:
        once.setdefault((submission.sha256, run.reason, run.seed), (submission, run))
    return list(once.values())


def _copied(
    submissions: Iterable[Submission], assignment: Assignment, ledger: OpenLedger, logs: Path, run_key: str
) -> Iterator[Graded]:
    """Give each submission the runs that it needs and that another student's same files had."""
    for submission in submissions:
        run = _needed(submission, assignment, ledger, run_key)
        while run and (entry := keep_copy(submission, run, run_key, ledger, logs)):
            run = _needed(submission, assignment, ledger, run_key)
            yield Graded(submission, entry, run)


def _others_graded(submission: Submission, ledger: Ledger) -> list[str]:
    """Whoever else had the same files graded, each once, the earliest first."""
    lines = ledger.lines_about(submission.sha256)
    students = dict.fromkeys(line.student_id for line in lines if isinstance(line, Entry))
    return [student for student in students if student != submission.student_id]


def _work(
    assignment: Assignment, run_key: str, piece: Piece, data: DataSet, machine: Machine, seat: Seat
) -> tuple[Entry, bytes]:
    """One run at its place, perhaps on another machine: what to keep of it, and its log.

    Raises:
        PlaceLost: The place's card no longer works; what came out is nobody's.
    """
    in_force = machine.in_force(assignment)
    check, trained = grade_one(*piece, in_force, data, machine.slot(seat))
    if seat.card and in_doubt(trained.run, trained.log) and not works(seat.card):
        raise PlaceLost(seat.place)
    evidence = _evidence(assignment, in_force, data, machine, seat, piece[1])
    return _entry(*piece, run_key, data, check, trained, evidence), trained.log


def _recorded(
    piece: Piece, finished: Finished[tuple[Entry, bytes]], assignment: Assignment, run_key: str, data: DataSet
) -> tuple[Entry, bytes]:
    """What the ledger keeps: where a run was tried in vain before, too; a fault of ours where it was given up."""
    if finished.result is not None:
        entry, log = finished.result
        return replace(entry, evidence=replace(entry.evidence, lost=finished.lost)), log
    failed = _failed(f"given up: what it ran on failed {len(finished.lost)} times ({', '.join(finished.lost)})")
    evidence = replace(_evidence(assignment, assignment, data, None, None, piece[1]), lost=finished.lost)
    return _entry(*piece, run_key, data, Check(Verdict.UNREADABLE), failed, evidence), failed.log


def _evidence(
    assignment: Assignment,
    in_force: Assignment,
    data: DataSet,
    machine: Machine | None,
    seat: Seat | None,
    planned: NextRun,
) -> Evidence:
    """Under which conditions a run came about; without a machine: it never ended on any."""
    calibration = machine.calibration if machine else None
    return Evidence(
        grader_version=importlib.metadata.version("identity-resnet-grader"),
        assignment_hash=assignment.hash(),
        data_name=data.name,
        data_hash=data.sha256,
        train_size=len(data.x_train),
        seed=planned.seed,
        isolation=machine.isolation.description if machine else "",
        jobs=machine.jobs if machine and seat and not seat.alone else 1,
        wall_seconds=assignment.budget.train_seconds,
        calibrated_seconds=assignment.budget.calibrated_seconds(calibration.images_per_second) if calibration else None,
        limit_seconds=in_force.budget.train_seconds,
        machine=machine.name if machine else "",
        card=seat.card if seat else "",
    )


def _entry(
    submission: Submission,
    planned: NextRun,
    run_key: str,
    data: DataSet,
    check: Check,
    trained: Trained,
    evidence: Evidence,
) -> Entry:
    score = None
    if trained.scores is not None:
        score = Score(count_correct(trained.scores, data.y_test), len(data.y_test), trained.probes)
    return Entry(
        student_id=submission.student_id,
        sha256=submission.sha256,
        run_key=run_key,
        reason=planned.reason,
        finished_at=datetime.now(UTC),
        evidence=evidence,
        # A network as it should be needs no picture, and six kilobytes for each of thousands.
        check=replace(check, layers=()) if check.verdict is Verdict.CONFORMING else check,
        run=trained.run,
        score=score,
    )
