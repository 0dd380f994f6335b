from typing import Optional

import torch
import torch.nn as nn
import torch.nn.functional as F


class Half(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.bn = nn.BatchNorm2d(cin)
        self.conv = nn.Conv2d(cin, cout, 3, stride, 1)

    def forward(self, x: torch.Tensor, skip: Optional[torch.Tensor]) -> torch.Tensor:
        out = self.conv(F.relu(self.bn(x)))
        if skip is None:
            return out
        return out + skip


class Block(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.first = torch.jit.script(Half(cin, cout, cout // cin))
        self.second = torch.jit.script(Half(cout, cout, 1))
        self.skip = nn.Conv2d(cin, cout, 1, 2) if cin != cout else None

    def forward(self, x):
        skip = x if self.skip is None else self.skip(x)
        return self.second(self.first(x, None), skip)


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super().__init__()
        self.conv = nn.Conv2d(3, 64, 3, padding=1)
        widths, blocks = [64, 64, 128, 256, 512], []
        for stage, count in enumerate((nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4)):
            for block in range(count):
                cin, cout = widths[stage if block == 0 else stage + 1], widths[stage + 1]
                blocks.append(Block(cin, cout))
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(512, 10)

    def forward(self, x):
        out = F.avg_pool2d(self.blocks(self.conv(x)), 4)
        return self.fc(out.flatten(1))


if __name__ == "__main__":
    net = IdentityResNet(2, 2, 2, 2)
    net(torch.randn(4, 3, 32, 32)).sum().backward()
