"""A class of submissions: nothing is graded twice, nothing is lost, no fault of ours becomes points."""

import shutil
import subprocess
from pathlib import Path

import psutil
import pytest

from command import ROOT, SUBMISSIONS, read_table, run_grader
from grader import pipeline
from grader.assignment import Assignment
from grader.data import load_data
from grader.records import Check, Outcome, Submission, Verdict
from grader.results.entries import RunReason
from grader.results.ledger import read_ledger
from grader.results.reruns import NextRun
from grader.sandbox import Isolation
from one_run import only_slot

pytestmark = [pytest.mark.sandbox, pytest.mark.usefixtures("isolation")]


@pytest.fixture(scope="module")
def small_class(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files in two layouts, of one network that trains in a second; and a copy of one of them."""
    folder = tmp_path_factory.mktemp("class") / "submissions"
    folder.mkdir()
    source = SUBMISSIONS / "habits"
    shutil.copy(source / "crlf_lines" / "hw6.py", folder / "hw6_박지우.py")
    text = (source / "utf8_bom" / "hw6.py").read_text(encoding="utf-8")
    for name in ("gimyuna", "yunseri"):
        (folder / f"{name}_hw6.py").write_text(f"{text}import os; print(os.urandom(8).hex())\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def graded(small_class: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of the class, graded against a roster, two at a time."""
    folder = tmp_path_factory.mktemp("graded")
    roster = folder / "roster.csv"
    roster.write_text("student_id,name\n박지우,김서연\nchoi,최하준\nyunseri,윤세리\n", encoding="utf-8")
    finished = grade(small_class, tiny_data, folder / "out", "--roster", roster, "--jobs", "2")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    (folder / "printed").write_text(finished.stdout, encoding="utf-8")
    return folder / "out"


def grade(folder: Path, data: Path, out: Path, *more: str | Path) -> subprocess.CompletedProcess[str]:
    return run_grader("grade", folder, "--data", data, "--out", out, *more)


def test_whoever_handed_in_nothing_has_a_row_with_zero_points(graded: Path) -> None:
    table = read_table(graded / "grades.csv")
    assert table["choi"]["outcome"] == "no_submission"
    assert table["choi"]["points"] == "0"
    assert table["박지우"]["name"] == "김서연"
    assert "not on the roster" in table["gimyuna"]["review"]
    assert (graded / "grades.csv").stat().st_mode & 0o777 == 0o600


def test_the_page_and_everyone_s_feedback_lie_beside_the_table(graded: Path) -> None:
    page = (graded / "report.html").read_text(encoding="utf-8")
    students = ("gimyuna", "박지우", "choi", "yunseri")
    assert all(f'id="s-{student}"' in page for student in students)
    names = {path.name for path in (graded / "feedback").iterdir()}
    assert names == {f"{student}.{suffix}" for student in students for suffix in ("md", "html")}


def test_the_same_network_with_the_same_seed_is_graded_the_same_in_every_slot(graded: Path) -> None:
    table = read_table(graded / "grades.csv")
    assert table["박지우"]["accuracy"] == table["gimyuna"]["accuracy"]


def test_equal_files_are_trained_once_and_no_student_reads_of_another(graded: Path) -> None:
    printed = (graded.parent / "printed").read_text(encoding="utf-8")
    assert "to train: 2 submissions, " in printed
    assert "equal files: 1 more have the same files" in printed
    assert "graded now: 3; graded before: 0" in printed
    assert [f"{who}: checking" in printed for who in ("gimyuna", "yunseri")] == [True, False]
    assert [f"{who}: graded, " in printed for who in ("gimyuna", "yunseri")] == [True] * 2

    table = read_table(graded / "grades.csv")
    assert table["gimyuna"]["accuracy"] == table["yunseri"]["accuracy"]
    assert table["gimyuna"]["message"] == table["yunseri"]["message"]
    assert "the same files as others: gimyuna" in table["yunseri"]["review"]
    assert (graded / "logs" / "gimyuna.log").read_bytes() == (graded / "logs" / "yunseri.log").read_bytes()
    feedback = [(graded / "feedback" / f"yunseri{suffix}").read_text(encoding="utf-8") for suffix in (".md", ".html")]
    assert not any("gimyuna" in page or "same files" in page for page in feedback)


def test_changed_bands_change_points_without_training(small_class: Path, graded: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(graded, out)
    lines = (out / "ledger.jsonl").read_bytes()
    rules = tmp_path / "generous.toml"
    text = (ROOT / "grader" / "assignment.toml").read_text(encoding="utf-8")
    rules.write_text(text.replace("above = 70", "above = 1"), encoding="utf-8")
    finished = run_grader("report", small_class, "--out", out, "--assignment", rules)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert {row["points"] for row in read_table(out / "grades.csv").values()} == {"20", "0"}
    assert (out / "ledger.jsonl").read_bytes() == lines


def test_a_fault_of_ours_is_retried_once_and_never_becomes_points(tiny_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "submissions"
    shutil.copytree(SUBMISSIONS / "broken" / "missing_colab_module", folder / "kim")
    out = tmp_path / "out"
    for attempts, way_out in ((1, "run the same command again"), (2, "make regrade"), (2, "make regrade")):
        finished = grade(folder, tiny_data, out)
        assert finished.returncode == 1
        assert way_out in finished.stdout
        assert [entry.outcome for entry in read_ledger(out).entries()] == [Outcome.INFRASTRUCTURE] * attempts
        row = read_table(out / "grades.csv")["kim"]
        assert (row["outcome"], row["points"]) == ("infrastructure", "")


def test_a_check_that_fails_for_a_fault_of_ours_leaves_nothing_of_the_training_that_waited(
    isolation: Isolation, assignment: Assignment, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load_data(str(tiny_data))
    waiting: list[int] = []

    def failing(*_: object) -> Check:
        waiting.extend(process.pid for process in psutil.Process().children(recursive=True))
        raise OSError("a disk of ours is full")

    monkeypatch.setattr(pipeline, "check_architecture", failing)
    kim = Submission("kim", content=(SUBMISSIONS / "habits" / "utf8_bom" / "hw6.py").read_bytes())
    with only_slot(data, isolation, tmp_path / "work") as (slot, replayers):
        judged = pipeline.grade_one(kim, NextRun(RunReason.FIRST, 1), assignment, data, slot, replayers)
    assert (judged.check.verdict, judged.trained.run.outcome) == (Verdict.UNREADABLE, Outcome.INFRASTRUCTURE)
    assert "a disk of ours is full" in judged.trained.run.error
    assert waiting, "nothing was set up while the check went on"
    assert not any(psutil.pid_exists(pid) for pid in waiting)
    assert [path.name for path in slot.work.iterdir()] == ["training_set"]


def test_check_needs_no_data_and_names_what_deviates(isolation: Isolation, tmp_path: Path) -> None:
    folder = tmp_path / "submissions"
    for student, source in {
        "right": ROOT / "reference",
        "blank": ROOT / "student_template",
        "small": SUBMISSIONS / "habits" / "utf8_bom",
    }.items():
        (folder / student).mkdir(parents=True)
        shutil.copy(source / "hw6.py", folder / student / "hw6.py")
    finished = run_grader("check", folder, "--out", tmp_path / "out")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    table = read_table(tmp_path / "out" / "checks.csv")
    assert (table["right"]["verdict"], table["right"]["output_shape"]) == ("conforming", "4 x 10")
    assert table["right"]["parameters"] == "11003018", "option A has no weights in its skips"
    assert table["blank"]["blanks_left"].split(", ") == [f"Q{number}" for number in range(1, 10)]
    assert table["small"]["verdict"] == "deviates"
    assert "missing-layer" in table["small"]["deviations"]
