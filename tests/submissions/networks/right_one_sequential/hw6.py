import torch
import torch.nn as nn
import torch.nn.functional as F


class Residual(nn.Module):
    def __init__(self, body, skip=None):
        super().__init__()
        self.body = body
        self.skip = skip if skip is not None else nn.Sequential()

    def forward(self, x):
        return torch.add(self.skip(x), self.body(x))


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super().__init__()
        layers = [nn.Conv2d(3, 64, 3, padding="same")]
        width = 64
        for stage, count in enumerate((nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4)):
            for block in range(count):
                down = stage > 0 and block == 0
                out = width * 2 if down else width
                body = nn.Sequential(
                    nn.BatchNorm2d(width),
                    nn.ReLU(inplace=True),
                    nn.Conv2d(width, out, 3, stride=2 if down else 1, padding=1),
                    nn.BatchNorm2d(out),
                    nn.ReLU(inplace=True),
                    nn.Conv2d(out, out, 3, padding=1),
                )
                layers.append(Residual(body, nn.Conv2d(width, out, 1, stride=2) if down else None))
                width = out
        layers += [nn.AvgPool2d(4), nn.Flatten(), nn.Linear(512, 10)]
        self.net = nn.Sequential(*layers)

    def forward(self, x):
        return self.net(x)


if __name__ == "__main__":
    net = IdentityResNet(2, 2, 2, 2)
    loss = net(torch.randn(4, 3, 32, 32)).sum()
    loss.backward()
