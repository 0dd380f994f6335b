"""The commands that change nothing: collect, check, report and similar."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from grader.assignment import Assignment
from grader.cli.options import (
    DEFAULT_OUT,
    Deadline,
    Jobs,
    Known,
    Layout,
    Out,
    Roster,
    Rules,
    Student,
    Submissions,
    app,
    as_settings,
    chosen,
    collected,
    console,
    interrupted,
    mistakes_in_one_sentence,
    named,
    remember,
    remembered,
    say,
)
from grader.errors import UserError
from grader.pipeline import check_all, results
from grader.records import Check, Collection, Outcome
from grader.report.charts import draw_network
from grader.report.feedback import FEEDBACK_NAME, write_feedback
from grader.report.page import REPORT_NAME, SIMILAR_NAME, write_report, write_similar
from grader.report.similar import MOST_BYTES, find_similar
from grader.report.table import checks_table, grades_table, write_csv
from grader.report.terminal import collection_lines, print_summary
from grader.results.entries import Result
from grader.results.ledger import Ledger, log_of, read_ledger
from grader.run.machine import this_machine
from grader.sandbox import find_isolation
from grader.schedule.dispatch import Local
from grader.text import file_key

_MOST_PAIRS = 50
_SHOWN = 10


@app.command("collect")
def collect_command(
    submissions: Submissions,
    roster: Roster = None,
    deadline: Deadline = "",
    out: Out = DEFAULT_OUT,
    assignment: Rules = None,
    layout: Layout = None,
) -> None:
    """Show which file counts for whom, why, and what is set aside; nothing is run."""
    with mistakes_in_one_sentence():
        inputs = named(submissions, roster, deadline, assignment=assignment, layout=layout)
        collection = collected(inputs, inputs.rules(), out)
        say("")
        for line in collection_lines(collection):
            say(line)
        say(f"\neach file, and why: {out / 'collection.csv'}\nnext: make grade {as_settings(inputs, out)}")


@app.command("check")
def check_command(
    submissions: Submissions,
    roster: Roster = None,
    deadline: Deadline = "",
    out: Out = DEFAULT_OUT,
    jobs: Jobs = None,
    assignment: Rules = None,
    student: Student = "",
    draw: Annotated[bool, typer.Option("--draw", help="Draw the student's network beside the handout's.")] = False,
    layout: Layout = None,
) -> None:
    """Look at every submission's file and network; needs no data and trains nothing."""
    with mistakes_in_one_sentence(), tempfile.TemporaryDirectory(prefix="grader-check-") as work:
        if draw and not student:
            raise UserError("a picture is of one network: name its student with STUDENT=")
        inputs = named(submissions, roster, deadline, assignment=assignment, layout=layout)
        rules = inputs.rules()
        collection = collected(inputs, rules, out)
        isolation = find_isolation(rules.limits, rules.policy.isolation)
        say(f"isolation: {isolation.description}")
        machine, stop = this_machine(isolation, jobs, Path(work), None, True), interrupted()
        checks: dict[str, Check] = {}
        wanted = chosen(collection, [student]) if student else collection.submissions
        for submission, check in check_all(wanted, rules, Local(machine, None, machine.jobs, machine.cards, stop)):
            checks[submission.student_id] = check
            say(f"{submission.student_id}: {check.verdict} {check.message}")
        if draw:
            _draw(student, checks.get(student), out)
        if student:
            return
        pairs = [(submission, checks.get(submission.student_id)) for submission in collection.submissions]
        path = out / "checks.csv"
        write_csv(checks_table(pairs), path)
        say(f"\n{path}")
        say(f"next: make grade {as_settings(inputs, out)}")
        if any(check.outcome is Outcome.INFRASTRUCTURE for check in checks.values()):
            raise typer.Exit(1)


