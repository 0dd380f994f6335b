"""What a command works on: the folder, the roster, the rules, the data. `grade` keeps it in OUT for the others."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from grader.assignment import DEFAULT_ASSIGNMENT, Assignment, load_assignment
from grader.cli.console import say
from grader.collect import collect
from grader.errors import Mistake
from grader.records import Collection, Status, Submission
from grader.report.table import collection_table, write_csv, write_private

INPUTS_NAME = "inputs.json"


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a teacher named on the command line; paths are absolute, `data` where it is one."""

    submissions: Path
    roster: Path | None
    data: str
    assignment: Path

    def rules(self) -> Assignment:
        """Load the assignment.

        Raises:
            Mistake: It cannot be used.
        """
        return load_assignment(self.assignment)


def named(submissions: Path, roster: Path | None, data: str, assignment: Path | None) -> Inputs:
    """Take what the command line says, with absolute paths."""
    return Inputs(
        submissions.absolute(),
        roster.absolute() if roster else None,
        str(Path(data).absolute()) if data and data != "digits" else data,
        (assignment or DEFAULT_ASSIGNMENT).absolute(),
    )


def remember(inputs: Inputs, out: Path) -> None:
    """Keep the inputs for the commands that come after.

    Raises:
        Mistake: Nothing can be written there.
    """
    write_private(out / INPUTS_NAME, TypeAdapter(Inputs).dump_json(inputs, indent=2))


def remembered(
    out: Path, submissions: Path | None, roster: Path | None = None, assignment: Path | None = None, data: str = ""
) -> Inputs:
    """The inputs of the last `grade` into `out`, with what the command line names put in their place.

    Raises:
        Mistake: There was none.
    """
    try:
        kept = TypeAdapter(Inputs).validate_json((out / INPUTS_NAME).read_bytes())
    except (OSError, ValidationError):
        if submissions is None:
            raise Mistake(
                f"nothing was graded into {out} yet: run `make grade` first, or name its folder with OUT="
            ) from None
        return named(submissions, roster, data, assignment)
    return named(submissions or kept.submissions, roster or kept.roster, data or kept.data, assignment or kept.assignment)


def collected(inputs: Inputs, rules: Assignment, out: Path) -> Collection:
    """Collect, write `collection.csv`, and say what was found and what was set aside.

    Raises:
        Mistake: The folder or the roster cannot be used.
    """
    collection = collect(inputs.submissions, inputs.roster, rules)
    write_csv(collection_table(collection.decisions), out / "collection.csv")
    handed_in = sum(submission.content is not None for submission in collection.submissions)
    missing = sum(_handed_in_nothing(submission) for submission in collection.submissions)
    say(f"collected: {handed_in} submissions; nothing from {missing}")
    for decision in collection.decisions:
        if decision.status not in (Status.TAKEN, Status.BESIDE):
            say(f"  {decision.status}: {decision.file}: {decision.reason}")
    for submission in collection.submissions:
        for remark in submission.remarks:
            say(f"  {submission.student_id}: {remark}")
    return collection


def _handed_in_nothing(submission: Submission) -> bool:
    return submission.content is None and not submission.unreadable
