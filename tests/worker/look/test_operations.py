"""What an operation is called follows from its values, whatever shapes they have."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from grader.worker.look.operations import Operation, recognised

IMAGE = torch.rand(2, 3, 4, 4)
ROW = torch.rand(2, 3, 1, 4)


@pytest.mark.parametrize(
    ("value", "result", "name"),
    [(IMAGE, F.pad(IMAGE, (1,) * 4, mode="circular"), "circular_pad2d"), (ROW, F.pad(ROW, (3, 3, 4, 4)), "")],
    ids=["circular", "a row in a larger image"],
)
def test_an_image_in_a_larger_one_is_padding_only_where_it_is_wrapped(value: Tensor, result: Tensor, name: str) -> None:
    layer = recognised(Operation("write", None, (), {}, result), value, direct=True)
    assert (layer.op if layer else "") == name
