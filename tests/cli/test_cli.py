"""The command line: what a teacher reads after a mistake, and what the exit code says."""

from pathlib import Path

import numpy as np
import pytest

from command import SUBMISSIONS, run_grader
from grader.cli.options import Inputs, ids_in, left_out, remember, remembered
from grader.records import Collection, Submission

GRADE = ("grade", SUBMISSIONS / "habits")


@pytest.fixture
def odd_data(tmp_path: Path) -> Path:
    path = tmp_path / "odd.npz"
    np.savez(path, x_train=np.zeros((2, 32, 32, 3), np.uint8))
    return path


def said(*arguments: str | Path, tmp_path: Path) -> str:
    """What is printed after a mistake: exit code 2, one sentence on the error stream, no traceback."""
    finished = run_grader(*arguments, "--out", tmp_path / "out")
    assert finished.returncode == 2, finished.stdout + finished.stderr
    assert "Traceback" not in finished.stderr
    assert len(finished.stderr.strip().splitlines()) == 1
    return finished.stderr


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    assert "SUBMISSIONS" in said("grade", tmp_path / "none", tmp_path=tmp_path)


def test_a_roster_without_ids_is_one_sentence(tmp_path: Path) -> None:
    roster = tmp_path / "roster.csv"
    roster.write_text("who\nkim\n", encoding="utf-8")
    assert "student_id" in said(*GRADE, "--roster", roster, tmp_path=tmp_path)


def test_an_assignment_with_a_wrong_value_is_one_sentence(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text("title = 3", encoding="utf-8")
    assert "title" in said(*GRADE, "--assignment", rules, tmp_path=tmp_path)


@pytest.mark.parametrize("wrong", [("--data", "nowhere.npz"), ("--roster", "none.csv"), ("--assignment", "none.toml")])
def test_what_cannot_be_used_is_not_remembered_for_the_next_command(tmp_path: Path, wrong: tuple[str, str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    before = Inputs("/old/class", data="digits")
    remember(before, out)
    assert wrong[1] in said(*GRADE, *wrong, tmp_path=tmp_path)
    assert remembered(out, Inputs()) == before


@pytest.mark.sandbox
def test_wrong_data_is_one_sentence_and_nothing_is_graded(tmp_path: Path, odd_data: Path) -> None:
    assert "y_train" in said(*GRADE, "--data", odd_data, tmp_path=tmp_path)
    assert not (tmp_path / "out" / "grades.csv").exists()


def test_a_report_without_a_ledger_says_what_to_do(tmp_path: Path) -> None:
    assert "make grade" in said("report", SUBMISSIONS / "habits", tmp_path=tmp_path)


def test_without_bubblewrap_nothing_runs_and_the_install_command_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "apt-get install bubblewrap" in said(*GRADE, "--data", "digits", tmp_path=tmp_path)


def test_a_setting_with_a_wrong_value_is_one_sentence_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADER_FORMAT", "sakai")
    sentence = said("collect", SUBMISSIONS / "habits", tmp_path=tmp_path)
    assert sentence.startswith("error: Invalid value for FORMAT=: 'sakai' is not one of 'folder', 'blackboard'")
    monkeypatch.setenv("GRADER_FORMAT", "Folder")
    assert run_grader("collect", SUBMISSIONS / "habits", "--out", tmp_path / "out").returncode == 0


def test_a_setting_that_the_command_does_not_use_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADER_STUDENTS", "kim lee")
    monkeypatch.setenv("GRADER_FORMAT", "folder")
    finished = run_grader("collect", SUBMISSIONS / "habits", "--out", tmp_path / "out")
    assert (finished.returncode, finished.stderr) == (0, "collect does not use STUDENTS=\n")


def test_what_the_last_grade_was_given_and_this_one_is_not_is_named(tmp_path: Path) -> None:
    remember(Inputs("/class", "/a roster.csv", "2026-12-01 23:59 Asia/Seoul"), tmp_path)
    assert left_out(Inputs("/class", "/other.csv", "2026-12-02T00:00Z"), tmp_path) == ""
    forgot = left_out(Inputs("/class.zip", data="digits"), tmp_path)
    assert "ROSTER='/a roster.csv', DEADLINE='2026-12-01 23:59 Asia/Seoul'" in forgot
    assert "SUBMISSIONS" not in forgot
    assert left_out(Inputs("/class"), tmp_path / "new") == ""


@pytest.mark.parametrize(
    ("typed", "ids"),
    [
        ("kim lee", ["kim", "lee"]),
        ("kim,lee,", ["kim", "lee"]),
        ("lee; Kim Min, kim", ["lee;", "Kim Min", "kim"]),
        ("Kim Min", ["Kim Min"]),
        ("Lee, Sam kim", ["Lee, Sam", "kim"]),
        ("kimm kim.", ["kimm", "kim."]),
        ("", []),
    ],
)
def test_ids_stand_between_blanks_or_commas_and_may_hold_them(typed: str, ids: list[str]) -> None:
    everyone = ("kim", "lee", "Kim", "Kim Min", "Lee, Sam")
    assert ids_in(typed, Collection(tuple(map(Submission, everyone)), ())) == ids
