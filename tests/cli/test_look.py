"""`make doctor` says what the machine offers, and what is missing for what the assignment asks."""

import re
from pathlib import Path

import pytest

from command import ROOT, run_grader
from grader.assignment import Assignment
from grader.cli.look import memory
from grader.sandbox import PROBES, Isolation

pytestmark = pytest.mark.sandbox


def test_the_doctor_names_the_level_each_probe_and_the_machine(isolation: Isolation, tmp_path: Path) -> None:
    finished = run_grader("doctor", "--out", tmp_path / "out")
    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.splitlines()
    assert lines[0] == f"isolation: {isolation.description}"
    for name in PROBES:
        assert any(line.endswith(f" {name}") for line in lines), name
    for what in ("GPU: ", "torch: ", "memory: ", "disk: ", "speed: not timed yet"):
        assert any(line.startswith(what) for line in lines), what
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("jobs", "enough"), [(1, True), (100_000, False)])
def test_more_runs_than_the_memory_holds_are_said(assignment: Assignment, jobs: int, enough: bool) -> None:
    small = assignment.model_copy(update={"limits": assignment.limits.model_copy(update={"memory_mb": 100})})
    line, fits = memory(jobs, small)
    assert fits is enough
    assert f"{jobs} at a time may use {jobs * 100} MB" in line
    assert ("lower memory_mb in the assignment, or JOBS=" in line) is not enough


def test_the_doctor_says_where_nothing_would_be_graded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isolation: Isolation
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said = run_grader("doctor", "--out", tmp_path / "out").stdout
    assert "nothing can be graded here" in said
    assert re.search(r"to raise it to strong: .*apt-get install bubblewrap", said)


def test_a_level_that_is_not_one_is_a_mistake(tmp_path: Path) -> None:
    text = (ROOT / "grader" / "assignment.toml").read_text(encoding="utf-8")
    rules = tmp_path / "rules.toml"
    rules.write_text(text.replace('isolation = "strong"', 'isolation = "some"'), encoding="utf-8")
    finished = run_grader("doctor", "--assignment", rules)
    assert finished.returncode == 2
    assert "policy.isolation" in finished.stderr
