"""`python -m grader try`: flags in, lines and an exit code out. 0: tested; 2: it could not be; 130: stopped.

While a script trains, its own lines and one of the grader's on how training goes; then the accuracy, its points and the
time, or why there is none.

Argparse rather than what the teacher's commands are made with: a student has torch and torchvision, and need not
install anything else for this.
"""

import argparse
import shutil
import signal
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from grader.errors import UserError
from grader.progress import (
    Event,
    Plan,
    Printed,
    Running,
    Scene,
    Stage,
    after,
    training_line,
    work_seconds,
    worth_a_line,
)
from grader.protocol import Fault, Stopped
from grader.records import StopReason, Training, accuracy_percent, exact_percent, in_band
from grader.text import OutputLines, duration

# At run time in `_try`, so that a missing torch or NumPy becomes one sentence.
if TYPE_CHECKING:
    from grader.data import DataSet
    from grader.student.trial import Trial

_ASSIGNMENT = Path(__file__).parents[1] / "assignment.toml"
# Long enough for some steps on two slow cores, short enough to wait for.
_TIMED_SECONDS = 20
OF_CHANCE = (
    "The grade comes from the grader's own run. Chance moves the accuracy a little from\nrun to run, so leave a margin."
)
MARK = "  | "


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
    from grader.data import count_correct, load_data
    from grader.student.trial import try_file

    if not file.is_file():
        raise UserError(f"there is no file {file}: name the one that you want to hand in")
    rules = tomllib.loads(_ASSIGNMENT.read_text(encoding="utf-8"))
    data = load_data(spec)
    budget = rules["budget"]
    limit = _TIMED_SECONDS if only_estimate else budget["train_seconds"]
    print(opening(file.name, rules, data, limit, test=not only_estimate), flush=True)
    display = Display(sys.stdout, Plan(1, 0, len(data.x_train), budget["epochs"], limit, jobs=1))
    begun = time.monotonic()
    try:
        trial = try_file(file, rules, data, limit, display.watch, test=not only_estimate)
    finally:
        display.close()
    print()
    if only_estimate:
        lines = estimate(trial, rules, data)
    elif trial.scores is None:
        raise UserError(why_not(trial, rules))
    else:
        lines = results(trial, rules, data, count_correct(trial.scores, data.y_test), time.monotonic() - begun)
    for line in lines:
        print(line)


def opening(name: str, rules: dict[str, Any], data: "DataSet", limit: float, *, test: bool) -> str:
    """What is about to happen.

    Args:
        limit: The longest that training may take, in seconds.
        test: Whether the network is tested afterwards.
    """
    then = f"then a test on {len(data.x_test)} images" if test else "to time it"
    epochs = rules["budget"]["epochs"]
    return (
        f"{name}: training on {len(data.x_train)} images ({data.name}),\n"
        f"for at most {epochs} epochs or {duration(limit)}, {then}\n"
        f"{MARK.strip()} marks what your script prints. An accuracy there comes from training images: inside\n"
        "the grader, your script's test set is made of them."
    )


def results(trial: "Trial", rules: dict[str, Any], data: "DataSet", correct: int, seconds: float) -> Iterator[str]:
    """Every line about a network that was tested.

    Args:
        correct: Test images that it classified right.
        seconds: From the start of the worker to its end.
    """
    total = len(data.y_test)
    yield f"accuracy  {accuracy_percent(correct, total)} % ({correct} of {total} test images)"
    yield f"points    {_points(exact_percent(correct, total), rules['bands'])}"
    if trial.stopped is not None:
        epochs = trial.stopped.training.samples / len(data.x_train)
        yield f"trained   {epochs:.2f} epochs in {duration(trial.stopped.training.seconds)}{_end(trial.stopped, rules)}"
    if trial.started is not None:
        yield f"in total  {duration(seconds)} on {trial.started.device}, torch {trial.started.torch_version}"
    yield ""
    yield from _notes(trial)
    if data.notice:
        yield data.notice
    yield OF_CHANCE


def estimate(trial: "Trial", rules: dict[str, Any], data: "DataSet") -> Iterator[str]:
    """How long a trial will take, from some timed steps.

    Raises:
        UserError: The script did not train.
    """
    stopped, first, budget = trial.stopped, trial.first, rules["budget"]
    training = stopped.training if stopped else Training()
    if stopped is None or not training.samples or training.seconds <= 0:
        raise UserError(why_not(trial, rules) if stopped is None or stopped.error else "the script did not train")
    rate = training.samples / training.seconds
    if first is not None and training.samples > first.samples:
        # The first steps also set torch up.
        rate = (training.samples - first.samples) / (training.seconds - first.seconds)
    images, limit = budget["epochs"] * len(data.x_train), budget["train_seconds"]
    if stopped.reason == StopReason.FINISHED:
        images = training.samples
    yield f"your script trains {rate:.0f} images a second here"
    yield f"estimate  {duration(work_seconds(rate, images, limit, len(data.x_test)))} for training and test"
    if images / rate > limit:
        reached = limit * rate / len(data.x_train)
        done = f"{reached:.1f} of {budget['epochs']} epochs"
        yield f"training would stop here after {duration(limit)} and {done}: use a GPU"


