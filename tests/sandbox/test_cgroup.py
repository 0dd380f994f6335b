"""Groups: where the kernel offers them, a job is in one from its first instruction, and nothing of it outlives it."""

import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from grader.sandbox import Ending, Isolation, Job, Listener, started
from grader.sandbox.cgroup import Cgroup, Refused, find_cgroup
from other_user import as_user, delegated, open_python
from sandboxed import run

pytestmark = pytest.mark.sandbox


@pytest.fixture
def job(job: Job) -> Job:
    """One that may use little memory."""
    small = {"memory_mb": 64, "scratch_mb": 8, "shared_memory_mb": 8}
    return replace(job, limits=job.limits.model_copy(update=small))


@pytest.fixture(scope="module")
def tree() -> Cgroup:
    """A tree that can be written to, whatever controllers it has."""
    try:
        return find_cgroup(needed=())
    except Refused as refused:
        pytest.skip(str(refused))


def test_a_whole_group_ends_at_once_and_its_folder_goes(tree: Cgroup, job: Job) -> None:
    with tree.group(job.limits, job.threads) as group:
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
    with started(within, job, program) as waiting, waiting.begun(threading.Event(), Listener(log=look)) as running:
        execution = running.wait()
    assert execution.ending is Ending.EXITED
    assert seen
    assert seen[0] >= 2
    assert set(tree.folder.iterdir()) == before


@pytest.fixture
def crowded(bounding: Cgroup) -> Iterator[Cgroup]:
    """A tree in which there is less memory than a single job may have."""
    folder = bounding.folder / f"crowded-{os.getpid()}"
    folder.mkdir()
    try:
        (folder / "memory.max").write_text(str(48 << 20))
        (folder / "cgroup.subtree_control").write_text("+memory +pids")
        yield Cgroup(folder, frozenset({"memory", "pids"}))
    finally:
        folder.rmdir()


# With the filter of system calls taken away, so that the group alone holds it.
HOG = "import os\nhidden = os.memfd_create('hidden')\nfor _ in range(256): os.write(hidden, bytes(1 << 20))"


def test_a_group_bounds_memory_that_nothing_maps(isolation: Isolation, bounding: Cgroup, job: Job) -> None:
    bare = replace(isolation, cgroup=bounding, filtered=False)
    assert run(bare, job, HOG).ending is Ending.MEMORY_LIMIT


def test_a_job_that_the_kernel_ended_for_want_of_memory_elsewhere_met_no_limit(
    isolation: Isolation, crowded: Cgroup, job: Job
) -> None:
    """The machine was full, and the job within its own limit: that is nobody's fault but ours."""
    bare = replace(isolation, cgroup=crowded, filtered=False)
    execution = run(bare, job, HOG)
    assert execution.ending is Ending.EXITED
    assert execution.exit_code == 128 + 9


def test_a_job_in_a_group_may_start_as_many_processes_as_without_one(
    isolation: Isolation, bounding: Cgroup, job: Job
) -> None:
    """Bubblewrap's own processes are in the group too, and are not the script's."""
    few = replace(job, limits=job.limits.model_copy(update={"processes": 16}))
    forks = (
        "import os, resource, signal\nresource.setrlimit(resource.RLIMIT_NPROC, (16, 16))\nstarted = 0\ntry:\n"
        "    while os.fork() or signal.pause(): started += 1\nexcept BlockingIOError: print(started)"
    )
    without, within = (run(replace(isolation, cgroup=cgroup), few, forks).log for cgroup in (None, bounding))
    assert int(without) >= 14
    assert within == without


def test_graders_one_after_another_find_the_same_tree(tree: Cgroup, tmp_path: Path) -> None:
    """The first moves itself one level down; whoever comes later from there must not move further."""
    tmp_path.chmod(0o777)
    for folder in tmp_path.parents[:2]:
        folder.chmod(0o755)
    find = "from grader.sandbox.cgroup import find_cgroup; print(find_cgroup(needed=()).folder)"
    python = [*open_python(), "-c"]
    twice = f"import subprocess, sys\n{find}\n{find}\nsubprocess.run({python!r} + [{find!r}], check=True)"
    with delegated(tree) as group:
        found = as_user(tmp_path, *python, twice, group=group)
        assert found.stdout.split() == [str(group)] * 3, found.stderr


def test_a_tree_without_the_controllers_is_refused() -> None:
    """Also where it can be written to: a group that bounds nothing must not be called full isolation."""
    with pytest.raises(Refused, match="no controller for unheard-of"):
        find_cgroup(needed=("unheard-of",))
