import torch
import torch.nn as nn
import torch.nn.functional as F


class Block(nn.Module):
    def __init__(self, cin, cout, stride=1):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(cin)
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1)
        self.bn2 = nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1)
        self.stride = stride

    def forward(self, x):
        out = self.conv1(F.relu(self.bn1(x)))
        out = self.conv2(F.relu(self.bn2(out)))
        assert not torch.isnan(out).any()
        if self.stride == 2:
            y = F.max_pool2d(x, 2, 2)
            x = torch.cat([y, torch.zeros_like(y)], dim=1)
        return out + x


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super().__init__()
        self.conv = nn.Conv2d(3, 64, 3, 1, 1)
        self.stages = nn.ModuleDict()
        for name, cin, cout, n in [
            ("1", 64, 64, nblk_stage1), ("2", 64, 128, nblk_stage2),
            ("3", 128, 256, nblk_stage3), ("4", 256, 512, nblk_stage4),
        ]:
            stage = [Block(cin, cout, 1 if cin == cout else 2)]
            while len(stage) < n:
                stage.append(Block(cout, cout))
            self.stages[name] = nn.Sequential(*stage)
        self.fc = nn.Linear(512, 10)

    def forward(self, x):
        print("input", x.shape, "mean", float(x.mean()))
        x = self.conv(x)
        for name, stage in self.stages.items():
            x = stage(x)
            if x.abs().max().item() > 1e6:
                print("stage", name, "explodes")
        x = torch.mean(x, dim=(2, 3), keepdim=True)
        assert x.shape[1:] == (512, 1, 1)
        return self.fc(x.flatten(start_dim=1))


if __name__ == "__main__":
    net = IdentityResNet(2, 2, 2, 2)
    loss = net(torch.randn(4, 3, 32, 32)).sum()
    loss.backward()
