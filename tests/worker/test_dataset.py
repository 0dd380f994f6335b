"""The CIFAR10 that a script sees: torchvision's own in every way but the images."""

import inspect
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset
from torch.utils.data.dataloader import _DatasetKind
from torchvision import transforms
from torchvision.transforms import v2

from grader.worker import dataset as module
from grader.worker.speed.loading import fetcher_of

REAL = torchvision.datasets.CIFAR10
CLASSES, PER_CLASS = 10, 20
ROWS = CLASSES * PER_CLASS


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test installs is taken back after it."""
    monkeypatch.setattr(module, "given", module.Given())
    monkeypatch.setattr(module, "served", module.Served())
    monkeypatch.setattr(_DatasetKind, "create_fetcher", staticmethod(fetcher_of(_DatasetKind.create_fetcher)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Training arrays in which each image's first pixel is its own number."""
    chance = np.random.default_rng(0)
    images = chance.integers(0, 256, (ROWS, 32, 32, 3), dtype=np.uint8)
    images[:, 0, 0, 0] = np.arange(ROWS)
    np.save(tmp_path / "x_train.npy", images)
    np.save(tmp_path / "y_train.npy", chance.permutation(np.arange(ROWS) % CLASSES))
    return tmp_path


@pytest.fixture
def dataset(folder: Path) -> Any:
    """What a script finds under torchvision's name."""
    module.serve(module.load_arrays(folder), batched=True)
    return module.GraderCIFAR10


def numbers(data: Any) -> list[int]:
    return [int(number) for number in data[:, 0, 0, 0]]


def test_the_signature_is_torchvisions() -> None:
    def parameters(cls: Any) -> list[tuple[str, object, object]]:
        return [(each.name, each.kind, each.default) for each in inspect.signature(cls).parameters.values()]

    assert parameters(module.GraderCIFAR10) == parameters(REAL)


def test_every_public_attribute_of_torchvisions_is_there(dataset: Any) -> None:
    made = dataset(root="./data", transform=transforms.ToTensor(), target_transform=int)
    public = {"root", "train", "transform", "target_transform", "transforms", "data", "targets", "classes"}
    assert public | {"class_to_idx"} <= set(vars(made))
    assert {name for name in dir(REAL) if not name.startswith("_")} <= set(dir(made))
    assert isinstance(made.transform, transforms.ToTensor)


def test_the_training_set_is_the_arrays(dataset: Any, folder: Path) -> None:
    made = dataset("./data", True, None, None, True)
    assert len(made) == ROWS
    assert np.array_equal(made.data, np.load(folder / "x_train.npy"))
    assert made.data.dtype == np.uint8
    assert made.targets == np.load(folder / "y_train.npy").tolist()
    assert all(type(target) is int for target in made.targets)
    assert made.classes[3] == "cat"
    assert made.class_to_idx["truck"] == 9


def test_it_is_a_cifar10_and_a_dataset(dataset: Any) -> None:
    made = dataset("./data")
    assert isinstance(made, torchvision.datasets.CIFAR10)
    assert isinstance(made, torchvision.datasets.cifar.CIFAR10)
    assert isinstance(made, REAL)
    assert isinstance(made, torchvision.datasets.VisionDataset)
    assert isinstance(made, Dataset)
    assert type(made).__name__ == "CIFAR10"


def test_the_test_set_is_a_balanced_part_of_the_training_rows(dataset: Any) -> None:
    training, test = dataset("./data"), dataset("./data", train=False)
    assert len(test) == 100
    assert np.bincount(test.targets).tolist() == [10] * CLASSES
    rows = numbers(test.data)
    assert len(set(rows)) == len(rows)
    assert np.array_equal(test.data, training.data[rows])
    assert test.targets == [training.targets[row] for row in rows]


@pytest.mark.parametrize(
    ("images", "size"), [(7, 7), (50, 50), (130, 100), (700, 100), (1_000, 200), (1_499, 200), (50_000, 10_000)]
)
def test_the_test_set_has_whole_hundreds_or_all_images(images: int, size: int) -> None:
    module.serve(module.blank_arrays(images), batched=True)
    targets = module.GraderCIFAR10("./data", train=False).targets
    assert len(targets) == size
    counts = np.bincount(targets, minlength=CLASSES)
    assert counts.max() - counts.min() <= (size < 100)


