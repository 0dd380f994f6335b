"""What `make collect` prints of a class, and what `make export` does where no file of it ever ran."""

import shlex
from pathlib import Path

from archives import write_archive
from command import run_grader
from grader.cli.options import Inputs, remember
from grader.lms.rehearsal import canvas_gradebook, gradescope_metadata
from submission_folders import hand_in, write_roster


def test_a_file_that_cannot_be_graded_is_said_once_of_each_student(tmp_path: Path) -> None:
    upload: tuple[str, list[tuple[str, str]], str, list[str]] = (
        "submission_1",
        [("0012", "Kim"), ("0013", "Lee")],
        "2026-11-20 10:00:00",
        [],
    )
    files = {"submission_metadata.yml": gradescope_metadata([upload]), "submission_1/report.pdf": b"%PDF"}
    archive = write_archive(tmp_path / "export.zip", files)
    said = run_grader("collect", archive, "--out", tmp_path / "out").stdout
    assert "unrecognised" not in said
    assert said.count("0012: the upload submission_1 has no hw6.py") == 1
    assert said.count("0013: the upload submission_1 has no hw6.py") == 1


def test_everyone_is_counted_who_was_collected_cannot_be_read_or_sent_nothing(tmp_path: Path) -> None:
    hand_in(tmp_path / "class" / "kim_hw6.py")
    (tmp_path / "class" / "lee_hw6.py").symlink_to("nowhere")
    roster = write_roster(tmp_path / "roster.csv", "kim,Kim", "lee,Lee", "han,Han", "cho,Cho")
    said = run_grader("collect", tmp_path / "class", "--roster", roster, "--out", tmp_path / "out").stdout
    assert said.splitlines()[0] == "collected: 1 submission; cannot be read: 1; nothing from 2 students"


def graded_without_a_run(folder: Path) -> tuple[Path, Path]:
    """What `make grade` leaves of a class in which one file came late and one student sent nothing."""
    hand_in(folder / "class" / "44_hw6.py", at=2_000_000_000)
    gradebook = folder / "gradebook.csv"
    gradebook.write_bytes(canvas_gradebook([("44", "Kim", ""), ("45", "Lee", "")], "HW6 (1)"))
    out = folder / "out"
    out.mkdir()
    remember(Inputs(str(folder / "class"), str(gradebook), "2026-12-01T00:00Z"), out)
    return gradebook, out


def test_a_class_in_which_nothing_ran_is_exported_and_its_tables_are_written(tmp_path: Path) -> None:
    gradebook, out = graded_without_a_run(tmp_path)
    exported = run_grader("export", "canvas", "--out", out)
    assert exported.returncode == 0, exported.stderr
    assert "45: none -> 0" in exported.stdout
    assert (out / "upload" / gradebook.name).exists()
    reported = run_grader("report", "--out", out)
    assert reported.returncode == 0, reported.stderr
    overridden = run_grader("override", "--out", out, "--student", "44", "--points", "2", "--why", "was ill")
    assert "44: 0 -> 2 points" in overridden.stdout


def test_before_the_first_grade_export_and_report_name_the_command_that_comes_first(tmp_path: Path) -> None:
    for command in (["export", "canvas"], ["report", str(tmp_path)]):
        refused = run_grader(*command, "--out", tmp_path / "out")
        assert refused.returncode == 2
        assert "run `make grade` first" in refused.stderr


def test_the_next_command_is_one_that_helps_and_can_be_copied(tmp_path: Path) -> None:
    folder, out = tmp_path / "class", tmp_path / "a class's results"
    hand_in(folder / "kim_hw6.rar", b"Rar!")
    out.mkdir()
    remember(Inputs(str(folder)), out)
    assert "\nnext: do what `review` says of kim, without points so far" in run_grader("report", "--out", out).stdout
    settings = ("--student", "kim", "--points", "6", "--why", "unpacked by hand")
    said = run_grader("override", *settings, "--out", out).stdout
    assert "none -> 6 points" in said
    assert f"then make export OUT={shlex.quote(str(out))} LMS=" in said
