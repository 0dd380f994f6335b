"""Every case of the corpus keeps what its expect.toml says, graded end to end by the real command."""

import functools
import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from command import ROOT, SUBMISSIONS, broken_promises, doubted, read_table, run_grader
from grader.results.ledger import read_ledger
from grader.sandbox import Isolation
from grader.worker.source import read_source

# Small enough that the cases that run into a limit do so within seconds.
LIMITS = {
    "habits": {"train_seconds": 10},
    "broken": {"setup_seconds": 8, "check_seconds": 30, "memory_mb": 2000, "scratch_mb": 64, "output_mb": 16},
}
# Of the habits, what a script may do to how it is read, left, cut or found; the others are slow tests.
OFTEN = {
    "colab_lines",
    "exits_without_a_gpu",
    "model_in_second_file",
    "needs_nearly_all_its_time",
    "raises_after_training",
    "saved_as_notebook",
}
# Of the broken, those that another one stands for in `make test`, with the same outcome reached in the same way; the
# module that only Colab has is graded in tests/test_pipeline.py.
SELDOM = {
    "constructor_takes_three",
    "crashes_before_the_network",
    "downloads_by_itself",
    "empty_file",
    "missing_colab_module",
    "prints_megabytes",
}


def named(group: str) -> list[Path]:
    return sorted((SUBMISSIONS / group).iterdir())


# What is graded together.
CLASSES = {
    "broken": [case for case in named("broken") if case.name not in SELDOM],
    "other_broken": [case for case in named("broken") if case.name in SELDOM],
    "habits": [case for case in named("habits") if case.name in OFTEN],
    "other_habits": [case for case in named("habits") if case.name not in OFTEN],
}
SLOW = {name: [pytest.mark.slow] for name in ("other_broken", "other_habits")}
CASES = [
    pytest.param(name, case, marks=SLOW.get(name, []), id=f"{case.parent.name}-{case.name}")
    for name, found in CLASSES.items()
    for case in found
]
HABITS = [pytest.param(name, marks=SLOW.get(name, [])) for name in ("habits", "other_habits")]

pytestmark = pytest.mark.sandbox


def tight_assignment(group: str, folder: Path) -> Path:
    """The assignment as it is, with limits that a test can wait for."""
    text = (ROOT / "grader" / "assignment.toml").read_text(encoding="utf-8")
    for name, value in LIMITS[group].items():
        text, replaced = re.subn(rf"(?m)^{name} = \d+", f"{name} = {value}", text)
        assert replaced == 1
    path = folder / "tight.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def graded(isolation: Isolation, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The output folder of a class; what runs into the time limit alone is not repeated."""

    @functools.cache
    def grade(name: str) -> Path:
        handed_in, out = tmp_path_factory.mktemp("class"), tmp_path_factory.mktemp("out")
        group = CLASSES[name][0].parent.name
        for case in CLASSES[name]:
            shutil.copytree(case, handed_in / case.name)
        rules = tight_assignment(group, tmp_path_factory.mktemp("assignment"))
        finished = run_grader(
            *("grade", handed_in, "--data", tiny_data, "--assignment", rules, "--out", out),
            *("--jobs", 1 if group == "broken" else 2),
        )
        assert "Traceback" not in finished.stderr, finished.stderr
        assert finished.returncode == (1 if name == "other_broken" else 0), finished.stdout + finished.stderr
        return out

    return grade


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "case"), CASES)
def test_a_case_is_graded_as_it_promises(name: str, case: Path, graded: Callable[[str], Path]) -> None:
    out = graded(name)
    row = read_table(out / "grades.csv")[case.name]
    log = (out / "logs" / f"{case.name}.log").read_text(encoding="utf-8", errors="replace")
    assert not broken_promises(case, row, log)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", HABITS)
def test_no_honest_habit_raises_a_doubt_of_its_honesty(name: str, graded: Callable[[str], Path]) -> None:
    assert doubted(read_table(graded(name) / "grades.csv")) == set()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", HABITS)
def test_of_a_file_that_does_not_run_as_it_stands_both_hashes_are_kept(
    name: str, graded: Callable[[str], Path]
) -> None:
    entries = {entry.student_id: entry for entry in read_ledger(graded(name)).entries()}
    prepared = {"colab_lines", "saved_as_notebook"} & entries.keys()
    assert {student for student, entry in entries.items() if entry.check.prepared_sha256} == prepared
    for student, entry in entries.items():
        folder = SUBMISSIONS / "habits" / student
        content = (folder / "hw6.py").read_bytes()
        assert entry.check.prepared_sha256 == read_source(content).seen.prepared_sha256
        # With a second file beside it, the hash is that of both.
        alone = len(list(folder.glob("*.py"))) == 1
        assert (entry.sha256 == hashlib.sha256(content).hexdigest()) == alone
