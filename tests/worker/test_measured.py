"""What a script does to a test image outside any transform is seen at its network, where it is the same for a pixel."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms

from grader.worker.measured import measured

IMAGES = np.random.default_rng(0).integers(0, 256, (100, 32, 32, 3), dtype=np.uint8)
OTHERS = np.random.default_rng(1).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
MEAN, SPREAD = torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1), torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)


def normalised(images: Tensor) -> Tensor:
    return (images.float() / 255 - MEAN) / SPREAD


WAYS: dict[str, Callable[[Tensor], Tensor]] = {
    "a line for each channel": normalised,
    "double": lambda images: normalised(images).double() * 2,
    "a curve": lambda images: (images.float() / 255) ** 0.5,
    "turned around": lambda images: 1 - images.float() / 255,
    "integers": lambda images: images.long(),
}
OTHER_WAYS: dict[str, Callable[[Tensor], Tensor]] = {
    "each image by its own mean": lambda images: images.float() - images.float().mean(dim=(1, 2, 3), keepdim=True),
    "mirrored": lambda images: normalised(images).flip(-1),
    "blurred": lambda images: transforms.GaussianBlur(3, 1.0)(normalised(images)),
    "larger": lambda images: torch.nn.functional.interpolate(normalised(images), size=64),
    "of other images": lambda images: torch.rand(images.shape),
    "black": lambda images: torch.zeros(images.shape),
    "colours swapped": lambda images: normalised(images).flip(1),
}


def batch(images: np.ndarray[Any, Any]) -> Tensor:
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


@pytest.mark.parametrize("way", WAYS)
def test_what_becomes_of_each_value_is_found_in_whatever_order_images_come(way: str) -> None:
    shown = WAYS[way](batch(IMAGES[np.random.default_rng(2).permutation(100)]))
    transform = measured(torch.split(shown, 10), IMAGES)
    assert transform is not None
    expected = WAYS[way](batch(OTHERS))
    made = torch.stack([transform(Image.fromarray(image)) for image in OTHERS])
    assert made.dtype == expected.dtype
    assert torch.equal(made, expected)


@pytest.mark.parametrize("way", OTHER_WAYS)
def test_what_is_not_the_same_for_each_pixel_is_not_guessed(way: str) -> None:
    assert measured(torch.split(OTHER_WAYS[way](batch(IMAGES)), 10), IMAGES) is None


def test_images_that_were_changed_at_random_are_left_out() -> None:
    shown = normalised(batch(IMAGES))
    shown[::2] = shown[::2].flip(-1)
    assert measured([shown], IMAGES) is not None


def test_a_few_images_prove_nothing() -> None:
    assert measured([normalised(batch(IMAGES[:5]))], IMAGES) is None
    assert measured([], IMAGES) is None


@pytest.mark.parametrize(("way", "within"), [("a line for each channel", 1e-4), ("a curve", 0.1)])
def test_values_that_no_image_had_follow_from_those_that_one_had(way: str, within: float) -> None:
    images = IMAGES // 4 * 2 + 40
    transform = measured([WAYS[way](batch(images))], images)
    assert transform is not None
    made = transform(Image.fromarray(OTHERS[0].clip(20, 220)))
    assert torch.allclose(made, WAYS[way](batch(OTHERS[:1].clip(20, 220)))[0], atol=within)
