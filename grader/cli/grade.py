"""The commands that train: grade, and calibrate, which times the reference."""

import math
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import typer

from grader.assignment import Assignment
from grader.cli.look import memory
from grader.cli.options import (
    DEFAULT_OUT,
    Cluster,
    Data,
    Deadline,
    Inputs,
    Jobs,
    Layout,
    Out,
    Precision,
    Roster,
    Rules,
    Student,
    Submissions,
    Yes,
    app,
    chosen,
    collected,
    console,
    interrupted,
    interrupted_at_once,
    left_out,
    named,
    remember,
    remembered,
    say,
    show_results,
)
from grader.data import DataSet, load_data
from grader.errors import Cancelled, UserError
from grader.pipeline import Grading, due, grade_class
from grader.progress import Plan
from grader.records import Collection, Outcome, Submission
from grader.report.live import Display
from grader.results.entries import Regrade, Result
from grader.results.ledger import OpenLedger, open_ledger
from grader.results.reruns import known_run
from grader.run.machine import (
    CALIBRATION_NAME,
    TIMED_SECONDS,
    Calibration,
    Machine,
    calibrate,
    node,
    run_seconds,
    saved_calibration,
    shared_cards,
    this_machine,
    to_json,
    work_folder,
)
from grader.sandbox import find_isolation
from grader.schedule import Local, Scheduler
from grader.schedule.gpus import machine_has_cards
from grader.text import counted, duration, write_private

# From this estimate on, a person must say yes.
_ASK_FROM_SECONDS = 3600
_CALIBRATED_SECONDS = 60

# The reference is timed for an estimate where at least so many training images are due: below, it would be the wait.
# On a card, which trains it at thousands a second, that is from the third whole run on: the timing takes 10 to 15 s.
_TIMED_FROM_IMAGES, _TIMED_FROM_IMAGES_ON_A_CARD = 20_000, 600_000


@app.command("grade")
def grade_command(
    submissions: Submissions,
    roster: Roster = None,
    deadline: Deadline = "",
    data: Data = "",
    out: Out = DEFAULT_OUT,
    jobs: Jobs = None,
    assignment: Rules = None,
    student: Student = "",
    yes: Yes = False,
    layout: Layout = None,
    cluster: Cluster = "",
    precision: Precision = None,
) -> None:
    """Collect, check, train and score every submission; continue where an earlier run stopped."""
    inputs = named(submissions, roster, deadline, data, assignment, layout, precision)
    rules = inputs.rules()
    with open_ledger(out) as ledger:
        if ledger.unreadable:
            say(f"ledger: skipped {counted(ledger.unreadable, 'line')} that an earlier interruption cut short")
        collection = collected(inputs, rules, out)
        wanted = chosen(collection, [student]) if student else collection.submissions
        before = remembered(out, Inputs()).submissions
        if before not in ("", inputs.submissions):
            say(f"{out} has the results of {before}, and its student pages stay: use another OUT= for another class")
        run_class(ledger, collection, wanted, inputs, rules, out, jobs, cluster, yes=yes, live=bool(student))


@app.command("calibrate")
def calibrate_command(
    data: Data = "",
    out: Out = DEFAULT_OUT,
    jobs: Jobs = None,
    assignment: Rules = None,
) -> None:
    """Time the reference on this machine, with the threads that one run gets; the next grade uses the result."""
    inputs = remembered(out, named(None, data=data, assignment=assignment))
    rules = inputs.rules()
    with open_ledger(out), local_machine(rules, load_data(inputs.data), out, jobs) as machine:
        measured = time_reference(rules, machine, out, _CALIBRATED_SECONDS, interrupted())
    budget = rules.budget
    seconds = round(budget.calibrated_seconds(measured.images_per_second))
    say(f"calibrated limit: {duration(seconds)}; by the clock: {duration(budget.train_seconds)}")
    say(f"in force: the {'limit by the clock' if budget.time_limit == 'wall' else 'calibrated limit'} (time_limit)")


def run_class(
    ledger: OpenLedger,
    collection: Collection,
    wanted: Sequence[Submission],
    inputs: Inputs,
    rules: Assignment,
    out: Path,
    jobs: int | None,
    cluster: str,
    *,
    yes: bool,
    live: bool,
    regrades: Sequence[Regrade] = (),
) -> None:
    """Run whatever is due of `wanted`, and write everyone's table, also where Ctrl-C comes first.

    Args:
        yes: Whatever the estimate is, nobody is asked.
        live: Show what the script prints.
        regrades: Of all that are wanted: kept, as the inputs of a grade are, once it is sure that they begin.
    """
    data = load_data(inputs.data)
    run_key = rules.run_key(data.sha256)
    to_run = list(wanted) if regrades else [task.submission for task in due(wanted, rules, ledger, run_key)]
    runs = len(to_run) - copies_among(to_run, rules, ledger, run_key, regraded=bool(regrades))
    handed_in = sum(submission.content is not None for submission in wanted)
    with scheduler(rules, data, out, jobs, cluster, runs) as ready:
        plan = _planned(len(to_run), runs, handed_in - len(to_run), rules, data, ready.machines)
        if forgotten := left_out(inputs, out):
            say(forgotten)
        _ask(plan, yes=yes)
        # Only now is it sure that they can be used: a mistyped DATA= must not become the next regrade's.
        if not regrades:
            remember(replace(inputs, run_key=run_key), out)
        for regrade in regrades:
            ledger.append(regrade)
        display = Display(console, plan, show_output=live)
        rows, completed = grade_class(collection, to_run, Grading(rules, data, ready, ledger, out), display)
    if completed:
        say(f"graded now: {len(to_run)}; graded before: {handed_in - len(to_run)}")
    show_results(rows, out, " ".join(filter(None, (data.notice, forgotten))))
    if not completed:
        left = len(due(wanted, rules, ledger, run_key))
        again = "`make grade`" if regrades else "the same command"
        say(f"stopped; graded and kept: {handed_in - left} of {handed_in}; {again} continues from there")
        raise typer.Exit(130)
    if _failed_on_any(wanted, rows):
        say("Some students have no points, because the grader failed or a file cannot be read: see `review` above.")
        raise typer.Exit(1)


