"""The commands that train: grade, and calibrate, which times the reference."""

import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import typer

from grader.assignment import Assignment
from grader.calibrate import CALIBRATION_NAME, Calibration, calibrate, run_seconds, saved_calibration, to_json
from grader.cli.console import (
    DEFAULT_OUT,
    Data,
    Deadline,
    Jobs,
    Layout,
    Out,
    Roster,
    Rules,
    Student,
    Submissions,
    Yes,
    app,
    console,
    interrupted,
    mistakes_in_one_sentence,
    say,
)
from grader.cli.inputs import Inputs, chosen, collected, named, remember, remembered
from grader.cli.look import fail_where_the_grader_failed, write_grades
from grader.data import DataSet, load_data
from grader.errors import Cancelled, Mistake
from grader.ledger import OpenLedger, open_ledger
from grader.pipeline import Machine, due, grade_all, results, work_folder
from grader.progress import Plan
from grader.records import Collection, Submission
from grader.report.live import Display
from grader.report.table import write_private
from grader.sandbox import find_isolation

# From this estimate on, a person must say yes.
_ASK_FROM_SECONDS = 3600
# The reference is timed for an estimate where at least so many training images are due: below, it would be the wait.
_TIMED_FROM_IMAGES = 20_000
_TIMED_SECONDS, _CALIBRATED_SECONDS = 10, 60


@app.command("grade")
def grade_command(
    submissions: Submissions,
    roster: Roster = None,
    deadline: Deadline = "",
    data: Data = "",
    out: Out = DEFAULT_OUT,
    jobs: Jobs = 1,
    assignment: Rules = None,
    student: Student = "",
    yes: Yes = False,
    layout: Layout = None,
) -> None:
    """Collect, check, train and score every submission; go on where an earlier run stopped."""
    with mistakes_in_one_sentence():
        inputs = named(submissions, roster, deadline, data, assignment, layout)
        rules = inputs.rules()
        with open_ledger(out) as ledger:
            if ledger.unreadable:
                say(f"ledger: {ledger.unreadable} line(s) cut short by an earlier end were skipped")
            collection = collected(inputs, rules, out)
            wanted = chosen(collection, [student]) if student else collection.submissions
            remember(inputs, out)
            run_class(ledger, collection, wanted, inputs, rules, out, jobs, yes=yes, live=bool(student))


@app.command("calibrate")
def calibrate_command(
    data: Data = "",
    out: Out = DEFAULT_OUT,
    jobs: Jobs = 1,
    assignment: Rules = None,
) -> None:
    """Time the reference here, with the threads that one of `jobs` runs gets; the next grade knows the result."""
    with mistakes_in_one_sentence("stopped: nothing was measured"):
        inputs = remembered(out, named(None, data=data, assignment=assignment))
        rules = inputs.rules()
        with open_ledger(out), _machine(rules, load_data(inputs.data), out, jobs) as machine:
            measured = _time_reference(rules, machine, out, _CALIBRATED_SECONDS)
        budget = rules.budget
        seconds = round(budget.calibrated_seconds(measured.images_per_second))
        say(f"calibrated limit: {timedelta(seconds=seconds)}; by the clock: {timedelta(seconds=budget.train_seconds)}")
        say(f"in force: the limit by the {'clock' if budget.time_limit == 'wall' else 'calibration'} (time_limit)")


