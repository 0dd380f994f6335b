"""One machine, made ready to grade on: its isolation probed, its folder laid out, its speed known where it matters.

Its speed is that of the reference, which is timed here for an estimate and for a time limit that is fair.
"""

import importlib.metadata
import os
import platform
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import psutil
from pydantic import TypeAdapter, ValidationError

from grader.assignment import REFERENCE, Assignment, Sharing
from grader.data import DataSet, write_training_set
from grader.errors import InfrastructureError, UserError
from grader.progress import work_seconds
from grader.records import IsolationLevel, Submission
from grader.run.replay import Replayers
from grader.run.worker_client import EquippedSlot, Request, WorkerRun, start_worker
from grader.sandbox import Isolation, find_isolation
from grader.sandbox.folders import own_folder
from grader.schedule import Here, Slot, mps, slots_of
from grader.schedule.gpus import NO_CARD, cards_here, spread

WORK_NAME, CALIBRATION_NAME = "work", "calibration.json"
# How long the reference is timed for an estimate or for a node's limit.
TIMED_SECONDS = 10
# A machine that is busy with other things once made no second step within ten seconds.
_LONGER = 6
# What a submission takes beside training and test: the check, while its training is set up; on two cores.
_START_SECONDS = 2.5
# The memory that a run is expected to need, of the machine and of a card; it may use more, up to its limits. The
# specified network keeps 4.4 MB an image for its backward pass, so 2.3 GB at batch 512; CUDA has its own part.
_RUN_MB, _RUN_ON_CARD_MB = 6000, 4000
# Runs on one card through MPS. Graded at batch 4, 8 at once made 1,227 steps a second in all and 16 made 1,561 (H200,
# 2026-11-27); without the grader 1,653 and 1,840 (H100, the same day), so more would mostly make each other slower.
_MOST_THROUGH_MPS = 16
_NODE_PREFIX = "grader-node-"


