import torch
import torch.nn as nn
import torch.nn.functional as F


class Conv3(nn.Module):
    def __init__(self, cin, cout, stride=1):
        super().__init__()
        self.pad = nn.ZeroPad2d(1)
        self.conv = nn.Conv2d(cin, cout, 3, stride=stride)

    def forward(self, x):
        return self.conv(self.pad(x))


class Block(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.extra = (cout - cin) // 2
        self.bn_a, self.conv_a = nn.BatchNorm2d(cin), Conv3(cin, cout, 2 if self.extra else 1)
        self.bn_b, self.conv_b = nn.BatchNorm2d(cout), Conv3(cout, cout)

    def forward(self, x):
        h = self.conv_b(self.bn_b(self.conv_a(self.bn_a(x).relu())).relu())
        if self.extra:
            x = F.max_pool2d(F.pad(x, (0, 0, 0, 0, self.extra, self.extra)), 2)
        return x + h


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super().__init__()
        widths = [64] * nblk_stage1 + [128] * nblk_stage2 + [256] * nblk_stage3 + [512] * nblk_stage4
        self.conv = Conv3(3, 64)
        self.blocks = nn.ModuleList([Block(a, b) for a, b in zip([64] + widths, widths)])
        self.fc = nn.Linear(512, 10)

    def forward(self, x):
        x = self.conv(x)
        for block in self.blocks:
            x = block(x)
        return self.fc(F.avg_pool2d(x, 4)[:, :, 0, 0])


if __name__ == "__main__":
    net = IdentityResNet(2, 2, 2, 2)
    loss = net(torch.randn(4, 3, 32, 32)).sum()
    loss.backward()
