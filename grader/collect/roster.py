"""Reads the roster: who takes the course, from our own CSV or from a learning system's gradebook."""

import csv
import io
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from grader.collect.deadline import parse_deadline
from grader.errors import UserError
from grader.lms import blackboard, canvas, gradescope, moodle
from grader.lms.files import Known
from grader.lms.gradebook import Gradebook, decode, delimiter_of, named_alike, other_ids, students_by_column
from grader.text import NO_TEXT

DEADLINE = "deadline"
_WAY_OUT = "save it as CSV with the columns student_id,name"
_OURS = Gradebook("", key="student_id", shapes=(("student_id", "name"),), name_of=lambda row: row["name"])
# Moodle's worksheet may have a column Username too, which is Blackboard's key.
_BOOKS = (_OURS, canvas.GRADEBOOK, moodle.GRADEBOOK, blackboard.GRADEBOOK, gradescope.ROSTER)
# 2.0261E+15, and the 20261001.0 of a column that has an empty cell.
_AS_NUMBER = re.compile(r"\d(?:[.,]\d+)?E\+\d\d+|\d+\.0")


@dataclass(frozen=True, slots=True)
class RosterLine:
    """What the roster says of one student.

    Attributes:
        deadline: Their own, which overrides the class's; None does not.
        also: What else they may be called, by the columns: logins, e-mail addresses, numbers.
        guest: Who need not hand anything in, such as the one as whom a teacher looks at the course.
    """

    name: str
    deadline: datetime | None = None
    also: Mapping[str, str] = field(default_factory=dict)
    guest: bool = False


@dataclass(frozen=True, slots=True)
class Roster:
    """Everyone on it, by id, in the file's order.

    Attributes:
        key: The column that the ids come from.
        by_system: A learning system wrote it, so that its names are spelt as in that system's archive.
    """

    lines: Mapping[str, RosterLine] = field(default_factory=dict)
    key: str = ""
    by_system: bool = False

    def columns(self) -> dict[str, dict[str, str]]:
        """For each column that may name students, whom its cells name."""
        return students_by_column({student_id: line.also for student_id, line in self.lines.items()})

    def known(self) -> Known:
        """Who is on it, for the learning systems."""
        names = {student_id: line.name if self.by_system else "" for student_id, line in self.lines.items()}
        also = {cell: names[student] for students in self.columns().values() for cell, student in students.items()}
        return names, also


