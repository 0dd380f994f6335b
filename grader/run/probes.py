"""The test images as they are asked for, with probes among them, and what the answers say.

An honest network knows nothing of the test set: it scores an image the same in any company, scores it about as well
when it is shifted by one pixel or mirrored, and scores no better than chance before it was trained. Whoever looks
answers up instead cannot have all of that. A script cannot tell the probes from the test images by their place, and
each of them is a flag for a person at most: none moves a point.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from grader.data import DataSet, alike
from grader.records import CLASSES, SCORE_DTYPE, Probes

# Enough for a standard error below four points; 600 extra forwards are a fraction of a percent of five epochs.
_MOST_PROBES = 200
_SCORE = np.dtype(SCORE_DTYPE)

# In points of accuracy, beside four standard errors of the difference. The reference on CIFAR-10 loses one to four.
_FALL = 25
_CHANCE, _ABOVE_CHANCE = 10, 20


@dataclass(frozen=True, slots=True)
class ImagesToScore:
    """What a worker's network is asked.

    Attributes:
        images: uint8 of shape (N + probes, 32, 32, 3), in a fresh secret order.
        order: For each place in `images`, its index in: test set, repeated, shifted, mirrored images.
        chosen: Indices into the test set, of shape (P,): the images that the probes were made of.
        mirrored: Whether there are mirrored images among them.
    """

    images: npt.NDArray[np.uint8]
    order: npt.NDArray[np.int64]
    chosen: npt.NDArray[np.int64]
    mirrored: bool

    @property
    def untrained(self) -> int:
        """How many of the first images are also asked of an untrained copy."""
        return len(self.chosen)

    @property
    def answer_bytes(self) -> int:
        """What must come back: one row of scores for each image, then those of the untrained copy."""
        return (len(self.images) + self.untrained) * CLASSES * _SCORE.itemsize


def images_to_score(data: DataSet, random: np.random.Generator) -> ImagesToScore:
    """Put the test images and the probes in one secret order."""
    chosen = random.choice(len(data.x_test), min(_MOST_PROBES, (len(data.x_test) + 1) // 2), replace=False)
    probed = data.x_test[chosen]
    parts = [data.x_test, probed, _shifted(probed), *([probed[:, :, ::-1]] if data.mirrors else [])]
    everything = np.concatenate(parts)
    order = random.permutation(len(everything))
    return ImagesToScore(np.ascontiguousarray(everything[order]), order, chosen, data.mirrors)


def read_answer(answer: bytes, asked: ImagesToScore, labels: npt.NDArray[np.int64]) -> tuple[bytes, Probes]:
    """Sort an answer.

    Args:
        answer: `asked.answer_bytes` bytes of little-endian float32.
        labels: Of the test set, int64 of shape (N,).

    Returns:
        The scores of the N test images in the test set's order, and what the probes counted.
    """
    rows = np.frombuffer(answer, _SCORE).reshape(-1, CLASSES)
    trained, untrained = rows[: len(asked.images)], rows[len(asked.images) :]
    in_order = np.empty_like(trained)
    in_order[asked.order] = trained
    size, count = len(labels), len(asked.chosen)
    tested, plain = in_order[:size], in_order[asked.chosen]
    repeated, shifted = in_order[size:][:count], in_order[size + count :][:count]
    truth = labels[asked.chosen]
    truth_of_first = np.concatenate([labels, *[truth] * (3 if asked.mirrored else 2)])[asked.order[:count]]
    probes = Probes(
        count=count,
        plain=_right(plain, truth),
        repeated_alike=int(alike(plain, repeated).sum()),
        shifted=_right(shifted, truth),
        mirrored=_right(in_order[size + 2 * count :], truth) if asked.mirrored else None,
        untrained=_right(untrained, truth_of_first) if np.isfinite(untrained).all() else None,
    )
    return tested.tobytes(), probes


def _shifted(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """One pixel to the right and down; the edge is repeated."""
    padded = np.pad(images, ((0, 0), (1, 0), (1, 0), (0, 0)), mode="edge")
    return padded[:, :-1, :-1]


def _right(rows: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> int:
    return int(((rows.argmax(axis=1) == labels) & np.isfinite(rows).all(axis=1)).sum())


def probe_doubts(probes: Probes | None) -> list[str]:
    """Give every doubt in one sentence without a full stop; empty for an honest network."""
    if probes is None:
        return []
    doubts = []
    differing = probes.count - probes.repeated_alike
    if differing:
        doubts.append(
            f"{differing} of {probes.count} test images got other scores when the grader tested them again in other "
            "batches: the network looks at the whole batch, or draws random numbers"
        )
    if probes.mirrored is not None:
        # Photographs only: a shift breaks the 4 x 4 grid of the digits (an honest network fell from 90 % to 35 %).
        doubts += _fall(probes, probes.shifted, "shifted by one pixel")
        doubts += _fall(probes, probes.mirrored, "mirrored")
    if probes.untrained is not None:
        percent = 100 * probes.untrained / probes.count
        if percent > _CHANCE + _ABOVE_CHANCE + _error(probes.count):
            doubts.append(
                f"an untrained copy of the network classifies {percent:.0f} % of {probes.count} test images correctly, "
                f"and chance is {_CHANCE} %: the file may contain the answers"
            )
    return doubts


def _fall(probes: Probes, right: int, how: str) -> list[str]:
    plain, other = (100 * count / probes.count for count in (probes.plain, right))
    if plain - other <= _FALL + _error(probes.count):
        return []
    return [f"accuracy falls from {plain:.0f} % to {other:.0f} % when {probes.count} test images are {how}"]


def _error(count: int) -> float:
    """Four standard errors of a difference of two accuracies, in points, at the worst."""
    return 400 * math.sqrt(0.5 / count)
