"""Delimited text as spreadsheets and learning systems write it, kept byte for byte where nobody changes it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from grader.text import encoding_of

_DELIMITERS = ",;\t"
_FIRST_HEADER = re.compile(rf'\s*(?:"(?:[^"]|"")*"|[^"{_DELIMITERS}\r\n])*?([{_DELIMITERS}])')


@dataclass(frozen=True, slots=True)
class Encoding:
    """How text was written: the codec, and the byte order mark before it, if there was one."""

    codec: str
    mark: bytes = b""

    def encode(self, text: str) -> bytes:
        """Write text in the same way.

        Raises:
            UnicodeEncodeError: The encoding lacks a character.
        """
        return self.mark + text.encode(self.codec)


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table whose cells are kept as they were written, quotes included.

    Attributes:
        rows: Raw cells, the header first; rows may differ in length.
        ends: What ended each row: a line break, or nothing at the end of the file.
    """

    encoding: Encoding
    delimiter: str
    rows: tuple[tuple[str, ...], ...]
    ends: tuple[str, ...]

    def encode(self) -> bytes:
        """Give the file's bytes.

        Raises:
            UnicodeEncodeError: The file's encoding lacks a character.
        """
        lines = (self.delimiter.join(row) + end for row, end in zip(self.rows, self.ends, strict=True))
        return self.encoding.encode("".join(lines))


def decode(content: bytes) -> tuple[str, Encoding]:
    """Decode UTF-8, UTF-16 with a byte order mark or without, or cp949.

    Raises:
        UnicodeDecodeError: It is none of them.
    """
    codec, mark = encoding_of(content)
    if not mark and b"\0" in content:
        # A table begins with a letter or a quote: in UTF-16 one of its two bytes is 0.
        if content[:2].count(0) != 1:
            raise UnicodeDecodeError(codec, content, 0, 2, "no text has a byte of 0")
        codec = "utf-16-le" if content[1] == 0 else "utf-16-be"
    return content.removeprefix(mark).decode(codec), Encoding(codec, mark)


def delimiter_of(text: str) -> str:
    """What ends the first header; later ones may hold the other delimiters, without quotes too."""
    first = _FIRST_HEADER.match(text)
    return first[1] if first else _DELIMITERS[0]


def read_sheet(content: bytes) -> Sheet:
    """Take a file apart.

    Raises:
        ValueError: It is no text, or a quote in it is not closed; `UnicodeDecodeError` is one.
    """
    text, encoding = decode(content)
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
    return Sheet(encoding, delimiter, tuple(rows), tuple(ends))


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
