"""Training in bfloat16 is asked for by name, keeps weights in float32, and leaves a script's own precision alone."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from command import run_grader
from grader.results.ledger import read_ledger
from grader.worker.speed.acceleration import Precision
from small_class import hand_in_small

IMAGES = torch.ones(4, 3, 8, 8)


class Network(nn.Module):
    """Remembers what its convolution gave."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)
        self.inside: list[torch.dtype] = []

    def forward(self, images: torch.Tensor) -> Any:
        maps = self.conv(images)
        self.inside.append(maps.dtype)
        return maps


class ThatGivesTwo(Network):
    def forward(self, images: torch.Tensor) -> Any:
        return super().forward(images), "not a tensor"


def test_a_forward_computes_in_bfloat16_and_gives_float32() -> None:
    network, precision = Network(), Precision(enabled=True)
    scores = precision.applied(network, Network.forward)(network, IMAGES)
    scores.sum().backward()
    assert network.inside == [torch.bfloat16]
    assert scores.dtype == network.conv.weight.dtype == torch.float32
    assert network.conv.weight.grad is not None
    assert network.conv.weight.grad.dtype == torch.float32
    assert precision.share(2) == 0.5


def test_several_outputs_come_back_as_they_were() -> None:
    network = ThatGivesTwo()
    maps, other = Precision(enabled=True).applied(network, ThatGivesTwo.forward)(network, IMAGES)
    assert maps.dtype == torch.float32
    assert other == "not a tensor"


def test_a_scripts_own_autocast_is_left_alone() -> None:
    network, precision = Network(), Precision(enabled=True)
    with torch.autocast("cpu", torch.float16):
        scores = precision.applied(network, Network.forward)(network, IMAGES)
    assert scores.dtype == torch.float16
    assert precision.share(1) == 0


def test_nobody_who_did_not_ask_gets_less_precision() -> None:
    assert Precision(enabled=False).applied(Network(), Network.forward) is Network.forward


@pytest.mark.sandbox
@pytest.mark.usefixtures("isolation")
def test_the_record_says_that_a_class_was_trained_in_bfloat16_and_it_is_graded_anew_without(
    tiny_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    hand_in_small(tmp_path / "class", "kim")
    command = ("grade", tmp_path / "class", "--data", tiny_data, "--out", out)
    said = []
    for options in (("--precision", "bfloat16"), ()):
        finished = run_grader(*command, *options)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        said.append(finished.stdout)
    assert "precision: training forward passes run in bfloat16" in said[0]
    assert "precision" not in said[1]
    reduced, plain = read_ledger(out).entries()
    assert dict(reduced.run.training.acceleration)["bfloat16"] == 1
    assert dict(plain.run.training.acceleration)["bfloat16"] == 0
    assert any("mixed precision" in note for note in reduced.run.notes)
    assert not any("mixed precision" in note for note in plain.run.notes)
