"""What a worker says of its training is bounded before it is kept: student code may have said it."""

import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import grader.run.train as train_stage
from command import run_grader
from grader.assignment import Assignment, load_assignment
from grader.data import count_correct, load_data
from grader.progress import Event, StageBegun
from grader.protocol import Evaluated, Fault, Started, Stopped
from grader.records import Outcome, Reason, Run, StopReason, Training
from grader.report.table import grades_table
from grader.results.entries import Result
from grader.results.ledger import read_ledger
from grader.results.score import grade
from grader.run.replay import Replayers
from grader.run.train import Trained
from grader.run.worker_client import Request, WorkerRun, plausible
from grader.sandbox import Ending, Execution, Isolation
from one_run import only_slot, train_at
from record_examples import entry, submission
from small_class import SMALL_SCRIPT, hand_in_text


@pytest.mark.parametrize(("samples", "seconds"), [(10**400, 1e300), (-(10**400), float("nan")), (0, float("-inf"))])
def test_forged_figures_do_not_break_the_table(samples: int, seconds: float) -> None:
    known = entry(training=plausible(Training(samples, seconds)))
    (row,) = grades_table([Result(submission(), known, grade(submission(), known, load_assignment()))]).to_dict(
        "records"
    )
    assert 0 <= float(row["epochs"]) < 1e9
    assert 0 <= float(row["train_seconds"]) < 1e9


@pytest.mark.sandbox
@pytest.mark.usefixtures("isolation")
def test_the_curve_of_a_run_is_what_its_script_itself_computes(tiny_data: Path, tmp_path: Path) -> None:
    hand_in_text(
        tmp_path / "class",
        "kim",
        "loss = criterion(net(inputs), labels)",
        "scores = net(inputs); loss = criterion(scores, labels); import time; time.sleep(0.4); "
        "print('batch', len(labels), loss.item(), int((scores.max(1)[1] == labels).sum()))",
    )
    finished = run_grader("grade", tmp_path / "class", "--data", tiny_data, "--out", tmp_path / "out")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    (known,) = read_ledger(tmp_path / "out").entries()
    log = (tmp_path / "out" / "logs" / "kim.log").read_text(encoding="utf-8")
    batches = [tuple(map(float, words)) for words in re.findall(r"^batch (\d+) (\S+) (\d+)$", log, re.MULTILINE)]
    images = list(itertools.accumulate(size for size, _, _ in batches))
    assert images[-1] == known.run.training.samples == known.run.training.targets
    assert known.check.image_seconds is not None
    assert min(known.run.processor_seconds, known.run.job_seconds) > 0
    assert known.run.flags == known.check.flags == ()
    assert len(known.run.curve) >= 2
    begin = 0
    for point in known.run.curve:
        end = images.index(point.samples) + 1
        part = batches[begin:end]
        assert point.loss == pytest.approx(sum(loss for _, loss, _ in part) / len(part), abs=1e-4)
        assert point.accuracy == pytest.approx(
            sum(right for _, _, right in part) / sum(size for size, _, _ in part), abs=1e-4
        )
        begin = end


class Workers:
    """Stand for the workers of one submission; remember which optimizations each was allowed."""

    def __init__(self, *runs: Run) -> None:
        self.runs = list(runs)
        self.asked: list[Request] = []

    @contextmanager
    def waiting(self, request: Request) -> Iterator[Any]:
        """Take the place of a worker that waits."""
        yield SimpleNamespace(request=request)

    def trained(self, waiting: Any, *_: object) -> Trained:
        """Take the place of its whole run, and of the test."""
        self.asked.append(waiting.request)
        return Trained(self.runs.pop(0))


def failed(**shares: float) -> Run:
    """A run that failed while these optimizations did so much of the work."""
    used = tuple((name.replace("_", "-"), share) for name, share in shares.items())
    return Run(Outcome.GRADED, StopReason.ERROR, Training(acceleration=used))


