"""The torchvision.datasets.CIFAR10 that a student's script sees."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torchvision
from torchvision.datasets import VisionDataset

from grader.records import CLASS_NAMES
from grader.worker.channel import shared_counts
from grader.worker.look.watch import one_image
from grader.worker.speed.transforms import Step, batch_steps, transformed

# The real test set is a sixth of CIFAR-10, a fifth of its training set.
_STAND_IN_FRACTION = 5
_HUNDRED = 100

_GETITEM = torchvision.datasets.CIFAR10.__getitem__

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


class GraderCIFAR10(torchvision.datasets.CIFAR10):  # type: ignore[misc]
    """CIFAR-10 with torchvision's signature and attributes, over the grader's read-only training arrays.

    With `train=False` it is a stand-in: a copy of a fifth of the training images, classes balanced. So a script's own
    test loop works, and no test image can be trained on (DESIGN, rule 3).
    """

    arrays: ClassVar[Arrays]
    batched: ClassVar[bool] = False
    made: ClassVar[list["GraderCIFAR10"]] = []

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
        images, labels = self.arrays if train else _stand_in(self.arrays)
        self.data, self.targets = images, labels.tolist()
        self.classes = list(CLASS_NAMES)
        self.class_to_idx = {name: index for index, name in enumerate(CLASS_NAMES)}
        if download:
            self.download()
        self.made.append(self)

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Any, Any]]:
        """What a DataLoader asks for: the same as one image after the other, faster where that has a batched form."""
        steps = self.steps
        served.count(len(indices), batched=steps is not None)
        if steps is None:
            return [self[index] for index in indices]
        images = transformed(self.data[list(indices)], steps)
        targets = [self.targets[index] for index in indices]
        if self.target_transform is not None:
            targets = [self.target_transform(target) for target in targets]
        rows = [row.as_subclass(type(images)) for row in images.unbind()]  # unbind forgets the second version's Image
        return list(zip(rows, targets, strict=True))

    @property
    def steps(self) -> tuple[Step, ...] | None:
        """The transform for whole batches, unless it has none, or the script changed what a data set does."""
        own = type(self).__getitem__ is not _GETITEM
        data = self.data
        if not self.batched or own or not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 4:
            return None
        return batch_steps(self.transform, *data.shape[1:3])

    def download(self) -> None:
        """Say what torchvision says when the files are there."""
        print("Files already downloaded and verified")

    def _check_integrity(self) -> bool:
        return True


GraderCIFAR10.__name__ = GraderCIFAR10.__qualname__ = "CIFAR10"


def serve(arrays: Arrays, *, batched: bool) -> None:
    """Fill the stand-in for CIFAR-10.

    Args:
        arrays: Images, uint8 of shape (N, 32, 32, 3), and labels, int64 of shape (N,).
        batched: Transform whole batches at once where that gives the same values.
    """
    GraderCIFAR10.arrays, GraderCIFAR10.batched = arrays, batched


def load_arrays(folder: Path) -> Arrays:
    """The training arrays, mapped copy-on-write: workers share the pages, and a script may change its own copy."""
    images = np.load(folder / "x_train.npy", mmap_mode="c", allow_pickle=False)
    labels = np.load(folder / "y_train.npy", allow_pickle=False)
    return np.asarray(images), labels


def blank_arrays(count: int = 50_000) -> Arrays:
    """Images in CIFAR-10's number, for a check without data."""
    return one_image(count), np.arange(count) % len(CLASS_NAMES)


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
