"""What a script does to an image beside its transform, found out from what its network was shown.

Mostly it does the same to every pixel. Then some images that the network was shown, found again among the training
images, tell what became of each of the 256 values.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from PIL import Image

Images = np.ndarray[Any, Any]
Pair = tuple[Images, torch.Tensor]

CHANNELS, VALUES, SIDE = 3, 256, 32
# Images that tell what becomes of a value: fewer may be a chance; more take time.
_LEAST, _MOST = 8, 64
# Training images in which others are looked for at once.
_CHUNK = 1_000


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
        return whole.gather(1, pixel_values(np.array(image))).reshape(CHANNELS, image.height, image.width)

    return transform


def _rows(shown: Iterable[torch.Tensor]) -> Iterable[torch.Tensor]:
    """Images of the right shape, on the processor."""
    for batch in shown:
        try:
            batch = batch.detach().cpu()
        except RuntimeError:  # from inside a transformation of functions, say
            continue
        if batch.shape[1:] == (CHANNELS, SIDE, SIDE) and batch.dtype is not torch.bool:
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
    flat = images.reshape(len(images), SIDE * SIDE, CHANNELS).transpose(0, 2, 1).astype(np.int64)
    count = len(images) * CHANNELS
    places = np.arange(count).reshape(len(images), CHANNELS, 1) * VALUES
    counts = np.bincount((flat + places).reshape(-1), minlength=count * VALUES)
    return np.sort(counts.reshape(len(images), CHANNELS, VALUES), axis=-1).astype(np.uint16)


def _pattern_of_row(row: torch.Tensor) -> bytes:
    pattern = np.zeros((CHANNELS, VALUES), np.uint16)
    for channel, values in enumerate(row):
        counts = values.unique(return_counts=True)[1]
        if len(counts) > VALUES:
            return b""
        pattern[channel, VALUES - len(counts) :] = counts.sort().values
    return pattern.tobytes()


def _table(image: Images, row: torch.Tensor) -> torch.Tensor | None:
    """What each value became, float64 of shape (3, 256), NaN where it does not occur; None: it became several."""
    where = pixel_values(image)
    values = row.flatten(1).double()
    table = torch.full((CHANNELS, VALUES), torch.nan, dtype=torch.float64).scatter(1, where, values)
    return table if torch.equal(table.gather(1, where), values) else None


def pixel_values(image: Images) -> torch.Tensor:
    """The values of an image of shape (H, W, 3), as int64 of shape (3, H * W)."""
    return torch.from_numpy(image.astype(np.int64)).permute(2, 0, 1).flatten(1)


def _filled(known: torch.Tensor) -> torch.Tensor:
    """A channel's values; one that was not seen (infinite) follows the line through all, bent as its neighbours are."""
    seen = known.isfinite().numpy()
    every, values = np.arange(VALUES), known.numpy()
    line = np.polynomial.Polynomial.fit(every[seen], values[seen], 1)(every) if seen.sum() > 1 else np.zeros(VALUES)
    bent = line + np.interp(every, every[seen], (values - line)[seen])
    return torch.from_numpy(np.where(seen, values, bent))
