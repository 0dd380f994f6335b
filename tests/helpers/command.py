"""Run the grader's command line as a teacher does, and read what it leaves."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from typer.testing import CliRunner

from grader.cli.options import app
from grader.sandbox.job import gpu_devices

ROOT = Path(__file__).parents[2]
SUBMISSIONS = Path(__file__).parents[1] / "submissions"
# What `review` says where a score may not be what an honest network earned.
DOUBTS = (
    *("something else may have been trained", "another Python program", "did not say how training ended"),
    *("started another program", "the first report counts", "no worker of the grader sends"),
    *(
        "more images than the budget",
        "tested beside its own script",
        "is not the one that was checked",
        "something that homework does not need",
        "may do the network's work",
    ),
)
# What a case says in words; and what tests/whole/test_hostile.py holds it to.
IN_WORDS = {"about"} | {"tries", "must_not_gain", "holds", "accuracy_of"}


def run_grader(*arguments: str | Path | int) -> subprocess.CompletedProcess[str]:
    """What `python -m grader ARGUMENTS` prints and how it ends, in this process: a new one loads for over a second."""
    interrupt = signal.getsignal(signal.SIGINT)
    words = list(map(str, arguments))
    try:
        with contextlib.chdir(ROOT):
            ended = CliRunner().invoke(app, words, catch_exceptions=False)
    finally:
        signal.signal(signal.SIGINT, interrupt)
    return subprocess.CompletedProcess(words, ended.exit_code, ended.stdout, ended.stderr)


def run_grader_apart(
    *arguments: str | Path | int, timeout: float = 280, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`python -m grader ARGUMENTS` in a process of its own; `variables` come into its environment."""
    command = [sys.executable, "-m", "grader", *map(str, arguments)]
    env = os.environ | (variables or {})
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False, env=env)


def start_grader(folder: Path, data: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    """`python -m grader grade`, begun; its output comes as it is written."""
    command = [sys.executable, "-m", "grader", "grade", str(folder), "--data", str(data), "--out", str(out), *more]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )


def wait_until(condition: Any) -> None:
    """Come back once the condition holds; fail after five minutes."""
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.05)


def read_table(path: Path) -> dict[str, dict[str, str]]:
    """The rows of a table by student id, every cell as text."""
    frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    return {row["student_id"]: {str(key): str(value) for key, value in row.items()} for _, row in frame.iterrows()}


def expectation(case: Path, *, watched: bool = False) -> dict[str, Any]:
    """What a case of the corpus promises; under `[watched]`, what is otherwise where the disk is only watched."""
    said = tomllib.loads((case / "expect.toml").read_text(encoding="utf-8"))
    otherwise = said.pop("watched", {})
    return said | otherwise if watched else said


def doubted(table: dict[str, dict[str, str]]) -> set[str]:
    """Whoever's `review` holds a doubt of the work's honesty."""
    return {student for student, row in table.items() if any(doubt in row["review"] for doubt in DOUBTS)}


def broken_promises(case: Path, row: dict[str, str], log: str, *, watched: bool = False) -> list[str]:
    """Every line of a case's expect.toml that the grade table or the log does not keep."""
    texts = {"log_contains": log, "message_contains": row["message"], "review_contains": row["review"]}
    columns = {key: key for key in ("outcome", "points", "stop_reason", "accuracy")} | {"verdict": "architecture"}
    broken = []
    for key, wanted in expectation(case, watched=watched).items():
        if key in IN_WORDS:
            continue
        if key in texts:
            kept = all(part in texts[key] for part in ([wanted] if isinstance(wanted, str) else wanted))
        elif key == "message_without_gpu":
            kept = bool(gpu_devices()) or all(part in row["message"] for part in wanted)
        elif key == "review_lacks":
            kept = wanted not in row["review"]
        elif key == "log_lacks":
            kept = wanted not in log
        elif key == "epochs":
            kept = float(row["epochs"]) == wanted
        elif key == "blanks_left":
            kept = f"blanks left: {', '.join(wanted)}" in row["review"]
        else:
            kept = row[columns[key]] == str(wanted)
        if not kept:
            broken.append(f"{key} = {wanted!r}, but the row is {row}")
    return broken