def test_a_class_of_few_images_leaves_its_places_in_the_test_set_to_the_others() -> None:
    few = np.array([0] * 3 + [1] * 500 + [2] * 600)
    module.serve((module.blank_arrays(len(few))[0], few), batched=True)
    assert np.bincount(module.GraderCIFAR10("./data", train=False).targets).tolist() == [3, 99, 98]


def test_items_go_through_the_transforms(dataset: Any) -> None:
    image, label = dataset("./data")[5]
    assert isinstance(image, Image.Image)
    assert (image.size, image.mode, type(label)) == ((32, 32), "RGB", int)
    tensor, text = dataset("./data", transform=transforms.ToTensor(), target_transform=str)[5]
    assert tensor.shape == (3, 32, 32)
    assert torch.equal(tensor, transforms.ToTensor()(image))
    assert text == str(label)


def test_a_script_that_changes_its_images_does_not_change_the_file(dataset: Any, folder: Path) -> None:
    before = (folder / "x_train.npy").read_bytes()
    made = dataset("./data")
    made.data[:] = 0
    made.targets[:] = [0] * ROWS
    assert numbers(made.data) == [0] * ROWS
    assert (folder / "x_train.npy").read_bytes() == before
    assert len(set(dataset("./data").targets)) == CLASSES


# On a machine with one processor, torch advises fewer workers.
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_two_workers_load_every_image_once(dataset: Any) -> None:
    made = dataset("./data", transform=transforms.PILToTensor())
    seen: list[int] = []
    targets: list[int] = []
    for images, labels in DataLoader(made, batch_size=64, num_workers=2):
        seen += images[:, 0, 0, 0].tolist()
        targets += labels.tolist()
    assert seen == list(range(ROWS))
    assert targets == made.targets


def test_a_download_finds_everything_there(dataset: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets.cifar, "download_and_extract_archive", None)
    assert len(dataset("./data", download=True)) == ROWS


def test_it_describes_itself_as_torchvisions_does(dataset: Any) -> None:
    text = repr(dataset("./data", train=False, transform=transforms.ToTensor()))
    assert text.startswith("Dataset CIFAR10\n")
    assert "Number of datapoints: 100\n" in text
    assert "Split: Test" in text
    assert "ToTensor()" in text


def test_a_script_may_derive_from_it(dataset: Any) -> None:
    class Twice(dataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return 2 * int(super().__len__())

    assert len(Twice(root="./data", train=True, download=True)) == 2 * ROWS


def test_a_check_without_data_costs_no_memory_and_has_cifar10s_size() -> None:
    images, labels = module.blank_arrays()
    assert images.shape == (50_000, 32, 32, 3)
    assert np.bincount(labels).tolist() == [5_000] * CLASSES


class OwnItems(module.GraderCIFAR10):
    """A script may derive its data set."""

    def __getitem__(self, index: int) -> Any:
        image, label = super().__getitem__(index)
        return image + 1, label


def one_epoch(dataset: Any, workers: int = 0) -> list[Any]:
    torch.manual_seed(3)
    return list(DataLoader(dataset, batch_size=32, shuffle=True, num_workers=workers))


AUGMENTED = transforms.Compose(
    [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
)
SECOND_VERSION = v2.Compose(
    [
        *(v2.ToImage(), v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip()),
        *(v2.ToDtype(torch.float32, scale=True), v2.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))),
    ]
)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("subset", [False, True])
@pytest.mark.parametrize("transform", [AUGMENTED, SECOND_VERSION], ids=["first version", "second version"])
def test_a_loader_gives_the_same_batches_with_and_without_the_batched_transforms(
    dataset: Any, monkeypatch: pytest.MonkeyPatch, workers: int, subset: bool, transform: Any
) -> None:
    images = dataset("data", transform=transform, target_transform=lambda label: label + 1)
    source = Subset(images, range(0, ROWS, 2)) if subset else images
    batched = one_epoch(source, workers)
    assert module.served.share == 1
    monkeypatch.setattr(module.given, "batched", False)
    one_by_one = one_epoch(source, workers)
    assert module.served.share == pytest.approx(0.5, abs=0.2)
    for (some, labels), (others, other_labels) in zip(batched, one_by_one, strict=True):
        assert torch.equal(some, others)
        assert type(some) is type(others)
        assert torch.equal(labels, other_labels)


