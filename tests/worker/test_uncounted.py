"""Training that the counter does not see is noticed by the steps, the gradients and the programs that it needs."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from grader.worker.uncounted import Uncounted, starts_python


@pytest.fixture
def uncounted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Uncounted]:
    """What counts until the test's end; an audit hook cannot be taken off again."""
    made = Uncounted()
    for module in (torch.autograd, torch.autograd.graph):
        monkeypatch.setattr(module, "_engine_run_backward", made.backward)
    sys.addaudithook(made.audit)
    hook = register_optimizer_step_post_hook(made.step)
    yield made
    hook.remove()


def take_steps(optimizer: torch.optim.Optimizer, count: int) -> None:
    for _ in range(count):
        optimizer.step()


def pass_back(times: int) -> None:
    network = nn.Linear(2, 2)
    for _ in range(times):
        network(torch.ones(1, 2)).sum().backward()


def test_many_steps_without_counted_batches_are_noticed(uncounted: Uncounted) -> None:
    take_steps(torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1), 30)
    take_steps(torch.optim.Adam(nn.Linear(2, 2).parameters()), 30)
    assert uncounted.doubts(batches=1) == (
        "60 optimizer steps, but IdentityResNet learned from 1 batches: something else may have been trained",
    )


def test_a_step_for_each_batch_and_two_optimizers_are_no_doubt(uncounted: Uncounted) -> None:
    take_steps(torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1), 200)
    assert uncounted.doubts(batches=200) == ()
    assert uncounted.doubts(batches=75) == ()


def test_many_gradients_without_counted_batches_are_noticed(uncounted: Uncounted) -> None:
    pass_back(30)
    weight = torch.ones(2, requires_grad=True)
    for _ in range(30):
        torch.autograd.grad(weight.sum(), [weight])
    assert uncounted.doubts(batches=4) == (
        "60 backward passes, but IdentityResNet learned from 4 batches: something else may have been trained",
    )
    assert uncounted.doubts(batches=5) == ()


def test_what_a_forked_child_does_is_noticed(uncounted: Uncounted) -> None:
    child = os.fork()
    if child == 0:
        pass_back(60)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert "60 backward passes" in uncounted.doubts(batches=0)[0]


def test_a_pass_inside_a_pass_is_one(uncounted: Uncounted) -> None:

    class Checkpointed(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
            return x * 1

        @staticmethod
        def backward(ctx: object, gradient: torch.Tensor) -> torch.Tensor:
            with torch.enable_grad():
                pass_back(10)
            return gradient

    Checkpointed.apply(torch.ones(1, requires_grad=True)).sum().backward()
    assert uncounted._counts.tolist() == [0, 1, 0]


def test_no_gradient_is_computed_once_training_is_over(uncounted: Uncounted) -> None:
    uncounted.end_training()
    with pytest.raises(RuntimeError, match="training is over"):
        pass_back(1)


@pytest.mark.parametrize(
    ("command", "noticed"),
    [
        (("/usr/bin/python3", ["/usr/bin/python3", "-c", "train()"]), True),
        (("/bin/sh", ["/bin/sh", "-c", "python train.py"]), True),
        ((b"python3.11 train.py",), True),
        (("/proc/self/exe", ["hw6.py", "-c", "train()"]), True),
        (("python -m pip install torchinfo; python train.py",), True),
        (("python", ["python", "-m", "pip", "install", "torchinfo"]), False),
        (("/bin/sh", ["/bin/sh", "-c", "python -m pip install torchinfo"]), False),
        (("nvidia-smi", ["nvidia-smi"]), False),
        ((b"ls /usr/lib/python3.11/site-packages",), False),
    ],
)
def test_another_python_is_noticed_and_an_installation_is_not(command: tuple[object, ...], noticed: bool) -> None:
    assert starts_python(*command) is noticed


def test_a_program_that_was_started_is_noticed(uncounted: Uncounted) -> None:
    assert uncounted.doubts(batches=0) == ()
    subprocess.run([sys.executable, "-c", ""], check=True)
    assert "started another Python program" in uncounted.doubts(batches=0)[0]
