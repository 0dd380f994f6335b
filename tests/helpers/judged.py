"""Networks made here, and what the judge says of them."""

import runpy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from grader.judge.verdict import Judgement, judge
from grader.records import Deviation
from grader.worker.look.network import look_at

REFERENCE = runpy.run_path(str(Path(__file__).parents[2] / "reference" / "hw6.py"), run_name="reference")
NETWORKS = Path(__file__).parents[1] / "submissions" / "networks"
TWO = (2, 2, 2, 2)


def reference(blocks: tuple[int, ...] = TWO, option: str = "B") -> Any:
    return REFERENCE["IdentityResNet"](*blocks, option=option)


def judged(network: object, blocks: tuple[int, ...] = TWO, constructor_error: str = "") -> Judgement:
    return judge(look_at(network, constructor_error), blocks)


def places(judgement: Judgement) -> list[tuple[Deviation, str]]:
    return [(finding.code, finding.where) for finding in judgement.findings]


class OfConvolutions(nn.Module):
    """A block that keeps its shape, of so many convolutions, each with its BN and ReLU."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        layers = [(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)) for _ in range(count)]
        self.way = nn.Sequential(*(layer for three in layers for layer in three))

    def forward(self, images: Tensor) -> Tensor:
        return torch.add(images, self.way(images))
