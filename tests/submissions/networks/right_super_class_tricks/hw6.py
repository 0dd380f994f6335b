import torch
import torch.nn as nn
import torch.nn.functional as F


from collections import OrderedDict
from functools import partial

conv3x3 = partial(nn.Conv2d, kernel_size=3, padding=1)


class Residual(nn.Sequential):
    def __init__(self, inputs, outputs):
        super().__init__(
            OrderedDict(
                norm1=nn.BatchNorm2d(inputs), relu1=nn.ReLU(), conv1=conv3x3(inputs, outputs, stride=outputs // inputs),
                norm2=nn.BatchNorm2d(outputs), relu2=nn.ReLU(), conv2=conv3x3(outputs, outputs),
            )
        )

    def forward(self, x):
        return x + super().forward(x)


class Projected(Residual):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.projection = nn.Conv2d(inputs, outputs, 1, stride=2)

    def forward(self, x):
        residual = x
        for name, layer in self.named_children():
            if name != "projection":
                residual = layer(residual)
        return residual.add(self.projection(x))


class IdentityResNet(nn.Sequential):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        parts = [conv3x3(3, 64)] + [Residual(64, 64) for _ in range(nblk_stage1)]
        for outputs, count in [(128, nblk_stage2), (256, nblk_stage3), (512, nblk_stage4)]:
            parts.append(Projected(outputs // 2, outputs))
            parts += [Residual(outputs, outputs) for _ in range(count - 1)]
        super().__init__(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


if __name__ == "__main__":
    net = IdentityResNet(2, 2, 2, 2)
    loss = net(torch.randn(4, 3, 32, 32)).sum()
    loss.backward()
