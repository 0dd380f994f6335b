"""Replayed steps train a network as its own forward does, whatever the script does around them.

There is no GPU here: `Tape` stands for a captured graph, with buffers that each replay overwrites, as CUDA's are.
"""

import random
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from grader.worker import channel
from grader.worker.speed import cuda_graph, graphs
from grader.worker.speed.graphs import Graphs

LONG = 10_000
CHANCE = torch.Generator().manual_seed(0)
BATCHES = [torch.randn(4, 3, 8, 8, generator=CHANCE) for _ in range(6)]


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(4 * 64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.fc(self.dropout(self.bn(self.conv(images)).relu()).flatten(1))
        return scores


class Tape:
    """A forward and its backward in buffers of their own."""

    def __init__(
        self, function: Callable[..., Any], images: torch.Tensor, leaves: list[torch.Tensor], gradients: Any
    ) -> None:
        self.function, self.images, self.leaves, self.gradients = function, images.clone(), leaves, gradients
        for _ in range(3):  # capturing warms up
            self.output = cuda_graph.step(function, self.images, leaves)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.images.copy_(images)
        with torch.enable_grad():
            self.recorded = self.function(self.images)
        return self.output.copy_(self.recorded.detach())

    def backward(self, gradient: torch.Tensor) -> torch.Tensor:
        found = torch.autograd.grad(self.recorded, self.leaves, gradient, retain_graph=True, allow_unused=True)
        self.gradients.fill(found)
        flat: torch.Tensor = self.gradients.buffer
        return flat


@pytest.fixture(autouse=True)
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "_DEVICE", "cpu")
    monkeypatch.setattr(graphs, "CudaGraph", Tape)
    monkeypatch.setattr(channel, "_sentences", {})


def usual(network: Network, forward: Callable[..., Any], optimizer: Any) -> None:
    for images in BATCHES:
        optimizer.zero_grad()
        forward(network, images).square().mean().backward()
        optimizer.step()


def without_zero_grad(network: Network, forward: Callable[..., Any], optimizer: Any) -> None:
    for images in BATCHES:
        forward(network, images).square().mean().backward()
        optimizer.step()


def zeros_kept(network: Network, forward: Callable[..., Any], optimizer: Any) -> None:
    for images in BATCHES:
        optimizer.zero_grad(set_to_none=False)
        forward(network, images).square().mean().backward()
        optimizer.step()


def zero_grad_between(network: Network, forward: Callable[..., Any], optimizer: Any) -> None:
    for images in BATCHES:
        loss = forward(network, images).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def every_second_step(network: Network, forward: Callable[..., Any], optimizer: Any) -> None:
    for number, images in enumerate(BATCHES):
        forward(network, images).square().mean().backward()
        if number % 2:
            optimizer.step()
            optimizer.zero_grad()


def two_before_one_backward(network: Network, forward: Callable[..., Any], optimizer: Any) -> None:
    for images, other in zip(BATCHES[::2], BATCHES[1::2], strict=True):
        optimizer.zero_grad()
        (forward(network, images).square().mean() + forward(network, other).abs().mean()).backward()
        optimizer.step()


def keeps_outputs(network: Network, forward: Callable[..., Any], optimizer: Any) -> None:
    kept = []
    for images in BATCHES:
        optimizer.zero_grad()
        kept.append(forward(network, images))
        kept[-1].square().mean().backward()
        optimizer.step()
    with torch.no_grad():
        network.fc.bias.add_(torch.stack(kept).sum((0, 1)))


def other_shapes(network: Network, forward: Callable[..., Any], optimizer: Any) -> None:
    for images in BATCHES:
        for part in (images, images[:3], images.double().float().requires_grad_()):
            optimizer.zero_grad()
            forward(network, part).square().mean().backward()
            optimizer.step()


def asks_for_the_images_gradient(network: Network, forward: Callable[..., Any], optimizer: Any) -> None:
    for images in BATCHES:
        optimizer.zero_grad()
        watched = images.clone().requires_grad_()
        forward(network, watched).square().mean().backward()
        assert watched.grad is not None
        optimizer.step()
        forward(network, images + watched.grad).square().mean().backward()
        optimizer.step()


def freezes_a_layer(network: Network, forward: Callable[..., Any], optimizer: Any) -> None:
    usual(network, forward, optimizer)
    network.conv.requires_grad_(False)
    usual(network, forward, optimizer)
    network.bn.eval()
    usual(network, forward, optimizer)


def changes_a_rate_of_dropout(network: Network, forward: Callable[..., Any], optimizer: Any) -> None:
    usual(network, forward, optimizer)
    network.dropout.p = 0.1
    usual(network, forward, optimizer)


