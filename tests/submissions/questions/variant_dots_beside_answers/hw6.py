import torch
import torch.nn as nn
import torch.optim as optim
import torchvision
import torchvision.transforms as transforms


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super().__init__()
        self.conv = nn.Conv2d(3, 64, 3, padding=1)
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        return self.fc(self.conv(x).mean((2, 3)))


if __name__ == "__main__":
    # Q1
    dev = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    # Q2: How many images are in one training batch?
    batch_size = ...
    batch_size = 32

    transform = transforms.ToTensor()
    trainset = torchvision.datasets.CIFAR10(root="./data", train=True, download=True, transform=transform)
    trainloader = torch.utils.data.DataLoader(trainset, batch_size=batch_size, shuffle=True, num_workers=2)
    testset = torchvision.datasets.CIFAR10(root="./data", train=False, download=True, transform=transform)
    testloader = torch.utils.data.DataLoader(testset, batch_size=100, shuffle=False, num_workers=2)

    # Q3
    net = IdentityResNet(2, 2, 2, 2)
    net = net.to(dev)
    criterion = nn.CrossEntropyLoss()
    # Q4
    optimizer = optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

    for epoch in range(5):
        running_loss = 0.0
        for i, (inputs, labels) in enumerate(trainloader):
            inputs, labels = inputs.to(dev), labels.to(dev)
            # Q5: What must happen to the gradients of the batch before?
            ...
            optimizer.zero_grad()
            # Q6
            outputs = net(inputs)
            loss = criterion(outputs, labels)
            # Q7
            loss.backward()
            # Q8: How does the optimizer take one step?
            ...
            optimizer.step()
            running_loss += loss.item()

    net.eval()
    correct = 0
    # Q9
    with torch.no_grad():
        for inputs, labels in testloader:
            outputs = net(inputs.to(dev))
            correct += (outputs.argmax(1).cpu() == labels).sum().item()
    print("accuracy", 100 * correct / len(testset))
