"""One cycle of the rate, no decay for norms and biases, own initial weights, smoothed labels, clipped gradients."""

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
import torchvision
import torchvision.transforms as transforms

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




def initialize(module):
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(module.bias)


net = IdentityResNet(2, 2, 2, 2).apply(initialize)
criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
decayed = [weight for weight in net.parameters() if weight.ndim > 1]
others = [weight for weight in net.parameters() if weight.ndim <= 1]
optimizer = optim.SGD(
    [{"params": decayed, "weight_decay": 5e-4}, {"params": others, "weight_decay": 0}], lr=0.01, momentum=0.9, nesterov=True
)
scheduler = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.02, epochs=2, steps_per_epoch=len(trainloader))

for epoch in range(2):
    net.train()
    for inputs, labels in trainloader:
        optimizer.zero_grad(set_to_none=True)
        loss = criterion(net(inputs), labels)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
    print(epoch, loss.item(), norm.item(), scheduler.get_last_lr())

net.eval()
correct = 0
with torch.no_grad():
    for inputs, labels in testloader:
        correct += (net(inputs).argmax(1) == labels).sum().item()
print("accuracy", correct / len(testset))
