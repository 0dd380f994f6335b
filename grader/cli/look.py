"""The commands that change nothing: collect, check, report, similar and files."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from grader.assignment import DEFAULT_ASSIGNMENT, REFERENCE, TEMPLATE
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
    interrupted,
    mistakes_in_one_sentence,
    named,
    remember,
    remembered,
    say,
    show_results,
)
from grader.errors import UserError
from grader.pipeline import check_class, results
from grader.records import Check, Outcome
from grader.report.out import write_results
from grader.report.similar import MOST_BYTES, SIMILAR_NAME, find_similar, write_similar
from grader.report.table import checks_table, write_csv
from grader.report.terminal import collection_lines
from grader.results.ledger import read_ledger
from grader.run.machine import this_machine
from grader.sandbox import find_isolation
from grader.schedule.dispatch import Local

_DOCS = DEFAULT_ASSIGNMENT.with_name("docs")
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
    """Show which file counts for whom, why, and which files do not count; runs nothing."""
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
    layout: Layout = None,
) -> None:
    """Look at every submission's file and network; needs no data and trains nothing."""
    with mistakes_in_one_sentence(), tempfile.TemporaryDirectory(prefix="grader-check-") as work:
        inputs = named(submissions, roster, deadline, assignment=assignment, layout=layout)
        rules = inputs.rules()
        collection = collected(inputs, rules, out)
        isolation = find_isolation(rules.limits, rules.policy.isolation)
        say(f"isolation: {isolation.description}")
        machine, stop = this_machine(isolation, jobs, Path(work), None, True), interrupted()
        checks: dict[str, Check] = {}
        wanted = chosen(collection, [student]) if student else collection.submissions
        for submission, check in check_class(wanted, rules, Local(machine, None, machine.jobs, machine.cards, stop)):
            checks[submission.student_id] = check
            say(f"{submission.student_id}: {check.verdict} {check.message}")
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
    """Write the tables again from the ledger, with today's roster and bands; runs nothing."""
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
        write_results(rows, collection, rules, ledger, out)
        show_results(rows, out, f"These results are for {entries[-1].evidence.data_name}.")


@app.command("files")
def files_command() -> None:
    """Say where the files are that come with the grader."""
    say(f"rules: {DEFAULT_ASSIGNMENT}\nreference: {REFERENCE}\ntemplate: {TEMPLATE}")
    say(f"docs: {_DOCS}\nSlurm: {_DOCS / 'slurm.sbatch'}")


@app.command("similar")
def similar_command(
    submissions: Known = None,
    roster: Roster = None,
    deadline: Deadline = "",
    out: Out = DEFAULT_OUT,
    layout: Layout = None,
    least: Annotated[
        float, typer.Option(min=1, max=100, help="The least share of one side's own code, in percent.")
    ] = 80,
) -> None:
    """Show pairs of similar submissions; it accuses nobody, and points do not change."""
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
