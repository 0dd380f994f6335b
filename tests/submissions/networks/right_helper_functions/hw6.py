import torch
import torch.nn as nn
import torch.nn.functional as F


def half(cin, cout, stride=1):
    return nn.Sequential(nn.BatchNorm2d(cin), nn.ReLU(), nn.Conv2d(cin, cout, 3, stride, 1, bias=False))


def residual(branch, shortcut, x):
    return branch(x) + shortcut(x)


def make_stage(cin, cout, n):
    pairs = nn.ModuleList()
    for i in range(n):
        first = cin if i == 0 else cout
        if first == cout:
            shortcut = nn.Identity()
        else:
            shortcut = nn.Conv2d(first, cout, kernel_size=1, stride=2, bias=False)
        branch = nn.Sequential(half(first, cout, 1 if first == cout else 2), half(cout, cout))
        pairs.append(nn.ModuleList([branch, shortcut]))
    return pairs


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.stages = nn.ModuleList(
            [
                make_stage(64, 64, nblk_stage1),
                make_stage(64, 128, nblk_stage2),
                make_stage(128, 256, nblk_stage3),
                make_stage(256, 512, nblk_stage4),
            ]
        )
        self.pool = nn.AvgPool2d(4, stride=4)
        self.linear = nn.Linear(512, 10)

    def features(self, x):
        x = self.stem(x)
        for stage in self.stages:
            for branch, shortcut in stage:
                x = residual(branch, shortcut, x)
        return x

    def forward(self, x):
        return self.linear(torch.flatten(self.pool(self.features(x)), 1))


if __name__ == "__main__":
    net = IdentityResNet(2, 2, 2, 2)
    loss = net(torch.randn(4, 3, 32, 32)).sum()
    loss.backward()
