import torch
import torch.nn as nn
import torch.nn.functional as F


class Block(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(cin), nn.BatchNorm2d(cout)
        self.conv1 = nn.Conv2d(cin, cout, 3, cout // cin, 1)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1)
        self.conv3 = nn.Conv2d(cin, cout, 1, 2) if cin != cout else nn.Identity()

    def forward(self, x):
        out = self.conv1(F.relu(self.bn1(x)))
        out = self.conv2(F.relu(self.bn2(out)))
        return out + self.conv3(x)


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super().__init__()
        self.conv = nn.Conv2d(3, 64, 3, padding=1)
        self.named, self.order = nn.ModuleDict(), []
        cin = 64
        for stage, count in enumerate((nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4), start=1):
            for number in range(count):
                key = f"stage{stage}_{number}"
                cout = 32 << stage
                self.named[key] = Block(cin, cout)
                self.order.append(key)
                cin = cout
        self.fc = nn.Linear(512, 10)

    def forward(self, x):
        x = self.conv(x)
        for key in self.order:
            x = self.named[key](x)
        return self.fc(F.avg_pool2d(x, 4).flatten(1))


if __name__ == "__main__":
    net = IdentityResNet(2, 2, 2, 2)
    net(torch.randn(4, 3, 32, 32)).sum().backward()
