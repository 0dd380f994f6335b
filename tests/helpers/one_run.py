"""Train and test one file as the grader does, without the command around it."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from grader.assignment import Assignment
from grader.data import DataSet, images_to_score, write_training_set
from grader.records import Submission
from grader.run.replay import Replayers
from grader.run.train import Trained, train
from grader.run.worker_client import EquippedSlot, Request, waiting_worker
from grader.sandbox import Isolation


def train_once(script: Path, assignment: Assignment, data: DataSet, isolation: Isolation, folder: Path) -> Trained:
    """One run with one thread, seeded as a first run is.

    Args:
        folder: The training set comes below it.
    """
    with only_slot(data, isolation, folder) as (slot, replayers):
        return train_at(slot, replayers, script, assignment, data)


def train_at(slot: EquippedSlot, replayers: Replayers, script: Path, assignment: Assignment, data: DataSet) -> Trained:
    """As `train_once`, at a slot that serves several runs: what replays their networks imports torch once."""
    submission = Submission(script.parent.name, content=script.read_bytes())
    images = images_to_score(data, np.random.default_rng())
    request = Request(submission, assignment, slot, "train", assignment.seed, images)
    with waiting_worker(request) as worker:
        return train(worker, data, replayers)


@contextmanager
def only_slot(data: DataSet, isolation: Isolation, folder: Path) -> Iterator[tuple[EquippedSlot, Replayers]]:
    """A slot with one thread and the training set below `folder`, and what replays its networks."""
    folder.mkdir(exist_ok=True)
    write_training_set(data, folder / "training_set")
    with closing(Replayers()) as replayers:
        cancelled = threading.Event()
        yield EquippedSlot(0, 1, isolation, folder / "training_set", folder, cancelled, lambda _: None), replayers
