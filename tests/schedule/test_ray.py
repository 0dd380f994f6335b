"""Two Ray nodes on one machine: what dies there costs nobody anything, and the table is the one of a single machine."""

import os
import re
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import cluster_work
from cluster_work import Bench
from command import ROOT, SUBMISSIONS, read_table, run_grader_apart, start_grader, wait_until
from grader.errors import Cancelled
from grader.progress import Event, Notice, StageBegun
from grader.records import Outcome
from grader.results.ledger import read_ledger
from grader.run.machine import usable_cores
from grader.schedule import MOST_LOSSES
from small_class import hand_in_small

pytest.importorskip("ray")
from ray.cluster_utils import Cluster as Machines

from grader.schedule.ray import Cluster, connected

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(900)]

_NODE = {"num_cpus": 1, "object_store_memory": 100 << 20}


@dataclass
class Pair:
    """A head that stays, and a second node that a test may kill."""

    cluster: Any
    second: Any = None

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def kill_second(self) -> None:
        self.cluster.remove_node(self.second, allow_graceful=False)
        self.second = None


@pytest.fixture(scope="module")
def head() -> Iterator[Pair]:
    with pytest.MonkeyPatch.context() as patch:
        # Nodes import the grader and a test's work.
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests" / "helpers")]))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Else Ray runs them at the lowest priority, and a busy machine starves them.
        patch.setenv("RAY_worker_niceness", "0")
        pair = Pair(Machines(initialize_head=True, head_node_args=_NODE))
        yield pair
        pair.cluster.shutdown()


@pytest.fixture
def machines(head: Pair) -> Pair:
    """Two nodes, each with one processor."""
    head.second = head.second or head.cluster.add_node(**_NODE)
    return head


@pytest.fixture
def cancelled() -> threading.Event:
    return threading.Event()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def cluster(
    machines: Pair, tmp_path: Path, cancelled: threading.Event, said: list[str]
) -> Iterator[Cluster[Path, Bench]]:
    with connected(machines.address, cluster_work.set_up, tmp_path, 2, cancelled, said.append) as cluster:
        yield cluster


def test_each_node_is_set_up_once_and_all_slots_work(cluster: Cluster[Path, Bench], tmp_path: Path) -> None:
    told: list[Event] = []
    (tmp_path / "go").touch()
    found = [done.result for _, done in cluster.run_all(range(40), cluster_work.wait_for_go, told.append)]
    assert sorted(result[0] for result in found if result) == list(range(40))
    names = {bench.name for bench in cluster.machines}
    assert {result[1:] for result in found if result} == {(name, number) for name in names for number in (0, 1)}
    assert len(list(tmp_path.glob("set-up-*"))) == 2
    assert {event.node for event in told if isinstance(event, StageBegun)} == names
    alone = [done.result for _, done in cluster.run_all(range(8), cluster_work.nobody_beside, told.append, alone=True)]
    assert alone == [True] * 8


def test_a_node_that_dies_loses_nothing(cluster: Cluster[Path, Bench], machines: Pair, tmp_path: Path) -> None:
    told: list[Event] = []
    names = {bench.name for bench in cluster.machines}

    def kill() -> None:
        wait_until(lambda: len(list(tmp_path.glob("begun-*"))) == 4)
        machines.kill_second()
        wait_until(lambda: sum(isinstance(event, Notice) for event in told) == 2)
        (tmp_path / "go").touch()

    killer = threading.Thread(target=kill)
    killer.start()
    found = dict(cluster.run_all(range(8), cluster_work.wait_for_go, told.append))
    killer.join()
    assert sorted(done.result[0] for done in found.values() if done.result) == list(range(8))
    (lost,) = {done.lost for done in found.values() if done.lost}
    (left,) = {done.result[1] for done in found.values() if done.result}
    assert {*lost, left} == names
    assert sum(bool(done.lost) for done in found.values()) == 2


def test_a_killed_process_of_a_node_is_started_again_and_its_task_given_up_in_the_end(
    cluster: Cluster[Path, Bench],
) -> None:
    found = dict(cluster.run_all(range(6), cluster_work.kill_the_process, lambda _: None))
    assert found[0].result is None
    assert len(found[0].lost) == MOST_LOSSES
    assert all(found[task].result for task in range(1, 6))


