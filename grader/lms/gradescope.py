"""Gradescope: its export of submissions and its lists of students are read; a results.json for each is written.

Read: "Export Submissions", a folder `submission_<number>` for each upload, with the files as the student named them,
and `submission_metadata.yml`, which says whose each is and when it came. That form is known from one export that its
owner published and from public programs that read such files; Gradescope describes it nowhere, and **no live export
was seen**. Keys are Ruby symbols (`:submitters:`, `:created_at:`), times are UTC. A group's upload names each member
and counts for each. Of a student's uploads only the active one, which Gradescope grades, has its files there; of the
others `:history:` tells the time. Where the active one is late and an earlier one was in time, that one counts and
cannot be read: it is no 0, and you are asked to activate it. Extensions are not in the export: the deadline decides,
or a student's own on the roster.

Read too, as a roster: Gradescope's `First Name, Last Name, SID, Email, ...`, of a course or of an assignment's scores.

Written, after its autograder's docs: results.json. Whose one is, its `extra_data` says.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from grader.errors import UserError
from grader.lms.attempts import SystemAttempt
from grader.lms.files import Attempt, Blame, Fault, Known, MentionedFile, NamedFile, normal
from grader.lms.gradebook import Gradebook, full_name
from grader.records import Decision, Status
from grader.results.entries import Result
from grader.text import decoded, printable

METADATA = "submission_metadata.yml"
# It holds what autograders printed, of all uploads.
_METADATA_KB = 200 * 1024
_NOT_THERE = Fault(
    "is not in the export, which holds each student's active upload alone: make it the active one in Gradescope, "
    "and export again",
    Blame.LAYOUT,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _name_of(row: Mapping[str, str]) -> str:
    return row["Name"] if "Name" in row else full_name(row.get("Last Name", ""), row.get("First Name", ""))


ROSTER = Gradebook(
    "Gradescope",
    key="SID",
    shapes=(("First Name", "Last Name", "SID"), ("Name", "SID")),
    instead="Email",
    name_of=_name_of,
    is_guest=lambda row: row.get("Role", "") not in ("", "Student"),
)


@dataclass(frozen=True, slots=True)
class _Upload:
    """What the metadata says of one upload: the submitters' ids, and its own time and that of each before it."""

    students: tuple[str, ...]
    moment: int | None
    timed: bool
    before: tuple[tuple[str, int], ...]


def attempts(files: Sequence[NamedFile], known: Known) -> Iterator[SystemAttempt | Attempt | Decision]:
    """Give every submitter's upload, the earlier ones of which the metadata tells, and every entry that is nobody's.

    Raises:
        UserError: The metadata cannot be read.
    """
    metadata = next((file for file in files if file.name == METADATA), None)
    uploads = _read_metadata(metadata, known) if metadata else {}
    held: dict[str, list[NamedFile]] = defaultdict(list)
    for file in files:
        top, _, rest = file.name.partition("/")
        if file is metadata:
            yield Decision(file.stored.shown, "", Status.BESIDE, "not graded: Gradescope's list of the uploads")
        elif top in uploads and uploads[top].students:
            held[top].append(NamedFile(rest or top, file.stored))
        else:
            yield Decision(file.stored.shown, "", Status.UNRECOGNISED, f"{METADATA} names no student for it")
    for name, upload in uploads.items():
        for student_id in upload.students:
            others = ", ".join(each for each in upload.students if each != student_id)
            remarks = (f"handed in together with {others}",) if others else ()
            label = f"the upload {name}"
            yield SystemAttempt(student_id, label, tuple(held[name]), upload.moment, upload.timed, remarks=remarks)
            for earlier, moment in upload.before:
                came = _EPOCH + timedelta(seconds=moment // 1_000_000_000)
                told = MentionedFile(f"the upload {earlier} of {came:%Y-%m-%d %H:%M:%S} UTC", _NOT_THERE)
                yield Attempt(student_id, told, moment, by_system=True)


def _read_metadata(metadata: NamedFile, known: Known) -> dict[str, _Upload]:
    """What is said of each upload, by its folder's name.

    Raises:
        UserError: It is not YAML, or not of that form.
    """
    import yaml  # here: no other class needs it

    # Every scalar stays text: 0123 is an id, and what Ruby wrote of its own objects is no more than its parts.
    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    content = metadata.stored.read(_METADATA_KB)
    try:
        if isinstance(content, Fault):
            raise ValueError(f"it {content.said}")
        whole = yaml.load(decoded(content), Loader=loader)
        return {normal(str(name)): _upload(_plain(said), known) for name, said in whole.items()}
    except (yaml.YAMLError, AttributeError, TypeError, ValueError, RecursionError) as error:
        why = str(error).partition("\n")[0]
        raise UserError(f"Gradescope's {METADATA} cannot be read ({why}): export the submissions again") from None


def _upload(said: Mapping[str, Any], known: Known) -> _Upload:
    submitters = (_id_of(_plain(each), known) for each in said.get("submitters") or ())
    moment = _moment(said.get("created_at"))
    earlier = [_plain(each) for each in said.get("history") or ()]
    # An upload after the active one was set aside by whoever chose that one.
    times = ((str(each.get("id") or "before it"), _moment(each.get("created_at"))) for each in earlier)
    before = tuple((name, time) for name, time in times if time is not None and (moment is None or time < moment))
    return _Upload(tuple(dict.fromkeys(filter(None, submitters))), moment, bool(said.get("created_at")), before)


def _plain(said: Mapping[Any, Any]) -> dict[str, Any]:
    """The same with keys as text: Ruby's symbols begin with a colon."""
    return {str(key).removeprefix(":"): value for key, value in said.items()}


def _id_of(submitter: Mapping[str, Any], known: Known) -> str:
    """By what the roster knows a submitter; else the student number, or where Gradescope has none, the address."""
    sid, email, name = (normal(str(submitter.get(key) or "").strip()) for key in ("sid", "email", "name"))
    called = [each for each in (sid, email, email.partition("@")[0]) if each]
    for names in known:
        if found := [each for each in called if each in names]:
            return found[0]
    return sid or email or name


def _moment(said: Any) -> int | None:
    """Nanoseconds since 1970 of `2026-11-20 14:58:03.5 Z`; UTC where no zone is named, as YAML has it."""
    text = str(said.get("utc", "") if isinstance(said, dict) else said)
    try:
        time = datetime.fromisoformat(re.sub(r"\s+(?:(Z)|UTC|(?=[+-]\d\d))", r"\1", text.strip()))
    except ValueError:
        return None
    return ((time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH) // timedelta(microseconds=1) * 1000


def results_json(result: Result, most: Decimal) -> bytes | None:
    """Give the file's bytes; None where there are no points: Gradescope would take a file without them for 0."""
    grade = result.grade
    if grade.points is None:
        return None
    test = {
        "name": "Accuracy on the test images" if grade.accuracy is None else f"Accuracy: {grade.accuracy} %",
        "score": float(grade.points),
        "max_score": float(most),
        "output": printable(grade.message),
        "output_format": "text",
        "visibility": "after_published",
    }
    whole = {
        "score": float(grade.points),
        "output_format": "text",
        "visibility": "after_published",
        "stdout_visibility": "hidden",
        "extra_data": {"student_id": result.submission.student_id, "sha256": result.submission.sha256},
        "tests": [test],
    }
    return json.dumps(whole, ensure_ascii=False, indent=2).encode()
