"""What makes a script's training faster, each optimization by its name, and how much of the run each was in use.

Bfloat16 is for where the teacher asked for it and the script has no precision of its own.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import Optimizer

from grader.records import BATCHED_DRAWS, BATCHED_TRANSFORMS, BFLOAT16, CHANNELS_LAST, CUDA_GRAPHS, OWN_LOADING
from grader.worker import dataset
from grader.worker.channel import note
from grader.worker.speed.graphs import Graphs
from grader.worker.speed.layout import Layout
from grader.worker.speed.loading import OwnLoading

Forward = Callable[..., Any]


class Acceleration:
    """The optimizations of one run.

    Args:
        allowed: Of `records.OPTIMIZATIONS`, those that may be used.
        precision: "script", or "bfloat16" for training forwards.
        optimizers: Those that took a step by the time of a forward.
    """

    def __init__(self, allowed: Collection[str], precision: str, optimizers: Iterable[Optimizer]) -> None:
        self.loading = OwnLoading(enabled=OWN_LOADING in allowed, random=BATCHED_DRAWS in allowed)
        self._graphs = Graphs(enabled=CUDA_GRAPHS in allowed)
        self._layout = Layout(optimizers, self._graphs.step_seconds, enabled=CHANNELS_LAST in allowed)
        self._precision = Precision(enabled=precision == BFLOAT16)

    def forward(
        self,
        network: nn.Module,
        forward: Callable[..., Any],
        images: torch.Tensor | None,
        batches: int,
        left: int,
    ) -> Callable[..., Any]:
        """What to call in the place of a training forward that comes next.

        Args:
            forward: The network's own, uncounted.
            images: The batch that it will be given; None: what it will be given is no batch.
            batches: Used before.
            left: Images that the budget still allows.
        """
        faster = self._precision.applied(network, forward)
        self._layout.consider(network, faster, images, batches, left)
        return self._graphs.applied(network, faster, images, batches, left)

    def in_use(self, batches: int) -> tuple[tuple[str, float], ...]:
        """Each optimization, and the share of `batches`, of the images or of the passes over them that it worked on."""
        return (
            (BATCHED_TRANSFORMS, dataset.served.share),
            (OWN_LOADING, self.loading.share),
            (BATCHED_DRAWS, self.loading.random_share),
            (CHANNELS_LAST, self._layout.share(batches)),
            (CUDA_GRAPHS, self._graphs.share(batches)),
            (BFLOAT16, self._precision.share(batches)),
        )


class Precision:
    """Mixed precision as torch.autocast gives it: weights, their gradients and what comes out stay float32.

    Args:
        enabled: False: forwards are what the script made them.
    """

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled
        self._reduced = 0

    def applied(self, network: nn.Module, forward: Forward) -> Forward:
        """The same forward, in bfloat16 unless the script's own autocast is on around it."""
        device = next((weight.device.type for weight in network.parameters()), "cpu")
        if not self._enabled or torch.is_autocast_enabled(device):
            return forward
        self._reduced += 1
        note("Training forward passes ran in mixed precision (bfloat16), as your course chose.")

        def reduced(network: nn.Module, *args: Any, **options: Any) -> Any:
            # Without its cache a forward can be captured; within one forward hardly a weight is used twice.
            with torch.autocast(device, dtype=torch.bfloat16, cache_enabled=False):
                output = forward(network, *args, **options)
            return _in_float32(output)

        return reduced

    def share(self, batches: int) -> float:
        """The share of a run's batches; forwards from which nothing was learned may make up for others."""
        return min(1.0, self._reduced / batches) if batches else 0.0


def _in_float32(output: Any) -> Any:
    if isinstance(output, tuple | list):
        return type(output)(_in_float32(each) for each in output)
    reduced = isinstance(output, torch.Tensor) and output.dtype == torch.bfloat16
    return output.float() if reduced else output
