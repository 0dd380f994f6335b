"""The loss that a script computes, for display."""

import functools
import math
from typing import Any

import torch
from torch.nn import functional


class LastLoss:
    """Keeps the last loss that `cross_entropy` or `nll_loss` gave, modules and functions alike.

    It stays on its device until it is asked for: to read it at each step would wait for the GPU.
    """

    def __init__(self) -> None:
        self._last: torch.Tensor | None = None
        # The modules of torch.nn look these names up at each call.
        functional.cross_entropy = self._kept(functional.cross_entropy)
        functional.nll_loss = self._kept(functional.nll_loss)

    def value(self) -> float | None:
        """The last loss, finite; None where there was none."""
        if self._last is None:
            return None
        loss = self._last.float().mean().item()
        return loss if math.isfinite(loss) else None

    def _kept(self, function: Any) -> Any:
        @functools.wraps(function)
        def keep(*arguments: Any, **options: Any) -> Any:
            loss = function(*arguments, **options)
            if isinstance(loss, torch.Tensor) and loss.requires_grad:
                self._last = loss.detach()
            return loss

        return keep