def goes_back_twice(network: Network, forward: Callable[..., Any], optimizer: Any) -> None:
    for images in BATCHES:
        optimizer.zero_grad()
        loss = forward(network, images).square().mean()
        loss.backward(retain_graph=True)
        loss.backward()
        optimizer.step()


SCRIPTS = (
    *(usual, without_zero_grad, zeros_kept, zero_grad_between, every_second_step),
    *(two_before_one_backward, keeps_outputs, other_shapes, freezes_a_layer),
    *(asks_for_the_images_gradient, changes_a_rate_of_dropout, goes_back_twice),
)


def trained(script: Callable[..., None], network: nn.Module, *, replayed: bool) -> tuple[dict[str, Any], float]:
    """The state that a script's steps leave, and the share of 100 batches that were replayed."""
    chosen = Graphs(enabled=replayed)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    torch.manual_seed(1)

    def forward(network: nn.Module, *args: Any) -> Any:
        return chosen.applied(network, type(network).forward, args[0], 10, LONG)(network, *args)

    script(network, forward, optimizer)
    return network.state_dict(), chosen.share(100)


def new_network(kind: type[Network] = Network) -> Network:
    torch.manual_seed(0)
    return kind()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_replayed_steps_leave_what_a_script_s_own_steps_leave(script: Callable[..., None]) -> None:
    expected, never = trained(script, new_network(), replayed=False)
    found, share = trained(script, new_network(), replayed=True)
    assert share > 0
    assert never == 0
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=1e-4, atol=1e-6), name


class ThatReadsItsValues(Network):
    """What a capture cannot follow raises in it."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("operation not permitted when stream is capturing")


class ThatCountsItsCalls(Network):
    """The way through the code changes from call to call; a graph has one."""

    calls = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return super().forward(images) * self.calls


class ThatCountsElsewhere(Network):
    """The same, where nobody looks."""

    calls: ClassVar[list[None]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls.append(None)
        return super().forward(images) * len(self.calls)


class ThatKeepsItsFeatures(Network):
    """What it keeps would be a buffer of the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.kept.append(images)
        return super().forward(images)


class ThatDrawsOnTheProcessor(Network):
    """A graph would repeat the first draw for ever."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) * (1 + 0 * random.random())


class WithAWeightOfItsOwn(Network):
    """A weight that is no parameter would get no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = [torch.ones((), requires_grad=True)]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) * self.hidden[0]


class ThatHasAHook(Network):
    def __init__(self) -> None:
        super().__init__()
        self.conv.register_forward_hook(lambda *_: None)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (ThatReadsItsValues, "capturing"),
        (ThatCountsItsCalls, "changes an attribute"),
        (ThatCountsElsewhere, "other numbers"),
        (ThatKeepsItsFeatures, "changes an attribute"),
        (ThatDrawsOnTheProcessor, "draws random numbers"),
        (WithAWeightOfItsOwn, "none of its parameters"),
        (ThatHasAHook, "hooks"),
    ],
)
def test_a_network_that_a_graph_does_not_fit_keeps_its_own_forward_and_the_record_says_so(
    kind: type[Network], why: str
) -> None:
    network = new_network(kind)
    chosen = Graphs(enabled=True)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state, drawn = torch.get_rng_state(), random.getstate()
    assert chosen.in_sight
    assert chosen.applied(network, kind.forward, BATCHES[0], 10, LONG) is kind.forward
    assert chosen.share(10) == 0
    assert not chosen.in_sight
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert random.getstate() == drawn
    assert not getattr(network, "kept", None)
    assert not vars(network).get("calls")
    assert all(weight.grad is None for weight in network.parameters())
    (said,) = channel.all_notes()
    assert why in said


def test_a_network_whose_state_changed_for_good_is_captured_anew() -> None:
    network = new_network()
    chosen = Graphs(enabled=True)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)

    def forward(network: nn.Module, *args: Any) -> Any:
        return chosen.applied(network, type(network).forward, args[0], 10, LONG)(network, *args)

    usual(network, forward, optimizer)
    assert chosen.share(6) == 1
    network.dropout.p = 0.1
    for _ in range(4):
        usual(network, forward, optimizer)
    # Ten batches by its own forward, then fourteen replayed.
    assert chosen.share(30) == pytest.approx(20 / 30)


@pytest.mark.parametrize("values", [{"batches": 9}, {"left": 700}], ids=["early", "short"])
def test_the_first_batches_and_a_short_run_are_not_captured(values: dict[str, int]) -> None:
    network = new_network()
    given = {"batches": 10, "left": LONG} | values
    assert Graphs(enabled=True).applied(network, Network.forward, BATCHES[0], **given) is Network.forward


def test_a_network_on_the_processor_is_not_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "_DEVICE", "cuda")
    network = new_network()
    assert Graphs(enabled=True).applied(network, Network.forward, BATCHES[0], 10, LONG) is Network.forward
