"""Data loaders on a system that cannot fork: the same batches without worker processes."""

import subprocess
import sys

SCRIPT = """
import torch
from torch.utils.data import DataLoader, TensorDataset

from grader.worker import loaders
from grader.worker.notes import all_notes

images = TensorDataset(torch.arange(10))
loaders.without_workers()
plain = DataLoader(images, 5)
assert not all_notes()
positional = DataLoader(images, 5, False, None, None, 2)
named = DataLoader(images, batch_size=5, num_workers=2, persistent_workers=True, prefetch_factor=4, timeout=9,
                   multiprocessing_context="spawn", drop_last=True)
for loader in (plain, positional, named):
    assert loader.num_workers == 0
    assert [batch[0].tolist() for batch in loader] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
assert named.drop_last
print(*all_notes())
"""


def test_batches_are_loaded_without_worker_processes_and_a_note_says_so() -> None:
    # In a process of its own: what it replaces stays replaced.
    finished = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=200, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == "Data was loaded without worker processes: this system cannot fork them.\n"
