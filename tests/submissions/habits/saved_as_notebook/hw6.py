{
 "cells": [
  {
   "cell_type": "markdown",
   "metadata": {},
   "source": [
    "# HW6\n",
    "CIFAR-10 with an identity ResNet"
   ]
  },
  {
   "cell_type": "code",
   "execution_count": null,
   "metadata": {},
   "outputs": [],
   "source": [
    "!pip install -q \\\n",
    "    torchinfo tqdm\n",
    "!nvidia-smi"
   ]
  },
  {
   "cell_type": "code",
   "execution_count": null,
   "metadata": {},
   "outputs": [],
   "source": [
    "%%bash\n",
    "mkdir -p checkpoint\n",
    "ls -la"
   ]
  },
  {
   "cell_type": "code",
   "execution_count": null,
   "metadata": {},
   "outputs": [],
   "source": [
    "%matplotlib inline\n",
    "import torch, torchvision\n",
    "import torch.nn as nn\n",
    "import torch.nn.functional as F\n",
    "import torchvision.transforms as T\n",
    "import matplotlib.pyplot as plt\n",
    "from tqdm.notebook import tqdm, trange\n",
    "\n",
    "cores = !nproc\n",
    "print('cores', cores)"
   ]
  },
  {
   "cell_type": "markdown",
   "metadata": {},
   "source": [
    "## The network"
   ]
  },
  {
   "cell_type": "code",
   "execution_count": null,
   "metadata": {},
   "outputs": [],
   "source": [
    "class IdentityResNet(nn.Module):\n",
    "    def __init__(self, nblk_stage1, nblk_stage2, nblk_stage3, nblk_stage4):\n",
    "        super().__init__()\n",
    "        self.conv = nn.Conv2d(3, 16, 8, 8)\n",
    "        self.fc = nn.Linear(256, 10)\n",
    "\n",
    "    def forward(self, x):\n",
    "        return self.fc(F.relu(self.conv(x)).flatten(1))"
   ]
  },
  {
   "cell_type": "code",
   "execution_count": null,
   "metadata": {},
   "outputs": [],
   "source": [
    "IdentityResNet?"
   ]
  },
  {
   "cell_type": "code",
   "execution_count": null,
   "metadata": {},
   "outputs": [],
   "source": [
    "tf = T.Compose([T.ToTensor(), T.Normalize((0.5,)*3, (0.5,)*3)])\n",
    "train = torchvision.datasets.CIFAR10('./data', True, tf, download=True)\n",
    "test = torchvision.datasets.CIFAR10('./data', False, tf, download=True)\n",
    "display(train)\n",
    "net = IdentityResNet(2, 2, 2, 2)\n",
    "net"
   ]
  },
  {
   "cell_type": "code",
   "execution_count": null,
   "metadata": {},
   "outputs": [],
   "source": [
    "%%time\n",
    "losses = []\n",
    "opt = torch.optim.Adam(net.parameters(), 2e-3)\n",
    "for epoch in trange(5):\n",
    "    for x, y in tqdm(torch.utils.data.DataLoader(train, 40, shuffle=True), leave=False):\n",
    "        opt.zero_grad()\n",
    "        loss = F.cross_entropy(net(x), y)\n",
    "        loss.backward()\n",
    "        opt.step()\n",
    "        losses.append(loss.item())"
   ]
  },
  {
   "cell_type": "code",
   "execution_count": null,
   "metadata": {},
   "outputs": [],
   "source": [
    "plt.plot(losses)\n",
    "plt.show()\n",
    "print('steps', len(losses))"
   ]
  }
 ],
 "metadata": {
  "accelerator": "GPU",
  "colab": {
   "provenance": []
  },
  "kernelspec": {
   "display_name": "Python 3",
   "name": "python3"
  }
 },
 "nbformat": 4,
 "nbformat_minor": 0
}
