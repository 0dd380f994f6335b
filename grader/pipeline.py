"""From the submissions of a class to its tables, to be read downwards: each function uses only what stands below it.

    grade_class   everything that is due, then the tables; the command has collected the submissions
    grade_due     hands each run that is due to the scheduler, and writes what comes back to the ledger
    grade_task    one run in a slot: the scheduler calls it, in a thread here or on another machine
    grade_one     one submission: check -> train and test -> score

`check_class` and `results` are for the commands that train nothing.
"""

import importlib.metadata
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from grader.assignment import Assignment
from grader.data import DataSet, count_correct, images_to_score
from grader.errors import Cancelled, SlotLost, UserError
from grader.progress import Notice, RunEnded, Stage, StageBegun, Watch
from grader.records import (
    Check,
    Collection,
    IsolationLevel,
    Outcome,
    Reason,
    Run,
    Score,
    StopReason,
    Submission,
    Verdict,
)
from grader.report import write_results
from grader.report.live import Display
from grader.results.entries import Entry, Evidence, Result, RunReason
from grader.results.ledger import Ledger, OpenLedger, record_copy, record_run
from grader.results.reruns import NextRun, generations, next_run
from grader.results.score import result_of
from grader.run.check import check_architecture, with_tested
from grader.run.doubts import unexplained_time
from grader.run.machine import Machine
from grader.run.replay import Replayers
from grader.run.train import Trained, train
from grader.run.worker_client import EquippedSlot, Request, waiting_worker
from grader.schedule import Scheduler, Slot
from grader.schedule.gpus import in_doubt, may_be_a_neighbours_fault, works

_PROVISIONAL = Reason.of("provisional", "graded without isolation")


@dataclass(frozen=True, slots=True)
class Grading:
    """By what rules and on what data a class is graded, where its runs are made, and where what comes of them is kept.

    Attributes:
        out: The folder for the tables and the logs.
    """

    assignment: Assignment
    data: DataSet
    scheduler: Scheduler[DataSet, Machine]
    ledger: OpenLedger
    out: Path

    @property
    def run_key(self) -> str:
        """As `Entry.run_key`."""
        return self.assignment.run_key(self.data.sha256)

    @property
    def logs(self) -> Path:
        """The folder for the runs' logs."""
        return self.out / "logs"


class DueRun(NamedTuple):
    """One run of one submission: what the scheduler hands to a slot."""

    submission: Submission
    planned: NextRun