def test_what_runs_on_the_nodes_ends_with_ctrl_c(
    cluster: Cluster[Path, Bench], cancelled: threading.Event, tmp_path: Path
) -> None:
    def interrupt() -> None:
        wait_until(lambda: len(list(tmp_path.glob("begun-*"))) == 4)
        cancelled.set()

    teacher = threading.Thread(target=interrupt)
    teacher.start()
    with pytest.raises(Cancelled):
        list(cluster.run_all(range(8), cluster_work.wait_for_go, lambda _: None))
    teacher.join()


def test_a_node_that_cannot_be_set_up_is_named_and_left_out(
    machines: Pair, tmp_path: Path, cancelled: threading.Event, said: list[str]
) -> None:
    (tmp_path / "refused").touch()
    with connected(machines.address, cluster_work.set_up, tmp_path, 1, cancelled, said.append) as cluster:
        (bench,) = cluster.machines
        found = [done.result for _, done in cluster.run_all(range(4), cluster_work.answer, lambda _: None)]
    assert {result[1] for result in found if result} == {bench.name}
    (sentence,) = said
    assert sentence.endswith("is left out: the sandbox leaks here")
    assert bench.name not in sentence
    assert list(tmp_path.glob("set-up-*")) == [], "what was set up is undone"


def without_times(out: Path) -> dict[str, dict[str, str]]:
    return {student: row | {"train_seconds": ""} for student, row in read_table(out / "grades.csv").items()}


@pytest.mark.sandbox
@pytest.mark.usefixtures("isolation")
def test_a_class_gets_the_table_of_one_machine_and_the_record_says_where_each_ran(
    machines: Pair, tiny_data: Path, tmp_path: Path
) -> None:
    hand_in_small(tmp_path / "class", "kim", "lee", "박지우")
    shutil.copytree(SUBMISSIONS / "broken" / "crashes_before_the_network", tmp_path / "class" / "choi")
    grade = ("grade", tmp_path / "class", "--data", tiny_data, "--out")
    # Here, too, a run has one thread: more could change what a network learns.
    one = run_grader_apart(*grade, tmp_path / "one", "--jobs", usable_cores(), timeout=800)
    assert one.returncode == 0, one.stdout + one.stderr
    many = run_grader_apart(*grade, tmp_path / "many", "--cluster", machines.address, timeout=800)
    assert many.returncode == 0, many.stdout + many.stderr
    assert without_times(tmp_path / "many") == without_times(tmp_path / "one")
    entries = read_ledger(tmp_path / "many").entries()
    assert len({entry.evidence.machine for entry in entries}) == 2
    assert {entry.evidence.jobs for entry in entries} == {1}
    assert b"accuracy:" in (tmp_path / "many" / "logs" / "kim.log").read_bytes()
    assert "strong" in entries[0].evidence.isolation


@pytest.mark.sandbox
@pytest.mark.usefixtures("isolation")
def test_a_killed_driver_goes_on_and_a_node_that_dies_then_costs_nothing_and_nobody_is_graded_twice(
    machines: Pair, tiny_data: Path, tmp_path: Path
) -> None:
    students = ["choi", "kim", "lee", "park"]
    hand_in_small(tmp_path / "class", *students)
    out = tmp_path / "out"
    cluster = ("--cluster", machines.address)
    first = start_grader(tmp_path / "class", tiny_data, out, *cluster)
    wait_until(lambda: read_ledger(out).entries() or first.poll() is not None)
    first.kill()
    first.communicate()
    survived = read_ledger(out).entries()
    assert 1 <= len(survived) < 4

    second = start_grader(tmp_path / "class", tiny_data, out, *cluster)
    assert second.stdout is not None
    said = ""
    while len(set(re.findall(r": checking on (\S+)", said))) < 2:
        line = second.stdout.readline()
        assert line, said
        said += line
    machines.kill_second()
    rest, _ = second.communicate(timeout=800)
    assert second.returncode == 0, said + rest
    assert "so the grader no longer uses it; the grader repeats that run" in rest
    entries = read_ledger(out).entries()
    assert entries[: len(survived)] == survived
    assert sorted(entry.student_id for entry in entries) == students
    assert {entry.outcome for entry in entries} == {Outcome.GRADED}
    assert sum(bool(entry.evidence.lost) for entry in entries) == 1
