"""Optimizer steps against batches that were counted: a second network that is trained beside the first is noticed."""

import weakref
from typing import Any

from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook

# Two optimizers for one network are no reason to doubt.
_STEPS_A_BATCH = 2
_ALLOWANCE = 50


class OptimizerSteps:
    """Counts every step of every optimizer of torch from now on; a step written by hand is not seen."""

    def __init__(self) -> None:
        self.count = 0
        self.optimizers: weakref.WeakSet[Optimizer] = weakref.WeakSet()
        register_optimizer_step_post_hook(self._add)

    def doubts(self, batches: int) -> tuple[str, ...]:
        """Say so where there were far more steps than batches from which a counted network learned."""
        if self.count <= _STEPS_A_BATCH * batches + _ALLOWANCE:
            return ()
        return (
            f"{self.count} optimizer steps, but IdentityResNet learned from {batches} batches: "
            "something else may have been trained",
        )

    def _add(self, optimizer: Optimizer, _arguments: Any, _options: Any) -> None:
        self.count += 1
        self.optimizers.add(optimizer)
