"""Which transform a test image goes through: that of the test set with which the script itself evaluates.

A script may make several test sets, one of them for a plot only. And it may put a data set of its own around one: then
an image goes the way that the script's own images go, through that data set.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset, Subset
from torchvision.transforms import ToTensor

from grader.worker.budget import Statistics
from grader.worker.dataset import GraderCIFAR10, given, own_items, were_changed
from grader.worker.draws import Transform
from grader.worker.preprocessing import mismatch, tensor_of, without_random_parts

_SHOWN = 64
# Objects in which a data set is looked for, below one that a loader was given.
_SEARCHED = 200
_CHANGED = (
    "your script changed the images of its test set in memory; the grader's test images are not changed in that way"
)


class Chosen(NamedTuple):
    """A transform for test images, what the student is told of it, and what a person should look at."""

    transform: Transform
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


class _Way(NamedTuple):
    """A data set of the script and the test set of ours that it leads to."""

    transform: Transform
    images: GraderCIFAR10


class Through:
    """An image's way through a data set of the script's own: every row of the images below it becomes that image.

    Args:
        source: What a loader was given.
        places: Where it keeps the images: the holder and the attribute's name.
    """

    def __init__(self, source: Any, places: Sequence[tuple[Any, str]]) -> None:
        self._source, self._places = source, places

    def __call__(self, image: Image.Image) -> Any:
        """What the script's data set makes of an image."""
        kept = [vars(holder)[name] for holder, name in self._places]
        for (holder, name), images in zip(self._places, kept, strict=True):
            vars(holder)[name] = np.broadcast_to(np.asarray(image), images.shape)
        try:
            item = self._source[0]
        finally:
            for (holder, name), images in zip(self._places, kept, strict=True):
                vars(holder)[name] = images
        return item[0] if isinstance(item, tuple | list) else item


def remembering(init: Callable[..., None]) -> Callable[..., None]:
    """`DataLoader.__init__`, which keeps a data set of the script's own that leads to a test set of ours."""

    @functools.wraps(init)
    def kept(loader: Any, dataset: Any, *args: Any, **options: Any) -> None:
        source = _whole(dataset)
        if not any(source is each for each in given.loaded) and _test_images(source):
            given.loaded.append(source)
        init(loader, dataset, *args, **options)

    return kept


def chosen(trained: Statistics) -> Chosen:
    """Of the test sets those that were used, of these the last that gives what training saw.

    Without a test set: the training transform less its random parts.

    Args:
        trained: Of the first training forwards.
    """
    ways = [*_ways()]
    if not ways:
        return _without_test_set()
    used = [way for way in ways if given.uses(way.images) * 2 >= len(way.images.data)] or ways
    fitting = [way for way in used if _fits(way.transform, trained)]
    way = (fitting or used)[0]
    notes: tuple[str, ...] = ()
    if len({repr(images.transform) for images in _test_sets()}) > 1:
        what = "with which your script tested its network" if len(used) < len(ways) else "that fits its training images"
        notes = (f"Your script made several test sets. The grader took the transform of the one {what}.",)
    return Chosen(way.transform, notes, (_CHANGED,) if were_changed(way.images) else ())


def _without_test_set() -> Chosen:
    if not given.made:
        note = "Your script made no data set, so the grader only turned the test images into tensors."
        return Chosen(ToTensor(), (note,))
    note = "Your script made no test set, so the grader applied its training transform without the random parts."
    return Chosen(without_random_parts(given.made[-1].transform), (note,))


def _test_sets() -> list[GraderCIFAR10]:
    return [images for images in reversed(given.made) if not images.train]


def _ways() -> Iterator[_Way]:
    """The last one first; what a loader was given comes before what no loader was given."""
    alone = [images for images in _test_sets() if own_items(images) and images not in given.loaded]
    for source in (*reversed(given.loaded), *alone):
        through = Through(source, [(holder, name) for holder, name, _ in _places(source)])
        if _leads(through):
            yield _Way(through, _test_images(source)[0])
    for images in _test_sets():
        if not own_items(images):
            yield _Way(images.transform or ToTensor(), images)


def _whole(source: Any) -> Any:
    while type(source) is Subset:
        source = source.dataset
    return source


def _test_images(source: Any) -> list[GraderCIFAR10]:
    """The test sets that a data set of the script leads to; none where it leads to training images too, or is ours."""
    if isinstance(source, GraderCIFAR10) and not own_items(source):
        return []
    found = [images for _, _, images in _places(source)]
    return [] if any(images.train for images in found) else found


def _places(source: Any) -> list[tuple[Any, str, GraderCIFAR10]]:
    """Where a data set of the script keeps images of ours, holder and attribute, and whose they are."""
    ours = {id(images.data): images for images in given.made}
    places: list[tuple[Any, str, GraderCIFAR10]] = []
    ahead, seen = [source], set[int]()
    while ahead and len(seen) < _SEARCHED:
        holder = ahead.pop()
        if id(holder) in seen:
            continue
        seen.add(id(holder))
        for name, value in getattr(holder, "__dict__", {}).items():
            if id(value) in ours:
                places.append((holder, name, ours[id(value)]))
            elif isinstance(value, Dataset):
                ahead.append(value)
            elif isinstance(value, list):
                ahead.extend(each for each in value[:_SEARCHED] if isinstance(each, Dataset))
    return places


def _leads(through: Through) -> bool:
    """Whether two images are two at the end of the way: a data set may keep what it made of an index."""
    images, _ = given.arrays
    try:
        first, second = (tensor_of(through(Image.fromarray(image))) for image in (images[0], 255 - images[0]))
    except Exception:  # whatever the script's own data set raises
        return False
    return first.shape == second.shape and not torch.equal(first, second)


def _fits(transform: Transform, trained: Statistics) -> bool:
    images, _ = given.arrays
    rows = np.linspace(0, len(images) - 1, min(_SHOWN, len(images))).astype(np.int64)
    shown = Statistics()
    try:
        shown.add(torch.stack([tensor_of(transform(Image.fromarray(image))) for image in images[rows]]))
    except Exception:  # whatever the script's own transform raises
        return False
    return not mismatch(trained, shown)
