"""What the pages say, as values that a template needs only to lay out; nothing here is HTML.

A submission's source is decoded and its lines are numbered; nothing of it is parsed or run.
"""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from grader.records import Decision, Reason, Submission
from grader.results.entries import Entry, Result
from grader.text import OutputLines, counted, decoded, duration, notebook_code, printable

_MAX_CHARACTERS = 100_000

LOG_LINES = 40
_LOG_BYTES = 16_384
_NBSP = "\N{NO-BREAK SPACE}"


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
    text, note = decoded(content), ""
    if (code := notebook_code(text)) is not None:
        text, note = code, "The code cells of a notebook."
    text = printable(io.StringIO(text, newline=None).read()).rstrip("\n")
    if len(text) > _MAX_CHARACTERS:
        text, note = text[:_MAX_CHARACTERS], f"The first {_MAX_CHARACTERS} characters of {len(text)}."
    numbers = range(1, text.count("\n") + 2)
    return SourceFile(name, text, "\n".join(f"▶ {line}" if line in marked else str(line) for line in numbers), note)


def _named_lines(entry: Entry | None) -> frozenset[int]:
    if entry is None:
        return frozenset()
    return frozenset((entry.run.error_line, *entry.check.lines))


@dataclass(frozen=True, slots=True)
class Student:
    """One student as the report shows them.

    Attributes:
        key: Names the student in links and file names.
        reasons: Why a person should look, one by one.
        log: The end of what the script printed in the run that counts; empty if there is nothing.
        files: The source, with what lay beside it.
        attempts: What became of each file of the student's.
    """

    result: Result
    key: str
    reasons: tuple[Reason, ...]
    log: str
    log_name: str
    files: tuple[SourceFile, ...]
    attempts: tuple[Decision, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The reasons without their particulars, each once."""
        return tuple(dict.fromkeys(reason.kind for reason in self.reasons))


def environment(**changes: Any) -> Environment:
    """Templates that escape whatever they are given, and drop control characters from it first."""
    settings: dict[str, Any] = {
        "autoescape": True,
        "undefined": StrictUndefined,
        "trim_blocks": True,
        "lstrip_blocks": True,
        "keep_trailing_newline": True,
        "finalize": _finalized,
    }
    made = Environment(loader=PackageLoader("grader.report"), **(settings | changes))
    made.filters |= {
        "count": counted,
        "duration": time_taken,
        "epochs": epochs,
        "number": number,
        "percent": percent,
        "when": when,
    }
    return made


def log_end(path: Path) -> str:
    """Return the last lines of a log as a terminal would show them; nothing where there is no log."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _LOG_BYTES))
            lines = OutputLines().feed(file.read(), final=True)
    except OSError:
        return ""
    return "\n".join(lines[-LOG_LINES:]).strip("\n")


def time_taken(seconds: float) -> str:
    """Say how long something took, on one line; a tenth of a second is worth it where there are few."""
    said = f"{seconds:.1f} s" if 0 <= seconds < 10 else duration(seconds)
    return said.replace(" ", _NBSP)


def epochs(entry: Entry) -> float | None:
    """Training images used, in passes over the training set; None where its size is not known."""
    return entry.run.training.samples / entry.evidence.train_size if entry.evidence.train_size > 0 else None


def number(value: float | Decimal | None, digits: int | None = None) -> str:
    """Return a number as text, a dash where there is none."""
    if value is None:
        return "–"
    return f"{value:f}" if digits is None else f"{value:.{digits}f}"


def percent(value: Decimal | None) -> str:
    """Return an accuracy with its sign, a dash where there is none."""
    return "–" if value is None else f"{value:.2f} %"


def when(moment: datetime | None) -> str:
    """Return a moment to the minute, in the zone that it has."""
    return moment.isoformat(" ", "minutes") if moment else "–"


def ordered(results: Iterable[Result]) -> list[Result]:
    """Return everyone by student id."""
    return sorted(results, key=lambda result: result.submission.student_id)


def _finalized(value: Any) -> Any:
    # Markup is a `str` too, and stays as it is.
    return printable(value) if type(value) is str else value
