"""A test set's random transform draws as in the script, but an image asked for again is changed in the same way."""

import random

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from grader.worker.draws import draws
from grader.worker.preprocessing import Preparation

IMAGES = [Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)) for seed in range(200)]
PLAIN = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)])
FLIPPED = transforms.Compose([transforms.RandomHorizontalFlip(), PLAIN])


@pytest.mark.parametrize(
    "transform",
    [
        FLIPPED,
        lambda image: image if random.random() < 0.5 else PLAIN(image),
        lambda image: image if np.random.rand() < 0.5 else PLAIN(image),
        transforms.RandomCrop(32, padding=4),
    ],
    ids=["torch", "python", "numpy", "crop"],
)
def test_a_draw_from_any_of_the_three_sources_is_seen_and_can_be_repeated(transform: transforms.Compose) -> None:
    assert draws(transform, IMAGES[0])
    same = Preparation(transform, chance=7)
    first = [np.asarray(same(image)) for image in IMAGES[:20]]
    again = [np.asarray(same(image)) for image in reversed(IMAGES[:20])]
    assert all(np.array_equal(one, other) for one, other in zip(first, reversed(again), strict=True))


def test_a_transform_without_draws_is_left_alone() -> None:
    assert not draws(PLAIN, IMAGES[0])


def test_over_all_images_it_draws_as_in_the_script_and_otherwise_each_time() -> None:
    runs = [
        [torch.equal(same(image), PLAIN(image)) for image in IMAGES]
        for same in (Preparation(FLIPPED, chance=1), Preparation(FLIPPED, chance=2))
    ]
    # Of 200 fair draws, 100 within four standard deviations.
    assert all(abs(sum(kept) - 100) < 29 for kept in runs)
    assert runs[0] != runs[1]
