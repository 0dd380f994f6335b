"""The folder of a job without namespaces is there as long as its grader needs it, and no longer."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from grader.assignment import Assignment
from grader.sandbox.fallback import job_folder
from grader.sandbox.job import Job

KILLED = """
import os, signal, sys, tempfile
from pathlib import Path
from grader.assignment import load_assignment
from grader.sandbox.fallback import job_folder
from grader.sandbox.job import Job
tempfile.tempdir = sys.argv[1]
with job_folder(Job(Path(sys.argv[2]), load_assignment().limits, ready_seconds=1)) as base:
    deep = base / "scratch" / "closed" / "deep"
    deep.mkdir(parents=True)
    deep.parent.chmod(0)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_grader_left_is_removed_by_the_next_job_and_what_is_in_use_is_not(
    tmp_path: Path, assignment: Assignment, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, given = tmp_path / "place", tmp_path / "given"
    place.mkdir()
    given.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    job = Job(given, assignment.limits, ready_seconds=1)
    with job_folder(job) as in_use:
        subprocess.run([sys.executable, "-c", KILLED, str(place), str(given)], check=False)
        assert len(list(place.iterdir())) == 2
        with job_folder(job) as other:
            assert set(place.iterdir()) == {in_use, other}
    assert list(place.iterdir()) == []
