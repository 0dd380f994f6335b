"""Whole classes graded on a GPU: what students write there trains, and what harms a card ends with its script.

Each class is one command, since a grade takes 15 to 30 s on an H100: `pytest -m gpu -s tests/gpu` says what it does.
"""

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from command import SUBMISSIONS, broken_promises, read_table, run_grader_apart
from grader.assignment import Assignment
from grader.data import images_to_score, load_data
from grader.errors import Cancelled
from grader.records import CUDA_GRAPHS, OPTIMIZATIONS, Submission
from grader.results.entries import Entry
from grader.results.ledger import read_ledger
from grader.run.train import BESIDE_ITS_SCRIPT, train
from grader.run.worker_client import Request, waiting_worker
from grader.sandbox import Isolation
from grader.schedule.gpus import machine_has_cards
from one_run import only_slot
from small_class import rules

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.sandbox,
    pytest.mark.skipif(not machine_has_cards(), reason="this machine has no GPU"),
]

CASES = SUBMISSIONS / "gpu"
REPLAYED = ("typical", "hard_coded_cuda_0", "calls_cuda", "data_parallel", "mixed_precision")
TOGETHER = (*REPLAYED, "reads_a_value", "fills_the_card")
HOSTILE = ("lifts_its_share", "leaves_a_process_on_the_card", "writes_to_the_driver")
# Sorts behind the others, so that it is graded after them.
NEXT = "z_next"
# In batches of 4, five times over. With this noise the narrow network has about 97 % right.
TRAIN_IMAGES, BATCHES, NOISE = 800, 1000, 120
ALL_BUT_BFLOAT16 = "[" + ", ".join(f'"{name}"' for name in OPTIMIZATIONS[:-1]) + "]"
WITHOUT_GRAPHS = ALL_BUT_BFLOAT16.replace(f', "{CUDA_GRAPHS}"', "")
# Of the whole card. A context takes some 500; what the driver itself keeps moves by a few.
BACK_WITHIN_MB, BACK_WITHIN_SECONDS = 100, 3
HELD_MB = 4096


@dataclass(frozen=True)
class Class:
    """A class that was graded.

    Attributes:
        before: Memory of the card in use before, in MB; `after`, once the command had ended.
    """

    out: Path
    finished: subprocess.CompletedProcess[str]
    before: int
    after: int

    @property
    def said(self) -> str:
        return self.finished.stdout + self.finished.stderr

    @cached_property
    def table(self) -> dict[str, dict[str, str]]:
        assert self.finished.returncode == 0, self.said
        return read_table(self.out / "grades.csv")

    def runs(self, student: str) -> list[Entry]:
        found = [entry for entry in read_ledger(self.out).entries() if entry.student_id == student]
        assert found, f"{student} has no run: {self.said}"
        return found

    def log(self, student: str) -> str:
        return (self.out / "logs" / f"{student}.log").read_text(encoding="utf-8", errors="replace")


def used_mb() -> int:
    """Memory of the first card that is in use, by whomever."""
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0])


def used_again(before: int) -> int:
    """The memory in use once it is as before, or after some seconds in which it was not."""
    until = time.monotonic() + BACK_WITHIN_SECONDS
    while (used := used_mb()) > before + BACK_WITHIN_MB and time.monotonic() < until:
        time.sleep(0.1)
    return used


