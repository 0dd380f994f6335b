"""The tables that a teacher opens: `grades.csv` and `checks.csv`."""

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from grader.records import Check, Decision, Submission, accuracy_percent
from grader.results.entries import Change, Entry, Result
from grader.text import one_line, printable, write_private

GRADES_COLUMNS = (
    "student_id",
    "name",
    "submitted_at",
    "file",
    "sha256",
    "outcome",
    "architecture",
    "accuracy",
    "points",
    "epochs",
    "train_seconds",
    "stop_reason",
    "runs",
    "changes",
    "review",
    "message",
)
CHECKS_COLUMNS = (
    "student_id",
    "file",
    "verdict",
    "deviations",
    "notes",
    "parameters",
    "output_shape",
    "blanks_left",
    "message",
)
# Excel and LibreOffice take 32,767 characters, and a formula's guard is one.
_LONGEST_CELL = 32_000
COLLECTION_COLUMNS = ("file", "student_id", "decision", "reason")

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
        if entry.evidence.train_size > 0:
            row["epochs"] = f"{entry.run.training.samples / entry.evidence.train_size:.2f}"
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
