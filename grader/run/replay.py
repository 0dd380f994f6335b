"""Test a trained network where no student's code runs (replay/): validate it, have it replayed, compare.

A process that runs no student's code may serve a whole class: there is one for each slot, which imports torch once. It
is ended after any failure.
"""

import contextlib
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from grader.assignment import Limits
from grader.data import DataSet, ImagesToScore, count_correct, images_to_score, replayed_images, replayed_scores
from grader.protocol import NetworkSeen
from grader.protocol.exported import ExportedNetwork, NoNetwork, from_bytes, question, sample_rows
from grader.records import ROW_BYTES, Reason
from grader.run.doubts import before_its_network
from grader.run.worker_client import EquippedSlot
from grader.sandbox import Ending, Execution, Job, StartedJob, started

_PROGRAM = ("-m", "grader.replay.main")
# As root, a replay has a user id that no submission has.
_FIRST_SLOT = 500
# For the first network, torch is imported within this time too, on a busy machine.
_READY_SECONDS = 120
_BEYOND = {
    Ending.WALL_LIMIT: "it takes longer than a test may",
    Ending.PROCESSOR_LIMIT: "it takes longer than a test may",
    Ending.MEMORY_LIMIT: "it needs more memory than a run may use",
}
_SEEN: TypeAdapter[NetworkSeen] = TypeAdapter(NetworkSeen)


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of a replay.

    Attributes:
        scores: N x 10 little-endian float32 of the test images in their order; None where it is not faithful.
        network: The graph that was tested, as the check has it; None where there are no scores.
        why_not: Why there are no scores, a clause without a full stop.
        known: The share of some training images, 0 to 1, that it classifies right.
        flags: Why a person should look.
    """

    scores: bytes | None = None
    network: NetworkSeen | None = None
    known: float = 0.0
    why_not: str = ""
    flags: tuple[Reason, ...] = ()


class Replayers:
    """The processes that replay networks on this machine, one for each slot; none is left after `close`.

    A copy on another machine has none of them.
    """

    def __init__(self) -> None:
        self._each: dict[int, Replayer] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type["Replayers"], tuple[()]]:
        return Replayers, ()

    def at(self, slot: EquippedSlot) -> "Replayer":
        """The process of a slot, started when it is first needed; a new one where its threads or card have changed."""
        with self._lock:
            known = self._each.get(slot.number)
            if known is None or _fixed(known.slot) != _fixed(slot):
                if known is not None:
                    known.close()
                known = self._each[slot.number] = Replayer(slot)
            return known

    def close(self) -> None:
        """End them all."""
        with self._lock:
            for each in self._each.values():
                each.close()
            self._each.clear()


class Replayer:
    """One process, and the thread that starts it: bwrap dies with the thread that started it."""

    def __init__(self, slot: EquippedSlot) -> None:
        self.slot = slot
        self._thread = ThreadPoolExecutor(1, f"replay-{slot.number}")
        self._stack = contextlib.ExitStack()
        self._job: StartedJob | None = None

    def prepare(self, limits: Limits) -> None:
        """Have the process import torch while something else goes on, if there is no process yet."""
        self._thread.submit(self._started, limits)

    def replay(self, network: bytes, data: DataSet, limits: Limits, cancelled: threading.Event) -> Replay:
        """Test a network that a worker offered.

        Raises:
            InfrastructureError: The process could not be started or ended.
            Cancelled: `cancelled` was set.
        """
        try:
            exported, _, own_scores = from_bytes(network)
        except NoNetwork as error:
            return Replay(why_not=f"what the script's process handed out is no network ({error})")
        # In a secret order: a graph that counted its batches would know the public one's answers by their place.
        tested = images_to_score(data, np.random.default_rng())
        images = replayed_images(data, exported.sample, tested.images)
        asked = memoryview(question(network, images.tobytes()))
        execution = self._thread.submit(self._asked, asked, len(images) * ROW_BYTES, limits, cancelled).result()
        return _judged(execution, exported, own_scores, data, tested)

    def close(self) -> None:
        """End the process and the thread."""
        self._thread.submit(self._end).result()
        self._thread.shutdown()

    def _started(self, limits: Limits) -> StartedJob:
        if self._job is None:
            self._job = self._stack.enter_context(_started(self.slot, limits))
        return self._job

    def _asked(self, asked: memoryview, answer_bytes: int, limits: Limits, cancelled: threading.Event) -> Execution:
        whole = False
        try:
            execution = self._started(limits).ask(asked, answer_bytes, cancelled)
            whole = execution.answer is not None
        finally:
            if not whole:
                self._end()
        return execution

    def _end(self) -> None:
        self._job = None
        self._stack.close()


def _fixed(slot: EquippedSlot) -> tuple[object, ...]:
    """What of a slot a process keeps from its start to its end."""
    return slot.threads, slot.isolation, slot.work, slot.card


@contextlib.contextmanager
def _started(slot: EquippedSlot, limits: Limits) -> Iterator[StartedJob]:
    with tempfile.TemporaryDirectory(dir=slot.work, prefix="replay-") as name:
        folder = Path(name, "job")
        folder.mkdir(mode=0o755)
        # Not through MPS: no student's fault on the card ends it, and it takes none of the server's places for clients,
        # which are not endless (CUDA's error 808).
        job = Job(
            folder=folder,
            limits=limits,
            ready_seconds=_READY_SECONDS,
            answer_seconds=limits.evaluation_seconds,
            threads=slot.threads,
            slot=_FIRST_SLOT + slot.number,
            card=slot.card,
        )
        with started(slot.isolation, job, _PROGRAM) as waiting:
            yield waiting


def _judged(
    execution: Execution, exported: ExportedNetwork, own_scores: memoryview, data: DataSet, tested: ImagesToScore
) -> Replay:
    if execution.answer is None:
        last = " ".join(execution.log.decode(errors="replace").strip().splitlines()[-1:])[:200]
        why = _BEYOND.get(execution.ending, last or f"exit code {execution.exit_code}")
        return Replay(why_not=f"its recorded forward fails when it is run again ({why})")
    again, scores, differing = replayed_scores(execution.answer, own_scores)
    if differing:
        said = f"its recorded forward scores {differing} of {exported.sample} training images differently"
        return Replay(why_not=said)
    network = _seen(execution)
    if network is None:
        return Replay(why_not="its graph is larger than the grader can judge")
    labels = data.y_train[sample_rows(exported.sample, len(data.y_train))]
    known = count_correct(again, labels) / exported.sample
    return Replay(tested.in_order(scores), network, known, flags=before_its_network(exported))


def _seen(execution: Execution) -> NetworkSeen | None:
    for line in execution.report:
        with contextlib.suppress(ValidationError):
            return _SEEN.validate_json(line)
    return None
