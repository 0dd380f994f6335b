"""Start the worker on one submission, and read what it says with suspicion."""

import contextlib
import math
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from grader.assignment import Assignment
from grader.data import ImagesToScore
from grader.errors import InfrastructureError
from grader.progress import Advanced, Printed, Stage, StageBegun, Watch
from grader.protocol import (
    TEXT_LIMIT,
    Evaluated,
    Event,
    Exported,
    NetworkSeen,
    Progress,
    QuestionsSeen,
    SourceRead,
    Started,
    Stopped,
    Task,
    to_json,
)
from grader.protocol.exported import MOST_NETWORK_BYTES
from grader.records import OPTIMIZATIONS, CurvePoint, Reason, Submission, Training
from grader.run.curve import MOST_SAMPLES, TrainingCurve
from grader.sandbox import BegunJob, Execution, Isolation, Job, Listener, StartedJob, started
from grader.text import counted, one_line, without_outputs

_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])
_Kind = TypeVar("_Kind")
_Told = TypeVar("_Told", Exported, Evaluated)
# As json.dumps writes it; a text inside a line has its quotes escaped.
_NEWS = b'"event": "progress"'
REPORTED = "reported by the script's process"
_LAST_LINE = 1_000_000
_TOO_MUCH = "the script's process reported more than a worker does"
_TWICE: dict[type, str] = {
    Started: "its start",
    SourceRead: "its source",
    NetworkSeen: "its network",
    Stopped: "the end of its training",
    Exported: "its network's export",
    Evaluated: "its test",
}
# What a script's process says of itself is never more than this: a cell of a spreadsheet takes 32,767 characters.
_MOST_SAID, _LONGEST_SAID = 8, 300
# What the worker needs besides the script's own time: to import torch on a busy machine, and its timer's patience.
_WORKER_SECONDS = 120
# Beyond this, a time that the worker told is no measurement; the same goes for MOST_SAMPLES.
_MOST_SECONDS = 1e7


@dataclass(frozen=True, slots=True)
class EquippedSlot:
    """A slot in which one run at a time is made, and what the run may use there.

    Attributes:
        number: From 0; as root, each has a user id of its own.
        threads: Processor threads that a submission may use.
        training_set: The folder with the training arrays; None for a check without data.
        work: A folder for what a job is given; each job removes its own part.
        cancelled: Set when everything is to stop.
        watch: Told how training goes, while it goes.
        card: The GPU, as CUDA_VISIBLE_DEVICES names it; empty: whatever there is; -1: none.
        mps_pipe: Where the run finds the MPS server through which it shares the card; None: it does not.
        card_share: The part of the card's memory that a submission may use.
    """

    number: int
    threads: int
    isolation: Isolation
    training_set: Path | None
    work: Path
    cancelled: threading.Event
    watch: Watch
    card: str = ""
    mps_pipe: Path | None = None
    card_share: float = 1.0


@dataclass(frozen=True, slots=True)
class Request:
    """What a worker is to do.

    Attributes:
        mode: "check": run the script up to its first training forward, and look at its network (see check.py).
            "train": run it under its budget.
        seed: Of the random state that the script finds.
        images: What the trained network is asked; None: nothing.
    """

    submission: Submission
    assignment: Assignment
    slot: EquippedSlot
    mode: Literal["check", "train"]
    seed: int
    images: ImagesToScore | None = None


