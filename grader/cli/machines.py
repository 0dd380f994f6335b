"""What the commands grade on: this machine, or the nodes of a cluster; made ready, and said to the teacher."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from grader.assignment import Assignment
from grader.cli.console import interrupted, say
from grader.data import DataSet
from grader.errors import Mistake
from grader.run.calibrate import CALIBRATION_NAME, Calibration, calibrate, saved_calibration, to_json
from grader.run.machine import TIMED_SECONDS, Machine, node, this_machine, work_folder
from grader.sandbox import find_isolation
from grader.schedule.dispatch import Local, Scheduler
from grader.schedule.gpus import machine_has_cards
from grader.text import write_private

# The reference is timed for an estimate where at least so many training images are due: below, it would be the wait.
# On a card, which trains it at thousands a second, that is from the third whole run on: the timing takes 10 to 15 s.
_TIMED_FROM_IMAGES, _TIMED_FROM_IMAGES_ON_A_CARD = 20_000, 600_000


@contextmanager
def scheduler(
    rules: Assignment, data: DataSet, out: Path, jobs: int | None, cluster: str, due: int
) -> Iterator[Scheduler[DataSet, Machine]]:
    """Make ready what submissions are trained on, and from here on let Ctrl-C end things in order.

    Args:
        cluster: A Ray cluster's address, or `auto`; empty: this machine.
        due: Submissions that will be run, so many that the reference is timed first, or so few that it is not.
    """
    images = due * rules.budget.epochs * len(data.x_train)
    if cluster:
        with _on_cluster(rules, data, jobs or 1, cluster, worth_timing(rules, images, cards=False)) as ready:
            yield ready
        return
    with local_machine(rules, data, out, jobs) as machine:
        stop = interrupted()
        timing = saved_calibration(out, machine.threads, rules.precision)
        if timing is None and worth_timing(rules, images, cards=bool(machine.cards)):
            timing = time_reference(rules, machine, out, TIMED_SECONDS, stop)
        yield Local(replace(machine, calibration=timing), data, machine.jobs, machine.cards, stop)


def worth_timing(rules: Assignment, images: int, *, cards: bool) -> bool:
    """Whether the reference is timed first: always where that sets the limit, else where the wait is worth an estimate.

    Args:
        images: Training images that are due.
        cards: They are trained on a GPU.
    """
    fewest = _TIMED_FROM_IMAGES_ON_A_CARD if cards else _TIMED_FROM_IMAGES
    return images > 0 and (rules.budget.time_limit != "wall" or images >= fewest)


@contextmanager
def local_machine(rules: Assignment, data: DataSet, out: Path, jobs: int | None) -> Iterator[Machine]:
    """Give this machine, its isolation probed and the training set laid ready; the reference is not timed."""
    isolation = find_isolation(rules.limits, rules.policy.isolation)
    say(f"isolation: {isolation.description}")
    _say_data(data)
    with work_folder(out, data) as (work, training_set):
        machine = this_machine(isolation, jobs, work, training_set, rules.budget.time_limit != "wall")
        if machine.cards:
            say(f"GPUs: {', '.join(machine.cards)}; {machine.jobs} at a time are spread over them")
        elif machine_has_cards():
            say("GPUs: none that computes, or CUDA_VISIBLE_DEVICES hides them; scripts are trained on the processor")
        yield machine


def time_reference(
    rules: Assignment, machine: Machine, out: Path, seconds: int, cancelled: threading.Event
) -> Calibration:
    """Time the reference for so many seconds of training, and keep the result in `out`."""
    say(f"timing the reference for {seconds} seconds of training")
    measured = calibrate(rules, machine.quiet_slot(cancelled), seconds)
    write_private(out / CALIBRATION_NAME, to_json(measured))
    say(f"the reference trains {measured.images_per_second:.0f} images a second here ({measured.device})")
    return measured


@contextmanager
def _on_cluster(
    rules: Assignment, data: DataSet, jobs: int, address: str, timed: bool
) -> Iterator[Scheduler[DataSet, Machine]]:
    try:
        from grader.schedule.ray import connected  # here: the extra that it needs is optional
    except ModuleNotFoundError as error:
        raise Mistake(
            f"CLUSTER= needs {error.name}, which is not installed: .venv/bin/pip install '.[cluster]'"
        ) from None
    _say_data(data)
    cancelled = interrupted()
    with connected(address, partial(node, rules, jobs, timed), data, jobs, cancelled, say) as cluster:
        for machine in cluster.machines:
            speed = f", {machine.calibration.images_per_second:.0f} images a second" if machine.calibration else ""
            cards = f", GPUs {', '.join(machine.cards)}" if machine.cards else ""
            say(
                f"node {machine.name}: {machine.jobs} at a time on {machine.cores} cores{cards}{speed}; "
                f"isolation: {machine.isolation.description}"
            )
        yield cluster


def _say_data(data: DataSet) -> None:
    say(f"data: {data.name}, {len(data.x_train)} training and {len(data.x_test)} test images")
    if data.notice:
        say(data.notice)
