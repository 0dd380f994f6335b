"""Images for a run that has no data set: the self-check, a check without data, the watch on the nine questions."""

import numpy as np
import numpy.typing as npt


def one_image(count: int) -> npt.NDArray[np.uint8]:
    """One image of noise so many times, in the memory of one; uint8 of shape (count, 32, 32, 3).

    Not a black one: a script that normalises by the mean and the spread that it measures would divide by zero. What is
    written to one of them is written to all.
    """
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return np.lib.stride_tricks.as_strided(image, (count, *image.shape), (0, *image.strides))