def run_class(
    ledger: OpenLedger,
    collection: Collection,
    wanted: Sequence[Submission],
    inputs: Inputs,
    rules: Assignment,
    out: Path,
    jobs: int,
    *,
    yes: bool,
    live: bool,
) -> None:
    """Run whatever is due of `wanted`, and write everyone's table, also where Ctrl-C comes first.

    Args:
        yes: Whatever the estimate is, nobody is asked.
        live: Show what the script prints.
    """
    data = load_data(inputs.data)
    run_key = rules.run_key(data.sha256)
    pieces = [submission for submission, _ in due(wanted, rules, ledger, run_key)]
    with _machine(rules, data, out, jobs) as machine:
        handed_in = sum(submission.content is not None for submission in wanted)
        ready, plan = _planned(len(pieces), handed_in - len(pieces), rules, data, machine, out)
        _ask(plan, yes=yes)
        try:
            with Display(console, plan, show_output=live) as display:
                watched = replace(ready, watch=display.watch)
                for graded in grade_all(pieces, rules, data, watched, ledger, out / "logs"):
                    if graded.again is None:
                        display.graded(*results([graded.submission], rules, ledger, run_key))
        except Cancelled:
            rows = results(collection.submissions, rules, ledger, run_key)
            write_grades(rows, collection, ledger, rules, out, data.notice)
            left = len(due(wanted, rules, ledger, run_key))
            say(f"stopped; graded and kept: {handed_in - left} of {handed_in}; the same command goes on from there")
            raise typer.Exit(130) from None
    rows = results(collection.submissions, rules, ledger, run_key)
    say(f"graded now: {len(pieces)}; graded before: {handed_in - len(pieces)}")
    write_grades(rows, collection, ledger, rules, out, data.notice)
    fail_where_the_grader_failed([row for row in rows if row.submission in wanted])


@contextmanager
def _machine(rules: Assignment, data: DataSet, out: Path, jobs: int) -> Iterator[Machine]:
    """Probe the isolation, lay the training set ready, and from here on let Ctrl-C end things in order."""
    isolation = find_isolation(rules.limits, rules.policy.isolation)
    say(f"isolation: {isolation.description}")
    say(f"data: {data.name}, {len(data.x_train)} training and {len(data.x_test)} test images")
    if data.notice:
        say(data.notice)
    with work_folder(out, data) as (work, training_set):
        yield Machine(
            isolation, os.cpu_count() or 1, jobs, work, training_set, None, interrupted(), watch=lambda _: None
        )


def _planned(
    due_now: int, done: int, rules: Assignment, data: DataSet, machine: Machine, out: Path
) -> tuple[Machine, Plan]:
    """Say what is ahead; time the reference first where that says something."""
    budget, images = rules.budget, rules.budget.epochs * len(data.x_train)
    threads = machine.slot(0).threads
    calibration = saved_calibration(out, threads)
    if calibration is None and due_now and (due_now * images >= _TIMED_FROM_IMAGES or budget.time_limit != "wall"):
        calibration = _time_reference(rules, machine, out, _TIMED_SECONDS)
    limit: float = budget.train_seconds
    estimate = None
    if calibration is not None:
        if budget.time_limit == "calibrated":
            limit = budget.calibrated_seconds(calibration.images_per_second)
        estimate = run_seconds(calibration, images, limit, len(data.x_test))
    plan = Plan(due_now, done, len(data.x_train), budget.epochs, limit, machine.jobs, estimate)
    say(
        f"to train: {due_now} submissions, {machine.jobs} at a time, for at most {budget.epochs} epochs of "
        f"{len(data.x_train)} images or {timedelta(seconds=round(limit))} each"
    )
    if due_now and (seconds := _estimate(plan)) is not None:
        say(f"estimate: {timedelta(seconds=round(seconds))}, if all train as fast as the reference does here")
    return replace(machine, calibration=calibration), plan


def _time_reference(rules: Assignment, machine: Machine, out: Path, seconds: int) -> Calibration:
    say(f"timing the reference for {seconds} seconds of training")
    measured = calibrate(rules, machine.slot(0), seconds)
    write_private(out / CALIBRATION_NAME, to_json(measured))
    say(f"the reference trains {measured.images_per_second:.0f} images a second here ({measured.device})")
    return measured


def _estimate(plan: Plan) -> float | None:
    return None if plan.run_seconds is None else math.ceil(plan.due / plan.jobs) * plan.run_seconds


def _ask(plan: Plan, *, yes: bool) -> None:
    """Ask whether to begin, where it will take long.

    Raises:
        Mistake: There is nobody to ask.
        Cancelled: The answer is no.
    """
    seconds = _estimate(plan)
    if seconds is None or seconds <= _ASK_FROM_SECONDS or yes:
        return
    if not sys.stdin.isatty():
        raise Mistake("that is more than an hour, and there is no terminal to ask at: add YES=1 to begin all the same")
    if not typer.confirm("That is more than an hour. Begin?"):
        raise Cancelled
