"""A trainer class, data parallel, gradient clipping, a progress bar."""

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
import torchvision
import torchvision.transforms as transforms
from tqdm import tqdm

transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))])
trainset = torchvision.datasets.CIFAR10(root="./data", train=True, download=True, transform=transform)
trainloader = torch.utils.data.DataLoader(trainset, batch_size=20, shuffle=True)
testset = torchvision.datasets.CIFAR10(root="./data", train=False, download=True, transform=transform)
testloader = torch.utils.data.DataLoader(testset, batch_size=20)


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 4, stride=4)
        self.bn = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8 * 8 * 8, 10)

    def forward(self, x):
        return self.fc(F.relu(self.bn(self.conv(x))).flatten(1))






class Trainer:
    def __init__(self):
        self.device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
        self.net = nn.DataParallel(IdentityResNet(2, 2, 2, 2).to(self.device))
        self.optimizer = optim.AdamW(self.net.parameters(), lr=1e-3)
        self.criterion = nn.CrossEntropyLoss(label_smoothing=0.1)

    def fit(self, epochs):
        for epoch in range(epochs):
            for inputs, labels in tqdm(trainloader, disable=None):
                inputs, labels = inputs.to(self.device), labels.to(self.device)
                self.optimizer.zero_grad()
                loss = self.criterion(self.net(inputs), labels)
                loss.backward()
                nn.utils.clip_grad_value_(self.net.parameters(), 0.5)
                self.optimizer.step()
            print(f"epoch {epoch}: {loss.item():.6f}")


trainer = Trainer()
trainer.fit(2)
net = trainer.net

net.eval()
correct = 0
with torch.no_grad():
    for inputs, labels in testloader:
        correct += (net(inputs).argmax(1) == labels).sum().item()
print("accuracy", correct / len(testset))
