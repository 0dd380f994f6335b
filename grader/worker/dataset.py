"""The torchvision.datasets.CIFAR10 that a student's script sees."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torchvision
from torch.utils.data import Subset
from torchvision.datasets import VisionDataset

from grader.records import CLASS_NAMES
from grader.worker.channel import shared_counts
from grader.worker.look.watch import one_image
from grader.worker.speed.transforms import Step, batch_steps, transformed
from grader.worker.standins import files

# The real test set is a sixth of CIFAR-10, a fifth of its training set.
_STAND_IN_FRACTION = 5
_HUNDRED = 100

# Data sets whose use is counted, each in its own place; later ones share the last.
_COUNTED = 64
_LOOKED_AT = 20

Arrays = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


class Served:
    """How many images went out one by one and in batches, a DataLoader's forked workers among those that count.

    Two that count in the same instant may lose one of the counts: a share does not need a lock.
    """

    def __init__(self) -> None:
        self._counts = shared_counts(2)

    def count(self, images: int, *, batched: bool) -> None:
        """Add so many images."""
        self._counts[int(batched)] += images

    @property
    def share(self) -> float:
        """The share that went out in batches; 0 before any went out."""
        alone, together = self._counts
        return together / max(1, alone + together)


served = Served()


@dataclass(slots=True)
class Given:
    """What the data sets of a run are made of, and which were made.

    It is kept here and not on the class, whose attributes are torchvision's.

    Attributes:
        arrays: Images, uint8 of shape (N, 32, 32, 3), and labels, int64 of shape (N,).
        batched: Transform whole batches at once where that gives the same values.
        made: Every data set, in the order in which the script made them.
        loaded: What the script's loaders were given that leads to one of these.
    """

    arrays: Arrays = field(default_factory=lambda: (np.empty((0, 32, 32, 3), np.uint8), np.empty(0, np.int64)))
    batched: bool = False
    made: list["GraderCIFAR10"] = field(default_factory=list)
    loaded: list[Any] = field(default_factory=list)
    _numbers: dict[int, int] = field(default_factory=dict)
    _used: memoryview = field(default_factory=lambda: shared_counts(_COUNTED))

    def add(self, images: "GraderCIFAR10") -> None:
        """Keep a data set that was made."""
        self._numbers[id(images)] = min(len(self.made), _COUNTED - 1)
        self.made.append(images)

    def use(self, images: "GraderCIFAR10", count: int = 1) -> None:
        """Count images that a data set gave out, in a loader's worker too; those of a copy are nobody's."""
        number = self._numbers.get(id(images))
        if number is not None:
            self._used[number] += count

    def uses(self, images: "GraderCIFAR10") -> int:
        """How many images a data set gave out."""
        return int(self._used[self._numbers[id(images)]])


given = Given()


class GraderCIFAR10(torchvision.datasets.CIFAR10):  # type: ignore[misc]
    """CIFAR-10 with torchvision's signature and attributes, over the grader's read-only training arrays.

    With `train=False` it is a stand-in: a copy of a fifth of the training images, classes balanced. So a script's own
    test loop works, and no test image can be trained on (grader/docs/students_scripts.md).
    """

    def __init__(
        self,
        root: str | Path,
        train: bool = True,
        transform: Callable[..., Any] | None = None,
        target_transform: Callable[..., Any] | None = None,
        download: bool = False,
    ) -> None:
        VisionDataset.__init__(self, root, transform=transform, target_transform=target_transform)
        self.train = train
        images, labels = _private(given.arrays) if train else _stand_in(given.arrays)
        self.data, self.targets = images, labels.tolist()
        self.classes = list(CLASS_NAMES)
        self.class_to_idx = {name: index for index, name in enumerate(CLASS_NAMES)}
        if download:
            self.download()
            files.lay_out(self.root, len(given.arrays[1]))
        given.add(self)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        given.use(self)
        item: tuple[Any, Any] = super().__getitem__(index)
        return item

    def _check_integrity(self) -> bool:
        return True


# A pickle names its class: torchvision's name is this class here, and torchvision's own elsewhere.
GraderCIFAR10.__name__ = GraderCIFAR10.__qualname__ = "CIFAR10"
GraderCIFAR10.__module__ = torchvision.datasets.cifar.__name__
_GETITEM = GraderCIFAR10.__getitem__


def below(source: Any, rows: Sequence[int] = ()) -> tuple[Any, Sequence[int]]:
    """The data set below every `Subset`, and where rows of the outermost lie in it."""
    while type(source) is Subset:
        source, rows = source.dataset, [source.indices[row] for row in rows]
    return source, rows


def items(images: GraderCIFAR10, indices: Sequence[int]) -> list[tuple[Any, Any]]:
    """The same as one image after the other, faster where the transform has a batched form."""
    steps = steps_of(images)
    served.count(len(indices), batched=steps is not None)
    if steps is None:
        return [images[index] for index in indices]
    given.use(images, len(indices))
    batch = transformed(images.data[list(indices)], steps)
    targets = [images.targets[index] for index in indices]
    if images.target_transform is not None:
        targets = [images.target_transform(target) for target in targets]
    rows = [row.as_subclass(type(batch)) for row in batch.unbind()]  # unbind forgets the second version's Image
    return list(zip(rows, targets, strict=True))


def steps_of(images: GraderCIFAR10) -> tuple[Step, ...] | None:
    """The transform for whole batches, unless it has none, or the script changed what a data set does."""
    data = images.data
    if (
        not given.batched
        or own_items(images)
        or not isinstance(data, np.ndarray)
        or data.dtype != np.uint8
        or data.ndim != 4
    ):
        return None
    return batch_steps(images.transform, *data.shape[1:3])


def own_items(images: GraderCIFAR10) -> bool:
    """Whether the script changed what its data set does with an image."""
    return type(images).__getitem__ is not _GETITEM


def were_changed(images: GraderCIFAR10) -> bool:
    """Whether the script put other images in the place of a data set's own; fewer of them, or another order, is none.

    A few images are looked at.
    """
    data = images.data
    if not isinstance(data, np.ndarray) or data.shape[1:] != (32, 32, 3) or data.dtype != np.uint8:
        return True
    own = {zlib.crc32(image.tobytes()) for image in given.arrays[0]}
    some = data[np.linspace(0, len(data) - 1, min(_LOOKED_AT, len(data))).astype(np.int64)]
    return any(zlib.crc32(image.tobytes()) not in own for image in some)


def serve(arrays: Arrays, *, batched: bool) -> None:
    """Fill the stand-in for CIFAR-10; the arguments are those of `Given`."""
    given.arrays, given.batched = arrays, batched
    files.serve(lambda training: given.arrays if training else _stand_in(given.arrays))


def load_arrays(folder: Path) -> Arrays:
    """The training arrays, mapped copy-on-write: workers share the pages, and a script may change its own copy."""
    # As a word: of a Path, NumPy would keep what its links lead to, where a job may not go.
    images = np.load(str(folder / "x_train.npy"), mmap_mode="c", allow_pickle=False)
    labels = np.load(folder / "y_train.npy", allow_pickle=False)
    return np.asarray(images), labels


def blank_arrays(count: int = 50_000) -> Arrays:
    """Images in CIFAR-10's number, for a check without data."""
    return one_image(count), np.arange(count) % len(CLASS_NAMES)


def _private(arrays: Arrays) -> Arrays:
    """The same images, in memory of their own where a script writes to them: as if they had been read once more."""
    images, labels = arrays
    mapped = images.base
    if isinstance(mapped, np.memmap):
        images = np.asarray(np.load(str(mapped.filename), mmap_mode="c", allow_pickle=False))
    return images, labels


def _stand_in(arrays: Arrays) -> Arrays:
    """A fifth of the images in whole hundreds, as test loops expect of a test set; all where that is less than one."""
    images, labels = arrays
    size = max(_HUNDRED, len(labels) // _STAND_IN_FRACTION // _HUNDRED * _HUNDRED)
    place_in_class = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        place_in_class[own] = np.arange(len(own))
    rows = np.sort(np.argsort(place_in_class, kind="stable")[:size])
    return images[rows], labels[rows]
