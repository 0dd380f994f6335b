"""A class in rows: the tables that a spreadsheet opens, and what the terminal shows."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from grader.records import Check, Collection, Decision, Submission, accuracy_percent
from grader.report.page import epochs, ordered
from grader.results.entries import Change, Entry, Result
from grader.text import one_line, printable, write_private

GRADES_COLUMNS = (
    *("student_id", "name", "submitted_at", "file", "sha256", "outcome", "architecture", "accuracy", "points"),
    *("epochs", "train_seconds", "stop_reason", "runs", "changes", "review", "message"),
)
CHECKS_COLUMNS = (
    *("student_id", "file", "verdict", "deviations", "notes", "parameters", "output_shape", "blanks_left", "message"),
)
COLLECTION_COLUMNS = ("file", "student_id", "decision", "reason")
# Excel and LibreOffice take 32,767 characters, and a formula's guard is one.
_LONGEST_CELL = 32_000

# OWASP's list for CSV injection, with the fullwidth forms of the four signs. Blanks before the sign, also invisible
# ones, are skipped by some spreadsheets.
_FORMULA = re.compile("[\t\r\n]|[\\s\u200b-\u200f\u2060\ufeff]*[=+\\-@\uff1d\uff0b\uff0d\uff20]")


def grades_table(results: Iterable[Result]) -> pd.DataFrame:
    """Return one row of text for each student, ordered by `student_id`; a cell is empty where there is nothing."""
    return _frame((_grades_row(result) for result in results), GRADES_COLUMNS)


def checks_table(checks: Iterable[tuple[Submission, Check | None]]) -> pd.DataFrame:
    """Return one row of text for each submission, ordered by `student_id`; None where there was nothing to check."""
    return _frame((_checks_row(submission, check) for submission, check in checks), CHECKS_COLUMNS)


def collection_table(decisions: Iterable[Decision]) -> pd.DataFrame:
    """Return one row of text for each file that was found: whose it is, and what was decided."""
    cells = (
        {"file": item.file, "student_id": item.student_id, "decision": item.status.value, "reason": item.reason}
        for item in decisions
    )
    return _frame(cells, COLLECTION_COLUMNS)


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a table of text that is safe to open in a spreadsheet, in one step: all of it or nothing.

    UTF-8 with a byte-order mark, without which Excel does not show Korean; readable by its owner alone.

    Raises:
        UserError: Nothing can be written there. An older file is left as it was.
    """
    cells = frame.map(_safe_cell)
    # Every field is quoted: a spreadsheet that also splits at semicolons would else see a cell begin within a cell.
    text = cells.to_csv(index=False, quoting=csv.QUOTE_ALL, lineterminator="\n")
    write_private(path, text.encode("utf-8-sig"))


def _safe_cell(value: object) -> str:
    text = printable(str(value))
    if len(text) > _LONGEST_CELL:
        text = text[: _LONGEST_CELL - 1] + "…"
    return f"'{text}" if _FORMULA.match(text) else text


def _frame(rows: Iterable[dict[str, str]], columns: Sequence[str]) -> pd.DataFrame:
    ordered = sorted(rows, key=lambda row: row["student_id"])
    # `object`, because pandas' own text type cannot hold a lone surrogate.
    return pd.DataFrame(ordered, columns=list(columns), dtype=object)


def _grades_row(result: Result) -> dict[str, str]:
    submission, entry, grade = result.submission, result.entry, result.grade
    row = dict.fromkeys(GRADES_COLUMNS, "") | {
        "student_id": submission.student_id,
        "name": submission.name,
        "submitted_at": submission.submitted_at.isoformat(" ", "seconds") if submission.submitted_at else "",
        "file": submission.file,
        "sha256": submission.sha256,
        "outcome": grade.outcome.value,
        "accuracy": "" if grade.accuracy is None else f"{grade.accuracy:.2f}",
        "points": "" if grade.points is None else f"{grade.points:f}",
        "runs": "; ".join(_run_cell(run) for run in result.runs) if len(result.runs) > 1 else "",
        "changes": "; ".join(_change_cell(change) for change in result.changes),
        "review": one_line("; ".join(grade.review)),
        "message": one_line(grade.message),
    }
    if entry is not None:
        row["architecture"] = entry.check.verdict.value
        row["stop_reason"] = entry.run.stop_reason.value
        row["train_seconds"] = f"{entry.run.training.seconds:.1f}"
        if (passes := epochs(entry)) is not None:
            row["epochs"] = f"{passes:.2f}"
    return row


