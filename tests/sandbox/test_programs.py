"""What a job uses and starts is measured outside it: its forks are its own, and any other program is named."""

import os
import subprocess
from dataclasses import replace
from typing import Any

import psutil
import pytest

import sandboxed
from grader.sandbox import Execution, Isolation, Job, processes
from grader.sandbox.processes import ProcessTree

pytestmark = pytest.mark.sandbox
# The job's own process is found while it sets itself up, which takes a worker longer than this.
SET_UP = "import os, time; time.sleep(0.7)\n"
WORK = "import time\nend = time.process_time() + 0.6\nwhile time.process_time() < end: pass\n"
RUNS_ANOTHER = "if os.fork() == 0: os.execv('/proc/self/exe', ['hw6.py', '-c', work])\nos.wait()"


def run(isolation: Isolation, job: Job, program: str) -> Execution:
    """Run it where `work` is a program that uses a processor."""
    return sandboxed.run(isolation, job, f"work = {WORK!r}\n{SET_UP}{program}")


def test_processor_time_is_measured_and_a_fork_is_no_program(isolation: Isolation, job: Job) -> None:
    seen = run(isolation, job, "os.fork()\nexec(work)\ntime.sleep(0.4)\nos.wait() if os.getpid() == 2 else None")
    assert seen.programs == ()
    assert 0.9 < seen.processor_seconds < 5
    assert seen.seconds > 1.2


@pytest.mark.parametrize(
    "program",
    [
        RUNS_ANOTHER,
        "import multiprocessing as m\nnamed = {'w': work}\n"
        "s = m.get_context('spawn').Process(target=exec, args=(work,)); s.start(); s.join()",
        "os.execv('/proc/self/exe', ['python', '-P', '-B', '-c', work])",
    ],
    ids=["/proc/self/exe", "spawn", "in its own place"],
)
def test_a_program_that_a_job_starts_is_named_with_its_processor_time(
    isolation: Isolation, job: Job, program: str
) -> None:
    assert max(used for _, used in run(isolation, job, program).programs) > 0.1


@pytest.mark.parametrize(("before", "after", "killed"), [(3, 4, True), (3, 3, False)])
def test_without_a_group_the_machine_s_own_count_says_whether_memory_was_short(
    isolation: Isolation, job: Job, monkeypatch: pytest.MonkeyPatch, before: int, after: int, killed: bool
) -> None:
    counts = iter([before, after])
    monkeypatch.setattr("grader.sandbox.processes._kills_for_memory", lambda: next(counts))
    seen = run(replace(isolation, cgroup=None), job, "os.kill(os.getpid(), 9)")
    assert (seen.exit_code, seen.killed_for_memory) == (137, killed)


def test_a_group_of_its_own_is_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    class Group:
        killed_for_memory = staticmethod(lambda: False)

    monkeypatch.setattr("grader.sandbox.processes._kills_for_memory", lambda: 9)
    tree: Any = ProcessTree.__new__(type("Tree", (ProcessTree,), {"kill": lambda self: None}))
    tree._kills_before = 1
    tree._group = Group()
    assert not tree.killed_for_memory
    tree._group = None
    assert tree.killed_for_memory


def test_what_runs_the_job_is_no_program_of_the_script_though_both_began_in_the_same_moment(
    isolation: Isolation, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: 1.0)
    assert run(isolation, job, "exec(work)\ntime.sleep(0.4)").programs == ()


def test_jobs_that_look_at_the_same_time_read_the_machine_s_processes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen that each read them kept a core busy, and a class on a GPU stood still."""
    reads, read = [], processes._children

    def counted() -> dict[int, list[int]]:
        reads.append(1)
        return read()

    monkeypatch.setattr(processes, "_children", counted)
    family, child = processes._Family(), ["cat"]
    with subprocess.Popen(child, stdin=subprocess.PIPE) as first:
        seen = [{each.pid for each in family.below(os.getppid(), age=60)} for _ in range(3)]
        assert {os.getpid(), first.pid} <= seen[0], "children and their children"
        assert len(reads) == 1
        with subprocess.Popen(child, stdin=subprocess.PIPE) as later:
            assert later.pid in {each.pid for each in family.below(os.getpid(), age=0)}
        assert len(reads) == 2
    assert seen[0] == seen[1] == seen[2]


def test_numbers_that_were_given_anew_while_they_were_read_keep_no_job_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then a process can be its own ancestor: a job's watcher would never come back."""
    own, parent = os.getpid(), os.getppid()
    monkeypatch.setattr(processes, "_children", lambda: {own: [parent], parent: [own]})
    assert [each.pid for each in processes._Family().below(own, age=0)] == [parent]
