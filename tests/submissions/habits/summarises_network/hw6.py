import os
import torch, torchvision
import torch.nn as nn
import torch.optim as optim
import torchvision.transforms as transforms
from torchsummary import summary
import torchinfo

class IdentityResNet(nn.Module):
  def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
    super(IdentityResNet, self).__init__()
    self.conv = nn.Conv2d(3, 8, kernel_size=8, stride=8)
    self.bn = nn.BatchNorm2d(8)
    self.fc = nn.Linear(8*4*4, 10)

  def forward(self, x):
    out = torch.relu(self.bn(self.conv(x)))
    return self.fc(out.reshape(out.shape[0], -1))

def main():
  net = IdentityResNet(2, 2, 2, 2).cuda()
  summary(net, (3, 32, 32))
  torchinfo.summary(net, input_size=(4, 3, 32, 32), col_names=["output_size", "num_params"])

  transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))])
  trainset = torchvision.datasets.CIFAR10(root='./data', train=True, download=True, transform=transform)
  trainloader = torch.utils.data.DataLoader(trainset, batch_size=40, shuffle=True, num_workers=2, persistent_workers=True)
  testset = torchvision.datasets.CIFAR10(root='./data', train=False, download=True, transform=transform)
  testloader = torch.utils.data.DataLoader(testset, batch_size=40, shuffle=False, num_workers=os.cpu_count())

  criterion = nn.CrossEntropyLoss()
  optimizer = optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
  for epoch in range(5):
    for i, data in enumerate(trainloader, 0):
      inputs, labels = data[0].cuda(), data[1].cuda()
      optimizer.zero_grad()
      loss = criterion(net(inputs), labels)
      loss.backward()
      optimizer.step()
    print('[%d] loss: %.3f' % (epoch + 1, loss.item()))

  # the table again, this time of what came out
  summary(net, (3, 32, 32), device='cpu')
  total = sum((net(x.cuda()).argmax(1) == y.cuda()).sum().item() for x, y in testloader)
  print('test accuracy', total / len(testset))

if __name__ == '__main__':
  torch.multiprocessing.freeze_support()
  torch.multiprocessing.set_start_method('spawn')
  main()
