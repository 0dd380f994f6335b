"""What a test image goes through on its way to the network: what the script's own images go through.

Its transform is that of the test set with which the script itself evaluates. A script may make several test sets, one
of them for a plot only. And it may put a data set of its own around one: then an image goes the way that the script's
own images go, through that data set.

What the script does to an image beside that is found out from what its network was shown: in measured.py, where that
tells it for each value of a pixel, else in evaluate.py, where it may be a normalisation.
"""

import functools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset
from torchvision.transforms import Compose, ToTensor

from grader.worker.dataset import GraderCIFAR10, below, given, own_items, were_changed
from grader.worker.draws import Transform, draws, seed_by
from grader.worker.measured import Images, measured

After = Callable[[torch.Tensor], torch.Tensor]

# Forwards whose images are looked at, and images kept of each.
_FORWARDS_MEASURED, _ROWS_KEPT = 64, 4
# Kept here before a script runs.
_Tensor, _dimensions = torch.Tensor, torch.Tensor.dim
# Training images that show whether a transform gives what training saw, and that tell one transform from another.
_SHOWN, _ALIKE = 64, 8
_TRANSFORMS = "torchvision.transforms."
# Objects in which a data set is looked for, below one that a loader was given.
_SEARCHED = 200
_CHANGED = (
    "your script changed the images of its test set in memory; the grader's test images are not changed in that way"
)
_MEASURED = (
    "Your script prepares its images beside the transform of its data set. The grader saw at your network what becomes "
    "of each value of a pixel, and did the same to the test images."
)
_RANDOM = ("Rand", "AutoAugment", "AugMix", "TrivialAugment", "ColorJitter", "Gaussian", "ElasticTransform")
# A mean may differ by this part of the spread, and the spread by this factor, before the preprocessing is doubted.
_MEAN_TOLERANCE, _SPREAD_TOLERANCE = 0.3, 1.4


class Statistics:
    """Shape, dtype, mean and spread of what the first training forwards saw.

    Attributes:
        rows: The first images of each of these forwards.
        tested: The same of the last forwards in which nothing was learned: in the script's own tests.
    """

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self.dtype: torch.dtype | None = None
        self.means: list[float] = []
        self.spreads: list[float] = []
        # For each forward: the mean of each channel, and the mean of its squares.
        self.channels: list[list[list[float]]] = []
        self.rows: list[torch.Tensor] = []
        self.tested: deque[torch.Tensor] = deque(maxlen=_FORWARDS_MEASURED)

    def add(self, images: torch.Tensor) -> None:
        """Look at one batch; the first few are enough, since each look waits for the device."""
        if len(self.means) < _FORWARDS_MEASURED:
            seen = images.detach().float()
            self.shape, self.dtype = tuple(images.shape[1:]), images.dtype
            self.rows.append(images[:_ROWS_KEPT].detach().clone())
            self.means.append(seen.mean().item())
            self.spreads.append(seen.std(correction=0).item())
            if seen.ndim == 4:
                self.channels.append([seen.mean(dim=(0, 2, 3)).tolist(), seen.square().mean(dim=(0, 2, 3)).tolist()])

    def test(self, images: Any) -> None:
        """Keep some images of a forward that learns nothing; the device is not waited for."""
        if type(images) is _Tensor and _dimensions(images) == 4:
            self.tested.append(images[:_ROWS_KEPT].detach().clone())


@dataclass(frozen=True, slots=True)
class Preparation:
    """What an image goes through on its way to the network.

    Attributes:
        transform: From a PIL image on: the script's.
        chance: What decides, with the image, which random numbers the transform draws; None: it draws none.
        after: What the script's loop does to an image after that, where the grader found it again.
    """

    transform: Transform
    chance: int | None = None
    after: After | None = None

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """The image as the network gets it; a transform that draws does the same to the same image."""
        if self.chance is not None:
            seed_by(self.chance, image)
        made = tensor_of(self.transform(image))
        return made if self.after is None else self.after(made)


class Chosen(NamedTuple):
    """A transform for test images, what the student is told of it, and what a person should look at."""

    transform: Transform
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


class _Way(NamedTuple):
    """A data set of the script and the test set of ours that it leads to."""

    transform: Transform
    images: GraderCIFAR10


