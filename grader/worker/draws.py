"""Transforms that draw random numbers, of torch, NumPy or Python: the same ones for the same image."""

import random
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image

Transform = Callable[[Image.Image], Any]


def seed_by(chance: int, image: Image.Image) -> None:
    """Let the random numbers that are drawn next follow from an image: asked for twice, it is changed in the same way.

    Over all images a transform draws as ever; which draw an image gets is left to `chance`.
    """
    seed = chance ^ zlib.crc32(image.tobytes())
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)


def draws(transform: Transform, image: Image.Image) -> bool:
    """Whether the transform of this image takes random numbers from torch, NumPy or Python."""
    before = _states()
    transform(image)
    return _states() != before


def _states() -> tuple[Any, ...]:
    _, keys, position, *_ = np.random.get_state()
    return torch.get_rng_state().tolist(), random.getstate(), np.asarray(keys).tolist(), position
