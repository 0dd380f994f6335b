"""The ladder: never weaker than promised in silence, and the rungs without namespaces grade as the others do."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from command import ROOT, SUBMISSIONS, read_table
from grader.assignment import Assignment
from grader.errors import UserError
from grader.records import IsolationLevel
from grader.sandbox import PROBES, Isolation, fallback, find_isolation, ladder, rungs, seccomp
from grader.sandbox.cgroup import Cgroup
from grader.sandbox.ladder import HIDDEN_MEMORY
from other_user import UID, as_user, open_python

pytestmark = pytest.mark.sandbox


def test_nothing_below_the_wish_is_taken(assignment: Assignment) -> None:
    offered = {rung.level for rung in rungs(assignment.limits) if rung.isolation is not None}
    if IsolationLevel.FULL in offered:
        assert find_isolation(assignment.limits, IsolationLevel.FULL).level is IsolationLevel.FULL
    else:
        with pytest.raises(UserError, match="asks for isolation of at least full, so nothing was graded"):
            find_isolation(assignment.limits, IsolationLevel.FULL)


def test_none_is_taken_only_by_name(assignment: Assignment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(fallback, "landlock_missing", lambda: "there is no Landlock")
    with pytest.raises(UserError, match="there is no Landlock"):
        find_isolation(assignment.limits, IsolationLevel.PARTIAL)


def test_a_level_that_is_stronger_than_the_wish_is_taken(assignment: Assignment) -> None:
    assert find_isolation(assignment.limits, IsolationLevel.NONE).level is not IsolationLevel.NONE


@pytest.fixture
def home() -> Iterator[Path]:
    """A user's folder: a submission whose DataLoader has workers, and `programs` without bubblewrap."""
    folder = Path(tempfile.mkdtemp(prefix="grader-ladder-"))
    shutil.copytree(SUBMISSIONS / "habits" / "summarises_network", folder / "submissions" / "kim")
    (folder / "programs").mkdir()
    for name in ("rm", "chmod"):
        (folder / "programs" / name).symlink_to(shutil.which(name) or "")
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("level", ["partial", "none"])
def test_a_class_is_graded_without_namespaces(level: str, home: Path, tiny_data: Path) -> None:
    rules = (ROOT / "grader" / "assignment.toml").read_text(encoding="utf-8")
    (home / "rules.toml").write_text(re.sub('(?m)^isolation = "strong"', f'isolation = "{level}"', rules))
    shutil.copy(tiny_data, home / "tiny.npz")
    for path in (home, *home.rglob("*")):
        os.chown(path, UID, UID, follow_symlinks=False)
    env, *python = open_python()
    # A policy of `none` still takes whatever is stronger, so that must be out of reach.
    hide = "import grader.sandbox.fallback as f; f.landlock_missing = lambda: 'hidden'; " if level == "none" else ""
    command = [env, f"PATH={home / 'programs'}", *python, "-c", f"{hide}from grader.cli import main; main()"]
    arguments = ["grade", "submissions", "--data", "tiny.npz", "--out", "out", "--assignment", "rules.toml"]
    finished = as_user(home, *command, *arguments)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert f"isolation: {level} (" in finished.stdout
    row = read_table(home / "out" / "grades.csv")["kim"]
    assert row["outcome"] == "graded"
    assert row["stop_reason"] in ("finished", "epoch_budget")
    assert ("provisional: graded without isolation" in row["review"]) == (level == "none")


def test_a_cgroup_in_which_no_job_runs_is_not_chosen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, assignment: Assignment
) -> None:
    """An ordinary folder takes every word that is written to it, and cannot be removed afterwards."""
    monkeypatch.setattr(ladder, "find_cgroup", lambda: Cgroup(tmp_path, frozenset({"memory", "pids"})))
    full = next(rungs(assignment.limits))
    assert full.isolation is None
    assert "no job runs in a cgroup here" in full.refusal
    assert find_isolation(assignment.limits).level is IsolationLevel.STRONG


def test_a_sandbox_that_leaks_for_want_of_the_filter_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, assignment: Assignment
) -> None:
    """As root only the filter keeps a job from user namespaces; as an ordinary user bubblewrap does."""
    monkeypatch.setattr(seccomp, "missing", lambda: "there is no libseccomp")
    strong = next(rung for rung in rungs(assignment.limits) if rung.level is IsolationLevel.STRONG)
    assert strong.isolation is not None or strong.raise_by == ladder.INSTALL_SECCOMP, strong.refusal


@pytest.fixture
def unfiltered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without libseccomp; as root the filter is also what keeps a job from user namespaces."""
    monkeypatch.setattr(seccomp, "missing", lambda: "there is no libseccomp")
    monkeypatch.setitem(ladder._OPEN, IsolationLevel.STRONG, {HIDDEN_MEMORY, "makes a user namespace"})


@pytest.mark.usefixtures("unfiltered")
def test_full_bounds_hidden_memory_also_without_the_filter(bounding: Cgroup, assignment: Assignment) -> None:
    full, strong, *_ = rungs(assignment.limits)
    assert full.isolation is not None, full.refusal
    assert strong.isolation is not None
    assert "a shared-memory hog is not bounded" in strong.isolation.description
    assert full.isolation.cgroup == bounding
    assert "a shared-memory hog is not bounded" not in full.isolation.description


@pytest.mark.usefixtures("unfiltered")
def test_a_cgroup_that_does_not_bound_memory_is_not_chosen(
    monkeypatch: pytest.MonkeyPatch, bounding: Cgroup, assignment: Assignment
) -> None:
    monkeypatch.setattr(ladder, "find_cgroup", lambda: Cgroup(bounding.folder, frozenset({"pids"})))
    full = next(rungs(assignment.limits))
    assert full.isolation is None
    assert full.refusal == "the cgroup does not bound memory"


def test_a_level_is_described_by_its_parts_whatever_another_one_is_called() -> None:
    strong = Isolation(IsolationLevel.STRONG, "", bwrap="/usr/bin/bwrap", filtered=True)
    full = Isolation(IsolationLevel.FULL, "", bwrap="/usr/bin/bwrap", filtered=True)
    held = f"{len(PROBES) - 1} of {len(PROBES)} probes held"
    assert ladder._described(strong, ["a, b"], [HIDDEN_MEMORY]) == (
        f"strong (a, b; {held}; a shared-memory hog is not bounded)"
    )
    assert ladder._described(full, ["cgroup for cpu", "a, b"], [HIDDEN_MEMORY]) == (
        f"full (cgroup for cpu; a, b; {held})"
    )
