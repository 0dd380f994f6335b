"""A defence counts only against an attack that works: each one gains as soon as its defence is taken away."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grader.assignment import load_assignment
from grader.data import DataSet, ImagesToScore, count_correct, write_training_set
from grader.protocol import READY
from grader.records import Outcome, StopReason
from grader.run import worker_client
from grader.run.replay import Replayers
from grader.run.train import Trained
from grader.run.worker_client import EquippedSlot
from grader.sandbox import Isolation, started
from grader.sandbox.conversation import Conversation
from grader.sandbox.processes import ProcessTree
from hostile_corpus import CASES, HOSTILE, LIMITS, promises
from one_run import only_slot, train_at
from small_class import rules
from witnesses import write_test_set

pytestmark = [pytest.mark.slow, pytest.mark.sandbox, pytest.mark.timeout(300)]

# The worker as it is, after a line that takes one defence from it.
WORKER = "import runpy\n{removal}\nrunpy.run_module('grader.worker.main', run_name='__main__', alter_sys=True)"
NO_STOP = "import time; from grader.worker.budget import Budget; Budget._before_forward = lambda _: time.monotonic()"
# Children were not counted at first; this is what that was like.
NO_STOP_IN_CHILDREN = """
import os, time
from grader.worker import budget
stopped = budget.Budget._before_forward
budget.Budget._before_forward = lambda self: stopped(self) if os.getpid() == self._pid else time.monotonic()
"""
# Each of these made it so, or emptier, when the shape of a forward's first argument was what counted.
ONE_ROW = """
from grader.worker import budget
budget._rows = budget._rows_of_all = lambda _: 1
budget._Targets.settle = lambda _: None
"""
TEST_SET_INSIDE = """
import sys, numpy as np
from grader.worker import dataset
folder = sys.argv[-1]
read = lambda name: np.load(f"{folder}/{name}.npy")
"""


def in_public_order(patch: pytest.MonkeyPatch) -> None:
    """Ask for the test set in its own order."""
    patch.setattr("one_run.images_to_score", lambda data, _: ImagesToScore(data.x_test, np.arange(len(data.x_test))))


def every_kill_is_ours(patch: pytest.MonkeyPatch) -> None:
    """As it was before the kernel was asked."""
    patch.setattr(ProcessTree, "killed_for_memory", True)


def early_answers_count(patch: pytest.MonkeyPatch) -> None:
    """Take the first bytes that come for the answer, whenever they come, and no more than were asked for."""
    in_public_order(patch)

    def on_scores(self: Any, chunk: bytes) -> None:
        self.ready = self.ready or chunk.startswith(READY)
        self._scores = bytearray((bytes(self._scores) + chunk)[: self._job.answer_bytes + 1])
        if len(self._scores) > self._job.answer_bytes:
            del self._scores[0]

    patch.setattr(Conversation, "_on_scores", on_scores)


@dataclass(frozen=True)
class Removal:
    """How one defence is taken away: a line in the worker, something on the grader's side, labels in the sandbox."""

    worker: str = ""
    outside: Callable[[pytest.MonkeyPatch], None] | None = None
    test_set_inside: bool = False


# A network that is replayed never meets a test image: whoever knows them must be asked beside its own script.
BESIDE = """
from grader.worker import export
def stay(_):
    raise export.NotExportable("it stays here")
export.export = stay
"""
COUNTER = Removal(NO_STOP)
CHILDREN = Removal(NO_STOP_IN_CHILDREN)
IN_MEMORY = "dataset.pixels, dataset.answers = read('x_test'), read('y_test')"
STAND_IN = "dataset._stand_in = lambda arrays: (read('x_test'), read('y_test'))"
FX = "from grader.worker.budget import Budget; Budget.recompiling = lambda _, recompile: recompile"
CLOCK = "import time; from grader.worker import budget; budget._now = lambda: time.monotonic()"
HOOKS = """
import torch; from grader.worker import budget
budget._register_hook = lambda tensor, hook: tensor.register_hook(hook)
budget._is_grad_enabled = lambda: torch.is_grad_enabled()
"""
ANY_ENCODING = """
from grader import text
from grader.worker import source
text.shows_what_runs = source.shows_what_runs = lambda _: True
"""
REMOVALS = {
    "asks_for_a_hundred_epochs": COUNTER,
    "swallows_every_exception": COUNTER,
    "outlives_the_end": COUNTER,
    "trains_in_a_thread": COUNTER,
    "trains_one_network_after_another": COUNTER,
    "steps_by_hand": COUNTER,
    "takes_the_hook_off": COUNTER,
    "trains_what_fx_made_of_it": Removal(FX),
    "trains_in_forked_children": CHILDREN,
    "trains_in_a_loader_worker": CHILDREN,
    "trains_when_it_is_asked": Removal(
        "from grader.worker.uncounted import Uncounted; Uncounted.end_training = lambda _: None"
    ),
    "unhooks_what_counts": Removal(HOOKS),
    "says_that_batches_are_empty": Removal(ONE_ROW),
    "hands_a_first_argument_of_one_row": Removal(ONE_ROW),
    "hands_over_a_tuple_of_images": Removal(ONE_ROW),
    "lies_about_its_shape": Removal(ONE_ROW),
    "packs_images_into_channels": Removal(ONE_ROW),
    "learns_the_test_set": Removal(BESIDE + TEST_SET_INSIDE + STAND_IN, test_set_inside=True),
    "searches_the_disk_for_labels": Removal(BESIDE, test_set_inside=True),
    "searches_memory_for_labels": Removal(BESIDE + TEST_SET_INSIDE + IN_MEMORY, test_set_inside=True),
    "answers_in_the_public_order": Removal(BESIDE, outside=in_public_order),
    "answers_before_the_images": Removal(outside=early_answers_count),
    "replaces_the_interpreter": Removal("import os; os.set_inheritable = lambda *_: None"),
}
# Nothing was built against these: there is no way in that could be opened.
NO_WAY_IN = {
    "forges_the_report": "no field of the report is a result",
    "leaves_result_files": "no file of a sandbox is read",
    "exits_with_a_good_code": "no points follow from an exit code",
    "speaks_at_the_end": "the worker ends with os._exit; what is written before that is an answer before the images",
    "answers_with_too_much": "so many bytes are read as were asked for, and each image has one row",
}
OTHERWISE = {"stops_the_clock", "answers_with_nothing", "ends_as_if_it_was_killed", "hides_code_in_a_comment"}


