"""A script that normalises in its loop is tested on images that went through the same step."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.transforms import ToTensor

from grader.worker.budget import Budget
from grader.worker.dataset import GraderCIFAR10, given
from grader.worker.evaluate import prepare
from grader.worker.preprocessing import Statistics

MEAN = torch.tensor([0.3, 0.5, 0.6]).reshape(3, 1, 1)
SPREAD = torch.tensor([0.05, 0.1, 0.2]).reshape(3, 1, 1)
LABELS = np.arange(200) % 10


def images(seed: int) -> np.ndarray[Any, Any]:
    """Each class has a brightness of its own in each channel."""
    noise = np.random.default_rng(seed).normal(0, 2, (200, 32, 32, 3))
    return np.clip(LABELS.reshape(-1, 1, 1, 1) * [8, 16, 20] + 20 + noise, 0, 255).astype(np.uint8)


class Brightness(nn.Module):
    """Right where the mean of an image is what normalising makes of it; or, `raw`, where it is what it was."""

    def __init__(self, raw: bool = False) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        every = torch.stack([ToTensor()(image) for image in images(0)])
        means = (every if raw else (every - MEAN) / SPREAD).mean(dim=(1, 2, 3))
        self.centres = torch.stack([means[label == LABELS].mean() for label in range(10)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -(x.mean(dim=(1, 2, 3))[:, None] - self.centres).abs() * self.scale


@pytest.fixture(autouse=True)
def _training_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given, "made", [])
    monkeypatch.setattr(given, "arrays", (images(0), LABELS))


def predicted(what_the_loop_does: Any, network: nn.Module) -> tuple[float, tuple[str, ...], tuple[str, ...]]:
    """Accuracy on new images, notes and flags."""
    GraderCIFAR10("./data", train=False, transform=ToTensor())
    statistics = Statistics()
    every = torch.stack([ToTensor()(image) for image in images(0)])
    for batch in torch.split(every, 20):
        statistics.add(what_the_loop_does(batch))
    budget = cast(Budget, SimpleNamespace(network=network, batch_size=20, statistics=statistics))
    prepared = prepare(budget, images(0))
    rows = np.frombuffer(prepared.predict(images(1)), "<f4").reshape(200, 10)
    return float((rows.argmax(axis=1) == LABELS).mean()), prepared.notes, prepared.flags


def test_a_step_of_the_loop_that_is_seen_at_the_network_needs_nobody_to_look() -> None:
    accuracy, notes, flags = predicted(lambda batch: (batch - MEAN) / SPREAD, Brightness())
    assert accuracy > 0.95
    assert "saw at your network" in notes[-1]
    assert flags == ()


def test_a_step_of_the_loop_is_found_again_and_told() -> None:
    accuracy, notes, flags = predicted(lambda batch: (batch.flip(-1) - MEAN) / SPREAD, Brightness())
    assert accuracy > 0.95
    assert "Your loop normalises each batch" in notes[-1]
    assert flags[-1].startswith("the grader brought the test images to the same mean and spread")


def test_a_step_that_explains_nothing_is_left_out_and_told() -> None:
    accuracy, notes, flags = predicted(lambda batch: batch.flip(-1) * 7 - 3, Brightness(raw=True))
    assert accuracy > 0.95
    assert "the transform of your test set only" in notes[-1]
    assert flags[0].startswith("preprocessing differs")


def test_a_script_that_does_nothing_in_its_loop_is_left_alone() -> None:
    _, notes, flags = predicted(lambda batch: batch, Brightness())
    assert not [note for note in notes if "loop" in note]
    assert flags == ()
