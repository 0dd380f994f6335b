"""Run a script in which cuda means the processor, in a process of its own: what it tests changes torch for good."""

import os
import re
import subprocess
import sys
from pathlib import Path

PRELUDE = """
import copy, io, pickle, threading, traceback, warnings

import torch
from torch import nn

from grader.worker.standins import no_gpu
from grader.worker.channel import all_notes

for (owner, name), replacement in no_gpu.replacements().items():
    setattr(owner, name, replacement)
assert all_notes() == ()
CPU = torch.device("cpu")
PARTS = {}


def part(function):
    PARTS[function.__name__] = function
    return function


def on_cpu(value):
    assert value.device == CPU and value.device.type == "cpu", value.device
    return value


class WithDevice(nn.Module):
    def __init__(self):
        super().__init__()
        self.device = torch.device("cuda:0")
        self.fc = nn.Linear(3, 10, device=self.device)
        self.scale = nn.Parameter(torch.ones(10, device="cuda"))

    def forward(self, x):
        return self.fc(x.to(self.device)) * self.scale


def save_and_load(value, **options):
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, **options)
"""

END = """
# That cuda is not there, and that its older names will go, is what torch says here.
warnings.filterwarnings("ignore", message=".*(CUDA is not available|no NVIDIA|deprecated|pinned memory)")
for name, function in PARTS.items():
    try:
        function()
    except BaseException:
        print(name, "FAILED")
        traceback.print_exc()
    else:
        print(name, "passed")
"""


def part_names(parts: str) -> list[str]:
    """The functions below `@part`, each of which the script tries and reports."""
    return re.findall(r"^@part\ndef (\w+)", parts, re.MULTILINE)


def run_parts(parts: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run all parts in one process; each says in a line of its own how it went."""
    file = folder / "script.py"
    file.write_text(PRELUDE + parts + END, encoding="utf-8")
    command = [sys.executable, "-W", "error", str(file)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
