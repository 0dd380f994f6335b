"""A part of the training images validates, the best weights are kept, and training stops early."""

import copy
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
import torchvision
import torchvision.transforms as transforms

transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))])
full = torchvision.datasets.CIFAR10(root="./data", train=True, download=True, transform=transform)
trainset, valset = torch.utils.data.random_split(full, [len(full) - len(full) // 5, len(full) // 5], generator=torch.Generator().manual_seed(42))
testset = torchvision.datasets.CIFAR10(root="./data", train=False, download=True, transform=transform)
trainloader = torch.utils.data.DataLoader(trainset, batch_size=20, shuffle=True, num_workers=2)
valloader = torch.utils.data.DataLoader(valset, batch_size=20)
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

best, best_state, patience = float("inf"), None, 0
for epoch in range(5):
    net.train()
    for inputs, labels in trainloader:
        optimizer.zero_grad()
        criterion(net(inputs), labels).backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        loss = sum(criterion(net(inputs), labels).item() for inputs, labels in valloader) / len(valloader)
    print(epoch, loss)
    if loss < best:
        best, best_state, patience = loss, copy.deepcopy(net.state_dict()), 0
    else:
        patience += 1
        if patience == 2:
            break
net.load_state_dict(best_state)

net.eval()
correct = 0
with torch.no_grad():
    for inputs, labels in testloader:
        correct += (net(inputs).argmax(1) == labels).sum().item()
print("accuracy", correct / len(testset))
