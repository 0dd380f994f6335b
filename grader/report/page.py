"""What people open in a browser, each one file without need of a network: the teacher's report, a student's feedback.

The report runs no script but its own; a feedback page runs none, says nothing of others, and has a Markdown twin. A
submission's source is decoded and its lines are numbered; nothing of it is parsed or run.
"""

import base64
import hashlib
import io
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from grader.assignment import Assignment, Band
from grader.data import ASSIGNED_DATA
from grader.records import NOT_ON_ROSTER, Decision, Outcome, Reason, Status, Submission
from grader.report.charts import curves, histogram
from grader.report.since import Since
from grader.results.entries import Entry, Result
from grader.results.messages import answers
from grader.text import (
    OutputLines,
    counted,
    duration,
    file_key,
    notebook_code,
    one_line,
    printable,
    shown_source,
    write_private,
)

REPORT_NAME, FEEDBACK_NAME = "report.html", "feedback"
# Above this, runs, sources and logs are left out, so that a browser can still open the page.
MOST_WHOLE = 2_000
# Of those who have something in common, so many are named; the others are one by one in the table.
MOST_NAMED = 12
LOG_LINES = 40
_LOG_BYTES = 16_384
_SOURCE_LENGTH, _FACT_LENGTH = 100_000, 160  # characters
# Whatever else would be read as Markdown or HTML: a student's error is quoted, and stays text.
_MARKDOWN = re.compile(r"([\\`*_\[\]<>&#|~])")
_NBSP = "\N{NO-BREAK SPACE}"
_Key = TypeVar("_Key")


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
    text, note = shown_source(content), ""
    if (code := notebook_code(text)) is not None:
        text, note = code, "The code cells of a notebook."
    text = printable(io.StringIO(text, newline=None).read()).rstrip("\n")
    if len(text) > _SOURCE_LENGTH:
        text, note = text[:_SOURCE_LENGTH], f"The first {_SOURCE_LENGTH} characters of {len(text)}."
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
        log: The end of what the script printed in the run that counts; empty if there is nothing.
        files: The source, with what lay beside it.
        attempts: What became of each file of the student's.
    """

    result: Result
    log: str = ""
    log_name: str = ""
    files: tuple[SourceFile, ...] = ()
    attempts: tuple[Decision, ...] = ()

    @property
    def key(self) -> str:
        """Names the student in links and file names."""
        return file_key(self.result.submission.student_id)

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why a person should look, one by one."""
        return self.result.grade.reasons

    @property
    def kinds(self) -> tuple[str, ...]:
        """The reasons without their particulars, each once."""
        return tuple(dict.fromkeys(reason.kind for reason in self.reasons))


