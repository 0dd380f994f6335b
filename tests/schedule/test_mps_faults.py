"""A fault on a card that several share through MPS: whoever may have been hit by it runs again alone, unblamed."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

import fake_mps
from fake_mps import AS_ROOT, machine_with_a_card
from grader import pipeline
from grader.assignment import Assignment, load_assignment
from grader.data import DataSet, load_data
from grader.pipeline import Grading, Judged, grade_due, results
from grader.records import Check, Outcome, Run, Score, StopReason, Submission, Verdict
from grader.results.entries import RunReason
from grader.results.ledger import open_ledger
from grader.results.reruns import NextRun, next_run
from grader.run.machine import Machine, shared_cards
from grader.run.replay import Replayers
from grader.run.train import Trained
from grader.run.worker_client import EquippedSlot
from grader.sandbox import Isolation
from grader.sandbox.job import gpu_devices
from grader.schedule import Local
from grader.schedule.gpus import may_be_a_neighbours_fault
from one_run import only_slot
from record_examples import ENTRY, entry
from small_class import SMALL_SCRIPT

ON_A_CARD = Run(Outcome.CRASHED, StopReason.ERROR, device="NVIDIA H100", error="ValueError: no")
TRAINED = replace(ON_A_CARD, outcome=Outcome.GRADED, stop_reason=StopReason.FINISHED, error="")
FAULT = "AcceleratorError: CUDA error: device-side assert triggered"


@pytest.mark.parametrize(
    ("run", "log", "check", "doubted"),
    [
        (replace(ON_A_CARD, error=FAULT), b"", "", True),
        (ON_A_CARD, b"Error 805: MPS client failed to connect to the MPS control daemon\n", "", True),
        (
            replace(ON_A_CARD, error="Error 807: MPS server is not ready to accept new MPS client requests"),
            b"",
            "",
            True,
        ),
        (replace(ON_A_CARD, error="CUDA error: no GPU answers through MPS", device="CPU, 2 threads"), b"", "", True),
        (replace(TRAINED, stop_reason=StopReason.ERROR, error=FAULT), b"", "", True),
        (TRAINED, b"", f"The script failed before it made a network ({FAULT}).", True),
        (Run(Outcome.INFRASTRUCTURE, StopReason.KILLED, error="the worker did not start (wall_limit)"), b"", "", True),
        (ON_A_CARD, b"", "", False),
        (TRAINED, b"", "The first convolution has 32 output channels.", False),
        (TRAINED, b"caught: CUDA error: out of memory\n", "", False),
    ],
)
def test_a_run_is_doubted_where_another_s_fault_may_have_ended_it(
    run: Run, log: bytes, check: str, doubted: bool
) -> None:
    assert may_be_a_neighbours_fault(run, log, check) is doubted


class Class:
    """Three students on one card; whoever is named in `at_fault` meets an error of the card whenever it is run."""

    def __init__(self, machine: Machine, assignment: Assignment, folder: Path, data: DataSet) -> None:
        self.machine, self.assignment, self.folder, self.data = machine, assignment, folder, data
        self.at_fault: set[str] = set()
        self.runs: list[tuple[str, bool]] = []

    def grade_one(
        self,
        submission: Submission,
        run: NextRun,
        assignment: Assignment,
        data: DataSet,
        slot: EquippedSlot,
        _: Replayers,
    ) -> Judged:
        shares = slot.mps_pipe is not None
        self.runs.append((submission.student_id, shares))
        if submission.student_id in self.at_fault or (shares and submission.student_id == "neighbour"):
            return Judged(Check(Verdict.CONFORMING), Trained(replace(ON_A_CARD, error=FAULT)))
        return Judged(Check(Verdict.CONFORMING), Trained(TRAINED), Score(len(data.y_test), len(data.y_test)))

    def graded(self) -> dict[str, list[Outcome]]:
        students = [Submission(name, content=name.encode(), sha256=name) for name in ("faulty", "neighbour", "other")]
        local = Local(self.machine, self.data, threading.Event())
        with open_ledger(self.folder / "out") as ledger:
            grading = Grading(self.assignment, self.data, local, ledger, self.folder / "out")
            outcomes: dict[str, list[Outcome]] = {}
            for graded in grade_due(students, grading, lambda _: None):
                outcomes.setdefault(graded.submission.student_id, []).append(graded.entry.outcome)
            rows = results(students, self.assignment, ledger, grading.run_key)
            self.rows = {row.submission.student_id: row for row in rows}
        return outcomes


@AS_ROOT
def test_whoever_meets_a_fault_beside_others_is_run_again_alone_and_nobody_is_blamed(
    assignment: Assignment, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_mps.install(tmp_path / "bin", monkeypatch)
    monkeypatch.setattr(pipeline, "works", lambda _: True)
    shared = assignment.model_copy(update={"sharing": "mps"})
    with shared_cards(machine_with_a_card(tmp_path), shared) as ready:
        small = Class(ready, shared, tmp_path, load_data(str(tiny_data)))
        small.at_fault = {"faulty"}
        monkeypatch.setattr(pipeline, "grade_one", small.grade_one)
        outcomes = small.graded()
    assert outcomes == {
        "faulty": [Outcome.INFRASTRUCTURE, Outcome.CRASHED],
        "neighbour": [Outcome.INFRASTRUCTURE, Outcome.GRADED],
        "other": [Outcome.GRADED],
    }
    assert sorted(small.runs[:3]) == [("faulty", True), ("neighbour", True), ("other", True)]
    assert sorted(small.runs[3:]) == [("faulty", False), ("neighbour", False)]
    assert {student: row.grade.outcome for student, row in small.rows.items()} == {
        **{"faulty": Outcome.CRASHED, "neighbour": Outcome.GRADED, "other": Outcome.GRADED},
    }
    assert sorted(path.name for path in (tmp_path / "out" / "logs").iterdir()) == [
        *("faulty.log", "faulty~2.log", "neighbour.log", "neighbour~2.log", "other.log"),
    ]


def test_an_interrupted_class_goes_on_with_the_run_alone() -> None:
    beside = replace(ENTRY.evidence, jobs=8, card="0", beside_a_fault=True)
    doubted = entry(outcome=Outcome.INFRASTRUCTURE, correct=None, total=None, error=FAULT, evidence=beside)
    planned = next_run([doubted], load_assignment())
    assert planned is not None
    assert planned.reason is RunReason.ALONE
    assert next_run([doubted, entry(reason=RunReason.ALONE)], load_assignment()) is None


@pytest.mark.sandbox
def test_a_script_does_not_train_on_the_processor_where_the_server_does_not_answer(
    isolation: Isolation, assignment: Assignment, tiny_data: Path, tmp_path: Path
) -> None:
    if gpu_devices():
        pytest.skip("this machine has a GPU, which answers")
    data = load_data(str(tiny_data))
    (tmp_path / "pipe").mkdir()
    student = Submission("kim", content=SMALL_SCRIPT.read_bytes())
    with only_slot(data, isolation, tmp_path / "work") as (slot, replayers):
        slot = replace(slot, card="0", mps_pipe=tmp_path / "pipe")
        judged = pipeline.grade_one(student, NextRun(RunReason.FIRST, 1), assignment, data, slot, replayers)
    run, check = judged.trained.run, judged.check
    assert run.error == "CUDA error: no GPU answers through MPS"
    assert (run.outcome, run.training.samples) == (Outcome.CRASHED, 0)
    assert run.error in check.message
    assert may_be_a_neighbours_fault(run, judged.trained.log, check.message)
