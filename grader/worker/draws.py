"""Transforms that draw random numbers, of torch, NumPy or Python: the same ones for the same image."""

import random
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

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
    before = random_states()
    transform(image)
    return random_states() != before


class RandomStates(NamedTuple):
    """The states of the processor's sources of random numbers; equal as long as nothing was drawn."""

    python: Any
    numpy: Any
    torch: list[int]


def random_states() -> RandomStates:
    """What Python, NumPy and torch would draw next on the processor."""
    name, keys, *others = np.random.get_state()
    return RandomStates(random.getstate(), (name, np.asarray(keys).tolist(), *others), torch.get_rng_state().tolist())
