import torch
import torch.nn as nn
import torch.nn.functional as F


class Block(nn.Module):
    def __init__(self, c_in, c_out):
        super().__init__()
        self.down = c_in != c_out
        self.bn1 = nn.BatchNorm2d(c_in)
        self.relu = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride=1 + self.down, padding=1)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)

    def forward(self, x):
        out = self.bn1(x)
        out.relu_()
        out = self.bn2(self.conv1(out))
        out = self.conv2(self.relu(out))
        if self.down:
            pooled = F.max_pool2d(x, 2, 2)
            wide = pooled.new_zeros(pooled.size(0), 2 * pooled.size(1), pooled.size(2), pooled.size(3))
            wide[:, : pooled.size(1)] = pooled
            out += wide
        else:
            out += x
        return out


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super().__init__()
        self.conv = nn.Conv2d(3, 64, 3, padding=1)
        blocks = []
        plan = ((64, 64, nblk_stage1), (64, 128, nblk_stage2), (128, 256, nblk_stage3), (256, 512, nblk_stage4))
        for c_in, c_out, n in plan:
            blocks += [Block(c_in if i == 0 else c_out, c_out) for i in range(n)]
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(512, 10)

    def forward(self, x):
        out = self.blocks(self.conv(x))
        out = F.avg_pool2d(out, 4).squeeze(3).squeeze(2)
        return self.fc(out)


if __name__ == "__main__":
    net = IdentityResNet(2, 2, 2, 2)
    loss = net(torch.randn(4, 3, 32, 32)).sum()
    loss.backward()
