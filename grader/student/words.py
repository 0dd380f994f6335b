"""What a student sees of a trial.

Meanwhile, the script's own lines and one of the grader's on how training goes; then the accuracy, its points and the
time, or why there is none.
"""

import shutil
import time
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any, TextIO

from grader.data import DataSet
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
from grader.student.trial import Trial
from grader.text import OutputLines, duration

OF_CHANCE = (
    "The grade comes from the grader's own run. Chance moves the accuracy a little from\nrun to run, so leave a margin."
)

MARK = "  | "


def opening(name: str, rules: dict[str, Any], data: DataSet, limit: float, *, test: bool) -> str:
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


def results(trial: Trial, rules: dict[str, Any], data: DataSet, correct: int, seconds: float) -> Iterator[str]:
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


def estimate(trial: Trial, rules: dict[str, Any], data: DataSet) -> Iterator[str]:
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


def why_not(trial: Trial, rules: dict[str, Any]) -> str:
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
        case Fault.NO_NETWORK if trial.stopped.reason == StopReason.TIME_BUDGET:
            return f"the script did not begin to train within {duration(rules['limits']['setup_seconds'])}"
        case Fault.NO_NETWORK:
            return f"the script made no network of the class {rules['class_name']}"
        case Fault.SOURCE:
            return detail
    blanks = (
        f"; these blanks are still empty: {', '.join(trial.source.blanks)}"
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


def _notes(trial: Trial) -> Iterator[str]:
    """What was set aside or supplied, as the grader's message would say it."""
    if trial.source is not None:
        yield from trial.source.notes
        if trial.source.blanks:
            yield f"These blanks are still empty: {', '.join(trial.source.blanks)}."
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