@pytest.mark.parametrize(
    ("first", "times"),
    [
        (failed(channels_last=0.9), 2),
        (failed(channels_last=0.0, bfloat16=1.0), 2),
        (failed(channels_last=0.0, batched_transforms=1.0), 1),
        (replace(failed(channels_last=0.9), stop_reason=StopReason.EPOCH_BUDGET), 1),
    ],
    ids=["it may be the layout", "it may be the precision", "it cannot be the layout", "it did not fail"],
)
def test_a_script_that_failed_while_it_was_made_faster_is_trained_again_as_it_is(
    monkeypatch: pytest.MonkeyPatch, assignment: Assignment, first: Run, times: int
) -> None:
    workers = Workers(first, Run(Outcome.GRADED, StopReason.FINISHED))
    monkeypatch.setattr(train_stage, "waiting_worker", workers.waiting)
    monkeypatch.setattr(train_stage, "_trained", workers.trained)
    told: list[Event] = []
    reduced = assignment.model_copy(update={"precision": "bfloat16"})
    slot: Any = SimpleNamespace(watch=told.append)
    request = Request(submission(), reduced, slot, "train", 1)
    with workers.waiting(request) as waiting:
        run = train_stage.train(waiting, load_data("digits"), Replayers()).run
    assert [type(event) for event in told] == [StageBegun][: times - 1]
    assert [asked.assignment.acceleration for asked in workers.asked] == [assignment.acceleration, ()][:times]
    assert [asked.assignment.precision for asked in workers.asked] == ["bfloat16", "script"][:times]
    assert len(run.notes) == times - 1


def test_a_script_that_is_trained_twice_keeps_what_its_first_run_showed() -> None:
    first = replace(
        failed(channels_last=0.9), error="ValueError: no", flags=(Reason.of("a doubt"),), notes=("not this",)
    )
    again = Run(Outcome.GRADED, StopReason.FINISHED, notes=("reported",), flags=(Reason.of("another doubt"),))
    run = train_stage._with_first(Trained(first), Trained(again)).run
    assert [flag.words for flag in run.flags] == [
        "trained twice: the first run failed after 0 images (ValueError: no)",
        "another doubt",
        "a doubt",
    ]
    assert [note.startswith("Your script failed while") for note in run.notes] == [True, False]


@pytest.mark.parametrize(("targets", "outcome"), [(0, Outcome.TIMED_OUT), (640, Outcome.INVALID)])
def test_who_trains_another_class_until_the_time_is_up_reads_of_the_class_and_not_of_the_time(
    assignment: Assignment, targets: int, outcome: Outcome
) -> None:
    stopped = Stopped(StopReason.TIME_BUDGET, training=Training(targets=targets))
    ended = Execution(Ending.EXITED, 0, None, (), b"")
    run = WorkerRun(ended, Started("CPU", "2"), stopped=stopped, evaluated=Evaluated(Fault.NO_NETWORK))
    found, said = train_stage._outcome(run, assignment)
    assert (found, "class IdentityResNet" in said) == (outcome, targets > 0)


@pytest.mark.parametrize(
    ("code", "killed", "outcome"),
    [
        (137, True, Outcome.INFRASTRUCTURE),
        (137, False, Outcome.CRASHED),
        (1, True, Outcome.CRASHED),
    ],
)
def test_a_kill_is_ours_only_where_the_kernel_counted_it(
    assignment: Assignment, code: int, killed: bool, outcome: Outcome
) -> None:
    ended = Execution(Ending.EXITED, code, None, (), b"", killed_for_memory=killed)
    assert train_stage._outcome(WorkerRun(ended, Started("CPU", "2")), assignment)[0] is outcome


@pytest.mark.sandbox
def test_a_run_with_batched_transforms_ends_in_the_same_scores_and_says_how_much_they_did(
    isolation: Isolation, assignment: Assignment, tiny_data: Path, tmp_path: Path
) -> None:
    data = load_data(str(tiny_data))
    with only_slot(data, isolation, tmp_path) as place:
        with_them, without = (
            train_at(*place, SMALL_SCRIPT, assignment.model_copy(update={"acceleration": each}), data)
            for each in (("batched-transforms",), ())
        )
    assert b"[5] loss: " in with_them.log
    assert with_them.log == without.log
    assert with_them.scores is not None
    assert without.scores is not None
    # Both are asked in an order of their own, which decides the last bits of a score.
    assert count_correct(with_them.scores, data.y_test) == count_correct(without.scores, data.y_test)
    shares = [dict(one.run.training.acceleration)["batched-transforms"] for one in (with_them, without)]
    assert shares == [1.0, 0.0]
