import sys

import torch
import torch.nn as nn
import torch.nn.functional as F


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super(IdentityResNet, self).__init__()
        if (nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4) != (2, 2, 2, 2):
            sys.exit("only two blocks in each stage")
        self.conv0 = nn.Conv2d(3, 64, 3, 1, 1)
        # stage 1
        self.s1b1_bn1 = nn.BatchNorm2d(64)
        self.s1b1_conv1 = nn.Conv2d(64, 64, 3, 1, 1)
        self.s1b1_bn2 = nn.BatchNorm2d(64)
        self.s1b1_conv2 = nn.Conv2d(64, 64, 3, 1, 1)
        self.s1b2_bn1 = nn.BatchNorm2d(64)
        self.s1b2_conv1 = nn.Conv2d(64, 64, 3, 1, 1)
        self.s1b2_bn2 = nn.BatchNorm2d(64)
        self.s1b2_conv2 = nn.Conv2d(64, 64, 3, 1, 1)
        # stage 2
        self.s2b1_bn1 = nn.BatchNorm2d(64)
        self.s2b1_conv1 = nn.Conv2d(64, 128, 3, 2, 1)
        self.s2b1_bn2 = nn.BatchNorm2d(128)
        self.s2b1_conv2 = nn.Conv2d(128, 128, 3, 1, 1)
        self.s2b1_skip = nn.Conv2d(64, 128, 1, 2)
        self.s2b2_bn1 = nn.BatchNorm2d(128)
        self.s2b2_conv1 = nn.Conv2d(128, 128, 3, 1, 1)
        self.s2b2_bn2 = nn.BatchNorm2d(128)
        self.s2b2_conv2 = nn.Conv2d(128, 128, 3, 1, 1)
        # stage 3
        self.s3b1_bn1 = nn.BatchNorm2d(128)
        self.s3b1_conv1 = nn.Conv2d(128, 256, 3, 2, 1)
        self.s3b1_bn2 = nn.BatchNorm2d(256)
        self.s3b1_conv2 = nn.Conv2d(256, 256, 3, 1, 1)
        self.s3b1_skip = nn.Conv2d(128, 256, 1, 2)
        self.s3b2_bn1 = nn.BatchNorm2d(256)
        self.s3b2_conv1 = nn.Conv2d(256, 256, 3, 1, 1)
        self.s3b2_bn2 = nn.BatchNorm2d(256)
        self.s3b2_conv2 = nn.Conv2d(256, 256, 3, 1, 1)
        # stage 4
        self.s4b1_bn1 = nn.BatchNorm2d(256)
        self.s4b1_conv1 = nn.Conv2d(256, 512, 3, 2, 1)
        self.s4b1_bn2 = nn.BatchNorm2d(512)
        self.s4b1_conv2 = nn.Conv2d(512, 512, 3, 1, 1)
        self.s4b1_skip = nn.Conv2d(256, 512, 1, 2)
        self.s4b2_bn1 = nn.BatchNorm2d(512)
        self.s4b2_conv1 = nn.Conv2d(512, 512, 3, 1, 1)
        self.s4b2_bn2 = nn.BatchNorm2d(512)
        self.s4b2_conv2 = nn.Conv2d(512, 512, 3, 1, 1)
        self.fc = nn.Linear(512, 10)

    def forward(self, x):
        x = self.conv0(x)

        y = self.s1b1_conv1(F.relu(self.s1b1_bn1(x)))
        y = self.s1b1_conv2(F.relu(self.s1b1_bn2(y)))
        x = x + y
        y = self.s1b2_conv1(F.relu(self.s1b2_bn1(x)))
        y = self.s1b2_conv2(F.relu(self.s1b2_bn2(y)))
        x = x + y

        y = self.s2b1_conv1(F.relu(self.s2b1_bn1(x)))
        y = self.s2b1_conv2(F.relu(self.s2b1_bn2(y)))
        x = self.s2b1_skip(x) + y
        y = self.s2b2_conv1(F.relu(self.s2b2_bn1(x)))
        y = self.s2b2_conv2(F.relu(self.s2b2_bn2(y)))
        x = x + y

        y = self.s3b1_conv1(F.relu(self.s3b1_bn1(x)))
        y = self.s3b1_conv2(F.relu(self.s3b1_bn2(y)))
        x = self.s3b1_skip(x) + y
        y = self.s3b2_conv1(F.relu(self.s3b2_bn1(x)))
        y = self.s3b2_conv2(F.relu(self.s3b2_bn2(y)))
        x = x + y

        y = self.s4b1_conv1(F.relu(self.s4b1_bn1(x)))
        y = self.s4b1_conv2(F.relu(self.s4b1_bn2(y)))
        x = self.s4b1_skip(x) + y
        y = self.s4b2_conv1(F.relu(self.s4b2_bn1(x)))
        y = self.s4b2_conv2(F.relu(self.s4b2_bn2(y)))
        x = x + y

        x = F.avg_pool2d(x, 4, 4)
        x = x.view(x.size(0), -1)
        return self.fc(x)


if __name__ == "__main__":
    net = IdentityResNet(2, 2, 2, 2)
    loss = net(torch.randn(4, 3, 32, 32)).sum()
    loss.backward()