@app.command("report")
def report_command(
    submissions: Known = None,
    roster: Roster = None,
    deadline: Deadline = "",
    out: Out = DEFAULT_OUT,
    assignment: Rules = None,
    layout: Layout = None,
) -> None:
    """Write the tables anew from the ledger, with today's roster and bands; nothing is run."""
    with mistakes_in_one_sentence():
        inputs = remembered(out, named(submissions, roster, deadline, assignment=assignment, layout=layout))
        rules = inputs.rules()
        ledger = read_ledger(out)
        entries = ledger.entries()
        if not entries:
            raise UserError(f"there is nothing graded in {out}: run `make grade` first, or name its folder with OUT=")
        collection = collected(inputs, rules, out)
        remember(inputs, out)
        rows = results(collection.submissions, rules, ledger, entries[-1].run_key)
        write_grades(rows, collection, ledger, rules, out, f"Measured on {entries[-1].evidence.data_name}.")


def _draw(student: str, check: Check | None, out: Path) -> None:
    if check is None or not check.layers:
        raise UserError(f"there is no network of {student} to draw: `make check` says why")
    path = out / f"{file_key(student)}.svg"
    draw_network(check.layers, check.findings, f"{student}: {check.verdict}", path)
    say(str(path))


def write_grades(
    rows: Sequence[Result], collection: Collection, ledger: Ledger, rules: Assignment, out: Path, notice: str
) -> None:
    """Write `grades.csv`, the teacher's page and the students' feedback; print the summary and say where all that is.

    Raises:
        UserError: Nothing can be written there.
    """
    table, page, feedback = out / "grades.csv", out / REPORT_NAME, out / FEEDBACK_NAME
    write_csv(grades_table(rows), table)
    write_report(rows, collection.decisions, rules, page, lambda entry: log_of(entry, ledger, out / "logs"))
    write_feedback(rows, rules, feedback)
    say("")
    print_summary(console, rows, notice)
    say(f"\ngrades: {table}\npage: {page}\nfeedback for each student: {feedback}\nlogs: {out / 'logs'}")
    say(f"what was collected, what was set aside: {out / 'collection.csv'}")
    say(f"next: {_next_command(rows, out)}")


def _next_command(rows: Sequence[Result], out: Path) -> str:
    where = "" if out == DEFAULT_OUT else f" OUT={out}"
    if any(row.grade.outcome in (Outcome.PENDING, Outcome.INFRASTRUCTURE) for row in rows):
        return "the same make grade again, for those who have no points yet"
    if any(row.due for row in rows):
        return "the same make grade again, for the runs that are still due"
    if any(row.grade.review for row in rows):
        return f'look at {out / REPORT_NAME}; make regrade{where} STUDENTS="id" WHY="..." runs somebody again'
    return f"make export{where} LMS=blackboard, canvas, moodle or gradescope"


def fail_where_the_grader_failed(rows: Sequence[Result]) -> None:
    """Exit with 1 if somebody has no points because of us."""
    if any(row.grade.points is None for row in rows if row.grade.outcome is Outcome.INFRASTRUCTURE):
        say("Some have no points because the grader failed: run the same command again to retry them.")
        raise typer.Exit(1)


@app.command("similar")
def similar_command(
    submissions: Known = None,
    roster: Roster = None,
    deadline: Deadline = "",
    out: Out = DEFAULT_OUT,
    layout: Layout = None,
    least: Annotated[float, typer.Option(min=1, max=100, help="Share of one side's own code, in percent.")] = 80,
) -> None:
    """Show pairs of submissions that are close; it accuses nobody, and no points move."""
    with mistakes_in_one_sentence():
        inputs = remembered(out, named(submissions, roster, deadline, layout=layout))
        collection = collected(inputs, inputs.rules(), out)
        for submission in collection.submissions:
            if submission.content and len(submission.content) > MOST_BYTES:
                say(f"  {submission.student_id}: not compared: larger than {MOST_BYTES // 1000} KB")
        pairs = find_similar(collection.submissions, least, _MOST_PAIRS)
        for pair in pairs[:_SHOWN]:
            first, second = pair.first, pair.second
            say(f"{first.student_id} {first.share:.1f} %, {second.student_id} {second.share:.1f} %")
        path = out / SIMILAR_NAME
        write_similar(pairs, least, path)
        say(f"pairs that share at least {least:g} % of one side's own code, {_MOST_PAIRS} at most: {len(pairs)}")
        say(f"side by side: {path}")
