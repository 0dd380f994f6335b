import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
import torchvision
from torchvision.transforms import v2


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, kernel_size=8, stride=8)
        self.fc = nn.Linear(16 * 4 * 4, 10)

    def forward(self, x):
        return self.fc(torch.flatten(F.relu(self.conv(x)), 1))


device = torch.accelerator.current_accelerator().type if torch.accelerator.is_available() else "cpu"
print(f"Using {device} device")

batch_size = 16
normalize = [v2.ToDtype(torch.float32, scale=True), v2.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))]
augment = v2.Compose([v2.ToImage(), v2.RandomCrop(32, padding=1), v2.RandomHorizontalFlip(p=0.1), *normalize])
transform = v2.Compose([v2.ToImage(), *normalize])

trainset = torchvision.datasets.CIFAR10(root="./data", train=True, download=True, transform=augment)
trainloader = torch.utils.data.DataLoader(trainset, batch_size=batch_size, shuffle=True, num_workers=2)
testset = torchvision.datasets.CIFAR10(root="./data", train=False, download=True, transform=transform)
testloader = torch.utils.data.DataLoader(testset, batch_size=batch_size, shuffle=False, num_workers=2)

net = IdentityResNet(2, 2, 2, 2).to(device)
criterion = nn.CrossEntropyLoss()
optimizer = optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

for epoch in range(2):
    running_loss = 0.0
    for i, data in enumerate(trainloader, 0):
        inputs, labels = data[0].to(device), data[1].to(device)
        optimizer.zero_grad()
        outputs = net(inputs)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
    print(f"[{epoch + 1}] loss: {running_loss / len(trainloader):.3f}")

PATH = "./cifar_net.pt"
torch.save(net.state_dict(), PATH)
net = IdentityResNet(2, 2, 2, 2)
net.load_state_dict(torch.load(PATH, weights_only=True))
net.to(device)

correct = total = 0
with torch.no_grad():
    for images, labels in testloader:
        _, predicted = torch.max(net(images.to(device)), 1)
        total += labels.size(0)
        correct += (predicted.cpu() == labels).sum().item()
print(f"accuracy over all: {100 * correct // total} %")
