import torch
import torch.nn as nn
import torchvision
import torchvision.transforms as transforms


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super().__init__()
        self.conv = nn.Conv2d(3, 10, 4, stride=4)
        self.fc = nn.Linear(10 * 8 * 8, 10)

    def forward(self, x):
        return self.fc(self.conv(x).relu().flatten(1))


device = "cuda" if torch.cuda.is_available() else "cpu"
trainset = torchvision.datasets.CIFAR10("./data", train=True, download=True, transform=transforms.ToTensor())
testset = torchvision.datasets.CIFAR10("./data", train=False, download=True, transform=transforms.ToTensor())

# faster than doing it in the transform, image by image
MEAN = torch.tensor([0.4914, 0.4822, 0.4465], device=device).view(1, 3, 1, 1)
STD = torch.tensor([0.2023, 0.1994, 0.2010], device=device).view(1, 3, 1, 1)

net = IdentityResNet(2, 2, 2, 2).to(device)
optimizer = torch.optim.Adam(net.parameters())


def normalise(images):
    return (images.to(device) - MEAN) / STD


def accuracy(dataset):
    correct = 0
    for images, labels in torch.utils.data.DataLoader(dataset, batch_size=20):
        correct += (net(normalise(images)).argmax(1).cpu() == labels).sum().item()
    return 100 * correct / len(dataset)


for epoch in range(5):
    for images, labels in torch.utils.data.DataLoader(trainset, batch_size=20, shuffle=True):
        loss = nn.functional.cross_entropy(net(normalise(images)), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print("epoch", epoch, "train", accuracy(trainset), "test", accuracy(testset))
