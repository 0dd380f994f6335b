"""What the benchmark trains: the assignment's typical scripts, and generated images in both forms that are read."""

import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np

REFERENCE = Path(__file__).parents[2] / "reference" / "hw6.py"
TEST_IMAGES = 100
EPOCHS = 5
_CLASSES = 10
SGD = "optim.SGD(net.parameters(), lr=learning_rate, momentum=0.9, nesterov=True, weight_decay=5e-4)"
BATCH = "batch_size = 64"
NO_SCHEDULE = {
    """    scheduler = optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, epochs=EPOCHS, steps_per_epoch=len(loader), pct_start=0.25, cycle_momentum=False
    )
""": "",
    "            scheduler.step()\n": "",
}
# What most hand in: the tutorial's optimizer and its images as they are.
TYPICAL = {
    "transform=augment": "transform=transform",
    "CrossEntropyLoss(label_smoothing=0.1)": "CrossEntropyLoss()",
    SGD: "optim.SGD(net.parameters(), lr=0.01, momentum=0.9)",
    **NO_SCHEDULE,
}


@dataclass(frozen=True, slots=True)
class Workload:
    """A small class whose submissions are all the same script, but for a comment.

    Attributes:
        train_images: Five epochs of them are a fixed number of steps; enough for every optimization to be in use.
    """

    name: str
    batch_size: int
    train_images: int
    submissions: int
    typical: bool

    @property
    def images(self) -> int:
        """Training images that one run uses."""
        return EPOCHS * self.train_images

    def script_of(self, number: int) -> str:
        """The text of one student's hw6.py: the reference, or what most hand in; equal files would be run once."""
        changes = {BATCH: f"batch_size = {self.batch_size}"} | (TYPICAL if self.typical else {})
        return f"{replaced(REFERENCE.read_text(encoding='utf-8'), changes)}# student {number}\n"


WORKLOADS = (
    Workload("typical, batch 4", 4, 160, 2, typical=True),
    Workload("typical, batch 32", 32, 800, 2, typical=True),
    Workload("reference, batch 64", 64, 640, 2, typical=False),
)


def replaced(text: str, changes: dict[str, str]) -> str:
    """The text with every change made, each of which must be possible."""
    for before, after in changes.items():
        if before not in text:
            raise ValueError(f"the reference no longer has {before!r}")
        text = text.replace(before, after)
    return text


def write_data(workload: Workload, folder: Path) -> Path:
    """Write random images as torchvision's files below `folder`, for the bare script, and as an .npz; return that."""
    chance = np.random.default_rng(0)
    sizes = {"train": workload.train_images, "test": TEST_IMAGES}
    images = {part: chance.integers(0, 256, (size, 32, 32, 3), dtype=np.uint8) for part, size in sizes.items()}
    labels = {part: np.arange(size) % _CLASSES for part, size in sizes.items()}
    batches = folder / "data" / "cifar-10-batches-py"
    batches.mkdir(parents=True)
    flat = {part: array.transpose(0, 3, 1, 2).reshape(len(array), -1) for part, array in images.items()}
    for number, rows in enumerate(np.array_split(np.arange(sizes["train"]), 5), start=1):
        _pickle(
            batches / f"data_batch_{number}", {"data": flat["train"][rows], "labels": labels["train"][rows].tolist()}
        )
    _pickle(batches / "test_batch", {"data": flat["test"], "labels": labels["test"].tolist()})
    _pickle(batches / "batches.meta", {"label_names": [str(number) for number in range(_CLASSES)]})
    np.savez(
        folder / "images.npz",
        x_train=images["train"],
        y_train=labels["train"],
        x_test=images["test"],
        y_test=labels["test"],
    )
    return folder / "images.npz"


def _pickle(path: Path, values: object) -> None:
    path.write_bytes(pickle.dumps(values))
