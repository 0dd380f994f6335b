"""A class whose scripts train in a second, and rules that fit it."""

import re
from datetime import UTC, datetime
from pathlib import Path

from command import SUBMISSIONS
from grader.assignment import DEFAULT_ASSIGNMENT
from grader.run.machine import CALIBRATION_NAME, Calibration, machine_name, to_json

SMALL_SCRIPT = SUBMISSIONS / "habits" / "module_level_training" / "hw6.py"


def hand_in_small(folder: Path, *students: str) -> None:
    """Give each student the small script, which sets no seed, with the id in a comment: equal files run once."""
    for student in students:
        (folder / student).mkdir(parents=True)
        source = SMALL_SCRIPT.read_text(encoding="utf-8")
        (folder / student / "hw6.py").write_text(f"{source}# {student}\n", encoding="utf-8")


def hand_in_text(folder: Path, student: str, before: str, after: str) -> None:
    """Give a student the small script with one text put in another's place."""
    source = SMALL_SCRIPT.read_text(encoding="utf-8")
    assert before in source
    (folder / student).mkdir(parents=True)
    (folder / student / "hw6.py").write_text(source.replace(before, after), encoding="utf-8")


def hand_in_slow(folder: Path, student: str, seconds: float) -> None:
    """Give a student the small script that works for so long before each epoch of its training but the first.

    A run that slept is not repeated, so it works.
    """
    start = "    running_loss = 0.0\n"
    # The check ends in the first epoch; then it watches the script with 50,000 images, where the tests have hundreds.
    training = "epoch > 0 and len(trainset) < 10_000"
    until = f"    import time; until = time.monotonic() + {seconds} * ({training})\n"
    hand_in_text(folder, student, start, f"{start}{until}    while time.monotonic() < until: pass\n")


def rules(path: Path, **values: float | str) -> Path:
    """Write the assignment with other values for some of its keys, each of which it has."""
    text = DEFAULT_ASSIGNMENT.read_text(encoding="utf-8")
    for key, value in values.items():
        text, found = re.subn(rf"^{key} = [^#\n]*", f"{key} = {value} ", text, count=1, flags=re.MULTILINE)
        assert found, key
    path.write_text(text, encoding="utf-8")
    return path


def keep_calibration(out: Path, images_per_second: float, threads: int) -> None:
    """Pretend that the reference was timed here before."""
    out.mkdir(exist_ok=True)
    timed = Calibration(images_per_second, "CPU", machine_name(threads), datetime.now(UTC), "script")
    (out / CALIBRATION_NAME).write_bytes(to_json(timed))