@dataclass(frozen=True, slots=True)
class Calibration:
    """One timing of the reference.

    Attributes:
        images_per_second: Training images, one run with nothing beside it.
        machine: Host, torch and threads. A timing holds for these and for this precision only.
        precision: As in the assignment.
    """

    images_per_second: float
    device: str
    machine: str
    measured_at: datetime
    precision: str


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is to work with, once it is set up.

    Attributes:
        cores: Processor cores, shared among the runs.
        jobs: Runs at the same time.
        cards: GPUs, as CUDA_VISIBLE_DEVICES names them; may be none.
        work: A folder for what the runs are given.
        training_set: The folder with the training arrays; None for a check without data.
        calibration: How fast the reference trains here; None where it was not measured.
        mps_pipe: Where runs find the MPS server through which they share a card; None: a card takes turns.
        replayers: What tests trained networks. Whoever makes a machine for training closes them.
    """

    name: str
    isolation: Isolation
    cores: int
    jobs: int
    cards: tuple[str, ...]
    work: Path
    training_set: Path | None
    calibration: Calibration | None = None
    mps_pipe: Path | None = None
    replayers: Replayers = field(default_factory=Replayers)

    @property
    def threads(self) -> int:
        """Threads of each run beside others. Also the last runs get no more: that could change a result."""
        return max(1, self.cores // self.jobs)

    def equipped(self, slot: Slot) -> EquippedSlot:
        """The slot, with what a run may use there."""
        return EquippedSlot(
            number=slot.number,
            threads=max(1, self.cores) if slot.alone else self.threads,
            isolation=self.isolation,
            training_set=self.training_set,
            work=self.work,
            cancelled=slot.cancelled,
            watch=slot.watch,
            card=slot.card or NO_CARD,
            mps_pipe=self._pipe_for(slot),
            card_share=1.0 if slot.alone else 1 / max(1, spread(self.jobs, self.cards).count(slot.card)),
        )

    def _pipe_for(self, slot: Slot) -> Path | None:
        """None where nothing shares the card, or the server takes no client: then runs take turns."""
        if self.mps_pipe is None or slot.alone or not slot.card:
            return None
        return self.mps_pipe if mps.takes_clients(self.mps_pipe) else None

    def quiet_slot(self, cancelled: threading.Event) -> EquippedSlot:
        """The first slot, for a run that nobody watches."""
        return self.equipped(slots_of(self, "", False, cancelled, lambda _: None)[0])

    def in_force(self, assignment: Assignment) -> Assignment:
        """The assignment with the training time that holds here."""
        budget = assignment.budget
        if budget.time_limit == "wall" or self.calibration is None:
            return assignment
        return assignment.for_seconds(round(budget.calibrated_seconds(self.calibration.images_per_second)))


def this_machine(
    isolation: Isolation,
    jobs: int | None,
    work: Path,
    training_set: Path | None,
    fair_limit: bool,
    sharing: Sharing = "turns",
) -> Machine:
    """The machine that this process runs on, not timed.

    Args:
        jobs: None: as many as `default_jobs` says.
        fair_limit, sharing: As for `default_jobs`.
    """
    cores, cards = usable_cores(), cards_here()
    at_once = jobs or default_jobs(cores, cards, fair_limit, sharing)
    return Machine(platform.node(), isolation, cores, at_once, tuple(cards), work, training_set)


def usable_cores() -> int:
    """How many processor cores this process may use; `taskset`, a cpuset or Slurm may allow it only some of them."""
    return len(os.sched_getaffinity(0))


def default_jobs(cores: int, cards: Mapping[str, int], fair_limit: bool, sharing: Sharing = "turns") -> int:
    """How many runs at the same time, where the teacher does not say.

    With cards as many as their memory and the machine's cores and memory allow: scripts with batches of 4 to 32 leave
    most of a card idle. Without, one run for each core trains a class faster than one run on all cores, but each script
    slower, and two hours by the clock would cut it: so several only where the limit is fair.

    Args:
        cards: The memory of each, in MB.
        fair_limit: How many run beside a script does not cut its time: the limit is calibrated, or there is none.
        sharing: How runs share a card; through MPS sixteen fill it.
    """
    most = max(1, min(cores, (psutil.virtual_memory().total >> 20) // _RUN_MB))
    if not cards:
        return most if fair_limit else 1
    on_each = max(1, min(cards.values()) // _RUN_ON_CARD_MB)
    if sharing == "mps":
        on_each = min(on_each, _MOST_THROUGH_MPS)
    return max(len(cards), min(most, on_each * len(cards)))


@contextmanager
def shared_cards(machine: Machine, assignment: Assignment) -> Iterator[Machine]:
    """The machine with its cards shared as the assignment says, until the end; MPS only where runs share one.

    Raises:
        UserError: The assignment asks for MPS, and it cannot be had here.
    """
    if assignment.sharing == "turns" or not machine.cards or machine.jobs <= len(machine.cards):
        yield machine
        return
    with mps.server(machine.cards) as pipe:
        yield replace(machine, mps_pipe=pipe)


@contextmanager
def node(assignment: Assignment, jobs: int, timed: bool, data: DataSet, here: Here) -> Iterator[Machine]:
    """Set up a node of a cluster, which has nothing but its own disk.

    The least isolation is `strong`, whatever the assignment says: below it, a submission could reach Ray's own sockets
    on the node, and through them every other node.

    Args:
        jobs: Runs at the same time on each card, or on a node without cards.
        timed: Time the reference before anything is graded.

    Raises:
        UserError: The isolation is not enough, there is no room for the data, or MPS is asked for and cannot be had.
        InfrastructureError: The reference could not be timed.
    """
    least = assignment.policy.isolation if assignment.policy.isolation is IsolationLevel.FULL else IsolationLevel.STRONG
    isolation = find_isolation(assignment.limits, least)
    cards = tuple(cards_here())
    with own_folder(Path(tempfile.gettempdir()), _NODE_PREFIX) as work:
        training_set = _laid_out(data, work, "make room in its temporary folder, or set TMPDIR there")
        machine = Machine(here.name, isolation, here.cores, jobs * max(1, len(cards)), cards, work, training_set)
        if timed:
            timing = calibrate(assignment, machine.quiet_slot(here.cancelled), TIMED_SECONDS)
            machine = replace(machine, calibration=timing)
        with closing(machine.replayers), shared_cards(machine, assignment) as ready:
            yield ready


@contextmanager
def work_folder(out: Path, data: DataSet) -> Iterator[tuple[Path, Path]]:
    """A folder below `out` for this grader alone, and the training set in it; removed at the end.

    What a killed grader left there is removed first.

    Raises:
        UserError: There is no room for it.
    """
    folder, way_out = out / WORK_NAME, "make room there or name another folder with OUT="
    try:
        shutil.rmtree(folder, ignore_errors=True)
        try:
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise _no_room(out, error, way_out) from None
        yield folder, _laid_out(data, folder, way_out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _laid_out(data: DataSet, folder: Path, way_out: str) -> Path:
    try:
        write_training_set(data, folder / "training_set")
    except OSError as error:
        raise _no_room(folder, error, way_out) from None
    return folder / "training_set"


def _no_room(folder: Path, error: OSError, way_out: str) -> UserError:
    return UserError(f"cannot write to {folder} ({error.strerror or error}): {way_out}")


def calibrate(assignment: Assignment, slot: EquippedSlot, seconds: int) -> Calibration:
    """Train the reference in the sandbox for a few seconds and time its steps; if these were too few, for longer.

    Raises:
        InfrastructureError: The reference did not train.
        Cancelled: The slot was cancelled.
    """
    for longer in (1, _LONGER):
        run = _reference_run(assignment, slot, longer * seconds)
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


def _reference_run(assignment: Assignment, slot: EquippedSlot, seconds: int) -> WorkerRun:
    """Train the reference for so many seconds, without telling who watches."""
    reference, unwatched = Submission("reference", content=REFERENCE.read_bytes()), replace(slot, watch=lambda _: None)
    return start_worker(Request(reference, assignment.for_seconds(seconds), unwatched, "train", assignment.seed))


def machine_name(threads: int) -> str:
    """The host, torch and threads for which a timing holds."""
    return f"{platform.node()}, torch {importlib.metadata.version('torch')}, {threads} threads"


def saved_calibration(out: Path, threads: int, precision: str) -> Calibration | None:
    """The timing in `out`, if it was made on this machine, with as many threads, in this precision."""
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
