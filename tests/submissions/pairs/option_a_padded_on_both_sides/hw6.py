import torch
import torch.nn as nn
import torch.nn.functional as F


class Block(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.more = (cout - cin) // 2
        self.layers = nn.Sequential(
            nn.BatchNorm2d(cin),
            nn.ReLU(),
            nn.Conv2d(cin, cout, 3, stride=2 if self.more else 1, padding=1),
            nn.BatchNorm2d(cout),
            nn.ReLU(),
            nn.Conv2d(cout, cout, 3, padding=1),
        )

    def forward(self, x):
        identity = x
        if self.more:
            identity = F.max_pool2d(identity, 2)
            identity = F.pad(identity, (0, 0, 0, 0, self.more, self.more))
        return self.layers(x) + identity


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
