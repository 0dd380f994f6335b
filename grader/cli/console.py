"""What the commands share: the application, its flags, what is said, and how it ends."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape

from grader.collect import Format
from grader.errors import Cancelled, InfrastructureError, Mistake
from grader.report.table import printable

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Grade hw6.py files. 0: done; 1: done, but the grader failed on somebody; 2: your mistake; 130: stopped. "
    "A student tries one file with: python -m grader try hw6.py",
)
console = Console(highlight=False)

# The Makefile hands over what a person typed by these variables, so that no shell reads it.
Submissions = Annotated[
    Path,
    typer.Argument(help="What was handed in: a folder, or a learning system's archive.", envvar="GRADER_SUBMISSIONS"),
]
Known = Annotated[
    Path | None,
    typer.Argument(help="As for grade; without it, what the last grade was given.", envvar="GRADER_SUBMISSIONS"),
]
Layout = Annotated[
    Format | None,
    typer.Option("--format", help="Who laid out SUBMISSIONS; else its names tell.", envvar="GRADER_FORMAT"),
]
Roster = Annotated[
    Path | None,
    typer.Option(
        help="CSV with student_id, name, perhaps deadline; or a learning system's gradebook.", envvar="GRADER_ROSTER"
    ),
]
Deadline = Annotated[
    str,
    typer.Option(
        help="With its zone, as 2026-12-01T23:59+09:00: what is later does not count.", envvar="GRADER_DEADLINE"
    ),
]
Data = Annotated[
    str,
    typer.Option(help="torchvision root, .npz file or `digits`; empty: CIFAR-10, downloaded.", envvar="GRADER_DATA"),
]
Out = Annotated[Path, typer.Option(help="Folder for tables, logs and the ledger.", envvar="GRADER_OUT")]
DEFAULT_OUT = Path("results")
Jobs = Annotated[
    int | None,
    typer.Option(
        min=1, help="Submissions that run at the same time; else as many as suit the machine.", envvar="GRADER_JOBS"
    ),
]
Cluster = Annotated[
    str, typer.Option(help="A Ray cluster's address, or `auto`; empty: this machine.", envvar="GRADER_CLUSTER")
]
Rules = Annotated[
    Path | None,
    typer.Option("--assignment", help="TOML file with the assignment's rules.", envvar="GRADER_ASSIGNMENT"),
]
Precision = Annotated[
    Literal["script", "bfloat16"] | None,
    typer.Option(help="What training computes in, if not what the assignment says.", envvar="GRADER_PRECISION"),
]
Yes = Annotated[
    bool, typer.Option("--yes", help="Start without a question, however long it may take.", envvar="GRADER_YES")
]
Student = Annotated[
    str,
    typer.Option(help="Only this one; what a training run prints is shown as it comes.", envvar="GRADER_STUDENT"),
]
Why = Annotated[
    str, typer.Option(help="The reason; it stays in the ledger and is shown in the table.", envvar="GRADER_WHY")
]


def say(sentence: str) -> None:
    """Print one line; whatever is in it is text and nothing else."""
    console.print(escape(printable(sentence)), soft_wrap=True)


@contextmanager
def mistakes_in_one_sentence(stopped: str = "stopped: nothing is lost") -> Iterator[None]:
    """Turn every expected error into one sentence and an exit code.

    Args:
        stopped: What is said after Ctrl-C.
    """
    try:
        yield
    except (Mistake, InfrastructureError) as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        raise typer.Exit(2 if isinstance(error, Mistake) else 1) from None
    except (Cancelled, KeyboardInterrupt):
        print(stopped, file=sys.stderr)
        raise typer.Exit(130) from None


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
        # The live table hides it, and a process that is killed cannot bring it back.
        console.show_cursor()
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    signal.signal(signal.SIGINT, interrupt)
    return event
