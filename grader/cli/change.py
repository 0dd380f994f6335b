"""The commands by which a person changes a result: regrade and override. Both are kept with who, when and why."""

import getpass
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated

from grader.cli.grade import run_class
from grader.cli.options import (
    DEFAULT_OUT,
    Cluster,
    Jobs,
    Out,
    SameSubmissions,
    Why,
    Yes,
    app,
    chosen,
    collected,
    data_notice,
    ids_in,
    last_run_key,
    named,
    remembered,
    say,
    setting,
    show_results,
    submission_of,
)
from grader.errors import UserError
from grader.lms.files import listed
from grader.pipeline import results
from grader.records import Outcome
from grader.report import write_results
from grader.results.entries import Override, Regrade, Result
from grader.results.ledger import open_ledger

Students = Annotated[str, setting("STUDENTS", "The students' ids, separated by blanks or commas.")]


@app.command("regrade")
def regrade_command(
    submissions: SameSubmissions = None,
    students: Students = "",
    why: Why = "",
    failed: Annotated[bool, setting("FAILED", "Everyone without an accuracy or an override.", "--failed")] = False,
    flagged: Annotated[bool, setting("FLAGGED", "Everyone with a `review` and no override.", "--flagged")] = False,
    out: Out = DEFAULT_OUT,
    jobs: Jobs = None,
    yes: Yes = False,
    cluster: Cluster = "",
) -> None:
    """Run submissions again; until there is a new result, the old one counts."""
    _require_reason(why)
    inputs = remembered(out, named(submissions))
    rules = inputs.rules()
    with open_ledger(out) as ledger:
        collection = collected(inputs, rules, out, briefly=True)
        rows = results(collection.submissions, rules, ledger, last_run_key(ledger, out))
        wanted = chosen(collection, [*ids_in(students, collection), *_marked(rows, failed=failed, flagged=flagged)])
        if not wanted:
            raise UserError('no student is chosen: set STUDENTS="a b", FAILED=1 or FLAGGED=1')
        say(f"to run again: {', '.join(submission.student_id for submission in wanted)}")
        if ended := [row.submission.student_id for row in rows if row.overridden and row.submission in wanted]:
            say(f"the new run ends the override of {listed(ended)}: make override sets the points again")
        now = datetime.now(UTC)
        again = [Regrade(student.student_id, student.sha256, why, _who(), now) for student in wanted]
        run_class(ledger, collection, wanted, inputs, rules, out, jobs, cluster, yes=yes, live=False, regrades=again)


@app.command("override")
def override_command(
    student: Annotated[str, setting("STUDENT", "The student whose points you set.")] = "",
    points: Annotated[str, setting("POINTS", "The points.")] = "",
    why: Why = "",
    submissions: SameSubmissions = None,
    out: Out = DEFAULT_OUT,
) -> None:
    """Set one student's points, whatever the accuracy; a later regrade of that student ends the override."""
    _require_reason(why)
    if not student:
        raise UserError("STUDENT= is missing: name the student whose points you set")
    inputs = remembered(out, named(submissions))
    rules = inputs.rules()
    value = _points(points, rules.most_points)
    with open_ledger(out) as ledger:
        run_key = last_run_key(ledger, out)
        collection = collected(inputs, rules, out, briefly=True)
        submission = submission_of(collection, student)
        ledger.append(Override(student, submission.sha256, value, why, _who(), datetime.now(UTC)))
        rows = results(collection.submissions, rules, ledger, run_key)
        write_results(rows, collection, rules, ledger, out)
        show_results(rows, out, data_notice(ledger, run_key))
    last = next(row for row in rows if row.submission.student_id == student).changes[-1]
    say(f"{student}: {_shown(last.before)} -> {_shown(last.after)} points")


def _require_reason(why: str) -> None:
    if not why.strip():
        raise UserError('WHY= is missing: give a reason, as WHY="..."; the ledger keeps it, and the table shows it')


def _marked(rows: Sequence[Result], *, failed: bool, flagged: bool) -> list[str]:
    """Whose submission could not be graded, or whom a person should look at; not where a person set the points."""
    there = [row for row in rows if row.submission.content is not None and not row.overridden]
    return [
        row.submission.student_id
        for row in there
        if (failed and row.grade.outcome is not Outcome.GRADED) or (flagged and row.grade.review)
    ]


def _points(text: str, most: Decimal) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or not 0 <= value <= most:
        raise UserError(f"POINTS={text} is not a number from 0 to {most:f}, the most that the assignment gives")
    return value


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name for this user id
        return "unknown"


def _shown(points: Decimal | None) -> str:
    return "none" if points is None else f"{points:f}"
