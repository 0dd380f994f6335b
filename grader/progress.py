"""What happens while a class is graded: frozen events for whoever watches, sent from the threads that grade."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum


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
class Left:
    """A run is over and its slot is free. Its result comes separately."""

    student_id: str


@dataclass(frozen=True, slots=True)
class Notice:
    """What the teacher should know about the whole class: one sentence without a full stop."""

    sentence: str


Event = StageBegun | Advanced | Printed | Left | Notice
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


# A forward costs about a third of a training step's arithmetic.
_TEST_COST = 1 / 3


def work_seconds(images_per_second: float, images: int, limit_seconds: float, test_size: int) -> float:
    """Estimate training and test of one script, in seconds.

    Args:
        images_per_second: At which it trains.
        images: Training images of all epochs.
        limit_seconds: The most that training may take.
    """
    return min(images / images_per_second, limit_seconds) + _TEST_COST * test_size / images_per_second