def _run_cell(run: Entry) -> str:
    measured = run.outcome.value
    if run.score is not None:
        measured = f"{accuracy_percent(run.score.correct, run.score.total):.2f} %"
    return f"{measured} (seed {run.evidence.seed}, {run.reason.value})"


def _change_cell(change: Change) -> str:
    before, after = ("none" if points is None else f"{points:f}" for points in (change.before, change.after))
    when = change.at.astimezone().isoformat(" ", "minutes")
    return one_line(f"{change.what} by {change.who}, {when}: {before} -> {after} points ({change.why})")


def _checks_row(submission: Submission, check: Check | None) -> dict[str, str]:
    row = dict.fromkeys(CHECKS_COLUMNS, "") | {"student_id": submission.student_id, "file": submission.file}
    if check is None:
        row["notes"] = one_line("; ".join(submission.remarks))
        row["message"] = one_line(submission.unreadable or submission.late) or "The student handed in nothing."
        return row
    return row | {
        "verdict": check.verdict.value,
        "deviations": one_line("; ".join(f"{finding.code.value}: {finding.where}" for finding in check.findings)),
        # The collection's remarks have no column of their own here, and are not to be lost.
        "notes": one_line("; ".join((*check.notes, *check.open_questions, *submission.remarks))),
        "parameters": "" if check.parameters is None else str(check.parameters),
        "output_shape": "" if check.output_shape is None else " x ".join(map(str, check.output_shape)),
        "blanks_left": ", ".join(check.blanks_left),
        "message": one_line(check.message),
    }


def print_summary(console: Console, results: Sequence[Result], notice: str) -> None:
    """Print the table of students, how many got each number of points, and whom a person should look at.

    Args:
        notice: What every reader must know of these results, such as a data set that is not for grades; may be empty.
    """
    table = _summary(results)
    # A file or a pipe has no width to fit into, so there each student stays on one line, whole.
    if not console.is_terminal:
        table.width = Measurement.get(console, console.options.update(max_width=10_000), table).maximum
    console.print(table, crop=False)
    counts = points_counts(result.grade.points for result in results)
    lines = [f"Students: {len(results)}. {', '.join(counts)}"]
    if marked := [result for result in ordered(results) if result.grade.review]:
        lines.append(f"Students to look at: {len(marked)}")
        lines += [f"{result.submission.student_id}: {'; '.join(result.grade.review)}" for result in marked]
    for line in (*lines, notice) if notice else lines:
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


def _summary(results: Sequence[Result]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    columns = ("student_id", "name", "outcome", "accuracy", "points", "architecture")
    # On a narrow terminal, ids and names go on in a second line; nothing is cut.
    for name in columns:
        if name in ("student_id", "name"):
            table.add_column(name, overflow="fold")
        else:
            table.add_column(name, no_wrap=True, justify="right" if name in ("accuracy", "points") else "left")
    for result in ordered(results):
        row = _grades_row(result)
        row["points"] = row["points"] or "-"
        table.add_row(*(_text(row[name]) for name in columns))
    return table


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
    if submission.content is None and submission.late:
        return f"nothing in time: {submission.late}"
    if submission.content is None:
        remarks = submission.remarks
        return "; ".join(("no file that can be graded", *remarks)) if remarks else "handed in nothing"
    when = f", {submission.submitted_at.isoformat(' ', 'seconds')}" if submission.submitted_at else ""
    names = ", ".join(companion.name for companion in submission.companions)
    return f"{submission.file}{when}{f', with {names}' if names else ''}: {reason}"
