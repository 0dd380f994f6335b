"""Training forwards in bfloat16, where the teacher asked for it and the script has no precision of its own."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from grader.worker.channel import note

Forward = Callable[..., Any]


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
        note("Training forwards computed in mixed precision (bfloat16), as the course asked of the grader.")

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
