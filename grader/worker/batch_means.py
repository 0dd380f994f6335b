"""The loss and the accuracy of training batches, as a script computes its loss, for display."""

import functools
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

# In one mean at most, so that no memory grows where nobody asks for it; it is asked for once a second.
_MOST_BATCHES = 1_000


@dataclass(frozen=True, slots=True)
class _Batch:
    """One batch; its tensors stay on their device, and nothing is computed from them before somebody asks.

    Attributes:
        loss: Without dimensions.
        scores: Shape (N, C); None where it is not known which images are right.
        labels: Integers of shape (N,), with `scores`.
    """

    loss: torch.Tensor
    scores: torch.Tensor | None = None
    labels: torch.Tensor | None = None


class BatchMeans:
    """Means over the batches from which a network learned, one stretch of training after the other.

    A batch has the last loss that `cross_entropy` or `nll_loss` gave before a gradient flowed back, modules and
    functions alike, and the accuracy of the scores that went into it. Nothing is read from the device until the means
    are asked for: to read it at each step would wait for the GPU. Nothing here raises in a script's step; what is out
    of the ordinary, subclasses of tensors among it, is left out.

    Args:
        on_loss: Is told each loss and its target, whatever they are.
    """

    def __init__(self, on_loss: Callable[[Any, Any], None]) -> None:
        self._on_loss = on_loss
        self._last: _Batch | None = None
        self._learned: deque[_Batch] = deque(maxlen=_MOST_BATCHES)

    def learned(self) -> None:
        """Take the last loss for that of a batch from which the network learned."""
        batch, self._last = self._last, None
        if batch is not None:
            self._learned.append(batch)

    def take(self) -> tuple[float | None, float | None]:
        """The mean loss over the batches since the last call, and the share of their images that were right.

        Either is None where it is not known, or not finite.
        """
        batches, self._learned = self._learned, deque(maxlen=_MOST_BATCHES)
        return _mean([batch.loss for batch in batches]), _share_right(
            [batch for batch in batches if batch.scores is not None]
        )

    def watched(self, function: Any) -> Any:
        """A function of `torch.nn.functional`, watched; the modules of `torch.nn` look it up there at each call."""

        @functools.wraps(function)
        def watched(*arguments: Any, **options: Any) -> Any:
            loss = function(*arguments, **options)
            given = dict(zip(("input", "target"), arguments, strict=False)) | options
            self._on_loss(loss, given.get("target"))
            try:
                if _is_plain(loss) and loss.requires_grad:
                    self._last = _batch(loss.detach(), given.get("input"), given.get("target"))
            except Exception:  # what is only looked at must not end a script
                self._last = None
            return loss

        return watched


def _batch(loss: torch.Tensor, scores: Any, labels: Any) -> _Batch:
    """What is kept of a batch; right answers are counted for scores (N, C) and integer labels (N,) only."""
    mean = loss.mean() if loss.ndim else loss
    if not (_is_plain(scores) and _is_plain(labels)) or scores.ndim != 2 or labels.ndim != 1:
        return _Batch(mean)
    if not labels.shape[0] or labels.is_floating_point():
        return _Batch(mean)
    return _Batch(mean, scores.detach(), labels)


def _is_plain(value: Any) -> bool:
    """A subclass brings code of its own to each operation."""
    return type(value) is torch.Tensor


def _mean(values: list[torch.Tensor]) -> float | None:
    """Read the mean of what lies on one device; None where there is nothing, or it cannot be had."""
    try:
        mean = torch.stack(values).float().mean().item() if values else math.nan
    except Exception:  # the device's fault, or tensors of two; the script's own next step will say so
        return None
    return mean if math.isfinite(mean) else None


def _share_right(batches: list[_Batch]) -> float | None:
    """The share of images whose largest score is at their label, in one pass over all of them."""
    try:
        found = torch.cat([batch.scores for batch in batches if batch.scores is not None]).argmax(dim=1)
        return _mean([found == torch.cat([batch.labels for batch in batches if batch.labels is not None])])
    except Exception:  # no batch at all, or scores that do not fit together
        return None
