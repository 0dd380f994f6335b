"""A learning system's gradebook: the text of its table, whose row is whose, and which column takes the score.

A table is kept byte for byte where nobody changes it. What is particular to one system stands on that system's own
page as one `Gradebook`; the roster and the upload read it.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from grader.text import encoding_of

_DELIMITERS = ",;\t"
_FIRST_HEADER = re.compile(rf'\s*(?:"(?:[^"]|"")*"|[^"{_DELIMITERS}\r\n])*?([{_DELIMITERS}])')


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table whose cells are kept as they were written, quotes included.

    Attributes:
        mark: The byte order mark before the text, if there was one.
        rows: Raw cells, the header first; rows may differ in length.
        ends: What ended each row: a line break, or nothing at the end of the file.
    """

    codec: str
    mark: bytes
    delimiter: str
    rows: tuple[tuple[str, ...], ...]
    ends: tuple[str, ...]

    def encode(self) -> bytes:
        """Give the file's bytes.

        Raises:
            UnicodeEncodeError: The file's encoding lacks a character.
        """
        lines = (self.delimiter.join(row) + end for row, end in zip(self.rows, self.ends, strict=True))
        return self.mark + "".join(lines).encode(self.codec)


def decode(content: bytes) -> tuple[str, str, bytes]:
    """Decode UTF-8, UTF-16 with a byte order mark or without, or cp949; give the codec and the mark too.

    Raises:
        UnicodeDecodeError: It is none of them.
    """
    codec, mark = encoding_of(content)
    if not mark and b"\0" in content:
        # A table begins with a letter or a quote: in UTF-16 one of its two bytes is 0.
        if content[:2].count(0) != 1:
            raise UnicodeDecodeError(codec, content, 0, 2, "no text has a byte of 0")
        codec = "utf-16-le" if content[1] == 0 else "utf-16-be"
    return content.removeprefix(mark).decode(codec), codec, mark


def delimiter_of(text: str) -> str:
    """What ends the first header; later ones may hold the other delimiters, without quotes too."""
    first = _FIRST_HEADER.match(text)
    return first[1] if first else _DELIMITERS[0]


def read_sheet(content: bytes) -> Sheet:
    """Take a file apart.

    Raises:
        ValueError: It is no text, or a quote in it is not closed; `UnicodeDecodeError` is one.
    """
    text, codec, mark = decode(content)
    delimiter = delimiter_of(text)
    cell = re.compile(rf'("[^"]*(?:""[^"]*)*"|[^"{delimiter}\r\n][^{delimiter}\r\n]*|)({delimiter}|\r\n|\r|\n|\Z)')
    rows: list[tuple[str, ...]] = []
    ends: list[str] = []
    row: list[str] = []
    at = 0
    while at < len(text) or row:
        found = cell.match(text, at)
        if found is None:
            raise ValueError(f"a quote in line {len(rows) + 1} is not closed")
        row.append(found[1])
        at = found.end()
        if found[2] != delimiter:
            rows.append(tuple(row))
            ends.append(found[2])
            row = []
    return Sheet(codec, mark, delimiter, tuple(rows), tuple(ends))


def plain(raw: str) -> str:
    """What a raw cell says, without quotes and the blanks around it."""
    return (raw[1:-1].replace('""', '"') if raw.startswith('"') else raw).strip()


def written(value: str, delimiter: str, quoted: bool) -> str:
    """Write a cell; `quoted` whether it needs to be or not."""
    if quoted or any(sign in value for sign in (delimiter, '"', "\r", "\n")):
        doubled = value.replace('"', '""')
        return f'"{doubled}"'
    return value


def named_columns(header: Sequence[str]) -> dict[str, int]:
    """Where each column of a raw header is; of equal names, the first."""
    places: dict[str, int] = {}
    for place, raw in enumerate(header):
        places.setdefault(plain(raw), place)
    return places