def why_not(trial: "Trial", rules: dict[str, Any]) -> str:
    """One sentence on why no network was tested, without a full stop."""
    said = trial.stopped.error if trial.stopped else ""
    detail = (trial.evaluated.detail if trial.evaluated else "") or said
    if trial.started is None:
        return f"the script could not be started (exit code {trial.exit_code}): see the lines above"
    if trial.stopped is None or trial.evaluated is None:
        return (
            f"the script ended the interpreter (exit code {trial.exit_code}) before the grader could test its network"
        )
    match trial.evaluated.fault:
        case Fault.NO_NETWORK if trial.stopped.reason == StopReason.TIME_BUDGET and not trial.stopped.training.targets:
            return f"the script did not begin to train within {duration(rules['limits']['setup_seconds'])}"
        case Fault.NO_NETWORK:
            return f"the script made no network of the class {rules['class_name']}"
        case Fault.SOURCE:
            return detail
    blanks = (
        f"; these blanks still have their dots: {', '.join(trial.source.blanks)}"
        if trial.source and trial.source.blanks
        else ""
    )
    return f"the script failed before the grader could test its network: {detail}{blanks}"


def _points(percent: Fraction, bands: list[dict[str, Any]]) -> str:
    for band in bands:
        above, at_least = (_decimal(band.get(edge)) for edge in ("above", "from"))
        if in_band(percent, above, at_least):
            edge = (
                f"more than {above} %" if above is not None else f"from {at_least} % on" if at_least is not None else ""
            )
            return f"{band['points']} ({edge})" if edge else f"{band['points']}"
    raise ValueError("no band fits, although the last one has no edge")


def _decimal(edge: float | None) -> Decimal | None:
    return None if edge is None else Decimal(str(edge))


def _end(stopped: Stopped, rules: dict[str, Any]) -> str:
    match stopped.reason:
        case StopReason.EPOCH_BUDGET:
            return f", stopped after {rules['budget']['epochs']} epochs as the handout says"
        case StopReason.TIME_BUDGET:
            return f", stopped after {duration(rules['budget']['train_seconds'])} as the handout says"
        case StopReason.ERROR:
            return f"; then the script failed: {stopped.error}"
    return ""


def _notes(trial: "Trial") -> Iterator[str]:
    """What was set aside or supplied, as the grader's message would say it."""
    if trial.source is not None:
        yield from trial.source.notes
        if trial.source.blanks:
            yield f"These blanks still have their dots: {', '.join(trial.source.blanks)}."
    if trial.evaluated is not None:
        yield from trial.evaluated.notes


class Display:
    """Writes to a terminal, where its own line is written anew, or to a file, where that comes now and then.

    Plain characters and carriage returns only: every terminal knows these, a notebook's too.
    """

    def __init__(self, stream: TextIO, plan: Plan) -> None:
        self._stream, self._plan = stream, plan
        self._scene = Scene(time.monotonic())
        self._told: Running | None = None
        self._shown = ""
        self._output = OutputLines()

    def watch(self, event: Event) -> None:
        """Take in an event."""
        if isinstance(event, Printed):
            for line in self._output.feed(event.chunk):
                self._line(MARK + line)
        else:
            self._scene = after(self._scene, event, self._plan, time.monotonic())
            if not self._stream.isatty():
                self._tell()
        self._draw(self._status() if self._stream.isatty() else "")

    def close(self) -> None:
        """Write the script's last line, also where it did not end it, and take the own line away."""
        for line in self._output.feed(b"", final=True):
            self._line(MARK + line)
        self._draw("")

    def _tell(self) -> None:
        for run in self._scene.running:
            stage_is_new = self._told is None or self._told.stage is not run.stage
            if stage_is_new or (self._told and worth_a_line(self._told, run, self._plan)):
                self._line(self._status())
                self._told = run

    def _status(self) -> str:
        for run in self._scene.running:
            if run.stage is Stage.TRAINING and run.seconds is not None:
                return f"training: {training_line(run, self._plan, time.monotonic())}"
            return f"{run.stage} ..."
        return ""

    def _line(self, text: str) -> None:
        self._draw("")
        encoding = self._stream.encoding or "utf-8"
        print(text.encode(encoding, "replace").decode(encoding), file=self._stream, flush=True)

    def _draw(self, text: str) -> None:
        """Put a text in the place of the one that was drawn before; the last column stays free, or it would wrap."""
        text = text[: shutil.get_terminal_size().columns - 1]
        if text != self._shown:
            print(f"\r{text.ljust(len(self._shown))}" + ("" if text else "\r"), end="", file=self._stream, flush=True)
            self._shown = text
