"""Run the grader's worker on a student's own file, on the student's own machine.

No sandbox: it is the student's own code. No pipes either, since Windows hands none down: what the worker reads and
writes are files in a folder that both know. So this is the same on every system.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from grader.data import DataSet, replayed_images, replayed_scores, write_training_set
from grader.progress import Advanced, Printed, Stage, StageBegun, Watch
from grader.protocol import (
    BEGIN,
    LENGTH_BYTES,
    NETWORK,
    OVER,
    READY,
    Evaluated,
    Event,
    Exported,
    Progress,
    SourceRead,
    Started,
    Stopped,
    Task,
    from_json,
    to_json,
)
from grader.protocol.exported import NoNetwork, from_bytes, question
from grader.records import ROW_BYTES
from grader.student.observe import beside

_CODE = Path(__file__).parents[2]
_TICK_SECONDS = 0.2
_Kind = TypeVar("_Kind")


@dataclass(frozen=True, slots=True)
class Trial:
    """What the worker said, None where it did not come to that, and what it gave back.

    Attributes:
        first: The first news of training, about a second after its beginning.
        scores: For each image that was asked for, in order, ten little-endian float32; None if they did not all come.
        exit_code: Of the interpreter; negative for a signal.
    """

    started: Started | None
    source: SourceRead | None
    first: Progress | None
    stopped: Stopped | None
    evaluated: Evaluated | None
    scores: bytes | None
    exit_code: int


def try_file(file: Path, rules: dict[str, Any], data: DataSet, seconds: float, watch: Watch, *, test: bool) -> Trial:
    """Train one file in a process of its own, and ask its network about the test images.

    Args:
        rules: The assignment as its TOML file has it.
        seconds: The longest that training may take.
        watch: Told what happens, under the file's name.
        test: Whether to test the network after training; without, the training is only timed.

    Raises:
        OSError: The file cannot be read, or there is no room for a copy of the data.
    """
    images = data.x_test if test else data.x_test[:0]
    with tempfile.TemporaryDirectory(prefix="hw6-try-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        lay_out_job(folder, file, worker_task(rules, seconds, len(images)))
        for companion in beside(file)[: rules["limits"]["companions"]]:
            shutil.copyfile(companion, folder / "job" / "companions" / companion.name)
        write_training_set(data, folder / "training_set")
        with (folder / "report").open("rb") as report, (folder / "log").open("rb") as log:
            following = _Following(report, log, file.name, watch)
            with _started(folder) as process:
                try:
                    scores = _tested(folder, process, following, data, images)
                finally:
                    process.kill()
            following.follow()
    return following.trial(scores, process.returncode)


def _tested(
    folder: Path, process: subprocess.Popen[bytes], following: "_Following", data: DataSet, images: np.ndarray[Any, Any]
) -> bytes | None:
    """Scores of the images: of the network that the worker offers, replayed, or else the worker's own."""
    offered, runs = None, True
    while offered is None and runs:
        runs = _still_runs(process)
        following.follow()
        offered = _offered(folder / "scores")
    if offered is None:
        return None
    if offered and (scores := _replayed(folder / "replay", offered, data)):
        return scores
    with (folder / "images").open("ab") as questions:
        questions.write(images.tobytes())
    while _still_runs(process):
        following.follow()
    before = len(OVER + READY) + (LENGTH_BYTES + len(offered) if offered else 0)
    return _answer(folder / "scores", before, len(images))


