"""A batch that is transformed at once is what torchvision makes image by image: values, random numbers."""

from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from PIL import Image
from torchvision import transforms as T
from torchvision.transforms import v2

from grader.worker.speed.transforms import batch_steps, draw_nothing, transformed

HALF = (0.5, 0.5, 0.5)
CIFAR = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
KNOWN = {
    "the assignment's": T.Compose([T.ToTensor(), T.Normalize(HALF, HALF)]),
    "ToTensor alone": T.ToTensor(),
    "nested": T.Compose([T.Compose([T.ToTensor()]), T.Compose([T.Normalize(*CIFAR, inplace=True)])]),
    "the usual augmentation": T.Compose(
        [T.RandomCrop(32, padding=4), T.RandomHorizontalFlip(), T.ToTensor(), T.Normalize(*CIFAR)]
    ),
    "reflected": T.Compose([T.RandomCrop(32, padding=4, padding_mode="reflect"), T.ToTensor()]),
    "filled with grey": T.Compose([T.RandomCrop(28, padding=2, fill=128), T.RandomHorizontalFlip(0.9), T.ToTensor()]),
    "a crop without padding": T.Compose([T.RandomCrop((24, 20)), T.ToTensor()]),
    "tensors first": T.Compose([T.ToTensor(), T.Normalize(HALF, HALF), T.RandomHorizontalFlip(), T.RandomCrop(32, 4)]),
    "the second version": v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(HALF, HALF)]),
    "the second version's augmentation": v2.Compose(
        [
            *(v2.RandomCrop((28, 32), padding=(1, 4), padding_mode="reflect"), v2.RandomHorizontalFlip(), v2.ToImage()),
            *(v2.ToDtype(torch.float32, scale=True), v2.Normalize(*CIFAR)),
        ]
    ),
    "images first": v2.Compose([v2.ToImage(), v2.RandomCrop(32, 4, fill=9), v2.RandomHorizontalFlip(0.7)]),
    "not scaled": T.Compose([v2.ToImage(), v2.ToDtype(torch.float64), v2.Normalize(HALF, HALF)]),
    "both versions": T.Compose([T.RandomCrop(32, 4), T.ToTensor(), v2.Normalize(HALF, HALF), v2.RandomCrop(30)]),
}


class OwnNormalize(T.Normalize):  # type: ignore[misc]
    """What a script may derive; it could do anything."""


UNKNOWN = {
    "none": None,
    "no tensor": T.Compose([T.RandomHorizontalFlip()]),
    "a function": T.Compose([T.ToTensor(), T.Lambda(lambda image: image * 2)]),
    "derived": T.Compose([T.ToTensor(), OwnNormalize(HALF, HALF)]),
    "another": T.Compose([T.RandomRotation(10), T.ToTensor()]),
    "the first version on an Image": T.Compose([v2.ToImage(), T.RandomHorizontalFlip()]),
    "a dtype for each kind": v2.Compose([v2.ToImage(), v2.ToDtype({"others": None})]),
    "a colour to fill with": T.Compose([T.RandomCrop(32, 4, fill=(1, 2, 3)), T.ToTensor()]),
    "normalised before it is a tensor": T.Compose([T.Normalize(HALF, HALF), T.ToTensor()]),
    "a crop that cannot be": T.Compose([T.RandomCrop(40), T.ToTensor()]),
}


@pytest.fixture
def images() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize("transform", KNOWN.values(), ids=KNOWN.keys())
def test_values_and_random_state_are_those_of_one_image_after_the_other(
    transform: Any, images: np.ndarray[Any, Any]
) -> None:
    before = images.copy()
    torch.manual_seed(7)
    expected = torch.stack([transform(Image.fromarray(image)) for image in images])
    state = torch.get_rng_state()
    steps = batch_steps(transform, 32, 32)
    assert steps is not None
    torch.manual_seed(7)
    batch = transformed(images, steps)
    assert batch.dtype == expected.dtype
    assert torch.equal(batch, expected)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(images, before)
    assert type(batch) is type(transform(Image.fromarray(images[0])))


RANDOM = {
    name: transform for name, transform in KNOWN.items() if not draw_nothing(batch_steps(transform, 32, 32) or ())
}


@pytest.mark.parametrize("transform", RANDOM.values(), ids=RANDOM.keys())
def test_what_is_drawn_for_a_whole_batch_is_distributed_as_torchvision_draws(transform: Any) -> None:
    """How often each value came in two samples: they differ by no more than chance (chi-square, one in 10,000)."""
    torch.manual_seed(5)
    chance, draws = torch.Generator().manual_seed(6), 4000
    for step in batch_steps(transform, 32, 32) or ():
        if step.draw is None:
            assert step.draw_all is None
            continue
        assert step.draw_all is not None
        theirs = torch.tensor([step.draw() for _ in range(draws)]).int().reshape(draws, -1)
        ours = step.draw_all(draws, chance).int().reshape(draws, -1)
        both = np.concatenate([theirs.numpy(), ours.numpy()])
        _, kinds = np.unique(both, axis=0, return_inverse=True)
        counts = [np.bincount(part.ravel(), minlength=kinds.max() + 1) for part in (kinds[:draws], kinds[draws:])]
        assert scipy.stats.chi2_contingency(counts).pvalue > 1e-4


@pytest.mark.parametrize("transform", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_what_has_no_exact_batched_form_is_left_to_torchvision(transform: Any) -> None:
    assert batch_steps(transform, 32, 32) is None
