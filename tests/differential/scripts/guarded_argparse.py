"""A main function, arguments with defaults, loader workers and a log in a file."""

import argparse
import logging

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
import torchvision
import torchvision.transforms as transforms


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 4, stride=4)
        self.bn = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8 * 8 * 8, 10)

    def forward(self, x):
        return self.fc(F.relu(self.bn(self.conv(x))).flatten(1))


def loaders(args):
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)])
    train = torchvision.datasets.CIFAR10(args.data, train=True, download=True, transform=transform)
    test = torchvision.datasets.CIFAR10(args.data, train=False, download=True, transform=transform)
    options = {"batch_size": args.batch_size, "num_workers": args.workers, "pin_memory": False}
    return (
        torch.utils.data.DataLoader(train, shuffle=True, persistent_workers=True, **options),
        torch.utils.data.DataLoader(test, shuffle=False, **options),
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="./data")
    parser.add_argument("--batch-size", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=2)
    args = parser.parse_args()
    logging.basicConfig(filename="train.log", level=logging.INFO)
    trainloader, testloader = loaders(args)
    net = IdentityResNet(2, 2, 2, 2)
    optimizer = optim.Adam(net.parameters(), lr=1e-3)
    for epoch in range(args.epochs):
        net.train()
        for inputs, labels in trainloader:
            loss = F.cross_entropy(net(inputs), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        logging.info("epoch %d loss %.6f", epoch, loss.item())
    net.eval()
    correct = 0
    with torch.inference_mode():
        for inputs, labels in testloader:
            correct += (net(inputs).argmax(1) == labels).sum().item()
    print(open("train.log").read(), correct)


if __name__ == "__main__":
    main()
