"""Transforms of test images that draw random numbers, as many a script has that uses one transform for both sets."""

import random
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image

Transform = Callable[[Image.Image], Any]


def draws(transform: Transform, image: Image.Image) -> bool:
    """Whether the transform of this image takes random numbers from torch, NumPy or Python."""
    before = _states()
    transform(image)
    return _states() != before


def same_for_same_image(transform: Transform) -> Transform:
    """The transform with draws that follow from the image, so that one asked for twice is changed in the same way.

    Over all images it draws as ever: which draw an image gets is left to chance, once for each call of this.
    """
    chance = int(torch.randint(2**32, ()))

    def changed(image: Image.Image) -> Any:
        seed = chance ^ zlib.crc32(image.tobytes())
        torch.default_generator.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        return transform(image)

    return changed


def _states() -> tuple[Any, ...]:
    _, keys, position, *_ = np.random.get_state()
    return torch.get_rng_state().tolist(), random.getstate(), np.asarray(keys).tolist(), position
