"""Whatever arguments an allowed operation gets, the replay answers or refuses."""

import json
import subprocess
import sys

import pytest

from command import ROOT
from odd_arguments import RIGHT


def tried(seed: int, rounds: int) -> tuple[int, int]:
    """How many graphs were answered and how many refused, in a process that may crash."""
    program = [sys.executable, str(ROOT / "tests/helpers/odd_arguments.py"), str(seed), str(rounds)]
    done = subprocess.run(program, capture_output=True, text=True, check=False, cwd=ROOT, timeout=600)
    assert done.returncode == 0, done.stderr.splitlines()[-1]
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["differing"] == []
    return said["answered"], said["refused"]


@pytest.mark.parametrize(("seed", "rounds"), [(2, 1), pytest.param(3, 8, marks=pytest.mark.slow)])
def test_odd_arguments_are_answered_or_refused(seed: int, rounds: int) -> None:
    answered, refused = tried(seed, rounds)
    assert answered > rounds * len(RIGHT)
    assert refused > rounds * len(RIGHT)
