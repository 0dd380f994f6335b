"""Data loaders on a system that cannot fork: the same batches without worker processes."""

from collections.abc import Iterator

import pytest

from forks import Forks, forks

SCRIPT = """
import torch
from torch.utils.data import DataLoader, TensorDataset

from grader.worker.speed import loading
from grader.worker.channel import all_notes

images = TensorDataset(torch.arange(10))
DataLoader.__init__ = loading.in_own_process(DataLoader.__init__)
plain = DataLoader(images, 5)
assert not all_notes()
positional = DataLoader(images, 5, False, None, None, 2)
named = DataLoader(images, batch_size=5, num_workers=2, persistent_workers=True, prefetch_factor=4, timeout=9,
                   multiprocessing_context="spawn", drop_last=True)
for loader in (plain, positional, named):
    assert loader.num_workers == 0
    assert [batch[0].tolist() for batch in loader] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
assert named.drop_last
print(*all_notes())
"""


@pytest.fixture(scope="module")
def loaded() -> Iterator[Forks]:
    """For scripts that replace what is to stay as it is here."""
    with forks("import torch, torchvision") as server:
        yield server


def test_batches_are_loaded_without_worker_processes_and_a_note_says_so(loaded: Forks) -> None:
    finished = loaded.run(SCRIPT)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == "Your script loaded data without worker processes because this system cannot fork them.\n"


OWN_LOADING = """
import numpy as np
import torch
from torch.utils.data import DataLoader, Subset
from torch.utils.data.dataloader import _DatasetKind
from torchvision import transforms

from grader.worker import dataset
from grader.worker.speed import loading

chance = np.random.default_rng(0)
arrays = chance.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8), np.arange(40) % 10
dataset.serve(arrays, batched=True)
_DatasetKind.create_fetcher = staticmethod(loading.fetcher_of(_DatasetKind.create_fetcher))
PLAIN = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)])
RANDOM = transforms.Compose([transforms.RandomHorizontalFlip(), PLAIN])
images = dataset.GraderCIFAR10("data", transform=PLAIN)
turned = dataset.GraderCIFAR10("data", transform=RANDOM)
numbered = dataset.GraderCIFAR10("data", transform=PLAIN, target_transform=lambda label: label + 1)


class Derived(dataset.GraderCIFAR10):
    pass


def loader(data, **options):
    return DataLoader(data, batch_size=4, shuffle=True, num_workers=2, **options)


own = [
    loader(images),
    loader(Subset(images, range(12))),
    loader(Subset(Subset(images, range(30)), range(3, 11))),
    loader(images, pin_memory=False, timeout=9, drop_last=True),
]
theirs = [
    loader(turned),
    loader(numbered),
    loader(Derived("data", transform=PLAIN)),
    loader(images, worker_init_fn=print),
    loader(images, collate_fn=list),
    loader(images, persistent_workers=True),
]


def batches(loader):
    torch.manual_seed(3)
    return [batch for _ in range(2) for batch in loader], torch.rand(3)


by_hand = DataLoader(images, batch_sampler=[map(int, "012"), {3, 4}, torch.arange(5)])
assert [labels.tolist() for _, labels in by_hand] == [[0, 1, 2], [3, 4], [0, 1, 2, 3, 4]]

with_workers, drawn = zip(*map(batches, own))
own_loading = loading.OwnLoading(enabled=True, random=lambda: False)
DataLoader._get_iterator = own_loading.iterator_of(DataLoader._get_iterator)
without, drawn_then = zip(*map(batches, own))
assert own_loading.share == 1
for some, others in zip(with_workers, without, strict=True):
    for (left, labels), (right, other_labels) in zip(some, others, strict=True):
        assert torch.equal(left, right) and torch.equal(labels, other_labels)
assert all(map(torch.equal, drawn, drawn_then))
assert [(each.num_workers, each.timeout) for each in own] == [(2, 0), (2, 0), (2, 0), (2, 9)]


def ahead(loader):  # the same batches, each made before it is asked for
    given = []
    torch.manual_seed(3)
    for _ in range(2):
        current = iter(loader)
        for batch in current:
            given.append(batch)
            current.prepare()
            current.prepare()
    return given


for each, expected in zip(own, without, strict=True):
    for (left, labels), (right, other_labels) in zip(ahead(each), expected, strict=True):
        assert torch.equal(left, right) and torch.equal(labels, other_labels)
before = own_loading.share
for each in theirs:
    assert type(iter(each)).__name__ == "_MultiProcessingDataLoaderIter"
assert own_loading.share < before
"""


OWN_DRAWS = (
    OWN_LOADING.split("own = [")[0]
    + """
images.data = images.data + np.arange(40, dtype=np.uint8).reshape(-1, 1, 1, 1)  # each image is another


def order(loader):
    torch.manual_seed(3)
    labels = [label for _, batch in loader for label in batch.tolist()]
    return labels, torch.rand(3)


labels, drawn = order(loader(turned))
own_loading = loading.OwnLoading(enabled=True, random=lambda: True)
DataLoader._get_iterator = own_loading.iterator_of(DataLoader._get_iterator)
labels_then, drawn_then = order(loader(turned))
assert (own_loading.share, own_loading.random_share) == (1, 1)
assert labels == labels_then and torch.equal(drawn, drawn_then)
torch.manual_seed(3)
(first, _), *_ = loader(turned)
torch.manual_seed(3)
(again, _), *_ = loader(turned)
torch.manual_seed(4)
(other, _), *_ = loader(turned)
assert torch.equal(first, again) and not torch.equal(first, other)
assert type(iter(loader(images))).__name__ == "_WholeBatches"
assert own_loading.random_share < own_loading.share
"""
)


def test_random_transforms_are_drawn_for_whole_batches_without_a_number_of_the_script_s(loaded: Forks) -> None:
    finished = loaded.run(OWN_DRAWS)
    assert finished.returncode == 0, finished.stderr


def test_what_workers_would_only_hand_over_is_loaded_without_them_and_is_the_same(loaded: Forks) -> None:
    finished = loaded.run(OWN_LOADING)
    assert finished.returncode == 0, finished.stderr
