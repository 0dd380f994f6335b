"""The limits inside a script's process: set once, and never above those that it came with."""

import subprocess
import sys

from command import ROOT

LOWER_BEFORE = """
import resource
from types import SimpleNamespace
from grader.worker.limits import limit_resources
size = 1 << 20
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
# Root may raise them; a script's user may not.
import os
if os.geteuid() == 0:
    os.setuid(44_915)
limit_resources(SimpleNamespace(processes=100, scratch_bytes=2 * size, memory_bytes=1 << 40, open_files=64))
print(resource.getrlimit(resource.RLIMIT_FSIZE) == (size, size))
"""


def test_a_limit_that_is_lower_already_is_kept() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", LOWER_BEFORE], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert finished.stdout.strip() == "True", finished.stderr