_NOTHING = re.compile("(?!)")
_HANGUL = re.compile("[\uac00-\ud7a3]+")
# Headers of columns by which a folder or another system may call a student, where the first column's ids do not fit.
_ALSO_AN_ID = re.compile(
    r"log-?in|e-?mail|user ?(?:name|id)|net ?id|student ?(?:id|number)|id ?number|\bsis\b|integration|\As?id\Z"
    r"|canvas|moodle|blackboard|로그인|아이디|메일|학번",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Gradebook:
    """The file that a teacher downloads from a system and gives back.

    Attributes:
        name: The system's.
        key: The column by which the system tells students apart.
        shapes: The columns that name a student, in their order: one tuple for each form in which the system writes it.
        name_of: Gives the name in a row.
        needed: Further columns without which the system does not take the file back.
        kept: Columns that go back if they are there.
        score: A header of a column that takes a score; its group `most`, if it has one, is the column's points.
        id_of: Gives the id in a cell of `key`; empty: the row is nobody's.
        feedback: The column that takes the message; empty: none does.
        waiting: What stands in a score's place where there is none yet. Any other word is a person's decision.
        takes_words: Whether such a word may go back. To a system that would read it as 0, a blank goes instead.
        is_guest: Whether a row is that of somebody who need not hand anything in, such as a teacher.
        instead: The column that names a student where `key` is empty; empty: none does.
        english: Gives the columns' English names, told by their places and the rows below where the file has others.
        doubts: What the teacher should know before the upload, one sentence each, from the columns' places, the score's
            header, and the cells of everyone who gets a score.
    """

    name: str
    key: str
    shapes: tuple[tuple[str, ...], ...]
    name_of: Callable[[Mapping[str, str]], str]
    score: re.Pattern[str] = _NOTHING
    needed: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()
    id_of: Callable[[str], str] = str
    feedback: str = ""
    waiting: re.Pattern[str] = _NOTHING
    takes_words: bool = True
    is_guest: Callable[[Mapping[str, str]], bool] = lambda row: False
    instead: str = ""
    english: Callable[[Sequence[str], Sequence[Sequence[str]]], list[str]] = lambda columns, rows: list(columns)
    doubts: Callable[[Mapping[str, int], str, Mapping[str, Sequence[str]]], Iterable[str]] = lambda *_: ()

    def shape_of(self, columns: Collection[str]) -> tuple[str, ...]:
        """The columns that name a student in this file; where none of the forms is whole, those of the first."""
        return next((shape for shape in self.shapes if set(shape) <= set(columns)), self.shapes[0])


def full_name(last: str, first: str) -> str:
    """A name from its two parts, as Koreans or as others write it."""
    korean = _HANGUL.fullmatch(last) and _HANGUL.fullmatch(first)
    return f"{last}{first}" if korean else f"{first} {last}".strip()


def same_name(one: str, other: str) -> bool:
    """Whether two spellings have the same letters: systems take out signs and marks, and turn first and last around."""
    return _letters(one) == _letters(other)


def _letters(name: str) -> list[str]:
    return sorted(filter(str.isalnum, unicodedata.normalize("NFKD", name.casefold())))


def other_ids(row: Mapping[str, str], key: str) -> dict[str, str]:
    """By what else a student may be called: the row's logins, e-mail addresses and numbers, by their columns."""
    also = {column: cell for column, cell in row.items() if cell and column != key and _ALSO_AN_ID.search(column)}
    before = {f"{column}, before the @": cell.partition("@")[0] for column, cell in also.items() if "@" in cell}
    return also | before


def students_by_column(rows: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """For each column, whom its cells name; a cell that two students have names nobody.

    Args:
        rows: For each student, the columns and cells that `other_ids` gives.
    """
    named: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for student_id, cells in rows.items():
        for column, cell in cells.items():
            named[column][cell].append(student_id)
    return {
        column: {cell: whose[0] for cell, whose in cells.items() if len(whose) == 1} for column, cells in named.items()
    }


def best_column(wanted: Set[str], columns: Mapping[str, Mapping[str, str]]) -> str:
    """The column that names the most of these students; empty where each names fewer than half."""
    hits = {column: len(wanted & students.keys()) for column, students in columns.items()}
    best = max(hits, key=lambda column: hits[column], default="")
    return best if best and not too_few(hits[best], len(wanted)) else ""


def too_few(matched: int, of: int) -> bool:
    """Whether so few of these students are found that it must be another list: nobody, or fewer than half."""
    return matched == 0 or 2 * matched < of


def examples(students: Collection[str]) -> str:
    """Name three of them."""
    return ", ".join(sorted(students)[:3]) or "nobody"


def named_alike(columns: Sequence[str], books: Sequence[Gradebook]) -> Gradebook | None:
    """Whose file a header is: the system's columns come first, as it writes them; else they stand somewhere."""
    for book in books:
        if any(tuple(columns[: len(shape)]) == shape for shape in book.shapes):
            return book
    return next((book for book in books if any(set(shape) <= set(columns) for shape in book.shapes)), None)
