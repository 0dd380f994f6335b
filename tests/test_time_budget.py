"""Time up to the budget is the student's; a run that needs nearly all of it is not cut, one that needs more is."""

import re
from pathlib import Path

import pytest
from command import ROOT, SUBMISSIONS, read_table, run_grader

from grader.sandbox import Isolation

pytestmark = pytest.mark.sandbox

SECONDS = 10
HABIT = (SUBMISSIONS / "habits" / "module_level_training" / "hw6.py").read_text(encoding="utf-8")


def slow_script(seconds: float) -> str:
    """A script whose five epochs of two batches last so long, on any machine that is fast enough."""
    pace = f"        time.sleep(max(0, begun + {seconds} * (step + 1) / 10 - time.monotonic()))\n        step += 1\n"
    first, training = HABIT.split("for epoch in range(5):\n")
    training = training.replace("        optimizer.step()\n", "        optimizer.step()\n" + pace)
    return f"import time\n{first}begun, step = time.monotonic(), 0\nfor epoch in range(5):\n{training}"


def test_nearly_all_of_the_time_may_be_used_and_no_more(isolation: Isolation, tiny_data: Path, tmp_path: Path) -> None:
    text = (ROOT / "grader" / "assignment.toml").read_text(encoding="utf-8")
    rules, replaced = re.subn(r"(?m)^train_seconds = \d+", f"train_seconds = {SECONDS}", text)
    assert replaced == 1
    (tmp_path / "short.toml").write_text(rules, encoding="utf-8")
    for student, share in (("kim", 0.8), ("lee", 3)):
        (tmp_path / "handed-in" / student).mkdir(parents=True)
        (tmp_path / "handed-in" / student / "hw6.py").write_text(slow_script(share * SECONDS), encoding="utf-8")
    finished = run_grader(
        *("grade", tmp_path / "handed-in", "--data", tiny_data, "--assignment", tmp_path / "short.toml"),
        *("--out", tmp_path / "out", "--jobs", "2"),
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    rows = read_table(tmp_path / "out" / "grades.csv")
    assert [rows["kim"][column] for column in ("outcome", "stop_reason", "epochs")] == ["graded", "finished", "5.00"]
    assert [rows["lee"][column] for column in ("outcome", "stop_reason")] == ["graded", "time_budget"]
    assert 0 < float(rows["lee"]["epochs"]) < 5
