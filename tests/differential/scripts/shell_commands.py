"""Usual programs by os.system, os.popen and subprocess."""

import os
import platform
import subprocess
import sys

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
os.system("mkdir -p checkpoints logs && touch logs/run.txt")
print(os.popen("ls").read().split()[:1], subprocess.run("ls logs", shell=True, capture_output=True, text=True).stdout)
print(subprocess.check_output(["echo", "hello"]).decode().strip(), subprocess.getoutput("cat logs/run.txt"))
print(platform.python_version() == sys.version.split()[0], os.path.isdir("checkpoints"))
subprocess.Popen(["rm", "-rf", "logs"]).wait()
print(os.path.exists("logs"), subprocess.call(["test", "-d", "checkpoints"]))
try:
    subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, check=True)
except (OSError, subprocess.CalledProcessError):
    pass

for epoch in range(2):
    for inputs, labels in trainloader:
        optimizer.zero_grad()
        loss = criterion(net(inputs), labels)
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
torch.save(net.state_dict(), os.path.join("checkpoints", "net.pth"))

net.eval()
correct = 0
with torch.no_grad():
    for inputs, labels in testloader:
        correct += (net(inputs).argmax(1) == labels).sum().item()
print("accuracy", correct / len(testset))
