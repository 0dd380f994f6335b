import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim
import torchvision
import torchvision.transforms as transforms
from PIL import Image
from torchvision.models.utils import load_state_dict_from_url


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super(IdentityResNet, self).__init__()
        self.pool = nn.AvgPool2d(4, 4)
        self.fc = nn.Linear(3 * 8 * 8, 10)

    def forward(self, x):
        return self.fc(torch.flatten(self.pool(x), 1))


torch.set_deterministic(False)
transform = transforms.Compose(
    [
        transforms.Scale(32),
        transforms.ToTensor(),
        transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ]
)
augment = transforms.Compose([transforms.RandomRotation(5, resample=Image.BILINEAR), transform])
trainset = torchvision.datasets.CIFAR10(root="./data", train=True, download=True, transform=augment)
trainloader = torch.utils.data.DataLoader(trainset, batch_size=16, shuffle=True, num_workers=2)
testset = torchvision.datasets.CIFAR10(root="./data", train=False, download=True, transform=transform)
testloader = torch.utils.data.DataLoader(testset, batch_size=16, shuffle=False, num_workers=2)

dataiter = iter(trainloader)
images, labels = dataiter.next()
grid = torchvision.utils.make_grid(images, normalize=True, range=(-1, 1))

net = IdentityResNet(2, 2, 2, 2)
criterion = nn.CrossEntropyLoss()
optimizer = optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.1, verbose=True)

best = np.Inf
for epoch in range(2):
    losses = []
    for inputs, labels in trainloader:
        optimizer.zero_grad()
        loss = criterion(net(inputs), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    scheduler.step()
    mean = np.array(losses, dtype=np.float).mean()
    if mean < best:
        best = mean
        torch.save(net, "best.pt")

loaded = torch.load("best.pt")
print("the network that was loaded has", sum(p.numel() for p in loaded.parameters()), "parameters")

correct = np.zeros(10, dtype=np.int)
with torch.no_grad():
    images, labels = iter(testloader).next()
    hits = net(images).argmax(1) == labels
    for label in labels[hits].numpy():
        correct[label] += 1
print(correct)
