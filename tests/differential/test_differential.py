"""A right script gets in the grader what it gets from `python hw6.py`: the same steps, weights, words and predictions.

Each file in scripts/ is an honest script in a style of its own. It runs bare, over files that torchvision itself reads,
and in the worker with the same seed, once without and once with what makes training faster: that is a student's trial,
too. The test images of the bare run are the stand-in's, so that what a script prints of them is the same too. And it
runs in the grader's check, and in the one that a student runs at home. A report of a script for which something differs
becomes a file there, and nothing else. Where something differs by design, the file says so at its top:

    # differs: printed, predictions: why
"""

import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from command import ROOT
from grader.assignment import DEFAULT_ASSIGNMENT
from grader.data import load_data, replayed_scores
from grader.judge.verdict import judge
from grader.protocol import (
    LENGTH_BYTES,
    Evaluated,
    Event,
    Exported,
    NetworkSeen,
    QuestionsSeen,
    SourceRead,
    Stopped,
    from_json,
)
from grader.protocol.exported import from_bytes, sample_rows
from grader.records import Answer, Verdict
from grader.replay.graph import Replayed
from grader.student.trial import Trial, lay_out_job, worker_task
from grader.worker.dataset import GraderCIFAR10, given, serve

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

HERE = Path(__file__).parent
# A folder is a script with what lies beside it.
SCRIPTS = sorted([*HERE.glob("scripts/*.py"), *HERE.glob("scripts/*/hw6.py")])
RULES = tomllib.loads(DEFAULT_ASSIGNMENT.read_text(encoding="utf-8"))
IMAGES = 200
EVERYTHING = ",".join(RULES["acceleration"])
WORLDS = ("bare", "none", EVERYTHING, "check", "home", "try")
BLOCKS = tuple(RULES["blocks"])
# Those whose networks are tested beside their scripts, and why; all others are replayed.
BESIDE_THE_SCRIPT: dict[str, str] = {}
Said = TypeVar("Said")
# What a script may say of itself; "home": it fails after its training, so it fails in a check that runs to its end.
ASPECTS = {"bare", "steps", "weights", "printed", "predictions", "home", "questions"}


@dataclass(frozen=True)
class Run:
    """What one run left.

    Attributes:
        shown: For each image that the network was shown in an evaluation, its ten scores, in order.
        scores: The grader's, for the test images in order; None where there are none.
        replayed: What a replay gives for them, of a network that the worker offered; None where it offered none.
        trial: What a student's trial found; None in the other worlds.
    """

    ended: str
    printed: str
    errors: str
    steps: list[str]
    shown: NDArray[np.float32]
    scores: NDArray[np.float32] | None
    replayed: NDArray[np.float32] | None
    said: list[Event]
    trial: Trial | None

    def last(self, kind: type[Said]) -> Said | None:
        return next((event for event in reversed(self.said) if isinstance(event, kind)), None)


def name_of(script: Path) -> str:
    return script.parent.name if script.name == "hw6.py" else script.stem


def differences(script: Path) -> set[str]:
    """What differs by design, as the script says."""
    found = re.findall(r"^# differs: ([a-z, ]+): \w", script.read_text(encoding="utf-8"), re.MULTILINE)
    named = {name.strip() for line in found for name in line.split(",")}
    assert named <= ASPECTS
    return named


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, made_in: str
) -> Iterator[dict[tuple[str, str], Run]]:
    """Every script that a test asks about, in every world."""
    calls = [getattr(item, "callspec", None) for item in request.session.items]
    scripts = list(dict.fromkeys(call.params["script"] for call in calls if call and "script" in call.params))
    digits = load_data("digits")
    images, labels = coloured(digits.x_train[:IMAGES]), digits.y_train[:IMAGES]
    folder = tmp_path_factory.mktemp("differential")
    before = given.arrays
    serve((images, labels), batched=False)
    test = GraderCIFAR10("", train=False)
    given.made.remove(test)
    serve(before, batched=False)
    started = []
    for world in WORLDS:
        folders = [folder / world / name_of(script) for script in scripts]
        for script, each in zip(scripts, folders, strict=True):
            lay_out(each, script, world, (images, labels), test)
        started.append(observed(world, folders, made_in))
    assert [process.wait() for process in started] == [0] * len(WORLDS)
    yield {
        (world, name_of(script)): left_in(folder / world / name_of(script), test.data)
        for world in WORLDS
        for script in scripts
    }
    shutil.rmtree(folder)


