"""The class of the rehearsal is read as it is meant, and the teacher's page shows what collecting it prints."""

import re
from pathlib import Path

import pytest
import typer

from command import ROOT
from grader.assignment import Assignment
from grader.cli import rehearse
from grader.cli.look import collect_command
from grader.cli.rehearse import rehearse_command
from grader.collect import collect
from grader.collect.deadline import parse_deadline
from grader.errors import UserError
from grader.lms import System, rehearsal
from grader.lms.rehearsal import make_class
from grader.records import Submission

NAMES = {"김서연", "Emma Larsson", "최하준", "Nguyễn Minh Anh", "박지우", "강예준"}


def collected(system: System, folder: Path, rules: Assignment) -> dict[str, Submission]:
    """The class by the students' names."""
    course = make_class(system, folder)
    deadline = parse_deadline(course.deadline, "DEADLINE=")
    whole = collect(course.submissions, course.gradebook, rules, deadline)
    return {submission.name: submission for submission in whole.submissions}


@pytest.mark.parametrize("system", System)
def test_of_each_system_s_class_everyone_is_read_as_meant(
    system: System, tmp_path: Path, assignment: Assignment
) -> None:
    students = collected(system, tmp_path / "class", assignment)
    assert set(students) == NAMES
    assert all(each.on_roster and not each.unreadable for each in students.values())
    graded = {name for name, each in students.items() if each.content}
    by_its_own_marks = {"Nguyễn Minh Anh"} if system in (System.CANVAS, System.MOODLE) else set()
    assert graded == {"김서연", "Emma Larsson", "최하준"} | by_its_own_marks
    assert bool(students["Nguyễn Minh Anh"].late) == (not by_its_own_marks)
    assert any("only report.pdf" in remark for remark in students["박지우"].remarks)
    assert (students["강예준"].file, students["강예준"].remarks) == ("", ())


def test_where_only_the_wheel_is_installed_one_sentence_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal, "_DEMO", tmp_path / "none")
    with pytest.raises(UserError, match="in the repository only"):
        make_class(System.CANVAS, tmp_path / "class")


@pytest.mark.parametrize("folders", [("results",), ("results", "made_up_class", "thesis"), ("thesis",)], ids=str)
def test_files_that_are_no_rehearsal_s_are_never_removed(tmp_path: Path, folders: tuple[str, ...]) -> None:
    for name in folders:
        (tmp_path / "canvas" / name).mkdir(parents=True)
    with pytest.raises(UserError, match="name another folder with OUT="):
        rehearse_command(System.CANVAS, out=tmp_path)
    assert {path.name for path in (tmp_path / "canvas").iterdir()} == set(folders)


def shown_by_the_teacher_s_page() -> list[str]:
    """The lines of what `make collect` prints in the walk-through, without the dots that stand for their ends."""
    page = (ROOT / "grader" / "docs" / "teacher.md").read_text(encoding="utf-8")
    block = page.partition("\n    collected: ")[2].partition("\n`make grade`")[0]
    lines = [line.strip() for line in f"collected: {block}".splitlines()]
    return [line.removesuffix("...").strip() for line in lines if line]


def test_the_teacher_s_page_shows_what_collecting_that_class_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    course = make_class(System.BLACKBOARD, tmp_path / "class")
    collect_command(course.submissions, course.gradebook, course.deadline, tmp_path / "out")
    printed = [line.strip() for line in capsys.readouterr().out.splitlines()]
    shown = shown_by_the_teacher_s_page()
    assert len(shown) > 8
    assert [line for line in shown if not any(real.startswith(line) for real in printed)] == []


def test_the_teacher_s_page_names_the_files_and_the_deadline_of_that_class(tmp_path: Path) -> None:
    course = make_class(System.BLACKBOARD, tmp_path / "class")
    page = (ROOT / "grader" / "docs" / "teacher.md").read_text(encoding="utf-8")
    typed = dict(re.findall(r"^ {8}(SUBMISSIONS|ROSTER|DEADLINE)=(.*?)(?: \\)?$", page, re.MULTILINE))
    assert Path(typed["SUBMISSIONS"]).name == course.submissions.name
    assert Path(typed["ROSTER"]).name == course.gradebook.name
    assert typed["DEADLINE"] == f"'{course.deadline}'"


def test_a_command_that_fails_ends_the_rehearsal_with_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str] = []

    def fails_to_grade(command: str, _: dict[str, str]) -> int:
        given.append(command)
        return 130 if command == "grade" else 0

    monkeypatch.setattr(rehearse, "_given", fails_to_grade)
    with pytest.raises(typer.Exit) as ended:
        rehearse_command(System.MOODLE, out=tmp_path)
    assert ended.value.exit_code == 130
    assert given == ["collect", "grade"]
    assert "The rehearsal ends here" in capsys.readouterr().out