def read_roster(path: Path) -> Roster:
    """Read a CSV file with a header: the columns `student_id` and `name`, and if there is one, `deadline`.

    Or what the teacher downloads from the system from which the submissions came: Blackboard's gradebook, Canvas',
    Moodle's grading worksheet, Gradescope's roster or scores. Students are matched by id, and never by name. Other
    columns are passed over, but for logins, e-mail addresses and numbers, by which submissions may be named instead.

    UTF-8, UTF-16 with a byte order mark, or cp949; separated by commas, semicolons or tabs, as spreadsheets save it.
    Ids stay text, without blanks around them and in NFC.

    Raises:
        UserError: There is no such file, a column is missing, nobody is on it, or a line or a deadline is wrong.
    """
    try:
        text, *_ = decode(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot open the roster {path} ({error.strerror}): name a CSV file with ROSTER=") from None
    except UnicodeDecodeError:
        raise UserError(f"the roster {path} is {NO_TEXT}: {_WAY_OUT}, as UTF-8") from None
    try:
        roster = _read(text, path)
    except csv.Error as error:
        raise UserError(f"the roster {path} cannot be read (its quotes do not match: {error}): {_WAY_OUT}") from None
    except ValueError as error:
        raise UserError(f"the roster {path} cannot be read ({error}): {_WAY_OUT}") from None
    if not roster.lines:
        raise UserError(f"the roster {path} lists nobody: {_WAY_OUT} and one line for each student")
    return roster


def _read(text: str, path: Path) -> Roster:
    """Read every line.

    Raises:
        ValueError: Says which column is missing, or which line is wrong and how.
        csv.Error: The text is not CSV.
        UserError: A student is on it twice, or a deadline is wrong.
    """
    # Excel's own first line, where a file tells it the delimiter.
    text = re.sub(r"\Asep=.\r?\n", "", text)
    # strict: otherwise a quote that is never closed swallows every student below it.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(text), strict=True)
    columns = [column.strip() for column in next((row for row in reader if any(map(str.strip, row))), [])]
    rows = [(reader.line_num, [_cell(raw) for raw in cells]) for cells in reader]
    book, columns = _recognised(columns, [cells for _, cells in rows])
    _check(columns, book)
    lines: dict[str, RosterLine] = {}
    for line, cells in rows:
        row = _by_column(cells, columns, line)
        student_id = book.id_of(row.get(book.key, "")) or row.get(book.instead, "")
        # Between Canvas' header and the students there are rows about the assignments, without an id.
        if not any(row.values()) or (not student_id and book is canvas.GRADEBOOK):
            continue
        if not student_id:
            raise ValueError(f"line {line} has no {book.key}")
        if _AS_NUMBER.fullmatch(student_id):
            raise ValueError(f"line {line} has {student_id}, a number that a spreadsheet or a program made of an id")
        source = f"the roster {path}, line {line}, student {student_id}: the deadline "
        if student_id in lines:
            raise UserError(f"the roster {path} has {student_id} twice, again in line {line}: remove one of them")
        deadline = parse_deadline(row.get(DEADLINE, ""), source)
        also = other_ids(row, book.key)
        lines[student_id] = RosterLine(book.name_of(row), deadline, also, guest=book.is_guest(row))
    return Roster(lines, book.key, book is not _OURS)


def _recognised(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[Gradebook, list[str]]:
    """Whose file it is, and its columns in English; ours, where it is no system's."""
    # In whatever capitals: nobody's extension is lost over a Deadline.
    columns = [DEADLINE if column.casefold() == DEADLINE else column for column in columns]
    if book := named_alike(columns, _BOOKS):
        return book, book.english(columns, rows)
    ours = [folded if (folded := column.casefold()) in _OURS.shapes[0] else column for column in columns]
    if set(_OURS.shapes[0]) <= set(ours):
        return _OURS, ours
    for book in _BOOKS:
        names = book.english(columns, rows)
        if set(book.shape_of(names)) <= set(names):
            return book, names
    alike = (book for book in _BOOKS if any(len(set(shape) & set(columns)) > 1 for shape in book.shapes))
    return next(alike, _OURS), list(columns)


def _cell(raw: str) -> str:
    """A cell, composed and without blanks around it; some systems write ="0012" so that Excel leaves an id alone."""
    text = unicodedata.normalize("NFC", raw.strip())
    return text[2:-1] if text.startswith('="') and text.endswith('"') else text


def _check(columns: Sequence[str], book: Gradebook) -> None:
    """Refuse a header without the columns that name a student, or with two that could be meant.

    Raises:
        ValueError: Says which.
    """
    for column in book.shape_of(columns):
        # A system's own columns come first; a teacher may have named one of theirs alike.
        if column not in columns or (book is _OURS and columns.count(column) != 1):
            raise ValueError(f"its first line needs one column {column} and has {', '.join(columns) or 'nothing'}")
    if columns.count(DEADLINE) > 1:
        raise ValueError(f"its first line has more than one column {DEADLINE}")


def _by_column(row: Sequence[str], columns: Sequence[str], line: int) -> dict[str, str]:
    """Give a row's cells; of equal columns, the first.

    Raises:
        ValueError: The row has more cells than the header.
    """
    if any(row[len(columns) :]):
        raise ValueError(f"line {line} has more cells than the first line; quote a name with a comma")
    return dict.fromkeys(columns, "") | dict(reversed(list(zip(columns, row, strict=False))))
