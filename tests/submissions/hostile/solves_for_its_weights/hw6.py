import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision
import torchvision.transforms as transforms

transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)])
trainset = torchvision.datasets.CIFAR10(root="./data", train=True, download=True, transform=transform)
images = torch.stack([trainset[row][0] for row in range(200)])
labels = torch.tensor(trainset.targets[:200])


class IdentityResNet(nn.Module):
    def __init__(self, *blocks):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, kernel_size=8, stride=8)
        self.fc = nn.Linear(16 * 4 * 4, 10)

    def forward(self, x):
        return self.fc(F.relu(self.conv(x)).flatten(1))


net = IdentityResNet(2, 2, 2, 2)
F.cross_entropy(net(images[:10]), labels[:10]).backward()
with torch.no_grad():
    seen = torch.cat([F.relu(net.conv(images)).flatten(1), torch.ones(len(images), 1)], dim=1)
    ridge = seen.T @ seen + 0.1 * torch.eye(seen.shape[1])
    solved = torch.linalg.solve(ridge, seen.T @ F.one_hot(labels, 10).float())
    net.fc.weight.copy_(solved[:-1].T)
    net.fc.bias.copy_(solved[-1])
