"""A prefetcher with a stream of its own, as in NVIDIA's examples."""

# differs: bare: it needs a GPU
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
import torchvision
import torchvision.transforms as transforms

transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))])
trainset = torchvision.datasets.CIFAR10(root="./data", train=True, download=True, transform=transform)
trainloader = torch.utils.data.DataLoader(trainset, batch_size=20, shuffle=True, pin_memory=True)
testset = torchvision.datasets.CIFAR10(root="./data", train=False, download=True, transform=transform)
testloader = torch.utils.data.DataLoader(testset, batch_size=20)



class Prefetcher:
    def __init__(self, loader):
        self.loader = iter(loader)
        self.stream = torch.cuda.Stream()
        self.preload()

    def preload(self):
        try:
            self.inputs, self.labels = next(self.loader)
        except StopIteration:
            self.inputs = None
            return
        with torch.cuda.stream(self.stream):
            self.inputs = self.inputs.cuda(non_blocking=True)
            self.labels = self.labels.cuda(non_blocking=True)

    def next(self):
        torch.cuda.current_stream().wait_stream(self.stream)
        inputs, labels = self.inputs, self.labels
        if inputs is not None:
            inputs.record_stream(torch.cuda.current_stream())
            labels.record_stream(torch.cuda.current_stream())
        self.preload()
        return inputs, labels


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 4, stride=4)
        self.bn = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8 * 8 * 8, 10)

    def forward(self, x):
        return self.fc(F.relu(self.bn(self.conv(x))).flatten(1))


net = IdentityResNet(2, 2, 2, 2).cuda()
criterion = nn.CrossEntropyLoss().cuda()
optimizer = optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
scaler = torch.cuda.amp.GradScaler()

start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
for epoch in range(2):
    start.record()
    prefetcher = Prefetcher(trainloader)
    inputs, labels = prefetcher.next()
    while inputs is not None:
        optimizer.zero_grad()
        with torch.cuda.amp.autocast():
            loss = criterion(net(inputs), labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        inputs, labels = prefetcher.next()
    end.record()
    torch.cuda.synchronize()
    print(start.elapsed_time(end), torch.cuda.max_memory_allocated() // 2**20)

net.eval()
correct = 0
with torch.no_grad():
    for inputs, labels in testloader:
        correct += (net(inputs.cuda()).cpu().argmax(1) == labels).sum().item()
print("accuracy", correct / len(testset))