def _still_runs(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process goes on after a moment."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_TICK_SECONDS)
    return process.returncode is None


def _answer(scores: Path, before: int, images: int) -> bytes | None:
    """The scores behind the bytes that came before them; None where they are not all there."""
    answer = scores.read_bytes()[before:]
    return answer if len(answer) == images * ROW_BYTES else None


def _offered(scores: Path) -> bytes | None:
    """The network that the worker has offered; empty where it offers none, None as long as that is not known."""
    with scores.open("rb") as file:
        said = file.read(len(OVER + READY))
        if said != OVER + NETWORK:
            return b"" if said == OVER + READY else None
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        network = file.read(length)
    return network if network and len(network) == length else None


def _replayed(folder: Path, network: bytes, data: DataSet) -> bytes | None:
    """The test images' scores of a network that is replayed in a process of its own; None where it is not faithful."""
    try:
        exported, _, own = from_bytes(network)
    except NoNetwork:
        return None
    images = replayed_images(data, exported.sample, data.x_test)
    folder.mkdir()
    (folder / "images").write_bytes(BEGIN + question(network, images.tobytes()))
    scores = folder / "scores"
    scores.touch()
    (folder / "report").touch()
    with _started(folder, "grader.replay.main") as process:
        try:
            while _still_runs(process) and _answer(scores, len(READY), len(images)) is None:
                pass
        finally:
            process.kill()
    answer = _answer(scores, len(READY), len(images))
    if answer is None:
        return None
    _, scored, differing = replayed_scores(answer, own)
    return None if differing else scored


def worker_task(rules: dict[str, Any], seconds: float, images: int) -> Task:
    """What the worker is to do with a file on its student's machine; no limits hold there."""
    return Task(
        mode="train",
        class_name=rules["class_name"],
        blocks=tuple(rules["blocks"]),
        seed=rules["seed"],
        epochs=rules["budget"]["epochs"],
        train_seconds=seconds,
        setup_seconds=rules["limits"]["setup_seconds"],
        images=images,
        learning_rates=tuple(rules["questions"]["learning_rates"]),
        acceleration=tuple(rules["acceleration"]),
        precision=rules["precision"],
        limited=False,
        processes=0,
        open_files=0,
        scratch_bytes=0,
        memory_bytes=0,
        card_share=1.0,
    )


def lay_out_job(folder: Path, file: Path, task: Task) -> None:
    """Put what the worker reads, and the empty files that it writes, into a folder."""
    for part in ("job", "job/companions"):
        (folder / part).mkdir()
    (folder / "job" / "submission").write_bytes(file.read_bytes())
    (folder / "job" / "task.json").write_text(to_json(task), encoding="utf-8")
    (folder / "images").write_bytes(BEGIN)
    for name in ("scores", "report", "log"):
        (folder / name).touch()


def _started(folder: Path, program: str = "grader.worker.main") -> subprocess.Popen[bytes]:
    """The worker, in an empty folder, with no more of the grader's world around it than the worker itself makes."""
    (folder / "scratch").mkdir(exist_ok=True)
    paths = [str(_CODE), *filter(None, [os.environ.get("PYTHONPATH")])]
    files = [str(folder / name) for name in ("images", "scores", "report", "job", "training_set")]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", program, *files],
            cwd=folder / "scratch",
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(paths),
                "PYTHONUNBUFFERED": "1",
                "PYTHONUTF8": "1",
                "MPLBACKEND": "Agg",
                # PyTorch makes it when an optimizer is made, and leaves it behind.
                "TORCHINDUCTOR_CACHE_DIR": str(folder / "cache"),
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


class _Following:
    """Reads what the worker reports and the script prints, while they write it."""

    def __init__(self, report: BinaryIO, log: BinaryIO, name: str, watch: Watch) -> None:
        self._report, self._log, self._name, self._watch = report, log, name, watch
        self._rest = b""
        self._events: list[Event] = []

    def follow(self) -> None:
        """Tell what is new."""
        if printed := self._log.read():
            self._watch(Printed(self._name, printed))
        *lines, self._rest = (self._rest + self._report.read()).split(b"\n")
        for line in lines:
            event = from_json(line.decode())
            self._events.append(event)
            self._tell(event)

    def trial(self, scores: bytes | None, exit_code: int) -> Trial:
        """Everything that was read."""
        exported = self._last(Exported)
        said = Evaluated(notes=exported.notes, flags=exported.flags) if exported and scores is not None else None
        return Trial(
            self._last(Started),
            self._last(SourceRead),
            next((event for event in self._events if isinstance(event, Progress)), None),
            self._last(Stopped),
            self._last(Evaluated) or said,
            scores,
            exit_code,
        )

    def _tell(self, event: Event) -> None:
        match event:
            case Started():
                self._watch(StageBegun(self._name, Stage.TRAINING))
            case Progress():
                self._watch(Advanced(self._name, event.samples, event.seconds, event.loss))
            case Stopped():
                self._watch(StageBegun(self._name, Stage.TESTING))

    def _last(self, kind: type[_Kind]) -> _Kind | None:
        return next((event for event in reversed(self._events) if isinstance(event, kind)), None)
