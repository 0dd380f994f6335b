"""What the commands share: the application, its flags, what is said, how it ends, and what a command works on.

That is the folder, the roster, the rules and the data; `grade` keeps it in OUT for the others.
"""

import difflib
import json
import os
import re
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import TypeAdapter
from rich.console import Console
from rich.control import Control
from rich.markup import escape
from typer.core import TyperGroup

from grader.assignment import DEFAULT_ASSIGNMENT, Assignment, load_assignment
from grader.collect import Format, collect
from grader.collect.deadline import parse_deadline
from grader.data import ASSIGNED_DATA, CACHE
from grader.errors import Cancelled, InfrastructureError, UserError
from grader.lms.files import listed
from grader.records import Collection, Status, Submission
from grader.report import where_it_is
from grader.report.table import collection_table, print_summary, write_csv
from grader.results.entries import Result
from grader.results.ledger import Ledger
from grader.text import counted, printable, write_private

DEFAULT_OUT = Path("results")
INPUTS_NAME = "inputs.json"


@contextmanager
def mistakes_in_one_sentence() -> Iterator[None]:
    """Turn every expected error into one sentence and an exit code."""
    try:
        yield
    except (UserError, InfrastructureError) as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        raise typer.Exit(2 if isinstance(error, UserError) else 1) from None
    except typer.BadParameter as error:
        variable = str(getattr(error.param, "envvar", None) or "")
        if os.environ.get(variable):
            error.param_hint = f"{variable.removeprefix('GRADER_')}="
        # Typer leaves pydantic's prefix in front of the sentence.
        print(f"error: {printable(error.format_message()).replace('Value error, ', '')}", file=sys.stderr)
        raise typer.Exit(2) from None
    except (Cancelled, KeyboardInterrupt):
        print("stopped: nothing is lost", file=sys.stderr)
        raise typer.Exit(130) from None


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        """Run the command that was given."""
        with mistakes_in_one_sentence():
            return super().invoke(ctx)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command, and say which settings of other commands it leaves aside."""
        found: Any = super().resolve_command(ctx, args)
        name, command, _ = found
        every = {str(parameter.envvar) for each in self.commands.values() for parameter in each.params}
        unused = every - {str(parameter.envvar) for parameter in command.params}
        if settings := sorted(f"{each.removeprefix('GRADER_')}=" for each in unused if os.environ.get(each)):
            print(f"{name} does not use {listed(settings)}", file=sys.stderr)
        return found


app = typer.Typer(
    cls=_Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Grade hw6.py files. Exit codes: 0, done; 1, done, but the grader failed on somebody; 2, your mistake; "
    "130, stopped. A student tries one file with: python -m grader try hw6.py",
)
console = Console(highlight=False)
_SHOW_CURSOR = Control.show_cursor(True).segment.text.encode()


def setting(name: str, said: str, *flags: str, **more: Any) -> Any:
    """A flag with its help; the Makefile hands over what a person typed as GRADER_<name>, so that no shell reads it."""
    return typer.Option(*flags, help=said, envvar=f"GRADER_{name}", **more)


Submissions = Annotated[
    Path,
    typer.Argument(help="The submissions: a folder, or a learning system's archive.", envvar="GRADER_SUBMISSIONS"),
]
SameSubmissions = Annotated[
    Path | None,
    typer.Argument(help="As for grade; by default, what the last grade was given.", envvar="GRADER_SUBMISSIONS"),
]
Layout = Annotated[
    Format | None,
    setting(
        "FORMAT", "The layout of SUBMISSIONS, if the files' names do not show it.", "--format", case_sensitive=False
    ),
]
Roster = Annotated[
    Path | None, setting("ROSTER", "CSV with student_id, name and perhaps deadline; or a learning system's gradebook.")
]
Deadline = Annotated[
    str, setting("DEADLINE", "A date, a time and a zone, as 2026-12-01T23:59+09:00; later files do not count.")
]
Data = Annotated[
    str, setting("DATA", "A torchvision folder, an .npz file or `digits`; by default CIFAR-10, downloaded.")
]
Out = Annotated[Path, setting("OUT", "Folder for tables, logs and the ledger.")]
Jobs = Annotated[
    int | None,
    setting("JOBS", "How many submissions run at the same time; the default suits the machine.", min=1),
]
Cluster = Annotated[str, setting("CLUSTER", "A Ray cluster's address, or `auto`; by default, this machine.")]
Rules = Annotated[Path | None, setting("ASSIGNMENT", "TOML file with the assignment's rules.", "--assignment")]
Precision = Annotated[
    Literal["script", "bfloat16"] | None,
    setting("PRECISION", "The precision of training; by default, what the assignment says."),
]
Yes = Annotated[bool, setting("YES", "Start without a question, however long it may take.", "--yes")]
Student = Annotated[str, setting("STUDENT", "Only this student; the script's output is shown as it comes.")]
Why = Annotated[str, setting("WHY", "The reason; the ledger keeps it, and the table shows it.")]


def say(sentence: str) -> None:
    """Print one line; whatever is in it is text and nothing else."""
    console.print(escape(printable(sentence)), soft_wrap=True)


def show_results(rows: Sequence[Result], out: Path, notice: str = "") -> None:
    """Print the summary of what was written, where it lies, and what comes next."""
    say("")
    print_summary(console, rows, notice)
    for line in where_it_is(rows, out, "" if out == DEFAULT_OUT else f" OUT={shlex.quote(str(out))}"):
        say(line)


@contextmanager
def interrupted_at_once() -> Iterator[None]:
    """While a person is asked, Ctrl-C is an answer.

    Raises:
        Cancelled: It was pressed.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except (KeyboardInterrupt, typer.Abort):
        raise Cancelled from None
    finally:
        signal.signal(signal.SIGINT, before)


