"""What people read: everything that a grading leaves below OUT, and where it lies."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from grader.assignment import Assignment
from grader.lms.files import listed
from grader.records import Collection
from grader.report.page import FEEDBACK_NAME, REPORT_NAME, render_report, write_feedback
from grader.report.since import STANDINGS_NAME, changed_since, read_standings, standings, write_standings
from grader.report.table import grades_table, write_csv
from grader.results.entries import Result
from grader.results.ledger import Ledger, log_of
from grader.text import write_private

GRADES_NAME, LOGS_NAME = "grades.csv", "logs"


def write_results(
    rows: Sequence[Result], collection: Collection, assignment: Assignment, ledger: Ledger, out: Path
) -> None:
    """Write `grades.csv`, the teacher's page and the students' feedback.

    Raises:
        UserError: Nothing can be written there.
    """
    write_csv(grades_table(rows), out / GRADES_NAME)
    logs = out / LOGS_NAME
    before, now = read_standings(out / STANDINGS_NAME), standings(rows)
    since = changed_since(before, now) if before else None
    log = partial(log_of, ledger=ledger, logs=logs)
    page = render_report(rows, collection.decisions, assignment, log, since)
    write_private(out / REPORT_NAME, page.encode())
    write_standings(now, out / STANDINGS_NAME)
    write_feedback(rows, assignment, out / FEEDBACK_NAME)


def where_it_is(rows: Sequence[Result], out: Path, setting: str) -> Iterator[str]:
    """Say what lies where, and which command comes next.

    Args:
        setting: How a make command is told of `out`, with a blank before it; empty where it knows it.
    """
    yield f"\ngrades: {out / GRADES_NAME}\npage: {out / REPORT_NAME}\nfeedback for each student: {out / FEEDBACK_NAME}"
    yield f"logs: {out / LOGS_NAME}\nwhich file counts, and why: {out / 'collection.csv'}"
    yield f"next: {_next_command(rows, out, setting)}"


def _next_command(rows: Sequence[Result], out: Path, setting: str) -> str:
    if any(row.due for row in rows):
        return "run the same make grade again, for the whole class: some runs are still due"
    if without := [row.submission.student_id for row in rows if row.grade.points is None]:
        return f"do what `review` says of {listed(without)}, without points so far"
    export = f"make export{setting} LMS=blackboard, canvas, moodle or gradescope"
    if any(row.grade.review for row in rows):
        return f"look at {out / REPORT_NAME}; make regrade and make override change a result; then {export}"
    return export
