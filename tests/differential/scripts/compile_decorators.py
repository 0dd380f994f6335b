"""torch.compile in its other forms."""

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
import torchvision
import torchvision.transforms as transforms
transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))])
trainset = torchvision.datasets.CIFAR10(root="./data", train=True, download=True, transform=transform)
testset = torchvision.datasets.CIFAR10(root="./data", train=False, download=True, transform=transform)
trainloader = torch.utils.data.DataLoader(trainset, batch_size=20, shuffle=True)
testloader = torch.utils.data.DataLoader(testset, batch_size=20)


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 4, stride=4)
        self.bn = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8 * 8 * 8, 10)

    def forward(self, x):
        return self.fc(F.relu(self.bn(self.conv(x))).flatten(1))


torch.set_float32_matmul_precision("high")
net = IdentityResNet(2, 2, 2, 2)
criterion = nn.CrossEntropyLoss()
optimizer = optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
fast = torch.compile(net, mode="reduce-overhead", fullgraph=False, dynamic=False, backend="eager")


@torch.compile(backend="eager")
def loss_of(inputs, labels):
    return criterion(fast(inputs), labels)


@torch.compiler.disable
def report(epoch, loss):
    print(epoch, loss.item())


torch._dynamo.reset()
torch._dynamo.config.suppress_errors = True
for epoch in range(2):
    for inputs, labels in trainloader:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(inputs, labels)
        loss.backward()
        optimizer.step()
    report(epoch, loss)
torch.save({name.removeprefix("_orig_mod."): weight for name, weight in fast.state_dict().items()}, "net.pt")
net.load_state_dict(torch.load("net.pt"))

net.eval()
correct = 0
with torch.no_grad():
    for inputs, labels in testloader:
        correct += (net(inputs).argmax(1) == labels).sum().item()
print("accuracy", correct / len(testset))
