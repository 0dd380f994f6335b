"""What a command works on: the folder, the roster, the rules, the data. `grade` keeps it in OUT for the others."""

import difflib
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from grader.assignment import DEFAULT_ASSIGNMENT, Assignment, load_assignment
from grader.cli.console import DEFAULT_OUT, say
from grader.collect import Format, collect
from grader.collect.deadline import parse_deadline
from grader.errors import Mistake
from grader.records import Collection, Status, Submission
from grader.report.table import collection_table, write_csv
from grader.text import write_private

INPUTS_NAME = "inputs.json"


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a teacher named on the command line; empty where nothing was named. Paths are absolute.

    Attributes:
        data: A path, `digits`, or empty for CIFAR-10.
        format: None: recognised by the names.
        precision: Empty: what the assignment says.
    """

    submissions: str = ""
    roster: str = ""
    deadline: str = ""
    data: str = ""
    assignment: str = ""
    format: Format | None = None
    precision: str = ""

    def rules(self) -> Assignment:
        """Load the assignment.

        Raises:
            Mistake: It cannot be used.
        """
        rules = load_assignment(Path(self.assignment) if self.assignment else DEFAULT_ASSIGNMENT)
        return rules.model_copy(update={"precision": self.precision}) if self.precision else rules


def named(
    submissions: Path | None,
    roster: Path | None = None,
    deadline: str = "",
    data: str = "",
    assignment: Path | None = None,
    layout: Format | None = None,
    precision: str | None = None,
) -> Inputs:
    """Take what the command line says, with absolute paths."""
    paths = (str(path.absolute()) if path else "" for path in (submissions, roster, assignment))
    folder, listed, rules = paths
    images = str(Path(data).absolute()) if data not in ("", "digits") else data
    return Inputs(folder, listed, deadline, images, rules, layout, precision or "")


def as_settings(inputs: Inputs, out: Path) -> str:
    """The same inputs as a make command takes them, quoted for a shell; what was left out stays left out."""
    values = {
        "SUBMISSIONS": _from_here(inputs.submissions),
        "ROSTER": _from_here(inputs.roster),
        "DEADLINE": inputs.deadline,
        "ASSIGNMENT": _from_here(inputs.assignment),
        "FORMAT": inputs.format or "",
        "OUT": "" if out == DEFAULT_OUT else str(out),
    }
    return " ".join(f"{name}={shlex.quote(value)}" for name, value in values.items() if value)


def _from_here(path: str) -> str:
    return str(Path(path).relative_to(Path.cwd())) if path and Path(path).is_relative_to(Path.cwd()) else path


def remember(inputs: Inputs, out: Path) -> None:
    """Keep the inputs for the commands that come after.

    Raises:
        Mistake: Nothing can be written there.
    """
    write_private(out / INPUTS_NAME, TypeAdapter(Inputs).dump_json(inputs, indent=2))


def remembered(out: Path, now: Inputs) -> Inputs:
    """The inputs of the last `grade` into `out`, if there was one, with what is named now in their place."""
    try:
        kept = TypeAdapter(Inputs).validate_json((out / INPUTS_NAME).read_bytes())
    except (OSError, ValidationError):
        kept = Inputs()
    return replace(kept, **{name: value for name, value in asdict(now).items() if value})


def collected(inputs: Inputs, rules: Assignment, out: Path) -> Collection:
    """Collect, write `collection.csv`, and say what was found and what was set aside.

    Raises:
        Mistake: The folder or the roster cannot be used, or none was ever named.
    """
    if not inputs.submissions:
        raise Mistake(f"nothing was graded into {out} yet: run `make grade` first, or name its folder with OUT=")
    collection = collect(
        Path(inputs.submissions),
        Path(inputs.roster) if inputs.roster else None,
        rules,
        parse_deadline(inputs.deadline, "DEADLINE="),
        inputs.format,
    )
    write_csv(collection_table(collection.decisions), out / "collection.csv")
    handed_in = sum(submission.content is not None for submission in collection.submissions)
    missing = sum(_handed_in_nothing(submission) for submission in collection.submissions)
    say(f"collected: {handed_in} submissions; nothing from {missing}")
    for notice in collection.notices:
        say(f"  {notice}")
    for decision in collection.decisions:
        if decision.status not in (Status.TAKEN, Status.BESIDE):
            say(f"  {decision.status}: {decision.file}: {decision.reason}")
    for submission in collection.submissions:
        for remark in submission.remarks:
            say(f"  {submission.student_id}: {remark}")
    return collection


def chosen(collection: Collection, students: Sequence[str]) -> list[Submission]:
    """The submissions of these students.

    Raises:
        Mistake: Nobody has such an id, or handed in nothing.
    """
    known = {submission.student_id: submission for submission in collection.submissions}
    for student in students:
        if student not in known:
            close = difflib.get_close_matches(student, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise Mistake(f"there is no student {student} in the submissions or the roster{hint}")
        if known[student].content is None:
            raise Mistake(f"{student} handed in nothing that could be run: see collection.csv")
    return [known[student] for student in dict.fromkeys(students)]


def _handed_in_nothing(submission: Submission) -> bool:
    return submission.content is None and not submission.unreadable
