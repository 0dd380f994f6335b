"""One process tests the networks of a slot, one after another, and none is left."""

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms import Compose, ToTensor

from grader.assignment import Assignment
from grader.data import DataSet, load_data
from grader.protocol.exported import question, sample_rows
from grader.records import SCORE_DTYPE
from grader.run.replay import Replay, Replayer, Replayers
from grader.run.worker_client import EquippedSlot
from grader.sandbox import Isolation
from grader.worker.evaluate import Prepared
from grader.worker.export import export
from grader.worker.preprocessing import Preparation
from grader.worker.tensors import named_tensors

pytestmark = pytest.mark.sandbox

SAMPLE, BATCH = 8, 4


@pytest.fixture
def data(tiny_data: Path) -> DataSet:
    return load_data(str(tiny_data))


@pytest.fixture
def slot(isolation: Isolation, tmp_path: Path) -> EquippedSlot:
    return EquippedSlot(0, 1, isolation, None, tmp_path, threading.Event(), lambda _: None)


@pytest.fixture
def replayer(slot: EquippedSlot) -> Iterator[Replayer]:
    with closing(Replayer(slot)) as started:
        yield started


def linear(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))


def shown(images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> torch.Tensor:
    return torch.stack([ToTensor()(Image.fromarray(image)) for image in images])


def offered(network: nn.Module, data: DataSet, lie: float = 0.0, step: Any = None) -> bytes:
    """What a worker offers of a network; `lie` is added to the scores that it claims to give.

    Args:
        step: What an image goes through after `ToTensor`.
    """
    sample = data.x_train[sample_rows(SAMPLE, len(data.x_train))]
    transform = ToTensor() if step is None else Compose([ToTensor(), step])
    images = shown(sample) if step is None else torch.stack([step(image) for image in shown(sample)])
    with torch.no_grad():
        scores = (network(images) + lie * torch.arange(10)).numpy().astype(SCORE_DTYPE).tobytes()
    preparation = Preparation(transform)
    return export(Prepared(network, named_tensors(network), preparation, images[:BATCH], sample, scores))


def replayed(replayer: Replayer, network: bytes, data: DataSet, assignment: Assignment) -> Replay:
    return replayer.replay(network, data, assignment.limits, threading.Event())


def replaying() -> list[int]:
    """The processes that replay networks for this one."""
    everyone = psutil.Process().children(recursive=True)
    return [each.pid for each in everyone if "grader.replay.main" in each.cmdline() and "bwrap" not in each.name()]


def test_one_process_gives_every_network_its_own_scores(
    replayer: Replayer, data: DataSet, assignment: Assignment
) -> None:
    used = []
    for seed in (1, 2):
        network = linear(seed)
        replay = replayed(replayer, offered(network, data), data, assignment)
        assert replay.scores is not None, replay.why_not
        with torch.no_grad():
            own = network(shown(data.x_test)).numpy()
        assert np.allclose(np.frombuffer(replay.scores, SCORE_DTYPE).reshape(-1, 10), own, atol=1e-5)
        assert replay.network is not None
        assert [node.op for node in replay.network.nodes] == ["input", "linear"]
        used.append(replaying())
    assert used[0] == used[1] != []


def test_test_images_are_replayed_in_an_order_that_no_network_knows(
    replayer: Replayer, data: DataSet, assignment: Assignment, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []

    def kept(network: bytes, images: bytes) -> bytes:
        asked.append(images)
        return question(network, images)

    monkeypatch.setattr("grader.run.replay.question", kept)
    network = offered(linear(1), data)
    first, second = (replayed(replayer, network, data, assignment).scores or b"" for _ in range(2))
    assert np.allclose(np.frombuffer(first, SCORE_DTYPE), np.frombuffer(second, SCORE_DTYPE), atol=1e-5)
    assert len(first) == len(data.x_test) * 40
    assert asked[0] != asked[1]
    assert not any(data.x_test.tobytes() in each for each in asked)


def test_scores_that_are_not_the_networks_are_told_and_give_none(
    replayer: Replayer, data: DataSet, assignment: Assignment
) -> None:
    replay = replayed(replayer, offered(linear(1), data, lie=1.0), data, assignment)
    assert (replay.scores, replay.network) == (None, None)
    assert replay.why_not == "its recorded forward scores 8 of 8 training images differently"


def test_steps_before_a_network_that_may_do_its_work_are_a_flag(
    replayer: Replayer, data: DataSet, assignment: Assignment
) -> None:
    table, mean, heavy = torch.arange(100.0), torch.rand(3, 32, 32), torch.rand(3, 3, 32, 32)

    def looks_up(image: torch.Tensor) -> torch.Tensor:
        return image + table[(image.mean().reshape(1) * 99).long()]

    expected = {
        lambda image: (image - image.mean()) / image.std(): "",
        lambda image: image[[2, 1, 0]] * mean: "",
        looks_up: "index among them",
        lambda image: (image * heavy).mean(dim=0): "9,216 numbers",
        lambda image: torch.einsum("chw,dhw->dhw", image, mean): "among them",
    }
    for step, said in expected.items():
        replay = replayed(replayer, offered(linear(1), data, step=step), data, assignment)
        assert replay.scores is not None, replay.why_not
        assert said in "".join(flag.words for flag in replay.flags)
        assert bool(replay.flags) is bool(said)


def test_what_is_no_network_never_reaches_the_process(
    replayer: Replayer, data: DataSet, assignment: Assignment
) -> None:
    replay = replayed(replayer, b"no network at all", data, assignment)
    assert "is no network" in replay.why_not
    assert replaying() == []


def test_after_a_network_that_fails_the_next_one_gets_another_process(
    replayer: Replayer, data: DataSet, assignment: Assignment
) -> None:
    whole = offered(linear(1), data)
    # Another shape of as many bytes: a network that is well formed, and fails when it runs.
    broken = whole.replace(b'"shape": [10, 3072]', b'"shape": [3072, 10]')
    assert broken != whole
    replay = replayed(replayer, broken, data, assignment)
    assert replay.scores is None
    assert replay.why_not.startswith("its recorded forward fails when it is run again (RuntimeError: ")
    assert replaying() == []
    assert replayed(replayer, whole, data, assignment).scores is not None


def test_a_slot_with_other_threads_gets_a_process_of_its_own_and_none_is_left(
    slot: EquippedSlot, data: DataSet, assignment: Assignment
) -> None:
    network, replayers = offered(linear(1), data), Replayers()
    with closing(replayers):
        first = replayers.at(slot)
        # Each run of a slot has an end and a watcher of its own.
        assert replayers.at(replace(slot, cancelled=threading.Event(), watch=print)) is first
        # A replay takes turns on a card, whether the submission shares it through MPS or not.
        assert replayers.at(replace(slot, mps_pipe=Path("pipe"))) is first
        assert replayed(first, network, data, assignment).scores is not None
        (before,) = replaying()
        other = replayers.at(replace(slot, threads=2))
        assert not psutil.pid_exists(before)
        assert replayed(other, network, data, assignment).scores is not None
    assert replaying() == []
