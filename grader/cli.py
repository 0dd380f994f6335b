"""The command line: flags in, exit codes out. 0: done; 1: done, but the grader failed on somebody; 2: your mistake."""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from grader.assignment import DEFAULT_ASSIGNMENT, Assignment, load_assignment
from grader.collect import collect
from grader.collect.deadline import parse_deadline
from grader.data import load_data
from grader.errors import Cancelled, InfrastructureError, Mistake
from grader.ledger import open_ledger, read_ledger
from grader.pipeline import Machine, check_all, grade_all, results
from grader.records import Check, Collection, Outcome, Result, Status, Submission
from grader.report.table import checks_table, collection_table, grades_table, printable, write_csv
from grader.report.terminal import print_summary
from grader.sandbox import Isolation, find_isolation
from grader.score import grade

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
_console = Console(highlight=False)

Submissions = Annotated[Path, typer.Argument(help="Folder with the files that were handed in.")]
Roster = Annotated[Path | None, typer.Option(help="CSV with student_id, name and, if need be, deadline.")]
Deadline = Annotated[str, typer.Option(help="With its zone, as 2026-12-01T23:59+09:00: what is later does not count.")]
Data = Annotated[str, typer.Option(help="torchvision root, .npz file or `digits`; empty: CIFAR-10, downloaded.")]
Out = Annotated[Path, typer.Option(help="Folder for tables, logs and the ledger.")]
Jobs = Annotated[int, typer.Option(min=1, help="Submissions that run at the same time.")]
Rules = Annotated[Path, typer.Option("--assignment", help="TOML file with the assignment's rules.")]


@app.command("grade")
def grade_command(
    submissions: Submissions,
    roster: Roster = None,
    deadline: Deadline = "",
    data: Data = "",
    out: Out = Path("results"),
    jobs: Jobs = 1,
    assignment: Rules = DEFAULT_ASSIGNMENT,
) -> None:
    """Collect, check, train and score every submission; go on where an earlier run stopped."""
    with _mistakes_in_one_sentence():
        rules = load_assignment(assignment)
        collection = _collect(submissions, roster, rules, deadline, out)
        isolation = _isolation(rules)
        data_set = load_data(data)
        _say(f"data: {data_set.name}, {len(data_set.x_train)} training and {len(data_set.x_test)} test images")
        if data_set.notice:
            _say(data_set.notice)
        with open_ledger(out) as ledger:
            if ledger.unreadable:
                _say(f"ledger: {ledger.unreadable} line(s) cut short by an earlier end were skipped")
            graded = 0
            machine = _machine(isolation, jobs)
            for submission, entry in grade_all(
                collection.submissions, rules, data_set, machine, ledger, out / "logs", _announce
            ):
                graded += 1
                _say_result(Result(submission, entry, grade(submission, entry, rules)))
            rows = results(collection.submissions, rules, ledger, rules.run_key(data_set.sha256))
        handed_in = sum(submission.content is not None for submission in collection.submissions)
        _say(f"graded now: {graded}; graded before: {handed_in - graded}")
        _write_grades(rows, out, data_set.notice)
        if any(row.grade.outcome is Outcome.INFRASTRUCTURE for row in rows):
            _say("Some have no points because the grader failed: run the same command again to retry them.")
            raise typer.Exit(1)


@app.command("check")
def check_command(
    submissions: Submissions,
    roster: Roster = None,
    deadline: Deadline = "",
    out: Out = Path("results"),
    jobs: Jobs = 1,
    assignment: Rules = DEFAULT_ASSIGNMENT,
) -> None:
    """Look at every submission's file and network; needs no data and trains nothing."""
    with _mistakes_in_one_sentence():
        rules = load_assignment(assignment)
        collection = _collect(submissions, roster, rules, deadline, out)
        checks: dict[str, Check] = {}
        for submission, check in check_all(collection.submissions, rules, _machine(_isolation(rules), jobs)):
            checks[submission.student_id] = check
            _say(f"{submission.student_id}: {check.verdict} {check.message}")
        pairs = [(submission, checks.get(submission.student_id)) for submission in collection.submissions]
        path = out / "checks.csv"
        write_csv(checks_table(pairs), path)
        _say(f"\n{path}")
        _say(f"next: make grade SUBMISSIONS={submissions}")


