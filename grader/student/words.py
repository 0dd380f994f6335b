"""What a student is told after a trial: the accuracy, its points, the time; or why there is none."""

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

from grader.accuracy import accuracy_percent, exact_percent, in_band
from grader.data import DataSet
from grader.errors import Mistake
from grader.progress import work_seconds
from grader.protocol import Fault, Stopped
from grader.records import StopReason
from grader.report.pace import duration
from grader.student.display import MARK
from grader.student.trial import Trial

OF_CHANCE = (
    "The grade comes from the grader's own run. Chance moves the accuracy a little from\nrun to run, so leave a margin."
)


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
        f"{MARK.strip()} marks what your script prints. An accuracy there is of training images: inside\n"
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
        epochs = trial.stopped.samples / len(data.x_train)
        yield f"trained   {epochs:.2f} epochs in {duration(trial.stopped.seconds)}{_end(trial.stopped, rules)}"
    if trial.started is not None:
        yield f"in all    {duration(seconds)} on {trial.started.device}, torch {trial.started.torch_version}"
    yield ""
    yield from _notes(trial)
    if data.notice:
        yield data.notice
    yield OF_CHANCE


def estimate(trial: Trial, rules: dict[str, Any], data: DataSet) -> Iterator[str]:
    """How long a trial will take, from some timed steps.

    Raises:
        Mistake: The script did not train.
    """
    stopped, first, budget = trial.stopped, trial.first, rules["budget"]
    if stopped is None or not stopped.samples or stopped.seconds <= 0:
        raise Mistake(why_not(trial, rules) if stopped is None or stopped.error else "the script did not train")
    rate = stopped.samples / stopped.seconds
    if first is not None and stopped.samples > first.samples:
        # The first steps also set torch up.
        rate = (stopped.samples - first.samples) / (stopped.seconds - first.seconds)
    images, limit = budget["epochs"] * len(data.x_train), budget["train_seconds"]
    if stopped.reason == StopReason.FINISHED:
        images = stopped.samples
    yield f"your script trains {rate:.0f} images a second here"
    yield f"estimate  {duration(work_seconds(rate, images, limit, len(data.x_test)))} for training and test"
    if images / rate > limit:
        reached = limit * rate / len(data.x_train)
        yield f"after {duration(limit)} training ends here, {reached:.1f} of {budget['epochs']} epochs done: use a GPU"


def why_not(trial: Trial, rules: dict[str, Any]) -> str:
    """One sentence on why no network was tested, without a full stop."""
    said = trial.stopped.error if trial.stopped else ""
    detail = (trial.evaluated.detail if trial.evaluated else "") or said
    if trial.started is None:
        return f"the script could not be started (exit code {trial.exit_code}): see the lines above"
    if trial.stopped is None or trial.evaluated is None:
        return f"the script ended the interpreter (exit code {trial.exit_code}) before its network could be tested"
    match trial.evaluated.fault:
        case Fault.NO_NETWORK if trial.stopped.reason == StopReason.TIME_BUDGET:
            return f"the script did not begin to train within {duration(rules['limits']['setup_seconds'])}"
        case Fault.NO_NETWORK:
            return f"the script made no network of the class {rules['class_name']}"
        case Fault.SOURCE:
            return detail
    blanks = (
        f"; still to be filled in: {', '.join(trial.source.blanks)}" if trial.source and trial.source.blanks else ""
    )
    return f"the script failed before its network could be tested: {detail}{blanks}"


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
            yield f"Still to be filled in: {', '.join(trial.source.blanks)}."
    if trial.evaluated is not None:
        yield from trial.evaluated.notes
