"""What people open in a browser, each one file without need of a network: the teacher's report, a student's feedback.

The report runs no script but its own; a feedback page runs none, says nothing of others, and has a Markdown twin.
"""

import base64
import hashlib
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from grader.assignment import Assignment, Band
from grader.data import ASSIGNED_DATA
from grader.records import NOT_ON_ROSTER, Decision, Outcome, Status
from grader.report.charts import curves, histogram
from grader.report.similar import Pair
from grader.report.since import Since
from grader.report.view import Student, environment, log_end, ordered, source_files
from grader.results.entries import Entry, Result
from grader.results.messages import answers
from grader.text import file_key, one_line, write_private

REPORT_NAME, FEEDBACK_NAME, SIMILAR_NAME = "report.html", "feedback", "similar.html"
# Above this, runs, sources and logs are left out, so that a browser can still open the page.
MOST_WHOLE = 2_000
# Of those who have something in common, so many are named; the others are one by one in the table.
MOST_NAMED = 12
_FACT_LENGTH = 160
# Whatever else would be read as Markdown or HTML: a student's error is quoted, and stays text.
_MARKDOWN = re.compile(r"([\\`*_\[\]<>&#|~])")


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
    points = {student.result.grade.points for student in students}
    earned = sorted((value for value in points if value is not None), reverse=True)
    kinds = Counter(kind for student in students for kind in student.kinds)
    every = (entry for student in students for entry in student.result.runs)
    # What was copied to others with the same files was run once: whose it was and its end tell.
    own = {(entry.run_of or entry.student_id, entry.finished_at, entry.evidence.seed): entry for entry in every}
    runs = [entry.run for entry in own.values()]
    counting = [entry.run.training for student in students if (entry := student.result.entry)]
    trained = [training.seconds for training in counting if training.samples]
    evidence = [entry.evidence for entry in own.values()]
    # A file that Python cannot read never ran anywhere.
    ran = [(entry.run, entry.evidence) for entry in own.values() if entry.run.device]
    return Summary(
        students=len(students),
        graded=sum(student.result.grade.outcome is Outcome.GRADED for student in students),
        without_points=tuple(
            student for none in (None, 0) for student in students if student.result.grade.points == none
        ),
        bands=tuple(
            Tally(
                "no points yet" if value is None else f"{value:f} points",
                tuple(student for student in students if student.result.grade.points == value),
            )
            for value in (*earned, *([None] if None in points else []))
        ),
        kinds=tuple(
            Tally(kind, tuple(student for student in students if kind in student.kinds))
            for kind, _ in kinds.most_common()
        ),
        to_look_at=tuple(student for student in students if student.reasons),
        runs=len(runs),
        train_seconds=sum(run.training.seconds for run in runs),
        median_seconds=statistics.median(trained) if trained else None,
        finished_at=max((entry.finished_at for entry in own.values()), default=None),
        other_data=_mostly(item.data_name for item in evidence if item.data_name != ASSIGNED_DATA),
        conditions=(
            ("Data", _mostly(f"{item.data_name}, {item.train_size:,} training images" for item in evidence)),
            ("Machine", _mostly(f"{run.device}; {by.jobs} at a time" for run, by in ran)),
            ("Isolation", _mostly(item.isolation for item in evidence if item.isolation)),
            (
                "Software",
                _mostly(f"torch {run.torch_version}, grader {by.grader_version}" for run, by in ran),
            ),
        ),
    )


_LATE, _UNREADABLE = "every file came after the deadline", "the file cannot be read"
_WITHOUT_FILE, _NOTHING = "handed in, but without a file that can be graded", "handed in nothing"


def left_out(students: Iterable[Student]) -> list[LeftOut]:
    """Group everyone whose work was not graded, and whoever is graded without being on the roster."""
    groups: dict[str, list[tuple[Student, str]]] = {
        label: [] for label in (_LATE, _UNREADABLE, _WITHOUT_FILE, _NOTHING, NOT_ON_ROSTER)
    }
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
    attempts: dict[str, list[Decision]] = {}
    for decision in decisions:
        attempts.setdefault(decision.student_id, []).append(decision)
    students = []
    for result in ordered(results):
        submission, entry = result.submission, result.entry
        log = log_of(entry) if entry and whole else None
        students.append(
            Student(
                result,
                file_key(submission.student_id),
                result.grade.reasons,
                log_end(log) if log else "",
                log.name if log else "",
                source_files(submission, entry) if whole else (),
                tuple(attempts.get(submission.student_id, ())),
            )
        )
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


def write_similar(pairs: Sequence[Pair], least_percent: float, path: Path) -> None:
    """Write the page of similar submissions, in one step and readable by its owner alone.

    Raises:
        UserError: Nothing can be written there.
    """
    style = text_of("page.css") + text_of("similar.css")
    page = environment().get_template("similar.html")
    said = page.render(pairs=pairs, least=least_percent, policy=policy(style), style=Markup(style))
    write_private(path, said.encode())
