"""The benchmark: its parts run, and none loses what another one measured."""

import subprocess
import sys
from pathlib import Path

import pytest

from command import ROOT
from gpu_table import BARE, TITLE, Row, read_rows, table
from results import write_section


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


def test_rows_of_a_gpu_are_kept_for_the_next_run_on_the_same_one(tmp_path: Path) -> None:
    results = tmp_path / "RESULTS.md"
    bare = Row("typical, batch 4", BARE, 10.28, 97.3, 1.0, 6.2, "")
    graphs = Row(
        "typical, batch 4", "JOBS=16, graphs, MPS", 13.41, 1193.1, 0.93, 21.7, "own-loading 100%, cuda-graphs 97%"
    )
    write_section(results, TITLE, table([bare, graphs], "NVIDIA H100"))
    write_section(results, "Another part", ["| typical, batch 4 | bare | 1 | 2 | 3 | 4% | 5 |  |"])
    assert read_rows(results, "NVIDIA H100") == {bare.key: bare, graphs.key: graphs}
    assert read_rows(results, "NVIDIA H200") == {}
    assert "| 0.082 |" in results.read_text(encoding="utf-8")
