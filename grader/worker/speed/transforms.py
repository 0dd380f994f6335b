"""torchvision's usual transforms on a whole batch of images, with the values and random numbers of one by one."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torchvision import transforms, tv_tensors
from torchvision.transforms import functional, v2

# A step for each image, in the order in which the transform would draw: what it draws, or None.
Draws = Sequence[Any]
Step = tuple[Callable[[], Any], Callable[[torch.Tensor, Draws], torch.Tensor]]

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
        match each, type(each) in _KNOWN:
            case transforms.ToTensor() | v2.ToTensor(), True:
                tensors += 1
                steps.append((_nothing, _to_tensor))
            case v2.ToImage(), True:
                images += 1
            case v2.ToDtype(dtype=torch.dtype()), True if tensors or images:
                steps.append((_nothing, _to_dtype(each)))
            case transforms.Normalize() | v2.Normalize(), True if tensors or images:
                steps.append((_nothing, _normalize(each)))
            case transforms.RandomHorizontalFlip() | v2.RandomHorizontalFlip(), True:
                steps.append((_draw_flip(each), _flip))
            case transforms.RandomCrop() | v2.RandomCrop(), True if _fits(each, height, width):
                steps.append((_draw_crop(each, height, width), _crop(each)))
                height, width = each.size
            case _:
                return None
    if images:
        if any(type(each) not in _SECOND_VERSION for each in _flat(transform)):
            return None
        steps.append((_nothing, _as_image))
    return tuple(steps) if tensors + images == 1 else None


def draw_nothing(steps: tuple[Step, ...]) -> bool:
    """Whether no random number goes into an image."""
    return all(draw is _nothing for draw, _ in steps)


def transformed(images: np.ndarray[Any, Any], steps: tuple[Step, ...]) -> torch.Tensor:
    """Apply prepared steps to copies of images, uint8 of shape (N, H, W, 3), drawing for each image in turn.

    Returns:
        Shape (N, 3, H, W), of the dtype and the kind of tensor that the transform gives.
    """
    draws = [[draw() for draw, _ in steps] for _ in images]
    batch = torch.from_numpy(images.copy()).permute(0, 3, 1, 2)
    for index, (_, apply) in enumerate(steps):
        batch = apply(batch, [drawn[index] for drawn in draws])
    return batch


def _flat(transform: Any) -> Iterator[Any]:
    if type(transform) in (transforms.Compose, v2.Compose):
        for each in transform.transforms:
            yield from _flat(each)
    else:
        yield transform


def _nothing() -> None:
    return None


def _to_tensor(batch: torch.Tensor, _: Draws) -> torch.Tensor:
    return batch.contiguous().to(torch.get_default_dtype()).div(255)


def _to_dtype(step: v2.ToDtype) -> Callable[[torch.Tensor, Draws], torch.Tensor]:
    return lambda batch, _: v2.functional.to_dtype(batch.contiguous(), step.dtype, step.scale)


def _as_image(batch: torch.Tensor, _: Draws) -> Any:
    return batch.as_subclass(tv_tensors.Image)


def _normalize(step: Any) -> Callable[[torch.Tensor, Draws], torch.Tensor]:
    return lambda batch, _: functional.normalize(batch, step.mean, step.std, step.inplace)


def _draw_flip(step: Any) -> Callable[[], bool]:
    return lambda: bool(torch.rand(1) < step.p)


def _flip(batch: torch.Tensor, draws: Draws) -> torch.Tensor:
    return torch.where(torch.tensor(draws)[:, None, None, None], batch.flip(-1), batch)


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


def _draw_crop(step: Any, height: int, width: int) -> Callable[[], tuple[int, int]]:
    plain = torch.empty((1, height, width), dtype=torch.uint8)
    if isinstance(step, v2.RandomCrop):

        def drawn() -> tuple[int, int]:
            place = step.make_params([plain])
            return place["top"], place["left"]

        return drawn
    padded = _pad(step, plain)
    return lambda: step.get_params(padded, step.size)[:2]


def _crop(step: Any) -> Callable[[torch.Tensor, Draws], torch.Tensor]:
    def cropped(batch: torch.Tensor, draws: Draws) -> torch.Tensor:
        height, width = step.size
        tops, lefts = torch.tensor(draws).unbind(1)
        windows: torch.Tensor = _pad(step, batch).unfold(2, height, 1).unfold(3, width, 1)
        return windows[torch.arange(len(batch)), :, tops, lefts]

    return cropped