@pytest.fixture(scope="module")
def place(
    isolation: Isolation, digits: DataSet, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[EquippedSlot, Replayers]]:
    with only_slot(digits, isolation, tmp_path_factory.mktemp("slot")) as ready:
        yield ready


@pytest.fixture
def run(
    place: tuple[EquippedSlot, Replayers], digits: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Trained]:
    """Train and test one case as the grader does, less one defence."""
    slot, replayers = place
    assignment = load_assignment(rules(tmp_path / "rules.toml", **LIMITS))

    def run_without(name: str, removal: Removal) -> Trained:
        here = slot
        if removal.test_set_inside:
            here = replace(slot, training_set=tmp_path / "both_sets")
            write_training_set(digits, tmp_path / "both_sets")
            write_test_set(digits, tmp_path / "both_sets")
        if removal.outside:
            removal.outside(monkeypatch)
        program = ("-c", WORKER.format(removal=removal.worker))
        monkeypatch.setattr(worker_client, "started", functools.partial(started, program=program))
        return train_at(here, replayers, HOSTILE / name / "hw6.py", assignment, digits)

    return run_without


@pytest.mark.parametrize("name", REMOVALS)
def test_an_attack_gains_without_its_defence(name: str, run: Callable[..., Trained], digits: DataSet) -> None:
    """Twenty points, where tests/whole/test_hostile.py sees two."""
    found = run(name, REMOVALS[name])
    assert found.scores is not None, found.log.decode(errors="replace")
    assert count_correct(found.scores, digits.y_test) > 0.7 * len(digits.y_test), found.log.decode(errors="replace")


def test_a_stopped_clock_gains_time_where_it_is_asked(run: Callable[..., Trained]) -> None:
    found = run("stops_the_clock", Removal(CLOCK))
    assert (found.run.stop_reason, found.run.training.samples) == (StopReason.FINISHED, 1000)


def test_who_ends_by_a_kill_gets_another_run_where_nobody_asks_the_kernel(run: Callable[..., Trained]) -> None:
    found = run("ends_as_if_it_was_killed", Removal(outside=every_kill_is_ours))
    assert found.run.outcome is Outcome.INFRASTRUCTURE


def test_code_in_a_comment_runs_where_any_encoding_is_read(run: Callable[..., Trained]) -> None:
    found = run("hides_code_in_a_comment", Removal(ANY_ENCODING))
    assert b"HIDDEN CODE RAN" in found.log


def test_nothing_gains_where_what_is_not_finite_counts(
    run: Callable[..., Trained], digits: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = run("answers_with_nothing", Removal())
    assert found.scores is not None
    assert count_correct(found.scores, digits.y_test) == 0
    monkeypatch.setattr(np, "isfinite", lambda rows: np.ones(rows.shape, bool))
    assert count_correct(found.scores, digits.y_test) == (digits.y_test == 0).sum() > 0


def test_every_attack_for_points_was_seen_to_gain_or_has_no_way_in() -> None:
    held = {case.name for case in CASES if promises(case, tries="points", holds="prevented")}
    assert held == REMOVALS.keys() | NO_WAY_IN.keys() | OTHERWISE
