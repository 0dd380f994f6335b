"""The benchmark: its parts run, and none loses what another one measured."""

import subprocess
import sys
from pathlib import Path

import pytest

from command import ROOT


@pytest.mark.sandbox
@pytest.mark.usefixtures("isolation")
def test_a_part_replaces_its_own_section_and_leaves_the_others(tmp_path: Path) -> None:
    results = tmp_path / "RESULTS.md"
    title = "## 12 students with finished results\n"
    before, after = "## Before\n\nThis was measured.\n", "## After\n\nThat too.\n"
    results.write_text(f"# Measured\n\n{before}\n{title}\nAn old table.\n\n{after}", encoding="utf-8")
    part = [sys.executable, "tests/bench", "many-students", "--students", "12", "--out", str(results)]
    finished = subprocess.run(part, cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    text = results.read_text(encoding="utf-8")
    assert text.startswith(f"# Measured\n\n{before}\n{title}")
    assert text.endswith(f"\n{after}")
    assert "An old table." not in text
    assert [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")] == [
        "| command",
        "| grade",
        "| export",
        "| together",
    ]