class Graded(NamedTuple):
    """A run that is in the ledger, its own or copied; `again` is the run that the submission needs next, if any."""

    submission: Submission
    entry: Entry
    again: NextRun | None


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found out about one submission in one run."""

    check: Check
    trained: Trained
    score: Score | None = None


def grade_class(
    collection: Collection, wanted: Iterable[Submission], grading: Grading, display: Display
) -> tuple[tuple[Result, ...], bool]:
    """Run whatever is due of those who are wanted, then write everyone's tables, also after Ctrl-C.

    Returns:
        Everyone's row, and whether nothing was stopped.

    Raises:
        UserError: The disk is full, or every machine or card is lost; what came before is kept.
    """
    rows_of = partial(results, assignment=grading.assignment, ledger=grading.ledger, run_key=grading.run_key)
    completed = True
    try:
        with display:
            for graded in grade_due(wanted, grading, display.watch):
                if graded.again is None:
                    display.graded(*rows_of([graded.submission]))
    except Cancelled:
        completed = False
    rows = rows_of(collection.submissions)
    write_results(rows, collection, grading.assignment, grading.ledger, grading.out)
    return rows, completed


def grade_due(submissions: Iterable[Submission], grading: Grading, watch: Watch) -> Iterator[Graded]:
    """Run submissions until none needs another run; each log and entry is on the disk before it is yielded.

    The scheduler calls `grade_task`, the next function, for each task. A round takes all runs that may have others
    beside them, and where there are none of these, those that must be alone. A submission on which the grader failed
    waits for the next command. Of several students with the same files one is run, and the others get copies of that; a
    fault of ours is not copied.

    Raises:
        Cancelled: Everything was to stop.
        UserError: As `grade_class`.
    """
    assignment, ledger, run_key = grading.assignment, grading.ledger, grading.run_key
    in_a_slot = partial(grade_task, assignment)
    waiting = list(submissions)
    yield from _copied(waiting, grading)
    while tasks := due(waiting, assignment, ledger, run_key):
        together = [task for task in tasks if task.planned.reason is not RunReason.ALONE]
        once, alone = _each_once(together or tasks), not together
        for task, finished in grading.scheduler.run_all(once, in_a_slot, watch, alone=alone):
            submission = task.submission
            entry, log = finished.result or _given_up(task, assignment, grading.data, finished.lost)
            entry = replace(entry, evidence=replace(entry.evidence, lost=finished.lost))
            entry = record_run(entry, log, ledger, grading.logs)
            again = None
            if entry.outcome is Outcome.INFRASTRUCTURE and not entry.evidence.beside_a_fault:
                waiting.remove(submission)
            else:
                again = _needed(submission, assignment, ledger, run_key)
            yield Graded(submission, entry, again)
            same = [other for other in waiting if other.sha256 == submission.sha256]
            yield from _copied(same, grading)


def grade_task(
    assignment: Assignment, task: DueRun, data: DataSet, machine: Machine, slot: Slot
) -> tuple[Entry, bytes]:
    """Make one run in a slot, and say what to keep of it, and its log.

    Raises:
        SlotLost: The slot's card no longer works; what came out is nobody's.
    """
    in_force, equipped = machine.in_force(assignment), machine.equipped(slot)
    if machine.mps_pipe is not None and equipped.mps_pipe is None and not slot.alone:
        slot.watch(Notice("the MPS server takes no new client now: the next run takes turns with the others"))
    judged = grade_one(task.submission, task.planned, in_force, data, equipped, machine.replayers)
    run, log = judged.trained.run, judged.trained.log
    # After a fault beside others the card may not answer for a while; it is asked after the next run, which is alone.
    beside_a_fault = equipped.mps_pipe is not None and may_be_a_neighbours_fault(run, log, judged.check.message)
    if slot.card and not beside_a_fault and in_doubt(run, log) and not works(slot.card):
        raise SlotLost(slot.name)
    if beside_a_fault:
        # It earns nothing and blames nobody: the next run is alone, and what comes out of that one is its own.
        judged = Judged(judged.check, Trained(replace(run, outcome=Outcome.INFRASTRUCTURE), log=log))
    calibration = machine.calibration
    evidence = replace(
        _evidence(task, assignment, data),
        isolation=machine.isolation.description,
        jobs=1 if slot.alone else machine.jobs,
        calibrated_seconds=assignment.budget.calibrated_seconds(calibration.images_per_second) if calibration else None,
        limit_seconds=in_force.budget.train_seconds,
        machine=machine.name,
        card=slot.card,
        beside_a_fault=beside_a_fault,
    )
    return _entry(task, assignment.run_key(data.sha256), judged, evidence), log


def grade_one(
    submission: Submission,
    planned: NextRun,
    assignment: Assignment,
    data: DataSet,
    slot: EquippedSlot,
    replayers: Replayers,
) -> Judged:
    """Check, train, test and score one submission; a fault of ours becomes a run without a score."""
    check, score = Check(Verdict.UNREADABLE), None
    try:
        slot.watch(StageBegun(submission.student_id, Stage.CHECKING, planned.why))
        images = images_to_score(data, np.random.default_rng())
        request = Request(submission, assignment, slot, "train", planned.seed, images)
        # To import torch takes longer than the check, so the worker that will train does so meanwhile. It runs no line
        # of the submission before `train` tells it to begin; if that never happens, it is ended here.
        with waiting_worker(request) as worker:
            check = check_architecture(submission, assignment, slot)
            if check.outcome is Outcome.INVALID:
                trained = _untrained(Outcome.INVALID, StopReason.ERROR, check.message)
            else:
                slot.watch(StageBegun(submission.student_id, Stage.TRAINING))
                trained = train(worker, data, replayers)
                trained = _flagged(trained, *unexplained_time(trained.run, check.image_seconds))
        if trained.network is not None:
            check = with_tested(check, trained.network, assignment)
        if trained.scores is not None:
            score = Score(count_correct(trained.scores, data.y_test), len(data.y_test))
    except (Cancelled, UserError):
        raise
    except Exception as error:  # a bug of ours must not end the class, nor cost one student points
        failed = _untrained(Outcome.INFRASTRUCTURE, StopReason.KILLED, f"{type(error).__name__}: {error}")
        trained = replace(failed, log=traceback.format_exc().encode())
    finally:
        slot.watch(RunEnded(submission.student_id))
    if slot.isolation.level is IsolationLevel.NONE:
        trained = _flagged(trained, _PROVISIONAL)
    return Judged(check, trained, score)


def due(submissions: Iterable[Submission], assignment: Assignment, ledger: Ledger, run_key: str) -> list[DueRun]:
    """The next run of each submission that still needs one."""
    return [
        DueRun(submission, run)
        for submission in submissions
        if submission.content is not None and (run := _needed(submission, assignment, ledger, run_key))
    ]


def results(
    submissions: Iterable[Submission], assignment: Assignment, ledger: Ledger, run_key: str
) -> tuple[Result, ...]:
    """Everyone's row: points follow from the ledger and the assignment's bands as they are now."""

    def row(submission: Submission) -> Result:
        others = _others_graded(submission, ledger)
        return result_of(submission, ledger.lines(submission.student_id), run_key, assignment, others)

    return tuple(map(row, submissions))


def check_class(
    submissions: Iterable[Submission], assignment: Assignment, scheduler: Scheduler[None, Machine]
) -> Iterator[tuple[Submission, Check]]:
    """Check every submission that can be read, without data; nothing is trained and nothing is kept.

    A fault of ours is the check of one submission, with the outcome `infrastructure`.

    Raises:
        Cancelled: Everything was to stop.
    """
    readable = [submission for submission in submissions if submission.content is not None]
    for submission, finished in scheduler.run_all(readable, partial(_check_task, assignment), lambda _: None):
        if finished.result is not None:
            yield submission, finished.result


def _check_task(assignment: Assignment, submission: Submission, _: None, machine: Machine, slot: Slot) -> Check:
    try:
        return check_architecture(submission, assignment, machine.equipped(slot))
    except (Cancelled, UserError):
        raise
    except Exception as error:  # as in grade_one: the others are checked all the same
        said = f"The grader failed ({type(error).__name__}: {error})."
        return Check(Verdict.UNREADABLE, outcome=Outcome.INFRASTRUCTURE, message=said)


def _needed(submission: Submission, assignment: Assignment, ledger: Ledger, run_key: str) -> NextRun | None:
    lines = ledger.lines(submission.student_id, submission.sha256)
    return next_run(generations(lines, run_key)[-1].runs, assignment)


def _each_once(tasks: Iterable[DueRun]) -> list[DueRun]:
    """Of those that would be the same run of the same files, the first."""
    once: dict[tuple[str, RunReason, int], DueRun] = {}
    for task in tasks:
        once.setdefault((task.submission.sha256, task.planned.reason, task.planned.seed), task)
    return list(once.values())


def _copied(submissions: Iterable[Submission], grading: Grading) -> Iterator[Graded]:
    """Give each submission the runs that it needs and that another student's same files had."""
    ledger, run_key = grading.ledger, grading.run_key
    for submission in submissions:
        run = _needed(submission, grading.assignment, ledger, run_key)
        while run and (entry := record_copy(submission, run, run_key, ledger, grading.logs)):
            run = _needed(submission, grading.assignment, ledger, run_key)
            yield Graded(submission, entry, run)