@dataclass(frozen=True, slots=True)
class WorkerRun:
    """How one worker ended, and the first event of each kind that it sent: later ones may be the script's.

    Attributes:
        doubts: What a person should look at: the process said more than a worker does.
        first: The first news of training, about a second after its beginning.
        curve: The training curve; empty where that was not the task.
    """

    execution: Execution
    started: Started
    source: SourceRead | None = None
    network: NetworkSeen | None = None
    questions: QuestionsSeen | None = None
    stopped: Stopped | None = None
    exported: Exported | None = None
    evaluated: Evaluated | None = None
    first: Progress | None = None
    curve: tuple[CurvePoint, ...] = ()
    doubts: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class WaitingWorker:
    """A worker in its sandbox that has not yet been told to begin: no line of the submission has run."""

    request: Request
    job: StartedJob

    @contextlib.contextmanager
    def begun(self) -> Iterator["BegunWorker"]:
        """Have it run the submission. Can be called once."""
        request, curve = self.request, TrainingCurve()
        training = request.mode == "train"
        listener = _listener(request.submission.student_id, request.slot.watch, curve) if training else Listener()
        with self.job.begun(request.slot.cancelled, listener) as job:
            yield BegunWorker(job, curve)


@dataclass(frozen=True, slots=True)
class BegunWorker:
    """A worker that runs a submission."""

    job: BegunJob
    curve: TrainingCurve

    def wait(self) -> WorkerRun:
        """Wait until it ends, or offers its network; then it waits, too.

        Raises:
            InfrastructureError: The worker did not get as far as the student's script.
            Cancelled: The slot was cancelled.
        """
        return _interpret(self.job.wait(), self.curve)

    def watched(self) -> contextlib.AbstractContextManager[None]:
        """Hold a worker that offered its network, and what it has forked, to its limits meanwhile; errors as `wait`."""
        return self.job.watched()

    def ask_after_all(self) -> WorkerRun:
        """Ask a worker that offered its network about the images; as `wait`."""
        return _interpret(self.job.ask_after_all(), self.curve)


@contextlib.contextmanager
def waiting_worker(request: Request) -> Iterator[WaitingWorker]:
    """Start a worker in the sandbox, which imports torch and then waits; nothing of it is left afterwards.

    Raises:
        InfrastructureError: The sandbox could not be started.
    """
    with tempfile.TemporaryDirectory(dir=request.slot.work, prefix="job-") as name:
        folder = Path(name, "job")
        _lay_out(folder, request.submission, _task(request))
        with started(request.slot.isolation, _job(request, folder)) as job:
            yield WaitingWorker(request, job)


def start_worker(request: Request) -> WorkerRun:
    """Start a worker and have it run the submission at once; errors as `waiting_worker` and `BegunWorker.wait`."""
    with waiting_worker(request) as waiting, waiting.begun() as worker:
        return worker.wait()


def _lay_out(folder: Path, submission: Submission, task: Task) -> None:
    folder.mkdir()
    (folder / "submission").write_bytes(without_outputs(submission.content or b""))
    (folder / "task.json").write_text(to_json(task), encoding="utf-8")
    (folder / "companions").mkdir()
    for companion in submission.companions:
        (folder / "companions" / companion.name).write_bytes(companion.content)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _job(request: Request, folder: Path) -> Job:
    slot, limits = request.slot, request.assignment.limits
    training_seconds = limits.setup_seconds + request.assignment.budget.train_seconds + _WORKER_SECONDS
    job = Job(
        folder=folder,
        limits=limits,
        ready_seconds=limits.check_seconds if request.mode == "check" else training_seconds,
        answer_seconds=limits.evaluation_seconds,
        training_set=slot.training_set,
        threads=slot.threads,
        slot=slot.number,
        card=slot.card,
        mps_pipe=slot.mps_pipe,
        news=_NEWS,
    )
    if request.images is None:
        return job
    images = request.images.images.data.cast("B")
    return replace(job, images=images, answer_bytes=request.images.answer_bytes, network_bytes=MOST_NETWORK_BYTES)


def _listener(student_id: str, watch: Watch, curve: TrainingCurve) -> Listener:
    """Tell what the worker and the script say as events; what is not well-formed is dropped."""

    def on_report(line: bytes) -> None:
        for event in _events([line]):
            if isinstance(event, Progress):
                curve.add(event)
                watch(Advanced(student_id, event.samples, event.seconds, event.loss))
            elif isinstance(event, Stopped):
                watch(StageBegun(student_id, Stage.TESTING))

    return Listener(on_report, lambda chunk: watch(Printed(student_id, chunk)))