def _failed_on_any(wanted: Sequence[Submission], rows: Sequence[Result]) -> bool:
    """Whether the grader failed on somebody who was to be graded, and who therefore has no points."""
    asked = {submission.student_id for submission in wanted}
    failed = (row for row in rows if row.grade.outcome is Outcome.INFRASTRUCTURE and row.grade.points is None)
    return any(row.submission.student_id in asked for row in failed)


def copies_among(
    to_run: Sequence[Submission], rules: Assignment, ledger: OpenLedger, run_key: str, *, regraded: bool
) -> int:
    """How many of these get a copy of another student's run of the same files: one of these, or one of before."""
    known = {
        submission.sha256
        for submission, run in due(to_run, rules, ledger, run_key)
        if not regraded and known_run(ledger.lines_about(submission.sha256), submission.student_id, run_key, run)
    }
    return len(to_run) - len({submission.sha256 for submission in to_run} - known)


def _planned(due_now: int, runs: int, done: int, rules: Assignment, data: DataSet, machines: Sequence[Machine]) -> Plan:
    """Say what is ahead, as far as it is known how fast the machines are."""
    copies = due_now - runs
    budget, images = rules.budget, rules.budget.epochs * len(data.x_train)
    jobs = sum(machine.jobs for machine in machines)
    limits = [machine.in_force(rules).budget.train_seconds for machine in machines]
    runs_a_second = 0.0
    for machine, limit in zip(machines, limits, strict=True):
        if machine.calibration is not None:
            runs_a_second += machine.jobs / run_seconds(machine.calibration, images, limit, len(data.x_test))
    estimate = jobs / runs_a_second if runs_a_second else None
    plan = Plan(due_now, done, len(data.x_train), budget.epochs, max(limits), jobs, estimate, copies)
    say(
        f"to train: {counted(runs, 'submission')}, {jobs} at a time, for at most {counted(budget.epochs, 'epoch')} of "
        f"{len(data.x_train)} images or {duration(plan.limit_seconds)} each"
    )
    if rules.precision != "script":
        say(f"precision: training forward passes run in {rules.precision}, unless a script has its own autocast")
    if copies:
        say(f"equal files: {copies} more have the same files as another student and get a copy of that run")
    if runs and (seconds := _estimate(plan)) is not None:
        say(f"estimate: {duration(seconds)}, if all train as fast as the reference does here")
    return plan


def _estimate(plan: Plan) -> float | None:
    return None if plan.run_seconds is None else math.ceil((plan.due - plan.copies) / plan.jobs) * plan.run_seconds


def _ask(plan: Plan, *, yes: bool) -> None:
    """Ask whether to begin, where it will take long.

    Raises:
        UserError: There is nobody to ask.
        Cancelled: The answer is no.
    """
    seconds = _estimate(plan)
    if seconds is None or seconds <= _ASK_FROM_SECONDS or yes:
        return
    if not sys.stdin.isatty():
        raise UserError("the estimate is over an hour, and there is no terminal to ask on: add YES=1 to start anyway")
    with interrupted_at_once():
        agreed = typer.confirm("That is more than an hour. Start?")
    if not agreed:
        raise Cancelled


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
        # Where nobody is to be run, there is nothing to share.
        sharing = shared_cards(machine, rules) if due else nullcontext(machine)
        with sharing as shared:
            if shared.mps_pipe is not None:
                say("sharing: submissions use a GPU at the same time, through NVIDIA MPS")
            yield Local(replace(shared, calibration=timing), data, stop)


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
        fair_limit = rules.budget.time_limit != "wall"
        machine = this_machine(isolation, jobs, work, training_set, fair_limit, rules.sharing)
        line, enough = memory(machine.jobs, rules)
        # Beside a card, where many share the machine by default, few come near their limit.
        if not enough and not machine.cards:
            say(line)
        if machine.cards:
            say(f"GPUs: {', '.join(machine.cards)}; {machine.jobs} submissions at a time run on them")
        elif machine_has_cards():
            say("GPUs: none works, or CUDA_VISIBLE_DEVICES hides them; scripts train on the processor")
        with closing(machine.replayers):
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
        raise UserError(
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
