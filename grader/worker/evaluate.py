"""Turn the trained network and the test images into scores."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from grader.records import CLASSES, SCORE_DTYPE
from grader.worker.budget import Budget, Statistics
from grader.worker.chosen_transform import chosen
from grader.worker.preprocessing import Transform, draws, found_again, mismatch, same_for_same_image, tensor_of

# Large enough to fill a GPU, small enough for any machine's memory.
_BATCH_SIZE = 250
_LEFT_OUT = (
    "Your training images looked unlike the test images. The grader applied the transform of your test set only, not "
    "what your loop does to a batch."
)

_DRAWS = (
    "The transform of your test set draws random numbers, so the grader changed the test images at random, as your "
    "script changes its training images. Use a transform without random steps for the test set."
)
_FOUND_AGAIN = (
    "Your loop normalises each batch, so the grader brought the test images to the same mean and spread in each "
    "channel."
)
_BROUGHT_TO_THE_SAME = (
    "the grader brought the test images to the same mean and spread, because that helped on training images"
)


class NotScores(Exception):
    """The network's output is not ten numbers for each image."""


def predict(budget: Budget, images: np.ndarray[Any, Any]) -> tuple[bytes, tuple[str, ...], tuple[str, ...]]:
    """Scores of the test images, as bytes of little-endian float32 in the order of `images`, then notes, then flags.

    The network runs in eval mode, outside autocast, in its parameters' dtype (DESIGN, rule 3).

    Args:
        budget: Knows the network, the script's batch size and what its training batches looked like.
        images: uint8 of shape (N, 32, 32, 3).

    Raises:
        NotScores: An output was not a tensor of shape (batch, 10).
    """
    network: nn.Module = budget.network
    transform, notes, doubts = chosen(budget.statistics)
    if draws(transform, Image.fromarray(images[0])):
        transform, notes = same_for_same_image(transform), (*notes, _DRAWS)
    network.eval()
    seen, batch_size = Statistics(), _BATCH_SIZE
    try:
        scores = _scores(network, images, transform, batch_size, seen)
    except Exception:
        if budget.batch_size in (0, _BATCH_SIZE):
            raise
        seen, batch_size = Statistics(), budget.batch_size
        scores = _scores(network, images, transform, batch_size, seen)
        notes += (
            f"The network only takes batches of {budget.batch_size} images, so the grader tested it in such batches.",
        )
    flags = mismatch(budget.statistics, seen)
    if not flags:
        return scores, notes, doubts
    flags += doubts

    def again(some: np.ndarray[Any, Any], through: Transform, shown: Statistics) -> bytes:
        return _scores(network, some, through, batch_size, shown)

    with_loop = found_again(transform, budget.statistics, again)
    if with_loop is None:
        return scores, (*notes, _LEFT_OUT), flags
    return again(images, with_loop, Statistics()), (*notes, _FOUND_AGAIN), (*flags, _BROUGHT_TO_THE_SAME)


def predict_untrained(budget: Budget, blocks: tuple[int, ...], images: np.ndarray[Any, Any]) -> bytes:
    """Scores of a new instance that was not trained, as `predict` gives them; NaN where none could be made."""
    try:
        network = type(budget.network)(*blocks).eval()
        trained = next(budget.network.parameters())
        network.to(trained.device, trained.dtype)
        return _scores(
            network, images, chosen(budget.statistics).transform, budget.batch_size or _BATCH_SIZE, Statistics()
        )
    except Exception:  # a constructor or a forward that only works once is no fault here
        return np.full((len(images), CLASSES), np.nan, SCORE_DTYPE).tobytes()


def _scores(
    network: nn.Module, images: np.ndarray[Any, Any], transform: Transform, batch_size: int, seen: Statistics
) -> bytes:
    weights = next((weight for weight in network.parameters() if weight.is_floating_point()), torch.zeros(()))
    parts = []
    with torch.no_grad(), _without_autocast():
        for start in range(0, len(images), batch_size):
            batch = torch.stack([tensor_of(transform(Image.fromarray(image))) for image in images[start:][:batch_size]])
            rows = len(batch)
            padded = torch.cat([batch, batch[-1:].expand(batch_size - rows, *batch.shape[1:])])
            if padded.is_floating_point():
                padded = padded.to(weights.dtype)
            seen.add(padded[:rows])
            output = network(padded.to(weights.device))
            if not isinstance(output, torch.Tensor) or tuple(output.shape) != (batch_size, CLASSES):
                shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
                raise NotScores(f"For {batch_size} images the output is {shape}, not ({batch_size}, {CLASSES})")
            parts.append(output[:rows].detach().float().cpu().numpy().astype(SCORE_DTYPE))
    return np.concatenate(parts).tobytes()


@contextlib.contextmanager
def _without_autocast() -> Iterator[None]:
    with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
        yield
