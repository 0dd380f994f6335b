"""How often an honest file is flagged: networks, recipes and habits on photographs, from the check to the test."""

import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Annotated

import typer
from scipy.stats import binomtest

from grader.assignment import Assignment, load_assignment
from grader.data import DataSet, load_data, write_training_set
from grader.pipeline import grade_one
from grader.records import Outcome, Submission
from grader.results.entries import RunReason
from grader.results.reruns import NextRun
from grader.run.machine import usable_cores
from grader.run.replay import Replayers
from grader.run.worker_client import EquippedSlot
from grader.sandbox import find_isolation
from honest_scripts import honest_scripts
from results import RESULTS, Out, write_section

TITLE = "Flags on honest files"


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of one honest file.

    Attributes:
        accuracy: Of the test images, in percent; None where it was not graded.
        replayed: It was tested where no student's code runs.
        flags: Why a person would be asked to look; whether the network is the specified one is not asked here.
    """

    name: str
    accuracy: float | None
    replayed: bool
    flags: tuple[str, ...]

    def __str__(self) -> str:
        reached = "not graded" if self.accuracy is None else f"{self.accuracy:.2f} %"
        return f"{self.name}: {reached}; {'; '.join(self.flags) or 'no flag'}"


def false_flags(
    data: Annotated[
        str, typer.Option(help="CIFAR-10, as DATA= takes it; photographs in an .npz file too.", envvar="GRADER_DATA")
    ] = "",
    train_images: Annotated[int, typer.Option(help="So many of the training images.")] = 10_000,
    out: Out = RESULTS,
) -> None:
    """Grade honest files, as many at a time as there are processors, and count those that are flagged."""
    whole = load_data(data)
    part = replace(whole, x_train=whole.x_train[:train_images], y_train=whole.y_train[:train_images], notice="")
    rules = load_assignment()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        Path(name).chmod(0o755)
        replayers = Replayers()
        slots = _slots(rules, part, Path(name))
        with closing(replayers), ThreadPoolExecutor(slots.qsize()) as pool:
            seen = []
            for each in pool.map(partial(_grade, rules, part, slots, replayers), honest_scripts()):
                typer.echo(str(each))
                seen.append(each)
                write_section(out, TITLE, _table(seen, part))
    typer.echo(f"results: {out}")


def _slots(rules: Assignment, data: DataSet, folder: Path) -> "SimpleQueue[EquippedSlot]":
    training_set = folder / "training_set"
    write_training_set(data, training_set)
    isolation, slots = find_isolation(rules.limits), SimpleQueue[EquippedSlot]()
    for number in range(usable_cores()):
        cancelled = threading.Event()
        slots.put(EquippedSlot(number, 1, isolation, training_set, folder, cancelled, lambda _: None))
    return slots


def _grade(
    rules: Assignment, data: DataSet, slots: "SimpleQueue[EquippedSlot]", replayers: Replayers, submission: Submission
) -> Seen:
    slot = slots.get()
    try:
        judged = grade_one(submission, NextRun(RunReason.FIRST, rules.seed), rules, data, slot, replayers)
    finally:
        slots.put(slot)
    check, run, score = judged.check, judged.trained.run, judged.score
    if run.outcome is Outcome.INFRASTRUCTURE:
        raise SystemExit(f"{submission.student_id}: {run.error}")
    accuracy = 100 * score.correct / score.total if score else None
    replayed = judged.trained.network is not None
    return Seen(submission.student_id, accuracy, replayed, tuple(flag.words for flag in (*check.flags, *run.flags)))


def _table(seen: list[Seen], data: DataSet) -> list[str]:
    flagged = sum(bool(each.flags) for each in seen)
    most = binomtest(flagged, len(seen)).proportion_ci(confidence_level=0.95, method="exact").high
    return [
        f"Five epochs of {len(data.x_train):,} training images of {data.name}, {len(data.x_test):,} test images, the",
        "reference's networks at a quarter of their width. A flag is whatever `review` would say besides deviations",
        "of the network.",
        "",
        f"**{flagged} of {len(seen)}** honest files were flagged; 95 % interval of the rate: up to {most:.0%}.",
        "",
        "| file | accuracy | tested | flags |",
        "|---|---|---|---|",
        *(_row(each) for each in seen),
    ]


def _row(seen: Seen) -> str:
    accuracy = "" if seen.accuracy is None else f"{seen.accuracy:.2f} %"
    how = "by replay" if seen.replayed else "beside its script"
    return f"| {' | '.join([seen.name, accuracy, how, '; '.join(seen.flags)])} |"
