"""What a person types after `make` reaches the grader as it stands; nothing in it is run on the way."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from command import ROOT
from grader.cli.options import app
from small_class import hand_in_small

MAKEFILE = ROOT / "Makefile"
NAMES = (
    *("x$(touch pwned)", "x$$(touch pwned)", "x$(shell touch pwned)", "a`touch pwned`b", "a; touch pwned"),
    *('a"b', "a`b", "a$b", "a b", "a'b", "a#b", "a\\b", "김서연"),
)
# Writes down what it is called with, and its environment.
RECORDER = """#!/bin/sh
echo "$@" > arguments
env -0 > environment
"""


def listed(variable: str) -> list[str]:
    """The words of a variable of the Makefile."""
    found = re.search(rf"^{variable} := ((?:.*\\\n)*.*)$", MAKEFILE.read_text(encoding="utf-8"), re.MULTILINE)
    assert found
    return found[1].replace("\\\n", " ").split()


SETTINGS, COMMANDS = listed("SETTINGS"), listed("COMMANDS")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which everything seems to be set up, with a recorder in Python's place."""
    for name in ("python", "bwrap"):
        (tmp_path / name).write_text(RECORDER, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    for name in ("pyproject.toml", "installed"):
        (tmp_path / name).touch()
    return tmp_path


def make(
    folder: Path, *arguments: str, python: str = "./python", variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    # A make that runs these tests hands its own settings on in MAKEFLAGS.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "GRADER_"))}
    environment = inherited | {"PATH": f"{folder}:{os.environ['PATH']}"} | (variables or {})
    command = ("make", f"--file={MAKEFILE}", "STAMP=installed", f"RUN={python}", *arguments)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def recorded(folder: Path) -> tuple[str, dict[str, str]]:
    """The arguments, and the grader's variables that are not empty."""
    entries = (folder / "environment").read_text(encoding="utf-8").split("\0")
    pairs = (entry.split("=", 1) for entry in entries if entry.startswith("GRADER_"))
    arguments = (folder / "arguments").read_text(encoding="utf-8").strip()
    return arguments, {name.removeprefix("GRADER_"): value for name, value in pairs if value}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("typed", ["after make", "before make"])
def test_every_setting_reaches_the_grader_as_it_was_typed(folder: Path, name: str, typed: str) -> None:
    settings = dict.fromkeys(SETTINGS, name)
    if typed == "after make":
        finished = make(folder, "grade", *(f"{setting}={value}" for setting, value in settings.items()))
    else:
        finished = make(folder, "grade", variables=settings)
    assert finished.returncode == 0, finished.stderr
    assert recorded(folder) == ("-m grader grade", settings)
    assert not (folder / "pwned").exists()


@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "bench"])
def test_a_command_of_make_is_the_grader_s_of_the_same_name(folder: Path, command: str) -> None:
    assert make(folder, command, "SUBMISSIONS=class/", "LMS=moodle").returncode == 0
    assert recorded(folder)[0] == f"-m grader {command}"
    assert command in typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        *((name, f"SUBMISSIONS= is missing: make {name} SUBMISSIONS=dir/") for name in ("grade", "collect", "check")),
        *(
            (name, f"LMS= is missing: make {name} LMS=blackboard, canvas, moodle or gradescope")
            for name in ("export", "rehearse")
        ),
    ],
)
def test_what_is_missing_is_one_sentence(folder: Path, command: str, sentence: str) -> None:
    finished = make(folder, command)
    assert finished.returncode == 2
    assert sentence in finished.stderr
    assert not (folder / "arguments").exists()


@pytest.mark.parametrize("typed", ["DEADLIN=2026-12-01 23:59 Asia/Seoul", "submissions=class/", "JOB=2"])
def test_a_setting_that_there_is_not_is_a_mistake_and_nothing_begins(folder: Path, typed: str) -> None:
    finished = make(folder, "grade", "SUBMISSIONS=class/", typed, variables={"TZ": "Asia/Seoul"})
    assert finished.returncode == 2
    assert f"there is no setting {typed.partition('=')[0]}=: make alone lists them all" in finished.stderr
    assert not (folder / "arguments").exists()


def test_what_stands_outside_of_the_quotes_is_a_mistake_and_nothing_begins(folder: Path) -> None:
    finished = make(folder, "override", "STUDENT=kim", "POINTS=20", "WHY=shown", "in", "class")
    assert finished.returncode == 2
    assert 'in is no target: put quotes around what has blanks in it, as WHY="shown in class"' in finished.stderr
    assert not (folder / "arguments").exists()


def test_a_part_of_the_benchmark_is_one_argument(folder: Path) -> None:
    assert make(folder, "bench", 'PART=a "b"; touch pwned').returncode == 0
    assert recorded(folder)[0] == 'tests/bench a "b"; touch pwned'
    assert make(folder, "bench").returncode == 0
    assert recorded(folder)[0] == "tests/bench"
    assert not (folder / "pwned").exists()


def test_settings_do_not_reach_the_tests(folder: Path) -> None:
    assert make(folder, "test", "OUT=elsewhere", variables={"DATA": "elsewhere"}).returncode == 0
    assert recorded(folder)[1] == {}


def test_the_command_line_reads_every_setting_and_no_other_variable() -> None:
    commands = typer.main.get_command(app).commands.values()  # type: ignore[attr-defined]
    read = {parameter.envvar for command in commands for parameter in command.params if parameter.envvar}
    assert read == {f"GRADER_{setting}" for setting in SETTINGS} - {"GRADER_PART"}


def test_a_folder_with_every_odd_character_is_opened_and_named_for_the_next_command(folder: Path) -> None:
    name = "x$(touch pwned)`touch pwned`a\"b$c 'd#김"
    hand_in_small(folder / name, "kim")
    finished = make(folder, "collect", f"SUBMISSIONS={name}", f"OUT=out {name}", python=sys.executable)
    assert "collected: 1 submission\n" in finished.stdout, finished.stderr
    assert (folder / f"out {name}" / "collection.csv").exists()
    assert shlex.split(finished.stdout.splitlines()[-1]) == [
        *("next:", "make", "grade", f"SUBMISSIONS={name}", f"OUT=out {name}")
    ]
    assert not (folder / "pwned").exists()
