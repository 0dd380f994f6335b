import torch
import torch.nn as nn
import torch.nn.functional as F


class ConstantBlock(nn.Module):
    def __init__(self, ch):
        super().__init__()
        self.net = nn.Sequential(
            nn.BatchNorm2d(ch), nn.ReLU(), nn.Conv2d(ch, ch, 3, 1, 1),
            nn.BatchNorm2d(ch), nn.ReLU(), nn.Conv2d(ch, ch, 3, 1, 1),
        )

    def forward(self, x):
        return self.net(x) + x


class DoublingBlock(nn.Module):
    def __init__(self, ch):
        super().__init__()
        self.pre = nn.Sequential(nn.BatchNorm2d(ch), nn.ReLU())
        self.rest = nn.Sequential(
            nn.Conv2d(ch, 2 * ch, 3, 2, 1), nn.BatchNorm2d(2 * ch), nn.ReLU(), nn.Conv2d(2 * ch, 2 * ch, 3, 1, 1)
        )
        self.pool = nn.MaxPool2d(kernel_size=2, stride=2)

    def forward(self, x):
        x = self.pre(x)
        pooled = self.pool(x)
        b, c, h, w = pooled.size()
        zeros = torch.zeros(b, c, h, w, device=pooled.device, dtype=pooled.dtype)
        return self.rest(x) + torch.cat([zeros, pooled], dim=1)


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super().__init__()
        self.conv = nn.Conv2d(3, 64, 3, 1, 1)
        self.stage1 = nn.Sequential(*[ConstantBlock(64) for _ in range(nblk_stage1)])
        self.stage2 = nn.Sequential(DoublingBlock(64), *[ConstantBlock(128) for _ in range(nblk_stage2 - 1)])
        self.stage3 = nn.Sequential(DoublingBlock(128), *[ConstantBlock(256) for _ in range(nblk_stage3 - 1)])
        self.stage4 = nn.Sequential(DoublingBlock(256), *[ConstantBlock(512) for _ in range(nblk_stage4 - 1)])
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(512, 10)

    def forward(self, x):
        x = self.stage4(self.stage3(self.stage2(self.stage1(self.conv(x)))))
        x = self.avgpool(x)
        x = torch.squeeze(torch.squeeze(x, -1), -1)
        return self.fc(x)


if __name__ == "__main__":
    net = IdentityResNet(2, 2, 2, 2)
    loss = net(torch.randn(4, 3, 32, 32)).sum()
    loss.backward()
