"""Reads the roster: who takes the course."""

import codecs
import csv
import io
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from grader.collect.deadline import parse_deadline
from grader.errors import Mistake

COLUMNS = ("student_id", "name")
DEADLINE = "deadline"
_WAY_OUT = "save it as CSV with the columns student_id,name"


@dataclass(frozen=True, slots=True)
class RosterLine:
    """What the roster says of one student; a deadline of their own overrides the class's, None does not."""

    name: str
    deadline: datetime | None = None


def read_roster(path: Path) -> dict[str, RosterLine]:
    """Read a CSV file with a header: the columns `student_id` and `name`, and if there is one, `deadline`.

    Others are passed over.

    UTF-8, UTF-16 with a byte order mark, or cp949; separated by commas, semicolons or tabs, as spreadsheets save it.

    Returns:
        Each student's line, by id, in the file's order. Ids stay text, without blanks around them and in NFC.

    Raises:
        Mistake: There is no such file, a column is missing, nobody is on it, or a line or a deadline is wrong.
    """
    try:
        text = _decode(path.read_bytes())
    except OSError as error:
        raise Mistake(f"cannot open the roster {path} ({error.strerror}): {_WAY_OUT}") from None
    except UnicodeDecodeError:
        raise Mistake(f"the roster {path} is neither UTF-8, UTF-16 nor cp949 text: {_WAY_OUT}") from None
    lines: dict[str, RosterLine] = {}
    try:
        for line, student_id, name, deadline in _rows(text):
            if student_id in lines:
                raise Mistake(f"the roster {path} has {student_id} twice, again in line {line}: remove one of them")
            source = f"the roster {path}, line {line}, student {student_id}: the deadline "
            lines[student_id] = RosterLine(name, parse_deadline(deadline, source))
    except (csv.Error, ValueError) as error:
        raise Mistake(f"the roster {path} cannot be read ({error}): {_WAY_OUT}") from None
    if not lines:
        raise Mistake(f"nobody is on the roster {path}: {_WAY_OUT} and one line for each student")
    return lines


def _decode(content: bytes) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp949")


def _rows(text: str) -> Iterator[tuple[int, str, str, str]]:
    """Give line number, id, name and deadline (mostly empty) of each student.

    Raises:
        ValueError: Says which column is missing, or which line is wrong and how.
        csv.Error: The text is not CSV.
    """
    header = text.partition("\n")[0]
    # strict: otherwise a quote that is never closed swallows every student below it.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count), strict=True)
    columns = [column.strip() for column in next(reader, [])]
    for column in COLUMNS:
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
        by_column = dict(zip(columns, cells, strict=False))
        student_id = by_column.get("student_id", "")
        if not student_id:
            raise ValueError(f"line {reader.line_num} has no student_id")
        yield reader.line_num, student_id, by_column.get("name", ""), by_column.get(DEADLINE, "")
