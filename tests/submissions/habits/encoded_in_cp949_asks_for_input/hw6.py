# 딥러닝 과제 6
import torch
import torch.nn as nn
import torch.nn.functional as F
from torchvision import datasets, transforms
from tqdm import tqdm


class IdentityResNet(nn.Module):
    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):
        super(IdentityResNet, self).__init__()
        # 첫 번째 합성곱 층
        self.conv1 = nn.Conv2d(3, 12, 8, stride=8)
        self.linear = nn.Linear(12 * 16, 10)

    def forward(self, x):
        """순전파"""
        x = F.relu(self.conv1(x))
        return self.linear(x.view(x.size(0), -1))


def main():
    answer = input("에폭 수 [5]: ")
    n_epochs = int(answer) if answer else 5
    # Q1: 장치 선택
    if input("GPU를 쓸까요? (y/n) ").strip().lower() == "y":
        dev = "cuda"
    else:
        dev = "cpu"

    tf = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)])
    train = torch.utils.data.DataLoader(datasets.CIFAR10("data", True, tf, download=True), 40, shuffle=True)
    test = torch.utils.data.DataLoader(datasets.CIFAR10("data", False, tf, download=True), 40)

    model = IdentityResNet(2, 2, 2, 2).to(dev)
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    # 학습
    for ep in range(n_epochs):
        bar = tqdm(train, desc=f"에폭 {ep + 1}/{n_epochs}")
        for x, y in bar:
            opt.zero_grad()
            loss = F.cross_entropy(model(x.to(dev)), y.to(dev))
            loss.backward()
            opt.step()
            bar.set_postfix(loss=f"{loss.item():.3f}")

        # 에폭마다 평가
        model.eval()
        right = 0
        with torch.no_grad():
            for x, y in test:
                right += (model(x.to(dev)).argmax(1).cpu() == y).sum().item()
        print(f"에폭 {ep + 1}: {100 * right / len(test.dataset):.1f}%")
        model.train()

    print("전체 정확도:", right / len(test.dataset))
    input("끝내려면 Enter를 누르세요")


if __name__ == "__main__":
    main()
