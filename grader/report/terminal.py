"""What the terminal shows of a class: what was collected, each result in a line, and the summary at the end."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from grader.records import Collection, Submission
from grader.report.view import ordered
from grader.results.entries import Result
from grader.text import one_line


def print_summary(console: Console, results: Sequence[Result], notice: str) -> None:
    """Print the table of students, how many got each number of points, and whom a person should look at.

    Args:
        notice: What every reader must know of these results, such as a data set that is not for grades; may be empty.
    """
    table = _table(results)
    # A file or a pipe has no width to fit into, so there each student stays on one line, whole.
    if not console.is_terminal:
        table.width = Measurement.get(console, console.options.update(max_width=10_000), table).maximum
    console.print(table, crop=False)
    for line in filter(None, [_points_line(results), *_review_lines(results), notice]):
        console.print(_text(line), soft_wrap=True)


def result_line(result: Result) -> str:
    """Return one student's result as one line."""
    grade = result.grade
    points = "no points" if grade.points is None else f"{grade.points:f} points"
    accuracy = "" if grade.accuracy is None else f", {grade.accuracy} %"
    return f"{one_line(result.submission.student_id)}: {grade.outcome}{accuracy}, {points}"


def points_counts(points: Iterable[Decimal | None]) -> list[str]:
    """Return how many have each number of points, the most points first."""
    counts = Counter(points)
    earned = sorted((value for value in counts if value is not None), reverse=True)
    parts = [f"{value:f} points: {counts[value]}" for value in earned]
    return [*parts, f"no points yet: {counts[None]}"] if counts[None] else parts


def _table(results: Sequence[Result]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    # On a narrow terminal, ids and names go on in a second line; nothing is cut.
    table.add_column("student_id", overflow="fold")
    table.add_column("name", overflow="fold")
    table.add_column("outcome", no_wrap=True)
    table.add_column("accuracy", justify="right", no_wrap=True)
    table.add_column("points", justify="right", no_wrap=True)
    table.add_column("architecture", no_wrap=True)
    for result in ordered(results):
        table.add_row(*_row(result))
    return table


def _row(result: Result) -> list[Text]:
    grade, entry = result.grade, result.entry
    return [
        _text(result.submission.student_id),
        _text(result.submission.name),
        _text(grade.outcome.value),
        _text("" if grade.accuracy is None else f"{grade.accuracy:.2f}"),
        _text("-" if grade.points is None else f"{grade.points:f}"),
        _text("" if entry is None else entry.check.verdict.value),
    ]


def _points_line(results: Sequence[Result]) -> str:
    return f"Students: {len(results)}. " + ", ".join(points_counts(result.grade.points for result in results))


def _review_lines(results: Sequence[Result]) -> list[str]:
    marked = [result for result in ordered(results) if result.grade.review]
    if not marked:
        return []
    reasons = [f"{result.submission.student_id}: {'; '.join(result.grade.review)}" for result in marked]
    return [f"Students to look at: {len(marked)}", *reasons]


def _text(value: str) -> Text:
    # A `Text` is never read as markup, so that nothing in a student's name or error can style or hide a line.
    return Text(one_line(value))


def collection_lines(collection: Collection) -> Iterator[str]:
    """Give one line for each student: the file that counts, its time, and why it does; or that there is none."""
    reasons = {(decision.student_id, decision.file): decision.reason for decision in collection.decisions}
    for submission in collection.submissions:
        who = f"{submission.student_id} ({submission.name})" if submission.name else submission.student_id
        yield one_line(f"{who}: {_what(submission, reasons.get((submission.student_id, submission.file), ''))}")


def _what(submission: Submission, reason: str) -> str:
    if submission.unreadable:
        return f"cannot be graded: {submission.unreadable}"
    if submission.content is None:
        if submission.late:
            return f"nothing in time: {submission.late}"
        return (
            "; ".join(["no file that can be graded", *submission.remarks])
            if submission.remarks
            else "handed in nothing"
        )
    when = f", {submission.submitted_at.isoformat(' ', 'seconds')}" if submission.submitted_at else ""
    names = [companion.name for companion in submission.companions]
    beside = f", with {', '.join(names)}" if names else ""
    return f"{submission.file}{when}{beside}: {reason}"
