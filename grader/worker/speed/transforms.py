"""torchvision's usual transforms on a whole batch, with the values and random numbers of one image after the other."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torchvision import transforms, tv_tensors
from torchvision.transforms import functional, v2

# What was drawn for each image: a sequence, or a tensor with a row for each.
Draws = Any
Apply = Callable[[torch.Tensor, Draws], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a transform, for whole batches.

    Attributes:
        apply: Changes a batch, given what was drawn.
        draw: Draws for one image, as torchvision does; None: the step draws nothing.
        draw_all: Draws for so many images at once: other numbers of the same distribution.
    """

    apply: Apply
    draw: Callable[[], Any] | None = None
    draw_all: Callable[[int, torch.Generator], torch.Tensor] | None = None


_NAMES = ("ToTensor", "Normalize", "RandomHorizontalFlip", "RandomCrop")
_SECOND_VERSION = frozenset([getattr(v2, name) for name in (*_NAMES, "ToImage", "ToDtype")])
_KNOWN = _SECOND_VERSION.union(getattr(transforms, name) for name in _NAMES)


def batch_steps(transform: Any, height: int, width: int) -> tuple[Step, ...] | None:
    """Prepare a transform for whole batches; None where one of its steps has no exact batched form.

    Known are ToTensor, Normalize, RandomCrop and RandomHorizontalFlip of both versions, and ToImage and ToDtype, in any
    order and composed at any depth; not what is derived from them, nor the first version's on an Image of the second.
    """
    steps: list[Step] = []
    tensors = images = 0
    for each in _flat(transform):
        if type(each) not in _KNOWN:
            return None
        match each:
            case transforms.ToTensor() | v2.ToTensor():
                tensors += 1
                steps.append(Step(_to_tensor))
            case v2.ToImage():
                images += 1
            case v2.ToDtype(dtype=torch.dtype()) if tensors or images:
                steps.append(Step(_to_dtype(each)))
            case transforms.Normalize() | v2.Normalize() if tensors or images:
                steps.append(Step(_normalize(each)))
            case transforms.RandomHorizontalFlip() | v2.RandomHorizontalFlip():
                steps.append(_random_flip(each))
            case transforms.RandomCrop() | v2.RandomCrop() if _fits(each, height, width):
                steps.append(_random_crop(each, height, width))
                height, width = each.size
            case _:
                return None
    if images:
        if any(type(each) not in _SECOND_VERSION for each in _flat(transform)):
            return None
        steps.append(Step(_as_image))
    return tuple(steps) if tensors + images == 1 else None


def draw_nothing(steps: tuple[Step, ...]) -> bool:
    """Whether no random number goes into an image."""
    return all(step.draw is None for step in steps)


def transformed(
    images: np.ndarray[Any, Any], steps: tuple[Step, ...], chance: torch.Generator | None = None
) -> torch.Tensor:
    """Apply prepared steps to copies of images, uint8 of shape (N, H, W, 3).

    Args:
        chance: Draw for the whole batch at once, from this; None: for each image in turn, as torchvision does.

    Returns:
        Shape (N, 3, H, W), of the dtype and the kind of tensor that the transform gives.
    """
    draws = _drawn(len(images), steps) if chance is None else _drawn_at_once(len(images), steps, chance)
    batch = torch.from_numpy(images.copy()).permute(0, 3, 1, 2)
    for step, drawn in zip(steps, draws, strict=True):
        batch = step.apply(batch, drawn)
    return batch


def _drawn(images: int, steps: tuple[Step, ...]) -> list[list[Any]]:
    """For each step what each image gets, drawn in the order in which the transform would."""
    if draw_nothing(steps):
        return [[] for _ in steps]
    each = [[step.draw() if step.draw else None for step in steps] for _ in range(images)]
    return [list(drawn) for drawn in zip(*each, strict=True)]


def _drawn_at_once(images: int, steps: tuple[Step, ...], chance: torch.Generator) -> list[Any]:
    return [step.draw_all(images, chance) if step.draw_all else [] for step in steps]


def _flat(transform: Any) -> Iterator[Any]:
    if type(transform) in (transforms.Compose, v2.Compose):
        for each in transform.transforms:
            yield from _flat(each)
    else:
        yield transform


def _to_tensor(batch: torch.Tensor, _: Draws) -> torch.Tensor:
    return batch.contiguous().to(torch.get_default_dtype()).div(255)


def _to_dtype(step: v2.ToDtype) -> Callable[[torch.Tensor, Draws], torch.Tensor]:
    return lambda batch, _: v2.functional.to_dtype(batch.contiguous(), step.dtype, step.scale)


def _as_image(batch: torch.Tensor, _: Draws) -> Any:
    return batch.as_subclass(tv_tensors.Image)


def _normalize(step: Any) -> Callable[[torch.Tensor, Draws], torch.Tensor]:
    return lambda batch, _: functional.normalize(batch, step.mean, step.std, step.inplace)


def _random_flip(step: Any) -> Step:
    def flipped(batch: torch.Tensor, draws: Draws) -> torch.Tensor:
        return torch.where(torch.as_tensor(draws)[:, None, None, None], batch.flip(-1), batch)

    return Step(
        flipped,
        draw=lambda: bool(torch.rand(1) < step.p),
        draw_all=lambda images, chance: torch.rand(images, generator=chance) < step.p,
    )


def _pad(step: Any, images: torch.Tensor) -> Any:
    if step.padding is None:
        return images
    # The second version keeps left, right, top, bottom, and takes left, top, right, bottom.
    padding = [step.padding[side] for side in (0, 2, 1, 3)] if isinstance(step, v2.RandomCrop) else step.padding
    return functional.pad(images, padding, step.fill, step.padding_mode)


def _fits(step: Any, height: int, width: int) -> bool:
    if step.pad_if_needed or not isinstance(step.fill, int | float):
        return False
    padded = _pad(step, torch.empty((1, height, width), dtype=torch.uint8))
    return all(a >= b for a, b in zip(padded.shape[1:], step.size, strict=True))


def _random_crop(step: Any, height: int, width: int) -> Step:
    plain = torch.empty((1, height, width), dtype=torch.uint8)
    padded = _pad(step, plain)
    places = [whole - part + 1 for whole, part in zip(padded.shape[1:], step.size, strict=True)]

    def draw() -> tuple[int, int]:
        if isinstance(step, v2.RandomCrop):
            place = step.make_params([plain])
            return place["top"], place["left"]
        top, left, *_ = step.get_params(padded, step.size)
        return top, left

    def draw_all(images: int, chance: torch.Generator) -> torch.Tensor:
        return torch.stack([torch.randint(most, (images,), generator=chance) for most in places], dim=1)

    def cropped(batch: torch.Tensor, draws: Draws) -> torch.Tensor:
        high, wide = step.size
        tops, lefts = torch.as_tensor(draws).unbind(1)
        windows: torch.Tensor = _pad(step, batch).unfold(2, high, 1).unfold(3, wide, 1)
        return windows[torch.arange(len(batch)), :, tops, lefts]

    return Step(cropped, draw, draw_all)
