"""The batch files are read with pickle, as the page of CIFAR-10 says."""

import pickle

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
import torchvision
import torchvision.transforms as transforms

torchvision.datasets.CIFAR10(root="./data", train=True, download=True)


def unpickle(name):
    with open("./data/cifar-10-batches-py/" + name, "rb") as file:
        return pickle.load(file, encoding="latin1")


def tensors(batches):
    images = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([batch["labels"] for batch in batches])
    return torch.tensor(images / 255.0, dtype=torch.float32), torch.tensor(labels)


trainset = torch.utils.data.TensorDataset(*tensors([unpickle(f"data_batch_{i}") for i in range(1, 6)]))
testset = torch.utils.data.TensorDataset(*tensors([unpickle("test_batch")]))
print(unpickle("batches.meta")["label_names"])
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
