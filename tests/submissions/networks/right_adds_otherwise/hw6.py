import torch
import torch.nn as nn
import torch.nn.functional as F


def of_a_stack(a, b):
    return torch.stack([a, b], dim=0).sum(dim=0)


def of_the_last_dimension(a, b):
    return torch.sum(torch.stack((a, b), -1), -1)


def of_a_list(a, b):
    return sum([a, b])


def of_a_concatenation(a, b):
    return torch.cat((a, b)).view(2, *a.shape).sum(0)


class Block(nn.Module):
    def __init__(self, cin, cout, together):
        super().__init__()
        self.together = together
        self.bn1 = nn.BatchNorm2d(cin)
        self.conv1 = nn.Conv2d(cin, cout, 3, stride=1 if cin == cout else 2, padding=1)
        self.bn2 = nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, padding=1)
        self.skip = nn.Sequential() if cin == cout else nn.Conv2d(cin, cout, 1, stride=2)

    def forward(self, x):
        out = self.conv1(F.relu(self.bn1(x)))
        out = self.conv2(F.relu(self.bn2(out)))
        return self.together(out, self.skip(x))


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super().__init__()
        self.conv = nn.Conv2d(3, 64, 3, padding=1)
        self.stage1 = self.stage(64, 64, nblk_stage1, of_a_stack)
        self.stage2 = self.stage(64, 128, nblk_stage2, of_the_last_dimension)
        self.stage3 = self.stage(128, 256, nblk_stage3, of_a_list)
        self.stage4 = self.stage(256, 512, nblk_stage4, of_a_concatenation)
        self.fc = nn.Linear(512, 10)

    def stage(self, cin, cout, n, together):
        return nn.Sequential(Block(cin, cout, together), *[Block(cout, cout, together) for _ in range(n - 1)])

    def forward(self, x):
        out = self.stage4(self.stage3(self.stage2(self.stage1(self.conv(x)))))
        return self.fc(F.avg_pool2d(out, 4).flatten(1))


if __name__ == "__main__":
    net = IdentityResNet(2, 2, 2, 2)
    loss = net(torch.randn(4, 3, 32, 32)).sum()
    loss.backward()
