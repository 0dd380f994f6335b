from itertools import chain

import torch
import torch.nn as nn
import torch.nn.functional as F


class Block(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in (cin, cout))
        self.convs = nn.ModuleList(
            nn.Conv2d(fan, cout, 3, stride, 1) for fan, stride in ((cin, 1 if cin == cout else 2), (cout, 1))
        )
        self.project = None if cin == cout else nn.Conv2d(cin, cout, 1, 2)

    def halves(self):
        yield from zip(self.norms, self.convs)

    def forward(self, x):
        way = x
        for norm, conv in self.halves():
            way = conv(norm(way).relu_())
        return way + (x if self.project is None else self.project(x))


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super().__init__()
        self.first = nn.Conv2d(3, 64, 3, 1, 1)
        self.stages = nn.ModuleList(
            nn.ModuleList(Block(cin if number == 0 else cout, cout) for number in range(count))
            for cin, cout, count in (
                (64, 64, nblk_stage1),
                (64, 128, nblk_stage2),
                (128, 256, nblk_stage3),
                (256, 512, nblk_stage4),
            )
        )
        self.last = nn.Linear(512, 10)

    def steps(self):
        yield self.first
        yield from chain.from_iterable(self.stages)
        yield lambda x: F.avg_pool2d(x, 4).squeeze(3).squeeze(2)
        yield self.last

    def forward(self, x):
        for step in self.steps():
            x = step(x)
        return x


if __name__ == "__main__":
    net = IdentityResNet(2, 2, 2, 2)
    net(torch.randn(4, 3, 32, 32)).sum().backward()
