"""The dress rehearsal: a small made-up class goes the whole way, by the commands that a teacher gives."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from grader.cli.options import Data, Out, app, from_here, say
from grader.errors import UserError
from grader.lms import System
from grader.lms.rehearsal import Course, make_class

_CLASS, _RESULTS = "made_up_class", "results"


@app.command("rehearse")
def rehearse_command(
    system: Annotated[
        System,
        typer.Argument(
            help="The learning system that the class comes from.", envvar="GRADER_LMS", case_sensitive=False
        ),
    ],
    data: Data = "digits",
    out: Out = Path("results/rehearsal"),
) -> None:
    """Show every step with a made-up class of six: collect, grade, export; on digits, in minutes."""
    folder = out / system
    course = _new_class(system, folder)
    files = f"{from_here(course.submissions)} and {from_here(course.gradebook)}"
    say(f"{system.capitalize()} would let you download {files}")
    for number, (what, command, settings) in enumerate(_steps(system, course, folder / _RESULTS, data), start=1):
        typed = (f"{name}={shlex.quote(value)}" for name, value in settings.items())
        say("\n".join([f"\n{number}. {what}\n", " \\\n    ".join([f"$ make {command}", *typed]), ""]))
        if code := _given(command, settings):
            say("\nThe rehearsal ends here: see the line above.")
            raise typer.Exit(code)
    say(f"\nYou have seen every step. Open {from_here(folder / _RESULTS / 'report.html')} and see who was left out.")
    say("With your own class: the same commands with your files and without DATA=; then upload what export wrote.")


def _new_class(system: System, folder: Path) -> Course:
    """Make the class anew, and forget what an earlier rehearsal left."""
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    others = there - {_CLASS, _RESULTS} if _CLASS in there else there
    if others:
        raise UserError(f"{folder} has other files than a rehearsal's ({min(others)}): name another folder with OUT=")
    try:
        for name in (_CLASS, _RESULTS):
            if (folder / name).exists():
                shutil.rmtree(folder / name)
        return make_class(system, folder / _CLASS)
    except OSError as error:
        raise UserError(f"cannot write {folder} ({error.strerror}): name another folder with OUT=") from None


def _steps(system: System, course: Course, out: Path, data: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    """What each command is for, its name, and its settings."""
    handed_in = {"SUBMISSIONS": from_here(course.submissions), "ROSTER": from_here(course.gradebook)}
    deadline = {"DEADLINE": course.deadline} if course.deadline else {}
    results = {"OUT": from_here(out)}
    yield "Which file counts for whom? Nothing runs yet.", "collect", handed_in | deadline | results
    yield (
        "Train and test every file, here on a small data set.",
        "grade",
        handed_in | deadline | results | {"DATA": data, "JOBS": "2"},
    )
    yield f"Write the grades in {system.capitalize()}'s own form.", "export", {"LMS": system.value} | results


def _given(command: str, settings: dict[str, str]) -> int:
    """Give a command as make does; its exit code."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GRADER_")}
    sys.stdout.flush()
    # Ctrl-C is the command's, which ends in order; a handler, unlike a signal that is ignored, is not inherited.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return subprocess.run(
            [sys.executable, "-m", "grader", command],
            env=inherited | {f"GRADER_{name}": value for name, value in settings.items()},
            check=False,
        ).returncode
    finally:
        signal.signal(signal.SIGINT, before)
