"""Runs that are repeated, and results that a person changes: through the command line, in the real sandbox."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from command import read_table, run_grader
from grader.cli import grade
from grader.cli.options import Inputs, remembered
from grader.results.ledger import open_ledger, read_ledger
from grader.run.machine import saved_calibration, usable_cores
from small_class import hand_in_slow, hand_in_small, hand_in_text, keep_calibration, rules

THREADS = usable_cores()
# Whatever a small script reaches, it is below these edges.
OUT_OF_REACH = {"above": 99, "from": 98}

pytestmark = [pytest.mark.sandbox, pytest.mark.usefixtures("isolation")]


@pytest.fixture(scope="module")
def graded(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class of two on its way: one regraded and overridden by its teacher."""
    folder = tmp_path_factory.mktemp("small")
    hand_in_small(folder / "class", "kim", "lee")
    roster = folder / "roster.csv"
    roster.write_text("student_id,name\nkim,김\nlee,이\nchoi,최\n", encoding="utf-8")
    first = run_grader(
        "grade", folder / "class", "--data", tiny_data, "--out", folder / "out", "--roster", roster, "--student", "kim"
    )
    assert first.returncode == 0, first.stderr
    assert "accuracy:" in first.stdout, "what the script prints is shown as it comes"
    assert read_table(folder / "out" / "grades.csv")["lee"]["outcome"] == "pending"
    return folder / "out"


def change(out: Path, command: str, *arguments: str) -> str:
    finished = run_grader(command, "--out", out, *arguments)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def refused(out: Path, command: str, *arguments: str) -> str:
    finished = run_grader(command, "--out", out, *arguments)
    assert finished.returncode == 2, finished.stdout + finished.stderr
    assert len(finished.stderr.strip().splitlines()) == 1
    return finished.stderr


def not_begun(graded: Path, folder: Path) -> Path:
    """A copy of the class, on a machine so slow that no run begins without a yes."""
    shutil.copytree(graded, folder / "out")
    keep_calibration(folder / "out", 0.01, THREADS)
    return folder / "out"


def test_one_student_alone_is_the_only_one_that_is_run(graded: Path) -> None:
    assert {entry.student_id for entry in read_ledger(graded).entries()} == {"kim"}


def test_an_override_is_kept_with_its_reason_and_a_regrade_ends_it(graded: Path) -> None:
    said = change(graded, "override", "--student", "kim", "--points", "20", "--why", "shown in class")
    assert "-> 20 points" in said
    row = read_table(graded / "grades.csv")["kim"]
    assert row["points"] == "20"
    assert "(shown in class)" in row["changes"]
    assert "set your points to 20" in row["message"]

    said = change(graded, "regrade", "--students", "kim", "--why", "the file was fine")
    assert "the new run ends the override of kim" in said
    assert "graded now: 1" in said
    row = read_table(graded / "grades.csv")["kim"]
    assert row["points"] != "20"
    assert "20 -> " in row["changes"]
    assert "(the file was fine)" in row["changes"]
    assert {log.name for log in (graded / "logs").iterdir()} == {"kim.log", "kim~2.log"}
    page = (graded / "report.html").read_text(encoding="utf-8")
    assert "The end of kim~2.log" in page
    assert "The end of kim.log" not in page
    assert "(the file was fine)" in page


def test_points_can_be_given_to_someone_who_handed_in_nothing(graded: Path) -> None:
    change(graded, "override", "--student", "choi", "--points", "6", "--why", "handed in by mail")
    assert read_table(graded / "grades.csv")["choi"]["points"] == "6"


@pytest.mark.parametrize(
    ("command", "arguments", "named"),
    [
        ("override", ("--student", "kim", "--points", "20"), "WHY="),
        ("override", ("--points", "20", "--why", "x"), "STUDENT= is missing"),
        ("override", ("--student", "kimm", "--points", "20", "--why", "x"), "no student kimm"),
        ("override", ("--student", "kim", "--points", "200", "--why", "x"), "0 to 20"),
        ("override", ("--student", "kim", "--points", "NaN", "--why", "x"), "0 to 20"),
        ("regrade", ("--students", "kim"), "WHY="),
        ("regrade", ("--why", "x"), "STUDENTS="),
        ("regrade", ("--students", "kin", "--why", "x"), "did you mean kim?"),
        ("regrade", ("--students", "choi", "--why", "x"), "handed in no file that can be run"),
    ],
)
def test_a_change_that_cannot_be_made_is_one_sentence(
    graded: Path, command: str, arguments: tuple[str, ...], named: str
) -> None:
    before = (graded / "ledger.jsonl").read_bytes()
    assert named in refused(graded, command, *arguments)
    assert (graded / "ledger.jsonl").read_bytes() == before


def test_a_regrade_of_all_that_are_flagged_leaves_points_set_by_hand(graded: Path, tmp_path: Path) -> None:
    change(graded, "override", "--student", "lee", "--points", "6", "--why", "shown in class")
    out = not_begun(graded, tmp_path)
    finished = run_grader("regrade", "--out", out, "--flagged", "--why", "all of them")
    assert "to run again: kim\n" in finished.stdout


@pytest.fixture(scope="module")
def borderline(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of two students just below an edge; one of them sets her own seed."""
    folder = tmp_path_factory.mktemp("borderline")
    hand_in_small(folder / "class", "kim")
    hand_in_text(folder / "class", "lee", "class Identity", "torch.manual_seed(1)\nclass Identity")
    strict = rules(folder / "rules.toml", **OUT_OF_REACH, below_edge=99, extra_runs=1)
    finished = run_grader(
        "grade", folder / "class", "--data", tiny_data, "--out", folder / "out", "--assignment", strict
    )
    assert finished.returncode == 0, finished.stderr
    return folder / "out"


def test_a_borderline_run_is_repeated_with_recorded_seeds_and_the_best_counts(borderline: Path) -> None:
    row = read_table(borderline / "grades.csv")["kim"]
    assert [seed in row["runs"] for seed in ("seed 1, first", "seed 2, borderline")] == [True] * 2
    reached = [float(part.split(" %")[0]) for part in row["runs"].split("; ")]
    assert float(row["accuracy"]) == max(reached)
    first, again = ((borderline / "logs" / f"{name}.log").read_text(encoding="utf-8") for name in ("kim", "kim~2"))
    assert first != again, "another seed gives another network"


def test_a_script_that_sets_its_seed_is_run_once(borderline: Path) -> None:
    assert read_table(borderline / "grades.csv")["lee"]["runs"] == ""


def test_a_run_that_time_cut_in_company_is_repeated_alone(tiny_data: Path, tmp_path: Path) -> None:
    hand_in_slow(tmp_path / "class", "kim", seconds=0.6)
    short = rules(tmp_path / "rules.toml", **OUT_OF_REACH, train_seconds=1)
    keep_calibration(tmp_path / "out", 13.9, threads=max(1, THREADS // 2))
    finished = run_grader(
        "grade", tmp_path / "class", "--data", tiny_data, "--out", tmp_path / "out", "--assignment", short, "--jobs", 2
    )
    assert finished.returncode == 0, finished.stderr
    first, alone = read_ledger(tmp_path / "out").entries()
    assert (first.evidence.jobs, alone.evidence.jobs) == (2, 1)
    row = read_table(tmp_path / "out" / "grades.csv")["kim"]
    assert "seed 1, alone" in row["runs"]
    assert "10.0 times slower than Colab's GPU" in row["review"]


def test_the_reference_is_timed_and_the_time_is_kept(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Some steps of the reference, of a second each on two cores; where these are too few, it is timed for longer.
    monkeypatch.setattr(grade, "_CALIBRATED_SECONDS", 4)
    said = change(tmp_path / "out", "calibrate", "--data", str(tiny_data))
    kept = saved_calibration(tmp_path / "out", THREADS, "script")
    assert kept is not None
    assert f"{kept.images_per_second:.0f} images a second" in said
    assert "calibrated limit: " in said
    assert saved_calibration(tmp_path / "out", THREADS, "bfloat16") is None, "how fast it is follows from the precision"


def test_more_than_an_hour_is_not_begun_without_a_yes(tiny_data: Path, tmp_path: Path) -> None:
    hand_in_small(tmp_path / "class", "kim")
    out = tmp_path / "out"
    keep_calibration(out, 0.01, THREADS)
    finished = run_grader("grade", tmp_path / "class", "--data", tiny_data, "--out", out)
    assert finished.returncode == 2
    assert "YES=1" in finished.stderr
    assert "estimate: " in finished.stdout
    assert read_ledger(out).entries() == ()
    assert not (out / "inputs.json").exists()


def test_a_regrade_that_does_not_begin_leaves_no_line(graded: Path, tmp_path: Path) -> None:
    out = not_begun(graded, tmp_path)
    before = (out / "ledger.jsonl").read_bytes()
    finished = run_grader("regrade", "--out", out, "--students", "kim", "--why", "asked")
    assert finished.returncode == 2
    assert "YES=1" in finished.stderr
    assert (out / "ledger.jsonl").read_bytes() == before


def test_a_grade_without_what_the_last_one_was_given_says_so_before_it_begins(graded: Path, tmp_path: Path) -> None:
    out = not_begun(graded, tmp_path)
    given = remembered(out, Inputs())
    finished = run_grader("grade", given.submissions, "--data", given.data, "--out", out)
    assert finished.returncode == 2
    assert f"{out} was graded with ROSTER={given.roster} before, and now without" in finished.stdout
    assert remembered(out, Inputs()) == given


def test_a_run_that_was_only_tried_does_not_become_the_class_s_result(graded: Path, tmp_path: Path) -> None:
    out = shutil.copytree(graded, tmp_path / "out")
    before = read_table(out / "grades.csv")["kim"]["outcome"]
    newest = read_ledger(out).entries()[-1]
    with open_ledger(out) as ledger:
        ledger.append(replace(newest, sha256="0" * 64, run_key="of-other-data"))
    change(out, "report")
    assert read_table(out / "grades.csv")["kim"]["outcome"] == before == "graded"
