"""A data set of its own takes the arrays out of CIFAR10, and treats them as albumentations does."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
import torchvision
import torchvision.transforms as transforms


def flip(image, chance=0.5):
    return image[:, ::-1] if np.random.rand() < chance else image


def normalize(image):
    return (image.astype(np.float32) / 255 - 0.5) / 0.25


class FromArrays(torch.utils.data.Dataset):
    def __init__(self, images, labels, steps):
        self.images, self.labels, self.steps = images, labels, steps

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        image = self.images[index]
        for step in self.steps:
            image = step(image)
        return torch.from_numpy(image.transpose(2, 0, 1).copy()), self.labels[index]


train = torchvision.datasets.CIFAR10("data", train=True, download=True)
test = torchvision.datasets.CIFAR10("data", train=False, download=True)
trainloader = torch.utils.data.DataLoader(FromArrays(train.data, train.targets, [flip, normalize]), 20, shuffle=True)
testset = FromArrays(test.data, test.targets, [normalize])
testloader = torch.utils.data.DataLoader(testset, 20)


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
