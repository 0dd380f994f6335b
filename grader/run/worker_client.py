"""Start the worker on one submission, and read what it says with suspicion."""

import contextlib
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from grader.assignment import Assignment
from grader.errors import InfrastructureError
from grader.progress import Advanced, Printed, Stage, StageBegun, Watch
from grader.protocol import (
    Evaluated,
    Event,
    NetworkSeen,
    Progress,
    QuestionsSeen,
    SourceRead,
    Started,
    Stopped,
    Task,
    to_json,
)
from grader.records import IMAGE_BYTES, CurvePoint, Submission
from grader.run.curve import TrainingCurve
from grader.sandbox import Execution, Isolation, Job, Listener, started

_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])
_Kind = TypeVar("_Kind")
_NO_IMAGES = memoryview(b"")
# What the worker needs besides the script's own time: to import torch on a busy machine, and its timer's patience.
_WORKER_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Slot:
    """One place among those that work at the same time.

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
class WorkerRun:
    """How one worker ended, and the last event of each kind that it sent.

    Attributes:
        first: The first news of training, about a second after its beginning.
        curve: The training curve; empty where that was not the task.
    """

    execution: Execution
    started: Started
    source: SourceRead | None
    network: NetworkSeen | None
    questions: QuestionsSeen | None
    stopped: Stopped | None
    evaluated: Evaluated | None
    first: Progress | None
    curve: tuple[CurvePoint, ...]


def start_worker(
    submission: Submission, assignment: Assignment, slot: Slot, mode: Literal["check", "train"], seed: int
) -> WorkerRun:
    """Run one submission in the sandbox, without images; arguments and errors as those of `waiting_worker`.

    Raises:
        InfrastructureError: The worker did not get as far as the student's script.
        Cancelled: The slot was cancelled.
    """
    with waiting_worker(submission, assignment, slot, mode, seed) as begin:
        return begin()


@contextlib.contextmanager
def waiting_worker(
    submission: Submission,
    assignment: Assignment,
    slot: Slot,
    mode: Literal["check", "train"],
    seed: int,
    images: memoryview = _NO_IMAGES,
    untrained: int = 0,
    answer_bytes: int = 0,
) -> Iterator[Callable[[], WorkerRun]]:
    """Start a worker in the sandbox, which imports torch and then waits; yield what has it run the submission.

    Args:
        seed: Of the random state that the script finds.
        images: Test images as bytes, in the order in which they are asked for.
        untrained: So many of the first images are also asked of an untrained copy of the network.
        answer_bytes: What must come back for them.

    Raises:
        InfrastructureError: The sandbox could not be started; or, of what is yielded, the worker did not get as far as
            the student's script.
        Cancelled: Of what is yielded: the slot was cancelled.
    """
    with tempfile.TemporaryDirectory(dir=slot.work, prefix="job-") as name:
        folder = Path(name, "job")
        _lay_out(folder, submission, _task(assignment, slot, mode, seed, len(images), untrained))
        job = replace(_job(assignment, slot, mode, folder), images=images, answer_bytes=answer_bytes)
        with started(slot.isolation, job) as waiting:

            def begin() -> WorkerRun:
                curve = TrainingCurve()
                listener = _listener(submission.student_id, slot.watch, curve) if mode == "train" else None
                return _interpret(waiting.run(slot.cancelled, listener), curve)

            yield begin


def _lay_out(folder: Path, submission: Submission, task: Task) -> None:
    folder.mkdir()
    (folder / "submission").write_bytes(submission.content or b"")
    (folder / "task.json").write_text(to_json(task), encoding="utf-8")
    (folder / "companions").mkdir()
    for companion in submission.companions:
        (folder / "companions" / companion.name).write_bytes(companion.content)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _job(assignment: Assignment, slot: Slot, mode: Literal["check", "train"], folder: Path) -> Job:
    """The job, without what it is asked."""
    limits, budget = assignment.limits, assignment.budget
    training_seconds = limits.setup_seconds + budget.train_seconds + _WORKER_SECONDS
    return Job(
        folder=folder,
        limits=limits,
        ready_seconds=limits.check_seconds if mode == "check" else training_seconds,
        answer_seconds=limits.evaluation_seconds,
        training_set=slot.training_set,
        threads=slot.threads,
        slot=slot.number,
        card=slot.card,
        mps_pipe=slot.mps_pipe,
    )


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


def _task(
    assignment: Assignment, slot: Slot, mode: Literal["check", "train"], seed: int, image_bytes: int, untrained: int
) -> Task:
    limits = assignment.limits
    return Task(
        mode=mode,
        class_name=assignment.class_name,
        blocks=assignment.blocks,
        seed=seed,
        epochs=assignment.budget.epochs,
        train_seconds=assignment.budget.train_seconds,
        setup_seconds=limits.setup_seconds,
        images=image_bytes // IMAGE_BYTES,
        untrained=untrained,
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
    started = _last(events, Started)
    if started is None:
        last = execution.log.decode(errors="replace").strip().splitlines()[-1:]
        raise InfrastructureError(
            f"the worker did not start ({execution.ending}, exit {execution.exit_code}): {' '.join(last)}"
        )
    return WorkerRun(
        execution,
        started,
        source=_last(events, SourceRead),
        network=_last(events, NetworkSeen),
        questions=_last(events, QuestionsSeen),
        stopped=_last(events, Stopped),
        evaluated=_last(events, Evaluated),
        first=next((event for event in events if isinstance(event, Progress)), None),
        curve=curve.points(),
    )


def _events(lines: Iterable[bytes]) -> list[Event]:
    """The lines that are well-formed events; whatever else a script writes to the report is dropped."""
    events = []
    for line in lines:
        with contextlib.suppress(ValidationError):
            events.append(_EVENT.validate_json(line))
    return events


def _last(events: Iterable[Event], kind: type[_Kind]) -> _Kind | None:
    return next((event for event in reversed(tuple(events)) if isinstance(event, kind)), None)
