"""Replayed steps train a network on a GPU as its own forward does, and a capture that fails harms nothing."""

import copy
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim import sgd

from grader.worker import channel
from grader.worker.speed.graphs import Graphs
from grader.worker.speed.steps import FusedSteps

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")]

REFERENCE = Path(__file__).parents[2] / "reference" / "hw6.py"
STEPS, BATCH, LONG = 30, 4, 1_000_000
# The first ten batches are the network's own; the eleventh is captured before it is replayed.
OWN_BATCHES = 10
# Of what training changed, by its norm.
TOLERANCE = 1e-3


def reference() -> Any:
    spec = importlib.util.spec_from_file_location("reference_hw6", REFERENCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def new_network() -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = reference().IdentityResNet(1, 1, 1, 1)
    return network.cuda()


class Dropping(nn.Module):
    """A network that draws random numbers on the GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1)
        self.bn = nn.BatchNorm2d(16)
        self.dropout = nn.Dropout(0.3)
        self.fc = nn.Linear(16, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = functional.relu(self.bn(self.conv(images))).mean(dim=(2, 3))
        scores: torch.Tensor = self.fc(self.dropout(features))
        return scores


class ReadsItsValues(Dropping):
    """Reads a value on the processor, which nothing can do while it is captured."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) * (1 + abs(images.mean().item()))


class Training:
    """A training as a script does it, with its forward replayed where that is allowed."""

    def __init__(self, network: nn.Module, *, replayed: bool) -> None:
        self.network, self.graphs = network, Graphs(enabled=replayed)
        self.optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
        self.criterion: Any = nn.CrossEntropyLoss()
        self.batches = 0
        torch.manual_seed(1)
        chance = torch.Generator().manual_seed(2)
        self.images = torch.randn(STEPS, BATCH, 3, 32, 32, generator=chance).cuda()
        self.labels = torch.randint(0, 10, (STEPS, BATCH), generator=chance).cuda()
        # Scripts keep their last loss, and with it the graph of its step.
        self.kept: Any = None

    def forward(self, images: torch.Tensor, network: nn.Module | None = None) -> Any:
        network = network or self.network
        own = type(network).forward
        if torch.is_grad_enabled():
            own = self.graphs.applied(network, own, images, self.batches, LONG)
            self.batches += 1
        return own(network, images)

    def loss(self, step: int) -> Any:
        self.kept = self.criterion(self.forward(self.images[step]), self.labels[step])
        return self.kept


def usual(training: Training) -> None:
    for step in range(STEPS):
        training.optimizer.zero_grad()
        training.loss(step).backward()
        training.optimizer.step()


def zeroes_the_network(training: Training) -> None:
    for step in range(STEPS):
        training.network.zero_grad()
        training.loss(step).backward()
        training.optimizer.step()


def zeroes_in_place(training: Training) -> None:
    for step in range(STEPS):
        training.optimizer.zero_grad(set_to_none=False)
        training.loss(step).backward()
        training.optimizer.step()


def adds_up_two_batches(training: Training) -> None:
    for step in range(STEPS):
        training.loss(step).backward()
        if step % 2:
            training.optimizer.step()
            training.optimizer.zero_grad()


def clips_and_schedules(training: Training) -> None:
    scheduler = torch.optim.lr_scheduler.OneCycleLR(training.optimizer, max_lr=0.02, total_steps=STEPS)
    for step in range(STEPS):
        training.optimizer.zero_grad()
        training.loss(step).backward()
        nn.utils.clip_grad_norm_(training.network.parameters(), 1.0)
        training.optimizer.step()
        scheduler.step()


def mixed_precision(training: Training) -> None:
    scaler = torch.amp.GradScaler("cuda", init_scale=128.0)
    for step in range(STEPS):
        training.optimizer.zero_grad()
        with torch.autocast("cuda", dtype=torch.float16):
            loss = training.loss(step)
        scaler.scale(loss).backward()
        scaler.step(training.optimizer)
        scaler.update()


def evaluates_in_between(training: Training) -> None:
    for step in range(STEPS):
        if step % 5 == 4:
            training.network.eval()
            with torch.no_grad():
                training.forward(training.images[step])
            training.network.train()
        training.optimizer.zero_grad()
        training.loss(step).backward()
        training.optimizer.step()


def ends_with_a_short_batch(training: Training) -> None:
    for step in range(STEPS):
        rows = BATCH - 1 if step % 5 == 4 else BATCH
        training.optimizer.zero_grad()
        scores = training.forward(training.images[step][:rows])
        training.criterion(scores, training.labels[step][:rows]).backward()
        training.optimizer.step()


def trains_a_second_network(training: Training) -> None:
    other = copy.deepcopy(training.network)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.01)
    for step in range(STEPS):
        for network, steps in ((training.network, training.optimizer), (other, optimizer)):
            steps.zero_grad()
            scores = training.forward(training.images[step], network)
            training.criterion(scores, training.labels[step]).backward()
            steps.step()


