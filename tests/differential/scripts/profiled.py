"""Training runs under profilers, asyncio and a unit test."""

# differs: questions: the check runs a script twice in one process, and what the first run has begun goes on

import asyncio
import cProfile
import doctest
import io
import unittest

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
import torchvision
import torchvision.transforms as transforms
from torch.profiler import profile

transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))])
trainset = torchvision.datasets.CIFAR10(root="./data", train=True, download=True, transform=transform)
testset = torchvision.datasets.CIFAR10(root="./data", train=False, download=True, transform=transform)
trainloader = torch.utils.data.DataLoader(trainset, batch_size=20, shuffle=True)
testloader = torch.utils.data.DataLoader(testset, batch_size=20)


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 4, stride=4)
        self.bn = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8 * 8 * 8, 10)

    def forward(self, x):
        return self.fc(F.relu(self.bn(self.conv(x))).flatten(1))


net = IdentityResNet(2, 2, 2, 2)
criterion = nn.CrossEntropyLoss()
optimizer = optim.SGD(net.parameters(), lr=0.01, momentum=0.9)


async def train():
    """Train.

    >>> 1 + 1
    2
    """
    for epoch in range(2):
        for inputs, labels in trainloader:
            optimizer.zero_grad()
            loss = criterion(net(inputs), labels)
            with torch.autograd.set_detect_anomaly(True):
                loss.backward()
            optimizer.step()
        await asyncio.sleep(0)
        print(epoch, loss.item())


class TestTraining(unittest.TestCase):
    def test_training(self):
        with profile() as found:
            asyncio.run(train())
        self.assertGreater(len(found.key_averages()), 0)


profiler = cProfile.Profile()
profiler.runcall(lambda: unittest.main(argv=["hw6.py"], exit=False, testRunner=unittest.TextTestRunner(stream=io.StringIO())))
print(doctest.testmod().failed)
cProfile.run("net.eval()", "profile.txt")

net.eval()
correct = 0
with torch.no_grad():
    for inputs, labels in testloader:
        correct += (net(inputs).argmax(1) == labels).sum().item()
print("accuracy", correct / len(testset))
