"""A training transform that stands in for a test set's loses what draws random numbers, and nothing else."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import v2

from grader.worker.preprocessing import without_random_parts

NORMALIZE = transforms.Normalize((0.5,) * 3, (0.5,) * 3)
PLAIN = transforms.Compose([transforms.ToTensor(), NORMALIZE])
SHOWN = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))


def names(transform: Any) -> list[str]:
    return [type(step).__name__ for step in transform.transforms]


@pytest.mark.parametrize(
    "step",
    [
        transforms.RandomCrop(32, padding=4),
        transforms.RandomHorizontalFlip(),
        transforms.ColorJitter(0.2),
        transforms.RandomApply([transforms.Grayscale(3)]),
        transforms.RandomChoice([transforms.Grayscale(3)]),
        transforms.RandAugment(),
        transforms.AutoAugment(),
        transforms.TrivialAugmentWide(),
        transforms.AugMix(),
        transforms.GaussianBlur(3),
        v2.GaussianNoise(),
        v2.RandomResizedCrop(32, antialias=True),
    ],
    ids=lambda step: type(step).__name__,
)
def test_a_random_step_is_left_out(step: Any) -> None:
    assert names(without_random_parts(transforms.Compose([step, *PLAIN.transforms]), SHOWN)) == [
        "ToTensor",
        "Normalize",
    ]


def test_a_random_step_inside_a_composed_step_is_left_out() -> None:
    augment = transforms.Compose([transforms.RandomCrop(32, padding=4), transforms.CenterCrop(28)])
    kept = without_random_parts(transforms.Compose([augment, transforms.ToTensor()]), SHOWN)
    assert names(kept) == ["Compose", "ToTensor"]
    assert names(kept.transforms[0]) == ["CenterCrop"]


@pytest.mark.parametrize("number", [lambda: torch.rand(1), np.random.rand, random.random])
def test_a_step_of_the_scripts_own_that_draws_is_left_out(number: Any) -> None:
    own = transforms.Lambda(lambda image: [image, image][number() < 0.5])
    for steps in ([own, *PLAIN.transforms], [PLAIN.transforms[0], own, PLAIN.transforms[1]]):
        assert names(without_random_parts(transforms.Compose(steps), SHOWN)) == ["ToTensor", "Normalize"]


def test_a_transform_that_fails_alone_stays_as_it_is() -> None:
    fails = transforms.Compose([transforms.Lambda(lambda image: image.no_such_name)])
    assert without_random_parts(fails, SHOWN) is fails


def test_steps_that_draw_nothing_stay_in_their_order() -> None:
    steps = [transforms.Resize(40), transforms.CenterCrop(32), transforms.ToTensor(), NORMALIZE]
    kept = without_random_parts(transforms.Compose(steps), SHOWN)
    assert kept.transforms == steps
    assert isinstance(without_random_parts(v2.Compose([v2.ToImage()]), SHOWN), v2.Compose)


def test_a_transform_that_cannot_be_taken_apart_stays() -> None:
    def plain(image: Any) -> Any:
        return image

    assert without_random_parts(plain, SHOWN) is plain
    assert isinstance(without_random_parts(None, SHOWN), transforms.ToTensor)
