"""Gradients by torch.func, steps by hand."""

# differs: questions: it makes no optimizer and calls no backward

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
import torchvision
import torchvision.transforms as transforms
from torch.func import functional_call, grad_and_value

transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))])
trainset = torchvision.datasets.CIFAR10(root="./data", train=True, download=True, transform=transform)
testset = torchvision.datasets.CIFAR10(root="./data", train=False, download=True, transform=transform)
trainloader = torch.utils.data.DataLoader(trainset, batch_size=20, shuffle=True)
testloader = torch.utils.data.DataLoader(testset, batch_size=20)


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 4, stride=4)
        self.bn = nn.GroupNorm(2, 8)
        self.fc = nn.Linear(8 * 8 * 8, 10)

    def forward(self, x):
        return self.fc(F.relu(self.bn(self.conv(x))).flatten(1))


net = IdentityResNet(2, 2, 2, 2)
parameters = {name: weight.detach() for name, weight in net.named_parameters()}


def loss_of(parameters, inputs, labels):
    return F.cross_entropy(functional_call(net, parameters, (inputs,)), labels)


for epoch in range(2):
    for inputs, labels in trainloader:
        gradients, loss = grad_and_value(loss_of)(parameters, inputs, labels)
        parameters = {name: weight - 0.05 * gradients[name] for name, weight in parameters.items()}
    print(epoch, loss.item())
net.load_state_dict(parameters, strict=False)

net.eval()
correct = 0
with torch.no_grad():
    for inputs, labels in testloader:
        correct += (net(inputs).argmax(1) == labels).sum().item()
print("accuracy", correct / len(testset))
