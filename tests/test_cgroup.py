"""Groups: where the kernel offers them, a job is in one from its first instruction, and nothing of it outlives it."""

import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from grader.assignment import Assignment
from grader.sandbox import Ending, Isolation, Job, Listener, execute
from grader.sandbox.cgroup import Cgroup, Refused, find_cgroup

pytestmark = pytest.mark.sandbox


@pytest.fixture
def job(tmp_path: Path, assignment: Assignment) -> Job:
    folder = tmp_path / "job"
    folder.mkdir(mode=0o755)
    limits = assignment.limits.model_copy(update={"memory_mb": 64, "scratch_mb": 8, "shared_memory_mb": 8})
    return Job(folder, limits, ready_seconds=20)


@pytest.fixture(scope="module")
def tree() -> Cgroup:
    """A tree that can be written to, whatever controllers it has."""
    try:
        return find_cgroup(needed=())
    except Refused as refused:
        pytest.skip(str(refused))


def test_a_whole_group_ends_at_once_and_its_folder_goes(tree: Cgroup, job: Job) -> None:
    with tree.group(job) as group:
        command = group.entering(["sh", "-c", "sleep 60 & sleep 60 & echo begun; wait"])
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        inside = (group.folder / "cgroup.procs").read_text().split()
        assert str(process.pid) in inside
        assert len(inside) == 3
    assert process.wait() == -9
    process.stdout.close()
    assert not group.folder.exists()


def test_a_job_is_in_its_group_from_the_start(tree: Cgroup, isolation: Isolation, job: Job) -> None:
    """The namespace hides the group's name from the job, so it is looked at from outside when the job first speaks."""
    before = set(tree.folder.iterdir())
    seen: list[int] = []

    def look(_: bytes) -> None:
        seen.extend(len((path / "cgroup.procs").read_text().split()) for path in set(tree.folder.iterdir()) - before)

    program = ("-c", "print('inside'); import time; time.sleep(1)")
    within = replace(isolation, cgroup=tree)
    execution = execute(within, job, threading.Event(), program, Listener(lambda _: None, look))
    assert execution.ending is Ending.EXITED
    assert seen
    assert seen[0] >= 2
    assert set(tree.folder.iterdir()) == before


def test_a_group_bounds_memory_that_nothing_maps(isolation: Isolation, job: Job) -> None:
    """With the filter of system calls taken away, so that the group alone holds it."""
    try:
        cgroup = find_cgroup()
    except Refused as refused:
        pytest.skip(str(refused))
    hog = "import os\nhidden = os.memfd_create('hidden')\nfor _ in range(256): os.write(hidden, bytes(1 << 20))"
    bare = replace(isolation, cgroup=cgroup, filtered=False)
    assert execute(bare, job, threading.Event(), ("-c", hog)).ending is Ending.MEMORY_LIMIT


def test_a_tree_without_the_controllers_is_refused() -> None:
    """Also where it can be written to: a group that bounds nothing must not be called full isolation."""
    with pytest.raises(Refused, match="no controller for unheard-of"):
        find_cgroup(needed=("unheard-of",))
