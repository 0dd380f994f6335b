"""The limits inside a script's process: never above those that it came with, and time is its own work."""

import os
import subprocess
import sys

import pytest

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


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no program can be kept on one processor here")
def test_the_time_of_other_programs_is_not_the_script_s() -> None:
    """Beside three busy programs on one processor, a script gets its second of work all the same."""
    counted = """
import os, time
from grader.worker.limits import when_overdue
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
def end():
    print(time.process_time() - begun, time.monotonic() - wall, flush=True)
    os._exit(0)
begun, wall = time.process_time(), time.monotonic()
when_overdue(1, end)
while True:
    pass
"""
    one = {min(os.sched_getaffinity(0))}
    crowd = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    try:
        for each in crowd:
            os.sched_setaffinity(each.pid, one)
        finished = subprocess.run(
            [sys.executable, "-c", counted], cwd=ROOT, capture_output=True, text=True, timeout=200, check=True
        )
    finally:
        for each in crowd:
            each.kill()
            each.wait()
    worked, passed = map(float, finished.stdout.split())
    # By the wall alone it had a quarter of it. Nobody tells what a virtual machine's host takes: a fifth was seen.
    assert worked >= 0.5
    assert passed > 2 * worked
