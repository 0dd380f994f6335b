"""The hostile corpus, the honest ones that it is measured by, and classes made of both."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from command import ROOT, SUBMISSIONS, expectation
from grader.run.machine import usable_cores
from other_user import UID, Way, as_user, open_python
from small_class import keep_calibration, rules
from witnesses import TARGETS, Witnesses

# Most of them read 200 images, all that digits has: a check has 50,000, which took ten seconds of each.
HOSTILE, HONEST, HABITS = (SUBMISSIONS / group for group in ("hostile", "honest", "habits"))
CASES = sorted(HOSTILE.iterdir())
# Ten that train in a second and whose result no clock decides.
TEN_HONEST = (
    *(HONEST / name for name in ("five_epochs", "no_epochs")),
    *(HABITS / name for name in ("bare_except_around_the_step", "calls_sys_exit", "colab_lines", "crlf_lines")),
    *(HABITS / name for name in ("forward_called_directly", "module_level_training", "raises_after_training")),
    HABITS / "utf8_bom",
)
# Small where a case runs into a limit, so that it does so within seconds; an honest one trains in 0.1 s, on a crowded
# machine in 1.4 s, where a test once took more than 8 s. No case waits for the setup or the check, in which torch is
# loaded: crowded, that took over 40 s. An empty file counts 512 bytes, and a crowded machine makes 10,000 a second: as
# many as the scratch limit holds have to be there before the ten seconds are over.
LIMITS = {
    **{"setup_seconds": 120, "train_seconds": 10, "evaluation_seconds": 15, "check_seconds": 120},
    **{"memory_mb": 2000, "scratch_mb": 16, "shared_memory_mb": 64, "output_mb": 16},
}


def promises(case: Path, **wanted: str) -> bool:
    """Whether a case's expect.toml says so."""
    said: dict[str, Any] = expectation(case)
    return all(said[key] == value for key, value in wanted.items())


# Those for points whose defence is made otherwise at each level: what can be read and written, and what is inherited.
POINTS_BY_LEVEL = (
    *("answers_before_the_images", "leaves_result_files", "replaces_the_interpreter"),
    "searches_the_disk_for_labels",
)
# Those for harm that meet the same reader at every level: what is stored is never unpickled, a report is read to its
# bound, and what is shown is escaped.
HARM_AT_ANY_LEVEL = ("carries_a_pickle_bomb", "floods_the_report", "writes_into_the_page")
BY_LEVEL = [
    case
    for case in CASES
    if case.name in POINTS_BY_LEVEL or (promises(case, tries="harm") and case.name not in HARM_AT_ANY_LEVEL)
]
# What they are measured by, and one that trains as most students do.
THREE_HONEST = (*TEN_HONEST[:2], HABITS / "module_level_training")
STRONGEST, *FURTHER_WAYS = (Way(level, user) for level in ("strong", "partial") for user in (False, True))
# A policy of `none` still takes whatever is stronger, so that must be out of reach.
_WITHOUT_LANDLOCK = (
    "import grader.sandbox.fallback as f; f.landlock_missing = lambda: 'hidden'; from grader.cli import main; main()"
)


def honest_id(case: Path) -> str:
    """A student id that sorts an honest file among the hostile ones."""
    return f"{'acefhjlopst'[TEN_HONEST.index(case)]}_honest_{case.name}"


def grade_class(
    way: Way, home: Path, honest: Sequence[Path], hostile: Sequence[Path], witnesses: Witnesses
) -> subprocess.CompletedProcess[str]:
    """Grade hostile files with honest ones between, two at a time, into home/out.

    Args:
        home: Empty, below folders that everyone may pass.
    """
    for case in honest:
        shutil.copytree(case, home / "class" / honest_id(case))
    for case in hostile:
        shutil.copytree(case, home / "class" / case.name)
        neighbour = home / "class" / honest_id(honest[0]) / "hw6.py"
        (home / "class" / case.name / TARGETS).write_text(witnesses.targets(neighbour), encoding="utf-8")
    # The reference needs more memory than a hostile file may use here.
    keep_calibration(home / "out", 1_000, threads=max(1, usable_cores() // 2))
    # No run is repeated with another seed: whether a second one comes is no matter of what else is graded.
    limits = rules(home / "rules.toml", **LIMITS, isolation=f'"{way.level}"', extra_runs=0)
    options = ("--data", "digits", "--out", home / "out", "--jobs", 2, "--assignment", limits)
    return _run_grader(way, home, "grade", home / "class", *options)


def _run_grader(way: Way, home: Path, *arguments: str | Path | int) -> subprocess.CompletedProcess[str]:
    """`python -m grader ARGUMENTS` as one way wants it; whatever is stronger is out of reach."""
    env, *python = ["/usr/bin/env", sys.executable] if way == STRONGEST else open_python()
    path = os.environ["PATH"] if way.level == "strong" else _programs(home)
    program = ["-c", _WITHOUT_LANDLOCK] if way.level == "none" else ["-m", "grader"]
    command = [env, f"PATH={path}", *python, *program, *map(str, arguments)]
    if not way.user:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    for item in (home, *home.rglob("*")):
        os.chown(item, UID, UID, follow_symlinks=False)
    return as_user(home, *command)


def _programs(home: Path) -> Path:
    """A folder with the programs that the grader starts, less bubblewrap."""
    folder = home / "programs"
    folder.mkdir()
    for name in ("rm", "chmod"):
        (folder / name).symlink_to(shutil.which(name) or "")
    return folder
