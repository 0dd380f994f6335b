"""The training stage: run one submission under its budget and collect scores for the test images."""

import math
import re
from collections.abc import Sequence
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
    OPTIMIZATIONS,
    CurvePoint,
    Outcome,
    Reason,
    Run,
    StopReason,
    Training,
)
from grader.run.replay import Replay, Replayers
from grader.run.worker_client import MOST_SAMPLES, REPORTED, Request, WaitingWorker, WorkerRun, waiting_worker
from grader.sandbox import Ending
from grader.text import one_line

_ABOUT_THE_LOG = (
    b"[grader] What the script printed. Its own test set was a part of the training images: an accuracy that it\n"
    b"[grader] prints is not the one that counts, which the grader measured on the test images.\n\n"
)
_FIRST_LOG = (
    b"\n[grader] The script failed here, while the grader had made its training faster.\n"
    b"[grader] It was trained again as it is:\n\n"
)
BESIDE_ITS_SCRIPT = "tested beside its own script"
_ELSE = "something else may have been trained"
_KILLED_BY_SIGNAL_9 = 128 + 9
# Processor time of all else that a script may start: commands for information use less, and so does an installation.
_OF_PROGRAMS, _OF_AN_INSTALLATION = 2.0, 10.0
_INSTALLATION = re.compile(r"\S+ -m pip ")
# A mixed batch has two sets of labels; one more for a network of another class.
_TARGETS_EACH = 3
# Processor time may be so many times what the counted images explain, and more by so much. The reference trained by two
# threads that wait for each other used 5 times what a forward had shown; honest training elsewhere used 0.7 times it.
_UNEXPLAINED, _UNEXPLAINED_SECONDS = 8, 120
# Of an epoch; the largest share of images that a network classifies right which learned from fewer; that of the first
# quarter of an epoch; and how much larger it is at the test than over the last part of training, in which dropout and
# changed images hide some.
_FEW, _FROM_FEW, _AT_FIRST, _LEAP = 0.1, 0.4, 0.6, 0.4
# That leap is looked for behind this part of a training, with so many targets an image, and so many images at least.
_LATE, _PLAIN_TARGETS, _MANY = 0.6, 1.5, 10_000
# Beyond this, a time that the worker told is no measurement; the same goes for MOST_SAMPLES.
_MOST_SECONDS = 1e7
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
    assignment = request.assignment
    scores = replay.scores
    said: Exported | Evaluated | None = worked.exported
    flags: tuple[Reason, ...] = ()
    if scores is None:
        said = worked.evaluated
        if worked.execution.answer is not None and request.images is not None:
            scores = request.images.in_order(worked.execution.answer)
            flags = (Reason.of(BESIDE_ITS_SCRIPT, replay.why_not),)
    outcome, error = _outcome(worked, assignment)
    training = plausible(worked.stopped.training) if worked.stopped else Training()
    run = Run(
        outcome=outcome,
        stop_reason=_stop_reason(worked),
        training=training,
        device=worked.started.device,
        torch_version=worked.started.torch_version,
        on_card=worked.started.on_card,
        error=error,
        error_line=worked.stopped.line if worked.stopped else 0,
        notes=said.notes if said else (),
        flags=(
            *(Reason(REPORTED, flag) for flag in (said.flags if said else ())),
            *flags,
            *replay.flags,
            *not_seen_learning(training, worked.curve, replay.known, len(data.x_train)),
            *_unlikely(worked, assignment.budget.epochs, len(data.x_train)),
        ),
        curve=worked.curve,
        job_seconds=round(worked.execution.seconds, 1),
        processor_seconds=round(worked.execution.processor_seconds, 1),
    )
    return Trained(run, scores, replay.network, _ABOUT_THE_LOG + worked.execution.log)


def plausible(training: Training) -> Training:
    """Bring what cannot have been measured within bounds, so that one forged number does not break everyone's table."""
    seconds = training.seconds if math.isfinite(training.seconds) else 0.0
    return replace(
        training,
        samples=min(max(training.samples, 0), MOST_SAMPLES),
        batches=min(max(training.batches, 0), MOST_SAMPLES),
        targets=min(max(training.targets, 0), MOST_SAMPLES),
        acceleration=tuple(
            (name, round(share, 4))
            for name, share in dict(training.acceleration).items()
            if name in OPTIMIZATIONS and 0 <= share <= 1
        ),
        seconds=round(min(max(seconds, 0.0), _MOST_SECONDS), 3),
    )


