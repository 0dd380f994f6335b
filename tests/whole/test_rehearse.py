"""`make rehearse`: a made-up class goes the whole way, for each learning system."""

from pathlib import Path

import pytest

from command import read_table, run_grader_apart
from grader.lms import System

pytestmark = [pytest.mark.slow, pytest.mark.sandbox, pytest.mark.usefixtures("isolation"), pytest.mark.timeout(900)]

UPLOADS = {
    System.BLACKBOARD: "gc_ML.xls",
    System.CANVAS: "2026-11-22_Grades-ML.csv",
    System.MOODLE: "Grades-ML-HW6-11.csv",
    System.GRADESCOPE: "gradescope",
}


@pytest.mark.parametrize("system", System)
def test_a_teacher_sees_each_command_what_came_out_and_what_is_next(
    system: System, tiny_data: Path, tmp_path: Path
) -> None:
    finished = run_grader_apart("rehearse", system, "--data", tiny_data, "--out", tmp_path, timeout=800)
    said = finished.stdout
    assert finished.returncode == 0, said + finished.stderr
    order = [said.index(f"$ make {command} ") for command in ("collect", "grade", "export")]
    assert order == sorted(order)
    # What a command says stands below it.
    assert order[0] < said.index("each file, and why") < order[1] < said.index("graded now: ") < order[2]
    out = tmp_path / system / "results"
    assert (out / "upload" / UPLOADS[system]).exists()
    assert f"Open {out / 'report.html'}" in said
    assert "With your own class" in said
    rows = read_table(out / "grades.csv").values()
    assert len(rows) == 6
    assert all(row["points"] for row in rows)
    assert "handed in nothing" in (out / "report.html").read_text(encoding="utf-8")
