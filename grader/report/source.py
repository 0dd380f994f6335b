"""The source of a submission as text to be read: decoded, with numbered lines. Nothing of it is parsed or run."""

import io
import re
from dataclasses import dataclass

from grader.records import Submission
from grader.results.entries import Entry
from grader.text import notebook_code, printable

_MAX_CHARACTERS = 100_000
_LINE = re.compile(r"\bline (\d{1,6})\b")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file.

    Attributes:
        gutter: The number of each line, one below the other; a line that the grader named has an arrow.
        note: What is shown, where it is not the whole file as it was handed in; else empty.
    """

    name: str
    text: str
    gutter: str
    note: str = ""


def source_files(submission: Submission, entry: Entry | None) -> tuple[SourceFile, ...]:
    """Return what a student handed in; the lines that the run's error or check names are marked in the script."""
    if submission.content is None:
        return ()
    script = _file(submission.file, submission.content, _named_lines(entry))
    return (script, *(_file(companion.name, companion.content, frozenset()) for companion in submission.companions))


def _file(name: str, content: bytes, marked: frozenset[int]) -> SourceFile:
    text, note = _decoded(content), ""
    if (code := notebook_code(text)) is not None:
        text, note = code, "The code cells of a notebook."
    text = printable(io.StringIO(text, newline=None).read()).rstrip("\n")
    if len(text) > _MAX_CHARACTERS:
        text, note = text[:_MAX_CHARACTERS], f"The first {_MAX_CHARACTERS} characters of {len(text)}."
    numbers = range(1, text.count("\n") + 2)
    return SourceFile(name, text, "\n".join(f"▶ {line}" if line in marked else str(line) for line in numbers), note)


def _decoded(content: bytes) -> str:
    for encoding in ("utf-8-sig", "cp949"):
        try:
            return content.decode(encoding)
        except UnicodeError:
            continue
    return content.decode("utf-8", "replace")


def _named_lines(entry: Entry | None) -> frozenset[int]:
    if entry is None:
        return frozenset()
    said = " ".join((entry.error, entry.check.message, *entry.check.blanks_left))
    return frozenset(int(line) for line in _LINE.findall(said))