@dataclass(frozen=True, slots=True)
class Tally:
    """How many have something, and whoever they are."""

    label: str
    students: tuple[Student, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a teacher asks first.

    Attributes:
        without_points: Those who have none yet, then those who have 0.
        bands: By points, the most first; those without points last.
        train_seconds: Of all runs, each once.
        median_seconds: Of the runs that count; None where nobody has trained.
        finished_at: The newest run's end.
        other_data: What was tested on, where it is not the assigned data set.
        conditions: On what, where and with what the runs were made.
    """

    students: int
    graded: int
    without_points: tuple[Student, ...]
    bands: tuple[Tally, ...]
    kinds: tuple[Tally, ...]
    to_look_at: tuple[Student, ...]
    runs: int
    train_seconds: float
    median_seconds: float | None
    finished_at: datetime | None
    other_data: tuple[str, ...]
    conditions: tuple[tuple[str, tuple[str, ...]], ...]


class LeftOut(NamedTuple):
    """Everyone who was left out for the same reason; each with what is to be said, empty where the label says it."""

    label: str
    each: tuple[tuple[Student, str], ...]


def render_report(
    results: Sequence[Result],
    decisions: Sequence[Decision],
    assignment: Assignment,
    log_of: Callable[[Entry], Path],
    since: Since | None = None,
) -> str:
    """Return the page.

    Args:
        log_of: Where a run's log is.
        since: What has changed since the report before; None where there was none.
    """
    whole = len(results) <= MOST_WHOLE
    students = _students(results, decisions, log_of, whole=whole)
    made = environment()
    style, script = text_of("page.css") + text_of("report.css"), text_of("report.js")
    accuracies = [result.grade.accuracy for result in results if result.grade.accuracy is not None]
    return made.get_template("report.html").render(
        assignment=assignment,
        answers=answers,
        policy=policy(style, script),
        style=Markup(style),
        script=Markup(script),
        summary=summarize(students),
        left_out=left_out(students),
        # The files that name no student, and that no system put there.
        nobodys=[each for each in decisions if not each.student_id and each.status is Status.UNRECOGNISED],
        since=since,
        key=file_key,
        most=MOST_NAMED,
        assigned_data=ASSIGNED_DATA,
        histogram=histogram(accuracies, assignment.bands),
        students=students,
        outcomes=Counter(student.result.grade.outcome.value for student in students),
        curves=curves,
        whole=whole,
    )


def policy(style: str, script: str = "") -> str:
    """Return a Content-Security-Policy under which nothing is loaded and only these two texts are obeyed."""
    allowed = f"default-src 'none'; style-src {_hash(style)}; base-uri 'none'; form-action 'none'"
    return f"{allowed}; script-src {_hash(script)}" if script else allowed


def text_of(name: str) -> str:
    """Return a style or script among the templates."""
    return resources.files("grader.report").joinpath("templates", name).read_text(encoding="utf-8")


def summarize(students: Sequence[Student]) -> Summary:
    """Count what stands at the top."""
    by_points = _grouped(students, lambda student: [student.result.grade.points])
    by_kind = _grouped(students, lambda student: student.kinds)
    every = (entry for student in students for entry in student.result.runs)
    # What was copied to others with the same files was run once: whose it was and its end tell.
    own = {(entry.run_of or entry.student_id, entry.finished_at, entry.evidence.seed): entry for entry in every}
    counting = [entry.run.training for student in students if (entry := student.result.entry)]
    trained = [training.seconds for training in counting if training.samples]
    names = (entry.evidence.data_name for entry in own.values())
    return Summary(
        students=len(students),
        graded=sum(student.result.grade.outcome is Outcome.GRADED for student in students),
        without_points=(*by_points.get(None, ()), *by_points.get(Decimal(0), ())),
        bands=tuple(
            Tally("no points yet" if points is None else f"{points:f} points", by_points[points])
            for points in sorted(by_points, key=lambda points: -1 if points is None else points, reverse=True)
        ),
        kinds=tuple(Tally(*kind) for kind in sorted(by_kind.items(), key=lambda kind: -len(kind[1]))),
        to_look_at=tuple(student for student in students if student.reasons),
        runs=len(own),
        train_seconds=sum(entry.run.training.seconds for entry in own.values()),
        median_seconds=statistics.median(trained) if trained else None,
        finished_at=max((entry.finished_at for entry in own.values()), default=None),
        other_data=_mostly(name for name in names if name != ASSIGNED_DATA),
        conditions=tuple(_conditions(own.values())),
    )


def _grouped(students: Iterable[Student], keys: Callable[[Student], Iterable[_Key]]) -> dict[_Key, tuple[Student, ...]]:
    """Whoever has each key, in the order in which the keys come."""
    groups: dict[_Key, list[Student]] = defaultdict(list)
    for student in students:
        for key in keys(student):
            groups[key].append(student)
    return {key: tuple(each) for key, each in groups.items()}


def _conditions(runs: Collection[Entry]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """On what, where and with what the runs were made."""
    evidence = [entry.evidence for entry in runs]
    # A file that Python cannot read never ran anywhere.
    ran = [(entry.run, entry.evidence) for entry in runs if entry.run.device]
    yield "Data", _mostly(f"{by.data_name}, {by.train_size:,} training images" for by in evidence)
    yield "Machine", _mostly(f"{run.device}; {by.jobs} at a time" for run, by in ran)
    yield "Isolation", _mostly(by.isolation for by in evidence if by.isolation)
    yield "Software", _mostly(f"torch {run.torch_version}, grader {by.grader_version}" for run, by in ran)


_LATE, _UNREADABLE = "every file came after the deadline", "the file cannot be read"
_WITHOUT_FILE, _NOTHING = "handed in, but without a file that can be graded", "handed in nothing"


def left_out(students: Iterable[Student]) -> list[LeftOut]:
    """Group everyone whose work was not graded, and whoever is graded without being on the roster."""
    labels = (_LATE, _UNREADABLE, _WITHOUT_FILE, _NOTHING, NOT_ON_ROSTER)
    groups: dict[str, list[tuple[Student, str]]] = {label: [] for label in labels}
    for student in students:
        for label, said in _why_left_out(student):
            groups[label].append((student, said))
    return [LeftOut(label, tuple(each)) for label, each in groups.items() if each]


def _why_left_out(student: Student) -> Iterator[tuple[str, str]]:
    submission = student.result.submission
    if submission.late:
        yield _LATE, submission.late
    if submission.unreadable:
        yield _UNREADABLE, submission.unreadable
    if submission.content is None and not submission.late and not submission.unreadable:
        yield (_WITHOUT_FILE, "; ".join(submission.remarks)) if student.attempts else (_NOTHING, "")
    if not submission.on_roster:
        yield NOT_ON_ROSTER, submission.file


def _students(
    results: Iterable[Result], decisions: Iterable[Decision], log_of: Callable[[Entry], Path], *, whole: bool
) -> list[Student]:
    attempts: dict[str, list[Decision]] = defaultdict(list)
    for decision in decisions:
        attempts[decision.student_id].append(decision)
    students = []
    for result in ordered(results):
        submission, entry = result.submission, result.entry
        log = log_of(entry) if entry and whole else None
        said, name = (log_end(log), log.name) if log else ("", "")
        files = source_files(submission, entry) if whole else ()
        students.append(Student(result, said, name, files, tuple(attempts[submission.student_id])))
    return students


def _mostly(values: Iterable[str]) -> tuple[str, ...]:
    """The most frequent values, bounded: a script could make each run's device up, and fill the page with it."""
    counts = Counter(values)
    said = [value if len(value) <= _FACT_LENGTH else f"{value[:_FACT_LENGTH]}…" for value, _ in counts.most_common(3)]
    return (*said, f"and {len(counts) - 3} others") if len(counts) > 3 else tuple(said)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def write_feedback(results: Iterable[Result], assignment: Assignment, folder: Path) -> None:
    """Write `<student>.html` and `<student>.md` for each student, each in one step and readable by its owner alone.

    Raises:
        UserError: Nothing can be written there.
    """
    style = text_of("page.css") + text_of("feedback.css")
    same = {
        "answers": answers,
        "assignment": assignment,
        "bands": assignment.bands,
        "band_words": band_words,
        "policy": policy(style),
        "style": Markup(style),
    }
    forms = {".html": environment(), ".md": environment(autoescape=False, finalize=_in_markdown)}
    templates = {suffix: form.get_template(f"feedback{suffix}", globals=same) for suffix, form in forms.items()}
    for result in results:
        name = file_key(result.submission.student_id)
        for suffix, template in templates.items():
            page = template.render(
                submission=result.submission, grade=result.grade, entry=result.entry, runs=len(result.runs)
            )
            # `make report` writes all of them anew; of 10,000 students they are 20,000 files, each a wait for the disk.
            write_private(folder / f"{name}{suffix}", page.encode(), flush=False)


def band_words(band: Band) -> str:
    """Say which accuracies a band takes."""
    if band.edge is None:
        return "less"
    return f"{'more than' if band.above is not None else 'from'} {float(band.edge):g} %"


def _in_markdown(value: Any) -> Any:
    return _MARKDOWN.sub(r"\\\1", one_line(value)) if isinstance(value, str) else value


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
