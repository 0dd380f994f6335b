"""`python -m grader try`: flags in, lines and an exit code out. 0: tested; 2: it could not be; 130: stopped.

Argparse rather than what the teacher's commands are made with: a student has torch and torchvision, and need not
install anything else for this.
"""

import argparse
import signal
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

from grader.errors import UserError
from grader.progress import Plan

_ASSIGNMENT = Path(__file__).parents[1] / "assignment.toml"
# Long enough for some steps on two slow cores, short enough to wait for.
_TIMED_SECONDS = 20


def main(arguments: Sequence[str]) -> int:
    """Try one file; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m grader try",
        description="Train hw6.py as the grader does, for five epochs or two hours, and test it on the test images.",
    )
    parser.add_argument("file", type=Path, metavar="hw6.py")
    parser.add_argument(
        "--data",
        default="",
        help="a folder with an earlier download, an .npz file or `digits`; by default CIFAR-10, downloaded into ./data",
    )
    parser.add_argument(
        "--estimate", action="store_true", help="only time a few steps and say how long the whole run will take"
    )
    options = parser.parse_args(arguments)
    # As Ctrl-C: the copy of the data goes, and the worker with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _try(options.file, options.data, only_estimate=options.estimate)
    except ModuleNotFoundError as error:
        needed = "install torch and torchvision with pip, and scikit-learn for the digits"
        print(f"error: {error.name} is missing: {needed}", file=sys.stderr)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nstopped: nothing was measured", file=sys.stderr)
        return 130
    else:
        return 0
    return 2


def _try(file: Path, spec: str, *, only_estimate: bool) -> None:
    """Load the data, train, test, and print what came out.

    Raises:
        UserError: There is no such file or data set, or no network that could be tested.
        ModuleNotFoundError: torch or torchvision is missing.
    """
    # Here, so that a missing torch becomes one sentence.
    from grader.data import count_correct, load_data
    from grader.student import words
    from grader.student.trial import try_file
    from grader.student.words import Display

    if not file.is_file():
        raise UserError(f"there is no file {file}: name the one that you want to hand in")
    rules = tomllib.loads(_ASSIGNMENT.read_text(encoding="utf-8"))
    data = load_data(spec)
    budget = rules["budget"]
    limit = _TIMED_SECONDS if only_estimate else budget["train_seconds"]
    print(words.opening(file.name, rules, data, limit, test=not only_estimate), flush=True)
    display = Display(sys.stdout, Plan(1, 0, len(data.x_train), budget["epochs"], limit, jobs=1))
    begun = time.monotonic()
    try:
        trial = try_file(file, rules, data, limit, not only_estimate, display.watch)
    finally:
        display.close()
    print()
    if only_estimate:
        lines = words.estimate(trial, rules, data)
    elif trial.scores is None:
        raise UserError(words.why_not(trial, rules))
    else:
        lines = words.results(trial, rules, data, count_correct(trial.scores, data.y_test), time.monotonic() - begun)
    for line in lines:
        print(line)
