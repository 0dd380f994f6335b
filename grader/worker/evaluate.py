"""Turn the trained network and the test images into scores."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import nn

from grader.protocol.exported import MOST_CHANCE, sample_rows
from grader.records import CLASSES, SCORE_DTYPE
from grader.worker.budget import Budget
from grader.worker.draws import draws
from grader.worker.measured import Images
from grader.worker.modes import switch
from grader.worker.preprocessing import After, Preparation, Statistics, chosen, mismatch, training_images
from grader.worker.tensors import named_tensors

# As fast as larger ones on a processor: 12 ms an image, at 100 and at 200 images 13 and 14 ms (the specified network,
# one thread of an AMD EPYC, 2026-11-27). A batch is recorded once and judged once, which takes longer the larger it is.
_BATCH_SIZE = 50
# Training images, at least, of which a replay must give the same scores.
_LEAST_SAMPLE = 100
# Training images on which a normalisation must help, and by how much in accuracy: less may be chance.
_NORMALISED, _GAIN = 500, 0.05
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


class _Shown(NamedTuple):
    """Images that a network was shown: its scores of them, and the first batch as it got it.

    Attributes:
        scores: N x 10 little-endian float32.
        statistics: Of what it got.
    """

    scores: bytes
    batch: torch.Tensor
    statistics: Statistics


@dataclass(frozen=True, slots=True)
class Prepared:
    """How a trained network is tested, found out on training images.

    Attributes:
        trained: The network's weights and buffers at the end of training, by name.
        batch: The first images of the sample as the network gets them, a whole batch.
        sample: Training images, uint8 of shape (N, 32, 32, 3): as many as `exported.sample_rows` chose.
        scores: What the network made of them: N x 10 little-endian float32.
        notes: What is done that the script did not ask for.
        flags: What a person should look at.
    """

    network: nn.Module
    trained: dict[str, torch.Tensor]
    preparation: Preparation
    batch: torch.Tensor
    sample: Images
    scores: bytes
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()

    def predict(self, images: Images) -> bytes:
        """Scores of images, uint8 of shape (N, 32, 32, 3), as bytes of little-endian float32 in their order."""
        return _show(self.network, images, self.preparation, len(self.batch)).scores


def prepare(budget: Budget, training: Images) -> Prepared:
    """Make a network ready for the test: in eval mode, outside autocast, in its parameters' dtype.

    Args:
        budget: Knows the network, the script's batch size and what its training batches looked like.
        training: The training images, uint8 of shape (N, 32, 32, 3).

    Raises:
        NotScores: An output was not a tensor of shape (batch, 10).
    """
    network: nn.Module = budget.network
    trained = {name: tensor.detach().clone() for name, tensor in named_tensors(network).items()}
    transform, notes, doubts = chosen(budget.statistics)
    preparation = Preparation(transform)
    if draws(transform, Image.fromarray(training[0])):
        preparation, notes = Preparation(transform, int(torch.randint(MOST_CHANCE, ()))), (*notes, _DRAWS)
    switch(network, training=False)
    size = _BATCH_SIZE
    sample = _sample(training, size)
    try:
        shown = _show(network, sample, preparation, size)
    except Exception:
        if budget.batch_size in (0, size):
            raise
        size = budget.batch_size
        sample = _sample(training, size)
        shown = _show(network, sample, preparation, size)
        notes += (f"The network only takes batches of {size} images, so the grader tested it in such batches.",)
    flags = mismatch(budget.statistics, shown.statistics)
    if flags:
        normalise = _found_again(network, preparation, size, budget.statistics)
        notes = (*notes, _LEFT_OUT if normalise is None else _FOUND_AGAIN)
        if normalise is not None:
            flags = (*flags, _BROUGHT_TO_THE_SAME)
            preparation = replace(preparation, after=normalise)
            shown = _show(network, sample, preparation, size)
    return Prepared(
        network, trained, preparation, shown.batch, sample, shown.scores, notes=notes, flags=(*flags, *doubts)
    )


def _sample(training: Images, size: int) -> Images:
    """Whole batches of training images, at least two: what holds for the first only must show."""
    count = size * max(2, math.ceil(_LEAST_SAMPLE / size))
    return np.ascontiguousarray(training[sample_rows(count, len(training))])


def _found_again(network: nn.Module, preparation: Preparation, size: int, trained: Statistics) -> After | None:
    """The normalisation by which the loop changes an image; None where none of that kind explains what training saw.

    It is the same straight line for each channel, which follows from the channel's mean and spread before it (what the
    script's transform makes of training images) and after it (what the training forwards saw). Whether it helps is
    decided on training images, whose labels are no secret.

    Args:
        trained: Of the first training forwards.
    """
    images, labels = training_images(_NORMALISED)
    plain = _show(network, images, preparation, size)
    before = plain.statistics
    if before.shape != trained.shape or before.dtype != trained.dtype or not trained.channels or not before.channels:
        return None
    (mean, spread), (mean_after, spread_after) = _moments(before), _moments(trained)
    slope = spread_after / spread.clamp(min=1e-6)

    def normalise(image: torch.Tensor) -> torch.Tensor:
        return (image - mean.to(image.dtype)) * slope.to(image.dtype) + mean_after.to(image.dtype)

    normalised = _show(network, images, replace(preparation, after=normalise), size)
    return normalise if _accuracy(normalised.scores, labels) > _accuracy(plain.scores, labels) + _GAIN else None


def _moments(statistics: Statistics) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and spread of each channel, of shape (channels, 1, 1)."""
    means, squares = torch.tensor(statistics.channels).mean(dim=0)
    return means.reshape(-1, 1, 1), (squares - means**2).clamp(min=0).sqrt().reshape(-1, 1, 1)


def _accuracy(scores: bytes, labels: Images) -> float:
    return float((np.frombuffer(scores, SCORE_DTYPE).reshape(len(labels), -1).argmax(axis=1) == labels).mean())


def _show(network: nn.Module, images: Images, preparation: Preparation, size: int) -> _Shown:
    """Show images, uint8 of shape (N, 32, 32, 3), to a network, in batches of one size: the last one is padded."""
    weights = next((weight for weight in network.parameters() if weight.is_floating_point()), torch.zeros(()))
    scores, statistics = [], Statistics()
    first: torch.Tensor | None = None
    with torch.no_grad(), without_autocast():
        for start in range(0, len(images), size):
            batch = torch.stack([preparation(Image.fromarray(image)) for image in images[start:][:size]])
            rows = len(batch)
            padded = torch.cat([batch, batch[-1:].expand(size - rows, *batch.shape[1:])])
            if padded.is_floating_point():
                padded = padded.to(weights.dtype)
            statistics.add(padded[:rows])
            shown = padded.to(weights.device)
            first = shown.clone() if first is None else first
            output = network(shown)
            if not isinstance(output, torch.Tensor) or tuple(output.shape) != (size, CLASSES):
                shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
                raise NotScores(f"For {size} images the output is {shape}, not ({size}, {CLASSES})")
            scores.append(output[:rows].detach().float().cpu().numpy().astype(SCORE_DTYPE))
    assert first is not None
    return _Shown(np.concatenate(scores).tobytes(), first, statistics)


@contextlib.contextmanager
def without_autocast() -> Iterator[None]:
    """Compute in the dtypes of the weights and images, whatever the script has switched on."""
    with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
        yield
