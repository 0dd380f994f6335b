"""Every case of the corpus keeps what its expect.toml says, graded end to end by the real command."""

import hashlib
import re
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
CASES = [case for group in LIMITS for case in sorted((SUBMISSIONS / group).iterdir())]

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
def graded(isolation: Isolation, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The output folder of each group, two submissions at a time."""
    folders = {}
    for group in LIMITS:
        out = tmp_path_factory.mktemp(group)
        rules = tight_assignment(group, tmp_path_factory.mktemp("assignment"))
        finished = run_grader(
            *("grade", SUBMISSIONS / group, "--data", tiny_data, "--assignment", rules),
            *("--out", out, "--jobs", "2"),
        )
        assert "Traceback" not in finished.stderr, finished.stderr
        assert finished.returncode == (1 if group == "broken" else 0), finished.stdout + finished.stderr
        folders[group] = out
    return folders


@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}-{case.name}")
def test_a_case_is_graded_as_it_promises(case: Path, graded: dict[str, Path]) -> None:
    out = graded[case.parent.name]
    row = read_table(out / "grades.csv")[case.name]
    log = (out / "logs" / f"{case.name}.log").read_text(encoding="utf-8", errors="replace")
    assert not broken_promises(case, row, log)


@pytest.mark.timeout(900)
def test_no_honest_habit_raises_a_doubt_of_its_honesty(graded: dict[str, Path]) -> None:
    assert doubted(read_table(graded["habits"] / "grades.csv")) == set()


@pytest.mark.timeout(900)
def test_of_a_file_that_does_not_run_as_it_stands_both_hashes_are_kept(graded: dict[str, Path]) -> None:
    entries = {entry.student_id: entry for entry in read_ledger(graded["habits"]).entries()}
    assert {student for student, entry in entries.items() if entry.check.prepared_sha256} == {
        "colab_lines",
        "saved_as_notebook",
    }
    for student, entry in entries.items():
        folder = SUBMISSIONS / "habits" / student
        content = (folder / "hw6.py").read_bytes()
        assert entry.check.prepared_sha256 == read_source(content).prepared_sha256
        # With a second file beside it, the hash is that of both.
        alone = len(list(folder.glob("*.py"))) == 1
        assert (entry.sha256 == hashlib.sha256(content).hexdigest()) == alone
