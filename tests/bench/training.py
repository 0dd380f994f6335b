"""The grader beside `python hw6.py`, in turn on the same machine, data and scripts."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from grader.results.entries import Entry
from grader.results.ledger import read_ledger
from grader.run.machine import default_jobs, usable_cores
from grader.schedule.gpus import cards_here
from results import RESULTS, Out, write_section
from training_table import TITLE, Measured, peak, table
from workloads import WORKLOADS, Workload, write_data

HERE = Path(__file__).parent
_STAGES = ("checking", "training", "testing", "graded")


@dataclass(frozen=True, slots=True)
class Watched:
    """When a grader's lines came, in seconds since it was started, by student; `ended` is when it was over."""

    checking: dict[str, float] = field(default_factory=dict)
    training: dict[str, float] = field(default_factory=dict)
    testing: dict[str, float] = field(default_factory=dict)
    graded: dict[str, float] = field(default_factory=dict)
    ended: list[float] = field(default_factory=list)

    @property
    def wall(self) -> float:
        """From the first submission's beginning to the last one's result."""
        return max(self.graded.values()) - min(self.checking.values())

    @property
    def tested(self) -> float:
        """Of all together, from the end of training to the result."""
        return sum(self.graded[student] - began for student, began in self.testing.items() if student in self.graded)

    @property
    def once(self) -> float:
        """What the class takes once: before the first submission, and after the last result."""
        return self.ended[0] - self.wall


def training(
    rounds: Annotated[int, typer.Option(help="How often each way is measured, one after the other.")] = 2,
    out: Out = RESULTS,
) -> None:
    """Train small classes with the grader and without; say each figure as it comes, and write the table anew."""
    measured: list[Measured] = []
    matrix = peak()
    # On a machine without a card, the default where a calibrated limit makes it fair.
    together = default_jobs(usable_cores(), cards_here(), fair_limit=True)
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
        times = bare_times(workload.script_of(number), folder)
        # From the end of the first step on, so without the first.
        training += (times["last"] - times["first"]) * times["steps"] / (times["steps"] - 1)
    return Measured(workload, "bare", 1, time.monotonic() - began, training)


def bare_times(script: str, folder: Path, steps: int = 0) -> dict[str, Any]:
    """Run a script in `folder` without the grader, to its end or for so many steps; when it took them."""
    (folder / "hw6.py").write_text(script, encoding="utf-8")
    bare = [sys.executable, str(HERE / "bare.py"), "hw6.py", "times.json", *([str(steps)] if steps else [])]
    finished = subprocess.run(bare, cwd=folder, env=_environment(), check=False, capture_output=True, text=True)
    if finished.returncode:
        raise SystemExit(f"the bare script failed: {finished.stderr[-2000:]}")
    times: dict[str, Any] = json.loads((folder / "times.json").read_text())
    return times


def run_grader(jobs: int, precision: str, workload: Workload, folder: Path, data: Path) -> Measured:
    """Grade the class as `make grade` does, with so many at the same time; `precision` may be empty."""
    options = ["--precision", precision] if precision else []
    watched, entries = graded(jobs, workload, folder, data, *options)
    if len(entries) != workload.submissions or any(entry.run.training.samples != workload.images for entry in entries):
        raise SystemExit(f"{workload.name}: not every script was trained to its end")
    way = f"grader, JOBS={jobs}" + (f", {precision}" if precision else "")
    training = sum(entry.run.training.seconds for entry in entries)
    times = (watched.wall, training, watched.tested, watched.once)
    return Measured(workload, way, jobs, *times, least_shares(entries))


def graded(
    jobs: int, workload: Workload, folder: Path, data: Path, *options: str, most_seconds: float | None = None
) -> tuple[Watched, Sequence[Entry]]:
    """Hand the class in below `folder` and grade it there; when each stage began, and what the ledger holds.

    Raises:
        SystemExit: The grader failed, or was stopped after `most_seconds`.
    """
    for number in range(workload.submissions):
        handed_in = folder / "class" / f"student{number}" / "hw6.py"
        handed_in.parent.mkdir(parents=True)
        handed_in.write_text(workload.script_of(number), encoding="utf-8")
    command = [sys.executable, "-m", "grader", "grade", "class", "--data", data.name, "--out", "out", "--yes"]
    watched = _watched([*command, "--jobs", str(jobs), *options], folder, most_seconds)
    return watched, read_ledger(folder / "out").entries()


def least_shares(entries: Sequence[Entry]) -> dict[str, float]:
    """The least share of the work that each optimization did."""
    shares = [dict(entry.run.training.acceleration) for entry in entries]
    return {name: min(share.get(name, 0.0) for share in shares) for name in shares[0]}


def _watched(command: list[str], folder: Path, most_seconds: float | None) -> Watched:
    """Run a grader, and note by its lines when each submission's stages began."""
    watched, lines = Watched(), []
    began = time.monotonic()
    with subprocess.Popen(command, cwd=folder, env=_environment(), stdout=subprocess.PIPE, text=True) as grader:
        assert grader.stdout is not None
        # As Ctrl-C does, so that it ends its jobs.
        timer = threading.Timer(most_seconds or threading.TIMEOUT_MAX, grader.send_signal, [signal.SIGINT])
        timer.daemon = True
        timer.start()
        for line in grader.stdout:
            lines.append(line)
            student, _, said = line.partition(": ")
            stage = next((stage for stage in _STAGES if said.startswith(stage)), None)
            if stage is not None:
                getattr(watched, stage).setdefault(student, time.monotonic() - began)
    timer.cancel()
    watched.ended.append(time.monotonic() - began)
    if grader.returncode != 0:
        raise SystemExit(f"the grader ended with {grader.returncode}: {''.join(lines[-20:])}")
    return watched


def _environment() -> dict[str, str]:
    """This process's variables, but a user's Python keeps the bytecode that it compiled."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
