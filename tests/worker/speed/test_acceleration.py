"""Channels-last weights are taken where they are faster and give the same scores, and nowhere else.

Bfloat16 is asked for by name, keeps weights in float32, and leaves a script's own precision alone.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from command import run_grader
from grader.records import BATCHED_DRAWS, CUDA_GRAPHS, OWN_LOADING
from grader.results.ledger import read_ledger
from grader.run.machine import usable_cores
from grader.worker.speed import acceleration
from grader.worker.speed.acceleration import Acceleration, Layout, Precision
from small_class import hand_in_small, keep_calibration

LONG = 10_000
IMAGES = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Network(nn.Module):
    """As small as can be, with all that could differ between two layouts."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.bn = nn.BatchNorm2d(6)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(6 * 16, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.fc(self.flat(self.dropout(self.bn(self.conv(images)).relu())[:, :, ::2, ::2]))
        return scores

    def flat(self, maps: torch.Tensor) -> torch.Tensor:
        return maps.flatten(1)


class ThatViews(Network):
    """A view of a map whose values lie in another order fails."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.fc(self.conv(images).view(len(images), -1)[:, :96])
        return scores


class ThatReadsMemory(Network):
    """The order of the memory decides what comes out."""

    def flat(self, maps: torch.Tensor) -> torch.Tensor:
        return torch.as_strided(self.conv(torch.ones(8, 3, 8, 8)), (8, 96), (96, 1))


@pytest.fixture
def faster(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Say which layout the clock finds faster; the steps themselves are taken."""
    real = acceleration.step_seconds

    def choose(channels_last: bool) -> None:
        def timed(network: nn.Module, forward: Any, images: torch.Tensor) -> float:
            assert real(network, forward, images) > 0
            return 1.0 if is_channels_last(network) == channels_last else 2.0

        monkeypatch.setattr(acceleration, "step_seconds", timed)

    return choose


def is_channels_last(network: Any) -> bool:
    return bool(network.conv.weight.is_contiguous(memory_format=torch.channels_last))


def trained(network: Network) -> torch.optim.SGD:
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    network(IMAGES).sum().backward()
    optimizer.step()
    return optimizer


def consider(network: Network, *, left: int = LONG, batch: int = 8, enabled: bool = True) -> Layout:
    chosen = Layout([trained(network)], enabled=enabled)
    chosen.consider(network, type(network).forward, IMAGES, batch, left)
    return chosen


def test_the_faster_layout_is_taken_with_the_optimizers_buffers(faster: Callable[[bool], None]) -> None:
    faster(True)
    network = Network()
    optimizer = trained(network)
    weight, before = network.conv.weight, network.conv.weight.detach().clone()
    state, statistics = torch.get_rng_state(), network.bn.state_dict()["running_mean"].clone()
    chosen = Layout([optimizer], enabled=True)
    chosen.consider(network, Network.forward, IMAGES, 8, LONG)
    assert is_channels_last(network)
    assert network.conv.weight is weight
    assert torch.equal(weight, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(network.bn.state_dict()["running_mean"], statistics)
    buffer = optimizer.state[weight]["momentum_buffer"]
    assert buffer.is_contiguous(memory_format=torch.channels_last)
    assert chosen.share(80) == pytest.approx(0.9)


def test_a_slower_layout_is_not_taken(faster: Callable[[bool], None]) -> None:
    faster(False)
    network = Network()
    assert consider(network).share(80) == 0
    assert not is_channels_last(network)


def test_tensor_cores_get_their_layout_whatever_the_clock_says(
    faster: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    faster(False)
    monkeypatch.setattr(acceleration, "_has_tensor_cores", lambda device: True)
    network = Network()
    assert consider(network).share(80) == pytest.approx(0.9)
    assert is_channels_last(network)


@pytest.mark.parametrize("kind", [ThatViews, ThatReadsMemory])
def test_a_network_that_does_not_work_alike_keeps_its_own(faster: Callable[[bool], None], kind: type[Network]) -> None:
    faster(True)
    network = kind()
    assert consider(network).share(80) == 0
    assert not is_channels_last(network)


@pytest.mark.parametrize("values", [{"left": 700}, {"batch": 7}, {"enabled": False}], ids=["short", "early", "off"])
def test_a_short_run_a_first_batch_and_an_optimization_that_is_off_change_nothing(
    faster: Callable[[bool], None], values: Any
) -> None:
    faster(True)
    network = Network()
    consider(network, **values)
    assert not is_channels_last(network)


class OneConvolution(nn.Module):
    """Remembers what its convolution gave."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)
        self.inside: list[torch.dtype] = []

    def forward(self, images: torch.Tensor) -> Any:
        maps = self.conv(images)
        self.inside.append(maps.dtype)
        return maps


class ThatGivesTwo(OneConvolution):
    def forward(self, images: torch.Tensor) -> Any:
        return super().forward(images), "not a tensor"


def test_a_forward_computes_in_bfloat16_and_gives_float32() -> None:
    network, precision = OneConvolution(), Precision(enabled=True)
    scores = precision.applied(network, OneConvolution.forward)(network, IMAGES)
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


@pytest.mark.parametrize(
    ("on_card", "graphs", "drawn_here"), [(True, True, True), (True, False, False), (False, False, True)]
)
def test_random_transforms_stay_with_their_workers_on_a_gpu_that_replays_no_graph(
    monkeypatch: pytest.MonkeyPatch, on_card: bool, graphs: bool, drawn_here: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: on_card)
    allowed = {OWN_LOADING, BATCHED_DRAWS, *[CUDA_GRAPHS] * graphs}
    assert Acceleration(allowed, "script", ()).loading._random() is drawn_here


def test_a_scripts_own_autocast_is_left_alone() -> None:
    network, precision = OneConvolution(), Precision(enabled=True)
    with torch.autocast("cpu", torch.float16):
        scores = precision.applied(network, OneConvolution.forward)(network, IMAGES)
    assert scores.dtype == torch.float16
    assert precision.share(1) == 0


def test_nobody_who_did_not_ask_gets_less_precision() -> None:
    assert Precision(enabled=False).applied(OneConvolution(), OneConvolution.forward) is OneConvolution.forward


@pytest.mark.sandbox
@pytest.mark.usefixtures("isolation")
def test_the_record_says_that_a_class_was_trained_in_bfloat16_and_it_is_graded_anew_without(
    tiny_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    hand_in_small(tmp_path / "class", "kim")
    command = ("grade", tmp_path / "class", "--data", tiny_data, "--out", out)
    finished = run_grader(*command, "--precision", "bfloat16")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "precision: training forward passes run in bfloat16" in finished.stdout
    (reduced,) = read_ledger(out).entries()
    assert dict(reduced.run.training.acceleration)["bfloat16"] == 1
    assert any("mixed precision" in note for note in reduced.run.notes)
    # On a machine so slow that it would ask first: the plan says enough.
    keep_calibration(out, 0.01, usable_cores())
    planned = run_grader(*command).stdout
    assert "to train: 1 submission, " in planned
    assert "precision" not in planned
