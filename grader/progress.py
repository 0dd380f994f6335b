"""What happens while a class is graded: frozen events for whoever watches, and the speed that follows from them.

Events are sent from the threads that grade. Everything else is arithmetic, without a clock or a terminal.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum

from grader.text import duration

# What was measured this long ago weighs 1/e: a batch takes seconds on a slow machine, and rates should not jump.
SMOOTHING_SECONDS = 30.0
# In a log, a finished epoch is worth a line, unless epochs are short; a long one says in between that it goes on.
SHORTEST_SILENCE, LONGEST_SILENCE = 30.0, 300.0
# A forward costs about a third of a training step's arithmetic.
_TEST_COST = 1 / 3


class Stage(StrEnum):
    """Where one submission is."""

    CHECKING = "checking"
    TRAINING = "training"
    TESTING = "testing"


@dataclass(frozen=True, slots=True)
class StageBegun:
    """A submission has reached a stage. A repeated run begins with CHECKING again.

    Attributes:
        detail: Why this run is made; empty for the first one.
        node: The machine that it runs on, where there are several; else empty.
    """

    student_id: str
    stage: Stage
    detail: str = ""
    node: str = ""


@dataclass(frozen=True, slots=True)
class Advanced:
    """Training went on, about once a second.

    Attributes:
        samples: Training images used so far.
        seconds: Since the first training forward.
        loss: Mean loss of the latest batches, as the script's process tells it; None where it is not known.
    """

    student_id: str
    samples: int
    seconds: float
    loss: float | None = None


@dataclass(frozen=True, slots=True)
class Printed:
    """The script printed something: raw bytes, not yet made safe to show."""

    student_id: str
    chunk: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class RunEnded:
    """A run is over and its slot is free. Its result comes separately."""

    student_id: str


@dataclass(frozen=True, slots=True)
class Notice:
    """What the teacher should know about the whole class: one sentence without a full stop."""

    sentence: str


Event = StageBegun | Advanced | Printed | RunEnded | Notice
Watch = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is ahead when training begins.

    Attributes:
        due: Submissions that get a result now.
        done: Submissions that were graded before.
        epoch_samples: Training images in one epoch.
        epochs: Of the budget.
        limit_seconds: The most that one run may train.
        jobs: Runs at the same time.
        run_seconds: Estimate for one whole run; None where the reference was not timed.
        copies: How many of those due get a copy of another student's run, because the files are the same.
    """

    due: int
    done: int
    epoch_samples: int
    epochs: int
    limit_seconds: float
    jobs: int
    run_seconds: float | None = None
    copies: int = 0


def work_seconds(images_per_second: float, images: int, limit_seconds: float, test_size: int) -> float:
    """Estimate training and test of one script, in seconds.

    Args:
        images_per_second: At which it trains.
        images: Training images of all epochs.
        limit_seconds: The most that training may take.
    """
    return min(images / images_per_second, limit_seconds) + _TEST_COST * test_size / images_per_second


