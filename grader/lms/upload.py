"""The grade files that learning systems take back: the file that the teacher downloaded, with the score filled in.

Whatever the system wrote stays as it wrote it, byte for byte: encoding, delimiter, quotes, headers, ids, rows. Other
grades' columns are left out, so that an upload cannot put back what was changed meanwhile.
"""

import html
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation

from grader.errors import UserError
from grader.lms import System, blackboard, canvas, moodle
from grader.lms.files import listed, normal
from grader.lms.gradebook import (
    Gradebook,
    Sheet,
    best_column,
    named_columns,
    other_ids,
    plain,
    read_sheet,
    students_by_column,
    too_few,
    written,
)
from grader.results.entries import Result
from grader.text import NO_TEXT, one_line


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
        decided: In whose row a word stands that a person or the system decided, such as EX, and the word: it stays,
            unless a person set points.
        only_graded: Who is graded and not in the file.
        only_listed: Who is in the file and not graded: the row stays as it was.
        notices: What the teacher should know, one sentence each.
    """

    content: bytes
    column: str
    scores: tuple[NewScore, ...]
    without_points: tuple[str, ...]
    decided: tuple[tuple[str, str], ...]
    only_graded: tuple[str, ...]
    only_listed: tuple[str, ...]
    notices: tuple[str, ...]

    @property
    def of_another_class(self) -> bool:
        """Whether nobody of the graded is in the file, or fewer than half on both sides.

        The gradebook of one section lists few of a class, and a class may be graded in parts.
        """
        both = len(self.scores) + len(self.without_points) + len(self.decided)
        return too_few(both, both + len(self.only_graded)) and too_few(both, both + len(self.only_listed))


_DECIMAL_COMMA = re.compile(r"-?\d+,\d+")
_BOOKS = {
    System.BLACKBOARD: blackboard.GRADEBOOK,
    System.CANVAS: canvas.GRADEBOOK,
    System.MOODLE: moodle.GRADEBOOK,
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
    book = _BOOKS[system]
    try:
        sheet = read_sheet(gradebook)
    except UnicodeDecodeError:
        raise UserError(f"GRADEBOOK= is {NO_TEXT}: pass what {book.name} let you download, as it came") from None
    except ValueError as error:
        raise UserError(f"GRADEBOOK= cannot be read ({error}): pass what {book.name} let you download") from None
    header_row, names = _header(sheet, book)
    columns = named_columns(names)
    column = names[header_row.index(column)] if column in header_row else column
    if lacking := _lacking(sheet, book):
        wanted = f"pass what {book.name} let you download, in English"
        if whose := [each for each, its in _BOOKS.items() if not _lacking(sheet, its)]:
            raise UserError(f"GRADEBOOK= is {_BOOKS[whose[0]].name}'s: give LMS={whose[0]}, or {wanted}")
        raise UserError(f"GRADEBOOK= has no column {lacking[0]}: {wanted}")
    header = _score_column(columns, book, hint, column)
    return _filled_in(sheet, book, columns, header, results, most)


def _header(sheet: Sheet, book: Gradebook) -> tuple[list[str], list[str]]:
    """The names of the columns as they stand there, and as the system writes them in English."""
    first, *rows = [[plain(raw) for raw in row] for row in sheet.rows] or [[]]
    return first, book.english(first, rows)


def _lacking(sheet: Sheet, book: Gradebook) -> list[str]:
    """The columns without which a table is none of this system's."""
    header_row, names = _header(sheet, book)
    columns = named_columns(names)
    needed = (*book.shape_of(columns), *(sorted(book.needed) if book.key in header_row else ()))
    return [name for name in needed if name not in columns]


def _filled_in(
    sheet: Sheet, book: Gradebook, columns: Mapping[str, int], header: str, results: Sequence[Result], most: Decimal
) -> Upload:
    score, feedback = columns[header], columns.get(book.feedback) if book.feedback else None
    graded = {result.submission.student_id: result for result in results}
    students = _students(sheet, book, columns, graded.keys())
    own = dict(zip(students, sheet.rows[1:], strict=True))
    comma = any(_DECIMAL_COMMA.fullmatch(plain(row[score])) for row in sheet.rows[1:] if score < len(row))
    rows = [sheet.rows[0]]
    scores, without_points, decided, replaced = [], [], [], []
    for student_id, row in zip(students, sheet.rows[1:], strict=True):
        result = graded.get(student_id)
        if result is None:
            keep = not student_id or book.takes_words or score >= len(row)
            rows.append(row if keep else _without_words(row, score, sheet))
            continue
        cells = [plain(raw) for raw in row]
        row = (*row, *[""] * (score + 1 - len(row)))
        before = plain(row[score])
        if _is_decision(before, book) and not result.overridden:
            decided.append((student_id, before))
            row = row if book.takes_words else _without_words(row, score, sheet)
        elif result.grade.points is None:
            without_points.append(student_id)
            row = _without_words(row, score, sheet)
        else:
            row = _with_result(row, result, score, feedback, sheet, comma)
            scores.append(NewScore(student_id, before, plain(row[score])))
            replaced += [student_id] * _replaces_feedback(cells, row, feedback)
        rows.append(row)
    scored = {each.student_id: [plain(raw) for raw in own[each.student_id]] for each in scores}
    own_header = plain(sheet.rows[0][score])
    return Upload(
        _trimmed(replace(sheet, rows=tuple(rows)), book, columns, {score} if feedback is None else {score, feedback}),
        own_header,
        tuple(scores),
        tuple(without_points),
        tuple(decided),
        only_graded=tuple(sorted(graded.keys() - own.keys())),
        only_listed=tuple(each for each in students if each and each not in graded),
        notices=(
            *_worth(sheet, book, columns, header, most),
            *book.doubts(columns, own_header, scored),
            *_all_alike(decided, len(scores) + len(without_points)),
            *([f"the message takes the place of another feedback for {listed(replaced)}"] if replaced else []),
        ),
    )


