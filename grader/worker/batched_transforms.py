"""torchvision's usual transforms on a whole batch of images, with the values and random numbers of one by one."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torchvision import transforms
from torchvision.transforms import functional

# A step for each image, in the order in which the transform would draw: what it draws, or None.
Draws = Sequence[Any]
Step = tuple[Callable[[], Any], Callable[[torch.Tensor, Draws], torch.Tensor]]


def batch_steps(transform: Any, height: int, width: int) -> tuple[Step, ...] | None:
    """Prepare a transform for whole batches; None where one of its steps has no exact batched form.

    Known are ToTensor, Normalize, RandomCrop and RandomHorizontalFlip, in any order and composed at any depth; not
    what is derived from them.
    """
    steps: list[Step] = []
    tensors = 0
    for each in _flat(transform):
        kind = type(each)
        if kind is transforms.ToTensor:
            tensors += 1
            steps.append((_nothing, _to_tensor))
        elif kind is transforms.Normalize and tensors:
            steps.append((_nothing, _normalize(each)))
        elif kind is transforms.RandomHorizontalFlip:
            steps.append((_draw_flip(each), _flip))
        elif kind is transforms.RandomCrop and not each.pad_if_needed:
            padded = _pad(each, torch.empty((1, height, width), dtype=torch.uint8))
            if min(a - b for a, b in zip(padded.shape[1:], each.size, strict=True)) < 0:
                return None
            steps.append((_draw_crop(each, padded), _crop(each)))
            height, width = each.size
        else:
            return None
    return tuple(steps) if tensors == 1 else None


def draw_nothing(steps: tuple[Step, ...]) -> bool:
    """Whether no random number goes into an image."""
    return all(draw is _nothing for draw, _ in steps)


def transformed(images: np.ndarray[Any, Any], steps: tuple[Step, ...]) -> torch.Tensor:
    """Apply prepared steps to copies of images, uint8 of shape (N, H, W, 3), drawing for each image in turn.

    Returns:
        Shape (N, 3, H, W), in torch's default dtype.
    """
    draws = [[draw() for draw, _ in steps] for _ in images]
    batch = torch.from_numpy(images.copy()).permute(0, 3, 1, 2)
    for index, (_, apply) in enumerate(steps):
        batch = apply(batch, [drawn[index] for drawn in draws])
    return batch


def _flat(transform: Any) -> Iterator[Any]:
    if type(transform) is transforms.Compose:
        for each in transform.transforms:
            yield from _flat(each)
    else:
        yield transform


def _nothing() -> None:
    return None


def _to_tensor(batch: torch.Tensor, _: Draws) -> torch.Tensor:
    return batch.contiguous().to(torch.get_default_dtype()).div(255)


def _normalize(step: transforms.Normalize) -> Callable[[torch.Tensor, Draws], torch.Tensor]:
    return lambda batch, _: functional.normalize(batch, step.mean, step.std, step.inplace)


def _draw_flip(step: transforms.RandomHorizontalFlip) -> Callable[[], bool]:
    return lambda: bool(torch.rand(1) < step.p)


def _flip(batch: torch.Tensor, draws: Draws) -> torch.Tensor:
    return torch.where(torch.tensor(draws)[:, None, None, None], batch.flip(-1), batch)


def _pad(step: transforms.RandomCrop, images: torch.Tensor) -> torch.Tensor:
    return images if step.padding is None else functional.pad(images, step.padding, step.fill, step.padding_mode)


def _draw_crop(step: transforms.RandomCrop, padded: torch.Tensor) -> Callable[[], tuple[int, int, int, int]]:
    return lambda: step.get_params(padded, step.size)


def _crop(step: transforms.RandomCrop) -> Callable[[torch.Tensor, Draws], torch.Tensor]:
    def cropped(batch: torch.Tensor, draws: Draws) -> torch.Tensor:
        height, width = step.size
        tops, lefts = torch.tensor([place[:2] for place in draws]).unbind(1)
        windows = _pad(step, batch).unfold(2, height, 1).unfold(3, width, 1)
        return windows[torch.arange(len(batch)), :, tops, lefts]

    return cropped
