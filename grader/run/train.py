"""The training stage: run one submission under its budget and collect scores for the test images."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from grader.assignment import Assignment
from grader.data import DataSet
from grader.progress import Stage, StageBegun
from grader.protocol import Evaluated, Fault, Stopped
from grader.records import BFLOAT16, CHANNELS_LAST, CUDA_GRAPHS, OPTIMIZATIONS, Outcome, Run, StopReason, Submission
from grader.run.curve import MOST_SAMPLES
from grader.run.probes import Questions, ask, read_answer
from grader.run.worker_client import Slot, WorkerRun, waiting_worker
from grader.sandbox import Ending

_ABOUT_THE_LOG = (
    b"[grader] What the script printed. Its own test set was a part of the training images: an accuracy that it\n"
    b"[grader] prints is not the one that counts, which the grader measured on the test images.\n\n"
)
_FIRST_LOG = (
    b"\n[grader] The script failed here, while the grader had made its training faster.\n"
    b"[grader] It was trained again as it is:\n\n"
)
_KILLED_BY_SIGNAL_9 = 128 + 9
# Beyond this, a time that the worker told is no measurement; the same goes for MOST_SAMPLES.
_MOST_SECONDS = 1e7
_MET_INSIDE: dict[str, Outcome] = {
    Fault.MEMORY: Outcome.OUT_OF_MEMORY,
    Fault.PROCESSES: Outcome.OUT_OF_PROCESSES,
    Fault.DISK: Outcome.OUT_OF_DISK,
    Fault.DESCRIPTORS: Outcome.OUT_OF_DESCRIPTORS,
}


@contextmanager
def waiting_training(
    submission: Submission, assignment: Assignment, data: DataSet, slot: Slot, seed: int
) -> Iterator[Callable[[], Run]]:
    """Set up the training of one submission in the sandbox; yield what does it, and is called once.

    It trains, then asks the network about the test images in a fresh secret order. A script that failed after its
    network was made faster may have failed for that: it is trained again as it is.

    Args:
        seed: Of the random state that the script finds.

    Raises:
        InfrastructureError: The worker could not be started.
        Cancelled: Of what is yielded: the slot was cancelled.
    """
    with _waiting_once(submission, assignment, data, slot, seed) as train_once:

        def train() -> Run:
            run = train_once()
            if run.stop_reason is not StopReason.ERROR or not _network_was_changed(run):
                return run
            slot.watch(StageBegun(submission.student_id, Stage.TRAINING))
            as_it_is = assignment.model_copy(update={"acceleration": (), "precision": "script"})
            with _waiting_once(submission, as_it_is, data, slot, seed) as train_again:
                again = train_again()
            return _after(run, again)

        yield train


def _network_was_changed(run: Run) -> bool:
    """Whether an optimization changed how the network computed."""
    used = dict(run.acceleration)
    return any(used.get(name) for name in (CHANNELS_LAST, BFLOAT16, CUDA_GRAPHS))


def _after(first: Run, again: Run) -> Run:
    """The second run of a script that failed while its training was made faster, with what the first one showed."""
    used = ", ".join(name for name, share in first.acceleration if share)
    note = f"The script failed while its training was made faster ({used}): {first.error or 'no reason was said'}."
    note += " It was trained again as it is."
    return replace(again, notes=(*again.notes, note), log=first.log + _FIRST_LOG + again.log)


@contextmanager
def _waiting_once(
    submission: Submission, assignment: Assignment, data: DataSet, slot: Slot, seed: int
) -> Iterator[Callable[[], Run]]:
    questions = ask(data, np.random.default_rng())
    with waiting_worker(
        submission,
        assignment,
        slot,
        "train",
        seed,
        images=questions.images.data.cast("B"),
        untrained=questions.untrained,
        answer_bytes=questions.answer_bytes,
    ) as begin:
        yield lambda: _run(begin(), assignment, data, questions)


def _run(run: WorkerRun, assignment: Assignment, data: DataSet, questions: Questions) -> Run:
    outcome, error = _outcome(run, assignment)
    scores = probes = None
    if run.execution.answer is not None:
        scores, probes = read_answer(run.execution.answer, questions, data.y_test)
    evaluated = run.evaluated or Evaluated()
    stopped = plausible(run.stopped) if run.stopped else None
    return Run(
        outcome=outcome,
        stop_reason=_stop_reason(run),
        scores=scores,
        probes=probes,
        samples=stopped.samples if stopped else 0,
        train_seconds=round(stopped.seconds, 3) if stopped else 0.0,
        device=run.started.device,
        torch_version=run.started.torch_version,
        error=error,
        notes=evaluated.notes,
        flags=(*evaluated.flags, *_unlikely(run, assignment.budget.epochs, len(data.x_train))),
        missing_module=stopped.missing_module if stopped else "",
        own_seed=stopped.own_seed if stopped else False,
        curve=run.curve,
        batches=stopped.batches if stopped else 0,
        acceleration=stopped.acceleration if stopped else (),
        log=_ABOUT_THE_LOG + run.execution.log,
    )


def plausible(stopped: Stopped) -> Stopped:
    """Bring what cannot have been measured within bounds, so that one forged number does not break everyone's table."""
    seconds = stopped.seconds if math.isfinite(stopped.seconds) else 0.0
    return replace(
        stopped,
        samples=min(max(stopped.samples, 0), MOST_SAMPLES),
        batches=min(max(stopped.batches, 0), MOST_SAMPLES),
        acceleration=tuple(
            (name, round(share, 4))
            for name, share in dict(stopped.acceleration).items()
            if name in OPTIMIZATIONS and 0 <= share <= 1
        ),
        seconds=min(max(seconds, 0.0), _MOST_SECONDS),
    )


