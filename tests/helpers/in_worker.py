"""Run a script in the grader's worker, without a sandbox around it."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

from command import ROOT
from grader.assignment import DEFAULT_ASSIGNMENT
from grader.student.trial import lay_out_job, worker_task

RULES = tomllib.loads(DEFAULT_ASSIGNMENT.read_text(encoding="utf-8"))


def run_in_worker(script: str, folder: Path, start: str = "") -> str:
    """What a script prints in a worker with all optimizations and without a GPU; `start` comes before the worker."""
    submission = folder / "hw6.py"
    submission.write_text(script, encoding="utf-8")
    lay_out_job(folder, submission, worker_task(RULES, 60, 0))
    (folder / "scratch").mkdir(exist_ok=True)
    start += "import runpy\nrunpy.run_module('grader.worker.main', run_name='__main__', alter_sys=True)"
    files = [folder / name for name in ("images", "scores", "report", "job")]
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", start, *files, ""],
        cwd=folder / "scratch",
        env=os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout
