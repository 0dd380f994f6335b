"""What a worker says of its training is bounded before it is kept: student code may have said it."""

from pathlib import Path

import pytest
from command import run_grader
from record_examples import entry, submission
from small_class import hand_in_small

from grader.assignment import load_assignment
from grader.entries import Result
from grader.ledger import read_ledger
from grader.report.table import grades_table
from grader.score import grade
from grader.telemetry import Progress, Stopped
from grader.train import curve, plausible


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    points = curve(Progress(step, step / 10, 2.0 - step / 10_000) for step in range(7_200))
    assert len(points) == 60
    assert (points[0], points[-1]) == ((0, 2.0), (7_199, 1.2801))
    assert list(points) == sorted(points)


def test_a_short_curve_is_whole() -> None:
    assert curve([Progress(50, 1.0, 2.3), Progress(100, 2.0, 1.9)]) == ((50, 2.3), (100, 1.9))


@pytest.mark.parametrize(
    "forged",
    [
        Progress(100, 1.0, float("inf")),
        Progress(100, 1.0, float("nan")),
        Progress(100, 1.0, -1e300),
        Progress(100, 1.0, None),
        Progress(10**400, 1.0, 2.0),
        Progress(-5, 1.0, 2.0),
        Progress(50, 1.0, 2.0),
    ],
    ids=["infinite", "nan", "immense", "unknown", "endless", "negative", "again"],
)
def test_what_cannot_be_a_course_of_training_is_left_out(forged: Progress) -> None:
    assert curve([Progress(50, 0.5, 2.3), forged, Progress(200, 2.0, 1.9)]) == ((50, 2.3), (200, 1.9))


@pytest.mark.parametrize(("samples", "seconds"), [(10**400, 1e300), (-(10**400), float("nan")), (0, float("-inf"))])
def test_forged_figures_do_not_break_the_table(samples: int, seconds: float) -> None:
    stopped = plausible(Stopped("finished", samples, seconds))
    known = entry(samples=stopped.samples, train_seconds=stopped.seconds)
    (row,) = grades_table([Result(submission(), known, grade(submission(), known, load_assignment()))]).to_dict(
        "records"
    )
    assert 0 <= float(row["epochs"]) < 1e9
    assert 0 <= float(row["train_seconds"]) < 1e9


@pytest.mark.sandbox
@pytest.mark.usefixtures("isolation")
def test_the_curve_of_a_run_is_in_the_ledger(tiny_data: Path, tmp_path: Path) -> None:
    hand_in_small(tmp_path / "class", "kim")
    script = tmp_path / "class" / "kim" / "hw6.py"
    slower = script.read_text(encoding="utf-8").replace(
        "optimizer.zero_grad()", "optimizer.zero_grad(); import time; time.sleep(0.4)"
    )
    script.write_text(slower, encoding="utf-8")
    finished = run_grader("grade", tmp_path / "class", "--data", tiny_data, "--out", tmp_path / "out")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    (run,) = read_ledger(tmp_path / "out").entries()
    assert 1 <= len(run.curve) <= 60
    assert all(0 < samples <= run.samples and 0 < loss < 100 for samples, loss in run.curve)
