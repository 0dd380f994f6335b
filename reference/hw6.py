"""Homework 6: classify CIFAR-10 with a residual network whose blocks can model the identity.

Complete the class IdentityResNet, then the script below it: its nine questions, Q1 to Q9, are comments, and your answer
replaces the three dots that follow. Do not rename the class, its constructor's parameters or this file.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

EPOCHS = 5


class PoolAndPad(nn.Module):
    """Option A of the skip connection: halve the image by max pooling, double the channels with zeros."""

    def forward(self, x):
        pooled = F.max_pool2d(x, kernel_size=2, stride=2)
        return torch.cat((pooled, torch.zeros_like(pooled)), dim=1)


class PreActivationBlock(nn.Module):
    """Batch normalization, ReLU and a 3x3 convolution, twice; then add the block's input.

    The first block of stages 2 to 4 halves the image and doubles the channels, and its skip connection does the same.
    """

    def __init__(self, in_channels, halve=False, option="A"):
        super().__init__()
        out_channels, stride = (2 * in_channels, 2) if halve else (in_channels, 1)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, kernel_size=3, stride=1, padding=1)
        if not halve:
            self.skip = nn.Identity()
        elif option == "A":
            self.skip = PoolAndPad()
        else:
            self.skip = nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=2)

    def forward(self, x):
        out = self.conv1(F.relu(self.bn1(x)))
        out = self.conv2(F.relu(self.bn2(out)))
        return out + self.skip(x)


class IdentityResNet(nn.Module):
    """The network of section 3. You may add helper classes above this one, and methods to it."""

    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4, option="A"):
        """Create the layers.

        nblk_stage1 to nblk_stage4: how many blocks each stage has, an int of at least 1. The homework uses 2 for all.
        option: "A" or "B", the skip connection of the first block of stages 2 to 4.
        """
        super().__init__()
        self.conv = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1)
        self.stage1 = nn.Sequential(*(PreActivationBlock(64) for _ in range(nblk_stage1)))
        self.stage2 = self.halving_stage(64, nblk_stage2, option)
        self.stage3 = self.halving_stage(128, nblk_stage3, option)
        self.stage4 = self.halving_stage(256, nblk_stage4, option)
        self.fc = nn.Linear(512, 10)

    @staticmethod
    def halving_stage(in_channels, blocks, option):
        first = PreActivationBlock(in_channels, halve=True, option=option)
        return nn.Sequential(first, *(PreActivationBlock(2 * in_channels) for _ in range(blocks - 1)))

    def forward(self, x):
        """Compute the ten class scores of each image.

        x: a batch of images, float tensor of shape (B, 3, 32, 32)
        Returns the output of the last linear layer, float tensor of shape (B, 10)

        Shapes on the way: (B, 64, 32, 32) after the first convolution and after stage 1, (B, 128, 16, 16) after
        stage 2, (B, 256, 8, 8) after stage 3, (B, 512, 4, 4) after stage 4, (B, 512, 1, 1) after the average pooling.
        """
        out = self.conv(x)
        out = self.stage4(self.stage3(self.stage2(self.stage1(out))))
        out = F.avg_pool2d(out, kernel_size=4)
        return self.fc(out.flatten(start_dim=1))


def main():
    """Load the data, then train and test the network."""
    # Q1: Which device does the work? Take "cuda:0" if there is a GPU, else "cpu".
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    print("device:", device)

    # Q2: How many images are in one training batch?
    batch_size = 64

    # Pixels from 0..255 to -1..1.
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))])
    # Shift and mirror each image at random so that the network cannot memorize it. Five epochs need small shifts only.
    augment = transforms.Compose([transforms.RandomCrop(32, padding=2), transforms.RandomHorizontalFlip(), transform])
    trainset = datasets.CIFAR10(root="./data", train=True, download=True, transform=augment)
    testset = datasets.CIFAR10(root="./data", train=False, download=True, transform=transform)
    trainloader = DataLoader(trainset, batch_size=batch_size, shuffle=True, num_workers=2)
    testloader = DataLoader(testset, batch_size=100, shuffle=False, num_workers=2)

    net = IdentityResNet(nblk_stage1=2, nblk_stage2=2, nblk_stage3=2, nblk_stage4=2)
    # Q3: How does the network get onto the device?
    net.to(device)

    train(net, trainloader, device)
    evaluate(net, testloader, device)


def train(net, loader, device):
    """Train the network for EPOCHS passes over the training images; print the running loss."""
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    # Q4: Which optimizer? Take SGD with momentum 0.9, and find a proper learning rate.
    learning_rate = 0.03
    optimizer = optim.SGD(net.parameters(), lr=learning_rate, momentum=0.9, nesterov=True, weight_decay=5e-4)
    # The rate rises slowly because fresh weights cannot take all of it, then falls to zero so that the weights settle.
    # Keep its peak low: no batch normalization follows the last block, so large steps can make the loss explode.
    scheduler = optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, epochs=EPOCHS, steps_per_epoch=len(loader), pct_start=0.25, cycle_momentum=False
    )

    net.train()
    for epoch in range(1, EPOCHS + 1):
        loss_sum = 0.0
        for batch, (images, labels) in enumerate(loader, start=1):
            images, labels = images.to(device), labels.to(device)
            # Q5: What must happen to the gradients of the batch before?
            optimizer.zero_grad()
            # Q6: How do you get the network's outputs for the images (the forward pass)?
            outputs = net(images)
            loss = criterion(outputs, labels)
            # Q7: How do you compute the gradients of the loss (backpropagation)?
            loss.backward()
            # Q8: How does the optimizer take one step?
            optimizer.step()
            scheduler.step()
            loss_sum += loss.item()
            if batch % 100 == 0 or batch == len(loader):
                print(f"epoch {epoch}, batch {batch} of {len(loader)}: loss {loss_sum / batch:.3f}")


def evaluate(net, loader, device):
    """Print the accuracy on the test images, per class and over all."""
    classes = loader.dataset.classes
    correct = torch.zeros(len(classes))
    total = torch.zeros(len(classes))
    net.eval()
    # Q9: Testing needs no gradients. Inside which context does PyTorch build no graph?
    with torch.no_grad():
        for images, labels in loader:
            predicted = net(images.to(device)).argmax(dim=1).cpu()
            total += torch.bincount(labels, minlength=len(classes))
            correct += torch.bincount(labels[predicted == labels], minlength=len(classes))
    for index, name in enumerate(classes):
        print(f"accuracy of {name}: {100 * correct[index] / total[index]:.2f} %")
    print(f"accuracy over all: {100 * correct.sum() / total.sum():.2f} %")


if __name__ == "__main__":
    main()