def test_what_a_script_does_with_its_data_set_is_kept(folder: Path) -> None:
    module.serve(module.load_arrays(folder), batched=True)
    derived = OwnItems("data", transform=transforms.ToTensor())
    assert min(float(images.min()) for images, _ in one_epoch(derived)) >= 1
    changed = module.GraderCIFAR10("data", transform=transforms.ToTensor())
    changed.data = np.full_like(changed.data, 255)
    changed.targets = [4] * ROWS
    images, labels = one_epoch(changed)[0]
    assert bool((images == 1).all())
    assert bool((labels == 4).all())


@pytest.mark.parametrize("transform", [AUGMENTED, SECOND_VERSION], ids=["first version", "second version"])
def test_an_image_of_a_batch_is_of_the_kind_that_it_is_alone(dataset: Any, transform: Any) -> None:
    images = dataset("data", transform=transform)
    image, _ = module.items(images, [3])[0]
    assert type(image) is type(images[3][0])


class Delegating(Dataset[Any]):
    """A wrapper as it stands in many forums: it hands on every name that it lacks."""

    def __init__(self, images: Any) -> None:
        self.images = images

    def __getattr__(self, name: str) -> Any:
        if name == "images":
            raise AttributeError(name)
        return getattr(self.images, name)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        image, label = self.images[index]
        return image + 1, label


@pytest.mark.parametrize("workers", [0, 2])
def test_a_wrapper_that_hands_on_every_name_is_asked_itself(dataset: Any, workers: int) -> None:
    wrapped = Delegating(dataset("data", transform=transforms.ToTensor()))
    sources: list[Dataset[Any]] = [wrapped, Subset(wrapped, range(40)), ConcatDataset([wrapped, wrapped])]
    for source in sources:
        assert min(float(images.min()) for images, _ in one_epoch(source, workers)) >= 1


def test_it_has_no_name_that_torchvisions_lacks(dataset: Any) -> None:
    """Whatever torch looks for in a data set, also through a wrapper, it finds as in torchvision's."""
    # copyreg keeps __slotnames__ on any class of which an object was pickled.
    names = set(dir(dataset("data"))) - {"__slotnames__"}
    assert names - set(dir(REAL)) == {"root", "train", "transform", "target_transform", "transforms"} | {
        *("data", "targets", "classes", "class_to_idx")
    }


def test_it_is_pickled_by_torchvisions_name(dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = dataset("data", transform=transforms.ToTensor())
    with monkeypatch.context() as installed:
        installed.setattr(torchvision.datasets.cifar, "CIFAR10", dataset)
        kept = pickle.dumps(Subset(made, range(5)))
        torch.save(made, tmp_path / "set.pt")
        again = torch.load(tmp_path / "set.pt", weights_only=False)
        assert type(again) is dataset
        assert torch.equal(again[7][0], made[7][0])
    elsewhere = pickle.loads(kept)  # where the name is torchvision's own
    assert type(elsewhere.dataset) is REAL
    assert elsewhere[3][1] == made[3][1]


def test_images_that_were_given_out_are_counted_in_workers_too(dataset: Any) -> None:
    alone, together = dataset("data"), dataset("data", train=False, transform=transforms.ToTensor())
    assert len(one_epoch(Subset(together, range(20)), 2)) == 1
    assert [alone[index][1] for index in range(3)] == alone.targets[:3]
    assert (module.given.uses(alone), module.given.uses(together)) == (3, 20)


def test_images_that_no_batch_can_hold_are_given_one_by_one(dataset: Any) -> None:
    pictures = dataset("data")
    image, _ = module.items(pictures, [3])[0]
    assert isinstance(image, Image.Image)
    assert module.served.share == 0