def _task(request: Request) -> Task:
    assignment, slot, images = request.assignment, request.slot, request.images
    limits = assignment.limits
    return Task(
        mode=request.mode,
        class_name=assignment.class_name,
        blocks=assignment.blocks,
        seed=request.seed,
        epochs=assignment.budget.epochs,
        train_seconds=assignment.budget.train_seconds,
        setup_seconds=limits.setup_seconds,
        images=len(images.images) if images else 0,
        learning_rates=assignment.questions.learning_rates,
        acceleration=assignment.acceleration,
        precision=assignment.precision,
        limited=True,
        processes=slot.isolation.processes(limits),
        open_files=limits.open_files,
        scratch_bytes=limits.scratch_mb << 20,
        memory_bytes=limits.memory_mb << 20,
        card_share=slot.card_share,
    )


def _interpret(execution: Execution, curve: TrainingCurve) -> WorkerRun:
    events = _events(execution.report)
    started = _first(events, Started)
    if started is None:
        last = execution.log.decode(errors="replace").strip().splitlines()[-1:]
        raise InfrastructureError(
            f"the worker did not start ({execution.ending}, exit {execution.exit_code}): {' '.join(last)}"
        )
    stopped, exported, evaluated = _first(events, Stopped), _first(events, Exported), _first(events, Evaluated)
    return WorkerRun(
        execution,
        started,
        source=_first(events, SourceRead),
        network=_first(events, NetworkSeen),
        questions=_first(events, QuestionsSeen),
        stopped=_bounded(stopped) if stopped else None,
        exported=_attributed(exported) if exported else None,
        evaluated=_attributed(evaluated) if evaluated else None,
        first=curve.first,
        curve=curve.points(),
        doubts=tuple(_said_too_much(execution, events)),
    )


def _bounded(stopped: Stopped) -> Stopped:
    line = stopped.line if 0 < stopped.line <= _LAST_LINE else 0
    return replace(stopped, error=one_line(stopped.error, TEXT_LIMIT), line=line, training=plausible(stopped.training))


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


def _said_too_much(execution: Execution, events: list[Event]) -> Iterator[Reason]:
    kinds = Counter(map(type, events))
    if twice := [what for kind, what in _TWICE.items() if kinds[kind] > 1]:
        said = f"the script's process reported {', '.join(twice)} more than once: the first report counts"
        yield Reason(_TOO_MUCH, said)
    if foreign := execution.said - len(events):
        said = f"the script's process sent {counted(foreign, 'line')} of report that no worker of the grader sends"
        yield Reason(_TOO_MUCH, said)


def _attributed(told: _Told) -> _Told:
    """What a worker said of its own test, as the words of a process that the script shares, and bounded."""
    flags = [f"{REPORTED}: {one_line(flag, _LONGEST_SAID)}" for flag in told.flags[:_MOST_SAID]]
    if more := len(told.flags) - len(flags):
        flags.append(f"{REPORTED}: {more} reasons more")
    said = f"{REPORTED.capitalize()}:"
    notes = [f"{said} {note}" if not place else note for place, note in enumerate(told.notes[:_MOST_SAID])]
    return replace(told, detail=one_line(told.detail, TEXT_LIMIT), notes=tuple(notes), flags=tuple(flags))


def _events(lines: Iterable[bytes]) -> list[Event]:
    """The lines that are well-formed events; whatever else a script writes to the report is dropped."""
    events = []
    for line in lines:
        with contextlib.suppress(ValidationError):
            events.append(_EVENT.validate_json(line))
    return events


def _first(events: Iterable[Event], kind: type[_Kind]) -> _Kind | None:
    return next((event for event in events if isinstance(event, kind)), None)
