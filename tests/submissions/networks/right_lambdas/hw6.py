import torch
import torch.nn as nn
import torch.nn.functional as F


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super().__init__()
        self.store = nn.ModuleList([nn.Conv2d(3, 64, 3, padding=1)])
        self.zero = nn.Parameter(torch.zeros(1, 1, 1, 1), requires_grad=False)
        self.blocks = []
        plan = [(64, 64, nblk_stage1), (64, 128, nblk_stage2), (128, 256, nblk_stage3), (256, 512, nblk_stage4)]
        for cin, cout, n in plan:
            for i in range(n):
                a = cin if i == 0 else cout
                layers = nn.ModuleList([nn.BatchNorm2d(a), nn.Conv2d(a, cout, 3, 1 if a == cout else 2, 1),
                                        nn.BatchNorm2d(cout), nn.Conv2d(cout, cout, 3, 1, 1)])
                self.store.append(layers)
                skip = (lambda x: x) if a == cout else self.shrink
                self.blocks.append(lambda x, m=layers, s=skip: s(x) + m[3](F.relu(m[2](m[1](F.relu(m[0](x)))))))
        self.fc = nn.Linear(512, 10)

    def shrink(self, x):
        y = F.max_pool2d(x, 2)
        return torch.cat([y, self.zero.expand_as(y)], 1)

    def forward(self, x):
        x = self.store[0](x)
        for block in self.blocks:
            x = block(x)
        return self.fc(F.avg_pool2d(x, 4).flatten(1))


if __name__ == "__main__":
    net = IdentityResNet(2, 2, 2, 2)
    loss = net(torch.randn(4, 3, 32, 32)).sum()
    loss.backward()
