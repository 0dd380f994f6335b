"""`make demo`: what a newcomer types first, as a whole."""

import subprocess

import pytest

from command import ROOT, SUBMISSIONS, broken_promises, read_table
from grader.data import DIGITS_NOTICE

DEMO = SUBMISSIONS / "demo"
OUT = ROOT / "results" / "demo"

pytestmark = [pytest.mark.slow, pytest.mark.sandbox, pytest.mark.usefixtures("isolation"), pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def printed() -> str:
    """What `make demo` prints."""
    finished = subprocess.run(["make", "demo"], cwd=ROOT, capture_output=True, text=True, timeout=800, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def test_every_student_of_the_demo_gets_what_the_case_promises(printed: str) -> None:
    table = read_table(OUT / "grades.csv")
    broken = []
    for case in sorted(DEMO.iterdir()):
        log = (OUT / "logs" / f"{case.name}.log").read_text(encoding="utf-8", errors="replace")
        broken += broken_promises(case, table[case.name], log)
    assert not broken
    assert {row["points"] for row in table.values()} == {"20", "6", "2", "0"}


def test_who_handed_in_nothing_is_in_the_demo_s_table(printed: str) -> None:
    table = read_table(OUT / "grades.csv")
    (missing,) = [student for student, row in table.items() if row["outcome"] == "no_submission"]
    assert table[missing]["points"] == "0"
    assert missing not in {case.name for case in DEMO.iterdir()}


def test_the_demo_says_on_what_where_and_what_next(printed: str) -> None:
    assert DIGITS_NOTICE in printed
    assert "isolation: strong" in printed
    assert "results/demo/grades.csv" in printed
    assert "next: make grade SUBMISSIONS=" in printed
