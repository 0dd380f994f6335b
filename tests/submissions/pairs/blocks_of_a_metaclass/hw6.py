import torch
import torch.nn as nn
import torch.nn.functional as F


class Widths(type):
    """Gives a class of blocks its constructor, from what its body says."""

    def __new__(meta, name, bases, body):
        cin, cout, stride = body["cin"], body["cout"], body.get("stride", 1)
        middle = body.get("middle", cout)

        def init(self):
            nn.Module.__init__(self)
            self.bn1, self.bn2 = nn.BatchNorm2d(cin), nn.BatchNorm2d(middle)
            self.conv1 = nn.Conv2d(cin, middle, 3, stride, 1)
            self.conv2 = nn.Conv2d(middle, cout, 3, 1, 1)
            self.skip = nn.Identity() if stride == 1 else nn.Conv2d(cin, cout, 1, stride)

        def forward(self, x):
            return self.skip(x) + self.conv2(F.relu(self.bn2(self.conv1(F.relu(self.bn1(x))))))

        return super().__new__(meta, name, (nn.Module,), {**body, "__init__": init, "forward": forward})


class One(metaclass=Widths):
    cin = cout = 64


class TwoDown(metaclass=Widths):
    cin, cout, stride = 64, 128, 2


class Two(metaclass=Widths):
    cin = cout = 128


class ThreeDown(metaclass=Widths):
    cin, cout, stride = 128, 256, 2


class Three(metaclass=Widths):
    cin = cout = 256


class FourDown(metaclass=Widths):
    cin, cout, stride = 256, 512, 2


class Four(metaclass=Widths):
    cin = cout = 512


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super().__init__()
        kinds = [One] * nblk_stage1
        for down, same, count in ((TwoDown, Two, nblk_stage2), (ThreeDown, Three, nblk_stage3), (FourDown, Four, nblk_stage4)):
            kinds += [down] + [same] * (count - 1)
        self.net = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1), *(kind() for kind in kinds), nn.AvgPool2d(4), nn.Flatten())
        self.fc = nn.Linear(512, 10)

    def forward(self, x):
        return self.fc(self.net(x))


if __name__ == "__main__":
    net = IdentityResNet(2, 2, 2, 2)
    net(torch.randn(4, 3, 32, 32)).sum().backward()
