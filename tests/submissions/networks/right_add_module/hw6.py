import torch
import torch.nn as nn
import torch.nn.functional as F


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super().__init__()
        self.counts = [nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4]
        self.add_module("first", nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1))
        channels = 64
        for s, n in enumerate(self.counts, 1):
            for b in range(1, n + 1):
                down = s > 1 and b == 1
                nxt = channels * 2 if down else channels
                self.add_module("bn_%d_%d_1" % (s, b), nn.BatchNorm2d(channels))
                self.add_module("conv_%d_%d_1" % (s, b), nn.Conv2d(channels, nxt, 3, 2 if down else 1, 1))
                self.add_module("bn_%d_%d_2" % (s, b), nn.BatchNorm2d(nxt))
                self.add_module("conv_%d_%d_2" % (s, b), nn.Conv2d(nxt, nxt, 3, 1, 1))
                if down:
                    self.add_module("short_%d" % s, nn.Conv2d(channels, nxt, 1, 2))
                channels = nxt
        self.add_module("last", nn.Linear(channels, 10))

    def layer(self, name, *where):
        return getattr(self, name % where)

    def forward(self, x):
        x = self.first(x)
        for s, n in enumerate(self.counts, 1):
            for b in range(1, n + 1):
                skip = self.layer("short_%d", s)(x) if s > 1 and b == 1 else x
                for k in (1, 2):
                    x = torch.relu(self.layer("bn_%d_%d_%d", s, b, k)(x))
                    x = self.layer("conv_%d_%d_%d", s, b, k)(x)
                x = x + skip
        x = nn.functional.avg_pool2d(x, (4, 4))
        return self.last(x.reshape(x.shape[0], 512))


if __name__ == "__main__":
    net = IdentityResNet(2, 2, 2, 2)
    loss = net(torch.randn(4, 3, 32, 32)).sum()
    loss.backward()
