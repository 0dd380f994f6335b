# HW6 - CIFAR-10 classifier, s20261001
import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision
import torchvision.transforms as T


class Block(nn.Module):
    """BN - ReLU - conv - BN - ReLU - conv, plus the input."""

    def __init__(self, channels):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        h = self.conv1(F.relu(self.bn1(x)))
        h = self.conv2(F.relu(self.bn2(h)))
        return h + x


class DownBlock(nn.Module):
    """The same with stride 2 and twice the channels; the skip is option A."""

    def __init__(self, channels):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1)
        self.bn2 = nn.BatchNorm2d(2 * channels)
        self.conv2 = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1)

    def forward(self, x):
        h = self.conv1(F.relu(self.bn1(x)))
        h = self.conv2(F.relu(self.bn2(h)))
        y = F.max_pool2d(x, 2, stride=2)
        zeros = torch.zeros(y.shape, device=x.device)
        return h + torch.cat([y, zeros], 1)


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super(IdentityResNet, self).__init__()
        self.conv = nn.Conv2d(3, 64, 3, stride=1, padding=1)
        self.blocks = nn.ModuleList()
        for _ in range(nblk_stage1):
            self.blocks.append(Block(64))
        for channels, nblk in [(64, nblk_stage2), (128, nblk_stage3), (256, nblk_stage4)]:
            self.blocks.append(DownBlock(channels))
            for _ in range(nblk - 1):
                self.blocks.append(Block(2 * channels))
        self.fc = nn.Linear(512, 10)

    def forward(self, x):
        out = self.conv(x)
        for block in self.blocks:
            out = block(out)
        out = F.avg_pool2d(out, 4, 4)
        return self.fc(out.view(-1, 512))


if __name__ == "__main__":
    # Q1
    dev = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    print("current device:", dev)

    # Q2
    batch_size = 8
    num_epochs = 5

    transform = T.Compose([T.ToTensor(), T.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))])
    trainset = torchvision.datasets.CIFAR10(root="./data", train=True, download=True, transform=transform)
    trainloader = torch.utils.data.DataLoader(trainset, batch_size=batch_size, shuffle=True, num_workers=2)
    testset = torchvision.datasets.CIFAR10(root="./data", train=False, download=True, transform=transform)
    testloader = torch.utils.data.DataLoader(testset, batch_size=100, shuffle=False, num_workers=2)

    # Q3
    net = IdentityResNet(2, 2, 2, 2).to(dev)

    # Q4: the learning rate falls in a straight line, down to nearly nothing
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.005, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, total_iters=num_epochs * len(trainloader))

    for epoch in range(num_epochs):
        net.train()
        running_loss = 0.0
        for i, data in enumerate(trainloader):
            inputs, labels = data[0].to(dev), data[1].to(dev)
            optimizer.zero_grad()  # Q5
            outputs = net(inputs)  # Q6
            loss = criterion(outputs, labels)
            loss.backward()  # Q7
            optimizer.step()  # Q8
            scheduler.step()
            running_loss += loss.item()
            if (i + 1) % 500 == 0 or i + 1 == len(trainloader):
                print("[%d, %5d] loss: %.3f" % (epoch + 1, i + 1, running_loss / (i + 1)))
    print("Finished Training")

    net.eval()
    class_correct = [0] * 10
    class_total = [0] * 10
    # Q9
    with torch.no_grad():
        for inputs, labels in testloader:
            _, predicted = torch.max(net(inputs.to(dev)), 1)
            for label, guess in zip(labels, predicted.cpu()):
                class_correct[label] += int(label == guess)
                class_total[label] += 1
    for i in range(10):
        print("Accuracy of %5s: %.2f %%" % (testset.classes[i], 100 * class_correct[i] / class_total[i]))
    print("Accuracy of the network: %.2f %%" % (100 * sum(class_correct) / sum(class_total)))
