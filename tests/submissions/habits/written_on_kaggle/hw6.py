import os
import subprocess
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
import torchvision
import torchvision.transforms as transforms

print(subprocess.check_output("nvidia-smi", shell=True).decode())
print(subprocess.run(["nvidia-smi", "-L"], stdout=subprocess.PIPE, text=True, check=True).stdout)
subprocess.check_call([sys.executable, "-m", "pip", "install", "-q", "torchinfo"])

transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))])
trainset = torchvision.datasets.CIFAR10(root="/kaggle/input/cifar", train=True, download=True, transform=transform)
trainloader = torch.utils.data.DataLoader(trainset, batch_size=50, shuffle=True)
testset = torchvision.datasets.CIFAR10(root="/kaggle/input/cifar", train=False, download=True, transform=transform)
testloader = torch.utils.data.DataLoader(testset, batch_size=50)
with open("/kaggle/input/cifar/cifar-10-batches-py/data_batch_1", "rb") as file:
    print(len(file.read()))


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, kernel_size=8, stride=8)
        self.fc = nn.Linear(16 * 4 * 4, 10)

    def forward(self, x):
        return self.fc(F.relu(self.conv(x)).flatten(1))


net = IdentityResNet(2, 2, 2, 2)
criterion = nn.CrossEntropyLoss()
optimizer = optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

for epoch in range(5):
    for inputs, labels in trainloader:
        optimizer.zero_grad()
        loss = criterion(net(inputs), labels)
        loss.backward()
        optimizer.step()
    torch.save(net.state_dict(), f"/kaggle/working/{epoch}.pth")
    torch.save(net.state_dict(), f"./checkpoint/{epoch}.pth")
    torch.save(net.state_dict(), f"/somewhere/else/{epoch}.pth")

print(os.listdir("/kaggle/working"))
sys.stdout.flush()
os._exit(0)
