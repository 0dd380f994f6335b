import torch
import torch.nn as nn
import torch.nn.functional as F


def stacked(y):
    return torch.stack((y, torch.zeros_like(y)), dim=1).flatten(1, 2)


def filled(y):
    b, c, h, w = y.shape
    halves = torch.zeros(b, 2, c, h, w, device=y.device)
    halves[:, 0] = y
    return halves.view(b, 2 * c, h, w)


def padded(y):
    b, c, h, w = y.shape
    return F.pad(y.unsqueeze(1), (0, 0, 0, 0, 0, 0, 1, 0)).reshape(b, -1, h, w)


class Block(nn.Module):
    def __init__(self, cin, cout, widen=None):
        super().__init__()
        self.widen = widen
        self.bn1 = nn.BatchNorm2d(cin)
        self.conv1 = nn.Conv2d(cin, cout, 3, stride=1 if cin == cout else 2, padding=1)
        self.bn2 = nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, padding=1)

    def forward(self, x):
        out = self.conv1(F.relu(self.bn1(x)))
        out = self.conv2(F.relu(self.bn2(out)))
        if self.widen is not None:
            x = self.widen(F.max_pool2d(x, 2))
        return out + x


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super().__init__()
        self.conv = nn.Conv2d(3, 64, 3, padding=1)
        self.stage1 = nn.Sequential(*[Block(64, 64) for _ in range(nblk_stage1)])
        self.stage2 = self.stage(64, nblk_stage2, stacked)
        self.stage3 = self.stage(128, nblk_stage3, filled)
        self.stage4 = self.stage(256, nblk_stage4, padded)
        self.fc = nn.Linear(512, 10)

    def stage(self, cin, n, widen):
        return nn.Sequential(Block(cin, 2 * cin, widen), *[Block(2 * cin, 2 * cin) for _ in range(n - 1)])

    def forward(self, x):
        out = self.stage4(self.stage3(self.stage2(self.stage1(self.conv(x)))))
        return self.fc(F.avg_pool2d(out, 4).flatten(1))


if __name__ == "__main__":
    net = IdentityResNet(2, 2, 2, 2)
    loss = net(torch.randn(4, 3, 32, 32)).sum()
    loss.backward()