@dataclass(frozen=True, slots=True)
class Running:
    """One submission that is being run, as far as its events told.

    Attributes:
        begun: When this run began, on the clock of whoever watches, in seconds.
        heard: When the latest event came, on the same clock.
        seconds: Of training, on the run's own clock; None before the first `Advanced`.
        node: The machine that it runs on, where there are several; else empty.
        recent_samples: Images that were seen to be used, older ones counting less.
        recent_seconds: The time that took, weighted in the same way.
    """

    student_id: str
    stage: Stage
    detail: str
    begun: float
    heard: float
    samples: int = 0
    seconds: float | None = None
    loss: float | None = None
    node: str = ""
    recent_samples: float = 0.0
    recent_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that the display shows.

    Attributes:
        begun: When the display began, on the clock of whoever watches, in seconds.
        running: In the order in which they began.
        runs_over: Runs that have ended, and `run_seconds` the time of all of them together.
        points: Of each student who has a result; None where our fault left none.
        copied: Students whose result is another one's run of the same files.
    """

    begun: float
    running: tuple[Running, ...] = ()
    runs_over: int = 0
    run_seconds: float = 0.0
    points: Mapping[str, Decimal | None] = field(default_factory=dict)
    copied: frozenset[str] = frozenset()


def after(scene: Scene, event: Event, plan: Plan, now: float) -> Scene:
    """Return the scene after an event; one that fits nothing, such as news of an unknown run, changes nothing."""
    if isinstance(event, Notice):
        return scene
    running = {run.student_id: run for run in scene.running}
    known = running.get(event.student_id)
    match event:
        case StageBegun():
            if known is not None and event.stage is Stage.CHECKING:
                scene = _ended(scene, known, now)
            running[event.student_id] = _come_to(known, event, now)
        case Advanced() if known is not None:
            running[event.student_id] = _advanced(known, event, plan, now)
        case RunEnded() if known is not None:
            scene = _ended(scene, running.pop(event.student_id), now)
        case Printed() | Advanced() | RunEnded():
            return scene
    return replace(scene, running=tuple(running.values()))


def with_result(scene: Scene, student_id: str, points: Decimal | None, *, copied: bool) -> Scene:
    """Return the scene with one more student graded."""
    copies = scene.copied | {student_id} if copied else scene.copied
    return replace(scene, points={**scene.points, student_id: points}, copied=copies)


def rate(run: Running) -> float | None:
    """Training images per second of late; None while it is not known."""
    if run.recent_samples <= 0 or run.recent_seconds <= 0:
        return None
    return run.recent_samples / run.recent_seconds


def epochs(run: Running, plan: Plan) -> float:
    """Passes over the training set so far."""
    return run.samples / plan.epoch_samples


def run_left(run: Running, plan: Plan, now: float) -> float | None:
    """Seconds until a run's training ends by images or by time, whichever is first; None while that is not known.

    The test that follows counts for nothing: it is short beside the training.
    """
    if run.stage is Stage.TESTING:
        return 0.0
    speed = rate(run)
    if run.stage is Stage.CHECKING or speed is None or run.seconds is None:
        return None
    by_images = (plan.epochs * plan.epoch_samples - run.samples) / speed
    by_time = plan.limit_seconds - run.seconds
    return max(0.0, min(by_images, by_time) - (now - run.heard))


def class_left(scene: Scene, plan: Plan, now: float) -> float | None:
    """Seconds until everyone is graded; None while nothing is known that it could follow from.

    Whoever waits takes as long as the mean of the runs that are over, of those whose end is in sight, and of the plan's
    estimate as one run more: a few scripts that fail at once say little about the rest. Whoever will get a copy of
    another student's run takes no time.
    """
    whole = _mean_run(scene, plan, now)
    if whole is None:
        return None
    ahead = [
        max(0.0, whole - (now - run.begun)) if (left := run_left(run, plan, now)) is None else left
        for run in scene.running
    ]
    copies = max(0, plan.copies - len(scene.copied))
    waiting = max(0, plan.due - len(scene.points) - copies - len(ahead))
    return max(*ahead, 0.0, (sum(ahead) + waiting * whole) / plan.jobs)


def worth_a_line(told: Running, run: Running, plan: Plan) -> bool:
    """Whether a log should say how training goes, after a line that said `told`."""
    silence = run.heard - told.heard
    epoch_over = int(epochs(run, plan)) > int(epochs(told, plan))
    return silence >= LONGEST_SILENCE or (epoch_over and silence >= SHORTEST_SILENCE)


def training_line(run: Running, plan: Plan, now: float) -> str:
    """Return how one run's training goes, for a log."""
    left = duration(run_left(run, plan, now))
    return f"epoch {epochs_text(run, plan)}, {rate_text(run)} images/s, loss {loss_text(run)}, {left} left"


def epochs_text(run: Running, plan: Plan) -> str:
    """Return the passes over the training set so far, and those of the budget."""
    # Rounded down: "5.0 of 5" is said at the end only.
    return f"{int(epochs(run, plan) * 10) / 10:.1f} of {plan.epochs}"


def rate_text(run: Running) -> str:
    """Return the images per second of late; `-` where that is not known."""
    speed = rate(run)
    if speed is None:
        return "-"
    return f"{speed:.1f}" if speed < 10 else f"{speed:,.0f}"


def loss_text(run: Running) -> str:
    """Return the last loss; `-` where it is not known."""
    if run.loss is None:
        return "-"
    return f"{run.loss:.3f}" if abs(run.loss) < 1_000 else f"{run.loss:.1e}"


def _come_to(known: Running | None, event: StageBegun, now: float) -> Running:
    if known is None or event.stage is Stage.CHECKING:
        return Running(event.student_id, event.stage, event.detail, begun=now, heard=now, node=event.node)
    come = replace(known, stage=event.stage, detail=event.detail, heard=now, node=event.node)
    # Trained again after a test: from the first image on.
    again = event.stage is Stage.TRAINING and known.stage is Stage.TESTING
    return replace(come, samples=0, seconds=None, loss=None, recent_samples=0.0, recent_seconds=0.0) if again else come


def _ended(scene: Scene, run: Running, now: float) -> Scene:
    return replace(scene, runs_over=scene.runs_over + 1, run_seconds=scene.run_seconds + now - run.begun)


def _advanced(run: Running, event: Advanced, plan: Plan, now: float) -> Running:
    # The numbers come from a process in which student code runs.
    if not (math.isfinite(event.seconds) and event.seconds >= (run.seconds or 0.0)):
        return run
    samples = min(max(event.samples, run.samples), plan.epochs * plan.epoch_samples)
    passed = 0.0 if run.seconds is None else event.seconds - run.seconds
    used = 0 if run.seconds is None else samples - run.samples
    keep = math.exp(-passed / SMOOTHING_SECONDS)
    return replace(
        run,
        heard=now,
        samples=samples,
        seconds=event.seconds,
        loss=run.loss if event.loss is None else event.loss,
        recent_samples=run.recent_samples * keep + used,
        recent_seconds=run.recent_seconds * keep + passed,
    )


def _mean_run(scene: Scene, plan: Plan, now: float) -> float | None:
    in_sight = [now - run.begun + left for run in scene.running if (left := run_left(run, plan, now)) is not None]
    estimates = [] if plan.run_seconds is None else [plan.run_seconds]
    runs = scene.runs_over + len(in_sight) + len(estimates)
    return (scene.run_seconds + sum(in_sight) + sum(estimates)) / runs if runs else None
