"""`make rehearse`: a made-up class goes the whole way, for each learning system."""

from pathlib import Path

import pytest

from command import ROOT, SUBMISSIONS, read_table
from grader.cli.rehearse import rehearse_command
from grader.lms import System, rehearsal
from small_class import hand_in_small

pytestmark = [pytest.mark.slow, pytest.mark.sandbox, pytest.mark.usefixtures("isolation"), pytest.mark.timeout(900)]

UPLOADS = {
    System.BLACKBOARD: "gc_ML.xls",
    System.CANVAS: "2026-11-22_Grades-ML.csv",
    System.MOODLE: "Grades-ML-HW6-11.csv",
    System.GRADESCOPE: "gradescope",
}


@pytest.mark.parametrize("system", System)
def test_a_teacher_sees_each_command_what_came_out_and_what_is_next(
    system: System,
    tiny_data: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    # The class of one system has the demo's own networks, which are of full size.
    if system is not System.BLACKBOARD:
        hand_in_small(tmp_path / "demo", *(path.name for path in (SUBMISSIONS / "demo").iterdir()))
        monkeypatch.setattr(rehearsal, "_DEMO", tmp_path / "demo")
    rehearse_command(system, data=str(tiny_data), out=tmp_path / "out")
    said = capfd.readouterr().out
    order = [said.index(f"$ make {command} ") for command in ("collect", "grade", "export")]
    assert order == sorted(order)
    # What a command says stands below it.
    assert order[0] < said.index("each file, and why") < order[1] < said.index("graded now: ") < order[2]
    out = tmp_path / "out" / system / "results"
    assert (out / "upload" / UPLOADS[system]).exists()
    assert f"Open {out / 'report.html'}" in said
    assert "With your own class" in said
    rows = read_table(out / "grades.csv").values()
    assert len(rows) == 6
    assert all(row["points"] for row in rows)
    assert "handed in nothing" in (out / "report.html").read_text(encoding="utf-8")
