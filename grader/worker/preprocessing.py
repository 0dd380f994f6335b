"""Scripts that normalise each batch in their loop: find that step again, and apply it to the test images.

Normalising is the same straight line for each channel. So it follows from the channel's mean and spread before it (what
the script's transform makes of training images) and after it (what the training forwards saw). Whether it helps is
decided on training images, whose labels are no secret.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import ToTensor

from grader.worker.budget import Statistics
from grader.worker.dataset import given
from grader.worker.draws import Transform, draws

Images = np.ndarray[Any, Any]
After = Callable[[torch.Tensor], torch.Tensor]
Scores = Callable[[Images, Transform, Statistics], bytes]

_RANDOM = ("Rand", "AutoAugment", "AugMix", "TrivialAugment", "ColorJitter", "Gaussian", "ElasticTransform")
_SAMPLE = 500
# In accuracy on the sample: less may be chance.
_GAIN = 0.05
# A mean may differ by this part of the spread, and the spread by this factor, before the preprocessing is doubted.
_MEAN_TOLERANCE, _SPREAD_TOLERANCE = 0.3, 1.4


def found_again(transform: Transform, trained: Statistics, scores_of: Scores) -> After | None:
    """What the loop does to an image; None where that explains nothing.

    Args:
        transform: The script's own for test images.
        trained: Of the first training forwards.
        scores_of: Predicts, and adds what it showed to the network to the statistics.
    """
    images, labels = given.arrays
    rows = np.linspace(0, len(images) - 1, min(_SAMPLE, len(images))).astype(np.int64)
    before = Statistics()
    plain = _accuracy(scores_of(images[rows], transform, before), labels[rows])
    if before.shape != trained.shape or before.dtype != trained.dtype or not trained.channels or not before.channels:
        return None
    (mean, spread), (mean_after, spread_after) = _moments(before), _moments(trained)
    slope = spread_after / spread.clamp(min=1e-6)

    def after(shown: torch.Tensor) -> torch.Tensor:
        return (shown - mean.to(shown.dtype)) * slope.to(shown.dtype) + mean_after.to(shown.dtype)

    looped = scores_of(images[rows], with_after(transform, after), Statistics())
    return after if _accuracy(looped, labels[rows]) > plain + _GAIN else None


def with_after(transform: Transform, after: After | None) -> Transform:
    """A transform, then what happens to its tensor."""
    return transform if after is None else lambda image: after(transform(image))


def _moments(statistics: Statistics) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and spread of each channel, of shape (channels, 1, 1)."""
    means, squares = torch.tensor(statistics.channels).mean(dim=0)
    return means.reshape(-1, 1, 1), (squares - means**2).clamp(min=0).sqrt().reshape(-1, 1, 1)


def _accuracy(scores: bytes, labels: Images) -> float:
    return float((np.frombuffer(scores, "<f4").reshape(len(labels), -1).argmax(axis=1) == labels).mean())


def without_random_parts(transform: Any, image: Image.Image) -> Any:
    """A composed transform less the steps that draw random numbers, at any depth.

    Torchvision's tell by their names, the script's own by what they do to an image.
    """
    try:
        return _still(transform, image)[0] or ToTensor()
    except Exception:  # the script's own steps may need what a data set of its own hands them
        return transform


def _still(transform: Any, shown: Any) -> tuple[Any, Any]:
    """The transform without its random steps, and what it makes of an image."""
    steps = getattr(transform, "transforms", None)
    if steps is None:
        return transform, transform(shown) if transform else shown
    kept = []
    for step in steps:
        if type(step).__name__.startswith(_RANDOM):
            continue
        still, made = _still(step, shown)
        if not draws(still, shown):
            kept.append(still)
            shown = made
    return type(transform)(kept), shown


def tensor_of(image: Any) -> torch.Tensor:
    """What a transform made of an image, as a tensor."""
    return image if isinstance(image, torch.Tensor) else ToTensor()(np.array(image))


def mismatch(trained: Statistics, tested: Statistics) -> tuple[str, ...]:
    """Flag test batches that look unlike the training batches: a script that normalises in its loop, for example."""
    if not trained.means or not tested.means:
        return ()
    if trained.shape != tested.shape or trained.dtype != tested.dtype:
        return (
            f"preprocessing differs: trained on {trained.shape} {trained.dtype}, "
            f"tested on {tested.shape} {tested.dtype}",
        )
    mean, other_mean = float(np.mean(trained.means)), float(np.mean(tested.means))
    spread, other_spread = float(np.mean(trained.spreads)), float(np.mean(tested.spreads))
    ratio = max(spread, other_spread) / max(min(spread, other_spread), 1e-12)
    if not math.isfinite(mean) or (abs(mean - other_mean) <= _MEAN_TOLERANCE * spread and ratio <= _SPREAD_TOLERANCE):
        return ()
    return (
        f"preprocessing differs: trained on images of mean {mean:.2f} and spread {spread:.2f}, "
        f"tested on mean {other_mean:.2f} and spread {other_spread:.2f}",
    )
