from torch import nn
import torch.nn.functional as F


class Stem(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(3, width, kernel_size=8, stride=8)

    def forward(self, x):
        return F.relu(self.conv(x))