def _unlikely(run: WorkerRun, epochs: int, training_size: int) -> list[str]:
    """What cannot well be true of what the worker said about its training."""
    found = []
    if run.execution.answer is not None and (run.stopped is None or run.evaluated is None):
        found.append("scores came, but the worker did not say how training ended: the script may have sent its own")
    used = plausible(run.stopped).samples if run.stopped else 0
    # The last step may go past the budget; a step is hardly ever more than the whole training set.
    if used > (epochs + 1) * training_size:
        found.append(
            f"{used} training images are more than {epochs} epochs of {training_size}: the script was not stopped"
        )
    return found


def _stop_reason(run: WorkerRun) -> StopReason:
    if run.stopped is None or run.stopped.reason not in list(StopReason):
        return StopReason.KILLED if run.execution.ending is not Ending.EXITED else StopReason.ERROR
    return StopReason(run.stopped.reason)


def _outcome(run: WorkerRun, assignment: Assignment) -> tuple[Outcome, str]:
    """What the sandbox saw comes before what the worker says; the second value says what went wrong."""
    said = run.stopped.error if run.stopped else ""
    if run.execution.answer is not None:
        return Outcome.GRADED, said
    match run.execution.ending:
        case Ending.WALL_LIMIT:
            return Outcome.TIMED_OUT, said
        case Ending.MEMORY_LIMIT:
            return Outcome.OUT_OF_MEMORY, said
        case Ending.OUTPUT_LIMIT:
            return Outcome.TOO_MUCH_OUTPUT, said
        case Ending.PROCESSOR_LIMIT:
            return Outcome.OUT_OF_PROCESSOR_TIME, said
        case Ending.DISK_LIMIT:
            return Outcome.OUT_OF_DISK, said
        case Ending.PROTOCOL:
            return Outcome.CRASHED, "the script interfered with the grader's test"
    if run.execution.exit_code == _KILLED_BY_SIGNAL_9:
        return Outcome.INFRASTRUCTURE, "the script was killed from outside, perhaps because the machine lacked memory"
    return _outcome_of_fault(run, assignment, said)


def _outcome_of_fault(run: WorkerRun, assignment: Assignment, said: str) -> tuple[Outcome, str]:
    if run.stopped is None or run.evaluated is None:
        return Outcome.CRASHED, said or f"the script ended the interpreter (exit code {run.execution.exit_code})"
    detail = run.evaluated.detail or said
    match run.evaluated.fault:
        case Fault.SOURCE | Fault.NOT_SCORES:
            return Outcome.INVALID, detail
        case Fault.NO_NETWORK if run.stopped.reason == StopReason.TIME_BUDGET:
            return Outcome.TIMED_OUT, "the script did not begin to train in time"
        case Fault.NO_NETWORK:
            return Outcome.INVALID, f"the script made no network of the class {assignment.class_name}"
        case Fault.MEMORY | Fault.PROCESSES | Fault.DISK | Fault.DESCRIPTORS as limit:
            return _MET_INSIDE[limit], detail
        case Fault.MISSING_MODULE if run.stopped.missing_module in assignment.colab.modules:
            return Outcome.INFRASTRUCTURE, detail
        case _:
            return Outcome.CRASHED, detail
