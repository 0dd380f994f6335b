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


class IdentityResNet(nn.Module):
    """The network of section 3. You may add helper classes above this one, and methods to it."""

    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        """Create the layers.

        nblk_stage1 to nblk_stage4: how many blocks each stage has, an int of at least 1. The homework uses 2 for all.
        """
        super().__init__()
        # your code here

    def forward(self, x):
        """Compute the ten class scores of each image.

        x: a batch of images, float tensor of shape (B, 3, 32, 32)
        Returns the output of the last linear layer, float tensor of shape (B, 10)

        Shapes on the way: (B, 64, 32, 32) after the first convolution and after stage 1, (B, 128, 16, 16) after
        stage 2, (B, 256, 8, 8) after stage 3, (B, 512, 4, 4) after stage 4, (B, 512, 1, 1) after the average pooling.
        """
        # your code here


def main():
    """Load the data, then train and test the network."""
    # Q1: Which device does the work? Take "cuda:0" if there is a GPU, else "cpu".
    device = ...
    print("device:", device)

    # Q2: How many images are in one training batch?
    batch_size = ...

    # Pixels from 0..255 to -1..1.
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))])
    trainset = datasets.CIFAR10(root="./data", train=True, download=True, transform=transform)
    testset = datasets.CIFAR10(root="./data", train=False, download=True, transform=transform)
    trainloader = DataLoader(trainset, batch_size=batch_size, shuffle=True, num_workers=2)
    testloader = DataLoader(testset, batch_size=100, shuffle=False, num_workers=2)

    net = IdentityResNet(nblk_stage1=2, nblk_stage2=2, nblk_stage3=2, nblk_stage4=2)
    # Q3: How does the network get onto the device?
    ...

    train(net, trainloader, device)
    evaluate(net, testloader, device)


def train(net, loader, device):
    """Train the network for EPOCHS passes over the training images; print the running loss."""
    criterion = nn.CrossEntropyLoss()
    # Q4: Which optimizer? Take SGD with momentum 0.9, and find a proper learning rate.
    optimizer = ...

    net.train()
    for epoch in range(1, EPOCHS + 1):
        loss_sum = 0.0
        for batch, (images, labels) in enumerate(loader, start=1):
            images, labels = images.to(device), labels.to(device)
            # Q5: What must happen to the gradients of the batch before?
            ...
            # Q6: How do you get the network's outputs for the images (the forward pass)?
            outputs = ...
            loss = criterion(outputs, labels)
            # Q7: How do you compute the gradients of the loss (backpropagation)?
            ...
            # Q8: How does the optimizer take one step?
            ...
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
    with ...:
        for images, labels in loader:
            predicted = net(images.to(device)).argmax(dim=1).cpu()
            total += torch.bincount(labels, minlength=len(classes))
            correct += torch.bincount(labels[predicted == labels], minlength=len(classes))
    for index, name in enumerate(classes):
        print(f"accuracy of {name}: {100 * correct[index] / total[index]:.2f} %")
    print(f"accuracy over all: {100 * correct.sum() / total.sum():.2f} %")


if __name__ == "__main__":
    main()