def _others_graded(submission: Submission, ledger: Ledger) -> list[str]:
    """Whoever else had the same files graded, each once, the earliest first."""
    lines = ledger.lines_about(submission.sha256)
    students = dict.fromkeys(line.student_id for line in lines if isinstance(line, Entry))
    return [student for student in students if student != submission.student_id]


def _untrained(outcome: Outcome, stop_reason: StopReason, error: str) -> Trained:
    return Trained(Run(outcome, stop_reason, error=error), log=error.encode())


def _flagged(trained: Trained, *flags: Reason) -> Trained:
    return replace(trained, run=replace(trained.run, flags=(*trained.run.flags, *flags)))


def _given_up(task: DueRun, assignment: Assignment, data: DataSet, lost: Sequence[str]) -> tuple[Entry, bytes]:
    """What the ledger keeps of a run that never ended on any machine: a fault of ours."""
    error = f"The grader gave up: the worker failed {len(lost)} times ({', '.join(lost)})"
    failed = Judged(Check(Verdict.UNREADABLE), _untrained(Outcome.INFRASTRUCTURE, StopReason.KILLED, error))
    evidence = _evidence(task, assignment, data)
    return _entry(task, assignment.run_key(data.sha256), failed, evidence), failed.trained.log


def _evidence(task: DueRun, assignment: Assignment, data: DataSet) -> Evidence:
    """The conditions of a run, before any machine has it."""
    return Evidence(
        grader_version=importlib.metadata.version("identity-resnet-grader"),
        assignment_hash=assignment.hash(),
        data_name=data.name,
        data_hash=data.sha256,
        train_size=len(data.x_train),
        seed=task.planned.seed,
        isolation="",
        jobs=1,
        wall_seconds=assignment.budget.train_seconds,
        calibrated_seconds=None,
        limit_seconds=assignment.budget.train_seconds,
    )


def _entry(task: DueRun, run_key: str, judged: Judged, evidence: Evidence) -> Entry:
    check = judged.check
    return Entry(
        student_id=task.submission.student_id,
        sha256=task.submission.sha256,
        run_key=run_key,
        reason=task.planned.reason,
        finished_at=datetime.now(UTC),
        evidence=evidence,
        # A network as it should be needs no picture, and six kilobytes for each of thousands.
        check=replace(check, layers=()) if check.verdict is Verdict.CONFORMING else check,
        run=judged.trained.run,
        score=judged.score,
    )
