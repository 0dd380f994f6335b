"""Test images go through the transform, or the data set, with which the script itself tests its network."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import transforms

from grader.worker.dataset import GraderCIFAR10, given
from grader.worker.preprocessing import Chosen, Statistics, chosen, remembering

NORMALIZE = transforms.Normalize((0.5,) * 3, (0.2,) * 3)
PLAIN = transforms.Compose([transforms.ToTensor(), NORMALIZE])
LARGE = transforms.Compose([transforms.Resize(64), transforms.ToTensor(), NORMALIZE])
IMAGES = np.random.default_rng(0).integers(0, 256, (100, 32, 32, 3), dtype=np.uint8)
IMAGE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8))


@pytest.fixture(autouse=True)
def _a_new_script(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"arrays": (IMAGES, np.arange(100) % 10), "made": [], "loaded": []}.items():
        monkeypatch.setattr(given, name, value)
    given._used[:] = memoryview(bytes(8 * len(given._used))).cast("q")
    monkeypatch.setattr(DataLoader, "__init__", remembering(DataLoader.__init__))


def trained_on(transform: Any) -> Statistics:
    statistics = Statistics()
    statistics.add(torch.stack([transform(Image.fromarray(image)) for image in IMAGES]))
    return statistics


def data_set(transform: Any, train: bool = False) -> GraderCIFAR10:
    return GraderCIFAR10("./data", train=train, transform=transform)


def choose(trained: Any = PLAIN) -> Chosen:
    return chosen(trained_on(trained) if trained else Statistics())


def test_a_test_set_that_was_made_for_a_picture_is_not_chosen() -> None:
    data_set(PLAIN)
    data_set(LARGE)
    found = choose()
    assert found.transform is PLAIN
    (note,) = found.notes
    assert "fits its training images" in note


def test_the_test_set_that_was_evaluated_comes_first() -> None:
    evaluated, _ = data_set(PLAIN), data_set(PLAIN.transforms[0])
    for _ in DataLoader(evaluated, 4):
        pass
    found = choose(trained=PLAIN.transforms[0])
    assert found.transform is PLAIN
    (note,) = found.notes
    assert "tested its network" in note


def test_of_those_that_fit_the_last_is_chosen_and_the_training_set_never() -> None:
    data_set(transforms.ToTensor())
    last = transforms.Compose([PLAIN])
    data_set(PLAIN)
    data_set(last)
    data_set(PLAIN, train=True)
    assert choose().transform is last


def test_one_test_set_is_taken_without_a_word() -> None:
    data_set(LARGE)
    assert choose() == Chosen(LARGE)
    assert choose(trained=None) == Chosen(LARGE)


def test_a_test_set_without_a_transform_becomes_tensors() -> None:
    data_set(None)
    assert isinstance(choose().transform, transforms.ToTensor)


def test_without_a_test_set_the_training_transform_is_taken_and_noted() -> None:
    data_set(transforms.Compose([transforms.RandomHorizontalFlip(), *PLAIN.transforms]), train=True)
    found = choose()
    assert [type(step).__name__ for step in found.transform.transforms] == ["ToTensor", "Normalize"]  # type: ignore[attr-defined]
    assert "no test set" in found.notes[0]


def test_without_any_data_set_that_is_noted() -> None:
    found = choose()
    assert isinstance(found.transform, transforms.ToTensor)
    assert "no data set" in found.notes[0]


class Wrapper(Dataset[Any]):
    def __init__(self, images: Any, transform: Any = PLAIN) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        image, label = self.images[index]
        return self.transform(image), label


class OfArrays(Dataset[Any]):
    def __init__(self, images: Any) -> None:
        self.images, self.labels = images.data, images.targets

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Any:
        return PLAIN(Image.fromarray(self.images[index])), self.labels[index]


class Derived(GraderCIFAR10):
    def __getitem__(self, index: int) -> Any:
        return PLAIN(Image.fromarray(self.data[index])), self.targets[index]


class Kept(Wrapper):
    """Makes each item once."""

    def __init__(self, images: Any) -> None:
        super().__init__(images)
        self.items: dict[int, Any] = {}

    def __getitem__(self, index: int) -> Any:
        if index not in self.items:
            self.items[index] = super().__getitem__(index)
        return self.items[index]


SOURCES: dict[str, Any] = {
    "wrapper": lambda: Wrapper(data_set(None)),
    "wrapper of a part": lambda: Wrapper(Subset(data_set(None), range(3, 9))),
    "part of a wrapper": lambda: Subset(Wrapper(data_set(None)), range(3, 9)),
    "wrapper of a wrapper": lambda: Wrapper(Wrapper(data_set(None), lambda image: image)),
    "arrays": lambda: OfArrays(data_set(None)),
    "derived": lambda: Derived("./data", train=False),
}


@pytest.mark.parametrize("source", SOURCES)
def test_an_image_goes_through_the_script_s_own_data_set(source: str) -> None:
    Wrapper(data_set(None, train=True))
    made = SOURCES[source]()
    before = made[0][0]
    DataLoader(made, 4)
    found = choose()
    assert torch.equal(found.transform(IMAGE), PLAIN(IMAGE))
    assert found.flags == ()
    assert torch.equal(made[0][0], before)


def test_the_way_through_a_data_set_is_named_by_the_transforms_that_it_keeps() -> None:
    class Mine(Dataset[Any]):
        def __init__(self, inner: Any, outer: Any) -> None:
            self.images, self.transform = data_set(inner), outer

        def __len__(self) -> int:
            return 100

        def __getitem__(self, index: int) -> Any:
            image, label = self.images[index]
            return self.transform(image), label

    DataLoader(Mine(None, LARGE), 4)
    assert choose(trained=LARGE).transform is LARGE
    DataLoader(Mine(transforms.ToTensor(), NORMALIZE), 4)
    found: Any = choose().transform
    assert [type(step).__name__ for step in found.transforms] == ["ToTensor", "Normalize"]


def test_a_data_set_that_keeps_its_items_is_not_asked_for_others() -> None:
    kept = Kept(data_set(None))
    for _ in DataLoader(kept, 4):
        pass
    assert isinstance(choose().transform, transforms.ToTensor)


def test_test_images_that_the_script_changed_in_memory_are_flagged() -> None:
    changed = data_set(PLAIN)
    assert choose().flags == ()
    changed.data = changed.data[::-1][:10]
    assert choose().flags == ()
    changed.data = changed.data[:, :, ::-1]
    (flag,) = choose().flags
    assert "changed the images" in flag


def test_a_copy_of_a_test_set_is_known_by_the_loader_that_gets_it() -> None:
    copied = copy.deepcopy(data_set(None))
    copied.transform = PLAIN
    for _ in DataLoader(copied, 4):
        pass
    assert choose().transform is PLAIN


def test_what_is_done_outside_any_transform_is_seen_at_the_network() -> None:
    data_set(transforms.ToTensor())
    trained = trained_on(PLAIN)
    for batch in torch.split(torch.stack([PLAIN(Image.fromarray(image)) for image in IMAGES]), 10):
        trained.test(batch)
    found = chosen(trained)
    assert torch.equal(found.transform(IMAGE), PLAIN(IMAGE))
    (note,) = found.notes
    assert "saw at your network" in note
    assert found.flags == ()


def test_without_a_test_of_its_own_the_training_images_tell() -> None:
    trained = Statistics()
    for batch in torch.split(torch.stack([PLAIN(Image.fromarray(image)) for image in IMAGES]), 10):
        trained.add(batch)
    assert torch.equal(chosen(trained).transform(IMAGE), PLAIN(IMAGE))
    # A script that tests itself shows there what a test image becomes.
    trained.test(torch.zeros(4, 3, 64, 64))
    data_set(LARGE)
    assert chosen(trained).transform is LARGE
