"""What a test image goes through on its way to the network: what the script's own images go through.

Its transform is that of the test set with which the script itself evaluates. A script may make several test sets, one
of them for a plot only. And it may put a data set of its own around one: then an image goes the way that the script's
own images go, through that data set.

What the script does to an image beside that is found out from what its network was shown. Mostly it does the same to
every pixel. Then some images that the network was shown, found again among the training images, tell what became of
each of the 256 values. Else it may be a normalisation, the same straight line for each channel, which follows from the
channel's mean and spread before it (what the script's transform makes of training images) and after it (what the
training forwards saw). Whether that helps is decided on training images, whose labels are no secret.
"""

import functools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset, Subset
from torchvision.transforms import Compose, ToTensor

from grader.worker.dataset import GraderCIFAR10, given, own_items, were_changed
from grader.worker.draws import Transform, draws

Images = np.ndarray[Any, Any]
Pair = tuple[Images, torch.Tensor]
After = Callable[[torch.Tensor], torch.Tensor]

CHANNELS, VALUES, SIDE = 3, 256, 32
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
# Images that tell what becomes of a value: fewer may be a chance; more take time.
_LEAST, _MOST = 8, 64
# Training images in which others are looked for at once.
_CHUNK = 1_000
_RANDOM = ("Rand", "AutoAugment", "AugMix", "TrivialAugment", "ColorJitter", "Gaussian", "ElasticTransform")
# Training images on which a step of the loop must help, and by how much in accuracy: less may be chance.
_SAMPLE, _GAIN = 500, 0.05
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


class Chosen(NamedTuple):
    """A transform for test images, what the student is told of it, and what a person should look at."""

    transform: Transform
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


class _Way(NamedTuple):
    """A data set of the script and the test set of ours that it leads to."""

    transform: Transform
    images: GraderCIFAR10


class ThroughDataSet:
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
        through = ThroughDataSet(source, [(holder, name) for holder, name, _ in _places(source)])
        if _leads(through):
            yield _Way(_known(through, source), _test_images(source)[0])
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


def _leads(through: ThroughDataSet) -> bool:
    """Whether two images still differ at the end of the way: a data set may keep what it once made of an index."""
    images, _ = given.arrays
    first, second = _made_of(through, (images[0], 255 - images[0])) or (torch.zeros(0), torch.zeros(0))
    return first.shape == second.shape and not torch.equal(first, second)


def _known(through: ThroughDataSet, source: Any) -> Transform:
    """The way through a data set as transforms of torchvision that it keeps, which can be written down, or as it is."""
    kept = [value for _, _, value in _kept(source) if type(value).__module__.startswith(_TRANSFORMS)]
    images, _ = given.arrays
    shown = (255 - images[0], *images[:_ALIKE])
    expected = _made_of(through, shown)
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
    made = _made_of(transform, _training_images(_SHOWN)[0])
    if not made or len({image.shape for image in made}) > 1:
        return False
    shown.add(torch.stack(made))
    return not mismatch(trained, shown)


def _training_images(count: int) -> tuple[Images, Images]:
    """So many training images, evenly spread, and their labels; all where there are fewer."""
    images, labels = given.arrays
    rows = np.linspace(0, len(images) - 1, min(count, len(images))).astype(np.int64)
    return images[rows], labels[rows]


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


def found_again(
    transform: Transform, trained: Statistics, scores_of: Callable[[Images, Transform, Statistics], bytes]
) -> After | None:
    """What the loop does to an image; None where that explains nothing.

    Args:
        transform: The script's own for test images.
        trained: Of the first training forwards.
        scores_of: Predicts, and adds what it showed to the network to the statistics.
    """
    images, labels = _training_images(_SAMPLE)
    before = Statistics()
    plain = _accuracy(scores_of(images, transform, before), labels)
    if before.shape != trained.shape or before.dtype != trained.dtype or not trained.channels or not before.channels:
        return None
    (mean, spread), (mean_after, spread_after) = _moments(before), _moments(trained)
    slope = spread_after / spread.clamp(min=1e-6)

    def after(shown: torch.Tensor) -> torch.Tensor:
        return (shown - mean.to(shown.dtype)) * slope.to(shown.dtype) + mean_after.to(shown.dtype)

    looped = scores_of(images, with_after(transform, after), Statistics())
    return after if _accuracy(looped, labels) > plain + _GAIN else None


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
