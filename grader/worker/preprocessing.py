"""What a script does to an image beside the transform of its data set: found out from what its network was shown.

Mostly it does the same to every pixel. Then some images that the network was shown, found again among the training
images, tell what became of each of the 256 values.

Else it may be a normalisation, the same straight line for each channel, which follows from the channel's mean and
spread before it (what the script's transform makes of training images) and after it (what the training forwards saw).
Whether that helps is decided on training images, whose labels are no secret.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import ToTensor

from grader.worker.budget import Statistics
from grader.worker.dataset import given
from grader.worker.draws import Transform, draws

Images = np.ndarray[Any, Any]
Pair = tuple[Images, torch.Tensor]
After = Callable[[torch.Tensor], torch.Tensor]
Scores = Callable[[Images, Transform, Statistics], bytes]

_CHANNELS, _VALUES, _SIDE = 3, 256, 32
_PIXELS = _SIDE * _SIDE
# Of images that tell what becomes of a value: fewer may be a chance; more take time.
_LEAST, _MOST = 8, 64
# Of training images at once.
_CHUNK = 1_000
_RANDOM = ("Rand", "AutoAugment", "AugMix", "TrivialAugment", "ColorJitter", "Gaussian", "ElasticTransform")
_SAMPLE = 500
# In accuracy on the sample: less may be chance.
_GAIN = 0.05
# A mean may differ by this part of the spread, and the spread by this factor, before the preprocessing is doubted.
_MEAN_TOLERANCE, _SPREAD_TOLERANCE = 0.3, 1.4


def measured(shown: Iterable[torch.Tensor], images: Images) -> Callable[[Image.Image], torch.Tensor] | None:
    """The transform that explains what a network was shown; None where none of this kind does.

    Args:
        shown: Batches as the network got them.
        images: Among which those are looked for, uint8 of shape (N, 32, 32, 3).
    """
    pairs = _with_images([*_rows(shown)][-_MOST:], images)
    tables = [table for image, row in pairs if (table := _table(image, row)) is not None]
    if len(tables) < _LEAST:
        return None
    known = torch.stack(tables)
    low, high = known.nan_to_num(torch.inf).amin(dim=0), known.nan_to_num(-torch.inf).amax(dim=0)
    if bool((low < high).any()):  # not the same for all images
        return None
    dtype = pairs[0][1].dtype
    whole = torch.stack([_filled(channel) for channel in low]).to(dtype)

    def transform(image: Image.Image) -> torch.Tensor:
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).long()
        return whole.gather(1, pixels.flatten(1)).reshape(pixels.shape)

    return transform


def _rows(shown: Iterable[torch.Tensor]) -> Iterable[torch.Tensor]:
    """Images of the right shape, on the processor."""
    for batch in shown:
        try:
            batch = batch.detach().cpu()
        except RuntimeError:  # from inside a transformation of functions, say
            continue
        if batch.shape[1:] == (_CHANNELS, _SIDE, _SIDE) and batch.dtype is not torch.bool:
            yield from batch


def _with_images(rows: list[torch.Tensor], images: Images) -> list[Pair]:
    """Each row with the image of which it may have been made: how often each value occurs stays the same."""
    wanted = {_pattern_of_row(row): row for row in rows}
    found: dict[bytes, Images] = {}
    for start in range(0, len(images) if wanted else 0, _CHUNK):
        some = images[start:][:_CHUNK]
        for image, pattern in zip(some, _patterns(some), strict=True):
            if pattern.tobytes() in wanted:
                found.setdefault(pattern.tobytes(), image)
    return [(image, wanted[pattern]) for pattern, image in found.items()]


def _patterns(images: Images) -> Images:
    """For each image and channel, how often its values occur, in ascending order: of shape (N, 3, 256)."""
    flat = images.reshape(len(images), _PIXELS, _CHANNELS).transpose(0, 2, 1).astype(np.int64)
    count = len(images) * _CHANNELS
    places = np.arange(count).reshape(len(images), _CHANNELS, 1) * _VALUES
    counts = np.bincount((flat + places).reshape(-1), minlength=count * _VALUES)
    return np.sort(counts.reshape(len(images), _CHANNELS, _VALUES), axis=-1).astype(np.uint16)


def _pattern_of_row(row: torch.Tensor) -> bytes:
    pattern = np.zeros((_CHANNELS, _VALUES), np.uint16)
    for channel, values in enumerate(row):
        counts = values.unique(return_counts=True)[1]
        if len(counts) > _VALUES:
            return b""
        pattern[channel, _VALUES - len(counts) :] = counts.sort().values
    return pattern.tobytes()


def _table(image: Images, row: torch.Tensor) -> torch.Tensor | None:
    """What each value became, float64 of shape (3, 256), NaN where it does not occur; None: it became several."""
    where = torch.from_numpy(image.transpose(2, 0, 1).astype(np.int64)).flatten(1)
    values = row.flatten(1).double()
    table = torch.full((_CHANNELS, _VALUES), torch.nan, dtype=torch.float64).scatter(1, where, values)
    return table if torch.equal(table.gather(1, where), values) else None


def _filled(known: torch.Tensor) -> torch.Tensor:
    """A channel's values; one that was not seen (infinite) follows the line through all, bent as its neighbours are."""
    seen = known.isfinite().numpy()
    every, values = np.arange(_VALUES), known.numpy()
    line = np.polynomial.Polynomial.fit(every[seen], values[seen], 1)(every) if seen.sum() > 1 else np.zeros(_VALUES)
    bent = line + np.interp(every, every[seen], (values - line)[seen])
    return torch.from_numpy(np.where(seen, values, bent))


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
    kinds = (trained.dtype, tested.dtype)
    # Images are cast to the weights' precision, which a script may have changed after its training.
    alike = kinds[0] == kinds[1] or all(kind is not None and kind.is_floating_point for kind in kinds)
    if trained.shape != tested.shape or not alike:
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
