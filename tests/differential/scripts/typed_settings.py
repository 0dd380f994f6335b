"""Annotations as text, settings in typed classes, structural patterns."""

from __future__ import annotations

import enum
import typing
from dataclasses import asdict, dataclass, field, fields

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
import torchvision
import torchvision.transforms as transforms


class Optimizer(enum.Enum):
    SGD = "sgd"
    ADAM = "adam"


@dataclass(slots=True, kw_only=True)
class Settings:
    rate: float = 0.01
    optimizer: Optimizer = Optimizer.SGD
    sizes: list[int] = field(default_factory=lambda: [20, 20])


class Batch(typing.NamedTuple):
    inputs: torch.Tensor
    labels: torch.Tensor


settings = Settings()
print(typing.get_type_hints(Settings), [each.name for each in fields(settings)], asdict(settings))
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


net: IdentityResNet = IdentityResNet(2, 2, 2, 2)
criterion: typing.Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = nn.CrossEntropyLoss()
match settings:
    case Settings(optimizer=Optimizer.SGD, rate=rate):
        optimizer = optim.SGD(net.parameters(), lr=rate, momentum=0.9)
    case Settings(optimizer=Optimizer.ADAM):
        optimizer = optim.Adam(net.parameters())

for epoch in range(2):
    for batch in trainloader:
        inputs, labels = Batch(*batch)
        optimizer.zero_grad()
        loss = criterion(net(inputs), labels)
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())

net.eval()
correct = 0
with torch.no_grad():
    for inputs, labels in testloader:
        correct += (net(inputs).argmax(1) == labels).sum().item()
print("accuracy", correct / len(testset))