@app.command("report")
def report_command(
    submissions: Submissions,
    roster: Roster = None,
    deadline: Deadline = "",
    out: Out = Path("results"),
    assignment: Rules = DEFAULT_ASSIGNMENT,
) -> None:
    """Write the tables anew from the ledger, with today's roster and bands; nothing is run."""
    with _mistakes_in_one_sentence():
        rules = load_assignment(assignment)
        ledger = read_ledger(out)
        entries = ledger.entries()
        if not entries:
            raise Mistake(f"there is nothing graded in {out}: run `make grade` first, or name its folder with OUT=")
        collection = _collect(submissions, roster, rules, deadline, out)
        last = entries[-1]
        rows = results(collection.submissions, rules, ledger, last.run_key)
        _write_grades(rows, out, f"Measured on {last.evidence.data_name}.")


def main() -> None:
    """Run the command line."""
    app()


def _collect(submissions: Path, roster: Path | None, rules: Assignment, deadline: str, out: Path) -> Collection:
    collection = collect(submissions, roster, rules, parse_deadline(deadline, "DEADLINE="))
    write_csv(collection_table(collection.decisions), out / "collection.csv")
    handed_in = sum(submission.content is not None for submission in collection.submissions)
    missing = sum(_handed_in_nothing(submission) for submission in collection.submissions)
    _say(f"collected: {handed_in} submissions; nothing from {missing}")
    for notice in collection.notices:
        _say(f"  {notice}")
    for decision in collection.decisions:
        if decision.status not in (Status.TAKEN, Status.BESIDE):
            _say(f"  {decision.status}: {decision.file}: {decision.reason}")
    for submission in collection.submissions:
        for remark in submission.remarks:
            _say(f"  {submission.student_id}: {remark}")
    return collection


def _handed_in_nothing(submission: Submission) -> bool:
    return submission.content is None and not submission.unreadable


def _isolation(rules: Assignment) -> Isolation:
    isolation = find_isolation(rules.limits)
    _say(f"isolation: {isolation.description}")
    return isolation


def _machine(isolation: Isolation, jobs: int) -> Machine:
    return Machine(isolation, jobs, threads=max(1, (os.cpu_count() or 1) // jobs), cancelled=_interrupted())


def _interrupted() -> threading.Event:
    """An event that Ctrl-C sets; a second Ctrl-C ends the grader at once, and every sandbox with it.

    An exception in the middle of whatever the main thread does could leave a thread pool half started.
    """
    interrupted = threading.Event()

    def interrupt(*_: object) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    signal.signal(signal.SIGINT, interrupt)
    return interrupted


def _announce(student_id: str, stage: str) -> None:
    _say(f"{student_id}: {stage}")


def _say_result(row: Result) -> None:
    points = "no points" if row.grade.points is None else f"{row.grade.points} points"
    accuracy = "" if row.grade.accuracy is None else f", {row.grade.accuracy} %"
    _say(f"{row.submission.student_id}: {row.grade.outcome}{accuracy}, {points}")


def _write_grades(rows: Sequence[Result], out: Path, notice: str) -> None:
    path = out / "grades.csv"
    write_csv(grades_table(rows), path)
    _say("")
    print_summary(_console, rows, notice)
    _say(f"\ngrades: {path}\nlogs: {out / 'logs'}\nwhat was collected, what was set aside: {out / 'collection.csv'}")


def _say(sentence: str) -> None:
    _console.print(escape(printable(sentence)), soft_wrap=True)


@contextmanager
def _mistakes_in_one_sentence() -> Iterator[None]:
    try:
        yield
    except (Mistake, InfrastructureError) as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        raise typer.Exit(2 if isinstance(error, Mistake) else 1) from None
    except (Cancelled, KeyboardInterrupt):
        print("stopped: what is done is kept; the same command goes on from there", file=sys.stderr)
        raise typer.Exit(130) from None
