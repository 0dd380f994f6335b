from torchvision.models.resnet import BasicBlock

import torch
import torch.nn as nn
import torch.nn.functional as F


class Block(BasicBlock):
    def __init__(self, cin, cout):
        project = None if cin == cout else nn.Sequential(nn.Conv2d(cin, cout, 1, 2))
        super().__init__(cin, cout, stride=1 if cin == cout else 2, downsample=project)
        self.bn1 = nn.BatchNorm2d(cin)

    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        out = self.conv1(self.relu(self.bn1(x)))
        out = self.conv2(self.relu(self.bn2(out)))
        out += identity
        return out


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
