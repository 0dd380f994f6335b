"""From the archive that a learning system gives to the grades that it takes back, through the command line."""

import json
from pathlib import Path

import pytest

import gradebooks
from archives import BLACKBOARD, attempt, write_archive
from command import read_table, run_grader
from grader.lms.gradebook import plain, read_sheet
from small_class import SMALL_SCRIPT

DUE = ("--deadline", "2026-11-21 23:59 Asia/Seoul")
IN_TIME, LAST, LATE = "2026-11-20-23-58-03", "2026-11-21-23-59-00", "2026-11-22-00-00-00"


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive with an early, a last and a late attempt, one without a file; and the gradebook of four."""
    folder = tmp_path_factory.mktemp("course")
    script = SMALL_SCRIPT.read_bytes()
    entries = attempt("kim", IN_TIME, hw6__py=b"an earlier one") | attempt("kim", LAST, hw6__py=script)
    entries |= attempt("kim", LATE, hw6__py=b"a late one") | attempt("lee", IN_TIME)
    write_archive(folder / BLACKBOARD, entries)
    students = (
        ("kim", "김민수", "Needs Grading"),
        ("lee", "Lee, S", ""),
        ("choi", "최", "6.00"),
        ("park", "=1+1", "20"),
        ("han", "한", "EX"),
    )
    (folder / "gc_2026.xls").write_bytes(gradebooks.blackboard(students))
    return folder


def collecting(course: Path, out: Path) -> tuple[str | Path, ...]:
    return (course / BLACKBOARD, "--roster", course / "gc_2026.xls", *DUE, "--out", out)


def test_collecting_shows_who_which_and_why_and_runs_nothing(course: Path, tmp_path: Path) -> None:
    finished = run_grader("collect", *collecting(course, tmp_path / "out"))
    assert finished.returncode == 0, finished.stderr
    assert "layout: Blackboard's, recognised by its names" in finished.stdout
    assert "they are read in DEADLINE's zone, Asia/Seoul" in finished.stdout
    lines = {line.partition(" (")[0]: line for line in finished.stdout.splitlines()}
    assert f"Project_6_kim_attempt_{LAST}_hw6.py, 2026-11-21 23:59:00+09:00: the last file" in lines["kim"]
    assert "the attempt of 2026-11-20 23:58:03 has no file" in lines["lee"]
    assert lines["choi"].endswith(": handed in nothing")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["collection.csv"]


def test_a_layout_that_does_not_fit_or_is_not_known_ends_in_words(course: Path, tmp_path: Path) -> None:
    for name, words in (("moodle", "as Moodle names it"), ("sakai", "blackboard")):
        finished = run_grader("collect", *collecting(course, tmp_path / "out"), "--format", name)
        assert finished.returncode == 2
        assert words in finished.stderr
        assert "Traceback" not in finished.stderr


@pytest.mark.sandbox
@pytest.mark.usefixtures("isolation")
def test_an_archive_goes_in_and_the_grades_that_blackboard_takes_come_out(
    course: Path, tiny_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    graded = run_grader("grade", *collecting(course, out), "--data", tiny_data)
    assert graded.returncode == 0, graded.stdout + graded.stderr
    rows = read_table(out / "grades.csv")
    assert {student: row["outcome"] for student, row in rows.items()} == {
        "choi": "no_submission",
        "han": "no_submission",
        "kim": "graded",
        "lee": "no_submission",
        "park": "no_submission",
    }
    assert rows["kim"]["file"].endswith(f"{LAST}_hw6.py")

    exported = run_grader("export", "blackboard", "--out", out, "--column", "Project 6")
    assert exported.returncode == 0, exported.stderr
    kim = rows["kim"]["points"]
    assert f"kim: Needs Grading -> {kim}" in exported.stdout
    assert "choi: 6.00 -> 0, less than before" in exported.stdout
    sheet = read_sheet((out / "upload" / "gc_2026.xls").read_bytes())
    uploaded = [(plain(row[2]), plain(row[3])) for row in sheet.rows[1:]]
    assert uploaded == [("kim", kim), ("lee", "0"), ("choi", "0"), ("park", "0"), ("han", "EX")]
    assert "a word stands in place of the score (make override sets points instead): han (EX)" in exported.stdout

    assert run_grader("export", "gradescope", "--out", out).returncode == 0
    assert json.loads((out / "upload" / "gradescope" / "kim.json").read_bytes())["score"] == float(kim)
    other = tmp_path / "other.xls"
    other.write_bytes(gradebooks.blackboard((("a", "A", ""), ("b", "B", ""), ("c", "C", ""))))
    refused = run_grader("export", "blackboard", "--out", out, "--gradebook", other, "--column", "Project 6")
    assert (refused.returncode, (out / "upload" / "other.xls").exists()) == (2, False)
    assert "it lists a, b, c, and you graded choi, han, kim" in refused.stderr
    wrong = run_grader("export", "canvas", "--out", out)
    assert wrong.returncode == 2
    assert "pass what Canvas let you download" in wrong.stderr
    assert len(wrong.stderr.strip().splitlines()) == 1