def interrupted() -> threading.Event:
    """An event that Ctrl-C sets; a second Ctrl-C ends the grader at once, and every sandbox with it.

    An exception in the middle of whatever the main thread does could leave a thread pool half started.
    """
    event = threading.Event()

    def interrupt(*_: object) -> None:
        event.set()
        # The live table hides it, and a process that is killed cannot bring it back. Not through the console: Python's
        # stdout refuses to be written to while it is being written to, and the signal may come just then.
        if os.isatty(1):
            os.write(1, _SHOW_CURSOR)
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    signal.signal(signal.SIGINT, interrupt)
    return event


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a teacher named on the command line; empty where nothing was named. Paths are absolute.

    Attributes:
        data: A path, `digits`, or empty for CIFAR-10.
        format: None: recognised by the names.
        precision: Empty: what the assignment says.
        run_key: Of the last grade, whose results the commands after it show; no person names it.
    """

    submissions: str = ""
    roster: str = ""
    deadline: str = ""
    data: str = ""
    assignment: str = ""
    format: Format | None = None
    precision: str = ""
    run_key: str = ""

    def rules(self) -> Assignment:
        """Load the assignment.

        Raises:
            UserError: It cannot be used.
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
        "SUBMISSIONS": from_here(inputs.submissions),
        "ROSTER": from_here(inputs.roster),
        "DEADLINE": inputs.deadline,
        "ASSIGNMENT": from_here(inputs.assignment),
        "FORMAT": inputs.format or "",
        "OUT": "" if out == DEFAULT_OUT else str(out),
    }
    return " ".join(f"{name}={shlex.quote(value)}" for name, value in values.items() if value)


def from_here(path: str | Path) -> str:
    """A path as a person types it: relative where it lies below this folder."""
    return str(Path(path).relative_to(Path.cwd())) if path and Path(path).is_relative_to(Path.cwd()) else str(path)


def remember(inputs: Inputs, out: Path) -> None:
    """Keep the inputs for the commands that come after.

    Raises:
        UserError: Nothing can be written there.
    """
    # Not pydantic's JSON: a path may hold bytes that are no UTF-8.
    write_private(out / INPUTS_NAME, json.dumps(asdict(inputs), indent=2).encode())


def remembered(out: Path, now: Inputs) -> Inputs:
    """The inputs of the last `grade` into `out`, if there was one, with what is named now in their place."""
    try:
        kept = TypeAdapter(Inputs).validate_python(json.loads((out / INPUTS_NAME).read_bytes()))
    except (OSError, ValueError):
        kept = Inputs()
    return replace(kept, **{name: value for name, value in asdict(now).items() if value})


def left_out(now: Inputs, out: Path) -> str:
    """What the last `grade` into `out` was given and this one is not, in a sentence; empty where that is nothing.

    Not the data: the results name theirs.
    """
    before, given = asdict(replace(remembered(out, Inputs()), data="", run_key="")), asdict(now)
    gone = [f"{name.upper()}={shlex.quote(value)}" for name, value in before.items() if value and not given[name]]
    if not gone:
        return ""
    return f"{out} was graded with {listed(gone)} before, and now without: give that again, if you forgot it"


