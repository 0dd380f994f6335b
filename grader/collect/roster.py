"""Reads the roster: who takes the course, from our own CSV or from a learning system's gradebook."""

import csv
import io
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from grader.collect.deadline import parse_deadline
from grader.errors import UserError
from grader.lms.sheets import decode, delimiter_of

COLUMNS = ("student_id", "name")
DEADLINE = "deadline"
_WAY_OUT = "save it as CSV with the columns student_id,name"
_HANGUL = re.compile("[\uac00-\ud7a3]+")


@dataclass(frozen=True, slots=True)
class RosterLine:
    """What the roster says of one student; a deadline of their own overrides the class's, None does not."""

    name: str
    deadline: datetime | None = None


def read_roster(path: Path) -> dict[str, RosterLine]:
    """Read a CSV file with a header: the columns `student_id` and `name`, and if there is one, `deadline`.

    Or what the teacher downloads from the system from which the submissions came: Blackboard's gradebook (`Username`),
    Canvas' (`ID`), Moodle's grading worksheet (`Identifier`). Students are matched by id alone. Other columns are
    passed over.

    UTF-8, UTF-16 with a byte order mark, or cp949; separated by commas, semicolons or tabs, as spreadsheets save it.

    Returns:
        Each student's line, by id, in the file's order. Ids stay text, without blanks around them and in NFC.

    Raises:
        UserError: There is no such file, a column is missing, nobody is on it, or a line or a deadline is wrong.
    """
    try:
        text, _ = decode(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot open the roster {path} ({error.strerror}): {_WAY_OUT}") from None
    except UnicodeDecodeError:
        raise UserError(f"the roster {path} is neither UTF-8, UTF-16 nor cp949 text: {_WAY_OUT}") from None
    lines: dict[str, RosterLine] = {}
    try:
        for line, student_id, name, deadline in _rows(text):
            if student_id in lines:
                raise UserError(f"the roster {path} has {student_id} twice, again in line {line}: remove one of them")
            source = f"the roster {path}, line {line}, student {student_id}: the deadline "
            lines[student_id] = RosterLine(name, parse_deadline(deadline, source))
    except (csv.Error, ValueError) as error:
        raise UserError(f"the roster {path} cannot be read ({error}): {_WAY_OUT}") from None
    if not lines:
        raise UserError(f"the roster {path} lists nobody: {_WAY_OUT} and one line for each student")
    return lines


def _rows(text: str) -> Iterator[tuple[int, str, str, str]]:
    """Give line number, id, name and deadline (mostly empty) of each student.

    Raises:
        ValueError: Says which column is missing, or which line is wrong and how.
        csv.Error: The text is not CSV.
    """
    # strict: otherwise a quote that is never closed swallows every student below it.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(text), strict=True)
    columns = [column.strip() for column in next(reader, [])]
    needed, student_of = _kind(columns)
    for column in needed:
        if columns.count(column) != 1:
            raise ValueError(f"its first line needs one column {column} and has {', '.join(columns) or 'nothing'}")
    if columns.count(DEADLINE) > 1:
        raise ValueError(f"its first line has more than one column {DEADLINE}")
    for row in reader:
        cells = [unicodedata.normalize("NFC", cell.strip()) for cell in row]
        if not any(cells):
            continue
        if any(cells[len(columns) :]):
            raise ValueError(f"line {reader.line_num} has more cells than the first line; quote a name with a comma")
        by_column = dict.fromkeys(columns, "") | dict(zip(columns, cells, strict=False))
        student = student_of(by_column)
        if student is None:
            continue
        student_id, name = student
        if not student_id:
            raise ValueError(f"line {reader.line_num} has no {needed[0]}")
        yield reader.line_num, student_id, name, by_column.get(DEADLINE, "")


_StudentOf = Callable[[Mapping[str, str]], tuple[str, str] | None]


def _kind(columns: Sequence[str]) -> tuple[tuple[str, ...], _StudentOf]:
    """Tell by its header whose file it is: the columns that it needs, and how a row names a student."""
    if "student_id" in columns:
        return COLUMNS, _of_ours
    if "Username" in columns:
        return ("Username", "Last Name", "First Name"), _of_blackboard
    if "Student" in columns and "ID" in columns:
        return ("ID", "Student"), _of_canvas
    if "Identifier" in columns:
        return ("Identifier",), _of_moodle
    return COLUMNS, _of_ours


def _of_ours(row: Mapping[str, str]) -> tuple[str, str]:
    return row["student_id"], row["name"]


def _of_blackboard(row: Mapping[str, str]) -> tuple[str, str]:
    last, first = row["Last Name"], row["First Name"]
    korean = _HANGUL.fullmatch(last) and _HANGUL.fullmatch(first)
    return row["Username"], f"{last}{first}" if korean else f"{first} {last}".strip()


def _of_canvas(row: Mapping[str, str]) -> tuple[str, str] | None:
    """Between the header and the students there are rows about the assignments, without an id."""
    return (row["ID"], row["Student"]) if row["ID"] else None


def _of_moodle(row: Mapping[str, str]) -> tuple[str, str]:
    """`Participant 37` is the student whose folder in the archive has the number 37, in whatever language."""
    number = re.search(r"\d+$", row["Identifier"], re.ASCII)
    return number[0] if number else "", row.get("Full name", "")
