"""The grade files that learning systems take back: the file that the teacher downloaded, with the score filled in.

Whatever the system wrote stays as it wrote it, byte for byte: encoding, delimiter, quotes, headers, ids, rows. Other
grades' columns are left out, so that an upload cannot put back what was changed meanwhile.
"""

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation

from grader.errors import UserError
from grader.lms import System
from grader.lms.sheets import Sheet, named_columns, plain, read_sheet, written
from grader.results.entries import Result
from grader.text import one_line


@dataclass(frozen=True, slots=True)
class NewScore:
    """One student's score in the file, as text: as it was, and as it is now; empty where there is none."""

    student_id: str
    before: str
    after: str

    @property
    def falls(self) -> bool:
        """Whether the student had more before."""
        before, after = _number(self.before), _number(self.after)
        return before is not None and after is not None and after < before


@dataclass(frozen=True, slots=True)
class Upload:
    """A filled-in file.

    Attributes:
        scores: Everyone who has points and is in the file, in its order.
        without_points: Who is in the file and has no points: a score stays as it was, and is never made 0.
        only_graded: Who is graded and not in the file.
        only_listed: Who is in the file and not graded: the row stays as it was.
        notices: What the teacher should know, one sentence each.
    """

    content: bytes
    column: str
    scores: tuple[NewScore, ...]
    without_points: tuple[str, ...]
    only_graded: tuple[str, ...]
    only_listed: tuple[str, ...]
    notices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a system's file is laid out; `kept` are the columns that it needs to tell students apart."""

    name: str
    key: str
    kept: frozenset[str]
    id_of: Callable[[str], str]
    score: re.Pattern[str]
    feedback: str = ""


def _participant(cell: str) -> str:
    number = re.search(r"\d+$", cell, re.ASCII)
    return number[0] if number else ""


_SYSTEMS = {
    System.BLACKBOARD: _Layout(
        "Blackboard",
        "Username",
        frozenset({"Last Name", "First Name", "Username"}),
        str,
        re.compile(r".*\[Total Pts: *(?P<most>[\d.,]+)?.*\] *\|\s*\w+"),
    ),
    System.CANVAS: _Layout(
        "Canvas",
        "ID",
        frozenset({"Student", "ID", "SIS User ID", "SIS Login ID", "Integration ID", "Section"}),
        str,
        re.compile(r".+ \(\d+\)"),
    ),
    System.MOODLE: _Layout(
        "Moodle",
        "Identifier",
        frozenset({"Identifier", "Last modified (grade)"}),
        _participant,
        re.compile("Grade"),
        "Feedback comments",
    ),
}


def filled_in(
    gradebook: bytes, system: System, results: Sequence[Result], most: Decimal, hint: str, column: str = ""
) -> Upload:
    """Fill the score, and the feedback where the file has a column for it, into a downloaded file.

    Args:
        system: Not Gradescope, which takes other files (gradescope.py).
        most: The points that the assignment gives at most.
        hint: What the assignment's column is likely to have in its name, such as `hw6`.
        column: The column's header or a part of it; empty: found by `hint`, or the only one.

    Raises:
        UserError: The file is not that system's, or several columns could be meant.
    """
    layout = _SYSTEMS[system]
    try:
        sheet = read_sheet(gradebook)
    except ValueError as error:
        raise UserError(f"GRADEBOOK= cannot be read ({error}): pass what {layout.name} let you download") from None
    columns = named_columns(sheet.rows[0]) if sheet.rows else {}
    for needed in sorted(layout.kept - {"SIS User ID", "SIS Login ID", "Integration ID"}):
        if needed not in columns:
            raise UserError(f"GRADEBOOK= has no column {needed}: pass what {layout.name} let you download, in English")
    header = _score_column(columns, layout, hint, column)
    return _filled_in(sheet, layout, columns, header, results, most)