def grade(
    home: Path, data: Path, jobs: int, cases: dict[str, str], variables: dict[str, str], **own: float | str
) -> Class:
    """Grade cases of the corpus, by the id that each is handed in under, as one class."""
    for student, case in cases.items():
        shutil.copytree(CASES / case, home / "class" / student)
        # Equal files would be run once.
        with (home / "class" / student / "hw6.py").open("a", encoding="utf-8") as script:
            script.write(f"# {student}\n")
    limits = rules(home / "rules.toml", extra_runs=0, **own)
    before, began = used_mb(), time.monotonic()
    options = ("--data", data, "--out", home / "out", "--jobs", jobs, "--assignment", limits, "--yes")
    finished = run_grader_apart("grade", home / "class", *options, variables=variables)
    print(f"\n{time.monotonic() - began:.0f} s, JOBS={jobs}: {', '.join(cases)}\n{finished.stdout[-3000:]}", flush=True)
    return Class(home / "out", finished, before, used_again(before))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten patterns under noise, made here: a machine with a card may lack scikit-learn and its digits."""
    chance = np.random.default_rng(0)
    patterns = chance.integers(0, 256, (10, 4, 4, 3))
    arrays: dict[str, Any] = {}
    for part, size in (("train", TRAIN_IMAGES), ("test", 300)):
        labels = np.arange(size) % 10
        seen = patterns[labels] + chance.normal(0, NOISE, (size, 4, 4, 3))
        arrays[f"x_{part}"] = seen.clip(0, 255).astype(np.uint8).repeat(8, axis=1).repeat(8, axis=2)
        arrays[f"y_{part}"] = labels
    path = tmp_path_factory.mktemp("data") / "images.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module", autouse=True)
def hidden(isolation: Isolation, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Future[Class]]:
    """A class that sees no card, so that it is graded while others use it."""
    home, variables = tmp_path_factory.mktemp("hidden"), {"CUDA_VISIBLE_DEVICES": ""}
    with ThreadPoolExecutor(1) as beside:
        yield beside.submit(grade, home, images, 2, {NEXT: "typical"}, variables)


@pytest.fixture(scope="module")
def together(isolation: Isolation, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Class:
    """Four at a time, with every optimization."""
    home = tmp_path_factory.mktemp("together")
    return grade(home, images, 4, {name: name for name in TOGETHER}, {}, acceleration=ALL_BUT_BFLOAT16)


@pytest.fixture(scope="module")
def after_a_hang(isolation: Isolation, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Class:
    """One after the other, without graphs: an endless kernel, then the typical script."""
    home = tmp_path_factory.mktemp("hang")
    cases = {"runs_an_endless_kernel": "runs_an_endless_kernel", NEXT: "typical"}
    return grade(*(home, images, 1, cases, {}), acceleration=WITHOUT_GRAPHS, train_seconds=10, evaluation_seconds=15)


@pytest.fixture(scope="module")
def hostile(isolation: Isolation, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Class:
    home = tmp_path_factory.mktemp("hostile")
    return grade(home, images, 2, {name: name for name in HOSTILE} | {NEXT: "typical"}, {})


@pytest.mark.parametrize("case", TOGETHER)
def test_what_students_write_for_a_gpu_is_graded_as_it_promises(case: str, together: Class) -> None:
    row = together.table[case]
    assert not broken_promises(CASES / case, row, together.log(case)), together.runs(case)[-1]
    assert not together.runs(case)[-1].run.device.startswith("CPU")


@pytest.mark.parametrize("case", REPLAYED)
def test_nearly_all_steps_are_replayed_from_a_graph(case: str, together: Class) -> None:
    (run,) = together.runs(case)
    share = dict(run.run.training.acceleration)[CUDA_GRAPHS]
    print(
        f"{case}: {share:.1%} of {run.run.training.batches} steps replayed, {run.run.training.seconds:.1f} s,",
        *run.run.notes,
        flush=True,
    )
    assert run.run.training.batches == BATCHES
    assert share > 0.95, run.run.notes


@pytest.mark.parametrize("case", REPLAYED)
def test_graphs_earn_what_the_script_earns_without_them(case: str, together: Class, after_a_hang: Class) -> None:
    with_graphs, without = together.table[case], after_a_hang.table[NEXT]
    print(f"{case}: {with_graphs['accuracy']} % with graphs, {without['accuracy']} % without", flush=True)
    assert with_graphs["points"] == without["points"]
    assert abs(float(with_graphs["accuracy"]) - float(without["accuracy"])) < 6


@pytest.mark.parametrize("case", REPLAYED)
def test_a_network_is_tested_apart_from_its_script_on_the_card_too(case: str, together: Class) -> None:
    assert BESIDE_ITS_SCRIPT not in together.table[case]["review"]


def test_a_network_that_cannot_be_captured_is_trained_once_and_the_reason_is_kept(together: Class) -> None:
    (run,) = together.runs("reads_a_value")
    print(f"reads_a_value: {run.run.notes}", flush=True)
    assert run.run.training.batches == BATCHES
    assert dict(run.run.training.acceleration)[CUDA_GRAPHS] == 0
    assert [note for note in run.run.notes if "could not train your network with CUDA graphs" in note], run.run.notes
    assert not [note for note in run.run.notes if "trained again" in note]


def test_whoever_fills_the_card_is_run_alone_and_harms_no_neighbour(together: Class) -> None:
    runs = together.runs("fills_the_card")
    print("fills_the_card:", [(run.outcome, run.evidence.jobs, run.run.error) for run in runs], flush=True)
    assert [run.evidence.jobs for run in runs] == [4, 1]
    assert all(run.run.error.startswith("OutOfMemoryError") for run in runs)
    assert all(len(together.runs(case)) == 1 for case in (*REPLAYED, "reads_a_value"))


def test_an_endless_kernel_ends_with_its_script(after_a_hang: Class) -> None:
    case = "runs_an_endless_kernel"
    (run,) = after_a_hang.runs(case)
    print(f"{case}: {run.outcome}, {run.run.error}", flush=True)
    assert "an endless kernel begins" in after_a_hang.log(case)
    assert not broken_promises(CASES / case, after_a_hang.table[case], after_a_hang.log(case))


@pytest.mark.parametrize("case", HOSTILE)
def test_what_harms_a_card_gets_what_its_honest_part_earns(case: str, hostile: Class) -> None:
    assert not broken_promises(CASES / case, hostile.table[case], hostile.log(case)), hostile.runs(case)[-1]


def test_the_hostile_scripts_did_what_they_are_about(hostile: Class) -> None:
    print("\n".join(hostile.log(case)[-600:] for case in HOSTILE), flush=True)
    assert "HOARDED" in hostile.log("lifts_its_share")
    assert "HELD" in hostile.log("leaves_a_process_on_the_card")
    assert "refused: /dev/nvidia" in hostile.log("writes_to_the_driver")
    assert "CHANGED" not in hostile.log("writes_to_the_driver")


@pytest.mark.parametrize("after", ["hostile", "after_a_hang"])
def test_the_next_submission_is_graded_on_the_same_card(after: str, request: pytest.FixtureRequest) -> None:
    among: Class = request.getfixturevalue(after)
    assert among.table[NEXT]["outcome"] == "graded"
    assert not among.runs(NEXT)[-1].run.device.startswith("CPU")


@pytest.mark.parametrize("after", ["together", "hostile", "after_a_hang"])
def test_nothing_is_left_on_the_card(after: str, request: pytest.FixtureRequest) -> None:
    among: Class = request.getfixturevalue(after)
    print(f"{after}: {among.before} MB in use before, {among.after} MB after", flush=True)
    assert among.after <= among.before + BACK_WITHIN_MB
    assert not [each.pid for each in psutil.process_iter(["name"]) if each.info["name"] == "left_on_card"]


def test_a_job_that_is_killed_gives_its_memory_back_at_once(
    isolation: Isolation, assignment: Assignment, images: Path, tmp_path: Path
) -> None:
    data = load_data(str(images))
    with only_slot(data, isolation, tmp_path / "work") as (slot, replayers):
        slot = replace(slot, card="0")
        before, most = used_mb(), 0

        def kill_once_it_holds_memory() -> None:
            nonlocal most
            until = time.monotonic() + 60
            while most < before + HELD_MB and time.monotonic() < until:
                most = max(most, used_mb())
            slot.cancelled.set()

        killer = threading.Thread(target=kill_once_it_holds_memory)
        killer.start()
        request = Request(holds_memory(), assignment, slot, "train", 1, images_to_score(data, np.random.default_rng()))
        with pytest.raises(Cancelled), waiting_worker(request) as worker:
            train(worker, data, replayers)
        killer.join()
    after = used_again(before)
    print(f"a killed job: {before} MB before, {most} MB while it ran, {after} MB after", flush=True)
    assert most >= before + HELD_MB
    assert after <= before + BACK_WITHIN_MB


def holds_memory() -> Submission:
    """Takes memory of the card in its second step, and waits."""
    text = (CASES / "fills_the_card" / "hw6.py").read_text(encoding="utf-8")
    assert "while step == 3:" in text
    text = text.replace("while step == 3:", "if step == 1:").replace("256 << 20", f"{HELD_MB} << 20")
    text = text.replace(
        "        optimizer.zero_grad()\n", "            import time; time.sleep(100)\n        optimizer.zero_grad()\n"
    )
    return Submission("kim", content=text.encode())


def test_without_a_card_in_sight_scripts_are_trained_on_the_processor_and_that_is_said(hidden: Future[Class]) -> None:
    graded = hidden.result()
    assert graded.table[NEXT]["outcome"] == "graded"
    assert graded.runs(NEXT)[-1].run.device.startswith("CPU")
    assert "GPUs: none" in graded.said