def data_notice(ledger: Ledger, run_key: str) -> str:
    """The sentence for results that are for another data set than the assignment's; empty where they are not."""
    names = (entry.evidence.data_name for entry in reversed(ledger.entries()) if entry.run_key == run_key)
    name = next(names, ASSIGNED_DATA)
    return "" if name == ASSIGNED_DATA else f"These results are for {name}, not for {ASSIGNED_DATA}."


def nothing_graded(out: Path) -> UserError:
    """The mistake of whoever asks for results before there are any."""
    return UserError(f"nothing is graded in {out} yet: run `make grade` first, or name its folder with OUT=")


def last_run_key(ledger: Ledger, out: Path) -> str:
    """The key of the last grade, else of the newest run; empty where there is neither.

    The newest run may have another: a regrade under rules that have changed since.

    Raises:
        UserError: There was no `make grade`.
    """
    if key := remembered(out, Inputs()).run_key:
        return key
    if entries := ledger.entries():
        return entries[-1].run_key
    if not (out / INPUTS_NAME).exists():
        raise nothing_graded(out)
    return ""


def collected(inputs: Inputs, rules: Assignment, out: Path, *, briefly: bool = False) -> Collection:
    """Collect, write `collection.csv`, and say what was found and what was set aside.

    Args:
        briefly: Say only how many: whoever changes one result has read the rest, and would lose sight of it.

    Raises:
        UserError: The folder or the roster cannot be used, or none was ever named.
    """
    if not inputs.submissions:
        raise nothing_graded(out)
    collection = collect(
        Path(inputs.submissions),
        Path(inputs.roster) if inputs.roster else None,
        rules,
        parse_deadline(inputs.deadline, "DEADLINE="),
        inputs.format,
        (out, CACHE),
    )
    write_csv(collection_table(collection.decisions), out / "collection.csv")
    handed_in = sum(submission.content is not None for submission in collection.submissions)
    unreadable = sum(bool(each.unreadable) for each in collection.submissions)
    missing = len(collection.submissions) - handed_in - unreadable
    closed = f"; cannot be read: {unreadable}" if unreadable else ""
    absent = f"; nothing from {counted(missing, 'student')}" if missing else ""
    say(f"collected: {counted(handed_in, 'submission')}{closed}{absent}")
    for line in () if briefly else _doubts(collection):
        say(f"  {line}")
    return collection


def _doubts(collection: Collection) -> Iterator[str]:
    """How it was read, which files were set aside, and what is odd about a student's."""
    yield from collection.notices
    remarked = {submission.student_id for submission in collection.submissions if submission.remarks}
    aside = (
        each
        for each in collection.decisions
        if each.status not in (Status.TAKEN, Status.BESIDE)
        # The remark on the student says it.
        and not (each.status in (Status.LATE, Status.UNRECOGNISED) and each.student_id in remarked)
    )
    # A group's file has a decision for each member.
    yield from dict.fromkeys(f"{each.status}: {each.file}: {each.reason}" for each in aside)
    for submission in collection.submissions:
        yield from (f"{submission.student_id}: {remark}" for remark in submission.remarks)


def chosen(collection: Collection, students: Sequence[str]) -> list[Submission]:
    """The submissions of these students.

    Raises:
        UserError: Nobody has such an id, or handed in nothing.
    """
    found = [submission_of(collection, student) for student in dict.fromkeys(students)]
    for submission in found:
        if submission.content is None:
            raise UserError(f"{submission.student_id} handed in no file that can be run: see collection.csv")
    return found


def ids_in(text: str, collection: Collection) -> list[str]:
    """The ids that a person typed, between blanks or commas; one with a blank or a comma in it counts as a whole."""
    known = sorted((each.student_id for each in collection.submissions), key=len, reverse=True)
    return re.findall(rf"(?<![^\s,])(?:{'|'.join(map(re.escape, known))})(?![^\s,])|[^\s,]+", text)


def submission_of(collection: Collection, student: str) -> Submission:
    """The submission of this student.

    Raises:
        UserError: Nobody has such an id.
    """
    everyone = {submission.student_id: submission for submission in collection.submissions}
    if student not in everyone:
        close = difflib.get_close_matches(student, everyone, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UserError(f"there is no student {student} in the submissions or the roster{hint}")
    return everyone[student]
