"""A fused step does what the default step does, and takes only what it can take whole."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import sgd

from grader.worker.speed import steps
from grader.worker.speed.steps import FusedSteps

STEPS = 5
SGD_OPTIONS: list[dict[str, Any]] = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4},
    {"momentum": 0.9, "dampening": 0.5, "maximize": True},
]


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> FusedSteps:
    """Steps on the processor, which has a fused form too, as steps on a GPU."""
    monkeypatch.setattr(steps, "_DEVICE", "cpu")
    watched = FusedSteps(enabled=True)
    monkeypatch.setattr(sgd, "_multi_tensor_sgd", watched.instead_of(sgd._multi_tensor_sgd))
    return watched


def trained(**options: Any) -> list[torch.Tensor]:
    """The weights after some steps in which the default form is one call for all weights."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 10))
    optimizer = torch.optim.SGD(network.parameters(), **{"lr": 0.1, "foreach": True} | options)
    for _ in range(STEPS):
        optimizer.zero_grad()
        network(torch.rand(4, 3, 8, 8)).square().mean().backward()
        optimizer.step()
    return list(network.parameters())


def alike(some: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    return all(torch.allclose(one, other, rtol=1e-5, atol=1e-7) for one, other in zip(some, others, strict=True))


@pytest.mark.parametrize("options", SGD_OPTIONS, ids=str)
def test_fused_steps_train_as_the_default_ones(
    options: dict[str, Any], fused: FusedSteps, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = trained(**options)
    # The first step makes the momentum's buffers.
    taken = STEPS - ("momentum" in options)
    assert fused.share(STEPS) == pytest.approx(taken / STEPS)
    monkeypatch.setattr(steps, "_DEVICE", "cuda")
    assert alike(found, trained(**options))


@pytest.mark.parametrize("options", [{"lr": torch.tensor(0.1)}, {"foreach": False}, {"fused": True, "foreach": None}])
def test_a_form_that_the_script_chose_stays(options: dict[str, Any], fused: FusedSteps) -> None:
    trained(momentum=0.9, **options)
    assert fused.share(STEPS) == 0


def test_a_step_that_the_fused_form_refuses_is_taken_once_in_the_default_form(
    fused: FusedSteps, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: Any, **__: Any) -> None:
        raise RuntimeError("params, grads must have same dtype, device, and layout")

    monkeypatch.setattr(sgd, "_fused_sgd", refuses)
    found = trained(momentum=0.9)
    assert fused.share(STEPS) == 0
    monkeypatch.setattr(steps, "_DEVICE", "cuda")
    assert alike(found, trained(momentum=0.9))
