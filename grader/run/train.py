"""The training stage: run one submission under its budget and collect scores for the test images."""

from dataclasses import dataclass, field, replace

import numpy as np

from grader.assignment import Assignment
from grader.data import DataSet, images_to_score
from grader.progress import Stage, StageBegun
from grader.protocol import Evaluated, Exported, Fault, NetworkSeen
from grader.records import (
    BFLOAT16,
    CHANNELS_LAST,
    CUDA_GRAPHS,
    Outcome,
    Reason,
    Run,
    StopReason,
    Training,
)
from grader.run.doubts import another_class, miscounted, not_seen_learning, other_programs
from grader.run.replay import Replay, Replayers
from grader.run.worker_client import REPORTED, Request, WaitingWorker, WorkerRun, waiting_worker
from grader.sandbox import Ending

_ABOUT_THE_LOG = (
    b"[grader] What the script printed. Its own test set was a part of the training images: an accuracy that it\n"
    b"[grader] prints is not the one that counts, which the grader measured on the test images.\n\n"
)
_FIRST_LOG = (
    b"\n[grader] The script failed here, while the grader had made its training faster.\n"
    b"[grader] It was trained again as it is:\n\n"
)
BESIDE_ITS_SCRIPT = "tested beside its own script"
_UNSAID = Reason.of(
    "scores came, but the worker did not say how training ended", "the script may have sent its own scores"
)
_KILLED_BY_SIGNAL_9 = 128 + 9
_MET_OUTSIDE = {
    Ending.WALL_LIMIT: Outcome.TIMED_OUT,
    Ending.MEMORY_LIMIT: Outcome.OUT_OF_MEMORY,
    Ending.OUTPUT_LIMIT: Outcome.TOO_MUCH_OUTPUT,
    Ending.PROCESSOR_LIMIT: Outcome.OUT_OF_PROCESSOR_TIME,
    Ending.DISK_LIMIT: Outcome.OUT_OF_DISK,
}
_MET_INSIDE: dict[str, Outcome] = {
    Fault.MEMORY: Outcome.OUT_OF_MEMORY,
    Fault.PROCESSES: Outcome.OUT_OF_PROCESSES,
    Fault.DISK: Outcome.OUT_OF_DISK,
    Fault.DESCRIPTORS: Outcome.OUT_OF_DESCRIPTORS,
}


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training leaves.

    Attributes:
        run: What the ledger keeps.
        scores: Images x 10 little-endian float32 in the order of the test set; None if they did not all come.
        network: The graph that was replayed, as the check has it; None where none was.
        log: What the script printed, bounded.
    """

    run: Run
    scores: bytes | None = field(default=None, repr=False)
    network: NetworkSeen | None = None
    log: bytes = field(default=b"", repr=False)


def train(waiting: WaitingWorker, data: DataSet, replayers: Replayers) -> Trained:
    """Have a waiting worker train its submission, then test the network.

    A script that failed after its network was made faster may have failed for that: it is trained again as it is.

    Raises:
        InfrastructureError: A worker or a replay could not be started.
        Cancelled: The slot was cancelled.
    """
    request = waiting.request
    first = _trained(waiting, data, replayers)
    if first.run.stop_reason is not StopReason.ERROR or not _network_was_changed(first.run):
        return first
    request.slot.watch(StageBegun(request.submission.student_id, Stage.TRAINING))
    as_it_is = request.assignment.model_copy(update={"acceleration": (), "precision": "script"})
    # In another secret order: the first worker may have seen the images in this one.
    again = replace(request, assignment=as_it_is, images=images_to_score(data, np.random.default_rng()))
    with waiting_worker(again) as second:
        return _with_first(first, _trained(second, data, replayers))


def _network_was_changed(run: Run) -> bool:
    """Whether an optimization changed how the network computed."""
    used = dict(run.training.acceleration)
    return any(used.get(name) for name in (CHANNELS_LAST, BFLOAT16, CUDA_GRAPHS))


def _with_first(first: Trained, again: Trained) -> Trained:
    """The second run of a script that failed while its training was made faster, with what the first one showed."""
    used = ", ".join(name for name, share in first.run.training.acceleration if share)
    error = first.run.error or "no reason given"
    note = f"Your script failed while the grader sped up its training ({used}): {error}."
    # What the process said of itself stays last: notes.
    notes = (f"{note} The grader trained it again without that.", *again.run.notes)
    seen = Reason.of("trained twice", f"the first run failed after {first.run.training.samples:,} images ({error})")
    flags = (seen, *again.run.flags, *first.run.flags)
    return replace(
        again,
        run=replace(again.run, notes=notes, flags=tuple(dict.fromkeys(flags))),
        log=first.log + _FIRST_LOG + again.log,
    )


def _trained(waiting: WaitingWorker, data: DataSet, replayers: Replayers) -> Trained:
    """Train once, then test the network where no student's code runs; beside its own script where that cannot be."""
    request = waiting.request
    slot, limits = request.slot, request.assignment.limits
    replayer = replayers.at(slot)
    replayer.prepare(limits)
    with waiting.begun() as worker:
        worked = worker.wait()
        replay = Replay(why_not=worked.exported.detail if worked.exported else "it was not said why")
        if worked.execution.network is not None:
            with worker.watched():
                replay = replayer.replay(worked.execution.network, data, limits, slot.cancelled)
            if replay.scores is None:
                worked = worker.ask_after_all()
    return _result(worked, replay, request, data)


