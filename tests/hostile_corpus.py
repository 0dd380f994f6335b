"""The hostile corpus, the honest ones that it is measured by, and classes made of both."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from command import SUBMISSIONS, expectation, run_grader
from small_class import keep_calibration, rules

HOSTILE, HONEST, HABITS = (SUBMISSIONS / group for group in ("hostile", "honest", "habits"))
CASES = sorted(HOSTILE.iterdir())
# Ten that train in a second and whose result no clock decides.
TEN_HONEST = (
    *(HONEST / name for name in ("five_epochs", "no_epochs")),
    *(HABITS / name for name in ("bare_except_around_the_step", "calls_sys_exit", "colab_lines", "crlf_lines")),
    *(HABITS / name for name in ("forward_called_directly", "module_level_training", "raises_after_training")),
    HABITS / "utf8_bom",
)
# Small enough that whoever runs into a limit does so within seconds.
LIMITS = {
    **{"setup_seconds": 30, "train_seconds": 10, "evaluation_seconds": 20, "check_seconds": 40},
    **{"memory_mb": 2000, "scratch_mb": 64, "shared_memory_mb": 64, "output_mb": 16},
}


def promises(case: Path, **wanted: str) -> bool:
    """Whether a case's expect.toml says so."""
    said: dict[str, Any] = expectation(case)
    return all(said[key] == value for key, value in wanted.items())


def honest_id(case: Path) -> str:
    """A student id that sorts an honest file among the hostile ones."""
    return f"{'acefhjlopst'[TEN_HONEST.index(case)]}_honest_{case.name}"


def grade_class(folder: Path, hostile: list[Path]) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Grade ten honest files with hostile ones between, two at a time; the output folder, and what was said."""
    for case in TEN_HONEST:
        shutil.copytree(case, folder / "class" / honest_id(case))
    for case in hostile:
        shutil.copytree(case, folder / "class" / case.name)
    # The reference needs more memory than a hostile file may use here.
    keep_calibration(folder / "out", 1_000, threads=max(1, (os.cpu_count() or 1) // 2))
    finished = run_grader(
        *("grade", folder / "class", "--data", "digits", "--out", folder / "out", "--jobs", 2),
        *("--assignment", rules(folder / "rules.toml", **LIMITS)),
        timeout=2400,
    )
    return folder / "out", finished
