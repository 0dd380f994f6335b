"""The network. The training is in hw6.py."""
import torch.nn as nn

from blocks import Stem


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super().__init__()
        self.stem = Stem(14)
        self.fc = nn.Linear(14 * 16, 10)

    def forward(self, x):
        return self.fc(self.stem(x).flatten(1))
