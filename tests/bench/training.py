"""The grader beside `python hw6.py`, in turn on the same machine, data and scripts."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from grader.ledger import read_ledger
from results import RESULTS, Out, write_section
from training_table import TITLE, Measured, peak, table
from workloads import WORKLOADS, Workload, write_data

HERE = Path(__file__).parent


def training(
    rounds: Annotated[int, typer.Option(help="How often each way is measured, one after the other.")] = 2,
    out: Out = RESULTS,
) -> None:
    """Train small classes with the grader and without; say each figure as it comes, and write the table anew."""
    measured: list[Measured] = []
    matrix = peak()
    for round_ in range(1, rounds + 1):
        for workload in WORKLOADS:
            for jobs in (0, 1, os.cpu_count() or 1):
                with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                    data = write_data(workload, Path(folder))
                    measured.append(
                        run_grader(workload, Path(folder), data, jobs) if jobs else run_bare(workload, Path(folder))
                    )
                typer.echo(f"round {round_} of {rounds}: {measured[-1]}")
                write_section(out, TITLE, table(measured, matrix))
    typer.echo(f"results: {out}")


def run_bare(workload: Workload, folder: Path) -> Measured:
    """Run the scripts one after another, as a teacher would without a grader."""
    training, began = 0.0, time.monotonic()
    for number in range(workload.submissions):
        (folder / "hw6.py").write_text(workload.script_of(number), encoding="utf-8")
        subprocess.run(
            [sys.executable, HERE / "bare.py", "hw6.py", "times.json"], cwd=folder, check=True, capture_output=True
        )
        times = json.loads((folder / "times.json").read_text())
        # From the end of the first step on, so without the first.
        training += (times["last"] - times["first"]) * times["steps"] / (times["steps"] - 1)
    return Measured(workload, "bare", 1, time.monotonic() - began, training)


def run_grader(workload: Workload, folder: Path, data: Path, jobs: int) -> Measured:
    """Grade the class as `make grade` does, with so many at the same time."""
    for number in range(workload.submissions):
        handed_in = folder / "class" / f"student{number}" / "hw6.py"
        handed_in.parent.mkdir(parents=True)
        handed_in.write_text(workload.script_of(number), encoding="utf-8")
    command = [sys.executable, "-m", "grader", "grade", "class", "--data", data.name, "--out", "out", "--yes"]
    began = time.monotonic()
    subprocess.run([*command, "--jobs", str(jobs)], cwd=folder, check=True, capture_output=True)
    wall = time.monotonic() - began
    entries = read_ledger(folder / "out").entries()
    if len(entries) != workload.submissions or any(entry.samples != workload.images for entry in entries):
        raise SystemExit(f"{workload.name}: not every script was trained to its end")
    shares = [dict(entry.acceleration) for entry in entries]
    levers = {name: min(share[name] for share in shares) for name in shares[0]}
    return Measured(workload, f"grader, JOBS={jobs}", jobs, wall, sum(entry.train_seconds for entry in entries), levers)