def _filled_in(
    sheet: Sheet, layout: _Layout, columns: dict[str, int], header: str, results: Sequence[Result], most: Decimal
) -> Upload:
    key, score, feedback = columns[layout.key], columns[header], columns.get(layout.feedback)
    graded = {result.submission.student_id: result for result in results}
    rows = [sheet.rows[0]]
    scores, without_points, only_listed, seen = [], [], [], set()
    for row in sheet.rows[1:]:
        student_id = layout.id_of(plain(row[key])) if key < len(row) else ""
        result = graded.get(student_id)
        if result is not None and score < len(row):
            if student_id in seen:
                raise UserError(f"GRADEBOOK= has {student_id} twice: download it again")
            seen.add(student_id)
            before = plain(row[score])
            if result.grade.points is None:
                without_points.append(student_id)
                row = _without_words(row, score, sheet)
            else:
                row = _with_result(row, result, score, feedback, sheet)
                scores.append(NewScore(student_id, before, plain(row[score])))
        elif student_id:
            only_listed.append(student_id)
        rows.append(row)
    kept = sorted({columns[name] for name in layout.kept & columns.keys()} | {score, *_place(feedback)})
    trimmed = tuple(tuple(row[place] for place in kept if place < len(row)) for row in rows)
    try:
        content = replace(sheet, rows=trimmed).encode()
    except UnicodeEncodeError:
        raise UserError(
            "GRADEBOOK= is in an encoding that lacks a character of a message: download it as UTF-8"
        ) from None
    notices = _worth(sheet, layout, columns, header, most)
    missing = tuple(sorted(graded.keys() - seen))
    return Upload(content, header, tuple(scores), tuple(without_points), missing, tuple(only_listed), notices)


def _place(column: int | None) -> tuple[int, ...]:
    return () if column is None else (column,)


def _without_words(row: tuple[str, ...], score: int, sheet: Sheet) -> tuple[str, ...]:
    """Leave a score blank where there is none: Blackboard writes "Needs Grading" there, which is no score."""
    if _number(plain(row[score])) is not None:
        return row
    return (*row[:score], written("", sheet.delimiter, quoted=row[score].startswith('"')), *row[score + 1 :])


def _with_result(
    row: tuple[str, ...], result: Result, score: int, feedback: int | None, sheet: Sheet
) -> tuple[str, ...]:
    """Write points and message; points that were there stay in the system's own spelling, such as 20.00."""
    cells = list(row)
    points = result.grade.points
    if points is not None and _number(plain(cells[score])) != points:
        cells[score] = written(f"{points:f}", sheet.delimiter, quoted=cells[score].startswith('"'))
    if feedback is not None and feedback < len(cells):
        # Moodle keeps feedback as HTML, and a message quotes what a student's script raised.
        text = html.escape(one_line(result.grade.message), quote=False)
        cells[feedback] = written(text, sheet.delimiter, quoted=cells[feedback].startswith('"'))
    return tuple(cells)


def _score_column(columns: dict[str, int], layout: _Layout, hint: str, wanted: str) -> str:
    """Choose the one column that takes the score.

    Raises:
        UserError: None could be meant, or several.
    """
    possible = [name for name in columns if layout.score.fullmatch(name)]
    if wanted:
        exact = [name for name in possible if name == wanted]
        named = exact or [name for name in possible if wanted.casefold() in name.casefold()]
    else:
        named = [name for name in possible if hint.casefold() in name.casefold()] if len(possible) > 1 else possible
    if len(named) == 1:
        return named[0]
    choice = "; ".join(named or possible) or "none that takes a score"
    raise UserError(
        f"it is not clear which column of GRADEBOOK= takes the score: set COLUMN= to one of these: {choice}"
    )


def _worth(sheet: Sheet, layout: _Layout, columns: dict[str, int], header: str, most: Decimal) -> tuple[str, ...]:
    """Say so where the system's column is worth other points than the assignment gives."""
    match = layout.score.fullmatch(header)
    worth = _number(match["most"] or "") if match and "most" in layout.score.groupindex else None
    for row in sheet.rows[1:]:
        cells = [plain(raw) for raw in row]
        if layout.name == "Canvas" and cells[columns["Student"]].startswith("Points Possible"):
            worth = _number(cells[columns[header]])
        elif "Maximum Grade" in columns and columns["Maximum Grade"] < len(cells):
            worth = _number(cells[columns["Maximum Grade"]])
    if worth is None or worth == most:
        return ()
    return (f"{layout.name}'s column is worth {worth.normalize():f} points, and the assignment gives {most:f} at most",)


def _number(text: str) -> Decimal | None:
    try:
        value = Decimal(text.replace(",", "."))
    except InvalidOperation:
        return None
    return value if value.is_finite() else None
