"""The grader beside `python hw6.py`, in turn on the same machine, data and scripts."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from grader.results.ledger import read_ledger
from grader.run.machine import default_jobs
from grader.schedule.gpus import cards_here
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
    # On a machine without a card, the default where a calibrated limit makes it fair.
    together = default_jobs(os.cpu_count() or 1, cards_here(), fair_limit=True)
    how: list[tuple[int, str]] = [(1, ""), (together, ""), (together, "bfloat16")]
    ways: list[Callable[[Workload, Path, Path], Measured]] = [run_bare, *(partial(run_grader, *each) for each in how)]
    for round_ in range(1, rounds + 1):
        for workload in WORKLOADS:
            for way in ways:
                with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                    data = write_data(workload, Path(folder))
                    measured.append(way(workload, Path(folder), data))
                typer.echo(f"round {round_} of {rounds}: {measured[-1]}")
                write_section(out, TITLE, table(measured, matrix))
    typer.echo(f"results: {out}")


def run_bare(workload: Workload, folder: Path, _: Path) -> Measured:
    """Run the scripts one after another, as a teacher would without a grader."""
    training, began = 0.0, time.monotonic()
    for number in range(workload.submissions):
        (folder / "hw6.py").write_text(workload.script_of(number), encoding="utf-8")
        bare = [sys.executable, str(HERE / "bare.py"), "hw6.py", "times.json"]
        subprocess.run(bare, cwd=folder, env=_environment(), check=True, capture_output=True)
        times = json.loads((folder / "times.json").read_text())
        # From the end of the first step on, so without the first.
        training += (times["last"] - times["first"]) * times["steps"] / (times["steps"] - 1)
    return Measured(workload, "bare", 1, time.monotonic() - began, training)


def run_grader(jobs: int, precision: str, workload: Workload, folder: Path, data: Path) -> Measured:
    """Grade the class as `make grade` does, with so many at the same time; `precision` may be empty."""
    for number in range(workload.submissions):
        handed_in = folder / "class" / f"student{number}" / "hw6.py"
        handed_in.parent.mkdir(parents=True)
        handed_in.write_text(workload.script_of(number), encoding="utf-8")
    command = [sys.executable, "-m", "grader", "grade", "class", "--data", data.name, "--out", "out", "--yes"]
    command += ["--jobs", str(jobs), *(["--precision", precision] if precision else [])]
    wall, testing, once = _watched(command, folder)
    entries = read_ledger(folder / "out").entries()
    if len(entries) != workload.submissions or any(entry.run.training.samples != workload.images for entry in entries):
        raise SystemExit(f"{workload.name}: not every script was trained to its end")
    shares = [dict(entry.run.training.acceleration) for entry in entries]
    optimizations = {name: min(share[name] for share in shares) for name in shares[0]}
    way = f"grader, JOBS={jobs}" + (f", {precision}" if precision else "")
    training = sum(entry.run.training.seconds for entry in entries)
    return Measured(workload, way, jobs, wall, training, testing, once, optimizations)


def _watched(command: list[str], folder: Path) -> tuple[float, float, float]:
    """Run a grader; the times of `Measured` that it does not write down, by its lines: wall, testing and once."""
    testing: dict[str, float] = {}
    first = last = tested = 0.0
    began = time.monotonic()
    with subprocess.Popen(command, cwd=folder, env=_environment(), stdout=subprocess.PIPE, text=True) as grader:
        assert grader.stdout is not None
        for line in grader.stdout:
            student, _, said = line.partition(": ")
            now = time.monotonic()
            if said.startswith("checking"):
                first = first or now
            elif said.startswith("testing"):
                testing[student] = now
            elif said.startswith("graded") and student in testing:
                tested += now - testing[student]
                last = now
    if grader.returncode != 0:
        raise SystemExit(f"the grader ended with {grader.returncode}")
    wall = last - first
    return wall, tested, time.monotonic() - began - wall


def _environment() -> dict[str, str]:
    """This process's variables, but a user's Python keeps the bytecode that it compiled."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