def _trimmed(sheet: Sheet, book: Gradebook, columns: Mapping[str, int], filled: Set[int]) -> bytes:
    """The file without the columns of other grades.

    Raises:
        UserError: Its encoding lacks a character of a message.
    """
    named = {*book.shape_of(columns), *book.needed, *book.kept}
    kept = sorted({columns[name] for name in named & columns.keys()} | filled)
    if not book.needed <= columns.keys():  # what cannot be told by its name may be needed
        kept = list(range(max(map(len, sheet.rows))))
    rows = tuple(tuple(row[place] for place in kept if place < len(row)) for row in sheet.rows)
    try:
        return replace(sheet, rows=rows).encode()
    except UnicodeEncodeError:
        raise UserError(
            "GRADEBOOK= is in an encoding that lacks a character of a message: download it as UTF-8"
        ) from None


def _students(sheet: Sheet, book: Gradebook, columns: Mapping[str, int], graded: Set[str]) -> list[str]:
    """Whose each row below the header is: the id under which the student was graded, or the row's own; or nobody's.

    Raises:
        UserError: A student who was graded has two rows.
    """
    cells = [
        {name: normal(plain(row[place])) for name, place in columns.items() if place < len(row)}
        for row in sheet.rows[1:]
    ]
    own = [book.id_of(row.get(book.key, "")) for row in cells]
    listed = set(filter(None, own))
    both = len(listed & graded)
    if too_few(both, len(graded)) and too_few(both, len(listed)):
        pairs = zip(own, cells, strict=True)
        named = students_by_column({student_id: other_ids(row, book.key) for student_id, row in pairs if student_id})
        column = best_column(graded, named)
        called = {student_id: cell for cell, student_id in named[column].items()} if column else {}
        own = [called.get(student_id, student_id) for student_id in own]
    for student_id, rows in Counter(own).items():
        if rows > 1 and student_id in graded:
            raise UserError(f"GRADEBOOK= has {student_id} twice: download it again")
    return own


def _is_decision(text: str, book: Gradebook) -> bool:
    """Whether a word stands where a score would: whoever put it there meant it, and no score may replace it."""
    return bool(text) and _number(text) is None and not book.waiting.fullmatch(text)


def _all_alike(decided: Sequence[tuple[str, str]], others: int) -> Iterator[str]:
    """Doubt a decision that was made for most of the class: it may be a system's word for no score yet."""
    words = Counter(word for _, word in decided)
    word, count = next(iter(words.most_common(1)), ("", 0))
    if count > 1 and 2 * count > len(decided) + others:
        yield (
            f"{count} students have {word} in place of a score: if that says that there is none yet, empty these cells "
            "in the gradebook and export again"
        )


def _without_words(row: tuple[str, ...], score: int, sheet: Sheet) -> tuple[str, ...]:
    """Leave a score blank where there is none: Blackboard does not take "Needs Grading" back, Moodle takes it for 0."""
    if _number(plain(row[score])) is not None:
        return row
    return (*row[:score], written("", sheet.delimiter, quoted=row[score].startswith('"')), *row[score + 1 :])


def _with_result(
    row: tuple[str, ...], result: Result, score: int, feedback: int | None, sheet: Sheet, comma: bool
) -> tuple[str, ...]:
    """Write points and message; points that were there stay in the system's own spelling, such as 20.00."""
    cells = list(row)
    points = result.grade.points
    if points is not None and _number(plain(cells[score])) != points:
        text = f"{points:f}".replace(".", "," if comma else ".")
        cells[score] = written(text, sheet.delimiter, quoted=cells[score].startswith('"'))
    if feedback is not None and feedback < len(cells):
        # Moodle keeps feedback as HTML, and a message quotes what a student's script raised.
        text = html.escape(one_line(result.grade.message), quote=False)
        cells[feedback] = written(text, sheet.delimiter, quoted=cells[feedback].startswith('"'))
    return tuple(cells)


def _replaces_feedback(before: Sequence[str], row: Sequence[str], feedback: int | None) -> bool:
    """Whether somebody's words were there, which may be those of an earlier message."""
    return feedback is not None and feedback < len(before) and before[feedback] not in ("", plain(row[feedback]))


def _score_column(columns: Mapping[str, int], book: Gradebook, hint: str, wanted: str) -> str:
    """Choose the one column that takes the score.

    Raises:
        UserError: None could be meant, or several.
    """
    possible = [name for name in columns if book.score.fullmatch(name)]
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


def _worth(sheet: Sheet, book: Gradebook, columns: Mapping[str, int], header: str, most: Decimal) -> tuple[str, ...]:
    """Say so where the system's column is worth other points than the assignment gives."""
    match = book.score.fullmatch(header)
    worth = _number(match["most"] or "") if match and "most" in book.score.groupindex else None
    for row in sheet.rows[1:]:
        cells = [plain(raw) for raw in row]
        if cells[0].startswith("Points Possible") and columns[header] < len(cells):
            worth = _number(cells[columns[header]])
        elif "Maximum grade" in columns and columns["Maximum grade"] < len(cells):
            worth = _number(cells[columns["Maximum grade"]])
    if worth is None or worth == most:
        return ()
    return (f"{book.name}'s column is worth {worth.normalize():f} points, and the assignment gives {most:f} at most",)


def _number(text: str) -> Decimal | None:
    try:
        value = Decimal(text.replace(",", "."))
    except InvalidOperation:
        return None
    return value if value.is_finite() else None
