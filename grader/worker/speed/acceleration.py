"""What the grader does to make a script's training faster, lever by lever, and how much of the run each was in use."""

from collections.abc import Callable, Collection, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import Optimizer

from grader.records import BATCHED_DRAWS, BATCHED_TRANSFORMS, BFLOAT16, CHANNELS_LAST, CUDA_GRAPHS, OWN_LOADING
from grader.worker import dataset
from grader.worker.speed.graphs import Graphs
from grader.worker.speed.layout import Layout
from grader.worker.speed.loading import OwnLoading
from grader.worker.speed.precision import Precision


class Acceleration:
    """The levers of one run.

    Args:
        allowed: Of `records.LEVERS`, those that may be used.
        precision: "script", or "bfloat16" for training forwards.
        optimizers: Those that took a step by the time of a forward.
    """

    def __init__(self, allowed: Collection[str], precision: str, optimizers: Iterable[Optimizer]) -> None:
        self._loading = OwnLoading(enabled=OWN_LOADING in allowed, random=BATCHED_DRAWS in allowed)
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
        """Each lever, and the share of `batches`, of the images or of the passes over them that it worked on."""
        return (
            (BATCHED_TRANSFORMS, dataset.served.share),
            (OWN_LOADING, self._loading.share),
            (BATCHED_DRAWS, self._loading.random_share),
            (CHANNELS_LAST, self._layout.share(batches)),
            (CUDA_GRAPHS, self._graphs.share(batches)),
            (BFLOAT16, self._precision.share(batches)),
        )
