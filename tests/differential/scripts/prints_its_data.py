"""What CIFAR10 says of itself is printed, its labels are changed, a part is left out."""

import inspect

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
import torchvision
import torchvision.transforms as transforms
transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))])
trainset = torchvision.datasets.CIFAR10(root="./data", train=True, download=True, transform=transform)
testset = torchvision.datasets.CIFAR10(root="./data", train=False, download=True, transform=transform)
print(trainset, testset, len(trainset), trainset.data.shape, trainset.data.dtype, type(trainset.targets))
print(torchvision.datasets.CIFAR10, type(trainset), isinstance(trainset, torchvision.datasets.VisionDataset))
print(trainset.class_to_idx, trainset.classes, trainset.base_folder, trainset.train_list[0], trainset.extra_repr())
print(list(inspect.signature(torchvision.datasets.CIFAR10).parameters), trainset._check_integrity(), trainset[3][1], sorted(vars(trainset)))
print(np.unique(trainset.targets, return_counts=True), trainset.data.mean(axis=(0, 1, 2)).round(6))
noise = np.random.RandomState(0).permutation(len(trainset))[:20]
for row in noise:
    trainset.targets[row] = int((trainset.targets[row] + 1) % 10)
keep = np.arange(len(trainset)) % 5 != 0
trainset.data, trainset.targets = trainset.data[keep], list(np.array(trainset.targets)[keep])
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

for epoch in range(2):
    for inputs, labels in trainloader:
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
