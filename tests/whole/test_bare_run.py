"""What the grader measures is what `python hw6.py` does: the same seed gives the same network and its predictions."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from grader.assignment import Assignment
from grader.data import load_data
from grader.sandbox import Isolation
from one_run import train_once
from small_class import SMALL_SCRIPT

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(600)]

# Python runs this before the script: the data set in CIFAR-10's place, and the seed that the grader sets.
START = """
import random, numpy, torch, torchvision

class CIFAR10(torchvision.datasets.VisionDataset):
    def __init__(self, root, train=True, transform=None, target_transform=None, download=False):
        super().__init__(root, transform=transform, target_transform=target_transform)
        part = numpy.load({data!r})
        self.data = part["x_train" if train else "x_test"]
        self.targets = part["y_train" if train else "y_test"].tolist()

    __len__ = torchvision.datasets.CIFAR10.__len__
    __getitem__ = torchvision.datasets.CIFAR10.__getitem__

torchvision.datasets.CIFAR10 = CIFAR10
for seed in (random.seed, numpy.random.seed, torch.manual_seed):
    seed({seed})
"""
# A student who wants to keep the scores of the test set adds this.
KEEP_SCORES = """
import numpy
net.eval()
with torch.no_grad():
    numpy.save("scores.npy", torch.cat([net(inputs) for inputs, _ in testloader]).numpy())
"""


def test_predictions_equal_those_of_the_script_run_bare(
    isolation: Isolation, assignment: Assignment, tiny_data: Path, tmp_path: Path
) -> None:
    script = tmp_path / "bare" / "hw6.py"
    script.parent.mkdir()
    script.write_text(SMALL_SCRIPT.read_text(encoding="utf-8") + KEEP_SCORES, encoding="utf-8")
    (script.parent / "sitecustomize.py").write_text(START.format(data=str(tiny_data), seed=assignment.seed))
    subprocess.run(
        [sys.executable, "hw6.py"],
        cwd=script.parent,
        env=os.environ | {"PYTHONPATH": str(script.parent), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        check=True,
        capture_output=True,
    )
    bare = np.load(script.parent / "scores.npy")

    data = load_data(str(tiny_data))
    run = train_once(SMALL_SCRIPT, assignment, data, isolation, tmp_path)
    assert run.scores is not None, run.log.decode(errors="replace")
    graded = np.frombuffer(run.scores, "<f4").reshape(bare.shape)
    assert np.array_equal(graded.argmax(axis=1), bare.argmax(axis=1))
    # The grader asks in other batches: sums of a few hundred products differ in their last bits.
    assert np.abs(graded - bare).max() < 1e-5 * np.abs(bare).max()
    assert len(np.unique(bare.argmax(axis=1))) > 1
