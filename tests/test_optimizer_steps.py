"""Training that the counter does not see is noticed by the optimizers' steps."""

import torch
from torch import nn

from grader.worker.optimizer_steps import OptimizerSteps


def take_steps(optimizer: torch.optim.Optimizer, count: int) -> None:
    for _ in range(count):
        optimizer.step()


def test_many_steps_without_counted_batches_are_noticed() -> None:
    steps = OptimizerSteps()
    take_steps(torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1), 30)
    take_steps(torch.optim.Adam(nn.Linear(2, 2).parameters()), 30)
    assert steps.count == 60
    assert steps.doubts(batches=1) == (
        "60 optimizer steps, but IdentityResNet learned from 1 batches: something else may have been trained",
    )


def test_a_step_for_each_batch_and_two_optimizers_are_no_doubt() -> None:
    steps = OptimizerSteps()
    take_steps(torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1), 200)
    assert steps.doubts(batches=200) == ()
    assert steps.doubts(batches=75) == ()