def _result(worked: WorkerRun, replay: Replay, request: Request, data: DataSet) -> Trained:
    execution, stopped = worked.execution, worked.stopped
    scores = replay.scores
    said: Exported | Evaluated | None = worked.exported
    flags = [*replay.flags]
    if scores is None:
        said = worked.evaluated
        if execution.answer is not None and request.images is not None:
            scores = request.images.in_order(execution.answer)
            flags = [Reason.of(BESIDE_ITS_SCRIPT, replay.why_not)]
    training = stopped.training if stopped else Training()
    flags += not_seen_learning(training, worked.curve, replay.known, len(data.x_train))
    flags += worked.doubts
    if scores is not None and (stopped is None or said is None):
        flags.append(_UNSAID)
    flags += other_programs(execution.programs)
    flags += miscounted(training, request.assignment.budget.epochs, len(data.x_train))
    outcome, error = _outcome(worked, request.assignment)
    flags += another_class(outcome, training)
    run = Run(
        outcome=outcome,
        stop_reason=_stop_reason(worked),
        training=training,
        device=worked.started.device,
        torch_version=worked.started.torch_version,
        on_card=worked.started.on_card,
        error=error,
        error_line=stopped.line if stopped else 0,
        notes=said.notes if said else (),
        flags=(*(Reason(REPORTED, flag) for flag in (said.flags if said else ())), *flags),
        curve=worked.curve,
        job_seconds=round(execution.seconds, 1),
        processor_seconds=round(execution.processor_seconds, 1),
    )
    return Trained(run, scores, replay.network, _ABOUT_THE_LOG + execution.log)


def _stop_reason(run: WorkerRun) -> StopReason:
    if run.stopped is None or run.stopped.reason not in list(StopReason):
        return StopReason.KILLED if run.execution.ending is not Ending.EXITED else StopReason.ERROR
    return StopReason(run.stopped.reason)


def _tested(run: WorkerRun) -> bool:
    """Whether there are scores: of the worker's network itself, or of its replay, for which it still waits."""
    return run.execution.answer is not None or run.execution.ending is Ending.WAITS


def _outcome(run: WorkerRun, assignment: Assignment) -> tuple[Outcome, str]:
    """What the sandbox saw comes before what the worker says; the second value says what went wrong."""
    said = run.stopped.error if run.stopped else ""
    if _tested(run):
        return Outcome.GRADED, said
    if run.execution.ending in _MET_OUTSIDE:
        return _MET_OUTSIDE[run.execution.ending], said
    if run.execution.ending is Ending.PROTOCOL:
        return Outcome.CRASHED, "The script interfered with the grader's test"
    # A script can end itself by the same signal: only the kernel's own count says that the machine lacked memory.
    if run.execution.exit_code == _KILLED_BY_SIGNAL_9 and run.execution.killed_for_memory:
        return Outcome.INFRASTRUCTURE, "The kernel killed the script because the machine lacked memory"
    return _outcome_of_fault(run, assignment, said)


def _outcome_of_fault(run: WorkerRun, assignment: Assignment, said: str) -> tuple[Outcome, str]:
    if run.stopped is None or run.evaluated is None:
        return Outcome.CRASHED, said or f"The script ended the interpreter (exit code {run.execution.exit_code})"
    detail = run.evaluated.detail or said
    match run.evaluated.fault:
        case Fault.SOURCE | Fault.NOT_SCORES:
            return Outcome.INVALID, detail
        # One that trains a network of another class has that fault, and takes its time over it.
        case Fault.NO_NETWORK if run.stopped.reason == StopReason.TIME_BUDGET and not run.stopped.training.targets:
            return Outcome.TIMED_OUT, "The script did not begin to train in time"
        case Fault.NO_NETWORK:
            return Outcome.INVALID, f"The script made no network of the class {assignment.class_name}"
        case Fault.MEMORY | Fault.PROCESSES | Fault.DISK | Fault.DESCRIPTORS as limit:
            return _MET_INSIDE[limit], detail
        case Fault.MISSING_MODULE if run.stopped.training.missing_module in assignment.colab.modules:
            return Outcome.INFRASTRUCTURE, detail
        case _:
            return Outcome.CRASHED, detail
