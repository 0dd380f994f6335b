"""Turn the trained network and the test images into scores."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from grader.protocol.exported import MOST_CHANCE, sample_rows
from grader.records import CLASSES, SCORE_DTYPE
from grader.worker.budget import Budget
from grader.worker.draws import Transform, draws, same_for_same_image
from grader.worker.export import export, weights_of
from grader.worker.modes import switch
from grader.worker.preprocessing import After, Statistics, chosen, found_again, mismatch, tensor_of, with_after

# As fast as larger ones on a processor: 12 ms an image, at 100 and at 200 images 13 and 14 ms (the specified network,
# one thread of an AMD EPYC, 2026-11-27). A batch is recorded once and judged once, which takes longer the larger it is.
_BATCH_SIZE = 50
# Training images, at least, of which a replay must give the same scores.
_LEAST_SAMPLE = 100
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


@dataclass(frozen=True, slots=True)
class Prepared:
    """How a trained network is tested, found out on training images.

    Attributes:
        trained: The network's weights at the end of training.
        transform: From a PIL image on: the script's.
        after: What its loop does to an image after that, where the grader found it again.
        chance: What decides, with the image, which random numbers the transform draws; None: it draws none.
        batch: The first images as the network gets them, a whole batch.
        sample: Training images, uint8 of shape (N, 32, 32, 3): as many as `exported.sample_rows` chose.
        scores: What the network made of them: N x 10 little-endian float32.
    """

    network: nn.Module
    trained: dict[str, torch.Tensor]
    transform: Transform
    after: After | None
    chance: int | None
    batch: torch.Tensor
    sample: np.ndarray[Any, Any]
    scores: bytes
    notes: tuple[str, ...]
    flags: tuple[str, ...]

    def predict(self, images: np.ndarray[Any, Any]) -> bytes:
        """Scores of images, uint8 of shape (N, 32, 32, 3), as bytes of little-endian float32 in their order."""
        return _scores(self.network, images, self._whole_transform, len(self.batch))[0]

    @property
    def _whole_transform(self) -> Transform:
        transform = self.transform if self.chance is None else same_for_same_image(self.transform, self.chance)
        return with_after(transform, self.after)

    def export(self) -> bytes:
        """The network as protocol/exported.py has it.

        Raises:
            NotExportable: It cannot be written down.
        """
        with _without_autocast():
            return export(
                self.network,
                self.trained,
                self.transform,
                self.after,
                self.chance,
                self.batch,
                self.sample,
                self.scores,
            )


def prepare(budget: Budget, training: np.ndarray[Any, Any]) -> Prepared:
    """Make a network ready for the test: in eval mode, outside autocast, in its parameters' dtype.

    Args:
        budget: Knows the network, the script's batch size and what its training batches looked like.
        training: The training images, uint8 of shape (N, 32, 32, 3).

    Raises:
        NotScores: An output was not a tensor of shape (batch, 10).
    """
    network: nn.Module = budget.network
    trained = weights_of(network)
    own_transform, notes, doubts = chosen(budget.statistics)
    transform, chance = own_transform, None
    if draws(own_transform, Image.fromarray(training[0])):
        chance = int(torch.randint(MOST_CHANCE, ()))
        transform, notes = same_for_same_image(own_transform, chance), (*notes, _DRAWS)
    switch(network, training=False)
    size, seen = _BATCH_SIZE, Statistics()
    try:
        scores, batch = _scores(network, _sample(training, size), transform, size, seen)
    except Exception:
        if budget.batch_size in (0, size):
            raise
        size, seen = budget.batch_size, Statistics()
        scores, batch = _scores(network, _sample(training, size), transform, size, seen)
        notes += (f"The network only takes batches of {size} images, so the grader tested it in such batches.",)
    after, flags = None, mismatch(budget.statistics, seen)
    if flags:

        def again(some: np.ndarray[Any, Any], through: Transform, shown: Statistics) -> bytes:
            return _scores(network, some, through, size, shown)[0]

        after = found_again(transform, budget.statistics, again)
        notes = (*notes, _LEFT_OUT if after is None else _FOUND_AGAIN)
    sample = _sample(training, size)
    if after is not None:
        flags = (*flags, _BROUGHT_TO_THE_SAME)
        scores, batch = _scores(network, sample, with_after(transform, after), size)
    return Prepared(network, trained, own_transform, after, chance, batch, sample, scores, notes, (*flags, *doubts))


def _sample(training: np.ndarray[Any, Any], size: int) -> np.ndarray[Any, Any]:
    """Whole batches of training images, at least two: what holds for the first only must show."""
    count = size * max(2, math.ceil(_LEAST_SAMPLE / size))
    return np.ascontiguousarray(training[sample_rows(count, len(training))])


def _scores(
    network: nn.Module,
    images: np.ndarray[Any, Any],
    transform: Transform,
    batch_size: int,
    seen: Statistics | None = None,
) -> tuple[bytes, torch.Tensor]:
    """Scores of images, and the first batch as the network got it."""
    weights = next((weight for weight in network.parameters() if weight.is_floating_point()), torch.zeros(()))
    parts = []
    first: torch.Tensor | None = None
    with torch.no_grad(), _without_autocast():
        for start in range(0, len(images), batch_size):
            batch = torch.stack([tensor_of(transform(Image.fromarray(image))) for image in images[start:][:batch_size]])
            rows = len(batch)
            padded = torch.cat([batch, batch[-1:].expand(batch_size - rows, *batch.shape[1:])])
            if padded.is_floating_point():
                padded = padded.to(weights.dtype)
            if seen is not None:
                seen.add(padded[:rows])
            shown = padded.to(weights.device)
            first = shown.clone() if first is None else first
            output = network(shown)
            if not isinstance(output, torch.Tensor) or tuple(output.shape) != (batch_size, CLASSES):
                shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
                raise NotScores(f"For {batch_size} images the output is {shape}, not ({batch_size}, {CLASSES})")
            parts.append(output[:rows].detach().float().cpu().numpy().astype(SCORE_DTYPE))
    assert first is not None
    return np.concatenate(parts).tobytes(), first


@contextlib.contextmanager
def _without_autocast() -> Iterator[None]:
    """Compute in the dtypes of the weights and images, whatever the script has switched on."""
    with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
        yield
