import torch
import torch.nn as nn
import torch.nn.functional as F


def weights(cout, cin, size):
    return nn.Parameter(nn.init.kaiming_normal_(torch.empty(cout, cin, size, size)))


class Block(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.halve = cin != cout
        self.norm1, self.norm2 = nn.BatchNorm2d(cin), nn.BatchNorm2d(cout)
        self.w1, self.w2 = weights(cout, cin, 3), weights(cout, cout, 3)
        if self.halve:
            self.w3 = weights(cout, cin, 1)

    def forward(self, x):
        out = F.conv2d(F.relu(self.norm1(x)), self.w1, stride=1 + self.halve, padding=1)
        out = F.conv2d(F.relu(self.norm2(out)), self.w2, padding=1)
        return out + (F.conv2d(x, self.w3, stride=2) if self.halve else x)


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
