import torch
import torch.nn as nn
import torch.nn.functional as F


class Taken:
    """Hands out what lies in a list, in order."""

    def __init__(self, items):
        self.items, self.at = items, 0

    def __call__(self):
        self.at += 1
        return self.items[self.at - 1]


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super().__init__()
        self.weights = nn.ParameterList()
        self.norms = nn.ModuleList()
        self.counts = (nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4)
        self.add(64, 3, 3)
        width = 64
        for stage, count in enumerate(self.counts):
            for block in range(count):
                wide = 64 << stage
                self.norms.append(nn.BatchNorm2d(width))
                self.add(wide, width, 3)
                self.norms.append(nn.BatchNorm2d(wide))
                self.add(wide, wide, 3)
                if stage and block == 0:
                    self.add(wide, width, 1)
                width = wide
        self.fc = nn.Linear(512, 10)

    def add(self, cout, cin, size):
        self.weights.append(nn.init.kaiming_normal_(torch.empty(cout, cin, size, size)))

    def forward(self, x):
        weight, norm = Taken(self.weights), Taken(self.norms)
        x = F.conv2d(x, weight(), padding=1)
        for stage, count in enumerate(self.counts):
            for block in range(count):
                down = stage > 0 and block == 0
                out = F.conv2d(F.relu(norm()(x)), weight(), stride=2 if down else 1, padding=1)
                out = F.conv2d(F.relu(norm()(out)), weight(), padding=1)
                x = out + (F.conv2d(x, weight(), stride=2) if down else x)
        return self.fc(F.avg_pool2d(x, 4).view(x.shape[0], -1))


if __name__ == "__main__":
    net = IdentityResNet(2, 2, 2, 2)
    net(torch.randn(4, 3, 32, 32)).sum().backward()
