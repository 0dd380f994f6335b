from torch.utils.checkpoint import checkpoint

import torch
import torch.nn as nn
import torch.nn.functional as F


class Block(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(cin), nn.BatchNorm2d(cout)
        self.conv1 = nn.Conv2d(cin, cout, 3, cout // cin, 1)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1)
        self.skip = nn.Sequential() if cin == cout else nn.Conv2d(cin, cout, 1, 2)

    def forward(self, x):
        out = self.conv1(F.relu(self.bn1(x)))
        out = self.conv2(F.relu(self.bn2(out)))
        return out + self.skip(x)


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super().__init__()
        self.conv = nn.Conv2d(3, 64, 3, padding=1)
        self.stage1 = nn.ModuleList([Block(64, 64) for _ in range(nblk_stage1)])
        self.stage2 = nn.ModuleList([Block(64, 128)] + [Block(128, 128) for _ in range(nblk_stage2 - 1)])
        self.stage3 = nn.ModuleList([Block(128, 256)] + [Block(256, 256) for _ in range(nblk_stage3 - 1)])
        self.stage4 = nn.ModuleList([Block(256, 512)] + [Block(512, 512) for _ in range(nblk_stage4 - 1)])
        self.fc = nn.Linear(512, 10)

    def forward(self, x):
        x = self.conv(x)
        for stage in (self.stage1, self.stage2, self.stage3, self.stage4):
            for block in stage:
                x = checkpoint(block, x, use_reentrant=False)
        return self.fc(F.avg_pool2d(x, 4).flatten(1))


if __name__ == "__main__":
    net = IdentityResNet(2, 2, 2, 2)
    net(torch.randn(4, 3, 32, 32)).sum().backward()
