"""How fast the reference trains on this machine: for an estimate, and for a time limit that is fair here."""

import importlib.metadata
import platform
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from grader.assignment import REFERENCE, Assignment
from grader.errors import InfrastructureError
from grader.progress import work_seconds
from grader.records import Submission
from grader.run.worker_client import Request, Slot, WorkerRun, start_worker

CALIBRATION_NAME = "calibration.json"
# What a submission takes beside training and prediction: the check, while its training is set up; on two cores.
_START_SECONDS = 2.5
# A machine that is busy with other things once made no second step within ten seconds.
_LONGER = 6


@dataclass(frozen=True, slots=True)
class Calibration:
    """One timing of the reference.

    Attributes:
        images_per_second: Training images, one run with nothing beside it.
        machine: Host, torch and threads: a timing holds for these only.
        precision: As in the assignment; it holds for this one only.
    """

    images_per_second: float
    device: str
    machine: str
    measured_at: datetime
    precision: str


def calibrate(assignment: Assignment, slot: Slot, seconds: int) -> Calibration:
    """Train the reference in the sandbox for a few seconds and time its steps; where those were too few, for longer.

    Raises:
        InfrastructureError: The reference did not train.
        Cancelled: The slot was cancelled.
    """
    for longer in (1, _LONGER):
        run = _trained(assignment, slot, longer * seconds)
        stopped, first = run.stopped, run.first
        if stopped is None or stopped.error:
            reason = stopped.error if stopped else run.execution.ending
            raise InfrastructureError(f"the reference could not be timed ({reason})")
        training = stopped.training
        if first is not None and training.samples > first.samples:
            # The first steps also set torch up.
            rate = (training.samples - first.samples) / (training.seconds - first.seconds)
            machine, precision = machine_name(slot.threads), assignment.precision
            return Calibration(round(rate, 2), run.started.device, machine, datetime.now(UTC), precision)
    raise InfrastructureError(
        f"the reference made too few steps to be timed within {_LONGER * seconds} seconds: "
        "stop other programs on this machine"
    )


def _trained(assignment: Assignment, slot: Slot, seconds: int) -> WorkerRun:
    """The reference's run of so many seconds, of which nobody is told."""
    budget = assignment.budget.model_copy(update={"train_seconds": seconds})
    timed = assignment.model_copy(update={"budget": budget})
    reference = Submission("reference", content=REFERENCE.read_bytes())
    return start_worker(Request(reference, timed, replace(slot, watch=lambda _: None), "train", assignment.seed))


def machine_name(threads: int) -> str:
    """What a timing holds for."""
    return f"{platform.node()}, torch {importlib.metadata.version('torch')}, {threads} threads"


def saved_calibration(out: Path, threads: int, precision: str) -> Calibration | None:
    """The timing that was kept in `out`, if it was made on this machine with as many threads in this precision."""
    try:
        kept = TypeAdapter(Calibration).validate_json((out / CALIBRATION_NAME).read_bytes())
    except (OSError, ValidationError):
        return None
    return kept if (kept.machine, kept.precision) == (machine_name(threads), precision) else None


def to_json(calibration: Calibration) -> bytes:
    """What `saved_calibration` reads."""
    return TypeAdapter(Calibration).dump_json(calibration, indent=2)


def run_seconds(calibration: Calibration, images: int, limit_seconds: float, test_size: int) -> float:
    """Estimate one whole run of a script that trains as fast as the reference, in seconds.

    Args:
        images: Training images of all epochs.
        limit_seconds: The most that training may take.
    """
    return _START_SECONDS + work_seconds(calibration.images_per_second, images, limit_seconds, test_size)