def coloured(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The digits are grey, and who mixes up the channels of grey images does nothing."""
    return np.stack([images[..., 0], images[..., 1] // 2, 255 - images[..., 2]], axis=-1)


@pytest.fixture(scope="module")
def made_in() -> Iterator[str]:
    """What takes the place of /tmp, which no sandbox empties here; its name is short enough for a socket in it."""
    with tempfile.TemporaryDirectory(prefix="seen-") as folder:
        yield folder


def observed(world: str, folders: list[Path], made_in: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", str(HERE / "observe.py"), world, str(RULES["seed"]), *map(str, folders)],
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "MPLBACKEND": "Agg"}
        | {"TMPDIR": made_in},
    )


def lay_out(
    folder: Path, script: Path, world: str, training: tuple[NDArray[np.uint8], NDArray[np.int64]], test: GraderCIFAR10
) -> None:
    folder.mkdir(parents=True)
    rules = RULES | {"acceleration": [] if world == "none" else RULES["acceleration"]}
    task = worker_task(rules, 60, len(test))
    lay_out_job(folder, script, replace(task, mode="check") if world == "check" else task)
    (folder / "scratch").mkdir()
    with (folder / "images").open("ab") as images:
        images.write(test.data.tobytes())
    beside = [path for path in script.parent.glob("*.py") if script.name == "hw6.py" and path != script]
    for path in beside:
        shutil.copyfile(path, folder / "job" / "companions" / path.name)
    (folder / "data").mkdir()
    np.save(folder / "data" / "x_train.npy", training[0])
    np.save(folder / "data" / "y_train.npy", training[1])
    np.save(folder / "data" / "x_test.npy", test.data)
    if world in ("bare", "home", "try"):
        for path in (script, *beside):
            shutil.copyfile(path, folder / "scratch" / ("hw6.py" if path == script else path.name))
    if world == "bare":
        write_batches(folder / "scratch" / "data" / "cifar-10-batches-py", training, test)


def write_batches(folder: Path, training: tuple[NDArray[np.uint8], NDArray[np.int64]], test: GraderCIFAR10) -> None:
    """The files that torchvision reads, which Python 2 has written for the real ones."""
    folder.mkdir(parents=True)
    parts = {f"data_batch_{number + 1}": part for number, part in enumerate(np.array_split(np.arange(IMAGES), 5))}
    for name, rows in parts.items():
        write_batch(folder / name, training[0][rows], training[1][rows].tolist())
    write_batch(folder / "test_batch", test.data, test.targets)
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": test.classes}))


def write_batch(path: Path, images: NDArray[np.uint8], labels: list[int]) -> None:
    flat = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    path.write_bytes(pickle.dumps({"data": flat, "labels": labels}))


def left_in(folder: Path, images: NDArray[np.uint8]) -> Run:
    # That training is over; then that the worker is ready, or its network; then the scores.
    said = (folder / "scores").read_bytes()[1:]
    length = LENGTH_BYTES + int.from_bytes(said[1:][:LENGTH_BYTES], "little") if said.startswith(b"N") else 0
    offered, scores = said[1 + LENGTH_BYTES : 1 + length], said[1 + length :]
    return Run(
        (folder / "ended").read_text(),
        (folder / "printed").read_text(encoding="utf-8", errors="replace"),
        (folder / "errors").read_text(encoding="utf-8", errors="replace"),
        (folder / "steps").read_text().split(),
        np.frombuffer((folder / "shown").read_bytes(), "<f4").reshape(-1, 10),
        np.frombuffer(scores, "<f4").reshape(-1, 10) if scores else None,
        replayed_in(folder, offered, images) if offered else None,
        [from_json(line) for line in (folder / "report").read_text().splitlines()],
        pickle.loads(tried.read_bytes()) if (tried := folder / "trial").exists() else None,
    )


def replayed_in(folder: Path, offered: bytes, images: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    """The scores of a network that was offered, if it is faithful: as `run/replay.py` decides."""
    network, weights, own = from_bytes(offered)
    training = np.load(folder / "data" / "x_train.npy")
    asked = np.concatenate([training[sample_rows(network.sample, len(training))], images])
    _, scores, differing = replayed_scores(Replayed(network, weights).scores(asked).astype("<f4").tobytes(), own)
    return None if differing else np.frombuffer(scores, "<f4").reshape(-1, 10)


def flags_of(run: Run) -> list[str]:
    return [flag for event in run.said if isinstance(event, Evaluated) for flag in event.flags]


def test_each_script_says_in_its_first_line_what_is_its_own() -> None:
    assert [script.name for script in SCRIPTS if not script.read_text(encoding="utf-8").startswith('"""')] == []
    assert len(SCRIPTS) >= 90


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_it_trains_as_it_does_bare(script: Path, runs: dict[tuple[str, str], Run]) -> None:
    bare, graded = runs["bare", name_of(script)], runs["none", name_of(script)]
    different = differences(script)
    assert graded.ended == "ended"
    assert graded.scores is not None, graded.errors[-3000:]
    if "bare" in different:
        assert len(graded.steps) == 20, graded.errors[-3000:]
        assert "accuracy" in graded.printed
        return
    assert bare.printed or bare.steps, bare.errors[-3000:]
    whole = len(graded.steps) if "steps" in different else None
    if "weights" in different:
        assert len(graded.steps) == len(bare.steps[:whole])
    else:
        assert graded.steps == bare.steps[:whole], graded.errors[-3000:]
    if "printed" not in different:
        assert graded.printed == bare.printed, graded.errors[-3000:]


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_its_network_is_tested_as_it_tests_itself(script: Path, runs: dict[tuple[str, str], Run]) -> None:
    bare, graded = runs["bare", name_of(script)], runs["none", name_of(script)]
    if differences(script) & {"bare", "predictions"}:
        return
    assert graded.scores is not None
    assert flags_of(graded) == [], "a teacher would look at it without a reason"
    own = bare.shown[-len(graded.scores) :]
    assert own.shape == graded.scores.shape
    # In other batches sums of a few hundred products differ in their last bits.
    assert np.abs(own - graded.scores).max() < 1e-4 * np.abs(own).max()


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_a_replay_of_its_network_gives_the_same_scores(script: Path, runs: dict[tuple[str, str], Run]) -> None:
    graded = runs["none", name_of(script)]
    assert graded.scores is not None
    if name_of(script) in BESIDE_THE_SCRIPT:
        assert graded.replayed is None, "it is replayed now: take it off the list"
        return
    assert graded.replayed is not None, graded.last(Exported)
    assert np.abs(graded.replayed - graded.scores).max() < 1e-4 * np.abs(graded.scores).max()


def test_nearly_all_networks_are_replayed() -> None:
    assert set(BESIDE_THE_SCRIPT) <= set(map(name_of, SCRIPTS))
    assert len(BESIDE_THE_SCRIPT) <= 0.05 * len(SCRIPTS)


@pytest.mark.parametrize("script", [HERE / "scripts" / "tutorial.py"], ids=name_of)
def test_nothing_is_said_of_a_script_that_needs_nothing(script: Path, runs: dict[tuple[str, str], Run]) -> None:
    evaluated = [event for event in runs["none", name_of(script)].said if isinstance(event, Evaluated)]
    assert [event.notes for event in evaluated] == [()]


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_it_runs_as_long_where_training_is_made_faster(script: Path, runs: dict[tuple[str, str], Run]) -> None:
    plain, faster = runs["none", name_of(script)], runs[EVERYTHING, name_of(script)]
    assert faster.scores is not None, faster.errors[-3000:]
    assert len(faster.steps) == len(plain.steps)


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_a_students_trial_finds_what_the_grader_finds(script: Path, runs: dict[tuple[str, str], Run]) -> None:
    graded, tried = runs[EVERYTHING, name_of(script)], runs["try", name_of(script)]
    trial, stopped, evaluated = tried.trial, graded.last(Stopped), graded.last(Evaluated)
    assert trial is not None, tried.errors[-3000:]
    assert trial.stopped is not None
    assert stopped is not None
    assert tried.steps == graded.steps
    assert replace(trial.stopped.training, seconds=0) == replace(stopped.training, seconds=0)
    assert (trial.stopped.reason, trial.stopped.error) == (stopped.reason, stopped.error)
    assert trial.evaluated == evaluated
    assert trial.scores is not None
    expected = graded.scores if graded.replayed is None else graded.replayed
    assert expected is not None
    assert np.abs(np.frombuffer(trial.scores, "<f4").reshape(-1, 10) - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_the_check_reads_it_and_flags_nothing(script: Path, runs: dict[tuple[str, str], Run]) -> None:
    check = runs["check", name_of(script)]
    source, network = check.last(SourceRead), check.last(NetworkSeen)
    assert source is not None
    assert (source.fault, source.blanks, source.suspicions) == ("", (), ())
    assert network is not None, check.errors[-3000:]
    judged = judge(network, BLOCKS)
    # These networks are small, so that they train in a second.
    assert judged.verdict is Verdict.DEVIATES
    assert judged.flags == ()


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_the_check_at_home_says_what_the_graders_says(script: Path, runs: dict[tuple[str, str], Run]) -> None:
    check, home = runs["check", name_of(script)], runs["home", name_of(script)]
    stopped, network, known = home.last(Stopped), home.last(NetworkSeen), check.last(NetworkSeen)
    assert stopped is not None, home.errors[-3000:]
    assert bool(stopped.error) == ("home" in differences(script)), stopped.error
    assert network is not None
    assert known is not None
    assert judge(network, BLOCKS) == judge(known, BLOCKS)
    questions = home.last(QuestionsSeen)
    assert questions is not None
    if "questions" in differences(script):
        return
    assert questions == check.last(QuestionsSeen)
    # Those that ask for another device than these scripts have are wrong in both.
    unsure = [question for question in questions.questions if question.answer is Answer.UNKNOWN]
    assert len(unsure) <= 1, unsure
