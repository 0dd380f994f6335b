import torch
import torch.nn as nn
import torch.nn.functional as F


class Block(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(cin)
        self.conv1 = nn.Conv2d(cin, cout, 3, cout // cin, 1)
        self.bn2 = nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1)
        if cin != cout:
            self.project = nn.Conv2d(cin, cout, 1, 2)

    def forward(self, x):
        out = skip = x
        for name, layer in self.named_children():
            if name == "project":
                skip = layer(x)
            elif isinstance(layer, nn.BatchNorm2d):
                out = F.relu(layer(out))
            else:
                out = layer(out)
        return out + skip


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super().__init__()
        self.conv = nn.Conv2d(3, 64, 3, 1, 1)
        counts = (nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4)
        widths = [64] + [width for width, count in zip((64, 128, 256, 512), counts) for _ in range(count)]
        for number in range(sum(counts)):
            self.add_module(f"block{number}", Block(*widths[number : number + 2]))
        self.pool = nn.AvgPool2d(4)
        self.flat = nn.Flatten()
        self.fc = nn.Linear(512, 10)

    def forward(self, x):
        for child in self.children():
            x = child(x)
        return x


if __name__ == "__main__":
    net = IdentityResNet(2, 2, 2, 2)
    net(torch.randn(4, 3, 32, 32)).sum().backward()