def _unlikely(run: WorkerRun, epochs: int, training_size: int) -> list[Reason]:
    """What cannot well be true of what the worker said about its training."""
    found = list(run.doubts)
    said = run.evaluated if run.execution.answer is not None else run.exported
    if _tested(run) and (run.stopped is None or said is None):
        found.append(
            Reason.of(
                "scores came, but the worker did not say how training ended",
                "the script may have sent its own scores",
            )
        )
    found += _programs(run)
    training = plausible(run.stopped.training) if run.stopped else Training()
    used = training.samples
    if training.targets > _TARGETS_EACH * used + training_size:
        losses = f"losses of {training.targets:,} images had gradients, and the grader counted {used:,} images"
        found.append(Reason(_ELSE, f"{losses}: {_ELSE}"))
    # The last step may go past the budget; a step is hardly ever more than the whole training set.
    if used > (epochs + 1) * training_size:
        more = f"{used}, where {epochs} epochs have {epochs * training_size}"
        found.append(Reason.of("the script used more images than the budget", more))
    return found


def not_seen_learning(
    training: Training, curve: Sequence[CurvePoint], known: float, training_size: int
) -> tuple[Reason, ...]:
    """Say so where a network knows what nobody saw it learn: weights brought along, or worked out in another way.

    Args:
        curve: Of its counted batches, as the script's process told it.
        known: The share of training images that the network that left classifies right, measured by its replay.
    """
    right = f"the network classifies {known:.0%} of training images right"
    if training.samples < _FEW * training_size:
        said = f"{right}, and the grader saw it learn from {training.samples:,}: {_ELSE}"
        return (Reason(_ELSE, said),) if known > _FROM_FEW else ()
    points = [(each.samples, each.accuracy) for each in curve if each.accuracy is not None]
    found = []
    if points and points[0][0] <= training_size / 4 and points[0][1] > _AT_FIRST:
        images, share = points[0]
        found.append(f"the network classified {share:.0%} of the first {images:,} images right: {_ELSE}")
    # An image mixed of two has two targets, and its accuracy is that of one. Of few images, much is learned at the end.
    plain = training.targets <= _PLAIN_TARGETS * training.samples and training.samples >= _MANY
    if len(points) > 1 and plain and points[-2][0] > _LATE * training.samples and known > points[-1][1] + _LEAP:
        found.append(f"{right}, and {points[-1][1]:.0%} of the last that it learned from: {_ELSE}")
    return tuple(Reason(_ELSE, said) for said in found)


def _programs(run: WorkerRun) -> list[Reason]:
    """What ran beside the worker and its forks, where it used more than commands for information do."""
    worked = [
        (words, used)
        for words, used in run.execution.programs
        if not (_INSTALLATION.match(words) and used <= _OF_AN_INSTALLATION)
    ]
    total = sum(used for _, used in worked)
    if total <= _OF_PROGRAMS:
        return []
    words, _ = max(worked, key=lambda program: program[1])
    said = (
        f"the script started another program, which used {total:.0f} s of processor time ({one_line(words, 80)}): "
        "the grader did not count what that trained"
    )
    return [Reason("the script started another program", said)]


def unexplained_time(run: Run, image_seconds: float | None) -> tuple[Reason, ...]:
    """Say so where a job used far more processor time than its counted images explain. On a GPU nothing is said.

    Args:
        image_seconds: Processor time of one training image; None where it is not known.
    """
    if image_seconds is None or run.on_card:
        return ()
    explained = run.training.samples * image_seconds
    if run.processor_seconds <= _UNEXPLAINED * explained + _UNEXPLAINED_SECONDS:
        return ()
    said = (
        f"the job used {run.processor_seconds:,.0f} s of processor time, and the {run.training.samples:,} images that "
        f"the grader counted explain {explained:,.0f} s: {_ELSE}"
    )
    return (Reason("the job used more processor time than its counted images explain", said),)


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