class _ThroughDataSet:
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
        source, _ = below(dataset)
        # Copied or read back: nobody has seen it made.
        if isinstance(source, GraderCIFAR10) and not any(source is each for each in given.made):
            given.add(source)
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
        own = _without_test_set()
        return own if _fits(own.transform, trained) else _seen_otherwise(trained) or own
    used = [way for way in ways if given.uses(way.images) * 2 >= len(way.images.data)] or ways
    fitting = [way for way in used if _fits(way.transform, trained)]
    if not fitting and (seen := _seen_otherwise(trained)):
        return seen
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
    images, _ = given.arrays
    return Chosen(without_random_parts(given.made[-1].transform, Image.fromarray(images[0])), (note,))


def _seen_otherwise(trained: Statistics) -> Chosen | None:
    """What its network was shown in the script's own tests, or, without any, in training, where that can be told."""
    transform = measured(trained.tested or trained.rows, given.arrays[0])
    return None if transform is None else Chosen(transform, (_MEASURED,))


def _test_sets() -> list[GraderCIFAR10]:
    return [images for images in reversed(given.made) if not images.train]


def _ways() -> Iterator[_Way]:
    """The last one first; what a loader was given comes before what no loader was given."""
    alone = [images for images in _test_sets() if own_items(images) and images not in given.loaded]
    for source in (*reversed(given.loaded), *alone):
        through = _ThroughDataSet(source, [(holder, name) for holder, name, _ in _places(source)])
        if _leads(through):
            yield _Way(_known(through, source), _test_images(source)[0])
    for images in _test_sets():
        if not own_items(images):
            yield _Way(images.transform or ToTensor(), images)


def _test_images(source: Any) -> list[GraderCIFAR10]:
    """The test sets that a data set of the script leads to; none where it leads to training images too, or is ours."""
    if isinstance(source, GraderCIFAR10) and not own_items(source):
        return []
    found = [images for _, _, images in _places(source)]
    return [] if any(images.train for images in found) else found


def _places(source: Any) -> list[tuple[Any, str, GraderCIFAR10]]:
    """Where a data set of the script keeps images of ours, holder and attribute, and whose they are."""
    ours = {id(images.data): images for images in given.made}
    return [(holder, name, ours[id(value)]) for holder, name, value in _kept(source) if id(value) in ours]


def _kept(source: Any) -> Iterator[tuple[Any, str, Any]]:
    """What a data set and those in it keep, from the outside in: holder, attribute and value."""
    ahead, seen = [source], set[int]()
    while ahead and len(seen) < _SEARCHED:
        holder = ahead.pop()
        if id(holder) in seen:
            continue
        seen.add(id(holder))
        for name, value in getattr(holder, "__dict__", {}).items():
            yield holder, name, value
            if isinstance(value, Dataset):
                ahead.append(value)
            elif isinstance(value, list):
                ahead.extend(each for each in value[:_SEARCHED] if isinstance(each, Dataset))


def _leads(through: _ThroughDataSet) -> bool:
    """Whether two images still differ at the end of the way: a data set may keep what it once made of an index."""
    images, _ = given.arrays
    first, second = _made_of(through, (images[0], 255 - images[0])) or (torch.zeros(0), torch.zeros(0))
    return first.shape == second.shape and not torch.equal(first, second)


def _known(through: _ThroughDataSet, source: Any) -> Transform:
    """The way through a data set as transforms of torchvision that it keeps, which can be written down, or as it is."""
    kept = [value for _, _, value in _kept(source) if type(value).__module__.startswith(_TRANSFORMS)]
    images, _ = given.arrays
    shown = (255 - images[0], *images[:_ALIKE])
    expected = _made_of(through, shown)
    # The innermost data set transforms first.
    known: list[Transform] = [*kept, Compose(kept[::-1])]
    for transform in known:
        made = _made_of(transform, shown)
        if made and expected and all(map(torch.equal, made, expected)):
            return transform
    return through


def _made_of(transform: Transform, images: Iterable[np.ndarray[Any, Any]]) -> list[torch.Tensor]:
    """What becomes of some images; nothing where that fails, as it may in code of the script's own."""
    try:
        return [tensor_of(transform(Image.fromarray(image))) for image in images]
    except Exception:
        return []


def _fits(transform: Transform, trained: Statistics) -> bool:
    shown = Statistics()
    made = _made_of(transform, training_images(_SHOWN)[0])
    if not made or len({image.shape for image in made}) > 1:
        return False
    shown.add(torch.stack(made))
    return not mismatch(trained, shown)


def training_images(count: int) -> tuple[Images, Images]:
    """So many training images, evenly spread, and their labels; all where there are fewer."""
    images, labels = given.arrays
    rows = np.linspace(0, len(images) - 1, min(count, len(images))).astype(np.int64)
    return images[rows], labels[rows]


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