def changes_its_weights_place(training: Training) -> None:
    usual(training)
    for weight in training.network.parameters():
        weight.data = weight.data.clone()
    usual(training)


SCRIPTS = (
    *(usual, zeroes_the_network, zeroes_in_place, adds_up_two_batches, clips_and_schedules, mixed_precision),
    *(evaluates_in_between, ends_with_a_short_batch, trains_a_second_network, changes_its_weights_place),
)


@pytest.fixture(autouse=True)
def repeatable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(channel, "_sentences", {})
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    yield
    torch.cuda.synchronize()


def difference(script: Callable[[Training], None], network: nn.Module) -> tuple[float, float]:
    """How far a replayed training is from the network's own, in parts of what it changed; the share replayed."""
    states = []
    for replayed in (False, True):
        training = Training(copy.deepcopy(network), replayed=replayed)
        script(training)
        states.append(torch.cat([value.double().flatten() for value in training.network.state_dict().values()]))
        share = training.graphs.share(training.batches)
    before = torch.cat([value.double().flatten() for value in network.state_dict().values()])
    return float((states[1] - states[0]).norm() / (states[0] - before).norm()), share


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_replayed_steps_leave_what_the_network_s_own_steps_leave(script: Callable[[Training], None]) -> None:
    off, share = difference(script, new_network())
    print(f"{script.__name__}: off by {off:.2e}, {share:.0%} replayed, {channel.all_notes()}")
    assert share > 0.25
    assert off < TOLERANCE


@pytest.mark.parametrize("script", [usual, clips_and_schedules, mixed_precision], ids=lambda script: script.__name__)
def test_fused_steps_leave_what_default_steps_leave(
    script: Callable[[Training], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, fused, states = new_network(), FusedSteps(enabled=True), []
    default = sgd._multi_tensor_sgd
    for step in (default, fused.instead_of(default)):
        monkeypatch.setattr(sgd, "_multi_tensor_sgd", step)
        training = Training(copy.deepcopy(network), replayed=True)
        script(training)
        states.append(torch.cat([value.double().flatten() for value in training.network.state_dict().values()]))
    before = torch.cat([value.double().flatten() for value in network.state_dict().values()])
    off = float((states[1] - states[0]).norm() / (states[0] - before).norm())
    print(f"fused steps, {script.__name__}: off by {off:.2e}, {fused.share(STEPS):.0%} fused")
    assert fused.share(STEPS) > 0.9
    assert off < TOLERANCE


def test_a_network_in_channels_last_is_replayed_too() -> None:
    off, share = difference(usual, new_network().to(memory_format=torch.channels_last))
    print(f"channels-last: off by {off:.2e}, {share:.0%} replayed, {channel.all_notes()}")
    assert share > 0.5
    assert off < TOLERANCE


def test_random_numbers_on_the_gpu_are_those_of_the_network_s_own_steps() -> None:
    torch.manual_seed(0)
    off, share = difference(usual, Dropping().cuda())
    print(f"dropout: off by {off:.2e}, {share:.0%} replayed, {channel.all_notes()}")
    assert share > 0.5
    assert off < TOLERANCE


def test_a_capture_that_fails_leaves_the_training_and_the_gpu_as_they_were() -> None:
    torch.manual_seed(0)
    off, share = difference(usual, ReadsItsValues().cuda())
    print(f"fails: off by {off:.2e}, {share:.0%} replayed, {channel.all_notes()}")
    assert share == 0
    assert off < 1e-6
    assert len(channel.all_notes()) == 1
    # The allocator, the generator and another capture work on.
    off, share = difference(usual, Dropping().cuda())
    print(f"after it: off by {off:.2e}, {share:.0%} replayed")
    assert share > 0.5
    assert off < TOLERANCE
