import torch
import torch.nn as nn
import torch.nn.functional as F


class Block(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        stride = 1 if cin == cout else 2
        self.bn1 = nn.BatchNorm2d(cin)
        self.conv1 = nn.Conv2d(cin, cout, 3, stride=stride, padding=1)
        self.bn2 = nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, stride=1, padding=1)
        if stride == 2:
            self.conv_skip = nn.Conv2d(cin, cout, 1, stride=2)

    def skip(self, x):
        return self.conv_skip(x) if hasattr(self, "conv_skip") else x

    def forward(self, x):
        out = self.conv1(F.relu(self.bn1(x)))
        out = self.conv2(F.relu(self.bn2(out)))
        return out + self.skip(x)


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU())
        self.stage1 = self.stage(64, 64, nblk_stage1)
        self.stage2 = self.stage(64, 128, nblk_stage2)
        self.stage3 = self.stage(128, 256, nblk_stage3)
        self.stage4 = self.stage(256, 512, nblk_stage4)
        self.fc = nn.Linear(512, 10)

    def stage(self, cin, cout, n):
        return nn.Sequential(Block(cin, cout), *[Block(cout, cout) for _ in range(n - 1)])

    def forward(self, x):
        out = self.conv(x)
        out = self.stage1(out)
        out = self.stage2(out)
        out = self.stage3(out)
        out = self.stage4(out)
        out = F.avg_pool2d(out, 4)
        return self.fc(out.flatten(1))


if __name__ == "__main__":
    net = IdentityResNet(2, 2, 2, 2)
    loss = net(torch.randn(4, 3, 32, 32)).sum()
    loss.backward()
