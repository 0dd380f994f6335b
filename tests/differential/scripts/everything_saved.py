"""Network, optimizer, schedule and random state are saved whole, and loaded again."""

import copy
import io
import pickle

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
import torchvision
import torchvision.transforms as transforms
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
scheduler = optim.lr_scheduler.StepLR(optimizer, 1, 0.5)

for epoch in range(2):
    for inputs, labels in trainloader:
        optimizer.zero_grad()
        loss = criterion(net(inputs), labels)
        loss.backward()
        optimizer.step()
    scheduler.step()
    print(epoch, loss.item())
    whole = {"net": net, "optimizer": optimizer, "state": optimizer.state_dict(), "rng": torch.get_rng_state()}
    torch.save(whole, "whole.pt")
    loaded = torch.load("whole.pt", map_location="cpu", weights_only=False)
    optimizer.load_state_dict(loaded["state"])
    net.load_state_dict(loaded["net"].state_dict())
    torch.set_rng_state(loaded["rng"])

again = pickle.loads(pickle.dumps(net))
copied = copy.deepcopy(net)
buffer = io.BytesIO()
torch.save(copied.state_dict(), buffer)
buffer.seek(0)
again.load_state_dict(torch.load(buffer, weights_only=True))
net = again

net.eval()
correct = 0
with torch.no_grad():
    for inputs, labels in testloader:
        correct += (net(inputs).argmax(1) == labels).sum().item()
print("accuracy", correct / len(testset))
